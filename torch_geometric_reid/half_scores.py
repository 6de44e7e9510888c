r"""Scores from products in half precision, and how far off they may be."""

import torch
from torch import Tensor

from torch_geometric_reid.topk import dot_rounding

ELEMENTS = 2**26  # features rounded at a time: 256 MiB
UNDERFLOW = 1e-16  # more than lengths miss whose squares are too small for float32


class HalfScores:
    r"""Inner products, or negative squared distances, of queries and items that are
    rounded to float16 and whose products are summed in float32, which the tensor
    cores of a GPU do more than ten times as fast as products of float32.

    Args:
        x (torch.Tensor): The items :math:`(N, d)`, float32.
        squared (bool): Whether scores are negative squared distances.
    """

    def __init__(self, x: Tensor, squared: bool):
        self.x, self.scale, norm, lost = _round(x)
        self.norm, self.lost = norm.max(), lost.max()
        self.square = norm.square() if squared else None

    def __call__(self, query: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        r"""Returns values that order the items of a query as their rounded scores
        do, :math:`(M, N)`, a term :math:`(M)` and a factor. An item's exact score is
        at most the factor times the sum of its value and the term.

        With :math:`\mathbf{q} = \hat{\mathbf{q}} + \mathbf{e}` and
        :math:`\mathbf{x} = \hat{\mathbf{x}} + \mathbf{f}`, where the second ones
        are lost, the inner product changes by at most :math:`\|\mathbf{e}\|
        \|\mathbf{x}\| + \|\hat{\mathbf{q}}\| \|\mathbf{f}\|`, and rounding of sums.

        Args:
            query (torch.Tensor): The queries :math:`(M, d)`, float32.
        """
        half, scale, norm, lost = _round(query)
        value, dim = _product(half, self.x.t()), query.size(1)
        # Tensor cores cut off, rather than round, what they add a product to.
        sums = torch.finfo(torch.float32).eps * (16 + dim) * norm * self.norm
        error = 1.01 * (lost * self.norm + (norm + lost) * self.lost + sums)
        if self.square is None:
            return value, error, scale * self.scale
        ratio = scale / self.scale
        value.mul_(2 * ratio).sub_(self.square)
        norm = ratio * norm
        rounding = 4 * dot_rounding(dim) * norm.maximum(self.norm).square()
        return value, 2 * ratio * error + rounding - norm.square(), self.scale.square()


def has_half_products(x: Tensor) -> bool:
    r"""Returns whether features are on a GPU with tensor cores, of whose products
    PyTorch (from 2.8 on, with CUDA) gives the float32 sums.
    """
    return (
        x.is_cuda
        and torch.version.hip is None
        and torch.cuda.get_device_capability(x.device) >= (7, 0)
        and 'dtype' in torch.ops.aten.mm.overloads()
        and not torch.backends.cuda.matmul.allow_fp16_accumulation
    )


def _round(x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    # The halves of x over a power of two that leaves no entry larger than one, that
    # power, the length of each row over it, and the length of what the row loses.
    exponent = torch.frexp(x.abs().max()).exponent
    scale = torch.ldexp(torch.ones_like(exponent, dtype=x.dtype), exponent)
    half = torch.empty_like(x, dtype=torch.float16)
    norm, lost = x.new_empty(2, x.size(0))
    rows = max(1, ELEMENTS // x.size(1))
    for start in range(0, x.size(0), rows):
        part = slice(start, start + rows)
        scaled = x[part] / scale
        half[part] = scaled
        norm[part] = scaled.norm(dim=1)
        lost[part] = scaled.sub_(half[part]).norm(dim=1) + UNDERFLOW
    return half, scale, norm, lost


def _product(x: Tensor, y: Tensor) -> Tensor:
    if has_half_products(x):
        return torch.mm(x, y, out_dtype=torch.float32)
    return x.to(torch.float32) @ y.to(torch.float32)
