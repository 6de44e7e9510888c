import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from torch_geometric_reid.pipeline.base_re_ranker import BaseReRanker
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
from torch_geometric_reid.pipeline.trust import Trust
from torch_geometric_reid.precision import full_precision


class GraphReRanker(BaseReRanker):
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

    def _forget(self) -> None:
        super()._forget()
        self.trust: Trust | None = None
        self.gallery: PreparedGallery | None = None

    @full_precision()
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

    @full_precision()
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
        if self.trust is not None and self.trust.graph not in (None, graph):
            warnings.warn(
                f"'trust' knows the graph {self.trust.graph!r}, so that there are no "
                f'probabilities in {graph!r}',
                stacklevel=3,
            )
        return gallery.query(query, top, graph, self.trust)

    @full_precision()
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

    @full_precision()
    def remove(self, index: Any) -> None:
        r"""Removes images from the prepared gallery; those behind them move up. The
        result is that of preparing the others.

        Args:
            index (torch.Tensor, list or str): Their positions :math:`(R)`, or their
                names.

        Raises:
            RuntimeError: If no gallery was prepared.
            TypeError: If positions are no integers.
            ValueError: If one is out of range or unknown, or fewer than two images
                are left.
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
    @full_precision()
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

    def _train_links(self, gallery: Tensor, progress: bool) -> LinkReRanker:
        before = self.links
        links = super()._train_links(gallery, progress)
        if links is not before:
            self.gallery = None
        return links

    def _prepared(self) -> PreparedGallery:
        if self.gallery is None:
            raise RuntimeError("There is no gallery (call 'prepare' first)")
        return self.gallery


def _to(tensors: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    return {name: value.to(device) for name, value in tensors.items()}
