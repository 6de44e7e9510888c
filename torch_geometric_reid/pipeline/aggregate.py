r"""FA-GCN at test time, on the three graphs of probes and gallery."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.nn.pool.knn import KNNOutput

from torch_geometric_reid.checks import check_choice
from torch_geometric_reid.distance import pairwise_distance
from torch_geometric_reid.knn import KNNSearch, knn
from torch_geometric_reid.nn import FAGCN, NeighborMean
from torch_geometric_reid.pipeline.patch import Patch
from torch_geometric_reid.precision import full_precision
from torch_geometric_reid.topk import dot_rounding
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


@full_precision()
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
    if graph != 'joint' and not affinity.symmetrize and model.num_layers == 1:
        return AggregatedGallery(model, gallery, affinity).read(query, graph)
    if graph == 'probe':
        raise ValueError(
            f'\'graph="probe"\' needs a model of one layer '
            f'(got \'num_layers={model.num_layers}\'; use "gallery" or "joint")'
        )
    data = Data(x=torch.cat([gallery, query]))
    num_gallery = gallery.size(0)
    if graph == 'gallery':
        node = torch.arange(data.num_nodes, device=data.x.device)
        data.gallery_mask = node < num_gallery
    data = affinity(data)
    z = model.encode(data.x, data.edge_index, data.edge_weight)
    return Features(z[num_gallery:], z[:num_gallery])


class AggregatedGallery:
    r"""The features of a gallery after one layer of FA-GCN, kept to be read by
    probes.

    Args:
        model (torch.nn.Module): The FA-GCN or untrained control, of one layer.
        gallery (torch.Tensor): Features of the gallery :math:`(G, d)`, of unit
            length.
        affinity (AffinityGraph): The transform that builds the directed graph.
        table (KNNOutput, optional): Each image's nearest others, if known.
            (default: :obj:`None`)
        known (tuple, optional): Features :math:`(G, h)` that are known, and the rows
            that have to be computed all the same. (default: :obj:`None`)

    Attributes:
        table: Each image's nearest others :math:`(G, \min(k, G - 1))`.
        z: The features :math:`(G, h)`.
    """

    def __init__(
        self,
        model: FAGCN | NeighborMean,
        gallery: Tensor,
        affinity: AffinityGraph,
        table: KNNOutput | None = None,
        known: tuple[Tensor, Tensor] | None = None,
    ):
        self.model = model
        self.affinity = affinity
        self.x = gallery
        self.items = KNNSearch(gallery, affinity.k, backend=affinity.backend or 'torch')
        if table is None:
            table = knn(gallery, affinity.k, backend=affinity.backend)
        self.table = table
        self.gathered, self.degree = self._gather(gallery, table)
        if known is None:
            self.z = model.encode_rows(gallery, self.gathered)
        else:
            self.z, row = known[0].clone(), known[1]
            self.z[row] = model.encode_rows(gallery[row], self.gathered[row])

    def read(self, query: Tensor, graph: str) -> Features:
        r"""Returns the features of probes and gallery, see :meth:`aggregate`.

        Args:
            query (torch.Tensor): Features of the probes :math:`(Q, d)`.
            graph (str): :obj:`"probe"` or :obj:`"gallery"`.
        """
        near = self.items.search(query)
        z = self.model.encode_rows(query, self._gather(query, near)[0])
        patch = self._patch(query) if graph == 'probe' else None
        return Features(z, self.z, patch)

    def _gather(self, x: Tensor, table: KNNOutput) -> tuple[Tensor, Tensor]:
        # Rows of A~ F, and the sums of the rows of A + I.
        weight = self.affinity.weigh(table.score.to(x.dtype))
        degree = 1 + weight.sum(dim=1, keepdim=True)
        total = F.embedding_bag(
            table.index, self.x, mode='sum', per_sample_weights=weight
        )
        return (x + total) / degree, degree

    def _patch(self, query: Tensor) -> Patch:
        # An image with a probe among its k nearest loses its k-th neighbour to it:
        # its row of A~ F changes by two terms.
        x = self.x
        probes, images, features = [], [], []
        rows = max(1, BLOCK_ELEMENTS // len(x))
        rounding = dot_rounding(x.size(1))  # a tie stays with the k-th neighbour
        full = self.table.index.size(1) == self.affinity.k
        unit, unit_query = self.items.x, F.normalize(query)
        for part in torch.arange(len(query), device=x.device).split(rows):
            score = unit_query[part] @ unit.t()
            last = self.table.score[:, -1] if full else score.new_tensor(-torch.inf)
            at, image = (score > last + rounding).nonzero(as_tuple=True)
            probe = part[at]
            new = self.affinity.weigh(score[at, image]).view(-1, 1)
            total = self.degree[image]
            row = total * self.gathered[image] + new * query[probe]
            total = total + new
            if full:
                old = self.affinity.weigh(self.table.score[image, -1]).view(-1, 1)
                row = row - old * x[self.table.index[image, -1]]
                total = total - old
            probes.append(probe)
            images.append(image)
            features.append(self.model.encode_rows(x[image], row / total))
        return Patch(torch.cat(probes), torch.cat(images), torch.cat(features))
