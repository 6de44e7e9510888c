from collections.abc import Callable
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data, InMemoryDataset

from torch_geometric_reid.checks import check_choice
from torch_geometric_reid.datasets.array_file import ArrayFile, has_known_suffix
from torch_geometric_reid.datasets.convert import (
    to_features,
    to_ids,
    to_split_mask,
    to_texts,
)
from torch_geometric_reid.datasets.images import find_picture, read_image
from torch_geometric_reid.datasets.keys import (
    ALIASES,
    SPLITS,
    find_keys,
    keys_of_split,
    listed,
)

Source = str | PathLike[str] | Tensor | np.ndarray | list | None


class FeatureDataset(InMemoryDataset):
    r"""Features of any backbone, read from a file, with the identities, cameras
    and file names that lie beside them.

    .. code-block:: python

        FeatureDataset('gallery.npz')                    # feature, id, camera
        FeatureDataset('pytorch_result.mat', 'query')    # query_f, query_label, ...
        FeatureDataset('features.npy', id='ids.npy')     # a file for each
        FeatureDataset('all.h5', feature='bn', id='pid') # your own names

    Read are :obj:`.npz`, :obj:`.npy`, :obj:`.pt`, :obj:`.pth`, :obj:`.mat` (versions
    5 to 7.3), :obj:`.h5`, :obj:`.hdf5` and :obj:`.safetensors`, none of them
    by means of pickle, so that no file can run code. PyTorch files may hold a tensor,
    a (nested) dictionary or a :class:`~torch_geometric.data.Data`.

    Arrays are found by their usual names, whatever their case and number:
    :obj:`feature`, :obj:`feat`, :obj:`f`, :obj:`embedding`, :obj:`embed` or
    :obj:`x`; :obj:`id`, :obj:`pid`, :obj:`identity`, :obj:`label` or :obj:`y`;
    :obj:`camera`, :obj:`cam`, :obj:`camid` or :obj:`camera_id`; :obj:`name`,
    :obj:`path`, :obj:`file`, :obj:`filename`, :obj:`image_path` or
    :obj:`img_path`. The features may have any name if there is nothing else in
    the file. Only features are required.

    Args:
        path (str or os.PathLike): The file.
        split (str, optional): :obj:`"train"`, :obj:`"query"` or :obj:`"gallery"`,
            for a file of several splits: either the arrays' names begin with it
            (:obj:`query_f`, or :obj:`query/feature` in a group), or an array
            :obj:`split` gives each row's (as text, or :obj:`0`, :obj:`1` and
            :obj:`2` in the above order). By default, all rows are taken.
            (default: :obj:`None`)
        feature (str, optional): The name of the array of features :math:`(N, d)`.
            (default: :obj:`None`)
        id (str, os.PathLike, torch.Tensor or numpy.ndarray, optional): The name of
            the array of identities, whole numbers of shape :math:`(N)`,
            :math:`(1, N)` or :math:`(N, 1)`; or another file with them; or the
            identities. (default: :obj:`None`)
        camera (str, os.PathLike, torch.Tensor or numpy.ndarray, optional): The
            same for the cameras. (default: :obj:`None`)
        name (str, os.PathLike or list[str], optional): The same for the file names
            of the images. (default: :obj:`None`)
        normalize (bool, optional): If set to :obj:`False`, features are not
            scaled to unit length. (default: :obj:`True`)
        keep_junk (bool, optional): If set to :obj:`True`, keeps the images with
            identity :obj:`-1`, which count neither as right nor as wrong.
            (default: :obj:`False`)
        root (str or os.PathLike, optional): The folder that the names of the images
            start from, for :meth:`image`. By default, the folder of the file, or else
            the working directory. (default: :obj:`None`)
        max_bytes (int, optional): The most memory that an array of a file may take. A
            file of a few bytes can announce an array of any size, or unfold to it. By
            default, 64 times the size of the file, and at least 256 MiB.
            (default: :obj:`None`)
        transform (callable, optional): A function/transform that takes in an
            :obj:`torch_geometric.data.Data` object and returns a transformed
            version. The data object will be transformed before every access.
            (default: :obj:`None`)

    Attributes:
        names (list[str], optional): The file names, row by row. They are no part
            of the :class:`~torch_geometric.data.Data`, as loaders cannot select
            from a list.

    Raises:
        FileNotFoundError: If a file does not exist.
        ImportError: If a file needs :obj:`h5py`, which
            :obj:`pip install torch_geometric_reid[files]` installs.
        TypeError: If an array is of another type than it needs to be.
        ValueError: If a file cannot be read, if arrays are missing, ambiguous or
            of wrong shapes, if features are not finite (or zero, and to be
            normalized), or if no row is left.

    Shapes:
        - **output:** a data set of one :class:`~torch_geometric.data.Data` with
          :obj:`x` float32 :math:`(N, d)` and, where known, :obj:`y` and
          :obj:`camera`, both int64 :math:`(N)`
    """

    def __init__(
        self,
        path: str | PathLike[str],
        split: str | None = None,
        *,
        feature: str | None = None,
        id: Source = None,
        camera: Source = None,
        name: Source = None,
        normalize: bool = True,
        keep_junk: bool = False,
        root: str | PathLike[str] | None = None,
        max_bytes: int | None = None,
        transform: Callable | None = None,
    ):
        super().__init__(None, transform)
        file = ArrayFile(path, max_bytes)
        keys = _keys(file, split)
        label, value = _locate('feature', feature, file, keys, required=True)
        x = to_features(label, value, normalize)

        def optional(kind: str, given: Source, convert: Callable) -> Any:
            label, value = _locate(kind, given, file, keys)
            return None if value is None else convert(label, value, x.size(0))

        y = optional('id', id, to_ids)
        cameras = optional('camera', camera, to_ids)
        names = optional('name', name, to_texts)

        mask = torch.ones(x.size(0), dtype=torch.bool)
        if split is not None:
            in_split = optional('split', None, partial(to_split_mask, split=split))
            mask = mask if in_split is None else in_split
        if y is not None and not keep_junk:
            mask = mask & (y != -1)
        if not mask.any():
            raise ValueError(
                f"'{path}' needs at least one row that is in the split and no junk "
                f'(got {x.size(0)} rows, split {split!r})'
            )

        data = Data(x=x[mask])
        if y is not None:
            data.y = y[mask]
        if cameras is not None:
            data.camera = cameras[mask]
        self.data = data
        self.split = split
        self.names: list[str] | None = names
        if names is not None:
            self.names = [str(names[i]) for i in mask.nonzero().view(-1).tolist()]
        self._folders = (Path(path).parent, Path()) if root is None else (Path(root),)

    def image(self, i: int) -> Tensor:
        r"""Returns a picture as RGB, uint8 :math:`(H, W, 3)`.

        Args:
            i (int): Its row in the features.

        Raises:
            ImportError: If :obj:`PIL` is not installed, which
                :obj:`pip install torch_geometric_reid[images]` does.
            ValueError: If the file names no images, or a picture cannot be read.
        """
        if self.names is None:
            raise ValueError("'name' needs the file names of the images (got none)")
        return read_image(find_picture(self.names[i], self._folders))


def load_features(
    path: str | PathLike[str], split: str | None = None, **kwargs: Any
) -> Data:
    r"""Reads features of any backbone, with identities and cameras, from a file.

    Args:
        path (str or os.PathLike): The file.
        split (str, optional): The split of a file of several, see
            :class:`FeatureDataset`. (default: :obj:`None`)
        **kwargs (optional): Further arguments of :class:`FeatureDataset`.

    Returns:
        A :class:`~torch_geometric.data.Data` with :obj:`x` float32
        :math:`(N, d)` and, where known, :obj:`y` and :obj:`camera`, both int64
        :math:`(N)`.
    """
    return FeatureDataset(path, split, **kwargs)[0]


def _keys(file: ArrayFile, split: str | None) -> dict[str, str]:
    keys = {key: key for key in file}
    if split is None:
        return keys
    check_choice('split', split, SPLITS)
    if find_keys('split', keys):
        return keys
    keys = keys_of_split(split, file)
    if not keys:
        raise ValueError(
            f"'split' needs '{file.path}' to hold an array 'split' or arrays that "
            f"begin with '{split}_' (it holds {listed(file)})"
        )
    return keys


def _locate(
    kind: str,
    given: Source,
    file: ArrayFile,
    keys: dict[str, str],
    required: bool = False,
) -> tuple[str, Any]:
    # The array and its name for error messages, or nothing where none is needed.
    if given is None:
        found = find_keys(kind, keys)
        if required and not found and len(file) == 1:
            found = list(file)
        if len(found) > 1 or (required and not found):
            raise ValueError(
                f"'{kind}' needs to be named, as {'several' if found else 'none'} of "
                f"the arrays of '{file.path}' could be it (it holds {listed(file)}; "
                f'accepted without naming: {", ".join(ALIASES[kind])})'
            )
        if not found:
            return kind, None
        given = found[0]
    if not isinstance(given, str | PathLike):
        return kind, given
    if given in file:
        return f"{given}' of '{file.path}", file[str(given)]
    if not has_known_suffix(given):
        raise ValueError(
            f"'{kind}' needs to name an array of '{file.path}' or another file (got "
            f"'{given}', it holds {listed(file)})"
        )
    other = ArrayFile(given, file.max_bytes)
    return _locate(kind, None, other, {key: key for key in other}, required=True)
