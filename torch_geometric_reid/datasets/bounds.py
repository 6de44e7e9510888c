"""How much memory the content of a file may take."""

from pathlib import Path

SMALLEST = 2**28  # bytes: what any file may take
RATIO = 64  # and how many times its own size, as compressed files unfold


def default_limit(path: Path) -> int:
    r"""Returns the number of bytes that an array of this file may take."""
    return max(SMALLEST, RATIO * path.stat().st_size)


def check_size(num_bytes: int, limit: int) -> None:
    r"""Raises a :obj:`ValueError` if what a file announces is beyond the limit."""
    if num_bytes > limit:
        raise ValueError(
            f'it would take {num_bytes:,} bytes of memory, and a file of this size '
            f"may take {limit:,} ('max_bytes' sets another limit)"
        )
