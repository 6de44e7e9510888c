import pytest
import torch

from torch_geometric_reid.metrics import calibration, roc
from torch_geometric_reid.visualization import plot_reliability, plot_roc


def test_plot_reliability():
    prob = torch.tensor([0.1, 0.1, 0.9, 0.9])
    out = calibration(prob, torch.tensor([0, 1, 1, 1]), num_bins=2)
    (axes,) = plot_reliability({'a': out, 'b': out}).axes
    diagonal, line, _ = axes.lines
    assert list(diagonal.get_xdata()) == list(diagonal.get_ydata()) == [0, 100]
    assert line.get_xdata() == pytest.approx([10, 90])
    assert line.get_ydata() == pytest.approx([50, 100])
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ['a (ECE 0.2500)', 'b (ECE 0.2500)']


def test_plot_roc():
    out = roc(torch.tensor([4, 3, 2, 1]), torch.tensor([1, 0, 1, 0]))
    (axes,) = plot_roc({'a': out}).axes
    assert axes.get_xscale() == 'log'
    line = axes.lines[0]
    assert list(line.get_xdata()) == [0.5, 0.5, 1]
    assert list(line.get_ydata()) == [50, 100, 100]
    assert line.get_drawstyle() == 'steps-post'


def test_a_long_curve_is_thinned():
    generator = torch.Generator().manual_seed(0)
    same = torch.rand(20_000, generator=generator) < 0.3
    out = roc(same + torch.randn(20_000, generator=generator), same)
    line = plot_roc({'a': out}).axes[0].lines[0]
    x, y = torch.as_tensor(line.get_xdata()), torch.as_tensor(line.get_ydata())
    assert len(x) <= 2001 < len(out.fpr)
    assert (x[-1], y[-1]) == (1, 100)
    for fpr in (1e-4, 1e-3, 0.01, 0.1, 0.5):
        exact = 100 * out.tpr[out.fpr <= fpr][-1]
        drawn = y[x <= fpr][-1]
        assert exact - 0.5 <= drawn <= exact


@pytest.mark.parametrize('plot', [plot_reliability, plot_roc])
def test_rejects_no_curve(plot):
    with pytest.raises(ValueError, match='at least one curve'):
        plot({})
