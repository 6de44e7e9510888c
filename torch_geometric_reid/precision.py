from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock
from typing import Any

import torch

_backends: Any = torch.backends


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
        self.before: tuple[str | None, list[str]] = (None, [])

    def __enter__(self) -> None:
        with self.lock:
            if self.depth == 0:
                self.before = _read()
                _write('highest', ['ieee'] * len(self.before[1]))
            self.depth += 1

    def __exit__(self, *args: object) -> None:
        with self.lock:
            self.depth -= 1
            if self.depth == 0:
                _write(*self.before)


_float32_products = _Float32Products()


def _read() -> tuple[str | None, list[str]]:
    try:
        common: str | None = torch.get_float32_matmul_precision()
    except RuntimeError:  # the settings of back ends, of PyTorch 2.9 and later, differ
        common = None
    return common, [matmul.fp32_precision for matmul in _matmuls()]


def _write(common: str | None, precision: list[str]) -> None:
    if common is not None and common != _read()[0]:
        torch.set_float32_matmul_precision(common)
    for matmul, value in zip(_matmuls(), precision, strict=True):
        if matmul.fp32_precision != value:
            inherited = value == _backends.fp32_precision
            matmul.fp32_precision = 'none' if inherited else value


def _matmuls() -> list[Any]:
    if not hasattr(_backends, 'fp32_precision'):
        return []
    return [_backends.cuda.matmul, _backends.mkldnn.matmul]
