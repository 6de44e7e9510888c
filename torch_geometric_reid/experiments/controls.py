r"""What FA-GCN has to beat."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from torch import Tensor

from torch_geometric_reid.experiments import published
from torch_geometric_reid.experiments.lab import Lab, Ranker, methods, with_graph
from torch_geometric_reid.experiments.published import choose
from torch_geometric_reid.experiments.result import Result, Row, beside
from torch_geometric_reid.nn import NeighborMean
from torch_geometric_reid.pipeline import Config, aggregate
from torch_geometric_reid.pipeline.train import make_affinity
from torch_geometric_reid.rerank import gnn, query_expansion


def controls(lab: Lab) -> Result:
    r"""Untrained controls, which the paper lacks: the neighbours' mean
    :math:`\mathbf{\tilde{A}} \mathbf{F}` alone and behind the features, FA-GCN with
    random weights, :math:`\alpha` query expansion and GNN re-ranking.

    Args:
        lab (Lab): The lab.
    """
    figures = choose(published.R50, lab.data.name)
    rows = []
    for label, graph, config, rank in _variants(lab):
        values = lab.measure(config, rank)
        published_row = beside(figures, label)
        rows.append(Row({'method': label, 'graph': graph}, values, published_row))
    return Result(
        'controls',
        'Untrained controls beside FA-GCN',
        rows,
        lab.data.name,
        figures.source,
        ['GNN re-ranking takes all probes as references of each other'],
    )


def _variants(lab: Lab) -> Iterator[tuple[str, str, Config, Ranker | None]]:
    stages = methods(lab.config)
    fa = lab.config.fa
    assert fa is not None
    untrained = replace(stages['+ FA'], fa=replace(fa, steps=0))
    yield 'baseline', '-', stages['baseline'], None
    for graph in lab.graphs:
        for label, concat in (('A~F', False), ('[F, A~F]', True)):
            config = with_graph(stages['+ FA'], graph)
            yield label, graph, config, partial(neighbor_mean, lab, concat)
        yield 'FA, random W', graph, with_graph(untrained, graph), None
        yield '+ FA', graph, with_graph(stages['+ FA'], graph), None
    x = lab.features(stages['baseline'])
    for label, database in (('alpha-QE', False), ('alpha-QE, database too', True)):
        expanded = query_expansion(x.query, x.gallery, database=database)
        yield label, '-', stages['baseline'], partial(_always, expanded)
    joint = gnn(x.query, x.gallery)
    yield 'GNN re-ranking', 'joint', stages['baseline'], partial(_always, joint)


def neighbor_mean(lab: Lab, concat: bool, config: Config) -> Tensor:
    r"""Returns the distances of the neighbours' mean, alone or behind the features.

    Args:
        lab (Lab): The lab.
        concat (bool): Whether it stands behind the features.
        config (Config): The options.
    """
    assert config.fa is not None
    query, gallery, _ = lab.features(replace(config, fa=None))
    affinity = make_affinity(config.fa)
    model = NeighborMean(concat)
    return aggregate(model, query, gallery, affinity, config.graph).distance()


def _always(distance: Tensor, config: Config) -> Tensor:
    return distance
