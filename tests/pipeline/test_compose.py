from dataclasses import replace

import pytest
import torch

from torch_geometric_reid import Config, GraphReRanker
from torch_geometric_reid.datasets import FakeReID
from torch_geometric_reid.distance import pairwise_distance
from torch_geometric_reid.pipeline import (
    ECConfig,
    FAConfig,
    RankConfig,
    connect,
    connect_all,
)
from torch_geometric_reid.pipeline.aggregate import Features
from torch_geometric_reid.rerank import k_reciprocal, k_reciprocal_from_distance

SMALL = Config(
    recipe='paper',
    fa=FAConfig(k=3, hidden_channels=32, steps=3),
    ec=ECConfig(num_neighbors=(10, 3), num_edges=4, hidden_channels=16, epochs=1),
    rank=RankConfig(graph='joint', k_reciprocal=(8, 3, 0.3)),
)


@pytest.fixture(scope='module')
def splits():
    return [
        FakeReID(split, num_identities=12)[0].x if split != 'train' else
        FakeReID(split, num_identities=12)[0]
        for split in ('train', 'query', 'gallery')
    ]  # fmt: skip


def fit(train, reading, ec=True, fa=True):
    config = replace(SMALL, rank=replace(SMALL.rank, rerank=reading))
    if not ec:
        config = replace(config, ec=None)
    if not fa:
        config = replace(config, fa=None)
    return GraphReRanker(config).fit(train.x, train.y)


def test_rr_then_ec(splits):
    train, query, gallery = splits
    ranker = fit(train, 'rr_then_ec')
    features = ranker.aggregate(query, gallery)
    scored = ranker.connect(features)
    expected = k_reciprocal(features.query, features.gallery, 8, 3, 0.3) + 0.4
    expected.scatter_add_(1, scored.image, 0.4 * (scored.distance - 1))
    assert torch.allclose(ranker.rank(query, gallery), expected, atol=1e-6)


def test_dstar_as_original(splits):
    train, query, gallery = splits
    ranker = fit(train, 'dstar_as_original')
    features = ranker.aggregate(query, gallery)
    dstar = ranker.fuse(ranker.distance(features), ranker.connect(features))
    jaccard = k_reciprocal(features.query, features.gallery, 8, 3, 0.0)
    expected = 0.7 * jaccard + 0.3 * dstar / dstar.max(dim=1, keepdim=True).values
    assert torch.allclose(ranker.rank(query, gallery), expected, atol=1e-6)


def test_rr_on_dstar(splits):
    train, query, gallery = splits
    ranker = fit(train, 'rr_on_dstar')
    features = ranker.aggregate(query, gallery)
    x = torch.cat([features.query, features.gallery])
    dstar = pairwise_distance(x, x) + 0.4
    scored = connect_all(ranker.ec, x, ranker.config.ec)
    dstar.scatter_add_(1, scored.image, 0.4 * (scored.distance - 1))
    dstar = ((dstar + dstar.t()) / 2).fill_diagonal_(0).sqrt()
    n = len(query)
    expected = k_reciprocal_from_distance(
        dstar[:n, n:], dstar[:n, :n], dstar[n:, n:], 8, 3, 0.3
    )
    assert torch.allclose(ranker.rank(query, gallery), expected, atol=1e-4)


@pytest.mark.parametrize('reading', ['rr_then_ec', 'rr_on_dstar'])
def test_without_gcns_it_is_plain_k_reciprocal(splits, reading):
    train, query, gallery = splits
    ranker = fit(train, reading, ec=False, fa=False)
    expected = k_reciprocal(query, gallery, 8, 3, 0.3)
    assert torch.allclose(ranker.rank(query, gallery), expected, atol=1e-4)


def test_connect_all_equals_a_probe_of_all_others(splits):
    train, query, gallery = splits
    ranker = fit(train, None)
    x = ranker.aggregate(query, gallery).gallery
    out = connect_all(ranker.ec, x, ranker.config.ec)
    for i in (0, 7):
        others = [j for j in range(len(x)) if j != i]
        alone = connect(ranker.ec, Features(x[i : i + 1], x[others]), ranker.config.ec)
        assert torch.tensor(others)[alone.image[0]].equal(out.image[i])
        assert torch.allclose(alone.distance[0], out.distance[i], atol=1e-5)


def test_rejects():
    with pytest.raises(ValueError, match="'rank.rerank'.*'rr_then_ec'.*'twice'"):
        RankConfig(rerank='twice')
