import math

import pytest
import torch
import torch.nn.functional as F
from torch_geometric.data import Data

from torch_geometric_reid.pipeline.link_contrast import LinkContrast


@pytest.fixture
def graph():
    generator = torch.Generator().manual_seed(4)
    x = F.normalize(torch.randn(9, 5, generator=generator))
    neighbor = torch.stack([torch.randperm(9, generator=generator)[:4] for _ in x])
    return x, neighbor, torch.rand(9, 4, generator=generator)


def batch_of(probes, images, y):
    n_id = torch.cat([torch.tensor(probes), torch.tensor(images).view(-1)])
    label = y[torch.tensor(images)] == y[torch.tensor(probes)].view(-1, 1)
    return Data(
        n_id=n_id, num_sampled_nodes=[len(probes), 3 * len(probes)], edge_label=label
    )


def test_loss_equals_one_by_one(graph):
    x, neighbor, link = graph
    contrast = LinkContrast(x, neighbor, link, beta=2.0)
    target = [
        F.normalize(2 * x[i] + (link[i].view(-1, 1) * x[neighbor[i]]).sum(0), dim=0)
        for i in range(9)
    ]
    y = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2])
    probes, images = [0, 4, 8], [[1, 5, 2], [3, 0, 8], [0, 1, 2]]
    logit = torch.tensor([0.3, -1.0, 2.0, 0.0, 4.0, -2.0, 1.0, 1.0, 0.5])
    rows = []
    for p, row, a in zip(probes, images, logit.view(3, 3), strict=True):
        weight = [1 / (1 + math.exp(-v)) for v in a.tolist()]
        z = 2 * x[p] + sum(w * x[j] for w, j in zip(weight, row, strict=True))
        score = [10 * float(target[j] @ z / z.norm()) for j in row]
        whole = math.log(sum(math.exp(s) for s in score))
        hits = [whole - s for s, j in zip(score, row, strict=True) if y[j] == y[p]]
        rows += [sum(hits) / len(hits)] if hits else []
    assert len(rows) == 2
    out = contrast(batch_of(probes, images, y), logit)
    assert out.item() == pytest.approx(sum(rows) / 2, rel=1e-5)


def test_loss_raises_links_to_matches(graph):
    x, neighbor, link = graph
    x = x.clone()
    x[1], x[2] = x[0], x[0]  # a match, and an image far away
    x[3] = -x[0]
    contrast = LinkContrast(x, neighbor, torch.zeros_like(link), beta=1.0)
    y = torch.tensor([0, 0, 0, 1, 1, 1, 1, 1, 1])
    logit = torch.zeros(3, requires_grad=True)
    contrast(batch_of([0], [[1, 3, 4]], y), logit).backward()
    assert logit.grad[0] < 0 < logit.grad[1]
