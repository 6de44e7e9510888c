r"""Nearest and farthest items under a squared Euclidean distance, of which never
more than a block is held.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from torch_geometric_reid.knn import knn
from torch_geometric_reid.rerank.scan import scan_pairs
from torch_geometric_reid.rerank.sparse import entrywise_dot, slice_rows
from torch_geometric_reid.topk import stable_topk

BLOCK_ELEMENTS = 2**22  # distances handled at a time: 16 MiB


class Ranking(NamedTuple):
    r"""What re-ranking asks of the distances among :math:`N` items.

    Args:
        neighbor (torch.Tensor): The nearest items :math:`(N, K)`, each item
            first in its own list.
        farthest (torch.Tensor): The largest distance :math:`(N)` of each item.
    """

    neighbor: Tensor
    farthest: Tensor


def rounding(dim: int) -> float:
    r"""Returns a bound of the rounding errors in the inner product of two unit
    vectors of :obj:`dim` float32 numbers.
    """
    return torch.finfo(torch.float32).eps * (16 + dim**0.5)


def squared_distance(cosine: Tensor, dim: int) -> Tensor:
    r"""Returns :math:`2 - 2 \cos`, or zero where that is within rounding.

    Args:
        cosine (torch.Tensor): The inner products of unit vectors, overwritten.
        dim (int): The length of the vectors.
    """
    return torch.threshold_(cosine.mul_(-2).add_(2), 2 * rounding(dim), 0.0)


def exact_cosine(x: Tensor, row: Tensor, col: Tensor) -> Tensor:
    r"""Returns inner products computed in float64 and rounded to float32.

    Args:
        x (torch.Tensor): The unit vectors :math:`(N, d)`.
        row (torch.Tensor): The first item :math:`(M)` of each product.
        col (torch.Tensor): The second items :math:`(M, k)`.
    """
    outs = [x.new_empty(0, col.size(1))]
    step = max(1, BLOCK_ELEMENTS // max(1, col.size(1) * x.size(1)))
    for i, j in zip(row.split(step), col.split(step), strict=True):
        outs.append(torch.einsum('nd,nkd->nk', x[i].double(), x[j].double()).float())
    return torch.cat(outs)


class FeatureDistance:
    r"""Squared Euclidean distances :math:`2 - 2 \cos` between unit vectors, zero
    where that is within rounding.

    Args:
        x (torch.Tensor): The unit vectors :math:`(N, d)`.
        num_query (int): How many of them, the first ones, are probes.
    """

    def __init__(self, x: Tensor, num_query: int):
        self.x = x
        self.num_query = num_query
        self.num_nodes, self.dim = x.shape
        self.device = x.device

    def rank(self, sizes: set[int]) -> Ranking:
        r"""Ranks all items for each item.

        Args:
            sizes (set): The sizes at which the lists will be cut. Where the
                cut falls between items whose scores differ by no more than
                rounding, it is exact and prefers the smaller index.
        """
        width = max(sizes) - 1
        score, other, lowest = scan_pairs(self.x, min(width + 1, self.num_nodes - 1))
        tied = torch.zeros(self.num_nodes, dtype=torch.bool, device=self.device)
        for cut in {size - 1 for size in sizes} & set(range(1, score.size(1))):
            gap = score[:, cut - 1] - score[:, cut]
            tied |= gap <= rounding(self.dim)
        node = torch.arange(self.num_nodes, device=self.device).view(-1, 1)
        other = other[:, :width]
        if tied.any():
            other[tied] = self._rank_exactly(node[tied], width)
        neighbor = torch.cat([node, other], dim=1)
        return Ranking(neighbor, squared_distance(lowest, self.dim))

    def pairs(self, node: Tensor, a: Tensor) -> Tensor:
        r"""Returns the distances between :obj:`node[i]` and :math:`j` for the
        entries :math:`(i, j)` of a sparse matrix :math:`(M, N)`.
        """
        return squared_distance(entrywise_dot(a, self.x[node], self.x), self.dim)

    def to_gallery(self, start: int, stop: int) -> Tensor:
        r"""Returns the distances of some probes to the whole gallery."""
        cosine = self.x[start:stop] @ self.x[self.num_query :].t()
        return squared_distance(cosine, self.dim)

    def _rank_exactly(self, node: Tensor, k: int) -> Tensor:
        index = knn(self.x, k + 1, query=self.x[node.view(-1)], metric='ip').index
        keep = index != node
        keep[:, -1] &= ~keep.all(dim=1)
        return index[keep].view(-1, k)


class GivenDistance:
    r"""Squares of given symmetric distances.

    Args:
        query_gallery (torch.Tensor): The distances :math:`(Q, G)`.
        query_query (torch.Tensor): The distances :math:`(Q, Q)`.
        gallery_gallery (torch.Tensor): The distances :math:`(G, G)`.
    """

    def __init__(
        self, query_gallery: Tensor, query_query: Tensor, gallery_gallery: Tensor
    ):
        self.query_gallery = query_gallery
        self.query_query = query_query
        self.gallery_gallery = gallery_gallery
        self.num_query = query_gallery.size(0)
        self.num_nodes = sum(query_gallery.shape)
        self.device = query_gallery.device
        self.block = max(1, BLOCK_ELEMENTS // self.num_nodes)

    def rank(self, sizes: set[int]) -> Ranking:
        r"""Ranks all items for each item, equal ones by index.

        Args:
            sizes (set): The sizes at which the lists will be cut.
        """
        neighbor, farthest = [], []
        nodes = torch.arange(self.num_nodes, device=self.device)
        for node in nodes.split(self.block):
            distance = self._from(node)
            farthest.append(distance.amax(dim=1))
            distance.scatter_(1, node.view(-1, 1), -1)
            neighbor.append(stable_topk(-distance, max(sizes)).index)
        return Ranking(torch.cat(neighbor), torch.cat(farthest))

    def pairs(self, node: Tensor, a: Tensor) -> Tensor:
        r"""Returns the distances between :obj:`node[i]` (in ascending order) and
        :math:`j` for the entries :math:`(i, j)` of a sparse matrix
        :math:`(M, N)`.
        """
        outs = []
        for start in range(0, node.numel(), self.block):
            part = node[start : start + self.block]
            row, col = slice_rows(a, start, start + part.numel()).indices()
            outs.append(self._from(part)[row, col])
        return torch.cat(outs)

    def to_gallery(self, start: int, stop: int) -> Tensor:
        r"""Returns the distances of some probes to the whole gallery."""
        return self.query_gallery[start:stop].square()

    def _from(self, node: Tensor) -> Tensor:
        is_query = node < self.num_query
        query, gallery = node[is_query], node[~is_query] - self.num_query
        from_query = [self.query_query[query], self.query_gallery[query]]
        from_gallery = [
            self.query_gallery[:, gallery].t(),
            self.gallery_gallery[gallery],
        ]
        rows = [torch.cat(from_query, dim=1), torch.cat(from_gallery, dim=1)]
        return torch.cat(rows).square_()
