r"""How far the scores of methods can be trusted, side by side."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import Data

from torch_geometric_reid.distance import pairwise_distance
from torch_geometric_reid.metrics import Calibration, Roc, calibration, pair_labels, roc
from torch_geometric_reid.metrics.verification import last_point
from torch_geometric_reid.pipeline.config import LinkConfig
from torch_geometric_reid.pipeline.trust import Trust, fit_trust, hold_out_hard
from torch_geometric_reid.rerank import k_reciprocal

FPR = 1e-3
PLAIN: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    'cosine': partial(pairwise_distance, metric='cosine'),
    'k-reciprocal': k_reciprocal,
}


class Judged(NamedTuple):
    r"""How far a score can be trusted.

    Attributes:
        all_pairs: The calibration over all pairs that count.
        first_images: The calibration over the first image of each probe.
        roc: The receiver operating characteristic of all pairs.
        found_fpr: The false positive rate to which the held-out threshold for
            :math:`10^{-3}` led, NaN for a score without one.
    """

    all_pairs: Calibration
    first_images: Calibration
    roc: Roc
    found_fpr: float

    def row(self, method: str, score: str) -> dict[str, str | float]:
        r"""Returns its figures as a row of a table."""
        tpr = float(self.roc.tpr[last_point(self.roc.fpr, FPR)])
        row: dict[str, str | float] = {
            'method': method,
            'score': score,
            'ECE, all pairs': self.all_pairs.error,
            'ECE, first image': self.first_images.error,
            'TPR at FPR 1e-3 (%)': 100 * tpr,
        }
        if not math.isnan(self.found_fpr):
            row['FPR of the threshold'] = self.found_fpr
        return row


def judge(
    distances: Mapping[str, Tensor],
    query: Data,
    gallery: Data,
    trusts: Mapping[str, Trust] | None = None,
) -> dict[tuple[str, str], Judged]:
    r"""Judges distances as scores of pairs: raw, with :math:`1 - d`, cut to
    :math:`[0, 1]`, in the place of a probability, and calibrated, where a
    :class:`~torch_geometric_reid.pipeline.Trust` is given.

    Args:
        distances (dict): The distances :math:`(Q, G)` of each method.
        query (Data): The probes, with :obj:`y` and maybe :obj:`camera`.
        gallery (Data): The gallery images, likewise.
        trusts (dict, optional): What was fitted to each method, on other identities.
            (default: :obj:`None`)

    Returns:
        What is known of each method and score, :obj:`"raw"` or :obj:`"calibrated"`.

    Raises:
        ValueError: If there are no pairs of one or of two identities, distances are
            of another shape, or one of the methods has no :obj:`trusts`.
    """
    if trusts is not None and not distances.keys() <= trusts.keys():
        missing = sorted(distances.keys() - trusts.keys())
        raise ValueError(f"'trusts' needs one for each method (none for {missing})")
    same, counts = pair_labels(
        query.y, gallery.y, query.get('camera'), gallery.get('camera')
    )
    outs = {}
    for name, distance in distances.items():
        if distance.shape != same.shape:
            raise ValueError(
                f"'distances' needs the shape {list(same.shape)} of probes and gallery "
                f'(got {list(distance.shape)} for {name!r})'
            )
        distance = distance.cpu()
        raw = (1 - distance).clamp(0, 1)
        first = _first_images(distance, counts)
        outs[name, 'raw'] = _judge(-distance, raw, same, counts, first)
        if trusts is not None:
            prob = trusts[name].probability(distance)
            threshold = trusts[name].threshold(FPR)
            outs[name, 'calibrated'] = _judge(
                prob, prob, same, counts, first, threshold
            )
    return outs


def fit_trusts(
    train: Data,
    reference: Tensor,
    config: LinkConfig,
    seed: int = 0,
    progress: bool = False,
    graph: str = 'joint',
) -> dict[str, Trust]:
    r"""Fits to :obj:`"cosine"`, :obj:`"k-reciprocal"` and :obj:`"links"`, each on the
    same held-out training identities.

    Args:
        train (Data): The training images, with :obj:`x` of unit length, :obj:`y` and
            maybe :obj:`camera`.
        reference (torch.Tensor): The gallery's features :math:`(G, d)` of unit
            length, of which no label is used.
        config (LinkConfig): See :meth:`fit_trust`.
        seed (int, optional): See :meth:`fit_trust`. (default: :obj:`0`)
        progress (bool, optional): See :meth:`fit_trust`. (default: :obj:`False`)
        graph (str, optional): See :meth:`fit_trust`. (default: :obj:`"joint"`)

    Raises:
        ValueError: If there are too few identities to hold some out.
    """
    plain = replace(config, metric=0.0)
    _, query, gallery, _ = hold_out_hard(train, reference, plain, seed)
    outs = {name: Trust.fit(rank, query, gallery, seed) for name, rank in PLAIN.items()}
    camera = train.get('camera')
    outs['links'] = fit_trust(
        train.x, train.y, reference, config, seed, progress, graph, camera
    )
    return outs


def _judge(
    score: Tensor,
    prob: Tensor,
    same: Tensor,
    counts: Tensor,
    first: tuple[Tensor, Tensor],
    threshold: float | None = None,
) -> Judged:
    found = float('nan')
    if threshold is not None:
        found = float((prob >= threshold)[counts & ~same].double().mean())
    return Judged(
        calibration(prob[counts], same[counts]),
        calibration(prob[first], same[first]),
        roc(score[counts], same[counts]),
        found,
    )


def _first_images(distance: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    # The probes with an image that counts, and the nearest of each.
    probe = counts.any(dim=1).nonzero().view(-1)
    nearest = distance[probe].masked_fill(~counts[probe], torch.inf)
    return probe, nearest.argmin(dim=1)
