r"""Exact nearest neighbours, whichever back end proposes them."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.nn.pool import L2KNNIndex, MIPSKNNIndex
from torch_geometric.nn.pool.knn import KNNIndex, KNNOutput

from torch_geometric_reid.approximate import ApproximateIndex
from torch_geometric_reid.exact_scores import exact_scores
from torch_geometric_reid.half_scores import HalfScores
from torch_geometric_reid.topk import (
    by_score_then_index,
    dot_rounding,
    grouped_topk,
    stable_topk,
)

BLOCK_ELEMENTS = 2**25  # scores held at a time: 128 MiB
BLOCK_ELEMENTS_CUDA = 2**27
MAX_ROWS = 2**14
FAISS_ROWS = 4096  # queries at a time, which Faiss splits itself
FAISS_MIN_ROWS = 256  # of fewer, Faiss takes up to 12 times as long for each
MORE_HALVES = 16  # candidates that make up for half precision


class ExactKNN:
    r"""The items of largest scores, in the order of their exact scores.

    Candidates come from float32 arithmetic, whose rounding depends on the back end
    and on an item's place in a block. Only where that could matter are they scored
    again, in float64. Those of half precision are some more, and all scored again;
    where one that was left out could be nearer, float32 decides.

    Args:
        x (torch.Tensor): The features :math:`(N, d)`, of unit length if the metric
            is :obj:`"cosine"`.
        metric (str): :obj:`"cosine"`, :obj:`"ip"` or :obj:`"sqeuclidean"`, whose
            score is the negative distance.
        backend (str): :obj:`"faiss"`, :obj:`"torch"`, :obj:`"half"` or
            :obj:`"ivf"`.
        size (int): The number of candidates, at most :math:`N`.
    """

    def __init__(self, x: Tensor, metric: str, backend: str, size: int):
        self.x = x
        self.squared = metric == 'sqeuclidean'
        self.size = size
        self.norm = x.norm(dim=1).max()
        self.exact = backend != 'ivf'
        self.index: KNNIndex | None = None
        self.half: HalfScores | None = None
        if backend == 'half':
            self.half = HalfScores(x, self.squared)
        elif backend == 'faiss':
            self.index = (L2KNNIndex if self.squared else MIPSKNNIndex)(x)
        elif backend == 'ivf':
            kind = 'sqeuclidean' if self.squared else 'ip'
            self.index = ApproximateIndex(x, size, kind)

    @property
    def recall(self) -> float:
        r"""The share of nearest items that is found, measured if not all are."""
        return self.index.recall if isinstance(self.index, ApproximateIndex) else 1.0

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
        if self.half is not None:
            return self._from_half(self.half, query, k, self_id)
        return self._from_float(query, k, self_id)

    def _from_half(
        self, half: HalfScores, query: Tensor, k: int, self_id: Tensor | None
    ) -> KNNOutput:
        value, term, factor = half(query)
        size = min(self.size + self.size // 8 + MORE_HALVES, value.size(1))
        value, index = grouped_topk(value, size)
        row = torch.arange(query.size(0), device=query.device).repeat_interleave(size)
        score = exact_scores(query, self.x, row, index.view(-1), self.squared)
        score = score.view_as(index)
        if self_id is not None:
            score, index = _without(self_id, score, index)
        score, index = by_score_then_index(score, index)
        score, index = score[:, :k], index[:, :k]
        if k > 0 and size < self.x.size(0):
            sure = score[:, -1] > factor * (value[:, -1] + term)
            for part in self._parts(~sure):
                own = None if self_id is None else self_id[part]
                score[part], index[part] = self._from_float(query[part], k, own)
        return KNNOutput(score, index)

    def _from_float(self, query: Tensor, k: int, self_id: Tensor | None) -> KNNOutput:
        score, index = self._candidates(query)
        if self_id is not None:
            score, index = _without(self_id, score, index)
        close = score[:, :-1] - score[:, 1:] <= self._rounding(query)
        self._order(query, score, index, close)
        if self.exact and 0 < k <= close.size(1):  # a tie with what was left out
            for part in self._parts(close[:, k - 1]):
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
            outs = [grouped_topk(self._scores(part), self.size) for part in parts]
            return torch.cat([o[0] for o in outs]), torch.cat([o[1] for o in outs])
        score, index = self.index.search(query, self.size)
        if self.squared:
            score = -score
        for part in self._parts((index < 0).any(dim=1)):
            score[part], index[part] = grouped_topk(
                self._scores(query[part]), self.size
            )
        return score, index

    def _scores(self, query: Tensor) -> Tensor:
        score = query @ self.x.t()
        if self.squared:
            norm = self.x.square().sum(dim=1)
            score = 2 * score - norm - query.square().sum(dim=1, keepdim=True)
        return score

    def _rounding(self, query: Tensor) -> Tensor:
        scale = query.norm(dim=1, keepdim=True) * self.norm
        if self.squared:
            scale = 4 * query.norm(dim=1, keepdim=True).maximum(self.norm).square()
        return scale * dot_rounding(self.x.size(1))

    def _rows(self) -> int:
        elements = BLOCK_ELEMENTS_CUDA if self.x.is_cuda else BLOCK_ELEMENTS
        return min(max(1, elements // self.x.size(0)), MAX_ROWS)

    def _parts(self, mask: Tensor) -> tuple[Tensor, ...]:
        row = mask.nonzero().view(-1)
        return row.split(self._rows()) if row.numel() > 0 else ()

    def _order(
        self, query: Tensor, score: Tensor, index: Tensor, close: Tensor
    ) -> None:
        before, after = F.pad(close, (1, 0)), F.pad(close, (0, 1))
        row, place = (before | after).nonzero(as_tuple=True)
        item = index[row, place]
        exact = exact_scores(query, self.x, row, item, self.squared)
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
        score[row, item] = exact_scores(query, self.x, row, item, self.squared)
        if self_id is not None:
            score.scatter_(1, self_id.view(-1, 1), -torch.inf)
        return stable_topk(score, k)


def _without(item: Tensor, score: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    # Leaves out an item of each row, or the last one if the row lacks it.
    kept = index != item.view(-1, 1)
    kept[:, -1] &= ~kept.all(dim=1)
    size = (index.size(0), index.size(1) - 1)
    return score[kept].view(size), index[kept].view(size)
