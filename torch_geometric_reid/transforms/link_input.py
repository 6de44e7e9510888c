import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform

from torch_geometric_reid.transforms.neighbor_table import PairTable, listed_nodes


class LinkInput(BaseTransform):
    r"""Gives each node of a sampled batch the features of its pair with the probe,
    and each edge its weight.

    Reads :obj:`n_id`, :obj:`batch`, :obj:`edge_index` and :obj:`num_sampled_nodes`
    :math:`[B, B k_1, 0]` of a batch of 1-hop images only; adds :obj:`x`
    :math:`(B + B k_1, F)` and :obj:`edge_weight` :math:`(|\mathcal{E}|)`, the squared
    positive cosines of nodes, one for a self-loop, divided by their sum at the
    receiving node.

    Args:
        pairs (Data): The graph of
            :class:`~torch_geometric_reid.transforms.PairFeatures`, whose first
            feature is the cosine.
        keep (torch.Tensor, optional): The features that are given. By default, all.
            (default: :obj:`None`)
        gallery (LinkInput, optional): That of a gallery, if the graph is of probes
            that read from it; gallery images have the first numbers then.
            (default: :obj:`None`)
    """

    def __init__(
        self,
        pairs: Data,
        keep: Tensor | None = None,
        gallery: 'LinkInput | None' = None,
    ):
        self.weights: list[PairTable]
        num_rows = pairs.node_attr.size(0)
        self.first = 0 if gallery is None else gallery.node_attr.size(0)
        self.neighbor = listed_nodes(pairs)
        table = pairs.edge_attr.view(num_rows, -1, pairs.edge_attr.size(1))
        weight = table[:, :, 0].clamp(min=0).square()
        own = PairTable(self.neighbor, weight, self.first or num_rows, self.first)
        self.weights = [own] if gallery is None else [*gallery.weights, own]
        self.pair_attr: Tensor = table if keep is None else table[:, :, keep]
        self.node_attr: Tensor = (
            pairs.node_attr if keep is None else pairs.node_attr[:, keep]
        )

    def forward(self, data: Data) -> Data:
        num_probes, _, num_others = data.num_sampled_nodes
        if num_others > 0:
            raise ValueError(
                f"'data' needs 1-hop images only (got {num_others} 2-hop images)"
            )
        device = self.neighbor.device
        node = data.n_id.to(device)
        probe, image = node[:num_probes] - self.first, node[num_probes:]
        place = self._place(probe, image.view(num_probes, -1))
        pair = self.pair_attr[probe.view(-1, 1), place].flatten(0, 1)
        data.x = torch.cat([self.node_attr[probe], pair])

        row, col = data.edge_index.to(device)
        i, j = node[row], node[col]  # one lists the other, or both do
        weight = torch.maximum(self._weight(i, j), self._weight(j, i))
        weight = weight.masked_fill(row == col, 1)
        total = weight.new_zeros(node.numel()).index_add_(0, col, weight)
        data.edge_weight = weight / total.clamp(min=1e-12)[col]
        return data

    def _weight(self, row: Tensor, col: Tensor) -> Tensor:
        return torch.stack([table(row, col) for table in self.weights]).sum(dim=0)

    def _place(self, probe: Tensor, image: Tensor) -> Tensor:
        listed = self.neighbor[probe, : image.size(1)]
        if torch.equal(listed, image):  # the nearest, in order
            return torch.arange(image.size(1), device=image.device).expand_as(image)
        listed = self.neighbor[probe].unsqueeze(1)
        return (listed == image.unsqueeze(2)).to(torch.uint8).argmax(dim=2)
