from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch_geometric_reid.cli.inputs import print_split
from torch_geometric_reid.cli.options import read_config
from torch_geometric_reid.cli.table import format_table
from torch_geometric_reid.datasets.keys import SPLITS
from torch_geometric_reid.experiments import (
    Lab,
    Result,
    ablation,
    controls,
    draw,
    gamma,
    k,
    k1,
    load_data,
    ranklist,
    table2,
    table3,
    tsne,
    weight,
    write_csv,
)
from torch_geometric_reid.experiments.sweeps import K1_PAPER, integers

SWEEPS: dict[str, Callable[..., Result]] = {
    'k1': k1,
    'gamma': gamma,
    'lambda': weight,
    'k': k,
}
OTHERS: dict[str, Callable[[Lab], Result]] = {
    'table3': table3,
    'ablation': ablation,
    'tsne': tsne,
    'controls': controls,
}
EXPERIMENTS = ('table2', *OTHERS, *SWEEPS, 'ranklist')


def run_experiment(args: Any) -> None:
    r"""Runs :obj:`tg-reid experiment`."""
    data = load_data(args.data, args.root, args.features)
    out = Path(args.out)
    config, show = read_config(args), not args.quiet
    lab = Lab(data, config, out / 'cache', args.seeds, args.graph, show)
    for split in SPLITS:
        print_split(split, getattr(data, split))
    print(f'# {data.name}, {args.preset} preset, seeds {list(lab.seeds)}, ', end='')
    print(f'graph {lab.config.graph}')

    result = _run(lab, args)
    print(f'\n# {result.title}\n\n{format_table(result.table())}\n')
    for note in result.caption:
        print(f'# {note}')
    path = out / f'{result.name}.csv'
    write_csv(path, result)
    print(f'# rows: {path}')
    for path in draw(out, result):
        print(f'# {"report" if path.suffix == ".html" else "picture"}: {path}')


def _run(lab: Lab, args: Any) -> Result:
    name, values = args.name, args['values']  # 'values' is a method too
    if name == 'ranklist':
        return ranklist(lab, values and integers('values', values))
    if name in SWEEPS:
        if name == 'k1' and not values and args.preset == 'paper':
            values = K1_PAPER
        return SWEEPS[name](lab, values)
    if values:
        raise ValueError(f"'--values' belongs to a sweep or ranklist (got {name!r})")
    return table2(lab, args.backbone) if name == 'table2' else OTHERS[name](lab)
