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
    assert result.rows[0].values['matches'].mean == int(same[order].sum())

    paths = draw(tmp_path, result)
    assert [p.suffix for p in paths] == ['.png', '.png', '.html']
    assert f'probe {probe}' in paths[-1].read_text()


def test_ranklist_of_given_probes(make_lab):
    rows = ranklist(make_lab(), [3]).rows
    assert {row.labels['probe'] for row in rows} == {3}
    with pytest.raises(ValueError, match="'probes' needs rows from 0 to 47"):
        ranklist(make_lab(), [48])


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
