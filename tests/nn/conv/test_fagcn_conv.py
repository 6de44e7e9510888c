import pytest
import torch
from torch_geometric import EdgeIndex
from torch_geometric.typing import WITH_TORCH_SPARSE, SparseTensor
from torch_geometric.utils import to_torch_csc_tensor

from torch_geometric_reid.nn import FAGCNConv


def make_graph(num_nodes=6, num_edges=20, seed=0):
    generator = torch.Generator().manual_seed(seed)
    code = torch.randperm(num_nodes**2, generator=generator)[:num_edges]
    code = code[(code % num_nodes).argsort(stable=True)]
    edge_index = torch.stack([code // num_nodes, code % num_nodes])
    return edge_index, torch.rand(num_edges, generator=generator)


def dense(conv, x, edge_index, edge_weight):
    adj = torch.zeros(len(x), len(x))
    adj[edge_index[1], edge_index[0]] = edge_weight
    weight = torch.cat([conv.lin_root.weight, conv.lin_neighbor.weight], dim=1)
    return torch.cat([x, adj @ x], dim=1) @ weight.t() + conv.lin_neighbor.bias


def test_fagcn_conv_equals_dense_formula_in_every_layout():
    edge_index, weight = make_graph()
    x = torch.randn(6, 4)
    conv = FAGCNConv(4, 8)
    torch.nn.init.normal_(conv.lin_neighbor.bias)
    assert str(conv) == 'FAGCNConv(4, 8)'
    assert conv.propagate.__module__.endswith('_propagate')

    expected = dense(conv, x, edge_index, weight)
    assert torch.allclose(conv(x, edge_index, weight), expected, atol=1e-6)
    assert torch.allclose(conv(x, edge_index, weight, (6, 6)), expected, atol=1e-6)
    adj = to_torch_csc_tensor(edge_index, weight, size=(6, 6))
    assert torch.allclose(conv(x, adj.t()), expected, atol=1e-6)
    fused = EdgeIndex(edge_index, sort_order='col', sparse_size=(6, 6))
    assert torch.allclose(conv(x, fused, weight), expected, atol=1e-6)

    ones = torch.ones_like(weight)
    expected = dense(conv, x, edge_index, ones)
    assert torch.allclose(conv(x, edge_index), expected, atol=1e-6)
    assert torch.allclose(conv(x, fused), expected, atol=1e-6)


@pytest.mark.skipif(not WITH_TORCH_SPARSE, reason='torch-sparse is not installed')
def test_fagcn_conv_takes_sparse_tensor():
    edge_index, weight = make_graph()
    x = torch.randn(6, 4)
    conv = FAGCNConv(4, 8)
    adj = SparseTensor.from_edge_index(edge_index, weight, (6, 6))
    assert torch.allclose(conv(x, adj.t()), conv(x, edge_index, weight), atol=1e-6)


def test_fagcn_conv_gradients_agree_between_layouts():
    edge_index, weight = make_graph()
    conv = FAGCNConv(4, 8)
    grads = []
    for layout in [
        edge_index,
        EdgeIndex(edge_index, sort_order='col', sparse_size=(6, 6)),
    ]:
        x = torch.arange(24.0).view(6, 4).requires_grad_()
        conv.zero_grad()
        conv(x, layout, weight).square().sum().backward()
        grads.append([x.grad, conv.lin_root.weight.grad, conv.lin_neighbor.weight.grad])
    for a, b in zip(*grads, strict=True):
        assert torch.allclose(a, b, rtol=1e-4)


def test_fagcn_conv_is_permutation_equivariant():
    edge_index, weight = make_graph()
    x, perm = torch.randn(6, 4), torch.randperm(6)
    conv = FAGCNConv(4, 8)
    moved = torch.empty_like(perm).index_copy_(0, perm, torch.arange(6))[edge_index]
    out = conv(x[perm], moved, weight)
    assert torch.allclose(out, conv(x, edge_index, weight)[perm], atol=1e-6)


def test_fagcn_conv_bipartite():
    edge_index = torch.tensor([[0, 1, 2], [0, 0, 1]])
    source, target = torch.randn(3, 4), torch.randn(2, 4)
    conv = FAGCNConv(4, 8)
    out = conv((source, target), edge_index, torch.ones(3), size=(3, 2))
    gathered = torch.stack([source[0] + source[1], source[2]])
    assert torch.allclose(out, conv.combine(target, gathered), atol=1e-6)


def test_fagcn_conv_without_edges_or_bias():
    conv = FAGCNConv(4, 8, bias=False)
    x = torch.randn(3, 4)
    out = conv(x, torch.empty(2, 0, dtype=torch.long))
    assert conv.lin_neighbor.bias is None
    assert torch.allclose(out, conv.lin_root(x))


@pytest.mark.parametrize('fused', [False, True])
def test_fagcn_conv_compiles_without_graph_breaks(fused):
    edge_index, weight = make_graph()
    if fused:
        edge_index = EdgeIndex(edge_index, sort_order='col', sparse_size=(6, 6))
    x = torch.randn(6, 4)
    conv = FAGCNConv(4, 8)
    compiled = torch.compile(conv, fullgraph=True, backend='aot_eager')
    assert torch.allclose(
        compiled(x, edge_index, weight), conv(x, edge_index, weight), atol=1e-6
    )
