from torch_geometric_reid.pipeline.aggregate import Features, aggregate
from torch_geometric_reid.pipeline.compare import Comparison, compare
from torch_geometric_reid.pipeline.compose import rerank
from torch_geometric_reid.pipeline.config import (
    Config,
    ECConfig,
    FAConfig,
    RankConfig,
)
from torch_geometric_reid.pipeline.connect import Connectivity, connect, connect_all
from torch_geometric_reid.pipeline.hold_out import hold_out
from torch_geometric_reid.pipeline.patch import Patch, PatchFeatures
from torch_geometric_reid.pipeline.re_ranker import GraphReRanker
from torch_geometric_reid.pipeline.run_folder import save_run, to_yaml, write_rows
from torch_geometric_reid.pipeline.train import train_ec, train_fa

__all__ = [
    'Comparison',
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
    'compare',
    'connect',
    'connect_all',
    'hold_out',
    'rerank',
    'save_run',
    'to_yaml',
    'train_ec',
    'train_fa',
    'write_rows',
]
