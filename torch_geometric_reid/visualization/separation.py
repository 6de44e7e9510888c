from typing import Any

import torch
import torch.nn.functional as F

from torch_geometric_reid.checks import check_features, check_ids

BLOCK_ELEMENTS = 2**22  # distances held at a time


def identity_distances(x: Any, y: Any) -> tuple[float, float]:
    r"""Returns the mean Euclidean distances, at unit length, of the pairs
    :math:`i \neq j` of one identity and of those of two identities.

    Distances are held for a block of rows at a time.

    Args:
        x (torch.Tensor): The features :math:`(N, d)`.
        y (torch.Tensor): Their identities :math:`(N)`.

    Returns:
        The mean distances within and between identities, in :math:`[0, 2]`, NaN
        where there is no such pair.

    Raises:
        TypeError: If features are no floating-point numbers or identities no
            integers.
        ValueError: If features are empty, not finite or zero, or identities are
            of another length.

    Example:
        >>> identity_distances(torch.tensor([[1., 0.], [2., 0.], [-3., 0.]]), [0, 0, 1])
        (0.0, 2.0)
    """
    x = F.normalize(check_features('x', x, nonzero=True).double())
    num = x.size(0)
    y = check_ids('y', y, num).to(x.device)
    total = x.new_zeros(2)
    count = torch.zeros(2, dtype=torch.long, device=x.device)
    for row in torch.arange(num, device=x.device).split(max(1, BLOCK_ELEMENTS // num)):
        distance = (2 - 2 * x[row] @ x.t()).clamp_(min=0).sqrt_()
        distance[torch.arange(len(row), device=x.device), row] = 0
        same = y[row].view(-1, 1) == y
        within = (distance * same).sum()
        total += torch.stack([within, distance.sum() - within])
        count += torch.stack([same.sum() - len(row), (~same).sum()])
    mean = (total / count).tolist()
    return mean[0], mean[1]
