import pickle

import pytest
import torch

from torch_geometric_reid.metrics import ReIDMetric, evaluate
from torch_geometric_reid.metrics.evaluation import APS


@pytest.mark.parametrize('ap', APS)
@pytest.mark.parametrize('num_cameras', [None, 3])
def test_equals_evaluate(random_case, ap, num_cameras):
    args = random_case(1, 20, 60, 5, num_cameras, None)
    dist, query_id, gallery_id, query_camera, gallery_camera = args
    expected = evaluate(*args, ap=ap, max_rank=7)
    metric = ReIDMetric(gallery_id, gallery_camera, ap=ap, max_rank=7)
    for start, stop in [(0, 3), (3, 4), (4, 20)]:
        rows = slice(start, stop)
        camera = None if query_camera is None else query_camera[rows]
        metric.update(dist[rows], query_id[rows], camera)
    for out in [metric.compute(), metric.compute()]:
        assert out.mAP == expected.mAP
        assert out.mINP == expected.mINP
        assert torch.equal(out.cmc, expected.cmc)
        assert torch.equal(out.first_rank, expected.first_rank)


def test_reset_and_running_results():
    metric = ReIDMetric([1, 2])
    with pytest.raises(ValueError, match='at least one probe'):
        metric.compute()
    metric.update(torch.tensor([[0.0, 1.0]]), [2])
    assert metric.compute().mAP == 0.5
    metric.update(torch.tensor([[0.0, 1.0]]), [1])
    assert metric.compute().mAP == 0.75
    metric.reset()
    with pytest.raises(ValueError, match='at least one probe'):
        metric.compute()
    metric.update(torch.tensor([[0.0, 1.0]]), [1])
    assert metric.compute().mAP == 1


def test_a_block_of_skipped_probes_is_no_error_until_all_are():
    metric = ReIDMetric([1, 2])
    metric.update(torch.zeros(1, 2), [9])
    with pytest.raises(ValueError, match='none of the 1 probes'):
        metric.compute()
    metric.update(torch.zeros(1, 2), [1])
    out = metric.compute()
    assert (out.mAP, out.num_skipped) == (1, 1)


def test_a_rejected_block_leaves_no_trace():
    metric = ReIDMetric([1, 2], [0, 1])
    metric.update(torch.zeros(1, 2), [1], [1])
    for dist, query_id, camera, match in [
        (torch.zeros(1, 3), [1], [0], "'dist'"),
        (torch.full((1, 2), float('nan')), [1], [0], "'dist'.*NaN"),
        (torch.zeros(1, 2), [1, 2], [0], "'query_id'"),
        (torch.zeros(1, 2), [1], [0, 1], "'query_camera'"),
        (torch.zeros(1, 2), [1], None, "'gallery_camera' alone"),
    ]:
        with pytest.raises(ValueError, match=match):
            metric.update(dist, query_id, camera)
    assert metric.compute().ap.tolist() == [1]


def test_pickles():
    metric = ReIDMetric([1, 2])
    metric.update(torch.zeros(1, 2), [2])
    assert pickle.loads(pickle.dumps(metric)).compute().mAP == 0.5


def test_equals_torchmetrics(random_case):
    retrieval = pytest.importorskip('torchmetrics.functional.retrieval')
    dist, query_id, gallery_id, *_ = random_case(9, 20, 60, 5, None, None)
    metric = ReIDMetric(gallery_id)
    metric.update(dist, query_id)
    out = metric.compute()
    kept = gallery_id >= 0
    for i in out.first_rank.nonzero().view(-1):
        # Scores above zero, since torchmetrics takes others as not retrieved.
        score, target = (-dist[i, kept]).sigmoid(), gallery_id[kept] == query_id[i]
        expected = retrieval.retrieval_average_precision(score, target)
        assert abs(out.ap[i] - expected) < 1e-6
