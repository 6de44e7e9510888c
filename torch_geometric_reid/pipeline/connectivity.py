r"""EC-GCN at test time."""

import math
from typing import NamedTuple

import torch
import torch_geometric.transforms as T
from torch import Tensor
from torch_geometric.nn.pool.knn import KNNOutput
from tqdm import tqdm

from torch_geometric_reid.knn import knn
from torch_geometric_reid.nn import ECGCN, ECGCNConv, FoldedECGCN
from torch_geometric_reid.pipeline.aggregate import Features
from torch_geometric_reid.pipeline.config import ECConfig
from torch_geometric_reid.pipeline.patch import PatchNodes
from torch_geometric_reid.pipeline.single_cores import on_single_cores
from torch_geometric_reid.pipeline.sub_graphs import SubGraphs
from torch_geometric_reid.precision import full_precision
from torch_geometric_reid.sampler import HardGallerySampler
from torch_geometric_reid.topk import dot_rounding, stable_topk
from torch_geometric_reid.transforms import EvaluateConnectivity, FuseEdges

HIDDEN_ELEMENTS = 3 * 2**20  # of layers' outputs at a time, if one sub-graph fits
HIDDEN_ELEMENTS_CUDA = 2**27


class Connectivity(NamedTuple):
    r"""The scored gallery images of each probe.

    Attributes:
        image: The 1-hop images, nearest first, :math:`(Q, k_1)`.
        distance: Their probabilities of no link :math:`d_g`, :math:`(Q, k_1)`.
    """

    image: Tensor
    distance: Tensor


@full_precision()
@torch.no_grad()
def connect(
    model: ECGCN, features: Features, config: ECConfig, progress: bool = False
) -> Connectivity:
    r"""Evaluates the connectivity of each probe and its nearest gallery images.

    Sub-graphs are those of the hard gallery sampler on squared Euclidean
    distances. A probe enters the lists of the gallery images that it is nearer
    to than their last neighbour; no other probe is ever a node.

    Args:
        model (ECGCN): The trained model.
        features (Features): Features of probes and gallery.
        config (ECConfig): The options that the model was trained with.
        progress (bool, optional): Whether to show a progress bar.
            (default: :obj:`False`)
    """
    gallery = ConnectedGallery(model, features.gallery, config)
    return gallery.read(features, features.distance(), progress)


class ConnectedGallery:
    r"""A gallery prepared for the connectivity of probes, see :meth:`connect`.

    Args:
        model (ECGCN): The trained model.
        gallery (torch.Tensor): Features of the gallery :math:`(G, d)`.
        config (ECConfig): The options that the model was trained with.
        table (KNNOutput, optional): Each image's nearest others by squared Euclidean
            distance :math:`(G, \mathrm{table\_width})`, if known.
            (default: :obj:`None`)

    Attributes:
        table: That table.
    """

    def __init__(
        self,
        model: ECGCN,
        gallery: Tensor,
        config: ECConfig,
        table: KNNOutput | None = None,
    ):
        self.config = config
        num_gallery = gallery.size(0)
        self.k1 = min(config.num_neighbors[0], num_gallery)
        self.width = min(max(self.k1, config.num_edges), num_gallery)
        if table is None:
            table = _table(gallery, table_width(config, num_gallery))
        self.table = table
        self.scorer = make_scorer(model)
        self.x = _project(self.scorer, gallery)
        self.sampler = HardGallerySampler(
            table.index.cpu(),
            (self.k1, config.num_neighbors[1]),
            config.num_edges,
            config.symmetric,
            config.self_loops,
            probe_neighbor=torch.empty(0, self.width, dtype=torch.long),
        )

    @torch.no_grad()
    def read(
        self, features: Features, distance: Tensor, progress: bool = False
    ) -> Connectivity:
        r"""Returns the connectivity of probes.

        Args:
            features (Features): Their features, and those of the gallery.
            distance (torch.Tensor): Their squared Euclidean distances
                :math:`(Q, G)`.
            progress (bool, optional): Whether to show a progress bar.
                (default: :obj:`False`)
        """
        num_query, num_gallery = distance.shape
        num_edges = self.config.num_edges
        order = stable_topk(-distance, self.width).index
        last = distance.new_tensor(torch.inf)
        if self.table.index.size(1) >= num_edges:
            last = self.table.score[:, num_edges - 1]
        rounding = 4 * dot_rounding(features.query.size(1))  # the incumbent keeps a tie
        sampler = self.sampler.with_probes(
            order.cpu(), (distance < last - rounding).nonzero().t().cpu()
        )
        num_nodes = num_gallery + num_query
        others, patch = [features.query], None
        if features.patch is not None:
            others.append(features.patch.x)
            patch = PatchNodes(features.patch, num_gallery, num_nodes)
        x = torch.cat([self.x, *(_project(self.scorer, other) for other in others)])
        probe = torch.arange(num_gallery, num_nodes)
        scores = _score(self.scorer, x, sampler, probe, self.config, patch, progress)
        return Connectivity(order[:, : self.k1], scores)


def table_width(config: ECConfig, num_gallery: int) -> int:
    r"""Returns how many of an image's nearest others the sub-graphs need."""
    return min(max(config.num_neighbors[1], config.num_edges), num_gallery - 1)


@full_precision()
@torch.no_grad()
def connect_all(
    model: ECGCN, x: Tensor, config: ECConfig, progress: bool = False
) -> Connectivity:
    r"""Evaluates the connectivity of each image and its nearest others, each a
    probe whose gallery are all others, as in training.

    Args:
        model (ECGCN): The trained model.
        x (torch.Tensor): The features :math:`(N, d)`.
        config (ECConfig): The options that the model was trained with.
        progress (bool, optional): Whether to show a progress bar.
            (default: :obj:`False`)
    """
    k1, k2 = min(config.num_neighbors[0], x.size(0) - 1), config.num_neighbors[1]
    columns = min(max(k1, k2 + 1, config.num_edges), x.size(0) - 1)
    neighbor = knn(x, columns, metric='sqeuclidean').index
    sampler = HardGallerySampler(
        neighbor.cpu(), (k1, k2), config.num_edges, config.symmetric, config.self_loops
    )
    probe = torch.arange(x.size(0))
    scores = score(model, x, sampler, probe, config, progress)
    return Connectivity(neighbor[:, :k1], scores)


@full_precision()
def score(
    model: ECGCN,
    x: Tensor,
    sampler: HardGallerySampler,
    probe: Tensor,
    config: ECConfig,
    progress: bool = False,
) -> Tensor:
    r"""Returns the probabilities of no link :math:`(Q, k_1)` of probes and their
    1-hop images.

    Args:
        model (ECGCN): The trained model.
        x (torch.Tensor): The features of gallery and, behind it, probes.
        sampler (HardGallerySampler): The sampler.
        probe (torch.Tensor): The probes' positions in :obj:`x`, :math:`(Q)`.
        config (ECConfig): The options.
        progress (bool, optional): Whether to show a progress bar.
            (default: :obj:`False`)
    """
    scorer = make_scorer(model)
    x = _project(scorer, x)
    return _score(scorer, x, sampler, probe, config, progress=progress)


def make_scorer(model: ECGCN) -> ECGCN | FoldedECGCN:
    r"""Returns the form of a trained model that is fastest."""
    if all(type(conv) is ECGCNConv for conv in model.convs):
        return FoldedECGCN(model)
    return model


def _project(scorer: ECGCN | FoldedECGCN, x: Tensor) -> Tensor:
    return scorer.project(x) if isinstance(scorer, FoldedECGCN) else x


def _score(
    scorer: ECGCN | FoldedECGCN,
    x: Tensor,
    sampler: HardGallerySampler,
    probe: Tensor,
    config: ECConfig,
    patch: PatchNodes | None = None,
    progress: bool = False,
) -> Tensor:
    at_once, num_threads = 1, torch.get_num_threads()
    # Another model may be in training, which is set and set back for each batch.
    is_folded = isinstance(scorer, FoldedECGCN)
    if is_folded and x.device.type == 'cpu' and probe.numel() >= num_threads:
        at_once = num_threads
    batch_size = _batch_size(sampler, config, x.is_cuda, at_once)
    loader = SubGraphs(
        sampler,
        x.size(0) if patch is None else patch.num_nodes,
        T.Compose([FuseEdges()] if patch is None else [patch, FuseEdges()]),
        x.device,
        probe,
        batch_size=max(1, min(batch_size, math.ceil(probe.numel() / at_once))),
    )
    bar = tqdm(loader, 'evaluate connectivity', disable=not progress, leave=False)
    apply = on_single_cores if at_once > 1 else map
    batches = apply(EvaluateConnectivity(scorer, x), bar)
    return torch.cat([batch.connectivity_distance for batch in batches])


def _table(gallery: Tensor, columns: int) -> KNNOutput:
    if columns == 0:
        index = torch.empty(1, 0, dtype=torch.long, device=gallery.device)
        return KNNOutput(gallery.new_empty(1, 0), index)
    return knn(gallery, columns, metric='sqeuclidean')


def _batch_size(
    sampler: HardGallerySampler, config: ECConfig, is_cuda: bool, at_once: int
) -> int:
    k1, k2 = sampler.num_neighbors
    num_nodes = min(1 + k1 + k1 * k2, 1 + sampler.neighbor.size(0))
    elements = HIDDEN_ELEMENTS_CUDA if is_cuda else HIDDEN_ELEMENTS // at_once
    return max(1, elements // (num_nodes * config.hidden_channels))
