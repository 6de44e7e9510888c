"""What several benchmarks share."""

from torch import Tensor
from torch_geometric.data import Data

from torch_geometric_reid.cli.rerank import METHODS
from torch_geometric_reid.datasets import Omniglot242, load_features
from torch_geometric_reid.nn import NeighborMean
from torch_geometric_reid.pipeline import aggregate
from torch_geometric_reid.transforms import AffinityGraph


def load_splits(file: str | None) -> list[Data]:
    """Returns training images, probes and gallery of a file or the embedded set."""
    return [
        Omniglot242(split)[0] if file is None else load_features(file, split)
        for split in ('train', 'query', 'gallery')
    ]


def untrained(query: Data, gallery: Data) -> dict[str, Tensor]:
    """Returns the distances of everything that needs no training."""
    outs = {name: method(query.x, gallery.x) for name, method in METHODS.items()}
    graph = (query.x, gallery.x, AffinityGraph(5), 'joint')
    outs['mean'] = aggregate(NeighborMean(), *graph).distance()
    return outs
