from torch_geometric_reid.pipeline.aggregate import Features, aggregate
from torch_geometric_reid.pipeline.checkpoint import Checkpoint
from torch_geometric_reid.pipeline.compare import Comparison, compare
from torch_geometric_reid.pipeline.compose import rerank
from torch_geometric_reid.pipeline.config import (
    Config,
    ECConfig,
    FAConfig,
    LinkConfig,
    RankConfig,
)
from torch_geometric_reid.pipeline.connectivity import (
    Connectivity,
    connect,
    connect_all,
)
from torch_geometric_reid.pipeline.hold_out import hold_out
from torch_geometric_reid.pipeline.judged import Judged, fit_trusts, judge
from torch_geometric_reid.pipeline.link_contrast import LinkContrast
from torch_geometric_reid.pipeline.links import LinkReRanker
from torch_geometric_reid.pipeline.patch import Patch, PatchNodes
from torch_geometric_reid.pipeline.predict_links import predict_links
from torch_geometric_reid.pipeline.prepared_gallery import Matches
from torch_geometric_reid.pipeline.re_ranker import GraphReRanker
from torch_geometric_reid.pipeline.run_folder import save_run, to_yaml, write_rows
from torch_geometric_reid.pipeline.train import train_ec, train_fa
from torch_geometric_reid.pipeline.train_links import train_links
from torch_geometric_reid.pipeline.trust import Trust, fit_trust, hold_out_hard
from torch_geometric_reid.pipeline.tune import Trial, Tuning, tune

__all__ = [
    'Checkpoint',
    'Comparison',
    'Config',
    'Connectivity',
    'ECConfig',
    'FAConfig',
    'Features',
    'GraphReRanker',
    'Judged',
    'LinkConfig',
    'LinkContrast',
    'LinkReRanker',
    'Matches',
    'Patch',
    'PatchNodes',
    'RankConfig',
    'Trial',
    'Trust',
    'Tuning',
    'aggregate',
    'compare',
    'connect',
    'connect_all',
    'fit_trust',
    'fit_trusts',
    'hold_out',
    'hold_out_hard',
    'judge',
    'predict_links',
    'rerank',
    'save_run',
    'to_yaml',
    'train_ec',
    'train_fa',
    'train_links',
    'tune',
    'write_rows',
]
