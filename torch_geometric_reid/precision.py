from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock
from typing import Any

import torch

_BY_BACKEND = hasattr(torch.backends, 'fp32_precision')  # from PyTorch 2.9 on
_FULL = ['ieee', 'ieee'] if _BY_BACKEND else ['highest']


@contextmanager
def full_precision() -> Iterator[None]:
    r"""Computes outside of a surrounding :class:`torch.autocast`, and products of
    float32 matrices in float32 whatever
    :meth:`torch.set_float32_matmul_precision` allows: neighbours and distances do
    not bear either rounding. To be used as a decorator, too.
    """
    with ExitStack() as stack:
        stack.enter_context(_float32_products)
        for device in ('cpu', 'cuda'):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        yield


class _Float32Products:
    # The setting is one for all threads: the last one to leave puts it back.
    def __init__(self) -> None:
        self.lock = Lock()
        self.depth = 0
        self.before: list[str] = []

    def __enter__(self) -> None:
        with self.lock:
            if self.depth == 0:
                self.before = _read()
                _write(_FULL)
            self.depth += 1

    def __exit__(self, *args: object) -> None:
        with self.lock:
            self.depth -= 1
            if self.depth == 0:
                _write(self.before)


_float32_products = _Float32Products()


def _read() -> list[str]:
    if not _BY_BACKEND:
        return [torch.get_float32_matmul_precision()]
    return [matmul.fp32_precision for matmul in _matmuls()]


def _write(precision: list[str]) -> None:
    if precision == _read():
        return
    if not _BY_BACKEND:
        torch.set_float32_matmul_precision(*precision)
        return
    for matmul, value in zip(_matmuls(), precision, strict=True):
        matmul.fp32_precision = value


def _matmuls() -> list[Any]:
    backends: list[Any] = [torch.backends.cuda, torch.backends.mkldnn]
    return [backend.matmul for backend in backends]
