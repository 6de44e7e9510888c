import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from torch_geometric_reid.metrics import evaluate, ranking
from torch_geometric_reid.metrics.evaluation import APS

INF, NAN = float('inf'), float('nan')


@pytest.mark.parametrize('ap', APS)
@pytest.mark.parametrize('num_cameras', [None, 3])
@pytest.mark.parametrize('scale', [1.0, 0.01])
def test_equals_slow(
    random_case, slow_evaluate, assert_equal_to_slow, ap, num_cameras, scale
):
    # Few images in front of the last match are counted in another way than many.
    args = random_case(1, 70, 300, 12, num_cameras, None)
    dist, query_id, gallery_id = args[:3]
    dist[query_id.view(-1, 1) == gallery_id] *= scale
    dist[query_id.view(-1, 1) == gallery_id] -= 3 * (scale < 1)
    out = evaluate(*args, ap=ap)
    assert_equal_to_slow(out, slow_evaluate(args), ap)


@settings(max_examples=300, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    num_probes=st.integers(1, 8),
    num_gallery=st.integers(1, 40),
    num_ids=st.integers(1, 6),
    num_cameras=st.sampled_from([None, 1, 2, 4]),
    num_values=st.sampled_from([None, 1, 2, 3, 8, 15]),
    ap=st.sampled_from(APS),
    block=st.sampled_from([1, 50, 10**6]),
    max_compared=st.sampled_from([0.0, 0.1, 2.0]),
    max_bins=st.sampled_from([4, 7, 1024]),
    max_rank=st.integers(1, 60),
)
def test_equals_slow_on_ties_and_infinities(
    random_case,
    slow_evaluate,
    assert_equal_to_slow,
    seed,
    num_probes,
    num_gallery,
    num_ids,
    num_cameras,
    num_values,
    ap,
    block,
    max_compared,
    max_bins,
    max_rank,
):
    args = random_case(seed, num_probes, num_gallery, num_ids, num_cameras, num_values)
    rows = slow_evaluate(args)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, 'BLOCK_ELEMENTS', block)
        patch.setattr(ranking, 'MAX_COMPARED', max_compared)
        patch.setattr(ranking, 'MAX_BINS', max_bins)
        if all(isinstance(row, str) for row in rows):
            with pytest.raises(ValueError, match='nothing can be averaged'):
                evaluate(*args, ap=ap)
        else:
            out = evaluate(*args, ap=ap, max_rank=max_rank)
            assert_equal_to_slow(out, rows, ap, max_rank)


def test_by_hand():
    #          match, other, junk, same camera, distractor, match
    gallery_id = torch.tensor([5, 6, -1, 5, 0, 5])
    gallery_camera = torch.tensor([1, 0, 1, 0, 1, 2])
    dist = torch.tensor([[0.5, 0.4, 0.1, 0.2, 0.6, 0.7]])
    args = (torch.tensor([5]), gallery_id, torch.tensor([0]), gallery_camera)

    out = evaluate(dist, *args, max_rank=4)
    assert out.ap.tolist() == [(1 / 2 + 2 / 4) / 2] == [out.mAP]
    assert out.inp.tolist() == [2 / 4] == [out.mINP]
    assert out.first_rank.tolist() == [2]
    assert out.cmc.tolist() == [0, 1, 1, 1]
    assert (out.rank(1), out.rank(2), out.num_skipped, out.skipped) == (0, 1, 0, {})

    out = evaluate(dist, *args, ap='trapezoid')
    assert out.mAP == pytest.approx(((0 / 1 + 1 / 2) + (1 / 3 + 2 / 4)) / 4)

    out = evaluate(dist, args[0], gallery_id)  # without cameras, three matches
    assert out.mAP == pytest.approx((1 / 1 + 2 / 3 + 3 / 5) / 3)
    assert out.mINP == pytest.approx(3 / 5)


def test_perfect_and_worst():
    dist = torch.tensor([[0.0, 1.0, 2.0, 3.0]])
    for ap in APS:
        out = evaluate(dist, [1], [1, 1, 2, 2], ap=ap)
        assert (out.mAP, out.mINP, out.rank(1)) == (1, 1, 1)
    out = evaluate(dist, [1], [2, 2, 2, 1])
    assert (out.mAP, out.mINP, out.cmc[:4].tolist()) == (0.25, 0.25, [0, 0, 0, 1])


def test_curve_beyond_the_gallery_stays_level():
    out = evaluate(torch.tensor([[0.0, 1.0, 2.0]]), [1], [2, 1, 2], max_rank=6)
    assert out.cmc.tolist() == [0, 1, 1, 1, 1, 1]
    assert out.rank(6) == 1
    with pytest.raises(ValueError, match="'r'.*between 1 and the 6 ranks.*7"):
        out.rank(7)
    with pytest.raises(ValueError, match="'r'.*got 0"):
        out.rank(0)


def test_equal_distances_are_ordered_by_gallery_index():
    dist = torch.zeros(2, 4)
    out = evaluate(dist, [1, 2], [2, 1, 1, 2])
    assert out.first_rank.tolist() == [2, 1]
    assert out.ap.tolist() == [(1 / 2 + 2 / 3) / 2, (1 / 1 + 2 / 4) / 2]


def test_infinite_distances_come_last_but_before_junk_and_nothing():
    out = evaluate(torch.tensor([[INF, 1.0, INF, INF]]), [1], [-1, 2, 2, 1])
    assert out.first_rank.tolist() == [3]
    out = evaluate(torch.tensor([[-INF, 0.0, INF]]), [1], [2, 1, 1])
    assert out.ap.tolist() == [(1 / 2 + 2 / 3) / 2]


def test_skipped_probes_and_reasons():
    query_id, query_camera = torch.tensor([1, 2, -1, 3, 9]), torch.zeros(5).long()
    gallery_id = torch.tensor([1, 2, -1, 2, 0])
    gallery_camera = torch.tensor([1, 0, 1, 0, 1])
    out = evaluate(torch.rand(5, 5), query_id, gallery_id, query_camera, gallery_camera)
    assert {name: probe.tolist() for name, probe in out.skipped.items()} == {
        'junk probe (id -1)': [2],
        'no gallery image of the identity': [3, 4],
        'only same-camera gallery images of the identity': [1],
    }
    assert out.num_skipped == 4
    assert out.ap.isnan().tolist() == [False, True, True, True, True]
    assert out.inp.isnan().tolist() == [False, True, True, True, True]
    assert out.first_rank[1:].tolist() == [0, 0, 0, 0]
    assert out.mAP == out.ap[0]
    assert 'num_probes=5, num_skipped=4' in repr(out)

    with pytest.raises(ValueError, match='none of the 4 probes') as info:
        evaluate(
            torch.rand(4, 5), query_id[1:], gallery_id, query_camera[1:], gallery_camera
        )
    assert '2: no gallery image' in str(info.value)
    assert '1: only same-camera' in str(info.value)
    assert '1: junk probe' in str(info.value)
    with pytest.raises(ValueError, match='none of the 1 probes'):
        evaluate(torch.rand(1, 2), [3], [-1, -1])


def test_labels_need_not_be_small():
    big = 2**40
    out = evaluate(torch.tensor([[2.0, 1.0]]), [big + 1], [big, big + 1])
    assert out.mAP == 1


def test_distractors_count_and_adding_them_behind_changes_nothing(random_case):
    dist, query_id, gallery_id, *_ = random_case(3, 20, 60, 5, None, None)
    out = evaluate(dist, query_id, gallery_id)
    zero = torch.zeros(7, dtype=torch.long) + 77
    behind = torch.cat([dist, torch.full((20, 7), 99.0)], dim=1)
    before = torch.cat([dist, torch.full((20, 7), -99.0)], dim=1)
    with_ids = (query_id, torch.cat([gallery_id, zero]))
    same = evaluate(behind, *with_ids)
    assert_close(same.ap, out.ap, rtol=0, atol=1e-12, equal_nan=True)
    counts = out.first_rank > 0
    shifted = evaluate(before, *with_ids).first_rank[counts]
    assert torch.equal(shifted, out.first_rank[counts] + 7)


def test_only_the_order_counts(random_case):
    dist, *rest = random_case(4, 20, 60, 5, 2, None)
    out = evaluate(dist, *rest)
    same = evaluate(dist.double().exp(), *rest)
    assert_close(same.ap, out.ap, rtol=0, atol=1e-12, equal_nan=True)
    perm = torch.randperm(60)
    query_id, gallery_id, query_camera, gallery_camera = rest
    shuffled = evaluate(
        dist[:, perm], query_id, gallery_id[perm], query_camera, gallery_camera[perm]
    )
    assert shuffled.mAP == pytest.approx(out.mAP, abs=1e-12)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize('max_compared', [0.0, 2.0])
def test_other_types(
    random_case, slow_evaluate, assert_equal_to_slow, monkeypatch, dtype, max_compared
):
    monkeypatch.setattr(ranking, 'MAX_COMPARED', max_compared)
    dist, *rest = random_case(5, 10, 1200, 20, 2, None)
    dist = dist.to(dtype)
    rows = slow_evaluate([dist, *rest])
    assert_equal_to_slow(evaluate(dist, *rest), rows, 'step')


def test_float64_is_not_rounded():
    dist = torch.tensor([[1 + 1e-12, 1.0]], dtype=torch.float64)
    assert evaluate(dist, [1], [2, 1]).mAP == 1


def test_arrays_lists_strides_and_gradients(random_case):
    dist, query_id, gallery_id, *_ = args = random_case(6, 20, 60, 5, 2, None)
    expected = evaluate(*args)
    as_arrays = [arg.numpy() for arg in args]
    transposed = dist.t().contiguous().t()
    for out in [
        evaluate(*as_arrays),
        evaluate(transposed, *args[1:]),
        evaluate(dist.clone().requires_grad_(), *args[1:]),
        evaluate(dist, *(arg.tolist() for arg in args[1:])),
        evaluate(dist, *(arg.int() for arg in args[1:])),
    ]:
        assert out.mAP == expected.mAP
        assert not out.ap.requires_grad
    before = dist.clone()
    evaluate(dist, query_id, gallery_id)
    assert torch.equal(dist, before)


@pytest.mark.parametrize('sizes', [[20], [1] * 20, [7, 0, 13], [19, 1]])
def test_stream_of_blocks_equals_dense(random_case, sizes):
    dist, *rest = random_case(7, 20, 60, 5, 2, None)
    expected = evaluate(dist, *rest)
    blocks = dist.split(sizes)
    for stream in [list(blocks), iter(blocks), (block.numpy() for block in blocks)]:
        out = evaluate(stream, *rest)
        assert_close(out.ap, expected.ap, rtol=0, atol=1e-12, equal_nan=True)
        assert torch.equal(out.cmc, expected.cmc)
        assert out.skipped.keys() == expected.skipped.keys()
        for name, probe in expected.skipped.items():
            assert torch.equal(out.skipped[name], probe)


def test_stream_is_read_one_block_at_a_time():
    alive = []

    def stream():
        for _ in range(4):
            block = torch.rand(5, 3)
            alive.append(block)
            yield block
            assert len(alive) == 1
            alive.clear()

    evaluate(stream(), [1] * 20, [1, 2, 1])


@pytest.mark.parametrize('stop', [19, 21])
def test_stream_of_another_length(stop):
    blocks = torch.rand(stop, 3).split(6)
    got = 'got at least 21 rows' if stop > 20 else 'got 19 rows'
    with pytest.raises(ValueError, match=f"'dist'.*each of the 20 probes.*{got}"):
        evaluate(blocks, [1] * 20, [1, 2, 1])


@pytest.mark.parametrize(
    ('change', 'error', 'match'),
    [
        ({'dist': torch.tensor([[1, NAN, 0]] * 2)}, ValueError, "'dist'.*NaN.*row 0"),
        ({'dist': torch.ones(2, 4)}, ValueError, r"'dist'.*\[B, 3\].*\[2, 4\]"),
        ({'dist': torch.ones(2)}, ValueError, r"'dist'.*\[B, 3\]"),
        ({'dist': torch.ones(3, 3)}, ValueError, "'dist'.*2 probes"),
        ({'dist': torch.ones(2, 3).long()}, TypeError, "'dist'.*floating.*int64"),
        ({'dist': 3.0}, TypeError, "'dist'.*iterable.*'float'"),
        ({'dist': ['ab', 'c']}, TypeError, "'dist'.*array of distances.*'str'"),
        ({'dist': []}, ValueError, "'dist'.*got 0 rows"),
        ({'query_id': [1.0, 2.0]}, TypeError, "'query_id'.*integers"),
        ({'query_id': 3}, ValueError, "'query_id'"),
        ({'query_id': [], 'dist': torch.ones(0, 3)}, TypeError, "'query_id'"),
        ({'gallery_id': []}, TypeError, "'gallery_id'.*integers"),
        ({'gallery_id': np.zeros(0, int)}, ValueError, "'gallery_id'.*at least one"),
        ({'query_camera': [0, 1]}, ValueError, "'query_camera' alone"),
        ({'gallery_camera': [0, 1, 2]}, ValueError, "'gallery_camera' alone"),
        (
            {'query_camera': [0], 'gallery_camera': [0, 1, 2]},
            ValueError,
            r"'query_camera'.*2 items.*\[1\]",
        ),
        (
            {'query_camera': [0, 1], 'gallery_camera': [0, 1]},
            ValueError,
            r"'gallery_camera'.*3 items.*\[2\]",
        ),
        ({'ap': 'area'}, ValueError, "'ap'.*'step', 'trapezoid'.*'area'"),
        ({'max_rank': 0}, ValueError, "'max_rank'.*at least 1"),
    ],
)
def test_rejects(change, error, match):
    args = {'dist': torch.rand(2, 3), 'query_id': [1, 2], 'gallery_id': [1, 2, 1]}
    with pytest.raises(error, match=match):
        evaluate(**(args | change))


def test_no_probe_at_all():
    none = torch.zeros(0, dtype=torch.long)
    with pytest.raises(ValueError, match='none of the 0 probes|at least one probe'):
        evaluate(torch.ones(0, 3), none, [1, 2, 1])


@pytest.mark.usefixtures('gpu')
@pytest.mark.parametrize('ap', APS)
def test_on_gpu(random_case, ap):
    dist, *rest = random_case(8, 70, 300, 12, 3, 8)
    expected = evaluate(dist, *rest, ap=ap)
    for ids in [rest, [arg.cuda() for arg in rest]]:
        out = evaluate(dist.cuda(), *ids, ap=ap)
        assert torch.allclose(out.ap, expected.ap, equal_nan=True)
        assert torch.equal(out.cmc, expected.cmc)
