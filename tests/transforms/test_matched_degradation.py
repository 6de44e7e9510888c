import pytest
import torch
import torch.nn.functional as F
from torch_geometric.data import Data

from torch_geometric_reid.datasets import Omniglot242
from torch_geometric_reid.metrics import graph_statistics
from torch_geometric_reid.transforms import MatchedDegradation


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
