import multiprocessing
import os
import re
import subprocess
import sys
import time

import pytest

from torch_geometric_reid.pipeline.folder_lock import FolderLock

HOLD = (
    'import sys, time; from pathlib import Path; '
    'from torch_geometric_reid.pipeline.folder_lock import FolderLock; '
    'lock = FolderLock(Path(sys.argv[1])); print("held", flush=True); time.sleep(60)'
)


def test_a_folder_is_for_one_at_a_time(tmp_path):
    folder = tmp_path / 'new' / 'state'
    lock = FolderLock(folder)
    for _ in range(2):
        message = f"'{folder}' is in use by another program (process {os.getpid()})"
        with pytest.raises(RuntimeError, match=re.escape(message)):
            FolderLock(folder)
    other = FolderLock(tmp_path / 'other')
    lock.release()
    FolderLock(folder).check()
    other.check()


def test_kill_releases_it(tmp_path):
    command = [sys.executable, '-c', HOLD, tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == 'held\n'
        with pytest.raises(RuntimeError, match=rf'in use .*process {holder.pid}'):
            FolderLock(tmp_path)
        holder.kill()
    FolderLock(tmp_path).check()


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='no fork')
@pytest.mark.filterwarnings('ignore::DeprecationWarning')
def test_a_worker_does_not_hold_it(tmp_path):
    lock = FolderLock(tmp_path)
    worker = multiprocessing.get_context('fork').Process(target=time.sleep, args=(60,))
    worker.start()
    lock.check()
    with pytest.raises(RuntimeError, match='in use'):
        FolderLock(tmp_path)
    lock.release()
    deadline = time.monotonic() + 30
    while True:  # until the worker has begun
        try:
            FolderLock(tmp_path).release()
            break
        except RuntimeError:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert worker.is_alive()
    worker.kill()
    worker.join()


def test_a_folder_that_was_removed_or_made_anew(tmp_path):
    folder = tmp_path / 'state'
    lock = FolderLock(folder)
    folder.rename(tmp_path / 'moved')
    with pytest.raises(FileNotFoundError, match=re.escape(str(folder))):
        lock.check()
    FolderLock(folder).check()
    with pytest.raises(FileNotFoundError, match='removed or replaced'):
        lock.check()
