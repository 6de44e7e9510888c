from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import BatchNorm1d

BLOCK = 2048  # rows that are computed at a time


def norm_relu_linear(
    x: Tensor, norm: BatchNorm1d, weight: Tensor, rows: slice = slice(None)
) -> Tensor:
    r"""Returns :math:`\mathrm{ReLU}(\mathrm{BN}(\mathbf{X})) \mathbf{W}^{\top}` of a
    batch norm in training mode, whose running statistics it updates.

    For the gradient it keeps :math:`\mathbf{X}` alone and computes what the product
    read again, block by block. The gradient can not be differentiated again.

    Args:
        x (torch.Tensor): The features :math:`(N, F)`.
        norm (torch.nn.BatchNorm1d): The batch norm of :math:`F` channels, with
            learned scale and shift and running statistics.
        weight (torch.Tensor): The weight :math:`(F', F)`.
        rows (slice, optional): The rows that are multiplied. The statistics are
            those of all rows. (default: all)

    Raises:
        ValueError: If there are fewer than two rows.
    """
    if x.size(0) < 2:
        raise ValueError(f"'x' needs two rows for a batch norm (got {x.size(0)})")
    steps = cast(Tensor, norm.num_batches_tracked).add_(1)
    momentum = 1 / int(steps) if norm.momentum is None else norm.momentum
    out = _NormReLULinear.apply(x, norm.weight, norm.bias, weight, norm, momentum, rows)
    return cast(Tensor, out)


class _NormReLULinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        x, scale, shift, weight, norm, momentum, rows = inputs
        running = (norm.running_mean, norm.running_var)
        normed, mean, inv_std = torch.native_batch_norm(
            x, scale, shift, *running, True, momentum, norm.eps
        )
        ctx.save_for_backward(x, scale, shift, weight, mean, inv_std)
        ctx.rows = rows
        return normed[rows].relu_() @ weight.t()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, scale, shift, weight, mean, inv_std = ctx.saved_tensors
        slope = scale * inv_std
        offset = shift - mean * slope
        grad_x, grad_weight = torch.zeros_like(x), torch.zeros_like(weight)
        grad_shift, grad_scale = torch.zeros_like(scale), torch.zeros_like(scale)
        blocks = (t.split(BLOCK) for t in (grads[0], x[ctx.rows], grad_x[ctx.rows]))
        for grad, block, out in zip(*blocks, strict=True):
            read = torch.addcmul(offset, block, slope).relu_()
            grad_weight.addmm_(grad.t(), read)
            torch.mm(grad, weight, out=out)
            torch.ops.aten.threshold_backward.grad_input(out, read, 0, grad_input=out)
            grad_shift += out.sum(dim=0)
            centred = torch.sub(block, mean, out=read)
            grad_scale += centred.mul_(out).sum(dim=0)
        grad_scale *= inv_std

        # The mean and the variance depend on each row.
        pull = slope * inv_std * grad_scale / x.size(0)
        push = slope * grad_shift / x.size(0) - pull * mean
        grad_x.mul_(slope).sub_(push).addcmul_(x, pull, value=-1)
        return grad_x, grad_scale, grad_shift, grad_weight, None, None, None
