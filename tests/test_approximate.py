import logging

import pytest
import torch

from torch_geometric_reid.approximate import ApproximateIndex
from torch_geometric_reid.knn import KNNSearch, knn


def make_features(num=4000, dim=16):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, dim, generator=generator).repeat(num // 200, 1)
    return x + 0.5 * torch.randn(num, dim, generator=generator)


def found(out, exact):
    """The share of the true neighbours that are among the approximate ones."""
    return (out.index.unsqueeze(2) == exact.index.unsqueeze(1)).any(2).float().mean()


@pytest.mark.parametrize('metric', ['ip', 'sqeuclidean'])
def test_the_measured_recall_holds_for_all_items(metric):
    x = make_features()
    index = ApproximateIndex(x, 10, metric, recall=0.9)
    assert index.recall >= 0.9
    assert 1 <= index.num_visited < index.num_cells == 102
    score, item = index.search(x, 10)
    truth = x @ x.t() if metric == 'ip' else -torch.cdist(x, x).square()
    best = truth.topk(10).indices
    share = (item.unsqueeze(2) == best.unsqueeze(1)).any(2).float().mean()
    assert abs(share - index.recall) < 0.05
    assert torch.allclose(
        truth.gather(1, item), score if metric == 'ip' else -score, atol=1e-3
    )


def test_full_recall_visits_what_it_takes():
    x = make_features(800)
    assert ApproximateIndex(x, 5, recall=1.0).recall == 1
    assert ApproximateIndex(x[:30], 5).num_cells == 1


@pytest.mark.parametrize('metric', ['cosine', 'ip', 'sqeuclidean'])
def test_knn(metric, caplog):
    x = make_features()
    exact = knn(x, 10, metric=metric)
    with caplog.at_level(logging.INFO):
        out = knn(x, 10, metric=metric, backend='ivf')
    assert 'recall 0.9' in caplog.text
    assert found(out, exact) > 0.9
    assert not (out.index == torch.arange(len(x)).view(-1, 1)).any()
    direction = 1 if metric == 'sqeuclidean' else -1
    assert (direction * out.score.diff(dim=1) >= 0).all()
    query = x[:50] + 0.01
    out = knn(x, 10, query=query, metric=metric, backend='ivf')
    assert found(out, knn(x, 10, query=query, metric=metric)) > 0.9


def test_auto_approximates_many_items_and_says_so(monkeypatch, caplog):
    x = make_features()
    assert knn(x, 10, backend='auto').index.equal(knn(x, 10).index)
    monkeypatch.setattr('torch_geometric_reid.knn.APPROXIMATE_FROM', 4000)
    assert knn(x, 10, query=x, backend='auto').index.equal(knn(x, 10, query=x).index)
    assert not caplog.text
    search = KNNSearch(x, 10, exclude_self=True, backend='auto')
    assert 0.9 < search.recall < 1
    assert (
        f'among 4000 items are approximate: recall {search.recall:.3f}' in caplog.text
    )
    out = search.search(search.x)
    assert out.index.equal(knn(x, 10, backend='ivf').index)
    assert KNNSearch(x, 10).recall == 1


def test_auto_without_faiss_is_exact(monkeypatch):
    x = make_features()
    expected = knn(x, 10)
    monkeypatch.setattr('torch_geometric_reid.knn.APPROXIMATE_FROM', 4000)
    monkeypatch.setattr('torch_geometric_reid.knn.find_spec', lambda name: None)
    assert knn(x, 10, backend='auto').index.equal(expected.index)


def test_rows_that_find_too_few_are_searched_exactly():
    x = torch.cat(
        [torch.eye(8).repeat(40, 1) + 0.01 * torch.randn(320, 8), -torch.eye(8)]
    )
    out = knn(x, 100, backend='ivf')
    assert (out.index >= 0).all()
    assert out.score.isfinite().all()
    assert all(len(set(row)) == 100 for row in out.index.tolist())


def test_rejects():
    x = torch.randn(50, 4)
    with pytest.raises(ValueError, match="'recall'.*got 1.5"):
        ApproximateIndex(x, 3, recall=1.5)
    with pytest.raises(ValueError, match="'k'"):
        ApproximateIndex(x, 0)
    with pytest.raises(ValueError, match="'metric'.*cosine"):
        ApproximateIndex(x, 3, 'cosine')
