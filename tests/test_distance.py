import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.covariance import ledoit_wolf

from torch_geometric_reid.distance import (
    Mahalanobis,
    connectivity_rank,
    fuse_distance,
    pairwise_distance,
    scale_distance,
)


@pytest.mark.parametrize('metric', ['sqeuclidean', 'euclidean', 'cosine'])
def test_pairwise_distance_equals_scipy(metric):
    x, y = torch.randn(20, 6), torch.randn(30, 6)
    expected = cdist(x.double().numpy(), y.double().numpy(), metric)
    out = pairwise_distance(x, y, metric)
    assert np.allclose(out.numpy(), expected, atol=1e-4)


def test_squared_distance_of_unit_vectors():
    x = F.normalize(torch.randn(5, 3))
    assert torch.allclose(pairwise_distance(x, x), 2 - 2 * x @ x.t(), atol=1e-6)


@given(power=st.integers(-37, 37), other=st.integers(-37, 37))
@settings(max_examples=40, deadline=None)
def test_cosine_does_not_depend_on_the_length(power, other):
    x = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    expected = pairwise_distance(x.double(), x, 'cosine')
    scale = torch.tensor([[10.0**power], [10.0**other], [1.0], [1.0], [1.0], [1.0]])
    y = (x * scale).requires_grad_()
    out = pairwise_distance(y, x, 'cosine')
    assert torch.allclose(out, expected, atol=1e-6)
    assert y.equal(x * scale)
    assert out.sum().requires_grad


def test_pairwise_distance_rejects():
    x = torch.randn(5, 3)
    with pytest.raises(ValueError, match=r"'x' and 'y'.*\[5, 3\].*\[5, 2\]"):
        pairwise_distance(x, x[:, :2])
    with pytest.raises(ValueError, match="'y'.*non-zero"):
        pairwise_distance(x, torch.zeros(2, 3), 'cosine')
    with pytest.raises(ValueError, match="'metric'"):
        pairwise_distance(x, x, 'mahalanobis')


def test_mahalanobis_equals_sklearn_and_scipy():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(60, 5, generator=generator) @ torch.randn(5, 5, generator=generator)
    covariance, shrinkage = ledoit_wolf(x.double().numpy())
    map_ = Mahalanobis(x)
    assert map_.shrinkage == pytest.approx(shrinkage, rel=1e-6)
    expected = cdist(x, x, 'mahalanobis', VI=np.linalg.inv(covariance))
    out = pairwise_distance(map_(x), map_(x), 'euclidean')
    assert np.allclose(out, expected, atol=5e-3)


def test_mahalanobis_within_identities_ignores_their_means():
    x, y = torch.randn(60, 4), torch.arange(60) % 6
    moved = x + 50 * torch.randn(6, 4)[y]
    assert torch.allclose(
        Mahalanobis(x, y).weight.abs(), Mahalanobis(moved, y).weight.abs(), atol=1e-3
    )
    centred = torch.cat([x[y == i] - x[y == i].mean(0) for i in range(6)])
    _, shrinkage = ledoit_wolf(centred.double().numpy(), assume_centered=True)
    assert Mahalanobis(x, y).shrinkage == pytest.approx(shrinkage, rel=1e-4)


def test_mahalanobis_rejects_constant_features():
    with pytest.raises(ValueError, match=r"'x' of shape \[4, 3\].*from each other"):
        Mahalanobis(torch.ones(4, 3))
    with pytest.raises(ValueError, match='within an identity'):
        Mahalanobis(torch.randn(4, 3), torch.arange(4))


def test_scale_distance():
    distance = torch.tensor([[1.0, 2, 4], [0, 0, 0]])
    assert scale_distance(distance, None) is distance
    assert scale_distance(distance, 'max').tolist() == [[0.25, 0.5, 1], [0, 0, 0]]
    out = scale_distance(distance, 'minmax')
    assert torch.allclose(out, torch.tensor([[0, 1 / 3, 1], [0, 0, 0]]))
    with pytest.raises(ValueError, match="'scale'"):
        scale_distance(distance, 'l1')


def test_fuse_distance():
    distance = torch.tensor([[0.0, 1, 2, 3], [3, 2, 1, 0]])
    index = torch.tensor([[0, 2], [3, 1]])
    score = torch.tensor([[0.5, 0.0], [0.25, 0.75]])
    out = fuse_distance(distance, index, score, weight=2.0)
    assert out.tolist() == [[1, 3, 2, 5], [5, 3.5, 3, 0.5]]
    out = fuse_distance(distance, index, score, weight=2.0, fill='max')
    assert out.tolist() == [[1, 2, 2, 4], [4.5, 3.5, 2.5, 0.5]]
    assert fuse_distance(distance, index, score, weight=0.0).equal(distance)
    with pytest.raises(ValueError, match=r"'index'.*\[1, 2\]"):
        fuse_distance(distance, index[:1], score)
    with pytest.raises(ValueError, match="'fill'"):
        fuse_distance(distance, index, score, fill='min')


def test_connectivity_rank():
    distance = torch.tensor([[0.3, 0.1, 0.2, 0.4, 0.0]])
    index = torch.tensor([[4, 1, 2]])
    score = torch.tensor([[0.9, 0.5, 0.5]])
    # 1 and 2 tie and are ordered by distance, as are the unscored 0 and 3.
    out = connectivity_rank(distance, index, score)
    assert out.tolist() == [[3, 0, 1, 4, 2]]
    score = torch.tensor([[1.0, 0.5, 0.5]])  # as bad as an unscored one
    assert connectivity_rank(distance, index, score).tolist() == [[3, 0, 1, 4, 2]]
    assert connectivity_rank(distance, index, 0 * score).tolist() == [[3, 1, 2, 4, 0]]
