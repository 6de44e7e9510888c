r"""The commands that make and use a saved re-ranker."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch_geometric.nn.pool.knn import KNNOutput

from torch_geometric_reid.cli.inputs import load_labelled
from torch_geometric_reid.cli.options import read_config
from torch_geometric_reid.cli.rerank import WRITERS, check_ranking
from torch_geometric_reid.cli.table import format_table, write_json
from torch_geometric_reid.datasets import FeatureDataset
from torch_geometric_reid.pipeline import (
    Checkpoint,
    GraphReRanker,
    fit_trust,
    to_yaml,
)

Row = dict[str, str | float]


def run_fit(args: Any) -> None:
    r"""Runs :obj:`tg-reid fit`."""
    config = read_config(args)
    if args.trust and config.recipe != 'links':
        raise ValueError("'--trust' needs the recipe of links (got 'paper')")
    train = load_labelled(args.train, 'training')
    gallery = FeatureDataset(args.gallery)
    g, progress = gallery[0], not args.quiet
    ranker = GraphReRanker(config)
    saving = nullcontext() if args.resume is None else Checkpoint(args.resume)
    with saving as checkpoint:
        ranker.fit(train.x, train.y, g.x, progress, checkpoint)
    if args.trust:
        x, reference = F.normalize(train.x), F.normalize(g.x)
        ranker.trust = fit_trust(
            x,
            train.y,
            reference,
            config.links,
            config.seed,
            progress,
            'gallery',
            train.get('camera'),
        )
    ranker.prepare(g.x, g.get('y'), gallery.names, progress).save(args.model)
    print(f'# options\n{to_yaml(config)}')
    _report({'model': str(args.model), 'gallery': g.num_nodes}, args.json)


def run_rank(args: Any) -> None:
    r"""Runs :obj:`tg-reid rank`."""
    out = check_ranking(args.out)
    ranker, query = GraphReRanker.load(args.model), FeatureDataset(args.query)
    graph = args.graph or ranker.config.graph
    matches = ranker.query(query[0].x, args.top, graph)
    gallery = None if ranker.gallery is None else ranker.gallery.names
    out.parent.mkdir(parents=True, exist_ok=True)
    top = KNNOutput(-matches.distance, matches.index)
    WRITERS[out.suffix](out, top, query.names, gallery)
    print(f'# graph: {graph}')
    _report({'ranking': str(out), 'probes': len(matches.index)}, args.json)


def run_query(args: Any) -> None:
    r"""Runs :obj:`tg-reid query`."""
    ranker, query = GraphReRanker.load(args.model), FeatureDataset(args.query)
    x = query[0].x
    if args.row >= len(x):
        raise ValueError(f"'--row' needs to be below {len(x)} (got {args.row})")
    matches = ranker.query(x[args.row], args.top, args.graph)
    rows: list[Row] = []
    for rank, image in enumerate(matches.index[0].tolist()):
        row: Row = {'rank': str(rank + 1), 'image': str(image)}
        if matches.names is not None:
            row['name'] = matches.names[0][rank]
        if matches.ids is not None:
            row['id'] = str(int(matches.ids[0, rank]))
        row['distance'] = f'{float(matches.distance[0, rank]):.4f}'
        row['connectivity'] = f'{float(matches.connectivity[0, rank]):.4f}'
        if matches.probability is not None:
            row['probability'] = f'{float(matches.probability[0, rank]):.4f}'
        rows.append(row)
    print(f'# graph: {matches.graph}')
    print(format_table(rows))
    trust = None if matches.probability is None else ranker.trust
    if trust is not None and bool(trust.none_of_these(matches.distance[:, 0])[0]):
        print('# none of these: the gallery may not show this identity')
    if args.json is not None:
        write_json(args.json, rows)


def run_add(args: Any) -> None:
    r"""Runs :obj:`tg-reid add`."""
    ranker, gallery = GraphReRanker.load(args.model), FeatureDataset(args.gallery)
    if ranker.gallery is None:
        raise ValueError(f"'{args.model}' has no gallery")
    g = gallery[0]
    ids = g.get('y') if ranker.gallery.ids is not None else None
    names = gallery.names if ranker.gallery.names is not None else None
    ranker.add(g.x, ids, names)
    ranker.save(args.model)
    _report({'model': str(args.model), 'gallery': ranker.gallery.num_images}, args.json)


def _report(row: dict[str, Any], path: Path | None) -> None:
    for name, value in row.items():
        print(f'# {name}: {value}')
    if path is not None:
        write_json(path, row)
