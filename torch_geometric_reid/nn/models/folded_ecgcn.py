from typing import cast

import torch
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
        self.classifier = model.classifier

    def project(self, x: Tensor) -> Tensor:
        r"""Returns :math:`\mathbf{X} \mathbf{W}_1`, with the scale of batch norm."""
        return x @ self.weights[0]

    def forward(
        self, x: Tensor, edge_index: EdgeIndex, num_sampled_nodes: list[int]
    ) -> Tensor:
        start, size = num_sampled_nodes[:2]
        (colptr, row), _ = edge_index.get_csc()
        weight = mean_weight(edge_index, x.dtype)
        for i, bias in enumerate(self.biases):
            if i == len(self.weights) - 1:
                colptr = colptr[start : start + size + 1]
                first, last = int(colptr[0]), int(colptr[-1])
                row, weight = row[first:last], weight[first:last]
                colptr = colptr - first
            x = weighted_sum(x, colptr, row, weight)
            x = torch.addmm(bias, x, self.weights[i]) if i > 0 else x.add_(bias)
            x.relu_()
        return self.classifier(x)
