r"""Files that are there as a whole or not at all."""

import hashlib
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

ALIGNMENT = 64  # bytes


def write_atomically(
    path: Path, write: Callable[[BinaryIO], object], previous: Path | None = None
) -> None:
    r"""Writes a file as a whole or not at all, whatever interrupts it.

    Args:
        path (pathlib.Path): The file, replaced if it exists. Its folder is made.
        write (callable): A function that writes to an open binary file.
        previous (pathlib.Path, optional): Where the file that is replaced is kept.
            (default: :obj:`None`)

    Raises:
        OSError: If the disk is full, or the file cannot be written for another
            reason; what was there before is left as it was.
    """
    unfinished = path.with_name(f'.{path.name}.{os.getpid()}')
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with unfinished.open('wb') as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if previous is not None:
            with suppress(FileNotFoundError):
                path.replace(previous)
        unfinished.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with suppress(OSError):
            unfinished.unlink()


def _sync_folder(folder: Path) -> None:
    with suppress(PermissionError):  # Windows opens no folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def digest(tensors: Mapping[str, Tensor]) -> str:
    r"""Returns a hash of tensors' names, types, shapes and values."""
    sha = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        sha.update(f'{name} {value.dtype} {list(value.shape)}'.encode())
        sha.update(value.view(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()


def write_tensors(
    path: Path,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str],
    previous: Path | None = None,
) -> dict[str, Tensor]:
    r"""Writes tensors and their hash to a safetensors file, as a whole or not at
    all.

    Args:
        path (pathlib.Path): The file, see :meth:`write_atomically`.
        tensors (dict): The tensors.
        metadata (dict): What is kept beside them.
        previous (pathlib.Path, optional): See :meth:`write_atomically`.
            (default: :obj:`None`)

    Returns:
        The tensors, on the CPU.
    """
    values = {
        name: value.detach().cpu().contiguous() for name, value in tensors.items()
    }
    content = _align(save(values, {**metadata, 'digest': digest(values)}))
    write_atomically(path, lambda file: file.write(content), previous)
    return values


def _align(content: bytes) -> bytes:
    # Spaces behind the header, so that the first tensor, where it is mapped from the
    # file, is aligned as in memory: some products depend on it in their last bits.
    size = int.from_bytes(content[:8], 'little')
    space = -(8 + size) % ALIGNMENT
    header = (size + space).to_bytes(8, 'little') + content[8 : 8 + size]
    return header + b' ' * space + content[8 + size :]


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    r"""Returns the tensors and the metadata that :meth:`write_tensors` wrote.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged.
    """
    try:
        with safe_open(path, 'pt') as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    if metadata.get('digest') != digest(tensors):
        raise ValueError('its values are not those that were written')
    return tensors, metadata
