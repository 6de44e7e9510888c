r"""A re-ranker on disk."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser
from torch import Tensor

from torch_geometric_reid.atomic import (
    digest,
    read_tensors,
    write_atomically,
    write_tensors,
)
from torch_geometric_reid.pipeline.config import Config
from torch_geometric_reid.pipeline.folder_lock import FolderLock

MANIFEST = 're_ranker.yaml'
FORMAT = 'torch_geometric_reid re-ranker'
VERSION = 2
MAX_MANIFEST = 2**20
TRIES, WAIT = 4, 0.05  # seconds
KINDS = ('models', 'gallery', 'names')


def write_folder(
    folder: Path,
    config: Config,
    models: Mapping[str, Tensor],
    gallery: Mapping[str, Tensor] | None,
    names: list[str] | None,
) -> None:
    r"""Writes a re-ranker: :obj:`re_ranker.yaml` with its options and the names of
    the other files, of which each holds its own hash; each tensor of the gallery has
    a file of its own. That one is written last, so that the folder is the old or the
    new re-ranker, whatever interrupts it.

    Args:
        folder (pathlib.Path): The folder, which is made if it does not exist.
        config (Config): The options.
        models (dict): The tensors of what was learned.
        gallery (dict, optional): Those of the prepared gallery.
        names (list, optional): Its names.

    Raises:
        RuntimeError: If another process is writing to the folder.
        OSError: If a file cannot be written; what was there is left as it was.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FolderLock(folder)
    try:
        files: dict[str, Any] = {'models': _write_tensors(folder, 'models', models)}
        if gallery is not None:
            files['gallery'] = {
                name: _write_tensors(folder, 'gallery', {name: value})
                for name, value in gallery.items()
            }
        if names is not None:
            content = json.dumps(names).encode()
            files['names'] = f'names-{sha256(content).hexdigest()}.json'
            write_atomically(folder / files['names'], lambda file: file.write(content))
        manifest: dict[str, Any] = {
            'format': FORMAT,
            'version': VERSION,
            'files': files,
            'config': json.loads(json.dumps(asdict(config))),  # tuples as lists
        }
        manifest['hash'] = manifest_hash(manifest)
        text = yaml.safe_dump(manifest, sort_keys=False).encode()
        write_atomically(folder / MANIFEST, lambda file: file.write(text))
        kept = _names_of(files)
        for kind in KINDS:
            for path in [*folder.glob(f'{kind}-*'), *folder.glob(f'.{kind}-*')]:
                if path.name not in kept:
                    with suppress(OSError):
                        path.unlink()
    finally:
        lock.release()


def read_folder(
    folder: Path,
) -> tuple[Config, dict[str, Tensor], dict[str, Tensor] | None, list[str] | None]:
    r"""Returns the options, tensors of models and gallery, and names that
    :meth:`write_folder` wrote. Tensors are mapped from their files.

    Raises:
        FileNotFoundError: If there is no re-ranker in the folder, or one of its files
            is missing.
        ValueError: If a file is damaged, of another format or of a later version.
    """
    for _ in range(TRIES - 1):
        try:
            return _read_folder(folder)
        except FileNotFoundError:  # or another process saves to it at this moment
            time.sleep(WAIT)
    return _read_folder(folder)


def _read_folder(
    folder: Path,
) -> tuple[Config, dict[str, Tensor], dict[str, Tensor] | None, list[str] | None]:
    path = folder / MANIFEST
    manifest = _read_manifest(path)
    config = _read_config(path, manifest)
    files = manifest['files']
    models = _read_tensors(folder / files['models'])
    gallery = names = None
    if 'gallery' in files:
        gallery = {}
        for name in files['gallery'].values():
            gallery.update(_read_tensors(folder / name))
    if 'names' in files:
        names = _read_names(folder / files['names'])
    return config, models, gallery, names


@contextmanager
def naming(folder: Path, kind: str) -> Iterator[None]:
    r"""Names the file in errors about what was read from it."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        paths = ', '.join(f"'{path}'" for path in folder.glob(f'{kind}-*'))
        raise ValueError(f'{paths} cannot be used: {error}') from error


def _write_tensors(folder: Path, kind: str, tensors: Mapping[str, Tensor]) -> str:
    name = f'{kind}-{digest(tensors)}.safetensors'
    try:
        read_tensors(folder / name)
    except (FileNotFoundError, ValueError):
        write_tensors(folder / name, tensors, {'kind': kind})
    return name


def _read_manifest(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(
            f"'{path.parent}' holds no re-ranker: there is no '{path.name}'"
        )
    with path.open('rb') as file:
        content = file.read(MAX_MANIFEST + 1)
    if len(content) > MAX_MANIFEST:
        raise ValueError(f"'{path}' is too long for options")
    try:
        manifest = yaml.safe_load(content)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"'{path}' is no YAML: {error}") from error
    if not isinstance(manifest, dict) or manifest.get('format') != FORMAT:
        raise ValueError(f"'{path}' is no re-ranker: it needs 'format: {FORMAT}'")
    if manifest.get('version') != VERSION:
        raise ValueError(
            f"'{path}' needs version {VERSION} of the format (got "
            f'{manifest.get("version")!r})'
        )
    files = manifest.get('files')
    if (
        not isinstance(files, dict)
        or not {'models'} <= set(files) <= set(KINDS)
        or not isinstance(files.get('gallery', {}), dict)
        or not all(_is_name(name) for name in _names_of(files))
    ):
        raise ValueError(f"'{path}' names no files of a re-ranker under 'files'")
    if manifest.get('hash') != manifest_hash(manifest):
        raise ValueError(f"'{path}' is damaged: it is not what was written")
    return manifest


def manifest_hash(manifest: Mapping[str, Any]) -> str:
    r"""Returns the hash of the options and the names of files."""
    parts = [manifest.get(name) for name in ('files', 'config')]
    return sha256(json.dumps(parts, default=str, sort_keys=True).encode()).hexdigest()


def _names_of(files: Mapping[str, Any]) -> list[Any]:
    parts = {'gallery': {}, **files}
    gallery = parts.pop('gallery')
    return [*parts.values(), *gallery.values()]


def _is_name(name: Any) -> bool:
    return (
        isinstance(name, str)
        and name.startswith(tuple(f'{kind}-' for kind in KINDS))
        and Path(name).name == name
        and '\0' not in name
    )


def _read_config(path: Path, manifest: dict[str, Any]) -> Config:
    if not isinstance(manifest.get('config'), dict):
        raise ValueError(f"'{path}' holds no options under 'config'")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Config, 'config')
    try:
        options = parser.parse_object({'config': manifest['config']})
        return parser.instantiate(options).config
    except Exception as error:
        raise ValueError(f"'{path}' holds no valid options: {error}") from error


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return read_tensors(path)[0]
    except ValueError as error:
        raise ValueError(f"'{path}' is damaged: {error}") from error


def _read_names(path: Path) -> list[str]:
    content = path.read_bytes()
    if path.name != f'names-{sha256(content).hexdigest()}.json':
        raise ValueError(f"'{path}' is damaged: it is not what was written")
    try:
        names = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"'{path}' holds no names: {error}") from error
    if not isinstance(names, list):
        raise ValueError(f"'{path}' needs a list of names")
    return names
