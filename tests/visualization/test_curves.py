import numpy as np
import pytest
import torch

from torch_geometric_reid.visualization import plot_cmc, plot_curves


def test_plot_curves():
    figure = plot_curves(
        [1, 2, 3],
        {'ours': ([1, 2, 3], [0.1, 0.2, 0.3]), 'plain': (2, 3, 4)},
        'k',
        'mAP',
        {'ours': [4, None, 5], 'theirs': [3, 3, 3]},
    )
    (axes,) = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ('k', 'mAP')
    bars = {bar.get_label(): bar for bar in axes.containers}
    assert bars['ours'].has_yerr
    assert not bars['plain'].has_yerr
    assert bars['ours'][0].get_ydata().tolist() == [1, 2, 3]
    assert bars['plain'][0].get_ydata().tolist() == [2, 3, 4]
    dashed = [line for line in axes.lines if line.get_linestyle() == '--']
    assert [line.get_label() for line in dashed] == [
        'ours (published)',
        'theirs (published)',
    ]
    assert np.isnan(dashed[0].get_ydata()).tolist() == [False, True, False]
    colours = [line.get_color() for line in dashed]
    assert colours[0] == bars['ours'][0].get_color()
    assert colours[1] not in {bar[0].get_color() for bar in axes.containers}


def test_a_pair_of_values_is_one_curve():
    (axes,) = plot_curves([1, 2], {'a': (0.5, 0.7)}, '', '').axes
    assert not axes.containers[0].has_yerr


@pytest.mark.parametrize(
    ('curves', 'message'),
    [
        ({}, 'at least one curve'),
        ({'a': [1, 2, 3]}, r"curves\['a'\].*2 numbers.*\[3\]"),
        ({'a': ([1, 2], [1])}, r"curves\['a'\].*2 numbers.*\[1\]"),
    ],
)
def test_rejects(curves, message):
    with pytest.raises(ValueError, match=message):
        plot_curves([1, 2], curves, 'x', 'y')


@pytest.mark.parametrize('num', [1, 2, 50])
def test_plot_cmc(num):
    cmc = torch.linspace(0.5, 1, num)
    (axes,) = plot_cmc({'a': cmc, 'b': cmc / 2}).axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ['a', 'b']
    line = axes.lines[0]
    assert list(line.get_xdata()) == list(range(1, num + 1))
    assert line.get_ydata() == pytest.approx(100 * cmc.numpy())
    assert axes.get_xticks()[0] == 1


def test_plot_cmc_rejects_no_curve():
    with pytest.raises(ValueError, match='at least one curve'):
        plot_cmc({})
