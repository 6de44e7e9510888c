from dataclasses import replace

import pytest

from torch_geometric_reid.datasets import FakeReID
from torch_geometric_reid.experiments import Lab, ReIDData
from torch_geometric_reid.experiments import lab as lab_module
from torch_geometric_reid.pipeline import Config, ECConfig, FAConfig

TINY = Config(
    recipe='paper',
    fa=FAConfig(k=3, steps=2, hidden_channels=16),
    ec=ECConfig(num_neighbors=(8, 2), num_edges=3, hidden_channels=8, epochs=1),
)


@pytest.fixture(scope='session')
def data():
    splits = ('train', 'query', 'gallery')
    parts = [FakeReID(x, num_identities=8, num_images=2)[0] for x in splits]
    return ReIDData('fake', *parts)


@pytest.fixture
def make_lab(data, tmp_path):
    def make(seeds=1, **options):
        config = replace(TINY, **options)
        return Lab(data, config, tmp_path / 'cache', seeds)

    return make


@pytest.fixture
def trained(monkeypatch):
    r"""The stages that are trained from now on."""
    stages = []
    for name in ('train_fa', 'train_ec'):
        train = getattr(lab_module, name)

        def counted(*args, name=name, train=train, **kwargs):
            stages.append(name.removeprefix('train_'))
            return train(*args, **kwargs)

        monkeypatch.setattr(lab_module, name, counted)
    return stages
