import inspect
from dataclasses import replace

import pytest
import torch
from scipy.spatial.distance import cdist

from torch_geometric_reid import Config, GraphReRanker
from torch_geometric_reid.datasets import FakeReID
from torch_geometric_reid.metrics import evaluate
from torch_geometric_reid.pipeline import (
    ECConfig,
    FAConfig,
    LinkConfig,
    RankConfig,
    compare,
)

SMALL = Config(
    recipe='paper',
    fa=FAConfig(k=3, hidden_channels=32, steps=5),
    ec=ECConfig(num_neighbors=(10, 3), num_edges=4, hidden_channels=16, epochs=1),
    links=LinkConfig(k=10, num_edges=4, hidden_channels=8, num_probes=200),
)
METHODS = ['baseline', 'mean', 'concat', 'fa', 'ec', 'ec-only', 'fa+ec']
STAGES = ['fa', 'fa+ec', 'links']
FREE = ['rr', 'fa+ec+rr', 'gnn', 'qe', 'ecn']


@pytest.fixture(scope='module')
def splits():
    return [
        FakeReID(split, num_identities=20)[0] for split in ('train', 'query', 'gallery')
    ]


@pytest.fixture(scope='module')
def ranker(splits):
    return GraphReRanker(SMALL).fit(splits[0].x, splits[0].y)


def test_rank(ranker, splits):
    _, query, gallery = splits
    out = ranker.rank(query.x, gallery.x)
    assert out.shape == (query.num_nodes, gallery.num_nodes)
    assert out.isfinite().all()
    assert ranker.rank(query.x.numpy(), gallery.x.double()).allclose(out, atol=1e-6)
    for graph in ('gallery', 'joint'):
        assert not ranker.rank(query.x, gallery.x, graph).allclose(out)


def test_unscored_images_get_the_fill(ranker, splits):
    _, query, gallery = splits
    features = ranker.aggregate(query.x, gallery.x)
    distance, scored = ranker.distance(features), ranker.connect(features)
    out = ranker.rank(query.x, gallery.x)
    expected = distance + 0.4
    expected.scatter_add_(1, scored.image, 0.4 * (scored.distance - 1))
    assert torch.allclose(out, expected, atol=1e-6)
    assert ((scored.distance >= 0) & (scored.distance <= 1)).all()


def test_weight_zero_gives_the_ranking_of_fa_bit_for_bit(splits):
    train, query, gallery = splits
    config = replace(SMALL, rank=RankConfig(weight=0.0))
    ranker = GraphReRanker(config).fit(train.x, train.y)
    features = ranker.aggregate(query.x, gallery.x)
    assert ranker.rank(query.x, gallery.x).equal(ranker.distance(features))
    alone = GraphReRanker(replace(SMALL, ec=None)).fit(train.x, train.y)
    assert alone.rank(query.x, gallery.x).equal(ranker.distance(features))


def test_same_seed_same_distances_for_any_number_of_workers(ranker, splits):
    train, query, gallery = splits
    expected = ranker.rank(query.x, gallery.x)
    torch.manual_seed(123)  # the global state must not matter
    for num_workers in (0, 2):
        config = replace(SMALL, ec=replace(SMALL.ec, num_workers=num_workers))
        other = GraphReRanker(config).fit(train.x, train.y)
        assert other.rank(query.x, gallery.x).equal(expected)
    other = GraphReRanker(replace(SMALL, seed=1)).fit(train.x, train.y)
    assert not other.rank(query.x, gallery.x).allclose(expected)


@pytest.mark.parametrize('mode', [torch.no_grad, torch.inference_mode])
def test_training_without_gradients_around_it(ranker, splits, mode):
    train, query, gallery = splits
    expected = ranker.rank(query.x, gallery.x)
    with mode():
        other = GraphReRanker(SMALL).fit(train.x.clone(), train.y.clone())
        assert other.rank(query.x, gallery.x).equal(expected)


def test_training_leaves_the_global_random_state_alone(splits):
    train = splits[0]
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    GraphReRanker(SMALL).fit(train.x, train.y)
    assert torch.rand(3).equal(expected)


def test_labels_and_cameras_of_the_test_set_change_no_distance(splits):
    train, query, gallery = splits
    assert list(inspect.signature(GraphReRanker.rank).parameters) == [
        'self', 'query', 'gallery', 'graph', 'progress',
    ]  # fmt: skip
    assert list(inspect.signature(GraphReRanker.fit).parameters) == [
        'self', 'x', 'y', 'reference', 'progress', 'checkpoint',
    ]  # fmt: skip
    plain = compare(train, query, gallery, SMALL)
    train, query, gallery = train.clone(), query.clone(), gallery.clone()
    train.camera = torch.randint(6, (train.num_nodes,))
    for data in (query, gallery):
        perm = torch.randperm(data.num_nodes)
        data.y, data.camera = data.y[perm], torch.randint(6, (data.num_nodes,))
    other = compare(train, query, gallery, SMALL)
    assert other.links.mixture.whole.equal(plain.links.mixture.whole)
    assert other.distance.equal(plain.distance)
    assert other.rows != plain.rows


def test_compare(splits):
    train, query, gallery = splits
    out = compare(train, query, gallery, SMALL)
    assert [(row['graph'], row['method']) for row in out.rows] == [
        *[('probe', method) for method in [*METHODS, 'qe']],
        *[('joint', method) for method in [*METHODS, *FREE]],
        *[('gallery', method) for method in STAGES],
        *[('joint', method) for method in STAGES],
    ]
    recipes = [row['recipe'] for row in out.rows]
    assert recipes == ['paper'] * 20 + ['links'] * 6
    again = compare(train, query, gallery, SMALL)
    assert again.rows == out.rows
    result = evaluate(out.distance, query.y, gallery.y, query.camera, gallery.camera)
    assert out.rows[6]['mAP'] == 100 * result.mAP
    without = compare(train, query, gallery, replace(SMALL, fa=None))
    assert [row['method'] for row in without.rows[:5]] == [
        'baseline', 'mean', 'concat', 'ec', 'ec-only',
    ]  # fmt: skip


def test_controls_and_connectivity_beat_the_baseline():
    splits = [FakeReID(split, seed=3)[0] for split in ('train', 'query', 'gallery')]
    config = Config(
        recipe='paper',
        fa=FAConfig(k=4, hidden_channels=128, steps=30),
        ec=ECConfig(num_neighbors=(20, 4), num_edges=5, hidden_channels=32, lr=0.1),
    )
    rows = {row['method']: row['mAP'] for row in compare(*splits, config).rows[:7]}
    assert rows['mean'] > rows['baseline'] + 1
    assert rows['concat'] > rows['baseline'] + 1
    assert rows['ec'] > rows['baseline'] + 0.5


@pytest.mark.parametrize('within', [False, True])
def test_mahalanobis(splits, within):
    train, query, gallery = splits
    metric = 'mahalanobis_within' if within else 'mahalanobis_total'
    config = Config('paper', fa=None, ec=None, rank=RankConfig(metric=metric))
    ranker = GraphReRanker(config).fit(train.x, train.y)
    weight = ranker.mahalanobis.weight.double()
    expected = cdist(
        query.x.double(),
        gallery.x.double(),
        'mahalanobis',
        VI=(weight @ weight.t()).numpy(),
    )
    out = ranker.rank(query.x, gallery.x).sqrt().double()
    assert torch.allclose(out, torch.from_numpy(expected), rtol=1e-3)
    # with patched features, under the probe graph:
    fa = GraphReRanker(replace(SMALL, ec=None, rank=RankConfig(metric=metric)))
    fa.fit(train.x, train.y)
    few = fa.rank(query.x[:3], gallery.x)
    assert torch.allclose(few, fa.rank(query.x, gallery.x)[:3], rtol=1e-3)


@pytest.mark.parametrize(
    'change',
    [
        {'optimizer': 'sgd'}, {'contrastive_weight': 0.0}, {'include_self': False},
        {'last_act': False}, {'bias': False}, {'binary': True},
    ],
)  # fmt: skip
def test_fa_options_change_the_result(ranker, splits, change):
    train, query, gallery = splits
    config = replace(SMALL, fa=replace(SMALL.fa, **change), ec=None)
    out = GraphReRanker(config).fit(train.x, train.y).rank(query.x, gallery.x)
    expected = ranker.distance(ranker.aggregate(query.x, gallery.x))
    assert out.isfinite().all()
    assert not out.allclose(expected, atol=1e-6)


@pytest.mark.parametrize(
    'change',
    [
        {'optimizer': 'adam'}, {'sampler': 'hgs'}, {'loss': 'ce'}, {'symmetric': False},
        {'alpha_on': 'negative'}, {'concat': True, 'self_loops': False},
    ],
)  # fmt: skip
def test_ec_options_change_the_result(splits, change):
    train, query, gallery = splits
    base = replace(SMALL, fa=None)
    plain = GraphReRanker(base).fit(train.x, train.y).rank(query.x, gallery.x)
    other = GraphReRanker(replace(base, ec=replace(base.ec, **change)))
    out = other.fit(train.x, train.y).rank(query.x, gallery.x)
    assert out.isfinite().all()
    assert not out.allclose(plain, atol=1e-6)


def test_rejects(ranker, splits):
    train, query, gallery = splits
    with pytest.raises(RuntimeError, match='not fitted'):
        GraphReRanker(SMALL).rank(query.x, gallery.x)
    with pytest.raises(ValueError, match="'y' needs one id for each of 60"):
        GraphReRanker(SMALL).fit(train.x[:60], train.y[:59])
    with pytest.raises(ValueError, match="'y'.*at least two training images"):
        GraphReRanker(SMALL).fit(train.x[:9], torch.arange(9))
    with pytest.raises(ValueError, match="'y'.*junk"):
        GraphReRanker(SMALL).fit(train.x, train.y - 1 - train.y.min())
    bad = query.x.clone()
    bad[3, 0] = float('nan')
    with pytest.raises(ValueError, match="'query'.*NaN.*row 3"):
        ranker.rank(bad, gallery.x)
    bad[3] = 0
    with pytest.raises(ValueError, match="'gallery'.*non-zero.*row 3"):
        ranker.rank(query.x, bad)
    with pytest.raises(ValueError, match="'gallery'.*length 64.*63"):
        ranker.rank(query.x, gallery.x[:, :63])
    with pytest.raises(ValueError, match="'query'.*at least one"):
        ranker.rank(query.x[:0], gallery.x)
    with pytest.raises(ValueError, match="'rank.graph'"):
        RankConfig(graph='all')
    with pytest.raises(ValueError, match="'fa.optimizer'"):
        FAConfig(optimizer='lbfgs')
    with pytest.raises(ValueError, match="'ec.loss'"):
        ECConfig(loss='hinge')
    without = GraphReRanker(Config('paper', fa=None, ec=None)).fit(train.x, train.y)
    with pytest.raises(RuntimeError, match='no EC-GCN'):
        without.connect(without.aggregate(query.x, gallery.x))


@pytest.mark.parametrize('graph', ['probe', 'gallery', 'joint'])
@pytest.mark.parametrize('reading', [None, 'rr_then_ec'])
def test_the_final_distance_is_that_of_the_configuration(splits, graph, reading):
    train, query, gallery = splits
    config = replace(SMALL, rank=RankConfig(graph=graph, rerank=reading))
    out = compare(train, query, gallery, config)
    assert out.distance.equal(out.re_ranker.rank(query.x, gallery.x))


@pytest.mark.parametrize('change', [{'symmetrize': True}, {'num_layers': 2}])
def test_compare_without_the_probe_graph(splits, change):
    train, query, gallery = splits
    config = replace(SMALL, fa=replace(SMALL.fa, **change))
    with pytest.raises(ValueError, match="'rank.graph=probe' needs one directed layer"):
        compare(train, query, gallery, config)
    out = compare(train, query, gallery, replace(config, rank=RankConfig('joint')))
    paper = [row for row in out.rows if row['recipe'] == 'paper']
    assert {row['graph'] for row in paper} == {'gallery', 'joint'}


def test_a_failed_fit_leaves_nothing_fitted(splits):
    train, query, gallery = splits
    ranker = GraphReRanker(SMALL).fit(train.x, train.y)
    with pytest.raises(ValueError, match="'y'"):
        ranker.fit(train.x, train.y[:-1])
    with pytest.raises(RuntimeError, match='not fitted'):
        ranker.rank(query.x, gallery.x)


def test_probes_that_are_copies_of_gallery_images(ranker, splits):
    gallery = splits[2].x
    query = torch.cat([gallery[:20], splits[1].x[:5]])
    whole = ranker.rank(query, gallery)
    for p in (0, 7, 19, 22):
        alone = ranker.rank(query[p : p + 1], gallery)
        assert torch.allclose(alone[0], whole[p], atol=1e-5)


def test_compare_looks_at_all_sets_before_training(splits):
    train, query, gallery = splits
    narrow = gallery.clone()
    narrow.x = narrow.x[:, :-1]
    with pytest.raises(ValueError, match="'gallery' and 'train' need vectors"):
        compare(train, query, narrow, SMALL)
    blind = gallery.clone()
    del blind.camera
    with pytest.raises(ValueError, match="need cameras both or neither .* 'query'"):
        compare(train, query, blind, SMALL)
