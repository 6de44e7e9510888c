import csv
import json

import numpy as np
import pytest

from torch_geometric_reid.cli.main import main
from torch_geometric_reid.datasets import FakeReID
from torch_geometric_reid.distance import pairwise_distance
from torch_geometric_reid.metrics import evaluate
from torch_geometric_reid.rerank import k_reciprocal


@pytest.fixture
def files(tmp_path):
    for split in ('query', 'gallery'):
        data = FakeReID(split, num_identities=12)[0]
        np.savez(
            tmp_path / f'{split}.npz',
            feature=data.x.numpy(),
            id=data.y.numpy(),
            camera=data.camera.numpy(),
            name=np.array([f'{split}/{i}.jpg' for i in range(data.num_nodes)]),
        )
    return [
        '--query', str(tmp_path / 'query.npz'),
        '--gallery', str(tmp_path / 'gallery.npz'),
    ]  # fmt: skip


def expected(function):
    q, g = (FakeReID(split, num_identities=12)[0] for split in ('query', 'gallery'))
    distance = function(q.x, g.x)
    return distance, evaluate(distance, q.y, g.y, q.camera, g.camera)


def test_rerank_to_npz_and_evaluate_it(files, tmp_path, capsys):
    out, metrics = tmp_path / 'new' / 'ranking.npz', tmp_path / 'metrics.json'
    num_gallery = FakeReID('gallery', num_identities=12)[0].num_nodes
    options = ['--out', str(out), '--json', str(metrics), '--top', str(num_gallery)]
    assert main(['rerank', *files, *options]) == 0
    distance, result = expected(k_reciprocal)
    row = json.loads(metrics.read_text())
    assert row['mAP'] == pytest.approx(100 * result.mAP)
    assert row['rank5'] == pytest.approx(100 * result.rank(5))
    ranking = np.load(out)
    assert (ranking['index'][:, 0] == distance.argmin(dim=1).numpy()).all()
    assert np.allclose(ranking['distance'], distance.sort(dim=1).values)
    assert ranking['gallery_name'][3] == 'gallery/3.jpg'
    assert f'{100 * result.mAP:.2f}' in capsys.readouterr().out

    again = tmp_path / 'again.json'
    options = ['--ranking', str(out), '--json', str(again)]
    assert main(['evaluate', *files, *options]) == 0
    assert json.loads(again.read_text()) == pytest.approx(row)


def test_rerank_to_csv(files, tmp_path):
    out = tmp_path / 'ranking.csv'
    options = ['--method', 'none', '--top', '3', '--out', str(out)]
    assert main(['rerank', *files, *options]) == 0
    distance, _ = expected(pairwise_distance)
    rows = list(csv.DictReader(out.open()))
    assert len(rows) == 3 * len(distance)
    assert rows[4]['probe'] == 'query/1.jpg'
    assert rows[4]['rank'] == '2'
    assert rows[4]['image'] == f'gallery/{int(distance[1].argsort()[1])}.jpg'
    assert float(rows[4]['distance']) == pytest.approx(
        float(distance[1].sort().values[1]), rel=1e-4
    )


@pytest.mark.parametrize('method', ['gnn', 'qe', 'ecn', 'gcr'])
def test_other_methods(files, tmp_path, method):
    out = tmp_path / 'ranking.npz'
    assert main(['rerank', *files, '--method', method, '--out', str(out)]) == 0
    assert np.isfinite(np.load(out)['distance']).all()


def test_evaluate_features(files, tmp_path):
    metrics = tmp_path / 'metrics.json'
    options = ['--json', str(metrics), '--ap', 'trapezoid']
    assert main(['evaluate', *files, *options]) == 0
    q, g = (FakeReID(split, num_identities=12)[0] for split in ('query', 'gallery'))
    distance = pairwise_distance(q.x, g.x)
    result = evaluate(distance, q.y, g.y, q.camera, g.camera, ap='trapezoid')
    row = json.loads(metrics.read_text())
    assert row['mAP'] == pytest.approx(100 * result.mAP, abs=1e-4)


def test_features_without_names_or_ids(tmp_path, capsys):
    x = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    np.save(tmp_path / 'q.npy', x[:5])
    np.save(tmp_path / 'g.npy', x[5:])
    files = ['--query', str(tmp_path / 'q.npy'), '--gallery', str(tmp_path / 'g.npy')]
    out = tmp_path / 'ranking.csv'
    options = ['--method', 'none', '--top', '2', '--out', str(out)]
    assert main(['rerank', *files, *options]) == 0
    assert out.read_text().startswith('probe,rank,image,distance\n0,1,')

    assert main(['evaluate', *files]) == 1
    assert 'no identities' in capsys.readouterr().err
    assert main(['rerank', *files, '--out', str(tmp_path / 'ranking.txt')]) == 1
    assert "'--out' needs to end in .npz or .csv" in capsys.readouterr().err
    assert main(['rerank', *files, *options, '--json', str(tmp_path / 'm.json')]) == 1
    assert 'needs identities' in capsys.readouterr().err


def test_evaluate_rejects_a_file_that_is_no_ranking(files, tmp_path, capsys):
    np.savez(tmp_path / 'other.npz', order=np.zeros((3, 3)))
    np.save(tmp_path / 'object.npy', np.array([{}], dtype=object))
    for name in ('other.npz', 'object.npy'):
        options = ['--ranking', str(tmp_path / name)]
        assert main(['evaluate', *files, *options]) == 1
        error = capsys.readouterr().err
        assert f"{name}' is no ranking" in error
        assert error.count('\n') == 1
