import warnings
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch.nn.utils import parameters_to_vector

from torch_geometric_reid.datasets import FakeReID
from torch_geometric_reid.knn import METRICS, knn
from torch_geometric_reid.nn import supervised_contrastive_loss
from torch_geometric_reid.pipeline import (
    Config,
    ECConfig,
    FAConfig,
    GraphReRanker,
    LinkConfig,
    train_ec,
    train_fa,
)

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')

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


@pytest.mark.parametrize('metric', METRICS)
def test_neighbors_are_those_of_the_cpu(metric):
    x = torch.randn(3000, 48)
    x[1000:1010] = x[:10]
    out, expected = [knn(t, 20, metric=metric, backend='torch') for t in (x.cuda(), x)]
    assert torch.equal(out.index.cpu(), expected.index)


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
