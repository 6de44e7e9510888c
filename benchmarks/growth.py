r"""Time and memory of each stage against the size of the gallery.

    python benchmarks/growth.py
    python benchmarks/growth.py --galleries 5000 20000 --plot growth.png

Each in a process of its own, on features of 512 dimensions, 3,368 probes. Stages that
compare all images with each other stop at a size from which they would take minutes.
`benchmarks/rerank.py --growth` does the same for k-reciprocal re-ranking.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from cases import make_case
from process import peak, reset_peak, run
from torch import Tensor
from torch_geometric.data import Data

from torch_geometric_reid.approximate import ApproximateIndex
from torch_geometric_reid.knn import knn
from torch_geometric_reid.nn import ECGCN, NeighborMean
from torch_geometric_reid.pipeline import ECConfig
from torch_geometric_reid.pipeline.connectivity import score
from torch_geometric_reid.sampler import HardGallerySampler
from torch_geometric_reid.transforms import AffinityGraph, PairFeatures

SIZES = (5_000, 20_000, 50_000, 100_000, 200_000, 1_000_000)
PROBES, DIM, SCORED = 3368, 512, 256


def neighbors(query: Tensor, gallery: Tensor) -> dict[str, Any]:
    knn(gallery, 20)
    return {}


def approximate(query: Tensor, gallery: Tensor) -> dict[str, Any]:
    knn(gallery, 20, backend='ivf')
    return {}


def rank(query: Tensor, gallery: Tensor) -> dict[str, Any]:
    for chunk in query.split(512):
        (chunk @ gallery.t()).topk(100)
    return {}


def rank_approximate(query: Tensor, gallery: Tensor) -> dict[str, Any]:
    index = ApproximateIndex(gallery, 100)
    index.search(query, 100)
    return {'note': f'recall {index.recall:.3f}'}


def aggregate(query: Tensor, gallery: Tensor) -> dict[str, Any]:
    data = AffinityGraph(5, backend='ivf')(Data(x=torch.cat([gallery, query])))
    NeighborMean().encode(data.x, data.edge_index, data.edge_weight)
    return {}


def pairs(query: Tensor, gallery: Tensor) -> dict[str, Any]:
    PairFeatures()(Data(x=gallery))
    return {}


def connectivity(query: Tensor, gallery: Tensor) -> dict[str, Any]:
    # Tables of random images: what the sub-graphs cost does not depend on them.
    num = gallery.size(0)
    shift = torch.randint(1, num, (num, 10))
    neighbor = (torch.arange(num).view(-1, 1) + shift) % num
    config = ECConfig()
    near = (query[:SCORED] @ gallery.t()).topk(config.num_neighbors[0]).indices
    sampler = HardGallerySampler(
        neighbor, config.num_neighbors, config.num_edges, probe_neighbor=near
    )
    model = ECGCN(DIM, config.hidden_channels, config.num_layers).eval()
    x, probe = torch.cat([gallery, query[:SCORED]]), torch.arange(num, num + SCORED)
    with torch.no_grad():
        start = time.perf_counter()
        score(model, x, sampler, probe, config)
    return {'note': f'{1000 * (time.perf_counter() - start) / SCORED:.2f} ms a probe'}


class Stage(NamedTuple):
    job: Callable[[Tensor, Tensor], dict[str, Any]]
    largest: int


STAGES = {
    'kNN (20)': Stage(neighbors, 200_000),
    'kNN (20), approximate': Stage(approximate, 200_000),
    'mean of neighbours, approximate graph': Stage(aggregate, 200_000),
    'pair features (50)': Stage(pairs, 200_000),
    f'EC-GCN, {SCORED} probes': Stage(connectivity, 200_000),
    'ranking by cosine (100)': Stage(rank, 1_000_000),
    'ranking, approximate (100)': Stage(rank_approximate, 1_000_000),
}


def work(name: str, folder: Path, threads: int) -> None:
    torch.set_num_threads(threads)
    x = torch.from_numpy(np.load(folder / 'x.npy'))
    torch.ones(512, 512) @ torch.ones(512, 512)  # starts the threads
    reset_peak()
    before, start = peak(), time.perf_counter()
    out = STAGES[name].job(x[:PROBES], x[PROBES:])
    seconds = time.perf_counter() - start
    print(json.dumps({'seconds': seconds, 'memory': peak() - before, **out}))


def plot(rows: list[tuple[str, int, float, float]], path: Path) -> None:
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(
        ncols=2, figsize=(11, 4.2), layout='constrained'
    )
    for name in STAGES:
        mine = [row[1:] for row in rows if row[0] == name]
        if mine:
            size, seconds, memory = zip(*mine, strict=True)
            left.loglog(size, seconds, 'o-', label=name)
            right.loglog(size, memory, 'o-')
    left.set(xlabel='gallery', ylabel='seconds')
    right.set(xlabel='gallery', ylabel='GB above the features')
    figure.legend(loc='outside upper center', ncols=4, fontsize=8)
    for axes in (left, right):
        axes.grid(alpha=0.3)
    plt.savefig(path, dpi=150)


def grow(args: argparse.Namespace, folder: Path) -> None:
    print('| gallery | stage | seconds | GB | |\n| ---: | --- | ---: | ---: | --- |')
    rows = []
    for size in args.galleries:
        np.save(folder / 'x.npy', make_case(PROBES, size, DIM, 0.8)['x'])
        for name, stage in STAGES.items():
            if size > stage.largest or args.only not in name:
                continue
            out = run(
                __file__, '--work', name, '--folder', str(folder), threads=args.threads
            )
            rows.append((name, size, out['seconds'], out['memory']))
            print(
                f'| {size} | {name} | {out["seconds"]:.1f} | {out["memory"]:.2f} | '
                f'{out.get("note", "")} |',
                flush=True,
            )
    plot(rows, args.plot)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--galleries', type=int, nargs='+', default=SIZES)
    parser.add_argument('--only', default='', help='a word of the name of stages')
    parser.add_argument('--threads', type=int, default=torch.get_num_threads())
    parser.add_argument('--plot', type=Path, default=Path('growth.png'))
    parser.add_argument('--work', choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument('--folder', type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work is not None:
        work(args.work, args.folder, args.threads)
        return
    with tempfile.TemporaryDirectory() as folder:
        grow(args, Path(folder))


if __name__ == '__main__':
    main()
