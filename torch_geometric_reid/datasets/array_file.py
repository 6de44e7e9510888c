import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

from torch_geometric_reid.datasets.bounds import default_limit
from torch_geometric_reid.datasets.readers import READERS


class ArrayFile(Mapping[str, Any]):
    r"""The named arrays of a file, each read when it is asked for.

    No pickle is ever run: arrays of Python objects are an error. Groups and
    nested dictionaries are flattened to keys such as :obj:`"query/feature"`, an
    array without a name has the key :obj:`"array"`, and MATLAB's arrays have
    the shape that they have in MATLAB.

    Args:
        path (str or os.PathLike): A file that ends in :obj:`.npz`, :obj:`.npy`,
            :obj:`.pt`, :obj:`.pth`, :obj:`.mat`, :obj:`.h5`, :obj:`.hdf5` or
            :obj:`.safetensors`.
        max_bytes (int, optional): The most memory that an array may take. A file of a
            few bytes can announce an array of any size, or unfold to it. By default,
            64 times the size of the file, and at least 256 MiB.
            (default: :obj:`None`)

    Raises:
        FileNotFoundError: If there is no such file.
        ImportError: If :obj:`h5py` is needed and not installed.
        ValueError: If the file ends in something else or cannot be read.
    """

    def __init__(self, path: str | PathLike[str], max_bytes: int | None = None):
        self.path = Path(path)
        self.max_bytes = max_bytes
        if not has_known_suffix(path):
            raise ValueError(
                f"'path' needs to end in one of {', '.join(READERS)} (got '{path}')"
            )
        if not self.path.is_file():
            raise FileNotFoundError(f"'path' needs to be a file (got '{path}')")
        with _naming(f"'{self.path}'"):
            limit = default_limit(self.path) if max_bytes is None else max_bytes
            self._arrays = READERS[self.path.suffix.lower()](self.path, limit)

    def __getitem__(self, key: str) -> Any:
        read = self._arrays[key]
        with _naming(f"'{key}' of '{self.path}'"):
            return read()

    def __contains__(self, key: object) -> bool:
        return key in self._arrays

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)


def has_known_suffix(path: str | PathLike[str]) -> bool:
    r"""Returns whether there is a reader for the files with this suffix."""
    return Path(path).suffix.lower() in READERS


@contextmanager
def _naming(what: str) -> Iterator[None]:
    try:
        yield
    except ImportError:
        raise
    except Exception as error:
        reason = str(error).strip().split('\n')[0] or type(error).__name__
        if isinstance(error, pickle.UnpicklingError) or any(
            word in reason for word in ('pickle', 'weights_only')
        ):
            reason = (
                'it is damaged, or holds Python objects that only pickle could '
                'load, which is never done'
            )
        raise ValueError(f'{what} cannot be read: {reason}') from error
