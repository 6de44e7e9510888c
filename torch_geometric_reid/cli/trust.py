r"""How far the distances of a comparison can be trusted, and the page about it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from torch import Tensor

from torch_geometric_reid.cli.table import format_table
from torch_geometric_reid.experiments.data import ReIDData
from torch_geometric_reid.optional import require
from torch_geometric_reid.pipeline import (
    Comparison,
    Config,
    Judged,
    Trust,
    fit_trusts,
    judge,
)
from torch_geometric_reid.pipeline.judged import PLAIN

Row = dict[str, str | float]


def add_trust(parser: ArgumentParser) -> None:
    r"""Adds the options that ask for it."""
    parser.add_argument(
        '--trust',
        action='store_true',
        help='also fit probabilities, on held-out training identities (trains the '
        'links once more)',
    )
    parser.add_argument(
        '--report', type=Path | None, metavar='FILE', help='HTML page to write'
    )


def fit_wanted(data: ReIDData, config: Config, args: Any) -> dict[str, Trust] | None:
    r"""Fits what :obj:`--trust` asks for, before the comparison, so that a long run
    does not end in an error.

    Raises:
        ImportError: If matplotlib is not installed, and a report is wanted.
        OSError: If the report's folder cannot be made.
        ValueError: If probabilities are wanted of the paper's recipe, or there are too
            few training identities.
    """
    if args.report is not None:
        require('matplotlib', "'--report'", 'plot')
        Path(args.report).parent.mkdir(parents=True, exist_ok=True)
    if not args.trust:
        return None
    if config.recipe != 'links':
        raise ValueError("'--trust' needs the recipe of links (got 'paper')")
    return fit_trusts(
        data.train,
        data.gallery.x,
        config.links,
        config.seed,
        not args.quiet,
        config.graph,
    )


def judge_run(
    result: Comparison, data: ReIDData, trusts: dict[str, Trust] | None, args: Any
) -> list[Row]:
    r"""Prints what was fitted, and writes :obj:`--report`.

    Args:
        result (Comparison): The comparison.
        data (ReIDData): The data.
        trusts (dict, optional): What :meth:`fit_wanted` returned.
        args (Any): The arguments.

    Returns:
        The rows that are printed, if any.
    """
    if trusts is None and args.report is None:
        return []
    config, query, gallery = result.config, data.query, data.gallery
    distances = {name: rank(query.x, gallery.x) for name, rank in PLAIN.items()}
    distances[config.recipe] = result.distance
    judged = judge(distances, query, gallery, trusts)
    rows = [out.row(*names) for names, out in judged.items()]
    if trusts is not None:
        print(f'# probabilities and thresholds\n{format_trust(rows)}\n')
    if args.report is not None:
        _write_report(Path(args.report), result, data, distances, judged)
        print(f'# report: {args.report}')
    return [] if trusts is None else rows


def _write_report(
    path: Path,
    result: Comparison,
    data: ReIDData,
    distances: Mapping[str, Tensor],
    judged: Mapping[tuple[str, str], Judged],
) -> None:
    from torch_geometric_reid.visualization import write_run_report

    config, pictures = result.config, None
    if data.query_image is not None and data.gallery_image is not None:
        pictures = data.query_image, data.gallery_image
    write_run_report(
        path,
        f'Re-ranking {data.name}',
        result.rows,
        distances,
        data.query,
        data.gallery,
        judged,
        f'{data.query.num_nodes:,} probes, {data.gallery.num_nodes:,} gallery images; '
        f'recipe {config.recipe}, graph {config.graph}, seed {config.seed}',
        pictures,
        (data.query_names, data.gallery_names),
    )


def format_trust(rows: Sequence[Row]) -> str:
    r"""Returns rows of :meth:`Judged.row` as aligned text."""
    columns = dict.fromkeys(key for row in rows for key in row)
    return format_table(
        {key: _number(row[key], key) if key in row else '' for key in columns}
        for row in rows
    )


def _number(value: str | float, key: str) -> str | float:
    if isinstance(value, str) or '%' in key:
        return value
    return f'{value:.5f}'
