import os
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from torch_geometric_reid.optional import require

SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp')
FORMATS = ('BMP', 'GIF', 'JPEG', 'PNG', 'PPM', 'TIFF', 'WEBP')  # others run programs


@dataclass(frozen=True, eq=False)
class ImageList:
    r"""Pictures on disk, with the identity and the camera of each.

    Args:
        paths (list[pathlib.Path]): The files.
        y (torch.Tensor): The identities, int64 :math:`(N)`.
        camera (torch.Tensor): The cameras, int64 :math:`(N)`.
    """

    paths: list[Path]
    y: Tensor
    camera: Tensor

    @property
    def names(self) -> list[str]:
        r"""The file names without their folder."""
        return [path.name for path in self.paths]

    def image(self, i: int) -> Tensor:
        r"""Returns a picture as RGB, uint8 :math:`(H, W, 3)`.

        Args:
            i (int): Its position in the list.
        """
        return read_image(self.paths[i])

    def select(self, mask: Tensor) -> 'ImageList':
        r"""Returns the pictures for which a boolean mask :math:`(N)` is
        :obj:`True`.
        """
        paths = [self.paths[i] for i in mask.nonzero().view(-1).tolist()]
        return ImageList(paths, self.y[mask], self.camera[mask])

    def __len__(self) -> int:
        return len(self.paths)


def list_pictures(folder: Path) -> list[Path]:
    r"""Returns the files of a folder that are pictures by their suffix, sorted by
    name. Hidden files are none.
    """
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith('.')
    )


def find_picture(name: str, folders: Sequence[str | PathLike[str]]) -> Path:
    r"""Returns where the picture of this name lies: under the first of the folders
    that holds it, or the first of all if none does.

    Args:
        name (str): The name, with slashes or backslashes between folders.
        folders (list[str or os.PathLike]): The folders.
    """
    paths = [Path(folder, name.replace('\\', '/').strip()) for folder in folders]
    return next((path for path in paths if os.path.isfile(path)), paths[0])


def read_image(
    path: str | PathLike[str], size: tuple[int, int] | None = None
) -> Tensor:
    r"""Reads a picture as RGB, uint8 :math:`(H, W, 3)`.

    Args:
        path (str or os.PathLike): The file.
        size (tuple[int, int], optional): The height and width to bring it to, by
            bilinear interpolation with antialiasing. (default: :obj:`None`)

    Raises:
        ImportError: If :obj:`PIL` is not installed.
        ValueError: If the file is missing, damaged or no picture, or of more pixels
            than :obj:`PIL.Image.MAX_IMAGE_PIXELS`.
    """
    pil = require('PIL.Image', f"'{path}'", 'images')
    try:
        with pil.open(path, formats=FORMATS) as file:
            _check_pixels(file.size, pil.MAX_IMAGE_PIXELS)
            picture = file.convert('RGB')
    except Exception as error:  # formats raise whatever their parsers meet
        raise ValueError(f"'{path}' cannot be read as a picture: {error}") from error
    if size is not None:
        picture = picture.resize((size[1], size[0]), pil.Resampling.BILINEAR)
    return torch.from_numpy(np.array(picture))


def _check_pixels(size: tuple[int, int], limit: int | None) -> None:
    if limit is not None and size[0] * size[1] > limit:
        raise ValueError(
            f'it has {size[0]} x {size[1]} pixels, more than the {limit:,} of '
            f'PIL.Image.MAX_IMAGE_PIXELS'
        )
