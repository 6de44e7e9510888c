r"""Accepting and rejecting pairs by a threshold on their score."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from torch_geometric_reid.checks import check_ids
from torch_geometric_reid.metrics.ranking import JUNK, Gallery, length


class Roc(NamedTuple):
    r"""A receiver operating characteristic, from no pair accepted to all.

    Attributes:
        fpr: The share :math:`(T)` of pairs of two identities that is accepted, the
            false positive rate; float64, ascending from 0 to 1.
        tpr: The share :math:`(T)` of pairs of one identity that is accepted, the true
            positive rate; likewise.
        threshold: The score :math:`(T)` from which on pairs are accepted,
            descending; float64, the first one infinite.
    """

    fpr: Tensor
    tpr: Tensor
    threshold: Tensor


def roc(score: Any, same: Any) -> Roc:
    r"""Returns the receiver operating characteristic of pairs: its points at all
    different scores.

    A pair is accepted if its score is at least the threshold, so that pairs of
    equal scores are accepted together. Takes :math:`\mathcal{O}(n \log n)`.

    Args:
        score (torch.Tensor or numpy.ndarray): The scores of pairs, of any shape,
            larger for pairs that look more alike (for distances, their negative);
            infinite ones are allowed.
        same (torch.Tensor or numpy.ndarray): Whether a pair shows one identity, of
            the same shape, booleans or zeros and ones.

    Raises:
        ValueError: If shapes differ, a score is NaN, :obj:`same` holds anything but
            zeros and ones, or pairs of one or of two identities are missing.

    Example:
        >>> out = roc(torch.tensor([0.9, 0.8, 0.8, 0.1]), torch.tensor([1, 1, 0, 0]))
        >>> out.tpr
        tensor([0.0000, 0.5000, 1.0000, 1.0000], dtype=torch.float64)
        >>> out.fpr
        tensor([0.0000, 0.0000, 0.5000, 1.0000], dtype=torch.float64)
    """
    score, same = torch.as_tensor(score), torch.as_tensor(same)
    if score.shape != same.shape:
        raise ValueError(
            f"'score' and 'same' need one shape (got {list(score.shape)} and "
            f'{list(same.shape)})'
        )
    if score.isnan().any():
        raise ValueError(f"'score' needs numbers (got {int(score.isnan().sum())} NaN)")
    if not ((same == 0) | (same == 1)).all():
        raise ValueError("'same' needs zeros and ones")
    same = same.reshape(-1).bool().to(score.device)
    num_same = int(same.sum())
    if not 0 < num_same < same.numel():
        raise ValueError(
            f"'same' needs pairs of one identity and pairs of two (got {num_same} and "
            f'{same.numel() - num_same})'
        )
    value, order = score.reshape(-1).double().sort(descending=True)
    last = torch.ones_like(same)
    last[:-1] = value[1:] != value[:-1]
    accepted = last.nonzero().view(-1) + 1
    true = same[order].double().cumsum(0)[last]
    start = value.new_zeros(1)
    return Roc(
        torch.cat([start, (accepted - true) / (same.numel() - num_same)]),
        torch.cat([start, true / num_same]),
        torch.cat([start + torch.inf, value[last]]),
    )


def tpr_at_fpr(score: Any, same: Any, fpr: float) -> float:
    r"""Returns the share of pairs of one identity that is accepted where at most a
    share :obj:`fpr` of pairs of two identities is: the largest true positive rate
    among the points of :meth:`roc`, without interpolation between them.

    Args:
        score (torch.Tensor or numpy.ndarray): See :meth:`roc`.
        same (torch.Tensor or numpy.ndarray): See :meth:`roc`.
        fpr (float): The allowed false positive rate in :math:`[0, 1]`.

    Raises:
        ValueError: See :meth:`roc`; or if :obj:`fpr` is out of range.
    """
    curve = roc(score, same)
    return float(curve.tpr[last_point(curve.fpr, fpr)])


def threshold_at_fpr(score: Any, same: Any, fpr: float) -> float:
    r"""Returns the threshold of :meth:`tpr_at_fpr`: the smallest score from which on
    at most a share :obj:`fpr` of pairs of two identities is accepted; infinite where
    only accepting nothing is strict enough.

    Args:
        score (torch.Tensor or numpy.ndarray): See :meth:`roc`.
        same (torch.Tensor or numpy.ndarray): See :meth:`roc`.
        fpr (float): See :meth:`tpr_at_fpr`.

    Raises:
        ValueError: See :meth:`tpr_at_fpr`.
    """
    curve = roc(score, same)
    return float(curve.threshold[last_point(curve.fpr, fpr)])


def last_point(rate: Tensor, limit: float) -> int:
    r"""Returns the place of the last rate of an ascending curve that is at most
    :obj:`limit`.

    Args:
        rate (torch.Tensor): The rates :math:`(T)`, the first one zero.
        limit (float): The limit in :math:`[0, 1]`.

    Raises:
        ValueError: If :obj:`limit` is out of range.
    """
    if not 0 <= limit <= 1:
        raise ValueError(f"'fpr' needs to lie in [0, 1] (got {limit})")
    # a rate of exactly the limit, such as 0.1 = 3 / 30, may be off by rounding
    return int(torch.searchsorted(rate, limit * (1 + 1e-12), right=True)) - 1


def pair_labels(
    query_id: Any,
    gallery_id: Any,
    query_camera: Any = None,
    gallery_camera: Any = None,
) -> tuple[Tensor, Tensor]:
    r"""Returns whether probe and gallery image show one identity, and whether the
    pair counts, both :math:`(Q, G)`. As in
    :meth:`~torch_geometric_reid.metrics.evaluate`, junk (identity -1) does not
    count, nor do pairs of one identity and one camera.

    Args:
        query_id (torch.Tensor): The probes' identities :math:`(Q)`.
        gallery_id (torch.Tensor): The gallery's identities :math:`(G)`.
        query_camera (torch.Tensor, optional): The probes' cameras :math:`(Q)`.
            (default: :obj:`None`)
        gallery_camera (torch.Tensor, optional): The gallery's cameras
            :math:`(G)`. (default: :obj:`None`)

    Raises:
        TypeError: If ids are no integers.
        ValueError: If shapes do not fit, or only one side has cameras.

    Example:
        >>> same, counts = pair_labels([7, 8], [7, 7, -1], [0, 0], [0, 1, 0])
        >>> same & counts
        tensor([[False,  True, False],
                [False, False, False]])
    """
    gallery = Gallery(gallery_id, gallery_camera)
    gallery.check_camera(query_camera)
    query_id = check_ids('query_id', query_id, length(query_id)).view(-1, 1)
    query_id, image_id = query_id.to(gallery.id.device), gallery.id
    same = query_id == image_id
    counts = (query_id != JUNK) & (image_id != JUNK)
    if gallery.camera is not None:
        camera = check_ids('query_camera', query_camera, query_id.size(0))
        camera = camera.to(image_id.device).view(-1, 1)
        counts &= ~same | (camera != gallery.camera)
    return same, counts
