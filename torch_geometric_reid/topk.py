r"""The best of many scores, the same ones on every machine."""

from math import isqrt

import torch
from torch import Tensor
from torch_geometric.nn.pool.knn import KNNOutput


def stable_topk(score: Tensor, k: int) -> KNNOutput:
    r"""Returns the :math:`k` largest entries of each row, equal ones by
    ascending index (which :meth:`torch.topk` does not promise).

    Args:
        score (torch.Tensor): The scores :math:`(M, N)`.
        k (int): The number of entries, at most :math:`N`.
    """
    value, index = score.topk(min(k + 1, score.size(1)), dim=1)
    if value.size(1) > k:
        cuts_tie = value[:, k - 1] == value[:, k]
        value, index = value[:, :k], index[:, :k]
        if cuts_tie.any():
            full = score[cuts_tie].sort(dim=1, descending=True, stable=True)
            value[cuts_tie] = full.values[:, :k]
            index[cuts_tie] = full.indices[:, :k]
    return by_score_then_index(value, index)


def grouped_topk(score: Tensor, k: int) -> tuple[Tensor, Tensor]:
    r"""Returns the :math:`k` largest entries of each row, best first, and their
    indices, as :meth:`torch.topk` does: they are among the :math:`k` groups of
    entries whose largest are largest.

    Args:
        score (torch.Tensor): The scores :math:`(M, N)`.
        k (int): The number of entries, at most :math:`N`.
    """
    num_rows, num = score.shape
    size = isqrt(num // max(2 * k, 1))  # about what leaves the fewest to sort
    if size < 2:
        value, index = score.topk(k, dim=1)
        return value, index
    num_groups = num // size
    whole = score[:, : num_groups * size].unflatten(1, (size, num_groups))
    group = whole.amax(dim=1).topk(k, dim=1, sorted=False).indices
    first = torch.arange(size, device=score.device) * num_groups
    rest = torch.arange(num_groups * size, num, device=score.device)
    column = (group.unsqueeze(1) + first.view(-1, 1)).flatten(1)
    column = torch.cat([column, rest.expand(num_rows, -1)], dim=1)
    value, place = score.gather(1, column).topk(k, dim=1)
    return value, column.gather(1, place)


def dot_rounding(dim: int) -> float:
    r"""Returns how far apart float32 inner products of unit vectors of length
    :obj:`dim` may lie and still be equal but for rounding.
    """
    return torch.finfo(torch.float32).eps * (16 + dim**0.5)


def by_score_then_index(score: Tensor, index: Tensor) -> KNNOutput:
    r"""Sorts each row by descending score, equal ones by ascending index."""
    index, perm = index.sort(dim=1)
    score, order = score.gather(1, perm).sort(dim=1, descending=True, stable=True)
    return KNNOutput(score, index.gather(1, order))
