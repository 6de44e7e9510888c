import torch
import torch.nn.functional as F
from torch import Tensor

from torch_geometric_reid.csr import csr_matrix

ELEMENTS = 2**18  # features in float64 at a time: 2 MiB, which caches hold
ELEMENTS_CUDA = 2**24
WHOLE_ELEMENTS = 2**25  # of all items, which are then in float64 at a time


def exact_scores(
    query: Tensor, x: Tensor, row: Tensor, item: Tensor, squared: bool
) -> Tensor:
    r"""Returns the scores of pairs in float64, rounded to float32, :math:`(P)`.

    Args:
        query (torch.Tensor): The queries :math:`(M, d)`.
        x (torch.Tensor): The items :math:`(N, d)`.
        row (torch.Tensor): The query of each pair :math:`(P)`, ascending.
        item (torch.Tensor): Its item :math:`(P)`.
        squared (bool): Whether a score is the negative squared distance instead of
            the inner product.
    """
    size = max(1, item.numel())
    if squared:
        size = max(1, (ELEMENTS_CUDA if x.is_cuda else ELEMENTS) // x.size(1))
    elif x.numel() > WHOLE_ELEMENTS:
        size = max(1, WHOLE_ELEMENTS // x.size(1))
    scores = _negative_distances if squared else _products
    parts = zip(row.split(size), item.split(size), strict=True)
    return torch.cat([scores(query, x, *part).to(torch.float32) for part in parts])


def _negative_distances(query: Tensor, x: Tensor, row: Tensor, item: Tensor) -> Tensor:
    # That of equal vectors is zero, which |q|^2 + |x|^2 - 2 qx is not.
    difference = query.index_select(0, row).to(torch.float64)
    difference -= x.index_select(0, item)
    return -difference.square_().sum(dim=1)


def _products(query: Tensor, x: Tensor, row: Tensor, item: Tensor) -> Tensor:
    query, row = _used(query, row)
    x, item = _used(x, item)
    ptr = F.pad(torch.bincount(row, minlength=query.size(0)).cumsum(dim=0), (1, 0))
    zero = torch.zeros(item.shape, dtype=torch.float64, device=x.device)
    pairs = csr_matrix(ptr, item, zero, x.size(0))
    x, query = x.to(torch.float64), query.to(torch.float64)
    return torch.sparse.sampled_addmm(pairs, query, x.t(), beta=0).values()


def _used(x: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    # The rows that are used, where not all may be, and the places in them.
    if index.numel() >= x.size(0):
        return x, index
    used, place = index.unique(return_inverse=True)
    return x.index_select(0, used), place
