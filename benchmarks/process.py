"""Jobs in processes of their own: their seconds, and their memory above the start."""

import ctypes
import json
import os
import resource
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

# Linux only: huge pages for large tensors; a tensor that is freed is given back.
HUGE_PAGES = {'THP_MEM_ALLOC_ENABLE': '1'}
GIVE_BACK = {'MALLOC_MMAP_THRESHOLD_': str(2**21)}


def run(
    script: str, *args: str, threads: int, give_back: bool = False
) -> dict[str, Any]:
    """Returns what a job printed last, as JSON."""
    with start(script, *args, threads=threads, give_back=give_back) as process:
        out, _ = process.communicate()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return json.loads(out.splitlines()[-1])


def ask(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Has a job work once more, and returns what it prints, as JSON."""
    stdin, stdout = process.stdin, process.stdout
    assert stdin is not None
    assert stdout is not None
    with suppress(BrokenPipeError):
        stdin.write('\n')
        stdin.flush()
    for line in stdout:
        if line.startswith('{'):
            return json.loads(line)
    raise subprocess.CalledProcessError(process.wait(), process.args)


def start(
    script: str, *args: str, threads: int, give_back: bool = False
) -> subprocess.Popen[str]:
    """Starts a job."""
    memory = HUGE_PAGES | GIVE_BACK if give_back else HUGE_PAGES
    return subprocess.Popen(
        [sys.executable, '-W', 'ignore', script, *args, '--threads', str(threads)],
        env={**os.environ, 'OMP_NUM_THREADS': str(threads), **memory},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def peak() -> float:
    """Returns the largest memory of this process so far, or since the last reset, in
    GB.
    """
    status = Path('/proc/self/status')
    if status.exists():  # on Linux, `ru_maxrss` starts from the parent's memory
        line = next(x for x in status.read_text().splitlines() if 'VmHWM' in x)
        return int(line.split()[1]) * 1024 / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9  # macOS: bytes


def reset_peak() -> None:
    """Gives unused memory back, and lets the largest start anew (on Linux)."""
    path = Path('/proc/self/clear_refs')
    if path.exists():
        ctypes.CDLL(None).malloc_trim(0)
        path.write_text('5')
