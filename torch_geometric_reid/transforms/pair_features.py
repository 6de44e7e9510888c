import math

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.nn.pool.knn import KNNOutput
from torch_geometric.transforms import BaseTransform

from torch_geometric_reid.checks import check_positive
from torch_geometric_reid.knn import neighbor_graph
from torch_geometric_reid.topk import dot_rounding
from torch_geometric_reid.transforms.neighbor_table import (
    neighbor_table,
    pair_cosine,
)

BLOCK_ELEMENTS = 2**24
PAIR_FEATURES = (
    'cosine',
    'cosine_above_node',
    'cosine_above_neighbor',
    'rank',
    'rank_back',
)


class PairFeatures(BaseTransform):
    r"""Describes each pair of a node :math:`i` and one of its :math:`K` nearest
    nodes :math:`j` by numbers that do not change when the feature space is turned,
    so that what is learned on the training images holds for a gallery:

    - :obj:`"cosine"`: :math:`\cos(\mathbf{x}_i, \mathbf{x}_j)`;
    - :obj:`"cosine_above_node"`, :obj:`"cosine_above_neighbor"`: how far it lies
      above the mean cosine of :math:`i` (of :math:`j`) to its 10 nearest;
    - :obj:`"rank"`, :obj:`"rank_back"`: :math:`\log(1 + r) / \log(K + 2)` for the
      rank :math:`r` of :math:`j` among the nearest of :math:`i`, and of :math:`i`
      among those of :math:`j` (:math:`K + 1` where it is not among them).

    Reads :obj:`x` :math:`(N, d)` of unit length and, if there,
    :obj:`gallery_mask` :math:`(N)`: only nodes of the gallery are then neighbours,
    and the features of gallery pairs do not depend on the other nodes. Adds
    :obj:`edge_index` :math:`(2, N K)`, neighbour :math:`\to` node, sorted by
    column and then by rank, :obj:`edge_attr` :math:`(N K, 5)`, and
    :obj:`node_attr` :math:`(N, 5)`, the features of each node with itself.

    Where there are at most :math:`K` other nodes, :math:`K` is their number.

    Args:
        k (int, optional): The number :math:`K` of nearest nodes.
            (default: :obj:`50`)

    Raises:
        ValueError: If :obj:`k < 1`, or :obj:`data` has no :obj:`x` or fewer than
            two nodes to read.
    """

    def __init__(self, k: int = 50):
        check_positive('k', k)
        self.k = k

    def forward(self, data: Data) -> Data:
        if data.x is None:
            raise ValueError("'data' needs features 'x' of shape [N, d] (got none)")
        mask = data.get('gallery_mask')
        return describe_graph(data, neighbor_table(data.x, self.k, mask))

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}(k={self.k})'


def describe_graph(data: Data, table: KNNOutput) -> Data:
    r"""Does what :class:`PairFeatures` does, with neighbours that are known.

    Args:
        data (Data): The nodes, with :obj:`x` and maybe :obj:`gallery_mask`.
        table (KNNOutput): Their neighbours, as of
            :meth:`~torch_geometric_reid.transforms.neighbor_table.neighbor_table`.
    """
    x, (score, neighbor) = data.x, table
    pairs = describe_pairs(x, score, neighbor, neighbor)
    data.edge_attr = pairs.flatten(0, 1)
    data.node_attr = describe_selves(score)
    data.edge_index = neighbor_graph(neighbor, x.size(0))
    return data


def describe_pairs(x: Tensor, score: Tensor, neighbor: Tensor, other: Tensor) -> Tensor:
    r"""Returns the five features of each node and the nodes that a table lists.

    Args:
        x (torch.Tensor): The features :math:`(N, d)` of unit length.
        score (torch.Tensor): Each node's cosines to its nearest :math:`(N, K)`.
        neighbor (torch.Tensor): Each node's nearest nodes :math:`(N, K)`.
        other (torch.Tensor): The table :math:`(N, M)`; may be :obj:`neighbor`.

    Returns:
        float32 :math:`(N, M, 5)`, in the order of :obj:`PAIR_FEATURES`.
    """
    cosine = score if other is neighbor else pair_cosine(x, other)
    rounding = dot_rounding(x.size(1))
    return describe_rows(cosine, score, score, other, rounding)


def describe_rows(
    cosine: Tensor,
    own_score: Tensor,
    score: Tensor,
    other: Tensor,
    rounding: float,
) -> Tensor:
    r"""Returns the five features of each row, a node or a probe, and the nodes that a
    table lists :math:`(R, M, 5)`.

    Args:
        cosine (torch.Tensor): Their cosines :math:`(R, M)`.
        own_score (torch.Tensor): Each row's cosines to its nearest :math:`(R, K)`.
        score (torch.Tensor): Each node's cosines to its nearest :math:`(N, K)`.
        other (torch.Tensor): The table :math:`(R, M)`.
        rounding (float): Cosines that differ by no more are equal.
    """
    density, own_density = score[:, :10].mean(dim=1), own_score[:, :10].mean(dim=1)
    rank, rank_back = torch.empty_like(cosine), torch.empty_like(cosine)
    step = max(1, BLOCK_ELEMENTS // (score.size(1) * other.size(1)))
    for part in torch.arange(other.size(0), device=other.device).split(step):
        least = cosine[part].unsqueeze(2) + rounding
        rank[part] = _rank(own_score[part].unsqueeze(1), least)
        rank_back[part] = _rank(score[other[part]], least)
    return torch.stack(
        [
            cosine,
            cosine - own_density.view(-1, 1),
            cosine - density[other],
            rank,
            rank_back,
        ],
        dim=-1,
    )


def describe_selves(score: Tensor) -> Tensor:
    r"""Returns the five features of each node with itself :math:`(N, 5)`."""
    above = 1 - score[:, :10].mean(dim=1)
    one, zero = torch.ones_like(above), torch.zeros_like(above)
    return torch.stack([one, above, above, zero, zero], dim=-1)


def _rank(score: Tensor, least: Tensor) -> Tensor:
    # One more than how many of a list are nearer: K + 1 if all are.
    rank = 1 + (score > least).sum(dim=2)
    return torch.log1p(rank) / math.log(score.size(2) + 2)
