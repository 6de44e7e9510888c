import re
import shutil

import h5py
import numpy as np
import pytest
import scipy.io
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file
from torch_geometric.data import Data

from torch_geometric_reid.datasets import (
    DukeMTMCreID,
    ImageDataset,
    Market1501,
    load_features,
)
from torch_geometric_reid.transforms import AffinityGraph

Image = pytest.importorskip('PIL.Image')

MARKET = {
    'bounding_box_train': ['0002_c1s1_000451_03.jpg', '0007_c6s3_077392_01.jpg'],
    'query': ['0003_c2s1_000151_00.jpg', '0001_c1s1_001051_00.jpg'],
    'bounding_box_test': [
        '0003_c1s6_015971_02.jpg',
        '-1_c3s1_000401_03.jpg',
        '0000_c5s2_000151_01.jpg',
        '0001_c4s1_002051_00.jpg',
        '0003_c2s1_000176_01.jpg',
    ],
}
GALLERY = sorted(MARKET['bounding_box_test'])[1:]  # without the junk


def save_pictures(folder, names):
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        Image.new('RGB', (4, 6), (10 * i, 0, 250)).save(folder / name)


def save_features(path, names, **arrays):
    x = np.random.default_rng(0).normal(size=(len(names), 3))
    np.savez(path, feature=x, name=names, **arrays)
    return F.normalize(torch.from_numpy(x).float())


@pytest.fixture
def root(tmp_path):
    for folder, names in MARKET.items():
        save_pictures(tmp_path / folder, names)
    (tmp_path / 'query' / 'Thumbs.db').write_bytes(b'x')
    (tmp_path / 'query' / '._0003_c2s1_000151_00.jpg').write_bytes(b'x')
    (tmp_path / 'bounding_box_test' / 'readme.txt').write_text('x')
    return tmp_path


@pytest.mark.parametrize(
    ('split', 'names', 'y', 'camera'),
    [
        ('train', sorted(MARKET['bounding_box_train']), [2, 7], [1, 6]),
        ('query', sorted(MARKET['query']), [1, 3], [1, 2]),
        ('gallery', GALLERY, [0, 1, 3, 3], [5, 4, 1, 2]),
    ],
)
def test_market1501(root, split, names, y, camera):
    images = Market1501.images(root, split)
    assert len(images) == len(names)
    assert images.names == names
    assert all(path.is_file() for path in images.paths)
    assert images.y.tolist() == y
    assert images.camera.tolist() == camera

    order = names[::-1]
    x = save_features(root / f'{split}.npz', order)
    dataset = Market1501(root, split)
    assert len(dataset) == 1
    assert dataset.names == names
    assert set(dataset[0].keys()) == {'x', 'y', 'camera'}
    assert dataset[0].x.allclose(x.flip(0))
    assert dataset[0].y.tolist() == y
    assert dataset[0].camera.tolist() == camera
    assert dataset[0].y.dtype == dataset[0].camera.dtype == torch.int64
    for i in range(len(names)):
        expected = images.image(i)
        assert expected.shape == (6, 4, 3)
        assert expected.dtype == torch.uint8
        assert dataset.image(i).equal(expected)


def test_colours(root):
    picture = Market1501.images(root, 'query').image(0)  # saved second
    assert (picture.float().mean((0, 1)) - torch.tensor([10.0, 0, 250])).abs().max() < 9


def test_junk(root):
    images = Market1501.images(root, 'gallery', keep_junk=True)
    assert images.y.tolist() == [-1, 0, 1, 3, 3]
    x = save_features(root / 'gallery.npz', images.names)
    assert Market1501(root, 'gallery')[0].x.allclose(x[1:])
    dataset = Market1501(root, 'gallery', keep_junk=True)
    assert dataset[0].x.allclose(x)
    assert dataset[0].y.tolist() == [-1, 0, 1, 3, 3]
    assert Market1501(root, 'gallery').names == GALLERY


def test_duke(tmp_path):
    names = ['0005_c2_f0046985.jpg', '7139_c8_f0000160.jpg', '0005_c5_f0051781.jpg']
    save_pictures(tmp_path / 'bounding_box_test', names)
    x = save_features(tmp_path / 'features.npz', names)
    dataset = DukeMTMCreID(tmp_path, 'gallery')
    assert dataset.names == sorted(names)
    assert dataset[0].x.allclose(x[[0, 2, 1]])
    assert dataset[0].y.tolist() == [5, 5, 7139]
    assert dataset[0].camera.tolist() == [2, 5, 8]
    with pytest.raises(FileNotFoundError, match=r"'root'.*'query'.*bounding_box_test"):
        DukeMTMCreID(tmp_path, 'query', tmp_path / 'features.npz')
    with pytest.raises(ValueError, match='0005_c2_f0046985.jpg.*0002_c1s1_000451_03'):
        Market1501.images(tmp_path, 'gallery')


def test_a_layout_of_your_own(tmp_path):
    class Cats(ImageDataset):
        folders = {'train': 'a', 'query': 'b', 'gallery': 'c'}
        pattern = re.compile(r'(?P<id>\d+)-cam(?P<camera>\d+)-.*')
        example = '12-cam3-garden.png'

    save_pictures(tmp_path / 'b', ['12-cam3-garden.png', '8-cam700-x.PNG'])
    x = save_features(tmp_path / 'query.npz', ['12-cam3-garden.png', '8-cam700-x.PNG'])
    dataset = Cats(str(tmp_path), 'query')
    assert dataset[0].y.tolist() == [12, 8]
    assert dataset[0].camera.tolist() == [3, 700]
    assert dataset[0].x.allclose(x)
    assert dataset.image(1).shape == (6, 4, 3)


def test_published_sizes():
    assert sum(Market1501.sizes.values()) == 12_936 + 3_368 + 15_913
    assert sum(DukeMTMCreID.sizes.values()) == 16_522 + 2_228 + 17_661


def test_wrong_folders_and_names(root):
    with pytest.raises(FileNotFoundError, match="'root'.*'query'.*none'.*no such"):
        Market1501.images(root / 'none', 'query')
    with pytest.raises(FileNotFoundError, match="'root'.*'query'.*it holds '._0003"):
        Market1501.images(root / 'query', 'query')
    with pytest.raises(
        ValueError, match="'split'.*'train', 'query', 'gallery'.*'test'"
    ):
        Market1501.images(root, 'test')
    with pytest.raises(ValueError, match="'split'.*'test'"):
        Market1501(root, 'test')
    for name, match in [
        ('dog.jpg', r'dog.jpg.*0002_c1s1_000451_03.jpg'),
        ('0001_c7s1_000001_00.jpg', r'0001_c7s1.*camera from 1 to 6 \(got 7\)'),
    ]:
        save_pictures(root / 'query', [name])
        with pytest.raises(ValueError, match=match):
            Market1501.images(root, 'query')
        (root / 'query' / name).unlink()
    shutil.rmtree(root / 'query')
    (root / 'query').mkdir()
    with pytest.raises(ValueError, match="'root' needs pictures in .*query'.*none"):
        Market1501.images(root, 'query')


def test_missing_features(root):
    with pytest.raises(
        FileNotFoundError,
        match=r"'features'.*query.npz'.*features.npz'.*extract_features\(model, "
        r"Market1501.images\(root, 'query'\), '.*query.npz'\)",
    ):
        Market1501(root, 'query')
    with pytest.raises(FileNotFoundError, match="'features'.*some.npz"):
        Market1501(root, 'query', root / 'some.npz')


def test_the_split_has_its_own_file_before_the_common_one(root):
    names = sorted(MARKET['query'])
    common = save_features(root / 'features.npz', names)
    assert Market1501(root, 'query')[0].x.allclose(common)
    own = save_features(root / 'query.npz', names[::-1])
    assert Market1501(root, 'query')[0].x.allclose(own.flip(0))
    assert Market1501(root, 'query', root / 'features.npz')[0].x.allclose(common)


def test_reads_the_processed_file(root):
    names = sorted(MARKET['query'])
    x = save_features(root / 'query.npz', names)
    first = Market1501(root, 'query')
    (path,) = first.processed_paths
    assert path == str(root / 'processed' / 'query-query.npz.pt')
    assert first.raw_paths == [str(root / 'query')]
    assert torch.load(path, weights_only=True)['names'] == names
    (root / 'query').rename(root / 'away')
    second = Market1501(root, 'query')
    assert second.names == names
    for key in ('x', 'y', 'camera'):
        assert second[0][key].equal(first[0][key])
    assert second[0].x.allclose(x)
    with pytest.raises(FileNotFoundError, match="'query'"):
        Market1501(root, 'query', force_reload=True)


def test_what_makes_the_processed_file_anew(root):
    names = sorted(MARKET['query'])
    save_features(root / 'query.npz', names)
    (path,) = Market1501(root, 'query').processed_paths
    for content in (b'', b'damaged', (root / 'query.npz').read_bytes()):
        with open(path, 'wb') as file:
            file.write(content)
        assert Market1501(root, 'query').names == names
        assert torch.load(path, weights_only=True)['names'] == names
    torch.save(Data(x=torch.ones(1)), path)
    assert Market1501(root, 'query').names == names

    x = save_features(root / 'query.npz', [*names, names[0]])
    with pytest.raises(ValueError, match='several'):
        Market1501(root, 'query')
    x = save_features(root / 'query.npz', [f'query/{name}' for name in names[::-1]])
    assert Market1501(root, 'query')[0].x.allclose(x.flip(0))

    save_pictures(root / 'query', ['0009_c1s1_000451_03.jpg'])
    assert len(Market1501(root, 'query').names) == 2
    with pytest.raises(ValueError, match="no features of '0009_c1s1_000451_03.jpg'"):
        Market1501(root, 'query', force_reload=True)


def test_pre_transform(root):
    names = sorted(MARKET['bounding_box_test'])
    save_features(root / 'gallery.npz', names)
    plain = Market1501(root, 'gallery')
    graph = Market1501(root, 'gallery', pre_transform=AffinityGraph(k=2))
    expected = AffinityGraph(k=2)(plain[0])
    (root / 'bounding_box_test').rename(root / 'away')
    again = Market1501(root, 'gallery', pre_transform=AffinityGraph(k=2))
    for dataset in (graph, again):
        assert dataset[0].edge_index.equal(expected.edge_index)
        assert dataset[0].edge_weight.equal(expected.edge_weight)
    with pytest.raises(FileNotFoundError):  # another one is not read from disk
        Market1501(root, 'gallery', pre_transform=AffinityGraph(k=1))


def test_pre_transform_that_would_need_pickle(root):
    class Odd:
        pass

    def add_object(data):
        data.odd = Odd
        return data

    save_features(root / 'query.npz', MARKET['query'])
    with pytest.raises((TypeError, AttributeError), match='pre_transform|pickle'):
        Market1501(root, 'query', pre_transform=add_object)
    assert not list((root / 'processed').glob('*'))


def test_transform(root):
    save_features(root / 'query.npz', MARKET['query'])
    plain = Market1501(root, 'query')
    dataset = Market1501(root, 'query', transform=lambda data: Data(x=2 * data.x))
    assert dataset[0].x.equal(2 * plain[0].x)


def test_a_folder_that_cannot_be_written(root, monkeypatch):
    def refuse(path, write):
        raise PermissionError('read-only')

    save_features(root / 'query.npz', MARKET['query'])
    monkeypatch.setattr(
        'torch_geometric_reid.datasets.image_dataset.write_atomically', refuse
    )
    with pytest.warns(UserWarning, match='cannot be kept: read-only'):
        dataset = Market1501(root, 'query')
    assert dataset[0].y.tolist() == [1, 3]


# Features and pictures ----------------------------------------------------------------


def as_pytorch_result(path, names):
    x = np.random.default_rng(0).normal(size=(len(names), 3))
    label = [int(name.split('_')[0]) for name in names]
    scipy.io.savemat(
        path,
        {
            'gallery_f': x,
            'gallery_label': label,
            'query_f': x[:1],
            'query_label': [99],
        },
    )
    return F.normalize(torch.from_numpy(x).float())


def test_pytorch_result_with_junk(root):
    names = sorted(MARKET['bounding_box_test'])
    x = as_pytorch_result(root / 'pytorch_result.mat', names)
    path = root / 'pytorch_result.mat'
    assert Market1501(root, 'gallery', path)[0].x.allclose(x[1:])
    assert Market1501(root, 'gallery', path, keep_junk=True)[0].x.allclose(x)
    as_pytorch_result(path, [*names[1:], names[0]])
    with pytest.raises(ValueError, match=r"row 0 of .* identity 0, .*'-1_c3.*of -1"):
        Market1501(root, 'gallery', path)


@pytest.mark.parametrize('suffix', ['.pt', '.h5', '.safetensors', '.npz', '.npy'])
def test_features_without_names(root, suffix):
    path = root / f'some{suffix}'
    x = np.random.default_rng(0).normal(size=(4, 3)).astype('float32')
    y = np.array([0, 1, 3, 3])
    if suffix == '.pt':
        torch.save({'feature': torch.from_numpy(x), 'pid': torch.from_numpy(y)}, path)
    elif suffix == '.h5':
        with h5py.File(path, 'w') as file:
            file['feature'], file['pid'] = x, y
    elif suffix == '.safetensors':
        save_file({'feature': x, 'pid': y}, path)
    elif suffix == '.npz':
        np.savez(path, feature=x, pid=y)
    else:
        np.save(path, x)
    expected = F.normalize(torch.from_numpy(x))
    assert Market1501(root, 'gallery', path)[0].x.allclose(expected)
    with pytest.raises(ValueError, match='4 rows, there are 2 pictures'):
        Market1501(root, 'query', path)


def test_one_file_for_all_splits(root):
    train, query, gallery = (sorted(names) for names in MARKET.values())
    folders = [folder for folder, names in MARKET.items() for _ in names]
    names = train + query + gallery
    paths = [f'{folder}/{name}' for folder, name in zip(folders, names, strict=True)]
    expected = {'train': [0, 1], 'query': [2, 3], 'gallery': [5, 6, 7, 8]}
    for given, arrays in [
        (names, {'split': [0] * 2 + [1] * 2 + [2] * 5}),
        (paths, {}),
        ([path.replace('/', '\\') for path in paths], {}),
    ]:
        x = save_features(root / 'features.npz', given, **arrays)
        for split, rows in expected.items():
            assert Market1501(root, split)[0].x.allclose(x[rows]), given
    save_features(root / 'features.npz', names)
    with pytest.raises(ValueError, match=r"that '.*query' lacks: '-1_c3.* and 2 more"):
        Market1501(root, 'query')


@pytest.mark.parametrize(
    ('change', 'match'),
    [
        (lambda names: names[1:], "no features of '0000_c5s2_000151_01.jpg'"),
        (lambda names: [*names, names[1]], "several features of '0001_c4s1_002051_00"),
        (lambda names: [*names, 'cat.jpg'], "bounding_box_test' lacks: 'cat.jpg'"),
    ],
)
def test_features_that_do_not_belong(root, change, match):
    save_features(root / 'gallery.npz', change(GALLERY))
    with pytest.raises(ValueError, match=f"'features'.*gallery.npz.*{match}"):
        Market1501(root, 'gallery')


def test_names_count_and_not_ids(root):
    x = save_features(root / 'query.npz', sorted(MARKET['query']), id=[500, 501])
    assert load_features(root / 'query.npz').y.tolist() == [500, 501]
    dataset = Market1501(root, 'query')
    assert dataset[0].y.tolist() == [1, 3]
    assert dataset[0].x.allclose(x)
