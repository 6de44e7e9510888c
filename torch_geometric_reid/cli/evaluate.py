from pathlib import Path
from typing import Any

import torch

from torch_geometric_reid.cli.inputs import load_labelled
from torch_geometric_reid.cli.table import format_table, write_json
from torch_geometric_reid.datasets.array_file import ArrayFile
from torch_geometric_reid.distance import pairwise_distance
from torch_geometric_reid.metrics import Evaluation, evaluate, evaluate_topk

RANKS = (1, 5, 10)


def run_evaluate(args: Any) -> None:
    r"""Runs :obj:`tg-reid evaluate`."""
    query = load_labelled(args.query, 'evaluation')
    gallery = load_labelled(args.gallery, 'evaluation')
    labels = (query.y, gallery.y, query.get('camera'), gallery.get('camera'))
    if args.ranking is None:
        distance = pairwise_distance(query.x, gallery.x)
        result = evaluate(distance, *labels, ap=args.ap)
    else:
        ranking = _read_ranking(args.ranking)
        result = evaluate_topk(ranking, *labels, ap=args.ap)
        if ranking.size(1) < gallery.num_nodes:
            print(
                f'# the best {ranking.size(1)} of {gallery.num_nodes} images: matches '
                f'behind them count as never found'
            )
    print_evaluation(result, args.json)


def print_evaluation(result: Evaluation, json_path: Path | None) -> None:
    r"""Prints the metrics in percent, and writes them as JSON if asked to."""
    row: dict[str, str | float] = {
        'mAP': 100 * result.mAP,
        **{f'rank{r}': 100 * result.rank(r) for r in RANKS},
        'mINP': 100 * result.mINP,
    }
    print(format_table([row]))
    for reason, probe in result.skipped.items():
        print(f'# skipped probes: {probe.numel()}, {reason}')
    if json_path is not None:
        write_json(json_path, row)


def _read_ranking(path: str) -> torch.Tensor:
    try:
        return torch.as_tensor(ArrayFile(path)['index'])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"'{path}' is no ranking: it needs an array 'index' of gallery positions "
            f'[Q, k] in an npz file ({error})'
        ) from error
