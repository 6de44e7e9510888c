from torch_geometric_reid.nn.loss.contrastive import (
    SupervisedContrastiveLoss,
    supervised_contrastive_loss,
)
from torch_geometric_reid.nn.loss.focal import FocalLoss, focal_loss
from torch_geometric_reid.nn.loss.listwise import listwise_loss

__all__ = [
    'FocalLoss',
    'SupervisedContrastiveLoss',
    'focal_loss',
    'listwise_loss',
    'supervised_contrastive_loss',
]
