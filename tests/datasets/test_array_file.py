import io
import pickle
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import torch
from safetensors.numpy import save_file
from torch_geometric.data import Data

from torch_geometric_reid.datasets.array_file import ArrayFile, has_known_suffix

SUFFIXES = ['.npz', '.npy', '.pt', '.pth', '.mat', '.h5', '.hdf5', '.safetensors']


class Malicious:
    """Creates a file when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


@pytest.fixture
def marker(tmp_path):
    """Proves that the pickle of :class:`Malicious` works before it is used."""
    path = tmp_path / 'marker'
    pickle.loads(pickle.dumps(Malicious(path)))
    assert path.exists()
    path.unlink()
    return path


def object_array(marker):
    array = np.empty(1, dtype=object)
    array[0] = Malicious(marker)
    return array


def test_npz(tmp_path, arrays):
    np.savez_compressed(tmp_path / 'a.npz', **arrays)
    file = ArrayFile(tmp_path / 'a.npz')
    assert list(file) == ['feature', 'id', 'camera', 'name']
    assert len(file) == 4
    assert np.array_equal(file['feature'], arrays['feature'])
    assert file['name'].tolist() == arrays['name']
    assert 'id' in file
    assert 'y' not in file
    with pytest.raises(KeyError):
        file['y']


def test_npy(tmp_path, arrays):
    np.save(tmp_path / 'a.npy', arrays['feature'])
    file = ArrayFile(str(tmp_path / 'a.npy'))
    assert list(file) == ['array']
    assert np.array_equal(file['array'], arrays['feature'])


@pytest.mark.parametrize('suffix', ['.pt', '.pth', '.PT'])
@pytest.mark.parametrize('zipped', [True, False])
def test_torch(tmp_path, suffix, zipped):
    path = tmp_path / f'a{suffix}'
    x = torch.randn(3, 2, requires_grad=True)

    def save(value):
        torch.save(value, path, _use_new_zipfile_serialization=zipped)
        return ArrayFile(path)

    file = save(x)
    assert list(file) == ['array']
    assert file['array'].equal(x)
    assert not file['array'].requires_grad
    file = save({'query': {'feature': x, 'name': ['a', 'b', 'c']}, 5: [1, 2, 3]})
    assert list(file) == ['query/feature', 'query/name', '5']
    assert file['query/feature'].equal(x)
    assert file['query/name'] == ['a', 'b', 'c']
    assert file['5'] == [1, 2, 3]
    assert save({'x': x.detach().to_sparse()})['x'].equal(x)


def test_torch_reads_a_data_object(tmp_path):
    data = Data(x=torch.randn(3, 2), y=torch.arange(3))
    torch.save({'query': data}, tmp_path / 'a.pt')
    file = ArrayFile(tmp_path / 'a.pt')
    assert set(file) == {'query/x', 'query/y'}
    assert file['query/x'].equal(data.x)
    assert file['query/y'].equal(data.y)


@pytest.mark.parametrize('suffix', ['.h5', '.hdf5', '.mat'])
def test_hdf5(tmp_path, arrays, suffix):
    path = tmp_path / f'a{suffix}'
    with h5py.File(path, 'w') as file:
        file['query/feature'] = arrays['feature']
        file['query/name'] = arrays['name']
        file['id'] = arrays['id']
    file = ArrayFile(path)
    assert set(file) == {'query/feature', 'query/name', 'id'}
    assert np.array_equal(file['query/feature'], arrays['feature'])
    assert file['query/name'] == arrays['name']
    assert np.array_equal(file['id'], arrays['id'])


def test_matlab(tmp_path, arrays):
    cells = np.array([*arrays['name'][:4], ''], dtype=object)
    scipy.io.savemat(
        tmp_path / 'a.mat',
        arrays | {'cells': cells, 'mixed': np.array(['a', 1.5], dtype=object)},
    )
    file = ArrayFile(tmp_path / 'a.mat')
    assert set(file) == {'feature', 'id', 'camera', 'name', 'cells', 'mixed'}
    assert np.array_equal(file['feature'], arrays['feature'])
    assert file['id'].tolist() == [arrays['id'].tolist()]  # a row, as in MATLAB
    assert file['name'].tolist() == arrays['name']
    assert file['cells'] == [*arrays['name'][:4], '']
    with pytest.raises(ValueError, match="'mixed' of .*a.mat'.*cell array.*text"):
        file['mixed']


def save_matlab73(path, feature, ids, names):
    """Writes a file as MATLAB lays it out: columns first, cells as references."""
    with h5py.File(path, 'w', userblock_size=512) as file:

        def write(key, value, kind):
            file[key] = value
            file[key].attrs['MATLAB_class'] = np.bytes_(kind)
            return file[key].ref

        def write_char(key, rows):
            codes = np.array([[ord(char) for char in row] for row in rows], 'uint16')
            return write(key, codes.T, 'char')

        write('feature', feature.T, 'double')
        write('id', ids.reshape(-1, 1).astype('float64'), 'double')
        width = max(map(len, names))
        write_char('char', [name.ljust(width) for name in names])
        refs = [write_char(f'#refs#/{i}', [name]) for i, name in enumerate(names)]
        write('cell', np.array([refs], dtype=h5py.ref_dtype), 'cell')
        number = write('#refs#/n', np.ones((1, 1)), 'double')
        write('mixed', np.array([[number]], dtype=h5py.ref_dtype), 'cell')
    with path.open('r+b') as file:
        file.write(b'MATLAB 7.3 MAT-file')


def test_matlab73(tmp_path, arrays):
    path = tmp_path / 'a.mat'
    save_matlab73(path, arrays['feature'], arrays['id'], arrays['name'])
    file = ArrayFile(path)
    assert set(file) == {'feature', 'id', 'char', 'cell', 'mixed'}
    assert np.array_equal(file['feature'], arrays['feature'])
    assert file['id'].tolist() == [arrays['id'].tolist()]
    assert file['char'] == arrays['name']
    assert file['cell'] == arrays['name']
    with pytest.raises(ValueError, match="'mixed' of .*a.mat'.*cell array.*text"):
        file['mixed']


def test_safetensors(tmp_path, arrays):
    path = tmp_path / 'a.safetensors'
    save_file({'feature': arrays['feature'], 'id': arrays['id']}, path)
    file = ArrayFile(path)
    assert set(file) == {'feature', 'id'}
    assert np.array_equal(file['feature'], arrays['feature'])
    assert np.array_equal(file['id'], arrays['id'])


def test_arrays_are_read_when_asked_for(tmp_path, marker):
    np.savez(tmp_path / 'a.npz', feature=np.ones((2, 3)), other=object_array(marker))
    file = ArrayFile(tmp_path / 'a.npz')
    assert file['feature'].shape == (2, 3)
    with pytest.raises(ValueError, match="'other' of .*a.npz'.*Python objects"):
        file['other']
    assert not marker.exists()


@pytest.mark.parametrize('suffix', SUFFIXES)
def test_no_pickle_is_run(tmp_path, marker, suffix):
    path = tmp_path / f'a{suffix}'
    with path.open('wb') as file:
        pickle.dump(Malicious(marker), file, protocol=2)
    with pytest.raises(ValueError, match=f"a{suffix}' cannot be read"):
        ArrayFile(path)
    assert not marker.exists()


@pytest.mark.parametrize('zipped', [True, False])
@pytest.mark.parametrize('wrap', [lambda x: x, lambda x: {'x': torch.ones(2), 'y': x}])
def test_no_pickle_is_run_from_torch(tmp_path, marker, zipped, wrap):
    path = tmp_path / 'a.pt'
    torch.save(wrap(Malicious(marker)), path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match=r"a.pt' cannot be read.*Python objects"):
        ArrayFile(path)
    assert not marker.exists()


def test_no_pickle_is_run_from_numpy(tmp_path, marker):
    np.save(tmp_path / 'a.npy', object_array(marker))
    with pytest.raises(ValueError, match=r"a.npy' cannot be read.*Python objects"):
        ArrayFile(tmp_path / 'a.npy')
    assert not marker.exists()


@pytest.mark.filterwarnings('ignore')  # TorchScript is deprecated
def test_no_program_is_run_from_torch(tmp_path):
    path = tmp_path / 'a.pt'
    torch.jit.script(torch.nn.Linear(2, 2)).save(path)
    with pytest.raises(ValueError, match=r"a.pt' cannot be read.*never done$"):
        ArrayFile(path)


@pytest.mark.parametrize('suffix', SUFFIXES)
@pytest.mark.parametrize('content', [b'', b'\x93NUMPY', b'PK\x03\x04', b'x' * 600])
def test_damaged_files(tmp_path, suffix, content):
    path = tmp_path / f'a{suffix}'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"'{path}' cannot be read: ."):
        ArrayFile(path)


@pytest.mark.parametrize('suffix', SUFFIXES)
def test_truncated_files(tmp_path, arrays, suffix):
    path, x = tmp_path / f'a{suffix}', arrays['feature']
    if suffix == '.npz':
        np.savez(path, x=x)
    elif suffix == '.npy':
        np.save(path, x)
    elif suffix in ('.pt', '.pth'):
        torch.save(torch.from_numpy(x), path)
    elif suffix == '.mat':
        scipy.io.savemat(path, {'x': x})
    elif suffix == '.safetensors':
        save_file({'x': x}, path)
    else:
        with h5py.File(path, 'w') as file:
            file['x'] = x
    (key,) = ArrayFile(path)
    assert np.array_equal(ArrayFile(path)[key], x)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match='cannot be read: .'):
        ArrayFile(path)[key]


def test_an_archive_of_another_name_is_read_for_what_it_is(tmp_path):
    buffer = io.BytesIO()
    np.savez(buffer, x=np.ones(3))
    (tmp_path / 'a.npy').write_bytes(buffer.getvalue())
    assert ArrayFile(tmp_path / 'a.npy')['x'].tolist() == [1, 1, 1]


def test_missing_file_and_unknown_suffix(tmp_path):
    with pytest.raises(FileNotFoundError, match="'path'.*a.npz'"):
        ArrayFile(tmp_path / 'a.npz')
    (tmp_path / 'b.npz').mkdir()
    with pytest.raises(FileNotFoundError, match="'path'.*b.npz'"):
        ArrayFile(tmp_path / 'b.npz')
    with pytest.raises(ValueError, match=r"'path'.*\.npz, \.npy, .*a.pkl'"):
        ArrayFile(tmp_path / 'a.pkl')
    assert all(has_known_suffix(f'a{suffix}') for suffix in SUFFIXES)
    assert not has_known_suffix('npz')


def test_missing_library(tmp_path, monkeypatch):
    path = tmp_path / 'a.h5'
    path.write_bytes(b' ')
    monkeypatch.setitem(sys.modules, 'h5py', None)
    with pytest.raises(
        ImportError, match=r"'h5py': pip install torch_geometric_reid\[files\]"
    ):
        ArrayFile(path)
