import pytest
import torch
import torch.nn.functional as F
from torch_geometric.data import Data

from torch_geometric_reid.datasets import Omniglot242
from torch_geometric_reid.metrics import graph_statistics
from torch_geometric_reid.transforms import IdentityMetric, MatchedDegradation
from torch_geometric_reid.transforms.identity_metric import within_identity


def test_statistics_become_those_of_the_gallery():
    train, gallery = Omniglot242('train')[0], Omniglot242('gallery')[0]
    train = train.subgraph(torch.arange(1000))
    gallery = gallery.subgraph(torch.arange(900))
    transform = MatchedDegradation(gallery.x, k=40)
    out = transform(train.clone())
    target, before = transform.target, graph_statistics(train.x, 40)
    after = graph_statistics(out.x, 40)
    for name in ('squared_cosine', 'near_cosine', 'far_cosine'):
        assert abs(getattr(after, name) - getattr(target, name)) < 0.04
    assert before.near_cosine > target.near_cosine + 0.08
    assert torch.allclose(out.x.norm(dim=1), torch.ones(len(out.x)), atol=1e-5)
    again = MatchedDegradation(gallery.x, k=40)(train.clone())
    assert torch.equal(again.x, out.x)
    other = MatchedDegradation(gallery.x, k=40, seed=1)(train.clone())
    assert other.x.shape != out.x.shape or not torch.equal(other.x, out.x)


def test_features_that_are_as_hard_stay_as_they_are():
    gallery = Omniglot242('gallery')[0].subgraph(torch.arange(600))
    transform = MatchedDegradation(gallery.x, k=30)
    out = transform(gallery.clone())
    assert transform.degradation == (128, 0.0, 0.0)
    assert torch.allclose(out.x, gallery.x, atol=1e-6)


@pytest.mark.parametrize('num_ids', [1, 2, 3])
def test_few_identities(num_ids):
    x = F.normalize(torch.randn(12, 5))
    data = Data(x=x, y=torch.arange(12) % num_ids)
    out = MatchedDegradation(F.normalize(torch.randn(9, 5)), k=4)(data)
    assert out.x.isfinite().all()


def test_rejects():
    with pytest.raises(ValueError, match="'reference' needs at least two"):
        MatchedDegradation(torch.ones(1, 3), k=4)


def test_within_identity():
    x = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 5.0]])
    mean, residual = within_identity(x, torch.tensor([7, 7, 2]))
    assert mean.tolist() == [[0, 5], [2, 0]]
    assert residual.tolist() == [[-1, 0], [1, 0], [0, 0]]


def noisy(num_ids, per_id, noise, seed):
    generator = torch.Generator().manual_seed(seed)
    center = torch.randn(num_ids, 8, generator=generator)
    y = torch.arange(num_ids).repeat_interleave(per_id)
    shift = noise * torch.randn(len(y), 8, generator=generator)
    return F.normalize(center[y] + shift), y


def test_metric_is_used_where_it_helps_and_only_there():
    nuisance = torch.tensor([3.0, 3.0, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2])
    x, y = noisy(60, 8, nuisance, seed=0)
    gallery, _ = noisy(60, 8, nuisance, seed=1)
    metric = IdentityMetric(x, y, gallery, k=8)
    assert metric.power > 0
    assert metric.agreement[metric.power] > metric.agreement[0.0]
    covariance = within_identity(x, y)[1]
    covariance = covariance.t() @ covariance / len(x)
    covariance += 0.1 * covariance.trace() / 8 * torch.eye(8)
    value, vector = torch.linalg.eigh(covariance.double())
    power = vector * value**-metric.power @ vector.t()
    expected = F.normalize(gallery.double() @ power)
    out = metric(Data(x=gallery)).x
    assert torch.allclose(out.double(), expected, atol=1e-5)

    even, _ = noisy(60, 8, 0.4, seed=1)
    metric = IdentityMetric(x, y, even, k=8)
    assert metric.power == 0
    assert metric(Data(x=even)).x is even


def test_metric_without_anything_to_learn():
    x = F.normalize(torch.randn(4, 3))
    for y, reference in [(torch.arange(4), x), (torch.tensor([0, 0, 1, 1]), x[:1])]:
        assert IdentityMetric(x, y, reference, k=2).power == 0
