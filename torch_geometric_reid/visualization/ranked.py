from typing import Any, NamedTuple

import torch
from torch import Tensor

from torch_geometric_reid.checks import check_ids, check_positive
from torch_geometric_reid.metrics.ranking import JUNK


class RankedList(NamedTuple):
    r"""The first :math:`k` gallery images of a probe, nearest first.

    Attributes:
        image: Their rows in the gallery :math:`(k)`, int64.
        distance: Their distances :math:`(k)`.
        match: Whether they show the probe's identity :math:`(k)`.
        connectivity: The probabilities that they are linked to the probe
            :math:`(k)`, NaN where an image was not scored, if there are any.
    """

    image: Tensor
    distance: Tensor
    match: Tensor
    connectivity: Tensor | None


def ranked_list(
    distance: Any,
    y: int,
    gallery_y: Any,
    camera: int | None = None,
    gallery_camera: Any = None,
    k: int = 10,
    connectivity: Any = None,
) -> RankedList:
    r"""Returns the ranking list of one probe as
    :meth:`~torch_geometric_reid.metrics.evaluate` reads it: without images of its
    identity by its own camera (if cameras are given) and without junk (identity
    -1), equal distances by ascending row.

    Args:
        distance (torch.Tensor): The probe's distances :math:`(G)`, not NaN.
        y (int): The probe's identity.
        gallery_y (torch.Tensor): The gallery's identities :math:`(G)`.
        camera (int, optional): The probe's camera. (default: :obj:`None`)
        gallery_camera (torch.Tensor, optional): The gallery's cameras
            :math:`(G)`. (default: :obj:`None`)
        k (int, optional): The length of the list, which is shorter where fewer
            images remain. (default: :obj:`10`)
        connectivity (torch.Tensor, optional): The probabilities of links
            :math:`(G)` in :math:`[0, 1]`, NaN where an image was not scored.
            (default: :obj:`None`)

    Raises:
        TypeError: If distances are no floating-point numbers or ids no integers.
        ValueError: If a distance is NaN, a probability is out of its range,
            shapes do not fit, or a camera is given for one side alone.

    Example:
        >>> distance = torch.tensor([0.3, 0.1, 0.2])
        >>> ranked_list(distance, 7, [7, 8, 7], k=2).match
        tensor([False,  True])
    """
    check_positive('k', k)
    distance = _check_row('distance', distance)
    if distance.isnan().any():
        raise ValueError(
            f"'distance' needs no NaN (got {int(distance.isnan().sum())} of "
            f'{distance.numel()})'
        )
    size = distance.numel()
    gallery_y = check_ids('gallery_y', gallery_y, size).to(distance.device)
    if (camera is None) != (gallery_camera is None):
        given = 'gallery_camera' if camera is None else 'camera'
        raise ValueError(
            f"'camera' and 'gallery_camera' need to be given together (got "
            f"'{given}' alone)"
        )
    same = gallery_y == int(y)
    kept = gallery_y != JUNK
    if camera is not None:
        cameras = check_ids('gallery_camera', gallery_camera, size)
        kept &= ~same | (cameras.to(distance.device) != int(camera))
    image = kept.nonzero().view(-1)
    image = image[distance[image].argsort(stable=True)[:k]]
    if connectivity is not None:
        connectivity = _check_row('connectivity', connectivity).to(distance.device)
        _check_probability(connectivity, size)
        connectivity = connectivity[image]
    return RankedList(image, distance[image], same[image], connectivity)


def select_probes(ap: Any, num: int = 8) -> tuple[Tensor, Tensor]:
    r"""Returns the probes with the worst and those with the best average precision.

    No probe is in both, so that there are fewer where few probes have one.

    Args:
        ap (torch.Tensor): The average precisions :math:`(Q)`; probes with NaN,
            which have no match, are left out.
        num (int, optional): The number of each. (default: :obj:`8`)

    Returns:
        The rows of the worst, worst first, and those of the best, best first.

    Example:
        >>> select_probes(torch.tensor([0.5, 0.1, float('nan'), 0.9]), num=1)
        (tensor([1]), tensor([3]))
    """
    check_positive('num', num)
    ap = _check_row('ap', ap)
    row = (~ap.isnan()).nonzero().view(-1)
    ordered = row[ap[row].argsort(stable=True)]
    num_best = min(num, row.numel() // 2)
    num_worst = min(num, row.numel() - num_best)
    return ordered[:num_worst], ordered.flip(0)[:num_best]


def _check_row(name: str, value: Any) -> Tensor:
    value = torch.as_tensor(value)
    if not value.is_floating_point():
        raise TypeError(
            f"'{name}' needs to hold floating-point numbers (got {value.dtype})"
        )
    if value.dim() != 1:
        raise ValueError(
            f"'{name}' needs to be one-dimensional (got shape {list(value.shape)})"
        )
    return value


def _check_probability(value: Tensor, size: int) -> None:
    if value.numel() != size:
        raise ValueError(
            f"'connectivity' needs one probability for each of {size} images "
            f'(got shape {list(value.shape)})'
        )
    if ((value < 0) | (value > 1)).any():
        raise ValueError("'connectivity' needs to lie in [0, 1], or to be NaN")
