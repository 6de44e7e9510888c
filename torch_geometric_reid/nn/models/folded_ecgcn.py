from copy import deepcopy
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import BatchNorm1d
from torch_geometric import EdgeIndex

from torch_geometric_reid.nn.conv import ECGCNConv
from torch_geometric_reid.nn.conv.neighbor_mean import mean_weight, weighted_sum
from torch_geometric_reid.nn.models.ecgcn import ECGCN


class FoldedECGCN(torch.nn.Module):
    r"""A trained :class:`ECGCN` for inference, equal to it up to rounding but
    with less to compute:

    - batch norm, which is an affine map in evaluation mode, is folded into the
      weights;
    - the first layer's product :math:`\mathbf{X} \mathbf{W}_1` is taken once for
      all images by :meth:`project` instead of once for each sub-graph, since
      :math:`\mathbf{D}^{-1} \mathbf{A} (\mathbf{X} - \mathbf{1}
      \mathbf{x}_p^{\top}) \mathbf{W}_1 = \mathbf{D}^{-1} \mathbf{A} (\mathbf{X}
      \mathbf{W}_1 - \mathbf{1} \mathbf{x}_p^{\top} \mathbf{W}_1)`;
    - a neighbour's weight in the mean is computed once for all layers;
    - the last layer is taken at the 1-hop nodes only.

    Args:
        model (ECGCN): The trained model, of
            :class:`~torch_geometric_reid.nn.ECGCNConv` layers.

    Shapes:
        - **input:** projected and centred features
          :math:`(|\mathcal{V}|, F_{hidden})`, edges as a column-sorted
          :class:`~torch_geometric.EdgeIndex`, :obj:`num_sampled_nodes`
          :math:`[B, B k_1, R]`
        - **output:** logits (no link, link) :math:`(B k_1, 2)`

    Raises:
        ValueError: If the model has other layers.
    """

    def __init__(self, model: ECGCN):
        super().__init__()
        self.weights, self.biases = [], []
        for conv, module in zip(model.convs, model.norms, strict=True):
            norm = cast(BatchNorm1d, module)
            if type(conv) is not ECGCNConv:
                raise ValueError(
                    f"'model' needs layers of 'ECGCNConv' "
                    f"(got '{conv.__class__.__name__}')"
                )
            variance = cast(Tensor, norm.running_var)
            scale = norm.weight / (variance + norm.eps).sqrt()
            self.weights.append((conv.lin.weight * scale.view(-1, 1)).detach().t())
            mean = cast(Tensor, norm.running_mean)
            if conv.lin.bias is not None:
                mean = mean - conv.lin.bias
            self.biases.append((norm.bias - mean * scale).detach())
        self.classifier = deepcopy(model.classifier)
        self.eval()

    def project(self, x: Tensor) -> Tensor:
        r"""Returns :math:`\mathbf{X} \mathbf{W}_1`, with the scale of batch norm."""
        return x @ self.weights[0]

    def forward(
        self, x: Tensor, edge_index: EdgeIndex, num_sampled_nodes: list[int]
    ) -> Tensor:
        edges, near = self._edges(edge_index, x.dtype, num_sampled_nodes)
        first = near if len(self.weights) == 1 else edges
        x = weighted_sum(x, *first).add_(self.biases[0])
        return self._connect(x, edges, near)

    def forward_nodes(
        self,
        x: Tensor,
        n_id: Tensor,
        batch: Tensor,
        edge_index: EdgeIndex,
        num_sampled_nodes: list[int],
    ) -> Tensor:
        r"""Returns the logits of a sampled batch from the projected features of all
        images: those of centred ones, which are not made, up to rounding.

        Args:
            x (torch.Tensor): The projected features of all images
                :math:`(N, F_{hidden})`.
            n_id (torch.Tensor): The nodes' images :math:`(|\mathcal{V}|)`, the
                probes' first.
            batch (torch.Tensor): The position of each node's probe
                :math:`(|\mathcal{V}|)`.
            edge_index (EdgeIndex): The edges, see above.
            num_sampled_nodes (list): See above.

        Returns:
            The logits (no link, link) of shape :math:`(B k_1, 2)`.
        """
        num_probes, size = num_sampled_nodes[:2]
        edges, near = self._edges(edge_index, x.dtype, num_sampled_nodes)
        first = edges
        if len(self.weights) == 1:
            first, batch = near, batch[num_probes : num_probes + size]
        # A mean of centred features is that of features, less the probe's; without
        # neighbours there is nothing to subtract from.
        shift = torch.cat([-x[n_id[:num_probes]], x.new_zeros(1, x.size(1))])
        batch = batch.masked_fill(first.ptr.diff() == 0, num_probes)
        x = weighted_sum(x, first.ptr, n_id[first.row], first.weight)
        x += F.embedding(batch, shift.add_(self.biases[0]))
        return self._connect(x, edges, near)

    def _connect(self, x: Tensor, edges: '_Edges', near: '_Edges') -> Tensor:
        x.relu_()
        for i in range(1, len(self.weights)):
            x = weighted_sum(x, *(near if i == len(self.weights) - 1 else edges))
            x = torch.addmm(self.biases[i], x, self.weights[i]).relu_()
        return self.classifier(x)

    def _edges(
        self, edge_index: EdgeIndex, dtype: torch.dtype, num_sampled_nodes: list[int]
    ) -> tuple['_Edges', '_Edges']:
        # All of them, and those into the 1-hop nodes.
        start, size = num_sampled_nodes[:2]
        (ptr, row), _ = edge_index.get_csc()
        edges = _Edges(ptr, row, mean_weight(edge_index, dtype))
        ptr = ptr[start : start + size + 1]
        first, last = int(ptr[0]), int(ptr[-1])
        near = _Edges(ptr - first, row[first:last], edges.weight[first:last])
        return edges, near


class _Edges(NamedTuple):
    ptr: Tensor
    row: Tensor
    weight: Tensor
