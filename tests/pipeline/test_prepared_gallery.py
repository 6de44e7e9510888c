from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torch_geometric_reid.pipeline import GraphReRanker, Trust

RECIPES = ('links', 'paper', 'fa', 'ec', 'none')

CLOSE = {'rtol': 1e-4, 'atol': 1e-5}


def distances(ranker, query, graph):
    out = ranker.query(query, ranker.gallery.num_images, graph)
    full = torch.empty_like(out.distance)
    return full.scatter_(1, out.index, out.distance)


@pytest.mark.parametrize('graph', ['probe', 'gallery', 'joint'])
@pytest.mark.parametrize('name', RECIPES)
def test_query_equals_batch(splits, rankers, name, graph):
    _, query, gallery = splits
    ranker = rankers[name].prepare(gallery.x)
    found = distances(ranker, query.x, graph)
    assert torch.allclose(found, ranker.rank(query.x, gallery.x, graph), **CLOSE)
    if graph != 'joint':
        one = distances(ranker, query.x[3], graph)
        assert torch.allclose(one, found[3:4], **CLOSE)


@pytest.mark.parametrize('name', RECIPES)
@settings(max_examples=6, deadline=None)
@given(
    kept=st.integers(12, 29),
    removed=st.sets(st.integers(0, 29), max_size=12),
    seed=st.integers(0, 99),
)
def test_changes_equal_a_rebuild(splits, rankers, name, kept, removed, seed):
    _, query, gallery = splits
    order = torch.randperm(30, generator=torch.Generator().manual_seed(seed))
    x = gallery.x[order]
    ranker = rankers[name].prepare(x[:kept], range(kept))
    ranker.add(x[kept:], range(kept, 30))
    ranker.remove(sorted(removed))
    left = [i for i in range(30) if i not in removed]
    assert ranker.gallery.ids.tolist() == left
    found = distances(ranker, query.x, 'gallery')
    expected = distances(ranker.prepare(x[left]), query.x, 'gallery')
    assert torch.allclose(found, expected, **CLOSE)


def test_matches(splits, rankers):
    _, query, gallery = splits
    names = [f'{i:04d}.png' for i in range(gallery.num_nodes)]
    ranker = rankers['links'].prepare(gallery.x, gallery.y, names)
    out = ranker.query(query.x, 5)
    assert out.index.shape == out.distance.shape == (query.num_nodes, 5)
    assert (out.distance[:, 1:] >= out.distance[:, :-1]).all()
    assert out.ids.equal(gallery.y[out.index])
    assert out.names[2] == [names[i] for i in out.index[2]]
    assert ((out.connectivity >= 0) & (out.connectivity <= 1)).all()
    assert out.connectivity.max() > 0
    assert out.probability is None


def test_images_are_removed_by_name(splits, rankers):
    x = splits[2].x[:30]
    names = [f'{i // 2}.png' for i in range(30)]
    ranker = rankers['none'].prepare(x, range(30), names)
    assert repr(ranker.gallery) == 'PreparedGallery(30 images, ids, names)'
    ranker.remove('3.png')
    ranker.remove(['0.png', '14.png'])
    left = [i for i in range(30) if i not in (0, 1, 6, 7, 28, 29)]
    assert ranker.gallery.ids.tolist() == left
    assert ranker.gallery.names == [names[i] for i in left]
    for wrong in (['1.png', '3.png'], [0, '1.png'], ['1.png', None]):
        with pytest.raises(ValueError, match="'index' needs positions, or names"):
            ranker.remove(wrong)
    assert ranker.gallery.ids.tolist() == left
    bare = rankers['none'].prepare(x)
    assert repr(bare.gallery) == 'PreparedGallery(30 images)'
    with pytest.raises(ValueError, match="got 'a.png', and the gallery has 0 names"):
        bare.remove('a.png')


def test_probabilities_are_those_of_the_graph_that_was_fitted(splits, rankers):
    _, query, gallery = splits
    ranker = rankers['none'].prepare(gallery.x)
    trust = Trust.fit(ranker.rank, query, gallery)
    for graph in ('gallery', 'joint'):
        for fitted, has in [(None, True), (graph, True), ('probe', False)]:
            ranker.trust = replace(trust, graph=fitted)
            told = nullcontext() if has else pytest.warns(match="'trust' knows")
            with told:
                out = ranker.query(query.x, 3, graph)
            assert (out.probability is not None) == has
    ranker.trust = None


def test_bad_calls(splits, rankers):
    _, query, gallery = splits
    ranker = GraphReRanker(rankers['none'].config)
    with pytest.raises(RuntimeError, match="call 'fit' first"):
        ranker.prepare(gallery.x)
    for call in (ranker.query, ranker.add, ranker.remove):
        with pytest.raises(RuntimeError, match="call 'prepare' first"):
            call(gallery.x)
    ranker = rankers['none'].prepare(gallery.x[:5], range(5))
    with pytest.raises(ValueError, match="'ids' need to be given for all images"):
        ranker.add(gallery.x[5:])
    with pytest.raises(ValueError, match="'names' need to be given .* has none"):
        ranker.add(gallery.x[5:6], [5], ['a'])
    with pytest.raises(ValueError, match="'index' needs positions between 0 and 4"):
        ranker.remove([5])
    with pytest.raises(ValueError, match='at least two images'):
        ranker.remove([0, 1, 2, 3])
    with pytest.raises(ValueError, match="'graph' needs to be one of"):
        ranker.query(query.x, graph='other')
    with pytest.raises(ValueError, match="'top' needs"):
        ranker.query(query.x, 0)
    with pytest.raises(ValueError, match='training features. length'):
        ranker.query(query.x[:, :3])
    with pytest.raises(TypeError, match="'names' needs strings"):
        ranker.prepare(gallery.x[:2], names=[1, 2])
    assert ranker.gallery.ids.tolist() == [0, 1, 2, 3, 4]


def test_joint_graph_keeps_every_connectivity(splits, rankers):
    _, query, gallery = splits
    ranker = rankers['links'].prepare(gallery.x)
    answer = ranker.gallery.store.read(query.x, 'joint')
    out = ranker.query(query.x, gallery.num_nodes, 'joint')
    full = torch.zeros_like(answer.distance).scatter_(1, out.index, out.connectivity)
    scored = answer.connectivity > 0
    found = full.gather(1, answer.image)[scored]
    assert torch.allclose(found, answer.connectivity[scored], **CLOSE)
    assert (full > 0).sum() == scored.sum()


def test_what_was_queried_stays_as_it_is(splits, rankers):
    _, query, gallery = splits
    ids = torch.arange(gallery.num_nodes)
    ranker = rankers['none'].prepare(gallery.x, ids)
    before = ranker.gallery
    ids.fill_(-7)
    ranker.remove([0, 1])
    assert before.num_images == gallery.num_nodes
    assert before.ids[0] == 0
    assert ranker.gallery.ids[0] == 2
    x = query.x.clone().requires_grad_()
    assert not ranker.query(x).distance.requires_grad
    state = torch.get_rng_state()
    rankers['paper'].prepare(gallery.x).query(query.x)
    assert state.equal(torch.get_rng_state())
