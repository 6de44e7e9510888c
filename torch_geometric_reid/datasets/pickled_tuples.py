r"""A bound on how long a pickle of data keeps its loader busy."""

import pickletools
from typing import IO, Any

FREE_VISITS = 2**20
VISITS_PER_BYTE = 64


def check_tuples(file: IO[bytes]) -> None:
    r"""Checks the next pickle of a file without running it.

    All of a pickle is loaded in linear time but for tuples as keys, whose hash visits
    each entry as often as it is reached: a few bytes can nest a tuple in another, twice
    each, to any depth.

    Args:
        file (file object): The file, which is read up to the end of the pickle.

    Raises:
        ValueError: If the entries that are reached grow faster than the pickle, or
            it is damaged.
    """
    stack: list[Any] = []
    memo: dict[Any, Any] = {}
    num_visits = 0
    for op, arg, place in pickletools.genops(file):
        try:
            if op.name in ('PUT', 'BINPUT', 'LONG_BINPUT'):
                memo[arg] = stack[-1]
            elif op.name == 'MEMOIZE':
                memo[len(memo)] = stack[-1]
            elif op.name in ('GET', 'BINGET', 'LONG_BINGET'):
                stack.append(memo[arg])
            else:
                num_visits += _apply(op, stack)
        except (IndexError, KeyError, TypeError) as error:
            raise ValueError('its pickle is damaged') from error
        if num_visits > FREE_VISITS + VISITS_PER_BYTE * (place or 0):
            raise ValueError('tuples in it unfold to far more than the file holds')


def _apply(op: pickletools.OpcodeInfo, stack: list[Any]) -> int:
    # An item of the stack is the number of entries that are reached from it, and a
    # mark is `None`. Returns the number of entries that the operation reaches.
    before, entries = list(op.stack_before), 0
    if pickletools.stackslice in before:
        while (item := stack.pop()) is not None:
            entries += item
        before = before[: before.index(pickletools.markobject)]
    for _ in before:
        entries += stack.pop()
    size = 1 + entries if op.name.startswith('TUPLE') else 1
    for kind in op.stack_after:
        stack.append(None if kind is pickletools.markobject else size)
    return entries
