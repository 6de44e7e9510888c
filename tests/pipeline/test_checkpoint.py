import errno
import json
import os
import re
import shutil

import pytest
import torch
from safetensors.torch import save_file

from torch_geometric_reid.pipeline import Checkpoint
from torch_geometric_reid.pipeline.checkpoint import Saved

KEY = {'options': {'lr': 0.1, 'sizes': (1, 2)}, 'seed': 0}


def state(step):
    return Saved({'w': torch.full((3,), float(step))}, {'step': step, 'lr': 0.1 * step})


@pytest.fixture
def folder(tmp_path):
    with Checkpoint(tmp_path / 'state') as checkpoint:
        for step in (1, 2):
            checkpoint.save('fa', KEY, state(step))
    return tmp_path / 'state'


def load(folder, stage='fa', key=KEY, shared=None):
    with Checkpoint(folder, shared) as checkpoint:
        saved = checkpoint.load(stage, key)
    if saved is not None:
        assert saved.tensors['w'].equal(state(saved.progress['step']).tensors['w'])
        assert saved.progress == state(saved.progress['step']).progress
        return saved.progress['step']
    return None


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_last_state_and_the_one_before_are_kept(folder):
    files = ['fa.previous.state.safetensors', 'fa.state.safetensors', 'lock']
    assert names(folder) == files
    assert load(folder) == 2
    assert load(folder, 'ec') is None
    (folder / 'fa.state.safetensors').unlink()  # or killed between two moves
    assert load(folder) == 1


def flip(content, i):
    return content[:i] + bytes([content[i] ^ 1]) + content[i + 1 :]


@pytest.mark.parametrize(
    'damage',
    [
        lambda x: flip(x, len(x) - 1),
        lambda x: flip(x, x.index(b'"step') + 9),
        lambda x: flip(x, x.index(b'seed')),
        lambda x: x[:-3],
        lambda x: x[:100],
        lambda x: b'',
        lambda x: b'no tensors' * 9,
    ],
)
def test_damaged_state_is_set_aside(folder, damage):
    path = folder / 'fa.state.safetensors'
    bad = damage(path.read_bytes())
    path.write_bytes(bad)
    with pytest.warns(UserWarning, match=re.escape(f"'{path}' is damaged")):
        assert load(folder) == 1
    assert (folder / 'fa.state.damaged').read_bytes() == bad
    assert load(folder) == 1
    with Checkpoint(folder) as checkpoint:
        checkpoint.save('fa', KEY, state(3))
    assert load(folder) == 3
    for name in ('fa.state.safetensors', 'fa.previous.state.safetensors'):
        (folder / name).write_bytes(b'')
    with pytest.warns(UserWarning, match='or from its start'):
        assert load(folder) is None


def test_a_file_of_something_else_is_set_aside(folder):
    path = folder / 'ec.state.safetensors'
    save_file({'weight': torch.ones(2)}, path)
    with pytest.warns(UserWarning, match='is damaged'):
        assert load(folder, 'ec') is None
    assert (folder / 'ec.state.damaged').exists()


@pytest.mark.parametrize(
    ('key', 'shared', 'other'),
    [
        ({**KEY, 'seed': 1}, None, 'seed'),
        ({'options': {'lr': 0.2, 'sizes': [1, 3]}}, None, 'options.lr, options.sizes, '
         'seed'),
        (KEY, {'set': 'another'}, 'set'),
    ],
)  # fmt: skip
def test_state_of_other_data_or_options_is_an_error(folder, key, shared, other):
    before = {name: (folder / name).read_bytes() for name in names(folder)}
    path = folder / 'fa.state.safetensors'
    message = f"'{path}' belongs to other data or options (other: {other});"
    with pytest.raises(ValueError, match=re.escape(message)):
        load(folder, key=key, shared=shared)
    assert {name: (folder / name).read_bytes() for name in names(folder)} == before


def test_full_disk_leaves_the_states_as_they_were(folder, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = folder / 'fa.state.safetensors'
    before = names(folder)
    with Checkpoint(folder) as checkpoint, monkeypatch.context() as patch:
        patch.setattr(os, 'fsync', full)
        with pytest.raises(OSError, match=re.escape(f"space left on device: '{path}'")):
            checkpoint.save('fa', KEY, state(3))
    assert names(folder) == before
    assert load(folder) == 2


def test_folder_that_vanishes(folder):
    checkpoint = Checkpoint(folder)
    shutil.rmtree(folder)
    with pytest.raises(FileNotFoundError, match=re.escape(f"'{folder}' was removed")):
        checkpoint.save('fa', KEY, state(3))
    assert not folder.exists()


def test_half_written_files_of_killed_processes_are_removed(folder):
    (folder / '.fa.state.safetensors.123').write_bytes(b'half')
    (folder / 'mine.123').write_text('kept')
    assert load(folder) == 2
    assert 'mine.123' in names(folder)
    assert len(names(folder)) == 4


def test_second_process(folder):
    with Checkpoint(folder), pytest.raises(RuntimeError, match='is in use'):
        Checkpoint(folder)
    Checkpoint(folder).close()


def test_is_due(tmp_path):
    checkpoint = Checkpoint(tmp_path, every=0)
    assert checkpoint.is_due()
    checkpoint.close()
    with Checkpoint(tmp_path) as checkpoint:
        assert not checkpoint.is_due()
    with pytest.raises(ValueError, match="'every' needs to be at least 0"):
        Checkpoint(tmp_path, every=-1)


def test_metadata_is_json(folder):
    from safetensors import safe_open

    with safe_open(folder / 'fa.state.safetensors', 'pt') as file:
        metadata = file.metadata()
    assert json.loads(metadata['progress']) == state(2).progress
    assert json.loads(metadata['key'])['options']['sizes'] == [1, 2]


def test_a_closed_checkpoint_says_so(folder):
    with Checkpoint(folder) as checkpoint:
        pass
    with pytest.raises(RuntimeError, match=f"'{folder}' is not kept any more"):
        checkpoint.load('fa', KEY)
    with pytest.raises(RuntimeError, match=f"'{folder}' is not kept any more"):
        checkpoint.save('fa', KEY, state(3))
    assert load(folder) == 2
