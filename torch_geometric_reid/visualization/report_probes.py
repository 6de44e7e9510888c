"""The ranking lists of a page."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from html import escape
from typing import Any, NamedTuple, cast

from torch_geometric_reid.visualization.captions import captions
from torch_geometric_reid.visualization.pixels import image_uri, to_pixels
from torch_geometric_reid.visualization.ranked import RankedList

GROUPS = ('worst', 'best')
CONTROLS = """<div class="browse" hidden>
<fieldset><legend>Probes:</legend>{choices}</fieldset>
<button type="button" class="previous">Previous</button>
<output aria-live="polite"></output>
<button type="button" class="next">Next</button>
<span class="hint">or the keys ← and →</span>
</div>"""


class ProbeCard(NamedTuple):
    r"""What a page shows of one probe.

    Attributes:
        name: What it is called.
        ap: Its average precision in :math:`[0, 1]`, NaN if it has no match.
        lists: Its ranking list by each method.
        probe_image: Its picture, or :obj:`None`; see :meth:`plot_ranking_lists`.
        gallery_image: A function from a row of the gallery to its picture, or
            :obj:`None`. Where there is none, a tile shows the row.
        gallery_names: The file names of the gallery images, if known.
    """

    name: str
    ap: float
    lists: Mapping[str, RankedList]
    probe_image: Any
    gallery_image: Callable[[int], Any] | None
    gallery_names: Sequence[str] | None = None


def probe_name(probe: int, names: Sequence[str] | None) -> str:
    r"""Returns what a probe is called: its file name, where known."""
    return f'probe {probe}' if names is None else names[probe]


def missing_pictures(cards: Sequence[ProbeCard]) -> list[str]:
    r"""Returns what a reader has to know of pictures that could not be opened, if
    there are any.
    """
    shown = [card for card in cards if card.gallery_image is not None]
    pictures: list[Any] = []
    for card in shown:
        rows = {int(row) for ranked in card.lists.values() for row in ranked.image}
        pictures.append(card.probe_image)
        pictures += map(cast(Callable[[int], Any], card.gallery_image), rows)
    missing = sum(picture is None for picture in pictures)
    if not missing:
        return []
    return [
        f'{missing} of {len(pictures)} pictures are not there or cannot be read: '
        f'tiles take their place'
    ]


def probes_markup(probes: Sequence[ProbeCard]) -> str:
    r"""Returns the lists of probes as HTML: the half with the lower average
    precision as the worst, lowest first, and the others as the best, highest first.
    """
    if not probes:
        return ''
    ordered = sorted(probes, key=lambda card: -1 if math.isnan(card.ap) else card.ap)
    half = (len(ordered) + 1) // 2
    groups = dict(zip(GROUPS, (ordered[:half], ordered[half:][::-1]), strict=True))
    groups = {name: cards for name, cards in groups.items() if cards}
    choices = ''.join(
        f'<label><input type="radio" name="group" value="{name}"'
        f'{" checked" if name == GROUPS[0] else ""}>{name}</label>'
        for name in groups
    )
    body = '\n'.join(_card(card, name) for name in groups for card in groups[name])
    return (
        '<section aria-labelledby="probes"><h2 id="probes">Ranking lists</h2>\n'
        '<p class="hint">Each list runs from the nearest gallery image on. A solid '
        'green frame and ✓: the probe’s identity. A dashed red frame and ✗: '
        'another. The number is the distance; <i>p</i> is the probability of a link, '
        'where a method has it.</p>\n'
        f'{CONTROLS.format(choices=choices)}\n{body}\n</section>'
    )


def _card(card: ProbeCard, group: str) -> str:
    ap = 'no match' if math.isnan(card.ap) else f'{100 * card.ap:.1f} %'
    picture = None if card.gallery_image is None else _pictures(card.gallery_image)
    names = card.gallery_names
    lists = '\n'.join(
        f'<section><h4>{escape(name)}</h4>'
        f'<ol>{_items(ranked, picture, names)}</ol></section>'
        for name, ranked in card.lists.items()
    )
    probe = '<span class="tile">probe</span>'
    if card.probe_image is not None:
        uri = image_uri(to_pixels('probe_image', card.probe_image))
        probe = _picture(uri, f'probe {card.name}')
    return (
        f'<article class="probe" data-group="{group}"><h3>{escape(card.name)} '
        f'(average precision: {ap})</h3>\n<div class="probe-body">'
        f'<div>{probe}<span class="caption">probe</span></div>\n'
        f'<div class="lists">{lists}</div></div></article>'
    )


def _pictures(gallery_image: Callable[[int], Any]) -> Callable[[int], str | None]:
    @cache
    def picture(row: int) -> str | None:
        image = gallery_image(row)
        return None if image is None else image_uri(to_pixels('gallery_image', image))

    return picture


def _items(
    ranked: RankedList,
    picture: Callable[[int], str | None] | None,
    names: Sequence[str] | None,
) -> str:
    items = []
    pairs = zip(ranked.image.tolist(), ranked.match.tolist(), strict=True)
    for rank, ((row, match), (distance, link)) in enumerate(
        zip(pairs, captions(ranked), strict=True), start=1
    ):
        image = f'gallery image {row}' if names is None else names[row]
        text = f'rank {rank}: {image}, {"match" if match else "no match"}'
        shown = f'<span class="tile" title="{escape(text)}">{row}</span>'
        uri = None if picture is None else picture(row)
        if uri is not None:
            shown = _picture(uri, text)
        mark = '✓' if match else '✗'
        link = '' if link is None else f'<br><i>p</i> {link}'
        items.append(
            f'<li class="{"match" if match else "other"}">{shown}<span '
            f'class="caption"><b>{mark}</b> {distance}{link}</span></li>'
        )
    return ''.join(items)


def _picture(uri: str, text: str) -> str:
    text = escape(text)
    return f'<span class="picture" title="{text}"><img src="{uri}" alt="{text}"></span>'
