import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch_geometric_reid.cli.evaluate import run_evaluate
from torch_geometric_reid.cli.experiment import run_experiment
from torch_geometric_reid.cli.inputs import open_labelled, print_split
from torch_geometric_reid.cli.links import print_links
from torch_geometric_reid.cli.options import read_config
from torch_geometric_reid.cli.parser import make_parser
from torch_geometric_reid.cli.rerank import run_rerank
from torch_geometric_reid.cli.saved import run_add, run_fit, run_query, run_rank
from torch_geometric_reid.cli.table import format_table
from torch_geometric_reid.cli.trust import fit_wanted, judge_run
from torch_geometric_reid.cli.tune import run_tune
from torch_geometric_reid.datasets.keys import SPLITS
from torch_geometric_reid.experiments.data import ReIDData, from_datasets, load_data
from torch_geometric_reid.pipeline import compare, save_run, to_yaml, write_rows
from torch_geometric_reid.pipeline.compare import check_sets


def main(argv: Sequence[str] | None = None) -> int:
    r"""Runs :obj:`tg-reid`.

    Args:
        argv (list, optional): The arguments, by default those of the process.
            (default: :obj:`None`)

    Returns:
        The exit code, :obj:`0`, or :obj:`1` after an error message.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    warnings.filterwarnings('ignore', message='Sparse (CSC|CSR|invariant)')
    parser = make_parser(argv)
    parsed = parser.parse_args(argv)
    try:
        args = parser.instantiate(parsed)
        COMMANDS[args.subcommand](args[args.subcommand])
    except (ImportError, OSError, RuntimeError, TypeError, ValueError) as error:
        print(f'tg-reid: error: {error}', file=sys.stderr)
        return 1
    return 0


def _demo(args: Any) -> None:
    _compare(load_data(), args)


def _run(args: Any) -> None:
    one_file = len({args[split] for split in SPLITS}) == 1
    splits = [
        open_labelled(args[split], 'a comparison', split if one_file else None)
        for split in SPLITS
    ]
    _compare(from_datasets(args.gallery, splits), args)


def _compare(data: ReIDData, args: Any) -> None:
    config = read_config(args)
    print(f'# options ({args.preset} preset)\n{to_yaml(config)}')
    for name in SPLITS:
        print_split(name, getattr(data, name))
    check_sets(data.train, data.query, data.gallery)
    trusts = fit_wanted(data, config, args)
    result = compare(
        data.train, data.query, data.gallery, config, progress=not args.quiet
    )
    print(f'\n{format_table(result.rows)}\n')
    print_links(result)
    save_run(Path(args.out), result, data.query_names, data.gallery_names)
    print(f'# run folder: {args.out}')
    method = 'links' if config.recipe == 'links' else 'final distance'
    print(f'# ranking: {Path(args.out) / "ranking.npz"} ({method}, {config.graph})')
    paths = [Path(args.out) / 'metrics.json']
    if args.json is not None:
        paths.append(Path(args.json))
        write_rows(paths[1], result)
        print(f'# rows: {args.json}')
    trust = judge_run(result, data, trusts, args)
    for path in paths if trust else []:
        write_rows(path, result, trust)


COMMANDS = {
    'demo': _demo,
    'run': _run,
    'rerank': run_rerank,
    'evaluate': run_evaluate,
    'experiment': run_experiment,
    'tune': run_tune,
    'fit': run_fit,
    'rank': run_rank,
    'query': run_query,
    'add': run_add,
}
