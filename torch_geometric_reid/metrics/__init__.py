r"""Evaluation of object re-identification."""

from torch_geometric_reid.metrics.calibration import (
    Calibration,
    calibration,
)
from torch_geometric_reid.metrics.evaluation import Evaluation
from torch_geometric_reid.metrics.functional import evaluate, evaluate_topk
from torch_geometric_reid.metrics.graph_statistics import (
    GraphStatistics,
    graph_statistics,
)
from torch_geometric_reid.metrics.metric import ReIDMetric
from torch_geometric_reid.metrics.verification import (
    Roc,
    pair_labels,
    roc,
    threshold_at_fpr,
    tpr_at_fpr,
)

__all__ = [
    'Calibration',
    'Evaluation',
    'GraphStatistics',
    'ReIDMetric',
    'Roc',
    'calibration',
    'evaluate',
    'evaluate_topk',
    'graph_statistics',
    'pair_labels',
    'roc',
    'threshold_at_fpr',
    'tpr_at_fpr',
]
