import sys
import warnings
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from torch_geometric.data import Data

from torch_geometric_reid.cli.evaluate import run_evaluate
from torch_geometric_reid.cli.experiment import run_experiment
from torch_geometric_reid.cli.links import print_links
from torch_geometric_reid.cli.parser import make_parser
from torch_geometric_reid.cli.rerank import run_rerank
from torch_geometric_reid.cli.saved import run_add, run_fit, run_query, run_rank
from torch_geometric_reid.cli.table import format_table
from torch_geometric_reid.cli.tune import run_tune
from torch_geometric_reid.datasets import Omniglot242, load_features
from torch_geometric_reid.pipeline import (
    Config,
    compare,
    save_run,
    to_yaml,
    write_rows,
)

SPLITS = ('train', 'query', 'gallery')


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
    args = parser.instantiate(parser.parse_args(argv))
    try:
        COMMANDS[args.subcommand](args[args.subcommand])
    except (ImportError, OSError, RuntimeError, TypeError, ValueError) as error:
        print(f'tg-reid: error: {error}', file=sys.stderr)
        return 1
    return 0


def _demo(args: Any) -> None:
    _compare([Omniglot242(split)[0] for split in SPLITS], args)


def _run(args: Any) -> None:
    one_file = len({args[split] for split in SPLITS}) == 1
    splits = [_load(args[split], split if one_file else None) for split in SPLITS]
    _compare(splits, args)


def _load(path: str, split: str | None) -> Data:
    data = load_features(path, split)
    if 'y' not in data:
        raise ValueError(
            f"'{path}' has no identities, which training and evaluation need"
        )
    return data


def _compare(splits: Sequence[Data], args: Any) -> None:
    config = Config(**{field.name: args[field.name] for field in fields(Config)})
    print(f'# options ({args.preset} preset)\n{to_yaml(config)}')
    for name, data in zip(SPLITS, splits, strict=True):
        print(f'# {name}: {data.num_nodes} images of {len(data.y.unique())} identities')
    train, query, gallery = splits
    result = compare(train, query, gallery, config, progress=not args.quiet)
    print(f'\n{format_table(result.rows)}\n')
    print_links(result)
    save_run(Path(args.out), result)
    print(f'# run folder: {args.out}')
    method = 'links' if config.recipe == 'links' else 'final distance'
    print(f'# ranking: {Path(args.out) / "ranking.npz"} ({method}, {config.graph})')
    if args.json is not None:
        write_rows(Path(args.json), result)
        print(f'# rows: {args.json}')


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
