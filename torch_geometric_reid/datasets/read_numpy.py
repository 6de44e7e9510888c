import io
import math
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import ZipFile

import numpy as np
from numpy.lib import format as npy

from torch_geometric_reid.datasets.bounds import check_size
from torch_geometric_reid.datasets.reader import BARE, Arrays

ARCHIVES = (b'PK\x03\x04', b'PK\x05\x06')
HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
LONGEST_HEADER = 2**16


def read_numpy(path: Path, limit: int) -> Arrays:
    r"""Finds the arrays of an :obj:`.npz` or :obj:`.npy` file."""
    with path.open('rb') as file:
        is_archive = file.read(4) in ARCHIVES
        if not is_archive:
            file.seek(0)
            _check_header(file, path.stat().st_size, limit)
    if not is_archive:
        return {BARE: partial(_read_array, path)}
    with ZipFile(path) as archive:
        names = archive.namelist()
    return {
        name.removesuffix('.npy'): partial(_read_member, path, name, limit)
        for name in names
    }


def _read_array(path: Path) -> np.ndarray:
    with path.open('rb') as file:
        return npy.read_array(file, allow_pickle=False)


def _read_member(path: Path, name: str, limit: int) -> np.ndarray:
    with ZipFile(path) as archive:
        with archive.open(name) as file:
            _check_header(file, archive.getinfo(name).file_size, limit)
        with archive.open(name) as file:
            return npy.read_array(file, allow_pickle=False)


def _check_header(file: BinaryIO | Any, size: int, limit: int) -> None:
    # NumPy makes room for whatever the header announces before it reads on.
    head = io.BytesIO(file.read(LONGEST_HEADER))
    if not head.getvalue().startswith(npy.MAGIC_PREFIX):
        raise ValueError('it is no array of NumPy')
    version = npy.read_magic(head)
    if version not in HEADERS:
        raise ValueError(f'its array has the unknown version {version}')
    shape, _, dtype = HEADERS[version](head)
    if dtype.hasobject:
        raise ValueError('only pickle could load it')
    if min(shape, default=0) < 0:
        raise ValueError(f'its array has the shape {list(shape)}')
    num_bytes = math.prod(shape) * dtype.itemsize
    if head.tell() + num_bytes > size:
        raise ValueError(
            f'it is cut off: shape {list(shape)} and type {dtype} take '
            f'{num_bytes:,} bytes, it holds {size - head.tell():,}'
        )
    check_size(math.prod(shape) * (dtype.itemsize or 4), limit)  # NumPy widens empty
