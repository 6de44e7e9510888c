r"""Learned links against every re-ranker that needs no training: several seeds, mean
and standard deviation, and the significance of the difference over probes.

    python benchmarks/links.py                # the embedded set
    python benchmarks/links.py set.npz        # a file with a split array

All is in the joint graph, with one set of defaults. The last lines are 95 %
intervals of a paired bootstrap over probes (10,000 samples): how far the full recipe
(of each probe, the mean over seeds) is ahead of a rival, in mAP and in Rank-1.
`--graph gallery` leaves other probes out of the graph of the recipe.
"""

import argparse
import time
from statistics import mean, stdev

import numpy as np
import torch
from common import load_splits, untrained
from torch import Tensor
from torch_geometric.data import Data

from torch_geometric_reid import Config
from torch_geometric_reid.cli.table import format_table
from torch_geometric_reid.metrics import Evaluation, calibration, evaluate
from torch_geometric_reid.pipeline import LinkReRanker

SAMPLES = 10_000


def judge(distance: Tensor, query: Data, gallery: Data) -> Evaluation:
    return evaluate(distance, query.y, gallery.y, query.camera, gallery.camera)


def probes(results: list[Evaluation]) -> np.ndarray:
    """Returns AP and first place of each probe, [2, Q], in percent."""
    out = [torch.stack([r.ap, (r.first_rank == 1).double()]) for r in results]
    return 100 * torch.stack(out).mean(dim=0).numpy()


def interval(difference: np.ndarray) -> str:
    generator = np.random.default_rng(0)
    size = difference.size
    samples = [
        difference[generator.integers(size, size=size)].mean() for _ in range(SAMPLES)
    ]
    low, high = np.percentile(samples, [2.5, 97.5])
    return f'{difference.mean():+.2f} [{low:+.2f}, {high:+.2f}]'


def reliability(links: LinkReRanker, query: Data, gallery: Data) -> None:
    image, link = links.links(query.x, gallery.x)
    out = calibration(link, gallery.y[image] == query.y.view(-1, 1), num_bins=10)
    print(f'\nexpected calibration error of the last seed: {out.error:.3f}')
    rows = zip(out.count.tolist(), out.confidence, out.frequency, strict=True)
    print(
        format_table(
            {'links': str(n), 'predicted': float(p), 'found': float(f)}
            for n, p, f in rows
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('file', nargs='?')
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--graph', choices=('joint', 'gallery'), default='joint')
    args = parser.parse_args()
    train, query, gallery = load_splits(args.file)
    rivals = untrained(query, gallery)
    results = {
        name: [judge(out, query, gallery)] * args.seeds for name, out in rivals.items()
    }
    seconds = []
    for seed in range(args.seeds):
        start = time.perf_counter()
        links = LinkReRanker(
            train.x, train.y, gallery.x, Config().links, seed, progress=True
        )
        stages = links.stages(query.x, gallery.x, args.graph, progress=True)
        seconds.append(time.perf_counter() - start)
        for name, out in stages.items():
            result = judge(out, query, gallery)
            results.setdefault(f'links: {name}', []).append(result)

    rows = []
    for name, found in results.items():
        values = {
            'mAP': [100 * r.mAP for r in found],
            'rank1': [100 * r.rank(1) for r in found],
            'mINP': [100 * r.mINP for r in found],
        }
        row = {'method': name}
        for key, column in values.items():
            spread = (
                f' ± {stdev(column):.2f}'
                if name.startswith('links: ') and len(column) > 1
                else ''
            )
            row[key] = f'{mean(column):.2f}{spread}'
        rows.append(row)
    print(format_table(rows))
    print(f'\ntraining and ranking: {max(seconds):.0f} s at most')

    ours = probes(results['links: links'])
    rows = []
    for name in rivals:
        ap, first = ours - probes(results[name])
        rows.append({'ahead of': name, 'mAP': interval(ap), 'rank1': interval(first)})
    print(f'\n{format_table(rows)}')
    reliability(links, query, gallery)


if __name__ == '__main__':
    main()
