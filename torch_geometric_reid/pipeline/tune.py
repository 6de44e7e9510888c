r"""Options chosen on held-out training identities."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import Data
from tqdm import tqdm

from torch_geometric_reid.checks import (
    check_choice,
    check_features,
    check_ids,
    check_same_dim,
)
from torch_geometric_reid.pipeline.config import Config
from torch_geometric_reid.pipeline.held_out import HeldOut, Score
from torch_geometric_reid.pipeline.tune_options import TunedOptions, choose_values

METRICS = ('mAP', 'rank1')
EASY = 97.0  # mAP from which on nothing can be told apart


@dataclass
class Trial:
    r"""One value of one option, or one method, on all hold-outs.

    Attributes:
        method: The method that ranked.
        option: The option, or empty.
        value: Its value.
        scores: mAP and Rank-1 in percent, one for each hold-out.
        gains: What it gains, of the metric that chooses, in each hold-out: an
            option over the value that was in place, a method over the plain
            distance.
        chosen: Whether the value was chosen.
    """

    method: str
    option: str
    value: Any
    scores: list[Score]
    gains: list[float]
    chosen: bool = False

    @property
    def gain(self) -> float:
        r"""The mean of the gains."""
        return _mean(self.gains)

    @property
    def spread(self) -> float:
        r"""The standard deviation of the gains."""
        return _spread(self.gains)

    @property
    def better(self) -> bool:
        r"""Whether there is a gain in each hold-out, larger on average than its
        spread.
        """
        return _is_clear(self.gains)

    def row(self) -> dict[str, Any]:
        r"""Returns means and spreads over the hold-outs."""
        mean_ap = [score.mAP for score in self.scores]
        return {
            'method': self.method,
            'option': self.option,
            'value': self.value,
            'mAP': _mean(mean_ap),
            'mAP_spread': _spread(mean_ap),
            'rank1': _mean([score.rank1 for score in self.scores]),
            'gain': self.gain,
            'gain_spread': self.spread,
            'chosen': self.chosen,
        }


@dataclass
class Tuning:
    r"""What :meth:`tune` returns.

    Attributes:
        trials: What was tried, in order; of an option first the value in place.
        methods: The plain distance, :obj:`baseline`, and each method that was
            tuned, with the chosen options.
        config: The chosen options.
        parameters: The chosen parameters of the re-rankers that were tuned.
        metric: The metric that chose.
        untouched: The scores of the plain distance before held-out images were
            made hard, one for each hold-out.
    """

    trials: list[Trial]
    methods: list[Trial]
    config: Config
    parameters: dict[str, dict[str, Any]]
    metric: str
    untouched: list[Score]

    @property
    def best(self) -> str | None:
        r"""The method with the largest gain, none if no gain is clear."""
        better = [trial for trial in self.methods if trial.better]
        return max(better, key=lambda trial: trial.gain).method if better else None

    @property
    def level(self) -> list[str]:
        r"""Further methods that are better than the plain distance, and from which
        the best cannot be told apart.
        """
        better = {trial.method: trial.gains for trial in self.methods if trial.better}
        first = better.pop(self.best, []) if self.best else []
        return [
            method
            for method, gains in better.items()
            if not _is_clear([a - b for a, b in zip(first, gains, strict=True)])
        ]


def tune(
    train: Data,
    reference: Tensor | None = None,
    config: Config | None = None,
    options: Sequence[str] | None = None,
    values: Mapping[str, Sequence[Any]] | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    fraction: float = 0.5,
    metric: str = 'mAP',
    progress: bool = False,
) -> Tuning:
    r"""Chooses options on training identities that are held out, of which several
    draws are made by :meth:`~torch_geometric_reid.pipeline.hold_out`: networks learn
    from a draw's other identities and rank the held-out images.

    A backbone has seen all of them, so the held-out images, and these alone, are
    made as hard as :obj:`reference`, the gallery of which no label is used, see
    :class:`~torch_geometric_reid.transforms.MatchedDegradation`.

    Options are searched one after the other in the order given, by default the
    re-rankers without training, FA-GCN, EC-GCN and ranking, each with the choices
    before it in place. Options of FA-GCN are tried on FA-GCN alone, those of
    EC-GCN and of ranking on both networks. A value replaces the one in place only
    if it is better in each hold-out and its mean gain exceeds the gains' standard
    deviation; of several, that with the highest mean is taken.

    Args:
        train (Data): The training images, with :obj:`x`, :obj:`y` and maybe
            :obj:`camera`.
        reference (torch.Tensor, optional): The gallery's features :math:`(G, d)`.
            If not given, held-out images stay as they are, with a warning.
            (default: :obj:`None`)
        config (Config, optional): The options to start from. (default: :obj:`None`)
        options (list, optional): The options to tune, such as :obj:`"fa.k"`,
            :obj:`"rank.weight"` or :obj:`"gnn.k2"`. By default those with
            :obj:`values`, if there are any, else all with default values but
            those of learned links, which take minutes. (default: :obj:`None`)
        values (dict, optional): For options their values to try, in the place of
            the defaults. (default: :obj:`None`)
        seeds (list, optional): The seeds of the hold-outs, at least two.
            (default: :obj:`(0, 1, 2)`)
        fraction (float, optional): The share of identities that is held out.
            (default: :obj:`0.5`)
        metric (str, optional): :obj:`"mAP"` or :obj:`"rank1"`.
            (default: :obj:`"mAP"`)
        progress (bool, optional): Whether to show a progress bar.
            (default: :obj:`False`)

    Raises:
        TypeError: If features are no floating-point numbers or identities no
            integers.
        ValueError: If an option is unknown or its value out of range, there are
            fewer than two seeds, or the features are unusable.
    """
    check_choice('metric', metric, METRICS)
    if len(set(seeds)) < 2 or len(set(seeds)) < len(seeds):
        raise ValueError(
            f"'seeds' needs at least two different hold-outs, as one has no spread "
            f'(got {list(seeds)})'
        )
    config = Config() if config is None else config
    grid = choose_values(config, options, values)
    train, reference = _prepare(train, reference)
    search = _Search(train, reference, seeds, fraction, metric)
    search.warn_if_easy()

    chosen = TunedOptions.of(config)
    counts = {name: len({chosen[name], *grid[name]}) for name in grid}
    total = sum(counts.values()) * len(seeds)
    trials: list[Trial] = []
    with tqdm(total=total, disable=not progress, leave=False) as bar:
        for name in grid:
            bar.set_description(f'tune {name}')
            tried = search.try_values(chosen, name, grid[name], bar)
            chosen = chosen.replace(name, _choose(tried).value)
            trials += tried
    methods = list(dict.fromkeys(['baseline', *(trial.method for trial in trials)]))
    results = [search.try_method(method, chosen) for method in methods]
    parameters = {
        method: dict(chosen.parameters[method])
        for method in methods
        if method in chosen.parameters
    }
    untouched = [case.untouched for case in search.cases]
    return Tuning(trials, results, chosen.config, parameters, metric, untouched)


class _Search:
    def __init__(
        self,
        train: Data,
        reference: Tensor | None,
        seeds: Sequence[int],
        fraction: float,
        metric: str,
    ):
        self.cases = [HeldOut(train, reference, fraction, seed) for seed in seeds]
        self.metric = metric
        self.baseline = [case.baseline for case in self.cases]

    def warn_if_easy(self) -> None:
        mean_ap = _mean([score.mAP for score in self.baseline])
        if mean_ap > EASY:
            warnings.warn(
                f'The plain distance has an mAP of {mean_ap:.1f} on held-out '
                f'identities: these are too easy to tell options apart',
                stacklevel=3,
            )

    def try_values(
        self, chosen: TunedOptions, name: str, values: Sequence[Any], bar: tqdm
    ) -> list[Trial]:
        method, current = chosen.method(name), chosen[name]
        trials: list[Trial] = []
        for value in dict.fromkeys([current, *values]):
            scores = []
            for case in self.cases:
                scores.append(case.score(method, chosen.replace(name, value)))
                bar.update()
            before = trials[0].scores if trials else scores
            gains = self._gains(scores, before)
            trials.append(Trial(method, name, value, scores, gains))
        return trials

    def try_method(self, method: str, chosen: TunedOptions) -> Trial:
        scores = [case.score(method, chosen) for case in self.cases]
        gains = self._gains(scores, self.baseline)
        return Trial(method, '', '', scores, gains)

    def _gains(self, scores: list[Score], before: list[Score]) -> list[float]:
        return [
            getattr(new, self.metric) - getattr(old, self.metric)
            for new, old in zip(scores, before, strict=True)
        ]


def _choose(trials: list[Trial]) -> Trial:
    better = [trial for trial in trials if trial.better]
    out = max(better, key=lambda trial: trial.gain) if better else trials[0]
    out.chosen = True
    return out


def _prepare(train: Data, reference: Tensor | None) -> tuple[Data, Tensor | None]:
    x = F.normalize(check_features('train.x', train.x, nonzero=True))
    out = Data(x=x, y=check_ids('train.y', train.y, x.size(0)))
    if train.get('camera') is not None:
        out.camera = check_ids('train.camera', train.camera, x.size(0))
    if reference is None:
        warnings.warn(
            'There is no gallery to make held-out identities as hard as: options '
            'are chosen on images that the backbone has seen, which are too easy',
            stacklevel=3,
        )
        return out, None
    reference = check_features('reference', reference, nonzero=True)
    check_same_dim('reference', reference, 'train.x', x)
    return out, F.normalize(reference)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _spread(values: Sequence[float]) -> float:
    return float(torch.tensor(values, dtype=torch.float64).std())


def _is_clear(gains: Sequence[float]) -> bool:
    return min(gains) > 0 and _mean(gains) > _spread(gains)
