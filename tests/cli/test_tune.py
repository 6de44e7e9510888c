import json

import numpy as np
import pytest
import yaml

from torch_geometric_reid.cli.main import main
from torch_geometric_reid.cli.parser import make_parser
from torch_geometric_reid.cli.tune import read_parameters, run_tune, tune_options
from torch_geometric_reid.datasets import FakeReID

TINY = [
    '--fa.steps=2', '--fa.hidden_channels=16', '--ec.epochs=1', '--quiet',
    '--ec.num_neighbors=[8,2]', '--ec.hidden_channels=8', '--ec.num_edges=3',
]  # fmt: skip


def run(argv):
    parser = tune_options('small')
    run_tune(parser.instantiate(parser.parse_args([str(arg) for arg in argv])))


@pytest.fixture
def files(tmp_path):
    for split, noise in [('train', 0.6), ('gallery', 1.2)]:
        data = FakeReID(split, num_identities=20, noise=noise)[0]
        np.savez(
            tmp_path / f'{split}.npz',
            feature=data.x.numpy(),
            id=data.y.numpy(),
            camera=data.camera.numpy(),
        )
    return [
        '--train', tmp_path / 'train.npz', '--gallery', tmp_path / 'gallery.npz',
        '--out', tmp_path / 'new' / 'options.yaml',
    ]  # fmt: skip


def test_tune(files, tmp_path, capsys):
    rows = tmp_path / 'rows.json'
    values = ['--values', 'k_reciprocal.k1=5,20', 'rank.weight=0.1,5', 'fa.k=1,5']
    run([*files, *TINY, *values, '--seeds', 2, '--json', rows])
    printed = capsys.readouterr().out
    assert 'k_reciprocal.k1' in printed
    assert '\nbaseline ' in printed
    assert 'no identities read' in printed
    rows = json.loads(rows.read_text())
    chosen = {row['option']: row['value'] for row in rows['trials'] if row['chosen']}
    assert list(chosen) == ['k_reciprocal.k1', 'rank.weight', 'fa.k']
    assert [row['method'] for row in rows['methods']] == [
        'baseline', 'k_reciprocal', 'fa+ec', 'fa',
    ]  # fmt: skip

    out = tmp_path / 'new' / 'options.yaml'
    argv = ['demo', '--config', str(out)]
    config = make_parser(argv).parse_args(argv).demo
    assert config.fa.k == chosen['fa.k']
    assert config.rank.weight == chosen['rank.weight']
    assert config.rank.k_reciprocal[0] == chosen['k_reciprocal.k1']
    assert config.ec.num_neighbors == (8, 2)
    parameters = read_parameters(out.with_suffix('.rerank.yaml'))
    assert parameters == {
        'k_reciprocal': {'k1': chosen['k_reciprocal.k1'], 'k2': 6, 'lambda_value': 0.3}
    }


def test_labels_of_the_gallery_are_not_read(files, tmp_path):
    out, outs = tmp_path / 'new' / 'options.rerank.yaml', []
    x = np.load(tmp_path / 'gallery.npz')['feature']
    for arrays in [{}, {'id': np.arange(len(x))}]:
        np.savez(tmp_path / 'gallery.npz', feature=x, **arrays)
        rows = tmp_path / 'rows.json'
        run([*files, '--options', 'gnn.k2', 'qe.k', '--quiet', '--json', rows])
        outs.append((out.read_text(), rows.read_text()))
    assert outs[0] == outs[1]


def test_help_shows_an_example(capsys):
    with pytest.raises(SystemExit) as stop:
        tune_options('small').parse_args(['--help'])
    assert stop.value.code == 0
    text = ' '.join(capsys.readouterr().out.split())
    assert 'tg-reid tune --train train.npz --gallery gallery.npz' in text
    for name in ('--values', '--seeds', '--fraction', '--json', '--links.k'):
        assert name in text


@pytest.mark.parametrize('value', ['fa.k', 'fa.k=', 'fa.k=[1'])
def test_rejects_values(files, value):
    with pytest.raises(ValueError, match='needs NAME=VALUES'):
        run([*files, '--values', value])


def test_rejects_files(files, tmp_path):
    with pytest.raises(ValueError, match="needs '--train' beside it"):
        run(files[2:])
    np.savez(tmp_path / 'train.npz', feature=np.ones((4, 2), dtype=np.float32))
    with pytest.raises(ValueError, match='no identities, which training needs'):
        run(files)


def test_read_parameters_rejects(tmp_path):
    path = tmp_path / 'x.yaml'
    for text, message in [('a: [', 'no YAML file'), ('- 1', 'by name'), ('a: 1', 'by')]:
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            read_parameters(path)
    path.write_text(yaml.safe_dump({'gnn': {'k1': 5}}))
    assert read_parameters(path) == {'gnn': {'k1': 5}}


@pytest.mark.parametrize(
    'values',
    ['fa.k=3,abc', 'fa.k=3.5', 'rank.weight=abc', 'ec.num_neighbors=20', 'fa.q=1'],
)
def test_values_are_checked_before_anything_is_trained(values, tmp_path, capsys):
    argv = ['tune', '--values', values, '--out', str(tmp_path / 'options.yaml')]
    assert main(argv) == 1
    assert values.partition('=')[0].split('.')[1] in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
