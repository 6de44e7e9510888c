r"""Training of FA-GCN and EC-GCN on the features of the training images."""

from typing import Any

import torch
import torch.nn.functional as F
import torch_geometric.transforms as T
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.loader import NodeLoader
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
from torch_geometric_reid.pipeline.config import ECConfig, FAConfig
from torch_geometric_reid.sampler import (
    HardGallerySampler,
    RandomProbabilityGallerySampler,
)
from torch_geometric_reid.transforms import (
    AffinityGraph,
    CenterProbe,
    ConnectivityLabel,
    FuseEdges,
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


def train_fa(
    x: Tensor, y: Tensor, config: FAConfig, seed: int = 0, progress: bool = False
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

    Returns:
        The trained model, in evaluation mode.
    """
    data = make_affinity(config)(Data(x=x))
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
    graph = (data.edge_index, data.edge_weight)
    gathered = model.convs[0].gather((x, x), *graph)
    bar = tqdm(range(config.steps), 'train FA-GCN', disable=not progress, leave=False)
    for _ in bar:
        optimizer.zero_grad()
        z = model.embed(x, *graph, gathered=gathered)
        loss = F.cross_entropy(model.classify(z), y)
        if config.contrastive_weight > 0:
            loss = loss + config.contrastive_weight * supervised_contrastive_loss(
                z, y, config.temperature, config.include_self
            )
        loss.backward()
        optimizer.step()
        scheduler.step()
    return model.eval()


def train_ec(
    x: Tensor, y: Tensor, config: ECConfig, seed: int = 0, progress: bool = False
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

    Returns:
        The trained model, in evaluation mode.
    """
    sampler = _make_sampler(x, y, config, seed)
    loader = NodeLoader(
        Data(x=x, y=y, edge_index=y.new_empty(2, 0)),
        sampler,
        transform=T.Compose([CenterProbe(), ConnectivityLabel(), FuseEdges()]),
        batch_size=config.batch_size,
        shuffle=True,
        generator=torch.Generator().manual_seed(seed),
        num_workers=config.num_workers,
    )
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
    total = config.epochs * len(loader)
    with tqdm(
        total=total, desc='train EC-GCN', disable=not progress, leave=False
    ) as bar:
        for epoch in range(config.epochs):
            if isinstance(sampler, RandomProbabilityGallerySampler):
                sampler.set_epoch(epoch)
            for batch in loader:
                optimizer.zero_grad()
                logits = model(batch.x, batch.edge_index, batch.num_sampled_nodes)
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
                bar.update()
            scheduler.step()
    return model.eval()


def _make_sampler(
    x: Tensor, y: Tensor, config: ECConfig, seed: int
) -> HardGallerySampler:
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
