import numpy as np
import torch
from torch import Tensor


def counter_uniform(seed: int, epoch: int, node: Tensor, num: int) -> Tensor:
    r"""Returns uniform numbers that depend on nothing but their counter, so that
    a draw is the same in whichever batch, order or worker it is made.

    The counter (seed, epoch, node, position) is hashed by the finaliser of
    `"Fast splittable pseudorandom number generators"
    <https://doi.org/10.1145/2660193.2660195>`_ (SplitMix64).

    Args:
        seed (int): The seed.
        epoch (int): The epoch.
        node (torch.Tensor): The nodes :math:`(B)`.
        num (int): The number :math:`n` of draws for each node.

    Returns:
        float64 :math:`(B, n)` in the open interval :math:`(0, 1)`.
    """
    state = _mix(_mix(np.array([seed], dtype=np.int64).view(np.uint64)) + _u64(epoch))
    state = _mix(state + node.cpu().numpy().astype(np.uint64))
    position = np.arange(1, num + 1, dtype=np.uint64) * _u64(0x9E3779B97F4A7C15)
    bits = _mix(state[:, None] + position) >> _u64(11)
    return torch.from_numpy((bits.astype(np.float64) + 0.5) * 2.0**-53)


def _u64(value: int) -> np.uint64:
    return np.uint64(value)


def _mix(x: np.ndarray) -> np.ndarray:
    x = x + _u64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> _u64(30))) * _u64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> _u64(27))) * _u64(0x94D049BB133111EB)
    return x ^ (x >> _u64(31))
