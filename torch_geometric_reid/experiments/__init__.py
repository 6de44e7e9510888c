r"""Every table and figure of the paper, and the controls that it lacks."""

from torch_geometric_reid.experiments.cache import Cache
from torch_geometric_reid.experiments.controls import controls
from torch_geometric_reid.experiments.data import ReIDData, load_data
from torch_geometric_reid.experiments.lab import Lab
from torch_geometric_reid.experiments.pictures import ranklist, tsne
from torch_geometric_reid.experiments.result import (
    Result,
    Row,
    Value,
    draw,
    write_csv,
)
from torch_geometric_reid.experiments.sweeps import gamma, k, k1, weight
from torch_geometric_reid.experiments.tables import ablation, table2, table3

__all__ = [
    'Cache',
    'Lab',
    'ReIDData',
    'Result',
    'Row',
    'Value',
    'ablation',
    'controls',
    'draw',
    'gamma',
    'k',
    'k1',
    'load_data',
    'ranklist',
    'table2',
    'table3',
    'tsne',
    'weight',
    'write_csv',
]
