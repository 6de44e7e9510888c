from typing import Any

import torch
from torch import Tensor

from torch_geometric_reid.checks import check_positive, cut
from torch_geometric_reid.precision import full_precision
from torch_geometric_reid.rerank.inputs import unit_features
from torch_geometric_reid.rerank.lists import neighbor_lists
from torch_geometric_reid.rerank.sparse import dense_product, from_table, slice_rows


@full_precision()
def expanded_cross_neighborhood(
    query: Any,
    gallery: Any,
    k: int = 25,
    t: int = 3,
    q: int = 8,
) -> Tensor:
    r"""The re-ranked distances (ECN, on rank lists) of `"A Pose-Sensitive Embedding
    for Person Re-Identification with Expanded Cross Neighborhood Re-Ranking"
    <https://arxiv.org/abs/1711.10378>`_.

    Over probes and gallery together, two items are similar if their lists of
    neighbours agree. With :math:`r_i(b) = 1` for the item :math:`i` itself, 2 for
    its nearest other and so on,

    .. math::
        R_{ij} = \frac{\sum_b \max(k + 1 - r_i(b), 0) \, \max(k + 1 - r_j(b), 0)}
        {\sum_{r=1}^k r^2}

    lies in :math:`[0, 1]`. With :math:`E_i` the :math:`t` nearest others of
    :math:`i` and the :math:`q` nearest others of each of them (an item that
    occurs twice counts twice), the distance is

    .. math::
        d^{*}_{pg} = 1 - \frac{1}{2 (t + t q)} \left( \sum_{e \in E_p} R_{eg} +
        \sum_{e \in E_g} R_{pe} \right),

    or, where all these lists have nothing in common, one plus the cosine distance.

    Args:
        query (torch.Tensor): The probes' features :math:`(Q, d)`.
        gallery (torch.Tensor): The gallery's features :math:`(G, d)`.
        k (int, optional): The length of the lists that are compared, the item
            itself included. Cut with a warning to the number of items.
            (default: :obj:`25`)
        t (int, optional): The number of nearest others. Cut in the same way.
            (default: :obj:`3`)
        q (int, optional): The number of nearest others of these. Cut in the
            same way. (default: :obj:`8`)

    Returns:
        The distances :math:`(Q, G)` in :math:`[0, 3]`.

    Raises:
        TypeError: If features are no floating-point tensors.
        ValueError: If features are empty, not finite, zero or of differing
            lengths, or a parameter is out of its range.
    """
    query, gallery = unit_features(query, gallery)
    for name, value in (('k', k), ('t', t), ('q', q)):
        check_positive(name, value)
    x = torch.cat([query, gallery])
    num_query, num_nodes = query.size(0), x.size(0)
    k = cut('k', k, num_nodes, stacklevel=4)
    t = cut('t', t, num_nodes - 1, stacklevel=4)
    q = cut('q', q, num_nodes - 1, stacklevel=4)
    index = neighbor_lists(x, max(k, t + 1, q + 1)).index

    credit = torch.arange(k, 0, -1, device=x.device, dtype=x.dtype)
    credit = (credit / credit.norm()).expand(num_nodes, -1)
    lists = from_table(index[:, :k], num_nodes, value=credit)
    near = index[:, 1 : t + 1]
    expanded = torch.cat([near, index[near, 1 : q + 1].flatten(1)], dim=1)
    mean = from_table(expanded, num_nodes) / expanded.size(1)
    expanded_lists = torch.sparse.mm(mean, lists)

    similarity = dense_product(
        slice_rows(expanded_lists, 0, num_query),
        slice_rows(lists, num_query, num_nodes),
    )
    similarity += dense_product(
        slice_rows(lists, 0, num_query),
        slice_rows(expanded_lists, num_query, num_nodes),
    )
    return torch.where(similarity > 0, 1 - similarity / 2, 2 - query @ gallery.t())
