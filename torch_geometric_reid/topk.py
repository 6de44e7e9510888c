r"""The best of many scores, the same ones on every machine."""

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
    return _by_score_then_index(value, index)


def dot_rounding(dim: int) -> float:
    r"""Returns how far apart float32 inner products of unit vectors of length
    :obj:`dim` may lie and still be equal but for rounding.
    """
    return torch.finfo(torch.float32).eps * (16 + dim**0.5)


def _by_score_then_index(score: Tensor, index: Tensor) -> KNNOutput:
    index, perm = index.sort(dim=1)
    score, order = score.gather(1, perm).sort(dim=1, descending=True, stable=True)
    return KNNOutput(score, index.gather(1, order))
