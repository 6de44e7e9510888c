import pytest
import torch
from torch_geometric import EdgeIndex
from torch_geometric.typing import WITH_TORCH_SPARSE, SparseTensor
from torch_geometric.utils import to_torch_csc_tensor

from torch_geometric_reid.nn import ECGCNConv

# Node 3 receives nothing.
EDGE_INDEX = torch.tensor([[1, 2, 0, 0, 1, 3], [0, 0, 1, 2, 2, 2]])


def dense(conv, x):
    adj = torch.zeros(4, 4)
    adj[EDGE_INDEX[1], EDGE_INDEX[0]] = 1
    adj /= adj.sum(1, keepdim=True).clamp(min=1)
    return adj @ x @ conv.lin.weight.t() + conv.lin.bias


def test_ecgcn_conv_equals_dense_formula_in_every_layout():
    x = torch.randn(4, 3)
    conv = ECGCNConv(3, 5)
    torch.nn.init.normal_(conv.lin.bias)
    assert str(conv) == 'ECGCNConv(3, 5)'
    assert conv.propagate.__module__.endswith('_propagate')

    expected = dense(conv, x)
    fused = EdgeIndex(EDGE_INDEX, sort_order='col', sparse_size=(4, 4))
    adj = to_torch_csc_tensor(EDGE_INDEX, size=(4, 4))
    for layout in [EDGE_INDEX, fused, adj.t()]:
        out = conv(x, layout)
        assert torch.allclose(out, expected, atol=1e-6)
        assert torch.allclose(out[3], conv.lin.bias)


@pytest.mark.skipif(not WITH_TORCH_SPARSE, reason='torch-sparse is not installed')
def test_ecgcn_conv_takes_sparse_tensor():
    x = torch.randn(4, 3)
    conv = ECGCNConv(3, 5)
    adj = SparseTensor.from_edge_index(EDGE_INDEX, sparse_sizes=(4, 4))
    assert torch.allclose(conv(x, adj.t()), conv(x, EDGE_INDEX), atol=1e-6)


def test_ecgcn_conv_without_edges_gives_zeros_without_bias():
    conv = ECGCNConv(3, 5, bias=False)
    out = conv(torch.randn(4, 3), torch.empty(2, 0, dtype=torch.long))
    assert out.equal(torch.zeros(4, 5))


def test_ecgcn_conv_is_permutation_equivariant():
    x, perm = torch.randn(4, 3), torch.tensor([2, 0, 3, 1])
    conv = ECGCNConv(3, 5)
    moved = torch.empty_like(perm).index_copy_(0, perm, torch.arange(4))[EDGE_INDEX]
    assert torch.allclose(conv(x[perm], moved), conv(x, EDGE_INDEX)[perm], atol=1e-6)


def test_ecgcn_conv_gradients_agree_between_layouts():
    conv = ECGCNConv(3, 5)
    grads = []
    for layout in [
        EDGE_INDEX,
        EdgeIndex(EDGE_INDEX, sort_order='col', sparse_size=(4, 4)),
    ]:
        x = torch.arange(12.0).view(4, 3).requires_grad_()
        conv.zero_grad()
        conv(x, layout).square().sum().backward()
        grads.append([x.grad, conv.lin.weight.grad])
    for a, b in zip(*grads, strict=True):
        assert torch.allclose(a, b, rtol=1e-4)


@pytest.mark.parametrize('fused', [False, True])
def test_ecgcn_conv_compiles_without_graph_breaks(fused):
    edge_index = EDGE_INDEX
    if fused:
        edge_index = EdgeIndex(edge_index, sort_order='col', sparse_size=(4, 4))
    x = torch.randn(4, 3)
    conv = ECGCNConv(3, 5)
    compiled = torch.compile(conv, fullgraph=True, backend='aot_eager')
    assert torch.allclose(compiled(x, edge_index), conv(x, edge_index), atol=1e-6)


@pytest.mark.parametrize('aggr', ['max', 'add'])
@pytest.mark.parametrize('out_channels', [3, 8])
def test_ecgcn_conv_aggregates_features_and_not_products(aggr, out_channels):
    x, edge_index = torch.randn(6, 4), torch.randint(6, (2, 20))
    conv = ECGCNConv(4, out_channels, aggr=aggr)
    expected = conv.lin(conv.gather(x, edge_index))
    assert torch.allclose(conv(x, edge_index), expected, atol=1e-6)
