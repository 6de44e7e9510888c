import torch
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform


class AggregateFeatures(BaseTransform):
    r"""Replaces features by a trained model's aggregated ones, of unit length.

    Reads :obj:`x` :math:`(N, d)`, :obj:`edge_index` and :obj:`edge_weight`;
    replaces :obj:`x`. The graph stays that of the old features.

    Args:
        model (torch.nn.Module): A model with a method
            :obj:`encode(x, edge_index, edge_weight)`, such as
            :class:`~torch_geometric_reid.nn.FAGCN`.
    """

    def __init__(self, model: torch.nn.Module):
        self.model = model

    @torch.no_grad()
    def forward(self, data: Data) -> Data:
        training = self.model.training
        self.model.eval()
        data.x = self.model.encode(data.x, data.edge_index, data.edge_weight)
        self.model.train(training)
        return data

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}({self.model})'
