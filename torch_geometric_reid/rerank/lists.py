r"""Neighbour lists that begin with the item itself."""

import torch
from torch import Tensor
from torch_geometric.nn.pool.knn import KNNOutput

from torch_geometric_reid.knn import knn


def neighbor_lists(x: Tensor, size: int) -> KNNOutput:
    r"""Returns each item and its nearest others.

    Args:
        x (torch.Tensor): Unit vectors :math:`(N, d)`.
        size (int): The length of the lists, the item itself included, at most
            :math:`N`.

    Returns:
        The cosines :obj:`score` and the items :obj:`index`, both of shape
        :math:`(N, \mathrm{size})`.
    """
    score = x.new_ones(x.size(0), 1)
    index = torch.arange(x.size(0), device=x.device).view(-1, 1)
    if size > 1:
        other = knn(x, size - 1, metric='ip')
        score = torch.cat([score, other.score], dim=1)
        index = torch.cat([index, other.index], dim=1)
    return KNNOutput(score, index)
