import torch
from torch import Tensor
from torch_geometric.sampler import (
    BaseSampler,
    EdgeSamplerInput,
    NodeSamplerInput,
    SamplerOutput,
)

from torch_geometric_reid.checks import check_positive, cut


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
            _check_table('probe_neighbor', probe_neighbor, neighbor.size(0))
            k1 = cut('num_neighbors[0]', num_neighbors[0], neighbor.size(0))
            k1 = min(max(k1, num_edges), neighbor.size(0))
            _check_columns('probe_neighbor', probe_neighbor, k1)
            wanted = max(num_neighbors[1], num_edges)
        _check_columns('neighbor', neighbor, min(wanted, others))
        if inserted is not None:
            self.inserted = inserted[:, inserted[0].argsort(stable=True)]

    def sample_from_nodes(
        self, inputs: NodeSamplerInput, **kwargs: object
    ) -> SamplerOutput:
        probe = inputs.node
        self._check_probe(probe)
        num_probes, num_gallery = probe.numel(), self.neighbor.size(0)
        one_hop = self._sample_one_hop(probe)
        two_hop = self._two_hop(probe, one_hop)

        arange = torch.arange(num_probes)
        batch = torch.cat(
            [
                arange,
                arange.repeat_interleave(one_hop.size(1)),
                two_hop // num_gallery,
            ]
        )
        node = torch.cat([probe, one_hop.view(-1), two_hop % num_gallery])
        row, col = self._edges(node, batch, num_probes)
        return SamplerOutput(
            node=node,
            row=row,
            col=col,
            edge=None,
            batch=batch,
            num_sampled_nodes=[num_probes, one_hop.numel(), two_hop.numel()],
            metadata=(inputs.input_id, inputs.time),
        )

    def sample_from_edges(
        self, inputs: EdgeSamplerInput, **kwargs: object
    ) -> SamplerOutput:
        raise NotImplementedError(
            f"'{self.__class__.__name__}' samples around probes, which are nodes"
        )

    def _check_probe(self, probe: Tensor) -> None:
        first, last = 0, self.neighbor.size(0)
        if self.probe_neighbor is not None:
            first, last = last, last + self.probe_neighbor.size(0)
        if probe.numel() > 0 and not first <= probe.min() <= probe.max() < last:
            raise ValueError(
                f'Seeds need to be nodes {first} to {last - 1}, the probes '
                f'(got {int(probe.min())} to {int(probe.max())})'
            )

    def _sample_one_hop(self, probe: Tensor) -> Tensor:
        if self.probe_neighbor is None:
            return self.neighbor[probe, : self.num_neighbors[0]]
        row = probe - self.neighbor.size(0)
        return self.probe_neighbor[row, : self.num_neighbors[0]]

    def _two_hop(self, probe: Tensor, one_hop: Tensor) -> Tensor:
        # Distinct images that are neither the probe nor 1-hop, as flat positions
        # in a table of probes by gallery images.
        k2, num_gallery = self.num_neighbors[1], self.neighbor.size(0)
        offset = torch.arange(probe.numel()).view(-1, 1) * num_gallery
        mark = torch.zeros(probe.numel() * num_gallery, dtype=torch.bool)
        if self.probe_neighbor is None:
            found = self.neighbor[one_hop, : k2 + 1]
            is_probe = found == probe.view(-1, 1, 1)
            if found.size(2) > k2:  # the last one fills the probe's place only
                is_probe[:, :, k2] |= ~is_probe[:, :, :k2].any(dim=2)
            mark[(found + offset.unsqueeze(2))[~is_probe]] = True
            mark[probe + offset.view(-1)] = False
        else:
            mark[self.neighbor[one_hop, :k2] + offset.unsqueeze(2)] = True
        mark[one_hop + offset] = False
        return mark.nonzero().view(-1)

    def _edges(
        self, node: Tensor, batch: Tensor, num_probes: int
    ) -> tuple[Tensor, Tensor]:
        size = node.numel()
        listed = self._neighbors_in_batch(node, batch, num_probes)
        place = torch.arange(size).view(-1, 1).expand_as(listed)
        present = listed >= 0
        row, col = listed[present], place[present]
        rows, cols = [row], [col]
        if self.symmetric:
            one_way = (listed[row] != col.view(-1, 1)).all(dim=1)
            rows.append(col[one_way])
            cols.append(row[one_way])
        if self.self_loops:
            rows.append(torch.arange(size))
            cols.append(torch.arange(size))
        row, col = torch.cat(rows), torch.cat(cols)
        order = col.argsort(stable=True)
        return row[order], col[order]

    def _neighbors_in_batch(
        self, node: Tensor, batch: Tensor, num_probes: int
    ) -> Tensor:
        # For each node, the positions in the batch of its e nearest, -1 where
        # one is not of the same sub-graph.
        num_gallery, num_edges = self.neighbor.size(0), self.num_edges
        local = torch.full((num_probes * num_gallery,), -1)
        if self.probe_neighbor is None:
            local[batch * num_gallery + node] = torch.arange(node.numel())
            found = self.neighbor[node, :num_edges]
            return local[found + (batch * num_gallery).view(-1, 1)]

        row = node[:num_probes] - num_gallery
        image, shift = node[num_probes:], batch[num_probes:] * num_gallery
        local[shift + image] = torch.arange(num_probes, node.numel())
        listed = torch.full((node.numel(), num_edges), -1)
        found = self.probe_neighbor[row, :num_edges]
        offset = torch.arange(num_probes).view(-1, 1) * num_gallery
        listed[:num_probes, : found.size(1)] = local[found + offset]
        found = self.neighbor[image, :num_edges]
        listed[num_probes:, : found.size(1)] = local[found + shift.view(-1, 1)]
        if self.inserted is not None:
            at, image = _pairs_of(self.inserted, row)
            place = local[at * num_gallery + image]
            listed[place[place >= 0], num_edges - 1] = at[place >= 0]
        return listed


def _pairs_of(pairs: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
    first = pairs[0].contiguous()
    start = torch.searchsorted(first, row)
    count = torch.searchsorted(first, row, right=True) - start
    at = torch.arange(row.numel()).repeat_interleave(count)
    within = torch.arange(at.numel()) - (count.cumsum(0) - count)[at]
    return at, pairs[1, start[at] + within]


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
