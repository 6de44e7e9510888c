"""Damaged files: a result or a documented error, in bounded memory.

`benchmarks/fuzz.py` does the same for longer.
"""

import runpy
import struct
import tracemalloc
import zipfile
from io import BytesIO
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from torch_geometric_reid.datasets import VeRi776, bounds
from torch_geometric_reid.datasets.array_file import ArrayFile
from torch_geometric_reid.datasets.images import read_image

FUZZ = runpy.run_path(str(Path(__file__).parents[2] / 'benchmarks' / 'fuzz.py'))
SEEDS = FUZZ['seeds']()
SUFFIXES = [suffix for suffix in SEEDS if suffix != '.h5']
MIB = 2**20


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('fuzz')
    FUZZ['prepare'](folder)
    return folder


@pytest.mark.parametrize('suffix', SEEDS)
def test_undamaged_files_are_read(folder, suffix):
    for data in SEEDS[suffix]:
        assert FUZZ['read'](folder, suffix, data) == 'read'


@pytest.mark.parametrize('suffix', SUFFIXES)
@settings(
    max_examples=15,
    deadline=5000,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(number=st.integers(0, 2**32), random=st.binary(max_size=64))
def test_damaged_files(folder, suffix, number, random):
    generator = np.random.default_rng(number)
    seed = SEEDS[suffix][number % len(SEEDS[suffix])]
    for data in (FUZZ['damage'](generator, seed), random, seed[:4] + random):
        assert FUZZ['read'](folder, suffix, data) in ('read', 'ValueError', 'TypeError')


def test_damaged_hdf5_files(folder, monkeypatch):
    monkeypatch.setattr(bounds, 'SECONDS', 1)
    generator = np.random.default_rng(0)  # few: each takes processes of its own
    for seed in 3 * SEEDS['.h5']:
        data = FUZZ['damage'](generator, seed)
        assert FUZZ['read'](folder, '.h5', data) in ('read', 'ValueError', 'TypeError')


def npy(shape, descr="'<f8'", filler=b''):
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}".encode()
    return b'\x93NUMPY\x01\x00' + struct.pack('<H', len(header)) + header + filler


def archive(data, size):
    file = BytesIO()
    with (
        zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as members,
        members.open('x.npy', 'w', force_zip64=True) as member,
    ):
        member.write(data)
        for _ in range(size // MIB):
            member.write(bytes(MIB))
    return file.getvalue()


def hdf5(**options):
    file = BytesIO()
    with h5py.File(file, 'w') as group:
        group.create_dataset('x', dtype='f8', **options)
    return file.getvalue()


def torch_file(value):
    file = BytesIO()
    torch.save(value, file)
    return file.getvalue()


def deep(depth):
    value = {}
    for _ in range(depth):
        value = {'a': value, 'b': value}
    return value


def compressed_torch():
    file = BytesIO(torch_file({'x': torch.zeros(64 * MIB // 4)}))
    out = BytesIO()
    with (
        zipfile.ZipFile(file) as source,
        zipfile.ZipFile(out, 'w', zipfile.ZIP_DEFLATED) as target,
    ):
        for name in source.namelist():
            target.writestr(name, source.read(name))
    return out.getvalue()


def matlab(shape):
    file = BytesIO()
    scipy.io.savemat(file, {'x': np.ones((1, 3))})
    return file.getvalue().replace(struct.pack('<ii', 1, 3), struct.pack('<ii', *shape))


def folded_matlab():
    file = BytesIO()
    scipy.io.savemat(file, {'x': np.zeros((2048, 2048))}, do_compression=True)
    return file.getvalue()


CLAIMS = {
    'shape of 10 ** 12': ('.npy', lambda: npy('(1000000, 1000000)'), 'cut off'),
    'negative shape': ('.npy', lambda: npy('(-1, 5)'), r'shape \[-1, 5\]'),
    'overflow': ('.npy', lambda: npy('(4294967296, 4294967296)'), 'cut off'),
    'objects': ('.npy', lambda: npy('(1,)', "'|O'"), 'Python objects'),
    'npz, cut off': ('.npz', lambda: archive(npy('(9, 9)'), 0), 'cut off'),
    'npz, folded': ('.npz', lambda: archive(npy('(99, 131072)'), 100 * MIB), 'memory'),
    'hdf5 without data': (
        '.h5',
        lambda: hdf5(shape=(10**6, 10**6), chunks=(100, 100)),
        'memory',
    ),
    'hdf5, other file': (
        '.h5',
        lambda: hdf5(shape=(2,), external=[('/etc/passwd', 0, 16)]),
        'other files',
    ),
    'torch, repeated': ('.pt', lambda: torch_file(torch.ones(1).expand(10**9)), 'mem'),
    'torch, meta': ('.pt', lambda: torch_file(torch.ones(9, device='meta')), 'meta'),
    'torch, laughs': ('.pt', lambda: torch_file(deep(40)), 'more than 65,536'),
    'torch, folded': ('.pt', compressed_torch, 'compressed'),
    'torch, sparse': (
        '.pt',
        lambda: torch_file(torch.sparse_coo_tensor([[0], [0]], [1.0], (10**6, 10**6))),
        'memory',
    ),
    'matlab, shape': ('.mat', lambda: matlab((2**30, 2**30)), 'memory'),
    'matlab, folded': ('.mat', folded_matlab, 'memory'),
    'safetensors, head': (
        '.safetensors',
        lambda: struct.pack('<Q', 2**40) + save({'x': np.ones(3)})[8:],
        'header too large',
    ),
}


@pytest.mark.parametrize('what', CLAIMS)
def test_what_a_file_claims_is_not_believed(tmp_path, what):
    suffix, make, match = CLAIMS[what]
    path = tmp_path / f'a{suffix}'
    path.write_bytes(make())
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=rf'a\{suffix}. cannot be read: .*{match}'):
            [ArrayFile(path, 16 * MIB)[key] for key in ArrayFile(path, 16 * MIB)]
        assert tracemalloc.get_traced_memory()[1] < 64 * MIB
    finally:
        tracemalloc.stop()


def test_the_limit_can_be_raised(tmp_path):
    np.savez_compressed(tmp_path / 'a.npz', x=np.zeros((4, 1024)))
    assert ArrayFile(tmp_path / 'a.npz')['x'].shape == (4, 1024)
    with pytest.raises(ValueError, match="32,768 bytes of memory.*1,000 .'max_bytes'"):
        ArrayFile(tmp_path / 'a.npz', 1000)['x']
    assert ArrayFile(tmp_path / 'a.npz', 2**15)['x'].shape == (4, 1024)


def test_entities_are_not_expanded(folder):
    text = '<!DOCTYPE a [<!ENTITY b "b">]><TrainingImages>&b;</TrainingImages>'
    (folder / 'train_label.xml').write_text(text)
    with pytest.raises(ValueError, match='train_label.xml.*document type'):
        VeRi776.images(folder, 'train')
    (folder / 'train_label.xml').unlink()


def test_pictures_of_too_many_pixels(folder, monkeypatch):
    monkeypatch.setattr('PIL.Image.MAX_IMAGE_PIXELS', 20)
    path = folder / 'image_train' / FUZZ['PICTURE']
    with (
        pytest.warns(Warning, match='decompression bomb'),
        pytest.raises(ValueError, match='4 x 6 pixels.*20'),
    ):
        read_image(path)
    monkeypatch.setattr('PIL.Image.MAX_IMAGE_PIXELS', None)
    assert read_image(path).shape == (6, 4, 3)
