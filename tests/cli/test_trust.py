import json
import re
import sys

import numpy as np
import pytest
from PIL import Image

from torch_geometric_reid.cli.main import main
from torch_geometric_reid.datasets import FakeReID

TINY = [
    '--fa.steps=2', '--fa.hidden_channels=16', '--ec.epochs=1', '--quiet',
    '--ec.num_neighbors=[8,2]', '--ec.hidden_channels=8', '--ec.num_edges=3',
    '--links.k=8', '--links.num_edges=3', '--links.num_probes=64',
]  # fmt: skip


@pytest.fixture
def command(tmp_path):
    files = []
    generator = np.random.default_rng(0)
    for split in ('train', 'query', 'gallery'):
        data = FakeReID(split, num_identities=12)[0]
        names = [f'{split}{i}.png' for i in range(data.num_nodes)]
        for name in names[1:]:  # one is missing
            pixels = generator.integers(0, 256, (4, 4, 3), 'uint8')
            Image.fromarray(pixels).save(tmp_path / name)
        path = tmp_path / f'{split}.npz'
        arrays = {'feature': data.x, 'id': data.y, 'camera': data.camera}
        np.savez(path, name=names, **{k: v.numpy() for k, v in arrays.items()})
        files += [f'--{split}', str(path)]
    return ['run', *files, *TINY, '--out', str(tmp_path / 'run')]


@pytest.mark.filterwarnings('ignore:The near neighbors')
def test_run(command, tmp_path, capsys):
    page, rows = tmp_path / 'new' / 'page.html', tmp_path / 'rows.json'
    options = ['--trust', '--report', str(page), '--json', str(rows)]
    assert main([*command, *options]) == 0
    printed = capsys.readouterr().out
    content = json.loads(rows.read_text())
    assert json.loads((tmp_path / 'run' / 'metrics.json').read_text()) == content
    methods = ('cosine', 'k-reciprocal', 'links')
    names = [(row['method'], row['score']) for row in content['trust']]
    assert names == [(m, s) for m in methods for s in ('raw', 'calibrated')]
    for row in content['trust']:
        assert 0 <= row['ECE, all pairs'] <= 1
        assert f'{row["ECE, first image"]:.5f}' in printed
        assert ('FPR of the threshold' in row) == (row['score'] == 'calibrated')
    assert f'# report: {page}' in printed
    text = page.read_text()
    assert 'gallery.npz' in text
    assert 'recipe links, graph joint, seed 0' in text
    assert text.count('<img src="data:image') > 4 + 12 * 3 * 9
    assert len(re.findall(r'<h3>query\d+\.png \(average', text)) == 12
    assert re.search(r'alt="rank 1: gallery\d+\.png, match"', text)
    with np.load(tmp_path / 'run' / 'ranking.npz') as ranking:
        assert ranking['query_name'][1] == 'query1.png'
        assert ranking['gallery_name'][1] == 'gallery1.png'


def test_report_alone_fits_nothing(command, tmp_path, capsys, monkeypatch):
    monkeypatch.delattr('torch_geometric_reid.cli.trust.fit_trusts')
    page = tmp_path / 'page.html'
    assert main([*command, '--recipe=paper', '--report', str(page)]) == 0
    assert '# probabilities' not in capsys.readouterr().out
    assert 'trust' not in json.loads((tmp_path / 'run' / 'metrics.json').read_text())
    assert 'recipe paper, graph probe' in page.read_text()


def test_options_are_checked_before_training(command, tmp_path, capsys, monkeypatch):
    monkeypatch.delattr('torch_geometric_reid.cli.main.compare')
    assert main([*command, '--trust', '--recipe=paper']) == 1
    assert "'--trust' needs the recipe of links" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, 'matplotlib', None)
    assert main([*command, '--report', 'page.html']) == 1
    assert 'pip install torch_geometric_reid[plot]' in capsys.readouterr().err
