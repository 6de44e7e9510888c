"""What every public function asks of its input, and how it says so."""

import warnings
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

SMALLEST, LARGEST = 2.0**-20, 2.0**60  # sums of absolute values


def check_features(name: str, x: Any, nonzero: bool = False) -> Tensor:
    r"""Returns features as a contiguous float32 tensor.

    Args:
        name (str): The argument's name, for error messages.
        x (torch.Tensor or numpy.ndarray): The features :math:`(N, d)` of any
            floating-point type.
        nonzero (bool, optional): If set to :obj:`True`, only directions count: rejects
            rows of zeros, which have none, and divides very short and very long rows by
            their largest entry, as their squares leave float32.
            (default: :obj:`False`)

    Raises:
        TypeError: If :obj:`x` is no array of floating-point numbers.
        ValueError: If :obj:`x` is not two-dimensional, is empty, or holds NaN,
            infinite values or (with :obj:`nonzero`) a row of zeros.
    """
    try:
        x = torch.as_tensor(x)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f"'{name}' needs to be a tensor or array of features [N, d] "
            f"(got '{type(x).__name__}')"
        ) from error
    if not x.is_floating_point():
        raise TypeError(
            f"'{name}' needs to hold floating-point numbers (got {x.dtype})"
        )
    if x.dim() != 2:
        raise ValueError(
            f"'{name}' needs to be of shape [N, d] (got shape {list(x.shape)})"
        )
    if x.numel() == 0:
        raise ValueError(
            f"'{name}' needs at least one feature vector of at least one "
            f'dimension (got shape {list(x.shape)})'
        )
    x = x.to(torch.float32).contiguous()
    size = torch.linalg.vector_norm(x, 1, dim=1)
    if not size.isfinite().all():  # or a sum that is too large
        finite = torch.isfinite(x).all(dim=1)
        if not finite.all():
            raise ValueError(
                f"'{name}' of shape {list(x.shape)} needs finite values (got NaN, "
                f'infinite or float32-overflowing values in {int((~finite).sum())} '
                f'rows, the first is row {int((~finite).nonzero()[0])})'
            )
    if nonzero:
        zero = size == 0
        if zero.any():
            raise ValueError(
                f"'{name}' of shape {list(x.shape)} needs non-zero vectors under "
                f'the cosine (got {int(zero.sum())} rows of zeros, the first is '
                f'row {int(zero.nonzero()[0])})'
            )
        odd = (size < SMALLEST) | (size > LARGEST)
        if odd.any():
            largest = x.detach().abs().amax(dim=1)
            x = x / torch.where(odd, largest, 1).view(-1, 1)
    return x


def check_same_dim(name: str, x: Tensor, other_name: str, other: Tensor) -> None:
    r"""Raises a :obj:`ValueError` unless both have vectors of one length."""
    if x.size(1) != other.size(1):
        raise ValueError(
            f"'{name}' and '{other_name}' need vectors of the same length "
            f'(got shapes {list(x.shape)} and {list(other.shape)})'
        )


def check_ids(name: str, ids: Any, size: int) -> Tensor:
    r"""Returns identity or camera ids as an int64 tensor of shape :math:`(N)`.

    Args:
        name (str): The argument's name, for error messages.
        ids (torch.Tensor or numpy.ndarray or list): The ids.
        size (int): The number :math:`N` of items that they belong to.

    Raises:
        TypeError: If :obj:`ids` is no array of integers.
        ValueError: If :obj:`ids` is not of shape :math:`(N)`, or beyond 64 bits with
            a sign.
    """
    try:
        ids = torch.as_tensor(ids)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f"'{name}' needs to be a tensor or array of integers [{size}] "
            f'(got {_describe(ids)})'
        ) from error
    if ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        raise TypeError(f"'{name}' needs to hold integers (got {ids.dtype})")
    if list(ids.shape) != [size]:
        raise ValueError(
            f"'{name}' needs one id for each of {size} items "
            f'(got shape {list(ids.shape)})'
        )
    if ids.dtype == torch.uint64 and (ids.view(torch.int64) < 0).any():
        raise ValueError(f"'{name}' needs to hold integers below 2 ** 63")
    return ids.to(torch.int64).contiguous()


def _describe(ids: Any) -> str:
    first = ids[0] if isinstance(ids, Sequence | np.ndarray) and len(ids) else None
    if isinstance(first, str):
        return (
            f'text such as {str(first)!r}: number it over all files at once, as '
            f'numpy.unique(ids, return_inverse=True) does'
        )
    return f"'{type(ids).__name__}'"


def check_positive(name: str, value: int) -> None:
    r"""Raises a :obj:`ValueError` unless :obj:`value` is a positive integer."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ValueError(f"'{name}' needs to be an integer of at least 1 (got {value})")


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    r"""Raises a :obj:`ValueError` unless :obj:`value` is among the choices."""
    if value not in choices:
        listed = ', '.join(repr(choice) for choice in choices)
        raise ValueError(f"'{name}' needs to be one of {listed} (got {value!r})")


def cut(name: str, value: int, limit: int, stacklevel: int = 3) -> int:
    r"""Returns the smaller of a number of neighbours and what there is, with a
    warning where it cuts.
    """
    if value > limit:
        warnings.warn(
            f"'{name}' is cut from {value} to {limit}, the number of items that "
            f'can be neighbours',
            stacklevel=stacklevel,
        )
        return limit
    return value
