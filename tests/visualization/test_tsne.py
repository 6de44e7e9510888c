import pytest
import torch

from torch_geometric_reid.visualization import identity_distances, plot_tsne


def test_a_panel_for_each_kind():
    y = torch.arange(3).repeat_interleave(4)
    x = torch.eye(3)[y] + 0.1 * torch.randn(12, 3)
    figures = [plot_tsne({'one': x, 'two': x.square()}, y, seed=3) for _ in range(2)]
    panels = figures[0].axes
    within, between = identity_distances(x, y)
    assert len(panels) == 2
    assert panels[0].get_title() == f'one\nwithin {within:.3f}, between {between:.3f}'
    assert [len(dots.get_offsets()) for dots in panels[0].collections] == [4, 4, 4]
    for first, second in zip(panels, figures[1].axes, strict=True):
        for dots, same in zip(first.collections, second.collections, strict=True):
            assert (dots.get_offsets() == same.get_offsets()).all()


def test_many_identities_differ_by_marker():
    y = torch.arange(25)
    axes = plot_tsne({'x': torch.randn(25, 3)}, y).axes[0]
    looks = {
        (tuple(dots.get_facecolor()[0]), dots.get_paths()[0].vertices.tobytes())
        for dots in axes.collections
    }
    assert len(looks) == 25


@pytest.mark.parametrize(
    ('features', 'message'),
    [({}, 'at least one kind'), ({'x': torch.eye(4)}, 'at least 5 images .got 4')],
)
def test_rejects(features, message):
    with pytest.raises(ValueError, match=message):
        plot_tsne(features, torch.arange(4))
