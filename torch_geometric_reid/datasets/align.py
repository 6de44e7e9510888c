"""From the rows of a file of features to the pictures that they belong to."""

from collections import Counter
from os import PathLike

import torch
from torch import Tensor

from torch_geometric_reid.datasets.array_file import ArrayFile
from torch_geometric_reid.datasets.features import FeatureDataset
from torch_geometric_reid.datasets.images import ImageList
from torch_geometric_reid.datasets.keys import find_keys, keys_of_split, listed


def align_features(
    path: str | PathLike[str],
    split: str,
    images: ImageList,
    folder: ImageList,
    other_folders: set[str],
) -> Tensor:
    r"""Returns the features of pictures, row by row.

    Rows are found by the names of files, without their folders. A file without
    names needs a row for each picture of :obj:`images` or of :obj:`folder`, in
    their order, and the identities of these, if it has any.

    Args:
        path (str or os.PathLike): A file as :class:`FeatureDataset` reads it.
        split (str): The split to read where the file holds several.
        images (ImageList): The :math:`N` pictures to find the features of.
        folder (ImageList): All pictures of the split, which the file may cover.
        other_folders (set[str]): The folders of the other splits; rows whose names
            lie in one of these are left out.

    Returns:
        Features of unit length, float32 :math:`(N, d)`.

    Raises:
        ValueError: If a picture has no feature or several, if a feature has no
            picture, or if rows without names are not those of the pictures.
    """
    keys = list(ArrayFile(path))
    in_splits = find_keys('split', {key: key for key in keys})
    in_splits = in_splits or list(keys_of_split(split, keys))
    dataset = FeatureDataset(path, split if in_splits else None, keep_junk=True)
    x, y = dataset[0].x, dataset[0].get('y')
    if dataset.names is None:
        return x[_rows_by_order(path, x.size(0), y, images, folder)]
    return x[_rows_by_name(path, dataset.names, images, folder, other_folders)]


def _rows_by_name(
    path: str | PathLike[str],
    names: list[str],
    images: ImageList,
    folder: ImageList,
    other_folders: set[str],
) -> Tensor:
    parts = [name.replace('\\', '/').strip().split('/') for name in names]
    own = [
        (name, i)
        for i, (*parents, name) in enumerate(parts)
        if not other_folders.intersection(parents[-1:])
    ]
    row, count = dict(own), Counter(name for name, _ in own)
    where = folder.paths[0].parent
    for problem, faulty in [
        ('several features of', [name for name in count if count[name] > 1]),
        (f"features of pictures that '{where}' lacks:", row.keys() - folder.names),
        ('no features of', set(images.names) - row.keys()),
    ]:
        if faulty:
            raise ValueError(
                f"'features' needs one row for each picture of '{where}' ('{path}' "
                f'holds {problem} {listed(sorted(faulty), 5)})'
            )
    return torch.tensor([row[name] for name in images.names])


def _rows_by_order(
    path: str | PathLike[str],
    num_rows: int,
    y: Tensor | None,
    images: ImageList,
    folder: ImageList,
) -> Tensor:
    where = folder.paths[0].parent
    covered = images if num_rows == len(images) else folder
    if num_rows != len(covered):
        raise ValueError(
            f"'features' needs the names of its pictures or as many rows as '{where}' "
            f"has pictures, in the order of their names ('{path}' has no names and "
            f'{num_rows} rows, there are {len(images)} pictures, {len(folder)} with '
            f'those left out)'
        )
    if y is not None and not y.equal(covered.y):
        i = int((y != covered.y).nonzero()[0])
        raise ValueError(
            f"'features' without names needs rows in the order of the pictures of "
            f"'{where}' (row {i} of '{path}' is of identity {int(y[i])}, while "
            f"'{covered.names[i]}' is of {int(covered.y[i])})"
        )
    position = {name: i for i, name in enumerate(covered.names)}
    return torch.tensor([position[name] for name in images.names])
