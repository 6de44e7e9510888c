import torch
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric import EdgeIndex

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
