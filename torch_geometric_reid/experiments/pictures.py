r"""Figures 6 and 7, and the report of several experiments."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from torch_geometric_reid.experiments.data import shown_name
from torch_geometric_reid.experiments.lab import Lab, methods
from torch_geometric_reid.experiments.result import Result, Row, Value
from torch_geometric_reid.pipeline import Config

NUM_IDENTITIES = 20
NUM_PROBES = 2
TOP = 10


def tsne(lab: Lab, num_identities: int = NUM_IDENTITIES) -> Result:
    r"""Figure 6: random test identities in the plane, with the features of the
    backbone and of FA-GCN, and the mean distances within and between identities.

    Args:
        lab (Lab): The lab.
        num_identities (int, optional): The number of identities.
            (default: :obj:`20`)
    """
    from torch_geometric_reid.visualization import identity_distances, plot_tsne

    query_y, gallery_y = lab.data.query.y.cpu(), lab.data.gallery.y.cpu()
    identity = query_y[torch.isin(query_y, gallery_y) & (query_y > -1)].unique()
    drawn = identity[_random(len(identity), lab)[:num_identities]]
    y = torch.cat([query_y, gallery_y])
    mask = torch.isin(y, drawn)

    def features(config: Config) -> Tensor:
        query, gallery, _ = lab.features(config)
        return torch.cat([query, gallery]).cpu()[mask]

    def draw() -> Any:
        figure = plot_tsne(shown, y[mask], seed=lab.seeds[0])
        figure.suptitle(
            f'{title}, {shown_name(lab.data.name)}\nan identity by colour and marker, '
            f'mean distances within and between identities',
            size=9,
        )
        return figure

    title = f'Figure 6: {len(drawn)} random test identities'
    stages = methods(lab.config)
    rows = []
    shown: dict[str, Tensor] = {}
    for name, config in (('backbone', stages['baseline']), ('FA-GCN', stages['+ FA'])):
        pairs = []
        for seed in lab.seeds:
            x = features(replace(config, seed=seed))
            shown.setdefault(name, x)
            within, between = identity_distances(x, y[mask])
            pairs.append((within, between, within / between))
        columns = zip(*pairs, strict=True)
        head = ('within', 'between', 'ratio')
        values = {h: Value.of(c) for h, c in zip(head, columns, strict=True)}
        rows.append(Row({'features': name}, values))
    return Result(
        'tsne',
        title,
        rows,
        lab.data.name,
        notes=[
            'mean distance of two images of one identity and of two identities; '
            'gallery features are those that no probe has changed'
        ],
        figures={'tsne': draw},
        unit=None,
    )


def ranklist(lab: Lab, probes: Sequence[int] | None = None) -> Result:
    r"""Figure 7: the first ten images of two probes by four methods, without those
    that the protocol removes.

    Args:
        lab (Lab): The lab.
        probes (list, optional): The probes, by default two random ones whose list
            by the baseline is not right from first to last, as long as there are
            such. (default: :obj:`None`)

    Raises:
        ValueError: If there is no such probe.
    """
    ap = _average_precision(lab)
    num_probes = lab.data.query.num_nodes
    if probes:
        wrong = [i for i in probes if not 0 <= i < num_probes]
        if wrong:
            raise ValueError(
                f"'probes' needs rows from 0 to {num_probes - 1} (got {wrong})"
            )
    else:
        probes = _draw_probes(lab, ap['baseline'])
    from torch_geometric_reid.visualization.report_probes import missing_pictures

    shown = cards(lab, probes)
    rows = []
    for probe, card in zip(probes, shown, strict=True):
        for method, ranked in card.lists.items():
            match = ranked.match.tolist()
            image = ranked.image.tolist()
            values = {'AP': Value(100 * float(ap[method][probe]))}
            listed = ' '.join(
                f'{i}{"+" if hit else ""}' for i, hit in zip(image, match, strict=True)
            )
            labels = {
                'probe': probe,
                'method': method,
                'first images': listed,
                'matches': sum(match),
            }
            rows.append(Row(labels, values))
    result = Result(
        'ranklist',
        f'Figure 7: the first {TOP} images of {len(probes)} probes',
        rows,
        lab.data.name,
        notes=[
            f'seed {lab.seeds[0]}; + marks a match; images of the same identity and '
            f'camera are removed',
            *missing_pictures(shown),
        ],
        unit='percent (AP)',
    )
    for probe, card in zip(probes, shown, strict=True):
        result.figures[f'ranklist-{probe}'] = partial(_draw, card)
    result.report = report(result, lambda: shown)
    return result


def cards(lab: Lab, probes: Sequence[int]) -> list[Any]:
    r"""Returns the first ten images of probes by each method, for a report.

    Args:
        lab (Lab): The lab.
        probes (list): The probes.
    """
    from torch_geometric_reid.visualization import ProbeCard
    from torch_geometric_reid.visualization.report_probes import probe_name

    ap = _average_precision(lab)['+ FA + EC']
    ranked = {name: (lab.rank(c).cpu(), _links(lab, c)) for name, c in _methods(lab)}
    out = []
    for i in probes:
        lists = {
            name: _first(lab, i, distance, links)
            for name, (distance, links) in ranked.items()
        }
        picture = None if lab.data.query_image is None else lab.data.query_image(i)
        images = _pictures(lab, lists.values())
        names = lab.data.query_names, lab.data.gallery_names
        name = probe_name(i, names[0])
        out.append(ProbeCard(name, float(ap[i]), lists, picture, images.get, names[1]))
    return out


def worst_and_best(lab: Lab) -> list[int]:
    r"""Returns the probes of the lowest and highest average precision of the whole
    method.
    """
    from torch_geometric_reid.visualization import select_probes

    worst, best = select_probes(_average_precision(lab)['+ FA + EC'])
    return [int(i) for i in (*worst, *best)]


def report(
    result: Result, make_cards: Callable[[], Sequence[Any]]
) -> Callable[[Path], None]:
    r"""Returns what writes the HTML report of an experiment.

    Args:
        result (Result): The experiment.
        make_cards (callable): Gives its probes.
    """

    def write(path: Path) -> None:
        from torch_geometric_reid.visualization import write_report
        from torch_geometric_reid.visualization.report_probes import missing_pictures

        figures = {name: draw() for name, draw in result.figures.items()}
        shown = make_cards()
        notes = dict.fromkeys([*result.caption, *missing_pictures(shown)])
        note = '; '.join([f'data: {result.data}', *notes])
        write_report(path, result.title, result.table(), figures, shown, note)

    return write


def _methods(lab: Lab) -> list[tuple[str, Config]]:
    return [
        (name, replace(config, seed=lab.seeds[0]))
        for name, config in methods(lab.config).items()
    ]


def _average_precision(lab: Lab) -> dict[str, Tensor]:
    return {name: lab.evaluate(lab.rank(config)).ap for name, config in _methods(lab)}


def _first(lab: Lab, probe: int, distance: Tensor, links: Tensor | None = None) -> Any:
    from torch_geometric_reid.visualization import ranked_list

    query, gallery = lab.data.query, lab.data.gallery
    return ranked_list(
        distance[probe],
        int(query.y[probe]),
        gallery.y,
        int(query.camera[probe]) if 'camera' in query else None,
        gallery.get('camera'),
        k=TOP,
        connectivity=None if links is None else links[probe],
    )


def _pictures(lab: Lab, lists: Iterable[Any]) -> dict[int, Any]:
    read = lab.data.gallery_image
    rows = {int(row) for ranked in lists for row in ranked.image}
    return {row: None if read is None else read(row) for row in rows}


def _draw_probes(lab: Lab, ap: Tensor) -> list[int]:
    distance = lab.rank(methods(lab.config)['baseline']).cpu()
    usable = (~ap.isnan()).nonzero().view(-1)
    drawn = usable[_random(len(usable), lab)].tolist()
    wrong = (i for i in drawn if not _first(lab, i, distance).match.all())
    return list(islice(wrong, NUM_PROBES)) or drawn[:NUM_PROBES]


def _links(lab: Lab, config: Config) -> Tensor | None:
    if config.ec is None:
        return None
    image, no_link = lab.connectivity(config)
    shape = (image.size(0), lab.data.gallery.num_nodes)
    return no_link.new_full(shape, torch.nan).scatter_(1, image, 1 - no_link).cpu()


def _random(size: int, lab: Lab) -> Tensor:
    generator = torch.Generator().manual_seed(lab.seeds[0])
    return torch.randperm(size, generator=generator)


def _draw(card: Any) -> Any:
    from torch_geometric_reid.visualization import plot_ranking_lists

    return plot_ranking_lists(card.lists, card.probe_image, card.gallery_image)
