from typing import Any

import torch
from torch import Tensor

from torch_geometric_reid.rerank.sparse import (
    add_transpose,
    dense_product,
    from_table,
    select_entries,
    slice_rows,
    sparse,
    unit_rows,
)


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


def link_profiles(neighbor: Tensor, link: Tensor, mask: Tensor | None = None) -> Tensor:
    r"""Returns the profiles of items: the sparse rows :math:`(N, N)`, of unit
    length, of :math:`(\mathbf{P} + \mathbf{P}^{\top}) / 2 + \mathbf{I}`.

    Args:
        neighbor (torch.Tensor): The items :math:`(N, K)` that each item lists,
            never itself.
        link (torch.Tensor): The probabilities :math:`(N, K)` that they belong
            together.
        mask (torch.Tensor, optional): The items :math:`(N)` that give to others;
            only these are listed by others. By default, all.
            (default: :obj:`None`)
    """
    node = torch.arange(neighbor.size(0), device=neighbor.device)
    one = torch.ones_like(node, dtype=link.dtype)
    size = (neighbor.size(0), neighbor.size(0))
    own = sparse(node, node, one, size)
    return unit_rows((both_ways(neighbor, link, mask) + own).coalesce())


def profile(neighbor: Any, link: Any, num_query: int) -> Tensor:
    r"""The re-ranked distances by the items that are linked to both.

    Over probes and gallery together, an item is described by the probabilities that
    others show its identity, learned ones in the place of
    :math:`k`-reciprocal vectors. The distance of two items is one minus the cosine
    between their :meth:`link_profiles`.

    Args:
        neighbor (torch.Tensor): The items :math:`(N, K)` that each item lists,
            never itself; the first are probes.
        link (torch.Tensor): The probabilities of a link :math:`(N, K)`.
        num_query (int): The number :math:`Q` of probes.

    Returns:
        The distances :math:`(Q, N - Q)` in :math:`[0, 1]`.

    Raises:
        ValueError: If shapes do not fit, an item lists itself or one that is not
            there, or a probability lies outside of :math:`[0, 1]`.

    Example:
        >>> neighbor = torch.tensor([[1], [0], [1]])
        >>> link = torch.tensor([[1.0], [1.0], [0.0]])
        >>> profile(neighbor, link, num_query=1).round(decimals=4)
        tensor([[0., 1.]])
    """
    num_nodes = _check_links(neighbor, link)
    if not 0 < num_query < num_nodes:
        raise ValueError(
            f"'num_query' needs to be between 1 and {num_nodes - 1} (got {num_query})"
        )
    profiles = link_profiles(neighbor, link)
    cosine = dense_product(
        slice_rows(profiles, 0, num_query), slice_rows(profiles, num_query, num_nodes)
    )
    return cosine.neg_().add_(1).clamp_(min=0)


def _check_links(neighbor: Tensor, link: Tensor) -> int:
    if neighbor.dim() != 2 or neighbor.shape != link.shape or not neighbor.numel():
        raise ValueError(
            f"'neighbor' and 'link' need one shape [N, K] (got "
            f'{list(neighbor.shape)} and {list(link.shape)})'
        )
    num_nodes = neighbor.size(0)
    node = torch.arange(num_nodes, device=neighbor.device).view(-1, 1)
    if neighbor.min() < 0 or neighbor.max() >= num_nodes or (neighbor == node).any():
        raise ValueError(
            f"'neighbor' needs other items of the {num_nodes} (got "
            f'{int(neighbor.min())} to {int(neighbor.max())}, or an item itself)'
        )
    if not ((link >= 0) & (link <= 1)).all():
        raise ValueError("'link' needs probabilities in [0, 1]")
    return num_nodes
