import warnings
from importlib import import_module

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from torch_geometric_reid.rerank import (
    k_reciprocal,
    k_reciprocal_from_distance,
    k_reciprocal_topk,
)


def clusters(num, dim=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    center = torch.randn(max(1, num // 8), dim, generator=generator)
    identity = torch.randint(center.size(0), (num,), generator=generator)
    return center[identity] + 0.4 * torch.randn(num, dim, generator=generator)


def euclidean(x):
    """Distances [N, N] with equal numbers in equal places."""
    x = F.normalize(x.double())
    return (2 - 2 * x @ x.t()).clamp(min=0).fill_diagonal_(0).sqrt().float()


def parts(distance, num_query):
    return (
        distance[:num_query, num_query:],
        distance[:num_query, :num_query],
        distance[num_query:, num_query:],
    )


@pytest.mark.parametrize(
    ('k1', 'k2', 'lambda_value'),
    [(20, 6, 0.3), (7, 1, 0.0), (5, 9, 0.5), (1, 2, 0.3), (3, 3, 1.0), (12, 60, 0.1)],
)
def test_k_reciprocal_equals_slow_form(slow_k_reciprocal, k1, k2, lambda_value):
    x = clusters(160)
    distance = euclidean(x)
    expected = slow_k_reciprocal(distance.numpy() ** 2, 40, k1, k2, lambda_value)
    expected = torch.from_numpy(expected).float()
    out = k_reciprocal(x[:40], x[40:], k1, k2, lambda_value)
    assert out.dtype == torch.float32
    assert out.shape == (40, 120)
    assert torch.allclose(out, expected, atol=1e-5)
    out = k_reciprocal_from_distance(*parts(distance, 40), k1, k2, lambda_value)
    assert torch.allclose(out, expected, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 8), st.integers(1, 40), st.integers(1, 12), st.integers(1, 9),
    st.integers(1, 3), st.booleans(), st.integers(0, 10**6),
)  # fmt: skip
def test_k_reciprocal_with_ties(
    slow_k_reciprocal, cosines, num_query, num_gallery, k1, k2, dim, signed, seed
):
    # Coordinates from a small grid make equal distances and duplicates the rule.
    generator = torch.Generator().manual_seed(seed)
    size = (num_query + num_gallery, dim)
    x = torch.randint(1, 4, size, generator=generator).float()
    if signed:
        x *= 1 - 2 * torch.randint(2, size, generator=generator)
    cosine = cosines(x).numpy()
    distance = np.maximum(2 - 2 * cosine, 0)
    distance[distance < 1e-5] = 0
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        out = k_reciprocal(x[:num_query], x[num_query:], k1, k2)
        expected = slow_k_reciprocal(distance, num_query, k1, k2, 0.3, -cosine)
        assert np.allclose(out, expected, atol=1e-5)
        blocks = parts(np.sqrt(distance), num_query)
        out = k_reciprocal_from_distance(*blocks, k1, k2)
        expected = slow_k_reciprocal(np.sqrt(distance) ** 2, num_query, k1, k2, 0.3)
        assert np.allclose(out, expected, atol=1e-5)


def test_k_reciprocal_across_tiles_and_blocks(monkeypatch):
    x = clusters(150)
    x[70:90] = x[:20]
    expected = k_reciprocal(x[:50], x[50:])
    for module, name, value in [
        ('scan', 'TILE', 32),
        ('ranking', 'BLOCK_ELEMENTS', 700),
        ('k_reciprocal', 'BLOCK_ELEMENTS', 700),
        ('reciprocal', 'BLOCK_ELEMENTS', 900),
        ('reciprocal', 'NODES', 7),
        ('sparse', 'TERMS', 50),
    ]:
        module = import_module(f'torch_geometric_reid.rerank.{module}')
        monkeypatch.setattr(module, name, value)
    assert torch.allclose(k_reciprocal(x[:50], x[50:]), expected, atol=1e-6)
    out = k_reciprocal_from_distance(*parts(euclidean(x), 50))
    assert torch.allclose(out, expected, atol=1e-5)


def test_k_reciprocal_holds_nothing_of_size_n_by_n():
    largest = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            for item in out if isinstance(out, tuple | list) else [out]:
                if isinstance(item, torch.Tensor) and item.layout == torch.strided:
                    largest.append(item.untyped_storage().nbytes() // 4)
            return out

    x = clusters(7000, dim=16)
    with Watch():
        k_reciprocal(x[:700], x[700:])
    assert max(largest) < 7000**2 / 8
    largest.clear()
    x = torch.cat([x[700:], x[:700]])  # more probes: a large matrix [Q, G]
    with Watch():
        k_reciprocal_topk(x[:3500], x[3500:], k=10)
    assert max(largest) < 3500**2 / 1.5


def test_k_reciprocal_of_one_gallery_item():
    query, gallery = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    with pytest.warns(UserWarning, match="'k1' is cut from 20 to 1"):
        out = k_reciprocal(query, gallery)  # both have the same mean
    assert torch.allclose(out, torch.tensor([[0.3]]))
    # Without a mean, the weights are (1, 1/e) and (1/e, 1): J = 1 - 1/e.
    out = k_reciprocal(query, gallery, k1=1, k2=1)
    # Half of k1 = 1 is no neighbour at all, so that nothing is expanded.
    assert out.item() == pytest.approx(0.7 * (1 - np.exp(-1)) + 0.3, abs=1e-6)


def test_k_reciprocal_of_identical_features():
    x = torch.ones(12, 3)
    assert k_reciprocal(x[:3], x[3:], k1=11).abs().max() < 1e-6
    out = k_reciprocal(x[:3], x[3:], k1=4)
    assert out.isfinite().all()
    assert (out >= 0).all()
    assert (out <= 0.7 + 1e-6).all()  # their original distance is zero


def test_k_reciprocal_finds_a_copy_first():
    x = clusters(60)
    out = k_reciprocal(x[:5], torch.cat([x[5:], x[:5]]))
    assert out.argmin(dim=1).tolist() == [55, 56, 57, 58, 59]


def test_k_reciprocal_cuts_k1_with_one_warning(slow_k_reciprocal):
    x = clusters(12)
    with pytest.warns(UserWarning, match="'k1' is cut from 30 to 11") as record:
        out = k_reciprocal(x[:3], x[3:], k1=30)
    assert len(record) == 1
    assert record[0].filename == __file__
    expected = slow_k_reciprocal(euclidean(x).numpy() ** 2, 3, 30, 6, 0.3)
    assert np.allclose(out, expected, atol=1e-5)


def test_k_reciprocal_without_any_match(slow_k_reciprocal):
    # Orthogonal features: all others are equally far, the index decides.
    x = torch.eye(30)
    out = k_reciprocal(x[:2], x[2:], k1=3, k2=2)
    expected = slow_k_reciprocal(2 - 2 * x.numpy(), 2, 3, 2, 0.3)
    assert np.allclose(out, expected, atol=1e-5)


def test_k_reciprocal_with_negative_similarities(slow_k_reciprocal):
    x = clusters(30)
    x = torch.cat([x, -x])
    out = k_reciprocal(x[:10], x[10:], k1=5, k2=3)
    expected = slow_k_reciprocal(euclidean(x).numpy() ** 2, 10, 5, 3, 0.3)
    assert np.allclose(out, expected, atol=1e-5)
    assert out.min() >= 0
    assert out.max() <= 1 + 1e-6


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_k_reciprocal_follows_permutations(seed):
    x = clusters(70, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    gallery = torch.randperm(60, generator=generator)
    query = torch.randperm(10, generator=generator)
    expected = k_reciprocal(x[:10], x[10:])[query][:, gallery]
    out = k_reciprocal(x[:10][query], x[10:][gallery])
    assert torch.allclose(out, expected, atol=1e-6)


def test_k_reciprocal_ignores_length_type_and_gradient():
    x = clusters(60)
    expected = k_reciprocal(x[:10], x[10:])
    scaled = x * torch.rand(60, 1).add(0.5)
    assert torch.allclose(k_reciprocal(scaled[:10], scaled[10:]), expected, atol=1e-5)
    assert k_reciprocal(x[:10].numpy(), x[10:].double()).equal(expected)
    out = k_reciprocal(x[:10].requires_grad_(), x[10:])
    assert out.equal(expected)
    assert not out.requires_grad


def test_k_reciprocal_leaves_its_input_alone():
    x = clusters(40)
    distance = parts(euclidean(x), 10)
    copies = [part.clone() for part in distance]
    k_reciprocal_from_distance(*distance)
    for part, copy in zip(distance, copies, strict=True):
        assert part.equal(copy)


def test_k_reciprocal_topk():
    x = clusters(90)
    x[50:60] = x[60:70]
    dense = k_reciprocal(x[:20], x[20:])
    out = k_reciprocal_topk(x[:20], x[20:], k=15)
    value, index = dense.sort(dim=1, stable=True)
    assert out.score.equal(value[:, :15])
    assert out.index.equal(index[:, :15])
    with pytest.warns(UserWarning, match="'k' is cut from 71 to 70") as record:
        assert k_reciprocal_topk(x[:20], x[20:], k=71).index.shape == (20, 70)
    assert len(record) == 1


GOOD, BAD = torch.eye(3), torch.tensor([[1.0, float('nan'), 0.0]])


@pytest.mark.parametrize('function', [k_reciprocal, k_reciprocal_topk])
@pytest.mark.parametrize(
    ('query', 'gallery', 'kwargs', 'error', 'match'),
    [
        (BAD, GOOD, {}, ValueError, "'query'.*finite"),
        (GOOD, BAD, {}, ValueError, "'gallery'.*finite"),
        (GOOD, torch.zeros(2, 3), {}, ValueError, "'gallery'.*non-zero"),
        (GOOD, torch.ones(2, 4), {}, ValueError, r"'query' and 'gallery'.*\[2, 4\]"),
        (GOOD, torch.ones(0, 3), {}, ValueError, "'gallery'.*at least one"),
        (GOOD, torch.ones(2, 3).long(), {}, TypeError, "'gallery'.*floating"),
        (GOOD, GOOD, {'k1': 0}, ValueError, "'k1'.*at least 1"),
        (GOOD, GOOD, {'k2': 0}, ValueError, "'k2'.*at least 1"),
        (GOOD, GOOD, {'k1': 2, 'lambda_value': 1.5}, ValueError, "'lambda_value'.*1.5"),
    ],
)
def test_k_reciprocal_rejects(function, query, gallery, kwargs, error, match):
    if function is k_reciprocal_topk:
        kwargs = {'k': 1, **kwargs}
    with pytest.raises(error, match=match):
        function(query, gallery, **kwargs)


def test_k_reciprocal_topk_rejects():
    with pytest.raises(ValueError, match="'k'.*at least 1"):
        k_reciprocal_topk(GOOD, GOOD, k=0)


@pytest.mark.parametrize(
    ('shapes', 'match'),
    [
        ([(2, 3), (3, 3), (3, 3)], r"'query_query'.*\[2, 2\].*\[3, 3\]"),
        ([(2, 3), (2, 2), (3, 2)], r"'gallery_gallery'.*\[3, 3\].*\[3, 2\]"),
    ],
)
def test_k_reciprocal_from_distance_rejects_shapes(shapes, match):
    with pytest.raises(ValueError, match=match):
        k_reciprocal_from_distance(*[torch.ones(shape) for shape in shapes])


def test_k_reciprocal_from_distance_rejects_values():
    distance = [torch.ones(2, 3), torch.ones(2, 2), torch.ones(3, 3)]
    for i, name in enumerate(['query_gallery', 'query_query', 'gallery_gallery']):
        for value, match in [(-1.0, 'at least 0'), (float('nan'), 'finite')]:
            bad = [part.clone() for part in distance]
            bad[i][1, 0] = value
            with pytest.raises(ValueError, match=f"'{name}'.*{match}"):
                k_reciprocal_from_distance(*bad)
