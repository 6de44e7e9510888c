import pytest
import torch

from torch_geometric_reid.metrics import calibration


def test_calibration_by_hand():
    prob = torch.tensor([0.05, 0.15, 0.15, 0.95, 1.0])
    label = torch.tensor([0, 0, 1, 1, 1])
    out = calibration(prob, label, num_bins=10)
    assert out.count.tolist() == [1, 2, 2]
    assert out.confidence.tolist() == pytest.approx([0.05, 0.15, 0.975])
    assert out.frequency.tolist() == [0, 0.5, 1]
    assert out.error == pytest.approx((0.05 + 2 * 0.35 + 2 * 0.025) / 5)


def test_drawn_labels_are_calibrated():
    generator = torch.Generator().manual_seed(0)
    prob = torch.rand(20_000, generator=generator)
    label = torch.rand(20_000, generator=generator) < prob
    assert calibration(prob, label).error < 0.02
    assert calibration(prob.square(), label).error > 0.1


def test_rejects():
    one = torch.ones(1)
    with pytest.raises(ValueError, match="'prob' and 'label'"):
        calibration(one, torch.ones(2))
    with pytest.raises(ValueError, match="'prob' and 'label'"):
        calibration(one[:0], one[:0])
    for bad in (2 * one, -one, one * float('nan')):
        with pytest.raises(ValueError, match="'prob' needs to lie"):
            calibration(bad, one)
    with pytest.raises(ValueError, match="'label' needs"):
        calibration(one, 3 * one)
    with pytest.raises(ValueError, match="'num_bins'"):
        calibration(one, one, 0)
