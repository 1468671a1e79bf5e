"""Many objects read in order, several at once where each read waits for a network.

A function over the store and no operation of it: order, bounds and the place of an error are one piece of logic, which
every store and every stand-in for one would otherwise repeat. A store only says how many reads pay at a time.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice, repeat
from typing import TypeVar

from resources.store import Store

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def read_ahead(store: Store, read: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
    """``read(item)`` for each item, in order; ``read`` reads ``store`` and changes nothing that others see.

    Where the store takes several reads at once (``Store.reads_at_once``) later items are read in threads while earlier
    results are used: none before the first result, and one more with each, up to ``reads_at_once``, which is also how
    many results are ever held. Who stops early has caused less than twice the reads whose results were taken. ``items``
    is iterated in the caller's thread. What ``read`` or ``items`` raises is raised in its place, after every result
    before it, and ends the reading. No thread is left at the end, however it comes: reads under way are waited for.
    """
    if store.reads_at_once == 1:
        for item in items:
            yield read(item)
        return
    pool = ThreadPoolExecutor(store.reads_at_once, "read-ahead")
    try:
        begun = _begun(pool, read, items)
        under_way: deque[Future[_Result]] = deque()
        for ahead in chain(range(1, store.reads_at_once), repeat(store.reads_at_once)):
            under_way.extend(islice(begun, ahead - len(under_way)))
            if not under_way:
                return
            yield under_way.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _begun(
    pool: ThreadPoolExecutor, read: Callable[[_Item], _Result], items: Iterable[_Item]
) -> Iterator[Future[_Result]]:
    """A read for each item, begun when it is asked for; a failed one in the place where ``items`` raises."""
    try:
        for item in items:
            yield pool.submit(read, item)
    except Exception as error:
        failed: Future[_Result] = Future()
        failed.set_exception(error)
        yield failed
