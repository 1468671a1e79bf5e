"""The store in a local folder: nothing to install, safe among threads, processes and crashes of one machine.

An object is a file, made visible only when whole: it is written and synced aside, then renamed or linked
into place. A log grows in place, under its lock, by one write a line.
"""

import errno
import fcntl
import hashlib
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from resources.store import (
    LOCKS,
    TEMPORARY,
    AlreadyExists,
    Blob,
    Entry,
    Line,
    NotFound,
    StoreUnavailable,
    StoreUnsafe,
    VersionConflict,
    check_key,
    check_prefix,
    is_key,
    last_line,
    next_line,
)

_HASHED_END = 64 * 1024  # bytes: keeps the version of a log of years as cheap as that of a day
_LOCK_FILES = 256  # two keys that share one merely wait for each other
_ABANDONED_AFTER = 3600.0  # seconds: no write of a living process takes as long

_REMEDIES = {
    errno.ENOSPC: "free disk space",
    errno.EDQUOT: "free disk space or raise the quota",
    errno.EACCES: "make the folder writable for this user",
    errno.EPERM: "make the folder writable for this user",
    errno.EROFS: "mount the folder writable",
}


class LocalStore:
    """``Store`` under the folder ``root``, created when missing; raises StoreUnavailable when it cannot be."""

    reads_at_once = 1

    def __init__(self, root: str | Path) -> None:
        self._root = Path(root).absolute()
        self.url = str(self._root)
        with self._answering("open", ""):
            for folder in (TEMPORARY, LOCKS):
                (self._root / folder).mkdir(parents=True, exist_ok=True)

    def read(self, key: str, *, tail: int | None = None) -> Blob:
        check_key(key)
        with self._answering("read", key), self._opened(key, os.O_RDONLY) as file:
            # A log's file changes in place: without this a reader could see the first half of a line.
            fcntl.flock(file, fcntl.LOCK_SH)
            size = os.fstat(file).st_size
            return Blob(_end(file, size if tail is None else min(tail, size)), _version(file), size)

    def write(self, key: str, data: bytes) -> str:
        check_key(key)
        with self._answering("write", key), self._written_aside(data) as (aside, version), self._locked(key):
            self._rename(aside, key)
            return version

    def create(self, key: str, data: bytes) -> str:
        check_key(key)
        with self._answering("create", key), self._written_aside(data) as (aside, version), self._locked(key):
            self._link(aside, key)
            return version

    def replace(self, key: str, data: bytes, version: str) -> str:
        check_key(key)
        with self._answering("replace", key), self._written_aside(data) as (aside, new), self._locked(key):
            with self._opened(key, os.O_RDONLY) as file:
                found = _version(file)
            if found != version:
                raise VersionConflict(f"{key!r} in {self.url} is at {found}, not {version}: read it again")
            self._rename(aside, key)
            return new

    def append(self, key: str, line: Line) -> bytes | None:
        check_key(key)
        with self._answering("append to", key), self._locked(key):
            try:
                with self._opened(key, os.O_RDWR | os.O_APPEND) as file:
                    return _append(file, line)
            except NotFound:
                new = next_line(line, b"")
                if new is not None:
                    with self._written_aside(new + b"\n") as (aside, _):
                        self._link(aside, key)
                return new

    def list(self, prefix: str, *, after: str = "") -> Iterator[Entry]:
        check_prefix(prefix)
        folder, slash, _ = prefix.rpartition("/")
        return self._walk(folder + slash, prefix, after)

    def check(self) -> None:
        name = secrets.token_hex(8)
        first, second = (self._root / TEMPORARY / f"{name}-{number}" for number in (1, 2))
        with self._answering("check", ""):
            self._drop_abandoned()
            try:
                first.write_bytes(b"probe")
                os.utime(first, ns=(0, 0))  # each write sets its time
                os.link(first, second)
                try:
                    os.link(first, second)
                except FileExistsError:
                    pass
                else:
                    raise StoreUnsafe(f"{self.url} lets two writers create one file: use another filesystem")
                with first.open() as one, second.open() as other:
                    fcntl.flock(one, fcntl.LOCK_EX)
                    try:
                        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except BlockingIOError:
                        pass
                    else:
                        raise StoreUnsafe(f"{self.url} ignores file locks (flock): use another filesystem")
            finally:
                first.unlink(missing_ok=True)
                second.unlink(missing_ok=True)

    @contextmanager
    def _answering(self, action: str, key: str) -> Iterator[None]:
        """Turns what the operating system refuses into StoreUnavailable with a remedy."""
        try:
            yield
        except OSError as error:
            remedy = _REMEDIES.get(error.errno or 0, "check the disk and the folder")
            message = f"cannot {action} {key!r} in {self.url}: {error.strerror or error}; {remedy}, then run it again"
            raise StoreUnavailable(message) from error

    @contextmanager
    def _opened(self, key: str, flags: int) -> Iterator[int]:
        try:
            file = os.open(self._root / key, flags)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise NotFound(f"no object {key!r} in {self.url}") from None
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise NotFound(f"no object {key!r} in {self.url}")
            yield file
        finally:
            os.close(file)

    @contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        """Holds the key's lock against every other thread and process; a crash releases it."""
        # A fixed number of lock files: one a key would double the files of a store that keeps every audit set.
        number = hashlib.blake2b(key.encode(), digest_size=8).digest()[0] % _LOCK_FILES
        lock = os.open(self._root / LOCKS / str(number), os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    @contextmanager
    def _written_aside(self, data: bytes) -> Iterator[tuple[Path, str]]:
        """A synced file holding ``data``, and its version; gone afterwards unless renamed."""
        aside = self._root / TEMPORARY / secrets.token_hex(16)
        try:
            file = os.open(aside, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
            try:
                left = memoryview(data)
                while left:
                    left = left[os.write(file, left) :]
                # Many kernels move a file's own time by milliseconds only: two quick writes that get one file number in
                # turn would then be one version, here and in a list.
                os.utime(file, ns=(now := time.time_ns(), now))
                os.fsync(file)
                version = _version(file)
            finally:
                os.close(file)
            yield aside, version
        finally:
            aside.unlink(missing_ok=True)

    def _rename(self, aside: Path, key: str) -> None:
        target = self._root / key
        _make_folder(target.parent)
        os.replace(aside, target)
        _sync_folder(target.parent)

    def _link(self, aside: Path, key: str) -> None:
        target = self._root / key
        _make_folder(target.parent)
        try:
            os.link(aside, target)
        except FileExistsError:
            raise AlreadyExists(f"{key!r} already exists in {self.url}") from None
        _sync_folder(target.parent)

    def _walk(self, folder: str, prefix: str, after: str) -> Iterator[Entry]:
        with self._answering("list", folder):
            try:
                with os.scandir(self._root / folder) as found:
                    # With its slash a folder sorts where its keys do: "a.b" before "a/b" before "ab".
                    items = sorted((item.name + "/" * item.is_dir(), item) for item in found)
            except (FileNotFoundError, NotADirectoryError):
                return
        for name, item in items:
            path = folder + name
            if name.endswith("/"):
                within = path.startswith(prefix) or prefix.startswith(path)
                if within and (path > after or after.startswith(path)) and is_key(path[:-1]):
                    yield from self._walk(path, prefix, after)
            elif path.startswith(prefix) and path > after and is_key(path) and item.is_file():
                with self._answering("list", path):
                    try:
                        facts = item.stat()
                    except FileNotFoundError:
                        continue
                modified = datetime.fromtimestamp(facts.st_mtime, UTC)
                yield Entry(path, facts.st_size, modified, f"{facts.st_ino}-{facts.st_mtime_ns}")

    def _drop_abandoned(self) -> None:
        """Remove what writers killed in the middle left aside."""
        for file in (self._root / TEMPORARY).iterdir():
            with suppress(FileNotFoundError):
                if time.time() - file.stat().st_mtime > _ABANDONED_AFTER:
                    file.unlink()


def _append(file: int, line: Line) -> bytes | None:
    """Add a line to an open log whose lock is held; on any failure the log is as before."""
    fcntl.flock(file, fcntl.LOCK_EX)
    size = os.fstat(file).st_size
    last, whole = last_line(size, lambda length: _end(file, length))
    new = next_line(line, last)
    if new is None:
        return None
    if whole < size:
        os.ftruncate(file, whole)
    row = new + b"\n"
    try:
        if os.write(file, row) < len(row):
            raise OSError(errno.ENOSPC, "the disk took only part of the line")
        os.fsync(file)
    except OSError:
        os.ftruncate(file, whole)
        raise
    return new


def _end(file: int, length: int) -> bytes:
    """The last ``length`` bytes of an open file."""
    position = os.fstat(file).st_size - length
    parts = []
    while length > 0 and (part := os.pread(file, length, position)):  # one call reads at most 2 GiB
        parts.append(part)
        position += len(part)
        length -= len(part)
    return b"".join(parts)


def _version(file: int) -> str:
    facts = os.fstat(file)
    # Size, time and file number may all recur once the clock was set back; the hash of the end then still differs.
    end = hashlib.blake2b(_end(file, min(_HASHED_END, facts.st_size)), digest_size=8).hexdigest()
    return f"{facts.st_size}-{facts.st_mtime_ns}-{facts.st_ino}-{end}"


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        _make_folder(folder.parent)
        with suppress(FileExistsError):
            folder.mkdir()
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    """Make names added to ``folder`` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
