r"""Exact nearest neighbours against a bare product and `topk`.

    python benchmarks/neighbors.py                # wants a GPU
    python benchmarks/neighbors.py --scale 0.1    # a trial of the command on a CPU

Features are random with 17 images of an identity. `bare` is what a program without a
graph library does: a product in float32 and `topk`, for as many rows as hold 512 MiB of
scores; its order is that of rounded scores. `torch` is `backend='torch'`, which finds
candidates in float32, and `other rows` are those in which the default finds others.
Times are medians of five runs. `--scale` shrinks queries and items.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from market import synchronize
from torch import Tensor

from torch_geometric_reid.knn import knn

CASES = [  # queries (zero: the items are searched for each other), items, dim, k
    (0, 12_936, 512, 20),
    (0, 12_936, 2048, 300),
    (0, 50_000, 512, 50),
    (3_368, 200_000, 512, 50),
    (3_368, 1_000_000, 512, 200),
]
COLUMNS = ['queries', 'items', 'dim', 'k', 'ms', 'GB', 'torch, ms']
COLUMNS += ['bare, ms', 'GB', 'ratio', 'other rows']
IMAGES = 17
BLOCK = 2**27
REPEATS = 5


def draw(num: int, center: Tensor) -> Tensor:
    y = torch.randint(len(center), (num,), device=center.device)
    return F.normalize(center[y] + torch.randn_like(center[:1].expand(num, -1)))


def bare(query: Tensor, x: Tensor, k: int) -> None:
    for part in query.split(max(1, BLOCK // len(x))):
        (part @ x.t()).topk(k)


def measure(function: Callable[[], object], device: torch.device) -> tuple[float, str]:
    """Milliseconds of a run, and on a GPU the GB that it takes beside its inputs."""
    function()
    before = 0
    if device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
    times = []
    for _ in range(REPEATS):
        synchronize(device)
        start = time.perf_counter()
        function()
        synchronize(device)
        times.append(time.perf_counter() - start)
    memory = ''
    if device.type == 'cuda':
        memory = f'{(torch.cuda.max_memory_allocated(device) - before) / 1e9:.2f}'
    return 1000 * statistics.median(times), memory


def row(x: Tensor, query: Tensor | None, k: int) -> list[str]:
    given = x if query is None else query
    search = partial(knn, x, k, query=query)
    ours, memory = measure(search, x.device)
    plain, _ = measure(partial(search, backend='torch'), x.device)
    other, its_memory = measure(partial(bare, given, x, k), x.device)
    differ = (search().index != search(backend='torch').index).any(dim=1)
    times = f'{ours:.1f}', memory, f'{plain:.1f}', f'{other:.1f}', its_memory
    sizes = f'{len(given):,}', f'{len(x):,}', f'{x.size(1):,}', str(k)
    return [*sizes, *times, f'{other / ours:.2f}', str(int(differ.sum()))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--scale', type=float, default=1.0)
    args = parser.parse_args()
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    name = torch.cuda.get_device_name(device) if device.type == 'cuda' else 'CPU'
    print(f'{name}, {torch.__version__}\n\n| {" | ".join(COLUMNS)} |')
    print('|' + ' ---: |' * len(COLUMNS))
    torch.manual_seed(0)
    for num_queries, num_items, dim, k in CASES:
        num_items = max(k + 2, round(num_items * args.scale))
        center = 0.7 * torch.randn(num_items // IMAGES + 1, dim, device=device)
        x, query = draw(num_items, center), None
        if num_queries:
            query = draw(max(1, round(num_queries * args.scale)), center)
        print(f'| {" | ".join(row(x, query, k))} |', flush=True)


if __name__ == '__main__':
    main()
