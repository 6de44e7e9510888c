r"""EC-GCN at test time."""

from typing import NamedTuple

import torch
import torch_geometric.transforms as T
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.loader import NodeLoader
from tqdm import tqdm

from torch_geometric_reid.knn import dot_rounding, knn, stable_topk
from torch_geometric_reid.nn import ECGCN, ECGCNConv, FoldedECGCN
from torch_geometric_reid.pipeline.aggregate import Features
from torch_geometric_reid.pipeline.config import ECConfig
from torch_geometric_reid.pipeline.patch import Patch, PatchFeatures
from torch_geometric_reid.sampler import HardGallerySampler
from torch_geometric_reid.transforms import (
    CenterProbe,
    EvaluateConnectivity,
    FuseEdges,
)

HIDDEN_ELEMENTS = 2**22  # of a layer's output at a time: what caches hold
HIDDEN_ELEMENTS_CUDA = 2**27


class Connectivity(NamedTuple):
    r"""The scored gallery images of each probe.

    Attributes:
        image: The 1-hop images, nearest first, :math:`(Q, k_1)`.
        distance: Their probabilities of no link :math:`d_g`, :math:`(Q, k_1)`.
    """

    image: Tensor
    distance: Tensor


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
    distance = features.distance()
    num_query, num_gallery = distance.shape
    k1, k2 = min(config.num_neighbors[0], num_gallery), config.num_neighbors[1]
    width = min(max(k1, config.num_edges), num_gallery)
    order = stable_topk(-distance, width).index
    columns = min(max(k2, config.num_edges), num_gallery - 1)
    last = distance.new_full((num_gallery,), torch.inf)
    neighbor = torch.empty(num_gallery, 0, dtype=torch.long)
    if columns > 0:
        table = knn(features.gallery, columns, metric='sqeuclidean')
        neighbor = table.index.cpu()
        if columns >= config.num_edges:
            last = table.score[:, config.num_edges - 1]
    rounding = 4 * dot_rounding(features.query.size(1))  # the incumbent keeps a tie
    sampler = HardGallerySampler(
        neighbor,
        (k1, k2),
        config.num_edges,
        config.symmetric,
        config.self_loops,
        probe_neighbor=order.cpu(),
        inserted=(distance < last - rounding).nonzero().t().cpu(),
    )

    x = torch.cat([features.gallery, features.query])
    probe = torch.arange(num_gallery, num_gallery + num_query)
    scores = score(model, x, sampler, probe, config, features.patch, progress)
    return Connectivity(order[:, :k1], scores)


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
    scores = score(model, x, sampler, probe, config, progress=progress)
    return Connectivity(neighbor[:, :k1], scores)


def score(
    model: ECGCN,
    x: Tensor,
    sampler: HardGallerySampler,
    probe: Tensor,
    config: ECConfig,
    patch: Patch | None = None,
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
        patch (Patch, optional): Features that differ for a probe.
            (default: :obj:`None`)
        progress (bool, optional): Whether to show a progress bar.
            (default: :obj:`False`)
    """
    scorer: ECGCN | FoldedECGCN = model
    if all(isinstance(conv, ECGCNConv) for conv in model.convs):
        scorer = FoldedECGCN(model)
        x = scorer.project(x)
        patch = patch and patch._replace(x=scorer.project(patch.x))
    transforms = [CenterProbe(), FuseEdges(), EvaluateConnectivity(scorer)]
    if patch is not None:
        transforms.insert(0, PatchFeatures(patch, sampler.neighbor.size(0)))
    loader = NodeLoader(
        Data(x=x, edge_index=torch.empty(2, 0, dtype=torch.long, device=x.device)),
        sampler,
        input_nodes=probe,
        transform=T.Compose(transforms),
        batch_size=_batch_size(sampler, config, x.is_cuda),
    )
    bar = tqdm(loader, 'evaluate connectivity', disable=not progress, leave=False)
    return torch.cat([batch.connectivity_distance for batch in bar])


def _batch_size(sampler: HardGallerySampler, config: ECConfig, is_cuda: bool) -> int:
    k1, k2 = sampler.num_neighbors
    num_nodes = min(1 + k1 + k1 * k2, 1 + sampler.neighbor.size(0))
    elements = HIDDEN_ELEMENTS_CUDA if is_cuda else HIDDEN_ELEMENTS
    return max(1, elements // (num_nodes * config.hidden_channels))
