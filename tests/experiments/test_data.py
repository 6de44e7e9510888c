import numpy as np
import pytest
import torch

from torch_geometric_reid.datasets import FakeReID
from torch_geometric_reid.experiments import load_data


def test_embedded():
    data = load_data()
    assert data.train.num_nodes == 2560
    assert data.query_image(0).shape == data.gallery_image(0).shape == (48, 48)


def test_file_with_splits(tmp_path):
    parts = [FakeReID(x, num_identities=4)[0] for x in ('train', 'query', 'gallery')]
    np.savez(
        tmp_path / 'set.npz',
        split=np.repeat([0, 1, 2], [part.num_nodes for part in parts]),
        feature=torch.cat([part.x for part in parts]).numpy(),
        id=torch.cat([part.y for part in parts]).numpy(),
    )
    data = load_data(str(tmp_path / 'set.npz'))
    for split, part in zip(('train', 'query', 'gallery'), parts, strict=True):
        assert torch.equal(getattr(data, split).y, part.y)
    assert data.query_image is None


@pytest.mark.parametrize('given', [False, True])
def test_pictures_that_a_file_names(tmp_path, given):
    image = pytest.importorskip('PIL.Image')
    parts = [FakeReID(x, num_identities=4)[0] for x in ('train', 'query', 'gallery')]
    split = np.repeat([0, 1, 2], [part.num_nodes for part in parts])
    names = [f'pictures/{i}.png' for i in range(len(split))]
    np.savez(
        tmp_path / 'set.npz',
        split=split,
        feature=torch.cat([part.x for part in parts]).numpy(),
        id=torch.cat([part.y for part in parts]).numpy(),
        path=names,
    )
    folder = tmp_path / 'elsewhere' if given else tmp_path
    (folder / 'pictures').mkdir(parents=True)
    first = int((split == 2).argmax())
    image.new('RGB', (4, 8), (250, 0, 9)).save(folder / names[first])
    (folder / names[first + 1]).write_bytes(b'no picture')
    data = load_data(str(tmp_path / 'set.npz'), str(folder) if given else None)
    assert data.gallery_image(0).shape == (8, 4, 3)
    assert data.gallery_image(0)[0, 0].tolist() == [250, 0, 9]
    assert data.gallery_image(1) is None
    assert data.gallery_image(2) is None
    assert data.query_image(0) is None


def test_market1501(tmp_path):
    image = pytest.importorskip('PIL.Image')
    names = []
    folders = {'bounding_box_train': 2, 'query': 1, 'bounding_box_test': 2}
    for folder, cameras in folders.items():
        (tmp_path / folder).mkdir()
        for person in range(3):
            for camera in range(cameras):
                name = f'000{person + 1}_c{camera + 1}s1_000000_00.jpg'
                image.new('RGB', (4, 8)).save(tmp_path / folder / name)
                names.append(f'{folder}/{name}')
    x = torch.randn(len(names), 5).numpy()
    features = tmp_path / 'features.npz'
    np.savez(features, feature=x, name=np.array(names))
    data = load_data('market1501', str(tmp_path), str(features))
    assert data.name == 'market1501'
    assert data.query.y.tolist() == [1, 2, 3]
    assert data.gallery.num_nodes == data.train.num_nodes == 6
    assert data.gallery_image(5).shape == (8, 4, 3)


@pytest.mark.parametrize(
    ('arguments', 'match'),
    [
        (('market1501',), "'market1501' needs 'root'"),
        (('veri776', None, 'features.npz'), "'veri776' needs 'root'"),
        (('omniglot242', 'here'), "'root' does not belong to 'omniglot242'"),
        (('some.npz', None, 'features.npz'), "'features' belongs to market1501"),
        (('none.npz',), 'none.npz'),
        (('market1501', 'no-folder', 'none.npz'), "'no-folder' is no folder"),
    ],
)
def test_errors(arguments, match):
    with pytest.raises((ValueError, OSError), match=match):
        load_data(*arguments)
