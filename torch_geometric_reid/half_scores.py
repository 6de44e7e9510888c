r"""Scores from products in half precision, and how far off they may be."""

import torch
from torch import Tensor

from torch_geometric_reid.topk import dot_rounding

ELEMENTS = 2**26  # features rounded at a time: 256 MiB


class HalfScores:
    r"""Inner products, or negative squared distances, of queries and items that are
    rounded to float16 and whose products are summed in float32, which the tensor
    cores of a GPU do more than ten times as fast as products of float32.

    Args:
        x (torch.Tensor): The items :math:`(N, d)`, float32.
        squared (bool): Whether scores are negative squared distances.
    """

    def __init__(self, x: Tensor, squared: bool):
        self.x, self.scale, lost = _round(x)
        norm = x.norm(dim=1)
        self.norm, self.lost = norm.max(), lost.max()
        self.square = norm.square() if squared else None

    def __call__(self, query: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        r"""Returns values that order the items of a query as their rounded scores
        do, :math:`(M, N)`, a factor and a term :math:`(M)`. An item's exact score
        is at most the factor times its value plus the term.

        With :math:`\mathbf{q} = \hat{\mathbf{q}} + \mathbf{e}` and
        :math:`\mathbf{x} = \hat{\mathbf{x}} + \mathbf{f}`, where the second ones
        are lost, the inner product changes by at most :math:`\|\mathbf{e}\|
        \|\mathbf{x}\| + \|\hat{\mathbf{q}}\| \|\mathbf{f}\|`, and rounding of sums.

        Args:
            query (torch.Tensor): The queries :math:`(M, d)`, float32.
        """
        half, scale, lost = _round(query)
        value, factor = _product(half, self.x.t()), scale * self.scale
        norm, dim = query.norm(dim=1), query.size(1)
        # Tensor cores cut off, rather than round, the sum of every few products.
        sums = torch.finfo(torch.float32).eps * (16 + dim / 8) * norm * self.norm
        error = 1.01 * (lost * self.norm + (norm + lost) * self.lost + sums)
        if self.square is None:
            return value, factor, error
        value.mul_(2 * factor).sub_(self.square)
        largest = norm.maximum(self.norm).square()
        error = 2 * error + 4 * dot_rounding(dim) * largest
        return value, torch.ones_like(factor), error - norm.square()


def has_half_products(x: Tensor) -> bool:
    r"""Returns whether features are on a GPU with tensor cores, of whose products
    PyTorch (from 2.8 on) gives the float32 sums.
    """
    return (
        x.is_cuda
        and torch.version.hip is None
        and torch.cuda.get_device_capability(x.device) >= (7, 0)
        and 'dtype' in torch.ops.aten.mm.overloads()
    )


def _round(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    # The halves of x over a power of two that leaves no row longer than one, that
    # power, and the length of what each row loses.
    exponent = torch.frexp(x.norm(dim=1).max()).exponent
    scale = torch.ldexp(torch.ones_like(exponent, dtype=x.dtype), exponent)
    half, lost = torch.empty_like(x, dtype=torch.float16), x.new_empty(x.size(0))
    rows = max(1, ELEMENTS // x.size(1))
    for part, out, loss in zip(
        x.split(rows), half.split(rows), lost.split(rows), strict=True
    ):
        out.copy_(part / scale)
        loss.copy_(torch.addcmul(part, out.to(x.dtype), scale, value=-1).norm(dim=1))
    return half, scale, lost


def _product(x: Tensor, y: Tensor) -> Tensor:
    if has_half_products(x):
        return torch.mm(x, y, out_dtype=torch.float32)
    return x.to(torch.float32) @ y.to(torch.float32)
