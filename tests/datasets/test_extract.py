import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from torch_geometric_reid.datasets import (
    FeatureDataset,
    Market1501,
    extract_features,
    load_features,
)
from torch_geometric_reid.datasets.images import read_image

Image = pytest.importorskip('PIL.Image')

SIZE = (8, 4)


@pytest.fixture
def paths(tmp_path):
    generator = np.random.default_rng(0)
    folder = tmp_path / 'query'
    folder.mkdir()
    found = []
    for i in range(40):
        pixels = generator.integers(0, 256, (6 + i % 3, 5, 3), dtype='uint8')
        found.append(folder / f'{i:04}_c{i % 6 + 1}s1_000001_00.png')
        Image.fromarray(pixels).save(found[-1])
    return found


def network(seed=0):
    torch.manual_seed(seed)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1),
        torch.nn.BatchNorm2d(8),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
    )


class Counting(torch.nn.Module):
    """Counts pictures, and can be interrupted."""

    def __init__(self, stop_at=None, seed=0):
        super().__init__()
        self.inner = network(seed)
        self.num_seen = 0
        self.stop_at = stop_at

    def forward(self, x):
        assert not torch.is_grad_enabled()
        assert not any(part.training for part in self.modules())
        if self.stop_at is not None and self.num_seen >= self.stop_at:
            raise KeyboardInterrupt
        self.num_seen += len(x)
        return self.inner(x)


def extract(model, paths, out, **kwargs):
    options = {'size': SIZE, 'batch_size': 1, 'progress': False} | kwargs
    return extract_features(model, paths, out, **options)


def read(path):
    with np.load(path, allow_pickle=False) as file:
        return file['feature'], file['name'].tolist()


def expected_features(model, paths):
    mean = torch.tensor([0.485, 0.456, 0.406]).double()
    std = torch.tensor([0.229, 0.224, 0.225]).double()
    rows = []
    model = model.double().eval()
    for path in paths:
        with Image.open(path) as file:
            picture = file.convert('RGB').resize((4, 8), Image.Resampling.BILINEAR)
        x = (torch.from_numpy(np.array(picture)) / 255.0 - mean) / std
        with torch.no_grad():
            rows.append(model(x.permute(2, 0, 1)[None]).flatten())
    return torch.stack(rows).numpy()


def test_features_of_a_list(tmp_path, paths):
    out = extract(network(), [str(path) for path in paths], tmp_path / 'new' / 'a.npz')
    assert out == tmp_path / 'new' / 'a.npz'
    feature, names = read(out)
    assert feature.dtype == np.float32
    assert names == [str(path) for path in paths]
    assert np.allclose(feature, expected_features(network(), paths), atol=1e-5)
    assert list(out.parent.iterdir()) == [out]


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


def test_resumes_to_the_bit(tmp_path, paths):
    whole = extract(Counting(), paths, tmp_path / 'whole.npz')
    out = tmp_path / 'out.npz'
    with pytest.raises(KeyboardInterrupt):
        extract(Counting(stop_at=35), paths, out)
    assert not out.exists()
    parts = sorted(path.name for path in (tmp_path / 'out.npz.parts').iterdir())
    assert parts == ['00000.npy', '00001.npy', 'key.txt']  # 16 batches each

    model = Counting()
    extract(model, paths, out)
    assert model.num_seen == 40 - 32
    assert read(out)[0].tobytes() == read(whole)[0].tobytes()
    assert read(out)[1] == read(whole)[1]
    assert not (tmp_path / 'out.npz.parts').exists()


def test_resumes_when_only_the_file_is_left_to_write(tmp_path, paths, monkeypatch):
    def fail(path, write):
        raise OSError('disk full')

    out, name = tmp_path / 'out.npz', 'torch_geometric_reid.datasets.extract'
    with monkeypatch.context() as patch:
        patch.setattr(f'{name}.write_atomically', fail)
        with pytest.raises(OSError, match='disk full'):
            extract(Counting(), paths, out)
    model = Counting()
    extract(model, paths, out)
    assert model.num_seen == 0
    assert len(read(out)[0]) == 40


def test_does_nothing_twice(tmp_path, paths):
    out, model = tmp_path / 'out.npz', Counting()
    extract(model, paths, out)
    before = out.stat().st_mtime_ns
    extract(model, paths, out)
    assert model.num_seen == 40
    assert out.stat().st_mtime_ns == before
    extract(model, paths, out, resume=False)
    assert model.num_seen == 80
    extract(model, paths, out, batch_size=2)
    assert model.num_seen == 120
    out.write_bytes(b'damaged')
    extract(model, paths, out)
    assert model.num_seen == 160


@pytest.mark.parametrize(
    'change',
    [
        {'model': Counting(seed=1)},
        {'size': (4, 4)},
        {'mean': (0.5, 0.5, 0.5)},
        {'std': (0.5, 0.5, 0.5)},
        {'half': True},
        {'batch_size': 2},
        {'resume': False},
        {'paths': slice(None, None, -1)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_parts_of_something_else_are_not_used(tmp_path, paths, change):
    out = tmp_path / 'out.npz'
    with pytest.raises(KeyboardInterrupt):
        extract(Counting(stop_at=35), paths, out)
    model = change.pop('model', Counting())
    paths = paths[change.pop('paths', slice(None))]
    extract(model, paths, out, **change)
    assert model.num_seen == 40


def test_parts_of_changed_pictures_are_not_used(tmp_path, paths):
    out = tmp_path / 'out.npz'
    with pytest.raises(KeyboardInterrupt):
        extract(Counting(stop_at=35), paths, out)
    Image.new('RGB', (3, 3)).save(paths[0])
    extract(Counting(), paths, out)
    assert np.allclose(read(out)[0], expected_features(network(), paths), atol=1e-5)


@pytest.mark.parametrize('gap', [0, 1])
def test_a_missing_part_is_computed_again(tmp_path, paths, gap):
    out = tmp_path / 'out.npz'
    with pytest.raises(KeyboardInterrupt):
        extract(Counting(stop_at=35), paths, out)
    (tmp_path / 'out.npz.parts' / f'0000{gap}.npy').unlink()
    extract(Counting(), paths, out)
    assert np.allclose(read(out)[0], expected_features(network(), paths), atol=1e-5)


def test_other_files_among_the_parts_stay(tmp_path, paths):
    folder = tmp_path / 'out.npz.parts'
    folder.mkdir()
    for name in ('mine.npy', '00000.npy', '.00001.npy.123'):
        (folder / name).write_bytes(b'x')
    out = extract(Counting(), paths, tmp_path / 'out.npz')
    assert np.allclose(read(out)[0], expected_features(network(), paths), atol=1e-5)
    assert [path.name for path in folder.iterdir()] == ['mine.npy']


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


def test_half_precision(tmp_path, paths):
    full = read(extract(network(), paths, tmp_path / 'full.npz'))[0]
    half = read(extract(network(), paths, tmp_path / 'half.npz', half=True))[0]
    assert half.dtype == np.float32
    assert not np.array_equal(full, half)
    assert np.allclose(full, half, atol=0.05)


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


def test_timm_by_name(tmp_path, paths, monkeypatch):
    def create_model(name, pretrained, num_classes):
        assert (name, pretrained, num_classes) == ('resnet50', True, 0)
        model = network()
        model.pretrained_cfg = {'mean': (0.5, 0.5, 0.5), 'std': (0.25, 0.25, 0.25)}
        return model

    monkeypatch.setitem(sys.modules, 'timm', SimpleNamespace(create_model=create_model))
    named = extract('timm:resnet50', paths, tmp_path / 'a.npz', device='cpu')
    given = extract(
        network(),
        paths,
        tmp_path / 'b.npz',
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
    )
    assert read(named)[0].tobytes() == read(given)[0].tobytes()


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


# ONNX, where it is installed ----------------------------------------------------------


def save_onnx(path, x, dynamic):
    pytest.importorskip('onnxruntime')
    pytest.importorskip('onnx')
    model = network().to(x.dtype).eval()
    torch.onnx.export(
        model,
        (x,),
        path,
        input_names=['picture'],
        dynamic_axes={'picture': {0: 'batch'}} if dynamic else None,
        dynamo=False,
    )


@pytest.mark.filterwarnings('ignore::DeprecationWarning')
@pytest.mark.parametrize(('num', 'dynamic'), [(1, True), (7, False)])
@pytest.mark.parametrize('device', [None, 'cpu'])
def test_onnx(tmp_path, paths, num, dynamic, device):
    path = tmp_path / 'a.onnx'
    save_onnx(path, torch.zeros(num, 3, *SIZE), dynamic)
    feature, _ = read(
        extract(str(path), paths, tmp_path / 'a.npz', batch_size=16, device=device)
    )
    assert np.allclose(feature, expected_features(network(), paths), atol=1e-5)


@pytest.mark.filterwarnings('ignore::DeprecationWarning')
def test_onnx_in_half_precision(tmp_path, paths):
    path = tmp_path / 'a.onnx'
    save_onnx(path, torch.zeros(1, 3, *SIZE, dtype=torch.float16), True)
    feature, _ = read(extract(path, paths, tmp_path / 'a.npz'))
    assert np.allclose(feature, expected_features(network(), paths), atol=0.02)


def test_onnx_that_is_none(tmp_path, paths):
    pytest.importorskip('onnxruntime')
    (tmp_path / 'a.onnx').write_bytes(b'x')
    with pytest.raises(ValueError, match='a.onnx.*cannot be read as ONNX'):
        extract(tmp_path / 'a.onnx', paths, tmp_path / 'a.npz')
