import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torch_geometric_reid.datasets import FakeReID

SPLITS = ['train', 'query', 'gallery']


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 5), st.integers(1, 4), st.integers(1, 3), st.integers(1, 8),
    st.integers(0, 3), st.integers(0, 3), st.integers(0, 10**6),
)  # fmt: skip
def test_sizes(identities, cameras, images, channels, distractors, junk, seed):
    train, query, gallery = (
        FakeReID(
            split, identities, cameras, images, channels,
            num_distractors=distractors, num_junk=junk, seed=seed,
        )[0]
        for split in SPLITS
    )  # fmt: skip
    views = identities * cameras
    assert train.x.shape == (views * images, channels)
    assert query.x.shape == (views, channels)
    assert gallery.x.shape == (views * images + distractors + junk, channels)
    assert train.y.unique().tolist() == list(range(1, identities + 1))
    test_ids = list(range(identities + 1, 2 * identities + 1))
    assert query.y.unique().tolist() == test_ids
    assert gallery.y[gallery.y > 0].unique().tolist() == test_ids
    assert (gallery.y == 0).sum() == distractors
    assert (gallery.y == -1).sum() == junk
    for data in [train, query, gallery]:
        assert data.y.dtype == data.camera.dtype == torch.int64
        assert set(data.camera.tolist()) == set(range(cameras))
        assert torch.allclose(data.x.norm(dim=1), torch.ones(data.num_nodes))
        counts = torch.stack([data.y, data.camera], 1)[data.y > 0]
        counts = counts.unique(dim=0, return_counts=True)[1]
        assert (counts == (1 if data is query else images)).all()


def test_seed():
    first, again, other = (FakeReID('gallery', seed=seed)[0] for seed in [3, 3, 4])
    assert first.x.equal(again.x)
    assert not first.x.equal(other.x)
    state = torch.get_rng_state()
    FakeReID()
    assert torch.get_rng_state().equal(state)


def test_splits_share_identities_and_cameras():
    # Without noise, an image is its identity's centre plus its camera's shift.
    exact = {'num_identities': 3, 'noise': 0.0}
    query, gallery = (FakeReID(split, **exact)[0] for split in SPLITS[1:])
    for i in range(query.num_nodes):
        same = (gallery.y == query.y[i]) & (gallery.camera == query.camera[i])
        assert same.sum() == 3
        assert torch.allclose(gallery.x[same], query.x[i].expand(3, -1), atol=1e-6)
    still = FakeReID('gallery', camera_shift=0.0, **exact)[0]
    for identity in still.y.unique():
        x = still.x[still.y == identity]
        assert torch.allclose(x, x[:1].expand_as(x), atol=1e-6)


def test_distractors_and_junk_leave_the_rest_as_it_is():
    plain = FakeReID('gallery')[0]
    more = FakeReID('gallery', num_distractors=20, num_junk=10)[0]
    assert more.x[: plain.num_nodes].equal(plain.x)
    assert more.y[: plain.num_nodes].equal(plain.y)
    assert more.y[plain.num_nodes :].tolist() == 20 * [0] + 10 * [-1]


def test_junk_looks_like_test_identities():
    gallery = FakeReID(
        'gallery', num_distractors=20, num_junk=20, noise=0.0, camera_shift=0.0
    )[0]
    known = gallery.x[gallery.y > 0]
    assert ((gallery.x[gallery.y == -1] @ known.t()).amax(1) > 0.999).all()
    assert ((gallery.x[gallery.y == 0] @ known.t()).amax(1) < 0.9).all()


def test_difficulty(naive_evaluation):
    def mean_ap(**kwargs):
        return naive_evaluation(
            *(FakeReID(split, **kwargs)[0] for split in SPLITS[1:])
        )[0]

    default = mean_ap()
    assert 60 < default < 80
    assert mean_ap(num_junk=100) == pytest.approx(default)
    assert mean_ap(num_distractors=300) < default
    assert mean_ap(noise=0.8) > default + 10
    assert mean_ap(noise=1.6) < default - 10
    assert mean_ap(camera_shift=0.0) > default
    assert mean_ap(num_channels=128) > default


@pytest.mark.parametrize(
    ('kwargs', 'match'),
    [
        ({'split': 'test'}, "'split'.*'gallery'"),
        ({'num_identities': 0}, "'num_identities'.*at least 1"),
        ({'num_cameras': 0}, "'num_cameras'.*at least 1"),
        ({'num_images': 1.5}, "'num_images'.*integer"),
        ({'num_channels': 0}, "'num_channels'.*at least 1"),
        ({'noise': -0.1}, "'noise'.*at least 0"),
        ({'noise': float('nan')}, "'noise'.*finite"),
        ({'camera_shift': float('inf')}, "'camera_shift'.*finite"),
        ({'num_distractors': -1}, "'num_distractors'.*at least 0"),
        ({'num_junk': -1}, "'num_junk'.*at least 0"),
    ],
)
def test_rejects(kwargs, match):
    with pytest.raises(ValueError, match=match):
        FakeReID(**kwargs)
