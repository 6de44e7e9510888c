from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

import torch

Item = TypeVar('Item')
Out = TypeVar('Out')


def on_single_cores(
    function: Callable[[Item], Out], items: Iterable[Item]
) -> Iterator[Out]:
    r"""Yields what a function of PyTorch gives for each item, in their order.

    As many items as PyTorch may use threads are worked on at once, each by one
    thread. Where an item is small this is faster than all threads on one item: none
    waits for another, and what only one thread can do is done for several items.

    Args:
        function (callable): What is done with each item.
        items (iterable): The items, read as they are needed.

    Raises:
        RuntimeError: If threads can not be started. What the function raises comes
            out at its item.
    """
    num_threads = torch.get_num_threads()
    started = Barrier(num_threads + 1)

    def start() -> None:
        torch.set_num_threads(1)
        torch.get_num_threads()  # from now on this thread keeps its number
        started.wait()

    running: deque[Future[Out]] = deque()
    pool = ThreadPoolExecutor(num_threads, 'core', start)
    try:
        try:
            for _ in range(num_threads):
                pool.submit(int)
            started.wait()
        except BaseException:
            started.abort()  # none waits for a thread that could not be started
            raise
        torch.set_num_threads(num_threads)  # of threads that others start
        for item in items:
            running.append(pool.submit(function, item))
            if len(running) > num_threads:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
