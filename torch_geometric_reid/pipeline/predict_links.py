r"""Use of the networks that predict links."""

import torch
import torch_geometric.transforms as T
from torch import Tensor
from torch_geometric.data import Data
from tqdm import tqdm

from torch_geometric_reid.nn import LinkGCN
from torch_geometric_reid.pipeline.config import LinkConfig
from torch_geometric_reid.pipeline.sub_graphs import SubGraphs
from torch_geometric_reid.sampler import HardGallerySampler
from torch_geometric_reid.topk import dot_rounding
from torch_geometric_reid.transforms import FuseEdges, LinkInput, RefinePairs
from torch_geometric_reid.transforms.neighbor_table import listed_nodes
from torch_geometric_reid.transforms.refine_pairs import kept_features

EVALUATED = 128  # sub-graphs evaluated at a time


@torch.no_grad()
def predict_links(
    model: LinkGCN,
    pairs: Data,
    config: LinkConfig,
    progress: bool = False,
    node: Tensor | None = None,
) -> Tensor:
    r"""Returns the probabilities of a link :math:`(N, K)` of each node, or each that is
    asked for, and its nearest.

    Args:
        model (LinkGCN): The trained model.
        pairs (Data): The graph, with :obj:`x`; gallery images before probes if
            there is a :obj:`gallery_mask`.
        config (LinkConfig): The options that the model was trained with.
        progress (bool, optional): Whether to show a progress bar.
            (default: :obj:`False`)
        node (torch.Tensor, optional): The nodes whose links are wanted, ascending.
            By default, all. (default: :obj:`None`)
    """
    neighbor = listed_nodes(pairs).cpu().contiguous()
    num_nodes, k = neighbor.shape
    num_edges = min(config.num_edges, k)
    mask = pairs.get('gallery_mask')
    num_gallery = num_nodes if mask is None else int(mask.sum())
    if mask is not None and not mask[:num_gallery].all():
        raise ValueError("'pairs' needs the nodes of its 'gallery_mask' first")
    node = torch.arange(num_nodes) if node is None else node.cpu()
    images, probes = node[node < num_gallery], node[node >= num_gallery]
    parts = []
    if images.numel() > 0:
        sampler = HardGallerySampler(
            neighbor[:num_gallery], (min(k, num_gallery - 1), 0), num_edges
        )
        parts.append((sampler, images))
    if probes.numel() > 0:
        sampler = HardGallerySampler(
            neighbor[:num_gallery],
            (k, 0),
            num_edges,
            probe_neighbor=neighbor[num_gallery:],
            inserted=_inserted(pairs, num_gallery, num_edges),
        )
        parts.append((sampler, probes))

    outs = []
    for sampler, part in parts:
        loader = SubGraphs(
            sampler,
            num_nodes,
            T.Compose([link_input(pairs, config), FuseEdges()]),
            pairs.x.device,
            part,
            batch_size=EVALUATED,
        )
        for batch in tqdm(loader, 'links', disable=not progress, leave=False):
            logit = model(
                batch.x, batch.edge_index, batch.edge_weight, batch.num_sampled_nodes
            )
            outs.append(logit.sigmoid().view(-1, k))
    return torch.cat(outs)


def refine_pairs(pairs: Data, link: Tensor, config: LinkConfig) -> Data:
    r"""Returns the graph of the features that links make, see
    :class:`~torch_geometric_reid.transforms.RefinePairs`.

    Args:
        pairs (Data): See :meth:`predict_links`.
        link (torch.Tensor): The links :math:`(N, K)` of the first network.
        config (LinkConfig): The options.
    """
    pairs.link = link.view(-1)
    return RefinePairs(config.beta)(pairs)


def _inserted(pairs: Data, num_gallery: int, num_edges: int) -> Tensor:
    # Pairs (probe, image) in which the probe is nearer to the image than the last
    # of its nearest, beyond rounding.
    neighbor = listed_nodes(pairs)
    score = pairs.edge_attr[:, 0].view_as(neighbor)
    last = score[:num_gallery, num_edges - 1]
    probe_score, image = score[num_gallery:], neighbor[num_gallery:]
    nearer = probe_score > last[image] + dot_rounding(pairs.x.size(1))
    row, place = nearer.nonzero(as_tuple=True)
    return torch.stack([row, image[row, place]]).cpu()


def kept_inputs(pairs: Data, config: LinkConfig) -> Tensor:
    r"""Returns the columns of a node's features that a network reads."""
    kept = kept_features(pairs.node_attr.size(1), config.without)
    return kept.to(pairs.node_attr.device)


def link_input(pairs: Data, config: LinkConfig) -> LinkInput:
    r"""Returns the transform of a sub-graph to what a network reads."""
    return LinkInput(pairs, kept_inputs(pairs, config))
