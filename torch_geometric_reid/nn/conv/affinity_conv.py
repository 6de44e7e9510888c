from typing import Any, Final

import torch
from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric.nn.conv import MessagePassing
from torch_geometric.typing import Adj, OptPairTensor, OptTensor, Size
from torch_geometric.utils import spmm


class AffinityConv(MessagePassing):
    r"""The sum over neighbours, weighted by the edges,

    .. math::
        \mathbf{x}^{\prime}_i = \sum_{j \in \mathcal{N}(i)} \tilde{a}_{ij} \,
        \mathbf{x}_j,

    a mean on the graph of
    :class:`~torch_geometric_reid.transforms.AffinityGraph`, whose weights into a node
    sum to one. It has no parameters, and on a column-sorted
    :class:`~torch_geometric.EdgeIndex` holds no message of an edge.

    Args:
        **kwargs (optional): Additional arguments of
            :class:`torch_geometric.nn.conv.MessagePassing`.

    Shapes:
        - **input:** as of :class:`~torch_geometric_reid.nn.FAGCNConv`
        - **output:** node features :math:`(|\mathcal{V}|, F_{in})` or
          :math:`(|\mathcal{V}_t|, F_{in})` if bipartite
    """

    SUPPORTS_FUSED_EDGE_INDEX: Final[bool] = True

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault('aggr', 'add')
        super().__init__(**kwargs)

    def forward(
        self,
        x: Tensor | OptPairTensor,
        edge_index: Adj,
        edge_weight: OptTensor = None,
        size: Size = None,
    ) -> Tensor:
        if isinstance(x, Tensor):
            x = (x, x)
        return self.gather(x, edge_index, edge_weight, size)

    def gather(
        self,
        x: OptPairTensor,
        edge_index: Adj,
        edge_weight: OptTensor = None,
        size: Size = None,
    ) -> Tensor:
        r"""Returns :math:`\mathbf{\tilde{A}} \mathbf{X}`, which holds no
        parameters.
        """
        if torch.compiler.is_compiling() and isinstance(edge_index, EdgeIndex):
            edge_index = edge_index.as_tensor()

        # propagate_type: (x: OptPairTensor, edge_weight: OptTensor)
        return self.propagate(edge_index, x=x, edge_weight=edge_weight, size=size)

    def message(self, x_j: Tensor, edge_weight: OptTensor) -> Tensor:
        return x_j if edge_weight is None else edge_weight.view(-1, 1) * x_j

    def message_and_aggregate(
        self,
        edge_index: Adj,
        x: OptPairTensor,
        edge_weight: OptTensor,
    ) -> Tensor:
        if isinstance(edge_index, EdgeIndex):
            return edge_index.matmul(
                other=x[0],
                input_value=edge_weight,
                reduce=self.aggr,
                transpose=True,
            )
        return spmm(edge_index, x[0], reduce=self.aggr)
