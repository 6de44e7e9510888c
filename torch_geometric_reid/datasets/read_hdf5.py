import json
import os
import sys
import weakref
from contextlib import suppress
from functools import partial
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from threading import Lock
from types import SimpleNamespace
from typing import IO, Any, cast

from numpy.lib import format as npy

from torch_geometric_reid.datasets.bounds import (
    check_size,
    memory_to_read,
    seconds_to_read,
)
from torch_geometric_reid.datasets.reader import Arrays
from torch_geometric_reid.optional import require

PROGRAM = Path(__file__).with_name('hdf5_program.py')


def read_hdf5(path: Path, limit: int) -> Arrays:
    r"""Finds the arrays of an HDF5 file, also where MATLAB wrote it.

    A process of bounded time and memory reads them, :obj:`hdf5_program.py`.
    """
    require('h5py', f"'{path}'", 'files')
    reader = _Reader(path, limit)
    return {key: partial(reader.ask, key) for key in reader.ask(None)}


class _Reader:
    # The process that reads a file: one for all answers, and a new one after an end.

    def __init__(self, path: Path, limit: int):
        self.path = path
        self.limit = limit
        self._lock = Lock()
        self._owner = 0

    def ask(self, key: str | None) -> Any:
        with self._lock:
            if self._owner != os.getpid():  # a fork needs a process of its own
                self._start()
            try:
                return self._ask(key)
            except BaseException:  # the next answer would be that of this question
                self._owner = 0
                self._end()
                raise

    def _start(self) -> None:
        task = {
            'path': os.fspath(self.path.absolute()),
            'limit': self.limit,
            'seconds': seconds_to_read(self.path),
            'memory': memory_to_read(self.limit),
        }
        self._seconds = task['seconds']
        self._process = Popen(
            [sys.executable, str(PROGRAM), json.dumps(task)],
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            env={**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, sys.path))},
        )
        self._owner = os.getpid()
        self._end = weakref.finalize(self, _end, self._process, self._owner)

    def _ask(self, key: str | None) -> Any:
        out = cast(IO[bytes], self._process.stdout)
        answer = self._exchange(json.dumps(key).encode() + b'\n', out)
        if 'array' in answer:
            array = npy.read_array(SimpleNamespace(read=out.read), allow_pickle=False)
            return array[()]
        if 'too_large' in answer:
            check_size(answer['too_large'], self.limit)
        if 'error' in answer:
            raise ValueError(answer['error'])
        return answer['content']

    def _exchange(self, task: bytes, out: IO[bytes]) -> dict[str, Any]:
        into = cast(IO[bytes], self._process.stdin)
        with suppress(BrokenPipeError):  # then there is no answer, either
            into.write(task)
            into.flush()
        line = out.readline()
        if not line:
            raise ValueError(
                f"HDF5's library ended, or gave no answer for {self._seconds:.0f} "
                f'seconds, as it does for some damaged files'
            )
        return json.loads(line)


def _end(process: Popen[bytes], owner: int) -> None:
    if os.getpid() == owner:
        with suppress(BrokenPipeError), process:
            process.kill()
