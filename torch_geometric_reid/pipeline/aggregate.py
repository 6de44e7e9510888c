r"""FA-GCN at test time, on the three graphs of probes and gallery."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import Data

from torch_geometric_reid.checks import check_choice
from torch_geometric_reid.distance import pairwise_distance
from torch_geometric_reid.knn import dot_rounding
from torch_geometric_reid.nn import FAGCN, AffinityConv, NeighborMean
from torch_geometric_reid.pipeline.patch import Patch
from torch_geometric_reid.transforms import AffinityGraph

GRAPHS = ('probe', 'gallery', 'joint')
BLOCK_ELEMENTS = 2**25


class Features(NamedTuple):
    r"""Features of probes and gallery.

    Attributes:
        query: Features of the probes :math:`(Q, d)`.
        gallery: Features of the gallery :math:`(G, d)`.
        patch: Where gallery features differ for a probe, if anywhere.
    """

    query: Tensor
    gallery: Tensor
    patch: Patch | None = None

    def distance(self, metric: str = 'sqeuclidean') -> Tensor:
        r"""Returns the distances :math:`(Q, G)`, see
        :meth:`~torch_geometric_reid.distance.pairwise_distance`.
        """
        out = pairwise_distance(self.query, self.gallery, metric)
        if self.patch is not None:
            probe, image, x = self.patch
            for part in torch.arange(len(x), device=x.device).split(2**16):
                own = (self.query[probe[part]] - x[part]).square().sum(dim=1)
                if metric == 'cosine':
                    own = own / 2
                elif metric == 'euclidean':
                    own = own.sqrt()
                out[probe[part], image[part]] = own
        return out


@torch.no_grad()
def aggregate(
    model: FAGCN | NeighborMean,
    query: Tensor,
    gallery: Tensor,
    affinity: AffinityGraph,
    graph: str = 'probe',
) -> Features:
    r"""Aggregates the features of probes and gallery.

    - :obj:`"probe"`: for each probe :math:`p` the graph of :math:`\{p\}` and the
      gallery. The features of gallery images that have :math:`p` among their
      :math:`k` nearest differ from probe to probe; they are found exactly and
      returned as a patch. For one directed layer only.
    - :obj:`"gallery"`: probes read from the gallery, which does not change.
    - :obj:`"joint"`: one graph of all probes and the gallery, in which probes
      serve each other as unlabelled references.

    Args:
        model (torch.nn.Module): A trained FA-GCN or an untrained control.
        query (torch.Tensor): Features of the probes :math:`(Q, d)`, of unit
            length.
        gallery (torch.Tensor): Features of the gallery :math:`(G, d)`, of unit
            length.
        affinity (AffinityGraph): The transform that builds the graph.
        graph (str, optional): The graph. (default: :obj:`"probe"`)

    Raises:
        ValueError: If the model has several layers or the graph is symmetrised
            and :obj:`graph` is :obj:`"probe"`.
    """
    check_choice('graph', graph, GRAPHS)
    if graph == 'probe' and affinity.symmetrize:
        raise ValueError(
            '\'graph="probe"\' needs a directed affinity graph '
            '(got \'symmetrize=True\'; use "gallery" or "joint")'
        )
    data = Data(x=torch.cat([gallery, query]))
    num_gallery = gallery.size(0)
    if graph != 'joint':
        node = torch.arange(data.num_nodes, device=data.x.device)
        data.gallery_mask = node < num_gallery
    data = affinity(data)
    z = model.encode(data.x, data.edge_index, data.edge_weight)
    patch = None
    if graph == 'probe':
        patch = _patch_gallery(model, data, num_gallery, affinity)
    return Features(z[num_gallery:], z[:num_gallery], patch)


def _patch_gallery(
    model: FAGCN | NeighborMean, data: Data, num_gallery: int, affinity: AffinityGraph
) -> Patch:
    # An image g with a probe among its k nearest loses its k-th neighbour to it:
    # its row of A~ F changes by two terms.
    x = data.x
    gathered = AffinityConv()(x, data.edge_index, data.edge_weight)
    loop = data.edge_index[0] == data.edge_index[1]
    degree = 1 / data.edge_weight[loop]  # the self-loop weighs one
    unit = F.normalize(x)
    rounding = dot_rounding(x.size(1))  # a tie stays with the k-th neighbour
    probes, images, features = [], [], []
    rows = max(1, BLOCK_ELEMENTS // num_gallery)
    for query in torch.arange(num_gallery, len(x), device=x.device).split(rows):
        score = unit[query] @ unit[:num_gallery].t()
        nearer = score > data.last_score[:num_gallery] + rounding
        at, image = nearer.nonzero(as_tuple=True)
        probe = query[at]
        new = affinity.weigh(score[at, image]).view(-1, 1)
        old = affinity.weigh(data.last_score[image]).view(-1, 1)
        total = degree[image].view(-1, 1)
        row = total * gathered[image] + new * x[probe]
        row = (row - old * x[data.last_neighbor[image]]) / (total + new - old)
        probes.append(probe - num_gallery)
        images.append(image)
        features.append(model.encode_rows(x[image], row))
    return Patch(torch.cat(probes), torch.cat(images), torch.cat(features))
