import math

import pytest
import torch

from torch_geometric_reid.metrics.evaluation import APS

VALUES = [0.0, -0.0, math.inf, 1.0, -math.inf, 2.5, -3.0, 0.5]
VALUES += [1 + 1.2e-7, 3e38, -3e38, 1e-45, -1e-45, 2e-38, 1e-30]


def _slow_evaluate(args, k=None):
    """Returns (step AP, trapezoid AP, INP, first rank) or a reason per probe, one
    probe and one gallery image at a time.
    """
    dist, query_id, gallery_id, query_camera, gallery_camera = (
        None if arg is None else arg.tolist() for arg in args
    )
    return [
        _slow_probe(
            row,
            query_id[i],
            gallery_id,
            None if query_camera is None else query_camera[i],
            gallery_camera,
            k,
        )
        for i, row in enumerate(dist)
    ]


def _slow_probe(row, identity, gallery_id, camera, gallery_camera, k):
    if identity == -1:
        return 'junk probe'
    if identity not in gallery_id:
        return 'no gallery image'

    def is_removed(j):
        same_camera = camera is not None and gallery_camera[j] == camera
        return gallery_id[j] == -1 or (gallery_id[j] == identity and same_camera)

    order = sorted(range(len(row)), key=lambda j: (row[j], j))
    kept = [j for j in order if not is_removed(j)]
    num_matches = sum(gallery_id[j] == identity for j in kept)
    if num_matches == 0:
        return 'only same-camera'
    if k is not None:
        kept = [j for j in order[:k] if not is_removed(j)]

    step = trapezoid = 0.0
    found = first = last = 0
    old_recall, old_precision = 0.0, 1.0
    for rank, j in enumerate(kept, start=1):
        if gallery_id[j] == identity:
            found += 1
            first = first or rank
            last = rank
            step += found / rank / num_matches
        recall, precision = found / num_matches, found / rank
        trapezoid += (recall - old_recall) * (old_precision + precision) / 2
        old_recall, old_precision = recall, precision
    inp = num_matches / last if found == num_matches else 0.0
    return step, trapezoid, inp, first


def _slow_means(rows, max_rank):
    """Returns (step mAP, trapezoid mAP, mINP, CMC) of the probes that count."""
    rows = [row for row in rows if not isinstance(row, str)]
    means = [math.fsum(row[c] for row in rows) / len(rows) for c in range(3)]
    cmc = [
        sum(0 < row[3] <= rank for row in rows) / len(rows)
        for rank in range(1, max_rank + 1)
    ]
    return *means, cmc


def _random_case(seed, num_probes, num_gallery, num_ids, num_cameras, num_values):
    generator = torch.Generator().manual_seed(seed)

    def draw(low, high, *size):
        return torch.randint(low, high, size, generator=generator)

    if num_values is None:
        dist = torch.randn(num_probes, num_gallery, generator=generator)
    else:
        dist = torch.tensor(VALUES)[draw(0, num_values, num_probes, num_gallery)]
    query_id = draw(-1, num_ids, num_probes)
    gallery_id = draw(-1, num_ids, num_gallery)
    camera = (None, None)
    if num_cameras is not None:
        camera = (
            draw(0, num_cameras, num_probes),
            draw(0, num_cameras, num_gallery),
        )
    return dist, query_id, gallery_id, *camera


def _assert_equal_to_slow(out, rows, ap, max_rank=50):
    column = APS.index(ap)
    for i, row in enumerate(rows):
        if isinstance(row, str):
            reason = next(name for name in out.skipped if row in name)
            assert i in out.skipped[reason]
            assert out.ap[i].isnan()
            assert out.inp[i].isnan()
            assert out.first_rank[i] == 0
        else:
            assert abs(out.ap[i] - row[column]) < 1e-6
            assert abs(out.inp[i] - row[2]) < 1e-6
            assert out.first_rank[i] == row[3]
    assert out.num_skipped == sum(isinstance(row, str) for row in rows)
    means = _slow_means(rows, max_rank)
    assert abs(out.mAP - means[column]) < 1e-6
    assert abs(out.mINP - means[2]) < 1e-6
    assert torch.allclose(out.cmc, torch.tensor(means[3], dtype=torch.float64))


@pytest.fixture(scope='session')
def random_case():
    return _random_case


@pytest.fixture(scope='session')
def slow_evaluate():
    return _slow_evaluate


@pytest.fixture(scope='session')
def assert_equal_to_slow():
    return _assert_equal_to_slow
