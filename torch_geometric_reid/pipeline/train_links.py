r"""Training of the networks that predict links."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
import torch_geometric.transforms as T
from torch import Tensor
from torch_geometric.data import Data
from tqdm import tqdm

from torch_geometric_reid.nn import LinkGCN, focal_loss
from torch_geometric_reid.pipeline.checkpoint import Checkpoint
from torch_geometric_reid.pipeline.config import LinkConfig
from torch_geometric_reid.pipeline.link_contrast import LinkContrast
from torch_geometric_reid.pipeline.predict_links import kept_inputs, link_input
from torch_geometric_reid.pipeline.resumable import Resumable, Shuffled
from torch_geometric_reid.pipeline.sub_graphs import SubGraphs
from torch_geometric_reid.sampler import (
    HardGallerySampler,
    RandomProbabilityGallerySampler,
)
from torch_geometric_reid.transforms import (
    ConnectivityLabel,
    FuseEdges,
    ReadNodes,
)
from torch_geometric_reid.transforms.neighbor_table import listed_nodes


@torch.enable_grad()
def train_links(
    pairs: Data,
    y: Tensor,
    config: LinkConfig,
    seed: int = 0,
    progress: bool = False,
    checkpoint: Checkpoint | None = None,
    stage: str = 'links',
    contrast: LinkContrast | None = None,
    sources: Mapping[str, Tensor] | None = None,
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
        contrast (LinkContrast, optional): A second loss, which counts
            :obj:`config.contrast` times. (default: :obj:`None`)
        sources (dict, optional): What :obj:`pairs` was computed from: what a state is
            known by on a GPU. (default: :obj:`None`)

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
            kept_inputs(pairs, config).numel(),
            config.hidden_channels,
            config.num_layers,
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
        'y': y,
        'neighbor': neighbor,
        'edge_attr': pairs.edge_attr,
        'node_attr': pairs.node_attr,
    }
    if contrast is not None:
        inputs['target'] = contrast.target
    if training.resume(checkpoint, stage, config, seed, inputs, sources):
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
    transforms = [
        link_input(pairs, config),
        ReadNodes(y=y),
        ConnectivityLabel(),
        FuseEdges(),
    ]
    order = Shuffled(num_nodes, generator)
    loader = SubGraphs(
        sampler,
        num_nodes,
        T.Compose(transforms),
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
            if contrast is not None:
                loss = loss + config.contrast * contrast(batch, logit)
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
