r"""Held-out training identities that are as hard as a gallery, to try options on."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import Data

from torch_geometric_reid.distance import pairwise_distance
from torch_geometric_reid.metrics import evaluate
from torch_geometric_reid.pipeline.aggregate import Features
from torch_geometric_reid.pipeline.compose import rerank
from torch_geometric_reid.pipeline.config import Config, RankConfig
from torch_geometric_reid.pipeline.connectivity import Connectivity
from torch_geometric_reid.pipeline.hold_out import hold_out
from torch_geometric_reid.pipeline.re_ranker import GraphReRanker
from torch_geometric_reid.pipeline.train import make_affinity
from torch_geometric_reid.pipeline.tune_options import RE_RANKERS, TunedOptions
from torch_geometric_reid.transforms import AggregateFeatures, MatchedDegradation

Out = TypeVar('Out')
KEPT = 4  # results of a stage, of which the last ones are asked for again


class Score(NamedTuple):
    r"""mAP and Rank-1 in percent."""

    mAP: float
    rank1: float


class _Aggregated(NamedTuple):
    train: Tensor
    features: Features


class _Ranked(NamedTuple):
    ranker: GraphReRanker
    features: Features
    distance: Tensor
    connectivity: Connectivity | None


class HeldOut:
    r"""One draw of held-out identities, and what was trained on the others.

    Args:
        train (Data): The training images, with :obj:`x` of unit length, :obj:`y`
            and maybe :obj:`camera`.
        reference (torch.Tensor, optional): Features of unit length that the
            held-out ones are made as hard as, see :meth:`match_hardness`.
            If not given, they stay as they are. (default: :obj:`None`)
        fraction (float, optional): The share of identities that is held out.
            (default: :obj:`0.5`)
        seed (int, optional): The seed of identities, hardness and training.
            (default: :obj:`0`)

    Attributes:
        train, query, gallery (Data): The images.
        untouched (Score): The scores of the plain distance before the held-out
            images were made hard.
        baseline (Score): Those after it.
    """

    def __init__(
        self,
        train: Data,
        reference: Tensor | None = None,
        fraction: float = 0.5,
        seed: int = 0,
    ):
        self.train, self.query, self.gallery = hold_out(train, fraction, seed=seed)
        self.seed = seed
        self._aggregated: dict[str, _Aggregated] = {}
        self._ranked: dict[str, _Ranked] = {}
        self.untouched = self._evaluate(self._distance())
        if reference is not None:
            x = torch.cat([self.query.x, self.gallery.x])
            y = torch.cat([self.query.y, self.gallery.y])
            x = match_hardness(x, y, reference, seed)
            num_query = self.query.y.numel()
            self.query.x, self.gallery.x = x[:num_query], x[num_query:]
        self.baseline = self._evaluate(self._distance())

    def score(self, method: str, options: TunedOptions) -> Score:
        r"""Trains and ranks the held-out images by a method.

        Args:
            method (str): :obj:`"baseline"`, a re-ranker without training,
                :obj:`"fa"`, :obj:`"ec"`, :obj:`"fa+ec"` or :obj:`"links"`.
            options (TunedOptions): The options.
        """
        if method == 'baseline':
            return self.baseline
        return self._evaluate(self._rank(method, options))

    def _distance(self) -> Tensor:
        return pairwise_distance(self.query.x, self.gallery.x)

    def _rank(self, method: str, options: TunedOptions) -> Tensor:
        query, gallery = self.query.x, self.gallery.x
        if method in RE_RANKERS:
            return RE_RANKERS[method](query, gallery, **options.parameters[method])
        config = replace(options.config, seed=options.config.seed + self.seed)
        if method == 'links':
            ranker = GraphReRanker(config, 'links')
            ranker.fit(self.train.x, self.train.y, gallery)
            return ranker.rank(query, gallery)
        config = replace(
            config,
            recipe='paper',
            fa=config.fa if 'fa' in method else None,
            ec=config.ec if 'ec' in method else None,
        )
        return self._rank_paper(config)

    def _rank_paper(self, config: Config) -> Tensor:
        # Of the options of ranking, those that come after the networks do not count.
        before = replace(config.rank, weight=0.0, fill=0.0, rerank=None)
        key = replace(config, rank=before)
        kept = _keep(self._ranked, key, self._connect)
        ranker, features, distance, connectivity = kept
        if config.rank.rerank is not None:
            return rerank(features, distance, connectivity, config, ranker.ec)
        if connectivity is None:
            return distance
        ranker.config = replace(ranker.config, rank=config.rank)
        return ranker.fuse(distance, connectivity)

    def _connect(self, config: Config) -> _Ranked:
        key = replace(config, ec=None, rank=RankConfig(config.rank.graph))
        train, features = _keep(self._aggregated, key, self._aggregate)
        ranker = GraphReRanker(replace(config, fa=None)).fit(train, self.train.y)
        connectivity = None if ranker.ec is None else ranker.connect(features)
        return _Ranked(ranker, features, ranker.distance(features), connectivity)

    def _aggregate(self, config: Config) -> _Aggregated:
        x = self.train.x
        ranker = GraphReRanker(config).fit(x, self.train.y)
        features = ranker.aggregate(self.query.x, self.gallery.x)
        if ranker.fa is not None and config.fa is not None:
            transform = AggregateFeatures(ranker.fa)
            x = transform(make_affinity(config.fa)(Data(x=x.to(ranker.device)))).x
        return _Aggregated(x, features)

    def _evaluate(self, distance: Tensor) -> Score:
        query, gallery = self.query, self.gallery
        result = evaluate(
            distance, query.y, gallery.y, query.get('camera'), gallery.get('camera')
        )
        return Score(100 * result.mAP, 100 * result.rank(1))


def match_hardness(x: Tensor, y: Tensor, reference: Tensor, seed: int = 0) -> Tensor:
    r"""Makes features as hard as others, of which no label is used, by
    :class:`~torch_geometric_reid.transforms.MatchedDegradation`, and turns them back
    into their space: of all maps that keep angles, by the one that brings them
    nearest to what they were (orthogonal Procrustes), so that a network trained on
    features that were not touched can read them.

    Args:
        x (torch.Tensor): The features :math:`(N, d)` of unit length.
        y (torch.Tensor): Their identities :math:`(N)`.
        reference (torch.Tensor): The others :math:`(G, d)` of unit length.
        seed (int, optional): The seed. (default: :obj:`0`)

    Returns:
        The new features :math:`(N, d)` of unit length.
    """
    per_identity = max(2, round(y.numel() / y.unique().numel()))
    degrade = MatchedDegradation(reference, 2 * per_identity, seed)
    out = degrade(Data(x=x, y=y)).x
    if out.size(1) < x.size(1):
        u, _, vt = torch.linalg.svd(out.t() @ x, full_matrices=False)
        out = F.normalize(out @ (u @ vt))
    return out


def _keep(
    kept: dict[str, Out], config: Config, function: Callable[[Config], Out]
) -> Out:
    key = repr(config)
    if key not in kept:
        if len(kept) == KEPT:
            kept.pop(next(iter(kept)))
        kept[key] = function(config)
    return kept[key]
