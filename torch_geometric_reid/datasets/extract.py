import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from torch_geometric_reid.atomic import write_atomically
from torch_geometric_reid.checks import check_positive
from torch_geometric_reid.datasets.array_file import ArrayFile
from torch_geometric_reid.datasets.backbone import (
    RGB,
    Backbone,
    evaluating,
    open_backbone,
)
from torch_geometric_reid.datasets.image_dataset import ImageDataset
from torch_geometric_reid.datasets.images import ImageList, read_image
from torch_geometric_reid.datasets.keys import listed
from torch_geometric_reid.datasets.parts import Parts
from torch_geometric_reid.optional import require

BATCHES_PER_PART = 16


def extract_features(
    model: torch.nn.Module | str | PathLike[str],
    images: ImageDataset | ImageList | Sequence[str | PathLike[str]],
    out: str | PathLike[str],
    *,
    size: tuple[int, int] = (256, 128),
    batch_size: int = 64,
    mean: RGB | None = None,
    std: RGB | None = None,
    half: bool = False,
    device: torch.device | str | None = None,
    num_workers: int = 0,
    resume: bool = True,
    progress: bool = True,
) -> Path:
    r"""Runs a backbone over pictures and saves their features.

    .. code-block:: python

        images = Market1501.images(root, 'query')
        extract_features(model, images, f'{root}/query.npz', half=True)

    The file holds :obj:`feature`, float32 :math:`(N, d)` as the model returns it, the
    file's :obj:`name` and, where the list knows them, :obj:`id` and :obj:`camera`;
    :class:`FeatureDataset` and :obj:`tg-reid` read it. It is written as a whole or not
    at all. Until then, finished parts lie in the folder :obj:`{out}.parts`: if it is
    interrupted, the same call goes on from there and gives the same file to the bit.
    Parts of another model (its weights and its printed form), of other options or of
    files that have changed since are not used. If the file is there already, and of
    the same call, nothing is run.

    Args:
        model (torch.nn.Module, str or os.PathLike): A module that takes pictures
            float32 :math:`(B, 3, H, W)` and returns features :math:`(B, d)` or
            :math:`(B, d, 1, 1)`; or :obj:`"timm:resnet50"` for the model of that
            name with its pre-trained weights and without its classifier; or the path
            of an :obj:`.onnx` file, of which the first input and output are used. A
            module is run in evaluation mode, and put back into its own.
        images (ImageDataset, ImageList or list[str or os.PathLike]): The :math:`N`
            pictures.
        out (str or os.PathLike): The file to write, which ends in :obj:`.npz`.
        size (tuple[int, int], optional): The height and width that pictures are
            brought to, by bilinear interpolation. (default: :obj:`(256, 128)`)
        batch_size (int, optional): The number of pictures that the model sees at
            once. The features depend on it by rounding alone.
            (default: :obj:`64`)
        mean (tuple[float, float, float], optional): What is taken off red, green and
            blue, on the scale of 0 to 1. By default, what a timm model asks for, or
            else the mean of ImageNet. (default: :obj:`None`)
        std (tuple[float, float, float], optional): What they are divided by
            thereafter, with the same default. (default: :obj:`None`)
        half (bool, optional): If set to :obj:`True`, a PyTorch model is run in
            half precision, which is float16 on a GPU and bfloat16 on a CPU.
            (default: :obj:`False`)
        device (torch.device or str, optional): The device that a module is moved to.
            By default, it stays where it is; a timm model goes to the GPU if there is
            one, and ONNX runs on whatever its runtime supports.
            (default: :obj:`None`)
        num_workers (int, optional): The number of processes that read pictures.
            (default: :obj:`0`)
        resume (bool, optional): If set to :obj:`False`, starts anew.
            (default: :obj:`True`)
        progress (bool, optional): Whether to show a progress bar.
            (default: :obj:`True`)

    Returns:
        The path of the file.

    Raises:
        FileNotFoundError: If pictures or the ONNX file do not exist.
        ImportError: If an optional package is missing, with the command that
            installs it.
        TypeError: If the model returns no tensor.
        ValueError: If a picture cannot be read, if features are of another shape or
            not finite, or if an argument is out of range.
    """
    out = Path(out).expanduser()
    if out.suffix != '.npz':
        raise ValueError(f"'out' needs to end in '.npz' (got '{out}')")
    check_positive('batch_size', batch_size)
    for name, value, length in [('size', size, 2), ('mean', mean, 3), ('std', std, 3)]:
        if value is not None and len(value) != length:
            raise ValueError(f"'{name}' needs {length} numbers (got {value})")
    for side in size:
        check_positive('size', side)
    require('PIL.Image', "'extract_features'", 'images')
    paths, arrays = _paths_and_arrays(images)

    backbone = open_backbone(model, half, device)
    backbone = replace(backbone, mean=mean or backbone.mean, std=std or backbone.std)
    where = backbone.device.type
    options = [size, batch_size, backbone.mean, backbone.std, half, where]
    key = _fingerprint([backbone.key, *map(str, options)], paths)
    if resume and _is_finished(out, key):
        return out

    parts = Parts(out.with_name(f'{out.name}.parts'), key, resume)
    per_part = BATCHES_PER_PART * batch_size
    start = min(parts.num_done * per_part, len(paths))
    loader = DataLoader(
        _Pictures(paths, size),
        batch_size,
        sampler=range(start, len(paths)),
        num_workers=num_workers,
        pin_memory=where == 'cuda',
    )
    bar = tqdm(
        total=len(paths),
        initial=start,
        desc='extract',
        unit='image',
        disable=not progress,
    )
    rows: list[np.ndarray] = []
    with evaluating(backbone.module), bar:
        for batch in loader:
            rows.append(_run(backbone, batch, paths[start : start + len(batch)]))
            start += len(batch)
            bar.update(len(batch))
            if start % per_part == 0 or start == len(paths):
                parts.save((start - 1) // per_part, np.concatenate(rows))
                rows = []

    arrays |= {'feature': parts.join(), 'fingerprint': key}
    write_atomically(out, partial(np.savez, **arrays))
    parts.remove()
    return out


class _Pictures(Dataset):
    def __init__(self, paths: list[Path], size: tuple[int, int]):
        self.paths = paths
        self.size = size

    def __getitem__(self, i: int) -> Tensor:
        return read_image(self.paths[i], self.size)

    def __len__(self) -> int:
        return len(self.paths)


def _paths_and_arrays(
    images: ImageDataset | ImageList | Sequence[str | PathLike[str]],
) -> tuple[list[Path], dict[str, Any]]:
    # Where the pictures are, and what the file holds beside their features.
    arrays: dict[str, Any]
    if isinstance(images, ImageDataset):
        images = images.image_list()
    if isinstance(images, ImageList):
        paths = images.paths
        names = [f'{path.parent.name}/{path.name}' for path in paths]
        arrays = {'name': names, 'id': images.y.numpy()}
        arrays['camera'] = images.camera.numpy()
    else:
        paths = [Path(path) for path in images]
        arrays = {'name': [path.as_posix() for path in paths]}
    if not paths:
        raise ValueError("'images' needs at least one picture (got none)")
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise FileNotFoundError(
            f"'images' needs files that exist (missing: {listed(missing, 5)})"
        )
    return paths, arrays


def _fingerprint(options: list[str], paths: list[Path]) -> str:
    digest = hashlib.sha256(json.dumps(options).encode())
    for path in paths:
        stat = path.stat()
        digest.update(f'{path}\0{stat.st_size}\0{stat.st_mtime_ns}\0'.encode())
    return digest.hexdigest()


def _is_finished(out: Path, key: str) -> bool:
    with suppress(FileNotFoundError, KeyError, ValueError):
        return str(ArrayFile(out)['fingerprint']) == key
    return False


def _run(backbone: Backbone, pictures: Tensor, paths: list[Path]) -> np.ndarray:
    device = backbone.device
    x = pictures.to(device, non_blocking=True).permute(0, 3, 1, 2).contiguous()
    mean, std = (
        torch.tensor(value, device=device).view(3, 1, 1)
        for value in (backbone.mean, backbone.std)
    )
    output = backbone.forward((x.to(torch.float32) / 255 - mean) / std)
    if not isinstance(output, Tensor):
        raise TypeError(
            f"'model' needs to return one tensor of features [{len(x)}, d] (got "
            f"'{type(output).__name__}')"
        )
    shape = list(output.shape)
    if shape[:1] != [len(x)] or len(shape) < 2 or any(n != 1 for n in shape[2:]):
        raise ValueError(
            f"'model' needs to return features [{len(x)}, d] for {len(x)} pictures "
            f'(got shape {shape})'
        )
    rows = output.flatten(1).to(torch.float32).cpu()
    finite = rows.isfinite().all(dim=1).tolist()
    if not all(finite):
        raise ValueError(
            f"'model' needs to return finite features (got others for "
            f"'{paths[finite.index(False)]}')"
        )
    return rows.numpy()
