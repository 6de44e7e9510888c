"""Pictures of any form as bytes, and as text in a page."""

import base64
import io
from typing import Any

import numpy as np

from torch_geometric_reid.optional import require

MAX_SIDE = 256  # of a picture in a page


def to_pixels(name: str, image: Any) -> np.ndarray:
    r"""Returns a picture as uint8, grey :math:`(H, W)` or :math:`(H, W, 3)`.

    Args:
        name (str): The argument's name, for error messages.
        image (torch.Tensor or numpy.ndarray): Booleans :math:`(H, W)`, dark where
            :obj:`True` (ink), or numbers from 0 (black) to 1 (white), or colours
            :math:`(H, W, 3)` as uint8.

    Raises:
        ValueError: If the picture has another form.
    """
    pixels = np.asarray(image)
    if pixels.size > 0:
        if pixels.ndim == 2 and pixels.dtype == bool:
            return np.where(pixels, 0, 255).astype(np.uint8)
        if pixels.ndim == 2 and pixels.dtype.kind == 'f':
            if not (pixels >= 0).all() or not (pixels <= 1).all():
                raise ValueError(f"'{name}' needs to lie in [0, 1]")
            return np.round(255 * pixels).astype(np.uint8)
        if pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.dtype == np.uint8:
            return pixels
    raise ValueError(
        f"'{name}' needs to be of shape [H, W] with booleans or floating-point "
        f'numbers, or [H, W, 3] with uint8 (got shape {list(pixels.shape)} with '
        f'{pixels.dtype})'
    )


def image_uri(pixels: np.ndarray) -> str:
    r"""Returns pixels as a data URI, reduced to what a page shows: grey without
    loss, colours as JPEG.
    """
    picture = require('PIL.Image', 'A picture', 'plot').fromarray(pixels)
    picture.thumbnail((MAX_SIDE, MAX_SIDE))
    kind = 'png' if pixels.ndim == 2 else 'jpeg'
    file = io.BytesIO()
    picture.save(file, kind, quality=85)
    return data_uri(f'image/{kind}', file.getvalue())


def data_uri(kind: str, content: bytes) -> str:
    r"""Returns bytes of a MIME type as a data URI."""
    return f'data:{kind};base64,{base64.b64encode(content).decode()}'
