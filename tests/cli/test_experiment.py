import csv

import numpy as np
import pytest
import torch

from torch_geometric_reid.cli import experiment
from torch_geometric_reid.cli.main import main
from torch_geometric_reid.cli.parser import make_parser
from torch_geometric_reid.datasets import FakeReID
from torch_geometric_reid.experiments import Result, Row, Value

TINY = [
    '--fa.steps=2', '--fa.hidden_channels=16', '--ec.epochs=1', '--quiet',
    '--ec.num_neighbors=[8,2]', '--ec.hidden_channels=8', '--ec.num_edges=3',
    '--seeds=1',
]  # fmt: skip


@pytest.fixture
def options(tmp_path):
    parts = [FakeReID(x, num_identities=8)[0] for x in ('train', 'query', 'gallery')]
    np.savez(
        tmp_path / 'set.npz',
        split=np.repeat([0, 1, 2], [part.num_nodes for part in parts]),
        feature=torch.cat([part.x for part in parts]).numpy(),
        id=torch.cat([part.y for part in parts]).numpy(),
        camera=torch.cat([part.camera for part in parts]).numpy(),
    )
    data = f'--data={tmp_path / "set.npz"}'
    return [*TINY, data, f'--out={tmp_path / "out"}']


def test_sweep(options, tmp_path, capsys):
    pytest.importorskip('matplotlib')
    assert main(['experiment', 'lambda', *options, '--values=[0,0.4]']) == 0
    printed = capsys.readouterr().out
    assert '# Figure 4: weight lambda of the connectivity' in printed
    assert 'published (Market-1501)' in printed
    assert 'compare the shape, not the height' in printed
    out = tmp_path / 'out'
    with (out / 'lambda.csv').open(newline='') as file:
        assert [float(row['lambda']) for row in csv.DictReader(file)] == [0, 0.4]
    assert (out / 'lambda.png').exists()
    assert any((out / 'cache').iterdir())


def test_every_name_runs_its_experiment(options, monkeypatch, capsys):
    def fake(name):
        rows = [Row({'method': name}, {'mAP': Value(1.0)})]
        return lambda lab, *rest: Result(name, f'it was {name} {rest}', rows, 'fake')

    for table in (experiment.SWEEPS, experiment.OTHERS):
        for name in table:
            monkeypatch.setitem(table, name, fake(name))
    for name in ('table2', 'ranklist'):
        monkeypatch.setattr(experiment, name, fake(name))
    for name in experiment.EXPERIMENTS:
        assert main(['experiment', name, *options]) == 0
        assert f'it was {name}' in capsys.readouterr().out
    main(['experiment', 'k1', *options, '--preset=paper'])
    assert 'k1 ((30, 50, 100, 200),)' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('wrong', 'match'),
    [
        (['table2', '--values=[1]'], "'--values' belongs to a sweep"),
        (['lambda', '--graph=all'], "'graph' needs to be one of"),
        (['k', '--values=[2.5]'], "'values' needs whole numbers"),
        (['lambda', '--ec=null'], "'fa' and 'ec' need options"),
        (['lambda', '--data=none.npz'], 'none.npz'),
        (['lambda', '--data=veri776'], "'veri776' needs 'root'"),
    ],
)
def test_errors_are_one_line(options, wrong, match, capsys):
    assert main(['experiment', wrong[0], *options, *wrong[1:]]) == 1
    error = capsys.readouterr().err
    assert error.startswith('tg-reid: error: ')
    assert match in error
    assert error.count('\n') == 1


@pytest.mark.parametrize(
    ('data', 'k'), [('market1501', 3), ('dukemtmcreid', 10), ('veri776', 20)]
)
def test_paper_has_its_own_k_for_each_data_set(data, k):
    argv = ['experiment', 'table2', '--preset=paper', f'--data={data}']
    assert make_parser(argv).parse_args(argv).experiment.fa.k == k
    argv.append('--fa.k=7')
    assert make_parser(argv).parse_args(argv).experiment.fa.k == 7


def test_help(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(['experiment', '--help'])
    assert exit_.value.code == 0
    assert 'Example: tg-reid experiment lambda' in capsys.readouterr().out
