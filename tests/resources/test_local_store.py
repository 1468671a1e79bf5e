"""What only a local folder can suffer: crashes in the middle of a write, full disks, odd filesystems."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from resources.store import AlreadyExists, NotFound, StoreUnavailable, StoreUnsafe
from resources.store import local as local_module
from resources.store.local import LocalStore

_ROOT = Path(__file__).parents[2]


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "desk-data")


def _files(store: LocalStore) -> list[str]:
    return sorted(path.name for path in (Path(store.url) / ".tmp").iterdir())


def _take_only(monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    """A disk with ``room`` bytes left: the write that fills it is short, the next one fails."""
    write = os.write
    left = room

    def short(file: int, data: bytes | memoryview) -> int:
        nonlocal left
        if left == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = write(file, data[:left])
        left -= written
        return written

    monkeypatch.setattr(local_module.os, "write", short)


def test_a_torn_last_line_is_cut_off_in_the_file(store: LocalStore) -> None:
    store.append("log", b"one")
    with (Path(store.url) / "log").open("ab") as log:
        log.write(b'{"pv": 1000')
    assert store.append("log", lambda last: last + b" again") == b"one again"
    assert (Path(store.url) / "log").read_bytes() == b"one\none again\n"


def test_a_log_on_a_full_disk_stays_as_it_was(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.append("log", b"one")
    with monkeypatch.context() as full:
        _take_only(full, 3)
        with pytest.raises(StoreUnavailable, match="free disk space"):
            store.append("log", b"two two two")
        with pytest.raises(StoreUnavailable, match="log"):
            store.append("log", b"two two two")
    assert store.read("log").data == b"one\n"
    store.append("log", b"two")
    assert store.read("log").data == b"one\ntwo\n"


def test_a_line_that_could_not_be_synced_is_taken_back(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    store.append("log", b"one")
    with monkeypatch.context() as broken:
        broken.setattr(local_module.os, "fsync", fail)
        with pytest.raises(StoreUnavailable, match="check the disk"):
            store.append("log", b"two")
    assert store.read("log").data == b"one\n"


@pytest.mark.parametrize("room", [0, 3])
def test_an_object_on_a_full_disk_stays_as_it_was(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    version = store.write("a", b"old")
    operations = [
        lambda: store.write("a", b"new new"),
        lambda: store.replace("a", b"new new", version),
        lambda: store.create("b", b"new new"),
        lambda: store.append("c", b"new new"),
    ]
    for operation in operations:
        with monkeypatch.context() as full:
            _take_only(full, room)
            with pytest.raises(StoreUnavailable, match="free disk space"):
                operation()
    assert store.read("a").data == b"old"
    assert [entry.key for entry in store.list("")] == ["a"]
    assert _files(store) == []


def test_a_really_full_disk_loses_nothing_it_acknowledged(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.decode().strip()}")
    try:
        store = LocalStore(disk / "desk-data")
        store.write("a", b"old")
        rows = [b"%04d " % number + b"x" * 500 for number in range(1_000)]
        acknowledged: list[bytes | None] = []
        with pytest.raises(StoreUnavailable, match="free disk space"):
            acknowledged.extend(store.append("log", row) for row in rows)
        with pytest.raises(StoreUnavailable, match="free disk space"):
            store.write("a", b"n" * 300_000)
        assert store.read("a").data == b"old"
        assert store.read("log").data.splitlines() == acknowledged
        assert len(acknowledged) > 100
    finally:
        subprocess.run(["umount", disk], check=True)


_WRITER = """
import itertools, sys
from resources.store.local import LocalStore
store = LocalStore(sys.argv[1])
for number in itertools.count():
    store.write("object", bytes([65 + number % 26]) * 300_000)
    store.append("log", b"%d " % number + b"x" * 9_000)
    if number == 0:
        print("started", flush=True)
"""


def test_a_killed_writer_leaves_whole_objects_and_readers_never_see_half_ones(store: LocalStore) -> None:
    acknowledged = 0
    for _ in range(6):
        with subprocess.Popen([sys.executable, "-c", _WRITER, store.url], cwd=_ROOT, stdout=subprocess.PIPE) as writer:
            assert writer.stdout
            assert writer.stdout.readline() == b"started\n"
            for _ in range(40):
                data = store.read("object").data
                assert data == data[:1] * 300_000
                log = store.read("log").data
                assert log.endswith(b"x\n")
                assert log.count(b"\n") >= acknowledged
                acknowledged = log.count(b"\n")
            writer.send_signal(signal.SIGKILL)
        data = store.read("object").data
        assert data == data[:1] * 300_000
        store.append("log", b"0 " + b"x" * 9_000)
        assert all(line.endswith(b" " + b"x" * 9_000) for line in store.read("log").data.splitlines())


def test_check_removes_what_a_killed_writer_left_long_ago(store: LocalStore) -> None:
    aside = Path(store.url) / ".tmp"
    (aside / "of-a-living-writer").write_bytes(b"half")
    (aside / "abandoned").write_bytes(b"half")
    two_hours_ago = time.time() - 7200
    os.utime(aside / "abandoned", (two_hours_ago, two_hours_ago))
    store.check()
    assert _files(store) == ["of-a-living-writer"]


def test_check_refuses_a_filesystem_without_locks(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_module.fcntl, "flock", lambda *_: None)
    with pytest.raises(StoreUnsafe, match="flock"):
        store.check()


def test_check_refuses_a_filesystem_where_two_can_create(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_module.os, "link", lambda _, target: Path(target).write_bytes(b""))
    with pytest.raises(StoreUnsafe, match="create"):
        store.check()


@pytest.mark.parametrize("call", ["link", "utime"])
def test_a_filesystem_without_what_a_write_needs_is_unavailable(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(local_module.os, call, fail)
    with pytest.raises(StoreUnavailable, match="writable"):
        store.check()


def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreUnavailable, match="file"):
        LocalStore(tmp_path / "file" / "desk-data")


def test_a_key_below_an_object_is_refused_with_the_key(store: LocalStore) -> None:
    store.write("a", b"1")
    for operation in (store.write, store.create):
        with pytest.raises(StoreUnavailable, match="a/b"):
            operation("a/b", b"2")
    assert store.read("a").data == b"1"


def test_files_the_outside_world_drops_are_listed_and_read(store: LocalStore) -> None:
    (Path(store.url) / "inbox").mkdir()
    (Path(store.url) / "inbox" / "2026-01-02.csv").write_bytes(b"ticker\n")
    os.mkfifo(Path(store.url) / "inbox" / "pipe")
    (Path(store.url) / "inbox" / "nowhere").symlink_to("missing")
    assert [entry.key for entry in store.list("inbox/")] == ["inbox/2026-01-02.csv"]
    assert store.read("inbox/2026-01-02.csv").data == b"ticker\n"


def test_a_version_moves_when_only_the_beginning_changes(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though a file's own time stands still between two ticks of the kernel, in which a file number comes back too."""
    write = os.write

    def at_one_tick(file: int, data: bytes | memoryview) -> int:
        written = write(file, data)
        os.utime(file, ns=(0, 0))
        return written

    monkeypatch.setattr(local_module.os, "write", at_one_tick)
    end, versions, listed = b"same end" * 20_000, set(), set()
    for first in range(50):
        versions.add(store.write("a", bytes([first]) + end))
        listed |= {entry.version for entry in store.list("")}
    assert len(versions) == len(listed) == 50


def test_create_and_append_race_for_one_free_key(store: LocalStore) -> None:
    for number in range(20):
        key = f"key-{number}"
        start = threading.Barrier(2)

        def append(key: str = key, start: threading.Barrier = start) -> None:
            start.wait()
            store.append(key, b"row")

        thread = threading.Thread(target=append)
        thread.start()
        start.wait()
        try:
            store.create(key, b"made\n")
        except AlreadyExists:
            expected = b"row\n"
        else:
            expected = b"made\nrow\n"
        thread.join()
        assert store.read(key).data == expected


def test_a_reader_waits_for_the_end_of_a_line_being_written(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    half_written, go_on = threading.Event(), threading.Event()

    def slow(file: int, data: bytes) -> int:
        write(file, data[:3])
        half_written.set()
        go_on.wait()
        return 3 + write(file, data[3:])

    store.append("log", b"one")
    monkeypatch.setattr(local_module.os, "write", slow)
    with ThreadPoolExecutor(2) as pool:
        appending = pool.submit(store.append, "log", b"two two")
        half_written.wait()
        reading = pool.submit(store.read, "log")
        with pytest.raises(TimeoutError):
            reading.result(timeout=0.02)
        go_on.set()
        assert appending.result() == b"two two"
        assert reading.result().data == b"one\ntwo two\n"


def test_an_append_reads_no_more_of_a_long_log_than_of_a_short_one(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    pread = os.pread
    lengths: list[int] = []

    def counted(file: int, length: int, position: int) -> bytes:
        lengths.append(length)
        return pread(file, length, position)

    store.write("log", b"row of a long log\n" * 500_000)
    monkeypatch.setattr(local_module.os, "pread", counted)
    assert store.append("log", lambda last: last[:3]) == b"row"
    assert sum(lengths) <= 64 * 1024


def test_a_store_removed_while_running_is_unavailable_or_empty(store: LocalStore) -> None:
    for folder in (".tmp", ".locks"):
        (Path(store.url) / folder).rmdir()
    with pytest.raises(StoreUnavailable, match="write 'a'"):
        store.write("a", b"1")
    with pytest.raises(NotFound):
        store.read("a")
