r"""The :math:`k`-reciprocal encoding of items by their neighbours."""

from typing import NamedTuple

import torch
from torch import Tensor

from torch_geometric_reid.checks import check_positive, cut
from torch_geometric_reid.rerank.ranking import (
    BLOCK_ELEMENTS,
    FeatureDistance,
    GivenDistance,
    Ranking,
)
from torch_geometric_reid.rerank.sparse import (
    from_table,
    row_sum,
    select_entries,
    with_values,
)

NODES = 4096  # items encoded at a time


class ListSizes(NamedTuple):
    r"""How much of the neighbour lists is read, the item itself included.

    Args:
        full (int): For the reciprocal set of an item.
        half (int): For the sets by which it is expanded.
        mean (int): For the mean over neighbours.
    """

    full: int
    half: int
    mean: int

    @classmethod
    def of(cls, k1: int, k2: int, num_nodes: int) -> 'ListSizes':
        r"""Returns the sizes among :obj:`num_nodes` items, with a warning where
        they hold fewer than :obj:`k1` neighbours.
        """
        check_positive('k1', k1)
        check_positive('k2', k2)
        half = min(round(k1 / 2) + 1, num_nodes)
        full = cut('k1', k1, num_nodes - 1, stacklevel=5) + 1
        return cls(full, half, min(k2, num_nodes))


class ReciprocalEncoding:
    r"""Describes each item by weights of its :math:`k`-reciprocal neighbours.

    Args:
        distance (FeatureDistance or GivenDistance): The distances.
        ranking (Ranking): The neighbour lists and farthest distances.
        sizes (ListSizes): How much of the lists is read.
    """

    def __init__(
        self,
        distance: FeatureDistance | GivenDistance,
        ranking: Ranking,
        sizes: ListSizes,
    ):
        self.distance = distance
        self.neighbor = ranking.neighbor
        self.farthest = ranking.farthest
        self.sizes = sizes

    def encode(self, node: Tensor) -> Tensor:
        r"""Returns the mean weights over the nearest items of each item.

        Args:
            node (torch.Tensor): The items :math:`(M)`.

        Returns:
            A sparse matrix :math:`(M, N)` whose rows sum to one.
        """
        nearest = self.neighbor[node, : self.sizes.mean]
        member, place = nearest.unique(return_inverse=True)
        mean = from_table(place, member.numel()) / self.sizes.mean
        return torch.sparse.mm(mean, self.weights(member))

    def weights(self, node: Tensor) -> Tensor:
        r"""Returns the weights :math:`e^{-d_{ij}} / \sum_l e^{-d_{il}}` of the
        expanded reciprocal neighbours of each item.

        Args:
            node (torch.Tensor): The items :math:`(M)` in ascending order.

        Returns:
            A sparse matrix :math:`(M, N)` whose rows sum to one.
        """
        outs = []
        for part in node.split(NODES):
            a = self.expand(part)
            row = a.indices()[0]
            distance = relative(self.distance.pairs(part, a), self.farthest[part][row])
            a = with_values(a, torch.exp(-distance))
            outs.append(with_values(a, a.values() / row_sum(a)[row]))
        return torch.cat(outs).coalesce()

    def expand(self, node: Tensor) -> Tensor:
        r"""Returns the :math:`k_1`-reciprocal neighbours of each item, and with
        them the :math:`k_1 / 2`-reciprocal neighbours of each neighbour of whose
        set more than two thirds lie among them.

        Args:
            node (torch.Tensor): The items :math:`(M)`.

        Returns:
            A sparse matrix :math:`(M, N)` of positive entries.
        """
        full, half = self.sizes.full, self.sizes.half
        num_nodes = self.neighbor.size(0)
        near, mutual = self.neighbor[node, :full], self.mutual(node, full)
        member, place = near.unique(return_inverse=True)
        reciprocal = from_table(near, num_nodes, mutual)
        by_member = from_table(place, member.numel(), mutual)

        core = from_table(
            self.neighbor[member, :half], num_nodes, self.mutual(member, half)
        )
        overlap = reciprocal * torch.sparse.mm(by_member, core)
        size = row_sum(core)[by_member.indices()[1]]
        accepted = select_entries(by_member, 3 * overlap.values() > 2 * size)
        return (torch.sparse.mm(accepted, core) + reciprocal).coalesce()

    def mutual(self, node: Tensor, size: int) -> Tensor:
        r"""Tells which items on the list of each item have it on their list.

        Args:
            node (torch.Tensor): The items :math:`(M)`.
            size (int): How much of the lists is read.

        Returns:
            A mask :math:`(M, \mathrm{size})` of the lists.
        """
        lists = self.neighbor[:, :size]
        step = max(1, BLOCK_ELEMENTS // size**2)
        outs = [
            (lists[lists[part]] == part.view(-1, 1, 1)).any(dim=-1)
            for part in node.split(step)
        ]
        return torch.cat(outs)


def relative(distance: Tensor, farthest: Tensor) -> Tensor:
    r"""Returns distances as parts of the farthest, zero where that is zero."""
    return distance * torch.where(farthest > 0, 1 / farthest, 0)


def jaccard_fusion(min_sum: Tensor, distance: Tensor, lambda_value: float) -> Tensor:
    r"""Returns the Jaccard distance of two encodings, mixed with the original
    distance.

    Args:
        min_sum (torch.Tensor): The sums of the smaller weights :math:`(B, G)`,
            overwritten.
        distance (torch.Tensor): The original distances :math:`(B, G)`,
            overwritten.
        lambda_value (float): The weight of the original distance.
    """
    # The rows of an encoding sum to one: the larger weights add up to 2 - min_sum.
    similarity = min_sum.div_(2 - min_sum)
    return distance.mul_(lambda_value).add_(1 - similarity, alpha=1 - lambda_value)
