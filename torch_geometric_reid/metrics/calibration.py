from dataclasses import dataclass

import torch
from torch import Tensor

from torch_geometric_reid.checks import check_positive


@dataclass
class Calibration:
    r"""How well probabilities agree with what happens.

    Attributes:
        error: The expected calibration error in :math:`[0, 1]`.
        confidence: The mean probability :math:`(B)` of each bin that holds some.
        frequency: How often it was right :math:`(B)`.
        count: The number of probabilities :math:`(B)`.
    """

    error: float
    confidence: Tensor
    frequency: Tensor
    count: Tensor


def calibration(prob: Tensor, label: Tensor, num_bins: int = 15) -> Calibration:
    r"""Measures the calibration of probabilities, as in `"On Calibration of Modern
    Neural Networks" <https://arxiv.org/abs/1706.04599>`_.

    .. math::
        \mathrm{ECE} = \sum_b \frac{n_b}{n} \, | \mathrm{frequency}_b -
        \mathrm{confidence}_b |

    Args:
        prob (torch.Tensor): Probabilities :math:`(n)` in :math:`[0, 1]`.
        label (torch.Tensor): Whether it was so, :math:`(n)`, zeros and ones.
        num_bins (int, optional): The number of bins of equal width.
            (default: :obj:`15`)

    Raises:
        ValueError: If there is nothing to measure, shapes differ, a probability
            lies outside of :math:`[0, 1]` or a label is neither zero nor one.

    Example:
        >>> calibration(torch.tensor([0.5, 0.5]), torch.tensor([0, 1])).error
        0.0
    """
    check_positive('num_bins', num_bins)
    if prob.numel() == 0 or prob.shape != label.shape:
        raise ValueError(
            f"'prob' and 'label' need one shape of at least one element "
            f'(got {list(prob.shape)} and {list(label.shape)})'
        )
    prob, label = prob.reshape(-1).double(), label.reshape(-1).double()
    if not ((prob >= 0) & (prob <= 1)).all():
        raise ValueError("'prob' needs to lie in [0, 1]")
    if not ((label == 0) | (label == 1)).all():
        raise ValueError("'label' needs zeros and ones")
    place = (prob * num_bins).long().clamp(max=num_bins - 1)
    count = torch.bincount(place, minlength=num_bins)
    used = count > 0
    confidence = torch.bincount(place, prob, num_bins)[used] / count[used]
    frequency = torch.bincount(place, label, num_bins)[used] / count[used]
    gap = (frequency - confidence).abs() * count[used] / prob.numel()
    return Calibration(float(gap.sum()), confidence, frequency, count[used])
