r"""Training of the recipe of learned links."""

import warnings
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import Data

from torch_geometric_reid.metrics import GraphStatistics, graph_statistics
from torch_geometric_reid.nn import LinkGCN
from torch_geometric_reid.pipeline.checkpoint import Checkpoint
from torch_geometric_reid.pipeline.config import LinkConfig
from torch_geometric_reid.pipeline.link_contrast import LinkContrast
from torch_geometric_reid.pipeline.mixture import Mixture, fit_mixture
from torch_geometric_reid.pipeline.predict_links import predict_links, refine_pairs
from torch_geometric_reid.pipeline.train_links import train_links
from torch_geometric_reid.rerank.link_profile import link_profiles
from torch_geometric_reid.rerank.sparse import row_dot
from torch_geometric_reid.transforms import (
    IdentityMetric,
    MatchedDegradation,
    PairFeatures,
)
from torch_geometric_reid.transforms.matched_degradation import Degradation
from torch_geometric_reid.transforms.neighbor_table import (
    PairTable,
    listed_nodes,
    pair_cosine,
)

FAR = 0.05
CONTRASTS = ('links_contrast', 'links_contrast_again')


class LinkParts(NamedTuple):
    r"""What the recipe of links learns.

    Attributes:
        metric: The metric, if any.
        first: The network that predicts links of features.
        second: The network that predicts links of features aggregated along those.
        mixture: The weights of the distance.
        degradation: What was done to the training features, if any and if known.
        statistics: Label-free statistics of the graphs of training images, gallery
            and degraded training images, if known.
    """

    metric: IdentityMetric | None
    first: LinkGCN
    second: LinkGCN
    mixture: Mixture
    degradation: Degradation | None
    statistics: dict[str, GraphStatistics]


def learn_links(
    x: Tensor,
    y: Tensor,
    reference: Tensor,
    config: LinkConfig,
    seed: int = 0,
    progress: bool = False,
    checkpoint: Checkpoint | None = None,
) -> LinkParts:
    r"""Learns on training features as hard as the gallery's, see
    :class:`~torch_geometric_reid.pipeline.LinkReRanker`.

    Args:
        x (torch.Tensor): The training features :math:`(N, d)` of unit length.
        y (torch.Tensor): Their identities :math:`(N)`.
        reference (torch.Tensor): The gallery's features :math:`(G, d)` of unit
            length, of which no label is used.
        config (LinkConfig): The options.
        seed (int, optional): The seed. (default: :obj:`0`)
        progress (bool, optional): Whether to show progress bars.
            (default: :obj:`False`)
        checkpoint (Checkpoint, optional): Where states are saved, and read from to
            go on. (default: :obj:`None`)

    Raises:
        ValueError: If a state belongs to other data or options.
    """
    sources = {'x': x, 'y': y, 'reference': reference}
    per_identity = max(2, round(y.numel() / y.unique().numel()))
    metric = None
    if config.metric:
        metric = IdentityMetric(x, y, config.metric)
        x, reference = metric(Data(x=x)).x, metric(Data(x=reference)).x
    statistics: dict[str, GraphStatistics] = {}
    degradation = None
    train = Data(x=x, y=y)
    if reference.size(0) > 1:
        k = 2 * per_identity
        statistics['train'] = graph_statistics(x, k)
        statistics['gallery'] = graph_statistics(reference, k)
        if config.degrade:
            transform = MatchedDegradation(reference, k, seed)
            train = transform(train)
            degradation = transform.degradation
            statistics['degraded'] = graph_statistics(train.x, k)
        _warn_if_far(statistics)

    pairs = PairFeatures(config.k)(train)
    train_stage = partial(
        train_links,
        y=y,
        config=config,
        progress=progress,
        checkpoint=checkpoint,
        sources=sources,
    )
    first = _train_first(train_stage, pairs, config, seed, progress)
    old = pairs.x
    link = predict_links(first, pairs, config, progress)
    pairs = refine_pairs(pairs, link, config)
    second = train_stage(pairs, seed=seed + 1, stage='links_second')
    mixture = _mix(pairs, old, y, second, config, progress)
    return LinkParts(metric, first, second, mixture, degradation, statistics)


def _train_first(
    train_stage: Callable[..., LinkGCN],
    pairs: Data,
    config: LinkConfig,
    seed: int,
    progress: bool,
) -> LinkGCN:
    first = train_stage(pairs, seed=seed, stage='links_first')
    if config.contrast == 0:
        return first
    # Each of them ranks along the links of the network before it.
    neighbor = listed_nodes(pairs)
    for stage in CONTRASTS:
        link = predict_links(first, pairs, config, progress)
        contrast = LinkContrast(pairs.x, neighbor, link, config.beta)
        first = train_stage(pairs, seed=seed, stage=stage, contrast=contrast)
    return first


def _mix(
    pairs: Data,
    old: Tensor,
    y: Tensor,
    second: LinkGCN,
    config: LinkConfig,
    progress: bool,
) -> Mixture:
    if config.weights is not None:
        weight = old.new_tensor(config.weights)
        return Mixture(weight, weight.clone())
    link = predict_links(second, pairs, config, progress)
    neighbor = listed_nodes(pairs)
    there, back = PairTable(neighbor, link).both_ways(neighbor)
    similarity = torch.stack(
        [
            pairs.edge_attr[:, 0].view_as(link),
            pair_cosine(old, neighbor),
            (there + back) / 2,
            row_dot(link_profiles(neighbor, link), neighbor),
        ],
        dim=-1,
    )
    return fit_mixture(similarity, y[neighbor] == y.view(-1, 1))


def _warn_if_far(statistics: dict[str, GraphStatistics]) -> None:
    end = statistics.get('degraded', statistics['train'])
    gap = end.near_cosine - statistics['gallery'].near_cosine
    if abs(gap) > FAR:
        warnings.warn(
            f'The near neighbors of training images have a mean cosine of '
            f'{end.near_cosine:.2f}, those of gallery images '
            f'{end.near_cosine - gap:.2f}: what is learned may not carry over',
            stacklevel=6,
        )
