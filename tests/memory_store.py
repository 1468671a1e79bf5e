"""A store in memory: the contract without a disk, for replays of months and faults by the hundred."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime

from resources.store import (
    AlreadyExists,
    Blob,
    Entry,
    Line,
    NotFound,
    VersionConflict,
    check_key,
    check_prefix,
    next_line,
)

_NEVER = datetime(2000, 1, 1, tzinfo=UTC)


class MemoryStore:
    """``Store`` in a dict, safe among threads. ``copy`` gives an independent store with the same objects."""

    url = "memory"
    reads_at_once = 1

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._objects: dict[str, tuple[bytearray, int, datetime]] = {}
        self._last_lines: dict[str, bytes] = {}
        self._writes = 0

    def copy(self) -> "MemoryStore":
        other = MemoryStore()
        with self._lock:
            other._objects = {
                key: (bytearray(data), number, modified) for key, (data, number, modified) in self._objects.items()
            }
            other._last_lines = dict(self._last_lines)
            other._writes = self._writes
        return other

    def contents(self) -> dict[str, bytes]:
        """Every object by key, to compare two stores by."""
        with self._lock:
            return {key: bytes(data) for key, (data, _, _) in sorted(self._objects.items())}

    def put(self, key: str, data: bytes, modified: datetime) -> None:
        """An object as the outside world leaves it, with its modified time."""
        with self._lock:
            self._store(key, data, modified)

    def delete(self, key: str) -> None:
        """The outside world takes an object away; the desk itself never does."""
        with self._lock:
            del self._objects[key]
            self._last_lines.pop(key, None)

    def read(self, key: str, *, tail: int | None = None) -> Blob:
        check_key(key)
        with self._lock:
            if key not in self._objects:
                raise NotFound(f"no object {key!r}")
            data, number, _ = self._objects[key]
            return Blob(bytes(data if tail is None else data[max(0, len(data) - tail) :]), str(number), len(data))

    def write(self, key: str, data: bytes) -> str:
        check_key(key)
        with self._lock:
            return self._store(key, data)

    def create(self, key: str, data: bytes) -> str:
        check_key(key)
        with self._lock:
            if key in self._objects:
                raise AlreadyExists(f"{key!r} already exists")
            return self._store(key, data)

    def replace(self, key: str, data: bytes, version: str) -> str:
        check_key(key)
        with self._lock:
            if key not in self._objects:
                raise NotFound(f"no object {key!r}")
            if str(self._objects[key][1]) != version:
                raise VersionConflict(f"{key!r} changed")
            return self._store(key, data)

    def append(self, key: str, line: Line) -> bytes | None:
        check_key(key)
        with self._lock:
            new = next_line(line, self._last_lines.get(key, b""))
            if new is not None:
                data = self._objects[key][0] if key in self._objects else bytearray()
                data += new + b"\n"
                self._writes += 1
                self._objects[key] = (data, self._writes, _NEVER)
                self._last_lines[key] = new
            return new

    def list(self, prefix: str, *, after: str = "") -> Iterator[Entry]:
        check_prefix(prefix)
        with self._lock:
            found = [
                Entry(key, len(data), modified, str(version))
                for key, (data, version, modified) in self._objects.items()
                if key.startswith(prefix) and key > after
            ]
        return iter(sorted(found, key=lambda entry: entry.key))

    def check(self) -> None:
        return

    def _store(self, key: str, data: bytes, modified: datetime = _NEVER) -> str:
        self._writes += 1
        self._objects[key] = (bytearray(data), self._writes, modified)
        end = data[: data.rfind(b"\n") + 1].splitlines()
        self._last_lines[key] = end[-1] if end else b""
        return str(self._writes)
