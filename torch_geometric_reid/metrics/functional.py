r"""Evaluation by the protocol of Market-1501."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torch_geometric_reid.checks import check_choice, check_ids, check_positive
from torch_geometric_reid.metrics.evaluation import APS, Evaluation, score, summarize
from torch_geometric_reid.metrics.metric import ReIDMetric
from torch_geometric_reid.metrics.ranking import Gallery, length


def evaluate(
    dist: Tensor | np.ndarray | Iterable[Tensor],
    query_id: Any,
    gallery_id: Any,
    query_camera: Any = None,
    gallery_camera: Any = None,
    ap: str = 'step',
    max_rank: int = 50,
) -> Evaluation:
    r"""Evaluates distances by the protocol of Market-1501.

    For each probe, gallery images of the same identity *and* the same camera
    are removed (if cameras are given), and so is junk (identity -1). All other
    images stay, whether or not a probe shows their identity (such as the
    distractors of identity 0). The rest is sorted by ascending distance, equal
    distances by ascending gallery index. With :math:`r_1 < \ldots < r_n` the
    ranks, from 1 on, of a probe's :math:`n` matches,

    .. math::
        \textrm{AP}_{\textrm{step}} = \frac{1}{n} \sum_{i=1}^n \frac{i}{r_i},
        \qquad
        \textrm{AP}_{\textrm{trapezoid}} = \frac{1}{2n} \sum_{i=1}^n \left(
        \frac{i - 1}{r_i - 1} + \frac{i}{r_i} \right), \qquad
        \textrm{INP} = \frac{n}{r_n},

    where :math:`\frac{0}{0} = 1`. The step form is the one that most papers
    report; the trapezoid form is that of the original Market-1501 code. INP
    is that of `"Deep Learning for Person Re-identification: A Survey and
    Outlook" <https://arxiv.org/abs/2001.04193>`_.

    A probe without a match is skipped: no mean counts it. This concerns probes
    whose identity no gallery image shows, those whose matches are all of the
    same camera, and junk probes (identity -1).

    Args:
        dist (torch.Tensor or iterable): The distances :math:`(Q, G)`, or
            blocks :math:`(B, G)` of them in the order of the probes, which
            are read one at a time. Infinite distances are allowed.
        query_id (torch.Tensor): The probes' identities :math:`(Q)`.
        gallery_id (torch.Tensor): The gallery's identities :math:`(G)`.
        query_camera (torch.Tensor, optional): The probes' cameras :math:`(Q)`.
            (default: :obj:`None`)
        gallery_camera (torch.Tensor, optional): The gallery's cameras
            :math:`(G)`. (default: :obj:`None`)
        ap (str, optional): :obj:`"step"` or :obj:`"trapezoid"`.
            (default: :obj:`"step"`)
        max_rank (int, optional): The number of ranks of the CMC curve.
            (default: :obj:`50`)

    Raises:
        TypeError: If distances are no floating-point numbers, or ids no
            integers.
        ValueError: If distances are NaN, shapes do not fit, only one of query
            and gallery has cameras, or no probe has a match.

    Example:
        >>> dist = torch.tensor([[0.1, 0.2, 0.3], [0.9, 0.2, 0.3]])
        >>> out = evaluate(dist, query_id=[7, 8], gallery_id=[7, 8, 7])
        >>> out
        Evaluation(mAP=0.9167, mINP=0.8333, rank1=1.0000, num_probes=2,
                   num_skipped=0)
        >>> out.ap
        tensor([0.8333, 1.0000], dtype=torch.float64)
    """
    metric = ReIDMetric(gallery_id, gallery_camera, ap, max_rank)
    num_probes = length(query_id)
    query_id = check_ids('query_id', query_id, num_probes)
    if query_camera is not None:
        query_camera = check_ids('query_camera', query_camera, num_probes)

    if not isinstance(dist, Iterable):
        raise TypeError(
            f"'dist' needs to be a tensor or an iterable of tensors "
            f"(got '{type(dist).__name__}')"
        )
    stop = 0
    for block in [dist] if isinstance(dist, Tensor | np.ndarray) else dist:
        rows = slice(stop, stop + length(block))
        stop = rows.stop
        if stop > num_probes:
            break
        camera = None if query_camera is None else query_camera[rows]
        metric.update(block, query_id[rows], camera)
    if stop != num_probes:
        raise ValueError(
            f"'dist' needs one row for each of the {num_probes} probes of 'query_id' "
            f'(got {"at least " if stop > num_probes else ""}{stop} rows)'
        )
    return metric.compute()


def evaluate_topk(
    index: Any,
    query_id: Any,
    gallery_id: Any,
    query_camera: Any = None,
    gallery_camera: Any = None,
    ap: str = 'step',
    max_rank: int = 50,
) -> Evaluation:
    r"""Evaluates lists of the :math:`k` nearest gallery images by the rules of
    :meth:`evaluate`.

    Matches that a list does not hold count as not found: they add nothing to
    the average precision, which is still divided by the number of *all*
    matches :math:`n` in the gallery (not by those found, nor by :math:`k`), so
    that it is at most that of the full ranking and equals it once all matches
    are in the list. The inverse negative penalty is 0 unless all are, and a
    probe without any match in its list has average precision 0. As images of
    the same identity and camera are removed from a list, what remains may be
    shorter than :math:`k`. Ranks beyond that add nothing to the CMC curve.

    Args:
        index (torch.Tensor): The positions in the gallery :math:`(Q, k)`, best
            first; -1 stands for no image.
        query_id (torch.Tensor): The probes' identities :math:`(Q)`.
        gallery_id (torch.Tensor): The gallery's identities :math:`(G)`.
        query_camera (torch.Tensor, optional): The probes' cameras :math:`(Q)`.
            (default: :obj:`None`)
        gallery_camera (torch.Tensor, optional): The gallery's cameras
            :math:`(G)`. (default: :obj:`None`)
        ap (str, optional): :obj:`"step"` or :obj:`"trapezoid"`.
            (default: :obj:`"step"`)
        max_rank (int, optional): The number of ranks of the CMC curve.
            (default: :obj:`50`)

    Raises:
        TypeError: If :obj:`index` or ids hold no integers.
        ValueError: If :obj:`index` leads outside the gallery or names an image
            twice for a probe, shapes do not fit, only one of query and gallery
            has cameras, or no probe has a match in the gallery.

    Example:
        >>> index = torch.tensor([[0, 1], [1, 2]])
        >>> evaluate_topk(index, query_id=[7, 8], gallery_id=[7, 8, 7]).ap
        tensor([0.5000, 1.0000], dtype=torch.float64)
    """
    check_choice('ap', ap, APS)
    check_positive('max_rank', max_rank)
    gallery = Gallery(gallery_id, gallery_camera)
    gallery.check_camera(query_camera)
    num_probes = length(query_id)
    index = _check_index(index, num_probes, gallery.size)
    query_id = check_ids('query_id', query_id, num_probes).to(index.device)
    if query_camera is not None:
        query_camera = check_ids('query_camera', query_camera, num_probes)
        query_camera = query_camera.to(index.device)

    rankings = gallery.to(index.device).rank_list(index, query_id, query_camera)
    return summarize([score(ranking, ap) for ranking in rankings], max_rank)


def _check_index(index: Any, num_probes: int, num_gallery: int) -> Tensor:
    try:
        index = torch.as_tensor(index)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f"'index' needs to be a tensor or array of integers [{num_probes}, k] "
            f"(got '{type(index).__name__}')"
        ) from error
    if index.is_floating_point() or index.is_complex() or index.dtype == torch.bool:
        raise TypeError(f"'index' needs to hold integers (got {index.dtype})")
    if index.dim() != 2 or index.size(0) != num_probes or index.size(1) == 0:
        raise ValueError(
            f"'index' needs to be of shape [{num_probes}, k], one row for each id of "
            f"'query_id' (got shape {list(index.shape)})"
        )
    index = index.to(torch.int64)
    outside = (index < -1) | (index >= num_gallery)
    if outside.any():
        raise ValueError(
            f"'index' of shape {list(index.shape)} needs positions below "
            f'{num_gallery}, the number of gallery images, or -1 for none '
            f'(got {int(index[outside][0])})'
        )
    ordered = index.sort(dim=1).values
    twice = ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any(dim=1)
    if twice.any():
        raise ValueError(
            f"'index' of shape {list(index.shape)} needs distinct positions in each "
            f'row, -1 aside (row {int(twice.nonzero()[0])} has one twice)'
        )
    return index
