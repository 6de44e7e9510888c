import runpy
import sys
import warnings
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.nn.utils import parameters_to_vector

from torch_geometric_reid.datasets import FakeReID
from torch_geometric_reid.half_scores import HalfScores, has_half_products
from torch_geometric_reid.knn import METRICS, knn
from torch_geometric_reid.nn import supervised_contrastive_loss
from torch_geometric_reid.pipeline import (
    Checkpoint,
    Config,
    ECConfig,
    FAConfig,
    GraphReRanker,
    LinkConfig,
    fit_trust,
    train_ec,
    train_fa,
)

pytestmark = pytest.mark.usefixtures('gpu')

PRECISIONS = ['float32', 'bfloat16']
FA = FAConfig(k=3, hidden_channels=64, steps=6)
EC = ECConfig((10, 3), 4, hidden_channels=32, epochs=1, batch_size=8)


@pytest.fixture(scope='module')
def splits():
    return [
        FakeReID(split, num_identities=20, num_channels=32)[0]
        for split in ('train', 'query', 'gallery')
    ]


def make_config(recipe, device):
    links = LinkConfig(k=10, num_probes=256)
    return Config(recipe=recipe, fa=FA, ec=EC, links=links, device=device)


@pytest.fixture(params=['highest', 'high'])
def float32_products(request):
    torch.set_float32_matmul_precision(request.param)
    yield
    torch.set_float32_matmul_precision('highest')


@pytest.mark.parametrize('backend', [None, 'torch', 'half'])
@pytest.mark.parametrize('metric', METRICS)
def test_neighbors_are_those_of_the_cpu(float32_products, metric, backend):
    x = torch.randn(3000, 48)
    x[1000:1010] = x[:10]
    if metric != 'cosine':  # whose unit vectors are not the same to the bit
        x[2000:2100] = x[:1] + 1e-4 * torch.randn(100, 48)  # the same to halves
    expected = knn(x, 20, metric=metric, backend='torch')
    out = knn(x.cuda(), 20, metric=metric, backend=backend)
    assert torch.equal(out.index.cpu(), expected.index)
    torch.testing.assert_close(out.score.cpu(), expected.score, atol=5e-5, rtol=1e-5)


@pytest.mark.parametrize('squared', [False, True])
def test_bounds_of_half_precision_hold_on_tensor_cores(squared):
    # What halves can hold, whose sums only grow: nothing else is lost.
    x = torch.rand(2000, 2048, device='cuda').half().float()
    x[1000:] = x[1000:, :1]
    assert has_half_products(x)
    query = x[::20]
    value, term, factor = HalfScores(x, squared)(query)
    exact = query.double() @ x.double().t()
    if squared:
        exact = -torch.cdist(query.double(), x.double()).square()
    bound = factor.double() * (value.double() + term.double().view(-1, 1))
    assert (exact <= bound).all()


def test_contrastive_loss_is_that_of_the_cpu():
    y = torch.randint(40, (9000,))  # several blocks, the last one not full
    outs = []
    for device in ('cpu', 'cuda'):
        torch.manual_seed(0)
        z = torch.randn(9000, 16).to(device).requires_grad_()
        loss = supervised_contrastive_loss(z, y.to(device))
        loss.backward()
        outs.append((loss.cpu(), z.grad.cpu()))
    (expected, expected_grad), (loss, grad) = outs
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(grad, expected_grad, atol=1e-7, rtol=1e-3)


@pytest.mark.parametrize('precision', PRECISIONS)
@pytest.mark.parametrize(('train', 'config'), [(train_fa, FA), (train_ec, EC)])
def test_trained_weights_are_those_of_the_cpu(splits, train, config, precision):
    data, config = splits[0], replace(config, precision=precision)
    out = parameters_to_vector(train(data.x.cuda(), data.y.cuda(), config).parameters())
    config = replace(config, precision='float32')
    expected = parameters_to_vector(train(data.x, data.y, config).parameters())
    error = (out.cpu() - expected).norm() / expected.norm()
    assert error < (1e-4 if precision == 'float32' else 0.02)


def test_weights_depend_on_no_worker(splits):
    x, y = splits[0].x.cuda(), splits[0].y.cuda()
    first, second = [
        parameters_to_vector(
            train_ec(x, y, replace(EC, num_workers=num_workers)).parameters()
        )
        for num_workers in (0, 2)
    ]
    assert (first - second).norm() / first.norm() < 1e-5


@pytest.mark.parametrize('precision', PRECISIONS)
@pytest.mark.parametrize(
    ('train', 'config', 'more'),
    [
        (train_fa, FA, {'steps': 16}),
        (train_ec, EC, {'epochs': 2}),  # with more nodes than images, or fewer
        (train_ec, replace(EC, batch_size=2), {'batch_size': 1}),
    ],
)
def test_no_step_waits_for_the_gpu(splits, train, config, more, precision):
    x, y = splits[0].x.cuda(), splits[0].y.cuda()
    config = replace(config, precision=precision)
    waits = []
    for options in ({}, more):
        torch.cuda.set_sync_debug_mode('warn')
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter('always')
                train(x, y, replace(config, **options))
        finally:
            torch.cuda.set_sync_debug_mode('default')
        waits.append(sum('synchronizing' in str(w.message) for w in caught))
    assert waits[0] == waits[1] > 0


@pytest.mark.parametrize('graph', ['probe', 'gallery', 'joint'])
@pytest.mark.parametrize('recipe', ['paper', 'links'])
def test_distances_are_those_of_the_cpu(splits, recipe, graph):
    train, query, gallery = splits
    ranker = GraphReRanker(make_config(recipe, 'cpu'))
    ranker.fit(train.x, train.y, gallery.x)
    expected = ranker.rank(query.x, gallery.x, graph)
    other = GraphReRanker(make_config(recipe, 'cuda'))
    other.__dict__.update(
        {
            name: value.cuda() if isinstance(value, torch.nn.Module) else value
            for name, value in deepcopy(ranker).__dict__.items()
            if name not in ('config', 'device', 'links')
        }
    )
    if ranker.links is not None:
        other = GraphReRanker(other.config).fit(train.x, train.y, gallery.x)
        other.links.first.load_state_dict(ranker.links.first.state_dict())
        other.links.second.load_state_dict(ranker.links.second.state_dict())
        other.links.mixture = ranker.links.mixture._replace(
            **{k: v.cuda() for k, v in ranker.links.mixture._asdict().items()}
        )
    out = other.rank(query.x, gallery.x, graph)
    torch.testing.assert_close(out.cpu(), expected, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize('recipe', ['paper', 'links'])
def test_loaded_on_the_gpu(splits, recipe, tmp_path):
    train, query, gallery = splits
    ranker = GraphReRanker(make_config(recipe, 'cuda'))
    ranker.fit(train.x, train.y, gallery.x)
    ranker.prepare(gallery.x)
    ranker.save(tmp_path / 'saved')
    expected = ranker.query(query.x[0])
    on_gpu = GraphReRanker.load(tmp_path / 'saved').query(query.x[0])
    torch.testing.assert_close(on_gpu.distance, expected.distance, atol=1e-5, rtol=0)
    on_cpu = GraphReRanker.load(tmp_path / 'saved', device='cpu').query(query.x[0])
    torch.testing.assert_close(
        on_cpu.distance, expected.distance.cpu(), atol=2e-4, rtol=1e-4
    )


@pytest.mark.parametrize('graph', ['probe', 'gallery', 'joint'])
@pytest.mark.parametrize('recipe', ['paper', 'links'])
def test_query_equals_batch(splits, recipe, graph):
    train, query, gallery = splits
    ranker = GraphReRanker(make_config(recipe, 'cuda'))
    ranker.fit(train.x, train.y, gallery.x).prepare(gallery.x)
    query = query.x[:6]
    out = ranker.query(query, gallery.num_nodes, graph)
    found = torch.empty_like(out.distance).scatter_(1, out.index, out.distance)
    expected = ranker.rank(query, gallery.x, graph).cpu()
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize('recipe', ['paper', 'links'])
def test_a_finished_training_is_known_again(splits, recipe, tmp_path):
    train, _, gallery = splits
    weights = []
    for _ in range(2):
        with Checkpoint(tmp_path) as checkpoint:
            ranker = GraphReRanker(make_config(recipe, 'cuda'))
            ranker.fit(train.x, train.y, gallery.x, checkpoint=checkpoint)
        models = [ranker.fa, ranker.ec]
        if ranker.links is not None:
            models = [ranker.links.first, ranker.links.second]
        weights += [
            torch.cat([parameters_to_vector(model.parameters()) for model in models])
        ]
    assert torch.equal(*weights)
    with Checkpoint(tmp_path) as checkpoint:
        ranker = GraphReRanker(make_config(recipe, 'cuda'))
        with pytest.raises(ValueError, match='other data'):
            ranker.fit(1.5 - train.x, train.y, gallery.x, checkpoint=checkpoint)


@pytest.mark.filterwarnings('ignore:The near neighbors')
@pytest.mark.parametrize('device', ['cpu', 'cuda'])  # of the features
def test_trust(splits, device):
    train, query, gallery = splits
    config = make_config('links', 'cuda')
    ranker = GraphReRanker(config).fit(train.x, train.y, gallery.x)
    x, reference = (F.normalize(part.x.to(device)) for part in (train, gallery))
    y, camera = train.y.to(device), train.camera.to(device)
    ranker.trust = fit_trust(
        x, y, reference, config.links, graph='gallery', camera=camera
    )
    out = ranker.prepare(gallery.x).query(query.x, 5)
    assert ((out.probability >= 0) & (out.probability <= 1)).all()
    assert ranker.trust.none_of_these(out.distance[:, 0]).shape == (len(query.x),)


def test_example_that_moves_a_model(monkeypatch, capsys):
    path = Path(__file__).parents[2] / 'examples' / 'explain_probe.py'
    monkeypatch.setattr(sys, 'argv', [path.name, '--steps', '2'])
    runpy.run_path(str(path), run_name='__main__')
    assert 'First for probe' in capsys.readouterr().out
