import pytest
import torch
from torch.nn import BatchNorm1d

from torch_geometric_reid.nn.models import norm_relu_linear as module
from torch_geometric_reid.nn.models.norm_relu_linear import norm_relu_linear


def make_input(num=23):
    torch.manual_seed(0)
    norm = BatchNorm1d(5).double()
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    x = torch.randn(num, 5, dtype=torch.double) * 3 + 7
    weight = torch.randn(4, 5, dtype=torch.double)
    return x.requires_grad_(), norm, weight.requires_grad_()


def gradients(out, *inputs):
    upstream = torch.arange(out.numel(), dtype=out.dtype).view_as(out).sin()
    return torch.autograd.grad(out, inputs, upstream)


@pytest.mark.parametrize('rows', [slice(None), slice(0, 9), slice(6, 23), slice(3, 3)])
@pytest.mark.parametrize('block', [1, 4, 2048])
def test_equals_plain_modules(rows, block, monkeypatch):
    monkeypatch.setattr(module, 'BLOCK', block)
    x, norm, weight = make_input()
    inputs = (x, norm.weight, norm.bias, weight)
    out = norm_relu_linear(x, norm, weight, rows)
    found = gradients(out, *inputs)
    statistics = [buffer.clone() for buffer in norm.buffers()]

    norm.reset_running_stats()
    expected = norm(x)[rows].relu() @ weight.t()
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(found, gradients(expected, *inputs))
    torch.testing.assert_close(statistics, list(norm.buffers()))


def test_gradient_equals_finite_differences():
    x, norm, weight = make_input(num=6)
    assert torch.autograd.gradcheck(
        lambda *inputs: norm_relu_linear(inputs[0], norm, inputs[1], slice(1, 5)),
        (x, weight),
    )


def test_zero_scale_has_the_gradient_of_plain_modules():
    x, norm, weight = make_input()
    torch.nn.init.zeros_(norm.weight)
    inputs = (x, norm.weight, norm.bias, weight)
    found = gradients(norm_relu_linear(x, norm, weight), *inputs)
    torch.testing.assert_close(found, gradients(norm(x).relu() @ weight.t(), *inputs))


def test_running_statistics_are_cumulative_without_momentum():
    x, norm, weight = make_input()
    norm.momentum = None
    other = BatchNorm1d(5, momentum=None).double()
    for scale in [1, 2, 5]:
        norm_relu_linear(scale * x, norm, weight)
        other(scale * x)
    torch.testing.assert_close(list(norm.buffers()), list(other.buffers()))


def test_keeps_the_input_alone():
    x, norm, weight = make_input(num=1000)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: kept.append(t) or t, lambda t: t
    ):
        norm_relu_linear(x, norm, weight)
    assert [t.data_ptr() for t in kept if t.size(0) == 1000] == [x.data_ptr()]


def test_one_row_is_an_error():
    x, norm, weight = make_input()
    with pytest.raises(ValueError, match="'x' needs two rows for a batch norm"):
        norm_relu_linear(x[:1], norm, weight)
