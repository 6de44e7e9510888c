r"""Neighbourhoods that spread over their graph."""

import torch
from torch import Tensor

from torch_geometric_reid.rerank.sparse import (
    add_transpose,
    from_table,
    select_entries,
    unit_rows,
)


def spread_neighborhoods(
    score: Tensor,
    index: Tensor,
    k2: int = 7,
    alpha: float = 2.0,
    layers: int = 2,
    mask: Tensor | None = None,
) -> Tensor:
    r"""Returns the matrix :math:`\mathbf{H}` of :meth:`gnn`.

    Args:
        score (torch.Tensor): The cosines :math:`(N, k_1)` of each item to itself
            and its nearest others.
        index (torch.Tensor): These items :math:`(N, k_1)`.
        k2 (int, optional): See :meth:`gnn`. (default: :obj:`7`)
        alpha (float, optional): See :meth:`gnn`. (default: :obj:`2.0`)
        layers (int, optional): See :meth:`gnn`. (default: :obj:`2`)
        mask (torch.Tensor, optional): The items :math:`(N)` that give to others;
            only these are listed by others. By default, all.
            (default: :obj:`None`)

    Returns:
        A sparse matrix :math:`(N, N)` with rows of unit length.
    """
    num_nodes = index.size(0)
    weight = score[:, :k2].clamp(min=0) ** alpha
    w = from_table(index[:, :k2], num_nodes, value=weight)
    h = from_table(index, num_nodes)
    for _ in range(layers):
        h = unit_rows(torch.sparse.mm(w, _add_back(h, mask)))
    return h


def _add_back(h: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return add_transpose(h)
    row, col = h.indices()
    return (h + select_entries(h, mask[row] | (row == col)).t()).coalesce()


def both_ways(index: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    r"""Returns the sparse matrix :math:`(\mathbf{A} + \mathbf{A}^{\top}) / 2` of a
    table's values.

    Args:
        index (torch.Tensor): The nodes :math:`(N, K)` that each node lists, never
            itself.
        value (torch.Tensor): The values :math:`(N, K)`.
        mask (torch.Tensor, optional): The nodes :math:`(N)` that give to others.
            Rows of other nodes keep their values. By default, all give.
            (default: :obj:`None`)
    """
    if mask is None:
        return add_transpose(from_table(index, index.size(0), value=value / 2))
    a = from_table(
        index, index.size(0), value=torch.where(mask[:, None], 0.5, 1) * value
    )
    back = select_entries(a, mask[a.indices()[0]]).t()
    return (a + back).coalesce()
