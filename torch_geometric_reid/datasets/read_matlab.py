import math
import struct
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from torch_geometric_reid.datasets.bounds import check_size
from torch_geometric_reid.datasets.read_hdf5 import read_hdf5
from torch_geometric_reid.datasets.reader import NO_TEXT, Arrays

HDF5 = b'\x89HDF\r\n\x1a\n'
HEADER = 128
LONGEST_HEAD = 2**12
MATRIX, COMPRESSED = 14, 15
CELL, CHAR, LAST_KIND = 1, 4, 15
COMPLEX = 0x800
OTHERS = {2: 'a struct', 3: 'an object', 5: 'a sparse array'}
KINDS = {6: 'f8', 7: 'f4', 8: 'i1', 9: 'u1', 10: 'i2', 11: 'u2', 12: 'i4', 13: 'u4'}
KINDS |= {14: 'i8', 15: 'u8'}
SAVED = {1: 'i1', 2: 'u1', 3: 'i2', 4: 'u2', 5: 'i4', 6: 'u4', 7: 'f4', 9: 'f8'}
SAVED |= {12: 'i8', 13: 'u8'}  # whole numbers are saved in fewer bytes
LETTERS = {1: 'latin1', 2: 'latin1', 4: 'utf-16', 16: 'utf-8', 17: 'utf-16'}
LETTERS |= {18: 'utf-32'}


class Matrix(NamedTuple):
    r"""What an array of MATLAB says about itself before its content.

    Args:
        kind (int): The class of its items.
        shape (tuple[int, ...]): Its shape.
        name (str): Its name.
        end (int): The number of bytes that say so.
        is_complex (bool): Whether its items are complex numbers.
    """

    kind: int
    shape: tuple[int, ...]
    name: str
    end: int
    is_complex: bool


def read_matlab(path: Path, limit: int) -> Arrays:
    r"""Finds the arrays of a file of MATLAB, version 5 to 7.3.

    SciPy is not asked: it makes room for whatever an array announces, and damaged
    files end its process.
    """
    with path.open('rb') as file:
        header = file.read(HEADER)
        file.seek(512)
        if HDF5 in (header[:8], file.read(8)):  # version 7.3
            return read_hdf5(path, limit)
        if 0 in header[:4] or header[126:] not in (b'IM', b'MI'):
            raise ValueError('it is no file of MATLAB of version 5 to 7.3')
        order = '<' if header[126:] == b'IM' else '>'
        return {
            name: partial(_read, path, name, start, order, limit)
            for name, start in _find(file, path.stat().st_size, order)
        }


def _find(file: Any, size: int, order: str) -> Iterator[tuple[str, int]]:
    start = HEADER
    while start < size:
        file.seek(start)
        kind, length = _unpack(order + 'II', file.read(8))
        if start + 8 + length > size:
            raise ValueError('it is cut off')
        data = file.read(min(length, LONGEST_HEAD))
        if kind == COMPRESSED:
            data = zlib.decompressobj().decompress(data, LONGEST_HEAD)[8:]
        elif kind != MATRIX:
            raise ValueError(f'it holds an element of the unknown type {kind}')
        if _unpack(order + 'I', data, 8)[0] & 255 <= LAST_KIND:  # and no function
            yield _matrix(data, order).name, start
        start += 8 + length


def _read(path: Path, name: str, start: int, order: str, limit: int) -> Any:
    with path.open('rb') as file:
        file.seek(start)
        kind, length = _unpack(order + 'II', file.read(8))
        data = file.read(length)
    if kind == COMPRESSED:
        data = _inflate(data, limit)[8:]
    return _content(data, _matrix(data, order), order, limit)


def _content(data: bytes, matrix: Matrix, order: str, limit: int) -> Any:
    num_items = math.prod(matrix.shape)
    if matrix.kind == CELL:
        return _cells(data, matrix, order, limit)
    if matrix.kind == CHAR:
        return np.array(_rows(data, matrix, order, limit))
    if matrix.kind not in KINDS or matrix.is_complex:
        what = OTHERS.get(matrix.kind, 'not of real numbers')
        raise ValueError(f'it is {what}, which is not read')
    check_size(num_items * np.dtype(KINDS[matrix.kind]).itemsize, limit)
    saved, content, _ = _element(data, matrix.end, order)
    if saved not in SAVED:
        raise ValueError(f'its numbers are of the unknown type {saved}')
    numbers = np.frombuffer(content, order + SAVED[saved])
    if len(numbers) != num_items:
        raise ValueError(f'it has {len(numbers)} numbers for {list(matrix.shape)}')
    return numbers.astype(KINDS[matrix.kind]).reshape(matrix.shape, order='F')


def _inflate(data: bytes, limit: int) -> bytes:
    stream = zlib.decompressobj()
    content = stream.decompress(data, limit + 1)
    check_size(len(content), limit)
    if not stream.eof:
        raise ValueError('it is cut off')
    return content


def _cells(data: bytes, matrix: Matrix, order: str, limit: int) -> list[str]:
    start = matrix.end
    texts: list[str] = []
    while start < len(data):
        kind, content, start = _element(data, start, order)
        if kind != MATRIX:
            raise ValueError(NO_TEXT)
        cell = _matrix(content, order)
        if cell.kind != CHAR:
            raise ValueError(NO_TEXT)
        texts.append(''.join(_rows(content, cell, order, limit)))
    if len(texts) != math.prod(matrix.shape):
        raise ValueError(f'it has {len(texts)} cells for shape {list(matrix.shape)}')
    return texts


def _rows(data: bytes, matrix: Matrix, order: str, limit: int) -> list[str]:
    num_letters = math.prod(matrix.shape)
    check_size(4 * num_letters, limit)
    if num_letters == 0:
        return [''] * min(matrix.shape[0], 1)
    saved, content, _ = _element(data, matrix.end, order)
    if saved not in LETTERS:
        raise ValueError(f'its letters are of the unknown type {saved}')
    encoding = LETTERS[saved]
    if encoding in ('utf-16', 'utf-32'):
        encoding += '-le' if order == '<' else '-be'
    letters = content.decode(encoding)
    if len(letters) != num_letters or len(matrix.shape) != 2:
        raise ValueError(
            f'it has {len(letters)} letters for shape {list(matrix.shape)}'
        )
    return [letters[row :: matrix.shape[0]].rstrip() for row in range(matrix.shape[0])]


def _matrix(data: bytes, order: str) -> Matrix:
    (flags,) = _unpack(order + 'I', data, 8)
    (length,) = _unpack(order + 'I', data, 20)
    shape = _unpack(f'{order}{length // 4 if length < LONGEST_HEAD else 0}i', data, 24)
    if len(shape) < 2 or min(shape) < 0:
        raise ValueError(f'its array has the shape {list(shape)}')
    _, name, end = _element(data, 24 + _padded(length), order)
    is_complex = bool(flags & COMPLEX)
    return Matrix(flags & 255, shape, name.decode('latin1'), end, is_complex)


def _element(data: bytes, start: int, order: str) -> tuple[int, bytes, int]:
    # Its type, its content, and where the next one begins.
    (kind,) = _unpack(order + 'I', data, start)
    if kind >> 16:  # up to four bytes lie in the head itself
        length, kind = kind >> 16, kind & 0xFFFF
        begin, end = start + 4, start + 8
    else:
        (length,) = _unpack(order + 'I', data, start + 4)
        begin, end = start + 8, start + 8 + _padded(length)
    content = data[begin : begin + length]
    if len(content) != length:
        raise ValueError('it is cut off')
    return kind, content, end


def _padded(length: int) -> int:
    return (length + 7) // 8 * 8


def _unpack(form: str, data: bytes, start: int = 0) -> tuple[int, ...]:
    try:
        return struct.unpack_from(form, data, start)
    except struct.error as error:
        raise ValueError('it is cut off') from error
