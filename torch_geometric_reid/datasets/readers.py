"""One reader a file format: which arrays there are, and how to get each."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.data.data import DataEdgeAttr, DataTensorAttr
from torch_geometric.data.storage import GlobalStorage

from torch_geometric_reid.optional import require

BARE = 'array'  # the key of an array that its file gives no name
PARTS_OF_DATA = [DataEdgeAttr, DataTensorAttr, GlobalStorage]  # PyG allows `Data`
NO_TEXT = 'cells of a cell array need to be text'

Arrays = dict[str, Callable[[], Any]]


def read_numpy(path: Path) -> Arrays:
    def read(key: str) -> np.ndarray:
        with np.load(path, allow_pickle=False) as file:
            return file[key]

    file = np.load(path, allow_pickle=False)
    if isinstance(file, np.ndarray):
        return {BARE: lambda: file}
    with file:
        return {key: partial(read, key) for key in file.files}


def read_safetensors(path: Path) -> Arrays:
    def read(key: str) -> Tensor:
        with safe_open(path, framework='pt') as file:
            return file.get_tensor(key)

    with safe_open(path, framework='pt') as file:
        return {key: partial(read, key) for key in file.keys()}  # noqa: SIM118


def read_torch(path: Path) -> Arrays:
    def read(value: Any) -> Any:
        return value.detach().to_dense() if isinstance(value, Tensor) else value

    arrays: Arrays = {}

    def add(key: str, value: Any) -> None:
        if isinstance(value, Data):
            value = value.to_dict()
        if isinstance(value, dict):
            for name, item in value.items():
                add(f'{key}/{name}' if key else str(name), item)
        else:
            arrays[key or BARE] = partial(read, value)

    with torch.serialization.safe_globals(PARTS_OF_DATA):
        add('', torch.load(path, map_location='cpu', weights_only=True))
    return arrays


def read_hdf5(path: Path) -> Arrays:
    h5py = require('h5py', f"'{path}'", 'files')

    def read(key: str) -> Any:
        with h5py.File(path, 'r') as file:
            return _hdf5_array(file, file[key])

    keys: list[str] = []

    def visit(key: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and not key.startswith('#'):
            keys.append(key)  # MATLAB keeps the content of cells in '#refs#'

    with h5py.File(path, 'r') as file:
        file.visititems(visit)
    return {key: partial(read, key) for key in keys}


def read_matlab(path: Path) -> Arrays:
    with path.open('rb') as file:
        head = file.read(520)
    if b'\x89HDF\r\n\x1a\n' in (head[:8], head[512:]):  # version 7.3
        return read_hdf5(path)
    io = require('scipy.io', f"'{path}'", 'files')

    def read(key: str) -> Any:
        array = io.loadmat(path, variable_names=[key])[key]
        if array.dtype.kind == 'U':
            return np.char.rstrip(array)
        if array.dtype == object:
            return [_cell_text(cell) for cell in array.ravel()]
        return array

    return {key: partial(read, key) for key, _, _ in io.whosmat(path)}


def _hdf5_array(file: Any, item: Any) -> Any:
    kind, array = item.attrs.get('MATLAB_class'), item[()]
    if kind is None:
        return array
    array = array.T  # MATLAB stores columns first
    if kind == b'char':
        return [''.join(map(chr, row)).rstrip() for row in array]
    if kind == b'cell':
        return [_hdf5_text(file[cell]) for cell in array.ravel()]
    return array


def _hdf5_text(item: Any) -> str:
    if item.attrs.get('MATLAB_class') != b'char':
        raise ValueError(NO_TEXT)
    return ''.join(map(chr, item[()].ravel()))


def _cell_text(cell: np.ndarray) -> str:
    if cell.dtype.kind != 'U':
        raise ValueError(NO_TEXT)
    return ''.join(cell.ravel())


READERS: dict[str, Callable[[Path], Arrays]] = {
    '.npz': read_numpy,
    '.npy': read_numpy,
    '.pt': read_torch,
    '.pth': read_torch,
    '.mat': read_matlab,
    '.h5': read_hdf5,
    '.hdf5': read_hdf5,
    '.safetensors': read_safetensors,
}
