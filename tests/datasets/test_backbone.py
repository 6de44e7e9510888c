"""Modules, timm models and ONNX files."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from extraction import SIZE, expected_features, extract, network, read

from torch_geometric_reid.datasets import extract as extract_module
from torch_geometric_reid.datasets.images import read_image

pytestmark = pytest.mark.filterwarnings('ignore::DeprecationWarning')  # of exporting
IMAGENET = {'mean': (0.485, 0.456, 0.406), 'std': (0.229, 0.224, 0.225)}
HALF = {'mean': (0.5, 0.5, 0.5), 'std': (0.25, 0.25, 0.25)}


def save_onnx(path, x, dynamic):
    model = network().to(x.dtype).eval()
    torch.onnx.export(
        model,
        (x,),
        path,
        input_names=['picture'],
        dynamic_axes={'picture': {0: 'batch'}} if dynamic else None,
        dynamo=False,
    )


@pytest.fixture
def install_timm(monkeypatch):
    """Stands in for timm, whose models need more than a CPU wheel of PyTorch."""

    def install(asked):
        def create_model(name, pretrained, num_classes):
            assert (name, pretrained, num_classes) == ('resnet50', True, 0)
            model = network()
            model.pretrained_cfg = asked
            return model

        library = SimpleNamespace(create_model=create_model)
        monkeypatch.setitem(sys.modules, 'timm', library)

    return install


@pytest.fixture(params=['module', 'timm', 'onnx'])
def model(request, tmp_path, install_timm):
    """One and the same network, in each of the forms that are taken."""
    if request.param == 'module':
        return network()
    if request.param == 'timm':
        install_timm(IMAGENET)
        return 'timm:resnet50'
    save_onnx(tmp_path / 'a.onnx', torch.zeros(1, 3, *SIZE), dynamic=True)
    return tmp_path / 'a.onnx'


@pytest.mark.parametrize('batch_size', [16, 64])
def test_each_kind_gives_the_same(tmp_path, paths, model, batch_size):
    out = extract(model, paths, tmp_path / 'a.npz', batch_size=batch_size, device='cpu')
    assert np.allclose(read(out)[0], expected_features(network(), paths), atol=1e-5)


def test_each_kind_resumes_to_the_bit(tmp_path, paths, model, monkeypatch):
    pictures = []

    def stop(path, size):
        if len(pictures) == 35:
            raise KeyboardInterrupt
        return count(path, size)

    def count(path, size):
        pictures.append(path)
        return read_image(path, size)

    whole = extract(model, paths, tmp_path / 'whole.npz', device='cpu')
    monkeypatch.setattr(extract_module, 'read_image', stop)
    with pytest.raises(KeyboardInterrupt):
        extract(model, paths, tmp_path / 'out.npz', device='cpu')
    monkeypatch.setattr(extract_module, 'read_image', count)
    pictures.clear()
    out = extract(model, paths, tmp_path / 'out.npz', device='cpu')
    assert pictures == paths[32:]
    assert read(out)[0].tobytes() == read(whole)[0].tobytes()


def test_each_kind_shows_progress(tmp_path, paths, model, capsys):
    for progress in (True, False):
        out = tmp_path / f'{progress}.npz'
        extract(model, paths, out, batch_size=16, device='cpu', progress=progress)
        error = capsys.readouterr().err
        assert ('extract: 100%' in error) == ('40/40' in error) == progress


@pytest.mark.parametrize('batch_size', [3, 40, 64])
@pytest.mark.parametrize('num_workers', [0, 2])
def test_batches_do_not_matter(tmp_path, paths, batch_size, num_workers):
    one = extract(network(), paths, tmp_path / 'one.npz')
    many = extract(
        network(),
        paths,
        tmp_path / 'many.npz',
        batch_size=batch_size,
        num_workers=num_workers,
    )
    assert np.allclose(read(one)[0], read(many)[0], atol=1e-6)


def test_half_precision(tmp_path, paths, install_timm):
    install_timm(IMAGENET)
    full = read(extract(network(), paths, tmp_path / 'full.npz'))[0]
    half = read(extract(network(), paths, tmp_path / 'half.npz', half=True))[0]
    assert half.dtype == np.float32
    assert not np.array_equal(full, half)
    assert np.allclose(full, half, atol=0.05)
    named = extract(
        'timm:resnet50', paths, tmp_path / 'named.npz', half=True, device='cpu'
    )
    assert read(named)[0].tobytes() == half.tobytes()


def test_timm_asks_for_its_own_colours(tmp_path, paths, install_timm):
    install_timm(HALF)
    named = extract('timm:resnet50', paths, tmp_path / 'a.npz', device='cpu')
    given = extract(network(), paths, tmp_path / 'b.npz', **HALF)
    assert read(named)[0].tobytes() == read(given)[0].tobytes()


def test_timm_where_it_is_installed(tmp_path, paths, monkeypatch):
    timm = pytest.importorskip('timm')
    create_model = timm.create_model

    def untrained(name, pretrained, num_classes):
        torch.manual_seed(0)
        return create_model(name, pretrained=False, num_classes=num_classes)

    monkeypatch.setattr(timm, 'create_model', untrained)
    options = {'size': (64, 32), 'batch_size': 16, 'device': 'cpu'}
    named = extract('timm:resnet18', paths, tmp_path / 'a.npz', **options)
    given = untrained('resnet18', True, 0)
    given = extract(given, paths, tmp_path / 'b.npz', **options)
    assert read(named)[0].shape == (40, 512)
    assert read(named)[0].tobytes() == read(given)[0].tobytes()


@pytest.mark.parametrize(('num', 'dynamic'), [(1, True), (7, False)])
@pytest.mark.parametrize('device', [None, 'cpu'])
def test_onnx(tmp_path, paths, num, dynamic, device):
    path = tmp_path / 'a.onnx'
    save_onnx(path, torch.zeros(num, 3, *SIZE), dynamic)
    feature, _ = read(
        extract(str(path), paths, tmp_path / 'a.npz', batch_size=16, device=device)
    )
    assert np.allclose(feature, expected_features(network(), paths), atol=1e-5)


def test_onnx_in_half_precision(tmp_path, paths):
    path = tmp_path / 'a.onnx'
    save_onnx(path, torch.zeros(1, 3, *SIZE, dtype=torch.float16), True)
    feature, _ = read(extract(path, paths, tmp_path / 'a.npz'))
    assert np.allclose(feature, expected_features(network(), paths), atol=0.02)


def test_onnx_that_is_none(tmp_path, paths):
    (tmp_path / 'a.onnx').write_bytes(b'x')
    with pytest.raises(ValueError, match='a.onnx.*cannot be read as ONNX'):
        extract(tmp_path / 'a.onnx', paths, tmp_path / 'a.npz')
