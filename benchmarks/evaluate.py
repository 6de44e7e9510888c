r"""Times the evaluation against its peers and against a bare argsort.

    pip install --no-deps fastreid==1.4.0
    pip install --no-deps --no-build-isolation torchreid==0.2.5
    python benchmarks/evaluate.py
    python benchmarks/evaluate.py --fastreid path/to/evaluation/rank.py

Of a peer only its module `rank.py` is loaded, together with fast-reid's compiled
form where `rank_cylib` has been built. The peers sort with NumPy, which uses one
thread; `--threads 1` gives ours one thread, too. The features are synthetic, of the
sizes of Market-1501 and with 17 matches per probe on average: a low noise gives the
accuracy of a trained network, a high one that of chance.
"""

import argparse
import importlib
import statistics
import sys
import time
import types
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from torch_geometric_reid.metrics import evaluate

NUM_IDS, NUM_CAMERAS, DISTRACTORS = 750, 6, 0.1
SLOW = 10.0  # seconds from which on one run has to do
PEERS = {
    'fastreid': 'evaluation/rank.py',
    'torchreid': 'reid/metrics/rank.py',
}


class Result(NamedTuple):
    mAP: float
    rank1: float
    mINP: float


def make_case(
    num_probes: int, num_gallery: int, noise: float
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    center = torch.randn(NUM_IDS + 1, 64, generator=generator)

    def draw(size: int) -> tuple[Tensor, Tensor, Tensor]:
        y = torch.randint(1, NUM_IDS + 1, (size,), generator=generator)
        scale = noise * torch.randn(size, 1, generator=generator).div(2).exp()
        x = center[y] + scale * torch.randn(size, 64, generator=generator)
        camera = torch.randint(NUM_CAMERAS, (size,), generator=generator)
        return F.normalize(x), y, camera

    query, query_id, query_camera = draw(num_probes)
    gallery, gallery_id, gallery_camera = draw(num_gallery)
    distractor = torch.rand(num_gallery, generator=generator) < DISTRACTORS
    gallery_id[distractor] = 0
    gallery[distractor] = F.normalize(
        torch.randn(int(distractor.sum()), 64, generator=generator)
    )
    dist = 2 - 2 * query @ gallery.t()
    return dist, query_id, gallery_id, query_camera, gallery_camera


def load_peer(name: str, path: Path | None) -> Any:
    """Loads one module by its file, whose own package need not be importable."""
    if path is None:
        spec = find_spec(name)
        if spec is None or not spec.submodule_search_locations:
            return None
        path = Path(spec.submodule_search_locations[0]) / PEERS[name]
    if not path.is_file():
        return None
    package = types.ModuleType(f'peer_{name}')
    package.__path__ = [str(path.parent)]
    sys.modules[package.__name__] = package
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return importlib.import_module(f'{package.__name__}.{path.stem}')


def run_peer(module: Any, arrays: list[np.ndarray], use_cython: bool) -> Result:
    cmc, *rest = module.evaluate_rank(*arrays, max_rank=50, use_cython=use_cython)
    mINP = float(np.mean(rest[1])) if len(rest) > 1 else float('nan')
    return Result(float(np.mean(rest[0])), float(cmc[0]), mINP)


def measure(function: Callable[[], Any], repeats: int = 3) -> tuple[float, Any]:
    """Returns the median of the seconds, and what the function returns."""
    seconds = []
    while len(seconds) < repeats and not (seconds and seconds[0] > SLOW):
        start = time.perf_counter()
        out = function()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), out


def compare(args: argparse.Namespace, noise: float) -> None:
    case = make_case(args.probes, args.gallery, noise)
    arrays = [tensor.numpy() for tensor in case]

    def ours() -> Result:
        out = evaluate(*case)
        return Result(out.mAP, out.rank(1), out.mINP)

    jobs: dict[str, Callable[[], Any]] = {'torch_geometric_reid': ours}
    for name in PEERS:
        module = load_peer(name, getattr(args, name))
        if module is None:
            print(f'{name} is absent: pip install --no-deps {name}')
            continue
        for use_cython in [True, False]:
            if use_cython and not module.IS_CYTHON_AVAI:
                print(f"{name}: the Cython form is not built (see 'rank_cylib')")
            elif use_cython or not args.skip_python:
                form = 'Cython' if use_cython else 'Python'
                jobs[f'{name}, {form}'] = lambda m=module, c=use_cython: run_peer(
                    m, arrays, c
                )
    jobs['argsort (torch)'] = lambda: case[0].argsort(dim=1)
    jobs['argsort (NumPy)'] = lambda: arrays[0].argsort(axis=1)

    base, mine = 0.0, Result(0, 0, 0)
    for name, function in jobs.items():
        seconds, out = measure(function)
        if name == 'torch_geometric_reid':
            base, mine = seconds, out
            print(
                f'\n{args.probes} x {args.gallery}, noise {noise:g}, '
                f'{args.threads} threads: mAP {100 * mine.mAP:.2f}, '
                f'Rank-1 {100 * mine.rank1:.2f}, mINP {100 * mine.mINP:.2f}\n'
            )
            print('| who | seconds | ratio | mAP | Rank-1 | mINP |')
            print('| --- | ---: | ---: | ---: | ---: | ---: |')
        differences = ['', '', '']
        if isinstance(out, Result):
            differences = [
                '-' if np.isnan(b) else f'{abs(a - b):.0e}'
                for a, b in zip(mine, out, strict=True)
            ]
        print(
            f'| {name} | {seconds:.3f} | {seconds / base:.1f} | '
            + ' | '.join(differences)
            + ' |',
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--probes', type=int, default=3368)
    parser.add_argument('--gallery', type=int, default=15913)
    parser.add_argument('--noise', type=float, nargs='+', default=[0.7, 100.0])
    parser.add_argument('--threads', type=int, default=torch.get_num_threads())
    parser.add_argument('--fastreid', type=Path, help="its file 'rank.py'")
    parser.add_argument('--torchreid', type=Path, help="its file 'rank.py'")
    parser.add_argument(
        '--skip-python', action='store_true', help='only compiled forms of peers'
    )
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for noise in args.noise:
        compare(args, noise)


if __name__ == '__main__':
    main()
