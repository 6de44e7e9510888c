import torch
from torch_geometric import EdgeIndex
from torch_geometric.nn import SimpleConv

from torch_geometric_reid.nn import AffinityConv


def test_equals_simple_conv():
    edge_index = torch.randint(9, (2, 30))
    edge_index = edge_index[:, edge_index[1].argsort()]
    x, weight = torch.randn(9, 4), torch.rand(30)
    conv = AffinityConv()
    assert conv.propagate.__module__.endswith('_propagate')
    expected = SimpleConv(aggr='add')(x, edge_index, weight)
    assert torch.allclose(conv(x, edge_index, weight), expected, atol=1e-6)
    fused = EdgeIndex(edge_index, sparse_size=(9, 9), sort_order='col')
    assert torch.allclose(conv(x, fused, weight), expected, atol=1e-6)
    assert not list(conv.parameters())
