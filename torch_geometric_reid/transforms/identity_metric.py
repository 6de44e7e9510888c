import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform

from torch_geometric_reid.checks import check_features, check_ids
from torch_geometric_reid.knn import knn
from torch_geometric_reid.metrics.graph_statistics import list_agreement

POWERS = (0.125, 0.25, 0.375, 0.5)
RIDGE = 0.1
SIGNIFICANT = 3.0


class IdentityMetric(BaseTransform):
    r"""Shrinks the directions in which images of one identity differ,
    :math:`\mathbf{x}^{\prime} \propto \mathbf{\Sigma}_w^{-a} \mathbf{x}` with the
    covariance :math:`\mathbf{\Sigma}_w` within the training identities.

    How much of it, :math:`a`, is chosen by an unlabelled gallery. Of 1/8, 1/4, 3/8
    and 1/2 the one is taken under which neighbours' lists of neighbours agree the
    most, if they agree more than under none of it, by three standard errors of the
    difference; otherwise :math:`a = 0` and features stay as they are. (At
    :math:`a = 1/2` the Euclidean distance would be the Mahalanobis distance.)

    Reads :obj:`x` :math:`(N, d)` of unit length, and replaces it likewise.

    Args:
        x (torch.Tensor): The training features :math:`(M, d)` of unit length.
        y (torch.Tensor): Their identities :math:`(M)`.
        reference (torch.Tensor): The gallery's features :math:`(G, d)` of unit
            length.
        k (int): The length of the lists, the images of an identity.

    Attributes:
        power (float): The chosen :math:`a`.
        agreement (dict): The mean agreement for each :math:`a`.
    """

    def __init__(self, x: Tensor, y: Tensor, reference: Tensor, k: int):
        x = check_features('x', x, nonzero=True)
        y = check_ids('y', y, x.size(0))
        reference = check_features('reference', reference, nonzero=True)
        residual = within_identity(x, y)[1]
        value, vectors = torch.linalg.eigh(residual.t() @ residual / x.size(0))
        self.vectors = vectors.contiguous()
        self.values = value + RIDGE * value.mean()
        self.power = 0.0
        k = min(k, reference.size(0) - 1)
        if k < 1 or not float(value.mean()) > 0:
            self.agreement = {0.0: 1.0}
            return

        plain = list_agreement(knn(reference, k).index)
        self.agreement = {0.0: float(plain.mean())}
        best = 0.0
        for power in POWERS:
            index = knn(self._map(reference, power), k).index
            gain = list_agreement(index) - plain
            self.agreement[power] = float((plain + gain).mean())
            error = gain.std() / gain.numel() ** 0.5
            if gain.mean() > max(best, SIGNIFICANT * float(error)):
                best, self.power = float(gain.mean()), power

    @classmethod
    def restore(cls, vectors: Tensor, values: Tensor, power: float) -> 'IdentityMetric':
        r"""Returns a metric that was learned before, from its directions
        :math:`(d, d)`, their variances :math:`(d)` and its power.
        """
        out = cls.__new__(cls)
        out.vectors, out.values, out.power = vectors, values, power
        out.agreement = {}
        return out

    def forward(self, data: Data) -> Data:
        data.x = self._map(data.x, self.power)
        return data

    def _map(self, x: Tensor, power: float) -> Tensor:
        if power == 0:
            return x
        x = (x @ self.vectors) * self.values**-power
        return F.normalize(x @ self.vectors.t())

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}(power={self.power})'


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
