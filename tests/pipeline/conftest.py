from dataclasses import replace

import pytest

from torch_geometric_reid.datasets import FakeReID
from torch_geometric_reid.pipeline import Config, ECConfig, FAConfig, GraphReRanker

DIM = 16


def make_config(recipe, **paper):
    config = Config(
        recipe=recipe,
        fa=FAConfig(k=3, hidden_channels=DIM, steps=3),
        ec=ECConfig((8, 3), 3, hidden_channels=16, epochs=1),
    )
    config = replace(config, **paper)
    links = replace(config.links, k=10, num_edges=4, num_probes=256)
    return replace(config, links=links)


CONFIGS = {
    'links': make_config('links'),
    'paper': make_config('paper'),
    'fa': make_config('paper', ec=None),
    'ec': make_config('paper', fa=None),
    'none': make_config('paper', fa=None, ec=None),
}


@pytest.fixture(scope='module')
def splits():
    return [
        FakeReID(split, num_identities=12, num_cameras=3, num_channels=DIM)[0]
        for split in ('train', 'query', 'gallery')
    ]


@pytest.fixture(scope='module')
def rankers(splits):
    train, _, gallery = splits
    return {
        name: GraphReRanker(config).fit(train.x, train.y, gallery.x)
        for name, config in CONFIGS.items()
    }
