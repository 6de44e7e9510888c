from dataclasses import replace

import pytest
import torch

from torch_geometric_reid.experiments import ablation, controls, table2, table3
from torch_geometric_reid.experiments.lab import methods
from torch_geometric_reid.metrics import evaluate
from torch_geometric_reid.nn import NeighborMean
from torch_geometric_reid.transforms import AffinityGraph

EXPECTED = [
    ('baseline', '-'),
    ('+ FA', 'probe'),
    ('+ FA', 'joint'),
    ('+ EC', '-'),
    ('+ FA + EC', 'probe'),
    ('+ FA + EC', 'joint'),
    ('+ EC, connectivity alone', '-'),
    ('+ RR', '-'),
    ('+ FA + EC + RR', 'probe'),
    ('+ FA + EC + RR', 'joint'),
]


def find(result, **labels):
    (row,) = [r for r in result.rows if labels.items() <= r.labels.items()]
    return row


def test_table2_and_ablation_agree_and_share_trainings(make_lab, trained):
    lab = make_lab(seeds=2)
    table = table2(lab)
    assert [tuple(row.labels.values()) for row in table.rows] == EXPECTED
    assert sorted(trained) == ['ec'] * 4 + ['fa'] * 2

    parts = ablation(lab)
    assert [row.labels['method'] for row in parts.rows] == [
        'HGS + CE', 'RPGS + CE', 'HGS + focal', 'RPGS + focal',
    ]  # fmt: skip
    assert sorted(trained) == ['ec'] * 10 + ['fa'] * 2
    full = find(table, method='+ FA + EC', graph='probe')
    assert find(parts, method='RPGS + focal').values == full.values

    before = list(trained)
    assert [r.values for r in table2(make_lab(seeds=2)).rows] == [
        r.values for r in table.rows
    ]
    assert trained == before


def test_table2_evaluates_what_it_says(make_lab, data):
    lab = make_lab()
    table = table2(lab)
    query, gallery = data.query, data.gallery
    distance = 2 - 2 * query.x @ gallery.x.t()
    out = evaluate(distance, query.y, gallery.y, query.camera, gallery.camera)
    values = find(table, method='baseline').values
    assert values['mAP'].mean == pytest.approx(100 * out.mAP, abs=1e-6)
    assert values['rank1'].mean == pytest.approx(100 * out.rank(1))
    for method, config in methods(lab.config).items():
        row = next(r for r in table.rows if r.labels['method'] == method)
        assert row.values == lab.measure(config)


def test_published_figures(make_lab):
    lab = make_lab()
    table = table2(lab)
    assert table.source == 'market1501'
    assert table.heading == 'published (Market-1501)'
    assert 'other data than fake' in table.caption[-1]
    assert find(table, method='+ EC').published == (93.7, 96.0, 98.3)
    shown = table.table()[0]
    assert shown['published (Market-1501)'] == '85.9 / 94.5 / 98.2'
    record = table.records()[0]
    assert record['published_of'] == 'market1501'
    assert record['published_rank5'] == 98.2
    ibn = table2(lab, 'r50-ibn')
    assert find(ibn, method='baseline').published == (88.1, 95.1, 97.7)
    assert table3(lab).source == 'veri776'

    lab.data = replace(lab.data, name='dukemtmcreid')
    own = table2(lab)
    assert own.heading == 'published'
    assert own.caption == [
        'in percent',
        *own.notes,
        'published figures are mAP / rank1 / rank5',
    ]
    assert find(own, method='baseline').published == (76.4, 86.5, 93.9)
    assert ablation(lab).source == 'market1501'  # Duke's are not printed


def test_controls(make_lab, data, trained):
    lab = make_lab()
    result = controls(lab)
    assert sorted(trained) == ['fa', 'fa']  # with and without steps
    fa = methods(lab.config)['+ FA']
    row = find(result, method='+ FA', graph='probe')
    assert row.values == lab.measure(fa)

    x = torch.cat([data.gallery.x, data.query.x])
    graph = AffinityGraph(3)(data.gallery.__class__(x=x))
    num = data.gallery.num_nodes
    for concat, name in [(False, 'A~F'), (True, '[F, A~F]')]:
        z = NeighborMean(concat)(x, graph.edge_index, graph.edge_weight)
        value = 100 * lab.evaluate(2 - 2 * z[num:] @ z[:num].t()).mAP
        row = find(result, method=name, graph='joint')
        assert row.values['mAP'].mean == pytest.approx(value, abs=1e-4)


def test_one_graph_if_asked_for(make_lab):
    lab = make_lab()
    lab.graphs = ('gallery',)
    graphs = {row.labels['graph'] for row in table2(lab).rows}
    assert graphs == {'-', 'gallery'}
