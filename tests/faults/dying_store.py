"""A store whose process dies: for tests that kill a step at every store operation and run it again."""

import threading
from collections.abc import Callable, Iterator
from typing import Literal, TypeVar

from resources.store import Blob, Entry, Line, Store

T = TypeVar("T")


class Killed(BaseException):
    """The process died here. No ``except Exception`` of the code under test may catch it."""


class DyingStore:
    """``inner``, until its ``die_at``-th operation (counted from 1) raises Killed.

    ``when`` says whether that operation still reaches ``inner``. Every later operation raises Killed too: a
    dead process does nothing more. ``operations`` counts all of them, so a run with a ``die_at`` never
    reached measures how many deaths there are to try.
    """

    def __init__(self, inner: Store, die_at: int, when: Literal["before", "after"]) -> None:
        self.url = inner.url
        self.operations = 0
        self._inner = inner
        self._die_at = die_at
        self._when = when
        self._lock = threading.Lock()

    def read(self, key: str, *, tail: int | None = None) -> Blob:
        return self._do(lambda: self._inner.read(key, tail=tail))

    def write(self, key: str, data: bytes) -> str:
        return self._do(lambda: self._inner.write(key, data))

    def create(self, key: str, data: bytes) -> str:
        return self._do(lambda: self._inner.create(key, data))

    def replace(self, key: str, data: bytes, version: str) -> str:
        return self._do(lambda: self._inner.replace(key, data, version))

    def append(self, key: str, line: Line) -> bytes | None:
        return self._do(lambda: self._inner.append(key, line))

    def list(self, prefix: str, *, after: str = "") -> Iterator[Entry]:
        return self._do(lambda: self._inner.list(prefix, after=after))

    def check(self) -> None:
        return self._do(self._inner.check)

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
