"""The methods as they are described, without any saving: what the package is
measured against.

- The sampler takes one probe at a time, with sets, as the public programs of
  L-GCN and learn-to-cluster do (theirs took 235 and 46 ms for a probe).
- EC-GCN pads each sub-graph to the largest that can be and multiplies by its dense
  adjacency matrix. L-GCN's public program does the same, with the features of a
  node beside its neighbours' mean and half as wide a classifier.
- FA-GCN's contrastive loss holds all N x N similarities and a mask of positives.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.sampler import SamplerOutput

from torch_geometric_reid.nn import ECGCN

Subgraph = tuple[list[int], set[tuple[int, int]]]


def sample(neighbor: list[list[int]], probe: int, k1: int, k2: int, e: int) -> Subgraph:
    """Returns the nodes around a probe and the edges (neighbour, node)."""
    one_hop = neighbor[probe][:k1]
    two_hop: set[int] = set()
    for image in one_hop:
        others = [other for other in neighbor[image][: k2 + 1] if other != probe]
        two_hop.update(others[:k2])
    nodes = [probe, *one_hop, *sorted(two_hop - {probe, *one_hop})]
    present = set(nodes)
    edges = {(node, node) for node in nodes}
    for node in nodes:
        for other in neighbor[node][:e]:
            if other in present:
                edges.add((other, node))
                edges.add((node, other))
    return nodes, edges


def pad(x: Tensor, out: SamplerOutput, capacity: int) -> tuple[Tensor, Tensor]:
    """Returns centred features [B, n, d] and row-normalised adjacency [B, n, n]."""
    num_probes = out.num_sampled_nodes[0]
    features = x.new_zeros(num_probes, capacity, x.size(1))
    adjacency = x.new_zeros(num_probes, capacity, capacity)
    for b in range(num_probes):
        mine = (out.batch == b).nonzero().view(-1)
        place = torch.full_like(out.batch, -1)
        place[mine] = torch.arange(mine.numel())
        edge = out.batch[out.col] == b
        adjacency[b, place[out.col[edge]], place[out.row[edge]]] = 1
        features[b, : mine.numel()] = x[out.node[mine]] - x[out.node[mine[0]]]
    return features, adjacency.div_(adjacency.sum(dim=2, keepdim=True).clamp_(min=1))


def forward(model: ECGCN, x: Tensor, adjacency: Tensor, k1: int) -> Tensor:
    """Returns the logits (no link, link) [B * k1, 2] of padded sub-graphs."""
    for conv, norm in zip(model.convs, model.norms, strict=True):
        x = torch.bmm(adjacency, x) @ conv.lin.weight.t()
        x = norm(x.flatten(0, 1)).view_as(x).relu()
    return model.classifier(x[:, 1 : k1 + 1].flatten(0, 1))


def contrastive(z: Tensor, y: Tensor, temperature: float = 0.07) -> Tensor:
    z = F.normalize(z)
    score = z @ z.t() / temperature
    log_prob = score - score.logsumexp(dim=1, keepdim=True)
    positive = (y.view(-1, 1) == y).to(z.dtype)
    return -((positive * log_prob).sum(dim=1) / positive.sum(dim=1)).mean()
