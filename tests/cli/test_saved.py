import json

import numpy as np
import pytest

from torch_geometric_reid.cli.main import main
from torch_geometric_reid.datasets import FakeReID
from torch_geometric_reid.pipeline import GraphReRanker

SMALL = ['--links.num_probes', '64', '--links.k', '10', '--quiet']


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('saved')
    for split in ('train', 'query', 'gallery'):
        data = FakeReID(split, num_identities=12)[0]
        np.savez(
            folder / f'{split}.npz',
            feature=data.x.numpy(),
            id=data.y.numpy(),
            name=np.array([f'{split}/{i}.jpg' for i in range(data.num_nodes)]),
        )
    files = [f'--{s}={folder / s}.npz' for s in ('train', 'gallery')]
    argv = ['fit', *files, f'--model={folder / "model"}', *SMALL]
    assert main([*argv, f'--resume={folder / "state"}']) == 0
    return folder


def test_fit_resumes_to_the_same(folder, tmp_path):
    files = [f'--{s}={folder / s}.npz' for s in ('train', 'gallery')]
    argv = ['fit', *files, f'--resume={folder / "state"}', *SMALL]
    report = tmp_path / 'report.json'
    assert main([*argv, f'--model={tmp_path / "m"}', f'--json={report}']) == 0
    assert json.loads(report.read_text())['gallery'] == 216
    names = [
        {path.name for path in where.glob('models-*')}
        for where in (folder / 'model', tmp_path / 'm')
    ]
    assert names[0] == names[1]


def test_query_prints_the_nearest(folder, tmp_path, capsys):
    out = tmp_path / 'rows.json'
    argv = [f'--model={folder / "model"}', f'--query={folder / "query.npz"}']
    assert main(['query', *argv, '--row=5', '--top=3', f'--json={out}']) == 0
    printed = capsys.readouterr().out
    ranker = GraphReRanker.load(folder / 'model')
    matches = ranker.query(FakeReID('query', num_identities=12)[0].x[5], 3)
    rows = json.loads(out.read_text())
    assert [row['name'] for row in rows] == matches.names[0]
    assert [row['id'] for row in rows] == [str(int(i)) for i in matches.ids[0]]
    assert '# graph: gallery' in printed
    assert f'{float(matches.distance[0, 0]):.4f}' in printed
    assert main(['query', *argv, '--row=999']) == 1
    assert "'--row' needs to be below" in capsys.readouterr().err


@pytest.mark.parametrize('graph', ['joint', 'gallery'])
def test_rank_writes_the_ranking_of_rank(folder, tmp_path, graph):
    out = tmp_path / 'ranking.npz'
    argv = [f'--model={folder / "model"}', f'--query={folder / "query.npz"}']
    assert main(['rank', *argv, f'--graph={graph}', f'--out={out}', '--top=4']) == 0
    query, gallery = (
        FakeReID(split, num_identities=12)[0].x for split in ('query', 'gallery')
    )
    distance = GraphReRanker.load(folder / 'model').rank(query, gallery, graph)
    with np.load(out) as file:
        assert file['gallery_name'][0] == 'gallery/0.jpg'
        found = np.take_along_axis(distance.numpy(), file['index'], axis=1)
        assert np.allclose(found, file['distance'], atol=1e-5)
        assert np.allclose(found, np.sort(distance.numpy())[:, :4], atol=1e-5)


def test_add(folder, tmp_path):
    GraphReRanker.load(folder / 'model').save(tmp_path)
    argv = [f'--model={tmp_path}', f'--gallery={folder / "query.npz"}']
    assert main(['add', *argv]) == 0
    gallery = GraphReRanker.load(tmp_path).gallery
    assert gallery.num_images == 216 + 72
    assert gallery.names[-1].startswith('query/')


@pytest.mark.filterwarnings('ignore:The near neighbors')
def test_trust(folder, tmp_path, capsys):
    files = [f'--{s}={folder / s}.npz' for s in ('train', 'gallery')]
    assert main(['fit', *files, f'--model={tmp_path}', *SMALL, '--trust']) == 0
    assert (
        main(['query', f'--model={tmp_path}', f'--query={folder / "query.npz"}']) == 0
    )
    assert 'probability' in capsys.readouterr().out
    argv = ['fit', *files, f'--model={tmp_path}', '--trust', '--recipe=paper']
    assert main(argv) == 1
    assert 'recipe of links' in capsys.readouterr().err


def test_no_model(tmp_path, folder, capsys):
    argv = [f'--model={tmp_path}', f'--query={folder / "query.npz"}']
    assert main(['query', *argv]) == 1
    assert 'holds no re-ranker' in capsys.readouterr().err
