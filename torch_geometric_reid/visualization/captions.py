"""How numbers under a picture are written."""

import math

from torch_geometric_reid.visualization.ranked import RankedList


def captions(ranked: RankedList) -> list[tuple[str, str | None]]:
    r"""Returns the distance and, where a list has it, the connectivity of each
    image as text.
    """
    distance = [f'{value:.3f}' for value in ranked.distance.tolist()]
    if ranked.connectivity is None:
        return [(text, None) for text in distance]
    link = [probability(value) for value in ranked.connectivity.tolist()]
    return list(zip(distance, link, strict=True))


def probability(value: float) -> str:
    r"""Returns a number with two decimals, and a dash for NaN."""
    return '–' if math.isnan(value) else f'{value:.2f}'
