"""Streams of pictures: work done ahead in threads, and items of one shape brought together.

Nothing is held longer than needed, so that any number of pictures takes the same memory.
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

THREADS = 4
"""Threads that read, resize and draw pictures while the network computes."""
WAITING_BATCHES = 4
"""Most pictures that wait for others of their shape, in batches."""


def ahead(
    pool: ThreadPoolExecutor, work: Callable[[Item], Result], items: Iterable[Item], count: int
) -> Iterator[Result]:
    """Results of `work` in the order of the items, with at most `count` of them under way or waiting.

    An error of an item is raised at its turn.
    """
    under_way: deque[Future[Result]] = deque()
    for item in items:
        under_way.append(pool.submit(work, item))
        if len(under_way) > count:
            yield under_way.popleft().result()
    while under_way:
        yield under_way.popleft().result()


def batches_of_one_shape(
    items: Iterable[Item], shape: Callable[[Item], Hashable], batch_size: int
) -> Iterator[list[Item]]:
    """Batches of items with equal shape, full where possible; the order is kept within a shape only."""
    waiting: dict[Hashable, list[Item]] = {}
    for item in items:
        batch = waiting.setdefault(shape(item), [])
        batch.append(item)
        if len(batch) == batch_size:
            yield waiting.pop(shape(item))
        elif sum(map(len, waiting.values())) >= WAITING_BATCHES * batch_size:
            yield waiting.pop(max(waiting, key=lambda key: len(waiting[key])))
    yield from waiting.values()
