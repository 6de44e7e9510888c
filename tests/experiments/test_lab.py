from dataclasses import replace

import pytest
import torch

from torch_geometric_reid.experiments import Lab
from torch_geometric_reid.experiments.lab import methods
from torch_geometric_reid.pipeline import GraphReRanker, RankConfig


@pytest.mark.parametrize('method', ['baseline', '+ FA', '+ EC', '+ FA + EC'])
@pytest.mark.parametrize('graph', ['probe', 'gallery', 'joint'])
def test_ranks_as_the_re_ranker(make_lab, data, method, graph):
    lab = make_lab(seed=3, rank=RankConfig(graph=graph))
    config = methods(lab.config)[method]
    expected = GraphReRanker(config).fit(data.train.x, data.train.y)
    expected = expected.rank(data.query.x, data.gallery.x)
    for _ in range(2):  # trained, and from the cache
        torch.testing.assert_close(lab.rank(config), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    'rank',
    [
        RankConfig(metric='mahalanobis_within', scale='max'),
        RankConfig(rerank='rr_then_ec', k_reciprocal=(5, 2, 0.3)),
        RankConfig(rerank='rr_on_dstar', k_reciprocal=(5, 2, 0.3)),
    ],
)
def test_ranks_as_the_re_ranker_by_other_options(make_lab, data, rank):
    lab = make_lab(rank=rank)
    expected = GraphReRanker(lab.config).fit(data.train.x, data.train.y)
    expected = expected.rank(data.query.x, data.gallery.x)
    for _ in range(2):
        torch.testing.assert_close(lab.rank(lab.config), expected, rtol=0, atol=1e-6)


def test_trains_once_for_what_matters(make_lab, data, trained, tmp_path):
    lab = make_lab()
    config = lab.config
    lab.rank(config)
    assert trained == ['fa', 'ec']
    for same in [
        replace(config, rank=RankConfig(weight=1.0, metric='cosine')),
        replace(config, rank=RankConfig(graph='joint')),
        replace(config, ec=replace(config.ec, num_workers=1)),
        methods(config)['+ FA'],
    ]:
        lab.rank(same)
    make_lab().rank(config)
    assert trained == ['fa', 'ec']

    lab.rank(replace(config, ec=replace(config.ec, gamma=2.0)))
    assert trained == ['fa', 'ec', 'ec']
    lab.rank(replace(config, fa=replace(config.fa, k=2)))
    assert trained == ['fa', 'ec', 'ec', 'fa', 'ec']
    lab.rank(replace(config, seed=1))
    assert trained[5:] == ['fa', 'ec']

    other = replace(data, train=data.train.clone())
    other.train.x = other.train.x.flip(1)
    Lab(other, config, tmp_path / 'cache', 1).rank(config)
    assert trained[7:] == ['fa', 'ec']


def test_options_without_effect_share_a_training(make_lab, trained):
    lab = make_lab()
    ec = replace(lab.config.ec, sampler='hgs', loss='ce')
    for gamma, alpha in [(1.5, 0.25), (2.0, 0.5)]:
        config = replace(lab.config, ec=replace(ec, gamma=gamma, alpha=alpha))
        lab.rank(config)
    assert trained == ['fa', 'ec']


def test_other_probes_train_nothing(make_lab, data, trained, tmp_path):
    lab = make_lab()
    first = lab.rank(lab.config)
    half = replace(data, query=data.query.subgraph(torch.arange(10)))
    again = Lab(half, lab.config, tmp_path / 'cache', 1).rank(lab.config)
    assert trained == ['fa', 'ec']
    torch.testing.assert_close(again, first[:10])


def test_killed_run_resumes(make_lab, trained, monkeypatch):
    lab = make_lab()

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr('torch_geometric_reid.experiments.lab.train_ec', stop)
        with pytest.raises(KeyboardInterrupt):
            lab.rank(lab.config)
    assert trained == ['fa']
    make_lab().rank(lab.config)
    assert trained == ['fa', 'ec']


def test_damaged_weights_are_trained_again(make_lab, trained, tmp_path):
    lab = make_lab()
    expected = lab.rank(lab.config)
    for path in (tmp_path / 'cache').iterdir():
        if path.name.startswith('ec-'):
            content = bytearray(path.read_bytes())
            content[-1] ^= 64
            path.write_bytes(content)
        else:
            path.unlink()
    with pytest.warns(UserWarning, match='ec-.* is damaged'):
        again = lab.rank(lab.config)
    assert trained == ['fa', 'ec', 'fa', 'ec']
    torch.testing.assert_close(again, expected)


def test_means_and_spreads(make_lab):
    lab = make_lab(seeds=3)
    fa = methods(lab.config)['+ FA']
    expected = torch.tensor(
        [100 * lab.evaluate(lab.rank(replace(fa, seed=s))).mAP for s in range(3)],
        dtype=torch.float64,
    )
    value = lab.measure(fa)['mAP']
    assert value.mean == pytest.approx(float(expected.mean()))
    assert value.spread == pytest.approx(float(expected.std()))
    assert lab.measure(methods(lab.config)['baseline'])['mAP'].spread == 0
    assert make_lab().measure(fa)['mAP'].spread is None


def test_errors(make_lab, data, tmp_path):
    with pytest.raises(ValueError, match="'seeds' needs to be an integer"):
        make_lab(seeds=0)
    with pytest.raises(ValueError, match="'fa' and 'ec' need options"):
        make_lab(ec=None)
    with pytest.raises(ValueError, match="'graph' needs to be one of"):
        Lab(data, folder=tmp_path, graph='all')
    bare = data.query.clone()
    del bare.y
    with pytest.raises(ValueError, match="no identities in its split 'query'"):
        replace(data, query=bare)
