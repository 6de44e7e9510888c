import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform

from torch_geometric_reid.checks import check_features, check_ids

RIDGE = 0.1


class IdentityMetric(BaseTransform):
    r"""Shrinks the directions in which images of one identity differ,
    :math:`\mathbf{x}^{\prime} \propto \mathbf{\Sigma}_w^{-a} \mathbf{x}` with the
    covariance :math:`\mathbf{\Sigma}_w` within the training identities, to which a
    tenth of its mean variance is added in every direction.

    With :math:`a = 1/2`, the Euclidean distance before features are brought to unit
    length would be the Mahalanobis distance; a smaller power trusts training
    identities less. Where none has two images, features stay as they are.

    Reads :obj:`x` :math:`(N, d)` of unit length, and replaces it likewise.

    Args:
        x (torch.Tensor): The training features :math:`(M, d)` of unit length.
        y (torch.Tensor): Their identities :math:`(M)`.
        power (float, optional): The power :math:`a` in :math:`[0, 1]`.
            (default: :obj:`0.25`)

    Attributes:
        weight (torch.Tensor): The matrix
            :math:`\mathbf{\Sigma}_w^{-a}` :math:`(d, d)`, up to a factor.

    Raises:
        TypeError: If :obj:`x` or :obj:`y` is of another type.
        ValueError: If :obj:`power` is outside of its range, a feature is zero or not
            finite, or ids are of another length.
    """

    def __init__(self, x: Tensor, y: Tensor, power: float = 0.25):
        x = check_features('x', x, nonzero=True)
        y = check_ids('y', y, x.size(0))
        if not 0 <= power <= 1:
            raise ValueError(f"'power' needs to be between 0 and 1 (got {power})")
        residual = within_identity(x, y)[1]
        value, vectors = torch.linalg.eigh(residual.t() @ residual / x.size(0))
        mean = value.mean()
        if mean > torch.finfo(x.dtype).eps ** 2:
            value = value / mean + RIDGE
        else:  # no two images of an identity differ
            value = torch.ones_like(value)
        self.weight = (vectors * value**-power) @ vectors.t()

    @classmethod
    def restore(cls, weight: Tensor) -> 'IdentityMetric':
        r"""Returns a metric that was learned before, from its matrix
        :math:`(d, d)`.
        """
        out = cls.__new__(cls)
        out.weight = weight
        return out

    def forward(self, data: Data) -> Data:
        data.x = F.normalize(data.x @ self.weight)
        return data

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}({self.weight.size(0)})'


def within_identity(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    r"""Returns the mean of each identity and each image's difference from it.

    Args:
        x (torch.Tensor): The features :math:`(N, d)`.
        y (torch.Tensor): The identities :math:`(N)`.

    Returns:
        :math:`(C, d)`, in the order of the sorted identities, and
        :math:`(N, d)`.
    """
    group, count = y.unique(return_inverse=True, return_counts=True)[1:]
    mean = x.new_zeros(count.numel(), x.size(1)).index_add_(0, group, x)
    mean /= count.view(-1, 1)
    return mean, x - mean[group]
