from functools import partial
from pathlib import Path

from safetensors import safe_open
from torch import Tensor

from torch_geometric_reid.datasets.bounds import check_size
from torch_geometric_reid.datasets.reader import Arrays


def read_safetensors(path: Path, limit: int) -> Arrays:
    r"""Finds the arrays of a :obj:`.safetensors` file, whose own library compares
    all sizes with the file's.
    """
    check_size(path.stat().st_size, limit)

    def read(key: str) -> Tensor:
        with safe_open(path, framework='pt') as file:
            return file.get_tensor(key)

    with safe_open(path, framework='pt') as file:
        return {key: partial(read, key) for key in file.keys()}  # noqa: SIM118
