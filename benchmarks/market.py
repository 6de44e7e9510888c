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

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import Data

from torch_geometric_reid import Config, GraphReRanker
from torch_geometric_reid.metrics import evaluate
from torch_geometric_reid.pipeline.train import make_affinity, train_ec, train_fa


def draw(num: int, center: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    y = torch.randint(len(center), (num,), generator=generator)
    noise = torch.randn(num, center.size(1), generator=generator)
    return F.normalize(center[y] + noise), y


@contextmanager
def timed(name: str, device: torch.device) -> Iterator[None]:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    yield
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
    print(f'| {name} | {time.perf_counter() - start:.1f} |', flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--scale', type=float, default=1.0)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument(
        '--precision', choices=('float32', 'bfloat16'), default='bfloat16'
    )
    args = parser.parse_args()
    config = Config.paper()
    assert config.fa is not None
    assert config.ec is not None

    def scaled(size: int, least: int = 1) -> int:
        return max(least, round(size * args.scale))

    config.fa.precision = config.ec.precision = args.precision
    config.fa.steps = scaled(2000)
    config.fa.hidden_channels = scaled(2048)
    config.ec.hidden_channels = scaled(4096)
    generator = torch.Generator().manual_seed(args.seed)
    dim = scaled(2048)
    center = 0.7 * torch.randn(scaled(751, 2), dim, generator=generator)
    x, y = draw(scaled(12_936), center, generator)
    center = 0.7 * torch.randn(scaled(750, 2), dim, generator=generator)
    query, query_y = draw(scaled(3_368), center, generator)
    gallery, gallery_y = draw(scaled(15_913), center, generator)

    ranker = GraphReRanker(config)
    device = ranker.device
    x, y, query, gallery = (part.to(device) for part in (x, y, query, gallery))
    name = torch.cuda.get_device_name(device) if device.type == 'cuda' else 'CPU'
    print(f'{name}, {torch.__version__}\n\n| stage | seconds |\n| --- | ---: |')
    with timed('FA-GCN training', device):
        ranker.fa = train_fa(x, y, config.fa, args.seed, progress=True)
    with timed('FA-GCN features', device), torch.no_grad():
        graph = make_affinity(config.fa)(Data(x=x))
        z = ranker.fa.encode(x, graph.edge_index, graph.edge_weight)
    with timed('EC-GCN training', device):
        ranker.ec = train_ec(z, y, config.ec, args.seed, progress=True)
    ranker.in_channels = dim
    with timed('ranking', device):
        distance = ranker.rank(query, gallery, progress=True)
    result = evaluate(distance.cpu(), query_y, gallery_y)
    print(f'\nmAP {100 * result.mAP:.2f}, Rank-1 {100 * result.rank(1):.2f}')


if __name__ == '__main__':
    main()
