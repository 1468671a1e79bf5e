"""A store whose process dies: for tests that kill a step at every store operation and run it again."""

import threading
from collections.abc import Callable
from typing import Literal

from resources.store import Store
from tests.faults.watched_store import T, WatchedStore


class Killed(BaseException):
    """The process died here. No ``except Exception`` of the code under test may catch it."""


class DyingStore(WatchedStore):
    """``inner``, until its ``die_at``-th operation (counted from 1) raises Killed.

    ``when`` says whether that operation still reaches ``inner``. Every later operation raises Killed too: a
    dead process does nothing more. ``operations`` counts all of them, so a run with a ``die_at`` never
    reached measures how many deaths there are to try.
    """

    def __init__(self, inner: Store, die_at: int, when: Literal["before", "after"]) -> None:
        super().__init__(inner)
        self._die_at = die_at
        self._when = when
        self._lock = threading.Lock()

    def _do(self, operation: Callable[[], T]) -> T:
        with self._lock:
            self.operations += 1
            number = self.operations
        if number > self._die_at or (number == self._die_at and self._when == "before"):
            raise Killed(f"operation {number}")
        result = operation()
        if number == self._die_at:
            raise Killed(f"operation {number}, applied")
        return result
