import torch
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform


class ConnectivityLabel(BaseTransform):
    r"""Labels each pair of a probe and a 1-hop image of a sampled batch: do they
    show the same identity? For training only.

    Reads :obj:`y` :math:`(|\mathcal{V}|)`, :obj:`batch` :math:`(|\mathcal{V}|)` and
    :obj:`num_sampled_nodes` :math:`[B, B k_1, R]`; adds :obj:`edge_label_index`
    :math:`(2, B k_1)`, the pairs' positions, and :obj:`edge_label`
    :math:`(B k_1)`, one for the same identity and zero otherwise.
    """

    def forward(self, data: Data) -> Data:
        start, num_pairs = data.num_sampled_nodes[:2]
        one_hop = torch.arange(start, start + num_pairs, device=data.batch.device)
        probe = data.batch[one_hop]
        data.edge_label_index = torch.stack([probe, one_hop])
        data.edge_label = (data.y[probe] == data.y[one_hop]).to(torch.long)
        return data
