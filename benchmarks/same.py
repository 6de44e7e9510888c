r"""Rankings by EC-GCN's fast form against those by the plain one.

    python benchmarks/same.py
    python benchmarks/same.py --features my_features.npz

The fast form takes one first product for all images, folded batch norm and a last
layer of the 1-hop images alone, in several batches at once; the plain one is
`ECGCN.forward`, one batch after the other. Both have the same weights, of the paper's
recipe. Images that changed places are `apart` by at most that distance.
"""

import argparse
from unittest.mock import patch

from common import load_splits

from torch_geometric_reid import GraphReRanker
from torch_geometric_reid.pipeline import connectivity
from torch_geometric_reid.pipeline.aggregate import GRAPHS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--features', help='instead of the embedded set')
    args = parser.parse_args()
    train, query, gallery = load_splits(args.features)
    ranker = GraphReRanker(recipe='paper').fit(train.x, train.y)
    print('| graph | probes | other rankings | apart | difference |')
    print('| --- | ---: | ---: | ---: | ---: |')
    for graph in GRAPHS:
        fast = ranker.rank(query.x, gallery.x, graph)
        with patch.object(connectivity, 'make_scorer', lambda model: model):
            plain = ranker.rank(query.x, gallery.x, graph)
        orders = [out.argsort(dim=1, stable=True) for out in (fast, plain)]
        others = int((orders[0] != orders[1]).any(dim=1).sum())
        before, after = (fast.gather(1, order) for order in orders)
        cells = [
            graph,
            f'{len(fast):,}',
            f'{others:,}',
            f'{float((before - after).abs().max()):.1e}',
            f'{float((fast - plain).abs().max()):.1e}',
        ]
        print(f'| {" | ".join(cells)} |', flush=True)


if __name__ == '__main__':
    main()
