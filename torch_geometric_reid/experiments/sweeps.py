r"""Tables 4 and 5, figures 4 and 5: one option varied."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from torch_geometric_reid.experiments import published
from torch_geometric_reid.experiments.data import shown_name
from torch_geometric_reid.experiments.lab import Lab, methods
from torch_geometric_reid.experiments.published import Published, choose
from torch_geometric_reid.experiments.result import Result, Row, Value, beside
from torch_geometric_reid.pipeline import Config

K1 = (10, 20, 30, 50)
K1_PAPER = (30, 50, 100, 200)
GAMMA = (1.0, 1.5, 2.0, 3.0)
LAMBDA = tuple(i / 10 for i in range(11))
K = (2, 3, 5, 8, 10, 15, 20)
PLATEAU = 0.4  # from which on the paper finds the mAP flat
SHOWN = {'mAP': 'mAP', 'rank1': 'Rank-1'}
PLACES = {
    'k1': '1-hop images k1',
    'gamma': 'gamma (images drawn from, over images kept)',
    'lambda': 'weight lambda',
    'k': 'neighbours k',
}
MOST_TICKS = 12


def k1(lab: Lab, values: Sequence[float] | None = None) -> Result:
    r"""Table 4: the number :math:`k_1` of 1-hop images in training and test. Further
    rows train with the largest and test with the others, which tells how much is
    due to the images that are scored.

    Args:
        lab (Lab): The lab.
        values (list, optional): The numbers, by default 10, 20, 30 and 50.
            (default: :obj:`None`)
    """
    numbers = integers('values', _sorted(values, K1))
    figures = choose(published.K1, lab.data.name)
    rows = []
    for number in numbers:
        measured = lab.measure(_with_k1(lab.config, number))
        rows.append(
            Row({'train': number, 'test': number}, measured, beside(figures, number))
        )
    both = list(rows)
    largest = _with_k1(lab.config, numbers[-1])
    for number in numbers[:-1]:
        rank = partial(lab.rank, test_k1=number)
        measured = lab.measure(largest, rank)
        rows.append(Row({'train': numbers[-1], 'test': number}, measured))
    title = 'Table 4: 1-hop images k1 in training and test'
    result = Result('k1', title, rows, lab.data.name, figures.source)
    result.figures['k1'] = partial(_draw, result, both, numbers)
    return result


def gamma(lab: Lab, values: Sequence[float] | None = None) -> Result:
    r"""Table 5: RPGS draws from :math:`\gamma` times as many images as it keeps.

    Args:
        lab (Lab): The lab.
        values (list, optional): The factors, by default 1, 1.5, 2 and 3.
            (default: :obj:`None`)
    """

    def config_of(value: float) -> Config:
        assert lab.config.ec is not None
        ec = replace(lab.config.ec, gamma=value, sampler='rpgs')
        return replace(lab.config, ec=ec)

    figures = choose(published.GAMMA, lab.data.name)
    title = 'Table 5: gamma of the random probability gallery sampler'
    return _sweep(lab, 'gamma', title, _sorted(values, GAMMA), config_of, figures)


def weight(lab: Lab, values: Sequence[float] | None = None) -> Result:
    r"""Figure 4: the weight :math:`\lambda` of the connectivity. Nothing is trained
    again.

    Args:
        lab (Lab): The lab.
        values (list, optional): The weights, by default 0, 0.1, ..., 1.
            (default: :obj:`None`)
    """
    figures = choose(published.LAMBDA, lab.data.name)
    title = 'Figure 4: weight lambda of the connectivity'
    config_of = partial(_with_weight, lab.config)
    result = _sweep(lab, 'lambda', title, _sorted(values, LAMBDA), config_of, figures)
    first, last = result.rows[0], result.rows[-1]
    later = [r for r in result.rows if float(r.labels['lambda']) >= PLATEAU]
    gain = last.values['mAP'].mean - first.values['mAP'].mean
    result.notes.append(
        f'mAP over the whole range {gain:+.2f}; from lambda {PLATEAU} on it varies by '
        f'{_range(later, "mAP"):.2f}; Rank-1 varies by '
        f'{_range(result.rows, "rank1"):.2f}'
    )
    if result.source is not None:
        result.notes.append(
            'published figures are those of Table 2 (+ FA at 0, + FA + EC at 0.4): '
            'the figure itself prints none'
        )
    return result


def k(lab: Lab, values: Sequence[float] | None = None) -> Result:
    r"""Figure 5: the number :math:`k` of neighbours in FA-GCN's graph, without
    EC-GCN.

    Args:
        lab (Lab): The lab.
        values (list, optional): The numbers, by default 2, 3, 5, 8, 10, 15 and
            20. (default: :obj:`None`)
    """

    def config_of(value: float) -> Config:
        assert lab.config.fa is not None
        fa = replace(lab.config.fa, k=int(value))
        return replace(lab.config, fa=fa, ec=None)

    figures = choose(published.K, lab.data.name)
    title = 'Figure 5: neighbours k of FA-GCN, without EC-GCN'
    numbers = integers('values', _sorted(values, K))
    result = _sweep(lab, 'k', title, numbers, config_of, figures)
    measured = lab.measure(methods(lab.config)['baseline'])
    baseline = {name: measured[metric].mean for metric, name in SHOWN.items()}
    result.figures['k'] = partial(_draw, result, result.rows, numbers, baseline)
    for metric, name in SHOWN.items():
        floor = baseline[name]
        below = [r.labels['k'] for r in result.rows if r.values[metric].mean <= floor]
        which = f'not at k = {", ".join(map(str, below))}' if below else 'at every k'
        result.notes.append(f'{name} above the baseline ({floor:.2f}): {which}')
    if result.source is not None:
        result.notes.append(
            'the published figure is that of Table 2 at the k of the paper: the '
            'figure itself prints none'
        )
    return result


def integers(name: str, values: Sequence[float]) -> list[int]:
    r"""Returns whole numbers as integers.

    Raises:
        ValueError: If there is another one.
    """
    wrong = [value for value in values if not float(value).is_integer()]
    if wrong:
        raise ValueError(f"'{name}' needs whole numbers (got {wrong})")
    return [int(value) for value in values]


def lambda_curves(lab: Lab, configs: Mapping[str, Config], title: str) -> Any:
    r"""Draws the mAP over :math:`\lambda` of several configurations.

    Args:
        lab (Lab): The lab.
        configs (dict): The configurations by name.
        title (str): The title.
    """
    from torch_geometric_reid.visualization import plot_curves

    curves = {
        name: curve([lab.measure(_with_weight(config, x))['mAP'] for x in LAMBDA])
        for name, config in configs.items()
    }
    figure = plot_curves(LAMBDA, curves, PLACES['lambda'], 'mAP (%)')
    figure.axes[0].set_title(f'{title}\n{shown_name(lab.data.name)}', size=9)
    return figure


def curve(values: Sequence[Value]) -> Any:
    r"""Returns figures as a curve to plot, with their spread if they have one."""
    means = [value.mean for value in values]
    spreads = [value.spread for value in values]
    return means if None in spreads else (means, spreads)


def _sweep(
    lab: Lab,
    name: str,
    title: str,
    values: Sequence[float],
    config_of: Callable[[float], Config],
    figures: Published,
) -> Result:
    rows = [
        Row({name: value}, lab.measure(config_of(value)), beside(figures, value))
        for value in values
    ]
    result = Result(name, title, rows, lab.data.name, figures.source)
    result.figures[name] = partial(_draw, result, rows, values)
    return result


def _draw(
    result: Result,
    rows: Sequence[Row],
    values: Sequence[float],
    baseline: Mapping[str, float] | None = None,
) -> Any:
    from torch_geometric_reid.visualization import plot_curves

    curves, printed = {}, {}
    for place, (metric, name) in enumerate(SHOWN.items()):
        curves[name] = curve([row.values[metric] for row in rows])
        points = [row.published[place] if row.published else None for row in rows]
        if any(point is not None for point in points):
            printed[name] = points
    figure = plot_curves(values, curves, PLACES[result.name], 'percent', printed)
    axes = figure.axes[0]
    if len(values) <= MOST_TICKS:
        axes.set_xticks(values)
    for i, (name, floor) in enumerate((baseline or {}).items()):
        axes.axhline(floor, color=f'C{i}', linestyle=':', label=f'{name} (baseline)')
    axes.legend(fontsize=8, frameon=False)
    about = shown_name(result.data)
    if printed and result.source not in (None, result.data):
        about += f'; published: {shown_name(str(result.source))}'
    axes.set_title(f'{result.title}\n{about}', size=9)
    return figure


def _with_k1(config: Config, number: int) -> Config:
    assert config.ec is not None
    ec = replace(config.ec, num_neighbors=(number, config.ec.num_neighbors[1]))
    return replace(config, ec=ec)


def _with_weight(config: Config, value: float) -> Config:
    return replace(config, rank=replace(config.rank, weight=value))


def _range(rows: Sequence[Row], metric: str) -> float:
    means = [row.values[metric].mean for row in rows]
    return max(means) - min(means) if means else 0.0


def _sorted(values: Sequence[float] | None, default: Sequence[float]) -> list[float]:
    return sorted(set(values or default))
