import math

import pytest
import torch
import torch.nn.functional as F

from torch_geometric_reid.nn import FocalLoss, focal_loss


def by_hand(p, y, alpha, gamma):
    if y:
        return -alpha * (1 - p) ** gamma * math.log(p)
    return -(1 - alpha) * p**gamma * math.log(1 - p)


def test_focal_loss_by_hand():
    p = torch.tensor([0.9, 0.2, 0.6])
    y = torch.tensor([1, 1, 0])
    logits = torch.stack([torch.zeros(3), (p / (1 - p)).log()], dim=1)
    expected = sum(by_hand(float(a), int(b), 0.25, 2) for a, b in zip(p, y)) / 3  # noqa: B905
    assert focal_loss(logits, y).item() == pytest.approx(expected, rel=1e-5)
    other = sum(by_hand(float(a), int(b), 0.75, 2) for a, b in zip(p, y)) / 3  # noqa: B905
    out = focal_loss(logits, y, alpha_on='negative').item()
    assert out == pytest.approx(other, rel=1e-5)
    assert FocalLoss(0.3, 1.0)(logits, y) == focal_loss(logits, y, 0.3, 1.0)


def test_focal_loss_without_focus_is_half_of_cross_entropy():
    logits, y = torch.randn(20, 2), torch.randint(2, (20,))
    out = focal_loss(logits, y, alpha=0.5, gamma=0)
    assert torch.allclose(out, F.cross_entropy(logits, y) / 2)


def test_focal_loss_falls_as_the_right_probability_rises():
    logits = torch.stack([torch.zeros(50), torch.linspace(-9, 9, 50)], dim=1)
    positive = [focal_loss(row.view(1, 2), torch.tensor([1])).item() for row in logits]
    negative = [focal_loss(row.view(1, 2), torch.tensor([0])).item() for row in logits]
    assert positive == sorted(positive, reverse=True)
    assert negative == sorted(negative)


def test_focal_loss_is_finite_for_large_logits():
    logits = torch.tensor([[1e4, -1e4], [-1e4, 1e4]], requires_grad=True)
    loss = focal_loss(logits, torch.tensor([1, 1]))
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()


def test_focal_loss_rejects():
    logits, y = torch.randn(3, 2), torch.zeros(3)
    with pytest.raises(ValueError, match=r"'logits'.*\[M, 2\].*\[3\]"):
        focal_loss(logits[:, 0], y)
    with pytest.raises(ValueError, match=r"'y'.*\[3\].*\[2\]"):
        focal_loss(logits, y[:2])
    with pytest.raises(ValueError, match="'alpha'"):
        focal_loss(logits, y, alpha=2)
    with pytest.raises(ValueError, match="'gamma'"):
        focal_loss(logits, y, gamma=-1)
    with pytest.raises(ValueError, match="'alpha_on'"):
        focal_loss(logits, y, alpha_on='both')


def test_focal_loss_has_finite_gradients_for_small_exponents():
    logits = torch.tensor([[-200.0, 200.0]], requires_grad=True)
    focal_loss(logits, torch.tensor([1]), gamma=0.5).backward()
    assert logits.grad.isfinite().all()
