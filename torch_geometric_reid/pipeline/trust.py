r"""What a distance means: a probability, thresholds, and none of these."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial

import torch
from torch import Tensor
from torch_geometric.data import Data

from torch_geometric_reid.checks import check_choice
from torch_geometric_reid.metrics import Roc, pair_labels, roc
from torch_geometric_reid.metrics.verification import last_point
from torch_geometric_reid.pipeline.aggregate import GRAPHS
from torch_geometric_reid.pipeline.config import LinkConfig
from torch_geometric_reid.pipeline.hold_out import hold_out
from torch_geometric_reid.pipeline.isotonic import interpolate, isotonic_blocks
from torch_geometric_reid.pipeline.links import LinkReRanker
from torch_geometric_reid.transforms import IdentityMetric, MatchedDegradation

PARTS = 4  # of the identities; each is away from the gallery once
MOST_RATES = 2**16


@dataclass(eq=False)
class Trust:
    r"""Turns distances into probabilities and decisions. All of it comes from probes
    and a gallery of held-out identities, see :meth:`fit` and
    :func:`~torch_geometric_reid.pipeline.fit_trust`.

    Attributes:
        distance: Where the probability is known :math:`(B)`, ascending.
        logit: Its logits there :math:`(B)`, linear between and constant beyond.
        fpr: The share of held-out pairs of two identities that is accepted
            :math:`(R)`, ascending.
        threshold_at: The probability from which on that is so :math:`(R)`.
        stranger_distance: The smallest distance of each held-out probe whose identity
            was removed from the gallery :math:`(U)`, ascending.
        graph: The graph whose distances these are, if it is known:
            :meth:`GraphReRanker.query <torch_geometric_reid.GraphReRanker.query>` gives
            no probabilities in another one.
    """

    distance: Tensor
    logit: Tensor
    fpr: Tensor
    threshold_at: Tensor
    stranger_distance: Tensor
    graph: str | None = None

    def __post_init__(self) -> None:
        if self.graph is not None:
            check_choice('graph', self.graph, GRAPHS)

    @classmethod
    def fit(
        cls,
        rank: Callable[[Tensor, Tensor], Tensor],
        query: Data,
        gallery: Data,
        seed: int = 0,
    ) -> 'Trust':
        r"""Fits to any re-ranker.

        The probability is the isotonic regression of same or different identity on
        the distance, with targets :math:`(n_1 + 1) / (n_1 + 2)` and :math:`1 / (n_0 +
        2)` for :math:`n_1` and :math:`n_0` pairs of the two kinds, so that it is
        never quite sure. Its logit is linear between the blocks' mean distances.

        Args:
            rank (callable): Returns the distances :math:`(Q, G)` of probes' and
                gallery's features.
            query (Data): Probes of identities that the re-ranker has not seen, with
                :obj:`x`, :obj:`y` and maybe :obj:`camera`.
            gallery (Data): The gallery images of these identities, likewise.
            seed (int, optional): The seed that draws the identities which are
                away from the gallery together. (default: :obj:`0`)

        Raises:
            ValueError: If there are no pairs of one or of two identities, or the
                gallery shows fewer than two.
        """
        same, counts = (
            part.cpu()
            for part in pair_labels(
                query.y, gallery.y, query.get('camera'), gallery.get('camera')
            )
        )
        y = gallery.y.cpu()
        parts = _parts(y, seed)
        distance, same = rank(query.x, gallery.x).cpu()[counts], same[counts]
        num_same = int(same.sum())
        sure = (num_same + 1) / (num_same + 2)
        empty = distance.new_empty(0)
        out = cls(*_fit_logit(distance, same, sure), empty, empty, empty)
        curve = roc(out.probability(distance), same)
        place = _places(curve)
        out.fpr, out.threshold_at = curve.fpr[place], curve.threshold[place]

        outs = []
        for part in parts:
            stays = (~torch.isin(y, part)).to(gallery.x.device)
            away = torch.isin(query.y.cpu(), part)
            outs.append(rank(query.x, gallery.x[stays]).cpu()[away].amin(dim=1))
        out.stranger_distance = torch.cat(outs).sort().values
        return out

    def probability(self, distance: Tensor) -> Tensor:
        r"""Returns the probabilities that pairs show one identity.

        Args:
            distance (torch.Tensor): Distances of any shape, of the re-ranker and
                graph that this was fitted to.
        """
        known = (part.to(distance.device) for part in (self.distance, self.logit))
        logit = interpolate(distance.double(), *known)
        return logit.sigmoid().to(torch.float32)

    def threshold(self, fpr: float) -> float:
        r"""Returns the smallest probability from which on at most a share
        :obj:`fpr` of held-out pairs of two identities was accepted; infinite where
        only accepting nothing is strict enough.

        Args:
            fpr (float): The wanted false accept rate in :math:`[0, 1]`.

        Raises:
            ValueError: If :obj:`fpr` is out of range.
        """
        return float(self.threshold_at[last_point(self.fpr, fpr)])

    def none_of_these(self, nearest: Tensor, fpr: float = 0.1) -> Tensor:
        r"""Returns for each probe whether the gallery does not show its identity.

        Distances decide, not probabilities, which are equal for all that are near.

        Args:
            nearest (torch.Tensor): The smallest distance :math:`(Q)` of each probe
                over the gallery.
            fpr (float, optional): The wanted share in :math:`[0, 1]` of probes of
                unknown identity that are taken for a known one.
                (default: :obj:`0.1`)

        Raises:
            ValueError: If :obj:`fpr` is out of range.
        """
        num = self.stranger_distance.numel()
        rate = torch.arange(num + 1, dtype=torch.float64) / num
        accepted = last_point(rate, fpr)
        if accepted == num:
            return torch.zeros_like(nearest, dtype=torch.bool)
        return nearest >= self.stranger_distance[accepted].to(nearest.device)

    def state_dict(self) -> dict[str, Tensor]:
        r"""Returns all of it as tensors."""
        state = asdict(self)
        graph = state.pop('graph')
        if graph is not None:
            state['graph'] = torch.tensor(GRAPHS.index(graph))
        return state

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Tensor]) -> 'Trust':
        r"""Returns what :meth:`state_dict` came from."""
        rest = dict(state)
        graph = rest.pop('graph', None)
        out = cls(**rest)  # type: ignore[arg-type]
        if graph is None:
            return out
        if int(graph) not in range(len(GRAPHS)):
            raise ValueError(
                f"'graph' needs a number from 0 to {len(GRAPHS) - 1} (got {int(graph)})"
            )
        return replace(out, graph=GRAPHS[int(graph)])

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}({self.distance.numel()} points)'


def fit_trust(
    x: Tensor,
    y: Tensor,
    reference: Tensor,
    config: LinkConfig,
    seed: int = 0,
    progress: bool = False,
    graph: str = 'joint',
    camera: Tensor | None = None,
) -> Trust:
    r"""Fits to the recipe of learned links, on training identities alone: a
    :class:`~torch_geometric_reid.pipeline.LinkReRanker` is trained on two thirds of
    them, and the others, see :func:`~torch_geometric_reid.pipeline.hold_out_hard`,
    are its probes and gallery.

    Args:
        x (torch.Tensor): The training features :math:`(N, d)` of unit length.
        y (torch.Tensor): Their identities :math:`(N)`.
        reference (torch.Tensor): The gallery's features :math:`(G, d)` of unit
            length, of which no label is used.
        config (LinkConfig): The options.
        seed (int, optional): The seed. (default: :obj:`0`)
        progress (bool, optional): Whether to show progress bars.
            (default: :obj:`False`)
        graph (str, optional): The graph of :meth:`LinkReRanker.rank
            <torch_geometric_reid.pipeline.LinkReRanker.rank>` whose distances will
            be judged. (default: :obj:`"joint"`)
        camera (torch.Tensor, optional): The cameras of the training images
            :math:`(N)`. If given, pairs of one identity and one camera are left
            out. (default: :obj:`None`)

    Raises:
        ValueError: If there are too few identities to hold some out.
    """
    data = Data(x=x, y=y) if camera is None else Data(x=x, y=y, camera=camera)
    train, query, gallery, reference = hold_out_hard(data, reference, config, seed)
    links = LinkReRanker(
        train.x, train.y, reference, replace(config, metric=0.0), seed, progress
    )
    rank = partial(links.rank, graph=graph, progress=progress)
    return replace(Trust.fit(rank, query, gallery, seed), graph=graph)


def hold_out_hard(
    data: Data, reference: Tensor, config: LinkConfig, seed: int = 0
) -> tuple[Data, Data, Data, Tensor]:
    r"""Holds identities out of a training set and makes them as hard as a gallery,
    of which no label is used.

    All features are adapted by
    :class:`~torch_geometric_reid.transforms.IdentityMetric`, held-out ones degraded
    by :class:`~torch_geometric_reid.transforms.MatchedDegradation`, as far as the
    options say so.

    Args:
        data (Data): The training images, with :obj:`x` of unit length, :obj:`y` and
            maybe :obj:`camera`.
        reference (torch.Tensor): The gallery's features :math:`(G, d)` of unit
            length.
        config (LinkConfig): The options.
        seed (int, optional): The seed. (default: :obj:`0`)

    Returns:
        Two thirds of the identities, the others' probes and gallery, and the
        reference, adapted.

    Raises:
        ValueError: If there are too few identities.
    """
    train, query, gallery = hold_out(data, seed=seed)
    per_identity = max(2, round(data.num_nodes / data.y.unique().numel()))
    if config.metric:
        metric = IdentityMetric(train.x, train.y, config.metric)
        train, query, gallery = (metric(part) for part in (train, query, gallery))
        reference = metric(Data(x=reference)).x
    if config.degrade and reference.size(0) > 1:
        held_out = Data(
            x=torch.cat([query.x, gallery.x]), y=torch.cat([query.y, gallery.y])
        )
        held_out = MatchedDegradation(reference, 2 * per_identity, seed + 1)(held_out)
        query.x, gallery.x = held_out.x.split([query.num_nodes, gallery.num_nodes])
    return train, query, gallery, reference


def _places(curve: Roc) -> Tensor:
    # The loosest threshold of each rate, or of as many rates as are kept.
    last = torch.ones_like(curve.fpr, dtype=torch.bool)
    last[:-1] = curve.fpr[1:] > curve.fpr[:-1]
    place = last.nonzero().view(-1)
    if place.numel() <= MOST_RATES:
        return place
    rate = curve.fpr[place]
    grid = torch.logspace(
        float(rate[1].log10()), 0, MOST_RATES - 1, dtype=rate.dtype, device=rate.device
    )
    kept = torch.searchsorted(rate, grid * (1 + 1e-12), right=True) - 1
    return torch.cat([place[:1], place[kept.unique()]])


def _parts(y: Tensor, seed: int) -> tuple[Tensor, ...]:
    identity = y.unique()
    if identity.numel() < 2:
        raise ValueError(
            f"'gallery' needs at least two identities, one of which can be away "
            f'(got {identity.numel()})'
        )
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(identity.numel(), generator=generator).to(y.device)
    return identity[order].chunk(min(PARTS, identity.numel()))


def _fit_logit(distance: Tensor, same: Tensor, sure: float) -> tuple[Tensor, Tensor]:
    unsure = 1 / (int((~same).sum()) + 2)
    target = torch.where(same, sure, unsure)
    score, prob = isotonic_blocks(-distance, target)
    return -score.flip(0), prob.logit().flip(0)
