r"""Tables of neighbours that follow a gallery which changes."""

import torch
from torch import Tensor
from torch_geometric.nn.pool.knn import KNNOutput

from torch_geometric_reid.knn import knn
from torch_geometric_reid.topk import dot_rounding

BLOCK_ELEMENTS = 2**24


def update_table(
    x: Tensor, k: int, table: KNNOutput, position: Tensor, metric: str = 'cosine'
) -> tuple[KNNOutput, Tensor]:
    r"""Updates the nearest others of items after some were added, removed or changed.
    Only rows that this may have changed are searched again; the result is that of a
    new search.

    Args:
        x (torch.Tensor): The features of all items now :math:`(N, d)`, of unit
            length or zero.
        k (int): The number of nearest others, cut to :math:`N - 1`.
        table (KNNOutput): The table before :math:`(M, K)`.
        position (torch.Tensor): The row in that table of each item :math:`(N)`,
            ascending, and -1 for items that are new or have changed.
        metric (str, optional): :obj:`"cosine"` or :obj:`"sqeuclidean"`.
            (default: :obj:`"cosine"`)

    Returns:
        The table now, and which of its rows were searched :math:`(N)`.
    """
    k = min(k, x.size(0) - 1)
    known = position >= 0
    if k != table.index.size(1) or not known.any():
        return knn(x, k, metric=metric), torch.ones_like(known)
    old = position[known]
    number = torch.full((table.index.size(0),), -1, device=x.device)
    number[old] = known.nonzero().view(-1)
    index = table.index.new_zeros(x.size(0), k)
    score = table.score.new_zeros(x.size(0), k)
    index[known], score[known] = number[table.index[old]], table.score[old]

    stale = ~known | (index < 0).any(dim=1)
    fresh = x[~known]
    if fresh.size(0) > 0:
        size = max(1, BLOCK_ELEMENTS // max(fresh.size(0), x.size(1)))
        for part in (~stale).nonzero().view(-1).split(size):
            stale[part] = _may_enter(x[part], fresh, score[part, -1], metric)
    row = stale.nonzero().view(-1)
    if row.numel() > 0:
        out = knn(x, k + 1, query=x[row], metric=metric, backend='torch')
        itself = (out.index == row.view(-1, 1)).to(torch.uint8)
        order = itself.argsort(dim=1, stable=True)[:, :k]
        index[row] = out.index.gather(1, order)
        score[row] = out.score.gather(1, order)
    return KNNOutput(score, index), stale


def _may_enter(x: Tensor, fresh: Tensor, last: Tensor, metric: str) -> Tensor:
    # Whether a new item may be as near to an item as the last of its nearest.
    score = x @ fresh.t()
    if metric == 'cosine':
        return score.amax(dim=1) >= last - dot_rounding(x.size(1))
    distance = fresh.square().sum(dim=1) - 2 * score
    best = distance.amin(dim=1) + x.square().sum(dim=1)
    return best <= last + 4 * dot_rounding(x.size(1))
