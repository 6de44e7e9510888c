r"""What a ranking is worth: average precision, CMC and inverse negative
penalty.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from torch_geometric_reid.metrics.ranking import REASONS, Ranking

APS = ('step', 'trapezoid')


class Scores(NamedTuple):
    r"""The scores of :math:`B` probes; see :class:`Evaluation`.

    :obj:`reason` is that of :class:`Ranking`.
    """

    ap: Tensor
    inp: Tensor
    first_rank: Tensor
    reason: Tensor


@dataclass(frozen=True, repr=False, eq=False)
class Evaluation:
    r"""The evaluation of :math:`Q` probes. All tensors are on the CPU.

    Args:
        mAP (float): The mean of the average precisions, in :math:`[0, 1]`.
        mINP (float): The mean of the inverse negative penalties, in
            :math:`[0, 1]`.
        cmc (torch.Tensor): The share of probes with a match among the first
            :math:`r`, float64 of shape :math:`(\textrm{max\_rank})`:
            :obj:`cmc[r - 1]` is Rank-:math:`r`. It always has
            :obj:`max_rank` entries; where the gallery (or the top-:math:`k`
            list) is shorter than that, the last ones are equal.
        ap (torch.Tensor): The average precision of each probe, float64 of
            shape :math:`(Q)`. NaN for a skipped probe.
        inp (torch.Tensor): The inverse negative penalty of each probe, float64
            of shape :math:`(Q)`. NaN for a skipped probe.
        first_rank (torch.Tensor): The rank of each probe's first match, from 1
            on, int64 of shape :math:`(Q)`. 0 for a skipped probe, or if a
            top-:math:`k` list holds no match.
        skipped (dict): The positions of the probes that no mean counts, int64,
            by the reason. Reasons that do not occur are left out.
    """

    mAP: float
    mINP: float
    cmc: Tensor
    ap: Tensor
    inp: Tensor
    first_rank: Tensor
    skipped: dict[str, Tensor]

    @property
    def num_skipped(self) -> int:
        r"""The number of probes that no mean counts."""
        return sum(probe.numel() for probe in self.skipped.values())

    def rank(self, r: int) -> float:
        r"""Returns Rank-:math:`r`, in :math:`[0, 1]`.

        Raises:
            ValueError: If :obj:`r` is not in
                :math:`\{1, \ldots, \textrm{max\_rank}\}`.
        """
        if not 1 <= r <= self.cmc.numel():
            raise ValueError(
                f"'r' needs to be between 1 and the {self.cmc.numel()} ranks "
                f'evaluated (got {r})'
            )
        return float(self.cmc[r - 1])

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}(mAP={self.mAP:.4f}, mINP={self.mINP:.4f}, '
            f'rank1={self.rank(1):.4f}, num_probes={self.ap.numel()}, '
            f'num_skipped={self.num_skipped})'
        )


def score(ranking: Ranking, ap: str) -> Scores:
    r"""Scores the ranked matches of :math:`B` probes.

    Args:
        ranking (Ranking): Where the matches stand.
        ap (str): :obj:`"step"` or :obj:`"trapezoid"`.
    """
    rank, hit, num_matches, reason = ranking
    nth = hit.cumsum(dim=1)
    precision = nth.to(torch.float64) / rank.clamp(min=1)
    if ap == 'trapezoid':
        before = (nth - 1).to(torch.float64) / (rank - 1).clamp(min=1)
        precision = (precision + before.masked_fill(rank == 1, 1.0)) / 2
    average = (precision * hit).sum(dim=1) / num_matches

    first = (rank * (nth == 1)).sum(dim=1)
    last = (rank * (nth == num_matches.unsqueeze(1))).sum(dim=1)
    inp = num_matches.to(torch.float64) / last
    inp = inp.masked_fill(last == 0, 0.0).masked_fill(reason > 0, torch.nan)
    return Scores(average, inp, first, reason)


def summarize(scores: Sequence[Scores], max_rank: int) -> Evaluation:
    r"""Averages the scores of all probes.

    Args:
        scores (list): The scores of one or more blocks of probes.
        max_rank (int): The number of ranks of the CMC curve.

    Raises:
        ValueError: If no probe has a match in the gallery.
    """
    if len(scores) == 0:
        raise ValueError("'query_id' needs at least one probe (got none)")
    ap, inp, first_rank, reason = (
        torch.cat(parts).cpu() for parts in zip(*scores, strict=True)
    )
    skipped = {
        name: (reason == code).nonzero().view(-1)
        for code, name in enumerate(REASONS, start=1)
        if (reason == code).any()
    }
    counts = reason == 0
    if not counts.any():
        why = ', '.join(f'{len(probe)}: {name}' for name, probe in skipped.items())
        raise ValueError(
            f"none of the {len(ap)} probes of 'query_id' has a match in the "
            f'gallery, so nothing can be averaged ({why})'
        )
    found = first_rank[counts & (first_rank > 0) & (first_rank <= max_rank)]
    cmc = (
        torch.bincount(found - 1, minlength=max_rank).cumsum(0) / counts.sum().double()
    )
    return Evaluation(
        mAP=float(ap[counts].mean()),
        mINP=float(inp[counts].mean()),
        cmc=cmc,
        ap=ap,
        inp=inp,
        first_rank=first_rank,
        skipped=skipped,
    )
