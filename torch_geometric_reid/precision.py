from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch


@contextmanager
def full_precision() -> Iterator[None]:
    r"""Computes outside of a surrounding :class:`torch.autocast`, whose rounding
    neighbours and distances do not bear; to be used as a decorator, too.
    """
    with ExitStack() as stack:
        for device in ('cpu', 'cuda'):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        yield
