"""The stored ledger: appended once, in one chain, by any number of writers; replay is state (A11, A12)."""

import threading
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.accounting.book import MEMORY, Book, LedgerError
from assets.accounting.events import Event, Fill
from assets.accounting.ledger import SNAPSHOT, Ledger, Overtaken, read_segment, read_snapshot, segment_key
from resources.documents import dump_document, load_document
from resources.store import Blob, NotFound
from resources.store.local import LocalStore
from tests.assets.accounting.test_book import C0, T, book_of, fill, funding, histories
from tests.faults.distant_store import DistantStore, threads_left
from tests.faults.watched_store import WatchedStore
from tests.memory_store import MemoryStore


def segments_in(store: MemoryStore) -> int:
    return len(list(store.list("ledger/segments/")))


def test_a_new_ledger_is_founded_with_its_capital() -> None:
    store = MemoryStore()
    book = Ledger(store, C0).book()
    assert (book.cash, book.seq, book.held()) == (C0, 0, {})
    assert read_segment(store, 0).initial_capital == C0


def test_another_capital_is_refused_because_it_is_history() -> None:
    store = MemoryStore()
    Ledger(store, C0)
    with pytest.raises(LedgerError, match="began with 1000000, settings say 20000"):
        Ledger(store, Decimal(20_000))


@given(st.lists(histories(), max_size=4), st.integers(0, 4))
def test_snapshot_and_tail_equal_the_full_replay(batches: list[list[Event]], snapshot_after: int) -> None:
    """A11: whichever segment the snapshot was taken at, and with none at all."""
    store = MemoryStore()
    writer = Ledger(store, C0)
    unique = [_numbered(batch, number) for number, batch in enumerate(batches)]
    for number, batch in enumerate(unique):
        writer.post(batch)
        if number == snapshot_after:
            writer.snapshot()
    expected = book_of(*(event for batch in unique for event in batch)).to_document() | {"seq": writer.book().seq}
    assert writer.book().to_document() == expected
    assert Ledger(store, C0).book().to_document() == expected
    assert Ledger(store, C0).book_at(writer.book().seq).to_document() == expected


def test_an_earlier_state_can_be_replayed() -> None:
    ledger = Ledger(MemoryStore(), C0)
    ledger.post([fill(1, "1", "10")])
    ledger.post([fill(2, "1", "10")])
    assert ledger.book_at(1).quantity("AUSDT") == 1
    assert ledger.book_at(0).held() == {}
    with pytest.raises(LedgerError, match="ends at segment 2, before 3"):
        ledger.book_at(3)


def test_posting_again_changes_nothing_and_says_so() -> None:
    store = MemoryStore()
    ledger = Ledger(store, C0)
    events = [fill(1, "1", "10"), funding(1, "2")]
    assert ledger.post(events) == events
    assert ledger.post(events) == []
    assert Ledger(store, C0).post([events[0], fill(2, "1", "10"), events[1]]) == [fill(2, "1", "10")]
    assert segments_in(store) == 3


def test_an_event_given_twice_in_one_batch_is_stored_once() -> None:
    store = MemoryStore()
    Ledger(store, C0).post([fill(1, "1", "10"), fill(1, "1", "10")])
    assert len(read_segment(store, 1).events) == 1


def test_an_event_the_book_has_forgotten_is_still_not_posted_twice() -> None:
    """A rebalance resumed after weeks: ids older than the book's memory are looked up in the segments."""
    store = MemoryStore()
    ledger = Ledger(store, C0)
    ledger.post([fill(1, "1", "10")])
    ledger.post([fill(2, "1", "10", time=T + MEMORY + timedelta(days=1))])
    assert ledger.post([fill(1, "1", "10")]) == []
    with pytest.raises(LedgerError, match="older than"):
        ledger.post([fill(3, "1", "10")])
    assert ledger.book().quantity("AUSDT") == 2


@pytest.mark.parametrize(
    "poison",
    [
        fill(9, "0", "10"),
        fill(9, "1", "-10"),
        fill(9, "1", "10", fee="-1"),
        fill(9, "1", "NaN"),
        fill(9, "1", "Infinity"),
        fill(9, "NaN", "1"),
        fill(9, "1", "1E+500000"),
    ],
    ids=lambda event: f"{event.quantity} at {event.price}, fee {event.fee}",
)
def test_an_event_that_cannot_be_applied_is_never_stored(poison: Fill) -> None:
    """Stored once, it would stop every reader for ever; the good event of its batch is not stored either."""
    store = MemoryStore()
    ledger = Ledger(store, C0)
    with pytest.raises((LedgerError, ArithmeticError, ValueError)):
        ledger.post([fill(1, "1", "10"), poison])
    assert segments_in(store) == 1
    assert ledger.book().held() == {}
    assert ledger.post([fill(1, "1", "10")])


class Interleaved(MemoryStore):
    """Lets somebody else act between a writer's last read and its create."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: Callable[[], object] | None = None

    def create(self, key: str, data: bytes) -> str:
        act, self.meanwhile = self.meanwhile, None
        if act is not None:
            act()
        return super().create(key, data)


def test_two_interleaved_writers_both_land_once() -> None:
    store = Interleaved()
    one, other = Ledger(store, C0), Ledger(store, C0)
    store.meanwhile = lambda: other.post([fill(2, "5", "10")])
    assert one.post([fill(1, "3", "10")]) == [fill(1, "3", "10")]
    for ledger in (one, other, Ledger(store, C0)):
        assert ledger.book().quantity("AUSDT") == 8
    assert segments_in(store) == 3


def test_of_two_writers_of_one_event_only_one_lands() -> None:
    store = Interleaved()
    one, other = Ledger(store, C0), Ledger(store, C0)
    store.meanwhile = lambda: other.post([fill(1, "3", "10")])
    assert one.post([fill(1, "3", "10")]) == []
    assert one.book().quantity("AUSDT") == 3
    assert segments_in(store) == 2


def test_two_founders_agree_on_one_beginning() -> None:
    store = Interleaved()
    store.meanwhile = lambda: Ledger(store, C0)
    assert Ledger(store, C0).book().cash == C0
    assert segments_in(store) == 1


def test_many_threads_post_everything_once(tmp_path: Path) -> None:
    """Each of four writers posts its own fills and all of one shared fill, on a real folder."""
    store = LocalStore(tmp_path)
    Ledger(store, C0)
    errors: list[BaseException] = []

    def post(writer: int) -> None:
        try:
            ledger = Ledger(store, C0)
            for number in range(5):
                ledger.post([fill(100 * writer + number, "1", "10"), fill(7, "1000", "10")])
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=post, args=(writer,)) for writer in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert Ledger(store, C0).book().quantity("AUSDT") == 1000 + 4 * 5


def test_what_was_planned_for_another_book_is_not_posted() -> None:
    """A writer that slept while others traded finds its precondition broken in the very segment it would take."""
    store = Interleaved()
    sleeper, other = Ledger(store, C0), Ledger(store, C0)
    store.meanwhile = lambda: other.post([fill(2, "5", "10")])
    with pytest.raises(Overtaken):
        sleeper.post([fill(1, "3", "10")], provided=lambda book: not book.held())
    assert Ledger(store, C0).book().held() == {"AUSDT": Decimal(5)}


def test_a_repeat_needs_no_precondition() -> None:
    ledger = Ledger(MemoryStore(), C0)
    ledger.post([fill(1, "3", "10")], provided=lambda book: not book.held())
    assert ledger.post([fill(1, "3", "10")], provided=lambda book: not book.held()) == []


def _three_segments() -> MemoryStore:
    store = MemoryStore()
    ledger = Ledger(store, C0)
    for number in (1, 2, 3):
        ledger.post([fill(number, "1", "10")])
    return store


def test_an_edited_segment_is_found_by_the_next_ones_hash() -> None:
    store = _three_segments()
    document = load_document(store.read(segment_key(2)).data)
    document["events"][0]["quantity"] = Decimal("1.001")
    store.write(segment_key(2), dump_document(document))
    with pytest.raises(LedgerError, match=r"000000000003\.json does not continue the chain"):
        Ledger(store, C0).book()
    with pytest.raises(LedgerError, match="does not continue the chain"):
        list(Ledger(store, C0).segments())


def test_a_live_ledger_refuses_a_segment_of_another_chain() -> None:
    store = _three_segments()
    follower = Ledger(store, C0)
    follower.book()
    store.write(segment_key(4), dump_document({"seq": 4, "previous_sha256": "0" * 64, "events": []}))
    with pytest.raises(LedgerError, match="does not continue the chain"):
        follower.book()


def test_a_ledger_that_is_asked_while_it_reads_folds_no_segment_twice() -> None:
    class Asking(WatchedStore):
        asked = False

        def read(self, key: str, *, tail: int | None = None) -> Blob:
            if key == segment_key(1) and not self.asked:
                self.asked = True
                ledger.book()
            return super().read(key, tail=tail)

    ledger = Ledger(Asking(_three_segments()), C0)
    with pytest.raises(LedgerError, match=r"000000000001\.json does not continue the chain"):
        ledger.book()
    assert ledger.book().to_document() == Ledger(_three_segments(), C0).book().to_document()


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{}", b'{"seq":4,"previous_sha256":"","events":[{"kind":"loan"}]}', b'{"events":3}', b"\xff\xfe",
     b'{"seq":4,"previous_sha256":"","events":["fill"]}', b'{"seq":4,"previous_sha256":"","events":[{"kind":["x"]}]}'],
)  # fmt: skip
def test_a_segment_that_is_none_is_named(data: bytes) -> None:
    store = _three_segments()
    store.write(segment_key(4), data)
    with pytest.raises(LedgerError, match=r"000000000004.json is not a ledger segment"):
        Ledger(store, C0).book()


def test_a_removed_segment_ends_the_ledger_there_and_the_gap_is_not_jumped() -> None:
    store = _three_segments()
    store.delete(segment_key(2))
    assert Ledger(store, C0).book().seq == 1
    with pytest.raises(NotFound):
        read_segment(store, 2)


def test_a_ledger_far_away_is_the_same_ledger_read_ahead() -> None:
    inner = MemoryStore()
    writer = Ledger(inner, C0)
    for number in range(1, 60):
        writer.post([fill(number, "1", "10")])
    store = DistantStore(inner)
    ledger = Ledger(store, C0)
    assert ledger.book().to_document() == writer.book().to_document()
    assert list(ledger.segments()) == list(writer.segments())
    assert ledger.book_at(20).to_document() == writer.book_at(20).to_document()
    # How far beyond its end the ledger was asked for, before that was known to be the end: the first number that is
    # missing and what was under way beside it, which differs with how soon each read is begun.
    assert segment_key(59 + store.reads_at_once) >= max(store.reads.keys() - {SNAPSHOT}) >= segment_key(60)
    store.reads.clear()
    ledger.book()
    assert store.reads == {segment_key(60): 1}
    assert list(ledger.segments(until=2))[-1].seq == 2
    assert max(store.reads) == segment_key(60)
    assert threads_left() == []


def test_a_ledger_far_away_ends_at_the_first_gap_and_stops_at_the_first_damage() -> None:
    inner = MemoryStore()
    writer = Ledger(inner, C0)
    for number in range(1, 60):
        writer.post([fill(number, "1", "10")])
    damaged, gone = inner.copy(), inner.copy()
    damaged.write(segment_key(40), b"[]")
    damaged.delete(segment_key(45))
    gone.delete(segment_key(40))
    gone.write(segment_key(43), b"[]")
    found: list[int] = []
    with pytest.raises(LedgerError, match=r"000000000040\.json is not a ledger segment"):
        found.extend(segment.seq for segment in Ledger(DistantStore(damaged), C0).segments())
    assert found == list(range(40))
    assert Ledger(DistantStore(gone), C0).book().seq == 39
    assert threads_left() == []


def test_a_snapshot_may_be_lost() -> None:
    store = _three_segments()
    Ledger(store, C0).snapshot()
    before = Ledger(store, C0).book().to_document()
    store.delete(SNAPSHOT)
    assert Ledger(store, C0).book().to_document() == before


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda _: b"", id="empty"),
        pytest.param(lambda data: data[: len(data) // 2], id="cut off"),
        pytest.param(lambda _: b"[]", id="no object"),
        pytest.param(lambda _: b"{}", id="nothing in it"),
        pytest.param(lambda data: data.replace(b'"seq":3', b'"seq":"3"'), id="a text for a number"),
        pytest.param(lambda data: data.replace(b'"cash":', b'"cash":"much","was":'), id="no amount"),
    ],
)
def test_a_damaged_snapshot_is_passed_over_aloud(
    damage: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    store = _three_segments()
    Ledger(store, C0).snapshot()
    before = Ledger(store, C0).book().to_document()
    whole = store.read(SNAPSHOT).data
    store.write(SNAPSHOT, damage(whole))
    assert store.read(SNAPSHOT).data != whole
    assert not caplog.records
    ledger = Ledger(store, C0)
    assert ledger.book().to_document() == before
    assert SNAPSHOT in caplog.text
    ledger.post([fill(4, "1", "10")])
    ledger.snapshot()
    assert store.read(SNAPSHOT).data != whole
    assert read_snapshot(store) is not None


def test_the_chain_continues_after_a_snapshot() -> None:
    store = _three_segments()
    Ledger(store, C0).snapshot()
    Ledger(store, C0).post([fill(4, "1", "10")])
    assert [segment.seq for segment in Ledger(store, C0).segments()] == [0, 1, 2, 3, 4]
    assert Ledger(store, C0).book().quantity("AUSDT") == 4


def _numbered(events: list[Event], batch: int) -> list[Event]:
    numbered = []
    for event in events:
        fields = {name: getattr(event, name) for name in event.__slots__}
        numbered.append(type(event)(**(fields | {"event_id": f"{batch}:{event.event_id}"})))
    return numbered


def test_a_books_sequence_number_is_the_ledgers() -> None:
    ledger = Ledger(MemoryStore(), C0)
    ledger.post([fill(1, "1", "10")])
    assert isinstance(ledger.book(), Book)
    assert ledger.book().seq == 1
