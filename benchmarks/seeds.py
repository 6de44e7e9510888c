r"""The table of ``tg-reid demo`` over several seeds, mean and standard deviation.

python benchmarks/seeds.py                # the embedded set
python benchmarks/seeds.py set.npz        # a file with a split array
"""

import argparse
from statistics import mean, stdev

from torch_geometric_reid import Config
from torch_geometric_reid.cli.table import format_table
from torch_geometric_reid.datasets import Omniglot242, load_features
from torch_geometric_reid.pipeline import compare


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('file', nargs='?')
    parser.add_argument('--seeds', type=int, default=3)
    args = parser.parse_args()
    splits = [
        Omniglot242(split)[0] if args.file is None else load_features(args.file, split)
        for split in ('train', 'query', 'gallery')
    ]
    tables = [
        compare(*splits, Config(seed=seed), progress=True).rows
        for seed in range(args.seeds)
    ]
    rows = []
    for same in zip(*tables, strict=True):
        row = {'method': same[0]['method'], 'graph': same[0]['graph']}
        for key in ('mAP', 'rank1', 'rank5', 'rank10', 'mINP'):
            values = [entry[key] for entry in same]
            spread = f' ± {stdev(values):.2f}' if len(values) > 1 else ''
            row[key] = f'{mean(values):.2f}{spread}'
        rows.append(row)
    print(format_table(rows))


if __name__ == '__main__':
    main()
