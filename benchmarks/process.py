"""One job in a process of its own: its seconds, and its memory above the start."""

import ctypes
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

# Linux only: huge pages for large tensors; a tensor that is freed is given back.
HUGE_PAGES = {'THP_MEM_ALLOC_ENABLE': '1'}
GIVE_BACK = {'MALLOC_MMAP_THRESHOLD_': str(2**21)}


def run(
    script: str, *args: str, threads: int, give_back: bool = False
) -> dict[str, Any]:
    """Returns what a job printed last, as JSON."""
    memory = HUGE_PAGES | GIVE_BACK if give_back else HUGE_PAGES
    out = subprocess.run(
        [sys.executable, '-W', 'ignore', script, *args, '--threads', str(threads)],
        env={**os.environ, 'OMP_NUM_THREADS': str(threads), **memory},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(out.stdout.splitlines()[-1])


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
