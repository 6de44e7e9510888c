import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

from torch_geometric_reid.experiments.data import TITLES
from torch_geometric_reid.experiments.published import METRICS, Published


class Value(NamedTuple):
    r"""A figure of several seeds.

    Attributes:
        mean: Their mean.
        spread: Their standard deviation, :obj:`None` for one seed.
    """

    mean: float
    spread: float | None = None

    @classmethod
    def of(cls, values: Sequence[float]) -> 'Value':
        r"""Returns the mean and the standard deviation of figures."""
        return cls(mean(values), stdev(values) if len(values) > 1 else None)

    def __str__(self) -> str:
        spread = '' if self.spread is None else f' ± {self.spread:.2f}'
        return f'{self.mean:.2f}{spread}'


@dataclass
class Row:
    r"""A row of a table.

    Args:
        labels: What it is of.
        values: What was measured.
        published: The paper's figures, in the order mAP, Rank-1, Rank-5.
    """

    labels: dict[str, str | int | float]
    values: dict[str, Value]
    published: tuple[float, ...] = ()


@dataclass
class Result:
    r"""What an experiment found.

    Args:
        name: The experiment.
        title: What it shows.
        rows: The table.
        data: The data set that it was run on.
        source: The data set of the published figures, if there are any.
        notes: What is to be known with the table.
        figures: For each figure's name, what draws it.
        report: What writes an HTML report to a path, if there is one.
        unit: What the figures are in, if all of them are in one.
    """

    name: str
    title: str
    rows: list[Row]
    data: str
    source: str | None = None
    notes: list[str] = field(default_factory=list)
    figures: dict[str, Callable[[], Any]] = field(default_factory=dict)
    report: Callable[[Path], None] | None = None
    unit: str | None = 'percent'

    def __post_init__(self) -> None:
        if not any(row.published for row in self.rows):
            self.source = None

    @property
    def heading(self) -> str:
        r"""The heading of the published figures' column."""
        if self.source == self.data:
            return 'published'
        return f'published ({TITLES[str(self.source)]})'

    @property
    def caption(self) -> list[str]:
        r"""The unit, the notes, and of which data published figures are."""
        out = list(self.notes)
        if self.unit is not None:
            spreads = [v.spread for row in self.rows for v in row.values.values()]
            over = '' if spreads[0] is None else ', mean ± standard deviation of seeds'
            out.insert(0, f'in {self.unit}{over}')
        if self.source is None:
            return out
        num = max(len(row.published) for row in self.rows)
        published = f'published figures are {" / ".join(METRICS[:num])}'
        if self.source == self.data:
            return [*out, published]
        other = (
            f'{published} of {TITLES[self.source]}, other data than {self.data}: '
            f'compare the shape, not the height'
        )
        return [*out, other]

    def table(self) -> list[dict[str, str]]:
        r"""Returns the rows as text, to be shown."""
        shown = []
        for row in self.rows:
            labels = {name: _text(label) for name, label in row.labels.items()}
            values = {name: str(value) for name, value in row.values.items()}
            shown.append(labels | values)
            if self.source is not None:
                shown[-1][self.heading] = ' / '.join(f'{x:.1f}' for x in row.published)
        return shown

    def records(self) -> list[dict[str, Any]]:
        r"""Returns the rows as numbers, a column for each mean, spread and
        published figure.
        """
        records = []
        for row in self.rows:
            record: dict[str, Any] = dict(row.labels)
            for name, value in row.values.items():
                record[name] = value.mean
                record[f'{name}_std'] = value.spread
            if self.source is not None:
                record['published_of'] = self.source if row.published else None
                published = (*row.published, None, None, None)
                for name, figure in zip(METRICS, published, strict=False):
                    record[f'published_{name}'] = figure
            records.append(record)
        return records


def beside(published: Published, label: str | float) -> tuple[float, ...]:
    r"""Returns the published figures of a row, none if it has none."""
    return published.figures.get(label, ())


def write_csv(path: Path, result: Result) -> None:
    r"""Writes the rows of an experiment; cells without a value are empty.

    Args:
        path (pathlib.Path): The file, whose folder is made if it does not exist.
        result (Result): The experiment.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    records = result.records()
    with path.open('w', newline='', encoding='utf-8') as file:
        writer = csv.DictWriter(file, list(records[0]))
        writer.writeheader()
        writer.writerows(records)


def draw(folder: Path, result: Result) -> list[Path]:
    r"""Draws the figures of an experiment and writes its report.

    Args:
        folder (pathlib.Path): Where they go.
        result (Result): The experiment.

    Returns:
        The files.
    """
    paths = []
    for name, make in result.figures.items():
        paths.append(folder / f'{name}.png')
        make().savefig(paths[-1], dpi=150, bbox_inches='tight')
    if result.report is not None:
        paths.append(folder / f'{result.name}.html')
        result.report(paths[-1])
    return paths


def _text(label: str | int | float) -> str:
    return label if isinstance(label, str) else f'{label:g}'
