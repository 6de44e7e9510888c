import runpy
from pathlib import Path

import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.sampler import NodeSamplerInput

from torch_geometric_reid.knn import knn
from torch_geometric_reid.nn import ECGCN, supervised_contrastive_loss
from torch_geometric_reid.sampler import HardGallerySampler
from torch_geometric_reid.transforms import CenterProbe, FuseEdges

BENCHMARKS = Path(__file__).parents[1] / 'benchmarks'


@pytest.fixture
def plain():
    return runpy.run_path(str(BENCHMARKS / 'plain.py'))


@pytest.fixture
def batch():
    x = torch.randn(60, 8)
    neighbor = knn(x, 20).index
    sampler = HardGallerySampler(neighbor, (6, 3), 4)
    return (
        x,
        neighbor,
        sampler.sample_from_nodes(NodeSamplerInput(None, torch.arange(5))),
    )


def test_plain_sampler(plain, batch):
    _, neighbor, out = batch
    for probe in range(5):
        nodes, edges = plain['sample'](neighbor.tolist(), probe, 6, 3, 4)
        assert out.node[out.batch == probe].tolist() == nodes
        mine = out.batch[out.col] == probe
        pairs = torch.stack([out.node[out.row[mine]], out.node[out.col[mine]]])
        assert {tuple(pair) for pair in pairs.t().tolist()} == edges


@torch.no_grad()
def test_padded_connectivity(plain, batch):
    x, _, out = batch
    model = ECGCN(8, 16, 3).eval()
    logits = plain['forward'](model, *plain['pad'](x, out, 30), 6)
    data = Data(
        x=x[out.node], batch=out.batch, edge_index=torch.stack([out.row, out.col])
    )
    data = FuseEdges()(CenterProbe()(data))
    expected = model(data.x, data.edge_index, out.num_sampled_nodes)
    assert torch.allclose(logits, expected, atol=1e-5)


def test_plain_contrastive(plain):
    z, y = torch.randn(30, 8, requires_grad=True), torch.randint(5, (30,))
    grads = []
    for loss in (plain['contrastive'], supervised_contrastive_loss):
        value = loss(z, y)
        grads.append(torch.autograd.grad(value, z)[0])
    assert torch.allclose(grads[0], grads[1], atol=1e-5)
    assert torch.allclose(value, plain['contrastive'](z, y), atol=1e-5)
