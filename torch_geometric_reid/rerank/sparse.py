r"""Sparse matrices (coalesced COO) as the re-rankers use them."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from torch_geometric_reid.csr import csr_matrix

ROWS = 256  # rows of a dense product computed at a time
LANES = 16  # dense rows that a sparse one is multiplied by at a time
TERMS = 2**22  # terms of sums computed at a time


def sparse(row: Tensor, col: Tensor, value: Tensor, size: tuple[int, int]) -> Tensor:
    r"""Returns a sparse matrix, entries of one place added up."""
    return torch.sparse_coo_tensor(
        torch.stack([row, col]), value, size, check_invariants=False
    ).coalesce()


def from_table(
    index: Tensor,
    num_cols: int,
    mask: Tensor | None = None,
    value: Tensor | None = None,
) -> Tensor:
    r"""Returns the sparse matrix :math:`(M, \mathrm{num\_cols})` whose row
    :math:`i` holds the columns that row :math:`i` of a table lists.

    Args:
        index (torch.Tensor): The columns :math:`(M, k)`.
        num_cols (int): The number of columns of the matrix.
        mask (torch.Tensor, optional): Which entries :math:`(M, k)` to take.
            By default, all. (default: :obj:`None`)
        value (torch.Tensor, optional): Their values :math:`(M, k)`. By
            default, ones. (default: :obj:`None`)
    """
    if mask is None:
        mask = torch.ones_like(index, dtype=torch.bool)
    if value is None:
        value = torch.ones(index.shape, device=index.device)
    row = mask.nonzero()[:, 0]
    return sparse(row, index[mask], value[mask], (index.size(0), num_cols))


def with_values(a: Tensor, value: Tensor) -> Tensor:
    r"""Returns a matrix of the same places with other values."""
    return torch.sparse_coo_tensor(
        a.indices(), value, a.shape, is_coalesced=True, check_invariants=False
    )


def resize(a: Tensor, size: tuple[int, int]) -> Tensor:
    r"""Returns a matrix of the same entries and another size."""
    return torch.sparse_coo_tensor(
        a.indices(), a.values(), size, is_coalesced=True, check_invariants=False
    )


def select_entries(a: Tensor, mask: Tensor) -> Tensor:
    r"""Returns the matrix without the entries outside of :obj:`mask`."""
    return torch.sparse_coo_tensor(
        a.indices()[:, mask],
        a.values()[mask],
        a.shape,
        is_coalesced=True,
        check_invariants=False,
    )


def slice_rows(a: Tensor, start: int, stop: int) -> Tensor:
    r"""Returns the rows :math:`\mathrm{start}, \ldots, \mathrm{stop} - 1`."""
    row, col = a.indices()
    bound = torch.tensor([start, stop], device=row.device)
    first, last = torch.searchsorted(row, bound).tolist()
    return torch.sparse_coo_tensor(
        torch.stack([row[first:last] - start, col[first:last]]),
        a.values()[first:last],
        (stop - start, a.size(1)),
        is_coalesced=True,
        check_invariants=False,
    )


def row_sum(a: Tensor) -> Tensor:
    r"""Returns the sums of the rows as a dense vector."""
    out = a.values().new_zeros(a.size(0))
    return out.index_add_(0, a.indices()[0], a.values())


def unit_rows(a: Tensor) -> Tensor:
    r"""Returns the matrix with each of its rows divided by its length."""
    length = row_sum(with_values(a, a.values().square())).sqrt()
    return with_values(a, a.values() / length[a.indices()[0]])


def add_transpose(a: Tensor) -> Tensor:
    r"""Returns :math:`\mathbf{A} + \mathbf{A}^{\top}`."""
    return (a + a.t()).coalesce()


def dense_product(a: Tensor, b: Tensor) -> Tensor:
    r"""Returns :math:`\mathbf{A} \mathbf{B}^{\top}` as a dense matrix.

    Args:
        a (torch.Tensor): The sparse matrix :math:`(M, N)`.
        b (torch.Tensor): The sparse matrix :math:`(K, N)`.
    """
    columns = b.t().coalesce().to_sparse_csr()
    out = a.values().new_empty(a.size(0), b.size(0))
    for start in range(0, a.size(0), ROWS):
        part = slice_rows(a, start, min(start + ROWS, a.size(0)))
        out[start : start + ROWS] = (part.to_sparse_csr() @ columns).to_dense()
    return out


def entrywise_dot(a: Tensor, x: Tensor, y: Tensor) -> Tensor:
    r"""Returns :math:`\langle \mathbf{x}_i, \mathbf{y}_j \rangle` at each entry
    :math:`(i, j)` of a sparse matrix.
    """
    zeros = with_values(a, torch.zeros_like(a.values())).to_sparse_csr()
    return torch.sparse.sampled_addmm(zeros, x, y.t()).values()


def row_dot(a: Tensor, other: Tensor) -> Tensor:
    r"""Returns the inner products of each row and the rows that a table lists.

    Args:
        a (torch.Tensor): The sparse matrix :math:`(N, C)`.
        other (torch.Tensor): The rows :math:`(N, M)`.

    Returns:
        A dense matrix :math:`(N, M)`.
    """
    # Two rows that list each other, as most neighbours do, are multiplied once.
    rows = SparseRows(a)
    order = other.amin(dim=1).argsort()  # rows that list one item have more in common
    rank = order.argsort()
    pairs, at = _distinct_pairs(rank.view(-1, 1).expand_as(other), rank[other])
    one, two = order[pairs]
    block = pairs[0] // LANES + rows.size(two).cumsum(0) // TERMS
    parts = block.unique_consecutive(return_counts=True)[1].tolist()
    columns = a.values().new_zeros(a.size(1), LANES)
    outs = []
    split = [x.split(parts) for x in (one, pairs[0] % LANES, two)]
    for first, lane, second in zip(*split, strict=True):
        place, col, value = rows.take(first.unique_consecutive())
        filled = lane.unique_consecutive()[place]
        columns[col, filled] = value
        outs.append(rows.dot_columns(columns, lane, second))
        columns[col, filled] = 0
    return torch.cat(outs)[at]


def _distinct_pairs(one: Tensor, two: Tensor) -> tuple[Tensor, Tensor]:
    # Pairs in either order, each of them once and sorted, and the place of each.
    num = 1 + int(torch.maximum(one, two).max())
    key = torch.minimum(one, two) * num + torch.maximum(one, two)
    key, at = key.unique(return_inverse=True)
    return torch.stack([key // num, key % num]), at


class SparseRows:
    r"""A sparse matrix whose rows are looked up by their number.

    Args:
        a (torch.Tensor): The sparse matrix :math:`(N, C)`.

    Attributes:
        start: Where each row begins and the last one ends :math:`(N + 1)`.
        col: The entries' columns :math:`(E)`.
        value: The entries' values :math:`(E)`.
    """

    def __init__(self, a: Tensor):
        row, self.col = a.indices()
        self.value = a.values()
        self.start = torch.searchsorted(
            row, torch.arange(a.size(0) + 1, device=row.device)
        )

    def size(self, node: Tensor) -> Tensor:
        r"""Returns the number of entries of some rows, of the shape of
        :obj:`node`.
        """
        return self.start[node + 1] - self.start[node]

    def take(self, node: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        r"""Returns all entries of some rows: the place in :obj:`node` of each, its
        column and its value.

        Args:
            node (torch.Tensor): The rows :math:`(n)`.
        """
        entry, size = self._entries(node)
        place = torch.arange(node.numel(), device=node.device).repeat_interleave(size)
        return place, self.col.index_select(0, entry), self.value.index_select(0, entry)

    def _entries(self, node: Tensor) -> tuple[Tensor, Tensor]:
        # Where the entries of some rows are, row by row, and their numbers.
        size = self.size(node)
        entry = (self.start[node] - size.cumsum(0) + size).repeat_interleave(size)
        entry += torch.arange(entry.numel(), device=node.device)
        return entry, size

    def dot(self, dense: Tensor, other: Tensor) -> Tensor:
        r"""Returns the inner products of dense rows and the rows that a table
        lists.

        Args:
            dense (torch.Tensor): The dense rows :math:`(M, C)`.
            other (torch.Tensor): The rows :math:`(M, K)`.

        Returns:
            A dense matrix :math:`(M, K)`.
        """
        lane = torch.arange(other.size(0), device=other.device).view(-1, 1)
        return self.dot_columns(dense.t(), lane, other)

    def dot_columns(self, columns: Tensor, lane: Tensor, other: Tensor) -> Tensor:
        r"""Returns the inner products of dense columns and rows.

        Args:
            columns (torch.Tensor): The dense columns :math:`(C, L)`.
            lane (torch.Tensor): The column of each pair.
            other (torch.Tensor): The row of each pair, whose shape the result has.
        """
        node, at = other.unique(return_inverse=True)
        entry, size = self._entries(node)
        rows = csr_matrix(
            F.pad(size.cumsum(0), (1, 0)),
            self.col.index_select(0, entry),
            self.value.index_select(0, entry),
            columns.size(0),
        )
        return (rows @ columns)[at, lane]


class InvertedLists:
    r"""The rows of a sparse non-negative matrix, kept by column, to be compared
    with other rows.

    Args:
        rows (torch.Tensor): The sparse matrix :math:`(G, N)`.
    """

    def __init__(self, rows: Tensor):
        self.num_rows = rows.size(0)
        self.columns = SparseRows(rows.t().coalesce())

    def min_sum(self, other: Tensor) -> Tensor:
        r"""Returns :math:`\sum_k \min(o_{ik}, r_{jk})` for each pair of rows.

        Args:
            other (torch.Tensor): The sparse matrix :math:`(B, N)`.

        Returns:
            A dense matrix :math:`(B, G)`.
        """
        return self._sum(other, torch.minimum)

    def dot(self, other: Tensor) -> Tensor:
        r"""Returns :math:`\sum_k o_{ik} r_{jk}` for each pair of rows; see
        :meth:`min_sum`.
        """
        return self._sum(other, torch.mul)

    def _sum(
        self, other: Tensor, function: Callable[[Tensor, Tensor], Tensor]
    ) -> Tensor:
        row, col = other.indices()
        total = self.columns.size(col).cumsum(0)
        parts = (total // TERMS).unique_consecutive(return_counts=True)[1].tolist()
        out = other.values().new_zeros(other.size(0) * self.num_rows)
        for part in torch.arange(total.numel(), device=row.device).split(parts):
            place, item, value = self.columns.take(col[part])
            value = function(other.values()[part][place], value)
            out.index_add_(0, row[part][place] * self.num_rows + item, value)
        return out.view(other.size(0), self.num_rows)
