r"""Training of FA-GCN and EC-GCN on the features of the training images."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
import torch_geometric.transforms as T
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.nn import SAGEConv
from tqdm import tqdm

from torch_geometric_reid.knn import knn
from torch_geometric_reid.nn import (
    ECGCN,
    FAGCN,
    ECGCNConv,
    focal_loss,
    supervised_contrastive_loss,
)
from torch_geometric_reid.pipeline.checkpoint import Checkpoint
from torch_geometric_reid.pipeline.config import ECConfig, FAConfig
from torch_geometric_reid.pipeline.resumable import Resumable, Shuffled
from torch_geometric_reid.pipeline.sub_graphs import SubGraphs
from torch_geometric_reid.precision import full_precision
from torch_geometric_reid.sampler import (
    HardGallerySampler,
    RandomProbabilityGallerySampler,
)
from torch_geometric_reid.transforms import (
    AffinityGraph,
    ConnectivityLabel,
    FuseEdges,
    ReadNodes,
)


def make_affinity(config: FAConfig) -> AffinityGraph:
    r"""Returns the transform that builds FA-GCN's graph."""
    return AffinityGraph(
        config.k,
        binary=config.binary,
        threshold=config.threshold,
        symmetrize=config.symmetrize,
    )


def make_fa(in_channels: int, num_classes: int | None, config: FAConfig) -> FAGCN:
    r"""Returns a new FA-GCN."""
    return FAGCN(
        in_channels,
        config.hidden_channels,
        config.num_layers,
        num_classes,
        config.bias,
        config.last_act,
    )


def make_ec(in_channels: int, config: ECConfig) -> ECGCN:
    r"""Returns a new EC-GCN."""
    conv = SAGEConv if config.concat else ECGCNConv
    return ECGCN(in_channels, config.hidden_channels, config.num_layers, conv)


def make_sampler(
    x: Tensor, y: Tensor, config: ECConfig, seed: int
) -> HardGallerySampler:
    r"""Returns the sampler of EC-GCN's training."""
    k1, k2 = config.num_neighbors
    drawn = int(k1 * config.gamma) if config.sampler == 'rpgs' else k1
    wanted = min(max(drawn, k2 + 1, config.num_edges), x.size(0) - 1)
    neighbor = knn(x, wanted, metric='sqeuclidean').index.cpu()
    options: dict[str, Any] = {
        'num_neighbors': (min(k1, x.size(0) - 1), k2),
        'num_edges': config.num_edges,
        'symmetric': config.symmetric,
        'self_loops': config.self_loops,
    }
    if config.sampler == 'hgs':
        return HardGallerySampler(neighbor, **options)
    return RandomProbabilityGallerySampler(
        neighbor, y.cpu(), gamma=config.gamma, seed=seed, **options
    )


@full_precision()
def train_fa(
    x: Tensor,
    y: Tensor,
    config: FAConfig,
    seed: int = 0,
    progress: bool = False,
    checkpoint: Checkpoint | None = None,
    stage: str = 'fa',
) -> FAGCN:
    r"""Trains FA-GCN with cross entropy and the supervised contrastive loss,
    eq. (7), on the affinity graph of all training images.

    Args:
        x (torch.Tensor): The features :math:`(N, d)`, of unit length.
        y (torch.Tensor): The identities :math:`(N)`.
        config (FAConfig): The options.
        seed (int, optional): The seed. (default: :obj:`0`)
        progress (bool, optional): Whether to show a progress bar.
            (default: :obj:`False`)
        checkpoint (Checkpoint, optional): Where the state is saved, and read from
            to go on. (default: :obj:`None`)
        stage (str, optional): The name of the state there. (default: :obj:`"fa"`)

    Returns:
        The trained model, in evaluation mode.

    Raises:
        ValueError: If the state belongs to other data or options.
    """
    inputs = {'x': x, 'y': y}
    y = y.unique(return_inverse=True)[1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = make_fa(x.size(1), int(y.max()) + 1, config).to(x.device)
    if config.optimizer == 'adam':
        optimizer: torch.optim.Optimizer = torch.optim.Adam(
            model.parameters(), lr=config.lr, weight_decay=config.weight_decay
        )
    else:
        optimizer = torch.optim.SGD(
            model.parameters(),
            lr=config.lr,
            momentum=0.9,
            weight_decay=config.weight_decay,
        )
    scheduler = torch.optim.lr_scheduler.MultiStepLR(
        optimizer, list(config.milestones), config.lr_decay
    )
    training = Resumable(model, optimizer, scheduler)
    if training.resume(checkpoint, stage, config, seed, inputs):
        return model.eval()
    data = make_affinity(config)(Data(x=x))
    graph = (data.edge_index, data.edge_weight)
    gathered = model.convs[0].gather((x, x), *graph)
    for _ in tqdm(
        range(training.step, config.steps),
        'train FA-GCN',
        config.steps,
        initial=training.step,
        disable=not progress,
        leave=False,
    ):
        optimizer.zero_grad()
        with _autocast(x, config.precision):
            z = model.embed(x, *graph, gathered=gathered)
            loss = F.cross_entropy(model.classify(z), y)
            if config.contrastive_weight > 0:
                loss = loss + config.contrastive_weight * supervised_contrastive_loss(
                    z.to(x.dtype), y, config.temperature, config.include_self
                )
        loss.backward()
        optimizer.step()
        scheduler.step()
        training.end_step()
    training.finish()
    return model.eval()


@full_precision()
def train_ec(
    x: Tensor,
    y: Tensor,
    config: ECConfig,
    seed: int = 0,
    progress: bool = False,
    checkpoint: Checkpoint | None = None,
    stage: str = 'ec',
    sources: Mapping[str, Tensor] | None = None,
) -> ECGCN:
    r"""Trains EC-GCN on the sub-graphs around the training images, each a probe
    whose gallery are all others.

    Args:
        x (torch.Tensor): The features :math:`(N, d)`, of unit length.
        y (torch.Tensor): The identities :math:`(N)`.
        config (ECConfig): The options.
        seed (int, optional): The seed. (default: :obj:`0`)
        progress (bool, optional): Whether to show a progress bar.
            (default: :obj:`False`)
        checkpoint (Checkpoint, optional): Where the state is saved, and read from
            to go on. (default: :obj:`None`)
        stage (str, optional): The name of the state there. (default: :obj:`"ec"`)
        sources (dict, optional): What :obj:`x` and :obj:`y` were computed from, if
            they were: what a state is known by on a GPU. (default: :obj:`None`)

    Returns:
        The trained model, in evaluation mode.

    Raises:
        ValueError: If the state belongs to other data or options.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = make_ec(x.size(1), config).to(x.device)
    if config.optimizer == 'sgd':
        optimizer: torch.optim.Optimizer = torch.optim.SGD(
            model.parameters(),
            lr=config.lr,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
        )
    else:
        optimizer = torch.optim.Adam(
            model.parameters(), lr=config.lr, weight_decay=config.weight_decay
        )
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, config.lr_decay)
    generator = torch.Generator().manual_seed(seed)
    training = Resumable(model, optimizer, scheduler, generator)
    if training.resume(checkpoint, stage, config, seed, {'x': x, 'y': y}, sources):
        return model.eval()
    sampler = make_sampler(x, y, config, seed)
    order = Shuffled(x.size(0), generator)
    loader = SubGraphs(
        sampler,
        x.size(0),
        T.Compose([ReadNodes(y=y), ConnectivityLabel(), FuseEdges()]),
        x.device,
        generator=generator,
        batch_size=config.batch_size,
        sampler=order,
        num_workers=config.num_workers,
    )
    with tqdm(
        total=config.epochs * len(loader),
        desc='train EC-GCN',
        initial=training.step,
        disable=not progress,
        leave=False,
    ) as bar:
        for epoch in range(training.epoch, config.epochs):
            training.begin_epoch(epoch)
            order.skip = (training.step - epoch * len(loader)) * config.batch_size
            if isinstance(sampler, RandomProbabilityGallerySampler):
                sampler.set_epoch(epoch)
            for batch in loader:
                optimizer.zero_grad()
                with _autocast(x, config.precision):
                    logits = model.forward_nodes(
                        x,
                        batch.n_id,
                        batch.batch,
                        batch.edge_index,
                        batch.num_sampled_nodes,
                    )
                logits = logits.to(x.dtype)
                if config.loss == 'ce':
                    loss = F.cross_entropy(logits, batch.edge_label)
                else:
                    loss = focal_loss(
                        logits,
                        batch.edge_label,
                        config.alpha,
                        config.focal_gamma,
                        config.alpha_on,
                    )
                loss.backward()
                optimizer.step()
                if (training.step + 1) % len(loader) == 0:
                    scheduler.step()
                training.end_step()
                bar.update()
    training.finish()
    return model.eval()


def _autocast(x: Tensor, precision: str) -> torch.autocast:
    dtype = getattr(torch, precision)
    return torch.autocast(x.device.type, dtype, enabled=dtype != torch.float32)
