r"""Neighbourhoods that spread over their graph."""

import torch
from torch import Tensor

from torch_geometric_reid.rerank.sparse import (
    SparseRows,
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
    return _spread(score, index, k2, alpha, layers, mask)[0]


def _spread(
    score: Tensor,
    index: Tensor,
    k2: int,
    alpha: float,
    layers: int,
    mask: Tensor | None = None,
) -> tuple[Tensor, list[Tensor]]:
    # Returns H and, for each layer, the matrix that it reads.
    num_nodes = index.size(0)
    weight = score[:, :k2].clamp(min=0) ** alpha
    w = from_table(index[:, :k2], num_nodes, value=weight)
    h = from_table(index, num_nodes)
    read = []
    for _ in range(layers):
        read.append(_add_back(h, mask))
        h = unit_rows(torch.sparse.mm(w, read[-1]))
    return h, read


class GalleryNeighborhoods:
    r"""The matrix :math:`\mathbf{H}` of a gallery, kept so that those of probes,
    which read from the gallery without being read, can be added one by one.

    Args:
        score (torch.Tensor): The cosines :math:`(G, k_1)` of each item to itself
            and its nearest others.
        index (torch.Tensor): These items :math:`(G, k_1)`.
        k2 (int, optional): See :meth:`gnn`. (default: :obj:`7`)
        alpha (float, optional): See :meth:`gnn`. (default: :obj:`2.0`)
        layers (int, optional): See :meth:`gnn`. (default: :obj:`2`)
    """

    def __init__(
        self,
        score: Tensor,
        index: Tensor,
        k2: int = 7,
        alpha: float = 2.0,
        layers: int = 2,
    ):
        h, read = _spread(score, index, k2, alpha, layers)
        self.num_items = index.size(0)
        self.k2 = k2
        self.alpha = alpha
        self.rows = SparseRows(h)
        self.layers = [SparseRows(a) for a in read]

    def read(self, score: Tensor, index: Tensor) -> Tensor:
        r"""Returns the rows of probes as :meth:`spread_neighborhoods` gives them with
        a mask, but for the entries of the probes themselves, :math:`(Q, G)`.

        Args:
            score (torch.Tensor): The cosines :math:`(Q, k_1)` of each probe to
                itself and its nearest items.
            index (torch.Tensor): These items :math:`(Q, k_1 - 1)`.
        """
        h = score.new_zeros(index.size(0), self.num_items).scatter_(1, index, 1)
        weight = score[:, : self.k2].clamp(min=0) ** self.alpha
        own, others = weight[:, :1], weight[:, 1:]
        itself = torch.ones_like(own)
        listed = index[:, : others.size(1)]
        for layer in self.layers:
            place, col, value = layer.take(listed.reshape(-1))
            probe = place // listed.size(1)
            h = (own * h).view(-1)
            h.index_add_(
                0, probe * self.num_items + col, value * others.reshape(-1)[place]
            )
            h = h.view(index.size(0), -1)
            itself = own * 2 * itself  # both ways
            length = (h.square().sum(dim=1, keepdim=True) + itself.square()).sqrt()
            h, itself = h / length, itself / length
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
