r"""The tables of a gallery that the recipe of learned links prepares."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.nn.pool.knn import KNNOutput

from torch_geometric_reid.nn import LinkGCN
from torch_geometric_reid.pipeline.config import LinkConfig
from torch_geometric_reid.pipeline.predict_links import predict_links, refine_pairs
from torch_geometric_reid.transforms.neighbor_table import listed_nodes
from torch_geometric_reid.transforms.pair_features import describe_graph
from torch_geometric_reid.transforms.update_table import update_table


class LinkTables(NamedTuple):
    r"""What is computed of a gallery once.

    Attributes:
        x: The features :math:`(G, d)`.
        score, neighbor: The cosines of each image's nearest others, and these.
        link: The probabilities of links to them, by the first network.
        new_x, new_score, new_neighbor: The same of the new features.
        new_link: The probabilities of links, by the second network.
    """

    x: Tensor
    score: Tensor
    neighbor: Tensor
    link: Tensor
    new_x: Tensor
    new_score: Tensor
    new_neighbor: Tensor
    new_link: Tensor


def prepare_tables(
    x: Tensor,
    table: KNNOutput,
    first: LinkGCN,
    second: LinkGCN,
    config: LinkConfig,
    progress: bool = False,
) -> LinkTables:
    r"""Computes the tables of a gallery.

    Args:
        x (torch.Tensor): The gallery's features :math:`(G, d)` of unit length.
        table (KNNOutput): Each image's nearest others.
        first (LinkGCN): The first network.
        second (LinkGCN): The second one.
        config (LinkConfig): The options.
        progress (bool, optional): Whether to show progress bars.
            (default: :obj:`False`)
    """
    pairs = describe_graph(Data(x=x), table)
    link = predict_links(first, pairs, config, progress)
    return _refine(pairs, table, link, second, config, progress)


def update_tables(
    tables: LinkTables,
    x: Tensor,
    position: Tensor,
    first: LinkGCN,
    second: LinkGCN,
    config: LinkConfig,
) -> LinkTables:
    r"""Computes the tables after images were added or removed, up to rounding and the
    order of duplicates. The first lists and links are kept where they stay the same.
    What comes after them is computed anew: new features move a little where a link
    does, and most images list one that moved.

    Args:
        tables (LinkTables): Those before, of :math:`M` images.
        x (torch.Tensor): The features now :math:`(G, d)` of unit length.
        position (torch.Tensor): The row before of each image :math:`(G)`, ascending,
            and -1 for images that are new.
        first (LinkGCN): The first network.
        second (LinkGCN): The second one.
        config (LinkConfig): The options.
    """
    before = KNNOutput(tables.score, tables.neighbor)
    table, searched = update_table(x, config.k, before, position)
    stale = searched | searched[table.index].any(dim=1)
    if stale.all():
        return prepare_tables(x, table, first, second, config)
    pairs = describe_graph(Data(x=x), table)
    link = torch.empty_like(table.score)
    link[~stale] = tables.link[position[~stale]]
    if stale.any():
        node = stale.nonzero().view(-1)
        link[node] = predict_links(first, pairs, config, node=node)
    return _refine(pairs, table, link, second, config)


def _refine(
    pairs: Data,
    table: KNNOutput,
    link: Tensor,
    second: LinkGCN,
    config: LinkConfig,
    progress: bool = False,
) -> LinkTables:
    x = pairs.x
    pairs = refine_pairs(pairs, link, config)
    new_link = predict_links(second, pairs, config, progress)
    neighbor = listed_nodes(pairs)
    score = pairs.edge_attr[:, 0].view_as(neighbor).contiguous()
    return LinkTables(
        x,
        table.score,
        table.index,
        link,
        pairs.x,
        score,
        neighbor.contiguous(),
        new_link,
    )
