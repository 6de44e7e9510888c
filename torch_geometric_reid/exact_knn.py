r"""Exact nearest neighbours, whichever back end proposes them."""

import logging

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.nn.pool import L2KNNIndex, MIPSKNNIndex
from torch_geometric.nn.pool.knn import KNNIndex, KNNOutput

from torch_geometric_reid.approximate import ApproximateIndex
from torch_geometric_reid.topk import dot_rounding, stable_topk

logger = logging.getLogger(__name__)

BLOCK_ELEMENTS = 2**25  # scores held at a time: 128 MiB
FAISS_ROWS = 4096  # queries at a time, which Faiss splits itself
FAISS_MIN_ROWS = 256  # of fewer, Faiss takes up to 12 times as long for each
EXACT_ELEMENTS = 2**18  # features in float64: 2 MiB, which caches hold
EXACT_ELEMENTS_CUDA = 2**24


class ExactKNN:
    r"""The items of largest scores, in the order of their exact scores.

    Candidates come from float32 arithmetic, whose rounding depends on the back end
    and on an item's place in a block. Only where that could matter are they scored
    again, in float64.

    Args:
        x (torch.Tensor): The features :math:`(N, d)`, of unit length if the metric
            is :obj:`"cosine"`.
        metric (str): :obj:`"cosine"`, :obj:`"ip"` or :obj:`"sqeuclidean"`, whose
            score is the negative distance.
        backend (str): :obj:`"faiss"`, :obj:`"torch"` or :obj:`"ivf"`.
        size (int): The number of candidates, at most :math:`N`.
    """

    def __init__(self, x: Tensor, metric: str, backend: str, size: int):
        self.x = x
        self.metric = metric
        self.size = size
        self.norm = x.norm(dim=1).max()
        self.exact = backend != 'ivf'
        self.index: KNNIndex | None = None
        if backend == 'faiss':
            self.index = (L2KNNIndex if metric == 'sqeuclidean' else MIPSKNNIndex)(x)
        elif backend == 'ivf':
            kind = 'sqeuclidean' if metric == 'sqeuclidean' else 'ip'
            self.index = index = ApproximateIndex(x, size, kind)
            logger.info(
                'an approximate index of %d cells, %d of them visited: recall %.3f',
                index.num_cells,
                index.num_visited,
                index.recall,
            )

    def __call__(self, query: Tensor, k: int, self_id: Tensor | None) -> KNNOutput:
        r"""Returns the :obj:`k` nearest items of each query, best first, and their
        scores, both of shape :math:`(M, k)`.

        Args:
            query (torch.Tensor): The queries :math:`(M, d)`.
            k (int): The number of items, at most :obj:`size`, or one less with
                :obj:`self_id`.
            self_id (torch.Tensor, optional): The item :math:`(M)` that each query
                is, which is none of its neighbours.
        """
        score, index = self._candidates(query)
        if self_id is not None:
            score, index = _without(self_id, score, index)
        close = score[:, :-1] - score[:, 1:] <= self._rounding(query)
        self._order(query, score, index, close)
        if self.exact and 0 < k <= close.size(1):  # a tie with what was left out
            for part in close[:, k - 1].nonzero().view(-1).split(self._rows()):
                own = None if self_id is None else self_id[part]
                score[part, :k], index[part, :k] = self._contest(
                    query[part], score[part, k - 1 : k], k, own
                )
        return KNNOutput(score[:, :k], index[:, :k])

    def num_rows(self) -> int:
        r"""Returns how many queries to search for at a time."""
        return self._rows() if self.index is None else FAISS_ROWS

    def _candidates(self, query: Tensor) -> tuple[Tensor, Tensor]:
        if self.index is None or (self.exact and len(query) < FAISS_MIN_ROWS):
            parts = query.split(self._rows())
            outs = [self._scores(part).topk(self.size, dim=1) for part in parts]
            return torch.cat([o[0] for o in outs]), torch.cat([o[1] for o in outs])
        score, index = self.index.search(query, self.size)
        if self.metric == 'sqeuclidean':
            score = -score
        for part in (index < 0).any(dim=1).nonzero().view(-1).split(self._rows()):
            score[part], index[part] = self._scores(query[part]).topk(self.size, dim=1)
        return score, index

    def _scores(self, query: Tensor) -> Tensor:
        score = query @ self.x.t()
        if self.metric == 'sqeuclidean':
            norm = self.x.square().sum(dim=1)
            score = 2 * score - norm - query.square().sum(dim=1, keepdim=True)
        return score

    def _rounding(self, query: Tensor) -> Tensor:
        scale = query.norm(dim=1, keepdim=True) * self.norm
        if self.metric == 'sqeuclidean':
            scale = 4 * query.norm(dim=1, keepdim=True).maximum(self.norm).square()
        return scale * dot_rounding(self.x.size(1))

    def _rows(self) -> int:
        return max(1, BLOCK_ELEMENTS // self.x.size(0))

    def _order(
        self, query: Tensor, score: Tensor, index: Tensor, close: Tensor
    ) -> None:
        before, after = F.pad(close, (1, 0)), F.pad(close, (0, 1))
        row, place = (before | after).nonzero(as_tuple=True)
        item = index[row, place]
        exact = self._exact(query, row, item)
        run = (~before)[row, place].cumsum(dim=0)
        perm = item.argsort()
        for key in (-exact, run):
            perm = perm[key[perm].argsort(stable=True)]
        score[row, place], index[row, place] = exact[perm], item[perm]

    def _contest(
        self, query: Tensor, worst: Tensor, k: int, self_id: Tensor | None
    ) -> KNNOutput:
        score = self._scores(query)
        row, item = (score >= worst - 2 * self._rounding(query)).nonzero(as_tuple=True)
        score.fill_(-torch.inf)
        score[row, item] = self._exact(query, row, item)
        if self_id is not None:
            score.scatter_(1, self_id.view(-1, 1), -torch.inf)
        return stable_topk(score, k)

    def _exact(self, query: Tensor, row: Tensor, item: Tensor) -> Tensor:
        outs = [query.new_empty(0)]
        elements = EXACT_ELEMENTS_CUDA if query.is_cuda else EXACT_ELEMENTS
        size = max(1, elements // self.x.size(1))
        for i, j in zip(row.split(size), item.split(size), strict=True):
            q, x = query[i].to(torch.float64), self.x[j].to(torch.float64)
            if self.metric == 'sqeuclidean':
                outs.append(-(q - x).square().sum(dim=1).to(torch.float32))
            else:
                outs.append(torch.linalg.vecdot(q, x).to(torch.float32))
        return torch.cat(outs)


def _without(item: Tensor, score: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    # Leaves out an item of each row, or the last one if the row lacks it.
    kept = index != item.view(-1, 1)
    kept[:, -1] &= ~kept.all(dim=1)
    size = (index.size(0), index.size(1) - 1)
    return score[kept].view(size), index[kept].view(size)
