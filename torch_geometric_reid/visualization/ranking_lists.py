from collections.abc import Callable, Iterable, Mapping
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from torch_geometric_reid.visualization.captions import captions
from torch_geometric_reid.visualization.figure import new_figure
from torch_geometric_reid.visualization.pixels import to_pixels
from torch_geometric_reid.visualization.ranked import RankedList

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MATCH, OTHER, PROBE = '#1a7f37', '#cf222e', '#24292f'
CELL, GAP, HEAD, LINE = 0.9, 0.12, 0.28, 0.15  # inches
KEY = "Solid green: the probe's identity. Dashed red: another. Number: distance."
LINK_KEY = ' p: probability of a link.'
TILE_KEY = ' Grey: the row of an image that has no picture.'
LETTERS = 18  # of a key in an inch
MAX_ASPECT = 2.5  # of a frame's height to its width


def plot_ranking_lists(
    lists: Mapping[str, RankedList],
    probe_image: Any,
    gallery_image: Callable[[int], Any] | None,
) -> 'Figure':
    r"""Draws the ranking lists of one probe, a row for each method.

    The probe is at the left. Frames of gallery images are green where they show
    its identity, and red and dashed where they do not. Under each picture are the
    distance and, if the list has it, the connectivity :obj:`p`. The last line says
    what is what.

    A picture is :math:`(H, W)` with booleans (dark where :obj:`True`) or numbers
    from 0 to 1, or :math:`(H, W, 3)` with uint8.

    Args:
        lists (dict): The list of each method, see
            :meth:`~torch_geometric_reid.visualization.ranked_list`.
        probe_image (torch.Tensor or numpy.ndarray): The probe's picture, or
            :obj:`None`.
        gallery_image (callable): A function from a row of the gallery to its
            picture, or to :obj:`None` where there is none. Without one, a tile shows
            the row instead.

    Returns:
        matplotlib.figure.Figure: With the axes of each row from left to right.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If there is no list or a picture has another form.
    """
    if not lists:
        raise ValueError("'lists' needs at least one ranking list (got none)")
    lines = 1 + any(ranked.connectivity is not None for ranked in lists.values())
    probe = None if probe_image is None else to_pixels('probe_image', probe_image)
    pictures = _read(lists.values(), gallery_image)
    tall = CELL
    if probe is not None:
        tall *= min(max(probe.shape[0] / probe.shape[1], 1), MAX_ASPECT)
    row_height = HEAD + tall + lines * LINE + GAP
    num_columns = 1 + max(ranked.image.numel() for ranked in lists.values())
    width = num_columns * (CELL + GAP) + 2 * GAP
    has_tile = any(picture is None for picture in pictures.values())
    key = KEY + LINK_KEY * (lines > 1) + TILE_KEY * has_tile
    key_lines = wrap(key, int(LETTERS * width))
    height = len(lists) * row_height + 2 * GAP + len(key_lines) * LINE
    figure = new_figure(width, height)

    def cell(row: int, column: int) -> 'Axes':
        left = GAP + column * (CELL + GAP) + (GAP if column > 0 else 0)
        bottom = height - row * row_height - HEAD - tall
        box = (left / width, bottom / height, CELL / width, tall / height)
        return figure.add_axes(box)

    for row, (name, ranked) in enumerate(lists.items()):
        top = height - row * row_height - GAP
        left = GAP / width
        figure.text(left, top / height, name, va='top', size=9, weight='bold')
        _draw(cell(row, 0), probe, '', PROBE, 'probe')
        texts = captions(ranked)
        pairs = zip(ranked.image.tolist(), ranked.match.tolist(), strict=True)
        for rank, (image, match) in enumerate(pairs):
            distance, link = texts[rank]
            text = distance if link is None else f'{distance}\np {link}'
            axes, picture = cell(row, rank + 1), pictures[image]
            _draw(axes, picture, str(image), MATCH if match else OTHER, text)
    key = '\n'.join(key_lines)
    figure.text(GAP / width, GAP / height, key, va='bottom', size=7.5)
    return figure


def _read(
    lists: Iterable[RankedList], gallery_image: Callable[[int], Any] | None
) -> dict[int, Any]:
    rows = {row for ranked in lists for row in ranked.image.tolist()}
    if gallery_image is None:
        return dict.fromkeys(rows)
    found = {row: gallery_image(row) for row in rows}
    return {
        row: None if image is None else to_pixels('gallery_image', image)
        for row, image in found.items()
    }


def _draw(axes: 'Axes', picture: Any, tile: str, colour: str, text: str) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(edgecolor=colour, linewidth=2.5, capstyle='butt')
        spine.set_linestyle((0, (2, 1)) if colour == OTHER else '-')
    axes.set_xlabel(text, fontsize=7.5, labelpad=4)
    if picture is None:
        axes.set_facecolor('#f0f0f0')
        axes.text(0.5, 0.5, tile, ha='center', va='center', transform=axes.transAxes)
    else:
        axes.imshow(picture, cmap='gray', vmin=0, vmax=255)
