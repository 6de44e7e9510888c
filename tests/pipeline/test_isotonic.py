import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from torch_geometric_reid.pipeline.isotonic import interpolate, isotonic_blocks


def test_blocks_by_hand():
    score = torch.tensor([3.0, 1.0, 2.0, 4.0, 4.0])
    place, value = isotonic_blocks(score, torch.tensor([0.0, 0.0, 1.0, 1.0, 0.8]))
    assert place.tolist() == [1, 2.5, 4]
    assert value.tolist() == pytest.approx([0, 0.5, 0.9])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 120), st.integers(1, 40))
def test_blocks_equal_scikit_learn(seed, num, num_values):
    generator = torch.Generator().manual_seed(seed)
    score = torch.randint(num_values, (num,), generator=generator).double()
    target = (torch.rand(num, generator=generator) < score / num_values).double()
    place, value = isotonic_blocks(score, target)
    expected = IsotonicRegression().fit_transform(score, target)
    assert value.numpy() == pytest.approx(np.unique(expected.round(12)), abs=1e-9)
    nearest = (value.view(-1, 1) - torch.from_numpy(expected)).abs().argmin(dim=0)
    for block, mean in enumerate(place):
        assert float(mean) == pytest.approx(float(score[nearest == block].mean()))


def test_interpolate():
    knot, value = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0.0, 1.0, 0.0])
    x = torch.tensor([[0.0, 1.0, 1.5], [3.0, 4.0, torch.inf]])
    expected = [[0, 0, 0.5], [0.5, 0, 0]]
    assert interpolate(x, knot, value).tolist() == expected
    assert interpolate(x, knot[:1], value[1:2]).eq(1).all()
