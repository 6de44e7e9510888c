import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torch_geometric_reid.rerank import expand_features, query_expansion


def unit(x):
    return x / np.linalg.norm(x)


def slow_expand(query, gallery, k, alpha, database):
    """One item at a time."""
    query, gallery = [unit(x) for x in query], [unit(x) for x in gallery]

    def move(x, base):
        near = sorted(base, key=lambda y: -(x @ y))[:k]
        return unit(x + sum(max(x @ y, 0) ** alpha * y for y in near))

    if database:
        num = range(len(gallery))
        gallery = [move(gallery[i], [gallery[j] for j in num if j != i]) for i in num]
    return np.stack([move(x, gallery) for x in query]), np.stack(gallery)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 9), st.integers(1, 30), st.integers(1, 12),
    st.sampled_from([0.0, 1.0, 3.0]), st.booleans(), st.integers(0, 10**6),
)  # fmt: skip
def test_expansion_equals_slow_form(num_query, num_gallery, k, alpha, database, seed):
    k = min(k, num_gallery)
    rng = np.random.default_rng(seed)
    query, gallery = rng.normal(size=(num_query, 4)), rng.normal(size=(num_gallery, 4))
    expected = slow_expand(query, gallery, k, alpha, database)
    outs = expand_features(query, gallery, k, alpha, database)
    for out, features in zip(outs, expected, strict=True):
        assert out.dtype == torch.float32
        assert np.allclose(out, features, atol=1e-5)
    out = query_expansion(query, gallery, k, alpha, database)
    assert np.allclose(out, 1 - expected[0] @ expected[1].T, atol=1e-5)


def test_expansion_by_hand():
    query, gallery = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.8, 0.6], [0.0, 1.0]])
    out, same = expand_features(query, gallery, k=1, alpha=1)
    assert same.equal(gallery)
    assert torch.allclose(out, torch.nn.functional.normalize(
        torch.tensor([[1 + 0.8 * 0.8, 0.8 * 0.6]])
    ))  # fmt: skip


def test_expansion_ignores_what_points_away():
    query, gallery = torch.tensor([[1.0, 0.0]]), torch.tensor([[-1.0, 0.0]])
    for database in [False, True]:
        outs = expand_features(query, gallery, k=1, database=database)
        assert outs[0].equal(query)
        assert outs[1].equal(gallery)
    assert query_expansion(query, gallery, k=1).item() == 2


def test_expansion_of_identical_features():
    assert (
        query_expansion(torch.ones(2, 3), torch.ones(4, 3)[:3], k=3).abs().max() < 1e-6
    )


def test_expansion_follows_permutations():
    x, perm = torch.randn(50, 4), torch.randperm(40)
    expected = query_expansion(x[:10], x[10:], database=True)
    out = query_expansion(x[:10], x[10:][perm], database=True)
    assert torch.allclose(out, expected[:, perm], atol=1e-6)


def test_expansion_cuts_k_with_one_warning():
    x = torch.randn(6, 4)
    with pytest.warns(UserWarning, match="'k' is cut from 9 to 5") as record:
        out = expand_features(x[:1], x[1:], k=9, database=True)
    assert len(record) == 1
    assert record[0].filename == __file__
    for a, b in zip(
        out, expand_features(x[:1], x[1:], k=5, database=True), strict=True
    ):
        assert a.equal(b)


@pytest.mark.parametrize('function', [expand_features, query_expansion])
def test_expansion_rejects(function):
    x = torch.eye(3)
    with pytest.raises(ValueError, match="'k'.*at least 1"):
        function(x, x, k=0)
    with pytest.raises(ValueError, match="'alpha'.*at least 0"):
        function(x, x, k=1, alpha=float('nan'))
    with pytest.raises(ValueError, match="'query'.*finite"):
        function(torch.tensor([[1.0, float('nan'), 0.0]]), x)
    with pytest.raises(ValueError, match="'gallery'.*non-zero"):
        function(x, torch.zeros(1, 3))
    with pytest.raises(ValueError, match=r"'query' and 'gallery'.*\[2, 2\]"):
        function(x, torch.eye(2))
