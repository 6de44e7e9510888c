r"""Where the matches of each probe stand in its ranking list."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torch_geometric_reid.checks import check_ids

JUNK = -1
REASONS = (
    'junk probe (id -1)',
    'no gallery image of the identity',
    'only same-camera gallery images of the identity',
)
BLOCK_ELEMENTS = 2**21  # distances handled at a time
MAX_COMPARED = 0.1  # share of a block's distances beyond which bins are used
MAX_BINS = 1024  # for each probe


class Ranking(NamedTuple):
    r"""The matches of :math:`B` probes, best first, padded to :math:`M`.

    Args:
        rank (torch.Tensor): The ranks :math:`(B, M)` from 1 on, counted after
            the removal of junk and of same-camera images. 0 where no
            :obj:`hit` is.
        hit (torch.Tensor): Whether a column holds a match :math:`(B, M)`.
        num_matches (torch.Tensor): How many matches there are :math:`(B)`,
            found or not.
        reason (torch.Tensor): 0 for a probe with a match, and otherwise the
            place in :obj:`REASONS`, from 1 on, of why it has none :math:`(B)`.
    """

    rank: Tensor
    hit: Tensor
    num_matches: Tensor
    reason: Tensor


class Gallery:
    r"""A gallery, sorted by identity so that each probe finds its matches.

    Args:
        gallery_id (torch.Tensor): The identities :math:`(G)`.
        gallery_camera (torch.Tensor, optional): The cameras :math:`(G)`.
            (default: :obj:`None`)
    """

    def __init__(self, gallery_id: Any, gallery_camera: Any = None):
        self.id = check_ids('gallery_id', gallery_id, length(gallery_id))
        self.size = self.id.numel()
        if self.size == 0:
            raise ValueError("'gallery_id' needs at least one image (got shape [0])")
        self.camera: Tensor | None = None
        if gallery_camera is not None:
            self.camera = check_ids('gallery_camera', gallery_camera, self.size)
            self.camera = self.camera.to(self.id.device)
        self._sort()

    def _sort(self) -> None:
        self._keep = (self.id != JUNK).nonzero().view(-1)
        self._column = (self.id != JUNK).cumsum(0) - 1
        self._sorted_id, order = self.id[self._keep].sort(stable=True)
        self._order = self._keep[order]
        _, count = self._sorted_id.unique_consecutive(return_counts=True)
        self._max_same = int(count.max()) if count.numel() > 0 else 0

    def check_camera(self, query_camera: Any) -> None:
        r"""Raises a :obj:`ValueError` if only one side has cameras."""
        if (query_camera is None) != (self.camera is None):
            given = 'gallery_camera' if query_camera is None else 'query_camera'
            raise ValueError(
                f"'query_camera' and 'gallery_camera' need to be given together "
                f"(got '{given}' alone)"
            )

    def to(self, device: torch.device) -> 'Gallery':
        r"""Moves the gallery to a device, in place."""
        if self.id.device != device:
            self.id = self.id.to(device)
            self.camera = None if self.camera is None else self.camera.to(device)
            self._sort()
        return self

    def rank(
        self, dist: Tensor, query_id: Tensor, query_camera: Tensor | None
    ) -> list[Ranking]:
        r"""Ranks the matches by distances, a bounded number of probes at a time.

        Args:
            dist (torch.Tensor): The distances :math:`(B, G)`, not NaN.
            query_id (torch.Tensor): The probes' identities :math:`(B)`.
            query_camera (torch.Tensor, optional): The probes' cameras
                :math:`(B)`.
        """
        outs = []
        for rows, ids, camera in _blocks(self.size, query_id, query_camera):
            item, same, hit = self._find(ids, camera)
            block = dist[rows]
            if block.dtype in (torch.float16, torch.bfloat16):  # too coarse for bins
                block = block.to(torch.float32)
            if self._keep.numel() < self.size:
                block = block.index_select(1, self._keep)
                item = self._column[item]
            reason = _reason(ids, same, hit)
            num_matches = hit.sum(dim=1)
            rank, hit = _rank_items(block.contiguous(), item, same, hit)
            outs.append(Ranking(rank, hit, num_matches, reason))
        return outs

    def rank_list(
        self, index: Tensor, query_id: Tensor, query_camera: Tensor | None
    ) -> list[Ranking]:
        r"""Ranks the matches by lists of the nearest images.

        Args:
            index (torch.Tensor): The nearest gallery images :math:`(B, k)`,
                best first, -1 where a list is shorter.
            query_id (torch.Tensor): The probes' identities :math:`(B)`.
            query_camera (torch.Tensor, optional): The probes' cameras
                :math:`(B)`.
        """
        outs = []
        width = max(index.size(1), self._max_same)
        for rows, ids, camera in _blocks(width, query_id, query_camera):
            _, same, hit = self._find(ids, camera)
            reason = _reason(ids, same, hit)
            num_matches = hit.sum(dim=1)

            item = index[rows].clamp(min=0)
            kept = (index[rows] >= 0) & (self.id[item] != JUNK)
            hit = kept & (self.id[item] == ids.unsqueeze(1))
            if self.camera is not None and camera is not None:
                other = self.camera[item] != camera.unsqueeze(1)
                kept, hit = kept & (other | ~hit), hit & other
            rank = kept.cumsum(dim=1) * hit
            outs.append(Ranking(rank, hit, num_matches, reason))
        return outs

    def _find(
        self, query_id: Tensor, query_camera: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        # The images of each probe's identity [B, M] in ascending order, which
        # columns hold one, and which of those are matches.
        start = torch.searchsorted(self._sorted_id, query_id)
        count = torch.searchsorted(self._sorted_id, query_id, right=True) - start
        offset = torch.arange(int(count.max()), device=query_id.device)
        same = offset < count.unsqueeze(1)
        place = (start.unsqueeze(1) + offset).clamp(max=self._order.numel() - 1)
        item = self._order[place]
        if self.camera is None or query_camera is None:
            return item, same, same
        return item, same, same & (self.camera[item] != query_camera.unsqueeze(1))


def length(ids: Any) -> int:
    r"""Returns the length of an array or list, and 0 for what has none."""
    try:
        return len(ids)
    except TypeError:
        return 0


def _blocks(
    width: int, query_id: Tensor, query_camera: Tensor | None
) -> Iterator[tuple[slice, Tensor, Tensor | None]]:
    size = max(1, BLOCK_ELEMENTS // width)
    for start in range(0, query_id.numel(), size):
        rows = slice(start, start + size)
        camera = None if query_camera is None else query_camera[rows]
        yield rows, query_id[rows], camera


def _reason(query_id: Tensor, same: Tensor, hit: Tensor) -> Tensor:
    reason = torch.where(same.any(dim=1), 3, 2).masked_fill_(query_id == JUNK, 1)
    return reason.masked_fill_(hit.any(dim=1), 0)


def _rank_items(
    dist: Tensor, item: Tensor, same: Tensor, hit: Tensor
) -> tuple[Tensor, Tensor]:
    (num_rows, num_items), width = item.shape, dist.size(1)
    if num_items == 0:
        return item, hit
    table = dist.gather(1, item).masked_fill_(~same, torch.inf)
    table, perm = table.sort(dim=1, stable=True)
    item, same, hit = (x.gather(1, perm) for x in (item, same, hit))

    # Only what stands before a probe's last match has to be looked at. Where
    # this is much, most of it is counted in bins first.
    last = table.masked_fill(~hit, -torch.inf).amax(dim=1, keepdim=True)
    front = (dist <= last).view(-1)
    if int(front.count_nonzero()) < MAX_COMPARED * front.numel():
        place, nearer = front.nonzero().view(-1), torch.zeros_like(item)
    else:
        place, nearer = _count_in_bins(dist, table, hit)

    # With t_1 <= t_2 <= ... the distances of a probe's own images, d stands
    # before t_m if m > #{t <= d}. Equal distances are ordered by gallery index.
    row, value = place // width, dist.take(place)
    slot = _count_up_to(table, row, value)
    cell = row * (num_items + 1) + slot
    count = torch.bincount(cell, minlength=num_rows * (num_items + 1))
    nearer += count.view(num_rows, num_items + 1)[:, :-1].cumsum(dim=1)

    equal = table.take(row * num_items + (slot - 1).clamp(min=0)) == value
    key = (cell[equal] * width + place[equal] % width).sort().values
    own = torch.searchsorted(table, table, right=True)
    own += torch.arange(num_rows, device=dist.device).view(-1, 1) * (num_items + 1)
    nearer += torch.searchsorted(key, own * width + item)
    nearer -= torch.searchsorted(key, own * width)

    removed = (same & ~hit).cumsum(dim=1)
    return (nearer + 1 - removed) * hit, hit


def _count_in_bins(dist: Tensor, table: Tensor, hit: Tensor) -> tuple[Tensor, Tensor]:
    # Returns the places of the distances that share a bin with a match, and for
    # each match how many of the other distances are nearer. Any non-decreasing
    # function into bins would be right: this one spreads the range of a row's
    # matches evenly, and has one bin for what lies before and one for what lies
    # behind.
    num_bins = min(MAX_BINS, dist.size(1) + 3)
    info = torch.finfo(dist.dtype)
    finite = hit & table.isfinite()
    high = table.masked_fill(~finite, -torch.inf).amax(dim=1, keepdim=True)
    low = table.masked_fill(~finite, torch.inf).amin(dim=1, keepdim=True)
    low = low.minimum(high).clamp_(-info.max / 8, info.max / 8)
    high = high.clamp_(-info.max / 8, info.max / 8)
    step = (high - low) / (num_bins - 3)
    step = step.maximum(8 * info.eps * low.abs().maximum(high.abs()))
    step = step.clamp_(min=info.tiny / info.eps)
    low, high, scale = low - step, high + step, 1 / step
    row = torch.arange(dist.size(0), dtype=torch.int32, device=dist.device)
    offset = row.view(-1, 1) * num_bins

    def place(x: Tensor) -> Tensor:
        x = x.clamp(low, high).sub_(low).mul_(scale)
        return x.to(torch.int32).add_(offset)

    bins, own = place(dist).view(-1), place(table).to(torch.int64)
    shared = torch.zeros(offset.numel() * num_bins, dtype=torch.bool, device=row.device)
    shared[own[hit]] = True
    count = torch.bincount(bins, minlength=shared.numel()).masked_fill_(shared, 0)
    nearer = count.view(-1, num_bins).cumsum(dim=1).take(own)
    return shared.index_select(0, bins).nonzero().view(-1), nearer


def _count_up_to(table: Tensor, row: Tensor, value: Tensor) -> Tensor:
    # For each value, how many entries of its row of the table do not exceed it.
    size = max(1, BLOCK_ELEMENTS // table.size(1))
    outs = [
        torch.searchsorted(table.index_select(0, r), v.unsqueeze(1), right=True)
        for r, v in zip(row.split(size), value.split(size), strict=True)
    ]
    return torch.cat(outs).view(-1)
