from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch_geometric.data import Data

from torch_geometric_reid.datasets import FeatureDataset, Omniglot242

SPLITS = ('train', 'query', 'gallery')
TITLES = {
    'market1501': 'Market-1501',
    'dukemtmcreid': 'DukeMTMC-reID',
    'veri776': 'VeRi-776',
}
CLASSES = {
    'market1501': 'Market1501',
    'dukemtmcreid': 'DukeMTMCreID',
    'veri776': 'VeRi776',
}


@dataclass
class ReIDData:
    r"""A data set of three splits.

    Args:
        name (str): Its name, by which published figures are found.
        train (Data): Training images, with :obj:`x` and :obj:`y`.
        query (Data): Probes, with :obj:`x`, :obj:`y` and maybe :obj:`camera`.
        gallery (Data): Gallery images, likewise.
        query_image (callable, optional): Gives the picture of a probe.
            (default: :obj:`None`)
        gallery_image (callable, optional): Gives the picture of a gallery image.
            (default: :obj:`None`)

    Raises:
        ValueError: If a split has no identities.
    """

    name: str
    train: Data
    query: Data
    gallery: Data
    query_image: Callable[[int], Any] | None = None
    gallery_image: Callable[[int], Any] | None = None

    def __post_init__(self) -> None:
        for split in SPLITS:
            if 'y' not in getattr(self, split):
                raise ValueError(
                    f"'{self.name}' has no identities in its split '{split}', which "
                    f'an experiment needs'
                )


def load_data(
    name: str = 'omniglot242', root: str | None = None, features: str | None = None
) -> ReIDData:
    r"""Loads a data set by name.

    Args:
        name (str, optional): :obj:`"omniglot242"`, a file of features with
            splits, or :obj:`"market1501"`, :obj:`"dukemtmcreid"` or
            :obj:`"veri776"`. (default: :obj:`"omniglot242"`)
        root (str, optional): The folder of the last three.
            (default: :obj:`None`)
        features (str, optional): The file of their features, by default those
            that lie in the folder. (default: :obj:`None`)

    Raises:
        ValueError: If the last three get no folder, or the others get one.
    """
    if name not in CLASSES:
        if root is not None or features is not None:
            raise ValueError(
                f"'root' and 'features' belong to {', '.join(CLASSES)} (got '{name}')"
            )
        if name == 'omniglot242':
            return _from_datasets(name, [Omniglot242(split) for split in SPLITS])
        return _from_datasets(name, [FeatureDataset(name, split) for split in SPLITS])
    if root is None:
        raise ValueError(f"'{name}' needs 'root', the folder of the data set")
    if not Path(root).is_dir():
        raise FileNotFoundError(f"'{root}' is no folder")
    from torch_geometric_reid import datasets

    kind = getattr(datasets, CLASSES[name])
    return _from_datasets(
        name, [kind(root, split, features=features) for split in SPLITS]
    )


def _from_datasets(name: str, splits: list[Any]) -> ReIDData:
    images = [getattr(split, 'image', None) for split in splits[1:]]
    return ReIDData(name, *[split[0] for split in splits], *images)
