r"""Features that a command reads."""

from torch_geometric.data import Data

from torch_geometric_reid.datasets import FeatureDataset
from torch_geometric_reid.datasets.keys import ALIASES


def open_labelled(path: str, purpose: str, split: str | None = None) -> FeatureDataset:
    r"""Opens features with identities, and the names of their pictures.

    Args:
        path (str): The file.
        purpose (str): What they are for, for the error message.
        split (str, optional): The split of a file of several.
            (default: :obj:`None`)

    Raises:
        ValueError: If the file holds no identities.
    """
    dataset = FeatureDataset(path, split)
    if 'y' not in dataset[0]:
        raise ValueError(
            f"'{path}' has no identities, which {purpose} needs "
            f'(names of their array: {", ".join(ALIASES["id"])})'
        )
    return dataset


def load_labelled(path: str, purpose: str, split: str | None = None) -> Data:
    r"""Returns the features and identities of :meth:`open_labelled`."""
    return open_labelled(path, purpose, split)[0]


def print_split(name: str, data: Data) -> None:
    r"""Prints how many images and identities a split has."""
    print(f'# {name}: {data.num_nodes} images of {len(data.y.unique())} identities')
