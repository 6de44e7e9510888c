r"""Options of the pipeline. Their defaults fit two CPU cores; :obj:`paper` holds
the paper's sizes.
"""

import math
from dataclasses import dataclass, field
from typing import Literal

from torch_geometric_reid.checks import check_choice, check_positive
from torch_geometric_reid.distance import DISTANCES
from torch_geometric_reid.transforms.refine_pairs import (
    PAIR_FEATURES,
    REFINED_FEATURES,
)

RERANKS = ('rr_then_ec', 'dstar_as_original', 'rr_on_dstar')

PRECISIONS = ('float32', 'bfloat16')


@dataclass
class FAConfig:
    r"""Options of FA-GCN.

    Args:
        k: Neighbours of a node in the affinity graph, not counting itself.
        binary: Whether neighbours weigh one instead of their cosine.
        threshold: Neighbours whose cosine is not above it are dropped.
        symmetrize: Whether the graph is made symmetric by the maximum.
        num_layers: Graph layers.
        hidden_channels: Size of the new features.
        bias: Whether layers have a bias.
        last_act: Whether the last layer has a ReLU.
        temperature: Temperature of the contrastive loss.
        include_self: Whether the contrastive loss counts an image as its own
            positive, as the paper does.
        contrastive_weight: Weight of the contrastive loss beside cross entropy.
        optimizer: "adam" or "sgd" (momentum 0.9).
        lr: Learning rate.
        milestones: Steps at which the learning rate is multiplied by lr_decay.
        lr_decay: Factor of the learning rate.
        steps: Optimiser steps, each on the whole graph.
        weight_decay: Weight decay.
        precision: "float32", or "bfloat16" for the products of training, meant
            for a GPU.
    """

    k: int = 5
    binary: bool = False
    threshold: float = 0.0
    symmetrize: bool = False
    num_layers: int = 1
    hidden_channels: int = 512
    bias: bool = True
    last_act: bool = True
    temperature: float = 0.07
    include_self: bool = True
    contrastive_weight: float = 1.0
    optimizer: Literal['adam', 'sgd'] = 'adam'
    lr: float = 1e-3
    milestones: tuple[int, ...] = (50, 80, 90)
    lr_decay: float = 0.1
    steps: int = 100
    weight_decay: float = 0.0
    precision: Literal['float32', 'bfloat16'] = 'float32'

    def __post_init__(self) -> None:
        check_choice('fa.optimizer', self.optimizer, ('adam', 'sgd'))
        check_choice('fa.precision', self.precision, PRECISIONS)


@dataclass
class ECConfig:
    r"""Options of EC-GCN.

    Args:
        num_neighbors: The numbers of 1-hop and, for each, 2-hop images.
        num_edges: Nearest images that a node is joined to.
        sampler: "rpgs" or "hgs", in training (testing always uses HGS).
        gamma: RPGS draws from gamma times as many images as it keeps.
        symmetric: Whether edges run both ways.
        self_loops: Whether a node receives from itself.
        concat: Whether a layer reads a node beside its neighbours' mean (set
            self_loops to false with it).
        num_layers: Graph layers.
        hidden_channels: Size of each hidden layer.
        loss: "focal" or "ce" (cross entropy).
        alpha: Weight of one side in the focal loss.
        alpha_on: That side, "positive" or "negative".
        focal_gamma: Exponent of the focal loss.
        optimizer: "sgd" or "adam".
        lr: Learning rate.
        lr_decay: Factor of the learning rate after each epoch.
        epochs: Passes over all training probes.
        batch_size: Sub-graphs in a step.
        momentum: Momentum of SGD.
        weight_decay: Weight decay.
        num_workers: Processes that sample; results do not depend on it.
        precision: "float32", or "bfloat16" for the products of training, meant
            for a GPU.
    """

    num_neighbors: tuple[int, int] = (50, 5)
    num_edges: int = 5
    sampler: Literal['rpgs', 'hgs'] = 'rpgs'
    gamma: float = 1.5
    symmetric: bool = True
    self_loops: bool = True
    concat: bool = False
    num_layers: int = 2
    hidden_channels: int = 256
    loss: Literal['focal', 'ce'] = 'focal'
    alpha: float = 0.25
    alpha_on: Literal['positive', 'negative'] = 'positive'
    focal_gamma: float = 2.0
    optimizer: Literal['sgd', 'adam'] = 'sgd'
    lr: float = 0.1
    lr_decay: float = 0.1
    epochs: int = 2
    batch_size: int = 16
    momentum: float = 0.9
    weight_decay: float = 1e-4
    num_workers: int = 0
    precision: Literal['float32', 'bfloat16'] = 'float32'

    def __post_init__(self) -> None:
        check_choice('ec.sampler', self.sampler, ('rpgs', 'hgs'))
        check_choice('ec.alpha_on', self.alpha_on, ('positive', 'negative'))
        check_choice('ec.loss', self.loss, ('focal', 'ce'))
        check_choice('ec.optimizer', self.optimizer, ('sgd', 'adam'))
        check_choice('ec.precision', self.precision, PRECISIONS)


@dataclass
class LinkConfig:
    r"""Options of the recipe of learned links.

    Args:
        k: Nearest images of an image that a link is predicted for.
        num_edges: Nearest images that a node of a sub-graph is joined to.
        num_layers: Graph layers.
        hidden_channels: Size of each hidden layer.
        beta: Weight of an image itself beside its links in the new features.
        metric: Power of the covariance within identities by which directions are
            shrunk, up to 1; none of it with 0.
        degrade: Whether training features are made as hard as the gallery's.
        without: Pair features that are left out.
        loss: "bce" (binary cross entropy) or "focal".
        contrast: Weight of a second loss of the first network, that of a ranking by
            the new features, with which it is trained twice more from anew. With 0
            it is trained once.
        sampler: "hgs" or "rpgs", in training; RPGS draws k / gamma of k images.
        gamma: See sampler.
        lr: Largest learning rate.
        weight_decay: Weight decay.
        num_probes: Sub-graphs seen in each training of a network (with repetition).
        batch_size: Sub-graphs in a step.
        weights: Weights of new features, old features, links and profiles in the
            distance; by default learned.
        first_place: Whether the first place is decided by weights of its own,
            which are learned for it. Without effect where weights are given.
    """

    k: int = 50
    num_edges: int = 8
    num_layers: int = 2
    hidden_channels: int = 64
    beta: float = 3.0
    metric: float = 0.25
    degrade: bool = True
    without: tuple[str, ...] = ()
    loss: Literal['bce', 'focal'] = 'bce'
    contrast: float = 3.0
    sampler: Literal['hgs', 'rpgs'] = 'rpgs'
    gamma: float = 1.5
    lr: float = 3e-3
    weight_decay: float = 1e-2
    num_probes: int = 12_000
    batch_size: int = 32
    weights: tuple[float, float, float, float] | None = None
    first_place: bool = True

    def __post_init__(self) -> None:
        for name in ('k', 'num_edges', 'hidden_channels', 'num_probes', 'batch_size'):
            check_positive(f'links.{name}', getattr(self, name))
        if self.gamma < 1:
            raise ValueError(f"'links.gamma' needs to be at least 1 (got {self.gamma})")
        if self.beta <= 0:
            raise ValueError(f"'links.beta' needs to be positive (got {self.beta})")
        if isinstance(self.metric, bool) or not 0 <= self.metric <= 1:
            raise ValueError(
                f"'links.metric' needs to be a number from 0 to 1 (got {self.metric})"
            )
        if not 0 <= self.contrast < math.inf:
            raise ValueError(
                f"'links.contrast' needs to be a number of at least 0 "
                f'(got {self.contrast})'
            )
        weights = self.weights
        if weights is not None and (
            len(weights) != 4 or min(weights) < 0 or sum(weights) <= 0
        ):
            raise ValueError(
                f"'links.weights' needs four numbers of at least 0 that are not all 0 "
                f'(got {weights})'
            )
        if set(PAIR_FEATURES) <= set(self.without):
            raise ValueError("'links.without' leaves no pair feature")
        check_choice('links.loss', self.loss, ('bce', 'focal'))
        check_choice('links.sampler', self.sampler, ('hgs', 'rpgs'))
        for name in self.without:
            check_choice('links.without', name, REFINED_FEATURES)


@dataclass
class RankConfig:
    r"""Options of ranking.

    Args:
        graph: The graph at test time: "probe" (each probe alone with the
            gallery), "gallery" (gallery images ignore the probe) or "joint"
            (all probes and the gallery in one graph). By default, "probe" in the
            paper's recipe and "joint" in that of links.
        metric: "sqeuclidean", "euclidean", "cosine", "mahalanobis_total" or
            "mahalanobis_within".
        scale: Scaling of each probe's distances, none, "max" or "minmax".
        weight: The weight lambda of the connectivity, eq. (13).
        fill: Connectivity distance of images that are not scored, or "max".
        rerank: k-reciprocal re-ranking at the end: none, "rr_then_ec",
            "dstar_as_original" or "rr_on_dstar"; see :meth:`rerank`.
        k_reciprocal: Its k1, k2 and lambda.
    """

    graph: Literal['probe', 'gallery', 'joint'] | None = None
    metric: Literal[
        'sqeuclidean',
        'euclidean',
        'cosine',
        'mahalanobis_total',
        'mahalanobis_within',
    ] = 'sqeuclidean'
    scale: Literal['max', 'minmax'] | None = None
    weight: float = 0.4
    fill: float | Literal['max'] = 1.0
    rerank: Literal['rr_then_ec', 'dstar_as_original', 'rr_on_dstar'] | None = None
    k_reciprocal: tuple[int, int, float] = (20, 6, 0.3)

    def __post_init__(self) -> None:
        if self.graph is not None:
            check_choice('rank.graph', self.graph, ('probe', 'gallery', 'joint'))
        if self.scale is not None:
            check_choice('rank.scale', self.scale, ('max', 'minmax'))
        if self.rerank is not None:
            check_choice('rank.rerank', self.rerank, RERANKS)
        check_choice(
            'rank.metric',
            self.metric,
            (*DISTANCES, 'mahalanobis_total', 'mahalanobis_within'),
        )


@dataclass
class Config:
    r"""Options of the re-ranker.

    Args:
        recipe: "links" (learned links) or "paper" (FA-GCN and EC-GCN).
        fa: Options of FA-GCN, or none to use the features as they are.
        ec: Options of EC-GCN, or none to rank by distance alone.
        links: Options of the recipe of learned links.
        rank: Options of ranking; only the graph counts for the recipe of links.
        seed: Seed of all that is random.
        device: Device of features and models; by default a GPU if there is one.
    """

    recipe: Literal['links', 'paper'] = 'links'
    fa: FAConfig | None = field(default_factory=FAConfig)
    ec: ECConfig | None = field(default_factory=ECConfig)
    links: LinkConfig = field(default_factory=LinkConfig)
    rank: RankConfig = field(default_factory=RankConfig)
    seed: int = 0
    device: str | None = None

    def __post_init__(self) -> None:
        check_choice('recipe', self.recipe, ('links', 'paper'))

    @property
    def graph(self) -> str:
        r"""The graph at test time."""
        return self.rank.graph or ('joint' if self.recipe == 'links' else 'probe')

    @classmethod
    def paper(cls, k: int = 3) -> 'Config':
        r"""The paper's sizes.

        Args:
            k (int, optional): The paper's choice is 3 for Market-1501, 10 for
                DukeMTMC-reID and 20 for VeRi-776. (default: :obj:`3`)
        """
        return cls(
            recipe='paper',
            fa=FAConfig(
                k=k,
                hidden_channels=2048,
                lr=1e-4,
                milestones=(1000, 1600, 1800),
                steps=2000,
            ),
            ec=ECConfig(
                num_neighbors=(200, 10),
                num_edges=10,
                num_layers=5,
                hidden_channels=4096,
                lr=0.01,
                epochs=4,
            ),
        )
