from torch_geometric_reid.transforms.affinity_graph import AffinityGraph
from torch_geometric_reid.transforms.aggregate_features import AggregateFeatures
from torch_geometric_reid.transforms.center_probe import CenterProbe
from torch_geometric_reid.transforms.connectivity_label import ConnectivityLabel
from torch_geometric_reid.transforms.evaluate_connectivity import EvaluateConnectivity
from torch_geometric_reid.transforms.fuse_edges import FuseEdges
from torch_geometric_reid.transforms.identity_metric import IdentityMetric
from torch_geometric_reid.transforms.link_input import LinkInput
from torch_geometric_reid.transforms.matched_degradation import MatchedDegradation
from torch_geometric_reid.transforms.pair_features import PairFeatures
from torch_geometric_reid.transforms.read_nodes import ReadNodes
from torch_geometric_reid.transforms.refine_pairs import RefinePairs

__all__ = [
    'AffinityGraph',
    'AggregateFeatures',
    'CenterProbe',
    'ConnectivityLabel',
    'EvaluateConnectivity',
    'FuseEdges',
    'IdentityMetric',
    'LinkInput',
    'MatchedDegradation',
    'PairFeatures',
    'ReadNodes',
    'RefinePairs',
]
