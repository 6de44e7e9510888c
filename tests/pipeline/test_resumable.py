import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from itertools import islice

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from torch_geometric_reid.datasets import FakeReID
from torch_geometric_reid.nn import LinkGCN
from torch_geometric_reid.pipeline import (
    Checkpoint,
    ECConfig,
    FAConfig,
    LinkConfig,
    train_ec,
    train_fa,
    train_links,
)
from torch_geometric_reid.pipeline.link_contrast import LinkContrast
from torch_geometric_reid.pipeline.resumable import Shuffled
from torch_geometric_reid.transforms import PairFeatures
from torch_geometric_reid.transforms.neighbor_table import listed_nodes

FA = FAConfig(k=3, steps=9, hidden_channels=8, milestones=(3, 6))
EC = ECConfig(
    num_neighbors=(8, 2), num_edges=3, hidden_channels=8, epochs=3, batch_size=20
)
LINKS = LinkConfig(k=8, num_edges=3, hidden_channels=8, num_probes=150, batch_size=16)


@pytest.fixture(scope='module')
def train():
    return FakeReID('train', num_identities=12, num_channels=16)[0]


def train_with_contrast(pairs, y, config, seed, checkpoint=None):
    neighbor = listed_nodes(pairs)
    link = pairs.edge_attr[:, 0].view_as(neighbor)
    contrast = LinkContrast(pairs.x, neighbor, link, config.beta)
    return train_links(pairs, y, config, seed, checkpoint=checkpoint, contrast=contrast)


@pytest.fixture(scope='module')
def trainers(train):
    pairs = PairFeatures(LINKS.k)(train)
    options = {
        'fa': (train_fa, train.x, FA),
        'fa-sgd': (train_fa, train.x, replace(FA, optimizer='sgd')),
        'ec': (train_ec, train.x, EC),
        'ec-adam': (train_ec, train.x, replace(EC, optimizer='adam', sampler='hgs')),
        'links': (train_links, pairs, LINKS),
        'links-contrast': (train_with_contrast, pairs, LINKS),
    }

    def make(name):
        function, x, config = options[name]

        def run(checkpoint=None, y=train.y, seed=3, x=x, **changes):
            changed = replace(config, **changes)
            return function(x, y, changed, seed, checkpoint=checkpoint)

        return run

    return {name: make(name) for name in options}


@pytest.fixture(scope='module')
def expected(trainers):
    return {name: run().state_dict() for name, run in trainers.items()}


class Stopped(Exception):
    pass


class StoppedCheckpoint(Checkpoint):
    r"""Saves after some of the steps, and stops before a state is saved."""

    def __init__(self, folder, stop, period=1):
        super().__init__(folder)
        self.step, self.stop, self.period = 0, stop, period

    def is_due(self):
        self.step += 1
        if self.step == self.stop:
            raise Stopped
        return self.step % self.period == 0


def interrupt(run, folder, stop, period=1):
    with StoppedCheckpoint(folder, stop, period) as checkpoint:
        try:
            return run(checkpoint)
        except Stopped:
            return None


def assert_same(model, expected):
    state = model.state_dict()
    assert state.keys() == expected.keys()
    for name, value in state.items():
        assert torch.equal(value, expected[name]), name
    assert not model.training


NAMES = ['fa', 'fa-sgd', 'ec', 'ec-adam', 'links', 'links-contrast']


@pytest.mark.parametrize('name', NAMES)
@settings(
    max_examples=5,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    stops=st.lists(st.integers(1, 20), min_size=1, max_size=3),
    period=st.integers(1, 4),
)
def test_interrupted_as_if_it_were_not(
    trainers, expected, tmp_path_factory, name, stops, period
):
    folder = tmp_path_factory.mktemp('state')
    for stop in stops:
        interrupt(trainers[name], folder, stop, period)
    with Checkpoint(folder) as checkpoint:
        assert_same(trainers[name](checkpoint), expected[name])


@pytest.mark.parametrize('name', NAMES)
def test_after_every_step(trainers, expected, tmp_path, name):
    model = None
    for _ in range(50):
        model = interrupt(trainers[name], tmp_path, 2)  # one step at a time
        if model is not None:
            break
    assert_same(model, expected[name])


@pytest.mark.parametrize('name', NAMES)
def test_finished_stage_is_loaded(trainers, expected, tmp_path, name, monkeypatch):
    run = trainers[name]
    with Checkpoint(tmp_path) as checkpoint:
        assert_same(run(checkpoint), expected[name])
    monkeypatch.setattr(Checkpoint, 'is_due', pytest.fail)
    monkeypatch.setattr(Checkpoint, 'save', pytest.fail)
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    with Checkpoint(tmp_path) as checkpoint:
        assert_same(run(checkpoint), expected[name])
    assert torch.random.get_rng_state().equal(before)


def test_workers(trainers, expected, tmp_path):
    def run(checkpoint):
        return trainers['ec'](checkpoint, num_workers=1)

    interrupt(run, tmp_path, 9, 2)
    with Checkpoint(tmp_path) as checkpoint:  # with another number of them
        assert_same(trainers['ec'](checkpoint), expected['ec'])


@pytest.mark.parametrize('name', ['fa', 'ec', 'links'])
def test_other_data_or_options(trainers, tmp_path, name, train):
    run = trainers[name]
    interrupt(run, tmp_path, 3)
    path = tmp_path / f'{name}.state.safetensors'
    content = path.read_bytes()
    for change, what in [
        ({'seed': 4}, 'seed'),
        ({'y': train.y.flip(0)}, 'data'),
        ({'lr': 0.5}, 'options.lr'),
    ]:
        message = f"'{path}' belongs to other data or options (other: {what})"
        with (
            Checkpoint(tmp_path) as checkpoint,
            pytest.raises(ValueError, match=re.escape(message)),
        ):
            run(checkpoint, **change)
    assert path.read_bytes() == content


@pytest.mark.parametrize('name', ['fa', 'ec', 'links'])
@pytest.mark.parametrize('damaged', [1, 2])
def test_damaged_states(trainers, expected, tmp_path, name, damaged):
    interrupt(trainers[name], tmp_path, 6, 2)
    files = [tmp_path / f'{name}{x}.state.safetensors' for x in ('', '.previous')]
    for path in files[:damaged]:
        path.write_bytes(path.read_bytes()[:-5])
    with (
        Checkpoint(tmp_path) as checkpoint,
        pytest.warns(UserWarning, match='is damaged') as warned,
    ):
        assert_same(trainers[name](checkpoint), expected[name])
    assert sum('is damaged' in str(w.message) for w in warned) == damaged


def test_state_that_vanishes(trainers, expected, tmp_path):
    interrupt(trainers['ec'], tmp_path, 6)
    (tmp_path / 'ec.state.safetensors').unlink()
    with Checkpoint(tmp_path) as checkpoint:
        assert_same(trainers['ec'](checkpoint), expected['ec'])


def test_folder_that_vanishes(trainers, tmp_path):
    class Vanishing(Checkpoint):
        def is_due(self):
            shutil.rmtree(self.folder)
            return True

    folder = tmp_path / 'state'
    with pytest.raises(FileNotFoundError, match=re.escape(f"'{folder}' was removed")):
        trainers['fa'](Vanishing(folder))
    assert not folder.exists()


def test_stages_have_files_of_their_own(trainers, train, tmp_path):
    pairs = PairFeatures(LINKS.k)(train)
    with Checkpoint(tmp_path) as checkpoint:
        for stage, seed in [('links_first', 0), ('links_second', 1)]:
            model = train_links(
                pairs, train.y, LINKS, seed, checkpoint=checkpoint, stage=stage
            )
            assert isinstance(model, LinkGCN)
    for stage in ('links_first', 'links_second'):
        assert (tmp_path / f'{stage}.state.safetensors').exists()


@pytest.mark.parametrize('size', [1, 10, 12])
def test_shuffled_is_a_loaders_shuffle(size):
    for skip in (0, 4, 8, 12):
        generators = [torch.Generator().manual_seed(0) for _ in range(2)]
        order = Shuffled(size, generators[1])
        plain = DataLoader(range(size), 4, shuffle=True, generator=generators[0])
        ours = DataLoader(range(size), 4, sampler=order, generator=generators[1])
        for epoch in range(3):
            order.skip = skip if epoch == 1 else 0
            kept = islice(plain, order.skip // 4, None)
            for a, b in zip(kept, ours, strict=True):
                assert a.equal(b)
            assert generators[0].get_state().equal(generators[1].get_state())


PROGRAM = """
import sys, torch
torch.set_num_threads(int(sys.argv[2]))
from torch_geometric_reid.datasets import FakeReID
from torch_geometric_reid.pipeline import Checkpoint, ECConfig, train_ec
train = FakeReID('train', num_identities=12, num_channels=16)[0]
config = ECConfig((8, 2), 3, hidden_channels=8, epochs=20, num_workers=1)
with Checkpoint(sys.argv[1], every=0) as checkpoint:
    train_ec(train.x, train.y, config, 3, checkpoint=checkpoint)
"""


def test_killed_process(train, tmp_path):
    config = ECConfig((8, 2), 3, hidden_channels=8, epochs=20)
    wait = float(torch.rand(1)) * 0.4
    command = [sys.executable, '-c', PROGRAM, tmp_path, str(torch.get_num_threads())]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        while not (tmp_path / 'ec.state.safetensors').exists():
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(wait)
        with pytest.raises(RuntimeError, match=f"'{tmp_path}' is in use"):
            Checkpoint(tmp_path)
        process.kill()
    assert process.returncode < 0, f'it ended before {wait} s'
    with Checkpoint(tmp_path) as checkpoint:
        model = train_ec(train.x, train.y, config, 3, checkpoint=checkpoint)
    assert_same(model, train_ec(train.x, train.y, config, 3).state_dict())
