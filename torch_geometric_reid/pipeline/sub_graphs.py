r"""Batches of sub-graphs, sampled on the CPU and read on the features' device."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.loader import NodeLoader

from torch_geometric_reid.sampler import HardGallerySampler


class SubGraphs:
    r"""Batches of the sub-graphs around probes.

    PyG's :class:`~torch_geometric.loader.NodeLoader` samples nodes and edges on the
    CPU, in processes of its own if wanted. They go to a GPU through pinned memory
    without a wait, so that batches are made ready while it computes; there the
    transform completes them.

    Args:
        node_sampler (HardGallerySampler): The sampler.
        num_nodes (int): The number of nodes that it knows.
        transform (callable): What completes a batch of nodes and edges alone.
        device (torch.device): Where batches are wanted.
        probe (torch.Tensor, optional): The probes' numbers. By default, all nodes.
            (default: :obj:`None`)
        generator (torch.Generator, optional): What seeds the workers. By default, a
            new one: the global one is left alone. (default: :obj:`None`)
        **kwargs (optional): Additional arguments of
            :class:`torch.utils.data.DataLoader`.
    """

    def __init__(
        self,
        node_sampler: HardGallerySampler,
        num_nodes: int,
        transform: Callable[[Data], Data],
        device: torch.device,
        probe: Tensor | None = None,
        generator: torch.Generator | None = None,
        **kwargs: Any,
    ):
        self.transform = transform
        self.device = device
        self.loader = _Loader(
            Data(
                edge_index=torch.empty(2, 0, dtype=torch.int64),
                num_nodes=num_nodes,
            ),
            node_sampler,
            input_nodes=probe,
            filter_per_worker=True,
            pin_memory=device.type == 'cuda',
            generator=torch.Generator() if generator is None else generator,
            **kwargs,
        )

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Data]:
        for batch in self.loader:
            yield self.transform(batch.to(self.device, non_blocking=True))


class _Loader(NodeLoader):
    # Workers that are started anew get a copy, which a generator can not be part of.

    def __getstate__(self) -> dict[str, Any]:
        parts = ('generator', 'sampler', 'batch_sampler')
        return {k: v for k, v in self.__dict__.items() if k not in parts}
