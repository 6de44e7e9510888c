"""Feeds damaged files to every reader, and stops at an error that is not documented.

    pip install atheris
    python benchmarks/fuzz.py .npz --seconds 60
    python benchmarks/fuzz.py all --seconds 60 --random

Formats: .npz .npy .pt .mat .h5 .safetensors .png .jpg .xml .txt. A reader may return
arrays, or raise a ValueError or TypeError that names the file. Everything else ends the
run, as do more than 2 GiB of memory or 20 seconds for one file. HDF5's library, which
hangs on some files, gets 2 seconds for each array. With `--random`, files are damaged
without atheris, and coverage does not guide it.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import h5py
import numpy as np
import scipy.io
import torch
from PIL import Image
from safetensors.numpy import save

from torch_geometric_reid.datasets import FeatureDataset, VeRi776, bounds
from torch_geometric_reid.datasets.array_file import ArrayFile
from torch_geometric_reid.datasets.images import read_image

MAX_BYTES = 2**24
MEMORY = 2**31
SECONDS = 20
PICTURE = '0001_c001_00016450_0.jpg'
LABELS = (
    '<?xml version="1.0" encoding="gb2312"?><TrainingImages><Items>'
    f'<Item imageName="{PICTURE}" vehicleID="0001" cameraID="c001" />'
    '</Items></TrainingImages>'
)


def seeds() -> dict[str, list[bytes]]:
    """Returns a few small valid files of each format."""
    generator = np.random.default_rng(0)
    arrays = {
        'feature': generator.normal(size=(5, 4)).astype('float32'),
        'id': np.array([7, 7, -1, 0, 12]),
    }
    names = ['a.jpg', 'b/ü.jpg', 'c.jpg', 'd.jpg', 'e.jpg']
    tensors = {key: torch.from_numpy(value) for key, value in arrays.items()}
    sparse = {'x': tensors['feature'].abs().to_sparse()}
    cells = {**arrays, 'name': np.array(names, dtype=object), 'text': names}

    def hdf5(file: BytesIO, **options: object) -> None:
        with h5py.File(file, 'w') as group:
            for key, value in arrays.items():
                group.create_dataset(key, data=value, **options)
            group['name'] = names

    return {
        '.npz': [
            _bytes(lambda file: np.savez(file, name=names, **arrays)),
            _bytes(lambda file: np.savez_compressed(file, **arrays)),
        ],
        '.npy': [_bytes(lambda file: np.save(file, arrays['feature']))],
        '.pt': [
            _bytes(lambda file: torch.save({'query': tensors, 'name': names}, file)),
            _bytes(lambda file: torch.save(sparse, file)),
            _bytes(
                lambda file: torch.save(
                    tensors, file, _use_new_zipfile_serialization=False
                )
            ),
        ],
        '.mat': [
            _bytes(lambda file: scipy.io.savemat(file, cells)),
            _bytes(lambda file: scipy.io.savemat(file, cells, do_compression=True)),
        ],
        '.h5': [
            _bytes(hdf5),
            _bytes(lambda file: hdf5(file, chunks=True, compression='gzip')),
        ],
        '.safetensors': [save(arrays)],
        '.png': [_bytes(lambda file: Image.new('RGB', (9, 7)).save(file, 'PNG'))],
        '.jpg': [_bytes(lambda file: Image.new('RGB', (9, 7)).save(file, 'JPEG'))],
        '.xml': [LABELS.encode('gb2312')],
        '.txt': [PICTURE.encode()],
    }


def prepare(folder: Path) -> None:
    """Makes the folder of a data set, for the files that stand beside pictures."""
    (folder / 'image_train').mkdir()
    Image.new('RGB', (4, 6)).save(folder / 'image_train' / PICTURE)


def read(folder: Path, suffix: str, data: bytes) -> str:
    """Reads a file in every way that there is.

    Returns:
        What became of it: `'read'` or the type of a documented error.

    Raises:
        AssertionError: If a documented error does not name the file.
        Exception: Any error that is not documented.
    """
    names = {'.xml': 'train_label.xml', '.txt': 'name_train.txt'}
    path = folder / names.get(suffix, f'a{suffix}')
    path.write_bytes(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            _read(folder, path)
    except (TypeError, ValueError) as error:
        _check_names(path, error)
        return type(error).__name__
    finally:
        path.unlink()
    return 'read'


def _read(folder: Path, path: Path) -> None:
    if path.suffix in ('.xml', '.txt'):
        VeRi776.images(folder, 'train')
    elif path.suffix in ('.png', '.jpg'):
        read_image(path)
    else:
        file = ArrayFile(path, MAX_BYTES)
        for key in file:
            _read_array(file, key)
        FeatureDataset(path, max_bytes=MAX_BYTES)


def _read_array(file: ArrayFile, key: str) -> None:
    try:
        file[key]
    except ValueError as error:
        _check_names(file.path, error)


def _check_names(path: Path, error: Exception) -> None:
    if path.name not in str(error):
        raise AssertionError(f'the error does not name the file: {error!r}')


def damage(generator: np.random.Generator, data: bytes) -> bytes:
    """Changes a file at random: bits, bytes, numbers, pieces, its end."""
    content = bytearray(data)
    for _ in range(generator.integers(1, 5)):
        place = int(generator.integers(len(content) + 1))
        size = int(generator.integers(1, 9))
        match generator.integers(6):
            case 0 if place < len(content):
                content[place] ^= 1 << int(generator.integers(8))
            case 1:
                content[place : place + size] = generator.bytes(size)
            case 2:
                extreme = [0, 1, 2**31 - 1, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1]
                number = extreme[generator.integers(len(extreme))]
                content[place : place + 8] = number.to_bytes(8, 'little')
            case 3:
                source = int(generator.integers(len(content) + 1))
                content[place:place] = content[source : source + 16 * size]
            case 4:
                del content[place : place + size]
            case _:
                if generator.integers(4) == 0:
                    del content[place:]
    return bytes(content)


def _bytes(write: Callable[[BytesIO], object]) -> bytes:
    file = BytesIO()
    write(file)
    return file.getvalue()


def _limit_memory() -> None:
    used = int(Path('/proc/self/statm').read_text().split()[0])
    limit = used * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _run_random(folder: Path, suffix: str, seconds: int, seed: int) -> None:
    _limit_memory()
    generator, files = np.random.default_rng(seed), seeds()[suffix]
    counts: dict[str, int] = {}
    longest, stop = 0.0, time.monotonic() + seconds
    while time.monotonic() < stop:
        data = damage(generator, files[generator.integers(len(files))])
        (folder / 'last').write_bytes(data)
        start = time.monotonic()
        outcome = read(folder, suffix, data)
        longest = max(longest, time.monotonic() - start)
        assert longest < SECONDS, f'{longest:.1f} s for one file'
        counts[outcome] = counts.get(outcome, 0) + 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f'{suffix}: {sum(counts.values()):,} files, {counts}, longest {longest:.2f} s, '
        f'peak {peak:.2f} GiB',
        flush=True,
    )


def _run_atheris(folder: Path, suffix: str, seconds: int, seed: int) -> None:
    import atheris

    corpus = folder / 'corpus'
    corpus.mkdir()
    for i, data in enumerate(seeds()[suffix]):
        (corpus / str(i)).write_bytes(data)
    options = [
        f'-max_total_time={seconds}',
        f'-timeout={SECONDS}',
        f'-rss_limit_mb={MEMORY >> 20}',
        f'-seed={seed + 1}',
        f'-artifact_prefix={folder}/',
        '-print_final_stats=1',
        '-max_len=8192',
    ]
    for module in ('array_file', 'bounds', 'convert', 'features', 'images', 'veri776'):
        _instrument(atheris, module)
    for module in ('numpy', 'torch', 'hdf5', 'matlab', 'safetensors'):
        _instrument(atheris, f'read_{module}')
    atheris.Setup(
        [sys.argv[0], *options, str(corpus)],
        lambda data: read(folder, suffix, data),
    )
    atheris.Fuzz()


def _instrument(atheris: object, name: str) -> None:
    module = sys.modules[f'torch_geometric_reid.datasets.{name}']
    for key, value in vars(module).items():
        own = getattr(value, '__module__', None) == module.__name__
        if own and hasattr(value, '__code__'):
            setattr(module, key, atheris.instrument_func(value))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('format', choices=['all', *seeds()])
    parser.add_argument('--seconds', type=int, default=60)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--random', action='store_true', help='without atheris')
    args = parser.parse_args()
    if args.format == 'all':
        failed = []
        for suffix in seeds():
            own = [suffix if arg == 'all' else arg for arg in sys.argv]
            if subprocess.run([sys.executable, *own], check=False).returncode:
                failed.append(suffix)
        sys.exit(f'failed: {failed}' if failed else 0)
    folder = Path(tempfile.mkdtemp(prefix='fuzz'))
    prepare(folder)
    bounds.SECONDS = 2
    print(f'# {args.format}: a file that fails is kept in {folder}', flush=True)
    run = _run_random if args.random else _run_atheris
    run(folder, args.format, args.seconds, args.seed)


if __name__ == '__main__':
    main()
