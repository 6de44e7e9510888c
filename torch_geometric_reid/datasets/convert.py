"""From an array as a file holds it to the tensors of a data set."""

import os
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from torch_geometric_reid.checks import check_features, check_ids
from torch_geometric_reid.datasets.keys import SPLITS


def to_features(name: str, value: Any, normalize: bool) -> Tensor:
    r"""Returns features :math:`(N, d)` in float32, of unit length if asked for.

    Raises:
        TypeError: If :obj:`value` is no array of floating-point numbers.
        ValueError: If :obj:`value` is of another shape, empty, not finite, or
            has rows of zeros that cannot be normalized.
    """
    x = check_features(name, _native(value), nonzero=normalize)
    if normalize:
        x = x / x.abs().amax(dim=1, keepdim=True)  # so that no square overflows
        x = F.normalize(x)
    return x


def to_ids(name: str, value: Any, size: int) -> Tensor:
    r"""Returns ids :math:`(N)` in int64, from whole numbers of any type as a
    vector, row or column.

    Raises:
        TypeError: If :obj:`value` is no array of whole numbers.
        ValueError: If :obj:`value` does not hold :math:`N` of them.
    """
    value = _native(value)
    if isinstance(value, np.ndarray) and value.dtype.kind == 'f':
        value = torch.from_numpy(value.astype(np.float64))
    if isinstance(value, np.ndarray | Tensor) and value.ndim == 2:
        value = value.reshape(-1) if 1 in value.shape else value
    if isinstance(value, Tensor) and value.is_floating_point():
        whole = (value.abs() < 2**63) & (value == value.round())
        value = value.to(torch.int64) if whole.all() else value
    return check_ids(name, value, size)


def to_texts(name: str, value: Any, size: int) -> list[str]:
    r"""Returns a list of :math:`N` strings.

    Raises:
        TypeError: If :obj:`value` holds something else.
        ValueError: If :obj:`value` does not hold :math:`N` of them.
    """
    if not is_text(value):
        raise TypeError(f"'{name}' needs to hold text, one for each of {size} items")
    texts = value.reshape(-1) if isinstance(value, np.ndarray) else value
    if len(texts) != size:
        raise ValueError(
            f"'{name}' needs one text for each of {size} items (got {len(texts)})"
        )
    return [os.fsdecode(text) for text in list(texts)]


def to_split_mask(name: str, value: Any, size: int, split: str) -> Tensor:
    r"""Returns which of :math:`N` rows belong to a split, given as text or as
    :obj:`0` (train), :obj:`1` (query) and :obj:`2` (gallery).

    Raises:
        TypeError: If :obj:`value` is neither text nor whole numbers.
        ValueError: If :obj:`value` does not hold :math:`N` of them.
    """
    if is_text(value):
        texts = to_texts(name, value, size)
        return torch.tensor([text.strip().lower() == split for text in texts])
    return to_ids(name, value, size) == SPLITS.index(split)


def is_text(value: Any) -> bool:
    r"""Returns whether an array or list holds strings or bytes alone."""
    if isinstance(value, np.ndarray) and value.dtype.kind in 'US':
        return True
    if isinstance(value, np.ndarray) and value.dtype == object:
        value = value.reshape(-1).tolist()
    return isinstance(value, list | tuple) and all(
        isinstance(item, str | bytes) for item in value
    )


def _native(value: Any) -> Any:
    if isinstance(value, np.ndarray):  # PyTorch reads neither byte order nor strides
        return np.ascontiguousarray(value, dtype=value.dtype.newbyteorder('='))
    return value
