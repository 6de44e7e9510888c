import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torch_geometric_reid.rerank import KReciprocal, k_reciprocal


def clusters(num, dim=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    center = torch.randn(max(1, num // 8), dim, generator=generator)
    identity = torch.randint(center.size(0), (num,), generator=generator)
    return center[identity] + 0.4 * torch.randn(num, dim, generator=generator)


@pytest.mark.parametrize(
    ('k1', 'k2', 'lambda_value'), [(20, 6, 0.3), (6, 1, 0.0), (4, 9, 0.5), (1, 3, 0.3)]
)
def test_query_equals_a_batch_of_one(k1, k2, lambda_value):
    x = clusters(500)
    ranker = KReciprocal(x[20:], k1, k2, lambda_value)
    for i in range(20):
        out = ranker.query(x[i])
        expected = k_reciprocal(x[i : i + 1], x[20:], k1, k2, lambda_value)[0]
        assert out.shape == (480,)
        assert torch.allclose(out, expected, atol=1e-5)


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 40), st.integers(1, 11), st.integers(1, 8), st.integers(1, 3),
    st.booleans(), st.integers(0, 10**6),
)  # fmt: skip
def test_query_with_ties(num_gallery, k1, k2, dim, on_grid, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(num_gallery + 1, dim, generator=generator)
    if on_grid:
        x = torch.randint(1, 4, x.shape, generator=generator).float()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        out = KReciprocal(x[1:], k1, k2).query(x[0])
        expected = k_reciprocal(x[:1], x[1:], k1, k2)[0]
    assert torch.allclose(out, expected, atol=1e-5)


@pytest.mark.parametrize('seed', range(5))
def test_query_among_copies(seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(12, 300, generator=generator)
    gallery = x.repeat(9, 1)
    ranker = KReciprocal(gallery, k1=8)
    for probe in x[:4]:
        expected = k_reciprocal(probe.view(1, -1), gallery, k1=8)[0]
        assert torch.allclose(ranker.query(probe), expected, atol=1e-5)


def test_query_by_the_farthest_item_of_all():
    x = torch.rand(100, 5)
    ranker = KReciprocal(x)
    for probe in [-torch.ones(5), -x[3], x[3]]:
        expected = k_reciprocal(probe.view(1, -1), x)[0]
        assert torch.allclose(ranker.query(probe), expected, atol=1e-5)


def test_queries_leave_no_trace():
    x = clusters(120)
    ranker = KReciprocal(x[3:])
    first = ranker.query(x[0])
    kept = first.clone()
    ranker.query(x[1:2])
    ranker.query(-x[0])
    assert first.equal(kept)
    again = ranker.query(5 * x[0].double().numpy())
    assert torch.allclose(again, kept, atol=1e-5)


def test_gallery_of_fewer_items_than_k1():
    x = clusters(9)
    with pytest.warns(UserWarning, match="'k1' is cut from 20 to 8") as record:
        ranker = KReciprocal(x[1:])
    assert len(record) == 1
    assert record[0].filename == __file__
    with pytest.warns(UserWarning, match='cut'):
        expected = k_reciprocal(x[:1], x[1:])[0]
    assert torch.allclose(ranker.query(x[0]), expected, atol=1e-5)


@pytest.mark.parametrize(
    ('feature', 'error', 'match'),
    [
        (torch.ones(2, 3), ValueError, r"'feature'.*single.*\[2, 3\]"),
        (torch.ones(4), ValueError, r"'feature' and 'gallery'.*\[1, 4\].*\[5, 3\]"),
        (torch.zeros(3), ValueError, "'feature'.*non-zero"),
        (torch.full((3,), float('nan')), ValueError, "'feature'.*finite"),
        (torch.tensor(1.0), ValueError, r"'feature'.*\[N, d\]"),
        (torch.ones(3).long(), TypeError, "'feature'.*floating"),
        ('feature', TypeError, "'feature'.*tensor"),
    ],
)
def test_query_rejects(feature, error, match):
    with pytest.raises(error, match=match):
        KReciprocal(torch.ones(5, 3), k1=2).query(feature)


def test_fixed_gallery_rejects():
    with pytest.raises(ValueError, match="'gallery'.*non-zero"):
        KReciprocal(torch.zeros(5, 3))
    with pytest.raises(ValueError, match="'lambda_value'"):
        KReciprocal(torch.ones(5, 3), k1=2, lambda_value=-0.1)
    with pytest.raises(ValueError, match="'k1'"):
        KReciprocal(torch.ones(5, 3), k1=0)
