import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_curve

from torch_geometric_reid.metrics import pair_labels, roc, threshold_at_fpr, tpr_at_fpr

SCORE = torch.tensor([0.9, 0.8, 0.8, 0.7, 0.4, 0.1])
SAME = torch.tensor([1, 1, 0, 1, 0, 0])


def test_roc_by_hand():
    out = roc(SCORE, SAME)
    assert out.threshold.tolist() == pytest.approx(
        [float('inf'), 0.9, 0.8, 0.7, 0.4, 0.1]
    )
    assert out.tpr.tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1, 1, 1])
    assert out.fpr.tolist() == pytest.approx([0, 0, 1 / 3, 1 / 3, 2 / 3, 1])


@pytest.mark.parametrize(
    ('fpr', 'tpr', 'threshold'),
    [(0, 1 / 3, 0.9), (0.33, 1 / 3, 0.9), (1 / 3, 1, 0.7), (0.5, 1, 0.7), (1, 1, 0.1)],
)
def test_rates_by_hand(fpr, tpr, threshold):
    assert tpr_at_fpr(SCORE, SAME, fpr) == pytest.approx(tpr)
    assert threshold_at_fpr(SCORE, SAME, fpr) == pytest.approx(threshold)


def test_nothing_is_accepted_where_the_best_pair_is_false():
    score, same = torch.tensor([[0.9, 0.5]]), torch.tensor([[False, True]])
    assert threshold_at_fpr(score, same, 0.5) == float('inf')
    assert tpr_at_fpr(score, same, 0.5) == 0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 200), st.integers(1, 30))
def test_equals_scikit_learn(seed, num, num_values):
    generator = torch.Generator().manual_seed(seed)
    score = torch.randint(num_values, (num,), generator=generator) / 7
    same = torch.rand(num, generator=generator) < 0.4
    same[:2] = torch.tensor([True, False])
    out = roc(score, same)
    fpr, tpr, threshold = roc_curve(
        same.numpy(), score.double().numpy(), drop_intermediate=False
    )
    assert np.allclose(out.fpr, fpr)
    assert np.allclose(out.tpr, tpr)
    assert np.allclose(out.threshold, threshold)
    for limit in (0.0, 0.1, 0.5, *fpr):
        kept = fpr <= limit * (1 + 1e-12)
        assert tpr_at_fpr(score, same, limit) == pytest.approx(tpr[kept].max())
        accepted = score.double() >= threshold_at_fpr(score, same, limit)
        assert accepted[~same].double().mean() <= limit * (1 + 1e-12)


@pytest.mark.parametrize(
    ('score', 'same', 'message'),
    [
        (SCORE, SAME[1:], r"'score' and 'same'.*\[6\] and \[5\]"),
        (SCORE[:0], SAME[:0], "'same'.*got 0 and 0"),
        (SCORE, torch.ones(6), "'same'.*got 6 and 0"),
        (SCORE, 2 * SAME, "'same' needs zeros and ones"),
        (SCORE * torch.nan, SAME, "'score'.*got 6 NaN"),
    ],
)
def test_rejects(score, same, message):
    with pytest.raises(ValueError, match=message):
        roc(score, same)


@pytest.mark.parametrize('fpr', [-0.1, 1.1, float('nan')])
def test_rejects_rates(fpr):
    with pytest.raises(ValueError, match="'fpr' needs to lie"):
        tpr_at_fpr(SCORE, SAME, fpr)


def test_pair_labels_by_hand():
    same, counts = pair_labels([3, 4, -1], [3, 3, 4, -1], [0, 1, 0], [0, 1, 0, 0])
    assert same[0].tolist() == [True, True, False, False]
    assert same[1].tolist() == [False, False, True, False]
    assert counts.tolist() == [
        [False, True, True, False],
        [True, True, True, False],
        [False, False, False, False],
    ]
    assert pair_labels([3], [3, 4])[1].all()


def test_pair_labels_rejects():
    with pytest.raises(ValueError, match="'gallery_camera' alone"):
        pair_labels([3], [3], None, [0])
    with pytest.raises(ValueError, match="'query_camera' needs one id"):
        pair_labels([3], [3], [0, 1], [0])
