import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from torch_geometric_reid.knn import knn
from torch_geometric_reid.transforms.update_table import update_table


@settings(max_examples=150, deadline=None)
@given(
    size=st.integers(3, 30),
    k=st.integers(1, 6),
    metric=st.sampled_from(['cosine', 'sqeuclidean']),
    grid=st.booleans(),
    seed=st.integers(0, 10_000),
)
def test_equals_a_new_search(size, k, metric, grid, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(size, 4, generator=generator)
    if grid:  # duplicates and ties
        x = x.round().clamp(-1, 1)
        x[(x == 0).all(dim=1)] = 1
    x = F.normalize(x)
    if metric == 'sqeuclidean':
        x[torch.rand(size, generator=generator) < 0.2] = 0  # as a ReLU leaves some
    before = knn(x, min(k, size - 1), metric=metric)
    kept = torch.rand(size, generator=generator) < 0.8
    moved = torch.rand(size, generator=generator) < 0.1
    added = F.normalize(torch.randn(int(torch.randint(4, (), generator=generator)), 4))
    now = torch.where(moved.view(-1, 1), x.roll(1, dims=1), x)[kept]
    now = torch.cat([now, added])
    if len(now) < 2:
        return
    position = torch.arange(size).masked_fill(moved, -1)[kept]
    position = torch.cat([position, position.new_full((len(added),), -1)])
    table, searched = update_table(now, k, before, position, metric)
    expected = knn(now, min(k, len(now) - 1), metric=metric)
    assert table.index.equal(expected.index)
    assert torch.allclose(table.score, expected.score, atol=1e-6)
    assert searched[position < 0].all()
