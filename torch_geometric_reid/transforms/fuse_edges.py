from torch_geometric import EdgeIndex
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform


class FuseEdges(BaseTransform):
    r"""Turns the edges of a sampled batch, which the samplers of this package
    sort by column, into an :class:`~torch_geometric.EdgeIndex`, so that a layer
    is one fused sparse product instead of a gather and a scatter.

    Reads :obj:`edge_index` :math:`(2, |\mathcal{E}|)` and replaces it.
    """

    def forward(self, data: Data) -> Data:
        num_nodes = data.num_nodes
        data.edge_index = EdgeIndex(
            data.edge_index, sparse_size=(num_nodes, num_nodes), sort_order='col'
        )
        return data
