from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform

from torch_geometric_reid.checks import check_features, check_ids
from torch_geometric_reid.metrics.graph_statistics import graph_statistics
from torch_geometric_reid.transforms.identity_metric import within_identity

NEAR_IDENTITIES = 5
ROUNDS = 4
MIN_DIMS = 4
HALVINGS = 8
BLOCK = 1024


class Degradation(NamedTuple):
    r"""How much training features are degraded.

    Attributes:
        num_dims: To how many random directions they are projected.
        noise: The weight :math:`s` of another image's residual.
        step: The mean share :math:`a` of the way to another identity's mean.
    """

    num_dims: int
    noise: float
    step: float


class MatchedDegradation(BaseTransform):
    r"""Makes the training features as hard as those of a gallery, of which no label
    is used: a backbone has seen its training images, so that they lie far tighter
    than a gallery's, and what is learned on them expects too easy a world.

    An image :math:`i` of identity :math:`c` with mean :math:`\mathbf{m}_c` becomes

    .. math::
        \mathbf{x}^{\prime}_i \propto \mathbf{P} \left( \mathbf{x}_i + 2 a u_c
        (\mathbf{m}_{t(c)} - \mathbf{m}_c) + s (\mathbf{x}_{j(i)} -
        \mathbf{m}_{c(j(i))}) \right)

    with :math:`t(c)` one of the five nearest identities, :math:`u_c` uniform in
    :math:`[0, 1]`, :math:`j` a permutation of the images and :math:`\mathbf{P}` a
    projection to random directions. Their number, :math:`s` and :math:`a` are found
    by bisection such that :obj:`squared_cosine`, :obj:`near_cosine` and
    :obj:`far_cosine` of :meth:`~torch_geometric_reid.metrics.graph_statistics` are
    the gallery's, one after the other, four rounds at most: they come near, but not all
    three need be met at once. Where training features are as hard, they stay zero.

    Reads :obj:`x` :math:`(N, d)` of unit length and :obj:`y` :math:`(N)`; replaces
    :obj:`x` by :math:`(N, d^{\prime})` of unit length.

    Args:
        reference (torch.Tensor): The gallery's features :math:`(G, d)` of unit
            length.
        k (int): How many nearest images are looked at, twice the images of an
            identity.
        seed (int, optional): The seed. (default: :obj:`0`)

    Attributes:
        target (GraphStatistics): The statistics of the gallery.
        degradation (Degradation): What was found, after the first call.
    """

    def __init__(self, reference: Tensor, k: int, seed: int = 0):
        self.k = k
        self.seed = seed
        reference = check_features('reference', reference, nonzero=True)
        if reference.size(0) < 2:
            raise ValueError("'reference' needs at least two images (got 1)")
        self.target = graph_statistics(reference, k)
        self.degradation: Degradation | None = None

    def forward(self, data: Data) -> Data:
        x = check_features('x', data.x, nonzero=True)
        draw = _Draw(x, check_ids('y', data.y, x.size(0)), self.seed)
        self.degradation = self._match(draw)
        data.x = draw(self.degradation)
        return data

    def _match(self, draw: '_Draw') -> Degradation:
        out = Degradation(draw.dim, 0.0, 0.0)
        for _ in range(ROUNDS):
            before = out
            for name, statistic, low, high, sign in [
                ('num_dims', 'squared_cosine', MIN_DIMS, draw.dim, -1),
                ('noise', 'near_cosine', 0.0, 4.0, -1),
                ('step', 'far_cosine', 0.0, 1.0, 1),
            ]:
                value = _bisect(
                    partial(self._measure, draw, out, name, statistic, sign),
                    sign * getattr(self.target, statistic),
                    min(low, high),
                    high,
                )
                out = _change(out, name, value)
            if out == before:
                break
        return out

    def _measure(
        self,
        draw: '_Draw',
        degradation: Degradation,
        name: str,
        statistic: str,
        sign: int,
        value: float,
    ) -> float:
        x = draw(_change(degradation, name, value))
        return sign * getattr(graph_statistics(x, self.k), statistic)

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}({self.degradation})'


def _change(degradation: Degradation, name: str, value: float) -> Degradation:
    if name == 'num_dims':
        return degradation._replace(num_dims=round(value))
    if name == 'noise':
        return degradation._replace(noise=value)
    return degradation._replace(step=value)


def _bisect(
    function: Callable[[float], float], target: float, low: float, high: float
) -> float:
    # An end of the range where the increasing function never meets its target.
    if function(low) >= target:
        return low
    if function(high) <= target:
        return high
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if function(middle) > target:
            high = middle
        else:
            low = middle
    return (low + high) / 2


def _near_identities(unit: Tensor) -> Tensor:
    # A single identity is the nearest of itself: there is no other way to go.
    num_ids = unit.size(0)
    outs = []
    for part in torch.arange(num_ids, device=unit.device).split(BLOCK):
        similarity = unit[part] @ unit.t()
        similarity.scatter_(1, part.view(-1, 1), -torch.inf)
        size = max(1, min(NEAR_IDENTITIES, num_ids - 1))
        outs.append(similarity.topk(size).indices)
    return torch.cat(outs)


class _Draw:
    # Projections are linear: features, ways and residuals are turned into the
    # random directions once, of which a degradation takes the first ones.
    def __init__(self, x: Tensor, y: Tensor, seed: int):
        generator = torch.Generator().manual_seed(seed)
        mean, residual = within_identity(x, y)
        num_ids, dim = mean.shape
        near = _near_identities(F.normalize(mean))
        pick = torch.randint(near.size(1), (num_ids, 1), generator=generator)
        other = near.gather(1, pick.to(x.device)).view(-1)
        share = torch.rand(num_ids, 1, generator=generator).to(x.device)
        self.order = torch.randperm(x.size(0), generator=generator).to(x.device)
        self.group = y.unique(return_inverse=True)[1]
        way = 2 * share * (mean[other] - mean)
        directions = torch.randn(dim, dim, generator=generator).to(x.device)
        self.dim = dim
        self.plain = (x, way, residual)
        self.turned = tuple(part @ directions for part in self.plain)

    def __call__(self, degradation: Degradation) -> Tensor:
        num_dims, noise, step = degradation
        parts = self.plain if num_dims == self.dim else self.turned
        x, way, residual = (part[:, :num_dims] for part in parts)
        return F.normalize(x + step * way[self.group] + noise * residual[self.order])
