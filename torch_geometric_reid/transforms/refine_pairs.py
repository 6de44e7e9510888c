import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform

from torch_geometric_reid.knn import neighbor_graph
from torch_geometric_reid.nn import NeighborMean
from torch_geometric_reid.rerank.link_profile import link_profiles
from torch_geometric_reid.rerank.sparse import row_dot
from torch_geometric_reid.transforms.neighbor_table import (
    PairTable,
    listed_nodes,
    neighbor_table,
)
from torch_geometric_reid.transforms.pair_features import (
    PAIR_FEATURES,
    describe_pairs,
    describe_selves,
)

REFINED_FEATURES = (
    *PAIR_FEATURES,
    *(f'{name}_before' for name in PAIR_FEATURES),
    'link',
    'link_back',
    'profile',
)


def kept_features(num_features: int, without: tuple[str, ...]) -> Tensor:
    r"""Returns the positions of the pair features that are not left out.

    Args:
        num_features (int): The number of features: those of
            :class:`~torch_geometric_reid.transforms.PairFeatures` or of
            :class:`RefinePairs`.
        without (tuple): The names of those that are left out.
    """
    names = enumerate(REFINED_FEATURES[:num_features])
    return torch.tensor([i for i, name in names if name not in without])


class RefinePairs(BaseTransform):
    r"""Aggregates features along predicted links, and describes the pairs of the
    new graph by the new features, the old ones and the links.

    The new features are FA-GCN's mean with learned weights in the place of cosines,

    .. math::
        \mathbf{z}_i \propto \beta \mathbf{x}_i + \sum_{j \in N_i} p_{ij} \mathbf{x}_j.

    Reads :obj:`x` :math:`(N, d)`, :obj:`edge_index`, :obj:`edge_attr` and
    :obj:`node_attr` as of :class:`~torch_geometric_reid.transforms.PairFeatures`,
    the probabilities :obj:`link` :math:`(N K)` of its edges and, if there,
    :obj:`gallery_mask` :math:`(N)`; replaces :obj:`x`, :obj:`edge_index`,
    :obj:`edge_attr` :math:`(N K, 13)` and :obj:`node_attr` :math:`(N, 13)`, and
    removes :obj:`link`.

    Args:
        beta (float, optional): The weight :math:`\beta` of a node itself.
            (default: :obj:`3.0`)
    """

    def __init__(self, beta: float = 3.0):
        self.beta = beta

    @torch.no_grad()
    def forward(self, data: Data) -> Data:
        x, mask = data.x, data.get('gallery_mask')
        num_nodes = x.size(0)
        old = listed_nodes(data)
        old_score = data.edge_attr[:, 0].view(num_nodes, -1)
        link = data.link.view(num_nodes, -1)

        z = aggregate_links(x, old, link, self.beta)
        score, neighbor = neighbor_table(z, old.size(1), mask)
        after = describe_pairs(z, score, neighbor, neighbor)
        before = describe_pairs(x, old_score, old, neighbor)

        there, back = PairTable(old, link).both_ways(neighbor)
        profiles = link_profiles(old, mutual_link(data, link), mask)
        if mask is not None:
            listed = before[:, :, PAIR_FEATURES.index('rank_back')] < 1
            back = torch.where(mask.view(-1, 1), back, there * listed)
        links = torch.stack([there, back, row_dot(profiles, neighbor)], dim=-1)

        data.x = z
        data.edge_attr = torch.cat([after, before, links], dim=-1).flatten(0, 1)
        ones = z.new_ones(num_nodes, 3)
        data.node_attr = torch.cat(
            [describe_selves(score), data.node_attr, ones], dim=1
        )
        data.edge_index = neighbor_graph(neighbor, num_nodes)
        del data.link
        return data

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}(beta={self.beta})'


def aggregate_links(x: Tensor, neighbor: Tensor, link: Tensor, beta: float) -> Tensor:
    r"""Returns the features :math:`(N, d)` of unit length, aggregated along links.

    Args:
        x (torch.Tensor): The features :math:`(N, d)`.
        neighbor (torch.Tensor): The nodes :math:`(N, K)` that each node reads.
        link (torch.Tensor): The weights :math:`(N, K)`.
        beta (float): The weight of a node itself.
    """
    node = torch.arange(x.size(0), device=x.device).view(-1, 1)
    edge_index = neighbor_graph(torch.cat([node, neighbor], dim=1), x.size(0))
    weight = torch.cat([torch.full_like(link[:, :1], beta), link], dim=1)
    return NeighborMean().encode(x, edge_index, weight.view(-1))


def mutual_link(data: Data, link: Tensor) -> Tensor:
    r"""Returns the links :math:`(N, K)` of a graph with those of its probes, which
    gallery images do not list, halved where they would not list them.

    Args:
        data (Data): The graph, with :obj:`edge_attr` and maybe :obj:`gallery_mask`.
        link (torch.Tensor): The probabilities of its edges :math:`(N, K)`.
    """
    if 'gallery_mask' not in data:
        return link
    rank_back = data.edge_attr[:, PAIR_FEATURES.index('rank_back')].view_as(link)
    one_way = ~data.gallery_mask.view(-1, 1) & (rank_back >= 1)
    return torch.where(one_way, link / 2, link)
