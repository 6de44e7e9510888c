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
from dataclasses import replace

import torch
from common import load_splits
from torch import Tensor
from torch_geometric.data import Data

from torch_geometric_reid import Config
from torch_geometric_reid.cli.table import format_table
from torch_geometric_reid.distance import pairwise_distance
from torch_geometric_reid.metrics import calibration, pair_labels, tpr_at_fpr
from torch_geometric_reid.pipeline import (
    LinkReRanker,
    Trust,
    fit_trust,
    hold_out_hard,
)
from torch_geometric_reid.rerank import k_reciprocal

FPR, UNKNOWN_FPR = 1e-3, 0.1
Rank = Callable[[Tensor, Tensor], Tensor]


def cosine(query: Tensor, gallery: Tensor) -> Tensor:
    return pairwise_distance(query, gallery, 'cosine')


def fit(train: Data, gallery: Data, seed: int) -> dict[str, tuple[Rank, Trust]]:
    config = Config().links
    plain = replace(config, metric=False)
    _, *held_out, _ = hold_out_hard(train, gallery.x, plain, seed)
    outs = {
        name: (rank, Trust.fit(rank, *held_out, seed))
        for name, rank in [('cosine', cosine), ('k-reciprocal', k_reciprocal)]
    }
    trust = fit_trust(train.x, train.y, gallery.x, config, seed, True)
    links = LinkReRanker(train.x, train.y, gallery.x, config, seed, True)
    outs['links'] = (lambda q, g: links.rank(q, g, 'joint'), trust)
    return outs


def first(prob: Tensor, same: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the probability of each probe's first image, and whether it matches."""
    best, index = prob.masked_fill(~counts, -1).max(dim=1)
    return best, same.gather(1, index.view(-1, 1)).view(-1)


def closed(query: Data, gallery: Data, methods: dict[str, tuple[Rank, Trust]]) -> None:
    same, counts = pair_labels(query.y, gallery.y, query.camera, gallery.camera)
    rows = []
    for name, (rank, trust) in methods.items():
        distance = rank(query.x, gallery.x)
        probs = {'raw': (1 - distance).clamp(0, 1)}
        probs['calibrated'] = trust.probability(distance)
        scores = {'raw': -distance, 'calibrated': probs['calibrated']}
        accepted = probs['calibrated'] >= trust.threshold(FPR)
        for kind, prob in probs.items():
            all_pairs = calibration(prob[counts], same[counts]).error
            place = first(prob, same, counts)
            tpr = tpr_at_fpr(scores[kind][counts], same[counts], FPR)
            found = float(accepted[counts & ~same].double().mean())
            rows.append(
                {
                    'method': f'{name}, {kind}',
                    'ECE, all pairs': f'{all_pairs:.5f}',
                    'ECE, first image': f'{calibration(*place).error:.3f}',
                    'TPR at FPR 1e-3 (%)': 100 * tpr,
                    'FPR of the threshold': '' if kind == 'raw' else f'{found:.5f}',
                }
            )
    print(format_table(rows))


def opened(
    query: Data,
    gallery: Data,
    known: Tensor,
    methods: dict[str, tuple[Rank, Trust]],
) -> None:
    same, counts = pair_labels(query.y, gallery.y, query.camera, gallery.camera)
    rows = []
    for name, (rank, trust) in methods.items():
        distance = rank(query.x, gallery.x).masked_fill(~counts, torch.inf)
        nearest, index = distance.min(dim=1)
        match = same.gather(1, index.view(-1, 1)).view(-1)
        best = trust.probability(nearest)
        accepted = ~trust.none_of_these(best, UNKNOWN_FPR)
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
