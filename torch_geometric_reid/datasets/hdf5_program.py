r"""A program that reads one HDF5 file, for :obj:`read_hdf5.py`.

HDF5's own library can hang, crash or unfold without bound on a damaged file, so it runs
in a process that ends itself when its time is up. It stands alone, as the rest of the
package takes long to import. The only argument is JSON: the path, the limit of bytes
for an array, the seconds for an answer and the bytes of memory to work in. Each line of
the input is JSON: the key of an array, or none to list all. The answer is a line of
JSON, which NumPy's format follows for an array.
"""

import faulthandler
import json
import math
import os
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
from numpy.lib import format as npy


class TooLarge(Exception):
    r"""What was announced is larger than what is allowed."""


def answer(
    path: str, key: str | None, limit: int
) -> tuple[dict[str, Any], np.ndarray | None]:
    r"""Returns the answer and, if it is an array, its content.

    Args:
        path (str): The file.
        key (str, optional): The key of an array, or none to list all.
        limit (int): The most bytes that an array may take.
    """
    try:
        with h5py.File(path, 'r') as file:
            content = _keys(file) if key is None else _read(file, file[key], limit)
    except TooLarge as error:
        return {'too_large': error.args[0]}, None
    except Exception as error:
        return {'error': str(error) or type(error).__name__}, None
    if isinstance(content, str | list):
        return {'content': content}, None
    return {'array': True}, np.asarray(content)


def _keys(file: h5py.File) -> list[str]:
    keys: list[str] = []

    def visit(key: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and not key.startswith('#'):
            keys.append(key)  # MATLAB keeps the content of cells in '#refs#'

    file.visititems(visit)
    return keys


def _read(file: h5py.File, item: Any, limit: int) -> Any:
    kind = item.attrs.get('MATLAB_class')
    if kind == b'cell' and h5py.check_ref_dtype(item.dtype):
        _check(item, limit)
        cells = item[()].T.ravel()
        return _texts(cells, lambda cell: _cell_text(file[cell], limit), limit)
    if h5py.check_string_dtype(item.dtype) and item.dtype.hasobject:
        return _strings(item, limit, os.stat(file.filename).st_size)
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
    _check_size(math.prod(item.shape) * item.dtype.itemsize, limit)
    _check_size(math.prod(item.chunks or ()) * item.dtype.itemsize, limit)


def _check_size(num_bytes: int, limit: int) -> None:
    if num_bytes > limit:
        raise TooLarge(num_bytes)


def _strings(item: Any, limit: int, file_size: int) -> str | list[str]:
    # Many items may share one long text, so that they are read a few at a time.
    _check(item, limit)
    if not item.shape:
        return item[()].decode()
    length = max(item.shape)
    if math.prod(item.shape) != length:
        raise ValueError(f'its text has the shape {list(item.shape)}')
    axis = item.shape.index(length)
    step = max(1, limit // file_size)
    texts: list[str] = []
    num_bytes = 0
    for start in range(0, length, step):
        place = [slice(None)] * axis + [slice(start, start + step)]
        part = item[tuple(place)].ravel().tolist()
        num_bytes += sum(map(len, part))
        _check_size(num_bytes, limit)
        texts += map(bytes.decode, part)
    return texts


def _texts(cells: Iterable[Any], read: Callable[[Any], str], limit: int) -> list[str]:
    texts, num_bytes = [], 0
    for cell in cells:
        texts.append(read(cell))
        num_bytes += 4 * len(texts[-1])
        _check_size(num_bytes, limit)
    return texts


def _cell_text(item: Any, limit: int) -> str:
    if item.attrs.get('MATLAB_class') != b'char':
        raise ValueError('cells of a cell array need to be text')
    _check(item, limit)
    return ''.join(map(chr, item[()].ravel()))


def _limit_memory(num_bytes: int) -> None:
    with suppress(ImportError, OSError):  # where the system is not Linux
        import resource

        with open('/proc/self/statm') as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        limit = used + num_bytes
        if hard == resource.RLIM_INFINITY or limit < hard:
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def main() -> None:
    r"""Answers until the input ends."""
    task = json.loads(sys.argv[1])
    _limit_memory(task['memory'])
    out = sys.stdout.buffer
    for line in sys.stdin.buffer:
        faulthandler.dump_traceback_later(task['seconds'], exit=True)
        head, array = answer(task['path'], json.loads(line), task['limit'])
        faulthandler.cancel_dump_traceback_later()
        out.write(json.dumps(head).encode() + b'\n')
        if array is not None:
            npy.write_array(SimpleNamespace(write=out.write), array, allow_pickle=False)
        out.flush()


if __name__ == '__main__':
    main()
