import csv
from pathlib import Path
from typing import Any

from torch_geometric.nn.pool.knn import KNNOutput

from torch_geometric_reid.cli.evaluate import print_evaluation
from torch_geometric_reid.cli.tune import read_parameters
from torch_geometric_reid.datasets import FeatureDataset
from torch_geometric_reid.distance import pairwise_distance
from torch_geometric_reid.metrics import evaluate
from torch_geometric_reid.pipeline.run_folder import write_ranking
from torch_geometric_reid.pipeline.tune_options import RE_RANKERS
from torch_geometric_reid.topk import stable_topk

METHODS = {'none': pairwise_distance, **RE_RANKERS}


def run_rerank(args: Any) -> None:
    r"""Runs :obj:`tg-reid rerank`."""
    out = check_ranking(args.out)
    query, gallery = FeatureDataset(args.query), FeatureDataset(args.gallery)
    q, g = query[0], gallery[0]
    parameters = {}
    if args.parameters is not None:
        parameters = read_parameters(args.parameters).get(args.method, {})
    distance = METHODS[args.method](q.x, g.x, **parameters)
    top = stable_topk(-distance, min(args.top, g.num_nodes))
    out.parent.mkdir(parents=True, exist_ok=True)
    WRITERS[out.suffix](out, top, query.names, gallery.names)
    print(f'# ranking: {out}')
    if 'y' in q and 'y' in g:
        result = evaluate(distance, q.y, g.y, q.get('camera'), g.get('camera'))
        print_evaluation(result, args.json)
    elif args.json is not None:
        raise ValueError("'--json' needs identities in both files")


def check_ranking(path: Path) -> Path:
    r"""Returns the path of a ranking to write.

    Raises:
        ValueError: If it does not end in :obj:`.npz` or :obj:`.csv`.
    """
    path = Path(path)
    if path.suffix not in WRITERS:
        raise ValueError(f"'--out' needs to end in .npz or .csv (got '{path}')")
    return path


def _write_csv(
    path: Path, top: KNNOutput, query: list[str] | None, gallery: list[str] | None
) -> None:
    with path.open('w', newline='', encoding='utf-8') as file:
        writer = csv.writer(file)
        writer.writerow(['probe', 'rank', 'image', 'distance'])
        for i, (images, scores) in enumerate(
            zip(top.index.tolist(), top.score.tolist(), strict=True)
        ):
            probe = i if query is None else query[i]
            for rank, (j, score) in enumerate(zip(images, scores, strict=True), 1):
                image = j if gallery is None else gallery[j]
                writer.writerow([probe, rank, image, f'{-score:.6g}'])


WRITERS = {'.npz': write_ranking, '.csv': _write_csv}
