import pytest
import torch
import torch.nn.functional as F
from torch_geometric import EdgeIndex

from torch_geometric_reid.nn import LinkGCN


def graph(num_nodes=9):
    weight = torch.rand(num_nodes, num_nodes) * (torch.rand(num_nodes, num_nodes) > 0.5)
    weight += torch.eye(num_nodes)
    weight /= weight.sum(dim=1, keepdim=True)
    col, row = weight.nonzero(as_tuple=True)
    return weight, torch.stack([row, col]), weight[col, row]


@pytest.mark.parametrize('num_layers', [0, 1, 2])
def test_link_gcn_equals_its_formula(num_layers):
    model = LinkGCN(5, 8, num_layers)
    assert str(model) == f'LinkGCN(5, 8, num_layers={num_layers})'
    x = torch.randn(9, 5)
    model(x, *graph()[1:])  # running statistics
    model.eval()
    weight, edge_index, edge_weight = graph()
    norm = model.norm
    x0 = (x - norm.running_mean) / (norm.running_var + norm.eps).sqrt()
    h = x0
    for conv in model.convs:
        w = torch.cat([conv.lin_root.weight, conv.lin_neighbor.weight], dim=1)
        h = F.relu(torch.cat([h, weight @ h], 1) @ w.t() + conv.lin_neighbor.bias)
    skip = torch.cat([h, x0], dim=1) if num_layers else x0
    expected = model.classifier(skip).view(-1)
    out = model(x, edge_index, edge_weight)
    assert torch.allclose(out, expected, atol=1e-5)
    fused = EdgeIndex(edge_index, sparse_size=(9, 9), sort_order='col')
    assert torch.allclose(model(x, fused, edge_weight), out, atol=1e-5)
    some = model(x, edge_index, edge_weight, [2, 7, 0])
    assert torch.allclose(some, out[2:], atol=1e-6)


def test_permuted_nodes_give_permuted_logits():
    model = LinkGCN(4).eval()
    _, edge_index, edge_weight = graph()
    x, perm = torch.randn(9, 4), torch.randperm(9)
    out = model(x, edge_index, edge_weight)
    place = perm.argsort()
    permuted = model(x[perm], place[edge_index], edge_weight)
    assert torch.allclose(permuted, out[perm], atol=1e-5)


def test_reset_parameters():
    torch.manual_seed(0)
    model = LinkGCN(4)
    before = [p.clone() for p in model.parameters() if p.dim() > 1]
    model.reset_parameters()
    after = [p for p in model.parameters() if p.dim() > 1]
    assert not any(torch.equal(p, q) for p, q in zip(before, after, strict=True))
