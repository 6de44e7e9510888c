from torch_geometric_reid.pipeline.aggregate import Features, aggregate
from torch_geometric_reid.pipeline.config import (
    Config,
    ECConfig,
    FAConfig,
    RankConfig,
)
from torch_geometric_reid.pipeline.connect import Connectivity, connect
from torch_geometric_reid.pipeline.patch import Patch, PatchFeatures
from torch_geometric_reid.pipeline.re_ranker import GraphReRanker
from torch_geometric_reid.pipeline.train import train_ec, train_fa

__all__ = [
    'Config',
    'Connectivity',
    'ECConfig',
    'FAConfig',
    'Features',
    'GraphReRanker',
    'Patch',
    'PatchFeatures',
    'RankConfig',
    'aggregate',
    'connect',
    'train_ec',
    'train_fa',
]
