from copy import copy

import numpy as np
import torch
from torch import Tensor
from torch_geometric.sampler import (
    BaseSampler,
    EdgeSamplerInput,
    NodeSamplerInput,
    SamplerOutput,
)

from torch_geometric_reid.checks import check_positive, cut
from torch_geometric_reid.sampler.edge_lists import EdgeLists
from torch_geometric_reid.sampler.probe_edges import LastPlaces, ProbeEdges


class HardGallerySampler(BaseSampler):
    r"""The hard gallery sampler (HGS), eq. (8) and (10) of `"Feature Aggregation
    and Connectivity for Object Re-Identification"
    <https://doi.org/10.1016/j.patcog.2024.110869>`_: the sub-graph around a probe
    of its :math:`k_1` nearest gallery images (1-hop) and the :math:`k_2` nearest
    of each of them (2-hop).

    Nodes of a batch of :math:`B` probes are ordered
    :math:`[B \text{ probes} \, | \, B k_1 \text{ 1-hop, probe by probe in rank
    order} \, | \, R \text{ distinct 2-hop}]`, which
    :obj:`num_sampled_nodes` :math:`= [B, B k_1, R]` says again; :obj:`batch` holds
    the position of each node's probe. A probe is no neighbour of its own
    sub-graph. Two nodes of one probe are joined if one is among the other's
    :math:`e` nearest; edges run from neighbour to node, sorted by column, and
    never between two probes' nodes. The sampler knows no labels.

    In training, probes and gallery are one set: :obj:`neighbor` holds each
    image's nearest other images, and seeds are its rows. In testing,
    :obj:`neighbor` is the gallery's table of :math:`N` rows, and seed
    :math:`N + i` is the probe of row :math:`i` of :obj:`probe_neighbor`.

    Args:
        neighbor (torch.Tensor): The nearest other images of each gallery image,
            best first, :math:`(N, K)`, as from
            :meth:`~torch_geometric_reid.knn.knn`.
        num_neighbors (tuple, optional): :math:`(k_1, k_2)`. Where there are
            fewer gallery images, :math:`k_1` is that number. With
            :math:`k_2 = 0`, sub-graphs are of 1-hop images only.
            (default: :obj:`(200, 10)`)
        num_edges (int, optional): The number :math:`e`. (default: :obj:`10`)
        symmetric (bool, optional): If set to :obj:`False`, an edge runs only to
            the node that lists the other. (default: :obj:`True`)
        self_loops (bool, optional): If set to :obj:`False`, a node does not
            receive from itself. (default: :obj:`True`)
        probe_neighbor (torch.Tensor, optional): The nearest gallery images of
            each probe, best first, :math:`(Q, K')` with
            :math:`K' \geq \max(k_1, e)`.
            (default: :obj:`None`)
        inserted (torch.Tensor, optional): Pairs (row of the probe, gallery
            image) :math:`(2, P)`, in which the probe is nearer to the image
            than the last of its :math:`e` nearest and takes its place, as
            training probes do. (default: :obj:`None`)

    Raises:
        ValueError: If a table has too few columns or ids out of range.
    """

    def __init__(
        self,
        neighbor: Tensor,
        num_neighbors: tuple[int, int] = (200, 10),
        num_edges: int = 10,
        symmetric: bool = True,
        self_loops: bool = True,
        probe_neighbor: Tensor | None = None,
        inserted: Tensor | None = None,
    ):
        for name, value in [
            ('num_neighbors[0]', num_neighbors[0]),
            ('num_edges', num_edges),
        ]:
            check_positive(name, value)
        if num_neighbors[1] != 0:
            check_positive('num_neighbors[1]', num_neighbors[1])
        self.neighbor = _check_table('neighbor', neighbor, neighbor.size(0))
        if (neighbor == torch.arange(neighbor.size(0)).view(-1, 1)).any():
            raise ValueError("'neighbor' lists an image as its own neighbor")
        self.num_neighbors = num_neighbors
        self.num_edges = num_edges
        self.symmetric = symmetric
        self.self_loops = self_loops
        self.probe_neighbor = probe_neighbor
        self.inserted = inserted

        others = neighbor.size(0) - 1
        if probe_neighbor is None:
            k1 = cut('num_neighbors[0]', num_neighbors[0], others)
            wanted = max(k1, num_neighbors[1] + 1, num_edges)
        else:
            wanted = max(num_neighbors[1], num_edges)
        _check_columns('neighbor', neighbor, min(wanted, others))
        self._edges = EdgeLists(neighbor[:, :num_edges].numpy(), symmetric, self_loops)
        self._last: LastPlaces | None = None
        self._probe_edges: ProbeEdges | None = None
        self._first_columns = np.empty((neighbor.size(0), 0), dtype=np.int64)
        if probe_neighbor is not None:
            self._join(probe_neighbor, inserted)

    @property
    def _near(self) -> np.ndarray:
        # Not kept: a move to shared memory, for workers, would leave it behind.
        return self.neighbor.numpy()

    def with_probes(
        self, probe_neighbor: Tensor, inserted: Tensor | None = None
    ) -> 'HardGallerySampler':
        r"""Returns a sampler for other test probes of the same gallery, at no cost
        that grows with the gallery.

        Args:
            probe_neighbor (torch.Tensor): See above.
            inserted (torch.Tensor, optional): See above. (default: :obj:`None`)
        """
        self._last_places()
        out = copy(self)
        out.probe_neighbor = probe_neighbor
        out.inserted = inserted
        out._join(probe_neighbor, inserted)
        return out

    def _join(self, probe_neighbor: Tensor, inserted: Tensor | None) -> None:
        num_gallery = self.neighbor.size(0)
        _check_table('probe_neighbor', probe_neighbor, num_gallery)
        k1 = cut('num_neighbors[0]', self.num_neighbors[0], num_gallery)
        k1 = min(max(k1, self.num_edges), num_gallery)
        _check_columns('probe_neighbor', probe_neighbor, k1)
        if inserted is None:
            inserted = torch.empty(2, 0, dtype=torch.long)
        self._probe_edges = ProbeEdges(
            self._edges,
            self._last_places(),
            probe_neighbor[:, : self.num_edges].numpy(),
            inserted[:, inserted[0].argsort(stable=True)].numpy(),
            self.symmetric,
            self.self_loops,
        )

    def _last_places(self) -> LastPlaces | None:
        if self._last is None and self.neighbor.size(1) >= self.num_edges:
            listed = self._near[:, : self.num_edges]
            self._last = LastPlaces(listed, self._edges, self.symmetric)
        return self._last

    def sample_from_nodes(
        self, inputs: NodeSamplerInput, **kwargs: object
    ) -> SamplerOutput:
        probe = inputs.node
        self._check_probe(probe.numpy())
        one_hop = self._sample_one_hop(probe)
        num_probes, k1 = one_hop.shape
        place = np.full(self.neighbor.size(0) + 1, -1, dtype=np.int32)
        stamp = np.empty(self.neighbor.size(0), dtype=np.int64)
        two_hop: list[np.ndarray] = []
        rows: list[list[np.ndarray]] = []
        counts: list[list[np.ndarray]] = []
        size = num_probes * (1 + k1)
        for b, (p, near) in enumerate(zip(probe.numpy(), one_hop.numpy(), strict=True)):
            far = self._two_hop(p, near, stamp)
            first = num_probes + b * k1
            position = np.concatenate(
                ([b], np.arange(first, first + k1), np.arange(size, size + far.size))
            )
            image = np.concatenate((near, far))
            row, count = self._induced(p, image, position, place)
            own, of_near = count[0], count[1 : 1 + k1].sum()
            rows.append(_split(row, own, own + of_near))
            counts.append(_split(count, 1, 1 + k1))
            two_hop.append(far)
            size += far.size

        batch = np.arange(num_probes)
        batches = [batch, batch.repeat(k1), batch.repeat([len(x) for x in two_hop])]
        return SamplerOutput(
            node=torch.cat([probe, one_hop.view(-1), *map(torch.from_numpy, two_hop)]),
            row=torch.from_numpy(_by_column(rows)),
            col=torch.from_numpy(np.arange(size).repeat(_by_column(counts))),
            edge=None,
            batch=torch.from_numpy(np.concatenate(batches)),
            num_sampled_nodes=[
                num_probes,
                one_hop.numel(),
                size - batch.size * (1 + k1),
            ],
            metadata=(inputs.input_id, inputs.time),
        )

    def sample_from_edges(
        self, inputs: EdgeSamplerInput, **kwargs: object
    ) -> SamplerOutput:
        raise NotImplementedError(
            f"'{self.__class__.__name__}' samples around probes, which are nodes"
        )

    def _check_probe(self, probe: np.ndarray) -> None:
        first, last = 0, self.neighbor.size(0)
        if self.probe_neighbor is not None:
            first, last = last, last + self.probe_neighbor.size(0)
        if probe.size > 0 and not first <= probe.min() <= probe.max() < last:
            raise ValueError(
                f'Seeds need to be nodes {first} to {last - 1}, the probes '
                f'(got {probe.min()} to {probe.max()})'
            )

    def _sample_one_hop(self, probe: Tensor) -> Tensor:
        if self.probe_neighbor is None:
            return self.neighbor[probe, : self.num_neighbors[0]]
        row = probe - self.neighbor.size(0)
        return self.probe_neighbor[row, : self.num_neighbors[0]]

    def _two_hop(
        self, probe: int, one_hop: np.ndarray, stamp: np.ndarray
    ) -> np.ndarray:
        # Distinct images that are neither the probe nor 1-hop. Of each image that was
        # found, the last to leave its number in `stamp` stays.
        k2 = self.num_neighbors[1]
        if k2 == 0 or self.neighbor.size(1) == 0:
            return one_hop[:0]
        lists = self._first(k2 + 1).take(one_hop, axis=0)
        near = lists[:, :k2]
        found = near.reshape(-1)
        if self._probe_edges is None:
            # The probe does not count: an image that lists it lists one more.
            listing = (found == probe).nonzero()[0] // near.shape[1]
            found = np.concatenate((found, lists[listing, -1]))
        number = np.arange(found.size)
        stamp[found] = number
        stamp[one_hop] = -1
        if self._probe_edges is None:
            stamp[probe] = -1
        return np.sort(found[stamp.take(found) == number])

    def _first(self, num: int) -> np.ndarray:
        # A copy: its rows lie together in memory, those of a wide table far apart.
        if self._first_columns.shape[1] != min(num, self.neighbor.size(1)):
            self._first_columns = self._near[:, :num].copy()
        return self._first_columns

    def _induced(
        self, probe: int, image: np.ndarray, position: np.ndarray, place: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        if self._probe_edges is None:
            node = np.concatenate(([probe], image))
            place[node] = position
            out = self._edges.induced(node, place)
            place[node] = -1
        else:
            row = probe - self.neighbor.size(0)
            place[image] = position[1:]
            out = self._probe_edges.induced(row, image, position, place)
            place[image] = -1
        return out


def _split(x: np.ndarray, first: int, second: int) -> list[np.ndarray]:
    return [x[:first], x[first:second], x[second:]]


def _by_column(parts: list[list[np.ndarray]]) -> np.ndarray:
    # Columns are probe, 1-hop and 2-hop in each sub-graph; in a batch, all probes
    # are first, then all 1-hop.
    probe, near, far = zip(*parts, strict=True)
    return np.concatenate([*probe, *near, *far], dtype=np.int64)


def _check_table(name: str, table: Tensor, num_gallery: int) -> Tensor:
    if table.dim() != 2 or table.dtype != torch.int64:
        raise ValueError(
            f"'{name}' needs to be an int64 table of shape [N, K] "
            f'(got {table.dtype} of shape {list(table.shape)})'
        )
    if table.numel() > 0 and not 0 <= table.min() <= table.max() < num_gallery:
        raise ValueError(
            f"'{name}' needs ids between 0 and {num_gallery - 1}, the rows of "
            f"'neighbor' (got {int(table.min())} to {int(table.max())})"
        )
    return table


def _check_columns(name: str, table: Tensor, wanted: int) -> None:
    if table.size(1) < wanted:
        raise ValueError(
            f"'{name}' needs at least {wanted} columns for these numbers of "
            f'neighbors (got shape {list(table.shape)})'
        )
