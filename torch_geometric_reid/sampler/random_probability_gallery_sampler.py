import numpy as np
import torch
from torch import Tensor

from torch_geometric_reid.checks import check_ids
from torch_geometric_reid.sampler.counter import counter_uniform
from torch_geometric_reid.sampler.hard_gallery_sampler import HardGallerySampler


class RandomProbabilityGallerySampler(HardGallerySampler):
    r"""The random probability gallery sampler (RPGS), eq. (9) of `"Feature
    Aggregation and Connectivity for Object Re-Identification"
    <https://doi.org/10.1016/j.patcog.2024.110869>`_, for training.

    Of the :math:`\lfloor k_1 \gamma \rfloor` nearest images of a probe, it draws
    :math:`k_1` without replacement as 1-hop, with probabilities

    .. math::
        P(g_j) = \begin{cases}
        \frac{1}{2 N_p} & \text{if } g_j \text{ shows the probe's identity} \\
        \frac{1}{2 N_n} & \text{otherwise}
        \end{cases}

    where :math:`N_p` and :math:`N_n` are the numbers of such candidates. If one of
    them is zero, the :math:`k_1` nearest are taken. The result is in rank order.
    :math:`\gamma = 1` gives the :class:`HardGallerySampler`, of which all else is
    inherited.

    A draw depends on nothing but seed, epoch and probe, so it is the same for any
    batch size and number of workers. Call :meth:`set_epoch` before each epoch
    to draw anew; persistent workers see it too.

    Args:
        neighbor (torch.Tensor): The nearest other images of each training
            image, best first, :math:`(N, K)` with :math:`K \geq k_1 \gamma`.
        label (torch.Tensor): The identities :math:`(N)`.
        num_neighbors (tuple, optional): :math:`(k_1, k_2)`.
            (default: :obj:`(200, 10)`)
        num_edges (int, optional): The number :math:`e`. (default: :obj:`10`)
        gamma (float, optional): The factor :math:`\gamma \geq 1`.
            (default: :obj:`1.5`)
        symmetric (bool, optional): See :class:`HardGallerySampler`.
            (default: :obj:`True`)
        self_loops (bool, optional): See :class:`HardGallerySampler`.
            (default: :obj:`True`)
        seed (int, optional): The seed. (default: :obj:`0`)

    Raises:
        ValueError: If a table has too few columns or ids out of range, ids are
            of another length, or :obj:`gamma < 1`.
    """

    def __init__(
        self,
        neighbor: Tensor,
        label: Tensor,
        num_neighbors: tuple[int, int] = (200, 10),
        num_edges: int = 10,
        gamma: float = 1.5,
        symmetric: bool = True,
        self_loops: bool = True,
        seed: int = 0,
    ):
        super().__init__(neighbor, num_neighbors, num_edges, symmetric, self_loops)
        self.label = check_ids('label', label, neighbor.size(0))
        self.gamma = gamma
        self.seed = seed
        self.epoch = torch.zeros((), dtype=torch.long).share_memory_()
        if gamma < 1:
            raise ValueError(f"'gamma' needs to be at least 1 (got {gamma})")
        wanted = min(self._num_candidates(), neighbor.size(0) - 1)
        if neighbor.size(1) < wanted:
            raise ValueError(
                f"'neighbor' needs at least {wanted} columns for 'gamma={gamma}' "
                f'(got shape {list(neighbor.shape)})'
            )

    def set_epoch(self, epoch: int) -> None:
        r"""Sets the epoch, which every draw depends on."""
        self.epoch.fill_(epoch)

    def _num_candidates(self) -> int:
        return int(self.num_neighbors[0] * self.gamma)

    def _sample_one_hop(self, probe: Tensor) -> Tensor:
        label, node = self.label.numpy(), probe.numpy()
        candidate = self._near[node, : self._num_candidates()]
        num = candidate.shape[1]
        k1 = min(self.num_neighbors[0], num)
        positive = label.take(candidate) == label.take(node)[:, None]
        num_positive = np.count_nonzero(positive, axis=1, keepdims=True)
        num_negative = num - num_positive
        # The k1 smallest of Exp(1) / P are k1 successive weighted draws:
        size = np.where(positive, num_positive, num_negative)
        uniform = counter_uniform(self.seed, int(self.epoch), probe, num).numpy()
        key = -np.log(uniform) * size
        one_sided = (num_positive == 0) | (num_negative == 0)
        np.copyto(key, np.arange(num), where=one_sided)
        drawn = torch.from_numpy(key).topk(k1, dim=1, largest=False, sorted=False)
        rank = np.sort(drawn.indices.numpy(), axis=1)
        return torch.from_numpy(np.take_along_axis(candidate, rank, axis=1))
