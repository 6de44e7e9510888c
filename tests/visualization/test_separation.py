import math

import pytest
import torch
import torch.nn.functional as F

from torch_geometric_reid.visualization import identity_distances, separation


@pytest.mark.parametrize('block', [1, 100, 10**6])
def test_equals_cdist(monkeypatch, block):
    monkeypatch.setattr(separation, 'BLOCK_ELEMENTS', block)
    x, y = torch.randn(37, 6), torch.randint(0, 5, (37,))
    distance = torch.cdist(F.normalize(x), F.normalize(x)).double()
    same, other = y.view(-1, 1) == y, ~torch.eye(37, dtype=torch.bool)
    within, between = identity_distances(x, y)
    assert within == pytest.approx(float(distance[same & other].mean()), abs=1e-6)
    assert between == pytest.approx(float(distance[~same].mean()), abs=1e-6)


def test_no_such_pair():
    x = torch.eye(3)
    within, between = identity_distances(x, [0, 1, 2])
    assert math.isnan(within)
    assert between == pytest.approx(2**0.5)
    within, between = identity_distances(x, [4, 4, 4])
    assert within == pytest.approx(2**0.5)
    assert math.isnan(between)


def test_rejects_ids_of_another_length():
    with pytest.raises(ValueError, match="'y' needs one id for each of 3"):
        identity_distances(torch.eye(3), [0, 1])
