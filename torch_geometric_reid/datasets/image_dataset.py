import json
import os
import pickle
import re
import warnings
from collections.abc import Callable
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch_geometric.data import Data, InMemoryDataset

from torch_geometric_reid.atomic import write_atomically
from torch_geometric_reid.checks import check_choice
from torch_geometric_reid.datasets.align import align_features
from torch_geometric_reid.datasets.images import (
    ImageList,
    list_pictures,
    read_image,
)
from torch_geometric_reid.datasets.keys import SPLITS, listed
from torch_geometric_reid.datasets.read_torch import PARTS_OF_DATA


class ImageDataset(InMemoryDataset):
    r"""Pictures whose names tell identity and camera, with features of any
    backbone: the base class of :class:`Market1501`, :class:`DukeMTMCreID` and
    :class:`VeRi776`.

    A layout of your own is a subclass that says in which folders splits lie and
    how names are read:

    .. code-block:: python

        class Cats(ImageDataset):
            folders = {'train': 'train', 'query': 'probe', 'gallery': 'gallery'}
            pattern = re.compile(r'(?P<id>\d+)-(?P<camera>\d+)-.*')
            example = '12-3-garden.jpg'

    Pictures are listed without features, to extract these by
    :func:`extract_features`:

    .. code-block:: python

        extract_features(model, Cats.images(root, 'query'), f'{root}/query.npz')
        dataset = Cats(root, 'query')

    What was read is kept in :obj:`{root}/processed`, and read from there as long
    as the arguments and the file of features are the same. A file there is written
    as a whole or not at all, and read without pickle.

    Args:
        root (str or os.PathLike): The folder that holds the folders of the splits.
        split (str, optional): :obj:`"train"`, :obj:`"query"` or
            :obj:`"gallery"`. (default: :obj:`"train"`)
        features (str or os.PathLike, optional): A file of features that
            :class:`FeatureDataset` reads. Rows belong to the pictures that they
            name; without names, there needs to be one for each picture, in the order
            of the names of files. By default, :obj:`{split}.npz` or
            :obj:`features.npz` in :obj:`root`. (default: :obj:`None`)
        keep_junk (bool, optional): If set to :obj:`True`, keeps pictures of identity
            :obj:`-1`, which count neither as right nor as wrong.
            (default: :obj:`False`)
        transform (callable, optional): A function/transform that takes in an
            :obj:`torch_geometric.data.Data` object and returns a transformed
            version. The data object will be transformed before every access.
            (default: :obj:`None`)
        pre_transform (callable, optional): The same, before it is saved to disk.
            Two that print alike count as the same one.
            (default: :obj:`None`)
        force_reload (bool, optional): Whether to read pictures' names and features
            anew. (default: :obj:`False`)
        **selection (optional): Further arguments of :meth:`images`.

    Attributes:
        names (list[str]): The file names, row by row. They are no part of the
            :class:`~torch_geometric.data.Data`, as loaders cannot select from a list.

    Raises:
        FileNotFoundError: If a folder or the file of features does not exist.
        ValueError: If a name cannot be read, or if features and pictures do not
            belong together.

    Shapes:
        - **output:** a data set of one :class:`~torch_geometric.data.Data` with
          features :obj:`x` of unit length, float32 :math:`(N, d)`, and :obj:`y` and
          :obj:`camera` as they are numbered in the names, int64 :math:`(N)`
    """

    folders: ClassVar[dict[str, str]]
    pattern: ClassVar[re.Pattern[str]]
    example: ClassVar[str]
    num_cameras: ClassVar[int | None] = None

    def __init__(
        self,
        root: str | PathLike[str],
        split: str = 'train',
        features: str | PathLike[str] | None = None,
        *,
        keep_junk: bool = False,
        transform: Callable | None = None,
        pre_transform: Callable | None = None,
        force_reload: bool = False,
        **selection: Any,
    ):
        check_choice('split', split, SPLITS)
        root = os.path.expanduser(root)
        super().__init__(root, transform, pre_transform, force_reload=force_reload)
        self.split = split
        self.selection = {'keep_junk': keep_junk, **selection}
        self.features = self._find_features(features)
        saved = None if force_reload else self._read()
        if saved is None:
            saved = self._make()
        self.data = Data(**saved['data'])
        self.names: list[str] = saved['names']

    @property
    def raw_dir(self) -> str:
        return self.root

    @property
    def raw_file_names(self) -> list[str]:
        return [self.folders[self.split]]

    @property
    def processed_file_names(self) -> list[str]:
        chosen = [name for name, value in self.selection.items() if value]
        return ['-'.join([self.split, self.features.name, *chosen]) + '.pt']

    @classmethod
    def images(
        cls, root: str | PathLike[str], split: str, *, keep_junk: bool = False
    ) -> ImageList:
        r"""Lists the pictures of a split, sorted by name; no features are needed.

        Other files are ignored.

        Args:
            root (str or os.PathLike): The folder that holds the folders of the
                splits.
            split (str): :obj:`"train"`, :obj:`"query"` or :obj:`"gallery"`.
            keep_junk (bool, optional): If set to :obj:`True`, keeps pictures of
                identity :obj:`-1`. (default: :obj:`False`)

        Raises:
            FileNotFoundError: If the folder does not exist.
            ValueError: If there is no picture in it, or a picture's name cannot be
                read.
        """
        check_choice('split', split, SPLITS)
        paths = list_pictures(cls._folder(root, split))
        if not paths:
            raise ValueError(
                f"'root' needs pictures in '{cls._folder(root, split)}', with names "
                f"such as '{cls.example}' (got none)"
            )
        ids = torch.tensor([cls._parse(path) for path in paths])
        images = ImageList(paths, y=ids[:, 0], camera=ids[:, 1])
        return images if keep_junk else images.select(images.y != -1)

    def image_list(self) -> ImageList:
        r"""Lists the pictures of this data set, row by row."""
        return self.images(self.root, self.split, **self.selection)

    def image(self, i: int) -> Tensor:
        r"""Returns a picture as RGB, uint8 :math:`(H, W, 3)`.

        Args:
            i (int): Its row in the features.

        Raises:
            ImportError: If :obj:`PIL` is not installed, which
                :obj:`pip install torch_geometric_reid[images]` does.
            ValueError: If the file cannot be read.
        """
        return read_image(Path(self.root, self.folders[self.split], self.names[i]))

    @classmethod
    def _folder(cls, root: str | PathLike[str], split: str) -> Path:
        root = Path(root).expanduser()
        folder = root / cls.folders[split]
        if not folder.is_dir():
            found = 'no such folder'
            if root.is_dir():
                found = f'it holds {listed(sorted(os.listdir(root)), 5)}'
            raise FileNotFoundError(
                f"'root' needs to be a folder that holds the folder "
                f"'{folder.name}' (got '{root}', {found})"
            )
        return folder

    @classmethod
    def _parse(cls, path: Path) -> tuple[int, int]:
        match = cls.pattern.fullmatch(path.name)
        if match is None:
            raise ValueError(
                f"'{path}' needs a name such as '{cls.example}', which tells identity "
                f'and camera'
            )
        identity, camera = int(match['id']), int(match['camera'])
        if max(identity, camera) >= 2**63:
            raise ValueError(f"'{path}' needs numbers of at most 18 digits")
        if cls.num_cameras is not None and not 1 <= camera <= cls.num_cameras:
            raise ValueError(
                f"'{path}' needs to be of a camera from 1 to {cls.num_cameras} "
                f'(got {camera})'
            )
        return identity, camera

    def _find_features(self, features: str | PathLike[str] | None) -> Path:
        if features is not None:
            path = Path(features).expanduser()
            if not path.is_file():
                raise FileNotFoundError(f"'features' needs to be a file (got '{path}')")
            return path
        own, common = (
            Path(self.root, f'{name}.npz') for name in (self.split, 'features')
        )
        for path in (own, common):
            if path.is_file():
                return path
        name = type(self).__name__
        raise FileNotFoundError(
            f"'features' needs to be a file, as there is neither '{own}' nor "
            f"'{common}'; to make one from the pictures, run extract_features(model, "
            f"{name}.images(root, '{self.split}'), '{own}')"
        )

    def _key(self) -> str:
        stat = self.features.stat()
        transform = re.sub(r' at 0x[0-9a-fA-F]+', '', repr(self.pre_transform))
        return json.dumps(
            [stat.st_size, stat.st_mtime_ns, sorted(self.selection.items()), transform]
        )

    def _read(self) -> dict[str, Any] | None:
        # What is kept on disk, unless it is missing, damaged or of something else.
        try:
            saved = _load(self.processed_paths[0])
        except Exception:  # PyTorch raises whatever it meets in a damaged file
            return None
        is_own = isinstance(saved, dict) and saved.get('key') == self._key()
        return saved if is_own else None

    def _make(self) -> dict[str, Any]:
        images = self.image_list()
        if not len(images):
            folder = self._folder(self.root, self.split)
            raise ValueError(
                f"'root' needs pictures in '{folder}' (got only junk, or others that "
                f'are left out)'
            )
        own = self.folders[self.split]
        x = align_features(
            self.features,
            self.split,
            images,
            self.images(self.root, self.split, keep_junk=True),
            set(self.folders.values()) - {own},
        )
        data = Data(x=x, y=images.y, camera=images.camera)
        if self.pre_transform is not None:
            data = self.pre_transform(data)
        made = {'key': self._key(), 'data': data.to_dict(), 'names': images.names}
        path = Path(self.processed_paths[0])
        try:
            write_atomically(path, partial(torch.save, made))
        except OSError as error:
            warnings.warn(f"'{path}' cannot be kept: {error}", stacklevel=4)
            return made
        try:
            return _load(path)
        except pickle.UnpicklingError as error:
            path.unlink()
            raise TypeError(
                f"'pre_transform' needs to return data of tensors, numbers and text, "
                f'which can be read without running code (got {data})'
            ) from error


def _load(path: str | PathLike[str]) -> dict[str, Any]:
    with torch.serialization.safe_globals(PARTS_OF_DATA):
        return torch.load(path, map_location='cpu', weights_only=True)
