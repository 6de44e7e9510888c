import csv
from dataclasses import replace

import pytest

from torch_geometric_reid.experiments import (
    draw,
    gamma,
    k,
    k1,
    table2,
    weight,
    write_csv,
)
from torch_geometric_reid.experiments.lab import methods


def test_k1_trains_only_ec(make_lab, trained):
    lab = make_lab()
    result = k1(lab, [4, 8])
    assert [tuple(row.labels.values()) for row in result.rows] == [
        (4, 4), (8, 8), (8, 4),
    ]  # fmt: skip
    assert trained == ['fa', 'ec', 'ec']
    assert result.rows[1].values == lab.measure(lab.config)
    k1(make_lab(), [4, 8])
    assert trained == ['fa', 'ec', 'ec']


def test_trained_at_the_largest_and_tested_at_another(make_lab):
    lab = make_lab()
    row = k1(lab, [4, 8]).rows[-1]
    connectivity = lab.connectivity(lab.config, 4)
    whole = lab.connectivity(lab.config)
    assert connectivity.image.shape[1] == 4
    assert connectivity.image.equal(whole.image[:, :4])
    fused = methods(lab.config)['+ FA']
    rank = lab.config.rank
    distance = lab.distance(fused) + rank.weight
    distance.scatter_add_(
        1, connectivity.image, rank.weight * (connectivity.distance - 1)
    )
    value = 100 * lab.evaluate(distance).mAP
    assert row.values['mAP'].mean == pytest.approx(value, abs=1e-4)


def test_gamma_trains_only_ec(make_lab, trained):
    lab = make_lab()
    result = gamma(lab, [1.0, 1.5])
    assert trained == ['fa', 'ec', 'ec']
    assert result.rows[1].values == lab.measure(lab.config)
    hgs = replace(lab.config.ec, sampler='hgs')
    for name, value in lab.measure(replace(lab.config, ec=hgs)).items():
        assert result.rows[0].values[name].mean == pytest.approx(value.mean)


def test_lambda_trains_nothing_more(make_lab, trained):
    lab = make_lab(seeds=2)
    table = {row.labels['method']: row.values for row in table2(lab).rows[::-1]}
    before = list(trained)
    result = weight(lab)
    assert trained == before
    values = {row.labels['lambda']: row.values for row in result.rows}
    assert list(values) == [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]
    assert values[0] == table['+ FA']
    assert values[0.4] == table['+ FA + EC']


def test_k_trains_only_fa(make_lab, trained):
    lab = make_lab()
    result = k(lab, [2, 3])
    assert trained == ['fa', 'fa']
    assert result.rows[1].values == lab.measure(methods(lab.config)['+ FA'])
    assert 'above the baseline' in result.notes[0]


def test_picture_of_k(make_lab):
    pytest.importorskip('matplotlib')
    lab = make_lab()
    figure = k(lab, [2, 3]).figures['k']()
    axes = figure.axes[0]
    assert axes.get_title().splitlines() == [
        'Figure 5: neighbours k of FA-GCN, without EC-GCN',
        'fake; published: Market-1501',
    ]
    assert axes.get_xlabel() == 'neighbours k'
    assert axes.get_xticks().tolist() == [2, 3]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert sorted(labels) == [
        'Rank-1', 'Rank-1 (baseline)', 'Rank-1 (published)',
        'mAP', 'mAP (baseline)', 'mAP (published)',
    ]  # fmt: skip
    floor = next(x for x in axes.lines if x.get_label() == 'mAP (baseline)')
    baseline = lab.measure(methods(lab.config)['baseline'])['mAP'].mean
    assert set(floor.get_ydata()) == {baseline}


def test_nothing_is_said_of_published_figures_where_there_are_none(make_lab):
    result = k1(make_lab(), [4, 8])
    assert result.source is None
    assert result.caption == ['in percent']
    assert not any('published' in name for name in result.table()[0])
    assert not any('published' in name for name in result.records()[0])


@pytest.mark.parametrize('sweep', [k1, k])
def test_whole_numbers(make_lab, sweep):
    with pytest.raises(ValueError, match=r"'values' needs whole numbers"):
        sweep(make_lab(), [2.5])


def test_csv_and_picture(make_lab, tmp_path):
    pytest.importorskip('matplotlib')
    result = weight(make_lab(seeds=2), [0.0, 0.4])
    path = tmp_path / 'new' / 'lambda.csv'
    write_csv(path, result)
    with path.open(newline='') as file:
        rows = list(csv.DictReader(file))
    assert float(rows[1]['lambda']) == 0.4
    assert float(rows[1]['mAP']) == result.rows[1].values['mAP'].mean
    assert float(rows[1]['mAP_std']) == result.rows[1].values['mAP'].spread
    assert rows[1]['published_mAP'] == '94.1'
    assert [p.name for p in draw(path.parent, result)] == ['lambda.png']
    assert (path.parent / 'lambda.png').read_bytes()[:4] == b'\x89PNG'
