import torch
from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform
from torch_geometric.utils import coalesce

from torch_geometric_reid.checks import check_choice, check_positive
from torch_geometric_reid.transforms.neighbor_table import neighbors_by_mask


class AffinityGraph(BaseTransform):
    r"""Builds the affinity graph, eq. (1) of `"Feature Aggregation and
    Connectivity for Object Re-Identification"
    <https://doi.org/10.1016/j.patcog.2024.110869>`_, and its row-normalised form.

    .. math::
        a_{ij} = \begin{cases}
        \cos(\mathbf{x}_i, \mathbf{x}_j) & \text{if } j \in \mathrm{kNN}(i) \\
        0 & \text{otherwise}
        \end{cases}
        \qquad
        \mathbf{\tilde{A}} = \mathbf{D}^{-1} (\mathbf{A} + \mathbf{I})

    A node receives from itself and from its :math:`k` nearest other nodes.
    With the attribute :obj:`gallery_mask`, only nodes of the gallery are read:
    a probe receives from gallery images and gives nothing, so that no probe
    changes the features of another.

    Reads :obj:`x` :math:`(N, d)` and, if there, :obj:`gallery_mask` :math:`(N)`;
    adds :obj:`edge_index` (a column-sorted :class:`~torch_geometric.EdgeIndex`)
    and :obj:`edge_weight`, the entries of :math:`\mathbf{\tilde{A}}`; and of each
    node's :math:`k`-th neighbour the position :obj:`last_neighbor` :math:`(N)` and
    the cosine :obj:`last_score` :math:`(N)`, which is :math:`-\infty` where there
    are fewer than :math:`k` other nodes.

    Args:
        k (int): The number of neighbours, not counting the node itself.
        metric (str, optional): The similarity, :obj:`"cosine"`: the
            self-loop's weight of one relies on it. (default: :obj:`"cosine"`)
        binary (bool, optional): If set to :obj:`True`, neighbours weigh one
            instead of their cosine. (default: :obj:`False`)
        threshold (float, optional): Neighbours whose cosine is not above it
            are dropped; at least zero. (default: :obj:`0.0`)
        symmetrize (bool, optional): If set to :obj:`True`, uses
            :math:`\max(\mathbf{A}, \mathbf{A}^{\top})` among the nodes that
            may be read. (default: :obj:`False`)
        normalize (bool, optional): If set to :obj:`False`, gives the entries
            of :math:`\mathbf{A} + \mathbf{I}`. (default: :obj:`True`)
        backend (str, optional): See :meth:`~torch_geometric_reid.knn.knn`.
            (default: :obj:`None`)

    Raises:
        ValueError: If :obj:`k < 1`, :obj:`threshold` is negative, or
            :obj:`data` has no usable :obj:`x`.

    Example:
        >>> data = Data(x=torch.tensor([[1., 0.], [0.8, 0.6], [0., 1.]]))
        >>> data = AffinityGraph(k=1)(data)
        >>> data.edge_index.tolist()
        [[0, 1, 0, 1, 1, 2], [0, 0, 1, 1, 2, 2]]
    """

    def __init__(
        self,
        k: int,
        metric: str = 'cosine',
        *,
        binary: bool = False,
        threshold: float = 0.0,
        symmetrize: bool = False,
        normalize: bool = True,
        backend: str | None = None,
    ):
        check_positive('k', k)
        check_choice('metric', metric, ('cosine',))
        if threshold < 0:
            raise ValueError(f"'threshold' needs to be at least 0 (got {threshold})")
        self.k = k
        self.metric = metric
        self.binary = binary
        self.threshold = threshold
        self.symmetrize = symmetrize
        self.normalize = normalize
        self.backend = backend

    def forward(self, data: Data) -> Data:
        if data.x is None:
            raise ValueError("'data' needs features 'x' of shape [N, d] (got none)")
        num_nodes = data.x.size(0)
        mask = self._gallery_mask(data)
        edge_index, score = self._neighbors(data, mask)

        weight = self.weigh(score)
        edge_index, weight = edge_index[:, weight > 0], weight[weight > 0]
        if self.symmetrize:
            back = mask[edge_index[1]]
            edge_index = torch.cat([edge_index, edge_index[:, back].flip(0)], dim=1)
            weight = torch.cat([weight, weight[back]])

        loop = torch.arange(num_nodes, device=edge_index.device)
        edge_index, weight = coalesce(
            torch.cat([edge_index, loop.expand(2, -1)], dim=1),
            torch.cat([weight, weight.new_ones(num_nodes)]),
            num_nodes=num_nodes,
            reduce='max',
            sort_by_row=False,
        )
        if self.normalize:
            degree = weight.new_zeros(num_nodes).index_add_(0, edge_index[1], weight)
            weight = weight / degree[edge_index[1]]
        data.edge_index = EdgeIndex(
            edge_index, sparse_size=(num_nodes, num_nodes), sort_order='col'
        )
        data.edge_weight = weight
        return data

    def weigh(self, score: Tensor) -> Tensor:
        r"""Returns the entries of :math:`\mathbf{A}` for neighbours' cosines."""
        weight = torch.ones_like(score) if self.binary else score
        return weight.masked_fill(score <= self.threshold, 0)

    def _gallery_mask(self, data: Data) -> Tensor:
        num_nodes = data.x.size(0)
        if 'gallery_mask' not in data:
            return torch.ones(num_nodes, dtype=torch.bool, device=data.x.device)
        mask = data.gallery_mask
        if mask.dtype != torch.bool or list(mask.shape) != [num_nodes]:
            raise ValueError(
                f"'gallery_mask' needs to be a boolean tensor of shape [{num_nodes}] "
                f'(got {mask.dtype} of shape {list(mask.shape)})'
            )
        return mask

    def _neighbors(self, data: Data, mask: Tensor) -> tuple[Tensor, Tensor]:
        x = data.x
        data.last_neighbor = torch.zeros_like(mask, dtype=torch.long)
        data.last_score = torch.full_like(data.last_neighbor, -torch.inf, dtype=x.dtype)
        edges, scores = [], []
        for node, out in neighbors_by_mask(x, self.k, mask, self.backend):
            score, index = out.score.to(x.dtype), out.index
            col = node.repeat_interleave(index.size(1))
            edges.append(torch.stack([index.view(-1), col]))
            scores.append(score.view(-1))
            if index.size(1) == self.k:
                data.last_neighbor[node] = index[:, -1]
                data.last_score[node] = score[:, -1]
        return torch.cat(edges, dim=1), torch.cat(scores)

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}(k={self.k})'
