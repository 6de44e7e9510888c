import pytest
import torch
import torch.nn.functional as F
from torch_geometric.data import Data

from torch_geometric_reid.metrics import evaluate
from torch_geometric_reid.transforms import IdentityMetric
from torch_geometric_reid.transforms.identity_metric import within_identity


def test_within_identity():
    x = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 5.0]])
    mean, residual = within_identity(x, torch.tensor([7, 7, 2]))
    assert mean.tolist() == [[0, 5], [2, 0]]
    assert residual.tolist() == [[-1, 0], [1, 0], [0, 0]]


def noisy(num_ids, per_id, seed):
    generator = torch.Generator().manual_seed(seed)
    center = torch.randn(num_ids, 8, generator=generator)
    y = torch.arange(num_ids).repeat_interleave(per_id)
    noise = torch.tensor([3.0, 3.0, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2])
    shift = noise * torch.randn(len(y), 8, generator=generator)
    return F.normalize(center[y] + shift), y


@pytest.mark.parametrize('power', [0.0, 0.25, 0.5, 1.0])
def test_equation(power):
    x, y = noisy(60, 8, seed=0)
    other = noisy(20, 2, seed=1)[0]
    covariance = within_identity(x.double(), y)[1]
    covariance = covariance.t() @ covariance / len(x)
    covariance += 0.1 * covariance.trace() / 8 * torch.eye(8)
    value, vector = torch.linalg.eigh(covariance)
    weight = vector * value**-power @ vector.t()
    out = IdentityMetric(x, y, power)(Data(x=other)).x
    expected = F.normalize(other.double() @ weight)
    assert torch.allclose(out.double(), expected, atol=1e-5)


def test_other_identities_rank_better():
    x, y = noisy(60, 8, seed=0)
    other, label = noisy(60, 8, seed=1)

    def score(x):
        query, gallery = x[::8], x.view(60, 8, -1)[:, 1:].flatten(0, 1)
        gallery_label = label.view(60, 8)[:, 1:].flatten()
        return evaluate(1 - query @ gallery.t(), label[::8], gallery_label).mAP

    adapted = IdentityMetric(x, y)(Data(x=other)).x
    assert score(adapted) > score(other) + 0.1


@pytest.mark.parametrize('copies', [1, 3, 7])
def test_without_anything_to_learn(copies):
    x = F.normalize(torch.randn(4, 3)).repeat(copies, 1)
    out = IdentityMetric(x, torch.arange(4).repeat(copies))(Data(x=x)).x
    assert torch.allclose(out, x, atol=1e-6)


@pytest.mark.parametrize('power', [-0.1, 1.1, float('nan')])
def test_rejects(power):
    with pytest.raises(ValueError, match="'power' needs to be between 0 and 1"):
        IdentityMetric(torch.eye(3), torch.arange(3), power)
