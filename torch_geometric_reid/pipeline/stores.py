r"""What each recipe keeps of a gallery to answer single probes."""

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch_geometric.nn.pool.knn import KNNOutput

from torch_geometric_reid.nn import ECGCN, FAGCN
from torch_geometric_reid.pipeline.aggregate import (
    AggregatedGallery,
    Features,
    aggregate,
)
from torch_geometric_reid.pipeline.config import Config
from torch_geometric_reid.pipeline.connectivity import (
    ConnectedGallery,
    Connectivity,
    table_width,
)
from torch_geometric_reid.pipeline.link_tables import LinkTables
from torch_geometric_reid.pipeline.links import LinkReRanker
from torch_geometric_reid.pipeline.train import make_affinity
from torch_geometric_reid.transforms.update_table import update_table


class Answer(NamedTuple):
    r"""What is known of probes and a gallery.

    Attributes:
        distance: The distances :math:`(Q, G)`.
        image: The images of each probe that were scored :math:`(Q, K)`.
        connectivity: The probabilities that they show its identity :math:`(Q, K)`.
    """

    distance: Tensor
    image: Tensor
    connectivity: Tensor


class Store(Protocol):
    r"""A prepared gallery. Features are of unit length."""

    def read(self, query: Tensor, graph: str) -> Answer:
        r"""Answers probes :math:`(Q, d)` in the graph :obj:`"probe"`,
        :obj:`"gallery"` or :obj:`"joint"`.
        """
        ...

    def change(self, gallery: Tensor, kept: Tensor) -> 'Store':
        r"""Returns the store of the images that are kept, a mask :math:`(G)`, and of
        others behind them :math:`(A, d)`.
        """
        ...

    def tensors(self) -> dict[str, Tensor]:
        r"""Returns all that it keeps."""
        ...


class LinkStore:
    r"""A gallery prepared by the recipe of links.

    Args:
        links (LinkReRanker): The trained recipe.
        tables (LinkTables): The gallery, as of :meth:`LinkReRanker.prepare`.
    """

    def __init__(self, links: LinkReRanker, tables: LinkTables):
        self.links = links
        self.tables = tables
        self.gallery = links.open(tables)

    @classmethod
    def build(cls, links: LinkReRanker, gallery: Tensor, progress: bool) -> 'LinkStore':
        r"""Prepares a gallery :math:`(G, d)`."""
        return cls(links, links.prepare(links.adapt(gallery), progress=progress))

    @classmethod
    def restore(cls, links: LinkReRanker, tensors: Mapping[str, Tensor]) -> 'LinkStore':
        r"""Returns what :meth:`tensors` came from."""
        return cls(links, LinkTables(**tensors))

    def read(self, query: Tensor, graph: str) -> Answer:
        if graph == 'gallery':
            return Answer(*self.links.read(query, self.gallery))
        parts = query.split(1) if graph == 'probe' else [query]
        reads = [self.links.read_jointly(part, self.tables.x) for part in parts]
        distance, image, link = map(torch.cat, zip(*reads, strict=True))
        other = image >= len(self.tables.x)  # probes, in the joint graph
        return Answer(distance, image.masked_fill(other, 0), link.masked_fill(other, 0))

    def change(self, gallery: Tensor, kept: Tensor) -> 'LinkStore':
        x = torch.cat([self.tables.x[kept], self.links.adapt(gallery)])
        position = _positions(kept, gallery.size(0))
        return LinkStore(self.links, self.links.update(self.tables, x, position))

    def tensors(self) -> dict[str, Tensor]:
        return self.tables._asdict()


class Paper(NamedTuple):
    r"""What the paper's recipe has learned.

    Attributes:
        config: The options.
        fa: The FA-GCN, if any, of one layer and on a directed graph.
        ec: The EC-GCN, if any.
        distance: Returns the scaled distances of features.
        fuse: Adds the connectivity to them.
    """

    config: Config
    fa: FAGCN | None
    ec: ECGCN | None
    distance: Callable[[Features], Tensor]
    fuse: Callable[[Tensor, Connectivity], Tensor]

    def aggregate(
        self,
        x: Tensor,
        table: KNNOutput | None = None,
        known: tuple[Tensor, Tensor] | None = None,
    ) -> AggregatedGallery | None:
        r"""Returns the gallery after FA-GCN, if any."""
        if self.fa is None or self.config.fa is None:
            return None
        affinity = make_affinity(self.config.fa)
        return AggregatedGallery(self.fa, x, affinity, table, known)

    def connect(
        self, z: Tensor, table: KNNOutput | None = None
    ) -> ConnectedGallery | None:
        r"""Returns the gallery prepared for EC-GCN, if any."""
        if self.ec is None or self.config.ec is None:
            return None
        return ConnectedGallery(self.ec, z, self.config.ec, table)


class PaperStore:
    r"""A gallery prepared by the paper's recipe.

    Args:
        paper (Paper): The recipe.
        gallery (torch.Tensor): The features :math:`(G, d)`.
        aggregated (AggregatedGallery, optional): They after FA-GCN.
            (default: :obj:`None`)
        connected (ConnectedGallery, optional): They prepared for EC-GCN.
            (default: :obj:`None`)
    """

    def __init__(
        self,
        paper: Paper,
        gallery: Tensor,
        aggregated: AggregatedGallery | None = None,
        connected: ConnectedGallery | None = None,
    ):
        self.paper = paper
        self.x = gallery
        self.aggregated = aggregated
        self.connected = connected

    @classmethod
    @torch.no_grad()
    def build(cls, paper: Paper, gallery: Tensor) -> 'PaperStore':
        r"""Prepares a gallery :math:`(G, d)`."""
        aggregated = paper.aggregate(gallery)
        z = gallery if aggregated is None else aggregated.z
        return cls(paper, gallery, aggregated, paper.connect(z))

    @classmethod
    @torch.no_grad()
    def restore(cls, paper: Paper, tensors: Mapping[str, Tensor]) -> 'PaperStore':
        r"""Returns what :meth:`tensors` came from."""
        x = tensors['x']
        z = tensors.get('z', x)
        known = (z, torch.empty(0, dtype=torch.long))
        aggregated = paper.aggregate(x, _table(tensors, 'fa'), known)
        return cls(paper, x, aggregated, paper.connect(z, _table(tensors, 'ec')))

    @torch.no_grad()
    def read(self, query: Tensor, graph: str) -> Answer:
        connected = self.connected
        if self.aggregated is None:
            features = Features(query, self.x)
        elif graph == 'joint':
            model, affinity = self.aggregated.model, self.aggregated.affinity
            features = aggregate(model, query, self.x, affinity, 'joint')
            connected = self.paper.connect(features.gallery)
        else:
            features = self.aggregated.read(query, graph)
        distance = self.paper.distance(features)
        if connected is None:
            none = distance[:, :0]
            return Answer(distance, none.long(), none)
        rank, plain = self.paper.config.rank, distance
        if rank.metric != 'sqeuclidean' or rank.scale is not None:
            plain = features.distance()
        found = connected.read(features, plain)
        fused = self.paper.fuse(distance, found)
        return Answer(fused, found.image, 1 - found.distance)

    @torch.no_grad()
    def change(self, gallery: Tensor, kept: Tensor) -> 'PaperStore':
        x = torch.cat([self.x[kept], gallery])
        position = _positions(kept, gallery.size(0))
        aggregated, z = None, x
        if self.aggregated is not None:
            k = self.aggregated.affinity.k
            table, stale = update_table(x, k, self.aggregated.table, position)
            z = x.new_empty(x.size(0), self.aggregated.z.size(1))
            z[position >= 0] = self.aggregated.z[kept]
            known = (z, stale.nonzero().view(-1))
            aggregated = self.paper.aggregate(x, table, known)
            z = z if aggregated is None else aggregated.z
            position = position.masked_fill(stale, -1)
        connected = None
        if self.connected is not None:
            width = table_width(self.connected.config, z.size(0))
            table, _ = update_table(
                z, width, self.connected.table, position, 'sqeuclidean'
            )
            connected = self.paper.connect(z, table)
        return PaperStore(self.paper, x, aggregated, connected)

    def tensors(self) -> dict[str, Tensor]:
        out = {'x': self.x}
        if self.aggregated is not None:
            out |= {'z': self.aggregated.z, **_named('fa', self.aggregated.table)}
        if self.connected is not None:
            out |= _named('ec', self.connected.table)
        return out


def _named(name: str, table: KNNOutput) -> dict[str, Tensor]:
    return {f'{name}_score': table.score, f'{name}_index': table.index}


def check_tables(tensors: Mapping[str, Tensor]) -> None:
    r"""Raises a :obj:`ValueError` unless tensors are finite, have a row for each
    image, and list images that are there.
    """
    num_images = len(tensors['x'])
    for name, value in tensors.items():
        if value.dim() != 2 or value.size(0) != num_images:
            raise ValueError(
                f"'{name}' needs a row for each of {num_images} images (got shape "
                f'{list(value.shape)})'
            )
        if value.is_floating_point():
            if not value.isfinite().all():
                raise ValueError(f"'{name}' needs finite numbers")
        elif value.numel() and not 0 <= value.min() <= value.max() < num_images:
            raise ValueError(
                f"'{name}' needs images between 0 and {num_images - 1} (got "
                f'{int(value.min())} to {int(value.max())})'
            )


def _table(tables: Mapping[str, Tensor], name: str) -> KNNOutput | None:
    if f'{name}_index' not in tables:
        return None
    return KNNOutput(tables[f'{name}_score'], tables[f'{name}_index'])


def _positions(kept: Tensor, num_added: int) -> Tensor:
    row = kept.nonzero().view(-1)
    return torch.cat([row, row.new_full((num_added,), -1)])
