r"""What each part of the recipe of learned links is worth, and the choice of its
options: each is changed by itself.

    python benchmarks/links_ablation.py                       # the embedded set
    python benchmarks/links_ablation.py set.npz --seeds 1     # a file with splits
    python benchmarks/links_ablation.py --held-out            # no test identity
    python benchmarks/links_ablation.py --held-out 0.2        # a fifth is held out

Printed are mAP and Rank-1 in percent with the joint graph, means over seeds. With
`--held-out`, half of the training identities, or another share, is held out in the
place of probes and gallery. A backbone has seen their images, which are far too easy
for it, so each feature is moved away from the mean of its identity, all by one factor,
until the baseline is down at 70 mAP. This is another way to make features harder than
that of the recipe, which would otherwise be tested on its own assumptions.
"""

import argparse
from statistics import mean

import torch
import torch.nn.functional as F
from common import load_splits, untrained
from torch import Tensor
from torch_geometric.data import Data

from torch_geometric_reid import Config, GraphReRanker
from torch_geometric_reid.distance import pairwise_distance
from torch_geometric_reid.metrics import evaluate
from torch_geometric_reid.pipeline import LinkConfig, hold_out
from torch_geometric_reid.transforms.identity_metric import within_identity
from torch_geometric_reid.transforms.pair_features import PAIR_FEATURES
from torch_geometric_reid.transforms.refine_pairs import REFINED_FEATURES

TARGET = 70.0
CHANGES = {
    'recipe': [{}],
    'contrast': [{'contrast': c} for c in (0.0, 1.0, 10.0)],
    'metric': [{'metric': a} for a in (0.0, 0.125, 0.375, 0.5)],
    'degradation': [{'degrade': False}, {'degrade': False, 'metric': 0.0}],
    'layers': [{'num_layers': n} for n in (0, 1, 4)],
    'beta': [{'beta': b} for b in (1.0, 2.0, 4.0, 6.0)],
    'weights': [
        {'first_place': False},
        {'weights': (1.0, 0.0, 0.0, 0.0)},
        {'weights': (1.0, 0.0, 0.1, 0.1)},
        {'weights': (1.0, 0.0, 0.2, 0.2)},
        {'weights': (1.0, 0.0, 0.4, 0.4)},
        {'weights': (1.0, 0.2, 0.2, 0.2)},
        {'weights': (0.0, 0.0, 1.0, 1.0)},
    ],
    'k': [{'k': 30}, {'k': 100}],
    'sampler and loss': [
        {'sampler': 'hgs'},
        {'loss': 'focal'},
        {'sampler': 'hgs', 'loss': 'focal'},
    ],
    'features': [
        *(
            {'without': (f, f'{f}_before')}
            for f in REFINED_FEATURES[: len(PAIR_FEATURES)]
        ),
        *({'without': (f,)} for f in REFINED_FEATURES[2 * len(PAIR_FEATURES) :]),
    ],
}


def spread(query: Data, gallery: Data) -> tuple[Data, Data]:
    """Returns images farther from their identity's mean."""
    x, y = torch.cat([query.x, gallery.x]), torch.cat([query.y, gallery.y])
    residual = within_identity(x, y)[1]
    low, high = 1.0, 8.0
    for _ in range(12):
        factor = (low + high) / 2
        parts = F.normalize(x + (factor - 1) * residual).split(
            [query.num_nodes, gallery.num_nodes]
        )
        query.x, gallery.x = parts
        if scores(pairwise_distance(*parts), query, gallery)[0] > TARGET:
            low = factor
        else:
            high = factor
    return query, gallery


def scores(distance: Tensor, query: Data, gallery: Data) -> tuple[float, float]:
    result = evaluate(distance, query.y, gallery.y, query.camera, gallery.camera)
    return 100 * result.mAP, 100 * result.rank(1)


def load(
    file: str | None, fraction: float | None, seed: int
) -> tuple[Data, Data, Data]:
    train, query, gallery = load_splits(file)
    if fraction is None:
        return train, query, gallery
    train, query, gallery = hold_out(train, fraction, seed=seed)
    return train, *spread(query, gallery)


def rivals(train: Data, query: Data, gallery: Data, seed: int) -> dict[str, Tensor]:
    outs = untrained(query, gallery)
    ranker = GraphReRanker(Config(seed=seed), 'paper').fit(train.x, train.y)
    outs['paper'] = ranker.rank(query.x, gallery.x, 'joint')
    return outs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('file', nargs='?')
    parser.add_argument('--held-out', type=float, nargs='?', const=1 / 2)
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--only', choices=CHANGES, action='append')
    args = parser.parse_args()
    sets = [load(args.file, args.held_out, seed) for seed in range(args.seeds)]

    def show(name: str, results: list[tuple[float, float]]) -> None:
        values = ' / '.join(
            f'{mean(column):.2f}' for column in zip(*results, strict=True)
        )
        print(f'{name}: {values}', flush=True)

    if args.only is None:
        found = [rivals(*splits, seed) for seed, splits in enumerate(sets)]
        for name in found[0]:
            pairs = zip(found, sets, strict=True)
            show(name, [scores(out[name], *splits[1:]) for out, splits in pairs])
    for part in args.only or CHANGES:
        for change in CHANGES[part]:
            results = []
            for seed, (train, query, gallery) in enumerate(sets):
                config = Config(links=LinkConfig(**change), seed=seed)
                ranker = GraphReRanker(config).fit(train.x, train.y, gallery.x)
                out = ranker.rank(query.x, gallery.x, 'joint')
                results.append(scores(out, query, gallery))
            listed = ', '.join(f'{key}={value}' for key, value in change.items())
            show(f'{part}: {listed or "as it is"}', results)


if __name__ == '__main__':
    main()
