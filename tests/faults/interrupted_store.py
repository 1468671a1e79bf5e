"""A store in whose way another process does something at a chosen operation."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from resources.store import Blob, Entry, Line, Store

T = TypeVar("T")


class InterruptedStore:
    """``inner``, except that ``meanwhile`` runs right before its ``at``-th operation (counted from 1)."""

    def __init__(self, inner: Store, at: int, meanwhile: Callable[[], object]) -> None:
        self.url = inner.url
        self.operations = 0
        self._inner = inner
        self._at = at
        self._meanwhile = meanwhile

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
        self.operations += 1
        if self.operations == self._at:
            self._meanwhile()
        return operation()
