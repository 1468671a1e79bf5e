"""What every store promises, held against the local folder and S3 alike."""

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial

import boto3
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resources.store import (
    AlreadyExists,
    NotFound,
    Store,
    VersionConflict,
    open_store,
)
from resources.store.local import LocalStore
from resources.store.reading import read_ahead
from resources.store.s3 import S3Store
from tests.faults.distant_store import threads_left
from tests.faults.s3_server import BUCKET, s3_here

StoreAt = Callable[[str], Store]


@pytest.fixture(scope="module", params=["local", "s3"])
def store_at(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreAt]:
    """Opens the store of a name, each time anew, as another process would."""
    if request.param == "local":
        folder = tmp_path_factory.mktemp("stores")
        yield lambda name: LocalStore(folder / name)
    else:
        with s3_here():
            client = boto3.client("s3")
            yield lambda name: S3Store(client, BUCKET, name)


_numbers = itertools.count()


def _new_name() -> str:
    return f"store-{next(_numbers)}"


@pytest.fixture
def store(store_at: StoreAt) -> Store:
    return store_at(_new_name())


def _keys(store: Store, prefix: str = "", after: str = "") -> list[str]:
    return [entry.key for entry in store.list(prefix, after=after)]


def test_check_passes_and_leaves_nothing_visible(store: Store) -> None:
    store.check()
    assert _keys(store) == []


def test_the_url_opens_the_same_store(store: Store) -> None:
    store.write("a", b"1")
    assert open_store(store.url).read("a").data == b"1"


@pytest.mark.parametrize("data", [b"", b"\n", b"no newline", bytes(range(256)) * 1000], ids=len)
def test_what_is_written_is_read(store: Store, data: bytes) -> None:
    version = store.write("folder/object.bin", data)
    blob = store.read("folder/object.bin")
    assert (blob.data, blob.version, blob.size) == (data, version, len(data))


@pytest.mark.parametrize("tail", [0, 1, 9, 10, 11, 1000])
@pytest.mark.parametrize("data", [b"", b"0123456789"], ids=["empty", "ten bytes"])
def test_a_tail_is_the_end_with_the_whole_size_and_version(store: Store, data: bytes, tail: int) -> None:
    version = store.write("a", data)
    blob = store.read("a", tail=tail)
    assert blob.data == data[max(0, len(data) - tail) :]
    assert (blob.version, blob.size) == (version, len(data))


def test_reading_a_free_key_or_a_folder_raises_not_found(store: Store) -> None:
    store.write("folder/a", b"1")
    for key in ("b", "folder", "folder/a/b", "folder/b"):
        for tail in (None, 0, 5):
            with pytest.raises(NotFound, match=key):
                store.read(key, tail=tail)


def test_write_replaces_and_moves_the_version(store: Store) -> None:
    versions = [store.write("a", data) for data in (b"one", b"two", b"three")]
    assert len(set(versions)) == 3
    assert store.read("a").data == b"three"


def test_create_takes_a_free_key_once(store: Store) -> None:
    version = store.create("a/b", b"first")
    with pytest.raises(AlreadyExists, match="a/b"):
        store.create("a/b", b"second")
    blob = store.read("a/b")
    assert (blob.data, blob.version) == (b"first", version)


def test_replace_needs_the_present_version(store: Store) -> None:
    old = store.create("a", b"one")
    new = store.replace("a", b"two", old)
    with pytest.raises(VersionConflict, match="a"):
        store.replace("a", b"three", old)
    blob = store.read("a")
    assert (blob.data, blob.version) == (b"two", new)
    store.replace("a", b"three", blob.version)
    assert store.read("a").data == b"three"


def test_replace_of_a_free_key_raises_not_found(store: Store) -> None:
    version = store.write("a", b"1")
    with pytest.raises(NotFound):
        store.replace("b", b"2", version)
    assert _keys(store) == ["a"]


def test_a_version_from_a_tail_or_after_an_append_can_be_replaced(store: Store) -> None:
    store.append("a", b"one")
    store.append("a", b"two")
    store.replace("a", b"short", store.read("a", tail=1).version)
    assert store.read("a").data == b"short"


def test_appended_lines_stand_in_order_each_with_its_newline(store: Store) -> None:
    for number in range(30):
        line = b"line %d" % number
        assert store.append("logs/a.jsonl", line) == line
    assert store.read("logs/a.jsonl").data == b"".join(b"line %d\n" % number for number in range(30))


def test_the_line_function_sees_the_last_whole_line(store: Store) -> None:
    seen = []

    def count(last: bytes) -> bytes:
        seen.append(last)
        return b"%d" % (int(last or b"0") + 1)

    assert [store.append("a", count) for _ in range(3)] == [b"1", b"2", b"3"]
    assert seen == [b"", b"1", b"2"]


def test_a_line_function_that_declines_changes_nothing(store: Store) -> None:
    assert store.append("a", lambda last: None if last == b"" else b"x") is None
    assert _keys(store) == []
    store.append("a", b"row")
    version = store.read("a").version
    assert store.append("a", lambda last: None if last == b"row" else b"x") is None
    assert (store.read("a").data, store.read("a").version) == (b"row\n", version)


def test_a_line_function_declines_on_the_present_last_line_only(store_at: StoreAt) -> None:
    """Two writers: what one remembers of its own last append must not decide after the other wrote."""
    one, other = map(store_at, [_new_name()] * 2)
    one.append("a", b"old")
    other.append("a", b"new")
    assert one.append("a", lambda last: None if last == b"old" else b"after " + last) == b"after new"


def test_an_exception_of_the_line_function_passes_and_changes_nothing(store: Store) -> None:
    def fail(last: bytes) -> bytes:
        raise ArithmeticError(last)

    store.append("a", b"row")
    with pytest.raises(ArithmeticError):
        store.append("a", fail)
    assert store.append("a", lambda last: last + b"2") == b"row2"


@pytest.mark.parametrize("line", [b"", b"a\nb", b"a\n"])
def test_a_line_that_is_not_one_line_is_a_value_error(store: Store, line: bytes) -> None:
    for given_line in (line, lambda _: line):
        with pytest.raises(ValueError, match="newline"):
            store.append("a", given_line)
    assert _keys(store) == []


@pytest.mark.parametrize(
    ("before", "last", "after"),
    [
        (b"", b"", b"new\n"),
        (b"torn", b"", b"new\n"),
        (b"one\ntorn", b"one", b"one\nnew\n"),
        (b"one\ntwo\n" + b"t" * 100_000, b"two", b"one\ntwo\nnew\n"),
        (b"one\n" + b"2" * 200_000 + b"\n", b"2" * 200_000, b"one\n" + b"2" * 200_000 + b"\nnew\n"),
        (b"1" * 200_000 + b"\n", b"1" * 200_000, b"1" * 200_000 + b"\nnew\n"),
        (b"\n", b"", b"\nnew\n"),
        (b"one\n\n", b"", b"one\n\nnew\n"),
    ],
    ids=["empty", "only torn", "torn", "long torn", "long line", "one long line", "blank", "blank last"],
)
def test_an_append_finds_the_last_whole_line_and_cuts_a_torn_end(
    store: Store, before: bytes, last: bytes, after: bytes
) -> None:
    store.write("a", before)
    seen = []

    def line(found: bytes) -> bytes:
        seen.append(found)
        return b"new"

    store.append("a", line)
    assert seen == [last]
    assert store.read("a").data == after


@pytest.mark.parametrize(
    "key",
    ["", "/a", "a/", "a//b", ".", "..", "a/./b", "../a", "a/..", ".tmp/a", ".locks/1", ".probe/a", "a\0b", "x" * 256],
)
def test_an_invalid_key_is_a_value_error_in_every_operation(store: Store, key: str) -> None:
    operations: list[Callable[[], object]] = [
        lambda: store.read(key),
        lambda: store.write(key, b""),
        lambda: store.create(key, b""),
        lambda: store.replace(key, b"", "0"),
        lambda: store.append(key, b"row"),
    ]
    for operation in operations:
        with pytest.raises(ValueError, match="key"):
            operation()


@pytest.mark.parametrize("prefix", ["/", "/a", "../a", "a//b", ".tmp/"])
def test_a_prefix_no_key_begins_with_is_a_value_error(store: Store, prefix: str) -> None:
    with pytest.raises(ValueError, match="key"):
        store.list(prefix)


@pytest.mark.parametrize(
    "key", ["ä/ü ñ.json", "価格/BTC", "a b/c+d=e&f?g#h%20", "emoji 📈", "q'\"<>|*:", "date=2026-01-02/x"]
)
def test_keys_of_any_script_work_in_every_operation(store: Store, key: str) -> None:
    version = store.create(key, b"1\n")
    store.replace(key, b"2\n", version)
    store.append(key, b"3")
    assert store.read(key).data == b"2\n3\n"
    assert _keys(store) == [key]
    assert _keys(store, key[:2]) == [key]


def test_a_list_is_in_key_order_within_the_prefix_and_after(store: Store) -> None:
    keys = ["a", "a.b", "a0", "b/c", "b/c.d/e", "b/c/d", "b/c0", "b-", "bb", "é", "ab/c", "ab", "Z", "文", "\U0001f4c8"]
    # A folder cannot hold an object and a folder of one name; S3 could.
    keys = [key for key in keys if not any(other.startswith(key + "/") for other in keys)]
    for key in keys:
        store.write(key, key.encode())
    assert _keys(store) == sorted(keys)
    for prefix in ("", "a", "b", "b/", "b/c", "b/c.", "b/c.d/", "nothing", "é", "b/c/d"):
        matching = [key for key in sorted(keys) if key.startswith(prefix)]
        assert _keys(store, prefix) == matching
        for after in [*keys, "b/", "b/c", "zz", "!"]:
            assert _keys(store, prefix, after) == [key for key in matching if key > after]


def test_a_list_tells_sizes_and_utc_times(store: Store) -> None:
    store.write("a", b"12345")
    (entry,) = store.list("")
    assert entry.size == 5
    assert entry.modified.tzinfo is UTC
    assert abs(datetime.now(UTC) - entry.modified) < timedelta(minutes=1)


def test_a_list_goes_on_past_a_page_of_a_thousand(store: Store) -> None:
    keys = [f"many/{number:04}" for number in range(1_100)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda key: store.write(key, b""), keys))
    assert _keys(store, "many/") == keys
    assert _keys(store, "many/", "many/0041") == keys[42:]


def test_a_list_of_nothing_is_empty(store: Store) -> None:
    assert _keys(store, "no/such/folder/") == []


def test_exactly_one_of_many_creators_wins(store: Store) -> None:
    start = threading.Barrier(8)

    def create(number: int) -> bool:
        start.wait()
        try:
            store.create("prize", b"%d" % number)
        except AlreadyExists:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(create, range(8)))
    assert won.count(True) == 1
    assert store.read("prize").data == b"%d" % won.index(True)


def test_replacing_in_a_loop_counts_every_round_of_every_thread(store: Store) -> None:
    store.write("count", b"0")

    def add_ten(_: int) -> None:
        done = 0
        while done < 10:
            blob = store.read("count")
            try:
                store.replace("count", b"%d" % (int(blob.data) + 1), blob.version)
            except VersionConflict:
                continue
            done += 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add_ten, range(4)))
    assert store.read("count").data == b"40"


def test_a_minute_is_written_once_whoever_writes(store: Store) -> None:
    def write_minutes(writer: int) -> list[int]:
        def row(minute: int, last: bytes) -> bytes | None:
            return None if last and int(last.split()[0]) >= minute else b"%d by %d" % (minute, writer)

        return [minute for minute in range(20) if store.append("log", partial(row, minute)) is not None]

    with ThreadPoolExecutor(4) as pool:
        written = list(pool.map(write_minutes, range(4)))
    rows = store.read("log").data.splitlines()
    minutes = [int(row.split()[0]) for row in rows]
    assert minutes == sorted(set(minutes))
    assert sorted(itertools.chain.from_iterable(written)) == minutes


def test_many_objects_are_read_in_order_up_to_the_first_that_is_not_there(store: Store) -> None:
    for number in range(40):
        store.write(f"many/{number}", b"%d" % number)
    found: list[int] = []
    with pytest.raises(NotFound, match="many/40"):
        found.extend(int(blob.data) for blob in read_ahead(store, store.read, map("many/{}".format, itertools.count())))
    assert found == list(range(40))
    assert threads_left() == []


def test_a_log_grows_past_five_mebibytes(store_at: StoreAt) -> None:
    name = _new_name()
    one, other = store_at(name), store_at(name)
    line = b"x" * 999_999
    for store in (one, one, other, one, other, other, one, one, other):
        store.append("log", line)
    assert one.append("log", lambda last: b"after %d" % len(last)) == b"after 999999"
    assert other.append("log", lambda last: last + b" last") == b"after 999999 last"
    assert other.read("log").data == (line + b"\n") * 9 + b"after 999999\nafter 999999 last\n"
    assert other.read("log", tail=6).data == b" last\n"
    one.write("log", other.read("log").data + b"torn")
    assert other.append("log", lambda last: last[-4:]) == b"last"
    assert one.read("log", tail=23).data == b"after 999999 last\nlast\n"


_KEYS = st.sampled_from(["a", "b", "folder/a", "folder/b", "folder/ä"])
_DATA = st.binary(max_size=40) | st.lists(st.binary(max_size=9), max_size=4).map(b"\n".join)
_LINES = st.binary(min_size=1, max_size=9).filter(lambda line: b"\n" not in line)
_OPERATIONS = st.one_of(
    st.tuples(st.sampled_from(["write", "create", "replace", "stale replace"]), _KEYS, _DATA),
    st.tuples(st.just("append"), _KEYS, _LINES),
    st.tuples(st.sampled_from(["extend", "decline"]), _KEYS, st.just(b"+")),
    st.tuples(st.sampled_from(["read", "list"]), _KEYS, st.binary(max_size=3)),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(operations=st.lists(_OPERATIONS, max_size=25), two_handles=st.booleans())
def test_any_sequence_of_operations_agrees_with_a_dict(
    store_at: StoreAt, operations: list[tuple[str, str, bytes]], two_handles: bool
) -> None:
    name = _new_name()
    one = store_at(name)
    handles = itertools.cycle([one, store_at(name)] if two_handles else [one])
    model: dict[str, bytes] = {}
    versions: dict[str, str] = {}

    def last_and_kept(key: str) -> tuple[bytes, bytes]:
        kept = model.get(key, b"")[: model.get(key, b"").rfind(b"\n") + 1]
        return (kept[:-1].rpartition(b"\n")[2] if kept else b""), kept

    for (action, key, data), store in zip(operations, handles, strict=False):
        if action == "write":
            versions[key], model[key] = store.write(key, data), data
        elif action == "create" and key in model:
            with pytest.raises(AlreadyExists):
                store.create(key, data)
        elif action == "create":
            versions[key], model[key] = store.create(key, data), data
        elif action in ("replace", "stale replace") and key not in model:
            with pytest.raises(NotFound):
                store.replace(key, data, "0-0-0-0")
        elif action == "replace":
            versions[key], model[key] = store.replace(key, data, versions[key]), data
        elif action == "stale replace":
            with pytest.raises(VersionConflict):
                store.replace(key, data, versions[key] + "x")
        elif action == "decline":
            assert store.append(key, lambda _: None) is None
        elif action in ("append", "extend"):
            last, kept = last_and_kept(key)
            line = data if action == "append" else last + data
            assert store.append(key, line if action == "append" else lambda found: found + b"+") == line
            model[key] = kept + line + b"\n"
            versions[key] = store.read(key).version
        elif action == "read":
            if key in model:
                blob = store.read(key, tail=len(data))
                expected = model[key][max(0, len(model[key]) - len(data)) :]
                assert (blob.data, blob.size, blob.version) == (expected, len(model[key]), versions[key])
        else:
            prefix = key[: len(data)]
            assert _keys(store, prefix) == sorted(k for k in model if k.startswith(prefix))
    assert {entry.key: one.read(entry.key).data for entry in one.list("")} == model
