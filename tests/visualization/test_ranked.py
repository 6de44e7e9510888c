import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torch_geometric_reid.metrics import evaluate
from torch_geometric_reid.visualization import ranked_list, select_probes

NAN = float('nan')


def slow_list(distance, y, gallery_y, camera, gallery_camera, k):
    kept = []
    for row, identity in enumerate(gallery_y):
        own = camera is not None and gallery_camera[row] == camera
        if identity != -1 and not (identity == y and own):
            kept.append((distance[row], row))
    rows = [row for _, row in sorted(kept)[:k]]
    return rows, [gallery_y[row] == y for row in rows]


@settings(max_examples=200, deadline=None)
@given(
    distance=st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0]), min_size=1, max_size=20),
    y=st.integers(-1, 3),
    camera=st.sampled_from([None, 0, 1]),
    k=st.integers(1, 25),
    data=st.data(),
)
def test_equals_slow(distance, y, camera, k, data):
    ids = st.lists(st.integers(-1, 3), min_size=len(distance), max_size=len(distance))
    gallery_y, gallery_camera = data.draw(ids), data.draw(ids)
    args = (
        distance,
        y,
        gallery_y,
        camera,
        gallery_camera if camera is not None else None,
    )
    out = ranked_list(torch.tensor(distance), *args[1:], k=k)
    rows, match = slow_list(*args, k)
    assert out.image.tolist() == rows
    assert out.match.tolist() == match
    assert out.distance.tolist() == [distance[row] for row in rows]
    assert out.connectivity is None
    assert out.image.dtype == torch.int64


@pytest.mark.parametrize('seed', range(20))
def test_first_match_is_that_of_evaluate(random_probe, seed):
    distance, y, gallery_y, camera, gallery_camera = random_probe(seed)
    expected = evaluate(
        distance.view(1, -1), [y], gallery_y, [camera], gallery_camera
    ).first_rank
    out = ranked_list(distance, y, gallery_y, camera, gallery_camera, k=40)
    assert 1 + int(out.match.long().argmax()) == int(expected)


def test_connectivity_follows_its_image():
    distance = torch.tensor([0.3, 0.1, 0.2])
    link = torch.tensor([0.9, NAN, 0.4])
    out = ranked_list(distance, 7, [7, 8, 7], k=3, connectivity=link)
    assert out.image.tolist() == [1, 2, 0]
    assert out.connectivity.nan_to_num(-1).tolist() == pytest.approx([-1, 0.4, 0.9])


@pytest.mark.parametrize(
    ('change', 'error', 'message'),
    [
        ({'distance': torch.tensor([0, 1])}, TypeError, "'distance'.*floating"),
        ({'distance': torch.ones(1, 2)}, ValueError, "'distance'.*one-dim"),
        ({'distance': torch.tensor([0.0, NAN])}, ValueError, "'distance'.*NaN.*1 of 2"),
        ({'gallery_y': [1]}, ValueError, "'gallery_y'.*2 items"),
        ({'camera': 1}, ValueError, "got 'camera' alone"),
        ({'gallery_camera': [1, 2]}, ValueError, "got 'gallery_camera' alone"),
        ({'k': 0}, ValueError, "'k'.*at least 1"),
        ({'connectivity': torch.ones(3)}, ValueError, "'connectivity'.*2 images"),
        ({'connectivity': torch.tensor([2.0, 0])}, ValueError, 'in \\[0, 1\\]'),
    ],
)
def test_rejects(change, error, message):
    args = {'distance': torch.tensor([0.1, 0.2]), 'y': 1, 'gallery_y': [1, 2]}
    with pytest.raises(error, match=message):
        ranked_list(**{**args, **change})


def test_select_probes():
    ap = torch.tensor([0.5, NAN, 0.1, 1.0, 0.1, 1.0, 0.2])
    worst, best = select_probes(ap, num=2)
    assert worst.tolist() == [2, 4]
    assert best.tolist() == [5, 3]


@pytest.mark.parametrize('num_probes', range(6))
def test_selected_probes_are_in_one_group(num_probes):
    ap = torch.tensor([0.5, 0.1, 0.5, 0.5, 0.9])[:num_probes]
    worst, best = select_probes(ap, num=8)
    assert sorted(worst.tolist() + best.tolist()) == list(range(num_probes))
