import pytest
import torch
from torch_geometric.nn import SAGEConv

from torch_geometric_reid.nn import ECGCN, ECGCNConv


def make_input():
    generator = torch.Generator().manual_seed(0)
    adj = (torch.rand(12, 12, generator=generator) < 0.3).float()
    adj[5] = 0
    edge_index = adj.t().nonzero().t()
    return torch.randn(12, 6, generator=generator), edge_index, adj


def dense(model, x, adj, training):
    adj = adj / adj.sum(1, keepdim=True).clamp(min=1)
    for conv, norm in zip(model.convs, model.norms, strict=True):
        x = adj @ x @ conv.lin.weight.t()
        if training:
            mean, var = x.mean(0), x.var(0, unbiased=False)
        else:
            mean, var = norm.running_mean, norm.running_var
        x = (x - mean) / (var + 1e-5).sqrt() * norm.weight + norm.bias
        x = x.clamp(min=0)
    for layer in model.classifier:
        if isinstance(layer, torch.nn.PReLU):
            x = torch.where(x > 0, x, x * layer.weight)
        else:
            x = x @ layer.weight.t() + layer.bias
    return x


def test_ecgcn_equals_dense_formula():
    x, edge_index, adj = make_input()
    model = ECGCN(6, 16, num_layers=5)
    assert str(model) == 'ECGCN(6, 16, num_layers=5)'
    assert [p.numel() for p in model.classifier.parameters()] == [
        256, 16, 16, 256, 16, 16, 32, 2,
    ]  # fmt: skip
    expected = dense(model, x, adj, training=True)
    assert torch.allclose(model(x, edge_index), expected, atol=1e-4)
    model.eval()
    expected = dense(model, x, adj, training=False)
    assert torch.allclose(model(x, edge_index), expected, atol=1e-5)


def test_ecgcn_returns_one_hop_nodes():
    x, edge_index, _ = make_input()
    model = ECGCN(6, 16, num_layers=2).eval()
    out = model(x, edge_index, num_sampled_nodes=[2, 6, 4])
    assert torch.allclose(out, model(x, edge_index)[2:8], atol=1e-6)


def test_ecgcn_trains_with_the_gradients_of_its_modules():
    x, edge_index, adj = make_input()
    model = ECGCN(6, 16, num_layers=3).double()
    weight = torch.randn(6, 2, dtype=torch.double)
    found, expected = [
        torch.autograd.grad((out[2:8] * weight).sum(), list(model.parameters()))
        for out in (
            torch.nn.functional.pad(
                model(x.double(), edge_index, [2, 6, 4]), (0, 0, 2, 4)
            ),
            dense(model, x.double(), adj.double(), training=True),
        )
    ]
    torch.testing.assert_close(found, expected)


def test_ecgcn_trains_in_half_the_bits():
    x, edge_index, _ = make_input()
    model = ECGCN(6, 16, num_layers=3)
    expected = model(x, edge_index)
    with torch.autocast('cpu', torch.bfloat16):
        out = model(x, edge_index)
    assert out.dtype == torch.bfloat16
    out.float().square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert torch.allclose(out.float(), expected, atol=0.05)


def test_ecgcn_with_another_conv():
    x, edge_index, adj = make_input()
    model = ECGCN(6, 16, num_layers=1, conv=SAGEConv)
    mean = adj @ x / adj.sum(1, keepdim=True).clamp(min=1)
    conv = model.convs[0]
    expected = mean @ conv.lin_l.weight.t() + x @ conv.lin_r.weight.t()
    assert torch.allclose(conv(x, edge_index), expected, atol=1e-5)
    assert model(x, edge_index).shape == (12, 2)


def test_ecgcn_is_permutation_equivariant():
    x, edge_index, _ = make_input()
    model = ECGCN(6, 16).eval()
    perm = torch.randperm(12)
    moved = torch.empty_like(perm).index_copy_(0, perm, torch.arange(12))[edge_index]
    out = model(x[perm], moved)
    assert torch.allclose(out, model(x, edge_index)[perm], atol=1e-5)


def test_ecgcn_reset_parameters():
    model = ECGCN(6, 16, num_layers=2)
    model(*make_input()[:2])
    assert model.norms[0].running_mean.any()
    weight = model.classifier[0].weight.clone()
    model.reset_parameters()
    assert not model.norms[0].running_mean.any()
    assert not model.classifier[0].weight.equal(weight)


def test_ecgcn_compiles_without_graph_breaks():
    x, edge_index, _ = make_input()
    model = ECGCN(6, 16, num_layers=2).eval()
    compiled = torch.compile(model, fullgraph=True, backend='aot_eager')
    out = compiled(x, edge_index, [2, 6, 4])
    assert torch.allclose(out, model(x, edge_index, [2, 6, 4]), atol=1e-5)


def test_ecgcn_with_frozen_norms_trains_as_it_evaluates():
    x, edge_index, _ = make_input()
    model = ECGCN(6, 16, num_layers=3)
    expected = model.eval()(x, edge_index)
    model.train()
    model.norms.eval()
    assert torch.allclose(model(x, edge_index), expected, atol=1e-6)
    assert all(int(norm.num_batches_tracked) == 0 for norm in model.norms)


@pytest.mark.parametrize('kind', ['untracked', 'identity', 'bias', 'subclass'])
def test_ecgcn_with_modules_of_ones_own_calls_them(kind):
    class Doubled(ECGCNConv):
        def forward(self, x, edge_index, size=None):
            return 2 * super().forward(x, edge_index, size)

    conv = {'bias': lambda i, o, bias: ECGCNConv(i, o), 'subclass': Doubled}
    x, edge_index, _ = make_input()
    model = ECGCN(6, 16, num_layers=3, conv=conv.get(kind, ECGCNConv))
    for i in range(3):
        if kind == 'untracked':
            model.norms[i] = torch.nn.BatchNorm1d(16, track_running_stats=False)
        if kind == 'identity':
            model.norms[i] = torch.nn.Identity()
    expected = x
    for layer, norm in zip(model.convs, model.norms, strict=True):
        expected = norm(layer(expected, edge_index)).relu()
    expected = model.classifier(expected)
    assert torch.allclose(model(x, edge_index), expected, atol=1e-5)
    expected.sum().backward()
    grads = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    model(x, edge_index).sum().backward()
    for parameter, grad in zip(model.parameters(), grads, strict=True):
        assert torch.allclose(parameter.grad, grad, atol=1e-4)


def test_ecgcn_calls_hooks_in_training():
    x, edge_index, _ = make_input()
    model, called = ECGCN(6, 16, num_layers=3), []
    for module in [*model.convs, *model.norms, model.classifier[0]]:
        module.register_forward_hook(lambda module, *_: called.append(module))
    model(x, edge_index)
    assert len(called) == 7


def make_batch(num_images):
    torch.manual_seed(0)
    x = torch.randn(num_images, 8)
    n_id = torch.randint(num_images, (12,))
    batch = torch.tensor([0, 1, 0, 0, 0, 1, 1, 1, 0, 0, 1, 1])
    row, col = torch.randint(12, (2, 60)).unique(dim=1)
    edge_index = torch.stack([row, col])[:, col.argsort(stable=True)]
    return x, n_id, batch, edge_index


@pytest.mark.parametrize('num_images', [5, 30])  # fewer and more than nodes
@pytest.mark.parametrize('conv', [ECGCNConv, SAGEConv])
@pytest.mark.parametrize('hidden', [4, 16])  # multiplies first, or not
def test_nodes_are_centred_images(num_images, conv, hidden):
    x, n_id, batch, edge_index = make_batch(num_images)
    model = ECGCN(8, hidden, 2, conv).double()
    x = x.double()
    outs = [
        model.forward_nodes(x, n_id, batch, edge_index, [2, 6, 4]),
        model(x[n_id] - x[n_id][batch], edge_index, [2, 6, 4]),
    ]
    weight = torch.randn(6, 2, dtype=torch.double)
    found, expected = [
        [out, *torch.autograd.grad((out * weight).sum(), list(model.parameters()))]
        for out in outs
    ]
    for grad, other in zip(found, expected, strict=True):
        torch.testing.assert_close(grad, other)


def test_first_product_is_of_images_unless_it_is_watched():
    x, n_id, batch, edge_index = make_batch(5)
    model = ECGCN(8, 4, 2)
    args = (x, n_id, batch, edge_index, [2, 6, 4])
    expected = model.forward_nodes(*args)
    seen = []
    hook = model.convs[0].register_forward_pre_hook(lambda _, args: seen.append(args))
    torch.testing.assert_close(model.forward_nodes(*args), expected)
    assert torch.equal(seen[0][0], x[n_id] - x[n_id][batch])
    hook.remove()
    hook = model.convs[0].register_full_backward_hook(lambda *args: seen.append(args))
    model.forward_nodes(*args).sum().backward()
    assert len(seen) == 2
    hook.remove()
    with torch.autocast('cpu', torch.bfloat16):
        low = model.forward_nodes(*args)
        assert torch.equal(low, model(x[n_id] - x[n_id][batch], *args[3:]))
