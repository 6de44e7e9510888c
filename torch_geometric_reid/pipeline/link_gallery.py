r"""A gallery that the recipe of learned links has prepared for single probes."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
import torch_geometric.transforms as T
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.nn.pool.knn import KNNOutput

from torch_geometric_reid.knn import KNNSearch, neighbor_graph
from torch_geometric_reid.nn import LinkGCN
from torch_geometric_reid.pipeline.config import LinkConfig
from torch_geometric_reid.pipeline.link_tables import LinkTables
from torch_geometric_reid.pipeline.sub_graphs import SubGraphs
from torch_geometric_reid.rerank.link_profile import link_profiles
from torch_geometric_reid.rerank.sparse import InvertedLists, SparseRows, from_table
from torch_geometric_reid.sampler import HardGallerySampler
from torch_geometric_reid.topk import dot_rounding
from torch_geometric_reid.transforms import FuseEdges, LinkInput
from torch_geometric_reid.transforms.pair_features import (
    PAIR_FEATURES,
    describe_rows,
    describe_selves,
)
from torch_geometric_reid.transforms.refine_pairs import kept_features


class Similarities(NamedTuple):
    r"""What single probes see of a gallery.

    Attributes:
        image: The nearest images of each probe by the new features :math:`(Q, K)`.
        link: The probabilities that they show its identity :math:`(Q, K)`.
        similarity: The cosines of new and of old features, links, and cosines of
            profiles, each :math:`(Q, G)`.
    """

    image: Tensor
    link: Tensor
    similarity: list[Tensor]


class Graph:
    r"""One of the two graphs of a gallery, read by probes that it does not know.

    Args:
        x (torch.Tensor): The features :math:`(G, d)` of unit length.
        table (KNNOutput): Each image's nearest others :math:`(G, K)`.
        link (torch.Tensor): The links to them :math:`(G, K)`.
        model (LinkGCN): The network that predicted them.
        config (LinkConfig): Its options.
    """

    def __init__(
        self,
        x: Tensor,
        table: KNNOutput,
        link: Tensor,
        model: LinkGCN,
        config: LinkConfig,
    ):
        self.x = x
        self.score, self.neighbor = table
        self.items = KNNSearch(x, self.neighbor.size(1), backend='torch')
        self.model = model
        self.config = config
        self.profiles = link_profiles(self.neighbor, link)
        k = self.neighbor.size(1)
        self.rounding = dot_rounding(x.size(1))
        self.sampler = HardGallerySampler(
            self.neighbor.cpu().contiguous(), (k, 0), min(config.num_edges, k)
        )
        cosine = Data(
            edge_index=neighbor_graph(self.neighbor, x.size(0)),
            edge_attr=self.score.reshape(-1, 1),
            node_attr=torch.ones_like(self.score[:, :1]),
            num_nodes=x.size(0),
        )
        self.input = LinkInput(cosine)

    def nearest(self, probe: Tensor) -> KNNOutput:
        r"""Returns the nearest images of probes :math:`(Q, K)`."""
        return self.items.search(probe)

    def describe(self, cosine: Tensor, table: KNNOutput, other: Tensor) -> Tensor:
        r"""Returns the features of pairs of probes and images :math:`(Q, M, 5)`.

        Args:
            cosine (torch.Tensor): Their cosines :math:`(Q, M)`.
            table (KNNOutput): The nearest images of the probes.
            other (torch.Tensor): The images :math:`(Q, M)`.
        """
        return describe_rows(cosine, table.score, self.score, other, self.rounding)

    @torch.no_grad()
    def predict(self, table: KNNOutput, pair_attr: Tensor, node_attr: Tensor) -> Tensor:
        r"""Returns the links :math:`(Q, K)` of probes and their nearest images.

        Args:
            table (KNNOutput): The nearest images.
            pair_attr (torch.Tensor): The features of pairs :math:`(Q, K, F)`.
            node_attr (torch.Tensor): Those of the probes :math:`(Q, F)`.
        """
        (num_probes, k), num_gallery = table.index.shape, self.x.size(0)
        num_nodes = num_gallery + num_probes
        pairs = Data(
            edge_index=neighbor_graph(table.index, num_nodes),
            edge_attr=pair_attr.flatten(0, 1),
            node_attr=node_attr,
            num_nodes=num_probes,
        )
        num_edges = self.sampler.num_edges
        last = self.score[:, num_edges - 1]
        nearer = table.score > last[table.index] + self.rounding
        probe, place = nearer.nonzero(as_tuple=True)
        inserted = torch.stack([probe, table.index[probe, place]])
        kept = kept_features(pair_attr.size(2), self.config.without)
        loader = SubGraphs(
            self.sampler.with_probes(table.index.cpu(), inserted.cpu()),
            num_nodes,
            T.Compose(
                [LinkInput(pairs, kept.to(self.x.device), self.input), FuseEdges()]
            ),
            self.x.device,
            torch.arange(num_gallery, num_nodes),
            batch_size=num_probes,
        )
        batch = next(iter(loader))
        logit = self.model(
            batch.x, batch.edge_index, batch.edge_weight, batch.num_sampled_nodes
        )
        return logit.sigmoid().view(num_probes, k)


class LinkGallery:
    r"""A gallery whose links are known, read by probes each of which is alone with
    it: the graph :obj:`"gallery"` of
    :class:`~torch_geometric_reid.pipeline.LinkReRanker`.

    Args:
        tables (LinkTables): What is known of the gallery.
        first (LinkGCN): The first network.
        second (LinkGCN): The second one.
        config (LinkConfig): The options.
    """

    def __init__(
        self, tables: LinkTables, first: LinkGCN, second: LinkGCN, config: LinkConfig
    ):
        self.tables = t = tables
        self.beta = config.beta
        old, new = (
            KNNOutput(t.score, t.neighbor),
            KNNOutput(t.new_score, t.new_neighbor),
        )
        self.old = Graph(t.x, old, t.link, first, config)
        self.new = Graph(t.new_x, new, t.new_link, second, config)
        self.profile_rows = SparseRows(self.old.profiles)
        self.profile_lists = InvertedLists(self.new.profiles)

    def read(self, probe: Tensor) -> Similarities:
        r"""Returns what single probes see.

        Args:
            probe (torch.Tensor): Their features :math:`(Q, d)` of unit length.
        """
        old, new = self.old, self.new
        table = old.nearest(probe)
        pair_attr = old.describe(table.score, table, table.index)
        itself = describe_selves(table.score)
        link = old.predict(table, pair_attr, itself)
        mutual = _mutual(link, pair_attr)

        z = self.beta * probe + torch.einsum('qk,qkd->qd', link, old.x[table.index])
        z = F.normalize(z)
        nearest = new.nearest(z)
        image = nearest.index
        after = new.describe(nearest.score, nearest, image)
        cosine = torch.einsum('qd,qkd->qk', probe, old.x[image])
        before = old.describe(cosine, table, image)
        same = table.index.unsqueeze(1) == image.unsqueeze(2)
        there = (same * link.unsqueeze(1)).sum(dim=2)
        back = there * (before[:, :, PAIR_FEATURES.index('rank_back')] < 1)
        profile, _ = _profile(table.index, mutual, len(old.x))
        through = self.profile_rows.dot(profile, image)
        pair_attr = torch.cat(
            [after, before, torch.stack([there, back, through], dim=-1)], dim=-1
        )
        ones = z.new_ones(z.size(0), 3)
        itself = torch.cat([describe_selves(nearest.score), itself, ones], dim=1)
        link = new.predict(nearest, pair_attr, itself)

        mutual = _mutual(link, after)
        links = torch.zeros_like(profile).scatter_(1, image, mutual)
        _, length = _profile(image, mutual, len(old.x))
        own = from_table(image, len(old.x), value=mutual / length)
        similarity = [
            z @ new.x.t(),
            probe @ old.x.t(),
            links,
            self.profile_lists.dot(own),
        ]
        return Similarities(image, link, similarity)


def _mutual(link: Tensor, pair_attr: Tensor) -> Tensor:
    # A link counts half where the image would not list the probe.
    one_way = pair_attr[:, :, PAIR_FEATURES.index('rank_back')] >= 1
    return torch.where(one_way, link / 2, link)


def _profile(image: Tensor, link: Tensor, num_gallery: int) -> tuple[Tensor, Tensor]:
    length = (1 + link.square().sum(dim=1, keepdim=True)).sqrt()
    out = link.new_zeros(link.size(0), num_gallery)
    return out.scatter_(1, image, link / length), length
