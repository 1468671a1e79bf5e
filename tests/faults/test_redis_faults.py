"""Redis killed and started again while a trader publishes, consumers killed at every call: nothing lost or twice."""

import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import pytest
import redis

from assets.arbitrage.events import Event, SessionOpened
from assets.arbitrage.outbox import Outbox
from assets.arbitrage.portfolio import Portfolio
from assets.arbitrage.publication import ACTIVE, CLOSED, PORTFOLIO_STATE, Publication, records_between
from resources.bus import START, EntryId, StreamRecord
from resources.bus.consumer import Consumer, Entry
from resources.bus.redis_bus import connect
from resources.bus.streams import CONFIRMS, SIGNALS, Confirmation, Signal
from resources.documents import Document, load_document
from resources.store import NotFound
from tests.arbitrage_parts import LogWriter
from tests.faults.dying_store import DyingStore, Killed
from tests.memory_store import MemoryStore
from tests.redis_server import RedisServer, needs_redis, redis_server
from tests.resources.bus_parts import T0_MS, Reports, confirmation, entry, publisher, stream_of

pytestmark = needs_redis

WAIT = 60.0
END = EntryId(2**62, 0)


def day_of_trades(count: int) -> LogWriter:
    log = LogWriter()
    for number in range(count):
        log.wait(1_000_000_000)
        log.closed_trade(exit=("100.5", "101.4") if number % 3 else ("99.9", "101.1"))
    log.opened_trade("0.5")
    return log


@pytest.fixture(scope="module")
def whole_day() -> LogWriter:
    return day_of_trades(60)


def expected(events: list[Event], stream: str) -> list[StreamRecord]:
    return list(records_between(events, Portfolio(), stream, START, END))


def complete(client: "redis.Redis", log: LogWriter) -> None:
    """Redis holds the log: every entry once and in order, every key as of the last event."""
    for stream in (SIGNALS, CONFIRMS):
        assert stream_of(client, stream) == expected(log.events, stream)
    assert load_document(str(client.get(PORTFOLIO_STATE)).encode())["seq"] == log.portfolio.seq
    assert {key.removeprefix(CLOSED) for key in client.scan_iter(f"{CLOSED}*")} == {
        trade.id for trade in log.portfolio.closed_trades
    }
    assert {key.removeprefix(ACTIVE) for key in client.scan_iter(f"{ACTIVE}*")} == {
        trade.id for trade in log.portfolio.open_trades
    }


@pytest.mark.parametrize(
    "persistence",
    [
        ("--save", ""),
        ("--save", "", "--appendonly", "yes", "--appendfsync", "everysec"),
        # Saved where the test says so: a snapshot that the server began by itself refuses another beside it.
        ("--save", "3600 1", "--rdbcompression", "no"),
    ],
    ids=["nothing kept", "append-only file", "snapshots"],
)
def test_redis_killed_during_a_run_loses_and_repeats_nothing(
    tmp_path: Path, whole_day: LogWriter, persistence: tuple[str, ...]
) -> None:
    events = whole_day.events
    stored: list[Event] = []
    box = Outbox(lambda: iter(list(stored)), -1, kept=100)
    first = events[0]
    assert isinstance(first, SessionOpened)
    reports = Reports()
    with redis_server(tmp_path, *persistence) as server:
        bus = publisher(server.client(), Publication(first, box.events_after), reports)
        for number, event in enumerate(events):
            stored.append(event)
            box.add([event])
            bus.announce(event.seq)
            if number in (100, 275, 400) and "3600 1" in persistence:
                server.client().save()  # what it will come back to
            if number in (150, 300, 450):
                server.kill()
            elif number in (250, 301, 500):
                if number == 500:
                    until = time.monotonic() + WAIT
                    while not bus.health().errors:  # an attempt was refused
                        assert time.monotonic() < until
                        time.sleep(0.01)
                server.start()
                assert bus.wait_for(event.seq, WAIT)
            time.sleep(0.0005)
        assert bus.wait_for(events[-1].seq, WAIT)
        bus.close()
        complete(server.client(), whole_day)
        health = bus.health()
    assert len(events) > 550
    assert (health.failed, health.replaced, health.lag_events) == ("", 0, 0)
    assert health.errors >= 1
    assert "the bus is connected again" in reports.said


def test_redis_that_is_away_at_the_start_is_filled_when_it_comes(tmp_path: Path, whole_day: LogWriter) -> None:
    events = whole_day.events
    server = RedisServer(tmp_path, "--save", "")
    first = events[0]
    assert isinstance(first, SessionOpened)
    bus = publisher(server.client(), Publication(first, lambda seq: iter(events[seq + 1 :])))
    bus.announce(events[-1].seq)
    assert not bus.wait_for(0, 0.2)
    assert bus.health().lag_events == len(events)
    server.start()
    try:
        assert bus.wait_for(events[-1].seq, WAIT)
        bus.close()
        complete(server.client(), whole_day)
    finally:
        server.kill()


def test_a_redis_that_never_comes_holds_nobody_up(tmp_path: Path, whole_day: LogWriter) -> None:
    first = whole_day.events[0]
    assert isinstance(first, SessionOpened)
    server = RedisServer(tmp_path)
    bus = publisher(server.client(), Publication(first, lambda seq: iter(whole_day.events[seq + 1 :])))
    for event in whole_day.events:
        bus.announce(event.seq)
    bus.close(0.1)
    assert not any(thread.name == "bus-publisher" and thread.is_alive() for thread in threading.enumerate())
    assert (bus.health().connected, bus.health().published) == (False, 0)


# Consumers killed at every call


class DyingClient:
    """A Redis client whose process dies at its ``die_at``-th call (from 1), before or after Redis did it."""

    def __init__(
        self, client: Any, die_at: int, when: Literal["before", "after"], calls: list[int] | None = None
    ) -> None:
        self._client = client
        self._die_at = die_at
        self._when = when
        self.calls = [0] if calls is None else calls

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if name == "pipeline":
            return lambda **options: DyingPipeline(found(**options), self)
        return lambda *args, **options: self.call(lambda: found(*args, **options))

    def call(self, command: Callable[[], Any]) -> Any:
        self.calls[0] += 1
        number = self.calls[0]
        if number > self._die_at or (number == self._die_at and self._when == "before"):
            raise Killed(f"call {number}")
        result = command()
        if number == self._die_at:
            raise Killed(f"call {number}, done")
        return result


class DyingPipeline:
    """Commands are only collected until ``execute``: that is the call to die at."""

    def __init__(self, pipe: Any, client: DyingClient) -> None:
        self._pipe = pipe
        self._client = client

    def __enter__(self) -> "DyingPipeline":
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.reset()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._pipe, name)
        if name != "execute":
            return found
        return lambda **options: self._client.call(lambda: found(**options))


def tallied(state: Document, each: Entry) -> Document:
    """An effect that shows every repetition: counts, and what was filled."""
    assert isinstance(each.record, Confirmation)
    if each.record.order_id == "paper_5":
        raise LookupError("always")
    filled = Decimal(state["filled"]) + each.record.quantity
    return {"count": state["count"] + 1, "filled": filled, "ids": [*state["ids"], str(each.id)]}


def reader_of(client: Any, store: Any, name: str, missed: Any) -> Consumer:
    initial: Document = {"count": 0, "filled": Decimal(0), "ids": []}
    return Consumer(
        client, CONFIRMS, "telemetry", name, store, "telemetry/fills", tallied, initial, missed, count=4, deliveries=2,
        idle_ms=0,
    )  # fmt: skip


def missed(after: EntryId, before: EntryId) -> list[StreamRecord]:
    return [entry(number) for number in range(24) if after < entry(number).id < before]


def fill_stream(client: "redis.Redis") -> None:
    for number in range(16):
        client.xadd(CONFIRMS, dict(entry(number).fields), id=str(entry(number).id))  # type: ignore[arg-type]


def middle(client: "redis.Redis") -> None:
    """What happens to the stream half way: more entries, one that cannot be read, and others lost to the bound."""
    for number in range(16, 24):
        client.xadd(CONFIRMS, dict(entry(number).fields), id=str(entry(number).id))  # type: ignore[arg-type]
    client.xadd(CONFIRMS, {"hello": "world"}, id=f"{T0_MS + 1_000_000}-0")
    client.xtrim(CONFIRMS, maxlen=4, approximate=False)


def run(client: Any, store: Any, raw: "redis.Redis", name: str) -> None:
    """Reads half, is overtaken by events, reads the rest."""
    reader = reader_of(client, store, name, missed)
    for _ in range(3):
        reader.poll(0)
    if not raw.exists("middle"):
        middle(raw)
        raw.set("middle", "1")
    drain(reader)


def drain(reader: Consumer) -> None:
    quiet = 0
    while quiet < 3:  # an entry whose handler fails waits for its next turn
        quiet = 0 if reader.poll(0) else quiet + 1


def check(raw: "redis.Redis", store: MemoryStore) -> None:
    reader = reader_of(raw, store, "after", missed)
    drain(reader)
    state, report = reader.state(), reader.report()
    assert sorted(state["ids"]) == sorted(str(entry(number).id) for number in range(24) if number != 5)
    assert state["count"] == report.handled == 23
    assert state["filled"] == 23 * confirmation(0).quantity
    assert (report.dead, report.malformed, report.lost) == (2, 1, 0)
    assert sum("/dead/" in key for key in store.contents()) == 2
    assert raw.xpending(CONFIRMS, "telemetry")["pending"] == 0


def deaths(server: RedisServer, attempt: Callable[["redis.Redis", MemoryStore], bool]) -> int:
    """Tries ``attempt``, which says whether somebody died, on a fresh Redis; the effects are right afterwards."""
    raw, store = server.client(), MemoryStore()
    raw.flushall()
    fill_stream(raw)
    died = attempt(raw, store)
    if not died:
        check(raw, store)
        return 0
    run(raw, store, raw, "one")  # the same consumer, started again
    check(raw, store)
    return 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_consumer_killed_at_any_call_to_redis_has_its_effects_once(
    server: RedisServer, when: Literal["before", "after"]
) -> None:
    die_at = 0

    def attempt(raw: "redis.Redis", store: MemoryStore) -> bool:
        try:
            run(DyingClient(raw, die_at, when), store, raw, "one")
        except Killed:
            return True
        return False

    while True:
        die_at += 1
        if not deaths(server, attempt):
            break
    assert die_at > 30


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_consumer_killed_at_any_call_to_the_store_has_its_effects_once(
    server: RedisServer, when: Literal["before", "after"]
) -> None:
    die_at = 0

    def attempt(raw: "redis.Redis", store: MemoryStore) -> bool:
        try:
            run(raw, DyingStore(store, die_at, when), raw, "one")
        except Killed:
            return True
        return False

    while True:
        die_at += 1
        if not deaths(server, attempt):
            break
    assert die_at > 10


def test_two_consumers_of_which_one_dies_again_and_again(server: RedisServer) -> None:
    raw, store = server.client(), MemoryStore()
    raw.flushall()
    fill_stream(raw)
    for die_at in range(1, 60, 3):
        with pytest.raises(Killed):
            run(DyingClient(raw, die_at % 11 + 1, "after"), store, raw, "one")
        reader_of(raw, store, "two", missed).poll(0)
    run(raw, store, raw, "two")
    check(raw, store)


def test_consumers_go_on_through_a_killed_redis(tmp_path: Path, whole_day: LogWriter) -> None:
    """The whole way: log, Redis that is killed and comes back empty, consumer, stored effect."""
    events = whole_day.events
    first = events[0]
    assert isinstance(first, SessionOpened)
    store = MemoryStore()

    def signalled(state: Document, each: Entry) -> Document:
        assert isinstance(each.record, Signal)
        return {"trades": [*state["trades"], each.record.signal_id]}

    def unread(after: EntryId, before: EntryId) -> Iterator[StreamRecord]:
        return records_between(events, Portfolio(), SIGNALS, after, before)

    with redis_server(tmp_path) as server:
        bus = publisher(server.client(), Publication(first, lambda seq: iter(events[seq + 1 :])))
        reader = Consumer(
            connect(server.url), SIGNALS, "screens", "one", store, "screens/signals", signalled, {"trades": []}, unread,
            count=7,
        )  # fmt: skip
        wanted = [record.fields["signal_id"] for record in expected(events, SIGNALS)]
        until = time.monotonic() + WAIT
        kills = 0
        while len(seen := reader_state(reader)) < len(wanted) or kills < 2:
            assert time.monotonic() < until, f"{len(seen)} of {len(wanted)}"
            if len(seen) >= 20 * (kills + 1) and kills < 2:
                server.kill()
                server.start()
                kills += 1
            try:
                reader.poll(5)
            except redis.RedisError:
                time.sleep(0.01)
        assert reader_state(reader) == wanted
        assert reader.report().handled == len(wanted)
        bus.close()


def reader_state(reader: Consumer) -> list[str]:
    try:
        return list(reader.state()["trades"])
    except NotFound:
        return []
