r"""Graph re-ranking for object re-identification, as PyTorch Geometric
primitives.
"""

from torch_geometric_reid.pipeline import Config, GraphReRanker

__version__ = '0.1.0'

__all__ = ['Config', 'GraphReRanker']
