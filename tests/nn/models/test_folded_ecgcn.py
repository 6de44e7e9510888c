import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.loader import NodeLoader
from torch_geometric.nn import SAGEConv

from torch_geometric_reid.knn import knn
from torch_geometric_reid.nn import ECGCN, ECGCNConv, FoldedECGCN
from torch_geometric_reid.sampler import HardGallerySampler
from torch_geometric_reid.transforms import CenterProbe, FuseEdges


def make_trained(num_layers, **kwargs):
    model = ECGCN(6, 16, num_layers, **kwargs)
    for norm in model.norms:
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
        torch.nn.init.normal_(norm.weight)
        torch.nn.init.normal_(norm.bias)
    return model.eval()


def make_batch(x, **kwargs):
    sampler = HardGallerySampler(knn(x[:, :6], 12).index, (8, 3), 2, **kwargs)
    data = Data(x=x, edge_index=torch.empty(2, 0, dtype=torch.long))
    batch = next(iter(NodeLoader(data, sampler, batch_size=5)))
    return FuseEdges()(CenterProbe()(batch))


@pytest.mark.parametrize('num_layers', [1, 2, 5])
@pytest.mark.parametrize('self_loops', [False, True])
@torch.no_grad()
def test_folded_equals_plain_model(num_layers, self_loops):
    x = torch.randn(60, 6)
    model = make_trained(num_layers)
    folded = FoldedECGCN(model)
    plain = make_batch(x, self_loops=self_loops, symmetric=False)
    has_no_neighbor = (
        torch.bincount(plain.edge_index[1], minlength=plain.num_nodes) == 0
    )
    assert self_loops or has_no_neighbor.any()
    expected = model(plain.x, plain.edge_index, plain.num_sampled_nodes)

    # Neighbours are found in x, features are projected beforehand:
    wide = make_batch(
        torch.cat([x, folded.project(x)], dim=1), self_loops=self_loops, symmetric=False
    )
    out = folded(wide.x[:, 6:], wide.edge_index, wide.num_sampled_nodes)
    assert out.shape == (40, 2)
    assert torch.allclose(out, expected, atol=1e-4)

    edges = (plain.edge_index, plain.num_sampled_nodes)
    out = folded.forward_nodes(folded.project(x), plain.n_id, plain.batch, *edges)
    assert torch.allclose(out, expected, atol=1e-4)


@torch.no_grad()
def test_folding_biases_of_layers():
    x = torch.randn(60, 6)
    model = make_trained(3, conv=lambda i, o, bias: ECGCNConv(i, o))
    for conv in model.convs:
        torch.nn.init.normal_(conv.lin.bias)
    folded = FoldedECGCN(model)
    plain, wide = make_batch(x), make_batch(torch.cat([x, folded.project(x)], dim=1))
    out = folded(wide.x[:, 6:], wide.edge_index, wide.num_sampled_nodes)
    expected = model(plain.x, plain.edge_index, plain.num_sampled_nodes)
    assert torch.allclose(out, expected, atol=1e-4)


def test_folding_batch_norm():
    model = make_trained(1)
    folded = FoldedECGCN(model)
    x = torch.randn(9, 6)
    plain = model.norms[0](x @ model.convs[0].lin.weight.t())
    assert torch.allclose(folded.project(x) + folded.biases[0], plain, atol=1e-5)


def test_shared_first_product_with_nodes_without_neighbors():
    conv = ECGCNConv(6, 4, bias=False)
    x, probe = torch.randn(5, 6), torch.randn(6)
    edge_index = torch.tensor([[0, 1, 4], [2, 2, 0]])  # 1, 3 and 4 receive nothing
    expected = conv(x - probe, edge_index)
    weight = conv.lin.weight.t()
    assert torch.allclose(
        conv.gather(x @ weight - probe @ weight, edge_index), expected, atol=1e-6
    )
    assert not expected[[1, 3, 4]].any()


def test_folded_rejects_other_layers():
    with pytest.raises(ValueError, match="'model'.*'SAGEConv'"):
        FoldedECGCN(ECGCN(6, 16, 1, conv=SAGEConv))
