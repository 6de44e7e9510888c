import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torch_geometric_reid.rerank import expanded_cross_neighborhood


def slow_ecn(x, num_query, k, t, q):
    """One pair at a time."""
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    order = -x @ x.T
    np.fill_diagonal(order, -2)
    rank = order.argsort(axis=1, kind='stable')
    num = len(x)

    def similarity(i, j):
        place_i, place_j = rank[i].argsort(), rank[j].argsort()  # from 0 on
        return (np.maximum(k - place_i, 0) * np.maximum(k - place_j, 0)).sum()

    all_pairs = np.array([[similarity(i, j) for j in range(num)] for i in range(num)])
    all_pairs = all_pairs / all_pairs[0, 0]

    def expanded(i):
        near = list(rank[i, 1 : t + 1])
        return near + [b for a in near for b in rank[a, 1 : q + 1]]

    out = np.empty((num_query, num - num_query))
    for p in range(num_query):
        for g in range(num_query, num):
            both = [all_pairs[e, g] for e in expanded(p)]
            both += [all_pairs[p, e] for e in expanded(g)]
            mean = np.mean(both)
            out[p, g - num_query] = 1 - mean if mean > 0 else 2 + order[p, g]
    return out


@settings(max_examples=20, deadline=None)
@given(
    st.integers(1, 5), st.integers(4, 16), st.integers(1, 9), st.integers(1, 4),
    st.integers(1, 4), st.integers(0, 10**6),
)  # fmt: skip
def test_ecn_equals_slow_form(num_query, num_gallery, k, t, q, seed):
    k = min(k, num_query + num_gallery)
    x = np.random.default_rng(seed).normal(size=(num_query + num_gallery, 4))
    out = expanded_cross_neighborhood(x[:num_query], x[num_query:], k, t, q)
    assert out.dtype == torch.float32
    assert np.allclose(out, slow_ecn(x, num_query, k, t, q), atol=1e-5)


def test_ecn_by_hand():
    # Lists of length 1 are equal or have nothing in common. The probe's nearest
    # other is item 1 and the other way round: two of the four terms of the pair
    # (0, 1) are 1, namely those with e = 1 and with e = 0.
    x = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
    out = expanded_cross_neighborhood(x[:1], x[1:], k=1, t=1, q=1)
    # Item 2: the probe's neighbours are 1 and 0, item 2's are 1 and 0.
    assert out.view(-1).tolist() == pytest.approx([0.5, 0.75])


def test_ecn_falls_back_to_the_cosine():
    # Two far groups whose lists have nothing in common.
    x = torch.tensor([[1, 0, 0], [1, 0.1, 0], [1, 0, 0.1], [-1, 0.1, 0], [-1, 0, 0.2]])
    out = expanded_cross_neighborhood(x[:1], x[1:], k=2, t=1, q=1)
    cosine = torch.nn.functional.cosine_similarity(x[:1], x[3:])
    assert torch.allclose(out[0, 2:], 2 - cosine)
    assert (out[0, :2] < 1).all()


def test_ecn_of_identical_features():
    out = expanded_cross_neighborhood(torch.ones(2, 3), torch.ones(4, 3), 6, 2, 2)
    assert out.isfinite().all()
    assert (out < 1).all()


def test_ecn_follows_permutations():
    x, perm = torch.randn(50, 4), torch.randperm(40)
    expected = expanded_cross_neighborhood(x[:10], x[10:])
    out = expanded_cross_neighborhood(x[:10], x[10:][perm])
    assert torch.allclose(out, expected[:, perm], atol=1e-6)


def test_ecn_cuts_k_with_one_warning():
    x = torch.randn(12, 4)
    with pytest.warns(UserWarning, match="'k' is cut from 25 to 12") as record:
        out = expanded_cross_neighborhood(x[:2], x[2:])
    assert len(record) == 1
    assert record[0].filename == __file__
    assert out.equal(expanded_cross_neighborhood(x[:2], x[2:], k=12))
    with pytest.warns(UserWarning, match='is cut') as record:
        expanded_cross_neighborhood(x[:1], x[1:2])
    assert [str(item.message)[:3] for item in record] == ["'k'", "'t'", "'q'"]


def test_ecn_rejects():
    x = torch.eye(3)
    for name in ['k', 't', 'q']:
        with pytest.raises(ValueError, match=f"'{name}'.*at least 1"):
            expanded_cross_neighborhood(x, x, **{name: 0})
    with pytest.raises(ValueError, match="'query'.*finite"):
        expanded_cross_neighborhood(torch.tensor([[1.0, float('nan'), 0.0]]), x)
    with pytest.raises(ValueError, match="'gallery'.*non-zero"):
        expanded_cross_neighborhood(x, torch.zeros(1, 3))
    with pytest.raises(ValueError, match=r"'query' and 'gallery'.*\[2, 2\]"):
        expanded_cross_neighborhood(x, torch.eye(2))
