r"""What a run leaves on disk."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import yaml
from safetensors.torch import save_file
from torch_geometric.nn.pool.knn import KNNOutput

from torch_geometric_reid.pipeline.compare import Comparison
from torch_geometric_reid.pipeline.config import Config
from torch_geometric_reid.topk import stable_topk

TOP = 50
Row = dict[str, str | float]
Names = list[str] | None


def save_run(
    folder: Path, comparison: Comparison, query: Names = None, gallery: Names = None
) -> None:
    r"""Writes a run to a folder, which is made if it does not exist.

    - :obj:`config.yaml`: all options, as :obj:`--config` reads them;
    - :obj:`metrics.json`: the rows of the table;
    - :obj:`fa.safetensors`, :obj:`ec.safetensors`: weights of FA-GCN and of
      EC-GCN on its features; :obj:`backbone_ec.safetensors`: of EC-GCN on the
      backbone's features;
    - :obj:`links_first.safetensors`, :obj:`links_second.safetensors`: of the
      networks that predict links;
    - :obj:`ranking.npz`: for each probe the positions (:obj:`index`) and final
      distances (:obj:`distance`) of the nearest 50 gallery images, nearest first,
      see :meth:`write_ranking`.

    Args:
        folder (pathlib.Path): The folder.
        comparison (Comparison): The run.
        query (list[str], optional): The file names of the probes.
            (default: :obj:`None`)
        gallery (list[str], optional): Those of the gallery images.
            (default: :obj:`None`)
    """
    folder.mkdir(parents=True, exist_ok=True)
    re_ranker = comparison.re_ranker
    (folder / 'config.yaml').write_text(to_yaml(comparison.config))
    write_rows(folder / 'metrics.json', comparison)
    for name, model in [
        ('fa', re_ranker.fa),
        ('ec', re_ranker.ec),
        ('backbone_ec', comparison.backbone_re_ranker.ec),
        ('links_first', comparison.links.first),
        ('links_second', comparison.links.second),
    ]:
        if model is not None:
            save_file(model.state_dict(), folder / f'{name}.safetensors')
    distance = comparison.distance
    top = stable_topk(-distance, min(TOP, distance.size(1)))
    write_ranking(folder / 'ranking.npz', top, query, gallery)


def write_ranking(
    path: Path, top: KNNOutput, query: Names = None, gallery: Names = None
) -> None:
    r"""Writes the nearest gallery images of each probe as :obj:`.npz`: their positions
    :obj:`index` and distances :obj:`distance`, both :math:`(Q, k)`, and the file names
    :obj:`query_name` and :obj:`gallery_name`, where known.

    Args:
        path (pathlib.Path): The file.
        top (KNNOutput): The positions and the negative distances.
        query (list[str], optional): The file names of the probes.
            (default: :obj:`None`)
        gallery (list[str], optional): Those of the gallery images.
            (default: :obj:`None`)
    """
    arrays = {'index': top.index.cpu().numpy(), 'distance': -top.score.cpu().numpy()}
    for key, names in [('query_name', query), ('gallery_name', gallery)]:
        if names is not None:
            arrays[key] = np.array(names)
    np.savez_compressed(path, allow_pickle=False, **arrays)


def to_yaml(config: Config) -> str:
    r"""Returns all options as YAML."""
    options = json.loads(json.dumps(asdict(config)))  # tuples as lists
    return yaml.safe_dump(options, sort_keys=False)


def write_rows(path: Path, comparison: Comparison, trust: Sequence[Row] = ()) -> None:
    r"""Writes the rows of the table as JSON, :obj:`{"rows": [...]}`.

    Args:
        path (pathlib.Path): The file.
        comparison (Comparison): The run.
        trust (list[dict], optional): Rows about how far scores can be trusted, which
            go to :obj:`"trust"` if there are any. (default: :obj:`()`)
    """
    content = {'rows': comparison.rows}
    if trust:
        content['trust'] = list(trust)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + '\n')
