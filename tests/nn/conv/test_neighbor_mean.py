import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric import EdgeIndex

from torch_geometric_reid.nn import ECGCNConv
from torch_geometric_reid.nn.conv.neighbor_mean import neighbor_mean


@given(
    size=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    density=st.sampled_from([0.0, 0.3, 1.0]),
    seed=st.integers(0, 1000),
)
def test_equals_dense_mean(size, density, seed):
    generator = torch.Generator().manual_seed(seed)
    adj = (torch.rand(*size, generator=generator) < density).double()
    target, source = adj.nonzero().t()
    edge_index = EdgeIndex(
        torch.stack([source, target]), sparse_size=size[::-1], sort_order='col'
    )
    x = torch.randn(size[1], 3, generator=generator, dtype=torch.double)
    x.requires_grad_()

    out = neighbor_mean(x, edge_index)
    mean = adj / adj.sum(dim=1, keepdim=True).clamp(min=1)
    torch.testing.assert_close(out, mean @ x)
    upstream = torch.randn(out.shape, generator=generator, dtype=torch.double)
    (grad,) = torch.autograd.grad(out, x, upstream)
    torch.testing.assert_close(grad, mean.t() @ upstream)


def test_edges_without_a_size_are_of_all_nodes():
    edge_index = torch.tensor([[0, 1, 5, 2], [0, 1, 1, 2]])
    x = torch.randn(6, 3)
    conv = ECGCNConv(3, 4)
    out = conv(x, EdgeIndex(edge_index, sort_order='col'))
    assert torch.allclose(out, conv(x, edge_index), atol=1e-6)


def test_edges_of_other_nodes_are_an_error():
    edge_index = EdgeIndex([[0, 1], [0, 1]], sparse_size=(2, 2), sort_order='col')
    with pytest.raises(ValueError, match="'edge_index' needs a sparse size of 6"):
        neighbor_mean(torch.randn(6, 3), edge_index)


def test_gradient_can_be_differentiated_again():
    edge_index = EdgeIndex([[0, 1, 2], [0, 0, 1]], sparse_size=(3, 3), sort_order='col')
    x = torch.randn(3, 2, dtype=torch.double).requires_grad_()
    assert torch.autograd.gradgradcheck(
        lambda x: neighbor_mean(x, edge_index).pow(3), (x,)
    )
