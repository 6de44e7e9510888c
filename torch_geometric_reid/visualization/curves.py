from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from torch_geometric_reid.visualization.figure import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = 'os^Dv'


def plot_curves(
    x: Sequence[float],
    curves: Mapping[str, Sequence[float] | tuple[Sequence[float], Sequence[float]]],
    xlabel: str,
    ylabel: str,
    published: Mapping[str, Sequence[float | None]] | None = None,
) -> 'Figure':
    r"""Draws curves over one axis.

    Args:
        x (list): The places :math:`(n)`.
        curves (dict): The values :math:`(n)` of each curve, or a tuple of their
            means and spreads, which are drawn as error bars.
        xlabel (str): The name of the places.
        ylabel (str): The name of the values.
        published (dict, optional): Values :math:`(n)` that others published,
            :obj:`None` where one is missing. They are dashed, in the colour of the
            curve of the same name. (default: :obj:`None`)

    Returns:
        matplotlib.figure.Figure: With one pair of axes.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If there is no curve, or one is not as long as :obj:`x`.
    """
    published = published or {}
    _check_any(len(curves) + len(published))
    figure = new_figure(5.6, 3.8, layout='constrained')
    axes = figure.subplots()
    places = _numbers('x', x, len(x))
    colour = {}
    for i, (name, values) in enumerate(curves.items()):
        mean: Any = values
        spread = None
        if isinstance(values, tuple) and len(values) == 2 and np.ndim(values[0]) == 1:
            mean, spread = values[0], _numbers(f'curves[{name!r}]', values[1], len(x))
        line = axes.errorbar(
            places,
            _numbers(f'curves[{name!r}]', mean, len(x)),
            spread,
            label=name,
            capsize=3,
            marker=MARKERS[i % len(MARKERS)],
            markersize=4,
        )
        colour[name] = line[0].get_color()
    for name, others in published.items():
        axes.plot(
            places,
            _numbers(f'published[{name!r}]', others, len(x)),
            linestyle='--',
            marker='o',
            markersize=4,
            fillstyle='none',
            label=f'{name} (published)',
            color=colour.get(name),
        )
    _finish(axes, xlabel, ylabel)
    return figure


def plot_cmc(curves: Mapping[str, Tensor]) -> 'Figure':
    r"""Draws cumulative match characteristics: the share of probes with a match
    among the first :math:`r` images.

    Args:
        curves (dict): The curve :math:`(R)` in :math:`[0, 1]` of each method, as
            in :class:`~torch_geometric_reid.metrics.Evaluation`.

    Returns:
        matplotlib.figure.Figure: With one pair of axes, in percent.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If there is no curve.
    """
    _check_any(len(curves))
    figure = new_figure(5.6, 3.8, layout='constrained')
    axes = figure.subplots()
    for name, cmc in curves.items():
        share = 100 * _numbers(f'curves[{name!r}]', cmc, len(cmc))
        axes.plot(range(1, len(share) + 1), share, label=name)
    num = max(len(cmc) for cmc in curves.values())
    step = max(1, num // 10)
    axes.set_xticks([1, *range(max(step, 2), num + 1, step)])
    _finish(axes, 'rank', 'probes with a match (%)')
    return figure


def _check_any(num_curves: int) -> None:
    if num_curves == 0:
        raise ValueError("'curves' needs at least one curve (got none)")


def _numbers(name: str, values: Any, size: int) -> np.ndarray:
    if isinstance(values, Tensor):
        values = values.detach().cpu()
    numbers = np.asarray(values, dtype=float)
    if numbers.shape != (size,):
        raise ValueError(
            f"'{name}' needs {size} numbers, one for each of 'x' "
            f'(got shape {list(numbers.shape)})'
        )
    return numbers


def _finish(axes: 'Axes', xlabel: str, ylabel: str) -> None:
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.grid(alpha=0.3)
    axes.spines[['top', 'right']].set_visible(False)
    axes.legend(fontsize=8, frameon=False)
