r"""Training and use of the networks that predict links."""

import torch
import torch.nn.functional as F
import torch_geometric.transforms as T
from torch import Tensor
from torch_geometric.data import Data
from tqdm import tqdm

from torch_geometric_reid.nn import LinkGCN, focal_loss
from torch_geometric_reid.pipeline.checkpoint import Checkpoint
from torch_geometric_reid.pipeline.config import LinkConfig
from torch_geometric_reid.pipeline.resumable import Resumable, Shuffled
from torch_geometric_reid.pipeline.sub_graphs import SubGraphs
from torch_geometric_reid.sampler import (
    HardGallerySampler,
    RandomProbabilityGallerySampler,
)
from torch_geometric_reid.topk import dot_rounding
from torch_geometric_reid.transforms import (
    ConnectivityLabel,
    FuseEdges,
    LinkInput,
    ReadNodes,
)
from torch_geometric_reid.transforms.neighbor_table import listed_nodes
from torch_geometric_reid.transforms.refine_pairs import kept_features

EVALUATED = 128  # sub-graphs evaluated at a time


@torch.enable_grad()
def train_links(
    pairs: Data,
    y: Tensor,
    config: LinkConfig,
    seed: int = 0,
    progress: bool = False,
    checkpoint: Checkpoint | None = None,
    stage: str = 'links',
) -> LinkGCN:
    r"""Trains a network to tell whether an image and one of its nearest show the
    same identity.

    Args:
        pairs (Data): The graph of training images, as of
            :class:`~torch_geometric_reid.transforms.PairFeatures` or
            :class:`~torch_geometric_reid.transforms.RefinePairs`.
        y (torch.Tensor): The identities :math:`(N)`.
        config (LinkConfig): The options.
        seed (int, optional): The seed. (default: :obj:`0`)
        progress (bool, optional): Whether to show a progress bar.
            (default: :obj:`False`)
        checkpoint (Checkpoint, optional): Where the state is saved, and read from
            to go on. (default: :obj:`None`)
        stage (str, optional): The name of the state there. (default: :obj:`"links"`)

    Returns:
        The trained model, in evaluation mode.

    Raises:
        ValueError: If the state belongs to other data or options.
    """
    neighbor = listed_nodes(pairs).cpu().contiguous()
    num_nodes, k = neighbor.shape
    size = min(config.batch_size, num_nodes)
    num_steps = max(2, config.num_probes // size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LinkGCN(
            _kept(pairs, config).numel(), config.hidden_channels, config.num_layers
        )
        model.reset_parameters()
    model = model.to(y.device)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.lr, weight_decay=config.weight_decay
    )
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.lr, total_steps=num_steps
    )
    generator = torch.Generator().manual_seed(seed)
    training = Resumable(model, optimizer, scheduler, generator)
    inputs = {
        'neighbor': neighbor,
        'edge_attr': pairs.edge_attr,
        'node_attr': pairs.node_attr,
        'y': y,
    }
    if training.resume(checkpoint, stage, config, seed, inputs):
        return model.eval()
    num_edges = min(config.num_edges, k)
    if config.sampler == 'rpgs':
        sampler: HardGallerySampler = RandomProbabilityGallerySampler(
            neighbor,
            y.cpu(),
            (max(1, int(k / config.gamma)), 0),
            num_edges,
            min(config.gamma, k),
            seed=seed,
        )
    else:
        sampler = HardGallerySampler(neighbor, (k, 0), num_edges)
    order = Shuffled(num_nodes, generator)
    loader = SubGraphs(
        sampler,
        num_nodes,
        T.Compose(
            [_input(pairs, config), ReadNodes(y=y), ConnectivityLabel(), FuseEdges()]
        ),
        y.device,
        generator=generator,
        batch_size=size,
        sampler=order,
        drop_last=True,
    )
    bar = tqdm(
        total=num_steps,
        desc='train links',
        initial=training.step,
        disable=not progress,
        leave=False,
    )
    epoch = training.epoch
    while training.step < num_steps:
        training.begin_epoch(epoch)
        order.skip = (training.step - epoch * len(loader)) * size
        if isinstance(sampler, RandomProbabilityGallerySampler):
            sampler.set_epoch(epoch)
        for batch in loader:
            if training.step == num_steps:
                break
            logit = model(
                batch.x, batch.edge_index, batch.edge_weight, batch.num_sampled_nodes
            )
            if config.loss == 'focal':
                both = torch.stack([torch.zeros_like(logit), logit], dim=1)
                loss = focal_loss(both, batch.edge_label)
            else:
                loss = F.binary_cross_entropy_with_logits(
                    logit, batch.edge_label.to(logit.dtype)
                )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            training.end_step()
            bar.update()
        epoch += 1
    bar.close()
    training.finish()
    return model.eval()


@torch.no_grad()
def predict_links(
    model: LinkGCN, pairs: Data, config: LinkConfig, progress: bool = False
) -> Tensor:
    r"""Returns the probabilities of a link :math:`(N, K)` of each node and its
    nearest.

    Args:
        model (LinkGCN): The trained model.
        pairs (Data): The graph, with :obj:`x`; gallery images before probes if
            there is a :obj:`gallery_mask`.
        config (LinkConfig): The options that the model was trained with.
        progress (bool, optional): Whether to show a progress bar.
            (default: :obj:`False`)
    """
    neighbor = listed_nodes(pairs).cpu().contiguous()
    num_nodes, k = neighbor.shape
    num_edges = min(config.num_edges, k)
    mask = pairs.get('gallery_mask')
    num_gallery = num_nodes if mask is None else int(mask.sum())
    if mask is not None and not mask[:num_gallery].all():
        raise ValueError("'pairs' needs the nodes of its 'gallery_mask' first")
    parts = []
    if num_gallery > 0:
        sampler = HardGallerySampler(
            neighbor[:num_gallery], (min(k, num_gallery - 1), 0), num_edges
        )
        parts.append((sampler, torch.arange(num_gallery)))
    if num_gallery < num_nodes:
        sampler = HardGallerySampler(
            neighbor[:num_gallery],
            (k, 0),
            num_edges,
            probe_neighbor=neighbor[num_gallery:],
            inserted=_inserted(pairs, num_gallery, num_edges),
        )
        parts.append((sampler, torch.arange(num_gallery, num_nodes)))

    outs = []
    for sampler, node in parts:
        loader = SubGraphs(
            sampler,
            num_nodes,
            T.Compose([_input(pairs, config), FuseEdges()]),
            pairs.x.device,
            node,
            batch_size=EVALUATED,
        )
        for batch in tqdm(loader, 'links', disable=not progress, leave=False):
            logit = model(
                batch.x, batch.edge_index, batch.edge_weight, batch.num_sampled_nodes
            )
            outs.append(logit.sigmoid().view(-1, k))
    return torch.cat(outs)


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


def _kept(pairs: Data, config: LinkConfig) -> Tensor:
    kept = kept_features(pairs.node_attr.size(1), config.without)
    return kept.to(pairs.node_attr.device)


def _input(pairs: Data, config: LinkConfig) -> LinkInput:
    return LinkInput(pairs, _kept(pairs, config))
