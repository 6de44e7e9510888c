r"""k-reciprocal re-ranking behind FA-GCN and EC-GCN."""

import torch
from torch import Tensor

from torch_geometric_reid.distance import fuse_distance, pairwise_distance
from torch_geometric_reid.nn import ECGCN
from torch_geometric_reid.pipeline.aggregate import Features
from torch_geometric_reid.pipeline.config import Config
from torch_geometric_reid.pipeline.connectivity import Connectivity, connect_all
from torch_geometric_reid.rerank import k_reciprocal, k_reciprocal_from_distance


def rerank(
    features: Features,
    distance: Tensor,
    connectivity: Connectivity | None,
    config: Config,
    model: ECGCN | None = None,
) -> Tensor:
    r"""Re-ranks by k-reciprocal encoding, which the paper adds to its full method
    without saying how. There are three readings:

    - :obj:`"rr_then_ec"`: :math:`d_{RR} + \lambda d_g`, with :math:`d_{RR}` from
      the features;
    - :obj:`"dstar_as_original"`: the Jaccard distance from the features, mixed
      with :math:`d^{*}` (divided by each probe's maximum over the gallery) in the
      place of the original distance;
    - :obj:`"rr_on_dstar"`: :math:`d^{*}` of all pairs of probes and gallery
      images, for which EC-GCN takes each of them as a probe, is re-ranked. It
      holds the :math:`(Q + G)^2` distances.

    All are joint: probes are each other's references. The features of gallery
    images are those that no probe has changed.

    Args:
        features (Features): Features of probes and gallery.
        distance (torch.Tensor): Their distances :math:`d`, :math:`(Q, G)`.
        connectivity (Connectivity, optional): Their connectivity.
        config (Config): The options; :obj:`config.rank.rerank` is the reading.
        model (ECGCN, optional): The model, for :obj:`"rr_on_dstar"`.
            (default: :obj:`None`)

    Returns:
        The distances :math:`(Q, G)`.
    """
    rank, rr = config.rank, config.rank.k_reciprocal
    query, gallery = features.query, features.gallery
    if rank.rerank == 'rr_on_dstar':
        full = _distance_of_all_pairs(features, config, model)
        num_gallery = gallery.size(0)
        blocks = (
            full[num_gallery:, :num_gallery],
            full[num_gallery:, num_gallery:],
            full[:num_gallery, :num_gallery],
        )
        return k_reciprocal_from_distance(*blocks, *rr)

    if rank.rerank == 'rr_then_ec':
        out = k_reciprocal(query, gallery, *rr)
        if connectivity is None:
            return out
        return fuse_distance(out, *connectivity, rank.weight, rank.fill)

    if connectivity is not None:
        distance = fuse_distance(distance, *connectivity, rank.weight, rank.fill)
    jaccard = k_reciprocal(query, gallery, rr[0], rr[1], lambda_value=0.0)
    original = distance / distance.amax(dim=1, keepdim=True)
    return (1 - rr[2]) * jaccard + rr[2] * original


def _distance_of_all_pairs(
    features: Features, config: Config, model: ECGCN | None
) -> Tensor:
    # k-reciprocal encoding squares symmetric distances, hence the mean with the
    # transposed and the root.
    x = torch.cat([features.gallery, features.query])
    distance = pairwise_distance(x, x)
    if model is not None and config.ec is not None:
        scored = connect_all(model, x, config.ec)
        rank = config.rank
        distance = fuse_distance(distance, *scored, rank.weight, rank.fill)
        distance = (distance + distance.t()) / 2
    return distance.fill_diagonal_(0).sqrt()
