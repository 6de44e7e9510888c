r"""How far scores can be trusted: calibration, false accepts, and unknown probes.

    python benchmarks/trust.py                # the embedded set
    python benchmarks/trust.py set.npz        # a file with a split array

All methods rank with the joint graph. Probabilities and thresholds are fitted to each
of them on a third of the training identities, made as hard as the gallery; no test
identity is used, and nothing is chosen for a set.

The first table is about all pairs of a probe and a gallery image that the protocol
counts. ECE is the expected calibration error, of all pairs and of each probe's first
image; raw is one minus the distance, cut to [0, 1], in the place of a probability.
FPR is what the threshold for 1e-3 leads to. For the second one, half of the probes'
identities are removed from the gallery, which is all that the recipe sees. A probe is
right if it is known and accepted with a match in the first place, or unknown and
rejected.
"""

import argparse
from collections.abc import Callable
from functools import partial

import torch
from common import load_splits
from torch import Tensor
from torch_geometric.data import Data

from torch_geometric_reid import Config
from torch_geometric_reid.cli.table import format_table
from torch_geometric_reid.cli.trust import format_trust
from torch_geometric_reid.metrics import pair_labels
from torch_geometric_reid.pipeline import (
    LinkReRanker,
    Trust,
    fit_trusts,
    judge,
)
from torch_geometric_reid.pipeline.judged import PLAIN

UNKNOWN_FPR = 0.1
Method = tuple[Callable[[Tensor, Tensor], Tensor], Trust]


def fit(train: Data, gallery: Data, seed: int) -> dict[str, Method]:
    config = Config().links
    trusts = fit_trusts(train, gallery.x, config, seed, True)
    links = LinkReRanker(train.x, train.y, gallery.x, config, seed, True)
    ranks = {**PLAIN, 'links': partial(links.rank, graph='joint')}
    return {name: (rank, trusts[name]) for name, rank in ranks.items()}


def closed(query: Data, gallery: Data, methods: dict[str, Method]) -> None:
    distances = {name: rank(query.x, gallery.x) for name, (rank, _) in methods.items()}
    trusts = {name: trust for name, (_, trust) in methods.items()}
    judged = judge(distances, query, gallery, trusts)
    print(format_trust([out.row(*names) for names, out in judged.items()]))


def opened(
    query: Data,
    gallery: Data,
    known: Tensor,
    methods: dict[str, Method],
) -> None:
    same, counts = pair_labels(query.y, gallery.y, query.camera, gallery.camera)
    rows = []
    for name, (rank, trust) in methods.items():
        distance = rank(query.x, gallery.x).masked_fill(~counts, torch.inf)
        nearest, index = distance.min(dim=1)
        match = same.gather(1, index.view(-1, 1)).view(-1)
        accepted = ~trust.none_of_these(nearest, UNKNOWN_FPR)
        right = torch.where(known, accepted & match, ~accepted)
        rows.append(
            {
                'method': name,
                'right (%)': 100 * float(right.double().mean()),
                'known: right (%)': 100 * float(right[known].double().mean()),
                'known: first image (%)': 100 * float(match[known].double().mean()),
                'unknown: accepted (%)': 100 * float(accepted[~known].double().mean()),
            }
        )
    print(f'\n{format_table(rows)}')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('file', nargs='?')
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    train, query, gallery = load_splits(args.file)
    closed(query, gallery, fit(train, gallery, args.seed))

    identity = query.y.unique()
    generator = torch.Generator().manual_seed(args.seed)
    order = torch.randperm(identity.numel(), generator=generator)
    away = identity[order[: identity.numel() // 2]]
    gallery = gallery.subgraph(~torch.isin(gallery.y, away))
    known = ~torch.isin(query.y, away)
    opened(query, gallery, known, fit(train, gallery, args.seed))


if __name__ == '__main__':
    main()
