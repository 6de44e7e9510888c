import math
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from torch_geometric_reid.datasets.bounds import check_size
from torch_geometric_reid.datasets.reader import NO_TEXT, Arrays
from torch_geometric_reid.optional import require


def read_hdf5(path: Path, limit: int) -> Arrays:
    r"""Finds the arrays of an HDF5 file, also where MATLAB wrote it."""
    h5py = require('h5py', f"'{path}'", 'files')

    def read(key: str) -> Any:
        with h5py.File(path, 'r') as file:
            return _read(h5py, file, file[key], limit)

    keys: list[str] = []

    def visit(key: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and not key.startswith('#'):
            keys.append(key)  # MATLAB keeps the content of cells in '#refs#'

    with h5py.File(path, 'r') as file:
        file.visititems(visit)
    return {key: partial(read, key) for key in keys}


def _read(h5py: Any, file: Any, item: Any, limit: int) -> Any:
    kind = item.attrs.get('MATLAB_class')
    if kind == b'cell' and h5py.check_ref_dtype(item.dtype):
        _check(item, limit)
        cells = item[()].T.ravel()
        return _texts(cells, lambda cell: _cell_text(file[cell], limit), limit)
    if h5py.check_string_dtype(item.dtype) and item.dtype.hasobject:
        return _read_strings(file, item, limit)
    if item.dtype.hasobject:
        raise ValueError('it needs to hold numbers or text')
    _check(item, limit)
    if kind is None:
        return item[()]
    array = item[()].T  # MATLAB stores columns first
    if kind == b'char':
        return [''.join(map(chr, row)).rstrip() for row in array]
    return array


def _check(item: Any, limit: int) -> None:
    # HDF5 fills what is not there, and reads from other files where it is told to.
    if item.external or item.is_virtual:
        raise ValueError('it lies in other files, which are never read')
    if item.shape is None:
        raise ValueError('it is empty')
    check_size(math.prod(item.shape) * item.dtype.itemsize, limit)
    check_size(math.prod(item.chunks or ()) * item.dtype.itemsize, limit)


def _read_strings(file: Any, item: Any, limit: int) -> np.ndarray:
    # Many items may share one long text, so that they are read a few at a time.
    _check(item, limit)
    if not item.shape:
        return item[()]
    length = max(item.shape)
    if math.prod(item.shape) != length:
        raise ValueError(f'its text has the shape {list(item.shape)}')
    axis = item.shape.index(length)
    step = max(1, limit // Path(file.filename).stat().st_size)
    texts: list[bytes] = []
    num_bytes = 0
    for start in range(0, length, step):
        place = [slice(None)] * axis + [slice(start, start + step)]
        part = item[tuple(place)].ravel().tolist()
        num_bytes += sum(map(len, part))
        check_size(num_bytes, limit)
        texts += part
    array = np.empty(len(texts), dtype=object)
    array[:] = texts
    return array


def _texts(cells: Iterable[Any], read: Callable[[Any], str], limit: int) -> list[str]:
    texts, num_bytes = [], 0
    for cell in cells:
        texts.append(read(cell))
        num_bytes += 4 * len(texts[-1])
        check_size(num_bytes, limit)
    return texts


def _cell_text(item: Any, limit: int) -> str:
    if item.attrs.get('MATLAB_class') != b'char':
        raise ValueError(NO_TEXT)
    _check(item, limit)
    return ''.join(map(chr, item[()].ravel()))
