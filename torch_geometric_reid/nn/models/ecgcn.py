from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import BatchNorm1d, PReLU
from torch_geometric.nn.dense.linear import Linear
from torch_geometric.typing import Adj

from torch_geometric_reid.nn.conv import ECGCNConv
from torch_geometric_reid.nn.models.norm_relu_linear import norm_relu_linear


class ECGCN(torch.nn.Module):
    r"""The evaluation of connectivity network, eq. (11) of `"Feature Aggregation
    and Connectivity for Object Re-Identification"
    <https://doi.org/10.1016/j.patcog.2024.110869>`_.

    .. math::
        \mathbf{Z}_{l+1} = \mathrm{ReLU} \big( \mathrm{BN} \big(
        \mathbf{D}^{-1} \mathbf{A} \, \mathbf{Z}_l \mathbf{W}_l \big) \big)

    Three linear layers with per-channel PReLU between them then tell, for each
    1-hop gallery image of a probe, whether it shows the probe's identity.

    Args:
        in_channels (int): Size of the features.
        hidden_channels (int): Size of each hidden layer.
        num_layers (int, optional): Number of graph layers.
            (default: :obj:`5`)
        conv (callable, optional): Makes a graph layer from its input size, its
            output size and :obj:`bias`. With PyG's
            :class:`~torch_geometric.nn.SAGEConv` the features of the node
            itself are concatenated to its neighbours' mean.
            (default: :class:`~torch_geometric_reid.nn.ECGCNConv`)

    Shapes:
        - **input:** centred features :math:`(|\mathcal{V}|, F_{in})`, edge indices
          :math:`(2, |\mathcal{E}|)`, and the sampled batch's
          :obj:`num_sampled_nodes` :math:`[B, B k_1, R]` *(optional)*
        - **output:** logits (no link, link) of shape :math:`(B k_1, 2)`, or of all
          nodes if :obj:`num_sampled_nodes` is not given
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        num_layers: int = 5,
        conv: Callable[..., torch.nn.Module] = ECGCNConv,
    ):
        super().__init__()
        self.in_channels = in_channels
        self.hidden_channels = hidden_channels
        self.num_layers = num_layers

        sizes = [in_channels] + [hidden_channels] * num_layers
        self.convs = torch.nn.ModuleList(
            conv(sizes[i], sizes[i + 1], bias=False) for i in range(num_layers)
        )
        self.norms = torch.nn.ModuleList(
            BatchNorm1d(hidden_channels) for _ in range(num_layers)
        )
        self.classifier = torch.nn.Sequential(
            Linear(sizes[-1], hidden_channels),
            PReLU(hidden_channels),
            Linear(hidden_channels, hidden_channels),
            PReLU(hidden_channels),
            Linear(hidden_channels, 2),
        )

    def reset_parameters(self) -> None:
        r"""Resets all learnable parameters of the module."""
        for module in [*self.convs, *self.norms]:
            module.reset_parameters()
        for layer in self.classifier:
            layer.reset_parameters()

    def forward(
        self,
        x: Tensor,
        edge_index: Adj,
        num_sampled_nodes: list[int] | None = None,
    ) -> Tensor:
        return self._connect(
            self.convs[0](x, edge_index), edge_index, num_sampled_nodes
        )

    def forward_nodes(
        self,
        x: Tensor,
        n_id: Tensor,
        batch: Tensor,
        edge_index: Adj,
        num_sampled_nodes: list[int],
    ) -> Tensor:
        r"""Returns the logits of a sampled batch from the features of all images:
        those of :math:`\mathbf{x}_i - \mathbf{x}_p`, up to rounding.

        Where there are no more images than nodes, the first product is taken of the
        images, and no features of nodes are kept for its gradient.

        Args:
            x (torch.Tensor): The features of all images :math:`(N, F_{in})`.
            n_id (torch.Tensor): The nodes' images :math:`(|\mathcal{V}|)`, the
                probes' first.
            batch (torch.Tensor): The position of each node's probe
                :math:`(|\mathcal{V}|)`.
            edge_index (torch.Tensor or EdgeIndex): The edges.
            num_sampled_nodes (list): See above.

        Returns:
            The logits (no link, link) of shape :math:`(B k_1, 2)`.
        """
        first = cast(Any, self.convs[0])
        if x.size(0) > n_id.numel() or not _projects(first, x):
            return self(_center(x[n_id], batch), edge_index, num_sampled_nodes)
        x = F.embedding(n_id, x @ first.lin.weight.t())
        x = first.gather(x - F.embedding(batch, x[: num_sampled_nodes[0]]), edge_index)
        return self._connect(x, edge_index, num_sampled_nodes)

    def _connect(
        self, x: Tensor, edge_index: Adj, num_sampled_nodes: list[int] | None
    ) -> Tensor:
        rows = slice(None)
        if num_sampled_nodes is not None:
            rows = slice(num_sampled_nodes[0], sum(num_sampled_nodes[:2]))
        norms, linear = cast(Any, self.norms), cast(Any, self.classifier[0])
        for norm, conv in zip(norms, cast(Any, self.convs)[1:], strict=False):
            if _is_lean(norm, conv, x):
                x = norm_relu_linear(x, norm, conv.lin.weight)
                x = conv.gather(x, edge_index)
            else:
                x = conv(norm(x).relu_(), edge_index)
        if _is_lean(norms[-1], linear, x):
            x = norm_relu_linear(x, norms[-1], linear.weight, rows) + linear.bias
        else:
            x = linear(norms[-1](x)[rows].relu_())
        return self.classifier[1:](x)

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}({self.in_channels}, {self.hidden_channels}, '
            f'num_layers={self.num_layers})'
        )


def _center(x: Tensor, batch: Tensor) -> Tensor:
    return x - x[batch]


def _has_hooks(module: torch.nn.Module) -> bool:
    return any(
        getattr(module, f'_{kind}')
        for kind in (
            'forward_hooks',
            'forward_pre_hooks',
            'backward_hooks',
            'backward_pre_hooks',
        )
    )


def _projects(first: Any, x: Tensor) -> bool:
    # Whether the first layer can be taken apart: as it was made, without hooks. In
    # low precision a difference of products is far less exact than a product of
    # differences.
    return (
        type(first) is ECGCNConv
        and first.multiplies_first
        and first.lin.bias is None
        and not _has_hooks(first)
        and not torch.is_autocast_enabled(x.device.type)
    )


def _is_lean(norm: Any, layer: Any, x: Tensor) -> bool:
    # Whether the two can be one function in training: as they were made, without hooks.
    if isinstance(layer, ECGCNConv):
        fits = type(layer) is ECGCNConv and layer.multiplies_first
        fits = fits and layer.lin.bias is None
    else:
        fits = isinstance(layer, Linear) and layer.bias is not None
    return (
        fits
        and type(norm) is BatchNorm1d
        and norm.training
        and norm.track_running_stats
        and norm.affine
        and not (_has_hooks(norm) or _has_hooks(layer))
        and not torch.is_autocast_enabled(x.device.type)
        and not torch.compiler.is_compiling()
    )
