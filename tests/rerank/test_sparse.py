import pytest
import torch

from torch_geometric_reid.rerank.sparse import (
    InvertedLists,
    add_transpose,
    dense_product,
    entrywise_dot,
    from_table,
    row_dot,
    row_sum,
    select_entries,
    slice_rows,
    unit_rows,
    with_values,
)


def random_sparse(num_rows, num_cols):
    dense = torch.rand(num_rows, num_cols)
    dense[dense < 0.7] = 0
    dense[num_rows // 2] = 0
    return dense, dense.to_sparse()


def test_from_table():
    index = torch.tensor([[2, 0], [1, 1]])
    assert from_table(index, 3).to_dense().tolist() == [[1, 0, 1], [0, 2, 0]]
    out = from_table(
        index,
        3,
        mask=torch.tensor([[True, False], [True, True]]),
        value=torch.tensor([[5.0, 9.0], [1.0, 3.0]]),
    )
    assert out.is_coalesced()
    assert out.to_dense().tolist() == [[0, 0, 5], [0, 4, 0]]


def test_entries_and_rows():
    dense, a = random_sparse(9, 7)
    assert with_values(a, a.values() + 1).to_dense().equal((dense + 1) * (dense > 0))
    assert select_entries(a, a.values() > 0.9).to_dense().equal(dense * (dense > 0.9))
    assert torch.allclose(row_sum(a), dense.sum(dim=1))
    for start, stop in [(0, 9), (2, 5), (4, 5), (8, 9)]:
        assert slice_rows(a, start, stop).to_dense().equal(dense[start:stop])


def test_add_transpose():
    dense, a = random_sparse(8, 8)
    assert add_transpose(a).to_dense().equal(dense + dense.t())


def test_products(monkeypatch):
    monkeypatch.setattr('torch_geometric_reid.rerank.sparse.ROWS', 4)
    (dense, a), (other, b) = random_sparse(9, 30), random_sparse(6, 30)
    assert torch.allclose(dense_product(a, b), dense @ other.t())
    x, y = torch.randn(9, 4), torch.randn(30, 4)
    assert torch.allclose(entrywise_dot(a, x, y), (x @ y.t())[dense > 0])


@pytest.mark.parametrize('terms', [1, 5, 40, 2**22])
def test_min_sum(monkeypatch, terms):
    monkeypatch.setattr('torch_geometric_reid.rerank.sparse.TERMS', terms)
    (dense, a), (other, b) = random_sparse(6, 30), random_sparse(9, 30)
    expected = torch.minimum(dense.unsqueeze(1), other).sum(dim=-1)
    assert torch.allclose(InvertedLists(b).min_sum(a), expected)
    nothing = slice_rows(a, 3, 4)
    assert InvertedLists(b).min_sum(nothing).tolist() == [[0] * 9]


@pytest.mark.parametrize('lanes', [1, 4, 16])
@pytest.mark.parametrize('terms', [1, 9, 10**6])
def test_row_dot(monkeypatch, lanes, terms):
    monkeypatch.setattr('torch_geometric_reid.rerank.sparse.LANES', lanes)
    monkeypatch.setattr('torch_geometric_reid.rerank.sparse.TERMS', terms)
    dense, a = random_sparse(9, 13)
    other = torch.randint(9, (9, 4))
    expected = (dense @ dense.t()).gather(1, other)
    assert torch.allclose(row_dot(a, other), expected, atol=1e-6)


def test_unit_rows():
    dense, a = random_sparse(9, 13)
    expected = torch.nn.functional.normalize(dense)
    assert torch.allclose(unit_rows(a).to_dense(), expected, atol=1e-6)
