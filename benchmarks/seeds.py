r"""The table of ``tg-reid demo`` over several seeds, mean and standard deviation.

python benchmarks/seeds.py                # the embedded set
python benchmarks/seeds.py set.npz        # a file with a split array
"""

import argparse
from statistics import mean, stdev

from common import load_splits

from torch_geometric_reid import Config
from torch_geometric_reid.cli.table import format_table
from torch_geometric_reid.pipeline import compare


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('file', nargs='?')
    parser.add_argument('--seeds', type=int, default=3)
    args = parser.parse_args()
    splits = load_splits(args.file)
    tables = [
        compare(*splits, Config(seed=seed), progress=True).rows
        for seed in range(args.seeds)
    ]
    rows = []
    for same in zip(*tables, strict=True):
        row = {key: same[0][key] for key in ('method', 'recipe', 'graph')}
        for key in ('mAP', 'rank1', 'rank5', 'rank10', 'mINP'):
            values = [entry[key] for entry in same]
            spread = f' ± {stdev(values):.2f}' if len(values) > 1 else ''
            row[key] = f'{mean(values):.2f}{spread}'
        rows.append(row)
    print(format_table(rows))


if __name__ == '__main__':
    main()
