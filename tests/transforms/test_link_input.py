import pytest
import torch
import torch.nn.functional as F
from torch_geometric.data import Data
from torch_geometric.loader import NodeLoader

from torch_geometric_reid.sampler import (
    HardGallerySampler,
    RandomProbabilityGallerySampler,
)
from torch_geometric_reid.transforms import LinkInput, PairFeatures

K, EDGES = 9, 4


@pytest.fixture
def pairs():
    generator = torch.Generator().manual_seed(0)
    x = F.normalize(torch.randn(50, 6, generator=generator))
    return PairFeatures(K)(Data(x=x))


def batches(pairs, sampler, transform):
    data = Data(edge_index=torch.empty(2, 0, dtype=torch.long), num_nodes=50)
    return NodeLoader(data, sampler, transform=transform, batch_size=7)


@pytest.mark.parametrize('drawn', [False, True])
def test_nodes_and_edges_equal_a_slow_form(pairs, drawn):
    neighbor = pairs.edge_index[0].as_tensor().view(50, K)
    attr = pairs.edge_attr.view(50, K, 5)
    if drawn:
        sampler = RandomProbabilityGallerySampler(
            neighbor, torch.arange(50) % 3, (6, 0), EDGES, gamma=1.5
        )
    else:
        sampler = HardGallerySampler(neighbor, (K, 0), EDGES)
    cosine = pairs.x @ pairs.x.t()
    seen = 0
    for batch in batches(pairs, sampler, LinkInput(pairs)):
        node, probe = batch.n_id.tolist(), batch.n_id[batch.batch].tolist()
        for i, (j, p) in enumerate(zip(node, probe, strict=True)):
            if j == p:
                assert torch.equal(batch.x[i], pairs.node_attr[p])
            else:
                place = neighbor[p].tolist().index(j)
                assert torch.equal(batch.x[i], attr[p, place])
        row, col = batch.edge_index
        weight = cosine[batch.n_id[row], batch.n_id[col]].clamp(min=0) ** 2
        weight[row == col] = 1
        dense = torch.zeros(len(node), len(node))
        dense[col, row] = weight
        expected = (dense / dense.sum(dim=1, keepdim=True))[col, row]
        assert torch.allclose(batch.edge_weight, expected, atol=1e-6)
        seen += batch.num_sampled_nodes[0]
    assert seen == 50


def test_features_can_be_left_out(pairs):
    neighbor = pairs.edge_index[0].as_tensor().view(50, K)
    sampler = HardGallerySampler(neighbor, (K, 0), EDGES)
    keep = torch.tensor([1, 4])
    for whole, part in zip(
        batches(pairs, sampler, LinkInput(pairs)),
        batches(pairs, sampler, LinkInput(pairs, keep)),
        strict=True,
    ):
        assert torch.equal(part.x, whole.x[:, keep])
        assert torch.equal(part.edge_weight, whole.edge_weight)


def test_rejects_two_hop_images(pairs):
    neighbor = pairs.edge_index[0].as_tensor().view(50, K)
    sampler = HardGallerySampler(neighbor, (3, 4), EDGES)
    with pytest.raises(ValueError, match='1-hop images only'):
        next(iter(batches(pairs, sampler, LinkInput(pairs))))
