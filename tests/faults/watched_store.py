"""A store every operation of which passes one place, where a test can count it, stop it or get in its way."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from resources.store import Blob, Entry, Line, Store

T = TypeVar("T")


class WatchedStore:
    """``inner``, each operation of which goes through ``_do``; ``operations`` counts them."""

    def __init__(self, inner: Store) -> None:
        self.url = inner.url
        self.reads_at_once = inner.reads_at_once
        self.operations = 0
        self._inner = inner

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
        return operation()
