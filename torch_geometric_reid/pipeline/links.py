r"""The recipe of learned links."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import Data

from torch_geometric_reid.checks import check_choice
from torch_geometric_reid.pipeline.checkpoint import Checkpoint
from torch_geometric_reid.pipeline.config import LinkConfig
from torch_geometric_reid.pipeline.learn_links import LinkParts, learn_links
from torch_geometric_reid.pipeline.link_gallery import LinkGallery
from torch_geometric_reid.pipeline.link_tables import (
    LinkTables,
    prepare_tables,
    update_tables,
)
from torch_geometric_reid.pipeline.predict_links import predict_links, refine_pairs
from torch_geometric_reid.rerank.link_profile import both_ways, link_profiles
from torch_geometric_reid.rerank.sparse import dense_product, slice_rows
from torch_geometric_reid.transforms import PairFeatures
from torch_geometric_reid.transforms.neighbor_table import listed_nodes, neighbor_table
from torch_geometric_reid.transforms.refine_pairs import mutual_link

STAGES = ('fa', 'fa+ec', 'links')
LAMBDA = 0.4  # eq. (13)
AHEAD = 1e-6  # of the first place before the second
ROWS = 1024


class Read(NamedTuple):
    r"""What probes see of a gallery.

    Attributes:
        distance: The distances :math:`(Q, G)`.
        image: The images of each probe that were scored :math:`(Q, K)`, a number of
            at least :math:`G` being another probe.
        link: The probabilities that they show its identity :math:`(Q, K)`.
    """

    distance: Tensor
    image: Tensor
    link: Tensor


class LinkReRanker:
    r"""Ranks by links that are learned on training features as hard as the
    gallery's.

    Training: :class:`~torch_geometric_reid.transforms.IdentityMetric`,
    :class:`~torch_geometric_reid.transforms.MatchedDegradation`,
    :class:`~torch_geometric_reid.transforms.PairFeatures`, a first
    :class:`~torch_geometric_reid.nn.LinkGCN`, which is trained again with
    :class:`~torch_geometric_reid.pipeline.LinkContrast`,
    :class:`~torch_geometric_reid.transforms.RefinePairs` with its links, a second
    one, and the weights of :math:`d^{*}`. Ranking does the same, without the
    degradation.

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

    Attributes:
        metric (IdentityMetric): The metric, if any.
        degradation (Degradation): What was done to the training features, if any.
        statistics (dict): Label-free statistics of the graphs of training images,
            gallery and degraded training images.
        first, second (LinkGCN): The networks.
        mixture (Mixture): The weights of the distance.
    """

    def __init__(
        self,
        x: Tensor,
        y: Tensor,
        reference: Tensor,
        config: LinkConfig,
        seed: int = 0,
        progress: bool = False,
        checkpoint: Checkpoint | None = None,
    ):
        parts = learn_links(x, y, reference, config, seed, progress, checkpoint)
        self._take(config, parts)

    @classmethod
    def restore(cls, config: LinkConfig, parts: LinkParts) -> 'LinkReRanker':
        r"""Returns what was trained before. Ranking needs neither statistics nor
        degradation.
        """
        out = cls.__new__(cls)
        out._take(config, parts)
        return out

    def rank(
        self, query: Tensor, gallery: Tensor, graph: str, progress: bool = False
    ) -> Tensor:
        r"""Returns the distances :math:`(Q, G)`.

        Args:
            query (torch.Tensor): The probes' features :math:`(Q, d)` of unit length.
            gallery (torch.Tensor): The gallery's features :math:`(G, d)` of unit
                length.
            graph (str): :obj:`"joint"`: one graph of all probes and the gallery.
                :obj:`"gallery"`: probes read from the gallery, which does not
                know them. :obj:`"probe"`: a joint graph for each probe and the
                gallery, which takes a whole pass for each probe.
            progress (bool, optional): Whether to show progress bars.
                (default: :obj:`False`)
        """
        check_choice('graph', graph, ('joint', 'gallery', 'probe'))
        if graph == 'probe':
            gallery = self.adapt(gallery)
            parts = query.split(1)
            return torch.cat([self.read_jointly(q, gallery).distance for q in parts])
        return self.stages(query, gallery, graph, progress, ('links',))['links']

    def stages(
        self,
        query: Tensor,
        gallery: Tensor,
        graph: str,
        progress: bool = False,
        names: Sequence[str] = STAGES,
    ) -> dict[str, Tensor]:
        r"""Returns the distances :math:`(Q, G)` by the new features alone,
        :obj:`"fa"`, with :math:`\lambda = 0.4` times the probability of no link,
        :obj:`"fa+ec"`, and by all that was learned, :obj:`"links"`.

        Args:
            query (torch.Tensor): See :meth:`rank`.
            gallery (torch.Tensor): See :meth:`rank`.
            graph (str): :obj:`"joint"` or :obj:`"gallery"`, see :meth:`rank`.
            progress (bool, optional): See :meth:`rank`. (default: :obj:`False`)
            names (sequence, optional): The stages that are wanted. By default, all.
        """
        check_choice('graph', graph, ('joint', 'gallery'))
        query, gallery = self.adapt(query), self.adapt(gallery)
        if gallery.size(0) < 2 and graph == 'gallery':
            return {name: 1 - query @ gallery.t() for name in names}
        pairs, link = self._evaluate(query, gallery, graph, progress)
        return self._distances(pairs, link, query, gallery, names)

    def links(self, query: Tensor, gallery: Tensor) -> tuple[Tensor, Tensor]:
        r"""Returns for each probe its nearest gallery images and the probabilities
        :math:`(Q, K)` that they show its identity, in the graph :obj:`"gallery"`.

        Raises:
            ValueError: If there are fewer than two gallery images.
        """
        if gallery.size(0) < 2:
            raise ValueError("'gallery' needs at least two images (got 1)")
        query, gallery = self.adapt(query), self.adapt(gallery)
        pairs, link = self._evaluate(query, gallery, 'gallery')
        neighbor = listed_nodes(pairs)
        return neighbor[gallery.size(0) :], link[gallery.size(0) :]

    def prepare(self, gallery: Tensor, progress: bool = False) -> LinkTables:
        r"""Computes what :meth:`read` needs of a gallery.

        Args:
            gallery (torch.Tensor): The gallery's features :math:`(G, d)` of unit
                length, after :meth:`adapt`.
            progress (bool, optional): Whether to show progress bars.
                (default: :obj:`False`)

        Raises:
            ValueError: If there are fewer than two gallery images.
        """
        table = neighbor_table(gallery, self.config.k)
        networks = (self.first, self.second)
        return prepare_tables(gallery, table, *networks, self.config, progress)

    def update(self, tables: LinkTables, x: Tensor, position: Tensor) -> LinkTables:
        r"""Returns what :meth:`prepare` does after images were added or removed, see
        :func:`~torch_geometric_reid.pipeline.link_tables.update_tables`.
        """
        networks = (self.first, self.second)
        return update_tables(tables, x, position, *networks, self.config)

    def open(self, tables: LinkTables) -> LinkGallery:
        r"""Returns a prepared gallery that probes can read."""
        return LinkGallery(tables, self.first, self.second, self.config)

    def read(self, query: Tensor, gallery: LinkGallery) -> Read:
        r"""Returns the distances of :meth:`rank` in the graph :obj:`"gallery"`.

        Args:
            query (torch.Tensor): The probes' features :math:`(Q, d)` of unit length.
            gallery (LinkGallery): The prepared gallery.
        """
        image, link, similarity = gallery.read(self.adapt(query))
        return Read(self._fuse('links', similarity), image, link)

    def read_jointly(self, query: Tensor, gallery: Tensor) -> Read:
        r"""Returns the distances of :meth:`rank` in the graph :obj:`"joint"`.

        Args:
            query (torch.Tensor): The probes' features :math:`(Q, d)` of unit length.
            gallery (torch.Tensor): The gallery's features :math:`(G, d)` of unit
                length, after :meth:`adapt`.
        """
        query, num_gallery = self.adapt(query), gallery.size(0)
        pairs, link = self._evaluate(query, gallery, 'joint')
        distance = self._distances(pairs, link, query, gallery, ('links',))['links']
        image, link = listed_nodes(pairs)[num_gallery:], link[num_gallery:]
        return Read(distance, image, link)

    def _evaluate(
        self, query: Tensor, gallery: Tensor, graph: str, progress: bool = False
    ) -> tuple[Data, Tensor]:
        data = Data(x=torch.cat([gallery, query]))
        if graph == 'gallery':
            node = torch.arange(data.num_nodes, device=query.device)
            data.gallery_mask = node < gallery.size(0)
        pairs = PairFeatures(self.config.k)(data)
        link = predict_links(self.first, pairs, self.config, progress)
        pairs = refine_pairs(pairs, link, self.config)
        return pairs, predict_links(self.second, pairs, self.config, progress)

    def adapt(self, x: Tensor) -> Tensor:
        r"""Returns features in the metric that was learned."""
        return x if self.metric is None else self.metric(Data(x=x)).x

    def _distances(
        self,
        pairs: Data,
        link: Tensor,
        query: Tensor,
        gallery: Tensor,
        names: Sequence[str],
    ) -> dict[str, Tensor]:
        num_gallery, num_nodes = gallery.size(0), pairs.num_nodes
        link = mutual_link(pairs, link)
        mask = pairs.get('gallery_mask')
        neighbor = listed_nodes(pairs)
        links = both_ways(neighbor, link, mask)
        profiles = link_profiles(neighbor, link, mask)
        of_gallery = slice_rows(profiles, 0, num_gallery)
        outs = {name: query.new_empty(query.size(0), num_gallery) for name in names}
        for start in range(num_gallery, num_nodes, ROWS):
            stop = min(start + ROWS, num_nodes)
            rows = slice(start - num_gallery, stop - num_gallery)
            similarity = [
                pairs.x[start:stop] @ pairs.x[:num_gallery].t(),
                query[rows] @ gallery.t(),
                slice_rows(links, start, stop).to_dense()[:, :num_gallery],
                dense_product(slice_rows(profiles, start, stop), of_gallery),
            ]
            for name, out in outs.items():
                out[rows] = self._fuse(name, similarity)
        return outs

    def _take(self, config: LinkConfig, parts: LinkParts) -> None:
        self.config = config
        self.metric, self.mixture = parts.metric, parts.mixture
        self.first, self.second = parts.first, parts.second
        self.degradation, self.statistics = parts.degradation, parts.statistics

    def _fuse(self, name: str, similarity: list[Tensor]) -> Tensor:
        if name == 'fa':
            return 2 - 2 * similarity[0]
        if name == 'fa+ec':
            return 2 - 2 * similarity[0] + LAMBDA * (1 - similarity[2])
        out = _weigh(similarity, self.mixture.whole)
        if self.config.first_place:
            first = _weigh(similarity, self.mixture.first).argmin(dim=1, keepdim=True)
            out.scatter_(1, first, out.amin(dim=1, keepdim=True) - AHEAD)
        return out


def _weigh(similarity: list[Tensor], weight: Tensor) -> Tensor:
    out = torch.zeros_like(similarity[0])
    for part, w in zip(similarity, weight.tolist(), strict=True):
        out.add_(1 - part, alpha=w)
    return out
