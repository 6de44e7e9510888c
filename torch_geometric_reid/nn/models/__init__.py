from torch_geometric_reid.nn.models.ecgcn import ECGCN
from torch_geometric_reid.nn.models.fagcn import FAGCN
from torch_geometric_reid.nn.models.folded_ecgcn import FoldedECGCN
from torch_geometric_reid.nn.models.link_gcn import LinkGCN
from torch_geometric_reid.nn.models.neighbor_mean import NeighborMean

__all__ = ['ECGCN', 'FAGCN', 'FoldedECGCN', 'LinkGCN', 'NeighborMean']
