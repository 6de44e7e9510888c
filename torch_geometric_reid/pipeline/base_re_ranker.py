from dataclasses import replace
from typing import Any, Literal, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import Data

from torch_geometric_reid.checks import (
    check_choice,
    check_features,
    check_ids,
    check_same_dim,
)
from torch_geometric_reid.distance import (
    Mahalanobis,
    fuse_distance,
    scale_distance,
)
from torch_geometric_reid.nn import ECGCN, FAGCN
from torch_geometric_reid.pipeline.aggregate import GRAPHS, Features, aggregate
from torch_geometric_reid.pipeline.checkpoint import Checkpoint
from torch_geometric_reid.pipeline.compose import rerank
from torch_geometric_reid.pipeline.config import Config
from torch_geometric_reid.pipeline.connectivity import Connectivity, connect
from torch_geometric_reid.pipeline.links import LinkReRanker
from torch_geometric_reid.pipeline.train import make_affinity, train_ec, train_fa
from torch_geometric_reid.precision import full_precision

ReRanker = TypeVar('ReRanker', bound='BaseReRanker')


class BaseReRanker:
    r"""Trains the networks of a recipe and ranks galleries with them; see
    :class:`GraphReRanker`, which keeps a gallery and itself, too.

    Args:
        config (Config, optional): The options. (default: :obj:`None`)
        recipe (str, optional): :obj:`"links"` or :obj:`"paper"`. By default, as the
            configuration says. (default: :obj:`None`)
    """

    def __init__(
        self,
        config: Config | None = None,
        recipe: Literal['links', 'paper'] | None = None,
    ):
        self.config = Config() if config is None else config
        if recipe is not None:
            self.config = replace(self.config, recipe=recipe)
        device = self.config.device
        if device is None:
            device = 'cuda' if torch.cuda.is_available() else 'cpu'
        self.device = torch.device(device)
        self._forget()

    def _forget(self) -> None:
        self.fa: FAGCN | None = None
        self.ec: ECGCN | None = None
        self.links: LinkReRanker | None = None
        self.mahalanobis: Mahalanobis | None = None
        self.in_channels: int | None = None
        self._train: tuple[Tensor, Tensor] | None = None
        self._reference: Tensor | None = None

    @full_precision()
    def fit(
        self: ReRanker,
        x: Tensor,
        y: Tensor,
        reference: Tensor | None = None,
        progress: bool = False,
        checkpoint: Checkpoint | None = None,
    ) -> ReRanker:
        r"""Trains the networks of the recipe.

        Args:
            x (torch.Tensor or numpy.ndarray): Features of the training images
                :math:`(N, d)`.
            y (torch.Tensor or numpy.ndarray): Their identities :math:`(N)`, at
                least zero.
            reference (torch.Tensor or numpy.ndarray, optional): Features of the
                gallery :math:`(G, d)` for the recipe of links. If not given, it is
                trained at the first call of :meth:`rank`, and again at each call
                with another gallery, which drops a prepared one. (default: :obj:`None`)
            progress (bool, optional): Whether to show progress bars.
                (default: :obj:`False`)
            checkpoint (Checkpoint, optional): Where the state of training is saved,
                and read from to go on. (default: :obj:`None`)

        Raises:
            TypeError: If features are no floating-point numbers or identities
                no integers.
            ValueError: If features are empty, zero or not finite, identities
                are of another length or negative, none has two images, or a
                checkpoint is given to the recipe of links without
                :obj:`reference`.
        """
        self._forget()
        x = self._prepare('x', x)
        y = check_ids('y', y, x.size(0)).to(self.device)
        if (y < 0).any():
            raise ValueError(
                f"'y' needs identities of at least 0 (got {int((y < 0).sum())} "
                f'negative ones; remove junk images before training)'
            )
        if y.unique(return_counts=True)[1].max() < 2:
            raise ValueError(
                f"'y' needs an identity with at least two training images "
                f'(got {y.numel()} identities of one image each)'
            )
        in_channels, config = x.size(1), self.config
        if config.recipe == 'links':
            if reference is not None:
                reference = self._prepare('reference', reference)
                check_same_dim('reference', reference, 'x', x)
                with torch.inference_mode(False):
                    self.links = LinkReRanker(
                        x, y, reference, config.links, config.seed, progress, checkpoint
                    )
            elif checkpoint is not None:
                raise ValueError(
                    "'checkpoint' needs 'reference', the gallery's features, in the "
                    'recipe of links'
                )
            else:
                self._train = (x, y)
        else:
            with torch.inference_mode(False), torch.enable_grad():
                self._fit_paper(x, y, progress, checkpoint)
        self.in_channels = in_channels
        return self

    def _fit_paper(
        self, x: Tensor, y: Tensor, progress: bool, checkpoint: Checkpoint | None
    ) -> None:
        config, sources = self.config, {'x': x, 'y': y}
        if config.fa is not None:
            self.fa = train_fa(x, y, config.fa, config.seed, progress, checkpoint)
            sources |= self.fa.state_dict()
            graph = make_affinity(config.fa)(Data(x=x))
            with torch.no_grad():
                x = self.fa.encode(x, graph.edge_index, graph.edge_weight)
        if config.rank.metric.startswith('mahalanobis'):
            within = config.rank.metric.endswith('within')
            self.mahalanobis = Mahalanobis(x, y if within else None)
        if config.ec is not None:
            self.ec = train_ec(
                x, y, config.ec, config.seed, progress, checkpoint, sources=sources
            )

    @full_precision()
    def rank(
        self,
        query: Tensor,
        gallery: Tensor,
        graph: str | None = None,
        progress: bool = False,
    ) -> Tensor:
        r"""Returns the distances of all probes and gallery images :math:`(Q, G)`,
        smaller for images that rank higher: those of eq. (13), re-ranked if the
        configuration says so, or those of the recipe of links.

        Args:
            query (torch.Tensor or numpy.ndarray): Features of the probes
                :math:`(Q, d)`.
            gallery (torch.Tensor or numpy.ndarray): Features of the gallery
                images :math:`(G, d)`.
            graph (str, optional): :obj:`"probe"`, :obj:`"gallery"` or
                :obj:`"joint"`, see :meth:`aggregate` and
                :meth:`LinkReRanker.rank`. By default, as the configuration
                says. (default: :obj:`None`)
            progress (bool, optional): Whether to show progress bars.
                (default: :obj:`False`)

        Raises:
            RuntimeError: If the re-ranker was not fitted.
            ValueError: If features are empty, zero, not finite or of another
                length than the training features.
        """
        if self.config.recipe == 'links':
            return self._rank_links(query, gallery, graph, progress)
        features = self.aggregate(query, gallery, graph)
        distance = self.distance(features)
        connectivity = None
        if self.ec is not None:
            connectivity = self.connect(features, progress)
        if self.config.rank.rerank is not None:
            return rerank(features, distance, connectivity, self.config, self.ec)
        if connectivity is None:
            return distance
        return self.fuse(distance, connectivity)

    @full_precision()
    def aggregate(
        self, query: Tensor, gallery: Tensor, graph: str | None = None
    ) -> Features:
        r"""Returns the features of probes and gallery after FA-GCN, if any; see
        :meth:`torch_geometric_reid.pipeline.aggregate`.
        """
        if self.config.recipe != 'paper':
            raise RuntimeError(
                f"The recipe {self.config.recipe!r} has no FA-GCN (use 'rank', or "
                f'\'recipe="paper"\')'
            )
        graph = self.config.graph if graph is None else graph
        check_choice('graph', graph, GRAPHS)
        self._check_fitted()
        query = self._prepare('query', query)
        gallery = self._prepare('gallery', gallery)
        if self.fa is None or self.config.fa is None:
            return Features(query, gallery)
        affinity = make_affinity(self.config.fa)
        return aggregate(self.fa, query, gallery, affinity, graph)

    @full_precision()
    def distance(self, features: Features) -> Tensor:
        r"""Returns the distances :math:`d` of eq. (13), scaled."""
        if self.mahalanobis is None:
            distance = features.distance(self.config.rank.metric)
        else:
            patch = features.patch
            if patch is not None:
                patch = patch._replace(x=self.mahalanobis(patch.x))
            distance = Features(
                self.mahalanobis(features.query),
                self.mahalanobis(features.gallery),
                patch,
            ).distance()
        return scale_distance(distance, self.config.rank.scale)

    @full_precision()
    def connect(self, features: Features, progress: bool = False) -> Connectivity:
        r"""Returns the connectivity of each probe and its nearest images; see
        :meth:`torch_geometric_reid.pipeline.connect`.
        """
        if self.ec is None or self.config.ec is None:
            raise RuntimeError("The re-ranker has no EC-GCN (call 'fit' first)")
        return connect(self.ec, features, self.config.ec, progress)

    def fuse(self, distance: Tensor, connectivity: Connectivity) -> Tensor:
        r"""Returns the distances :math:`d^{*}` of eq. (13)."""
        rank = self.config.rank
        return fuse_distance(distance, *connectivity, rank.weight, rank.fill)

    def _rank_links(
        self, query: Tensor, gallery: Tensor, graph: str | None, progress: bool
    ) -> Tensor:
        graph = self.config.graph if graph is None else graph
        check_choice('graph', graph, GRAPHS)
        self._check_fitted()
        query = self._prepare('query', query)
        gallery = self._prepare('gallery', gallery)
        return self._train_links(gallery, progress).rank(
            query, gallery, graph, progress
        )

    def _train_links(self, gallery: Tensor, progress: bool) -> LinkReRanker:
        if self._train is not None and not self._knows(gallery):
            config = self.config
            with torch.inference_mode(False):
                self.links = LinkReRanker(
                    *self._train, gallery, config.links, config.seed, progress
                )
            self._reference = gallery
        if self.links is None:
            raise RuntimeError("The re-ranker has no links (call 'fit' first)")
        return self.links

    def _knows(self, gallery: Tensor) -> bool:
        return self._reference is not None and torch.equal(self._reference, gallery)

    @torch.inference_mode(False)
    def _prepare(self, name: str, x: Any) -> Tensor:
        x = check_features(name, x, nonzero=True).detach().to(self.device)
        if self.in_channels is not None and x.size(1) != self.in_channels:
            raise ValueError(
                f"'{name}' needs vectors of the training features' length "
                f'{self.in_channels} (got shape {list(x.shape)})'
            )
        return F.normalize(x)

    def _check_fitted(self) -> None:
        if self.in_channels is None:
            raise RuntimeError("The re-ranker is not fitted (call 'fit' first)")
