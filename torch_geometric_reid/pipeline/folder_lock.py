import os
import weakref
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO


class FolderLock:
    r"""Keeps a folder for one process, until it releases it or ends in any way.

    Args:
        folder (pathlib.Path): The folder, which is made if it does not exist.

    Raises:
        ImportError: If the system has no such locks (Windows).
        RuntimeError: If the folder is held already.
    """

    def __init__(self, folder: Path):
        try:
            import fcntl
        except ImportError as error:
            raise ImportError(
                f"'{folder}' cannot be kept for one process: this system has no 'fcntl'"
            ) from error
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._file: BinaryIO = (folder / 'lock').open('ab+', buffering=0)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.seek(0)
            holder = self._file.read().decode(errors='replace')
            self._file.close()
            raise RuntimeError(
                f"'{folder}' is in use by another program (process {holder})"
            ) from error
        with suppress(OSError):  # the lock holds on a full disk, too
            self._file.truncate(0)
            self._file.write(str(os.getpid()).encode())
        _held.add(self)

    def check_held(self) -> None:
        r"""Raises a :obj:`RuntimeError` if the folder was released, as it is in a
        forked process.
        """
        if self._file.closed:
            raise RuntimeError(
                f"'{self.folder}' is not kept any more: it was closed, or by another "
                f'process (open it again)'
            )

    def check(self) -> None:
        r"""Raises a :obj:`FileNotFoundError` if the folder was removed, so that
        another process may have made and taken it anew, and an error of
        :meth:`check_held`.
        """
        self.check_held()
        try:
            there = os.path.samestat(
                os.stat(self.folder / 'lock'), os.fstat(self._file.fileno())
            )
        except FileNotFoundError:
            there = False
        if not there:
            raise FileNotFoundError(
                f"'{self.folder}' was removed or replaced while it was in use"
            )

    def release(self) -> None:
        r"""Lets the next process have the folder."""
        self._file.close()


_held: weakref.WeakSet[FolderLock] = weakref.WeakSet()


def _release_all() -> None:
    for lock in _held:
        lock.release()


if hasattr(os, 'register_at_fork'):
    # A loader's worker that outlives a killed process would hold its locks.
    os.register_at_fork(after_in_child=_release_all)
