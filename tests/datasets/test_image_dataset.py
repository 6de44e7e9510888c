import re
import shutil

import pytest
import torch
from picture_sets import GALLERY, MARKET, save_features, save_pictures
from torch_geometric.data import Data

from torch_geometric_reid.datasets import DukeMTMCreID, ImageDataset, Market1501


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


def test_transform(root):
    save_features(root / 'query.npz', MARKET['query'])
    plain = Market1501(root, 'query')
    dataset = Market1501(root, 'query', transform=lambda data: Data(x=2 * data.x))
    assert dataset[0].x.equal(2 * plain[0].x)
