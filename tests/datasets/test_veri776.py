import pytest
import torch
from picture_sets import save_pictures

from torch_geometric_reid.datasets import VeRi776, extract_features

TRAIN = ['0001_c001_00016450_0.jpg', '0004_c020_00087425_0.jpg']
QUERY = ['0002_c002_00030600_0.jpg', '0005_c011_00075160_0.jpg']
GALLERY = ['0002_c001_00030550_0.jpg', *QUERY, '0005_c003_00077535_0.jpg']
XML = '<?xml version="1.0" encoding="gb2312"?>\n<{0} Version="1.0">\n'


def save_labels(path, names, change=lambda line: line):
    lines = [
        change(
            f'<Item imageName="{name}" vehicleID="{name[:4]}" cameraID="{name[5:9]}" '
            f'colorID="1" typeID="4" note="车" />'
        )
        for name in names
    ]
    text = '\n'.join([XML.format('TrainingImages'), '<Items number="2">', *lines])
    path.write_bytes(f'{text}\n</Items>\n</TrainingImages>\n'.encode('gb2312'))


@pytest.fixture
def root(tmp_path):
    for kind, names in [('train', TRAIN), ('query', QUERY), ('test', GALLERY)]:
        save_pictures(tmp_path / f'image_{kind}', names)
        (tmp_path / f'name_{kind}.txt').write_text('\r\n'.join(names) + '\r\n')
    save_labels(tmp_path / 'train_label.xml', TRAIN)
    save_labels(tmp_path / 'test_label.xml', GALLERY)
    return tmp_path


@pytest.mark.parametrize('published', [True, False], ids=['lists', 'folders_alone'])
def test_splits(root, published):
    if not published:
        for path in [*root.glob('*.txt'), *root.glob('*.xml')]:
            path.unlink()
    for split, names, y, camera in [
        ('train', TRAIN, [1, 4], [1, 20]),
        ('query', QUERY, [2, 5], [2, 11]),
        ('gallery', sorted(GALLERY), [2, 2, 5, 5], [1, 2, 3, 11]),
    ]:
        images = VeRi776.images(root, split)
        assert images.names == names
        assert images.y.tolist() == y
        assert images.camera.tolist() == camera
    assert VeRi776.sizes == {'train': 37_778, 'query': 1_678, 'gallery': 11_579}


def mean_colour():
    return torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())


def test_probe_copies(root):
    own = [name for name in sorted(GALLERY) if name not in QUERY]
    assert VeRi776.images(root, 'gallery', drop_probe_copies=True).names == own
    assert VeRi776.images(root, 'query', drop_probe_copies=True).names == QUERY

    images = VeRi776.images(root, 'gallery')
    extract_features(mean_colour(), images, root / 'gallery.npz', progress=False)
    everything = VeRi776(root, 'gallery')
    dataset = VeRi776(root, 'gallery', drop_probe_copies=True)
    assert everything.names == sorted(GALLERY)
    assert dataset.names == own
    assert dataset.image_list().names == own
    assert dataset[0].x.equal(everything[0].x[[0, 2]])
    assert dataset[0].y.tolist() == [2, 5]

    images = VeRi776.images(root, 'gallery', drop_probe_copies=True)
    extract_features(mean_colour(), images, root / 'gallery.npz', progress=False)
    again = VeRi776(root, 'gallery', drop_probe_copies=True)
    assert again[0].x.allclose(dataset[0].x)
    with pytest.raises(ValueError, match=f"no features of '{QUERY[0]}'"):
        VeRi776(root, 'gallery')


def test_lists_that_differ_from_the_folder(root):
    (root / 'name_train.txt').write_text(TRAIN[0])
    with pytest.warns(UserWarning, match=f"1 pictures .*name_train.txt.*'{TRAIN[1]}'"):
        assert VeRi776.images(root, 'train').names == TRAIN[:1]
    (root / 'image_train' / TRAIN[0]).unlink()
    with pytest.raises(ValueError, match=f"image_train.*name_train.txt.*'{TRAIN[0]}'"):
        VeRi776.images(root, 'train')


def test_labels_that_differ_from_the_names(root):
    save_labels(
        root / 'test_label.xml', GALLERY, lambda line: line.replace('"c011"', '"c012"')
    )
    for split in ('query', 'gallery'):
        with pytest.raises(
            ValueError, match=rf"test_label.xml.*\(5, 12\).*'{QUERY[1]}'"
        ):
            VeRi776.images(root, split)
    assert len(VeRi776.images(root, 'train')) == 2

    save_labels(
        root / 'train_label.xml', TRAIN, lambda line: line.replace('vehicleID', 'id')
    )
    with pytest.raises(ValueError, match='train_label.xml.*KeyError'):
        VeRi776.images(root, 'train')
    (root / 'train_label.xml').write_text('<Items>')
    with pytest.raises(ValueError, match='train_label.xml.*ParseError'):
        VeRi776.images(root, 'train')


def test_names_and_folders(root):
    save_pictures(root / 'image_train', ['0001_c021_00016450_0.jpg'])
    with pytest.raises(ValueError, match=r'0001_c021.*from 1 to 20 \(got 21\)'):
        VeRi776.images(root, 'train')
    save_pictures(root / 'image_query', ['car.jpg'])
    with pytest.raises(ValueError, match='car.jpg.*0001_c001_00016450_0.jpg'):
        VeRi776.images(root, 'query')
    with pytest.raises(FileNotFoundError, match="'image_test'"):
        VeRi776.images(root / 'image_train', 'gallery')
