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
from resources.store.local import LocalStore
from tests.arbitrage_parts import LogWriter, folded, rich_log
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
    store = stored(2, 1)
    journal = Journal.open(store, PREFIX)
    key = f"{PREFIX}00000001.jsonl"
    store.write(key, store.read(key).data.replace(b"1", b"2"))
    reading = journal.events()
    assert [next(reading), next(reading)] == list(EVENTS[:2])
    with pytest.raises(JournalError, match=key):
        next(reading)


def test_nothing_to_append_stores_nothing() -> None:
    store = stored(2)
    before = store.contents()
    Journal.open(store, PREFIX).append(())
    assert store.contents() == before
