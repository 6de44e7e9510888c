from threading import Event, Thread

import pytest
import torch
import torch.nn.functional as F

from torch_geometric_reid import Config, GraphReRanker, precision
from torch_geometric_reid.distance import pairwise_distance
from torch_geometric_reid.knn import knn
from torch_geometric_reid.pipeline.connectivity import connect_all
from torch_geometric_reid.precision import full_precision
from torch_geometric_reid.rerank import (
    KReciprocal,
    expanded_cross_neighborhood,
    gcr,
    gnn,
    k_reciprocal,
    k_reciprocal_topk,
    query_expansion,
)

X = F.normalize(torch.randn(80, 16, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize(
    'function',
    [
        lambda q, g: knn(g, 5, query=q, backend='torch').index,
        pairwise_distance,
        expanded_cross_neighborhood,
        gcr,
        gnn,
        k_reciprocal,
        lambda q, g: k_reciprocal_topk(q, g, 9).index,
        lambda q, g: KReciprocal(g).query(q[0]),
        query_expansion,
    ],
)
def test_rankings_are_the_same_under_autocast(function):
    query, gallery = X[:20], X[20:]
    expected = function(query, gallery)
    with torch.autocast('cpu', torch.bfloat16):
        out = function(query, gallery)
    assert out.dtype == expected.dtype
    assert torch.equal(out, expected)


@pytest.mark.parametrize('recipe', ['paper', 'links'])
def test_re_ranker_is_the_same_under_autocast(recipe, tmp_path):
    config = Config(recipe=recipe)
    config.fa.steps, config.fa.hidden_channels = 2, 8
    config.ec.epochs, config.ec.hidden_channels = 1, 8
    config.links.num_probes, config.links.k = 64, 10
    y = torch.arange(40) % 8

    def run():
        ranker = GraphReRanker(config).fit(X[:40], y, X[50:])
        ranker.prepare(X[50:])
        ranker.add(X[45:50])
        ranker.remove([3, 20])
        ranker.save(folder)
        loaded = GraphReRanker.load(folder)
        outs = [ranker.rank(X[40:50], X[50:]), loaded.query(X[40]).distance]
        if recipe == 'paper':
            features = ranker.aggregate(X[40:50], X[50:])
            outs += [ranker.distance(features), ranker.connect(features).distance]
            outs.append(connect_all(ranker.ec, features.gallery, config.ec).distance)
        return outs

    folder = tmp_path / 'exact'
    expected = run()
    folder = tmp_path / 'low'
    with torch.autocast('cpu', torch.bfloat16):
        outs = run()
    for out, other in zip(outs, expected, strict=True):
        assert torch.equal(out, other)


def test_full_precision_leaves_things_as_they_were():
    with torch.autocast('cpu', torch.bfloat16):
        with full_precision():
            assert not torch.is_autocast_enabled('cpu')
        assert torch.is_autocast_enabled('cpu')
    with full_precision():
        assert not torch.is_autocast_enabled('cpu')


def settings_of_products():
    outs = [matmul.fp32_precision for matmul in precision._matmuls()]
    for read in (
        torch.get_float32_matmul_precision,
        lambda: torch.backends.cuda.matmul.allow_tf32,
    ):
        try:
            outs.append(read())
        except RuntimeError:  # of settings old and new
            outs.append(None)
    return outs


def by_name(value):
    torch.set_float32_matmul_precision(value)


def tf32(value):
    torch.backends.cuda.matmul.allow_tf32 = value


def of_cuda(value):
    torch.backends.cuda.matmul.fp32_precision = value


def of_cpu(value):
    torch.backends.mkldnn.matmul.fp32_precision = value


def of_all(value):
    torch.backends.fp32_precision = value


@pytest.fixture
def as_before():
    of_everything = torch.backends.fp32_precision
    yield
    torch.backends.fp32_precision = of_everything
    torch.set_float32_matmul_precision('highest')
    for matmul in precision._matmuls():
        matmul.fp32_precision = 'none'


@pytest.mark.parametrize(
    ('change', 'value'),
    [
        (by_name, 'high'),
        (by_name, 'medium'),
        (tf32, True),
        (of_cuda, 'tf32'),
        (of_cpu, 'bf16'),
        (of_all, 'tf32'),
    ],
)
def test_full_precision_of_products(as_before, change, value):
    full = ['ieee', 'ieee', 'highest', False]
    change(value)
    before = settings_of_products()
    assert before != full
    with full_precision():
        assert settings_of_products() == full
        with full_precision():
            pass
        assert settings_of_products() == full
    assert settings_of_products() == before
    if change is of_all:  # and is no setting of each back end now
        change('ieee')
        assert settings_of_products()[:2] == ['ieee', 'ieee']


def test_full_precision_of_products_in_threads(as_before):
    by_name('high')
    entered, leave = Event(), Event()

    def stay():
        with full_precision():
            entered.set()
            leave.wait()

    thread = Thread(target=stay)
    thread.start()
    entered.wait()
    with full_precision():
        leave.set()
        thread.join()
        assert torch.get_float32_matmul_precision() == 'highest'  # the first has left
    assert torch.get_float32_matmul_precision() == 'high'


def test_full_precision_without_settings_of_back_ends(as_before, monkeypatch):
    monkeypatch.setattr(precision, '_matmuls', list)
    by_name('medium')
    with full_precision():
        assert torch.get_float32_matmul_precision() == 'highest'
    assert torch.get_float32_matmul_precision() == 'medium'
