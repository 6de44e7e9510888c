import sys

import numpy as np
import pytest
import torch
from extraction import Counting, expected_features, extract, network, read
from PIL import Image

from torch_geometric_reid.datasets import FeatureDataset, Market1501, load_features


def test_features_of_a_list(tmp_path, paths):
    out = extract(network(), [str(path) for path in paths], tmp_path / 'new' / 'a.npz')
    assert out == tmp_path / 'new' / 'a.npz'
    feature, names = read(out)
    assert feature.dtype == np.float32
    assert names == [str(path) for path in paths]
    assert np.allclose(feature, expected_features(network(), paths), atol=1e-5)
    assert list(out.parent.iterdir()) == [out]


@pytest.mark.parametrize('stop_at', [None, 20])
def test_modes_are_restored(tmp_path, paths, stop_at):
    model = Counting(stop_at)
    model.inner[1].eval()
    before = [part.training for part in model.modules()]
    statistics = model.inner[1].running_mean.clone()
    try:
        extract(model, paths, tmp_path / 'out.npz')
    except KeyboardInterrupt:
        assert stop_at is not None
    assert [part.training for part in model.modules()] == before
    assert model.inner[1].running_mean.equal(statistics)
    assert torch.is_grad_enabled()
    assert all(p.requires_grad for p in model.parameters())


def test_features_of_a_data_set(tmp_path, paths):
    junk = tmp_path / 'query' / '-1_c2s1_000001_00.png'
    Image.new('RGB', (4, 8)).save(junk)
    images = Market1501.images(tmp_path, 'query')
    out = extract(network(), images, tmp_path / 'query.npz')
    feature, names = read(out)
    assert names == [f'query/{path.name}' for path in paths]
    data = load_features(out)
    assert data.y.tolist() == list(range(40))
    assert data.camera.tolist() == [i % 6 + 1 for i in range(40)]

    dataset = Market1501(tmp_path, 'query')
    assert dataset[0].x.equal(data.x)
    assert dataset[0].y.equal(data.y)
    assert dataset[0].camera.equal(data.camera)
    out = extract(network(), dataset, tmp_path / 'again.npz')
    assert read(out)[0].tobytes() == feature.tobytes()
    assert FeatureDataset(out).names == names


class Returning(torch.nn.Module):
    def __init__(self, make):
        super().__init__()
        self.make = make

    def forward(self, x):
        return self.make(x)


@pytest.mark.parametrize(
    ('make', 'error', 'match'),
    [
        (lambda x: (x, x), TypeError, r"'model'.*one tensor.*'tuple'"),
        (lambda x: x, ValueError, r"'model'.*\[2, d\].*\[2, 3, 8, 4\]"),
        (lambda x: x[0, 0, 0], ValueError, r"'model'.*\[2, d\].*\[4\]"),
        (lambda x: x[:1, :, 0, 0], ValueError, r"'model'.*\[2, d\].*\[1, 3\]"),
        (lambda x: x[:, :, 0, 0] / 0, ValueError, "'model'.*finite.*0000_c1s1_00"),
    ],
)
def test_models_that_return_no_features(tmp_path, paths, make, error, match):
    with pytest.raises(error, match=match):
        extract(Returning(make), paths, tmp_path / 'a.npz', batch_size=2)


@pytest.mark.parametrize(
    ('change', 'error', 'match'),
    [
        ({'out': 'a.pt'}, ValueError, "'out'.*npz.*a.pt"),
        ({'batch_size': 0}, ValueError, "'batch_size'.*got 0"),
        ({'size': (0, 4)}, ValueError, "'size'.*got 0"),
        ({'size': (4,)}, ValueError, "'size' needs 2"),
        ({'mean': (0.5,)}, ValueError, "'mean' needs 3"),
        ({'std': (1, 1, 1, 1)}, ValueError, "'std' needs 3"),
        ({'model': 5}, TypeError, "'model'.*'int'"),
        ({'model': 'resnet50'}, ValueError, "'model'.*'timm:'.*onnx.*'resnet50'"),
        ({'model': 'none.onnx', 'half': True}, ValueError, "'half'.*none.onnx"),
        ({'model': 'none.onnx'}, FileNotFoundError, "'model'.*none.onnx"),
        ({'paths': []}, ValueError, "'images'.*none"),
    ],
)
def test_rejects_arguments(tmp_path, paths, monkeypatch, change, error, match):
    monkeypatch.chdir(tmp_path)
    arguments = {'model': network(), 'paths': paths, 'out': 'a.npz'} | change
    with pytest.raises(error, match=match):
        extract(**arguments)
    assert [path.name for path in tmp_path.iterdir()] == ['query']


@pytest.mark.parametrize(
    ('library', 'model', 'extra'),
    [
        ('PIL.Image', network(), 'images'),
        ('timm', 'timm:resnet50', 'timm'),
        ('onnxruntime', 'a.onnx', 'onnx'),
    ],
)
def test_missing_library(tmp_path, paths, monkeypatch, library, model, extra):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'a.onnx').write_bytes(b'x')
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(
        ImportError, match=rf"'{library}': pip install torch_geometric_reid\[{extra}\]"
    ):
        extract(model, paths, tmp_path / 'a.npz')
