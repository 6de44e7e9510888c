r"""States of a training on disk."""

import hashlib
import json
import re
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from torch_geometric_reid.atomic import read_tensors, write_tensors
from torch_geometric_reid.pipeline.folder_lock import FolderLock

SUFFIX = '.state.safetensors'
UNFINISHED = re.compile(rf'\..+{re.escape(SUFFIX)}\.\d+')


class Saved(NamedTuple):
    r"""What was saved of a stage.

    Attributes:
        tensors: Weights and whatever else changes in training.
        progress: How far it is, as JSON can hold it.
    """

    tensors: dict[str, Tensor]
    progress: dict[str, Any]


class Checkpoint:
    r"""A folder in which a training leaves its state, to go on from there after
    whatever interrupted it.

    .. code-block:: python

        with Checkpoint('runs/state') as checkpoint:
            fa = train_fa(x, y, FAConfig(), checkpoint=checkpoint)

    Run again, this goes on where it was, and ends with the same weights to the bit
    (on a GPU, whose sums are in no fixed order, up to rounding). A stage that is
    finished is loaded. Each stage has a file :obj:`STAGE.state.safetensors`, written
    beside its place and then moved there, and the state before it,
    :obj:`STAGE.previous.state.safetensors`. A file holds the hash of its content and
    what it depends on: options, seed, device and the hash of the data. One that is
    damaged is set aside, with a warning, and the one before it is read.

    The folder is kept for one process until :meth:`close`, or until the process ends.

    Args:
        folder (pathlib.Path): The folder, which is made if it does not exist.
        key (dict, optional): What all stages depend on besides their own options
            and data, as JSON can hold it. (default: :obj:`None`)
        every (float, optional): Seconds from one state to the next, at least zero
            (after each step). The end of a stage is always saved.
            (default: :obj:`30.0`)

    Raises:
        ImportError: If the system has no locks of folders (Windows).
        RuntimeError: If another process uses the folder.
        ValueError: If :obj:`every` is negative.
    """

    def __init__(
        self,
        folder: str | Path,
        key: Mapping[str, Any] | None = None,
        every: float = 30.0,
    ):
        if not every >= 0:
            raise ValueError(f"'every' needs to be at least 0 seconds (got {every})")
        self.folder = Path(folder)
        self.key = {} if key is None else dict(key)
        self.every = every
        self._lock = FolderLock(self.folder)
        for path in self.folder.iterdir():
            if UNFINISHED.fullmatch(path.name):  # of a process that was killed
                path.unlink()
        self._saved_at = time.monotonic()

    def load(self, stage: str, key: Mapping[str, Any]) -> Saved | None:
        r"""Returns the last good state of a stage, if there is one.

        Args:
            stage (str): The name of the stage.
            key (dict): All that it depends on, as JSON can hold it.

        Raises:
            RuntimeError: If the checkpoint was closed.
            ValueError: If the state belongs to other data or options.
        """
        self._lock.check_held()
        for path in self._paths(stage):
            try:
                tensors, metadata = read_tensors(path)
                _check_metadata(metadata)
            except FileNotFoundError:
                continue
            except ValueError as error:
                aside = path.with_suffix('.damaged')
                path.replace(aside)
                warnings.warn(
                    f"'{path}' is damaged ({error}) and was moved to '{aside.name}'; "
                    f"stage '{stage}' goes on from an earlier state, or from its start",
                    stacklevel=2,
                )
                continue
            others = _differences(json.loads(metadata['key']), self._key(key))
            if others:
                raise ValueError(
                    f"'{path}' belongs to other data or options "
                    f'(other: {", ".join(others)}); take another folder, or remove it'
                )
            return Saved(tensors, json.loads(metadata['progress']))
        return None

    def save(self, stage: str, key: Mapping[str, Any], saved: Saved) -> None:
        r"""Saves the state of a stage, and keeps the one before it.

        Args:
            stage (str): The name of the stage.
            key (dict): All that it depends on, as JSON can hold it.
            saved (Saved): The state.

        Raises:
            FileNotFoundError: If the folder was removed since it was opened.
            OSError: If the disk is full, or the file cannot be written for another
                reason. States on disk stay as they are.
            RuntimeError: If the checkpoint was closed.
        """
        self._lock.check()
        path, previous = self._paths(stage)
        texts = [json.dumps(self._key(key)), json.dumps(saved.progress)]
        metadata = dict(zip(TEXTS, [*texts, _hash(texts)], strict=True))
        write_tensors(path, saved.tensors, metadata, previous)
        self._saved_at = time.monotonic()

    def is_due(self) -> bool:
        r"""Returns whether it is time for the next state."""
        return time.monotonic() - self._saved_at >= self.every

    def close(self) -> None:
        r"""Lets the next process have the folder."""
        self._lock.release()

    def __enter__(self) -> 'Checkpoint':
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    def _key(self, key: Mapping[str, Any]) -> dict[str, Any]:
        return json.loads(json.dumps({**self.key, **key}))  # tuples as lists

    def _paths(self, stage: str) -> tuple[Path, Path]:
        return (
            self.folder / f'{stage}{SUFFIX}',
            self.folder / f'{stage}.previous{SUFFIX}',
        )


TEXTS = ('key', 'progress', 'texts_digest')


def _hash(texts: list[str]) -> str:
    return hashlib.sha256('\n'.join(texts).encode()).hexdigest()


def _check_metadata(metadata: dict[str, str]) -> None:
    if not metadata.keys() >= set(TEXTS):
        raise ValueError('it is no state of a training')
    *texts, expected = [metadata[name] for name in TEXTS]
    if _hash(texts) != expected:
        raise ValueError('its texts are not those that were written')


def _differences(old: Any, new: Any, name: str = '') -> list[str]:
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return [] if old == new else [name]
    names = sorted(old.keys() | new.keys())
    prefix = f'{name}.' if name else ''
    return [
        out
        for part in names
        for out in _differences(old.get(part), new.get(part), prefix + part)
    ]
