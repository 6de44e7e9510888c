r"""Distances between probes and gallery, and their sum with the connectivity."""

import torch
import torch.nn.functional as F
from torch import Tensor

from torch_geometric_reid.checks import check_choice, check_features, check_same_dim
from torch_geometric_reid.precision import full_precision

DISTANCES = ('sqeuclidean', 'euclidean', 'cosine')


@full_precision()
def pairwise_distance(x: Tensor, y: Tensor, metric: str = 'sqeuclidean') -> Tensor:
    r"""Returns the distances of all pairs.

    For unit vectors, :obj:`"sqeuclidean"` is :math:`2 - 2 \cos` and
    :obj:`"cosine"` is :math:`1 - \cos`. A Mahalanobis distance is the Euclidean
    one of features that :class:`Mahalanobis` has transformed.

    Args:
        x (torch.Tensor): Features :math:`(M, d)`.
        y (torch.Tensor): Features :math:`(N, d)`.
        metric (str, optional): :obj:`"sqeuclidean"`, :obj:`"euclidean"` or
            :obj:`"cosine"`. (default: :obj:`"sqeuclidean"`)

    Returns:
        float32 :math:`(M, N)`, at least zero.

    Raises:
        ValueError: If features are empty, not finite, of differing lengths or
            zero under the cosine.

    Example:
        >>> x = torch.tensor([[1., 0.], [0., 1.]])
        >>> pairwise_distance(x, x)
        tensor([[0., 2.],
                [2., 0.]])
    """
    check_choice('metric', metric, DISTANCES)
    x = check_features('x', x, nonzero=metric == 'cosine')
    y = check_features('y', y, nonzero=metric == 'cosine')
    check_same_dim('x', x, 'y', y)
    if metric == 'cosine':
        out = F.normalize(x) @ F.normalize(y).t()
        return out.neg_().add_(1).clamp_(min=0)
    out = (x @ y.t()).mul_(-2)
    out += x.square().sum(dim=1, keepdim=True)
    out += y.square().sum(dim=1)
    out.clamp_(min=0)
    return out.sqrt_() if metric == 'euclidean' else out


class Mahalanobis:
    r"""The linear map :math:`\mathbf{L}` with :math:`\mathbf{L}^{\top} \mathbf{L} =
    \mathbf{\Sigma}^{-1}`, after which the Euclidean distance is the Mahalanobis
    distance :math:`\sqrt{(\mathbf{x} - \mathbf{y})^{\top} \mathbf{\Sigma}^{-1}
    (\mathbf{x} - \mathbf{y})}`.

    :math:`\mathbf{\Sigma}` is the covariance of the training features, total or
    within identities, shrunk towards a multiple of the identity as in `"A
    well-conditioned estimator for large-dimensional covariance matrices"
    <https://doi.org/10.1016/S0047-259X(03)00096-4>`_.

    Args:
        x (torch.Tensor): The training features :math:`(N, d)`.
        y (torch.Tensor, optional): Their identities :math:`(N)`, for the
            covariance within identities. (default: :obj:`None`)

    Raises:
        ValueError: If all features (of each identity) are the same.

    Attributes:
        shrinkage (float): The weight, in :math:`[0, 1]`, of the identity.
        weight (torch.Tensor): The matrix that features are multiplied with.
    """

    def __init__(self, x: Tensor, y: Tensor | None = None):
        x = check_features('x', x).to(torch.float64)
        if y is None:
            x = x - x.mean(dim=0)
        else:
            group = y.unique(return_inverse=True)[1]
            count = torch.bincount(group).to(x.dtype).view(-1, 1)
            mean = x.new_zeros(count.size(0), x.size(1)).index_add_(0, group, x) / count
            x = x - mean[group]
        if not x.any():
            raise ValueError(
                f"'x' of shape {list(x.shape)} needs features that differ "
                f'{"within an identity" if y is not None else "from each other"}'
            )
        num, dim = x.shape
        covariance = x.t() @ x / num
        scale = covariance.diagonal().mean()
        spread = (covariance.square().sum() / dim - scale.square()).clamp(min=0)
        fourth = (x.square().t() @ x.square()).sum() / num
        noise = (fourth - covariance.square().sum()) / (dim * num)
        self.shrinkage = float((noise / spread).clamp(0, 1)) if spread > 0 else 1.0

        covariance *= 1 - self.shrinkage
        covariance.diagonal().add_(self.shrinkage * scale)
        value, vector = torch.linalg.eigh(covariance)
        value = value.clamp(min=float(value[-1]) * 1e-12)
        self.weight = (vector / value.sqrt()).to(torch.float32).contiguous()

    @classmethod
    def restore(cls, weight: Tensor, shrinkage: float) -> 'Mahalanobis':
        r"""Returns what was estimated before, from its attributes."""
        out = cls.__new__(cls)
        out.weight, out.shrinkage = weight, shrinkage
        return out

    def __call__(self, x: Tensor) -> Tensor:
        r"""Transforms features :math:`(M, d)`."""
        return x @ self.weight.to(x.device)


def scale_distance(distance: Tensor, scale: str | None) -> Tensor:
    r"""Scales each probe's distances.

    Args:
        distance (torch.Tensor): The distances :math:`(Q, G)`.
        scale (str, optional): :obj:`"max"` divides a row by its maximum,
            :obj:`"minmax"` maps it to :math:`[0, 1]`, :obj:`None` leaves it.
    """
    if scale is None:
        return distance
    check_choice('scale', scale, ('max', 'minmax'))
    largest = distance.amax(dim=1, keepdim=True)
    if scale == 'max':
        return distance / largest.clamp(min=torch.finfo(distance.dtype).tiny)
    least = distance.amin(dim=1, keepdim=True)
    spread = (largest - least).clamp(min=torch.finfo(distance.dtype).tiny)
    return (distance - least) / spread


def fuse_distance(
    distance: Tensor,
    index: Tensor,
    connectivity_distance: Tensor,
    weight: float = 0.4,
    fill: float | str = 1.0,
) -> Tensor:
    r"""Adds the connectivity to the distance, eq. (13) of `"Feature Aggregation
    and Connectivity for Object Re-Identification"
    <https://doi.org/10.1016/j.patcog.2024.110869>`_.

    .. math::
        d^{*}(p, g) = d(p, g) + \lambda \, d_g(p, g)

    Args:
        distance (torch.Tensor): The distances :math:`d`, :math:`(Q, G)`.
        index (torch.Tensor): The scored gallery images of each probe
            :math:`(Q, k_1)`.
        connectivity_distance (torch.Tensor): Their probabilities of no link
            :math:`d_g \in [0, 1]`, :math:`(Q, k_1)`.
        weight (float, optional): The weight :math:`\lambda`.
            (default: :obj:`0.4`)
        fill (float or str, optional): :math:`d_g` of gallery images that were
            not scored, or :obj:`"max"` for the probe's largest one.
            (default: :obj:`1.0`)

    Returns:
        A new tensor :math:`(Q, G)`.
    """
    if index.shape != connectivity_distance.shape or len(index) != len(distance):
        raise ValueError(
            f"'index' and 'connectivity_distance' need one row of the same length "
            f"for each of the {len(distance)} rows of 'distance' "
            f'(got shapes {list(index.shape)} and {list(connectivity_distance.shape)})'
        )
    if isinstance(fill, str):
        check_choice('fill', fill, ('max',))
        rest = connectivity_distance.amax(dim=1, keepdim=True)
    else:
        rest = distance.new_full((1, 1), fill)
    out = distance + weight * rest
    fused = distance.gather(1, index) + weight * connectivity_distance
    return out.scatter_(1, index, fused)


def connectivity_rank(
    distance: Tensor,
    index: Tensor,
    connectivity_distance: Tensor,
    fill: float = 1.0,
) -> Tensor:
    r"""Ranks by the connectivity alone, equal ones by the distance.

    Args:
        distance (torch.Tensor): The distances :math:`d`, :math:`(Q, G)`.
        index (torch.Tensor): The scored gallery images of each probe
            :math:`(Q, k_1)`.
        connectivity_distance (torch.Tensor): Their probabilities of no link
            :math:`d_g \in [0, 1]`, :math:`(Q, k_1)`.
        fill (float, optional): :math:`d_g` of gallery images that were not
            scored. (default: :obj:`1.0`)

    Returns:
        The rank of each gallery image, from :obj:`0`, as float32
        :math:`(Q, G)`.
    """
    key = torch.full_like(distance, fill).scatter_(1, index, connectivity_distance)
    order = distance.argsort(dim=1, stable=True)
    order = order.gather(1, key.gather(1, order).argsort(dim=1, stable=True))
    rank = torch.arange(distance.size(1), dtype=torch.float32, device=distance.device)
    return torch.empty_like(distance).scatter_(1, order, rank.expand_as(distance))
