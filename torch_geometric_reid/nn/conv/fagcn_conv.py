from typing import Any

from torch import Tensor
from torch_geometric.nn.dense.linear import Linear
from torch_geometric.typing import Adj, OptPairTensor, OptTensor, Size

from torch_geometric_reid.nn.conv.affinity_messages import AffinityMessages


class FAGCNConv(AffinityMessages):
    r"""The feature aggregation layer, eq. (2) of `"Feature Aggregation and
    Connectivity for Object Re-Identification"
    <https://doi.org/10.1016/j.patcog.2024.110869>`_.

    .. math::
        \mathbf{x}^{\prime}_i = \left[ \mathbf{x}_i \, \Vert
        \sum_{j \in \mathcal{N}(i)} \tilde{a}_{ij} \, \mathbf{x}_j \right]
        \mathbf{W} + \mathbf{b}

    where :math:`\tilde{a}_{ij}` are the edge weights of
    :math:`\mathbf{\tilde{A}} = \mathbf{D}^{-1} (\mathbf{A} + \mathbf{I})`,
    self-loops included. The layer normalises nothing itself:
    :class:`~torch_geometric_reid.transforms.AffinityGraph` builds that graph.
    The two halves of :math:`\mathbf{W}` are :obj:`lin_root` and
    :obj:`lin_neighbor`; the activation is left to the model.

    Args:
        in_channels (int): Size of each input sample.
        out_channels (int): Size of each output sample.
        bias (bool, optional): If set to :obj:`False`, the layer will not learn
            an additive bias. (default: :obj:`True`)
        **kwargs (optional): Additional arguments of
            :class:`torch_geometric.nn.conv.MessagePassing`.

    Shapes:
        - **input:**
          node features :math:`(|\mathcal{V}|, F_{in})` or
          :math:`((|\mathcal{V}_s|, F_{in}), (|\mathcal{V}_t|, F_{in}))`
          if bipartite,
          edge indices :math:`(2, |\mathcal{E}|)` as a tensor, a column-sorted
          :class:`~torch_geometric.EdgeIndex` (fastest), or a transposed sparse
          matrix that holds the weights,
          edge weights :math:`(|\mathcal{E}|)` *(optional, default: one)*
        - **output:** node features :math:`(|\mathcal{V}|, F_{out})` or
          :math:`(|\mathcal{V}_t|, F_{out})` if bipartite
    """

    def __init__(
        self, in_channels: int, out_channels: int, bias: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)

        self.in_channels = in_channels
        self.out_channels = out_channels

        self.lin_root = Linear(
            in_channels, out_channels, bias=False, weight_initializer='glorot'
        )
        self.lin_neighbor = Linear(
            in_channels,
            out_channels,
            bias=bias,
            weight_initializer='glorot',
            bias_initializer='zeros',
        )

        self.reset_parameters()

    def reset_parameters(self) -> None:
        super().reset_parameters()
        self.lin_root.reset_parameters()
        self.lin_neighbor.reset_parameters()

    def forward(
        self,
        x: Tensor | OptPairTensor,
        edge_index: Adj,
        edge_weight: OptTensor = None,
        size: Size = None,
    ) -> Tensor:
        if isinstance(x, Tensor):
            x = (x, x)
        return self.combine(x[1], self.gather(x, edge_index, edge_weight, size))

    def combine(self, x: Tensor, gathered: Tensor) -> Tensor:
        r"""Returns :math:`[ \mathbf{X} \, \Vert \, \mathbf{\tilde{A}} \mathbf{X} ]
        \mathbf{W} + \mathbf{b}`, row by row.
        """
        return self.lin_root(x) + self.lin_neighbor(gathered)
