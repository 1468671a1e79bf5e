"""Reading ahead: the same results in the same order as one after another, sooner, and nothing left behind."""

import gc
import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from resources.store import Blob, NotFound, StoreUnavailable
from resources.store.reading import read_ahead
from tests.faults.distant_store import DistantStore, threads_left
from tests.memory_store import MemoryStore

PATIENCE = 60.0  # seconds a test waits for another thread before it fails
AT_ONCE = 4


def store_of(count: int, reads_at_once: int = AT_ONCE) -> DistantStore:
    inner = MemoryStore()
    for number in range(count):
        inner.write(str(number), b"%d" % number)
    return DistantStore(inner, reads_at_once=reads_at_once)


def keys(count: int) -> Iterator[str]:
    return map(str, range(count))


def numbers(store: DistantStore, read: Callable[[str], Blob] | None = None, count: int = 30) -> Iterator[int]:
    return (int(blob.data) for blob in read_ahead(store, read or store.read, keys(count)))


def delivered(reading: Iterator[int], error: type[Exception], match: str) -> list[int]:
    """What came before the error that ended the reading."""
    found = []
    with pytest.raises(error, match=match):
        found.extend(reading)  # a list keeps what it was given before the error
    assert next(reading, None) is None
    assert threads_left() == []
    return found


@pytest.mark.parametrize("reads_at_once", [1, 2, 3, 16, 100])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 40])
def test_results_come_in_order_and_each_is_read_once(reads_at_once: int, count: int) -> None:
    store, draw = store_of(count, reads_at_once), random.Random(count)
    pauses = [draw.uniform(0, 0.003) for _ in range(count)]

    def read(key: str) -> Blob:
        time.sleep(pauses[int(key)])
        return store.read(key)

    assert list(numbers(store, read, count)) == list(range(count))
    assert store.reads == dict.fromkeys(keys(count), 1)
    assert store.most_at_once <= reads_at_once
    assert threads_left() == []


def test_as_many_are_read_together_as_pay() -> None:
    """None of the last four returns before all four have begun."""
    store, together = store_of(30), threading.Barrier(AT_ONCE)

    def read(key: str) -> Blob:
        if int(key) >= 30 - AT_ONCE:
            together.wait(PATIENCE)
        return store.read(key)

    assert list(numbers(store, read)) == list(range(30))


def test_where_one_read_pays_each_is_read_when_it_is_asked_for_and_by_whom() -> None:
    store, here = store_of(30, reads_at_once=1), threading.get_ident()

    def read(key: str) -> Blob:
        assert threading.get_ident() == here
        return store.read(key)

    for taken, _ in enumerate(numbers(store, read), start=1):
        assert len(store.reads) == taken


def test_the_reading_runs_no_further_ahead_than_it_may() -> None:
    store = store_of(60)
    begun: list[str] = []

    def asked() -> Iterator[str]:
        for key in keys(60):
            begun.append(key)
            yield key

    for taken, _ in enumerate(read_ahead(store, store.read, asked()), start=1):
        assert len(begun) <= min(2 * taken - 1, taken + AT_ONCE - 1)
    assert len(begun) == 60


@pytest.mark.parametrize("taken", [0, 1, 2, 3, 20])
def test_who_stops_early_leaves_no_thread_and_few_reads(taken: int) -> None:
    store = store_of(30)
    reading = numbers(store)
    assert list(itertools.islice(reading, taken)) == list(range(taken))
    del reading
    gc.collect()
    assert threads_left() == []
    assert store.reads.total() <= max(0, min(2 * taken - 1, taken + AT_ONCE - 1))


def test_who_fails_over_a_result_leaves_no_thread() -> None:
    reading = read_ahead(store_of(30), lambda key: int(key), keys(30))
    with pytest.raises(ZeroDivisionError):
        sum(1 // (10 - number) for number in reading)
    del reading
    gc.collect()
    assert threads_left() == []


def test_a_read_under_way_is_waited_for() -> None:
    """A thread that outlived its reader would read a store that others think nobody uses any more."""
    store, ended = store_of(30), list[str]()
    slow, told = threading.Event(), threading.Event()

    def read(key: str) -> Blob:
        if key == "2":
            slow.set()
            assert told.wait(PATIENCE)
        blob = store.read(key)
        ended.append(key)
        return blob

    reading = read_ahead(store, read, keys(30))
    assert [next(reading).data, next(reading).data] == [b"0", b"1"]
    assert slow.wait(PATIENCE)
    threading.Timer(0.05, told.set).start()
    reading.close()  # type: ignore[attr-defined]
    assert "2" in ended
    assert threads_left() == []


@pytest.mark.parametrize("reads_at_once", [1, AT_ONCE])
@pytest.mark.parametrize("at", [0, 1, 5, 29])
def test_an_error_is_raised_in_its_place(at: int, reads_at_once: int) -> None:
    store = store_of(30, reads_at_once)

    def read(key: str) -> Blob:
        if key == str(at):
            raise StoreUnavailable(f"cannot read {key}")
        return store.read(key)

    assert delivered(numbers(store, read), StoreUnavailable, f"cannot read {at}") == list(range(at))


@pytest.mark.parametrize("reads_at_once", [1, AT_ONCE])
def test_a_read_that_says_it_is_at_an_end_ends_nothing_unsaid(reads_at_once: int) -> None:
    """``StopIteration`` is how a generator ends: out of a read it is an error, and not fewer results."""
    store = store_of(30, reads_at_once)

    def read(key: str) -> Blob:
        return next(iter([])) if key == "3" else store.read(key)

    assert delivered(numbers(store, read), RuntimeError, "StopIteration") == [0, 1, 2]


def test_a_missing_object_is_raised_in_its_place() -> None:
    store = store_of(20)
    assert delivered(numbers(store), NotFound, "'20'") == list(range(20))


def test_the_first_error_in_order_is_raised_though_a_later_read_failed_before_it() -> None:
    store, later = store_of(30), threading.Event()

    def read(key: str) -> Blob:
        if key == "10":
            assert later.wait(PATIENCE)
            raise StoreUnavailable("the tenth")
        if key == "12":
            later.set()
            raise NotFound("the twelfth")
        return store.read(key)

    assert delivered(numbers(store, read), StoreUnavailable, "the tenth") == list(range(10))


@pytest.mark.parametrize("reads_at_once", [1, AT_ONCE])
def test_an_error_of_what_names_the_items_is_raised_after_the_items_named_before(reads_at_once: int) -> None:
    """A listing that breaks off at its second page."""
    store, here = store_of(30, reads_at_once), threading.get_ident()

    def asked() -> Iterator[str]:
        yield from keys(17)
        assert threading.get_ident() == here
        raise StoreUnavailable("no second page")

    reading = (int(blob.data) for blob in read_ahead(store, store.read, asked()))
    assert delivered(reading, StoreUnavailable, "no second page") == list(range(17))
