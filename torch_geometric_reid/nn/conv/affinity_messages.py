from typing import Any, Final

import torch
from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric.nn.conv import MessagePassing
from torch_geometric.typing import Adj, OptPairTensor, OptTensor, Size
from torch_geometric.utils import spmm


class AffinityMessages(MessagePassing):
    r"""Sums of neighbours' features, weighted by the edges, for layers that derive
    from it.

    PyG compiles a layer's :obj:`propagate` when its class is first made, and an
    explainer goes back to the one that the class had before. Of a subclass of a class
    that was made, that is the compiled one of its parent, which explains nothing. So
    this class is not made, and its layers do not derive from each other.
    """

    SUPPORTS_FUSED_EDGE_INDEX: Final[bool] = True

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault('aggr', 'add')
        super().__init__(**kwargs)

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
