r"""Evaluation of object re-identification."""

from torch_geometric_reid.metrics.evaluation import Evaluation
from torch_geometric_reid.metrics.functional import evaluate, evaluate_topk
from torch_geometric_reid.metrics.metric import ReIDMetric

__all__ = ['Evaluation', 'ReIDMetric', 'evaluate', 'evaluate_topk']
