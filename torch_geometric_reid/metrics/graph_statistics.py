r"""What can be said of a set of features without labels."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from torch_geometric_reid.checks import check_features, check_positive

NEAR = 5
ANCHORS = 1024  # of more items, so many are compared with all
BLOCK = 256


class GraphStatistics(NamedTuple):
    r"""Label-free statistics of features and their neighbour graph.

    Attributes:
        squared_cosine: The mean squared cosine of two different items after the mean
            of all was taken off; about one over the number of dimensions that are
            used. To each cosine :math:`1 / (N - 1)` is added, which taking off the
            mean of few items takes away.
        near_cosine: The mean cosine of an item to its fifth nearest (to its
            :math:`k`-th, if :math:`k < 5`).
        far_cosine: The mean cosine of an item to its :math:`k/2`-th to
            :math:`k`-th nearest.
    """

    squared_cosine: float
    near_cosine: float
    far_cosine: float


def graph_statistics(x: Tensor, k: int) -> GraphStatistics:
    r"""Returns the statistics of features. Of more than 1,024 items, as many, evenly
    spread, are compared with all, and for :obj:`squared_cosine` with each other.

    Args:
        x (torch.Tensor): The features :math:`(N, d)` of unit length,
            :math:`N \geq 2`.
        k (int): The number of nearest items that is looked at, twice the images
            of an identity. Cut to the number that there are.

    Raises:
        ValueError: If there are fewer than two items or :obj:`k < 1`.
    """
    x = check_features('x', x, nonzero=True)
    check_positive('k', k)
    num_items = x.size(0)
    if num_items < 2:
        raise ValueError(f"'x' needs at least two items (got {num_items})")
    k = min(k, num_items - 1)
    anchor = torch.arange(min(num_items, ANCHORS), device=x.device)
    anchor = anchor * num_items // anchor.numel()
    scores = [
        (x[part] @ x.t()).topk(k + 1).values[:, 1:] for part in anchor.split(BLOCK)
    ]
    score = torch.cat(scores)
    centered = F.normalize(x[anchor] - x.mean(dim=0))
    cosine = centered @ centered.t() + 1 / (num_items - 1)  # as their mean is zero
    squared = cosine.square().fill_diagonal_(0)
    return GraphStatistics(
        float(squared.sum()) / (anchor.numel() * (anchor.numel() - 1)),
        float(score[:, min(NEAR, k) - 1].mean()),
        float(score[:, max(k // 2, 1) - 1 :].mean()),
    )
