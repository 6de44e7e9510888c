import re
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np

from torch_geometric_reid.atomic import write_atomically
from torch_geometric_reid.datasets.array_file import ArrayFile
from torch_geometric_reid.datasets.reader import BARE

OWN = re.compile(r'\.?(key\.txt|\d{5,}\.npy)(\.\d+)?')  # finished or not


class Parts:
    r"""An array that is computed part by part, each kept on disk until all are there.

    Args:
        folder (pathlib.Path): The folder of the parts.
        key (str): A fingerprint of what is computed. Parts of another are removed.
        resume (bool, optional): If set to :obj:`False`, all parts are removed.
            (default: :obj:`True`)
    """

    def __init__(self, folder: Path, key: str, resume: bool = True):
        self.folder = folder
        label = folder / 'key.txt'
        if not (resume and label.is_file() and label.read_bytes() == key.encode()):
            self.remove()
            write_atomically(label, lambda file: file.write(key.encode()))

    @property
    def num_done(self) -> int:
        r"""The number of parts on disk without a gap."""
        i = 0
        while self._path(i).is_file():
            i += 1
        return i

    def save(self, i: int, array: np.ndarray) -> None:
        r"""Keeps a part on disk, which is then the last one."""
        self._path(i + 1).unlink(missing_ok=True)
        write_atomically(self._path(i), partial(np.save, arr=array))

    def join(self) -> np.ndarray:
        r"""Returns all parts without a gap as one array."""
        paths = [self._path(i) for i in range(self.num_done)]
        return np.concatenate([ArrayFile(path)[BARE] for path in paths])

    def remove(self) -> None:
        r"""Removes the parts, and the folder unless it holds other files."""
        if not self.folder.is_dir():
            return
        for path in self.folder.iterdir():
            if OWN.fullmatch(path.name):
                path.unlink()
        with suppress(OSError):
            self.folder.rmdir()

    def _path(self, i: int) -> Path:
        return self.folder / f'{i:05}.npy'
