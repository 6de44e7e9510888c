"""Whatever turns pictures into features, behind one call."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from glob import escape
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torch_geometric_reid.optional import require

TIMM = 'timm:'
RGB = tuple[float, float, float]
IMAGENET_MEAN: RGB = (0.485, 0.456, 0.406)
IMAGENET_STD: RGB = (0.229, 0.224, 0.225)


@dataclass
class Backbone:
    r"""A model that is ready to run.

    Args:
        forward (callable): From pictures float32 :math:`(B, 3, H, W)` to what the
            model returns.
        device (torch.device): The device of its input.
        key (str): A fingerprint of its weights.
        module (torch.nn.Module, optional): The model, if PyTorch's.
        mean (tuple[float, float, float], optional): The mean of each colour that the
            model was trained with. (default: ImageNet's)
        std (tuple[float, float, float], optional): The standard deviation likewise.
            (default: ImageNet's)
    """

    forward: Callable[[Tensor], Any]
    device: torch.device
    key: str
    module: torch.nn.Module | None = None
    mean: RGB = IMAGENET_MEAN
    std: RGB = IMAGENET_STD


def open_backbone(
    model: torch.nn.Module | str | PathLike[str],
    half: bool = False,
    device: torch.device | str | None = None,
) -> Backbone:
    r"""Makes a backbone of a module, the name of a timm model or an ONNX file.

    Args:
        model (torch.nn.Module, str or os.PathLike): The module,
            :obj:`"timm:{name}"`, or a path that ends in :obj:`.onnx`.
        half (bool, optional): Whether PyTorch runs it in half precision.
            (default: :obj:`False`)
        device (torch.device or str, optional): Where to run it.
            (default: :obj:`None`)

    Raises:
        FileNotFoundError: If there is no such file.
        ImportError: If :obj:`timm` or :obj:`onnxruntime` is needed and not installed.
        TypeError: If it is none of these.
        ValueError: If a text names none of these, or :obj:`half` is asked of a file.
    """
    if isinstance(model, torch.nn.Module):
        return _from_module(model, half, device)
    if not isinstance(model, str | PathLike):
        raise TypeError(
            f"'model' needs to be a module, the name of a timm model or an ONNX file "
            f"(got '{type(model).__name__}')"
        )
    if str(model).startswith(TIMM):
        timm = require('timm', f"'{model}'", 'timm')
        name = str(model).removeprefix(TIMM)
        module = timm.create_model(name, pretrained=True, num_classes=0)
        if device is None and torch.cuda.is_available():
            device = 'cuda'
        return _from_module(module, half, device)
    if Path(model).suffix.lower() == '.onnx':
        return _from_onnx(Path(model).expanduser(), half, device)
    raise ValueError(
        f"'model' needs to be 'timm:' and a name, or a file that ends in '.onnx' "
        f"(got '{model}')"
    )


@contextmanager
def evaluating(module: torch.nn.Module | None) -> Iterator[None]:
    r"""Puts a module into evaluation mode, without gradients, and each of its parts
    back into its own mode afterwards.
    """
    training = [part for part in module.modules() if part.training] if module else []
    try:
        if module is not None:
            module.eval()
        with torch.no_grad():
            yield
    finally:
        for part in training:
            part.training = True


def _from_module(
    module: torch.nn.Module, half: bool, device: torch.device | str | None
) -> Backbone:
    if device is None:
        device = next((p.device for p in module.parameters()), 'cpu')
    device = torch.device(device)
    module.to(device)
    dtype = torch.bfloat16 if device.type == 'cpu' else torch.float16

    def forward(x: Tensor) -> Any:
        with torch.autocast(device.type, dtype, enabled=half):
            return module(x)

    digest = hashlib.sha256(repr(module).encode())
    for name, value in module.state_dict().items():
        digest.update(name.encode())
        if isinstance(value, Tensor):
            flat = value.detach().cpu().contiguous().reshape(-1)
            digest.update(flat.view(torch.uint8).numpy().data)
        else:
            digest.update(repr(value).encode())

    asked = getattr(module, 'pretrained_cfg', None) or {}  # as timm's models have it
    return Backbone(
        forward,
        device,
        digest.hexdigest(),
        module,
        mean=asked.get('mean', IMAGENET_MEAN),
        std=asked.get('std', IMAGENET_STD),
    )


def _from_onnx(path: Path, half: bool, device: torch.device | str | None) -> Backbone:
    if half:
        raise ValueError(
            f"'half' needs a model of PyTorch; export '{path}' as float16 instead"
        )
    if not path.is_file():
        raise FileNotFoundError(f"'model' needs to be a file (got '{path}')")
    onnxruntime = require('onnxruntime', f"'{path}'", 'onnx')
    providers = onnxruntime.get_available_providers()
    if device is not None and torch.device(device).type == 'cpu':
        providers = ['CPUExecutionProvider']
    try:
        session = onnxruntime.InferenceSession(str(path), providers=providers)
    except Exception as error:  # classes of errors that onnxruntime does not export
        raise ValueError(f"'{path}' cannot be read as ONNX: {error}") from error

    source = session.get_inputs()[0]
    dtype = np.float16 if source.type == 'tensor(float16)' else np.float32
    fixed = source.shape[0] if isinstance(source.shape[0], int) else None

    def forward(x: Tensor) -> Tensor:
        array = x.numpy().astype(dtype)
        step = fixed or len(array)
        rows = []
        for start in range(0, len(array), step):
            part = array[start : start + step]
            padding = [(0, step - len(part))] + [(0, 0)] * 3
            full = np.pad(part, padding)
            rows.append(session.run(None, {source.name: full})[0][: len(part)])
        return torch.from_numpy(np.concatenate(rows))

    digest = hashlib.sha256()
    files = path.parent.glob(f'{escape(path.name)}*')  # large weights lie beside it
    for file in sorted(files):
        digest.update(file.read_bytes())
    return Backbone(forward, torch.device('cpu'), digest.hexdigest())
