r"""Every re-ranker alone, and behind FA-GCN and EC-GCN, with the joint graph.

Alone, a re-ranker takes the backbone's features. Behind both networks it takes
FA-GCN's, and the connectivity is added to its distances as in eq. (13).

python benchmarks/rerank_accuracy.py                # the embedded set
python benchmarks/rerank_accuracy.py set.npz        # a file with a split array
"""

import argparse

from common import load_splits
from torch import Tensor
from torch_geometric.data import Data

from torch_geometric_reid import Config, GraphReRanker
from torch_geometric_reid.cli.rerank import METHODS
from torch_geometric_reid.cli.table import format_table
from torch_geometric_reid.metrics import evaluate


def scores(distance: Tensor, query: Data, gallery: Data) -> str:
    result = evaluate(distance, query.y, gallery.y, query.camera, gallery.camera)
    values = (result.mAP, result.rank(1), result.mINP)
    return ' / '.join(f'{100 * value:.1f}' for value in values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('file', nargs='?')
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    train, query, gallery = load_splits(args.file)
    ranker = GraphReRanker(Config('paper', seed=args.seed)).fit(
        train.x, train.y, progress=True
    )
    features = ranker.aggregate(query.x, gallery.x, 'joint')
    connectivity = ranker.connect(features)
    rows = []
    for name, method in METHODS.items():
        alone = method(query.x, gallery.x)
        behind = ranker.fuse(method(features.query, features.gallery), connectivity)
        row = {'re-ranker': name, 'alone': scores(alone, query, gallery)}
        rows.append({**row, 'behind FA + EC': scores(behind, query, gallery)})
    print(format_table(rows))


if __name__ == '__main__':
    main()
