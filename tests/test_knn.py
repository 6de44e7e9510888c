import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric import EdgeIndex

from torch_geometric_reid import exact_knn, half_scores
from torch_geometric_reid.half_scores import HalfScores
from torch_geometric_reid.knn import knn, knn_graph
from torch_geometric_reid.topk import grouped_topk, stable_topk

BACKENDS = ['faiss', 'torch', 'half']
METRICS = ['cosine', 'ip', 'sqeuclidean']


@pytest.fixture(autouse=True, scope='module')
def faiss_for_few_queries():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact_knn, 'FAISS_MIN_ROWS', 1)
        yield


def brute_force(x, k, query, metric):
    """One query at a time in float64, rounded to float32, sorted by (score, id)."""
    alone = query is None
    query = x if alone else query
    if metric == 'cosine':
        x = torch.nn.functional.normalize(x)
        query = torch.nn.functional.normalize(query)
    x, query = x.numpy().astype(np.float64), query.numpy().astype(np.float64)
    rows = []
    for i, q in enumerate(query):
        if metric == 'sqeuclidean':
            score = -((q - x) ** 2).sum(1)
        else:
            score = (q * x).sum(1)
        score = score.astype(np.float32)
        ids = sorted(range(len(x)), key=lambda j: (-score[j], j))
        rows.append([j for j in ids if not (alone and j == i)][:k])
    return torch.tensor(rows)


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('metric', METRICS)
@pytest.mark.parametrize('with_query', [False, True])
def test_knn_equals_brute_force(backend, metric, with_query):
    x = torch.randn(150, 16)
    query = torch.randn(40, 16) if with_query else None
    out = knn(x, 12, query=query, metric=metric, backend=backend)
    assert out.index.equal(brute_force(x, 12, query, metric))
    direction = 1 if metric == 'sqeuclidean' else -1
    assert (direction * out.score.diff(dim=1) >= 0).all()
    assert out.score.dtype == torch.float32
    assert out.index.dtype == torch.int64


@pytest.mark.parametrize('metric', METRICS)
@pytest.mark.parametrize('chunk_size', [None, 300, 7])
def test_knn_of_many_and_few_queries(monkeypatch, metric, chunk_size):
    # 650 queries are blocks of 300, 300 and 50, of which Faiss gets the first two.
    monkeypatch.setattr(exact_knn, 'FAISS_MIN_ROWS', 256)
    monkeypatch.setattr(exact_knn, 'BLOCK_ELEMENTS', 9000)
    x = torch.randint(1, 4, (650, 6), generator=torch.Generator().manual_seed(2))
    out = knn(x.float(), 5, metric=metric, backend='faiss', chunk_size=chunk_size)
    assert out.index.equal(brute_force(x.float(), 5, None, metric))


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('metric', METRICS)
def test_knn_with_duplicates(backend, metric):
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(9, 33, generator=generator)
    x = x[torch.randint(9, (200,), generator=generator)]
    for k in [1, 7, 40, 199]:
        out = knn(x, k, metric=metric, backend=backend)
        assert out.index.equal(brute_force(x, k, None, metric)), k


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 30), st.integers(1, 4), st.integers(1, 30), st.integers(0, 10**6),
    st.sampled_from(METRICS), st.integers(1, 40),
)  # fmt: skip
def test_knn_on_integer_grids(num, dim, k, seed, metric, chunk_size):
    # Coordinates from a small grid make exact ties the rule.
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(1, 4, (num, dim), generator=generator).float()
    query = torch.randint(1, 4, (5, dim), generator=generator).float()
    k = min(k, num)
    outs = [
        knn(x, k, query=query, metric=metric, backend=backend, chunk_size=chunk_size)
        for backend in BACKENDS
    ]
    expected = brute_force(x, k, query, metric)
    for out in outs:
        assert out.index.equal(expected)


@pytest.mark.parametrize('backend', BACKENDS)
def test_knn_drops_self_by_id_among_duplicates(backend):
    x = torch.ones(30, 3)
    out = knn(x, 4, backend=backend)
    assert out.index[0].tolist() == [1, 2, 3, 4]
    assert out.index[2].tolist() == [0, 1, 3, 4]
    assert out.index[29].tolist() == [0, 1, 2, 3]
    assert knn(x, 4, exclude_self=False, backend=backend).index[9].tolist() == [
        0, 1, 2, 3,
    ]  # fmt: skip


@pytest.mark.parametrize('backend', BACKENDS)
def test_knn_cuts_k_with_one_warning(backend):
    x = torch.randn(6, 3)
    with pytest.warns(UserWarning, match="'k' is cut from 9 to 5") as record:
        assert knn(x, 9, backend=backend).index.shape == (6, 5)
    assert len(record) == 1
    with pytest.warns(UserWarning, match="'k' is cut from 7 to 6"):
        assert knn(x, 7, query=x[:2], backend=backend).index.shape == (2, 6)


@pytest.mark.parametrize('backend', BACKENDS)
def test_knn_of_one_feature(backend):
    x = torch.randn(1, 3)
    with pytest.warns(UserWarning, match='cut from 2 to 0'):
        assert knn(x, 2, backend=backend).index.shape == (1, 0)
    assert knn(x, 1, query=x, backend=backend).index.tolist() == [[0]]


@pytest.mark.parametrize('backend', BACKENDS)
def test_knn_beyond_the_limit_of_faiss(backend):
    x = torch.randn(2300, 4, generator=torch.Generator().manual_seed(1))
    out = knn(x, 2200, query=x[:3], backend=backend)
    assert out.index.equal(brute_force(x, 2200, x[:3], 'cosine'))


@pytest.mark.parametrize('backend', BACKENDS)
def test_knn_takes_other_types_and_strides(backend):
    x = torch.randn(40, 8)
    expected = knn(x, 5, backend=backend).index
    assert knn(x.double(), 5, backend=backend).index.equal(expected)
    assert knn(x.t().contiguous().t(), 5, backend=backend).index.equal(expected)
    half = knn(x.half(), 5, backend=backend)
    assert half.index.equal(knn(x.half().float(), 5, backend=backend).index)
    assert knn(x.numpy(), 5, backend=backend).index.equal(expected)


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('metric', METRICS)
def test_knn_of_features_with_a_gradient(backend, metric):
    x = torch.randn(40, 8)
    out = knn(x.clone().requires_grad_(), 5, metric=metric, backend=backend)
    assert out.index.equal(knn(x, 5, metric=metric, backend=backend).index)
    assert not out.score.requires_grad


@pytest.mark.parametrize(
    ('x', 'k', 'error', 'match'),
    [
        (torch.tensor([[1.0, float('nan')]]), 1, ValueError, "'x'.*finite.*row 0"),
        (torch.tensor([[1.0], [float('inf')]]), 1, ValueError, "'x'.*finite.*row 1"),
        (torch.tensor([[1.0], [0.0]]), 1, ValueError, "'x'.*non-zero.*row 1"),
        (torch.ones(3), 1, ValueError, r"'x'.*\[N, d\].*\[3\]"),
        (torch.ones(0, 4), 1, ValueError, r"'x'.*at least one.*\[0, 4\]"),
        (torch.ones(4, 2), 0, ValueError, "'k'.*at least 1"),
        (torch.ones(4, 2, dtype=torch.long), 1, TypeError, "'x'.*floating"),
        ('features', 1, TypeError, "'x'.*tensor"),
    ],
)
def test_knn_rejects(x, k, error, match):
    with pytest.raises(error, match=match):
        knn(x, k)


def test_knn_rejects_more():
    x = torch.ones(4, 2)
    with pytest.raises(ValueError, match=r"'query' and 'x'.*\[1, 3\].*\[4, 2\]"):
        knn(x, 1, query=torch.ones(1, 3))
    with pytest.raises(ValueError, match="'metric'.*'cosine'.*'angular'"):
        knn(x, 1, metric='angular')
    with pytest.raises(ValueError, match="'backend'"):
        knn(x, 1, backend='annoy')
    assert knn(torch.zeros(3, 2), 1, metric='sqeuclidean').index.tolist() == [
        [1], [0], [0],
    ]  # fmt: skip


def test_knn_without_faiss(monkeypatch):
    monkeypatch.setattr('torch_geometric_reid.knn.find_spec', lambda name: None)
    x = torch.randn(10, 3)
    assert knn(x, 3).index.shape == (10, 3)
    with pytest.raises(ImportError, match='faiss'):
        knn(x, 3, backend='faiss')


def test_knn_graph():
    x = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
    edge_index, score = knn_graph(x, 1)
    assert isinstance(edge_index, EdgeIndex)
    assert edge_index.is_sorted_by_col
    assert edge_index.tolist() == [[1, 0, 1], [0, 1, 2]]
    assert torch.allclose(score, torch.tensor([0.8, 0.8, 0.6]))

    edge_index, score = knn_graph(x, 1, loop=True)
    assert edge_index.tolist() == [[0, 1, 1, 0, 2, 1], [0, 0, 1, 1, 2, 2]]
    assert torch.allclose(score, torch.tensor([1, 0.8, 1, 0.8, 1, 0.6]))
    assert knn_graph(2 * x, 1, loop=True, metric='ip')[1][0] == 4
    assert knn_graph(x, 1, loop=True, metric='sqeuclidean')[1][0] == 0
    edge_index.validate()


@pytest.mark.parametrize('metric', METRICS)
def test_halves_that_can_not_tell_leave_it_to_float32(monkeypatch, metric):
    # Of 400 items, 60 lie nearer to each other than halves can tell.
    x = torch.randn(400, 24, generator=torch.Generator().manual_seed(3))
    x[100:160] = x[7] + 1e-4 * x[100:160]
    rows = []
    from_float = exact_knn.ExactKNN._from_float

    def spy(self, query, k, self_id):
        rows.append(len(query))
        return from_float(self, query, k, self_id)

    monkeypatch.setattr(exact_knn.ExactKNN, '_from_float', spy)
    out = knn(x, 12, metric=metric, backend='half')
    assert out.index.equal(brute_force(x, 12, None, metric))
    assert 0 < sum(rows) < 200


@pytest.mark.parametrize('squared', [False, True])
@settings(max_examples=40, deadline=None)
@given(
    scale=st.integers(-60, 12), spread=st.sampled_from([0.0, 2.0, 8.0]),
    dim=st.integers(1, 70), seed=st.integers(0, 10**6),
)  # fmt: skip
def test_no_score_exceeds_the_bound_of_its_half(squared, scale, spread, dim, seed):
    generator = torch.Generator().manual_seed(seed)
    query, x = (
        2.0**scale
        * torch.randn(num, dim, generator=generator)
        * (spread * torch.randn(num, dim, generator=generator)).exp2()
        for num in (6, 40)
    )
    excess = bound_of_halves(query, x, squared) - exact_scores(query, x, squared)
    assert (excess >= 0).all()
    size = query.double().norm(dim=1).max() + x.double().norm(dim=1).max()
    assert (excess < 4e-3 * size.square()).all()  # and it is near


@pytest.mark.parametrize('squared', [False, True])
@pytest.mark.parametrize('size', [1.0, 1e-12, 1e-18, 1e-24, 1e12])
@pytest.mark.parametrize('alike', [False, True])
def test_bounds_of_halves_whose_sums_are_cut_off(monkeypatch, squared, size, alike):
    # What halves can hold, so that nothing but the sums is lost.
    query, x = (torch.rand(num, 700).half().float() + 0.5 for num in (4, 30))
    if alike:
        query[:], x[:] = 0.7502, 0.7502
    query, x = size * query.half().float(), x.half().float()
    monkeypatch.setattr(half_scores, '_product', cut_off_product)
    excess = bound_of_halves(query, x, squared) - exact_scores(query, x, squared)
    assert (excess >= 0).all()


def cut_off_product(x, y):
    """Sums that drop what float32 can not hold, one product after the other."""
    out = torch.zeros(len(x), y.size(1))
    for a, b in zip(x.t(), y, strict=True):
        exact = out.double() + torch.outer(a, b).double()
        out = exact.float()
        out = torch.where(out.double() > exact, out.nextafter(out.new_zeros(())), out)
    return out


def bound_of_halves(query, x, squared):
    value, term, factor = HalfScores(x, squared)(query)
    return factor.double() * (value.double() + term.double().view(-1, 1))


def exact_scores(query, x, squared):
    query, x = query.double(), x.double()
    if squared:
        return -(query.unsqueeze(1) - x).square().sum(2)
    return query @ x.t()


@pytest.mark.parametrize('size', [1e-10, 1e-25])
def test_halves_of_short_vectors(size):
    x, query = size * torch.randn(600, 32), torch.randn(50, 32)
    out = knn(x, 10, query=query, metric='ip', backend='half')
    assert out.index.equal(brute_force(x, 10, query, 'ip'))


def test_self_is_left_out_where_distances_overflow():
    x = 1e25 * torch.randn(10, 4)
    out = knn(x, 3, metric='sqeuclidean', backend='half')
    assert not (out.index == torch.arange(10).view(-1, 1)).any()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 4), st.integers(1, 300), st.integers(0, 30), st.booleans(),
    st.integers(0, 10**6),
)  # fmt: skip
def test_grouped_topk(num_rows, num, k, ties, seed):
    generator = torch.Generator().manual_seed(seed)
    score = torch.randn(num_rows, num, generator=generator)
    score = score.round() if ties else score
    value, index = grouped_topk(score, min(k, num))
    assert value.equal(score.topk(min(k, num), dim=1).values)
    assert value.equal(score.gather(1, index))
    assert all(row.unique().numel() == row.numel() for row in index)


def test_stable_topk():
    score = torch.tensor([[1.0, 2, 2, 2, 0], [0, 0, 0, 0, 0], [5, 4, 3, 2, 1]])
    out = stable_topk(score, 2)
    assert out.index.tolist() == [[1, 2], [0, 1], [0, 1]]
    assert out.score.tolist() == [[2, 2], [0, 0], [5, 4]]
    assert stable_topk(score, 5).index[0].tolist() == [1, 2, 3, 0, 4]
