"""A store in whose way another process does something at a chosen operation."""

from collections.abc import Callable

from resources.store import Store
from tests.faults.watched_store import T, WatchedStore


class InterruptedStore(WatchedStore):
    """``inner``, except that ``meanwhile`` runs right before its ``at``-th operation (counted from 1)."""

    def __init__(self, inner: Store, at: int, meanwhile: Callable[[], object]) -> None:
        super().__init__(inner)
        self._at = at
        self._meanwhile = meanwhile

    def _do(self, operation: Callable[[], T]) -> T:
        self.operations += 1
        if self.operations == self._at:
            self._meanwhile()
        return operation()
