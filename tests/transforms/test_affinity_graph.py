import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Data

from torch_geometric_reid.transforms import AffinityGraph


def to_dense(data):
    adj = torch.zeros(data.num_nodes, data.num_nodes)
    adj[data.edge_index[1], data.edge_index[0]] = data.edge_weight
    return adj


def slow(x, k, readable=None, binary=False, threshold=0.0, symmetrize=False):
    """A + I of eq. (1), row by row."""
    num = len(x)
    readable = list(range(num)) if readable is None else readable
    x = F.normalize(x.double())
    cos = x @ x.t()
    adj = torch.zeros(num, num, dtype=torch.float64)
    for i in range(num):
        others = sorted((j for j in readable if j != i), key=lambda j: -cos[i, j])
        for j in others[:k]:
            if cos[i, j] > threshold:
                adj[i, j] = 1 if binary else cos[i, j]
    if symmetrize:
        for i in readable:
            for j in readable:
                adj[i, j] = adj[j, i] = max(adj[i, j], adj[j, i])
    return (adj + torch.eye(num)).float()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(2, 15), st.integers(1, 6), st.booleans(), st.booleans(),
    st.booleans(), st.sampled_from([0.0, 0.4]), st.integers(0, 10**6),
)  # fmt: skip
def test_affinity_graph_equals_slow_one(
    num, k, masked, binary, symmetrize, threshold, seed
):
    generator = torch.Generator().manual_seed(seed)
    data = Data(x=torch.randn(num, 3, generator=generator))
    readable = None
    if masked:
        data.gallery_mask = torch.rand(num, generator=generator) < 0.7
        data.gallery_mask[:2] = True
        readable = data.gallery_mask.nonzero().view(-1).tolist()
        k = min(k, len(readable) - 1)
    k = min(k, num - 1)
    expected = slow(data.x, k, readable, binary, threshold, symmetrize)
    options = {'binary': binary, 'threshold': threshold, 'symmetrize': symmetrize}
    transform = AffinityGraph(k, normalize=False, **options)
    assert torch.allclose(to_dense(transform(data)), expected, atol=1e-5)

    out = AffinityGraph(k, **options)(data)
    expected /= expected.sum(dim=1, keepdim=True)
    assert torch.allclose(to_dense(out), expected, atol=1e-5)
    assert (out.edge_weight >= 0).all()
    assert torch.allclose(to_dense(out).sum(dim=1), torch.ones(num))
    out.edge_index.validate()


def test_directed_rows_have_k_neighbors():
    data = Data(x=torch.rand(20, 3) + 0.1)  # no negative cosine
    out = AffinityGraph(k=4)(data)
    assert torch.bincount(out.edge_index[1]).tolist() == [5] * 20
    with pytest.warns(UserWarning, match="'k' is cut from 50 to 19"):
        out = AffinityGraph(k=50)(data)
    assert torch.bincount(out.edge_index[1]).tolist() == [20] * 20


def test_last_neighbors():
    data = Data(x=torch.randn(9, 3), gallery_mask=torch.arange(9) < 7)
    x = F.normalize(data.x)
    cos = (x @ x[:7].t()).fill_diagonal_(-torch.inf)
    out = AffinityGraph(k=4)(data)
    assert torch.allclose(out.last_score, cos.topk(4).values[:, 3])
    assert out.last_neighbor.equal(cos.topk(4).indices[:, 3])
    with pytest.warns(UserWarning, match='cut'):
        out = AffinityGraph(k=7)(data)
    assert out.last_score[:7].tolist() == [-torch.inf] * 7
    assert out.last_score[7:].isfinite().all()


def test_affinity_graph_is_permutation_equivariant():
    x, perm = torch.randn(20, 3), torch.randperm(20)
    adj = to_dense(AffinityGraph(k=4)(Data(x=x)))
    moved = to_dense(AffinityGraph(k=4)(Data(x=x[perm])))
    assert torch.allclose(moved, adj[perm][:, perm], atol=1e-6)


def test_probes_do_not_meet():
    x = torch.randn(20, 3)
    mask = torch.arange(20) < 15
    all_probes = to_dense(AffinityGraph(k=4)(Data(x=x, gallery_mask=mask)))
    few = to_dense(AffinityGraph(k=4)(Data(x=x[:17], gallery_mask=mask[:17])))
    assert torch.allclose(all_probes[:17, :17], few)
    assert not all_probes[:15, 15:].any()


def test_affinity_graph_rejects():
    with pytest.raises(ValueError, match="'k'"):
        AffinityGraph(k=0)
    with pytest.raises(ValueError, match="'threshold'"):
        AffinityGraph(k=1, threshold=-0.5)
    with pytest.raises(ValueError, match="features 'x'"):
        AffinityGraph(k=1)(Data(num_nodes=3))
    with pytest.raises(ValueError, match=r"'gallery_mask'.*boolean.*\[3\].*int64"):
        AffinityGraph(k=1)(Data(x=torch.randn(3, 2), gallery_mask=torch.arange(3)))
    assert str(AffinityGraph(k=3)) == 'AffinityGraph(k=3)'


@pytest.mark.parametrize('dtype', [torch.float16, torch.float64])
def test_other_types(dtype):
    x = torch.randn(12, 4).to(dtype)
    out = AffinityGraph(3, 'cosine')(Data(x=x))
    expected = AffinityGraph(3)(Data(x=x.float()))
    assert out.edge_index.equal(expected.edge_index)
    with pytest.raises(ValueError, match="'metric'"):
        AffinityGraph(3, 'ip')
