"""Both stores under many writers and a failing world: nothing lost, nothing torn, nothing doubled."""

import errno
import itertools
import multiprocessing
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Literal

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest

from resources.store import AlreadyExists, Store, StoreUnavailable, VersionConflict, open_store
from resources.store import local as local_module
from resources.store import s3 as s3_module
from resources.store.local import LocalStore
from resources.store.reading import read_ahead
from resources.store.s3 import S3Store
from tests.faults.dying_store import DyingStore, Killed
from tests.faults.s3_faults import Fault, inject
from tests.faults.s3_server import BUCKET, s3_here, s3_process

_ROOT = Path(__file__).parents[2]
_WRITERS = 8
_ROWS = 500
# 500 rows take 45 to 58 s: the simulated server answers one request at a time, each in some 4 ms, and its
# writers need two for a row they race for. Half of them keep the suite within its time.
_S3_ROWS = 250


def _append_rows(url: str, environment: dict[str, str], rows: int, writer: int) -> None:
    os.environ.update(environment)
    store = open_store(url)
    for number in range(rows):
        store.append("log", _row(writer, number))


def _row(writer: int, number: int) -> bytes:
    return b"%d %d " % (writer, number) + b"x" * (10 * writer)


def _append_from_many_processes(url: str, environment: dict[str, str], rows: int) -> None:
    with ProcessPoolExecutor(_WRITERS, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(partial(_append_rows, url, environment, rows), range(_WRITERS)))


def _assert_every_row_once_and_in_each_writers_order(store: Store, rows: int) -> None:
    data = store.read("log").data
    assert data.endswith(b"\n")
    found = data[:-1].split(b"\n")
    for writer in range(_WRITERS):
        own = [row for row in found if row.startswith(b"%d " % writer)]
        assert own == [_row(writer, number) for number in range(rows)]
    assert len(found) == _WRITERS * rows


def test_eight_processes_append_to_one_local_log(tmp_path: Path) -> None:
    _append_from_many_processes(str(tmp_path), {}, _ROWS)
    _assert_every_row_once_and_in_each_writers_order(LocalStore(tmp_path), _ROWS)


def test_eight_processes_append_to_one_s3_log() -> None:
    with s3_process() as environment:
        url = f"s3://{BUCKET}/desk"
        _append_from_many_processes(url, environment, _S3_ROWS)
        _assert_every_row_once_and_in_each_writers_order(open_store(url), _S3_ROWS)


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits for the pauses between tries."""
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.0)
    monkeypatch.setattr(s3_module, "_LONGEST_PAUSE", 0.002)


_ANYTIME = [Fault(answer, when) for answer in (500, 503, "timeout") for when in ("before", "after")]
_WHERE_CONDITIONAL = [*_ANYTIME, Fault(412, "before"), Fault(412, "after")]


def _one_request_in_ten(seed: int) -> Callable[[AWSPreparedRequest], Fault | None]:
    chance = random.Random(seed)
    in_a_row = 0

    def choose(request: AWSPreparedRequest) -> Fault | None:
        nonlocal in_a_row
        if chance.random() >= 0.1 or in_a_row == 3:  # the SDK's five attempts outlast three
            in_a_row = 0
            return None
        in_a_row += 1
        conditional = "If-Match" in request.headers or "If-None-Match" in request.headers
        return chance.choice(_WHERE_CONDITIONAL if conditional else _ANYTIME)

    return choose


_THREADS = 4


def _in_threads(work: Callable[[S3Store, int], None], prefix: str) -> None:
    """``work(store, thread)`` in each thread, each with a store whose requests fail now and then."""
    stores = []
    for thread in range(_THREADS):
        store = S3Store.at(f"s3://{BUCKET}/{prefix}")
        inject(store._client, _one_request_in_ten(thread))
        stores.append(store)
    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(work, stores, range(_THREADS)))


@pytest.fixture
def _s3(_quick: None) -> Iterator[None]:
    with s3_here():
        yield


@pytest.mark.usefixtures("_s3")
@pytest.mark.parametrize(("before", "rows"), [(b"", 40), (b"x" * (5 * 1024**2) + b"\n", 5)], ids=["short", "long"])
def test_appends_to_a_failing_s3_stand_once(before: bytes, rows: int) -> None:
    def append(store: S3Store, thread: int) -> None:
        for number in range(rows):
            assert store.append("log", b"%d %d" % (thread, number)) == b"%d %d" % (thread, number)
            assert store.append("log", b"the same of all") == b"the same of all"

    plain = S3Store(boto3.client("s3"), BUCKET, "appends")
    if before:
        plain.write("log", before)
    _in_threads(append, "appends")
    found = plain.read("log").data.removeprefix(before).splitlines()
    assert Counter(found) == {
        b"the same of all": _THREADS * rows,
        **{b"%d %d" % (thread, number): 1 for thread in range(_THREADS) for number in range(rows)},
    }
    for thread in range(_THREADS):
        own = [row for row in found if row.startswith(b"%d " % thread)]
        assert own == [b"%d %d" % (thread, number) for number in range(rows)]


@pytest.mark.usefixtures("_s3")
def test_counting_by_function_on_a_failing_s3_skips_and_repeats_nothing() -> None:
    def count(store: S3Store, _: int) -> None:
        for _ in range(60):
            store.append("log", lambda last: b"%d" % (int(last or b"0") + 1))

    _in_threads(count, "counts")
    rows = S3Store(boto3.client("s3"), BUCKET, "counts").read("log").data.splitlines()
    assert [int(row) for row in rows] == list(range(1, _THREADS * 60 + 1))


@pytest.mark.usefixtures("_s3")
def test_each_contested_key_of_a_failing_s3_has_one_creator_who_knows_it() -> None:
    won: list[tuple[int, int]] = []

    def create(store: S3Store, thread: int) -> None:
        for number in range(60):
            store.create(f"own/{thread}/{number}", b"uncontested")
            try:
                store.create(f"contested/{number}", b"%d" % thread)
            except AlreadyExists:
                continue
            won.append((number, thread))

    _in_threads(create, "creates")
    plain = S3Store(boto3.client("s3"), BUCKET, "creates")
    assert len(list(plain.list("own/"))) == _THREADS * 60
    assert sorted(won) == [(number, int(plain.read(f"contested/{number}").data)) for number in range(60)]


@pytest.mark.usefixtures("_s3")
def test_replaces_on_a_failing_s3_count_every_round_once() -> None:
    plain = S3Store(boto3.client("s3"), BUCKET, "replaces")
    plain.write("count", b"0")

    def add(store: S3Store, _: int) -> None:
        done = 0
        while done < 40:
            blob = store.read("count")
            try:
                store.replace("count", b"%d" % (int(blob.data) + 1), blob.version)
            except VersionConflict:
                continue
            done += 1

    _in_threads(add, "replaces")
    assert plain.read("count").data == b"%d" % (_THREADS * 40)


@pytest.mark.usefixtures("_s3")
def test_what_is_read_ahead_of_a_failing_s3_is_whole_and_in_order() -> None:
    store = S3Store.at(f"s3://{BUCKET}/many")
    for number in range(100):
        store.write(f"{number:03d}", b"%d" % number)
    chance, asked = random.Random(5), set[str]()

    def fails_at_first(request: AWSPreparedRequest) -> Fault | None:
        if request.url in asked:
            return None
        asked.add(request.url)
        return chance.choice(_ANYTIME)

    inject(store._client, fails_at_first)
    keys = (entry.key for entry in store.list(""))
    assert [int(blob.data) for blob in read_ahead(store, store.read, keys)] == list(range(100))
    assert len(asked) == 101


_DIES_WITHIN_A_LINE = """
import os, sys
from resources.store.local import LocalStore
write = os.write
def half(file, data):
    write(file, data[: len(data) // 2])
    os._exit(1)
os.write = half
LocalStore(sys.argv[1]).append("log", b"a line that is never finished")
"""


def test_a_writer_that_dies_within_a_line_costs_only_that_line(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.append("log", b"0")
    for number in range(1, 4):
        died = subprocess.run([sys.executable, "-c", _DIES_WITHIN_A_LINE, str(tmp_path)], cwd=_ROOT, check=False)
        assert died.returncode == 1
        assert (tmp_path / "log").read_bytes().endswith(b"\na line that is ")
        assert store.append("log", lambda last: b"%d" % (int(last) + 1)) == b"%d" % number
    assert store.read("log").data == b"0\n1\n2\n3\n"


def test_on_a_disk_that_is_full_now_and_then_the_acknowledged_rows_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    chance = random.Random(7)

    def sometimes_full(file: int, data: bytes | memoryview) -> int:
        if chance.random() < 0.7:
            return write(file, data)
        if chance.random() < 0.5:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data[: len(data) // 2])

    monkeypatch.setattr(local_module.os, "write", sometimes_full)
    store = LocalStore(tmp_path)

    def append(thread: int) -> list[bytes]:
        acknowledged = []
        for number in range(50):
            with suppress(StoreUnavailable):
                acknowledged.append(store.append("log", b"%d %d" % (thread, number)) or b"")
        return acknowledged

    with ThreadPoolExecutor(_THREADS) as pool:
        acknowledged = list(itertools.chain.from_iterable(pool.map(append, range(_THREADS))))
    assert sorted(store.read("log").data.splitlines()) == sorted(acknowledged)
    assert 0 < len(acknowledged) < _THREADS * 50


@pytest.mark.parametrize(("when", "left"), [("before", b"1\n"), ("after", b"1\n2\n")])
def test_a_dying_store_does_nothing_after_its_death(
    tmp_path: Path, when: Literal["before", "after"], left: bytes
) -> None:
    inner = LocalStore(tmp_path)
    store = DyingStore(inner, 3, when)
    store.append("log", b"1")
    assert store.read("log").data == b"1\n"
    for line in (b"2", b"3"):
        with pytest.raises(Killed):
            store.append("log", line)
    assert inner.read("log").data == left
    assert store.operations == 4
