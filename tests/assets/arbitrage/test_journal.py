"""The stored log: one chain, one winner, every byte checked, the same whoever wrote it in whatever pieces."""

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.arbitrage.codec import to_line
from assets.arbitrage.events import Event
from assets.arbitrage.journal import Journal, JournalError, Overtaken
from resources.store import Blob, NotFound, StoreError, StoreUnavailable
from resources.store.local import LocalStore
from tests.arbitrage_parts import LogWriter, folded, rich_log
from tests.faults.distant_store import DistantStore, threads_left
from tests.memory_store import MemoryStore

PREFIX = "arbitrage/simulated/2026-03-01/log/"
EVENTS = tuple(rich_log().events)


def stored(*sizes: int) -> MemoryStore:
    """The rich log's beginning, in segments of these many events."""
    store, first = MemoryStore(), 0
    journal = Journal.open(store, PREFIX)
    for size in sizes:
        journal.append(EVENTS[first : first + size])
        first += size
    return store


def test_a_new_journal_is_empty() -> None:
    journal = Journal.open(MemoryStore(), PREFIX)
    assert journal.head_seq == -1
    assert list(journal.events()) == []
    assert journal.sha256() == hashlib.sha256(b"").hexdigest()


@settings(max_examples=30)
@given(st.lists(st.integers(0, 15), max_size=6))
def test_the_log_is_the_same_however_it_was_cut(sizes: list[int]) -> None:
    store = stored(*sizes)
    expected = EVENTS[: sum(sizes)]
    journal = Journal.open(store, PREFIX)
    lines = b"".join(map(to_line, expected))
    assert tuple(journal.events()) == expected
    assert b"".join(journal.lines()) == lines
    assert journal.sha256() == hashlib.sha256(lines).hexdigest()
    assert journal.head_seq == len(expected) - 1


def test_a_killed_writer_goes_on_where_the_store_stands() -> None:
    """Killed after any event: what was stored folds to the state then, and the rest makes the same log."""
    whole = Journal.open(stored(len(EVENTS)), PREFIX).sha256()
    for cut in range(len(EVENTS) + 1):
        store = stored(cut)
        reopened = Journal.open(store, PREFIX)
        portfolio = folded(list(reopened.events()))
        assert portfolio.state() == folded(list(EVENTS[:cut])).state()
        reopened.append(EVENTS[cut:])
        assert Journal.open(store, PREFIX).sha256() == reopened.sha256() == whole
        for event in EVENTS[cut:]:
            portfolio.apply(event)
        assert portfolio.state() == folded(list(EVENTS)).state()


def test_it_is_the_same_on_a_disk(tmp_path: Path) -> None:
    journal = Journal.open(LocalStore(str(tmp_path)), PREFIX)
    journal.append(EVENTS[:5])
    journal.append(EVENTS[5:9])
    again = Journal.open(LocalStore(str(tmp_path)), PREFIX)
    assert tuple(again.events()) == EVENTS[:9]
    assert again.sha256() == journal.sha256()


def test_of_two_writers_the_second_is_overtaken() -> None:
    store = stored(3)
    first, second = Journal.open(store, PREFIX), Journal.open(store, PREFIX)
    first.append(EVENTS[3:5])
    with pytest.raises(Overtaken, match=r"log/00000001\.jsonl was stored by another writer"):
        second.append(EVENTS[3:6])
    assert second.head_seq == 2
    assert tuple(Journal.open(store, PREFIX).events()) == EVENTS[:5]


def test_of_many_writers_at_once_one_wins() -> None:
    store, outcomes = stored(3), list[str]()
    start = threading.Barrier(8)

    def write() -> None:
        journal = Journal.open(store, PREFIX)
        start.wait()
        try:
            journal.append(EVENTS[3:5])
            outcomes.append("stored")
        except Overtaken:
            outcomes.append("overtaken")

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["overtaken"] * 7 + ["stored"]
    assert tuple(Journal.open(store, PREFIX).events()) == EVENTS[:5]


@pytest.mark.parametrize("events", [EVENTS[:2], EVENTS[4:6], (EVENTS[3], EVENTS[5])], ids=["again", "hole", "skip"])
def test_events_that_do_not_continue_are_refused(events: tuple[Event, ...]) -> None:
    store = stored(3)
    before = store.contents()
    with pytest.raises(JournalError, match=r"00000001\.jsonl: event \d+ does not continue the log"):
        Journal.open(store, PREFIX).append(events)
    assert store.contents() == before


def test_any_byte_changed_is_found_and_its_segment_named() -> None:
    """The newest segment's bytes too, which no later segment vouches for."""
    store = stored(2, 1, 2)
    for key, data in store.contents().items():
        for at in range(0, len(data), 7):
            tampered = store.copy()
            tampered.write(key, data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
            with pytest.raises(JournalError, match=key):
                Journal.open(tampered, PREFIX)


@pytest.mark.parametrize(
    ("number", "change"),
    [
        (0, lambda data: data[:0]),
        (1, lambda data: data[:-1]),
        (1, lambda data: data.replace(b"{", b"{ ", 1)),
        (2, lambda data: data + data[data.find(b"\n") + 1 :]),
        (2, lambda data: data[: data.find(b"\n") + 1]),
    ],
    ids=["emptied", "torn", "respelt", "doubled", "without-events"],
)
def test_a_segment_of_another_form_is_damage(number: int, change: Callable[[bytes], bytes]) -> None:
    store = stored(2, 1, 2)
    key = f"{PREFIX}{number:08d}.jsonl"
    store.write(key, change(store.read(key).data))
    with pytest.raises(JournalError, match=f"{key} is damaged"):
        Journal.open(store, PREFIX)


def test_a_missing_segment_is_damage() -> None:
    store = stored(2, 1, 2)
    store.delete(f"{PREFIX}00000001.jsonl")
    with pytest.raises(JournalError, match=r"00000002\.jsonl is stored where .*00000001\.jsonl is next"):
        Journal.open(store, PREFIX)


def test_a_segment_of_another_log_is_damage() -> None:
    other = LogWriter()
    other.flow("1")
    store, foreign = stored(2, 1), MemoryStore()
    journal = Journal.open(foreign, PREFIX)
    journal.append(other.events)
    journal.append((EVENTS[2],))
    key = f"{PREFIX}00000001.jsonl"
    store.write(key, foreign.read(key).data)
    with pytest.raises(JournalError, match=key):
        Journal.open(store, PREFIX)


def test_damage_after_opening_is_found_when_it_is_read() -> None:
    store = stored(2)
    journal = Journal.open(store, PREFIX)
    journal.append(EVENTS[2:3])
    key = f"{PREFIX}00000001.jsonl"
    store.write(key, store.read(key).data.replace(b"1", b"2"))
    reading = journal.events()
    assert [next(reading), next(reading)] == list(EVENTS[:2])
    with pytest.raises(JournalError, match=key):
        next(reading)


# --- reading ---


def scattered(count: int = 40) -> MemoryStore:
    """A log of one event a segment."""
    return stored(*[1] * count)


def key_of(number: int) -> str:
    return f"{PREFIX}{number:08d}.jsonl"


def _damaged(store: MemoryStore, key: str) -> None:
    store.write(key, store.read(key).data.replace(b"1", b"2"))


class _Refusing(DistantStore):
    """Segment 20 is listed, and cannot be read where an error is given for it."""

    error: StoreError | None = None

    def read(self, key: str, *, tail: int | None = None) -> Blob:
        if key == key_of(20) and self.error is not None:
            raise self.error
        return super().read(key, tail=tail)


def test_who_opens_a_log_to_go_on_with_it_reads_it_once() -> None:
    store = DistantStore(scattered())
    journal = Journal.open(store, PREFIX)
    for _ in range(2):
        assert tuple(journal.events()) == EVENTS[:40]
        assert b"".join(journal.lines()) == b"".join(map(to_line, EVENTS[:40]))
    assert store.reads == {key_of(number): 1 for number in range(40)}
    assert store.lists == {PREFIX: 1}
    assert store.most_at_once <= store.reads_at_once


def test_what_opening_read_is_what_it_verified_whatever_came_after() -> None:
    """Of a log that is damaged or extended by another once it has been read, what was read is used, to the byte."""
    store = scattered(6)
    journal, other = Journal.open(store, PREFIX), Journal.open(store, PREFIX)
    other.append(EVENTS[6:8])
    _damaged(store, key_of(3))
    assert tuple(journal.events()) == EVENTS[:6]
    with pytest.raises(Overtaken):
        journal.append(EVENTS[6:7])


def test_a_log_that_was_extended_is_read_anew() -> None:
    store = DistantStore(scattered(6))
    journal = Journal.open(store, PREFIX)
    journal.append(EVENTS[6:8])
    assert tuple(journal.events()) == EVENTS[:8]
    assert store.reads == {key_of(number): 2 for number in range(6)} | {key_of(6): 1}


def test_a_segment_stored_while_the_log_is_read_is_there_whole_or_not_at_all() -> None:
    inner = scattered(30)
    store = DistantStore(inner)
    reader = Journal.open(store, PREFIX)
    reader.append(EVENTS[30:31])
    writer = Journal.open(inner, PREFIX)
    reading = reader.events()
    found = [next(reading) for _ in range(5)]
    writer.append(EVENTS[31:33])
    assert (*found, *reading) in (EVENTS[:31], EVENTS[:33])
    assert tuple(Journal.open(store, PREFIX).events()) == EVENTS[:33]


@pytest.mark.parametrize(
    ("happens", "error", "match"),
    [
        ("gone", NotFound, "no object there"),
        ("silent", StoreUnavailable, "no answer"),
        ("damaged", JournalError, f"{key_of(20)} is damaged"),
        ("missing", JournalError, f"{key_of(21)} is stored where {key_of(20)} is next"),
    ],
)
def test_what_cannot_be_read_is_raised_after_all_that_can(happens: str, error: type[Exception], match: str) -> None:
    inner = scattered(39)
    store = _Refusing(inner)
    journal = Journal.open(store, PREFIX)
    journal.append(EVENTS[39:40])
    if happens == "damaged":
        _damaged(inner, key_of(20))
    elif happens == "missing":
        inner.delete(key_of(20))
    else:
        store.error = NotFound("no object there") if happens == "gone" else StoreUnavailable("no answer")
    with pytest.raises(error, match=match):
        Journal.open(store, PREFIX)
    found: list[Event] = []
    with pytest.raises(error, match=match):
        found.extend(journal.events())
    assert tuple(found) == EVENTS[:20]
    assert threads_left() == []


def test_who_stops_reading_early_leaves_no_thread() -> None:
    store = DistantStore(scattered())
    journal = Journal.open(store, PREFIX)
    journal.append(EVENTS[40:41])
    store.reads.clear()
    reading = journal.events()
    assert next(reading) == EVENTS[0]
    del reading
    assert store.reads.total() == 1
    assert threads_left() == []


def test_nothing_to_append_stores_nothing() -> None:
    store = stored(2)
    before = store.contents()
    Journal.open(store, PREFIX).append(())
    assert store.contents() == before
