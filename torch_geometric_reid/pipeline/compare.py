r"""The main job: what each stage of the method gains, side by side."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import cast

from torch import Tensor
from torch_geometric.data import Data

from torch_geometric_reid.checks import check_same_dim
from torch_geometric_reid.distance import connectivity_rank
from torch_geometric_reid.metrics import calibration, evaluate
from torch_geometric_reid.nn import NeighborMean
from torch_geometric_reid.pipeline.aggregate import Features, aggregate
from torch_geometric_reid.pipeline.compose import rerank
from torch_geometric_reid.pipeline.config import Config, FAConfig
from torch_geometric_reid.pipeline.links import LinkReRanker
from torch_geometric_reid.pipeline.re_ranker import GraphReRanker
from torch_geometric_reid.pipeline.train import make_affinity
from torch_geometric_reid.rerank import (
    expanded_cross_neighborhood,
    gnn,
    k_reciprocal,
    query_expansion,
)

METHODS = (
    'baseline',
    'mean',
    'concat',
    'fa',
    'ec',
    'ec-only',
    'fa+ec',
    'rr',
    'fa+ec+rr',
    'gnn',
    'qe',
    'ecn',
)
RANKS = (1, 5, 10)


@dataclass
class Comparison:
    r"""What :meth:`compare` returns.

    Attributes:
        rows: For each method, recipe and graph its name, and mAP, Rank-1, 5, 10 and
            mINP in percent.
        config: The options.
        re_ranker: The trained FA-GCN and EC-GCN.
        backbone_re_ranker: The EC-GCN trained on the backbone's features.
        links: The trained links.
        calibration_error: The expected calibration error of their probabilities,
            NaN for a gallery of one image.
        distance: The final distances :math:`(Q, G)` of the configured recipe and
            graph.
    """

    rows: list[dict[str, str | float]]
    config: Config
    re_ranker: GraphReRanker
    backbone_re_ranker: GraphReRanker
    links: LinkReRanker
    calibration_error: float
    distance: Tensor


def compare(
    train: Data, query: Data, gallery: Data, config: Config, progress: bool = False
) -> Comparison:
    r"""Trains all models and evaluates each stage by itself and together.

    Methods are :obj:`baseline`, the untrained controls :obj:`mean`
    (:math:`\mathbf{\tilde{A}} \mathbf{F}`) and :obj:`concat`
    (:math:`[\mathbf{F} \, \Vert \, \mathbf{\tilde{A}} \mathbf{F}]`), :obj:`fa`,
    :obj:`ec` (fused with the backbone's distance), :obj:`ec-only` (its connectivity
    alone), :obj:`fa+ec`, and the training-free :obj:`qe` (query expansion with
    database augmentation), each with the graphs :obj:`probe` (:obj:`gallery`
    where FA-GCN has several layers or a symmetric graph) and :obj:`joint`. With
    :obj:`joint` alone, as probes are each other's references in them, there are
    :obj:`rr` (k-reciprocal), :obj:`gnn` and :obj:`ecn` on the backbone's features, and
    :obj:`fa+ec+rr`. Those are the rows of the paper's recipe. The recipe of links has
    the rows of :meth:`LinkReRanker.stages`, with the graphs :obj:`gallery` and
    :obj:`joint`.

    Args:
        train (Data): Training images, with :obj:`x` and :obj:`y`.
        query (Data): Probes, with :obj:`x`, :obj:`y` and maybe :obj:`camera`.
        gallery (Data): Gallery images, likewise.
        config (Config): The options.
        progress (bool, optional): Whether to show progress bars.
            (default: :obj:`False`)
    """
    check_sets(train, query, gallery)
    fa = config.fa
    by_paper = config.recipe == 'paper' and config.graph == 'probe'
    if fa is not None and by_paper and 'probe' not in _graphs(fa):
        raise ValueError(
            "'rank.graph=probe' needs one directed layer of FA-GCN (got "
            f"'fa.num_layers={fa.num_layers}', 'fa.symmetrize={fa.symmetrize}'; choose "
            "'gallery' or 'joint')"
        )
    paper = replace(config, recipe='paper')
    full = GraphReRanker(paper).fit(train.x, train.y, progress=progress)
    plain = full
    if config.fa is not None:
        plain = GraphReRanker(replace(paper, fa=None))
        plain.fit(train.x, train.y, progress=progress)
    links = GraphReRanker(replace(config, recipe='links'))
    links.fit(train.x, train.y, gallery.x, progress)

    backbone = plain.aggregate(query.x, gallery.x)
    fixed = dict(_backbone_stages(plain, backbone, progress))
    result = {method: _metrics(d, query, gallery) for method, d in fixed.items()}
    rows: list[dict[str, str | float]] = []
    for graph in _graphs(config.fa):
        stages = {}
        for method, distance in _graph_stages(full, backbone, graph, progress):
            stages[method] = _metrics(distance, query, gallery)
        for method in METHODS:
            if method in result or method in stages:
                metrics = {**result, **stages}[method]
                rows.append(_row(method, 'paper', graph, metrics))
    model = cast(LinkReRanker, links.links)
    final = None
    for graph in ('gallery', 'joint'):
        named = model.stages(backbone.query, backbone.gallery, graph, progress)
        for method, distance in named.items():
            metrics = _metrics(distance, query, gallery)
            rows.append(_row(method, 'links', graph, metrics))
        if (config.recipe, config.graph) == ('links', graph):
            final = named['links']
    if final is None:
        chosen = links if config.recipe == 'links' else full
        final = chosen.rank(query.x, gallery.x, progress=progress)
    error = _calibration_error(model, backbone, query, gallery)
    return Comparison(rows, config, full, plain, model, error, final)


def check_sets(train: Data, query: Data, gallery: Data) -> None:
    r"""Checks what training does not need, but what comes after it.

    Raises:
        ValueError: If features are of other lengths, or one of :obj:`query` and
            :obj:`gallery` has cameras.
    """
    for name, data in [('query', query), ('gallery', gallery)]:
        check_same_dim(name, data.x, 'train', train.x)
    if ('camera' in query) != ('camera' in gallery):
        there = 'query' if 'camera' in query else 'gallery'
        raise ValueError(
            f"'query' and 'gallery' need cameras both or neither (got those of "
            f"'{there}' alone)"
        )


def _row(
    method: str, recipe: str, graph: str, metrics: dict[str, float]
) -> dict[str, str | float]:
    return {'method': method, 'recipe': recipe, 'graph': graph, **metrics}


def _calibration_error(
    links: LinkReRanker, features: Features, query: Data, gallery: Data
) -> float:
    if features.gallery.size(0) < 2:
        return float('nan')
    image, link = (t.cpu() for t in links.links(features.query, features.gallery))
    same = gallery.y[image] == query.y.view(-1, 1)
    return calibration(link, same).error


def _graphs(fa: FAConfig | None) -> tuple[str, ...]:
    if fa is not None and (fa.symmetrize or fa.num_layers > 1):
        return ('gallery', 'joint')  # the probe graph is exact for one layer only
    return ('probe', 'joint')


def _backbone_stages(
    re_ranker: GraphReRanker, features: Features, progress: bool
) -> Iterator[tuple[str, Tensor]]:
    distance = re_ranker.distance(features)
    yield 'baseline', distance
    yield 'qe', query_expansion(features.query, features.gallery, database=True)
    if re_ranker.ec is not None:
        connectivity = re_ranker.connect(features, progress)
        yield 'ec', re_ranker.fuse(distance, connectivity)
        yield 'ec-only', connectivity_rank(distance, *connectivity)


def _graph_stages(
    re_ranker: GraphReRanker, backbone: Features, graph: str, progress: bool
) -> Iterator[tuple[str, Tensor]]:
    query, gallery = backbone.query, backbone.gallery
    affinity = make_affinity(re_ranker.config.fa or FAConfig())
    for method, concat in [('mean', False), ('concat', True)]:
        model = NeighborMean(concat)
        yield method, aggregate(model, query, gallery, affinity, graph).distance()
    if re_ranker.fa is not None:
        features = re_ranker.aggregate(query, gallery, graph)
        distance = re_ranker.distance(features)
        yield 'fa', distance
        if re_ranker.ec is not None:
            connectivity = re_ranker.connect(features, progress)
            yield 'fa+ec', re_ranker.fuse(distance, connectivity)
            if graph == 'joint':
                rank = re_ranker.config.rank
                reading = replace(rank, rerank=rank.rerank or 'rr_then_ec')
                config = replace(re_ranker.config, rank=reading)
                yield (
                    'fa+ec+rr',
                    rerank(features, distance, connectivity, config, re_ranker.ec),
                )
    if graph == 'joint':
        yield 'rr', k_reciprocal(query, gallery)
        yield 'gnn', gnn(query, gallery)
        yield 'ecn', expanded_cross_neighborhood(query, gallery)


def _metrics(distance: Tensor, query: Data, gallery: Data) -> dict[str, float]:
    result = evaluate(
        distance, query.y, gallery.y, query.get('camera'), gallery.get('camera')
    )
    ranks = {f'rank{r}': 100 * result.rank(r) for r in RANKS}
    return {'mAP': 100 * result.mAP, **ranks, 'mINP': 100 * result.mINP}
