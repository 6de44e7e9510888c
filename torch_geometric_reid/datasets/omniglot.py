from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import Data, InMemoryDataset

from torch_geometric_reid.checks import check_choice
from torch_geometric_reid.datasets.keys import SPLITS

PATH = Path(__file__).with_name('omniglot242.npz')
SIDE = 48


class Omniglot242(InMemoryDataset):
    r"""Features of 242 handwritten characters from the `"Human-level Concept
    Learning through Probabilistic Program Induction"
    <https://doi.org/10.1126/science.aab3050>`_ paper, as a small and real
    re-identification data set that ships with the package.

    An identity is a character and a camera is one of 20 writers, who drew each
    character once. The features have 128 dimensions and come from a small
    network trained from scratch on the four alphabets of the training split
    (Early Aramaic, Greek, Korean and Sanskrit). The other two splits hold the
    characters of four other alphabets (Balinese, Katakana, Latin and Tagalog),
    and every identity of the query is in the gallery.

    The pictures are those of `Omniglot <https://github.com/brendenlake/omniglot>`_
    (MIT licence, Copyright 2015 Brenden Lake), reduced to 48 x 48 pixels.
    Ranking the gallery by the cosine reaches 70.0 mAP and 85.8 Rank-1.

    Nothing is downloaded, and nothing is written to disk.

    Args:
        split (str, optional): :obj:`"train"`, :obj:`"query"` or
            :obj:`"gallery"`. (default: :obj:`"train"`)
        transform (callable, optional): A function/transform that takes in an
            :obj:`torch_geometric.data.Data` object and returns a transformed
            version. The data object will be transformed before every access.
            (default: :obj:`None`)

    Attributes:
        alphabet (list[str]): The alphabet of each character that was drawn.

    **STATS:**

    .. list-table::
        :widths: 10 10 10 10 10
        :header-rows: 1

        * - Split
          - #images
          - #identities
          - #cameras
          - #features
        * - train
          - 2,560
          - 128
          - 20
          - 128
        * - query
          - 570
          - 114
          - 20
          - 128
        * - gallery
          - 1,710
          - 114
          - 20
          - 128

    Example:
        >>> dataset = Omniglot242('query')
        >>> dataset[0]
        Data(x=[570, 128], y=[570], camera=[570])
        >>> dataset.image(0).shape
        torch.Size([48, 48])
    """

    def __init__(self, split: str = 'train', transform: Callable | None = None):
        check_choice('split', split, SPLITS)
        super().__init__(None, transform)
        self.split = split

        with np.load(PATH, allow_pickle=False) as file:
            row = np.flatnonzero(file['split'] == SPLITS.index(split))
            x, y, camera, packed, alphabet = (
                file[key][row]
                for key in ('feature', 'id', 'camera', 'image', 'alphabet')
            )
        self.alphabet: list[str] = alphabet.tolist()
        self._packed = packed
        self.data = Data(
            x=F.normalize(torch.from_numpy(x).to(torch.float32)),
            y=torch.from_numpy(y).to(torch.int64),
            camera=torch.from_numpy(camera).to(torch.int64),
        )

    @property
    def images(self) -> Tensor:
        r"""The drawings as a boolean tensor :math:`(N, 48, 48)`, :obj:`True`
        where there is ink, unpacked anew at each access.
        """
        return _unpack(self._packed)

    def image(self, i: int) -> Tensor:
        r"""Returns a drawing as a boolean tensor :math:`(48, 48)`, :obj:`True`
        where there is ink.

        Args:
            i (int): Its row in the features.
        """
        return _unpack(self._packed[i])


def _unpack(packed: np.ndarray) -> Tensor:
    bits = np.unpackbits(packed, axis=-1).astype(bool)
    return torch.from_numpy(bits).view(*packed.shape[:-1], SIDE, SIDE)
