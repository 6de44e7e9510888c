from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from torch_geometric_reid.checks import check_positive, cut
from torch_geometric_reid.precision import full_precision
from torch_geometric_reid.rerank.inputs import check_above_zero, unit_features
from torch_geometric_reid.rerank.lists import neighbor_lists
from torch_geometric_reid.rerank.sparse import (
    add_transpose,
    from_table,
    row_sum,
    with_values,
)


@full_precision()
def propagate_features(
    query: Any,
    gallery: Any,
    k: int = 15,
    beta: float = 0.2,
    layers: int = 3,
    symmetric: bool = True,
) -> tuple[Tensor, Tensor]:
    r"""Spreads features over their neighbour graph: the plain form of `"Graph
    Convolution Based Efficient Re-Ranking for Visual Retrieval"
    <https://arxiv.org/abs/2306.08792>`_, without cameras.

    Over probes and gallery together, at unit length, each layer computes

    .. math::
        S_{ij} = e^{\mathbf{x}_i^{\top} \mathbf{x}_j / \beta} \textrm{ for } j
        \in N_i, \qquad \mathbf{X}^{\prime} = \mathbf{D}_{r}^{-1/2} \, \mathbf{S}
        \, \mathbf{D}_{c}^{-1/2} \, \mathbf{X}

    with :math:`N_i` the item and its nearest others under :math:`\mathbf{X}`,
    :math:`\mathbf{D}_{r}` and :math:`\mathbf{D}_{c}` the sums of the rows and
    columns, and :math:`\mathbf{S}` first replaced by :math:`(\mathbf{S} +
    \mathbf{S}^{\top}) / 2` if :obj:`symmetric`.

    Args:
        query (torch.Tensor): The probes' features :math:`(Q, d)`.
        gallery (torch.Tensor): The gallery's features :math:`(G, d)`.
        k (int, optional): The number of items in :math:`N_i`, the item itself
            included. Cut with a warning to the number that there are.
            (default: :obj:`15`)
        beta (float, optional): The temperature :math:`\beta > 0`.
            (default: :obj:`0.2`)
        layers (int, optional): The number of layers. (default: :obj:`3`)
        symmetric (bool, optional): If set to :obj:`False`, leaves the
            graph directed. (default: :obj:`True`)

    Returns:
        The new features of probes and gallery, of unit length.

    Raises:
        TypeError: If features are no floating-point tensors.
        ValueError: If features are empty, not finite, zero or of differing
            lengths, or a parameter is out of its range.
    """
    query, gallery = unit_features(query, gallery)
    check_positive('k', k)
    check_above_zero('beta', beta)
    check_positive('layers', layers)
    x = torch.cat([query, gallery])
    k = cut('k', k, x.size(0), stacklevel=4)
    for _ in range(layers):
        neighbor = neighbor_lists(x, k)
        weight = torch.exp((neighbor.score - 1) / beta)  # a common factor cancels
        graph = from_table(neighbor.index, x.size(0), value=weight)
        if symmetric:
            graph = add_transpose(graph)
        row, col = graph.indices()
        scale = row_sum(graph)[row] * row_sum(graph.t().coalesce())[col]
        graph = with_values(graph, graph.values() * scale.rsqrt())
        x = F.normalize(torch.sparse.mm(graph, x))
    return x[: query.size(0)], x[query.size(0) :]


@full_precision()
def gcr(
    query: Any,
    gallery: Any,
    k: int = 15,
    beta: float = 0.2,
    layers: int = 3,
    symmetric: bool = True,
) -> Tensor:
    r"""The cosine distances between the features of :meth:`propagate_features`.

    Args:
        query (torch.Tensor): The probes' features :math:`(Q, d)`.
        gallery (torch.Tensor): The gallery's features :math:`(G, d)`.
        k (int, optional): See :meth:`propagate_features`.
            (default: :obj:`15`)
        beta (float, optional): See :meth:`propagate_features`.
            (default: :obj:`0.2`)
        layers (int, optional): See :meth:`propagate_features`.
            (default: :obj:`3`)
        symmetric (bool, optional): See :meth:`propagate_features`.
            (default: :obj:`True`)

    Returns:
        The distances :math:`(Q, G)` in :math:`[0, 2]`.

    Raises:
        TypeError: If features are no floating-point tensors.
        ValueError: If features are empty, not finite, zero or of differing
            lengths, or a parameter is out of its range.
    """
    query, gallery = propagate_features(query, gallery, k, beta, layers, symmetric)
    return 1 - query @ gallery.t()
