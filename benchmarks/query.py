r"""Latency of one probe against a prepared gallery.

    python benchmarks/query.py
    python benchmarks/query.py --galleries 15913 --probes 50

For each recipe and size: preparing, saving and loading the gallery, the memory that the
loaded one holds, the median and the 99th percentile of `GraphReRanker.query`, the cost
of one plain row of distances, the cost per probe of 256 probes in one call of it and of
`GraphReRanker.rank`, which prepares the gallery, and of adding 1, 10 and 100 images.
"""

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from cases import make_case
from process import peak, reset_peak
from torch import Tensor

from torch_geometric_reid.pipeline import Config, GraphReRanker

DIM, TRAIN, BATCH = 512, 3000, 256
LARGE = 50_000  # where images are added once


def milliseconds(function: Callable[[Tensor], object], probes: Tensor) -> np.ndarray:
    times = []
    for probe in probes:
        start = time.perf_counter()
        function(probe)
        times.append(1000 * (time.perf_counter() - start))
    return np.array(times)


def seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def measure(recipe: str, size: int, num_probes: int) -> None:
    case = make_case(TRAIN + BATCH, size, DIM, 0.8)
    x, y = (torch.from_numpy(case[name]) for name in ('x', 'identity'))
    train, query, gallery = x[:TRAIN], x[TRAIN : TRAIN + BATCH], x[TRAIN + BATCH :]
    ranker = GraphReRanker(Config(recipe=recipe))
    ranker.fit(train, y[:TRAIN], gallery[:TRAIN])
    row = {'prepare s': seconds(lambda: ranker.prepare(gallery))}
    with tempfile.TemporaryDirectory() as folder:
        row['save s'] = seconds(lambda: ranker.save(folder))
        del ranker
        reset_peak()
        before = peak()
        row['load s'] = seconds(lambda: loaded.append(GraphReRanker.load(folder)))
        row['GB'] = peak() - before
    ranker = loaded.pop()
    for _ in range(3):
        ranker.query(query[0])
    times = milliseconds(ranker.query, query[:num_probes])
    row['median ms'], row['99 % ms'] = np.median(times), np.quantile(times, 0.99)
    plain = milliseconds(lambda probe: (gallery @ probe).topk(50), query[:num_probes])
    row['plain row ms'] = np.median(plain)
    batch = seconds(lambda: ranker.query(query))
    row['batch, prepared ms'] = 1000 / BATCH * batch
    graph = 'gallery' if recipe == 'links' else 'probe'
    batch = seconds(lambda: ranker.rank(query, gallery, graph))
    row['batch ms'] = 1000 / BATCH * batch
    for count in (1, 10, 100) if size < LARGE else (1,):
        row[f'add {count} s'] = seconds(partial(ranker.add, query[:count]))
    cells = ' | '.join(f'{value:.2f}' for value in row.values())
    print(f'{recipe}, {size}: {list(row)}\n| {recipe} | {size} | {cells} |', flush=True)


loaded: list[GraphReRanker] = []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--galleries', type=int, nargs='+', default=(15_913, 100_000))
    parser.add_argument('--recipes', nargs='+', default=('paper', 'links'))
    parser.add_argument('--probes', type=int, default=BATCH)
    args = parser.parse_args()
    warnings.simplefilter('ignore')
    for recipe in args.recipes:
        for size in args.galleries:
            measure(recipe, size, args.probes)


if __name__ == '__main__':
    main()
