r"""Every stage against its peer or its plain form, and against the floor.

    python benchmarks             # all of it
    python benchmarks --only FA   # the stages whose name holds a word

Ours and the other side work by turns, each in a process of its own, so that its peak
memory above the start, with the features loaded, is its own. Before and after each
turn, the rates of this machine are measured, as a shared one changes within seconds:
that of matrix products and the bandwidth of a copy, each over half a second. A turn is
at least a second of work, and each side has seven, fewer where they take long. What is
given are medians over the turns, also of ratios and of shares of the floor.

Large tensors lie in huge pages on both sides, as PyTorch does on Linux where the
environment has THP_MEM_ALLOC_ENABLE=1; in EC-GCN's training, tensors that are freed are
given back at once on both sides, which takes less memory. The floor is what the
arithmetic alone would take: the operations that no exact saving removes over the rate
of matrix products, or the bytes that have to be read and written over the bandwidth of
a copy.

What the other side leaves out is in its favour: padded EC-GCN is given its sub-graphs,
while ours samples them within the time; torchreid is given distances.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from functools import cache
from pathlib import Path
from statistics import mean, median
from subprocess import Popen
from typing import Any, NamedTuple

import numpy as np
import torch
from cases import make_case
from jobs import BATCH, CAPACITY, FA_DIM, HIDDEN, JOBS, K1, PROBES, Case
from process import ask, peak, reset_peak, start
from torch import Tensor

from torch_geometric_reid.knn import knn

TURN = 1.0  # seconds at least
TURNS, LONG = 7, 60.0  # of each side, and seconds after which two have to do
RATE = 0.5  # seconds that a rate is measured for
QUERY, TRAIN = 3368, 12936
GIVES_BACK = 'EC-GCN training'


class Stage(NamedTuple):
    name: str
    ours: str
    plain: str
    floor: Callable[[Any], float]
    unit: str
    threads: int = 2


class Floor(NamedTuple):
    """The measured rates, and the sizes that operations are counted from."""

    gflops: float
    gbytes: float
    nodes: float = 0.0  # of a sub-graph
    edges: float = 0.0

    def connectivity(self, num_layers: int) -> float:
        # The first layer is a product for the whole gallery, shared by all probes,
        # the last one is taken at the 1-hop nodes.
        layer = 2 * HIDDEN * HIDDEN
        inner = TRAIN / PROBES + (num_layers - 2) * self.nodes + K1
        return (layer * (inner + 2 * K1)) / 1e9 / self.gflops

    def training(self, num_layers: int) -> float:
        # Forward, weights, inputs; the first layer's inputs need no gradient.
        layer = 2 * HIDDEN * HIDDEN
        products = (3 * num_layers - 1) * self.nodes + 3 * 2 * K1
        return layer * products / 1e9 / self.gflops

    def aggregation(self, num_classes: int = 751) -> float:
        layer = 2 * 2 * TRAIN * 2 * FA_DIM * FA_DIM
        classifier = 3 * 2 * TRAIN * FA_DIM * num_classes
        similarity = 3 * TRAIN * TRAIN * FA_DIM  # half of one product, and one whole
        return (layer + classifier + similarity) / 1e9 / self.gflops

    def subgraph(self) -> float:
        lists = self.nodes * 10 * 8
        return (lists + 16 * self.nodes + 16 * self.edges) / 1e9 / self.gbytes


def stages() -> list[Stage]:
    pairs = TRAIN * TRAIN
    connectivity = [
        Stage(
            f'EC-GCN inference, {n} layers',
            f'EC-GCN inference, {n} layers',
            f'EC-GCN inference, {n} layers, plain',
            lambda floor, n=n: floor.connectivity(n),
            'probe',
        )
        for n in (4, 5)
    ]
    return [
        *(
            Stage(
                f'{name}, one thread', f'sampler {name}', 'sampler, plain',
                Floor.subgraph, 'probe', threads=1,
            )
            for name in ('HGS', 'RPGS')
        ),
        *connectivity,
        Stage(
            'EC-GCN training, 4 layers', 'EC-GCN training, 4 layers',
            'EC-GCN training, 4 layers, plain',
            lambda floor: floor.training(4), 'probe',
        ),
        Stage(
            'FA-GCN training', 'FA-GCN training', 'FA-GCN training, plain',
            Floor.aggregation, 'step',
        ),
        *(
            Stage(
                name, name, 'kNN, bare Faiss',
                lambda floor: 2 * pairs * 512 / 1e9 / floor.gflops, 'table',
            )
            for name in ('kNN', 'kNN, PyTorch alone')
        ),
        Stage(
            'k-reciprocal', 'k-reciprocal', 'k-reciprocal, torchreid',
            lambda floor: 2 * (QUERY + TRAIN) ** 2 * 512 / 1e9 / floor.gflops,
            'ranking',
        ),
        Stage(
            'evaluation', 'evaluation', 'evaluation, argsort',
            lambda floor: 4 * QUERY * TRAIN / 1e9 / floor.gbytes, 'ranking',
        ),
    ]  # fmt: skip


@cache
def operands() -> tuple[Tensor, ...]:
    return *torch.randn(2, 2048, 2048), *torch.randn(2, 2**26)


def measure_rates() -> Floor:
    a, b, c, d = operands()

    def rate(function: Callable[[], Any]) -> float:
        turns, begin = 0, time.perf_counter()
        while time.perf_counter() - begin < RATE:
            function()
            turns += 1
        return turns / (time.perf_counter() - begin)

    return Floor(
        2 * 2048**3 / 1e9 * rate(lambda: a @ b),
        2 * 4 * 2**26 / 1e9 * rate(lambda: c.copy_(d)),
    )


def work(name: str, folder: Path, threads: int) -> None:
    torch.set_num_threads(threads)
    arrays = np.load(folder / 'case.npz')
    case = Case(*(torch.from_numpy(arrays[key]) for key in Case._fields))
    function = JOBS[name](case)
    torch.ones(512, 512) @ torch.ones(512, 512)  # starts the threads
    for _ in sys.stdin:
        seconds, units = 0.0, 0
        while seconds < TURN:
            reset_peak()
            before, begin = peak(), time.perf_counter()
            more, out = function()
            seconds, units = seconds + time.perf_counter() - begin, units + more
            memory = peak() - before
        if out is not None:
            np.save(folder / f'{name}.npy', np.asarray(out, dtype=np.float64))
        print(json.dumps({'seconds': seconds / units, 'memory': memory}), flush=True)


class Turn(NamedTuple):
    """What each side took, and the rates around ours."""

    ours: dict[str, float]
    other: dict[str, float]
    floor: Floor


def measure(stage: Stage, folder: Path) -> list[Turn]:
    turns: list[Turn] = []
    begin, after = time.perf_counter(), measure_rates()
    with (
        _job(stage.ours, stage, folder) as one,
        _job(stage.plain, stage, folder) as two,
    ):
        while len(turns) < TURNS:
            if len(turns) >= 2 and time.perf_counter() - begin > LONG:
                break
            before, ours, between = after, ask(one), measure_rates()
            other, after = ask(two), measure_rates()
            floor = Floor(*map(mean, zip(before, between, strict=True)))
            turns.append(Turn(ours, other, floor))
    return turns


def _job(name: str, stage: Stage, folder: Path) -> Popen[str]:
    return start(
        __file__, '--work', name, '--folder', str(folder),
        threads=stage.threads, give_back=stage.name.startswith(GIVES_BACK),
    )  # fmt: skip


def difference(stage: Stage, folder: Path) -> str:
    paths = [folder / f'{name}.npy' for name in (stage.ours, stage.plain)]
    if not all(path.exists() for path in paths):
        return ''
    return f'{np.abs(np.load(paths[0]) - np.load(paths[1])).max():.0e}'


def duration(seconds: float) -> str:
    return f'{1000 * seconds:.3g} ms' if seconds < 1 else f'{seconds:.3g} s'


def compare(args: argparse.Namespace, folder: Path) -> None:
    features = make_case(QUERY, TRAIN, 512, args.noise)
    x = torch.from_numpy(features['x'])
    case = Case(
        x[:QUERY],
        x[QUERY:],
        torch.from_numpy(features['identity'][QUERY:]),
        knn(x[QUERY:], 300).index,
    )
    np.savez(folder / 'case.npz', **{k: v.numpy() for k, v in case._asdict().items()})
    print(f'{date.today()}, {torch.get_num_threads()} threads\n')
    print(
        '| stage | for a | ours | other side | ratio | floor | share of floor | '
        'GB | other side | ratio | difference |\n' + '| --- ' * 2 + '| ---: ' * 9 + '|'
    )
    rates: list[Floor] = []
    for stage in stages():
        if args.only not in stage.name:
            continue
        turns = measure(stage, folder)
        rates += [turn.floor for turn in turns]
        print(row(stage, turns, folder), flush=True)
    gflops, gbytes, *_ = zip(*rates, strict=True)
    print(
        f'\na product of 2048 had {min(gflops):.0f} to {max(gflops):.0f} GFLOP/s, '
        f'a copy {min(gbytes):.1f} to {max(gbytes):.1f} GB/s'
    )
    nodes, edges = sizes(folder).values()
    print(f'a sub-graph has {nodes:.0f} nodes of {CAPACITY} and {edges:.0f} edges')


def row(stage: Stage, turns: list[Turn], folder: Path) -> str:
    counts = sizes(folder)
    ours, other = ([turn[side]['seconds'] for turn in turns] for side in (0, 1))
    held, other_held = ([turn[side]['memory'] for turn in turns] for side in (0, 1))
    least = [stage.floor(turn.floor._replace(**counts)) for turn in turns]
    cells = [
        stage.name,
        stage.unit,
        duration(median(ours)),
        duration(median(other)),
        f'{ratio(other, ours):.2f}',
        duration(median(least)),
        f'{100 * ratio(least, ours):.0f} %',
        f'{median(held):.2f}',
        f'{median(other_held):.2f}',
        f'{ratio(held, other_held):.2f}',
        difference(stage, folder),
    ]
    return f'| {" | ".join(cells)} |'


def ratio(above: list[float], below: list[float]) -> float:
    return median(x / y for x, y in zip(above, below, strict=True))


def sizes(folder: Path) -> dict[str, float]:
    path = folder / 'sampler HGS.npy'
    if not path.exists():
        with _job('sampler HGS', stages()[0], folder) as process:
            ask(process)
    nodes, edges = np.load(path) / BATCH
    return {'nodes': nodes, 'edges': edges}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--only', default='', help='a word of the name of stages')
    parser.add_argument('--noise', type=float, default=0.8)
    parser.add_argument('--work', choices=JOBS, help=argparse.SUPPRESS)
    parser.add_argument('--folder', type=Path, help=argparse.SUPPRESS)
    parser.add_argument('--threads', type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work is not None:
        work(args.work, args.folder, args.threads)
        return
    with tempfile.TemporaryDirectory() as folder:
        compare(args, Path(folder))


if __name__ == '__main__':
    main()
