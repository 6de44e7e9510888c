import json

import numpy as np
import pytest
import yaml
from safetensors import safe_open

from torch_geometric_reid.cli.main import main
from torch_geometric_reid.cli.table import format_table
from torch_geometric_reid.datasets import FakeReID

TINY = [
    '--fa.steps=2', '--fa.hidden_channels=16', '--ec.epochs=1', '--quiet',
    '--ec.num_neighbors=[8,2]', '--ec.hidden_channels=8', '--ec.num_edges=3',
    '--links.k=8', '--links.num_edges=3', '--links.num_probes=96',
]  # fmt: skip
KEYS = ['method', 'recipe', 'graph', 'mAP', 'rank1', 'rank5', 'rank10', 'mINP']


@pytest.fixture
def files(tmp_path):
    paths = []
    for split in ('train', 'query', 'gallery'):
        data = FakeReID(split, num_identities=12)[0]
        paths += [f'--{split}', str(tmp_path / f'{split}.npz')]
        np.savez(
            paths[-1],
            feature=data.x.numpy(),
            id=data.y.numpy(),
            camera=data.camera.numpy(),
        )
    return paths


def test_demo(tmp_path, capsys):
    out, rows = tmp_path / 'run', tmp_path / 'new' / 'rows.json'
    code = main(['demo', *TINY, '--json', str(rows), '--out', str(out)])
    printed = capsys.readouterr().out
    assert code == 0
    rows = json.loads(rows.read_text())['rows']
    assert [list(row) for row in rows] == [KEYS] * 26
    assert rows[0]['method'] == 'baseline'
    assert rows[0]['mAP'] == pytest.approx(70.0, abs=0.1)
    assert rows[0]['rank1'] == pytest.approx(85.8, abs=0.1)
    assert 'baseline' in printed
    assert '70.02' in printed
    assert 'train: 2560 images of 128 identities' in printed
    assert 'label-free statistics of the graphs' in printed
    assert 'expected calibration error of a link' in printed
    assert {row['recipe'] for row in rows} == {'paper', 'links'}

    assert json.loads((out / 'metrics.json').read_text())['rows'] == rows
    config = yaml.safe_load((out / 'config.yaml').read_text())
    assert config['ec']['num_neighbors'] == [8, 2]
    assert config['fa']['steps'] == 2
    ranking = np.load(out / 'ranking.npz')
    assert ranking['index'].shape == ranking['distance'].shape == (570, 50)
    assert (np.diff(ranking['distance']) >= 0).all()
    with safe_open(out / 'fa.safetensors', 'pt') as file:
        assert file.get_tensor('convs.0.lin_root.weight').shape == (16, 128)
    for name, size in [('ec', 16), ('backbone_ec', 128)]:
        with safe_open(out / f'{name}.safetensors', 'pt') as file:
            assert file.get_tensor('convs.0.lin.weight').shape == (8, size)


def test_run_twice_and_from_its_own_config(files, tmp_path, capsys):
    tables = []
    for options in [
        TINY,
        TINY,
        ['--quiet', '--config', str(tmp_path / '0/config.yaml')],
    ]:
        out = tmp_path / str(len(tables))
        assert main(['run', *files, *options, '--out', str(out)]) == 0
        tables.append((out / 'metrics.json').read_text())
    assert tables[0] == tables[1] == tables[2]


def test_presets(files, capsys, monkeypatch):
    monkeypatch.setattr('torch_geometric_reid.cli.main.compare', stop)
    with pytest.raises(KeyboardInterrupt):
        main(['run', *files, '--preset', 'paper', '--fa.k', '20'])
    printed = capsys.readouterr().out
    assert '# options (paper preset)' in printed
    assert 'hidden_channels: 4096' in printed
    assert 'k: 20' in printed


def stop(*args, **kwargs):
    raise KeyboardInterrupt


def test_stages_can_be_left_out(files, tmp_path):
    rows = tmp_path / 'rows.json'
    options = [*TINY, '--ec', 'null', '--json', str(rows)]
    assert main(['run', *files, *options, '--out', str(tmp_path / 'a')]) == 0
    methods = [row['method'] for row in json.loads(rows.read_text())['rows']]
    stages = ['baseline', 'mean', 'concat', 'fa']
    learned = ['fa', 'fa+ec', 'links']
    free = ['rr', 'gnn', 'qe', 'ecn']
    assert methods == [*stages, 'qe', *stages, *free, *learned, *learned]
    assert not (tmp_path / 'a' / 'ec.safetensors').exists()


def test_one_file_with_splits(files, tmp_path):
    parts = [dict(np.load(path)) for path in files[1::2]]
    whole = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    split = np.repeat([0, 1, 2], [len(part['id']) for part in parts])
    np.savez(tmp_path / 'all.npz', split=split, **whole)
    same = [x if x.startswith('--') else str(tmp_path / 'all.npz') for x in files]
    tables = []
    for paths in (files, same):
        assert main(['run', *paths, *TINY, '--out', str(tmp_path / 'out')]) == 0
        tables.append((tmp_path / 'out' / 'metrics.json').read_text())
    assert tables[0] == tables[1]


def test_errors_are_one_line(files, tmp_path, capsys):
    missing = [*files[:-1], str(tmp_path / 'none.npz')]
    assert main(['run', *missing, '--quiet']) == 1
    error = capsys.readouterr().err
    assert error.startswith('tg-reid: error: ')
    assert 'none.npz' in error
    assert error.count('\n') == 1

    np.savez(tmp_path / 'bare.npz', feature=np.ones((3, 4), np.float32))
    assert main(['run', *files[:-1], str(tmp_path / 'bare.npz'), '--quiet']) == 1
    assert 'no identities' in capsys.readouterr().err
    for wrong in [['--fa.k', 'many'], ['--ec.loss', 'hinge'], ['--unknown', '1']]:
        with pytest.raises(SystemExit) as exit_:
            main(['run', *files, *wrong])
        assert exit_.value.code == 2


@pytest.mark.parametrize('command', [[], ['demo'], ['run'], ['rerank'], ['evaluate']])
def test_help(command, capsys):
    with pytest.raises(SystemExit) as exit_:
        main([*command, '--help'])
    assert exit_.value.code == 0
    printed = capsys.readouterr().out
    assert 'tg-reid' in printed
    assert not command or f'Example: tg-reid {command[0]}' in printed


def test_format_table():
    rows = [{'method': 'fa', 'mAP': 7.126}, {'method': 'fa+ec', 'mAP': 100.0}]
    assert format_table(rows).split('\n') == [
        'method  mAP',
        '------  ------',
        'fa        7.13',
        'fa+ec   100.00',
    ]
