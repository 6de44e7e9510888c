import pytest
import torch

from torch_geometric_reid.nn.conv.neighbor_mean import weighted_sum


@pytest.mark.usefixtures('gpu')
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_weighted_sum_on_the_gpu(dtype):
    num_edges = torch.randint(12, (500,))
    num_edges[[0, -1]] = 0
    ptr = torch.cat([num_edges.new_zeros(1), num_edges.cumsum(0)])
    index = torch.randint(400, (int(ptr[-1]),))
    x, weight = torch.randn(400, 24).to(dtype), torch.rand(index.numel()).to(dtype)
    inputs = [part.cuda() for part in (x, ptr, index, weight)]
    outs = [weighted_sum(*inputs)]
    with torch.autocast('cuda', torch.bfloat16):
        outs.append(weighted_sum(*inputs))
    expected = weighted_sum(x.double(), ptr, index, weight.double())
    for out in outs:
        assert out.dtype == dtype
        error = (out.cpu().double() - expected).norm() / expected.norm()
        assert error < (1e-6 if dtype == torch.float32 else 4e-3)
