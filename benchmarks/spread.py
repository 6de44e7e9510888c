r"""How much of a prepared gallery one more image changes, with learned links.

    python benchmarks/spread.py [set.npz]
    python benchmarks/spread.py --made 15913

For each of what is kept of a gallery, stage by stage: the share of images whose row
changes at all, by more than 1e-6 and by more than 1e-4 when one probe is added to the
gallery, as the mean over some probes. A pair that enters or leaves a list changes by
its value; a list has changed if it holds other images or another order.
"""

import argparse
import warnings

import torch
from cases import make_case
from common import load_splits
from torch import Tensor

from torch_geometric_reid.pipeline import GraphReRanker
from torch_geometric_reid.pipeline.link_tables import LinkTables
from torch_geometric_reid.rerank.sparse import from_table, resize

TRAIN, DIM = 3000, 512
BOUNDS = (0, 1e-6, 1e-4)


def made_splits(size: int, num_probes: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    case = make_case(TRAIN + num_probes, size, DIM, 0.8)
    x, y = (torch.from_numpy(case[name]) for name in ('x', 'identity'))
    train, query, gallery = x.split([TRAIN, num_probes, size])
    return train, y[:TRAIN], query, gallery


def sparse_change(before: Tensor, after: Tensor) -> Tensor:
    change = (resize(before, tuple(after.shape)) - after).coalesce()
    out = torch.zeros(len(after))
    row = change.indices()[0]
    return out.scatter_reduce_(0, row, change.values().abs(), 'amax')[: len(before)]


def list_change(before: Tensor, after: Tensor) -> Tensor:
    return (before != after[: len(before)]).any(dim=1).float()


def changes(before: LinkTables, after: LinkTables) -> dict[str, Tensor]:
    def links(neighbor: Tensor, link: Tensor) -> Tensor:
        return from_table(neighbor, len(neighbor), value=link)

    return {
        'lists': list_change(before.neighbor, after.neighbor),
        'links': sparse_change(
            links(before.neighbor, before.link), links(after.neighbor, after.link)
        ),
        'new features': (before.new_x - after.new_x[: len(before.new_x)])
        .abs()
        .amax(dim=1),
        'new lists': list_change(before.new_neighbor, after.new_neighbor),
        'new links': sparse_change(
            links(before.new_neighbor, before.new_link),
            links(after.new_neighbor, after.new_link),
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('file', nargs='?', help='a feature set; by default Omniglot242')
    parser.add_argument('--made', type=int, help='size of a made gallery instead')
    parser.add_argument('--probes', type=int, default=3)
    args = parser.parse_args()
    warnings.simplefilter('ignore')
    if args.made is None:
        train, query, gallery = load_splits(args.file)
        splits = (train.x, train.y, query.x, gallery.x)
    else:
        splits = made_splits(args.made, args.probes)
    x, y, probes, gallery = splits
    ranker = GraphReRanker().fit(x, y, gallery)
    ranker.prepare(gallery)
    prepared = ranker.gallery.store
    shares: dict[str, list[Tensor]] = {}
    kept = torch.ones(len(gallery), dtype=torch.bool)
    for probe in probes[: args.probes].split(1):
        tables = prepared.change(probe, kept).tables
        for name, change in changes(prepared.tables, tables).items():
            share = torch.stack([(change > bound).float().mean() for bound in BOUNDS])
            shares.setdefault(name, []).append(100 * share)
    print('| % of rows that change by more than | 0 | 1e-6 | 1e-4 |')
    for name, parts in shares.items():
        cells = ' | '.join(f'{value:.1f}' for value in torch.stack(parts).mean(dim=0))
        print(f'| {name} | {cells} |', flush=True)


if __name__ == '__main__':
    main()
