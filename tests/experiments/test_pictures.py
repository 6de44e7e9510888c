from dataclasses import replace

import pytest
import torch

from torch_geometric_reid.experiments import ablation, draw, ranklist, table2, tsne

pytest.importorskip('matplotlib')


def test_ranklist(make_lab, data, tmp_path):
    lab = make_lab()
    result = ranklist(lab)
    assert len(result.rows) == 8
    probe = result.rows[0].labels['probe']
    distance = 2 - 2 * data.query.x[probe] @ data.gallery.x.t()
    same = data.gallery.y == data.query.y[probe]
    removed = same & (data.gallery.camera == data.query.camera[probe])
    order = distance.masked_fill(removed, torch.inf).argsort()[:10].tolist()
    listed = result.rows[0].labels['first images'].split()
    assert [int(text.rstrip('+')) for text in listed] == order
    assert [text.endswith('+') for text in listed] == same[order].tolist()
    assert result.rows[0].labels['matches'] == int(same[order].sum())

    paths = draw(tmp_path, result)
    assert [p.suffix for p in paths] == ['.png', '.png', '.html']
    text = paths[-1].read_text()
    assert f'probe {probe}' in text
    assert ' pictures are not there or cannot be read: tiles' in text
    assert '<img' not in text.split('Ranking lists')[1]


def test_ranklist_of_given_probes(make_lab):
    rows = ranklist(make_lab(), [3]).rows
    assert {row.labels['probe'] for row in rows} == {3}
    with pytest.raises(ValueError, match="'probes' needs rows from 0 to 47"):
        ranklist(make_lab(), [48])


def test_ranklist_shows_pictures_where_there_are_some(make_lab, data, tmp_path):
    picture = torch.rand(6, 5)
    lab = make_lab()
    lab.data = replace(
        data,
        query_image=lambda row: picture,
        gallery_image=lambda row: picture if row % 2 else None,
    )
    result = ranklist(lab, [3])
    listed = {
        int(text.rstrip('+'))
        for row in result.rows
        for text in row.labels['first images'].split()
    }
    even = sum(row % 2 == 0 for row in listed)
    assert result.notes[-1].startswith(f'{even} of {len(listed) + 1} pictures are not')

    _, page = draw(tmp_path, result)
    figure = result.figures['ranklist-3']()
    tiles = [not axes.images for axes in figure.axes]
    shown = [axes.texts[0].get_text() for axes in figure.axes if not axes.images]
    assert 0 < sum(tiles) < len(tiles)
    assert all(int(text) % 2 == 0 for text in shown)
    assert '<span class="tile" title="rank' in page.read_text()
    assert '<img' in page.read_text()

    lab.data = replace(lab.data, gallery_image=lambda row: picture)
    assert len(ranklist(lab, [3]).notes) == 1


def test_report_of_table2(make_lab, tmp_path):
    (path,) = draw(tmp_path, table2(make_lab()))
    text = path.read_text()
    assert path.name == 'table2.html'
    assert 'other data than fake' in text
    assert 'Table 2' in text


def test_ablation_over_lambda(make_lab, tmp_path):
    (path,) = draw(tmp_path, ablation(make_lab()))
    assert path.name == 'ablation-lambda.png'


def test_tsne(make_lab, data, tmp_path):
    pytest.importorskip('sklearn')
    result = tsne(make_lab(), num_identities=4)
    backbone, fa = result.rows
    assert (backbone.labels['features'], fa.labels['features']) == (
        'backbone', 'FA-GCN',
    )  # fmt: skip
    for row in result.rows:
        within, between, ratio = (value.mean for value in row.values.values())
        assert 0 < within < between < 2
        assert ratio == pytest.approx(within / between)
    everyone = tsne(make_lab(), num_identities=99).rows[0].values
    x = torch.cat([data.query.x, data.gallery.x])
    y = torch.cat([data.query.y, data.gallery.y])
    distance = (2 - 2 * x @ x.t()).clamp(min=0).sqrt()
    same = y == y.view(-1, 1)
    assert everyone['between'].mean == pytest.approx(
        float(distance[~same].mean()), abs=1e-4
    )
    assert [p.name for p in draw(tmp_path, result)] == ['tsne.png']
