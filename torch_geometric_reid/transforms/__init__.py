from torch_geometric_reid.transforms.affinity_graph import AffinityGraph
from torch_geometric_reid.transforms.aggregate_features import AggregateFeatures
from torch_geometric_reid.transforms.center_probe import CenterProbe
from torch_geometric_reid.transforms.connectivity_label import ConnectivityLabel
from torch_geometric_reid.transforms.evaluate_connectivity import EvaluateConnectivity
from torch_geometric_reid.transforms.fuse_edges import FuseEdges

__all__ = [
    'AffinityGraph',
    'AggregateFeatures',
    'CenterProbe',
    'ConnectivityLabel',
    'EvaluateConnectivity',
    'FuseEdges',
]
