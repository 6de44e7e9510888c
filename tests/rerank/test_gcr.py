import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torch_geometric_reid.rerank import gcr, propagate_features


def dense_propagate(x, k, beta, layers, symmetric):
    """The formulas with matrices [N, N]."""
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    for _ in range(layers):
        cosine = x @ x.T
        order = -cosine
        np.fill_diagonal(order, -2)
        s = np.zeros_like(cosine)
        for i, row in enumerate(order.argsort(axis=1, kind='stable')):
            s[i, row[:k]] = np.exp(cosine[i, row[:k]] / beta)
        if symmetric:
            s = (s + s.T) / 2
        x = (s / np.sqrt(np.outer(s.sum(axis=1), s.sum(axis=0)))) @ x
        x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 9), st.integers(2, 40), st.integers(1, 12),
    st.sampled_from([0.1, 0.5, 2.0]), st.booleans(), st.integers(0, 10**6),
)  # fmt: skip
def test_gcr_equals_dense_form(num_query, num_gallery, k, beta, symmetric, seed):
    k = min(k, num_query + num_gallery)
    x = np.random.default_rng(seed).normal(size=(num_query + num_gallery, 5))
    expected = dense_propagate(x, k, beta, 1, symmetric)
    args = (x[:num_query], x[num_query:], k, beta, 1, symmetric)
    assert np.allclose(torch.cat(propagate_features(*args)), expected, atol=1e-5)
    expected = 1 - expected[:num_query] @ expected[num_query:].T
    assert np.allclose(gcr(*args), expected, atol=1e-5)


@pytest.mark.parametrize('symmetric', [False, True])
def test_gcr_of_several_layers(symmetric):
    x = np.random.default_rng(0).normal(size=(80, 8))
    expected = dense_propagate(x, 10, 0.2, 3, symmetric)
    outs = propagate_features(x[:20], x[20:], 10, 0.2, 3, symmetric)
    assert np.allclose(torch.cat(outs), expected, atol=1e-5)


def test_gcr_by_hand():
    # Both have each other and weights e^0 and 1: the mean of both features.
    query, gallery = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    outs = propagate_features(query, gallery, k=2, beta=1e6, layers=1)
    for out in outs:
        assert torch.allclose(out, torch.full((1, 2), 0.5**0.5))
    for out, x in zip(
        propagate_features(query, gallery, k=1), (query, gallery), strict=True
    ):
        assert torch.allclose(out, x)


def test_gcr_survives_small_temperatures_and_copies():
    x = torch.randn(5, 3).repeat(8, 1)
    for symmetric in [False, True]:
        out = gcr(x[:10], x[10:], k=4, beta=0.001, symmetric=symmetric)
        assert out.isfinite().all()
    assert gcr(torch.ones(2, 3), torch.ones(4, 3), k=3).abs().max() < 1e-6


def test_gcr_follows_permutations():
    x, perm = torch.randn(50, 4), torch.randperm(40)
    expected = gcr(x[:10], x[10:], k=5)
    out = gcr(x[:10], x[10:][perm], k=5)
    assert torch.allclose(out, expected[:, perm], atol=1e-5)


def test_gcr_cuts_k_with_one_warning():
    x = torch.randn(6, 4)
    with pytest.warns(UserWarning, match="'k' is cut from 15 to 6") as record:
        out = propagate_features(x[:1], x[1:])
    assert len(record) == 1
    assert record[0].filename == __file__
    assert out[0].equal(propagate_features(x[:1], x[1:], k=6)[0])


@pytest.mark.parametrize('function', [gcr, propagate_features])
def test_gcr_rejects(function):
    x = torch.eye(3)
    for name, value, match in [
        ('k', 0, 'at least 1'),
        ('layers', 0, 'at least 1'),
        ('beta', 0.0, 'positive'),
        ('beta', float('inf'), 'positive'),
    ]:
        with pytest.raises(ValueError, match=f"'{name}'.*{match}"):
            function(x, x, **{'k': 2, name: value})
    with pytest.raises(ValueError, match="'query'.*finite"):
        function(torch.tensor([[1.0, float('nan'), 0.0]]), x)
    with pytest.raises(ValueError, match="'gallery'.*non-zero"):
        function(x, torch.zeros(1, 3))
    with pytest.raises(ValueError, match=r"'query' and 'gallery'.*\[2, 2\]"):
        function(x, torch.eye(2))
