from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import Data

from torch_geometric_reid.atomic import digest
from torch_geometric_reid.checks import check_choice, check_positive
from torch_geometric_reid.distance import Mahalanobis
from torch_geometric_reid.experiments.cache import Cache
from torch_geometric_reid.experiments.data import ReIDData
from torch_geometric_reid.experiments.result import Value
from torch_geometric_reid.metrics import Evaluation, evaluate
from torch_geometric_reid.nn import ECGCN, FAGCN
from torch_geometric_reid.pipeline import (
    Config,
    Connectivity,
    ECConfig,
    Features,
    GraphReRanker,
    Patch,
    rerank,
    train_ec,
    train_fa,
)
from torch_geometric_reid.pipeline.aggregate import GRAPHS
from torch_geometric_reid.pipeline.train import make_affinity, make_ec, make_fa
from torch_geometric_reid.transforms import AggregateFeatures

RANKS = (1, 5, 10)
Ranker = Callable[[Config], Tensor]


class Lab:
    r"""Trains and ranks by the paper's recipe, each stage once: weights, features,
    distances and connectivity are kept on disk by what they depend on, that is the
    data's content, the options that matter to the stage, and the seed.

    Methods take a whole configuration; experiments vary that of the lab. Without
    :obj:`fa` the backbone's features are used, without :obj:`ec` the distance alone.

    Args:
        data (ReIDData): The data.
        config (Config, optional): The options. (default: :obj:`None`)
        folder (pathlib.Path, optional): The folder of what is kept.
            (default: :obj:`runs/experiments/cache`)
        seeds (int, optional): The number of seeds, counted from that of the
            configuration. (default: :obj:`3`)
        graph (str, optional): The graph at test time, :obj:`"probe"`,
            :obj:`"gallery"` or :obj:`"joint"`. By default the configuration's, and
            tables have rows for :obj:`"joint"` beside it. (default: :obj:`None`)
        progress (bool, optional): Whether to show progress bars.
            (default: :obj:`False`)

    Raises:
        TypeError: If features are no floating-point numbers or identities no
            integers.
        ValueError: If the data is unusable, or an option out of its range.

    Attributes:
        config (Config): The options.
        seeds (range): The seeds.
        graphs (tuple): The graphs of tables.
    """

    def __init__(
        self,
        data: ReIDData,
        config: Config | None = None,
        folder: Path = Path('runs/experiments/cache'),
        seeds: int = 3,
        graph: str | None = None,
        progress: bool = False,
    ):
        check_positive('seeds', seeds)
        config = replace(Config() if config is None else config, recipe='paper')
        if config.fa is None or config.ec is None:
            raise ValueError("'fa' and 'ec' need options (got none for one of them)")
        if graph is not None:
            check_choice('graph', graph, GRAPHS)
        self.config = with_graph(config, graph or config.graph)
        self.graphs = tuple(dict.fromkeys([self.config.graph, graph or 'joint']))
        self.data = data
        self.seeds = range(config.seed, config.seed + seeds)
        self.cache = Cache(folder)
        self.progress = progress

        plain = GraphReRanker(replace(self.config, fa=None, ec=None))
        plain.fit(data.train.x, data.train.y)
        self.device = plain.device
        self._backbone = plain.aggregate(data.query.x, data.gallery.x)
        self._x = F.normalize(data.train.x.to(self.device, torch.float32))
        self._y = data.train.y.to(self.device)
        self._train = digest({'x': self._x, 'y': self._y})
        query, gallery, _ = self._backbone
        self._test = digest({'query': query, 'gallery': gallery})

    def fa(self, config: Config) -> FAGCN:
        r"""Returns the trained FA-GCN."""
        assert config.fa is not None
        model = make_fa(self._x.size(1), len(self._y.unique()), config.fa)
        return self._load('fa', model, self._fa_key(config), self._train_fa, config)

    def ec(self, config: Config) -> ECGCN:
        r"""Returns the trained EC-GCN."""
        assert config.ec is not None
        channels = config.fa.hidden_channels if config.fa else self._x.size(1)
        model = make_ec(channels, config.ec)
        return self._load('ec', model, self._ec_key(config), self._train_ec, config)

    def features(self, config: Config) -> Features:
        r"""Returns the features of probes and gallery."""
        if config.fa is None:
            return self._backbone

        def make() -> dict[str, Tensor]:
            re_ranker = self._re_ranker(config)
            re_ranker.fa = self.fa(config)
            features = re_ranker.aggregate(self.data.query.x, self.data.gallery.x)
            out = {'query': features.query, 'gallery': features.gallery}
            return out | (features.patch._asdict() if features.patch else {})

        kept = self._get('features', self._features_key(config), make)
        patch = Patch(kept['probe'], kept['image'], kept['x']) if 'x' in kept else None
        return Features(kept['query'], kept['gallery'], patch)

    def distance(self, config: Config) -> Tensor:
        r"""Returns the distances :math:`d` of eq. (13)."""

        def make() -> dict[str, Tensor]:
            re_ranker = self._re_ranker(config)
            if config.rank.metric.startswith('mahalanobis'):
                within = config.rank.metric.endswith('within')
                x = self._train_features(config)
                re_ranker.mahalanobis = Mahalanobis(x, self._y if within else None)
            return {'distance': re_ranker.distance(self.features(config))}

        return self._get('distance', self._distance_key(config), make)['distance']

    def connectivity(self, config: Config, test_k1: int | None = None) -> Connectivity:
        r"""Returns the connectivity of each probe and its nearest images.

        Args:
            config (Config): The options.
            test_k1 (int, optional): The number of 1-hop images, by default that of
                training. (default: :obj:`None`)
        """
        ec = config.ec
        assert ec is not None
        k1, k2 = ec.num_neighbors
        k1 = k1 if test_k1 is None else test_k1

        def make() -> dict[str, Tensor]:
            at_test = replace(config, ec=replace(ec, num_neighbors=(k1, k2)))
            re_ranker = self._re_ranker(at_test)
            re_ranker.ec = self.ec(config)
            features = self.features(config)
            return re_ranker.connect(features, self.progress)._asdict()

        kept = self._get('connectivity', self._connectivity_key(config, k1), make)
        return Connectivity(kept['image'], kept['distance'])

    def rank(self, config: Config, test_k1: int | None = None) -> Tensor:
        r"""Returns the final distances :math:`(Q, G)`, as
        :meth:`GraphReRanker.rank <torch_geometric_reid.pipeline.GraphReRanker.rank>`
        does.

        Args:
            config (Config): The options.
            test_k1 (int, optional): See :meth:`connectivity`.
                (default: :obj:`None`)
        """
        distance = self.distance(config)
        connectivity = None
        if config.ec is not None:
            connectivity = self.connectivity(config, test_k1)
        if config.rank.rerank is None:
            if connectivity is None:
                return distance
            return self._re_ranker(config).fuse(distance, connectivity)

        def make() -> dict[str, Tensor]:
            model = None if config.ec is None else self.ec(config)
            features = self.features(config)
            out = rerank(features, distance, connectivity, config, model)
            return {'distance': out}

        key: dict[str, Any] = {
            'distance': self._distance_key(config),
            'rank': asdict(config.rank),
        }
        if config.ec is not None:
            k1 = config.ec.num_neighbors[0] if test_k1 is None else test_k1
            key['connectivity'] = self._connectivity_key(config, k1)
        return self._get('rerank', key, make)['distance']

    def evaluate(self, distance: Tensor) -> Evaluation:
        r"""Evaluates distances :math:`(Q, G)`."""
        query, gallery = self.data.query, self.data.gallery
        cameras = query.get('camera'), gallery.get('camera')
        return evaluate(distance, query.y, gallery.y, *cameras)

    def measure(self, config: Config, rank: Ranker | None = None) -> dict[str, Value]:
        r"""Returns mAP, Rank-1, 5, 10 and mINP in percent over all seeds.

        Args:
            config (Config): The options; its seed is replaced.
            rank (callable, optional): What gives the distances for a configuration,
                by default :meth:`rank`. (default: :obj:`None`)
        """
        rank = self.rank if rank is None else rank
        runs = [
            _percent(self.evaluate(rank(replace(config, seed=seed))))
            for seed in self.seeds
        ]
        return {name: Value.of([run[name] for run in runs]) for name in runs[0]}

    def _train_fa(self, config: Config) -> FAGCN:
        assert config.fa is not None
        return train_fa(self._x, self._y, config.fa, config.seed, self.progress)

    def _train_ec(self, config: Config) -> ECGCN:
        assert config.ec is not None
        x = self._train_features(config)
        return train_ec(x, self._y, config.ec, config.seed, self.progress)

    def _train_features(self, config: Config) -> Tensor:
        if config.fa is None:
            return self._x
        graph = make_affinity(config.fa)(Data(x=self._x))
        return AggregateFeatures(self.fa(config))(graph).x

    def _re_ranker(self, config: Config) -> GraphReRanker:
        re_ranker = GraphReRanker(config)
        re_ranker.in_channels = self._x.size(1)
        return re_ranker

    def _load(
        self,
        kind: str,
        model: Any,
        key: Mapping[str, Any],
        train: Callable[[Config], torch.nn.Module],
        config: Config,
    ) -> Any:
        state = self._get(kind, key, lambda: train(config).state_dict())
        model.load_state_dict(state)
        return model.to(self.device).eval()

    def _get(
        self,
        kind: str,
        key: Mapping[str, Any],
        make: Callable[[], Mapping[str, Tensor]],
    ) -> dict[str, Tensor]:
        kept = self.cache.get(kind, {**key, 'device': self.device.type}, make)
        return {name: value.to(self.device) for name, value in kept.items()}

    def _fa_key(self, config: Config) -> dict[str, Any]:
        if config.fa is None:
            return {}
        return {'train': self._train, 'fa': asdict(config.fa), 'seed': config.seed}

    def _ec_key(self, config: Config) -> dict[str, Any]:
        assert config.ec is not None
        return {
            'features': self._fa_key(config),
            'train': self._train,
            'ec': _options_that_matter(config.ec),
            'seed': config.seed,
        }

    def _features_key(self, config: Config) -> dict[str, Any]:
        fa = self._fa_key(config)
        return {'test': self._test, 'fa': fa, 'graph': config.graph if fa else None}

    def _distance_key(self, config: Config) -> dict[str, Any]:
        rank = config.rank
        key: dict[str, Any] = {'metric': rank.metric, 'scale': rank.scale}
        if rank.metric.startswith('mahalanobis'):
            key['train'] = self._train
        return {**key, 'features': self._features_key(config)}

    def _connectivity_key(self, config: Config, k1: int) -> dict[str, Any]:
        return {
            'features': self._features_key(config),
            'ec': self._ec_key(config),
            'k1': k1,
        }


def methods(config: Config) -> dict[str, Config]:
    r"""Returns the options of the four methods that the paper compares."""
    return {
        'baseline': replace(config, fa=None, ec=None),
        '+ FA': replace(config, ec=None),
        '+ EC': replace(config, fa=None),
        '+ FA + EC': config,
    }


def with_graph(config: Config, graph: str) -> Config:
    r"""Returns the options with another graph at test time."""
    rank: Any = replace(config.rank, graph=graph)  # type: ignore[arg-type]
    return replace(config, rank=rank)


def _options_that_matter(config: ECConfig) -> dict[str, Any]:
    ignored = {'num_workers'}
    if config.sampler == 'hgs':
        ignored.add('gamma')
    if config.loss == 'ce':
        ignored |= {'alpha', 'alpha_on', 'focal_gamma'}
    return {
        name: value for name, value in asdict(config).items() if name not in ignored
    }


def _percent(result: Evaluation) -> dict[str, float]:
    ranks = {f'rank{r}': 100 * result.rank(r) for r in RANKS}
    return {'mAP': 100 * result.mAP, **ranks, 'mINP': 100 * result.mINP}
