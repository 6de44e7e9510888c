import torch
from torch import Tensor


def isotonic_blocks(score: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    r"""Returns the blocks of the isotonic regression: of all functions that do not
    fall, the one that is nearest to the targets is constant on each of them.

    Adjacent blocks that do not rise are pooled, all at once, until none is left.

    Args:
        score (torch.Tensor): The scores :math:`(n)`, at least one.
        target (torch.Tensor): What is to be predicted from them :math:`(n)`.

    Returns:
        The mean scores and the values of the blocks, both ascending, float64.
    """
    score, target = score.double(), target.double()
    value, group, count = score.unique(return_inverse=True, return_counts=True)
    weight = count.double()
    total = torch.zeros_like(value).index_add_(0, group, target)
    place = value * weight
    while True:
        mean = total / weight
        rises = mean[1:] > mean[:-1]
        if rises.all():
            return place / weight, mean
        block = torch.cat([rises.new_zeros(1), rises]).cumsum(0)
        empty = mean.new_zeros(int(block[-1]) + 1)
        weight, total, place = (
            empty.index_add(0, block, part) for part in (weight, total, place)
        )


def interpolate(x: Tensor, knot: Tensor, value: Tensor) -> Tensor:
    r"""Returns the piecewise linear function through points, constant beyond them.

    Args:
        x (torch.Tensor): Where, of any shape.
        knot (torch.Tensor): The points' places :math:`(B)`, ascending.
        value (torch.Tensor): The points' values :math:`(B)`.
    """
    right = torch.searchsorted(knot, x.contiguous()).clamp(max=knot.numel() - 1)
    left = (right - 1).clamp(min=0)
    width = (knot[right] - knot[left]).clamp(min=torch.finfo(knot.dtype).tiny)
    share = ((x - knot[left]) / width).clamp(0, 1)
    return value[left] + share * (value[right] - value[left])
