from torch_geometric_reid.nn.conv.affinity_conv import AffinityConv
from torch_geometric_reid.nn.conv.ecgcn_conv import ECGCNConv
from torch_geometric_reid.nn.conv.fagcn_conv import FAGCNConv

__all__ = ['AffinityConv', 'ECGCNConv', 'FAGCNConv']
