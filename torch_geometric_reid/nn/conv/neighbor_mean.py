from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch_geometric import EdgeIndex


def neighbor_mean(x: Tensor, edge_index: EdgeIndex) -> Tensor:
    r"""Returns the mean of each node's neighbours, :math:`\mathbf{D}^{-1} \mathbf{A}
    \mathbf{X}` of shape :math:`(|\mathcal{V}_t|, F)`; without neighbours it is zero.

    Args:
        x (torch.Tensor): The features :math:`(|\mathcal{V}_s|, F)`.
        edge_index (EdgeIndex): The column-sorted edges.
    """
    return cast(Tensor, _NeighborMean.apply(x, edge_index))


class _NeighborMean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, edge_index: EdgeIndex) -> Tensor:
        ctx.edge_index = edge_index
        (colptr, row), _ = edge_index.get_csc()
        return weighted_sum(x, colptr, row, mean_weight(edge_index, x.dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (rowptr, col), perm = ctx.edge_index.get_csr()
        weight = mean_weight(ctx.edge_index, grads[0].dtype)
        weight = weight if perm is None else weight[perm]
        return weighted_sum(grads[0], rowptr, col, weight), None


def weighted_sum(x: Tensor, ptr: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    r"""Returns :math:`\sum_{e = p_i}^{p_{i + 1} - 1} w_e \, \mathbf{x}_{j_e}` for each
    :math:`i`, without a message of an edge.

    Args:
        x (torch.Tensor): The features :math:`(N, F)`.
        ptr (torch.Tensor): The first edge of each sum, and the end
            :math:`(M + 1)`.
        index (torch.Tensor): The node :math:`j_e` of each edge.
        weight (torch.Tensor): The weight of each edge.
    """
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
