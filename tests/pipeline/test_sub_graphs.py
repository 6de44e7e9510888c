import pytest
import torch
import torch_geometric.transforms as T

from torch_geometric_reid.knn import knn
from torch_geometric_reid.pipeline.sub_graphs import SubGraphs
from torch_geometric_reid.sampler import RandomProbabilityGallerySampler
from torch_geometric_reid.transforms import CenterProbe, FuseEdges, ReadNodes

X = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
Y = torch.arange(40) % 5


def make_batches(**options):
    neighbor = knn(X, 15, metric='sqeuclidean', backend='torch').index
    return SubGraphs(
        RandomProbabilityGallerySampler(neighbor, Y, (8, 2), 3),
        40,
        T.Compose([ReadNodes(x=X, y=Y), CenterProbe(), FuseEdges()]),
        torch.device('cpu'),
        **{'batch_size': 8, **options},
    )


def test_batches_hold_what_is_known_of_their_nodes():
    assert repr(ReadNodes(x=X, y=Y)) == 'ReadNodes(x, y)'
    batches = make_batches(probe=torch.arange(30))
    assert len(batches) == 4
    for i, batch in enumerate(batches):
        probe = torch.arange(8 * i, min(8 * i + 8, 30))
        assert torch.equal(batch.n_id[: probe.numel()], probe)
        assert torch.equal(batch.y, Y[batch.n_id])
        assert torch.equal(batch.x, X[batch.n_id] - X[probe][batch.batch])
        assert batch.edge_index.sparse_size() == (batch.num_nodes, batch.num_nodes)


@pytest.mark.parametrize('context', ['fork', 'spawn'])
def test_batches_depend_on_no_worker(context):
    expected = list(make_batches(shuffle=True))
    found = list(
        make_batches(shuffle=True, num_workers=2, multiprocessing_context=context)
    )
    assert len(found) == len(expected) == 5
    for batch, other in zip(found, expected, strict=True):
        assert torch.equal(batch.n_id, other.n_id)
        assert torch.equal(batch.x, other.x)
        assert torch.equal(batch.edge_index, other.edge_index)


def test_the_global_generator_is_left_alone():
    state = torch.get_rng_state()
    list(make_batches(shuffle=True))
    assert torch.equal(torch.get_rng_state(), state)
