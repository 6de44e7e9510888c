r"""What was trained or computed before, on disk."""

import hashlib
import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from torch_geometric_reid import __version__
from torch_geometric_reid.atomic import read_tensors, write_tensors


class Cache:
    r"""Tensors in a folder, each file named by the hash of what it was made from.

    A file is written beside its place and then moved there, so that it is whole
    or not there at all. It holds its key and the hash of its tensors; a file that
    does not agree with them is made anew, with a warning.

    Args:
        folder (pathlib.Path): The folder, which is made at the first file.
    """

    def __init__(self, folder: Path):
        self.folder = Path(folder)

    def get(
        self,
        kind: str,
        key: Mapping[str, Any],
        make: Callable[[], Mapping[str, Tensor]],
    ) -> dict[str, Tensor]:
        r"""Returns tensors from the folder, or makes and keeps them.

        Args:
            kind (str): What they are; files' names begin with it.
            key (dict): All that they depend on, as JSON can hold it.
            make (callable): Makes them.

        Returns:
            The tensors, on the CPU.
        """
        text = json.dumps({**key, 'kind': kind, 'version': __version__}, sort_keys=True)
        name = hashlib.sha256(text.encode()).hexdigest()[:24]
        path = self.folder / f'{kind}-{name}.safetensors'
        if path.exists():
            try:
                return _read(path, text)
            except (OSError, ValueError) as error:
                warnings.warn(
                    f"'{path}' is damaged and is made anew ({error})", stacklevel=2
                )
        return write_tensors(path, make(), {'key': text})


def _read(path: Path, text: str) -> dict[str, Tensor]:
    tensors, metadata = read_tensors(path)
    if metadata.get('key') != text:
        raise ValueError('it was made from something else')
    return tensors
