from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

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
from torch_geometric_reid.pipeline.learned import Learned, restore
from torch_geometric_reid.pipeline.links import LinkReRanker
from torch_geometric_reid.pipeline.prepared_gallery import (
    Matches,
    PreparedGallery,
    check_labels,
)
from torch_geometric_reid.pipeline.storage import naming, read_folder, write_folder
from torch_geometric_reid.pipeline.stores import (
    LinkStore,
    Paper,
    PaperStore,
    Store,
    check_tables,
)
from torch_geometric_reid.pipeline.train import make_affinity, train_ec, train_fa
from torch_geometric_reid.pipeline.trust import Trust


class GraphReRanker:
    r"""Ranks a gallery for each probe by graphs of features.

    .. code-block:: python

        ranker = GraphReRanker().fit(train_features, train_ids, gallery_features)
        distance = ranker.rank(query_features, gallery_features)

    Features of any backbone will do; they are brought to unit length. Identities
    are those of the training images only: ranking takes none, and no cameras.

    There are two recipes. :obj:`"paper"` is FA-GCN and EC-GCN as in `"Feature
    Aggregation and Connectivity for Object Re-Identification"
    <https://doi.org/10.1016/j.patcog.2024.110869>`_. :obj:`"links"` extends it, see
    :class:`~torch_geometric_reid.pipeline.LinkReRanker`: it learns links on training
    features that are made as hard as the gallery's, and so needs the gallery (without
    labels) in training.

    Args:
        config (Config, optional): The options. By default, sizes for two CPU
            cores; :meth:`Config.paper` gives the paper's. (default: :obj:`None`)
        recipe (str, optional): :obj:`"links"` or :obj:`"paper"`. By default, as the
            configuration says. (default: :obj:`None`)

    Attributes:
        fa (FAGCN): The trained FA-GCN, if any.
        ec (ECGCN): The trained EC-GCN, if any.
        links (LinkReRanker): The trained links, if any.
        trust (Trust): What turns distances of :meth:`query` into probabilities, if any
            was set: of :func:`fit_trust` with the graph that is asked for.
        gallery (PreparedGallery): The prepared gallery, if any.
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
        self.fa: FAGCN | None = None
        self.ec: ECGCN | None = None
        self.links: LinkReRanker | None = None
        self.mahalanobis: Mahalanobis | None = None
        self.trust: Trust | None = None
        self.gallery: PreparedGallery | None = None
        self.in_channels: int | None = None
        self._train: tuple[Tensor, Tensor] | None = None
        self._reference: Tensor | None = None

    def fit(
        self,
        x: Tensor,
        y: Tensor,
        reference: Tensor | None = None,
        progress: bool = False,
        checkpoint: Checkpoint | None = None,
    ) -> 'GraphReRanker':
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
        self.fa = self.ec = self.links = self.mahalanobis = self.in_channels = None
        self.trust = self.gallery = None
        self._train = self._reference = None
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
        config = self.config
        if config.fa is not None:
            self.fa = train_fa(x, y, config.fa, config.seed, progress, checkpoint)
            graph = make_affinity(config.fa)(Data(x=x))
            with torch.no_grad():
                x = self.fa.encode(x, graph.edge_index, graph.edge_weight)
        if config.rank.metric.startswith('mahalanobis'):
            within = config.rank.metric.endswith('within')
            self.mahalanobis = Mahalanobis(x, y if within else None)
        if config.ec is not None:
            self.ec = train_ec(x, y, config.ec, config.seed, progress, checkpoint)

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

    def prepare(
        self,
        gallery: Tensor,
        ids: Any = None,
        names: Sequence[str] | None = None,
        progress: bool = False,
    ) -> 'GraphReRanker':
        r"""Prepares a gallery for :meth:`query`, in the place of an earlier one.

        Args:
            gallery (torch.Tensor or numpy.ndarray): Features of at least two gallery
                images :math:`(G, d)`.
            ids (torch.Tensor or list, optional): An integer for each image
                :math:`(G)`, which :meth:`query` gives back.
                (default: :obj:`None`)
            names (list, optional): A name for each, likewise.
                (default: :obj:`None`)
            progress (bool, optional): Whether to show progress bars.
                (default: :obj:`False`)

        Raises:
            RuntimeError: If the re-ranker was not fitted.
            TypeError: If ids are no integers or names no strings.
            ValueError: If there are fewer than two images, not as many ids or names
                as images, features as of :meth:`rank`, or the options ask for what
                one probe cannot have: re-ranking behind the distance, several layers
                of FA-GCN, a symmetric affinity graph.
        """
        self._check_fitted()
        gallery = self._prepare('gallery', gallery)
        if gallery.size(0) < 2:
            raise ValueError("'gallery' needs at least two images (got 1)")
        ids, names = check_labels(ids, names, gallery.size(0))
        if self.config.recipe == 'links':
            links = self._train_links(gallery, progress)
            store: Store = LinkStore.build(links, gallery, progress)
        else:
            store = PaperStore.build(self.paper(), gallery)
        self.gallery = PreparedGallery(store, gallery.size(0), ids, names)
        return self

    def query(self, query: Tensor, top: int = 50, graph: str | None = None) -> Matches:
        r"""Returns the nearest images of the prepared gallery for probes.

        Args:
            query (torch.Tensor or numpy.ndarray): Features of one probe
                :math:`(d)` or of several :math:`(Q, d)`.
            top (int, optional): The number of images, cut to all.
                (default: :obj:`50`)
            graph (str, optional): :obj:`"probe"`, :obj:`"gallery"` or
                :obj:`"joint"`, as of :meth:`rank`, whose distances these are. Each
                probe is alone with the gallery in the first two; the recipe of links
                takes a whole pass for each probe in the first, and one for all of
                them in the last. By default, :obj:`"probe"` in the paper's recipe and
                :obj:`"gallery"` in that of links. (default: :obj:`None`)

        Raises:
            RuntimeError: If no gallery was prepared.
            ValueError: If features are as of :meth:`rank`, or :obj:`top` is less
                than one.
        """
        gallery = self._prepared()
        if getattr(query, 'ndim', None) == 1:
            query = query[None]
        query = self._prepare('query', query)
        if graph is None:
            graph = 'gallery' if self.config.recipe == 'links' else 'probe'
        return gallery.query(query, top, graph, self.trust)

    def add(
        self, gallery: Tensor, ids: Any = None, names: Sequence[str] | None = None
    ) -> None:
        r"""Adds images to the prepared gallery, see :meth:`prepare`. The result is
        that of preparing all of them.

        Args:
            gallery (torch.Tensor or numpy.ndarray): Their features :math:`(A, d)`.
            ids (torch.Tensor or list, optional): Their ids :math:`(A)`.
                (default: :obj:`None`)
            names (list, optional): Their names :math:`(A)`. (default: :obj:`None`)

        Raises:
            RuntimeError: If no gallery was prepared.
            ValueError: If features are as of :meth:`rank`, or ids or names are
                missing, or given to a gallery without.
        """
        prepared = self._prepared()
        self.gallery = prepared.add(self._prepare('gallery', gallery), ids, names)

    def remove(self, index: Any) -> None:
        r"""Removes images from the prepared gallery; those behind them move up. The
        result is that of preparing the others.

        Args:
            index (torch.Tensor or list): Their positions :math:`(R)`.

        Raises:
            RuntimeError: If no gallery was prepared.
            TypeError: If positions are no integers.
            ValueError: If one is out of range, or fewer than two images are left.
        """
        prepared = self._prepared()
        empty = torch.empty(0, cast(int, self.in_channels), device=self.device)
        self.gallery = prepared.remove(index, empty)

    def save(self, folder: str | Path) -> None:
        r"""Writes the re-ranker and its prepared gallery, if any, to a folder:
        :obj:`re_ranker.yaml` with the options and a version of the format, and
        safetensors files, each with a hash of what is in it. A re-ranker that was
        there before is replaced at the end, as a whole.

        Args:
            folder (str or pathlib.Path): The folder, which is made if it does not
                exist.

        Raises:
            RuntimeError: If the re-ranker was not trained, or another process is
                writing to the folder.
            OSError: If a file cannot be written; what was there is left as it was.
        """
        self._check_fitted()
        if self.config.recipe == 'links' and self.links is None:
            raise RuntimeError(
                "The links are not trained yet (call 'prepare' with a gallery first)"
            )
        learned = Learned(
            cast(int, self.in_channels),
            self.fa,
            self.ec,
            self.mahalanobis,
            self.links,
            self.trust,
        )
        tensors = names = None
        if self.gallery is not None:
            tensors, names = self.gallery.tensors(), self.gallery.names
        write_folder(Path(folder), self.config, learned.tensors(), tensors, names)

    @classmethod
    def load(cls, folder: str | Path, device: str | None = None) -> 'GraphReRanker':
        r"""Returns the re-ranker that :meth:`save` wrote. Its gallery ranks as that one
        did, to the bit. Links that were trained at the first call stay as they are for
        other galleries. Nothing in the folder is executed, and large arrays are mapped
        from their files.

        Args:
            folder (str or pathlib.Path): The folder.
            device (str, optional): The device. By default, as the options say.
                (default: :obj:`None`)

        Raises:
            FileNotFoundError: If there is no re-ranker, or one of its files is
                missing.
            ValueError: If a file is damaged, of another format, or does not fit the
                others; the message names it.
        """
        folder = Path(folder)
        config, models, tensors, names = read_folder(folder)
        out = cls(replace(config, device=device or config.device))
        with naming(folder, 'models'):
            learned = restore(_to(models, out.device), config)
        out.in_channels, out.links, out.trust = (
            learned.in_channels,
            learned.links,
            learned.trust,
        )
        out.fa, out.ec, out.mahalanobis = learned.fa, learned.ec, learned.mahalanobis
        for model in (out.fa, out.ec):
            if model is not None:
                model.to(out.device)
        if out.links is not None:
            out.links.first.to(out.device)
            out.links.second.to(out.device)
        if tensors is not None:
            with naming(folder, 'gallery'):
                out.gallery = out._restore_gallery(_to(tensors, out.device), names)
        return out

    def _restore_gallery(
        self, tensors: dict[str, Tensor], names: list[str] | None
    ) -> PreparedGallery:
        ids = tensors.pop('ids', None)
        check_tables(tensors)
        store: Store
        if self.links is not None:
            store = LinkStore.restore(self.links, tensors)
        else:
            store = PaperStore.restore(self.paper(), tensors)
        return PreparedGallery(store, tensors['x'].size(0), ids, names)

    def paper(self) -> Paper:
        r"""Returns what the paper's recipe has learned, for single probes.

        Raises:
            ValueError: If the options ask for what one probe cannot have.
        """
        config = self.config
        if config.rank.rerank is not None:
            raise ValueError(
                f"'rank.rerank' needs all probes at once (got "
                f"{config.rank.rerank!r}; use 'rank')"
            )
        if config.fa is not None and (config.fa.num_layers > 1 or config.fa.symmetrize):
            raise ValueError(
                f'A prepared gallery needs one layer on a directed graph (got '
                f"'fa.num_layers={config.fa.num_layers}', "
                f"'fa.symmetrize={config.fa.symmetrize}'; use 'rank')"
            )
        return Paper(config, self.fa, self.ec, self.distance, self.fuse)

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
            self._reference, self.gallery = gallery, None
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

    def _prepared(self) -> PreparedGallery:
        if self.gallery is None:
            raise RuntimeError("There is no gallery (call 'prepare' first)")
        return self.gallery

    def _check_fitted(self) -> None:
        if self.in_channels is None:
            raise RuntimeError("The re-ranker is not fitted (call 'fit' first)")


def _to(tensors: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    return {name: value.to(device) for name, value in tensors.items()}
