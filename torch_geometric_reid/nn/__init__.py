from torch_geometric_reid.nn.conv import AffinityConv, ECGCNConv, FAGCNConv
from torch_geometric_reid.nn.loss import (
    FocalLoss,
    SupervisedContrastiveLoss,
    focal_loss,
    listwise_loss,
    supervised_contrastive_loss,
)
from torch_geometric_reid.nn.models import (
    ECGCN,
    FAGCN,
    FoldedECGCN,
    LinkGCN,
    NeighborMean,
)

__all__ = [
    'ECGCN',
    'FAGCN',
    'AffinityConv',
    'ECGCNConv',
    'FAGCNConv',
    'FocalLoss',
    'FoldedECGCN',
    'LinkGCN',
    'NeighborMean',
    'SupervisedContrastiveLoss',
    'focal_loss',
    'listwise_loss',
    'supervised_contrastive_loss',
]
