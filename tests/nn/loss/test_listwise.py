import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torch_geometric_reid.nn import listwise_loss


def one_by_one(score, same):
    rows = []
    for s, t in zip(score.tolist(), same.tolist(), strict=True):
        whole = sum(math.exp(v) for v in s)
        terms = [-math.log(math.exp(v) / whole) for v, m in zip(s, t, strict=True) if m]
        rows += [sum(terms) / len(terms)] if terms else []
    return sum(rows) / len(rows) if rows else 0.0


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.integers(1, 7), st.integers(0, 999))
def test_listwise_loss_equals_one_by_one(num_probes, k, seed):
    generator = torch.Generator().manual_seed(seed)
    score = 3 * torch.randn(num_probes, k, generator=generator)
    same = torch.rand(num_probes, k, generator=generator) < 0.3
    out = listwise_loss(score, same)
    assert out.item() == pytest.approx(one_by_one(score, same), rel=1e-5, abs=1e-6)
    assert listwise_loss(score, same.long()).equal(out)


def test_listwise_loss_of_probes_without_a_match():
    score = torch.tensor([[1.0, 2.0], [0.0, 0.0]], requires_grad=True)
    same = torch.tensor([[False, False], [True, False]])
    loss = listwise_loss(score, same)
    assert loss.item() == pytest.approx(math.log(2))
    loss.backward()
    assert score.grad[0].tolist() == [0, 0]
    assert listwise_loss(score, same & False).item() == 0


def test_listwise_loss_with_scores_of_any_size():
    score = torch.tensor([[1e4, -1e4, 0.0]])
    assert listwise_loss(score, torch.tensor([[1, 0, 0]])).item() == 0
    assert listwise_loss(score, torch.tensor([[0, 1, 0]])).item() == 2e4


def test_listwise_loss_without_some_images():
    score = torch.tensor([[1.0, -torch.inf, 0.5], [2.0, 0.0, -torch.inf]])
    same = torch.tensor([[1, 0, 0], [0, 1, 0]])
    alone = [
        listwise_loss(s[s.isfinite()].view(1, 2), t[s.isfinite()].view(1, 2))
        for s, t in zip(score, same, strict=True)
    ]
    assert listwise_loss(score, same).item() == pytest.approx(sum(alone).item() / 2)


@pytest.mark.parametrize('shapes', [((3,), (3,)), ((2, 3), (3, 2))])
def test_listwise_loss_needs_one_shape(shapes):
    score, same = torch.zeros(shapes[0]), torch.zeros(shapes[1])
    with pytest.raises(ValueError, match="'score' and 'same' need to be of one shape"):
        listwise_loss(score, same)
