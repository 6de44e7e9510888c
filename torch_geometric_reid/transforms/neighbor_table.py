r"""Tables of neighbours, and values at the pairs that a table lists."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.nn.pool.knn import KNNOutput

from torch_geometric_reid.knn import knn

BLOCK_ELEMENTS = 2**24


def neighbors_by_mask(
    x: Tensor, k: int, mask: Tensor, backend: str | None = None
) -> Iterator[tuple[Tensor, KNNOutput]]:
    r"""Yields the nodes that can be neighbours, then the others, each with their
    nearest other nodes by the cosine; not those there are none of.

    Args:
        x (torch.Tensor): The features :math:`(N, d)`.
        k (int): The number of nearest nodes, cut to that of other nodes.
        mask (torch.Tensor): The nodes :math:`(N)` that can be neighbours.
        backend (str, optional): See :meth:`~torch_geometric_reid.knn.knn`.
            (default: :obj:`None`)
    """
    gallery, probe = mask.nonzero().view(-1), (~mask).nonzero().view(-1)
    items = x if probe.numel() == 0 else x[gallery]
    for node, query in [(gallery, None), (probe, x[probe])]:
        if node.numel() > 0:
            score, index = knn(items, k, query=query, backend=backend)
            yield node, KNNOutput(score, gallery[index])


def neighbor_table(x: Tensor, k: int, mask: Tensor | None = None) -> KNNOutput:
    r"""Returns the nearest other nodes of each node by the cosine.

    Args:
        x (torch.Tensor): The features :math:`(N, d)`.
        k (int): Their number, cut to the number of other nodes.
        mask (torch.Tensor, optional): The nodes :math:`(N)` that can be
            neighbours. By default, all. (default: :obj:`None`)

    Returns:
        The cosines :obj:`score` and the nodes :obj:`index`, both
        :math:`(N, \min(k, G - 1))` for :math:`G` nodes that can be neighbours.

    Raises:
        ValueError: If fewer than two nodes can be neighbours.
    """
    if mask is None:
        mask = torch.ones(x.size(0), dtype=torch.bool, device=x.device)
    num_gallery = int(mask.sum())
    k = min(k, num_gallery - 1)
    if k < 1:
        raise ValueError(
            f"'x' needs at least two nodes that can be neighbors (got {num_gallery})"
        )
    score = x.new_empty(x.size(0), k)
    index = torch.empty(x.size(0), k, dtype=torch.int64, device=x.device)
    for node, out in neighbors_by_mask(x, k, mask):
        score[node], index[node] = out
    return KNNOutput(score, index)


def listed_nodes(pairs: Data) -> Tensor:
    r"""Returns the nearest nodes :math:`(N, K)` of each node of a graph.

    Args:
        pairs (Data): The graph, with :math:`K` edges into each node, sorted by
            column and then by rank.
    """
    return pairs.edge_index[0].as_tensor().view(pairs.num_nodes, -1)


def pair_cosine(x: Tensor, other: Tensor) -> Tensor:
    r"""Returns the inner products :math:`(N, M)` of each node and the nodes that a
    table :math:`(N, M)` lists.
    """
    step = max(1, BLOCK_ELEMENTS // (other.size(1) * x.size(1)))
    return torch.cat(
        [
            torch.einsum('nd,nkd->nk', x[part], x[other[part]])
            for part in torch.arange(x.size(0), device=x.device).split(step)
        ]
    )


class PairTable:
    r"""Values of pairs, looked up by the pair; zero for pairs that are not there.

    Args:
        index (torch.Tensor): The nodes :math:`(N, K)` that each node lists.
        value (torch.Tensor): The pairs' values :math:`(N, K)`.
        num_nodes (int, optional): The number of nodes that can be listed. By
            default, :math:`N`. (default: :obj:`None`)
        first (int, optional): The number of the first of the rows, which are
            probes if it is not zero. (default: :obj:`0`)
    """

    def __init__(
        self,
        index: Tensor,
        value: Tensor,
        num_nodes: int | None = None,
        first: int = 0,
    ):
        self.num_nodes = index.size(0) if num_nodes is None else num_nodes
        self.first = first
        row = torch.arange(index.size(0), device=index.device).view(-1, 1)
        self.key, order = (row * self.num_nodes + index).view(-1).sort()
        self.value = value.reshape(-1)[order]

    def __call__(self, row: Tensor, col: Tensor) -> Tensor:
        key = (row - self.first) * self.num_nodes + col
        place = torch.searchsorted(self.key, key).clamp(max=self.key.numel() - 1)
        found = (self.key[place] == key) & (col < self.num_nodes)
        return self.value[place].masked_fill(~found, 0)

    def both_ways(self, other: Tensor) -> tuple[Tensor, Tensor]:
        r"""Returns the values of each node and the nodes that a table
        :math:`(N, M)` lists, and of these nodes and it.
        """
        row = torch.arange(other.size(0), device=other.device).view(-1, 1)
        row = row.expand_as(other)
        return self(row, other), self(other, row)
