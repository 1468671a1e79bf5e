"""One truth: every persistent object of the desk goes through a ``Store``.

Six operations, two implementations (a local folder, S3). What each promises is written on the
protocol below and held by one contract suite, ``tests/resources/test_store_contract.py``.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

# A line to append, or a function that is given the last whole line (b"" when there is none, never with
# its newline) and returns the new line, or None to append nothing. The function runs under the store's
# lock or version check and may be called again after a lost race, so it must be pure. A line is neither
# empty nor holds a newline (else ValueError).
Line = bytes | Callable[[bytes], bytes | None]

# The stores' own corners of the root: never a key, never listed.
TEMPORARY, LOCKS, PROBE = ".tmp", ".locks", ".probe"

_LONGEST_SEGMENT = 255  # bytes: the limit of a file name
_FIRST_REACH = 64 * 1024  # bytes read from a log's end before looking further back for its last line


class StoreError(Exception):
    """A store operation failed; the message names the key and the action to take."""


class NotFound(StoreError):
    """The key holds no object."""


class AlreadyExists(StoreError):
    """``create`` found an object at the key; the stored object is untouched."""


class VersionConflict(StoreError):
    """``replace`` found another version than the one given; the stored object is untouched."""


class StoreUnavailable(StoreError):
    """The store did not answer after its retries, or has no space left; nothing was half written."""


class StoreUnsafe(StoreError):
    """The store ignores conditional writes: two writers could overwrite each other unseen."""


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes read from a key.

    ``data`` is the whole object, or its end when a tail was asked for; ``size`` is the whole object's
    length in bytes; ``version`` changes whenever the object's content does and is what ``replace`` takes.
    """

    data: bytes
    version: str
    size: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One object in a listing. ``modified`` is UTC; ``size`` is in bytes; ``version`` differs for other content."""

    key: str
    size: int
    modified: datetime
    version: str


class Store(Protocol):
    """Keys are relative, ``/``-separated, without empty, ``.`` or ``..`` segments (else ValueError)."""

    url: str

    @property
    def reads_at_once(self) -> int:
        """How many reads pay at a time (``reading.read_ahead``): 1 where a read waits for nothing but a disk."""
        ...

    def read(self, key: str, *, tail: int | None = None) -> Blob:
        """The object, or its last ``tail`` bytes. Raises NotFound. Never sees a half-written object."""
        ...

    def write(self, key: str, data: bytes) -> str:
        """Replace the object atomically, whoever wrote it; returns the new version."""
        ...

    def create(self, key: str, data: bytes) -> str:
        """Write the object if the key is free, else raise AlreadyExists; exactly one racer wins."""
        ...

    def replace(self, key: str, data: bytes, version: str) -> str:
        """Write if the stored version is still ``version``, else raise VersionConflict (NotFound if gone)."""
        ...

    def append(self, key: str, line: Line) -> bytes | None:
        """Add one whole line (the newline is added here) and return it, or None if the function declined.

        Never lost once returned, never torn, never interleaved; a torn end left by a crash is cut off first.
        """
        ...

    def list(self, prefix: str, *, after: str = "") -> Iterator[Entry]:
        """Entries whose key starts with ``prefix`` and sorts after ``after``, in key order, all pages."""
        ...

    def check(self) -> None:
        """Raise StoreUnsafe unless conditional writes are honoured; StoreUnavailable if unreachable."""
        ...


def check_key(key: str) -> None:
    """Raise ValueError unless every store can hold an object at ``key``."""
    segments = key.split("/")
    if any(segment in ("", ".", "..") for segment in segments):
        raise ValueError(f"key {key!r} must be relative, without empty, '.' or '..' segments")
    if segments[0] in (TEMPORARY, LOCKS, PROBE):
        raise ValueError(f"key {key!r} lies in {segments[0]!r}, which belongs to the store itself")
    if "\0" in key or any(len(segment.encode()) > _LONGEST_SEGMENT for segment in segments):
        raise ValueError(f"key {key!r} has a NUL, or a segment longer than {_LONGEST_SEGMENT} bytes")


def is_key(key: str) -> bool:
    """Whether ``key`` can be read; outsiders leave other names (``inbox/`` made by a console), never listed."""
    try:
        check_key(key)
    except ValueError:
        return False
    return True


def check_prefix(prefix: str) -> None:
    """Raise ValueError unless ``prefix`` is empty or the beginning of some key."""
    folder = prefix.rpartition("/")[0]
    if folder or prefix.startswith("/"):
        check_key(folder)


def last_line(size: int, read_end: Callable[[int], bytes]) -> tuple[bytes, int]:
    """The last whole line of a log of ``size`` bytes (b"" if none), and how many bytes end with its newline.

    ``read_end(n)`` gives the log's last n bytes. Bytes past the returned length are a torn end. The cost
    follows the line's length, not the log's.
    """
    reach = min(_FIRST_REACH, size)
    while True:
        end = read_end(reach)
        newline = end.rfind(b"\n")
        start = end.rfind(b"\n", 0, max(newline, 0)) + 1
        if newline >= 0 and (start > 0 or reach == size):
            return end[start:newline], size - reach + newline + 1
        if reach == size:
            return b"", 0
        reach = min(reach * 8, size)


def next_line(line: Line, last: bytes) -> bytes | None:
    """The line to append after the line ``last``, or None when the function declines."""
    new = line(last) if callable(line) else line
    if new is not None and (not new or b"\n" in new):
        raise ValueError(f"a line must be non-empty and hold no newline, got {new[:80]!r}")
    return new


def open_store(url: str) -> Store:
    """The store at ``url``: ``s3://bucket/prefix``, or a folder path (created when missing)."""
    if url.startswith("s3://"):
        from resources.store.s3 import S3Store  # boto3 costs half a second: only where S3 is used

        return S3Store.at(url)
    from resources.store.local import LocalStore

    return LocalStore(url)
