"""A sub-graph sampler written from eq. (8) and (10), one image at a time."""

import torch


def lists(score):
    """Everything's ranking of everything else, from a matrix of similarities."""
    rows = []
    for i, row in enumerate(score.tolist()):
        ids = sorted(range(len(row)), key=lambda j: (-row[j], j))
        rows.append([j for j in ids if j != i])
    return rows


def subgraph(ranking, probe, one_hop, k2, e, symmetric=True, self_loops=True):
    """Returns the 2-hop nodes and the edges (neighbour, node) in global ids.

    `ranking` is over the probe and its gallery, and nothing else.
    """
    two_hop = set()
    for g in one_hop:
        two_hop |= set([j for j in ranking[g] if j != probe][:k2])
    two_hop -= {probe, *one_hop}
    nodes = {probe, *one_hop, *two_hop}
    edges = set()
    for v in nodes:
        for u in ranking[v][:e]:
            if u in nodes:
                edges.add((u, v))
                if symmetric:
                    edges.add((v, u))
        if self_loops:
            edges.add((v, v))
    return two_hop, edges


def batch_edges(out, b):
    """The edges of probe `b` in global ids, from a sampler's output."""
    mine = out.batch[out.row] == b
    assert (out.batch[out.col][mine] == b).all()
    pairs = zip(out.node[out.row[mine]], out.node[out.col[mine]], strict=True)
    pairs = [(int(u), int(v)) for u, v in pairs]
    assert len(set(pairs)) == len(pairs)
    return set(pairs)


def make_table(ranking, k):
    return torch.tensor([row[:k] for row in ranking])
