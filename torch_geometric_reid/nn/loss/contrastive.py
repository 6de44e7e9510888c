from collections.abc import Iterator
from itertools import combinations_with_replacement
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from torch_geometric_reid.checks import check_ids

BLOCK_ROWS = 512  # similarities are held in blocks of 512 x 512
BLOCK_ROWS_CUDA = 8192  # where a block has to be worth the launch of its kernels
KEPT_BYTES = 2**29  # of similarities are kept for the gradient, never more


def supervised_contrastive_loss(
    z: Tensor,
    y: Tensor,
    temperature: float = 0.07,
    include_self: bool = True,
    normalize: bool = True,
) -> Tensor:
    r"""The supervised contrastive loss, eq. (5) and (6) of `"Feature Aggregation
    and Connectivity for Object Re-Identification"
    <https://doi.org/10.1016/j.patcog.2024.110869>`_.

    .. math::
        \mathcal{L} = - \frac{1}{N} \sum_{i=1}^{N} \frac{1}{|P_i|} \sum_{j \in P_i}
        \log \frac{\exp(\mathbf{z}_i^{\top} \mathbf{z}_j / \tau)}
        {\sum_{k \in A_i} \exp(\mathbf{z}_i^{\top} \mathbf{z}_k / \tau)}

    where :math:`P_i` are the items of :math:`i`'s identity and :math:`A_i` all
    items. The paper counts :math:`i` itself in both. The form of `"Supervised
    Contrastive Learning" <https://arxiv.org/abs/2004.11362>`_ leaves it out of
    both; there, an item without another of its identity contributes zero.

    Value and gradient are exact. The :math:`N \times N` similarities are
    symmetric and visited in blocks of the upper triangle. Up to half a GiB of them (in
    float32, :math:`N` of 16,000, on a GPU of 12,900) is kept for the gradient; more is
    computed again, so that memory grows with :math:`N` only. The positives need
    class sums alone. On a GPU nothing waits for a result. The gradient can not be
    differentiated again. Under
    :class:`torch.autocast` the products are of its type, sums of the features'.

    Args:
        z (torch.Tensor): The features :math:`(N, d)`.
        y (torch.Tensor): The identities :math:`(N)`.
        temperature (float, optional): The temperature :math:`\tau`.
            (default: :obj:`0.07`)
        include_self (bool, optional): If set to :obj:`False`, leaves out the
            pairs :math:`(i, i)`. (default: :obj:`True`)
        normalize (bool, optional): If set to :obj:`False`, takes the features
            as they are instead of at unit length. (default: :obj:`True`)

    Raises:
        ValueError: If the shapes do not fit, :obj:`z` is empty or
            :obj:`temperature` is not positive.

    Example:
        >>> z = torch.tensor([[1., 0.], [1., 0.], [0., 1.], [0., 1.]])
        >>> y = torch.tensor([0, 0, 1, 1])
        >>> supervised_contrastive_loss(z, y, temperature=1.0)
        tensor(1.0064)
    """
    if z.dim() != 2 or z.size(0) == 0:
        raise ValueError(
            f"'z' needs at least one feature, of shape [N, d] "
            f'(got shape {list(z.shape)})'
        )
    if temperature <= 0:
        raise ValueError(f"'temperature' needs to be positive (got {temperature})")
    y = check_ids('y', y, z.size(0)).to(z.device)
    if normalize:
        z = F.normalize(z)
    return _SupervisedContrastive.apply(z, y, temperature, include_self)


class SupervisedContrastiveLoss(torch.nn.Module):
    r"""The module of :meth:`supervised_contrastive_loss`, with its arguments.

    Shapes:
        - **input:** features :math:`(N, d)`, identities :math:`(N)`
        - **output:** a scalar
    """

    def __init__(
        self,
        temperature: float = 0.07,
        include_self: bool = True,
        normalize: bool = True,
    ):
        super().__init__()
        self.temperature = temperature
        self.include_self = include_self
        self.normalize = normalize

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        return supervised_contrastive_loss(
            z, y, self.temperature, self.include_self, self.normalize
        )


class _SupervisedContrastive(torch.autograd.Function):
    # With s_ij = z_i.z_j / tau, r_i = logsumexp_j s_ij and the class sums S_y,
    #   L = 1/N sum_i m_i (r_i - z_i.(S_yi - o z_i) / (tau (N_yi - o)))
    # where o = 1 leaves out self and m_i = 0 where no positive is left, and
    #   dL/dz_i = 1/(N tau) (sum_j (m_i e^(s_ij - r_i) + m_j e^(s_ij - r_j)) z_j
    #                        - 2 m_i (S_yi - o z_i) / (N_yi - o)).
    @staticmethod
    def forward(
        ctx: Any, z: Tensor, y: Tensor, temperature: float, include_self: bool
    ) -> Tensor:
        total, count = _class_sums(z, y)
        count = count.to(z.dtype) - float(not include_self)
        active = (count > 0).to(z.dtype)
        positive = total if include_self else total - z
        positive = positive * (active / count.clamp(min=1)).view(-1, 1)

        lse = z.new_full((z.size(0),), -torch.inf)
        device, ctx.dtype = z.device.type, z.dtype
        if torch.is_autocast_enabled(device):
            ctx.dtype = torch.get_autocast_dtype(device)
        kept: list[Tensor] = []
        keep = z.requires_grad and _num_bytes(z) <= KEPT_BYTES
        scores = _scores(z, ctx.dtype, temperature, include_self)
        for (rows, cols), score in zip(_blocks(z), scores, strict=True):
            lse[rows] = torch.logaddexp(lse[rows], score.logsumexp(1))
            if rows != cols:
                lse[cols] = torch.logaddexp(lse[cols], score.logsumexp(0))
            if keep:
                kept.append(score)
        lse_or_inf = lse.masked_fill(active == 0, torch.inf)
        ctx.save_for_backward(z, lse_or_inf, positive, *kept)
        ctx.temperature, ctx.include_self = temperature, include_self
        lse = lse.masked_fill(active == 0, 0)
        return (lse - (z * positive).sum(1) / temperature).mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        z, lse, positive, *kept = ctx.saved_tensors
        out = -2 * positive
        low = z.to(ctx.dtype)
        scores = kept or _scores(z, ctx.dtype, ctx.temperature, ctx.include_self)
        for (rows, cols), score in zip(_blocks(z), scores, strict=True):
            weight = (score - lse[rows].view(-1, 1)).exp_()
            weight += (score - lse[cols]).exp_()
            weight = weight.to(ctx.dtype)
            _add_product(out[rows], weight, low[cols])
            if rows != cols:
                _add_product(out[cols], weight.t(), low[rows])
        return out * (grad / (z.size(0) * ctx.temperature)), None, None, None


def _class_sums(z: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    # The sum over each item's class and the class's size. The number of classes,
    # which a GPU would have to be waited for, is not asked.
    y, order = y.sort(stable=True)
    place = F.pad((y[1:] != y[:-1]).cumsum(0), (1, 0))
    ptr = torch.searchsorted(place, torch.arange(y.numel() + 1, device=y.device))
    sums = F.embedding_bag(order, z, ptr, mode='sum', include_last_offset=True)
    place = torch.empty_like(place).scatter_(0, order, place)
    return sums[place], ptr.diff()[place]


def _block_rows(z: Tensor) -> int:
    return min(z.size(0), BLOCK_ROWS_CUDA if z.is_cuda else BLOCK_ROWS)


def _num_bytes(z: Tensor) -> float:
    # Of the blocks together, or a little more where the last is not full.
    return z.element_size() * z.size(0) * (z.size(0) + _block_rows(z)) / 2


def _blocks(z: Tensor) -> Iterator[tuple[slice, slice]]:
    size = _block_rows(z)
    starts = range(0, z.size(0), size)
    for i, j in combinations_with_replacement(starts, 2):
        yield slice(i, i + size), slice(j, j + size)


def _scores(
    z: Tensor, dtype: torch.dtype, temperature: float, include_self: bool
) -> Iterator[Tensor]:
    scaled, low = (z / temperature).to(dtype), z.to(dtype)
    for rows, cols in _blocks(z):
        score = (scaled[rows] @ low[cols].t()).to(z.dtype)
        if rows == cols and not include_self:
            score.fill_diagonal_(-torch.inf)
        yield score


def _add_product(out: Tensor, a: Tensor, b: Tensor) -> None:
    if out.dtype == a.dtype:
        out.addmm_(a, b)
    else:
        out += a @ b
