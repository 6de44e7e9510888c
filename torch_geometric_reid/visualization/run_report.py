import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch_geometric.data import Data

from torch_geometric_reid.metrics import evaluate
from torch_geometric_reid.pipeline import Judged
from torch_geometric_reid.visualization.curves import plot_cmc
from torch_geometric_reid.visualization.ranked import ranked_list, select_probes
from torch_geometric_reid.visualization.reliability import plot_reliability, plot_roc
from torch_geometric_reid.visualization.report import Rows, write_report
from torch_geometric_reid.visualization.report_probes import (
    ProbeCard,
    missing_pictures,
    probe_name,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RANKS = 20
PROBES = 6  # of the worst, and of the best
Picture = Callable[[int], Any]
Names = Sequence[str] | None
HINT = (
    'All pairs of a probe and a gallery image that count. ECE is the expected '
    'calibration error, over all pairs and over the first image of each probe, zero if '
    'probabilities are right. A raw score is one minus the distance. TPR: the share of '
    'pairs of one identity that is accepted where one in a thousand pairs of two '
    'identities is.'
)
FITTED = (
    ' Probabilities and thresholds were fitted to held-out training identities; the '
    'last column is the rate to which their threshold for 1e-3 led here.'
)


def write_run_report(
    path: str | os.PathLike[str],
    title: str,
    rows: Rows,
    distances: Mapping[str, Tensor],
    query: Data,
    gallery: Data,
    judged: Mapping[tuple[str, str], Judged],
    note: str = '',
    pictures: tuple[Picture, Picture] | None = None,
    names: tuple[Names, Names] = (None, None),
) -> None:
    r"""Writes a page about a comparison of methods, see :meth:`write_report`: its
    rows, how far scores can be trusted, CMC, ROC, reliability diagrams, and the ranking
    lists of the worst and the best probes.

    Args:
        path (str or pathlib.Path): The file.
        title (str): The title.
        rows (list[dict]): The rows of the first table.
        distances (dict): The distances :math:`(Q, G)` of methods; the last one
            chooses the probes.
        query (Data): The probes, with :obj:`y` and maybe :obj:`camera`.
        gallery (Data): The gallery images, likewise.
        judged (dict): What :func:`~torch_geometric_reid.pipeline.judge` returns for
            these distances. Reliability diagrams show the calibrated scores, or raw
            ones where there are none.
        note (str, optional): Text below the title. (default: :obj:`""`)
        pictures (tuple, optional): Functions from a row to the picture, of probes and
            of the gallery. (default: :obj:`None`)
        names (tuple, optional): The file names of probes and of gallery images, where
            known. (default: :obj:`(None, None)`)

    Raises:
        ImportError: If matplotlib is not installed.
    """
    camera = query.get('camera'), gallery.get('camera')
    results = {
        name: evaluate(distance, query.y, gallery.y, *camera)
        for name, distance in distances.items()
    }
    ap = list(results.values())[-1].ap
    cmc = {name: result.cmc[:RANKS] for name, result in results.items()}
    has_trust = any(score == 'calibrated' for _, score in judged)
    if pictures is not None:
        pictures = pictures[0], cache(pictures[1])
    cards = [
        _card(int(i), float(ap[i]), distances, query, gallery, pictures, names)
        for part in select_probes(ap, PROBES)
        for i in part
    ]
    write_report(
        path,
        title,
        rows,
        {f'Cumulative match characteristic (first {RANKS} ranks)': plot_cmc(cmc)}
        | _figures(judged, 'calibrated' if has_trust else 'raw'),
        cards,
        '; '.join(filter(None, [note, *missing_pictures(cards)])),
        {
            'Probabilities and thresholds': (
                HINT + FITTED * has_trust,
                [out.row(*names) for names, out in judged.items()],
            )
        },
    )


def _figures(
    judged: Mapping[tuple[str, str], Judged], kind: str
) -> dict[str, 'Figure']:
    raw = {method: out for (method, score), out in judged.items() if score == 'raw'}
    shown = {method: out for (method, score), out in judged.items() if score == kind}
    return {
        'Receiver operating characteristic over all pairs': plot_roc(
            {name: out.roc for name, out in raw.items()}
        ),
        f'Reliability over all pairs, {kind} scores': plot_reliability(
            {name: out.all_pairs for name, out in shown.items()}
        ),
        f'Reliability over first images, {kind} scores': plot_reliability(
            {name: out.first_images for name, out in shown.items()}
        ),
    }


def _card(
    probe: int,
    ap: float,
    distances: Mapping[str, Tensor],
    query: Data,
    gallery: Data,
    pictures: tuple[Picture, Picture] | None,
    names: tuple[Names, Names],
) -> ProbeCard:
    camera = int(query.camera[probe]) if 'camera' in query else None
    lists = {
        name: ranked_list(
            distance[probe].cpu(),
            int(query.y[probe]),
            gallery.y,
            camera,
            gallery.get('camera'),
        )
        for name, distance in distances.items()
    }
    picture = None if pictures is None else pictures[0](probe)
    gallery_picture = None if pictures is None else pictures[1]
    name = probe_name(probe, names[0])
    return ProbeCard(name, ap, lists, picture, gallery_picture, names[1])
