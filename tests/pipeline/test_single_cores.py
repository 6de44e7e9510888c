import threading

import pytest
import torch

from torch_geometric_reid.pipeline.single_cores import on_single_cores


@pytest.fixture(autouse=True)
def three_threads():
    num_threads = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(num_threads)


def test_order_is_kept_and_each_item_has_one_thread():
    meet = threading.Barrier(3, timeout=30)  # breaks unless three work at once

    def work(item):
        meet.wait()
        return item, torch.get_num_threads()

    out = list(on_single_cores(work, iter(range(9))))
    assert out == [(item, 1) for item in range(9)]
    assert torch.get_num_threads() == 3


def test_other_threads_are_left_alone():
    seen = []
    for _ in on_single_cores(lambda item: item, range(3)):
        thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        thread.start()
        thread.join()
    assert seen == [3, 3, 3]


def test_items_are_read_as_they_are_needed():
    read = []
    items = (read.append(i) or i for i in range(50))
    out = on_single_cores(lambda item: item, items)
    assert next(out) == 0
    assert len(read) < 10
    out.close()
    assert torch.get_num_threads() == 3


def test_a_thread_that_is_slow_to_start_ends_too():
    # Ended at once many times, of which some are when a thread has just started.
    def end_at_once():
        for _ in range(2000):
            out = on_single_cores(lambda item: item, range(9))
            assert next(out) == 0
            out.close()

    thread = threading.Thread(target=end_at_once, daemon=True)
    thread.start()
    thread.join(timeout=30)
    assert not thread.is_alive()


def test_errors_come_out():
    def work(item):
        if item == 4:
            raise ValueError('item 4')
        return item

    with pytest.raises(ValueError, match='item 4'):
        list(on_single_cores(work, range(9)))
    assert torch.get_num_threads() == 3


def test_no_thread_waits_for_one_that_could_not_be_started(monkeypatch):
    start = threading.Thread.start

    def start_two(thread):
        if thread.name.endswith('_2'):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, 'start', start_two)
    with pytest.raises(RuntimeError, match='start new thread'):
        list(on_single_cores(lambda item: item, range(3)))
    assert not [x for x in threading.enumerate() if x.name.startswith('core')]
