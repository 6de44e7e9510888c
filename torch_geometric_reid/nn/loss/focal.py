import torch
import torch.nn.functional as F
from torch import Tensor

from torch_geometric_reid.checks import check_choice


def focal_loss(
    logits: Tensor,
    y: Tensor,
    alpha: float = 0.25,
    gamma: float = 2.0,
    alpha_on: str = 'positive',
) -> Tensor:
    r"""The focal loss of two classes, eq. (12) of `"Feature Aggregation and
    Connectivity for Object Re-Identification"
    <https://doi.org/10.1016/j.patcog.2024.110869>`_.

    .. math::
        \ell(\mathbf{p}, y) = \begin{cases}
        - \alpha \, (1 - p_1)^{\gamma} \log p_1 & \text{if } y = 1 \\
        - (1 - \alpha) \, (1 - p_0)^{\gamma} \log p_0 & \text{if } y = 0
        \end{cases}

    where :math:`\mathbf{p} = \mathrm{softmax}(\mathrm{logits})` and :math:`p_1` is
    the probability of a link. :math:`\gamma = 0` and :math:`\alpha = 0.5` give half
    of the cross entropy.

    Args:
        logits (torch.Tensor): The logits (no link, link) :math:`(M, 2)`.
        y (torch.Tensor): Whether there is a link :math:`(M)`.
        alpha (float, optional): The weight :math:`\alpha \in [0, 1]`.
            (default: :obj:`0.25`)
        gamma (float, optional): The focusing exponent, at least zero (the
            paper's :math:`\upsilon`). (default: :obj:`2.0`)
        alpha_on (str, optional): The side that :obj:`alpha` weighs,
            :obj:`"positive"` or :obj:`"negative"`. (default: :obj:`"positive"`)

    Returns:
        The mean over all :math:`M` pairs.

    Raises:
        ValueError: If shapes do not fit or a parameter is out of range.

    Example:
        >>> focal_loss(torch.zeros(1, 2), torch.tensor([1]))
        tensor(0.0433)
    """
    if logits.dim() != 2 or logits.size(1) != 2 or logits.size(0) == 0:
        raise ValueError(
            f"'logits' needs to be of shape [M, 2] (got {list(logits.shape)})"
        )
    if y.shape != logits.shape[:1]:
        raise ValueError(
            f"'y' needs to be of shape [{logits.size(0)}] (got {list(y.shape)})"
        )
    if not 0 <= alpha <= 1:
        raise ValueError(f"'alpha' needs to be between 0 and 1 (got {alpha})")
    if gamma < 0:
        raise ValueError(f"'gamma' needs to be at least 0 (got {gamma})")
    check_choice('alpha_on', alpha_on, ('positive', 'negative'))
    y = y.to(torch.long)
    log_prob = F.log_softmax(logits, dim=1)
    log_miss = log_prob.gather(1, 1 - y.view(-1, 1)).view(-1)
    log_hit = log_prob.gather(1, y.view(-1, 1)).view(-1)
    weight = torch.where((y == 1) == (alpha_on == 'positive'), alpha, 1 - alpha)
    return -(weight * (gamma * log_miss).exp() * log_hit).mean()


class FocalLoss(torch.nn.Module):
    r"""The module of :meth:`focal_loss`, with its arguments.

    Shapes:
        - **input:** logits :math:`(M, 2)`, links :math:`(M)`
        - **output:** a scalar
    """

    def __init__(
        self, alpha: float = 0.25, gamma: float = 2.0, alpha_on: str = 'positive'
    ):
        super().__init__()
        self.alpha = alpha
        self.gamma = gamma
        self.alpha_on = alpha_on

    def forward(self, logits: Tensor, y: Tensor) -> Tensor:
        return focal_loss(logits, y, self.alpha, self.gamma, self.alpha_on)
