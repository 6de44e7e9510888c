r"""Pictures of rankings: lists, features, curves, and a page of them all."""

from torch_geometric_reid.visualization.curves import plot_cmc, plot_curves
from torch_geometric_reid.visualization.ranked import (
    RankedList,
    ranked_list,
    select_probes,
)
from torch_geometric_reid.visualization.ranking_lists import plot_ranking_lists
from torch_geometric_reid.visualization.reliability import (
    plot_reliability,
    plot_roc,
)
from torch_geometric_reid.visualization.report import write_report
from torch_geometric_reid.visualization.report_probes import ProbeCard
from torch_geometric_reid.visualization.run_report import write_run_report
from torch_geometric_reid.visualization.separation import identity_distances
from torch_geometric_reid.visualization.tsne import plot_tsne

__all__ = [
    'ProbeCard',
    'RankedList',
    'identity_distances',
    'plot_cmc',
    'plot_curves',
    'plot_ranking_lists',
    'plot_reliability',
    'plot_roc',
    'plot_tsne',
    'ranked_list',
    'select_probes',
    'write_report',
    'write_run_report',
]
