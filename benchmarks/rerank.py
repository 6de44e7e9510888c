r"""Times the re-rankers against their peers and against the distances alone.

    pip install --no-deps fastreid==1.4.0
    pip install --no-deps --no-build-isolation torchreid==0.2.5
    python benchmarks/rerank.py
    python benchmarks/rerank.py --size small
    python benchmarks/rerank.py --growth

Of a peer only its module `rerank.py` is loaded. Every job runs in a process of its
own, so that its peak memory (above the process with the features loaded) is its own.
Of several runs the fastest counts. The column `difference` is the largest one to the
first peer. `distances` is the floor: the inner products of all items, block by block,
of which nothing is kept. Jobs that start from given distances, as the peers do, are
timed from there; their memory includes the distances. The peers need 9 GB at full
size; `--size small` is enough to see the ratios.

The features are synthetic, with 750 identities, 6 cameras (each of which shifts its
features) and a tenth of distractors in the gallery.
"""

import argparse
import json
import runpy
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cases import make_case
from process import peak, run
from torch import Tensor

from torch_geometric_reid import rerank
from torch_geometric_reid.metrics import evaluate

SIZES = {'full': (3368, 15913), 'small': (700, 3800)}
GROWTH = (5_000, 10_000, 20_000, 50_000, 100_000)
PEERS = {
    'torchreid': 'reid/utils/rerank.py',
    'fastreid': 'evaluation/rerank.py',
}
JOBS = {
    'k_reciprocal': rerank.k_reciprocal,
    'k_reciprocal_topk (k=100)': lambda q, g: rerank.k_reciprocal_topk(q, g, 100),
    'gnn': rerank.gnn,
    'query_expansion, database': lambda q, g: rerank.query_expansion(
        q, g, database=True
    ),
    'expanded_cross_neighborhood': rerank.expanded_cross_neighborhood,
    'gcr': rerank.gcr,
}
FROM_DISTANCE = 'k_reciprocal_from_distance'
SAME_RESULT = (*PEERS, FROM_DISTANCE, 'k_reciprocal')


def euclidean(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.t()).mul_(-2).add_(2).clamp_(min=0).sqrt_()


def find_peer(name: str) -> Path | None:
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0]) / PEERS[name]
    return path if path.is_file() else None


def multiply(query: Tensor, gallery: Tensor) -> None:
    x = torch.cat([query, gallery])
    for block in x.split(2048):
        block @ x.t()


def from_distance(name: str, query: Tensor, gallery: Tensor) -> Callable[[], Any]:
    """Returns the job that is left to do once the distances are there."""
    distance = [euclidean(query, gallery), euclidean(query, query)]
    distance.append(euclidean(gallery, gallery))
    if name == FROM_DISTANCE:
        return lambda: rerank.k_reciprocal_from_distance(*distance)
    arrays = [part.numpy() for part in distance]
    function = runpy.run_path(str(find_peer(name)))['re_ranking']
    return lambda: function(*arrays)


def fixed_gallery(query: Tensor, gallery: Tensor) -> dict[str, float]:
    start = time.perf_counter()
    ranker = rerank.KReciprocal(gallery)
    seconds = time.perf_counter() - start
    milliseconds = []
    for probe in query[:200]:
        start = time.perf_counter()
        ranker.query(probe)
        milliseconds.append(1000 * (time.perf_counter() - start))
    percentile = statistics.quantiles(milliseconds, n=20)
    return {
        'seconds': seconds,
        'median': statistics.median(milliseconds),
        'p95': percentile[-1],
    }


def work(name: str, folder: Path, threads: int) -> None:
    """Runs one job in this process; prints its seconds and memory."""
    torch.set_num_threads(threads)
    x = torch.from_numpy(np.load(folder / 'x.npy'))
    num_probes = int((folder / 'num_probes').read_text())
    query, gallery = x[:num_probes], x[num_probes:]
    torch.ones(512, 512) @ torch.ones(512, 512)  # starts the threads
    before = peak()

    if name == 'KReciprocal':
        result = fixed_gallery(query, gallery)
    else:
        function: Callable[[], Any]
        if name == 'distances':
            function = lambda: multiply(query, gallery)  # noqa: E731
        elif name in JOBS:
            function = lambda: JOBS[name](query, gallery)  # noqa: E731
        else:
            function = from_distance(name, query, gallery)
        start, cpu = time.perf_counter(), time.process_time()
        out = function()
        result = {
            'seconds': time.perf_counter() - start,
            'cpu': time.process_time() - cpu,
        }
    result['memory'] = peak() - before
    if name not in ('distances', 'KReciprocal') and 'topk' not in name:
        np.save(folder / f'{name}.npy', np.asarray(out))
    print(json.dumps(result))


def start(name: str, folder: Path, threads: int) -> dict[str, Any]:
    return run(__file__, '--work', name, '--folder', str(folder), threads=threads)


def save_case(case: dict[str, np.ndarray], num_probes: int, folder: Path) -> None:
    np.save(folder / 'x.npy', case['x'])
    (folder / 'num_probes').write_text(str(num_probes))


def compare(args: argparse.Namespace, folder: Path) -> None:
    num_probes, num_gallery = SIZES[args.size]
    case = make_case(num_probes, num_gallery, args.dim, args.noise)
    save_case(case, num_probes, folder)
    ids = [
        part
        for name in ('identity', 'camera')
        for part in (case[name][:num_probes], case[name][num_probes:])
    ]

    def accuracy(dist: Any) -> str:
        out = evaluate(dist, *ids)
        return f'{100 * out.mAP:.2f} | {100 * out.rank(1):.2f}'

    peers = [name for name in PEERS if find_peer(name)]
    for name in set(PEERS) - set(peers):
        print(f'{name} is absent: pip install --no-deps {name}')
    x = torch.from_numpy(case['x'])
    print(
        f'{num_probes} + {num_gallery} features of {args.dim} dimensions, '
        f'{args.threads} threads; the cosine has mAP | Rank-1 '
        f'{accuracy(1 - x[:num_probes] @ x[num_probes:].t())}\n'
    )
    print('| job | seconds | CPU | by distances | GB | difference | mAP | Rank-1 |')
    print('| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |')
    floor, reference = 0.0, None
    for name in ['distances', *peers, FROM_DISTANCE, *JOBS]:
        results = [start(name, folder, args.threads) for _ in range(args.repeats)]
        seconds, cpu, memory = (
            min(result[key] for result in results)
            for key in ('seconds', 'cpu', 'memory')
        )
        floor = floor or seconds
        difference, quality = '', ' | '
        if (folder / f'{name}.npy').exists():
            dist = np.load(folder / f'{name}.npy')
            quality = accuracy(dist)
            if reference is None and name in peers:
                reference = dist
            elif reference is not None and name in SAME_RESULT:
                difference = f'{np.abs(dist - reference).max():.1e}'
        print(
            f'| {name} | {seconds:.2f} | {cpu:.2f} | {seconds / floor:.2f} | '
            f'{memory:.2f} | {difference} | {quality} |',
            flush=True,
        )
    result = start('KReciprocal', folder, args.threads)
    print(
        f'\nKReciprocal: prepared in {result["seconds"]:.2f} s, a probe takes '
        f'{result["median"]:.1f} ms (median; 95 % below {result["p95"]:.1f} ms)'
    )


def grow(args: argparse.Namespace, folder: Path) -> None:
    num_probes = SIZES['full'][0]
    name = 'k_reciprocal_topk (k=100)'
    print(f'{num_probes} probes, {args.dim} dimensions, {args.threads} threads\n')
    print('| gallery | seconds | distances alone | ratio | GB | an N x N matrix, GB |')
    print('| ---: | ---: | ---: | ---: | ---: | ---: |')
    rows = []
    for num_gallery in args.galleries:
        case = make_case(num_probes, num_gallery, args.dim, args.noise)
        save_case(case, num_probes, folder)
        del case
        floor = start('distances', folder, args.threads)['seconds']
        result = start(name, folder, args.threads)
        seconds, memory = result['seconds'], result['memory']
        matrix = 4 * (num_probes + num_gallery) ** 2 / 1e9
        rows.append((num_gallery, seconds, floor, memory, matrix))
        print(
            f'| {num_gallery} | {seconds:.1f} | {floor:.1f} | {seconds / floor:.2f} | '
            f'{memory:.2f} | {matrix:.1f} |',
            flush=True,
        )
    if find_spec('matplotlib') is None:
        print('\nno plot: matplotlib is absent')
        return
    plot(np.array(rows), args.plot)
    print(f'\nplot: {args.plot}')


def plot(rows: np.ndarray, path: Path) -> None:
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot as plt

    gallery, seconds, floor, memory, matrix = rows.T
    _, (left, right) = plt.subplots(ncols=2, figsize=(9, 3.5), layout='constrained')
    left.loglog(gallery, seconds, 'o-', label='k_reciprocal_topk')
    left.loglog(gallery, floor, 's--', label='distances alone')
    left.set(xlabel='gallery', ylabel='seconds')
    right.loglog(gallery, memory, 'o-', label='peak above the features')
    right.loglog(gallery, matrix, 's--', label='one N x N matrix')
    right.set(xlabel='gallery', ylabel='GB')
    for axes in (left, right):
        axes.legend()
        axes.grid(alpha=0.3)
    plt.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--size', choices=SIZES, default='full')
    parser.add_argument('--dim', type=int, default=512)
    parser.add_argument('--noise', type=float, default=0.8)
    parser.add_argument('--threads', type=int, default=torch.get_num_threads())
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument(
        '--growth', action='store_true', help='time and memory by gallery size'
    )
    parser.add_argument('--galleries', type=int, nargs='+', default=GROWTH)
    parser.add_argument('--plot', type=Path, default=Path('rerank_growth.png'))
    parser.add_argument('--work', help=argparse.SUPPRESS)
    parser.add_argument('--folder', type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work is not None:
        work(args.work, args.folder, args.threads)
        return
    with tempfile.TemporaryDirectory() as folder:
        (grow if args.growth else compare)(args, Path(folder))


if __name__ == '__main__':
    main()
