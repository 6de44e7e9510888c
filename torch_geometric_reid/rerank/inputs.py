r"""What every re-ranker asks of its input."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from torch_geometric_reid.checks import check_features, check_same_dim


def unit_features(query: Any, gallery: Any) -> tuple[Tensor, Tensor]:
    r"""Returns features as float32 vectors of unit length.

    Args:
        query (torch.Tensor or numpy.ndarray): The probes' features
            :math:`(Q, d)`.
        gallery (torch.Tensor or numpy.ndarray): The gallery's features
            :math:`(G, d)`.

    Raises:
        TypeError: If features are no floating-point tensors.
        ValueError: If features are empty, not finite, zero or of differing
            lengths.
    """
    query = check_features('query', query, nonzero=True)
    gallery = check_features('gallery', gallery, nonzero=True)
    check_same_dim('query', query, 'gallery', gallery)
    return F.normalize(query.detach()), F.normalize(gallery.detach())


def check_fraction(name: str, value: float) -> None:
    r"""Raises a :obj:`ValueError` unless :obj:`value` lies in :math:`[0, 1]`."""
    if not 0 <= value <= 1:
        raise ValueError(f"'{name}' needs to lie in [0, 1] (got {value})")


def check_above_zero(name: str, value: float) -> None:
    r"""Raises a :obj:`ValueError` unless :obj:`value` is a positive number."""
    if not 0 < value < float('inf'):
        raise ValueError(f"'{name}' needs to be a positive number (got {value})")


def check_at_least_zero(name: str, value: float) -> None:
    r"""Raises a :obj:`ValueError` unless :obj:`value` is a number of at least 0."""
    if not 0 <= value < float('inf'):
        raise ValueError(f"'{name}' needs to be a number of at least 0 (got {value})")
