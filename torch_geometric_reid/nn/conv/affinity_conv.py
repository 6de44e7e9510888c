from torch import Tensor
from torch_geometric.typing import Adj, OptPairTensor, OptTensor, Size

from torch_geometric_reid.nn.conv.affinity_messages import AffinityMessages


class AffinityConv(AffinityMessages):
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
