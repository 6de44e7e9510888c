r"""Approximate nearest neighbours, through Faiss."""

from typing import Any

import torch
from torch import Tensor
from torch_geometric.nn.pool.knn import KNNIndex

from torch_geometric_reid.checks import check_choice, check_positive

SAMPLED = 256  # items that the recall is measured on
ITEMS_OF_A_CELL = 39  # fewer are too few to train a cell on, says Faiss


class ApproximateIndex(KNNIndex):
    r"""An index that looks at few cells of the space only: an inverted file, as in
    `"Video Google" <https://doi.org/10.1109/ICCV.2003.1238663>`_, with the
    features themselves in it.

    It looks at as many cells as it takes to find a wanted share of the true
    nearest of some of its own items, which are searched for exactly to that end.

    Args:
        emb (torch.Tensor): The features :math:`(N, d)`, float32.
        k (int): The number of nearest that the recall is measured at.
        metric (str, optional): :obj:`"ip"` or :obj:`"sqeuclidean"`.
            (default: :obj:`"ip"`)
        recall (float, optional): The wanted share, in :math:`(0, 1]`.
            (default: :obj:`0.95`)

    Attributes:
        num_cells (int): The number of cells, :math:`4 \sqrt{N}` if enough items
            are in each.
        num_visited (int): The number of cells that are looked at.
        recall (float): The share that was found.

    Raises:
        ValueError: If :obj:`recall` is out of its range, :obj:`metric` is another
            one or :obj:`k < 1`.
        ImportError: If Faiss is not installed.
    """

    def __init__(self, emb: Tensor, k: int, metric: str = 'ip', recall: float = 0.95):
        check_positive('k', k)
        check_choice('metric', metric, ('ip', 'sqeuclidean'))
        if not 0 < recall <= 1:
            raise ValueError(
                f"'recall' needs to be above 0 and at most 1 (got {recall})"
            )
        self.metric = metric
        num = emb.size(0)
        self.num_cells = max(1, min(int(4 * num**0.5), num // ITEMS_OF_A_CELL))
        super().__init__(emb=emb)
        self.num_visited, self.recall = 1, 0.0
        sample = emb[torch.linspace(0, num - 1, min(num, SAMPLED)).long()]
        least = self._least(emb, sample, min(k, num))
        while True:
            assert self.index is not None
            self.index.nprobe = self.num_visited
            found = self.search(sample, min(k, num)).score
            if metric == 'sqeuclidean':
                found = -found
            self.recall = (found >= least).float().mean().item()
            if self.recall >= recall or self.num_visited == self.num_cells:
                break
            self.num_visited = min(
                self.num_visited + (self.num_visited + 1) // 2, self.num_cells
            )

    def _create_index(self, channels: int) -> Any:
        import faiss

        metric = faiss.METRIC_INNER_PRODUCT if self.metric == 'ip' else faiss.METRIC_L2
        quantizer = faiss.IndexFlat(channels, metric)
        index = faiss.IndexIVFFlat(quantizer, channels, self.num_cells, metric)
        index.cp.max_points_per_centroid = 2 * ITEMS_OF_A_CELL
        return index

    def _least(self, emb: Tensor, sample: Tensor, k: int) -> Tensor:
        # The score of the k-th nearest, less what rounding may change.
        score = sample @ emb.t()
        scale = emb.square().sum(dim=1)
        if self.metric == 'sqeuclidean':
            score = 2 * score - scale - sample.square().sum(dim=1, keepdim=True)
        least = score.topk(k, dim=1).values[:, -1:]
        return least - 1e-5 * scale.max()
