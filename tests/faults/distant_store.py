"""A store behind a network that each read has to cross, and that takes several at once."""

import threading
import time
from collections import Counter
from collections.abc import Iterator

from resources.store import Blob, Entry, Store
from tests.faults.watched_store import WatchedStore


class DistantStore(WatchedStore):
    """``inner``, each read of which takes ``seconds``; ``reads`` counts them by key, ``lists`` the listings by prefix,
    and ``most_at_once`` says how many reads were ever under way together."""

    def __init__(self, inner: Store, seconds: float = 0.0, reads_at_once: int = 16) -> None:
        super().__init__(inner)
        self.reads_at_once = reads_at_once
        self.reads: Counter[str] = Counter()
        self.lists: Counter[str] = Counter()
        self.most_at_once = 0
        self._seconds = seconds
        self._under_way = 0
        self._lock = threading.Lock()

    def read(self, key: str, *, tail: int | None = None) -> Blob:
        with self._lock:
            self.reads[key] += 1
            self._under_way += 1
            self.most_at_once = max(self.most_at_once, self._under_way)
        try:
            time.sleep(self._seconds)
            return super().read(key, tail=tail)
        finally:
            with self._lock:
                self._under_way -= 1

    def list(self, prefix: str, *, after: str = "") -> Iterator[Entry]:
        self.lists[prefix] += 1
        return super().list(prefix, after=after)


def threads_left() -> list[str]:
    """Threads that were reading ahead and have not ended."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("read-ahead")]
