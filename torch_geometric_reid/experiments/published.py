r"""The figures that the paper prints: mAP, Rank-1 and maybe Rank-5 in percent."""

from typing import NamedTuple

Figures = dict[str | float, tuple[float, ...]]

FULL, FA, BASELINE = '+ FA + EC', '+ FA', 'baseline'

R50: dict[str, Figures] = {
    'market1501': {
        BASELINE: (85.9, 94.5, 98.2),
        FA: (92.4, 96.6, 98.8),
        '+ EC': (93.7, 96.0, 98.3),
        FULL: (94.1, 96.8, 98.6),
        '+ RR': (94.2, 95.3, 97.9),
        '+ FA + EC + RR': (95.3, 96.7, 98.5),
    },
    'dukemtmcreid': {
        BASELINE: (76.4, 86.5, 93.9),
        FA: (87.0, 90.9, 95.2),
        '+ EC': (88.2, 91.1, 95.2),
        FULL: (88.6, 91.5, 95.3),
        '+ RR': (89.1, 90.2, 94.7),
        '+ FA + EC + RR': (89.9, 91.1, 95.1),
    },
    'veri776': {
        BASELINE: (81.8, 97.2, 98.6),
        FA: (84.1, 97.5, 98.8),
        '+ EC': (83.5, 97.6, 98.4),
        FULL: (85.3, 97.7, 98.4),
        '+ RR': (83.9, 97.0, 98.7),
        '+ FA + EC + RR': (85.9, 97.4, 98.4),
    },
}
R50_IBN: dict[str, Figures] = {
    'market1501': {
        BASELINE: (88.1, 95.1, 97.7),
        FA: (93.2, 96.2, 98.6),
        '+ EC': (93.9, 95.5, 98.3),
        FULL: (94.5, 96.5, 98.5),
    },
    'dukemtmcreid': {
        BASELINE: (79.2, 89.0, 94.6),
        FA: (88.1, 92.2, 95.7),
        '+ EC': (88.9, 91.3, 95.3),
        FULL: (89.4, 92.5, 95.7),
    },
}
BACKBONES = {'r50': R50, 'r50-ibn': R50_IBN}
K1: dict[str, Figures] = {
    'market1501': {
        30: (93.0, 96.6),
        50: (93.5, 96.7),
        100: (93.9, 96.8),
        200: (94.1, 96.8),
    },
    'dukemtmcreid': {
        30: (87.9, 91.3),
        50: (88.2, 91.3),
        100: (88.5, 91.4),
        200: (88.6, 91.5),
    },
}
GAMMA: dict[str, Figures] = {
    'market1501': {
        1: (93.9, 96.6),
        1.5: (94.1, 96.8),
        2: (94.0, 96.8),
        3: (93.9, 96.7),
    },
    'dukemtmcreid': {
        1: (88.3, 91.1),
        1.5: (88.6, 91.5),
        2: (88.5, 91.3),
        3: (88.5, 91.2),
    },
}
ABLATION: dict[str, Figures] = {
    'market1501': {
        'HGS + CE': (93.3, 96.5),
        'RPGS + CE': (93.5, 96.7),
        'HGS + focal': (93.9, 96.6),
        'RPGS + focal': (94.1, 96.8),
    },
}
LAMBDA: dict[str, Figures] = {  # Fig. 4 prints no figures; its ends are Table 2's
    name: {0.0: rows[FA], 0.4: rows[FULL]}
    for name, rows in R50.items()
    if name != 'veri776'
}
K: dict[str, Figures] = {  # Fig. 5 likewise
    'market1501': {3: R50['market1501'][FA]},
    'dukemtmcreid': {10: R50['dukemtmcreid'][FA]},
}
METRICS = ('mAP', 'rank1', 'rank5')


class Published(NamedTuple):
    r"""Published figures to set beside those of a data set.

    Attributes:
        source: The data set that they are of.
        figures: For each row's label, mAP, Rank-1 and maybe Rank-5 in percent.
    """

    source: str
    figures: Figures


def choose(
    table: dict[str, Figures], data: str, fallback: str = 'market1501'
) -> Published:
    r"""Returns the figures of a data set, or of another one where there are none."""
    source = data if data in table else fallback
    return Published(source, table[source])
