import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from torch_geometric_reid.rerank import link_profiles, profile
from torch_geometric_reid.rerank.link_profile import both_ways


def table(num_nodes, k, seed):
    generator = torch.Generator().manual_seed(seed)
    order = torch.rand(num_nodes, num_nodes, generator=generator)
    order.fill_diagonal_(-1)
    link = torch.rand(num_nodes, k, generator=generator)
    return order.topk(k).indices, link


def dense(neighbor, link):
    return torch.zeros(len(neighbor), len(neighbor)).scatter_(1, neighbor, link)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 20), st.integers(1, 6), st.integers(0, 99))
def test_profile_equals_a_dense_form(num_nodes, k, seed):
    neighbor, link = table(num_nodes, min(k, num_nodes - 1), seed)
    p = dense(neighbor, link)
    rows = F.normalize((p + p.t()) / 2 + torch.eye(num_nodes))
    assert torch.allclose(link_profiles(neighbor, link).to_dense(), rows, atol=1e-6)
    num_query = max(1, num_nodes // 3)
    out = profile(neighbor, link, num_query)
    expected = 1 - rows[:num_query] @ rows[num_query:].t()
    assert torch.allclose(out, expected, atol=1e-6)


def test_nodes_outside_of_the_mask_give_nothing():
    mask = torch.arange(12) < 9
    neighbor, link = table(9, 4, seed=0)
    probe = torch.tensor([[0, 1, 2, 3], [5, 6, 7, 8], [2, 4, 6, 8]])
    neighbor, link = (
        torch.cat([neighbor, probe]),
        torch.cat([link, table(4, 3, 1)[1].view(3, 4)]),
    )
    expected = dense(neighbor, link)
    expected[:9, :9] = (expected[:9, :9] + expected[:9, :9].t()) / 2
    out = both_ways(neighbor, link, mask).to_dense()
    assert torch.allclose(out, expected)
    assert (out[:, 9:] == 0).all()


def test_rejects():
    neighbor, link = torch.tensor([[1], [0]]), torch.tensor([[0.5], [0.5]])
    with pytest.raises(ValueError, match="'neighbor' and 'link' need one shape"):
        profile(neighbor, link.view(-1), 1)
    with pytest.raises(ValueError, match="'neighbor' needs other items"):
        profile(torch.tensor([[0], [0]]), link, 1)
    with pytest.raises(ValueError, match="'neighbor' needs other items"):
        profile(torch.tensor([[2], [0]]), link, 1)
    with pytest.raises(ValueError, match="'link' needs probabilities"):
        profile(neighbor, 3 * link, 1)
    with pytest.raises(ValueError, match="'link' needs probabilities"):
        profile(neighbor, link * float('nan'), 1)
    with pytest.raises(ValueError, match="'num_query'"):
        profile(neighbor, link, 2)
