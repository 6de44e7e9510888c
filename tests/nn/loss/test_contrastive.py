import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from torch_geometric_reid.nn import (
    SupervisedContrastiveLoss,
    supervised_contrastive_loss,
)


def plain(z, y, temperature, include_self):
    """The N x N formula, read off eq. (6) one anchor at a time."""
    score = z @ z.t() / temperature
    total = 0 * z.sum()
    for i in range(len(z)):
        other = [j for j in range(len(z)) if include_self or j != i]
        positive = [j for j in other if y[j] == y[i]]
        for j in positive:
            total = total - (score[i, j] - score[i, other].logsumexp(0)) / len(positive)
    return total / len(z)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 13), st.integers(1, 5), st.booleans(), st.booleans(),
    st.integers(0, 10**6),
)  # fmt: skip
def test_supervised_contrastive_loss_equals_plain_formula(
    num, classes, include_self, normalize, seed
):
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(num, 4, generator=generator, dtype=torch.float64)
    y = torch.randint(classes, (num,), generator=generator) * 7 - 1
    out, grad = value_and_grad(
        lambda z: supervised_contrastive_loss(z, y, 0.3, include_self, normalize), z
    )
    expected = value_and_grad(
        lambda z: plain(F.normalize(z) if normalize else z, y, 0.3, include_self), z
    )
    assert torch.allclose(out, expected[0], atol=1e-12)
    assert torch.allclose(grad, expected[1], atol=1e-12)


def value_and_grad(fn, z):
    z = z.clone().requires_grad_()
    out = fn(z)
    out.backward()
    return out.detach(), z.grad


@pytest.mark.parametrize('include_self', [False, True])
def test_supervised_contrastive_loss_in_blocks(monkeypatch, include_self):
    z = torch.randn(50, 8, dtype=torch.float64)
    y = torch.randint(6, (50,))
    y[7] = 99  # alone
    whole = value_and_grad(
        lambda z: supervised_contrastive_loss(z, y, 0.1, include_self), z
    )
    monkeypatch.setattr('torch_geometric_reid.nn.loss.contrastive.BLOCK_ROWS', 16)
    parts = value_and_grad(
        lambda z: supervised_contrastive_loss(z, y, 0.1, include_self), z
    )
    assert torch.allclose(whole[0], parts[0], atol=1e-12)
    assert torch.allclose(whole[1], parts[1], atol=1e-12)
    monkeypatch.setattr('torch_geometric_reid.nn.loss.contrastive.KEPT_BYTES', 50)
    again = value_and_grad(
        lambda z: supervised_contrastive_loss(z, y, 0.1, include_self), z
    )
    assert torch.equal(parts[1], again[1])


@pytest.mark.parametrize('num', [16, 37, 64])
def test_no_more_similarities_are_kept_than_allowed(monkeypatch, num):
    module = 'torch_geometric_reid.nn.loss.contrastive'
    monkeypatch.setattr(f'{module}.BLOCK_ROWS', 16)
    z = torch.randn(num, 8, requires_grad=True)
    for limit in (2000, 20_000):
        monkeypatch.setattr(f'{module}.KEPT_BYTES', limit)
        kept = []
        with torch.autograd.graph.saved_tensors_hooks(kept.append, lambda x: x):
            supervised_contrastive_loss(z, torch.arange(num) % 4, normalize=False)
        sizes = [4 * x.numel() for x in kept if x.dim() == 2 and x.size(1) != 8]
        assert sum(sizes) <= limit
        assert bool(sizes) == (4 * num * (num + 16) / 2 <= limit)


def test_supervised_contrastive_loss_survives_small_temperatures():
    z = torch.randn(20, 8) * 100
    y = torch.arange(20) // 2
    loss, grad = value_and_grad(
        lambda z: supervised_contrastive_loss(z, y, 1e-3, normalize=False), z
    )
    assert loss.isfinite()
    assert grad.isfinite().all()


def test_supervised_contrastive_loss_of_singletons():
    z = torch.randn(4, 3)
    y = torch.arange(4)
    loss, grad = value_and_grad(
        lambda z: supervised_contrastive_loss(z, y, include_self=False), z
    )
    assert loss == 0
    assert not grad.any()
    assert supervised_contrastive_loss(z[:1], y[:1]).item() == pytest.approx(
        0, abs=1e-5
    )


def test_supervised_contrastive_loss_module():
    z, y = torch.randn(9, 3), torch.arange(9) % 3
    module = SupervisedContrastiveLoss(0.2, include_self=False)
    assert module(z, y) == supervised_contrastive_loss(z, y, 0.2, False)


def test_supervised_contrastive_loss_rejects():
    z, y = torch.randn(9, 3), torch.arange(9)
    with pytest.raises(ValueError, match=r"'y' needs one id for each of 9.*\[8\]"):
        supervised_contrastive_loss(z, y[:8])
    with pytest.raises(ValueError, match=r"'z'.*\[9\]"):
        supervised_contrastive_loss(z[:, 0], y)
    with pytest.raises(ValueError, match="'temperature'"):
        supervised_contrastive_loss(z, y, 0.0)


@pytest.mark.parametrize(('scale', 'temperature'), [(4.0, 0.07), (0.0, 0.01)])
def test_gradients_of_singletons_are_finite(scale, temperature):
    z = torch.randn(12, 8) * (scale or 1)
    y = torch.arange(12) // 2
    y[0] = 99  # alone, as is its former partner
    loss, grad = value_and_grad(
        lambda z: supervised_contrastive_loss(
            z, y, temperature, include_self=False, normalize=scale == 0
        ),
        z,
    )
    assert loss.isfinite()
    assert grad.isfinite().all()


def test_autocast_products_are_of_low_precision():
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(40) % 8
    z = torch.randn(40, 16, generator=generator).requires_grad_()
    exact = supervised_contrastive_loss(z, y)
    with torch.autocast('cpu', torch.bfloat16):
        low = supervised_contrastive_loss(z, y)
    assert low.dtype == torch.float32
    assert low != exact
    assert torch.allclose(low, exact, rtol=1e-2)
    grads = [torch.autograd.grad(loss, z)[0].flatten() for loss in (low, exact)]
    assert torch.cosine_similarity(*grads, dim=0) > 0.999
