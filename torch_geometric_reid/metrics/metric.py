r"""The evaluation as a metric that grows block by block."""

from typing import Any

import torch
from torch import Tensor

from torch_geometric_reid.checks import check_choice, check_ids, check_positive
from torch_geometric_reid.metrics.evaluation import (
    APS,
    Evaluation,
    Scores,
    score,
    summarize,
)
from torch_geometric_reid.metrics.ranking import Gallery


class ReIDMetric:
    r"""Evaluates probes against a fixed gallery, one block of probes at a time,
    as in a validation loop.

    Only the scores of the probes are kept, never their distances. The rules
    are those of :meth:`~torch_geometric_reid.metrics.evaluate`.

    Args:
        gallery_id (torch.Tensor): The gallery's identities :math:`(G)`; -1
            marks junk.
        gallery_camera (torch.Tensor, optional): The gallery's cameras
            :math:`(G)`. (default: :obj:`None`)
        ap (str, optional): :obj:`"step"` or :obj:`"trapezoid"`.
            (default: :obj:`"step"`)
        max_rank (int, optional): The number of ranks of the CMC curve.
            (default: :obj:`50`)

    Example:
        >>> metric = ReIDMetric(gallery_id=torch.tensor([7, 8, 7]))
        >>> metric.update(torch.tensor([[0.1, 0.2, 0.3]]), torch.tensor([7]))
        >>> metric.update(torch.tensor([[0.9, 0.2, 0.3]]), torch.tensor([8]))
        >>> metric.compute()
        Evaluation(mAP=0.9167, mINP=0.8333, rank1=1.0000, num_probes=2,
                   num_skipped=0)
    """

    def __init__(
        self,
        gallery_id: Any,
        gallery_camera: Any = None,
        ap: str = 'step',
        max_rank: int = 50,
    ):
        check_choice('ap', ap, APS)
        check_positive('max_rank', max_rank)
        self.ap = ap
        self.max_rank = max_rank
        self._gallery = Gallery(gallery_id, gallery_camera)
        self._scores: list[Scores] = []

    def update(self, dist: Any, query_id: Any, query_camera: Any = None) -> None:
        r"""Adds a block of probes.

        Args:
            dist (torch.Tensor): The distances :math:`(B, G)` from the probes to
                the gallery.
            query_id (torch.Tensor): The probes' identities :math:`(B)`.
            query_camera (torch.Tensor, optional): The probes' cameras
                :math:`(B)`. (default: :obj:`None`)

        Raises:
            TypeError: If :obj:`dist` holds no floating-point numbers, or ids
                no integers.
            ValueError: If :obj:`dist` holds NaN or shapes do not fit, or if
                only one of query and gallery has cameras.
        """
        self._gallery.check_camera(query_camera)
        dist = _check_dist(dist, self._gallery.size)
        query_id = check_ids('query_id', query_id, dist.size(0)).to(dist.device)
        if query_camera is not None:
            query_camera = check_ids('query_camera', query_camera, dist.size(0))
            query_camera = query_camera.to(dist.device)

        self._gallery.to(dist.device)
        for ranking in self._gallery.rank(dist, query_id, query_camera):
            self._scores.append(score(ranking, self.ap))

    def compute(self) -> Evaluation:
        r"""Returns the evaluation of all probes since the last :meth:`reset`.

        Raises:
            ValueError: If there was no probe, or none with a match.
        """
        return summarize(self._scores, self.max_rank)

    def reset(self) -> None:
        r"""Forgets all probes."""
        self._scores = []


def _check_dist(dist: Any, num_gallery: int) -> Tensor:
    try:
        dist = torch.as_tensor(dist).detach()
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f"'dist' needs to be a tensor or array of distances [B, {num_gallery}] "
            f"(got '{type(dist).__name__}')"
        ) from error
    if not dist.is_floating_point():
        raise TypeError(
            f"'dist' needs to hold floating-point numbers (got {dist.dtype})"
        )
    if dist.dim() != 2 or dist.size(1) != num_gallery:
        raise ValueError(
            f"'dist' needs to be of shape [B, {num_gallery}], one column for each "
            f"id of 'gallery_id' (got shape {list(dist.shape)})"
        )
    nan = dist.amax(dim=1).isnan()  # a maximum keeps NaN
    if nan.any():
        raise ValueError(
            f"'dist' of shape {list(dist.shape)} needs numbers (got NaN in "
            f'{int(nan.sum())} rows, the first is row {int(nan.nonzero()[0])})'
        )
    return dist
