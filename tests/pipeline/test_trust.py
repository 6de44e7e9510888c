from dataclasses import replace
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch_geometric.data import Data

from torch_geometric_reid.datasets import FakeReID
from torch_geometric_reid.distance import pairwise_distance
from torch_geometric_reid.metrics import calibration, pair_labels, threshold_at_fpr
from torch_geometric_reid.pipeline import (
    LinkConfig,
    LinkReRanker,
    Trust,
    fit_trust,
    hold_out_hard,
)

TINY = LinkConfig(k=12, num_edges=4, hidden_channels=16, num_probes=320)


def draw(split, seed=0):
    return FakeReID(split, num_identities=60, seed=seed)[0]


@pytest.fixture(scope='module')
def trust():
    return Trust.fit(pairwise_distance, draw('query'), draw('gallery'))


def test_probabilities_hold_on_other_identities(trust):
    query, gallery = draw('query', 1), draw('gallery', 1)
    same, counts = pair_labels(query.y, gallery.y, query.camera, gallery.camera)
    distance = pairwise_distance(query.x, gallery.x)
    prob = trust.probability(distance)
    assert calibration(prob[counts], same[counts]).error < 0.01
    accepted = prob >= trust.threshold(0.01)
    assert 0.005 < accepted[counts & ~same].double().mean() < 0.02


def test_nearer_is_likelier(trust):
    prob = trust.probability(torch.linspace(0, 4, 1000))
    assert (prob[1:] <= prob[:-1]).all()
    assert 0 < prob[-1] < prob[0] < 1


def test_threshold_is_that_of_held_out_pairs(trust):
    query, gallery = draw('query'), draw('gallery')
    same, counts = pair_labels(query.y, gallery.y, query.camera, gallery.camera)
    prob = trust.probability(pairwise_distance(query.x, gallery.x))
    for fpr in (0.0, 1e-4, 1e-3, 0.01, 1.0):
        best = threshold_at_fpr(prob[counts], same[counts], fpr)
        assert trust.threshold(fpr) == best


def test_threshold_of_many_pairs(monkeypatch):
    query, gallery = draw('query'), draw('gallery')
    exact = Trust.fit(pairwise_distance, query, gallery)
    monkeypatch.setattr('torch_geometric_reid.pipeline.trust.MOST_RATES', 400)
    some = Trust.fit(pairwise_distance, query, gallery)
    assert some.fpr.numel() <= 400 < exact.fpr.numel()
    same, counts = pair_labels(query.y, gallery.y, query.camera, gallery.camera)
    prob = some.probability(pairwise_distance(query.x, gallery.x))[counts & ~same]
    for fpr in torch.logspace(-5, 0, 100).clamp(max=1).tolist():
        found, best = some.threshold(fpr), exact.threshold(fpr)
        accepted = (prob >= found).double().mean()
        assert accepted <= fpr * (1 + 1e-9)
        if (prob >= best).sum() <= 20:
            assert found == best
        assert accepted >= 0.9 * (prob >= best).double().mean()


def test_none_of_these(trust):
    query, gallery = draw('query', 1), draw('gallery', 1)
    away = torch.isin(query.y, query.y.unique()[::2])
    gallery = gallery.subgraph(~torch.isin(gallery.y, query.y[away]))
    nearest = pairwise_distance(query.x, gallery.x).amin(dim=1)
    masks = [trust.none_of_these(nearest, fpr) for fpr in (0.0, 0.1, 0.5, 1.0)]
    assert 0.8 < masks[1][away].double().mean() < 0.97
    assert masks[1][~away].double().mean() < masks[1][away].double().mean() - 0.1
    assert not masks[3].any()
    for strict, loose in pairwise(masks):
        assert (strict | ~loose).all()


def test_share_of_strangers_is_kept():
    trust = Trust(*[torch.zeros(1)] * 4, torch.tensor([0.1, 0.2, 0.2, 0.9]))
    nearest = torch.tensor([0.05, 0.1, 0.2, 0.9, 1.0])
    for fpr, accepted in [(0.0, 1), (0.25, 2), (0.5, 2), (0.75, 3), (1.0, 5)]:
        assert int((~trust.none_of_these(nearest, fpr)).sum()) == accepted


def test_strangers_nearer_than_any_pair_of_two_identities():
    # Probabilities of all near images are one, of which a threshold could make
    # nothing.
    near, far = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([1.0, 1.1, 1.2])
    trust = Trust(near, torch.full((3,), 5.0), *[torch.zeros(1)] * 2, far / 10)
    assert trust.probability(near / 5).unique().numel() == 1
    assert trust.none_of_these(torch.tensor([0.05, 0.115]), 0.4).tolist() == [
        False,
        True,
    ]


def test_state(trust):
    state = trust.state_dict()
    assert all(isinstance(value, torch.Tensor) for value in state.values())
    again = Trust.from_state_dict(state)
    x = torch.rand(50)
    assert again.probability(x).equal(trust.probability(x))
    assert again.threshold(0.01) == trust.threshold(0.01)
    assert again.none_of_these(x).equal(trust.none_of_these(x))


@pytest.mark.parametrize('graph', [None, 'probe', 'gallery', 'joint'])
def test_state_keeps_the_graph(trust, graph):
    state = replace(trust, graph=graph).state_dict()
    assert all(isinstance(value, torch.Tensor) for value in state.values())
    assert ('graph' in state) == (graph is not None)
    assert Trust.from_state_dict(state).graph == graph


def test_pairs_of_one_camera_are_left_out():
    x = F.normalize(torch.randn(8, 4))
    y, camera = torch.arange(8) % 4, torch.zeros(8, dtype=torch.long)
    query = Data(x=x, y=y, camera=camera)
    with pytest.raises(ValueError, match="'same' needs pairs of one identity"):
        Trust.fit(pairwise_distance, query, query)


def test_rejects(trust):
    query, gallery = draw('query'), draw('gallery')
    one = gallery.subgraph(gallery.y == gallery.y[0])
    with pytest.raises(ValueError, match='at least two identities'):
        Trust.fit(pairwise_distance, query, one)
    with pytest.raises(ValueError, match="'fpr' needs"):
        trust.threshold(2.0)
    with pytest.raises(ValueError, match="'fpr' needs"):
        trust.none_of_these(torch.rand(3), -1.0)


def test_held_out_identities_are_as_hard_as_the_gallery():
    train = FakeReID('train', num_identities=45, noise=0.6)[0]
    gallery = FakeReID('gallery', num_identities=45)[0]
    kept, *held_out, reference = hold_out_hard(train, gallery.x, LinkConfig())
    easy = hold_out_hard(train, gallery.x, LinkConfig(degrade=False))[1:3]
    assert not set(kept.y.tolist()) & set(held_out[0].y.tolist())
    assert reference.shape == gallery.x.shape

    def nearest(query, images):
        return float(
            pairwise_distance(query.x, images.x).topk(5, largest=False)[0].mean()
        )

    target = float(
        pairwise_distance(gallery.x, gallery.x).topk(6, largest=False)[0][:, 1:].mean()
    )
    assert abs(nearest(*held_out) - target) < abs(nearest(*easy) - target) / 2


def test_fit_trust():
    train, query, gallery = (
        FakeReID(split, num_identities=24, num_cameras=4, num_images=2)[0]
        for split in ('train', 'query', 'gallery')
    )
    data = (train.x, train.y, gallery.x, TINY)
    trust = fit_trust(*data, camera=train.camera)
    assert trust.graph == 'joint'
    again = fit_trust(*data, camera=train.camera)
    for key, value in trust.state_dict().items():
        assert value.equal(again.state_dict()[key])
    distance = LinkReRanker(*data).rank(query.x, gallery.x, 'joint')
    same, counts = pair_labels(query.y, gallery.y, query.camera, gallery.camera)
    prob = trust.probability(distance)
    assert prob[counts & same].mean() > 5 * prob[counts & ~same].mean()
    assert calibration(prob[counts], same[counts]).error < 0.1
