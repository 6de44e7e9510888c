from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric import EdgeIndex

from torch_geometric_reid.csr import csr_matrix
from torch_geometric_reid.precision import full_precision


def neighbor_mean(x: Tensor, edge_index: EdgeIndex) -> Tensor:
    r"""Returns the mean of each node's neighbours, :math:`\mathbf{D}^{-1} \mathbf{A}
    \mathbf{X}` of shape :math:`(|\mathcal{V}_t|, F)`; without neighbours it is zero.

    Args:
        x (torch.Tensor): The features :math:`(|\mathcal{V}_s|, F)`.
        edge_index (EdgeIndex): The column-sorted edges, which are of
            :math:`|\mathcal{V}_s|` targets if they know no sparse size.

    Raises:
        ValueError: If the edges are of another number of sources.
    """
    if None in edge_index.sparse_size():
        edge_index.sparse_resize_(x.size(0), x.size(0))
    if edge_index.sparse_size(0) != x.size(0):
        raise ValueError(
            f"'edge_index' needs a sparse size of {x.size(0)} sources, as many as "
            f"there are features in 'x' (got {edge_index.sparse_size()})"
        )
    return cast(Tensor, _NeighborMean.apply(x, edge_index, False))


class _NeighborMean(torch.autograd.Function):
    # The gradient goes the edges back, with the same weights.

    @staticmethod
    def forward(ctx: Any, x: Tensor, edge_index: EdgeIndex, back: bool) -> Tensor:
        ctx.edge_index, ctx.back = edge_index, back
        weight = mean_weight(edge_index, x.dtype)
        (ptr, index), perm = edge_index.get_csr() if back else edge_index.get_csc()
        return weighted_sum(x, ptr, index, weight if perm is None else weight[perm])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        out = _NeighborMean.apply(grads[0], ctx.edge_index, not ctx.back)
        return cast(Tensor, out), None, None


def weighted_sum(x: Tensor, ptr: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    r"""Returns :math:`\sum_{e = p_i}^{p_{i + 1} - 1} w_e \, \mathbf{x}_{j_e}` for each
    :math:`i`, without a message of an edge.

    Args:
        x (torch.Tensor): The features :math:`(N, F)`.
        ptr (torch.Tensor): The first edge of each sum, and the end
            :math:`(M + 1)`.
        index (torch.Tensor): The node :math:`j_e` of each edge,
            :math:`(|\mathcal{E}|)`.
        weight (torch.Tensor): The weight :math:`w_e` of each edge,
            :math:`(|\mathcal{E}|)`.
    """
    if x.is_cuda:  # where PyTorch's bag takes four times as long as a sparse product
        matrix = csr_matrix(ptr.int(), index.int(), weight, x.size(0))
        with full_precision():
            return matrix @ x
    return F.embedding_bag(
        index, x, ptr, mode='sum', per_sample_weights=weight, include_last_offset=True
    )


def mean_weight(edge_index: EdgeIndex, dtype: torch.dtype) -> Tensor:
    r"""Returns the weights :math:`(|\mathcal{E}|)` with which the sum over a node's
    neighbours is their mean.

    Args:
        edge_index (EdgeIndex): The column-sorted edges.
        dtype (torch.dtype): The weights' type.
    """
    (colptr, _), _ = edge_index.get_csc()
    degree = colptr.diff()
    weight = degree.to(dtype).reciprocal_()
    return weight.repeat_interleave(degree, output_size=edge_index.size(1))
