import errno
import os
import re
import resource
from pathlib import Path

import pytest
import torch

from torch_geometric_reid.atomic import (
    digest,
    read_tensors,
    write_atomically,
    write_tensors,
)

VALUE = {'x': torch.arange(6.0).view(2, 3), 'n': torch.tensor(3), 'e': torch.empty(0)}
FULL = Path('/dev/full')


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def write_text(path, text, previous=None):
    write_atomically(path, lambda file: file.write(text.encode()), previous)


def test_replaces_a_file_and_keeps_the_previous_one(tmp_path):
    path, previous = tmp_path / 'new' / 'a', tmp_path / 'new' / 'b'
    for text in ('first', 'second', 'third'):
        write_text(path, text, previous)
        assert path.read_text() == text
    assert previous.read_text() == 'second'
    write_text(path, 'fourth')
    assert previous.read_text() == 'second'
    assert names(path.parent) == ['a', 'b']


@pytest.mark.parametrize('error', [KeyboardInterrupt, RuntimeError('in the middle')])
def test_nothing_is_left_of_what_fails(tmp_path, error):
    path = tmp_path / 'a'
    write_text(path, 'old')

    def write(file):
        file.write(b'new')
        raise error

    with pytest.raises(type(error) if isinstance(error, Exception) else error):
        write_atomically(path, write, tmp_path / 'b')
    assert path.read_text() == 'old'
    assert names(tmp_path) == ['a']


def test_errors_of_the_system_name_the_path(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / 'a'
    write_text(path, 'old')
    with monkeypatch.context() as patch:
        patch.setattr(os, 'fsync', full)
        with pytest.raises(OSError, match=re.escape(f"space left on device: '{path}'")):
            write_text(path, 'new', tmp_path / 'b')
    assert names(tmp_path) == ['a']
    with pytest.raises(FileExistsError, match=re.escape(str(path))):
        write_text(path / 'c', 'new')
    (tmp_path / 'folder' / 'd').mkdir(parents=True)
    with pytest.raises(IsADirectoryError, match=re.escape(str(tmp_path / 'folder'))):
        write_text(tmp_path / 'folder', 'new')
    assert path.read_text() == 'old'


@pytest.mark.skipif(not FULL.exists(), reason='no device that is always full')
def test_full_device(tmp_path):
    path = tmp_path / 'a'
    write_text(path, 'old')
    (tmp_path / f'.a.{os.getpid()}').symlink_to(FULL)  # where the new one is written
    with pytest.raises(OSError, match=re.escape(str(path))) as raised:
        write_text(path, 'new')
    assert raised.value.errno == errno.ENOSPC
    assert path.read_text() == 'old'
    assert names(tmp_path) == ['a']


def test_no_room_for_a_larger_file(tmp_path):
    path = tmp_path / 'a.safetensors'
    write_tensors(path, VALUE, {})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(OSError, match=re.escape(f"File too large: '{path}'")):
            write_tensors(path, {'x': torch.ones(99_999)}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert names(tmp_path) == ['a.safetensors']
    assert read_tensors(path)[0]['x'].equal(VALUE['x'])


def test_tensors_and_metadata_come_back(tmp_path):
    path = tmp_path / 'a.safetensors'
    given = {**VALUE, 't': torch.arange(6.0).view(2, 3).t()}
    kept = write_tensors(path, given, {'key': 'a key'})
    tensors, metadata = read_tensors(path)
    assert metadata['key'] == 'a key'
    for out in (kept, tensors):
        assert out.keys() == given.keys()
        for name, value in given.items():
            assert torch.equal(out[name], value)
            assert out[name].dtype == value.dtype


def test_any_flipped_bit_and_any_cut_is_noticed(tmp_path):
    path = tmp_path / 'a.safetensors'
    write_tensors(path, VALUE, {})
    content = path.read_bytes()
    for i in range(len(content)):
        path.write_bytes(content[:i])
        with pytest.raises(ValueError, match='.'):
            read_tensors(path)
        path.write_bytes(content[:i] + bytes([content[i] ^ 4]) + content[i + 1 :])
        try:
            tensors = read_tensors(path)[0]
        except ValueError:
            continue
        assert digest(tensors) == digest(VALUE)  # a space of the header
    with pytest.raises(FileNotFoundError):
        read_tensors(tmp_path / 'none')


def test_digest_tells_names_types_shapes_and_values_apart():
    x = torch.zeros(2, 2)
    others = [
        {'y': x},
        {'x': x.view(4)},
        {'x': x.to(torch.int32)},
        {'x': x + 1},
        {'x': x, 'y': x},
    ]
    assert len({digest(t) for t in [{'x': x}, *others]}) == 6
    assert digest({'x': x}) == digest({'x': x.clone()})
