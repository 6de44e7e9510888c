"""One reader a file format: which arrays there are, and how to get each."""

from collections.abc import Callable
from pathlib import Path

from torch_geometric_reid.datasets.read_hdf5 import read_hdf5
from torch_geometric_reid.datasets.read_matlab import read_matlab
from torch_geometric_reid.datasets.read_numpy import read_numpy
from torch_geometric_reid.datasets.read_safetensors import read_safetensors
from torch_geometric_reid.datasets.read_torch import read_torch
from torch_geometric_reid.datasets.reader import Arrays

READERS: dict[str, Callable[[Path, int], Arrays]] = {
    '.npz': read_numpy,
    '.npy': read_numpy,
    '.pt': read_torch,
    '.pth': read_torch,
    '.mat': read_matlab,
    '.h5': read_hdf5,
    '.hdf5': read_hdf5,
    '.safetensors': read_safetensors,
}
