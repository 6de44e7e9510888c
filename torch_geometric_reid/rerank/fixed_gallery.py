from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from torch_geometric_reid.checks import check_features, check_same_dim
from torch_geometric_reid.precision import full_precision
from torch_geometric_reid.rerank.inputs import check_fraction
from torch_geometric_reid.rerank.ranking import (
    FeatureDistance,
    Ranking,
    exact_cosine,
    rounding,
    squared_distance,
)
from torch_geometric_reid.rerank.reciprocal import (
    ListSizes,
    ReciprocalEncoding,
    jaccard_fusion,
    relative,
)
from torch_geometric_reid.rerank.sparse import (
    InvertedLists,
    from_table,
    resize,
    row_sum,
    slice_rows,
    sparse,
    with_values,
)
from torch_geometric_reid.topk import stable_topk


class KReciprocal:
    r"""Re-ranks one probe at a time against a gallery that stays the same.

    :meth:`query` gives what
    :meth:`~torch_geometric_reid.rerank.k_reciprocal` gives for this probe
    alone. Other than there, probes do not see each other.

    The gallery is ranked and encoded once. A probe enters the lists of a few
    gallery items; of the weights, only those are computed again that read one
    of these lists, or whose farthest item the probe becomes. A probe that is
    the farthest item of much of the gallery takes accordingly longer.

    Args:
        gallery (torch.Tensor): The gallery's features :math:`(G, d)`.
        k1 (int, optional): See
            :meth:`~torch_geometric_reid.rerank.k_reciprocal`.
            (default: :obj:`20`)
        k2 (int, optional): See
            :meth:`~torch_geometric_reid.rerank.k_reciprocal`.
            (default: :obj:`6`)
        lambda_value (float, optional): See
            :meth:`~torch_geometric_reid.rerank.k_reciprocal`.
            (default: :obj:`0.3`)

    Raises:
        TypeError: If features are no floating-point tensors.
        ValueError: If features are empty, not finite or zero, or a parameter
            is out of its range.

    Example:
        >>> gallery = torch.tensor([[0.8, 0.6], [0.6, 0.8], [-0.6, 0.8], [-1., 0.]])
        >>> KReciprocal(gallery, k1=2, k2=2).query(torch.tensor([1., 0.]))
        tensor([0.0867, 0.1167, 0.9400, 1.0000])
    """

    @full_precision()
    def __init__(
        self, gallery: Any, k1: int = 20, k2: int = 6, lambda_value: float = 0.3
    ):
        gallery = F.normalize(check_features('gallery', gallery, nonzero=True).detach())
        check_fraction('lambda_value', lambda_value)
        num = gallery.size(0)
        self.num_gallery = num
        self.lambda_value = lambda_value
        self.sizes = ListSizes.of(k1, k2, num + 1)
        self._x = torch.cat([gallery, torch.zeros_like(gallery[:1])])  # the probe last

        distance = FeatureDistance(gallery, 0)
        sizes = ListSizes(*(min(size, num) for size in self.sizes))
        # A probe pushes the last item out of a list: that one has to be exact, too.
        cuts = {*sizes, *(size - 1 for size in sizes if size > 1)}
        ranking = distance.rank(cuts)
        self._neighbor, self._farthest = ranking
        self._last = gallery.new_full((num,), -torch.inf)  # a list that is not full
        if max(sizes) == max(self.sizes):
            last = gallery[self._neighbor[:, -1]]
            self._last = (gallery * last).sum(dim=1)
        encoding = ReciprocalEncoding(distance, ranking, sizes)
        weight = encoding.weights(self._neighbor[:, 0])
        mean = from_table(self._neighbor[:, : sizes.mean], num) / sizes.mean
        code = torch.sparse.mm(mean, weight)
        self._weight = resize(weight, (num + 1, num + 1))
        self._lists = InvertedLists(resize(code, (num, num + 1)))

    @full_precision()
    def query(self, feature: Any) -> Tensor:
        r"""Returns the distances :math:`(G)` of one probe to the gallery.

        Calls must not overlap: the probe is kept beside the gallery meanwhile.

        Args:
            feature (torch.Tensor): The probe's feature :math:`(d)` or
                :math:`(1, d)`.

        Raises:
            TypeError: If the feature is no floating-point tensor.
            ValueError: If it is not a single one, not finite, zero or of
                another length than the gallery's.
        """
        if getattr(feature, 'ndim', None) == 1:
            feature = feature[None]
        probe = check_features('feature', feature, nonzero=True)
        if probe.size(0) != 1:
            raise ValueError(
                f"'feature' needs to be a single one, of shape [d] or [1, d] "
                f'(got shape {list(probe.shape)})'
            )
        gallery = self._x[:-1]
        check_same_dim('feature', probe, 'gallery', gallery)
        self._x[-1:] = F.normalize(probe.detach())
        score = gallery @ self._x[-1]

        neighbor, row, place = self._insert(score)
        distance = squared_distance(score, gallery.size(1))
        is_farthest = distance > self._farthest
        farthest = torch.cat(
            [torch.where(is_farthest, distance, self._farthest), distance.amax()[None]]
        )
        encoding = ReciprocalEncoding(
            FeatureDistance(self._x, 0), Ranking(neighbor, farthest), self.sizes
        )

        changed = self._changed_weights(encoding, row, place)
        changed[:-1] |= is_farthest
        node, code = self._encode(encoding, changed)
        own = slice_rows(code, node.numel() - 1, node.numel())
        min_sum = self._lists.min_sum(own).view(-1)
        smaller = torch.minimum(code.values(), own.to_dense()[0, code.indices()[1]])
        min_sum[node[:-1]] = row_sum(with_values(code, smaller))[:-1]
        return jaccard_fusion(
            min_sum, relative(distance, farthest[-1]), self.lambda_value
        )

    def _insert(self, score: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        # Returns the lists with the probe in them, the gallery items that may
        # have it, and its place on their lists.
        num, tolerance = score.numel(), 2 * rounding(self._x.size(1))
        row = (score >= self._last - tolerance).nonzero().view(-1)
        listed = self._neighbor[row]
        own = exact_cosine(self._x, row, torch.full_like(row, num).view(-1, 1))
        place = 1 + (exact_cosine(self._x, row, listed[:, 1:]) > own).sum(dim=1)

        width = max(self.sizes)
        index = torch.arange(width, device=row.device)
        behind = index > place.view(-1, 1)
        before = (index - behind.long()).clamp(max=listed.size(1) - 1)
        at_place = index == place.view(-1, 1)
        neighbor = row.new_full((num + 1, width), num)
        neighbor[:-1, : listed.size(1)] = self._neighbor
        neighbor[row] = listed.gather(1, before).masked_fill(at_place, num)

        worst = score.topk(width - 1).values[-1]
        near = (score >= worst - tolerance).nonzero().view(-1)
        exact = exact_cosine(self._x, row.new_tensor([num]), near.view(1, -1))
        neighbor[-1, 1:] = near[stable_topk(exact, width - 1).index[0]]
        return neighbor, row, place

    def _changed_weights(
        self, encoding: ReciprocalEncoding, row: Tensor, place: Tensor
    ) -> Tensor:
        # An item's reciprocal set changes with its own list, or if it drops out
        # of another's; its expanded set, with one of the sets that expand it.
        full, half = self.sizes.full, self.sizes.half
        changed = torch.zeros_like(encoding.farthest, dtype=torch.bool)
        changed[self._changed_sets(row, place, full)] = True
        core = self._changed_sets(row, place, half)
        changed[encoding.neighbor[core, :full][encoding.mutual(core, full)]] = True
        return changed

    def _encode(
        self, encoding: ReciprocalEncoding, changed: Tensor
    ) -> tuple[Tensor, Tensor]:
        # Encodes the items whose mean takes in one of the changed weights.
        nearest = encoding.neighbor[:, : self.sizes.mean]
        is_changed = changed[nearest]
        node = is_changed.any(dim=1).nonzero().view(-1)
        nearest, is_changed = nearest[node], is_changed[node]
        old = from_table(nearest, changed.numel(), ~is_changed)
        member, place = nearest[is_changed].unique(return_inverse=True)
        new = sparse(
            is_changed.nonzero()[:, 0],
            place,
            torch.ones_like(place, dtype=torch.float32),
            (node.numel(), member.numel()),
        )
        code = torch.sparse.mm(old, self._weight)
        code = (code + torch.sparse.mm(new, encoding.weights(member))).coalesce()
        return node, code / self.sizes.mean

    def _changed_sets(self, row: Tensor, place: Tensor, size: int) -> Tensor:
        row = row[place < size]
        probe = row.new_tensor([self.num_gallery])
        dropped = self._neighbor[row, size - 1 : size].view(-1)
        return torch.cat([row, dropped, probe])
