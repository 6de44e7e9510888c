import warnings
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch_geometric.data import Data

from torch_geometric_reid import Config, GraphReRanker
from torch_geometric_reid.datasets import FakeReID, Omniglot242
from torch_geometric_reid.distance import pairwise_distance
from torch_geometric_reid.metrics import evaluate
from torch_geometric_reid.nn import LinkGCN
from torch_geometric_reid.pipeline import (
    Checkpoint,
    LinkConfig,
    LinkReRanker,
    hold_out,
    hold_out_hard,
    predict_links,
)
from torch_geometric_reid.pipeline.learn_links import CONTRASTS
from torch_geometric_reid.pipeline.mixture import fit_mixture
from torch_geometric_reid.rerank import k_reciprocal
from torch_geometric_reid.transforms import IdentityMetric, PairFeatures
from torch_geometric_reid.transforms.pair_features import PAIR_FEATURES

TINY = LinkConfig(k=12, num_edges=4, hidden_channels=16, num_probes=1600)


@pytest.fixture(scope='module')
def splits():
    return [
        FakeReID(split, num_identities=20)[0] for split in ('train', 'query', 'gallery')
    ]


@pytest.fixture(scope='module')
def links(splits):
    train, _, gallery = splits
    return LinkReRanker(train.x, train.y, gallery.x, TINY)


def mean_ap(distance, query, gallery):
    return evaluate(distance, query.y, gallery.y, query.camera, gallery.camera).mAP


def test_trained_links_are_ahead_of_k_reciprocal_on_real_features():
    train, query, gallery = (
        Omniglot242(split)[0] for split in ('train', 'query', 'gallery')
    )
    config = LinkConfig(num_probes=4000)
    trained = LinkReRanker(train.x, train.y, gallery.x, config)
    stages = trained.stages(query.x, gallery.x, 'joint')
    rival = mean_ap(k_reciprocal(query.x, gallery.x), query, gallery)
    assert mean_ap(stages['links'], query, gallery) > rival + 0.005
    trained.first.reset_parameters()  # without what the first network learned
    stages = trained.stages(query.x, gallery.x, 'joint')
    assert mean_ap(stages['links'], query, gallery) < rival


@pytest.mark.parametrize('graph', ['joint', 'gallery'])
def test_links_beat_the_baseline(links, splits, graph):
    _, query, gallery = splits
    before = mean_ap(pairwise_distance(query.x, gallery.x), query, gallery)
    stages = links.stages(query.x, gallery.x, graph)
    for distance in stages.values():
        assert distance.shape == (query.num_nodes, gallery.num_nodes)
        assert distance.isfinite().all()
        assert mean_ap(distance, query, gallery) > before + 0.01
    assert stages['links'].equal(links.rank(query.x, gallery.x, graph))


def test_same_seed_same_distances(links, splits):
    train, query, gallery = splits
    again = LinkReRanker(train.x, train.y, gallery.x, TINY)
    expected = links.rank(query.x, gallery.x, 'joint')
    assert again.rank(query.x, gallery.x, 'joint').equal(expected)
    other = LinkReRanker(train.x, train.y, gallery.x, TINY, seed=1)
    assert not other.rank(query.x, gallery.x, 'joint').equal(expected)


def test_contrast_trains_the_first_network_twice_more(splits, tmp_path):
    train, _, gallery = splits
    weights = []
    for value in (0.0, 3.0):
        config = replace(TINY, num_probes=320, contrast=value)
        with Checkpoint(tmp_path / str(value)) as checkpoint:
            links = LinkReRanker(
                train.x, train.y, gallery.x, config, checkpoint=checkpoint
            )
        names = {path.name.split('.')[0] for path in checkpoint.folder.iterdir()}
        assert names >= {'links_first', 'links_second'}
        assert names.issuperset(CONTRASTS) == (value > 0)
        weights.append(torch.cat([p.flatten() for p in links.first.parameters()]))
    assert not weights[0].allclose(weights[1])
    for bad in (-1.0, float('nan'), float('inf')):
        with pytest.raises(ValueError, match=r"'links.contrast' needs to be a number"):
            LinkConfig(contrast=bad)


def test_training_leaves_the_global_random_state_alone(splits):
    train, _, gallery = splits
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    LinkReRanker(train.x, train.y, gallery.x, replace(TINY, num_probes=64))
    assert torch.rand(3).equal(expected)


def test_gallery_graph_ranks_each_probe_by_itself(links, splits):
    _, query, gallery = splits
    whole = links.rank(query.x, gallery.x, 'gallery')
    perm = torch.randperm(query.num_nodes)
    assert torch.allclose(links.rank(query.x[perm], gallery.x, 'gallery'), whole[perm])
    for p in (0, 17, 63):
        alone = links.rank(query.x[p : p + 1], gallery.x, 'gallery')
        assert torch.allclose(alone[0], whole[p], atol=1e-5)


def test_probe_graph_is_a_joint_graph_of_one_probe(links, splits):
    _, query, gallery = splits
    few = links.rank(query.x[:2], gallery.x, 'probe')
    for p in range(2):
        one = links.rank(query.x[p : p + 1], gallery.x, 'joint')
        assert torch.allclose(few[p], one[0])


@pytest.mark.parametrize('masked', [False, True])
def test_links_equal_sub_graphs_built_one_by_one(splits, masked):
    x = torch.cat([splits[2].x[:60], splits[1].x[:10]])
    data = Data(x=x)
    num_gallery = 60 if masked else 70
    if masked:
        data.gallery_mask = torch.arange(70) < 60
    pairs = PairFeatures(TINY.k)(data)
    torch.manual_seed(0)
    model = LinkGCN(5, 16)
    model(torch.randn(99, 5), torch.empty(2, 0, dtype=torch.long))
    model.eval()
    out = predict_links(model, pairs, TINY)

    neighbor = pairs.edge_index[0].as_tensor().view(70, -1)
    attr = pairs.edge_attr.view(70, -1, 5)
    cosine = x @ x.t()
    for p in range(70):
        nodes = [p, *neighbor[p].tolist()]
        # the gallery as if p were a part of it
        images = sorted({*range(num_gallery), p})
        near = {
            i: sorted((j for j in images if j != i), key=lambda j: -cosine[i, j])[:4]
            for i in nodes
        }
        weight = torch.zeros(len(nodes), len(nodes))
        for a, i in enumerate(nodes):
            for b, j in enumerate(nodes):
                if j in near[i] or i in near[j]:
                    weight[a, b] = cosine[i, j].clamp(min=0) ** 2
            weight[a, a] = 1
        weight /= weight.sum(dim=1, keepdim=True)
        features = torch.cat([pairs.node_attr[p : p + 1], attr[p]])
        col, row = weight.nonzero(as_tuple=True)
        logit = model(features, torch.stack([row, col]), weight[col, row])[1:]
        assert torch.allclose(out[p], logit.detach().sigmoid(), atol=1e-5)


def test_links_need_the_gallery_first(links, splits):
    data = Data(x=splits[2].x[:30], gallery_mask=torch.arange(30) > 9)
    pairs = PairFeatures(TINY.k)(data)
    with pytest.raises(ValueError, match="'pairs' needs the nodes of its"):
        predict_links(links.first, pairs, TINY)


def test_statistics_and_links(links, splits):
    _, query, gallery = splits
    assert list(links.statistics) == ['train', 'gallery', 'degraded']
    image, link = links.links(query.x, gallery.x)
    assert image.shape == link.shape == (query.num_nodes, 12)
    assert ((link >= 0) & (link <= 1)).all()
    same = gallery.y[image] == query.y.view(-1, 1)
    assert link[same].mean() > link[~same].mean() + 0.1
    for weight in links.mixture:
        assert float(weight.sum()) == pytest.approx(1)
        assert (weight >= 0).all()


def test_a_gallery_that_is_far_from_training_is_warned_of(splits):
    train = splits[0]
    far = F.normalize(torch.randn(200, train.x.size(1)))
    config = replace(TINY, degrade=False, num_probes=64)
    with pytest.warns(UserWarning, match='may not carry over'):
        LinkReRanker(train.x, train.y, far, config)


@pytest.mark.parametrize(
    'change',
    [
        {'metric': 0.0, 'degrade': False}, {'num_layers': 0}, {'loss': 'focal'},
        {'sampler': 'hgs'}, {'without': ('cosine', 'profile')}, {'beta': 1.0},
        {'weights': (1.0, 0.0, 0.4, 0.4)}, {'first_place': False},
    ],
)  # fmt: skip
@pytest.mark.filterwarnings('ignore:The near neighbors')
def test_options_change_the_result(links, splits, change):
    train, query, gallery = splits
    other = LinkReRanker(train.x, train.y, gallery.x, replace(TINY, **change))
    out = other.rank(query.x, gallery.x, 'joint')
    assert out.isfinite().all()
    assert not out.equal(links.rank(query.x, gallery.x, 'joint'))


@pytest.mark.parametrize('power', [0.25, 0.5])
def test_the_metric_has_the_power_that_was_asked_for(splits, power):
    train, query, gallery = splits
    config = replace(TINY, num_probes=64, metric=power)
    links = LinkReRanker(train.x, train.y, gallery.x, config)
    expected = IdentityMetric(train.x, train.y, power)
    assert links.metric.weight.equal(expected.weight)
    assert links.adapt(query.x).equal(expected(query.clone()).x)
    held_out = hold_out(train, seed=1)
    config = replace(config, degrade=False)
    found = hold_out_hard(train, gallery.x, config, seed=1)
    metric = IdentityMetric(held_out[0].x, held_out[0].y, power)
    assert found[3].equal(metric(gallery.clone()).x)
    assert found[1].x.equal(metric(held_out[1]).x)


def test_weights_are_those_of_the_distance(splits):
    train, query, gallery = splits
    config = replace(TINY, num_probes=64, weights=(1.0, 0.0, 0.0, 0.0))
    links = LinkReRanker(train.x, train.y, gallery.x, config)
    stages = links.stages(query.x, gallery.x, 'joint')
    first = stages['links'].argmin(dim=1)
    assert first.equal(stages['fa'].argmin(dim=1))
    config = replace(config, first_place=False, degrade=False, metric=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        links = LinkReRanker(train.x, train.y, gallery.x, config)
    stages = links.stages(query.x, gallery.x, 'joint')
    assert torch.allclose(stages['links'], stages['fa'] / 2, atol=1e-6)
    assert links.degradation is None
    assert links.metric is None
    link = (stages['fa'] - stages['fa+ec']) / 0.4 + 1
    assert -1e-5 < link.min() <= link.max() < 1 + 1e-5


@pytest.mark.parametrize('mode', [torch.no_grad, torch.inference_mode])
def test_training_without_gradients_around_it(splits, mode):
    train, query, gallery = splits
    config = Config(links=replace(TINY, num_probes=64))
    expected = GraphReRanker(config).fit(train.x, train.y, gallery.x)
    expected = expected.rank(query.x, gallery.x)
    ranker = GraphReRanker(config).fit(train.x, train.y)
    with mode():
        assert ranker.rank(query.x, gallery.x).equal(expected)  # trains here
        x = [part.x.clone() for part in (train, query, gallery)]
        ranker = GraphReRanker(config).fit(x[0], train.y.clone(), x[2])
        assert ranker.rank(*x[1:]).equal(expected)


@pytest.mark.usefixtures('gpu')
def test_on_gpu(splits):
    train, query, gallery = splits
    config = Config(links=replace(TINY, num_probes=64), device='cuda')
    out = GraphReRanker(config).fit(train.x, train.y).rank(query.x, gallery.x)
    assert out.isfinite().all()


@pytest.mark.parametrize('num_gallery', [1, 2, 3])
@pytest.mark.parametrize('num_query', [1, 3])
@pytest.mark.filterwarnings('ignore:The near neighbors')
def test_small_galleries(links, splits, num_gallery, num_query):
    train, query, gallery = splits
    q, g = query.x[:num_query], gallery.x[:num_gallery]
    for graph in ('joint', 'gallery', 'probe'):
        out = links.rank(q, g, graph)
        assert out.shape == (num_query, num_gallery)
        assert out.isfinite().all()
    config = Config(links=replace(TINY, num_probes=64))
    out = GraphReRanker(config).fit(train.x, train.y).rank(q, g)
    assert out.isfinite().all()


@pytest.mark.filterwarnings('ignore:The near neighbors')
def test_identical_features_and_copies_of_gallery_images(links, splits):
    gallery = splits[2].x
    same = gallery[:1].expand(20, -1)
    for graph in ('joint', 'gallery'):
        assert links.rank(same[:3], same, graph).isfinite().all()
        out = links.rank(gallery[:5], gallery, graph)
        assert out.argmin(dim=1).tolist() == list(range(5))


def test_recipes(splits):
    train, query, gallery = splits
    config = Config(links=replace(TINY, num_probes=64))
    ranker = GraphReRanker(config, recipe='links')
    with pytest.raises(RuntimeError, match='not fitted'):
        ranker.rank(query.x, gallery.x)
    given = ranker.fit(train.x, train.y, gallery.x).rank(query.x, gallery.x)
    first = ranker.fit(train.x, train.y).rank(query.x, gallery.x)
    assert first.equal(given)  # trained for the gallery that it ranks
    links = ranker.links
    ranker.rank(query.x[:5], gallery.x)
    assert ranker.links is links
    ranker.rank(query.x[:5], gallery.x[:100])
    assert ranker.links is not links
    with pytest.raises(RuntimeError, match="recipe 'links' has no FA-GCN"):
        ranker.aggregate(query.x, gallery.x)
    with pytest.raises(ValueError, match="'recipe'"):
        GraphReRanker(recipe='both')
    with pytest.raises(ValueError, match="'reference' and 'x'.*length"):
        ranker.fit(train.x, train.y, gallery.x[:, :63])
    with pytest.raises(ValueError, match="'graph'"):
        ranker.fit(train.x, train.y, gallery.x).rank(query.x, gallery.x, 'all')
    with pytest.raises(ValueError, match="'graph'"):
        ranker.links.stages(query.x, gallery.x, 'probe')
    with pytest.raises(ValueError, match="'gallery' needs at least two"):
        ranker.links.links(query.x, gallery.x[:1])


@pytest.mark.parametrize(
    'change',
    [
        {'without': ('colour',)}, {'without': PAIR_FEATURES}, {'weights': (1.0, 0.0)},
        {'weights': (0.0, 0.0, 0.0, 0.0)}, {'gamma': 0.5}, {'beta': 0.0}, {'k': 0},
        {'hidden_channels': 0}, {'batch_size': 0}, {'num_probes': 0}, {'loss': 'l1'},
        {'metric': 1.5}, {'metric': -0.1}, {'metric': True},
    ],
)  # fmt: skip
def test_rejects_options(change):
    with pytest.raises(ValueError, match=f"'links.{next(iter(change))}'"):
        LinkConfig(**change)


def test_mixture_prefers_what_tells_matches_apart():
    generator = torch.Generator().manual_seed(0)
    same = torch.rand(100, 20, generator=generator) < 0.3
    noise = torch.rand(100, 20, generator=generator)
    informed = 0.5 * same + 0.5 * torch.rand(100, 20, generator=generator)
    out = fit_mixture(torch.stack([noise, informed], dim=-1), same)
    assert out.whole[1] > 0.9
    assert out.first[1] > 0.9
    alone = fit_mixture(torch.stack([noise, informed], dim=-1), same | True)
    assert alone.whole.tolist() == alone.first.tolist() == [0.5, 0.5]
