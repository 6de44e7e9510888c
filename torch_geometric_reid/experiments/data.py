from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch_geometric.data import Data

from torch_geometric_reid.datasets import FeatureDataset, Omniglot242
from torch_geometric_reid.datasets.keys import SPLITS

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


def shown_name(name: str) -> str:
    r"""Returns the name of a data set as a picture shows it, that of a file without
    its folder.
    """
    return TITLES.get(name, Path(name).name)


@dataclass
class ReIDData:
    r"""A data set of three splits.

    Args:
        name (str): Its name, by which published figures are found.
        train (Data): Training images, with :obj:`x` and :obj:`y`.
        query (Data): Probes, with :obj:`x`, :obj:`y` and maybe :obj:`camera`.
        gallery (Data): Gallery images, likewise.
        query_image (callable, optional): Gives the picture of a probe, or
            :obj:`None` where it cannot be read. (default: :obj:`None`)
        gallery_image (callable, optional): Gives that of a gallery image likewise.
            (default: :obj:`None`)
        query_names (list[str], optional): The file names of the probes.
            (default: :obj:`None`)
        gallery_names (list[str], optional): Those of the gallery images.
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
    query_names: list[str] | None = None
    gallery_names: list[str] | None = None

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
        root (str, optional): The folder of the last three, or the one that a file's
            names of pictures start from, see :class:`FeatureDataset`.
            (default: :obj:`None`)
        features (str, optional): The file of the features of the last three, by
            default those that lie in the folder. (default: :obj:`None`)

    Raises:
        ValueError: If the last three get no folder, or one of the others gets what is
            not for it.
    """
    if name not in CLASSES:
        if features is not None:
            raise ValueError(
                f"'features' belongs to {', '.join(CLASSES)} (got '{name}')"
            )
        if name != 'omniglot242':
            splits = [FeatureDataset(name, split, root=root) for split in SPLITS]
            return from_datasets(name, splits)
        if root is not None:
            raise ValueError(f"'root' does not belong to '{name}'")
        return from_datasets(name, [Omniglot242(split) for split in SPLITS])
    if root is None:
        raise ValueError(f"'{name}' needs 'root', the folder of the data set")
    if not Path(root).is_dir():
        raise FileNotFoundError(f"'{root}' is no folder")
    from torch_geometric_reid import datasets

    kind = getattr(datasets, CLASSES[name])
    return from_datasets(
        name, [kind(root, split, features=features) for split in SPLITS]
    )


def from_datasets(name: str, splits: Sequence[Any]) -> ReIDData:
    r"""Returns the data of three data sets, with their pictures if they have some.

    Args:
        name (str): The name.
        splits (list): The training images, the probes and the gallery, as
            :class:`Omniglot242`, :class:`FeatureDataset` or :class:`ImageDataset`.
    """
    images = [_picture_of(split) for split in splits[1:]]
    names = [getattr(split, 'names', None) for split in splits[1:]]
    return ReIDData(name, *[split[0] for split in splits], *images, *names)


def _picture_of(dataset: Any) -> Callable[[int], Any] | None:
    if getattr(dataset, 'names', ()) is None:
        return None

    def picture(row: int) -> Any:
        try:
            return dataset.image(row)
        except ValueError:
            return None

    return picture
