import math

import pytest
import torch
from torch_geometric.data import Data

from torch_geometric_reid.datasets import FakeReID
from torch_geometric_reid.metrics import calibration, pair_labels, tpr_at_fpr
from torch_geometric_reid.pipeline import (
    LinkConfig,
    Trust,
    fit_trusts,
    hold_out_hard,
    judge,
)
from torch_geometric_reid.pipeline.judged import PLAIN


def draw(split, seed=0):
    return FakeReID(split, num_identities=40, seed=seed)[0]


@pytest.fixture(scope='module')
def judged():
    query, gallery = draw('query', 1), draw('gallery', 1)
    distances = {name: rank(query.x, gallery.x) for name, rank in PLAIN.items()}
    trusts = {
        name: Trust.fit(rank, draw('query'), draw('gallery'))
        for name, rank in PLAIN.items()
    }
    return distances, trusts, judge(distances, query, gallery, trusts)


def test_figures_are_those_of_the_metrics(judged):
    distances, trusts, outs = judged
    query, gallery = draw('query', 1), draw('gallery', 1)
    same, counts = pair_labels(query.y, gallery.y, query.camera, gallery.camera)
    assert list(outs) == [(m, s) for m in PLAIN for s in ('raw', 'calibrated')]
    for (method, score), out in outs.items():
        distance = distances[method]
        prob = (1 - distance).clamp(0, 1)
        order = -distance
        if score == 'calibrated':
            prob = order = trusts[method].probability(distance)
        row = out.row(method, score)
        assert (row['method'], row['score']) == (method, score)
        assert row['ECE, all pairs'] == calibration(prob[counts], same[counts]).error
        tpr = tpr_at_fpr(order[counts], same[counts], 1e-3)
        assert row['TPR at FPR 1e-3 (%)'] == 100 * tpr
        best = [
            (float(p[c].max()), int(s[c][p[c].argmax()]))
            for p, s, c in zip(prob, same, counts, strict=True)
        ]
        values, labels = map(torch.tensor, zip(*best, strict=True))
        expected = calibration(values, labels).error
        assert row['ECE, first image'] == pytest.approx(expected)
        accepted = prob >= trusts[method].threshold(1e-3)
        found = float(accepted[counts & ~same].double().mean())
        assert row.get('FPR of the threshold') == (None if score == 'raw' else found)


def test_calibrated_scores_are_better_calibrated(judged):
    outs = judged[2]
    for method in PLAIN:
        raw, calibrated = outs[method, 'raw'], outs[method, 'calibrated']
        assert math.isnan(raw.found_fpr)
        assert calibrated.all_pairs.error < raw.all_pairs.error / 5
        assert calibrated.found_fpr < 5e-3


def test_a_probe_without_any_pair_is_left_out():
    query = Data(y=torch.tensor([0, -1]))
    gallery = Data(y=torch.tensor([0, 1]))
    out = judge({'a': torch.tensor([[0.1, 0.9], [0.0, 0.0]])}, query, gallery)
    assert out['a', 'raw'].first_images.count.tolist() == [1]
    assert out['a', 'raw'].first_images.confidence == pytest.approx(0.9)


def test_fit_trusts(monkeypatch):
    train, gallery, config = draw('train'), draw('gallery'), LinkConfig()
    monkeypatch.setattr(
        'torch_geometric_reid.pipeline.judged.fit_trust', lambda *args: args
    )
    trusts = fit_trusts(train, gallery.x, config, 3, True, 'gallery')
    assert list(trusts) == [*PLAIN, 'links']
    x, y, reference, *others = trusts['links']
    assert (x is train.x, y is train.y, reference is gallery.x) == (True, True, True)
    assert others == [config, 3, True, 'gallery', train.camera]
    _, query, images, _ = hold_out_hard(
        train, gallery.x, LinkConfig(metric=0.0), seed=3
    )
    for name, rank in PLAIN.items():
        alone = Trust.fit(rank, query, images, seed=3)
        assert trusts[name].logit.equal(alone.logit)
        assert trusts[name].graph is None


def test_first_images_are_the_nearest_where_probabilities_tie():
    query, gallery = Data(y=torch.tensor([1, 2])), Data(y=torch.tensor([2, 1, 3]))
    distance = torch.tensor([[0.2, 0.1, 0.9], [0.1, 0.2, 0.9]])
    trust = Trust.fit(
        lambda query, gallery: torch.tensor([[0.2, 0.8], [0.8, 0.2]])[
            :, : len(gallery)
        ],
        Data(x=torch.zeros(2, 1), y=torch.tensor([0, 1])),
        Data(x=torch.zeros(2, 1), y=torch.tensor([0, 1])),
    )
    prob = trust.probability(distance)
    assert prob[0, 0] == prob[0, 1]
    out = judge({'a': distance}, query, gallery, {'a': trust})['a', 'calibrated']
    assert out.first_images.error == pytest.approx(1 - float(prob[0, 1]))


def test_judge_names_what_is_wrong():
    query, gallery = Data(y=torch.tensor([1, 2])), Data(y=torch.tensor([2, 1, 3]))
    with pytest.raises(ValueError, match=r"'trusts'.*\['a'\]"):
        judge({'a': torch.rand(2, 3)}, query, gallery, {})
    with pytest.raises(ValueError, match=r"'distances'.*\[2, 3\].*\[2, 2\] for 'a'"):
        judge({'a': torch.rand(2, 2)}, query, gallery)
