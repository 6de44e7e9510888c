from torch_geometric_reid.datasets.fake import FakeReID
from torch_geometric_reid.datasets.features import FeatureDataset, load_features
from torch_geometric_reid.datasets.omniglot import Omniglot242

__all__ = [
    'FakeReID',
    'FeatureDataset',
    'Omniglot242',
    'load_features',
]
