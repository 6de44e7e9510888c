import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.typing import Adj, OptTensor

from torch_geometric_reid.nn.conv import AffinityConv


class NeighborMean(torch.nn.Module):
    r"""The untrained control of :class:`~torch_geometric_reid.nn.FAGCN`: the
    neighbours' weighted mean :math:`\mathbf{\tilde{A}} \mathbf{X}`, alone or
    behind the features themselves, of unit length. It has no parameters.

    Args:
        concat (bool, optional): If set to :obj:`True`, gives
            :math:`[ \mathbf{X} \, \Vert \, \mathbf{\tilde{A}} \mathbf{X} ]`, the
            input of FA-GCN's first matrix product. (default: :obj:`False`)

    Shapes:
        - **input:** as of :class:`~torch_geometric_reid.nn.FAGCN`
        - **output:** features :math:`(N, d)`, or :math:`(N, 2d)` with
          :obj:`concat`
    """

    num_layers = 1

    def __init__(self, concat: bool = False):
        super().__init__()
        self.concat = concat
        self.conv = AffinityConv()

    def forward(
        self, x: Tensor, edge_index: Adj, edge_weight: OptTensor = None
    ) -> Tensor:
        return self.encode(x, edge_index, edge_weight)

    def encode(
        self, x: Tensor, edge_index: Adj, edge_weight: OptTensor = None
    ) -> Tensor:
        r"""Returns the new features, of unit length."""
        return self.encode_rows(x, self.conv(x, edge_index, edge_weight))

    def encode_rows(self, x: Tensor, gathered: Tensor) -> Tensor:
        r"""Returns the new features of single rows, see
        :meth:`FAGCN.encode_rows <torch_geometric_reid.nn.FAGCN.encode_rows>`.
        """
        return F.normalize(torch.cat([x, gathered], dim=1) if self.concat else gathered)
