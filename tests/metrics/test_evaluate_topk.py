import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from torch_geometric_reid.metrics import evaluate, evaluate_topk, ranking
from torch_geometric_reid.metrics.evaluation import APS


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    num_gallery=st.integers(1, 40),
    num_cameras=st.sampled_from([None, 1, 3]),
    num_values=st.sampled_from([None, 3]),
    ap=st.sampled_from(APS),
    k=st.integers(1, 40),
    block=st.sampled_from([1, 50, 10**6]),
)
def test_equals_slow(
    random_case,
    slow_evaluate,
    assert_equal_to_slow,
    seed,
    num_gallery,
    num_cameras,
    num_values,
    ap,
    k,
    block,
):
    args = random_case(seed, 6, num_gallery, 4, num_cameras, num_values)
    rows = slow_evaluate(args, k=k)
    index = args[0].sort(dim=1, stable=True).indices[:, :k]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, 'BLOCK_ELEMENTS', block)
        if all(isinstance(row, str) for row in rows):
            with pytest.raises(ValueError, match='nothing can be averaged'):
                evaluate_topk(index, *args[1:], ap=ap)
        else:
            out = evaluate_topk(index, *args[1:], ap=ap)
            assert_equal_to_slow(out, rows, ap)


def test_whole_lists_equal_distances(random_case):
    args = random_case(2, 30, 80, 6, 3, None)
    index = args[0].argsort(dim=1)
    full, out = evaluate(*args), evaluate_topk(index, *args[1:])
    assert_close(out.ap, full.ap, rtol=0, atol=1e-12, equal_nan=True)
    assert_close(out.inp, full.inp, rtol=0, atol=1e-12, equal_nan=True)
    assert torch.equal(out.first_rank, full.first_rank)
    assert torch.equal(out.cmc, full.cmc)
    for k in [1, 5, 40]:
        less = evaluate_topk(index[:, :k], *args[1:])
        assert (less.ap <= full.ap + 1e-12)[full.first_rank > 0].all()
        assert less.mAP < full.mAP
        assert (less.cmc <= full.cmc).all()
        assert (less.first_rank <= full.first_rank).all()


def test_by_hand():
    gallery_id = [7, 8, 7, 7]
    out = evaluate_topk([[1, 0, 2]], [7], gallery_id, max_rank=5)
    assert out.mAP == pytest.approx((1 / 2 + 2 / 3 + 0) / 3)  # one of three is missing
    assert out.mINP == 0
    assert out.cmc.tolist() == [0, 1, 1, 1, 1]

    out = evaluate_topk([[1]], [7], gallery_id, max_rank=3)  # none is found
    assert (out.mAP, out.mINP, out.first_rank.tolist()) == (0, 0, [0])
    assert out.cmc.tolist() == [0, 0, 0]
    assert out.num_skipped == 0


def test_missing_entries_take_no_rank():
    gallery_id, camera = [8, 7, 7], [0, 0, 1]
    full = evaluate_topk([[1, 0, 2]], [7], gallery_id, [0], camera)
    padded = evaluate_topk([[-1, 1, 0, -1, 2, -1]], [7], gallery_id, [0], camera)
    assert full.mAP == padded.mAP == 1 / 2
    assert evaluate_topk([[-1, -1]], [7], gallery_id, [0], camera).mAP == 0


@pytest.mark.parametrize(
    ('change', 'error', 'match'),
    [
        ({'index': [[0, 3]] * 2}, ValueError, "'index'.*below 3.*got 3"),
        ({'index': [[0, -2]] * 2}, ValueError, "'index'.*got -2"),
        ({'index': [[0, 1], [2, 2]]}, ValueError, "'index'.*distinct.*row 1"),
        ({'index': [[0, 1]]}, ValueError, r"'index'.*\[2, k\].*\[1, 2\]"),
        ({'index': [0, 1]}, ValueError, r"'index'.*\[2, k\].*\[2\]"),
        ({'index': [[], []]}, TypeError, "'index'.*integers"),
        ({'index': torch.ones(2, 0).long()}, ValueError, r"'index'.*\[2, 0\]"),
        ({'index': torch.ones(2, 2)}, TypeError, "'index'.*integers.*float32"),
        ({'index': 'lists'}, TypeError, "'index'.*array of integers.*'str'"),
        ({'query_camera': [0, 1]}, ValueError, "'query_camera' alone"),
        ({'query_id': [1.5, 2.0]}, TypeError, "'query_id'.*integers"),
        ({'ap': 'area'}, ValueError, "'ap'"),
        ({'max_rank': -1}, ValueError, "'max_rank'"),
    ],
)
def test_rejects(change, error, match):
    args = {'index': [[0, 1], [2, 1]], 'query_id': [1, 2], 'gallery_id': [1, 2, 1]}
    with pytest.raises(error, match=match):
        evaluate_topk(**(args | change))


@pytest.mark.usefixtures('gpu')
def test_on_gpu(random_case):
    args = random_case(8, 70, 300, 12, 3, None)
    index = args[0].argsort(dim=1)[:, :40]
    expected = evaluate_topk(index, *args[1:])
    out = evaluate_topk(index.cuda(), *args[1:])
    assert torch.allclose(out.ap, expected.ap, equal_nan=True)
