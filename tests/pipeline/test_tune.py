import inspect

import pytest
import torch
import torch.nn.functional as F

from torch_geometric_reid.datasets import FakeReID
from torch_geometric_reid.distance import pairwise_distance
from torch_geometric_reid.metrics import evaluate
from torch_geometric_reid.metrics.graph_statistics import graph_statistics
from torch_geometric_reid.pipeline import (
    Config,
    ECConfig,
    FAConfig,
    GraphReRanker,
    LinkConfig,
    Trial,
    Tuning,
    hold_out,
    tune,
)
from torch_geometric_reid.pipeline.held_out import HeldOut, Score, match_hardness
from torch_geometric_reid.pipeline.tune_options import (
    VALUES,
    TunedOptions,
    choose_values,
)
from torch_geometric_reid.rerank import gnn

SMALL = Config(
    fa=FAConfig(steps=2, hidden_channels=16),
    ec=ECConfig((8, 2), 3, hidden_channels=8, epochs=1),
    links=LinkConfig(k=8, num_edges=3, num_probes=64),
)


def easy(split='train', **kwargs):
    return FakeReID(split, num_identities=20, noise=0.6, camera_shift=0.2, **kwargs)[0]


def hard(split='gallery'):
    return FakeReID(split, num_identities=20, seed=1)[0]


def test_values_of_options():
    options = TunedOptions.of(SMALL)
    assert options['k_reciprocal.k1'] == 20
    assert options['qe.database'] is True
    assert options['ec.num_neighbors'] == (8, 2)
    changed = options.replace('ec.num_neighbors', [20, 5]).replace('fa.k', 7)
    changed = changed.replace('k_reciprocal.k2', 3)
    assert changed.config.ec.num_neighbors == (20, 5)
    assert changed.config.fa.k == 7
    assert changed.config.rank.k_reciprocal == (20, 3, 0.3)
    assert changed.parameters['k_reciprocal']['k2'] == 3
    assert options.config == SMALL
    assert options.method('rank.weight') == options.method('ec.gamma') == 'fa+ec'
    assert options.method('fa.k') == 'fa'
    assert options.method('gnn.k2') == 'gnn'
    assert TunedOptions.of(Config(fa=None)).method('rank.weight') == 'ec'


def test_default_values():
    names = [name for name in VALUES if not name.startswith('links.')]
    assert list(choose_values(Config())) == names
    without = choose_values(Config(fa=None, ec=None))
    assert {name.split('.')[0] for name in without} == {
        'k_reciprocal', 'gnn', 'qe', 'ecn', 'gcr',
    }  # fmt: skip
    assert choose_values(SMALL, ['links.beta']) == {'links.beta': VALUES['links.beta']}
    assert choose_values(SMALL, values={'fa.k': [2]}) == {'fa.k': (2,)}
    both = choose_values(SMALL, ['gnn.k2'], {'fa.steps': [1, 2]})
    assert both == {'gnn.k2': VALUES['gnn.k2'], 'fa.steps': (1, 2)}


@pytest.mark.parametrize(
    ('options', 'values', 'message'),
    [
        (['k1'], None, "'options' needs names such as 'fa.k'"),
        (['seed.k'], None, 'first part of fa, ec'),
        (['fa.width'], None, "'fa' has no option 'width'"),
        (['gnn.k3'], None, "'gnn' has no option 'k3'"),
        (['fa.steps'], None, "'fa.steps' needs values to try"),
        (None, {'links.beta': [0.0]}, "'links.beta' needs to be positive"),
    ],
)
def test_rejects_options(options, values, message):
    with pytest.raises(ValueError, match=message):
        choose_values(SMALL, options, values)


def test_rejects_an_option_of_what_is_left_out():
    with pytest.raises(ValueError, match="'fa.k' cannot be tuned"):
        choose_values(Config(fa=None), ['fa.k'])


def test_match_hardness():
    data, reference = easy(), hard().x
    x = match_hardness(data.x, data.y, reference)
    assert x.shape == data.x.shape
    assert torch.allclose(x.norm(dim=1), torch.ones(len(x)), atol=1e-5)
    k = 36
    target = graph_statistics(reference, k).near_cosine
    before = graph_statistics(data.x, k).near_cosine
    assert abs(graph_statistics(x, k).near_cosine - target) < 0.2 * abs(before - target)
    assert (x * data.x).sum(dim=1).mean() > 0.5  # in the space of the training images


def test_held_out_trains_as_the_re_ranker_does():
    data = easy()
    options = TunedOptions.of(SMALL)
    case = HeldOut(data, seed=1)
    train, query, gallery = hold_out(data, 0.5, seed=1)
    assert case.train.x.equal(train.x)
    for method, config in [
        ('fa', Config('paper', SMALL.fa, None, seed=1)),
        ('fa+ec', Config('paper', SMALL.fa, SMALL.ec, seed=1)),
        ('links', Config('links', links=SMALL.links, seed=1)),
    ]:
        ranker = GraphReRanker(config).fit(train.x, train.y, gallery.x)
        distance = ranker.rank(query.x, gallery.x)
        result = evaluate(distance, query.y, gallery.y, query.camera, gallery.camera)
        score = case.score(method, options)
        assert score.mAP == pytest.approx(100 * result.mAP, abs=0.05)

    heavy = case.score('fa+ec', options.replace('rank.weight', 5.0))
    assert heavy != case.score('fa+ec', options)
    none = case.score('fa+ec', options.replace('rank.weight', 0.0))
    assert none.mAP == pytest.approx(case.score('fa', options).mAP)
    assert case.baseline == case.untouched


def test_tune_reports_what_it_tried():
    data, reference = easy(), hard().x
    result = tune(
        data, reference, SMALL, values={'gnn.k1': [10, 15], 'gnn.k2': [1, 2, 4]}
    )
    assert [(t.option, t.value) for t in result.trials[:3]] == [
        ('gnn.k1', 26), ('gnn.k1', 10), ('gnn.k1', 15),
    ]  # fmt: skip
    assert len(result.trials[0].scores) == 3
    assert result.trials[0].gains == [0, 0, 0]
    assert [t.method for t in result.methods] == ['baseline', 'gnn']
    assert sum(t.chosen for t in result.trials) == 2
    assert list(result.parameters) == ['gnn']
    assert result.config == SMALL

    parameters = result.parameters['gnn']
    case = HeldOut(data, reference, seed=2)
    q, g = case.query, case.gallery
    expected = []
    for distance in (pairwise_distance(q.x, g.x), gnn(q.x, g.x, **parameters)):
        found = evaluate(distance, q.y, g.y, q.camera, g.camera)
        expected.append(100 * found.mAP)
    baseline, chosen = result.methods
    assert [t.scores[2].mAP for t in result.methods] == pytest.approx(expected)
    assert chosen.gains[2] == pytest.approx(expected[1] - expected[0])
    assert baseline.row()['gain'] == 0
    assert case.untouched.mAP > case.baseline.mAP + 5


def test_tune_the_networks():
    values = {'fa.k': [1, 3], 'ec.num_neighbors': [[4, 2]], 'rank.weight': [0.0, 1.0]}
    result = tune(easy(), hard().x, SMALL, values=values, seeds=(0, 1))
    assert [t.method for t in result.methods] == ['baseline', 'fa', 'fa+ec']
    chosen = {t.option: t.value for t in result.trials if t.chosen}
    assert result.config.fa.k == chosen['fa.k']
    assert result.config.ec.num_neighbors == chosen['ec.num_neighbors']
    assert result.config.rank.weight == chosen['rank.weight']
    assert result.parameters == {}
    again = tune(easy(), hard().x, SMALL, values=values, seeds=(0, 1))
    assert [t.row() for t in again.trials] == [t.row() for t in result.trials]


def trial(method, *gains):
    return Trial(method, '', '', [Score(50.0, 50.0) for _ in gains], list(gains))


def test_a_gain_within_its_spread_is_none():
    assert trial('gnn', 1.0, 1.2).better
    assert not trial('gnn', 0.1, 3.0).better
    assert not trial('gnn', -0.1, 3.0, 3.0, 3.0).better
    assert not trial('gnn', 0.0, 0.0).better
    assert trial('gnn', 1.0, 3.0).spread == pytest.approx(2**0.5)


def test_best_and_what_is_level_with_it():
    methods = [
        trial('baseline', 0.0, 0.0),
        trial('gnn', 2.0, 2.4),
        trial('qe', 2.3, 1.9),
        trial('ecn', 0.5, 0.6),
        trial('gcr', -1.0, -2.0),
    ]
    result = Tuning([], methods, SMALL, {}, 'mAP', [])
    assert result.best == 'gnn'
    assert result.level == ['qe']
    nothing = Tuning([], [methods[0], methods[-1]], SMALL, {}, 'mAP', [])
    assert nothing.best is None
    assert nothing.level == []


def test_re_ranking_that_harms_is_not_recommended():
    # Strangers only: an image has nothing to gain from its neighbours.
    x = F.normalize(torch.randn(120, 32))
    y = torch.arange(120) // 2
    x[1::2] = F.normalize(x[::2] + 0.1 * torch.randn(60, 32))
    data = easy()
    data.x, data.y, data.camera = x, y, None
    values = {'ecn.k': [25], 'ecn.t': [20]}
    with (
        pytest.warns(UserWarning, match='no gallery'),
        pytest.warns(UserWarning, match='too easy to tell options apart'),
    ):
        result = tune(data, values=values)
    assert result.best is None


def test_labels_of_a_gallery_cannot_enter():
    assert list(inspect.signature(tune).parameters)[:2] == ['train', 'reference']
    with pytest.raises(TypeError, match="'reference'"):
        tune(easy(), hard(), SMALL, ['gnn.k2'])


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        ({'seeds': (0,)}, "'seeds' needs at least two different hold-outs"),
        ({'seeds': (1, 1)}, "'seeds' needs at least two different hold-outs"),
        ({'metric': 'mINP'}, "'metric' needs to be one of"),
        ({'fraction': 1.5}, "'fraction'"),
        ({'reference': torch.ones(4, 3)}, 'vectors of the same length'),
    ],
)
def test_rejects(kwargs, message):
    kwargs = {'reference': hard().x, 'options': ['gnn.k2'], **kwargs}
    with pytest.raises(ValueError, match=message):
        tune(easy(), config=SMALL, **kwargs)
