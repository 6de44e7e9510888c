from importlib import import_module

import pytest
import torch
import torch.nn.functional as F

from torch_geometric_reid.rerank.scan import scan_pairs

scan = import_module('torch_geometric_reid.rerank.scan')


@pytest.mark.parametrize('num_nodes', [2, 7, 40, 64, 131])
@pytest.mark.parametrize('k', [1, 5])
@pytest.mark.parametrize('order', ['random', 'sorted', 'duplicates'])
@pytest.mark.parametrize('few', [0, 1, 8])
def test_scan_pairs_equals_brute_force(monkeypatch, num_nodes, k, order, few):
    monkeypatch.setattr(scan, 'TILE', 16)
    monkeypatch.setattr(scan, 'FEW', few)
    generator = torch.Generator().manual_seed(0)
    x = F.normalize(torch.randn(num_nodes, 4, generator=generator))
    if order == 'sorted':  # later tiles hold ever nearer items
        x = x[x[:, 0].argsort()]
    if order == 'duplicates':
        x = x[torch.arange(num_nodes) % 3]
    k = min(k, num_nodes - 1)
    score, index, lowest = scan_pairs(x, k)

    full = x @ x.t()
    assert torch.allclose(lowest, full.amin(dim=1), atol=1e-6)
    assert torch.allclose(score, full.gather(1, index), atol=1e-6)
    expected = full.fill_diagonal_(-torch.inf).sort(dim=1, descending=True).values
    assert torch.allclose(score, expected[:, :k], atol=1e-6)
    assert all(len(row.unique()) == k for row in index)
    assert (index != torch.arange(num_nodes).view(-1, 1)).all()
