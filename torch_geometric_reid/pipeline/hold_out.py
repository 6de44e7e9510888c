import torch
from torch_geometric.data import Data

from torch_geometric_reid.checks import check_positive


def hold_out(
    data: Data, fraction: float = 1 / 3, probe_every: int = 4, seed: int = 0
) -> tuple[Data, Data, Data]:
    r"""Holds identities out of a training set, to choose options on.

    Args:
        data (Data): The training images, with :obj:`y`.
        fraction (float, optional): The share of identities that is held out,
            in :math:`(0, 1)`. (default: :obj:`1 / 3`)
        probe_every (int, optional): Of a held-out identity's images, each
            :obj:`probe_every`-th is a probe and the others are gallery.
            (default: :obj:`4`)
        seed (int, optional): The seed that draws identities.
            (default: :obj:`0`)

    Returns:
        The training images that are left, the probes and the gallery.

    Raises:
        ValueError: If :obj:`fraction` is out of range or leaves no identity on
            one side.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"'fraction' needs to be between 0 and 1 (got {fraction})")
    check_positive('probe_every', probe_every)
    identity, group = data.y.unique(return_inverse=True)
    num_held_out = round(fraction * identity.numel())
    if not 0 < num_held_out < identity.numel():
        raise ValueError(
            f"'fraction={fraction}' holds out {num_held_out} of "
            f'{identity.numel()} identities (expected some on both sides)'
        )
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randperm(identity.numel(), generator=generator)[:num_held_out]
    held_out = torch.zeros_like(identity, dtype=torch.bool)
    held_out[drawn.to(identity.device)] = True

    order = group.argsort(stable=True)
    start = torch.bincount(group).cumsum(0).roll(1)
    start[0] = 0
    place = torch.empty_like(group)
    number = torch.arange(group.numel(), device=group.device)
    place[order] = number - start[group[order]]
    mask = held_out[group]
    probe = mask & (place % probe_every == 0)
    return data.subgraph(~mask), data.subgraph(probe), data.subgraph(mask & ~probe)
