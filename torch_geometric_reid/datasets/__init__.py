from torch_geometric_reid.datasets.duke_mtmc_reid import DukeMTMCreID
from torch_geometric_reid.datasets.extract import extract_features
from torch_geometric_reid.datasets.fake import FakeReID
from torch_geometric_reid.datasets.features import FeatureDataset, load_features
from torch_geometric_reid.datasets.image_dataset import ImageDataset
from torch_geometric_reid.datasets.images import ImageList
from torch_geometric_reid.datasets.market1501 import Market1501
from torch_geometric_reid.datasets.omniglot import Omniglot242
from torch_geometric_reid.datasets.veri776 import VeRi776

__all__ = [
    'DukeMTMCreID',
    'FakeReID',
    'FeatureDataset',
    'ImageDataset',
    'ImageList',
    'Market1501',
    'Omniglot242',
    'VeRi776',
    'extract_features',
    'load_features',
]
