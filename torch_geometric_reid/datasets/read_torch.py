import math
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.data.data import DataEdgeAttr, DataTensorAttr
from torch_geometric.data.storage import GlobalStorage

from torch_geometric_reid.datasets.bounds import check_size
from torch_geometric_reid.datasets.pickled_tuples import check_tuples
from torch_geometric_reid.datasets.reader import BARE, Arrays

PARTS_OF_DATA = [DataEdgeAttr, DataTensorAttr, GlobalStorage]  # PyG allows `Data`
PICKLES = 5  # of a file before PyTorch 1.6; the arrays are behind them
MOST_ITEMS = 2**16
LONGEST_KEY = 2**10
NUMBERS = {
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.bool),
    *(torch.uint8, torch.uint16, torch.uint32, torch.uint64),
    *(torch.int8, torch.int16, torch.int32, torch.int64),
}


def read_torch(path: Path, limit: int) -> Arrays:
    r"""Finds the arrays of a :obj:`.pt` file, in dictionaries of dictionaries and in
    :class:`~torch_geometric.data.Data`.
    """
    _check_archive(path)
    with (
        torch.serialization.safe_globals(PARTS_OF_DATA),
        torch.sparse.check_sparse_tensor_invariants(),
    ):
        content = torch.load(path, map_location='cpu', weights_only=True)
    return {key: partial(_read, value, limit) for key, value in _flatten(content)}


def _check_archive(path: Path) -> None:
    with path.open('rb') as file:
        if file.read(4) != b'PK\x03\x04':
            file.seek(0)
            for _ in range(PICKLES):
                check_tuples(file)
            return
    with ZipFile(path) as archive:
        records = archive.infolist()
        for record in records:
            if record.filename.lower().endswith('data.pkl'):
                with archive.open(record) as file:
                    check_tuples(file)
    if any(record.compress_type != ZIP_STORED for record in records):
        raise ValueError(
            'its records are compressed, as those of a program are, and to run one is '
            'never done'
        )
    if sum(record.file_size for record in records) > path.stat().st_size:
        raise ValueError('its records are longer than the file')


def _flatten(content: Any) -> list[tuple[str, Any]]:
    found, queue, num_items = [], [('', content)], 0
    while queue:
        key, value = queue.pop()
        num_items += 1
        if num_items > MOST_ITEMS or len(key) > LONGEST_KEY:
            raise ValueError(
                f'it holds more than {MOST_ITEMS:,} arrays, or names of more than '
                f'{LONGEST_KEY:,} letters'
            )
        if isinstance(value, Data):
            value = value.to_dict()
        if isinstance(value, dict):
            items = [
                (f'{key}/{name}' if key else str(name), item)
                for name, item in value.items()
            ]
            queue += reversed(items)
        else:
            found.append((key or BARE, value))
    return found


def _read(value: Any, limit: int) -> Any:
    if isinstance(value, list | tuple):
        _check_list(value, limit)
    if not isinstance(value, Tensor):
        return value
    if value.dtype not in NUMBERS or value.device.type != 'cpu' or value.is_nested:
        raise ValueError(
            f'it needs to be a plain tensor of numbers (got {value.dtype} on device '
            f"'{value.device}'{', nested' if value.is_nested else ''})"
        )
    check_size(math.prod(value.shape) * value.element_size(), limit)
    return value.detach().to_dense()


def _check_list(value: list | tuple, limit: int) -> None:
    rows = [item for item in value if isinstance(item, list | tuple)]
    for row in rows:
        if any(isinstance(item, list | tuple) for item in row):
            raise ValueError('it is a list of lists of lists')
    check_size(8 * (len(value) + sum(map(len, rows))), limit)
