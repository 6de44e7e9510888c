r"""Weights of several similarities, learned for a ranking."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from torch_geometric_reid.nn import listwise_loss

STEPS = 300
PROBES = 2048  # of more, as many are looked at
SHARPNESS = 5.0


class Mixture(NamedTuple):
    r"""Weights of similarities, which sum to one.

    Attributes:
        whole: For the ranking as a whole :math:`(C)`.
        first: For its first place :math:`(C)`.
    """

    whole: Tensor
    first: Tensor


@torch.enable_grad()
def fit_mixture(similarity: Tensor, same: Tensor) -> Mixture:
    r"""Learns the non-negative weights of similarities.

    The weights of the whole ranking minimise the cross entropy between the softmax
    over a probe's images and its matches, those of the first place
    :math:`\log(1 + \sum_n e^{s_n - s_p})` for the best match :math:`p` and all
    images :math:`n` that are none. Both also learn how sharp the softmax is.

    Args:
        similarity (torch.Tensor): The similarities :math:`(N, K, C)` of each probe
            and its images.
        same (torch.Tensor): Whether they show one identity :math:`(N, K)`.
    """
    useful = same.any(dim=1) & ~same.all(dim=1)
    probe = useful.nonzero().view(-1)
    if probe.numel() == 0:
        even = similarity.new_full((similarity.size(2),), 1 / similarity.size(2))
        return Mixture(even, even.clone())
    size = min(PROBES, probe.numel())
    probe = probe[torch.arange(size, device=probe.device) * probe.numel() // size]
    similarity, same = similarity[probe], same[probe]
    return Mixture(
        _minimize(similarity, lambda s: listwise_loss(s, same)),
        _minimize(similarity, lambda s: _first_loss(s, same)),
    )


def _minimize(similarity: Tensor, loss: Callable[[Tensor], Tensor]) -> Tensor:
    weight = torch.full_like(similarity[0, 0], 0.5).requires_grad_()
    optimizer = torch.optim.Adam([weight], lr=0.2)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss(similarity @ weight.abs() * SHARPNESS).backward()
        optimizer.step()
    out = weight.detach().abs()
    return out / out.sum()


def _first_loss(score: Tensor, same: Tensor) -> Tensor:
    best = score.masked_fill(~same, -torch.inf).amax(dim=1)
    others = score.masked_fill(same, -torch.inf).logsumexp(dim=1)
    return F.softplus(others - best).mean()
