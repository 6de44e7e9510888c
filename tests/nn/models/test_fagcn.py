import pytest
import torch
import torch.nn.functional as F

from torch_geometric_reid.knn import knn_graph
from torch_geometric_reid.nn import FAGCN, NeighborMean


def make_graph(num_nodes=10):
    x = torch.randn(num_nodes, 6, generator=torch.Generator().manual_seed(0))
    edge_index, score = knn_graph(x, 3, loop=True)
    adj = torch.zeros(num_nodes, num_nodes)
    adj[edge_index[1], edge_index[0]] = score.clamp(min=0)
    adj /= adj.sum(1, keepdim=True)
    return x, edge_index, adj[edge_index[1], edge_index[0]], adj


@pytest.mark.parametrize('num_layers', [1, 3])
@pytest.mark.parametrize('last_act', [False, True])
def test_fagcn_equals_dense_formula(num_layers, last_act):
    x, edge_index, weight, adj = make_graph()
    model = FAGCN(6, 16, num_layers, num_classes=4, last_act=last_act)
    expected = x
    for i, conv in enumerate(model.convs):
        expected = conv.combine(expected, adj @ expected)
        if last_act or i < num_layers - 1:
            expected = expected.relu()
    assert torch.allclose(model.embed(x, edge_index, weight), expected, atol=1e-5)
    logits = expected @ model.classifier.weight.t() + model.classifier.bias
    assert torch.allclose(model(x, edge_index, weight), logits, atol=1e-5)
    z = model.encode(x, edge_index, weight)
    assert torch.allclose(z, F.normalize(expected), atol=1e-5)
    assert torch.allclose(z.norm(dim=1), torch.ones(10), atol=1e-5)
    known = model.embed(x, edge_index, weight, gathered=adj @ x)
    assert torch.allclose(known, expected, atol=1e-5)
    assert str(model) == f'FAGCN(6, 16, num_layers={num_layers})'


def test_fagcn_rows():
    x, edge_index, weight, adj = make_graph()
    model = FAGCN(6, 16)
    rows = model.encode_rows(x[2:4], (adj @ x)[2:4])
    assert torch.allclose(rows, model.encode(x, edge_index, weight)[2:4], atol=1e-6)
    with pytest.raises(ValueError, match='num_layers=2'):
        FAGCN(6, 16, num_layers=2).encode_rows(x, x)
    with pytest.raises(ValueError, match="'num_classes'"):
        model(x, edge_index, weight)


def test_fagcn_reset_parameters():
    model = FAGCN(6, 16, 2, num_classes=4)
    before = {name: value.clone() for name, value in model.named_parameters()}
    model.reset_parameters()
    changed = {n for n, value in model.named_parameters() if not value.equal(before[n])}
    assert changed == set(before) - {f'convs.{i}.lin_neighbor.bias' for i in range(2)}


def test_fagcn_compiles_without_graph_breaks():
    x, edge_index, weight, _ = make_graph()
    model = FAGCN(6, 16, 2, num_classes=4)
    compiled = torch.compile(model, fullgraph=True, backend='aot_eager')
    assert torch.allclose(
        compiled(x, edge_index, weight), model(x, edge_index, weight), atol=1e-5
    )


def test_neighbor_mean():
    x, edge_index, weight, adj = make_graph()
    mean = NeighborMean()
    assert list(mean.parameters()) == []
    out = mean(x, edge_index, weight)
    assert torch.allclose(out, F.normalize(adj @ x), atol=1e-6)
    out = NeighborMean(concat=True).encode(x, edge_index, weight)
    expected = F.normalize(torch.cat([x, adj @ x], dim=1))
    assert torch.allclose(out, expected, atol=1e-6)
