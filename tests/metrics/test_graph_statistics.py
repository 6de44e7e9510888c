from importlib import import_module

import pytest
import torch
import torch.nn.functional as F

from torch_geometric_reid.metrics import graph_statistics


@pytest.mark.parametrize(('num_items', 'k'), [(60, 20), (30, 3), (4, 40), (2, 1)])
def test_statistics_equal_a_slow_form(num_items, k):
    generator = torch.Generator().manual_seed(0)
    x = F.normalize(torch.randn(num_items, 5, generator=generator))
    out = graph_statistics(x, k)
    k = min(k, num_items - 1)
    cosine = x @ x.t()
    off = ~torch.eye(num_items, dtype=torch.bool)
    order = cosine[off].view(num_items, -1).sort(dim=1, descending=True).values
    centered = F.normalize(x - x.mean(dim=0))
    expected = (
        (centered @ centered.t() + 1 / (num_items - 1))[off].square().mean(),
        order[:, min(5, k) - 1].mean(),
        order[:, max(k // 2, 1) - 1 : k].mean(),
    )
    assert tuple(out) == pytest.approx(tuple(map(float, expected)), abs=1e-5)


def test_a_direction_that_all_share_is_no_lack_of_dimensions():
    x = torch.randn(300, 40, generator=torch.Generator().manual_seed(0))
    alone = graph_statistics(F.normalize(x), 10)
    shared = graph_statistics(F.normalize(x + 2), 10)
    assert shared.squared_cosine == pytest.approx(alone.squared_cosine, rel=0.1)
    assert shared.near_cosine > alone.near_cosine + 0.3


def test_few_items_seem_to_use_as_many_dimensions():
    generator = torch.Generator().manual_seed(0)
    for num_items in (5, 10, 40):
        draws = F.normalize(torch.randn(200, num_items, 64, generator=generator), dim=2)
        found = sum(graph_statistics(x, 4).squared_cosine for x in draws) / 200
        assert found == pytest.approx(1 / 64, rel=0.2)


def test_many_items_are_sampled(monkeypatch):
    x = F.normalize(torch.randn(500, 5, generator=torch.Generator().manual_seed(0)))
    whole = graph_statistics(x, 10)
    module = import_module('torch_geometric_reid.metrics.graph_statistics')
    monkeypatch.setattr(module, 'ANCHORS', 200)
    some = graph_statistics(x, 10)
    assert tuple(some) == pytest.approx(tuple(whole), abs=0.02)
    assert some != whole


def test_rejects():
    with pytest.raises(ValueError, match="'x' needs at least two items"):
        graph_statistics(torch.ones(1, 2), 3)
    with pytest.raises(ValueError, match="'k'"):
        graph_statistics(torch.ones(3, 2), 0)
