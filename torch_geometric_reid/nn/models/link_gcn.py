import torch
from torch import Tensor
from torch.nn import BatchNorm1d, PReLU
from torch_geometric.nn.dense.linear import Linear
from torch_geometric.typing import Adj, OptTensor

from torch_geometric_reid.nn.conv import FAGCNConv


class LinkGCN(torch.nn.Module):
    r"""A small evaluation of connectivity network that reads, at each node of a
    probe's sub-graph, the features of the pair that the node and the probe form,
    instead of the node's own.

    Layers are :math:`\mathrm{ReLU}([\mathbf{Z}_l \, \Vert \, \mathbf{\tilde{A}}
    \mathbf{Z}_l] \mathbf{W}_l)` on inputs of zero mean and unit variance, which are
    also skipped into the classifier.

    Args:
        in_channels (int): Number of features of a pair.
        hidden_channels (int, optional): Size of each hidden layer.
            (default: :obj:`64`)
        num_layers (int, optional): Number of graph layers. (default: :obj:`2`)

    Shapes:
        - **input:** features of pairs :math:`(|\mathcal{V}|, F_{in})`, edge indices
          :math:`(2, |\mathcal{E}|)`, edge weights :math:`(|\mathcal{E}|)`, and the
          sampled batch's :obj:`num_sampled_nodes` :math:`[B, B k_1, 0]` *(optional)*
        - **output:** the logit of a link :math:`(B k_1)`, or of all nodes if
          :obj:`num_sampled_nodes` is not given
    """

    def __init__(
        self, in_channels: int, hidden_channels: int = 64, num_layers: int = 2
    ):
        super().__init__()
        self.in_channels = in_channels
        self.hidden_channels = hidden_channels
        self.num_layers = num_layers

        self.norm = BatchNorm1d(in_channels, affine=False)
        self.convs = torch.nn.ModuleList(
            FAGCNConv(hidden_channels if i else in_channels, hidden_channels)
            for i in range(num_layers)
        )
        out_channels = hidden_channels if num_layers else 0
        self.classifier = torch.nn.Sequential(
            Linear(out_channels + in_channels, hidden_channels),
            PReLU(),
            Linear(hidden_channels, 1),
        )

    def reset_parameters(self) -> None:
        r"""Resets all learnable parameters of the module."""
        self.norm.reset_parameters()
        for module in [*self.convs, *self.classifier]:
            module.reset_parameters()

    def forward(
        self,
        x: Tensor,
        edge_index: Adj,
        edge_weight: OptTensor = None,
        num_sampled_nodes: list[int] | None = None,
    ) -> Tensor:
        x = self.norm(x)
        outs = [x]
        for conv in self.convs:
            outs = [conv(outs[0], edge_index, edge_weight).relu(), x]
        out = torch.cat(outs, dim=1)
        if num_sampled_nodes is not None:
            start, size = num_sampled_nodes[:2]
            out = out[start : start + size]
        return self.classifier(out).view(-1)

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}({self.in_channels}, {self.hidden_channels}, '
            f'num_layers={self.num_layers})'
        )
