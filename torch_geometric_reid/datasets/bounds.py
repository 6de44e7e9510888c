"""How much memory and time the content of a file may take."""

from pathlib import Path

SMALLEST = 2**28  # bytes: what any file may take
RATIO = 64  # and how many times its own size, as compressed files unfold
SECONDS = 30  # that any file may take
BYTES_PER_SECOND = 2**20  # and how slowly it may be read


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


def seconds_to_read(path: Path) -> float:
    r"""Returns the number of seconds that a process may take to read an array of this
    file.
    """
    return SECONDS + path.stat().st_size / BYTES_PER_SECOND


def memory_to_read(limit: int) -> int:
    r"""Returns the number of bytes that a process may take to read an array within the
    limit, with room for its libraries, copies and text.
    """
    return 2**30 + 4 * limit
