r"""Re-rankers that need no training."""

from torch_geometric_reid.rerank.expanded_cross_neighborhood import (
    expanded_cross_neighborhood,
)
from torch_geometric_reid.rerank.fixed_gallery import KReciprocal
from torch_geometric_reid.rerank.gcr import gcr, propagate_features
from torch_geometric_reid.rerank.gnn import gnn
from torch_geometric_reid.rerank.k_reciprocal import (
    k_reciprocal,
    k_reciprocal_from_distance,
    k_reciprocal_topk,
)
from torch_geometric_reid.rerank.link_profile import link_profiles, profile
from torch_geometric_reid.rerank.query_expansion import (
    expand_features,
    query_expansion,
)

__all__ = [
    'KReciprocal',
    'expand_features',
    'expanded_cross_neighborhood',
    'gcr',
    'gnn',
    'k_reciprocal',
    'k_reciprocal_from_distance',
    'k_reciprocal_topk',
    'link_profiles',
    'profile',
    'propagate_features',
    'query_expansion',
]
