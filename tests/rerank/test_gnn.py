import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torch_geometric_reid.rerank import gnn


def dense_gnn(x, num_query, k1, k2, alpha, layers):
    """The formulas of the paper with matrices [N, N]."""
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    cosine = x @ x.T
    order = -cosine
    np.fill_diagonal(order, -2)
    rank = order.argsort(axis=1, kind='stable')
    h, w = np.zeros_like(cosine), np.zeros_like(cosine)
    for i in range(len(x)):
        h[i, rank[i, :k1]] = 1
        near = rank[i, :k2]
        w[i, near] = np.maximum(cosine[i, near], 0) ** alpha
    for _ in range(layers):
        h = w @ (h + h.T)
        h /= np.linalg.norm(h, axis=1, keepdims=True)
    return 1 - h[:num_query] @ h[num_query:].T


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 20), st.integers(2, 60), st.integers(1, 15), st.integers(1, 15),
    st.sampled_from([0.0, 1.0, 2.0, 2.5]), st.integers(1, 3), st.integers(0, 10**6),
)  # fmt: skip
def test_gnn_equals_dense_form(num_query, num_gallery, k1, k2, alpha, layers, seed):
    k1 = min(k1, num_query + num_gallery)
    k2 = min(k1, k2)
    x = np.random.default_rng(seed).normal(size=(num_query + num_gallery, 5))
    out = gnn(x[:num_query], x[num_query:], k1, k2, alpha, layers)
    expected = dense_gnn(x, num_query, k1, k2, alpha, layers)
    assert out.dtype == torch.float32
    assert np.allclose(out, expected, atol=1e-5)
    assert out.min() >= 0


def test_gnn_by_hand():
    x = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
    # With k2 = 1 nothing is gathered: rows (2, 2, 0), (2, 2, 1) and (0, 1, 2).
    out = gnn(x[:1], x[1:], k1=2, k2=1, layers=1)
    assert out.view(-1).tolist() == pytest.approx(
        [1 - 8 / (8**0.5 * 3), 1 - 2 / (8**0.5 * 5**0.5)], abs=1e-6
    )


def test_gnn_of_identical_features_and_of_one_gallery_item():
    assert gnn(torch.ones(2, 3), torch.ones(4, 3), k1=6, k2=2).abs().max() < 1e-6
    # Both have both as neighbours, and what points away has no weight.
    query = torch.tensor([[1.0, 0.0]])
    assert gnn(query, -query, k1=2, k2=2, alpha=1).abs().max() < 1e-6


def test_gnn_in_blocks_and_permuted(monkeypatch):
    x = torch.randn(60, 4)
    expected = gnn(x[:20], x[20:], k1=7, k2=3)
    monkeypatch.setattr('torch_geometric_reid.rerank.sparse.ROWS', 3)
    assert gnn(x[:20], x[20:], k1=7, k2=3).equal(expected)
    perm = torch.randperm(40)
    out = gnn(x[:20], x[20:][perm], k1=7, k2=3)
    assert torch.allclose(out, expected[:, perm], atol=1e-6)


def test_gnn_cuts_k1_with_one_warning():
    x = torch.randn(9, 4)
    with pytest.warns(UserWarning, match="'k1' is cut from 26 to 9") as record:
        out = gnn(x[:2], x[2:])
    assert len(record) == 1
    assert record[0].filename == __file__
    assert out.equal(gnn(x[:2], x[2:], k1=9))


@pytest.mark.parametrize(
    ('kwargs', 'match'),
    [
        ({'k1': 0}, "'k1'.*at least 1"),
        ({'k2': 0}, "'k2'.*at least 1"),
        ({'k1': 3, 'k2': 4}, "'k2'.*at most 'k1'.*4 and 3"),
        ({'alpha': -1.0}, "'alpha'.*at least 0"),
        ({'layers': 0}, "'layers'.*at least 1"),
    ],
)
def test_gnn_rejects(kwargs, match):
    with pytest.raises(ValueError, match=match):
        gnn(torch.eye(3), torch.eye(3), **{'k1': 3, 'k2': 2, **kwargs})


def test_gnn_rejects_features():
    bad = torch.tensor([[1.0, float('nan'), 0.0]])
    with pytest.raises(ValueError, match="'query'.*finite"):
        gnn(bad, torch.eye(3))
    with pytest.raises(ValueError, match="'gallery'.*non-zero"):
        gnn(torch.eye(3), torch.zeros(1, 3))
    with pytest.raises(ValueError, match=r"'query' and 'gallery'.*\[2, 2\]"):
        gnn(torch.eye(3), torch.eye(2))
