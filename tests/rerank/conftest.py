import numpy as np
import pytest


def _k_reciprocal(distance, num_query, k1, k2, lambda_value, order=None):
    """k-reciprocal re-ranking by sets and dense vectors, one item at a time, from
    squared Euclidean distances [N, N]; neighbours are sorted by `order`.
    """
    num = len(distance)
    farthest = distance.max(axis=1, keepdims=True)
    relative = np.divide(
        distance, farthest, out=np.zeros((num, num)), where=farthest > 0
    )
    order = np.array(distance if order is None else order)
    np.fill_diagonal(order, -2)
    rank = np.argsort(order, axis=1, kind='stable')

    def reciprocal(i, k):
        return {j for j in rank[i, : k + 1] if i in rank[j, : k + 1]}

    code = np.zeros((num, num))
    for i in range(num):
        own = reciprocal(i, k1)
        expanded = set(own)
        for j in own:
            candidate = reciprocal(j, round(k1 / 2))
            if len(candidate & own) > 2 / 3 * len(candidate):
                expanded |= candidate
        expanded = sorted(expanded)
        weight = np.exp(-relative[i, expanded])
        code[i, expanded] = weight / weight.sum()
    code = np.stack([code[rank[i, :k2]].mean(axis=0) for i in range(num)])

    out = np.empty((num_query, num - num_query))
    for p in range(num_query):
        for g in range(num_query, num):
            smaller = np.minimum(code[p], code[g]).sum()
            larger = np.maximum(code[p], code[g]).sum()
            jaccard = 1 - smaller / larger
            out[p, g - num_query] = (
                1 - lambda_value
            ) * jaccard + lambda_value * relative[p, g]
    return out


@pytest.fixture(scope='session')
def slow_k_reciprocal():
    return _k_reciprocal


@pytest.fixture(scope='session')
def cosines():
    """Exact cosines, rounded to float32: what decides ties."""

    def compute(x):
        x = x / x.norm(dim=1, keepdim=True)
        return (x.double() @ x.double().t()).float()

    return compute
