r"""Training that is killed at random moments, and goes on to the same weights.

    python benchmarks/kill.py              # ten kills, the embedded set

FA-GCN, EC-GCN and the recipe of links are trained with the default options in a
process of its own, once without a stop. Then, ten times anew, the process gets
SIGKILL at a random moment of that time, and another one goes on in the same folder.
A line says what was there at the kill and whether the final weights are the same.
"""

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch_geometric.data import Data

from torch_geometric_reid import Config
from torch_geometric_reid.atomic import digest
from torch_geometric_reid.cli.table import format_table
from torch_geometric_reid.datasets import Omniglot242
from torch_geometric_reid.pipeline import Checkpoint, LinkReRanker, train_ec, train_fa
from torch_geometric_reid.pipeline.checkpoint import SUFFIX
from torch_geometric_reid.pipeline.train import make_affinity

STARTED = 'started'


def train(checkpoint: Checkpoint | None) -> str:
    """Returns the digest of all trained weights."""
    data, config = Omniglot242('train')[0], Config()
    x, y, seed = data.x, data.y, config.seed
    fa = train_fa(x, y, config.fa, seed, checkpoint=checkpoint)
    graph = make_affinity(config.fa)(Data(x=x))
    with torch.no_grad():
        z = fa.encode(x, graph.edge_index, graph.edge_weight)
    ec = train_ec(z, y, config.ec, seed, checkpoint=checkpoint)
    gallery = Omniglot242('gallery')[0].x
    links = LinkReRanker(x, y, gallery, config.links, seed, checkpoint=checkpoint)
    models = {'fa': fa, 'ec': ec, 'first': links.first, 'second': links.second}
    return digest(
        {
            f'{name}.{key}': value
            for name, model in models.items()
            for key, value in model.state_dict().items()
        }
    )


def start(folder: Path | None, every: float) -> subprocess.Popen[str]:
    """Starts a training, and returns when it has begun."""
    command = [sys.executable, '-W', 'ignore', __file__, '--every', str(every)]
    process = subprocess.Popen(
        [*command, '--child', *([str(folder)] if folder else [])],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() == STARTED
    return process


def finish(process: subprocess.Popen[str]) -> tuple[str, float]:
    """Returns what a training printed, and the seconds it took from now."""
    began = time.perf_counter()
    out = process.communicate()[0].strip()
    if process.returncode != 0:
        raise RuntimeError(f'training ended with {process.returncode}')
    return out, time.perf_counter() - began


def kill(folder: Path, rng: random.Random, limit: float, every: float) -> float:
    """Kills a training at a random moment before its end, which is returned."""
    while True:
        shutil.rmtree(folder, ignore_errors=True)
        wait = rng.uniform(0, limit)
        process = start(folder, every)
        time.sleep(wait)
        process.kill()
        process.communicate()
        if process.returncode == -signal.SIGKILL:
            return wait
        limit = wait  # it had ended


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--kills', type=int, default=10)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--every', type=float, default=1.0, help='seconds to a state')
    parser.add_argument('--child', nargs='*', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child is not None:
        print(STARTED, flush=True)
        if args.child:
            with Checkpoint(args.child[0], every=args.every) as checkpoint:
                print(train(checkpoint))
        else:
            print(train(None))
        return

    expected, whole = finish(start(None, args.every))
    print(f'without a checkpoint: {whole:.1f} s, weights {expected[:16]}', flush=True)
    rng = random.Random(args.seed)
    rows = []
    for _ in range(args.kills):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / 'state'
            wait = kill(folder, rng, whole, args.every)
            states = [path.name for path in sorted(folder.glob(f'*{SUFFIX}'))]
            out, seconds = finish(start(folder, args.every))
        row = {
            'killed at': f'{wait:.2f} s',
            'went on for': f'{seconds:.2f} s',
            'weights': out[:16],
            'same': 'yes' if out == expected else 'NO',
            'stages there': ' '.join(
                x.removesuffix(SUFFIX) for x in states if '.previous.' not in x
            ),
        }
        print('  '.join(row.values()), flush=True)
        rows.append(row)
    print(format_table(rows))
    if any(row['same'] != 'yes' for row in rows):
        raise SystemExit(1)


if __name__ == '__main__':
    main()
