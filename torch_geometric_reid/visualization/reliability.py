from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from torch_geometric_reid.metrics import Calibration, Roc
from torch_geometric_reid.visualization.figure import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = 'os^Dv'
MOST_POINTS = 2000


def plot_reliability(curves: Mapping[str, Calibration]) -> 'Figure':
    r"""Draws reliability diagrams: how often it was so, by the probability that was
    told. Calibrated probabilities lie on the diagonal; the area of a marker grows
    with the logarithm of how many there are.

    Args:
        curves (dict): What :func:`~torch_geometric_reid.metrics.calibration` returns
            for each method.

    Returns:
        matplotlib.figure.Figure: With one pair of axes, in percent.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If there is no curve.
    """
    figure, axes = _new(len(curves))
    axes.plot([0, 100], [0, 100], color='0.6', linestyle=':', linewidth=1)
    for i, (name, out) in enumerate(curves.items()):
        confidence, frequency = 100 * out.confidence.cpu(), 100 * out.frequency.cpu()
        label = f'{name} (ECE {out.error:.4f})'
        (line,) = axes.plot(confidence, frequency, label=label, linewidth=1)
        axes.scatter(
            confidence,
            frequency,
            s=8 + 14 * out.count.cpu().log10(),
            marker=MARKERS[i % len(MARKERS)],
            color=line.get_color(),
        )
    axes.set(
        xlim=(-2, 102), ylim=(-2, 102), xlabel='predicted (%)', ylabel='observed (%)'
    )
    axes.legend(fontsize=8, frameon=False)
    return figure


def plot_roc(curves: Mapping[str, Roc]) -> 'Figure':
    r"""Draws receiver operating characteristics over the logarithm of the false
    positive rate, as steps: no threshold lies between two points. Of a curve of very
    many points, those are drawn that can be told apart.

    Args:
        curves (dict): What :func:`~torch_geometric_reid.metrics.roc` returns for each
            method.

    Returns:
        matplotlib.figure.Figure: With one pair of axes.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If there is no curve.
    """
    figure, axes = _new(len(curves))
    lowest = 1.0
    for name, out in curves.items():
        fpr, tpr = _thin(out.fpr.cpu(), out.tpr.cpu())
        lowest = min([lowest, *fpr[:1].tolist()])
        axes.step(fpr, 100 * tpr, where='post', label=name)
    axes.set(
        xscale='log',
        xlim=(min(lowest, 0.1), 1),
        ylim=(0, 102),
        xlabel='false positive rate',
        ylabel='true positive rate (%)',
    )
    axes.legend(fontsize=8, frameon=False)
    return figure


def _thin(fpr: Tensor, tpr: Tensor) -> tuple[Tensor, Tensor]:
    fpr, tpr = fpr[fpr > 0], tpr[fpr > 0]
    if fpr.numel() <= MOST_POINTS:
        return fpr, tpr
    grid = torch.logspace(float(fpr[0].log10()), 0, MOST_POINTS, dtype=fpr.dtype)
    last = (torch.searchsorted(fpr, grid, right=True) - 1).clamp(min=0)
    place = torch.cat([last, last.new_tensor([fpr.numel() - 1])]).unique()
    return fpr[place], tpr[place]


def _new(num_curves: int) -> tuple['Figure', 'Axes']:
    if num_curves == 0:
        raise ValueError("'curves' needs at least one curve (got none)")
    figure = new_figure(5.6, 3.8, layout='constrained')
    axes = figure.subplots()
    axes.grid(alpha=0.3)
    axes.spines[['top', 'right']].set_visible(False)
    return figure, axes
