r"""The largest and smallest of all pairwise scores, tile by tile."""

import torch
from torch import Tensor

TILE = 2048  # a tile of scores is of shape [TILE, TILE]: 16 MiB
FEW = 8  # survivors of a row, in multiples of k, that are cheaper than the row


def scan_pairs(x: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    r"""Returns the :math:`k` largest inner products of each item with others, in
    no promised order where they are equal, and its smallest one.

    Scores are symmetric: each tile is computed once, for its rows and its columns.

    Args:
        x (torch.Tensor): The features :math:`(N, d)`.
        k (int): The number of others, at most :math:`N - 1`.

    Returns:
        The scores :math:`(N, k)`, best first, the items :math:`(N, k)` that they
        belong to, and the smallest score :math:`(N)` (also with the item itself).
    """
    starts = range(0, x.size(0), TILE)
    best = _Best(x, k)
    lowest = x.new_full((x.size(0),), torch.inf)
    for i in starts:
        rows = slice(i, i + TILE)
        tile = x[rows] @ x[rows].t()
        lowest[rows] = tile.amin(dim=1)
        best.add_rows(i, tile.fill_diagonal_(-torch.inf), i)
    for i in starts:
        for j in starts[starts.index(i) + 1 :]:
            rows, cols = slice(i, i + TILE), slice(j, j + TILE)
            tile = x[rows] @ x[cols].t()
            torch.minimum(lowest[rows], tile.amin(dim=1), out=lowest[rows])
            torch.minimum(lowest[cols], tile.amin(dim=0), out=lowest[cols])
            best.update(i, tile, j)
            best.update(j, tile.t(), i)
    return best.score, best.index, lowest


class _Best:
    # Most scores of a tile are below the k-th best so far of their row. Only the
    # others are looked at, unless they are many.
    def __init__(self, x: Tensor, k: int):
        self.score = x.new_full((x.size(0), k), -torch.inf)
        self.index = torch.zeros(x.size(0), k, dtype=torch.int64, device=x.device)

    def add_rows(self, start: int, tile: Tensor, offset: int) -> None:
        k = min(self.score.size(1), tile.size(1))
        value, place = tile.topk(k, dim=1)
        self._merge(start, value, place + offset)

    def update(self, start: int, tile: Tensor, offset: int) -> None:
        num_rows, k = tile.size(0), self.score.size(1)
        row, col = _nonzero(tile > self.score[start : start + num_rows, -1:])
        count = torch.bincount(row, minlength=num_rows)
        most = int(count.max())
        if most > FEW * k:
            self.add_rows(start, tile.contiguous(), offset)
            return
        order = row.argsort(stable=True)
        row, col = row[order], col[order]
        place = torch.arange(row.numel(), device=row.device)
        place -= (count.cumsum(0) - count)[row]
        value = tile.new_full((num_rows, most), -torch.inf)
        value[row, place] = tile[row, col]
        index = torch.zeros_like(value, dtype=torch.int64)
        index[row, place] = col + offset
        self._merge(start, value, index)

    def _merge(self, start: int, value: Tensor, index: Tensor) -> None:
        rows = slice(start, start + value.size(0))
        value = torch.cat([self.score[rows], value], dim=1)
        index = torch.cat([self.index[rows], index], dim=1)
        self.score[rows], order = value.topk(self.score.size(1), dim=1)
        self.index[rows] = index.gather(1, order)


def _nonzero(mask: Tensor) -> tuple[Tensor, Tensor]:
    # A transposed mask is searched as it lies in memory, and eight at a time.
    if not mask.is_contiguous():
        row, col = _nonzero(mask.t().contiguous())
        return col, row
    if mask.size(1) % 8 > 0:
        row, col = mask.nonzero(as_tuple=True)
        return row, col
    row, word = mask.view(torch.int64).nonzero(as_tuple=True)
    at, byte = mask.view(mask.size(0), -1, 8)[row, word].nonzero(as_tuple=True)
    return row[at], 8 * word[at] + byte
