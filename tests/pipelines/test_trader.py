"""The resident trader on a clock that tests move: what it stores, shows and publishes, and what cannot stop it."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
import redis

from assets.arbitrage.arbitrage_desk import ArbitrageDesk
from assets.arbitrage.events import FundingPaid
from assets.arbitrage.journal import Overtaken
from assets.arbitrage.portfolio import Portfolio
from assets.arbitrage.publication import records_between
from assets.arbitrage.session import closing_of, start_of, stored_events
from assets.arbitrage.view import live_from_document, live_key
from pipelines.trader import Trader, run
from resources.bus import START, EntryId
from resources.bus.redis_bus import Publisher
from resources.bus.streams import CONFIRMS, MARKET_TRADES, SIGNALS
from resources.clock import ManualClock
from resources.documents import Document, load_document
from resources.feed import NANOSECONDS, UNITS, FeedError, FeedEvent, FundingSettled
from resources.store import NotFound, Store, StoreUnavailable
from tests.faults.watched_store import T, WatchedStore
from tests.free_port import free_port
from tests.memory_store import MemoryStore
from tests.redis_server import needs_redis, redis_server
from tests.resources.bus_parts import stream_of
from tests.trading_parts import (
    DAY,
    NEXT_DAY,
    THIRD_DAY,
    ScriptedFeed,
    at,
    closing_bytes,
    desk_of,
    evenings,
    fold,
    market,
    one_opportunity,
    only,
    stored_log,
    traded_through,
)

SEED = 9
EVENING = at(DAY, 86_400 - 65)  # the market has been open for a minute
LIVE = live_key("SIMULATED")
DEADLINE_S = 60.0


def evening_feed() -> ScriptedFeed:
    return ScriptedFeed(evenings(SEED))


@pytest.fixture(scope="module")
def whole() -> MemoryStore:
    """``DAY`` traded in one go."""
    store = MemoryStore()
    traded_through(desk_of(store, evening_feed()))
    return store


class Hands(threading.Event):
    """Moves the clock where the trader waits, and stops it when the clock has come to ``until``."""

    def __init__(
        self, clock: ManualClock, until: datetime, meanwhile: Callable[[datetime], None] | None = None
    ) -> None:
        super().__init__()
        self._clock, self._until = clock, until
        self._meanwhile = meanwhile or (lambda _now: None)
        self.waits = 0

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.waits += 1
        self._clock.sleep(timeout)
        self._meanwhile(self._clock.now())
        if self._clock.now() >= self._until:
            self.set()
        return self.is_set()


def hands(desk: ArbitrageDesk, until: datetime, meanwhile: Callable[[datetime], None] | None = None) -> Hands:
    assert isinstance(desk.clock, ManualClock)
    return Hands(desk.clock, until, meanwhile)


def resident(
    store: Store, now: datetime = EVENING, feed: ScriptedFeed | None = None, **settings: object
) -> ArbitrageDesk:
    return desk_of(store, feed or evening_feed(), now=now, **settings)


def document(store: Store) -> Document:
    return load_document(store.read(LIVE).data)


# --- the day ---


def test_traded_with_the_clock_a_day_is_what_it_is_in_one_go(whole: MemoryStore) -> None:
    store = MemoryStore()
    desk = resident(store)
    run(desk, hands(desk, at(NEXT_DAY, 2)))
    assert stored_log(store) == stored_log(whole)
    assert closing_bytes(store) == closing_bytes(whole)


def test_it_catches_up_with_a_day_that_has_long_begun() -> None:
    """Started late, it stores and shows the day on the way, and ends where an early riser stands."""
    store = MemoryStore()
    early, late = resident(store, at(DAY, 86_400 - 125)), resident(MemoryStore(), at(DAY, 86_400 - 31))
    run(early, hands(early, at(DAY, 86_400 - 29)))
    trader = Trader(late)
    steps = 1
    while not trader.step():
        steps += 1
    assert steps > 100, "each stretch is stored, and the process can be told to end"
    late.clock.sleep(1)
    assert trader.step()
    view, written_at = live_from_document(document(late.store))
    trader.close()
    assert stored_log(store).startswith(stored_log(late.store))  # type: ignore[arg-type]
    assert stored_log(late.store)  # type: ignore[arg-type]
    assert written_at == at(DAY, 86_400 - 30)
    assert view.as_of_ns == start_of(DAY) + (86_400 - 30) * NANOSECONDS


def test_at_midnight_the_day_is_closed_and_the_next_goes_on_from_it() -> None:
    store = MemoryStore()
    desk = resident(store)
    run(desk, hands(desk, at(NEXT_DAY, 2)))
    closing = closing_of(store, "SIMULATED", DAY)
    assert closing is not None
    opened = next(stored_events(store, "SIMULATED", NEXT_DAY))
    assert (opened.carried_day, opened.carried) == (DAY, closing["state"]["log_sha256"])  # type: ignore[union-attr]
    view, _ = live_from_document(document(store))
    assert view.day == NEXT_DAY
    assert view.metrics.cumulative_pnl == closing["state"]["cumulative_pnl"]


@pytest.mark.parametrize(("away", "traded"), [(0, []), (1, [NEXT_DAY]), (2, [NEXT_DAY, THIRD_DAY])])
def test_days_that_the_simulation_stood_still_are_traded_through(
    whole: MemoryStore, away: int, traded: list[str]
) -> None:
    store = whole.copy()
    today = at(NEXT_DAY) + timedelta(days=away, hours=1)
    desk = resident(store, today)
    run(desk, hands(desk, today + timedelta(seconds=5)))
    for day in traded:
        assert closing_of(store, "SIMULATED", day) is not None, day
    opened = next(stored_events(store, "SIMULATED", today.date().isoformat()))
    assert opened.carried_day == (traded or [DAY])[-1]  # type: ignore[union-attr]


def test_a_simulation_that_stood_still_for_long_carries_over_and_trades_the_last_days(
    whole: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.trader._MISSED_DAYS", 3)
    store = whole.copy()
    today = at("2026-03-20", 60)
    desk = resident(store, today)
    run(desk, hands(desk, today + timedelta(seconds=5)))
    days = sorted({entry.key.split("/")[2] for entry in store.list("arbitrage/simulated/2")})
    assert days == [DAY, "2026-03-17", "2026-03-18", "2026-03-19", "2026-03-20"]
    opened = next(stored_events(store, "SIMULATED", "2026-03-17"))
    assert opened.carried_day == DAY  # type: ignore[union-attr]


@pytest.mark.parametrize("repeatable", [True, False], ids=["simulated", "live"])
@pytest.mark.parametrize("away", [1, 6])
def test_a_day_that_was_left_open_is_closed_before_another_begins(repeatable: bool, away: int) -> None:
    """Killed in the evening and started on another day: what it held and earned is not forgotten."""
    source = "SIMULATED" if repeatable else "LIVE"
    feed = ScriptedFeed(evenings(SEED), source=source, repeatable=repeatable)  # type: ignore[arg-type]
    store = MemoryStore()
    killed = resident(store, at(DAY, 86_400 - 125), feed)
    run(killed, hands(killed, at(DAY, 86_400 - 35)))
    before, _ = fold(store, source, DAY)
    assert closing_of(store, source, DAY) is None
    assert before.realised
    today = at(DAY) + timedelta(days=away, hours=2)
    desk = resident(store, today, feed)
    run(desk, hands(desk, today + timedelta(seconds=3)))
    assert closing_of(store, source, DAY) is not None
    opened = next(stored_events(store, source, today.date().isoformat()))
    assert opened.carried_day >= DAY  # type: ignore[union-attr]
    if not repeatable:
        after, _ = fold(store, source, today.date().isoformat())
        assert after.fees >= before.fees > 0
        assert opened.carried_day == DAY  # type: ignore[union-attr]


def test_what_a_live_feed_settles_at_midnight_belongs_to_the_new_day(caplog: pytest.LogCaptureFixture) -> None:
    """It is handed over some milliseconds later, while the day before is being closed."""
    midnight = start_of(NEXT_DAY)
    days = {
        DAY: one_opportunity(midnight - 20 * NANOSECONDS),
        NEXT_DAY: [FundingSettled(midnight + 3_000_000, 0, Decimal("0.0001"), 100 * UNITS)],
    }
    store, feed = MemoryStore(), ScriptedFeed(only(days), source="LIVE", repeatable=False)
    desk = resident(store, at(DAY, 86_400 - 30), feed)
    run(desk, hands(desk, at(NEXT_DAY, 2)))
    opened, *rest = stored_events(store, "LIVE", NEXT_DAY)
    assert opened.time_ns == midnight
    (paid,) = [event for event in rest if isinstance(event, FundingPaid)]
    assert (paid.time_ns, paid.settled_ns, paid.leg) == (midnight + 3_000_000, None, "long")
    assert "not booked" not in caplog.text


def test_a_clock_that_steps_back_over_midnight_only_waits() -> None:
    store = MemoryStore()
    desk = resident(store)
    steps = iter([at(NEXT_DAY, 5), at(DAY, 86_399), at(DAY, 86_400 - 2), at(NEXT_DAY, 6), at(NEXT_DAY, 8)])

    def jump(now: datetime) -> None:
        if now >= at(NEXT_DAY, 1):
            step = next(steps, None)
            if step is not None:
                assert isinstance(desk.clock, ManualClock)
                desk.clock.move_to(step)

    run(desk, hands(desk, at(NEXT_DAY, 8), jump))
    events = list(stored_events(store, "SIMULATED", NEXT_DAY))
    assert events
    assert closing_of(store, "SIMULATED", DAY) is not None
    assert all(before.time_ns <= after.time_ns for before, after in pairwise(events))


# --- what is shown ---


class Journalled(WatchedStore):
    """Remembers what was written over and when, by the clock."""

    def __init__(self, inner: Store, clock: Callable[[], datetime]) -> None:
        super().__init__(inner)
        self._clock = clock
        self.writes: list[tuple[str, datetime, bytes]] = []

    def write(self, key: str, data: bytes) -> str:
        self.writes.append((key, self._clock(), data))
        return super().write(key, data)


def test_the_screens_document_is_written_once_a_second_and_never_goes_back() -> None:
    inner = MemoryStore()
    clock = ManualClock(EVENING)
    store = Journalled(inner, clock.now)
    desk = ArbitrageDesk(desk_of(inner).settings, store, clock, evening_feed(), desk_of(inner).rules)
    run(desk, hands(desk, at(NEXT_DAY, 1)))
    shown = [(when, live_from_document(load_document(data))) for key, when, data in store.writes if key == LIVE]
    seconds = [int(when.timestamp()) for when, _ in shown]
    assert len(seconds) == len(set(seconds)) >= 60
    assert all(after - before == 1 for before, after in pairwise(seconds[:-1]))
    views = [view for _, (view, _) in shown]
    of_the_day = [view for view in views if view.day == DAY]
    assert all(before.seq <= after.seq for before, after in pairwise(of_the_day))
    assert all(before.as_of_ns < after.as_of_ns for before, after in pairwise(of_the_day))
    assert of_the_day[-1].seq > 300
    assert [written_at for _, (_, written_at) in shown] == [when for when, _ in shown]
    for when, (view, _) in shown[1:]:  # the first one was of the catch-up
        assert abs(view.as_of_ns / NANOSECONDS - when.timestamp()) < 1


def test_what_is_shown_is_stored_already() -> None:
    """A page never shows an event that a kill could still undo."""
    inner = MemoryStore()

    class Checked(WatchedStore):
        def write(self, key: str, data: bytes) -> str:
            if key == LIVE:
                view, _ = live_from_document(load_document(data))
                stored = stored_log(inner, view.day).count(b"\n") - 1
                assert view.seq <= stored
                looked.append(view.seq)
            return super().write(key, data)

    looked: list[int] = []
    desk = desk_of(Checked(inner), evening_feed(), now=EVENING)
    run(desk, hands(desk, at(DAY, 86_400 - 40)))
    assert max(looked) > 50


def test_ticks_are_of_the_present_and_a_day_is_measured_while_it_passes() -> None:
    store = MemoryStore()
    desk = resident(store)
    run(desk, hands(desk, at(NEXT_DAY, 1)))
    telemetry = [entry.key for entry in store.list("telemetry/simulated/")]
    assert "telemetry/simulated/live.json" in telemetry
    assert f"telemetry/simulated/{DAY}/monitor.json" in telemetry


# --- what fails ---


class Broken(WatchedStore):
    """Does not answer while ``down``."""

    def __init__(self, inner: Store, down: Callable[[], bool]) -> None:
        super().__init__(inner)
        self._down = down
        self.refused = 0

    def _do(self, operation: Callable[[], T]) -> T:
        if self._down():
            self.refused += 1
            raise StoreUnavailable("the store is away")
        return operation()


@pytest.mark.parametrize(
    ("begins", "ends"),
    [(-50, -30), (-2, 9), (-66, -50)],
    ids=["in the evening", "over midnight", "from the beginning"],
)
def test_a_store_that_is_away_for_a_while_costs_no_event(whole: MemoryStore, begins: int, ends: int) -> None:
    inner, clock = MemoryStore(), ManualClock(EVENING)
    first, last = (at(NEXT_DAY) + timedelta(seconds=second) for second in (begins, ends))
    store = Broken(inner, lambda: first <= clock.now() < last)
    desk = ArbitrageDesk(desk_of(inner).settings, store, clock, evening_feed(), desk_of(inner).rules)
    run(desk, hands(desk, at(NEXT_DAY, 20)))
    assert store.refused
    assert stored_log(inner) == stored_log(whole)
    assert closing_bytes(inner) == closing_bytes(whole)
    assert next(stored_events(inner, "SIMULATED", NEXT_DAY)).carried_day == DAY  # type: ignore[union-attr]


def test_a_feed_that_fails_is_asked_again(whole: MemoryStore) -> None:
    class Flaky(ScriptedFeed):
        failures = 0

        def events(self, start_ns: int, end_ns: int) -> Iterator[FeedEvent]:
            for number, event in enumerate(super().events(start_ns, end_ns)):
                if number > 3 and self.failures < 4 and event.time_ns > start_of(NEXT_DAY) - 60 * NANOSECONDS:
                    self.failures += 1
                    raise FeedError("a venue is away")
                yield event

    store, feed = MemoryStore(), Flaky(evenings(SEED))
    desk = resident(store, feed=feed)
    run(desk, hands(desk, at(NEXT_DAY, 20)))
    assert feed.failures == 4
    assert stored_log(store) == stored_log(whole)


def test_two_traders_at_once_double_nothing(whole: MemoryStore, caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore()
    desk = resident(store)
    clock = ManualClock(EVENING)

    def another() -> Trader:
        return Trader(ArbitrageDesk(desk.settings, store, clock, evening_feed(), desk.rules))

    other = another()

    def meddle(now: datetime) -> None:
        nonlocal other
        if not 20 < (at(NEXT_DAY) - now).total_seconds() < 60 or now.microsecond:
            return
        clock.move_to(now + timedelta(seconds=1))
        try:
            while not other.step():
                continue
        except Overtaken:
            other.close()
            other = another()

    run(desk, hands(desk, at(NEXT_DAY, 10), meddle))
    other.close()
    assert "another process trades this day too" in caplog.text
    assert stored_log(store) == stored_log(whole)
    assert closing_bytes(store) == closing_bytes(whole)


def test_a_changed_feed_does_not_stop_it(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore()
    first = resident(store)
    run(first, hands(first, at(DAY, 86_400 - 60)))
    before = stored_log(store)
    second = resident(store, at(DAY, 86_400 - 59), ScriptedFeed(evenings(SEED + 2)))
    run(second, hands(second, at(NEXT_DAY, 2)))
    assert "is not the stored one" in caplog.text
    assert stored_log(store).startswith(before)
    assert closing_of(store, "SIMULATED", DAY) is not None


def test_a_metrics_port_that_is_taken_stops_no_trade(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        store = MemoryStore()
        desk = resident(store, metrics_port=port)
        run(desk, hands(desk, at(DAY, 86_400 - 62)))
    assert f"no metrics are served on port {port}" in caplog.text
    assert stored_log(store)


def test_stopped_it_keeps_what_happened_and_frees_what_it_holds(whole: MemoryStore) -> None:
    store = MemoryStore()
    for second in (-110, -75, -74, -20, 3):
        desk = resident(store, at(NEXT_DAY, second - 20))
        run(desk, hands(desk, at(NEXT_DAY, second)))
        assert not [
            thread for thread in threading.enumerate() if thread.name in ("bus-publisher", "telemetry-collector")
        ]
    assert stored_log(store) == stored_log(whole)


# --- Redis ---


def streams_complete(client: "redis.Redis", store: Store, day: str = DAY) -> bool:
    events = list(stored_events(store, "SIMULATED", day))
    end = EntryId(2**62, 0)
    return all(
        stream_of(client, stream) == list(records_between(events, Portfolio(), stream, START, end))
        for stream in (SIGNALS, CONFIRMS)
    )


def eventually(condition: Callable[[], bool]) -> bool:
    until = time.monotonic() + DEADLINE_S
    while time.monotonic() < until:
        try:
            if condition():
                return True
        except redis.RedisError:
            pass
        time.sleep(0.02)
    return False


def arbitrage_objects(store: MemoryStore) -> dict[str, bytes]:
    return {key: data for key, data in store.contents().items() if key.startswith("arbitrage/")}


@needs_redis
def test_with_redis_without_it_and_with_one_that_is_away_the_store_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores, close = [MemoryStore() for _ in range(3)], Publisher.close
    with redis_server(tmp_path / "redis") as server:
        gone = f"redis://127.0.0.1:{free_port()}/0"
        for store, url, seconds in zip(stores, ("", server.url, gone), (0.0, DEADLINE_S, 0.0), strict=True):
            # A trader that ends publishes the rest for two seconds at most: a slow machine needs longer.
            monkeypatch.setattr(Publisher, "close", lambda bus, seconds=seconds: close(bus, seconds))
            desk = resident(store, REDIS_URL=url)
            run(desk, hands(desk, at(DAY, 86_400 - 20)))
        client = server.client()
        assert eventually(lambda: streams_complete(client, stores[1]))
        assert stream_of(client, SIGNALS)
    assert arbitrage_objects(stores[0]) == arbitrage_objects(stores[1]) == arbitrage_objects(stores[2])


@needs_redis
def test_redis_killed_and_started_again_while_it_trades_ends_complete(tmp_path: Path) -> None:
    """An empty Redis comes back: it is filled from the log, and what comes after is there once."""
    store = MemoryStore()
    with redis_server(tmp_path / "redis") as server:
        desk = resident(store, REDIS_URL=server.url)

        def disturb(now: datetime) -> None:
            if now in (at(NEXT_DAY, -58), at(NEXT_DAY, -40)):
                server.kill()
            if now in (at(NEXT_DAY, -50), at(NEXT_DAY, -39)):
                server.start()
            if now == at(NEXT_DAY, -1):  # before midnight, when another day's log begins
                client = server.client()
                assert eventually(lambda: streams_complete(client, store)), "the streams stay incomplete"
                looked.append(len(stream_of(client, SIGNALS)))
                assert eventually(lambda: client.xlen(MARKET_TRADES) > 0)

        looked: list[int] = []
        run(desk, hands(desk, at(NEXT_DAY, -0.5), disturb))
        assert looked
        assert looked[0] > 10


def test_nothing_of_another_source_is_touched() -> None:
    store = MemoryStore()
    desk = resident(store, feed=ScriptedFeed(only({DAY: market(SEED, DAY)}), source="LIVE", repeatable=False))
    run(desk, hands(desk, at(NEXT_DAY, 1)))
    assert {key.split("/")[1] for key in store.contents()} == {"live"}
    with pytest.raises(NotFound):
        store.read(LIVE)
