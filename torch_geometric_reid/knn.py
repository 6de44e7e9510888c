r""":math:`k`-nearest neighbours, through Faiss or plain PyTorch."""

import logging
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric.nn.pool.knn import KNNOutput

from torch_geometric_reid.checks import (
    check_choice,
    check_features,
    check_positive,
    check_same_dim,
    cut,
)
from torch_geometric_reid.exact_knn import ExactKNN
from torch_geometric_reid.half_scores import has_half_products
from torch_geometric_reid.precision import full_precision

logger = logging.getLogger(__name__)

METRICS = ('cosine', 'ip', 'sqeuclidean')
BACKENDS = ('faiss', 'torch', 'half', 'ivf', 'auto')
FAISS_MAX_K = 2048  # PyG's `KNNIndex` caps the neighbours there
APPROXIMATE_FROM = 50_000  # items, from which on the index is built in less time


def knn(
    x: Tensor,
    k: int,
    *,
    query: Tensor | None = None,
    metric: str = 'cosine',
    exclude_self: bool = True,
    backend: str | None = None,
    chunk_size: int | None = None,
) -> KNNOutput:
    r"""Finds the :math:`k` nearest neighbours of each query in :obj:`x`.

    The result is exact and the same for :obj:`"faiss"`, :obj:`"torch"` and
    :obj:`"half"`: candidates whose scores differ by no more than rounding are scored
    again in float64, and equal scores (after rounding to float32) are ordered by
    index. With :obj:`"ivf"`, some neighbours may be missed. Scores have no gradient.

    Args:
        x (torch.Tensor): The features :math:`(N, d)` to search in, float16,
            float32 or float64 (computed in float32).
        k (int): The number of neighbours. Cut with a warning to the number
            of items that there are.
        query (torch.Tensor, optional): The features :math:`(M, d)` to search
            for. If not given, :obj:`x` is searched for itself.
            (default: :obj:`None`)
        metric (str, optional): :obj:`"cosine"`, :obj:`"ip"` (inner product) or
            :obj:`"sqeuclidean"`. (default: :obj:`"cosine"`)
        exclude_self (bool, optional): If set to :obj:`True` and no
            :obj:`query` is given, an item is no neighbour of itself (its
            duplicates are). (default: :obj:`True`)
        backend (str, optional): :obj:`"faiss"`, :obj:`"torch"`, :obj:`"half"`
            (products of float16, fast on a GPU only) or, for more items than can
            be compared with each other, :obj:`"ivf"`, an
            :class:`~torch_geometric_reid.approximate.ApproximateIndex` whose
            measured recall is logged. :obj:`"auto"` is :obj:`"ivf"`, and warns in
            the log, where 50,000 items or more on a CPU are searched for each other
            (:obj:`exclude_self`), which takes less time from there on, if Faiss is
            installed. By default, :obj:`"half"` on a GPU with tensor cores (with
            CUDA and PyTorch 2.8 or later); on a CPU Faiss where it is installed,
            for 256 queries and more; never an approximate index. More than some
            2,045 neighbours are found by :obj:`"torch"`. (default: :obj:`None`)
        chunk_size (int, optional): The number of queries handled at a time.
            By default, as many as hold 128 MiB of scores, 512 MiB on a GPU, or
            4,096 with Faiss. (default: :obj:`None`)

    Returns:
        PyG's :class:`~torch_geometric.nn.pool.knn.KNNOutput`, best first, of
        :obj:`score` float32 (the similarity, or the squared distance if the
        metric is :obj:`"sqeuclidean"`) and :obj:`index` int64, both of shape
        :math:`(M, \min(k, N))`, or :math:`(N, \min(k, N - 1))` without self.

    Raises:
        TypeError: If features are no floating-point tensors.
        ValueError: If features are empty, not finite, zero under the cosine or
            of differing lengths, or :obj:`k < 1`.
        ImportError: If Faiss is asked for and not installed.

    Example:
        >>> x = torch.tensor([[1., 0.], [0.8, 0.6], [0., 1.]])
        >>> knn(x, k=1).index.view(-1).tolist()
        [1, 0, 1]
    """
    exclude_self = exclude_self and query is None
    items = KNNSearch(x, k, metric=metric, exclude_self=exclude_self, backend=backend)
    return items.search(items.x if query is None else query, chunk_size)


class KNNSearch:
    r"""Items that stay, to be searched for one query after the other, see
    :meth:`knn`.

    Args:
        x (torch.Tensor): The features :math:`(N, d)` to search in.
        k (int): The number of neighbours.
        metric (str, optional): See :meth:`knn`. (default: :obj:`"cosine"`)
        exclude_self (bool, optional): If set to :obj:`True`, the queries are all of
            the items, in order, and none of them is a neighbour of itself.
            (default: :obj:`False`)
        backend (str, optional): See :meth:`knn`. (default: :obj:`None`)

    Attributes:
        recall (float): The share of the nearest items that is found: 1, or what was
            measured for some of the items if the index is approximate.
    """

    @torch.no_grad()
    def __init__(
        self,
        x: Tensor,
        k: int,
        *,
        metric: str = 'cosine',
        exclude_self: bool = False,
        backend: str | None = None,
    ):
        check_choice('metric', metric, METRICS)
        check_positive('k', k)
        x = check_features('x', x, nonzero=metric == 'cosine')
        self.k = cut('k', k, x.size(0) - int(exclude_self), stacklevel=5)
        self.metric = metric
        self.exclude_self = exclude_self
        self.x = F.normalize(x) if metric == 'cosine' else x
        size = min(self.k + 1 + int(exclude_self), x.size(0))
        level = logging.INFO
        if backend == 'auto':
            many = x.size(0) >= APPROXIMATE_FROM and exclude_self
            can = find_spec('faiss') is not None and not x.is_cuda
            backend, level = 'ivf' if many and can else None, logging.WARNING
        backend = _choose_backend(backend, x, size)
        self._search = ExactKNN(self.x, metric, backend, size)
        self.recall = self._search.recall
        if backend == 'ivf':
            text = 'neighbors among %d items are approximate: recall %.3f'
            logger.log(level, text, x.size(0), self.recall)

    @torch.no_grad()
    @full_precision()
    def search(self, query: Tensor, chunk_size: int | None = None) -> KNNOutput:
        r"""Returns the nearest items of each query, as :meth:`knn` does.

        Args:
            query (torch.Tensor): The features :math:`(M, d)` to search for.
            chunk_size (int, optional): See :meth:`knn`. (default: :obj:`None`)
        """
        if query is not self.x:
            query = check_features('query', query, nonzero=self.metric == 'cosine')
            check_same_dim('query', query, 'x', self.x)
            query = F.normalize(query) if self.metric == 'cosine' else query
        if chunk_size is None:
            chunk_size = self._search.num_rows()
        check_positive('chunk_size', chunk_size)
        outs = []
        for start in range(0, query.size(0), chunk_size):
            block = query[start : start + chunk_size]
            self_id = None
            if self.exclude_self:
                self_id = torch.arange(
                    start, start + block.size(0), device=self.x.device
                )
            outs.append(self._search(block, self.k, self_id))
        score = torch.cat([out.score for out in outs])
        index = torch.cat([out.index for out in outs])
        if self.metric == 'sqeuclidean':
            score = -score
        return KNNOutput(score, index)


def knn_graph(
    x: Tensor,
    k: int,
    *,
    loop: bool = False,
    metric: str = 'cosine',
    backend: str | None = None,
) -> tuple[EdgeIndex, Tensor]:
    r"""Builds the graph in which each node receives from its :math:`k` nearest
    neighbours.

    Args:
        x (torch.Tensor): The features :math:`(N, d)`.
        k (int): The number of neighbours, not counting the node itself.
        loop (bool, optional): If set to :obj:`True`, each node also receives
            from itself. (default: :obj:`False`)
        metric (str, optional): See :meth:`knn`. (default: :obj:`"cosine"`)
        backend (str, optional): See :meth:`knn`. (default: :obj:`None`)

    Returns:
        The edges :math:`(2, E)` neighbour :math:`\to` node, sorted by column,
        and their scores :math:`(E)`.
    """
    score, index = knn(x, k, metric=metric, backend=backend)
    num_nodes = index.size(0)
    if loop:
        x = check_features('x', x)
        if metric == 'ip':
            own = (x * x).sum(dim=1, keepdim=True)
        else:
            own = x.new_full((num_nodes, 1), float(metric == 'cosine'))
        node = torch.arange(num_nodes, device=index.device)
        score = torch.cat([own, score], dim=1)
        index = torch.cat([node.view(-1, 1), index], dim=1)
    return neighbor_graph(index, num_nodes), score.reshape(-1)


def neighbor_graph(neighbor: Tensor, num_nodes: int) -> EdgeIndex:
    r"""Turns a neighbour table :math:`(M, k)` into edges neighbour
    :math:`\to` row, sorted by column.

    Args:
        neighbor (torch.Tensor): The neighbours' ids of rows
            :math:`0, \ldots, M - 1`.
        num_nodes (int): The number of nodes of the graph, at least :math:`M`.
    """
    num_rows, k = neighbor.shape
    col = torch.arange(num_rows, device=neighbor.device).repeat_interleave(k)
    return EdgeIndex(
        torch.stack([neighbor.reshape(-1), col]),
        sparse_size=(num_nodes, num_nodes),
        sort_order='col',
    )


def _choose_backend(backend: str | None, x: Tensor, size: int) -> str:
    if backend is None:
        backend = _default_backend(x)
    check_choice('backend', backend, BACKENDS)
    if backend in ('faiss', 'ivf') and find_spec('faiss') is None:
        raise ImportError(
            f'\'backend="{backend}"\' needs Faiss: '
            f'pip install torch_geometric_reid[faiss]'
        )
    return 'torch' if size > FAISS_MAX_K else backend


def _default_backend(x: Tensor) -> str:
    if x.is_cuda:
        return 'half' if has_half_products(x) else 'torch'
    return 'faiss' if find_spec('faiss') is not None else 'torch'
