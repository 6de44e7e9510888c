import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_subgraph import batch_edges, lists, make_table, subgraph
from torch_geometric.data import Data
from torch_geometric.loader import NodeLoader
from torch_geometric.sampler import EdgeSamplerInput, NodeSamplerInput

from torch_geometric_reid.knn import knn
from torch_geometric_reid.sampler import HardGallerySampler


def sample(sampler, nodes):
    return sampler.sample_from_nodes(
        NodeSamplerInput(input_id=None, node=torch.tensor(nodes))
    )


@settings(max_examples=60, deadline=None)
@given(
    st.integers(3, 25), st.integers(1, 8), st.integers(1, 4), st.integers(1, 5),
    st.booleans(), st.booleans(), st.integers(0, 10**6),
)  # fmt: skip
def test_training_subgraphs_equal_slow_ones(num, k1, k2, e, symmetric, loops, seed):
    generator = torch.Generator().manual_seed(seed)
    k1 = min(k1, num - 1)
    x = torch.randn(num, 3, generator=generator)
    ranking = lists(-torch.cdist(x, x))
    sampler = HardGallerySampler(
        make_table(ranking, num - 1), (k1, k2), e, symmetric, loops
    )
    probes = torch.randint(num, (4,), generator=generator).tolist()
    out = sample(sampler, probes)
    assert out.num_sampled_nodes[:2] == [4, 4 * k1]
    assert out.node.numel() == out.batch.numel() == sum(out.num_sampled_nodes)
    assert out.node[:4].tolist() == probes
    assert out.batch[:4].tolist() == [0, 1, 2, 3]
    assert (out.col.diff() >= 0).all()
    for b, p in enumerate(probes):
        one_hop = out.node[4 : 4 + 4 * k1].view(4, k1)[b].tolist()
        assert one_hop == ranking[p][:k1]
        assert (out.batch[4 : 4 + 4 * k1].view(4, k1)[b] == b).all()
        two_hop, edges = subgraph(ranking, p, one_hop, k2, e, symmetric, loops)
        found = out.node[4 + 4 * k1 :][out.batch[4 + 4 * k1 :] == b].tolist()
        assert len(found) == len(set(found))
        assert set(found) == two_hop
        assert batch_edges(out, b) == edges


@settings(max_examples=60, deadline=None)
@given(
    st.integers(2, 20), st.integers(1, 8), st.integers(1, 4), st.integers(1, 5),
    st.booleans(), st.booleans(), st.integers(0, 10**6),
)  # fmt: skip
def test_testing_subgraphs_equal_a_rebuild_with_the_probe(
    num, k1, k2, e, symmetric, loops, seed
):
    generator = torch.Generator().manual_seed(seed)
    k1 = min(k1, num)
    gallery = torch.randn(num, 3, generator=generator)
    query = torch.randn(5, 3, generator=generator)
    own = lists(-torch.cdist(gallery, gallery))
    distance = torch.cdist(query, gallery)
    order = distance.argsort(dim=1, stable=True)
    width = max(k2, e)
    last = torch.cdist(gallery, gallery).fill_diagonal_(torch.inf).sort(1).values
    last = last[:, e - 1] if e < num else torch.full((num,), torch.inf)
    sampler = HardGallerySampler(
        make_table(own, min(width, num - 1)),
        (k1, k2),
        e,
        symmetric,
        loops,
        probe_neighbor=order[:, : max(k1, e)],
        inserted=(distance < last).nonzero().t(),
    )
    probes = [4, 0, 2]
    out = sample(sampler, [num + p for p in probes])
    assert (out.col.diff() >= 0).all()
    for b, p in enumerate(probes):
        x = torch.cat([gallery, query[p : p + 1]])
        ranking = lists(-torch.cdist(x, x))  # the probe is node `num`
        one_hop = ranking[num][:k1]
        found = out.node[3 : 3 + 3 * k1].view(3, k1)[b].tolist()
        assert found == one_hop
        two_hop, edges = subgraph(ranking, num, one_hop, k2, e, symmetric, loops)
        assert set(out.node[3 + 3 * k1 :][out.batch[3 + 3 * k1 :] == b].tolist()) == (
            two_hop
        )
        expected = {tuple(num + p if i == num else i for i in pair) for pair in edges}
        assert batch_edges(out, b) == expected


def test_by_hand():
    # Images on a line at 0, 1, 3, 7; image 1 is the probe.
    x = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
    neighbor = knn(x, 3, metric='sqeuclidean').index
    assert neighbor.tolist() == [[1, 2, 3], [0, 2, 3], [1, 0, 3], [2, 1, 0]]
    out = sample(HardGallerySampler(neighbor, (1, 1), 1, self_loops=False), [1])
    assert out.node.tolist() == [1, 0, 2]
    assert out.num_sampled_nodes == [1, 1, 1]
    # 0 and 1 list each other; 2 lists 1.
    assert sorted(zip(out.row.tolist(), out.col.tolist(), strict=True)) == [
        (0, 1), (0, 2), (1, 0), (2, 0),
    ]  # fmt: skip


def test_a_probe_alone_gives_what_it_gives_in_a_batch():
    sampler = HardGallerySampler(knn(torch.randn(60, 4), 20).index, (10, 3), 4)
    out = sample(sampler, [7, 30, 7, 2])
    for b, p in enumerate([7, 30, 7, 2]):
        alone = sample(sampler, [p])
        assert alone.node.equal(out.node[out.batch == b])
        assert batch_edges(alone, 0) == batch_edges(out, b)


@pytest.mark.parametrize('num_workers', [0, 2])
def test_loader(num_workers):
    x = torch.randn(50, 4)
    sampler = HardGallerySampler(knn(x, 12).index, (6, 2), 3)
    data = Data(x=x, edge_index=torch.empty(2, 0, dtype=torch.long))
    loader = NodeLoader(
        data,
        sampler,
        input_nodes=torch.arange(10, 50),
        batch_size=7,
        num_workers=num_workers,
    )
    seen = []
    for i, batch in enumerate(loader):
        size = batch.batch_size
        assert batch.num_sampled_nodes[:2] == [size, 6 * size]
        assert batch.x.equal(x[batch.n_id])
        assert batch.n_id[:size].tolist() == [*range(10, 50)][7 * i : 7 * i + 7]
        assert batch.n_id[batch.batch].equal(batch.n_id[:size][batch.batch])
        expected = sample(sampler, batch.n_id[:size].tolist())
        assert batch.edge_index.equal(torch.stack([expected.row, expected.col]))
        seen += batch.n_id[:size].tolist()
    assert seen == [*range(10, 50)]


def test_small_gallery():
    x = torch.randn(5, 3)
    with pytest.warns(UserWarning, match='cut from 200 to 4'):
        sampler = HardGallerySampler(knn(x, 4).index)
    out = sample(sampler, [0, 1])
    assert out.num_sampled_nodes == [2, 8, 0]
    with pytest.warns(UserWarning, match='cut from 200 to 5'):
        sampler = HardGallerySampler(
            knn(x, 4).index, probe_neighbor=torch.arange(5).view(1, 5)
        )
    assert sample(sampler, [5]).node.tolist() == [5, 0, 1, 2, 3, 4]


def test_one_gallery_image():
    neighbor = torch.empty(1, 0, dtype=torch.long)
    sampler = HardGallerySampler(
        neighbor,
        (1, 1),
        1,
        probe_neighbor=torch.tensor([[0]]),
        inserted=torch.tensor([[0], [0]]),
    )
    out = sample(sampler, [1])
    assert out.node.tolist() == [1, 0]
    assert batch_edges(out, 0) == {(0, 0), (1, 1), (0, 1), (1, 0)}


def test_rejects():
    neighbor = knn(torch.randn(30, 3), 10).index
    with pytest.raises(ValueError, match=r"'neighbor' .*at least 20 col.*\[30, 10\]"):
        HardGallerySampler(neighbor, (20, 2), 3)
    with pytest.raises(ValueError, match="'neighbor' needs at least 11 columns"):
        HardGallerySampler(neighbor, (5, 10), 3)
    with pytest.raises(ValueError, match='ids between 0 and 29.*0 to 30'):
        HardGallerySampler(neighbor + (neighbor == 29), (5, 2), 3)
    with pytest.raises(ValueError, match='own neighbor'):
        HardGallerySampler(neighbor * 0, (5, 2), 3)
    with pytest.raises(ValueError, match=r'int64 table of shape \[N, K\].*float32'):
        HardGallerySampler(neighbor.float(), (5, 2), 3)
    with pytest.raises(ValueError, match=r"'num_neighbors\[1\]'"):
        HardGallerySampler(neighbor, (5, -1), 3)
    with pytest.raises(ValueError, match="'num_edges'"):
        HardGallerySampler(neighbor, (5, 2), 0)
    with pytest.raises(ValueError, match="'probe_neighbor' needs at least 5"):
        HardGallerySampler(neighbor, (5, 2), 3, probe_neighbor=neighbor[:2, :4])
    sampler = HardGallerySampler(neighbor, (5, 2), 3)
    with pytest.raises(NotImplementedError, match='around probes'):
        sampler.sample_from_edges(
            EdgeSamplerInput(None, torch.tensor([0]), torch.tensor([1]))
        )
    with pytest.raises(TypeError, match='label'):
        HardGallerySampler(neighbor, (5, 2), 3, label=torch.zeros(30))


def test_rejects_seeds_that_are_no_probes():
    neighbor = knn(torch.randn(30, 3), 10).index
    with pytest.raises(ValueError, match='nodes 0 to 29.*got 3 to 30'):
        sample(HardGallerySampler(neighbor, (5, 2), 3), [3, 30])
    sampler = HardGallerySampler(neighbor, (5, 2), 3, probe_neighbor=neighbor[:8])
    with pytest.raises(ValueError, match='nodes 30 to 37.*got 0 to 31'):
        sample(sampler, [0, 31])
