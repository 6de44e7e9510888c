import numpy as np
import pytest
from extraction import Counting, expected_features, extract, network, read
from PIL import Image


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
