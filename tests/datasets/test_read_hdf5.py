"""HDF5's library hangs, crashes and unfolds in a process of its own."""

import base64
import gc
import os
import signal
import sys
import time
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from torch_geometric_reid.datasets import bounds, read_hdf5
from torch_geometric_reid.datasets.array_file import ArrayFile

# Found by `benchmarks/fuzz.py --random`: h5py 3.16 does not come back from 'name'.
HANGS = (
    'c-rgqaB<`1lHy_j0S*oZ76t(ZWbhvf4r-zDVe$!3nh{EOK<O1sFmXn(oCH){5NbZUx{x4OSCH!eX'
    'aHu90SkndU>F4>5qP*d27u@YC|?0epI|~&mzJ7XQd*SCkeLGE=OyN*BBxIa676MVV1wvogz+^XG!'
    'sOC6{-%JJTdspz!VEoDX1V16;ogk=U@=8hpXoR%QG=U4CDsNgBXl(`#8WkC?z#5C$S_IZY~EjCon'
    'THSFj?iW<gjTK$Ca~_VagP1p0~t77xt$)x$~?ZUOx2VEH;xa%7}uP<h9QrM!zKpl<^|Djz+)v5Xc'
    'KqhJ(_f>AIEM!_f;1;Ywd#4!ditpA_0pTVx)jeXzVPs;Z9uU@lVsK~khuhLGt%9qRRpA{F`|5G>F'
    'ANq6Q{#SkS`}15iZT-%Q9C*W(u#dTF{{9E0*8BTIxc5tZTDZ^l;3Yee!d82aO!Xejt`4M8&d7+`)'
    'nSEqZ3Mtd1vnU>-2n$Gb!nKS1rb(pAUvNjD4OVEIMjPfVsDyrjHcRAFbYP&C>RB!U>G;elG7U)$~'
    '6AUb1jHrlhfd3SbB#;m=V|xAgxse88DUv%7eyC1>jmaP+M0_5Mg+$iLp=$VgmZWZ^xhtC6GT4N})'
    'FIV0;!dd1f>|BN`tx_V4cO?*k490fZXl@J!LmDoBT_MHWwmiZi2$QyU~h?O{P{4JPRy-UE_CkN-r'
    'ddU&ehAI({#U=)mkQ7{Td!6+C7qkv+7zP@S{jDk@x3PwBt0MR<FE&'
)


def write_names(file, names):
    names = np.array(names, dtype=object)
    file.create_dataset('name', data=names, dtype=h5py.string_dtype())


@pytest.fixture
def path(tmp_path):
    with h5py.File(tmp_path / 'a.h5', 'w') as file:
        file['x'] = np.arange(6.0).reshape(2, 3)
        write_names(file, [b'a.jpg', b'\xc3\xbc.jpg'])
    return tmp_path / 'a.h5'


@pytest.fixture
def replace_answer(tmp_path, monkeypatch):
    """Returns a function that gives the program another answer."""

    def replace(code):
        program = tmp_path / 'program.py'
        folder = str(read_hdf5.PROGRAM.parent)
        program.write_text(
            f'import os, sys, time; sys.path.insert(0, {folder!r})\n'
            f'import hdf5_program; hdf5_program.answer = lambda *args: {code}\n'
            f'hdf5_program.main()\n'
        )
        monkeypatch.setattr(read_hdf5, 'PROGRAM', program)

    return replace


CHILDREN = Path(f'/proc/self/task/{os.getpid()}/children')


def processes():
    return set(map(int, CHILDREN.read_text().split()))


def test_a_file_that_hangs(tmp_path, monkeypatch):
    monkeypatch.setattr(bounds, 'SECONDS', 1)
    path = tmp_path / 'a.h5'
    path.write_bytes(zlib.decompress(base64.b85decode(HANGS)))
    file = ArrayFile(path)
    start = time.monotonic()
    with pytest.raises(ValueError, match=rf"'name' of '{path}' cannot be read: ."):
        file['name']
    assert time.monotonic() - start < 10
    assert file['feature'].shape == (5, 4)
    assert file['id'].tolist() == [7, 7, -1, 0, 12]


@pytest.mark.parametrize('code', ['time.sleep(99)', 'os.abort()', 'os._exit(0)'])
def test_a_library_that_gives_no_answer(path, replace_answer, monkeypatch, code):
    monkeypatch.setattr(bounds, 'SECONDS', 1)
    replace_answer(code)
    with pytest.raises(ValueError, match=rf"'{path}' cannot be read: .* for 1 sec"):
        ArrayFile(path)


def test_the_time_grows_with_the_file(tmp_path):
    path = tmp_path / 'a.h5'
    path.touch()
    os.truncate(path, 10 * bounds.BYTES_PER_SECOND)
    assert bounds.seconds_to_read(path) == bounds.SECONDS + 10


@pytest.mark.skipif(sys.platform != 'linux', reason='limits the memory on Linux')
def test_a_chunk_that_unfolds(tmp_path, monkeypatch):
    packer = zlib.compressobj(wbits=-15)
    head = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    checksum = (2**30 % 65521 << 16 | 1).to_bytes(4, 'big')
    chunk = b'x\x9c' + head + 1023 * block + packer.flush() + checksum
    path = tmp_path / 'a.h5'
    with h5py.File(path, 'w') as file:
        x = file.create_dataset('x', (8,), 'u1', chunks=(8,), compression='gzip')
        x.id.write_direct_chunk((0,), chunk)
    assert path.stat().st_size < 2**21
    monkeypatch.setattr(read_hdf5, 'memory_to_read', lambda limit: 2**28)  # of 2 ** 30
    with pytest.raises(ValueError, match=rf"'x' of '{path}' cannot be read: ."):
        ArrayFile(path, 2**24)['x']


@pytest.mark.skipif(not CHILDREN.exists(), reason='reads /proc')
def test_one_process_for_a_file_that_ends_with_it(path):
    before = processes()
    file = ArrayFile(path)
    assert file['x'].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert list(file['name']) == ['a.jpg', 'ü.jpg']
    (process,) = processes() - before
    os.kill(process, signal.SIGKILL)
    with pytest.raises(ValueError, match=rf"'x' of '{path}'.*library ended"):
        file['x']
    assert file['x'].shape == (2, 3)
    assert len(processes() - before) == 1
    del file
    gc.collect()
    assert processes() == before


def test_text_that_is_no_unicode_is_an_error(tmp_path):
    path = tmp_path / 'a.h5'
    with h5py.File(path, 'w') as file:
        write_names(file, [b'a.jpg', b'\xe9.jpg'])
    with pytest.raises(ValueError, match=rf"'name' of '{path}' cannot be .*'utf-8'"):
        ArrayFile(path)['name']


def test_answers_are_those_of_the_question(path, replace_answer):
    replace_answer("({'content': ['x']}, None) if args[1] is None else 1 / 0")
    file = ArrayFile(path)
    for _ in range(2):
        with pytest.raises(ValueError, match=rf"'x' of '{path}' cannot be read"):
            file['x']
    assert list(file) == ['x']


def test_a_fork_reads_with_a_process_of_its_own(path):
    file = ArrayFile(path)
    child = os.fork()
    if child == 0:
        os._exit(0 if file['x'].sum() == 15 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert file['x'].sum() == 15
