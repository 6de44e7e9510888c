import numpy as np
import pytest
import torch
from extraction import SIZE, extract, network
from PIL import Image

from torch_geometric_reid.datasets import FeatureDataset
from torch_geometric_reid.datasets.images import read_image


def test_pictures_that_cannot_be_read(tmp_path, paths):
    whole = paths[17].read_bytes()
    for content in (b'', b'no picture', whole[: len(whole) // 2]):
        paths[17].write_bytes(content)
        with pytest.raises(ValueError, match=f"'{paths[17]}' cannot be read as a pict"):
            extract(network(), paths, tmp_path / 'a.npz')
        with pytest.raises(ValueError, match=f"'{paths[17]}' cannot be read as a pict"):
            extract(network(), paths, tmp_path / 'a.npz', num_workers=1)
    paths[17].unlink()
    with pytest.raises(FileNotFoundError, match=f"'images'.*missing: '{paths[17]}'"):
        extract(network(), paths, tmp_path / 'a.npz')
    with pytest.raises(ValueError, match=f"'{paths[17]}' cannot be read as a picture"):
        read_image(paths[17])


@pytest.mark.parametrize('mode', ['L', 'P', 'RGBA', 'CMYK', '1'])
def test_pictures_of_other_modes(tmp_path, mode):
    path = tmp_path / ('a.jpg' if mode == 'CMYK' else 'a.png')
    Image.new('RGB', (2, 3), (255, 255, 255)).convert(mode).save(path)
    picture = read_image(path)
    assert picture.shape == (3, 2, 3)
    assert picture.dtype == torch.uint8
    assert picture.min() > 250
    assert read_image(path, SIZE).shape == (*SIZE, 3)


@pytest.mark.parametrize('name', ['a/b.png', 'a\\b.png'])
def test_pictures_of_a_file(tmp_path, monkeypatch, name):
    (tmp_path / 'a').mkdir()
    Image.new('RGB', (2, 3), (1, 2, 250)).save(tmp_path / 'a' / 'b.png')
    near, far = tmp_path / 'near.npz', tmp_path / 'new' / 'far.npz'
    far.parent.mkdir()
    for path in (near, far):
        np.savez(path, feature=np.ones((2, 3)), name=[name, 'none.png'])
    for dataset in (FeatureDataset(near), FeatureDataset(far, root=tmp_path)):
        assert dataset.image(0).shape == (3, 2, 3)
        assert dataset.image(0)[0, 0].tolist() == [1, 2, 250]
        with pytest.raises(ValueError, match=r'none.png.* cannot be read as a picture'):
            dataset.image(1)
    with pytest.raises(ValueError, match=r'new.a.b.png.* cannot be read as a picture'):
        FeatureDataset(far).image(0)
    monkeypatch.chdir(tmp_path)
    assert FeatureDataset(far).image(0).shape == (3, 2, 3)


def test_pictures_without_names(tmp_path):
    np.save(tmp_path / 'a.npy', np.ones((2, 3)))
    with pytest.raises(ValueError, match="'name' needs the file names"):
        FeatureDataset(tmp_path / 'a.npy').image(0)
