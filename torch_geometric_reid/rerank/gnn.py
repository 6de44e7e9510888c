from typing import Any

import torch
from torch import Tensor

from torch_geometric_reid.checks import check_positive, cut
from torch_geometric_reid.precision import full_precision
from torch_geometric_reid.rerank.inputs import check_at_least_zero, unit_features
from torch_geometric_reid.rerank.lists import neighbor_lists
from torch_geometric_reid.rerank.sparse import (
    add_transpose,
    dense_product,
    from_table,
    slice_rows,
    unit_rows,
)


@full_precision()
def gnn(
    query: Any,
    gallery: Any,
    k1: int = 26,
    k2: int = 7,
    alpha: float = 2.0,
    layers: int = 2,
) -> Tensor:
    r"""The re-ranked distances of `"Understanding Image Retrieval Re-Ranking: A
    Graph Neural Network Perspective" <https://arxiv.org/abs/2012.07620>`_.

    Over probes and gallery together, :math:`\mathbf{H}^{(0)}` tells by ones
    which items are an item and its nearest others; :math:`k_1` in all. Each
    layer then computes

    .. math::
        \mathbf{H}^{(l+1)} = \mathbf{W} \left( \mathbf{H}^{(l)} +
        {\mathbf{H}^{(l)}}^{\top} \right), \qquad W_{ij} = \max(\mathbf{x}_i^{\top}
        \mathbf{x}_j, 0)^{\alpha} \textrm{ for the } k_2 \textrm{ nearest } j

    at unit length, and divides each row by its length. The distance is one minus
    the cosine between rows of the last :math:`\mathbf{H}`.

    Args:
        query (torch.Tensor): The probes' features :math:`(Q, d)`.
        gallery (torch.Tensor): The gallery's features :math:`(G, d)`.
        k1 (int, optional): The number of items in a neighbourhood, the item
            itself included. Cut with a warning to the number that there are.
            (default: :obj:`26`)
        k2 (int, optional): The number of items that a layer gathers from, the
            item itself included, at most :obj:`k1`. (default: :obj:`7`)
        alpha (float, optional): The power :math:`\alpha \geq 0` of the cosine.
            (default: :obj:`2.0`)
        layers (int, optional): The number of layers. (default: :obj:`2`)

    Returns:
        The distances :math:`(Q, G)` in :math:`[0, 1]`.

    Raises:
        TypeError: If features are no floating-point tensors.
        ValueError: If features are empty, not finite, zero or of differing
            lengths, or a parameter is out of its range.

    Example:
        >>> query = torch.tensor([[1., 0.]])
        >>> gallery = torch.tensor([[0.8, 0.6], [0., 1.]])
        >>> gnn(query, gallery, k1=2, k2=1, layers=1)
        tensor([[0.0572, 0.6838]])
    """
    query, gallery = unit_features(query, gallery)
    check_positive('k1', k1)
    check_positive('k2', k2)
    if k2 > k1:
        raise ValueError(f"'k2' needs to be at most 'k1' (got {k2} and {k1})")
    check_at_least_zero('alpha', alpha)
    check_positive('layers', layers)
    x = torch.cat([query, gallery])
    num_query, num_nodes = query.size(0), x.size(0)
    score, index = neighbor_lists(x, cut('k1', k1, num_nodes, stacklevel=4))
    weight = score[:, :k2].clamp(min=0) ** alpha
    w = from_table(index[:, :k2], num_nodes, value=weight)
    h = from_table(index, num_nodes)
    for _ in range(layers):
        h = unit_rows(torch.sparse.mm(w, add_transpose(h)))
    cosine = dense_product(
        slice_rows(h, 0, num_query), slice_rows(h, num_query, num_nodes)
    )
    return cosine.neg_().add_(1).clamp_(min=0)
