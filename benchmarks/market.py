r"""The paper's recipe at the size of Market-1501, stage by stage.

    python benchmarks/market.py                 # the whole recipe; wants a GPU
    python benchmarks/market.py --scale 0.02    # a trial of the command on a CPU

Features are random but have identities: 12,936 training images of 751 identities,
3,368 probes and 15,913 gallery images, 2,048 dimensions. FA-GCN takes 2,000 steps,
EC-GCN 4 epochs with a hidden size of 4,096. `--scale` shrinks all of them.
"""

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.sampler import NodeSamplerInput

from torch_geometric_reid import Config, GraphReRanker
from torch_geometric_reid.metrics import evaluate
from torch_geometric_reid.pipeline import ECConfig, FAConfig
from torch_geometric_reid.pipeline.train import (
    make_affinity,
    make_sampler,
    train_ec,
    train_fa,
)

SAMPLED = 64  # sub-graphs that the mean number of nodes is taken of


def draw(num: int, center: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    y = torch.randint(len(center), (num,), generator=generator)
    noise = torch.randn(num, center.size(1), generator=generator)
    return F.normalize(center[y] + noise), y


def product_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Operations per second in a product of matrices."""
    size = 8192 if device.type == 'cuda' else 2048
    x = torch.randn(size, size, device=device).to(dtype)
    times = []
    for _ in range(8):
        synchronize(device)
        start = time.perf_counter()
        x @ x
        synchronize(device)
        times.append(time.perf_counter() - start)
    return 2 * size**3 / min(times)


def synchronize(device: torch.device) -> None:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


def fa_operations(x: Tensor, num_classes: int, config: FAConfig) -> float:
    """Operations of FA-GCN's products in training, the symmetric ones once."""
    num, dim = x.shape
    hidden = config.hidden_channels
    layer = 2 * 2 * num * 2 * dim * hidden  # no gradient of the features
    classifier = 3 * 2 * num * hidden * num_classes
    similarities = 2 * num**2 * hidden  # half of them: to read, again, for both sides
    return config.steps * (layer + classifier + 2 * similarities)


def ec_operations(num_nodes: float, dim: int, config: ECConfig) -> float:
    """Operations of EC-GCN's products for one sub-graph, forward."""
    hidden, k1 = config.hidden_channels, config.num_neighbors[0]
    layers = dim * hidden + (config.num_layers - 1) * hidden**2
    return 2 * (num_nodes * layers + k1 * (2 * hidden**2 + 2 * hidden))


def mean_nodes(x: Tensor, y: Tensor, config: ECConfig, seed: int) -> float:
    """Nodes of a sub-graph."""
    sampler = make_sampler(x, y, config, seed)
    node = torch.arange(min(SAMPLED, len(x)))
    out = sampler.sample_from_nodes(NodeSamplerInput(None, node))
    return out.node.numel() / node.numel()


@dataclass
class Table:
    """Prints a row for each stage."""

    device: torch.device
    rate: float

    @contextmanager
    def stage(self, name: str, operations: float = 0) -> Iterator[None]:
        if self.device.type == 'cuda':
            torch.cuda.reset_peak_memory_stats(self.device)
        synchronize(self.device)
        start = time.perf_counter()
        yield
        synchronize(self.device)
        seconds = time.perf_counter() - start
        share = memory = ''
        if operations:
            share = f'{operations / seconds / self.rate:.0%}'
        if self.device.type == 'cuda':
            memory = f'{torch.cuda.max_memory_allocated(self.device) / 1e9:.1f}'
        print(f'| {name} | {seconds:.1f} | {share} | {memory} |', flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--scale', type=float, default=1.0)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument(
        '--precision', choices=('float32', 'bfloat16'), default='bfloat16'
    )
    parser.add_argument('--num-workers', type=int, help='4 with a GPU, else 0')
    parser.add_argument('--progress', action='store_true')
    args = parser.parse_args()
    config = Config.paper()
    fa, ec = config.fa, config.ec
    assert fa is not None
    assert ec is not None

    def scaled(size: int, least: int = 1) -> int:
        return max(least, round(size * args.scale))

    fa.precision = ec.precision = args.precision
    fa.steps = scaled(2000)
    fa.hidden_channels = scaled(2048)
    ec.hidden_channels = scaled(4096)
    generator = torch.Generator().manual_seed(args.seed)
    dim = scaled(2048)
    center = 0.7 * torch.randn(scaled(751, 2), dim, generator=generator)
    x, y = draw(scaled(12_936), center, generator)
    center = 0.7 * torch.randn(scaled(750, 2), dim, generator=generator)
    query, query_y = draw(scaled(3_368), center, generator)
    gallery, gallery_y = draw(scaled(15_913), center, generator)

    ranker = GraphReRanker(config)
    device = ranker.device
    ec.num_workers = args.num_workers
    if args.num_workers is None:
        ec.num_workers = 4 if device.type == 'cuda' else 0
    x, y, query, gallery = (part.to(device) for part in (x, y, query, gallery))
    name = torch.cuda.get_device_name(device) if device.type == 'cuda' else 'CPU'
    rate = product_rate(device, getattr(torch, args.precision))
    table = Table(device, rate)
    print(f'{name}, {torch.__version__}, {args.precision}: {rate / 1e12:.3g} TFLOP/s')
    print('\n| stage | seconds | share of that rate | GB |')
    print('| --- | ---: | ---: | ---: |')
    start = time.perf_counter()
    with table.stage('FA-GCN training', fa_operations(x, int(y.max()) + 1, fa)):
        ranker.fa = train_fa(x, y, fa, args.seed, progress=args.progress)
    with table.stage('FA-GCN features'), torch.no_grad():
        graph = make_affinity(fa)(Data(x=x))
        z = ranker.fa.encode(x, graph.edge_index, graph.edge_weight)
    num_nodes = mean_nodes(z, y, ec, args.seed)
    one = ec_operations(num_nodes, z.size(1), ec)
    first = 2 * num_nodes * z.size(1) * ec.hidden_channels
    with table.stage('EC-GCN training', ec.epochs * len(x) * (3 * one - first)):
        ranker.ec = train_ec(z, y, ec, args.seed, progress=args.progress)
    ranker.in_channels = dim
    with table.stage('ranking'):
        distance = ranker.rank(query, gallery, progress=args.progress)
    print(f'| all | {time.perf_counter() - start:.1f} | | |')
    print(f'\n{num_nodes:.0f} nodes in the sub-graph of a training probe')
    result = evaluate(distance.cpu(), query_y, gallery_y)
    print(f'mAP {100 * result.mAP:.2f}, Rank-1 {100 * result.rank(1):.2f}')


if __name__ == '__main__':
    main()
