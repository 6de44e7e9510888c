r"""Tables 2, 3 and 6: what each stage gains."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from torch import Tensor

from torch_geometric_reid.distance import connectivity_rank
from torch_geometric_reid.experiments import published
from torch_geometric_reid.experiments.lab import Lab, methods, with_graph
from torch_geometric_reid.experiments.pictures import cards, report, worst_and_best
from torch_geometric_reid.experiments.published import Published, choose
from torch_geometric_reid.experiments.result import Result, Row, beside
from torch_geometric_reid.experiments.sweeps import lambda_curves
from torch_geometric_reid.pipeline import Config

RR_NOTE = '+ RR takes all probes as references of each other, whatever the graph'


def table2(lab: Lab, backbone: str = 'r50') -> Result:
    r"""Table 2: the baseline, FA-GCN, EC-GCN, both, and k-reciprocal re-ranking.

    Args:
        lab (Lab): The lab.
        backbone (str, optional): The backbone of the features, :obj:`"r50"` or
            :obj:`"r50-ibn"`, which chooses the published figures.
            (default: :obj:`"r50"`)
    """
    figures = choose(published.BACKBONES[backbone], lab.data.name)
    return _stages(lab, 'table2', 'Table 2: what each stage gains', figures)


def table3(lab: Lab) -> Result:
    r"""Table 3: that of :meth:`table2` beside the figures for VeRi-776.

    Args:
        lab (Lab): The lab.
    """
    figures = choose(
        {'veri776': published.R50['veri776']}, lab.data.name, fallback='veri776'
    )
    title = 'Table 3: what each stage gains, beside VeRi-776'
    return _stages(lab, 'table3', title, figures)


def ablation(lab: Lab) -> Result:
    r"""Table 6: samplers and losses of EC-GCN, and each over :math:`\lambda`, as
    the losses give probabilities of different scale.

    Args:
        lab (Lab): The lab.
    """
    variants = dict(_variants(lab.config))
    figures = choose(published.ABLATION, lab.data.name)
    title = 'Table 6: sampler and loss of EC-GCN'
    rows = []
    for name, config in variants.items():
        labels: dict[str, Any] = {'method': name, 'graph': config.graph}
        rows.append(Row(labels, lab.measure(config), beside(figures, name)))
    return Result(
        'ablation',
        title,
        rows,
        lab.data.name,
        figures.source,
        figures={'ablation-lambda': lambda: lambda_curves(lab, variants, title)},
    )


def _variants(config: Config) -> Iterator[tuple[str, Config]]:
    assert config.ec is not None
    for loss, loss_name in (('ce', 'CE'), ('focal', 'focal')):
        for sampler in ('hgs', 'rpgs'):
            options: dict[str, Any] = {'sampler': sampler, 'loss': loss}
            ec = replace(config.ec, **options)
            yield f'{sampler.upper()} + {loss_name}', replace(config, ec=ec)


def _stages(lab: Lab, name: str, title: str, figures: Published) -> Result:
    plain = replace(lab.config, rank=replace(lab.config.rank, rerank=None))
    reading = lab.config.rank.rerank or 'rr_then_ec'
    rr = replace(plain, rank=replace(plain.rank, rerank=reading))

    def alone(config: Config) -> Tensor:
        return connectivity_rank(lab.distance(config), *lab.connectivity(config))

    stages = methods(plain)
    variants = [
        *[(stage, config, None) for stage, config in stages.items()],
        ('+ EC, connectivity alone', stages['+ EC'], alone),
        ('+ RR', replace(rr, fa=None, ec=None), None),
        ('+ FA + EC + RR', rr, None),
    ]
    rows = []
    for label, config, rank in variants:
        for graph in lab.graphs if config.fa else ('-',):
            own = config if graph == '-' else with_graph(config, graph)
            values = lab.measure(own, rank)
            labels: dict[str, Any] = {'method': label, 'graph': graph}
            rows.append(Row(labels, values, beside(figures, label)))
    result = Result(
        name, title, rows, lab.data.name, figures.source, [f'{RR_NOTE} ({reading})']
    )
    result.report = report(result, lambda: cards(lab, worst_and_best(lab)))
    return result
