import torch
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform
from torch_geometric.typing import OptTensor


class EvaluateConnectivity(BaseTransform):
    r"""Predicts, for each 1-hop image of a sampled batch, whether it shows its
    probe's identity.

    Reads the centred :obj:`x` :math:`(|\mathcal{V}|, d)`, or :obj:`n_id` and
    :obj:`batch` where features of all images are given, :obj:`edge_index` and
    :obj:`num_sampled_nodes` :math:`[B, B k_1, R]`; adds :obj:`connectivity`
    :math:`(B, k_1)`, the probabilities of a link in rank order, and
    :obj:`connectivity_distance` :math:`(B, k_1)`, those of no link, the
    :math:`d_g` of eq. (13).

    Args:
        model (torch.nn.Module): A model that gives logits (no link, link) from
            :obj:`(x, edge_index, num_sampled_nodes)`, such as
            :class:`~torch_geometric_reid.nn.ECGCN`.
        x (torch.Tensor, optional): The features of all images :math:`(N, d)`, not
            centred, for a model with
            :meth:`~torch_geometric_reid.nn.ECGCN.forward_nodes`.
            (default: :obj:`None`)
    """

    def __init__(self, model: torch.nn.Module, x: OptTensor = None):
        self.model = model
        self.x = x

    @torch.no_grad()
    def forward(self, data: Data) -> Data:
        training = self.model.training
        self.model.eval()
        edges = (data.edge_index, data.num_sampled_nodes)
        if self.x is None:
            logits = self.model(data.x, *edges)
        else:
            logits = self.model.forward_nodes(self.x, data.n_id, data.batch, *edges)
        self.model.train(training)
        prob = logits.softmax(dim=1).view(data.num_sampled_nodes[0], -1, 2)
        data.connectivity_distance, data.connectivity = prob.unbind(dim=2)
        return data

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}({self.model})'
