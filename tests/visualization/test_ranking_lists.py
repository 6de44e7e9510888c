import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

from torch_geometric_reid.visualization import RankedList, plot_ranking_lists
from torch_geometric_reid.visualization.ranking_lists import MATCH, OTHER, PROBE


def make_list(match, connectivity=None):
    image = torch.arange(len(match)) + 5
    return RankedList(image, image / 100, torch.tensor(match), connectivity)


def frames(figure):
    return [to_hex(axes.spines['left'].get_edgecolor()) for axes in figure.axes]


def test_a_row_for_each_method():
    link = torch.tensor([float('nan'), 0.25])
    lists = {'a': make_list([True, False, True]), 'b': make_list([False, True], link)}
    images = []

    def gallery_image(row):
        images.append(row)
        return torch.ones(4, 6, dtype=torch.bool)

    figure = plot_ranking_lists(lists, torch.rand(4, 6), gallery_image)
    assert frames(figure) == [PROBE, MATCH, OTHER, MATCH, PROBE, OTHER, MATCH]
    assert sorted(images) == [5, 6, 7]
    *heads, key = [text.get_text() for text in figure.texts]
    assert heads == ['a', 'b']
    assert ' '.join(key.split()).endswith('distance. p: probability of a link.')
    labels = [axes.get_xlabel() for axes in figure.axes]
    assert labels[:4] == ['probe', '0.050', '0.060', '0.070']
    assert labels[4:] == ['probe', '0.050\np –', '0.060\np 0.25']
    assert not figure.axes[1].images[0].get_array().any()  # ink is dark


@pytest.mark.parametrize('shape', [(4, 9), (8, 4), (9, 1)])
def test_nothing_overlaps_or_is_cut(shape):
    link = torch.tensor([0.5, 0.25])
    lists = {'a': make_list([True, False], link), 'b': make_list([True, False], link)}
    figure = plot_ranking_lists(lists, torch.rand(shape), lambda row: torch.rand(9, 4))
    figure.draw_without_rendering()
    boxes = [axes.get_tightbbox() for axes in figure.axes]
    boxes += [text.get_window_extent() for text in figure.texts]
    for i, box in enumerate(boxes):
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1
        assert not any(box.overlaps(other) for other in boxes[:i])


@pytest.mark.parametrize('gallery_image', [None, lambda row: None])
def test_tiles_without_pictures(gallery_image):
    figure = plot_ranking_lists({'a': make_list([True])}, None, gallery_image)
    assert [axes.texts[0].get_text() for axes in figure.axes] == ['', '5']
    assert not any(axes.images for axes in figure.axes)
    assert 'has no picture.' in ' '.join(figure.texts[-1].get_text().split())


def test_a_tile_beside_pictures():
    picture = torch.rand(4, 6)
    figure = plot_ranking_lists(
        {'a': make_list([True, False])}, picture, {5: picture}.get
    )
    assert [bool(axes.images) for axes in figure.axes] == [True, True, False]
    assert figure.axes[2].texts[0].get_text() == '6'


@pytest.mark.parametrize(
    'image',
    [
        np.zeros((2, 2), dtype=np.uint8),
        np.zeros((2, 2, 4), dtype=np.uint8),
        np.zeros((0, 2)),
        np.full((2, 2), 1.5),
    ],
)
def test_rejects_a_picture(image):
    with pytest.raises(ValueError, match="'probe_image' needs"):
        plot_ranking_lists({'a': make_list([True])}, image, None)


def test_rejects_no_list():
    with pytest.raises(ValueError, match="'lists' needs at least one"):
        plot_ranking_lists({}, None, None)
