"""How long orders took to be confirmed, read from the stored log on from where it was read last."""

import threading
from decimal import Decimal

import pytest

from assets.arbitrage.codec import to_line
from assets.arbitrage.events import Event, OrderSubmitted
from assets.arbitrage.journal import Journal
from assets.arbitrage.portfolio import Portfolio
from assets.arbitrage.publication import records
from dashboards import confirmations
from dashboards.confirmations import NOTHING_CONFIRMED, ConfirmationLog
from resources.bus.streams import CONFIRMS
from resources.store import Blob
from tests.arbitrage_parts import rich_log
from tests.faults.distant_store import DistantStore, threads_left
from tests.memory_store import MemoryStore

DAY = "2026-03-02"
PREFIX = f"arbitrage/simulated/{DAY}/log"
EVENTS = rich_log().events


class CountingStore(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.reads: list[str] = []

    def read(self, key: str, *, tail: int | None = None) -> Blob:
        self.reads.append(key)
        return super().read(key, tail=tail)


def stored(events: list[Event], segment: int = 7) -> CountingStore:
    store = CountingStore()
    journal = Journal.open(store, PREFIX)
    for start in range(0, len(events), segment):
        journal.append(events[start : start + segment])
    store.reads.clear()
    return store


def published(events: list[Event]) -> list[tuple[int, Decimal]]:
    """What the stream of confirmations is given."""
    portfolio = Portfolio()
    found: list[tuple[int, Decimal]] = []
    for event in events:
        portfolio.apply(event)
        entries = [entry for entry in records(event, portfolio, {}) if entry.stream == CONFIRMS]
        found += [(event.time_ns, Decimal(entry.fields["execution_time_ms"])) for entry in entries]
    return found


def test_they_are_those_that_the_stream_has() -> None:
    log = ConfirmationLog(stored(EVENTS), "SIMULATED")
    log.refresh(DAY)
    expected = published(EVENTS)
    assert len(expected) > 10
    assert log.confirmations.points == tuple(expected)
    assert log.confirmations.reason == ""


def test_only_what_was_added_is_read_again() -> None:
    half = len(EVENTS) // 2
    store = stored(EVENTS[:half])
    log = ConfirmationLog(store, "SIMULATED")
    log.refresh(DAY)
    Journal.open(store, PREFIX).append(EVENTS[half:])
    store.reads.clear()
    log.refresh(DAY)
    assert len(store.reads) == 1
    assert log.confirmations.points == tuple(published(EVENTS))
    log.refresh(DAY)
    assert len(store.reads) == 1


def test_a_day_without_an_order_says_so_and_yesterday_s_are_not_today_s() -> None:
    store = stored(EVENTS)
    log = ConfirmationLog(store, "SIMULATED")
    log.refresh(DAY)
    log.refresh("2026-03-03")
    assert log.confirmations == NOTHING_CONFIRMED
    assert ConfirmationLog(MemoryStore(), "SIMULATED").confirmations == NOTHING_CONFIRMED


def test_an_order_of_another_day_is_known_to_who_saw_it_sent_and_undefined_to_others() -> None:
    sent, order = next((n, event) for n, event in enumerate(EVENTS) if isinstance(event, OrderSubmitted))
    store = stored(EVENTS[: sent + 1])
    following = [event for event in EVENTS[sent + 1 :] if getattr(event, "order_id", "") == order.order_id]
    text = b"{}\n" + b"".join(map(to_line, following))
    store.create("arbitrage/simulated/2026-03-03/log/00000000.jsonl", text)
    witness = ConfirmationLog(store, "SIMULATED")
    witness.refresh(DAY)
    witness.refresh("2026-03-03")
    assert witness.confirmations.points[0] == published(EVENTS)[0]
    newcomer = ConfirmationLog(store, "SIMULATED")
    newcomer.refresh("2026-03-03")
    assert [took for _, took in newcomer.confirmations.points] == [None] * len(newcomer.confirmations.points)
    assert newcomer.confirmations.points


def test_a_damaged_segment_is_named_until_it_is_repaired() -> None:
    store = stored(EVENTS)
    key = next(key for key, data in store.contents().items() if b"order_filled" in data)
    whole = store.read(key).data
    store.write(key, whole.replace(b'"order_filled"', b'"order_melted"'))
    log = ConfirmationLog(store, "SIMULATED")
    log.refresh(DAY)
    assert log.confirmations.points == ()
    assert key in log.confirmations.reason
    store.write(key, whole)
    log.refresh(DAY)
    assert log.confirmations.points == tuple(published(EVENTS))


def test_a_long_log_is_read_in_parts_and_shows_no_old_one_as_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confirmations, "_SEGMENTS", 5)
    log = ConfirmationLog(stored(EVENTS, segment=3), "SIMULATED")
    log.refresh(DAY)
    assert log.behind
    assert (log.confirmations.points, log.confirmations.reason) == ((), "reading the day's log")
    while log.behind:
        log.refresh(DAY)
    assert log.confirmations.points == tuple(published(EVENTS))


def test_of_a_distant_store_many_segments_are_read_at_once_and_a_damaged_one_stays_named() -> None:
    """The page that is shown beside it waits meanwhile."""
    inner = stored(EVENTS, segment=3)
    together = threading.Barrier(2)

    class Together(DistantStore):
        """Neither of two later reads returns before both have begun."""

        def read(self, key: str, *, tail: int | None = None) -> Blob:
            if key.endswith(("/00000005.jsonl", "/00000006.jsonl")):
                together.wait(60)
            return super().read(key, tail=tail)

    store = Together(inner)
    log = ConfirmationLog(store, "SIMULATED")
    log.refresh(DAY)
    assert log.confirmations.points == tuple(published(EVENTS))
    keys = list(inner.contents())
    damaged = next(key for key in keys[len(keys) // 2 :] if b"order_filled" in inner.read(key).data)
    whole = inner.read(damaged).data
    inner.write(damaged, whole.replace(b'"order_filled"', b'"order_melted"'))
    log = ConfirmationLog(store, "SIMULATED")
    log.refresh(DAY)
    assert damaged in log.confirmations.reason
    assert threads_left() == []
    inner.write(damaged, whole)
    log.refresh(DAY)
    assert log.confirmations.points == tuple(published(EVENTS))
