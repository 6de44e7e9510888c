from typing import Any, Final

import torch
from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric.nn.conv import MessagePassing
from torch_geometric.nn.dense.linear import Linear
from torch_geometric.typing import Adj, Size
from torch_geometric.utils import spmm

from torch_geometric_reid.nn.conv.neighbor_mean import neighbor_mean


class ECGCNConv(MessagePassing):
    r"""The evaluation of connectivity layer, eq. (11) of `"Feature Aggregation
    and Connectivity for Object Re-Identification"
    <https://doi.org/10.1016/j.patcog.2024.110869>`_.

    .. math::
        \mathbf{x}^{\prime}_i = \Big( \frac{1}{|\mathcal{N}(i)|}
        \sum_{j \in \mathcal{N}(i)} \mathbf{x}_j \Big) \mathbf{W} + \mathbf{b}

    A node without neighbours gives :math:`\mathbf{b}`. There is no root weight:
    whether a node reads itself is up to the graph's self-loops. Batch norm and
    activation are left to the model.

    Args:
        in_channels (int): Size of each input sample.
        out_channels (int): Size of each output sample.
        bias (bool, optional): If set to :obj:`False`, the layer will not learn
            an additive bias. (default: :obj:`True`)
        **kwargs (optional): Additional arguments of
            :class:`torch_geometric.nn.conv.MessagePassing`.

    Shapes:
        - **input:**
          node features :math:`(|\mathcal{V}|, F_{in})`,
          edge indices :math:`(2, |\mathcal{E}|)` as a tensor, a column-sorted
          :class:`~torch_geometric.EdgeIndex` (fastest), or a transposed sparse
          matrix of ones
        - **output:** node features :math:`(|\mathcal{V}|, F_{out})`
    """

    SUPPORTS_FUSED_EDGE_INDEX: Final[bool] = True

    def __init__(
        self, in_channels: int, out_channels: int, bias: bool = True, **kwargs: Any
    ) -> None:
        kwargs.setdefault('aggr', 'mean')
        super().__init__(**kwargs)

        self.in_channels = in_channels
        self.out_channels = out_channels

        self.lin = Linear(
            in_channels,
            out_channels,
            bias=bias,
            weight_initializer='glorot',
            bias_initializer='zeros',
        )

        self.reset_parameters()

    def reset_parameters(self) -> None:
        super().reset_parameters()
        self.lin.reset_parameters()

    @property
    def multiplies_first(self) -> bool:
        r"""Whether the mean of products is taken, which is the product of means but
        needs less to be kept for the gradient.
        """
        return self.aggr == 'mean' and self.out_channels <= self.in_channels

    def forward(self, x: Tensor, edge_index: Adj, size: Size = None) -> Tensor:
        if not self.multiplies_first:
            return self.lin(self.gather(x, edge_index, size))
        out = self.gather(x @ self.lin.weight.t(), edge_index, size)
        return out if self.lin.bias is None else out + self.lin.bias

    def gather(self, x: Tensor, edge_index: Adj, size: Size = None) -> Tensor:
        r"""Returns the neighbours' means, which hold no parameters."""
        if torch.compiler.is_compiling() and isinstance(edge_index, EdgeIndex):
            edge_index = edge_index.as_tensor()

        # propagate_type: (x: Tensor)
        return self.propagate(edge_index, x=x, size=size)

    def message(self, x_j: Tensor) -> Tensor:
        return x_j

    def message_and_aggregate(self, edge_index: Adj, x: Tensor) -> Tensor:
        if isinstance(edge_index, EdgeIndex) and self.aggr == 'mean':
            return neighbor_mean(x, edge_index)
        if isinstance(edge_index, EdgeIndex):
            return edge_index.matmul(x, reduce=self.aggr, transpose=True)
        return spmm(edge_index, x, reduce=self.aggr)
