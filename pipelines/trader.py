"""The resident paper trader: one process that moves the session of the day with the clock and tells everyone of it.

The store comes first: what happened is stored before it is published, and is published from what is stored. Redis, the
screens' document and the metric ticks follow; none of them being away stops the trading.
"""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import date, timedelta

from assets.arbitrage.arbitrage_desk import ArbitrageDesk
from assets.arbitrage.events import Event
from assets.arbitrage.journal import JournalError, Overtaken
from assets.arbitrage.outbox import Outbox
from assets.arbitrage.past_days import PastDays
from assets.arbitrage.performance import performance_record
from assets.arbitrage.portfolio import LogError, Portfolio
from assets.arbitrage.publication import MarketTradeBatches, Publication
from assets.arbitrage.session import (
    Session,
    SessionError,
    begun_days,
    day_of,
    last_closing,
    portfolio_before,
    stored_events,
)
from assets.arbitrage.view import live_document, live_key
from assets.telemetry.collector import Collector
from assets.telemetry.metric_tick import tick_document
from assets.telemetry.prometheus import serve
from assets.telemetry.telemetry_log import newest_ticks
from assets.telemetry.watch import Watch
from resources.bus import EntryId, StreamRecord, open_bus
from resources.bus.redis_bus import Publisher
from resources.bus.streams import TICKS, length_of, tick_record
from resources.documents import dump_document
from resources.feed import NANOSECONDS, FeedError, FeedEvent
from resources.store import StoreError

_log = logging.getLogger("desk.trader")

# How far the session moves at a time. Its own clocks are exact however long a step is; this is how soon people see it.
_STEP_SECONDS = 0.25
_RETRY_SECONDS = 5.0
# Days that a simulation stood still and is traded through, some seconds each; over a longer gap open trades and totals
# are carried, without the funding of the days between.
_MISSED_DAYS = 31
# A catch-up is shown this often, and stored in segments of its own.
_CATCH_UP_NS = 600 * NANOSECONDS


class Bus:
    """One session's way into Redis: what is stored is published, market trades beside it; nothing without REDIS_URL.

    What Redis did not get of ended days and of metric ticks is read from the store, whoever was killed meanwhile.
    Market trades and measured latencies are of the moment and stored nowhere: Redis gets again what this session has in
    memory of them (``KEPT_OUTSIDE`` records), and nothing from before it.
    """

    def __init__(self, desk: ArbitrageDesk, session: Session, now_ns: int) -> None:
        """Market trades before ``now_ns`` were published by whoever traded then."""
        self._batches = MarketTradeBatches(session.feed.listings)
        self._since_ns = now_ns
        self._trades: list[StreamRecord] = []
        store, opened = desk.store, session.opened
        self._outbox = Outbox(lambda: stored_events(store, opened.source, opened.day), session.seq)
        publication = Publication(opened, self._outbox.events_after, lambda: portfolio_before(store, opened))
        until = date.fromisoformat(opened.day)

        def ticks_after(entry: EntryId) -> list[StreamRecord]:
            newer = newest_ticks(store, opened.source.lower(), entry.milliseconds, until, length_of(TICKS))
            return [tick_record(tick_document(tick)) for tick in newer]

        self._publisher = open_bus(
            desk.settings.redis_url,
            publication,
            desk.clock,
            _log.warning,
            earlier=PastDays(store, opened).since,
            stored={TICKS: ticks_after},
        )

    @property
    def publisher(self) -> Publisher | None:
        return self._publisher

    def seen(self, event: FeedEvent) -> None:
        """A market event, as the session takes it."""
        if self._publisher is not None and event.time_ns >= self._since_ns:
            self._trades += self._batches.on_event(event)

    def stored(self, events: list[Event], emitted_at: float | None) -> None:
        """Events that have just been stored; the first of them was emitted at ``emitted_at`` (``time.monotonic()``)."""
        if events:
            self._outbox.add(events)
        if self._publisher is None:
            return
        if events:
            self._publisher.announce(events[-1].seq, events[0].seq, emitted_at)
        if self._trades:
            self._publisher.offer(self._trades)
            self._trades = []

    def offer(self, record: StreamRecord) -> None:
        if self._publisher is not None:
            self._publisher.offer([record])

    def close(self) -> None:
        if self._publisher is not None:
            self._publisher.close()


class Trader:
    """Trades the present day, and the next once it begins. ``step`` does everything that is due."""

    def __init__(self, desk: ArbitrageDesk) -> None:
        self._desk = desk
        self._session: Session | None = None
        self._bus: Bus | None = None
        self._viewed = 0  # second of the newest view
        self._watched_ns: int | None = None  # the end of the day that was traded up to it just now
        self._asked = 0  # second of the newest look for instructions
        self._emitted_at: float | None = None  # of the oldest event that is not stored yet
        settings, source = desk.settings, desk.feed.source
        self.watch = Watch(desk.store, source, settings.metrics_seconds, self._now_ns())
        self._collector = Collector.connected(settings.redis_url, desk.store, source, desk.clock)

    def step(self) -> bool:
        """Take the session towards now; begin and end days as the clock says. Returns whether it has come to now: of a
        catch-up it takes one stretch at a time, stored and shown, so that the process can be told to end.

        Raises what the store, the feed and a damaged log raise; the trader is then to be made anew.
        """
        now_ns = self._now_ns()
        session = self._session or self._begin(day_of(now_ns), now_ns)
        assert self._bus is not None  # made together with the session
        until_ns = min(now_ns, session.end_ns)
        if session.cursor_ns < until_ns - _CATCH_UP_NS:
            session.advance_to(session.cursor_ns + _CATCH_UP_NS)
            self._store(session.flush)
            self._show(session, catching_up=True)
            return False
        watched = session.cursor_ns < until_ns  # a day that is only taken up to be closed was over before
        session.advance_to(until_ns, self._bus.seen)  # market trades are published of the present only
        # People wait for an answer, which the screens' document gives once a second: so often is looked for what they
        # ask. A look reads the key of the next number alone, as a rule in vain: 86,400 reads a day, three cents in S3.
        if now_ns // NANOSECONDS != self._asked:
            self._asked = now_ns // NANOSECONDS
            session.take_instructions()
        session.take_missed()
        self._store(session.flush)
        if now_ns >= session.end_ns:
            self._end(session)
            self._watched_ns = session.end_ns if watched else None
        else:
            self._show(session)
        return True

    def close(self) -> None:
        """Store what happened and let go of everything; the session goes on from there another time."""
        try:
            if self._session is not None and self._bus is not None:
                self._store(self._session.flush)
        finally:
            self._let_go()
            if self._collector is not None:
                self._collector.close()

    def _now_ns(self) -> int:
        return round(self._desk.clock.now().timestamp() * 1_000_000) * 1_000

    def _begin(self, today: str, now_ns: int) -> Session:
        day = self._next_day(today)
        # What a live feed said since midnight, the settlement of 00:00 first of all, is the new day's.
        session = Session(self._desk, day, self._watched_ns or now_ns, self._told)
        _log.info("%s %s: %s", session.source, day, session.resumed or "begun")
        self._session, self._bus = session, Bus(self._desk, session, now_ns)
        self._emitted_at = None  # what was told of the past is stored already
        return session

    def _next_day(self, today: str) -> str:
        """Today, or first a day that was begun and is not closed (what it holds is carried from there), or that a
        simulation stood still on and has to be traded through."""
        store, source = self._desk.store, self._desk.feed.source
        left = begun_days(store, source, today)
        if left:
            return left[0]
        if not self._desk.feed.repeatable:
            return today
        closing = last_closing(store, source, today)
        if closing is None:
            return today
        following = date.fromisoformat(closing["day"]) + timedelta(days=1)
        earliest = date.fromisoformat(today) - timedelta(days=_MISSED_DAYS)
        if following < earliest:
            _log.warning("nothing is traded from %s to %s, nor its funding booked", following, earliest)
        return max(following, earliest).isoformat()

    def _end(self, session: Session) -> None:
        assert self._bus is not None
        # What the next day goes on from is there before this one is closed: a kill between the two loses neither.
        self.watch.close_day()
        self._store(session.close)
        _log.info("%s %s: ended with event %d", session.source, session.day, session.seq)
        self._let_go()

    def _store(self, store: Callable[[], list[Event]]) -> None:
        assert self._bus is not None
        self._bus.stored(store(), self._emitted_at)
        self._emitted_at = None

    def _let_go(self) -> None:
        if self._bus is not None:
            self._bus.close()
        self._session = self._bus = None

    def _told(self, event: Event, portfolio: Portfolio) -> None:
        if self._emitted_at is None:
            self._emitted_at = time.monotonic()
        record = performance_record(event, portfolio)
        if record is not None:
            self.watch.take(record)

    def _show(self, session: Session, *, catching_up: bool = False) -> None:
        """Once a second the screens' document; at each instant of the grid a metric tick, of the present only."""
        assert self._bus is not None
        wall_ns = self._now_ns()
        if wall_ns // NANOSECONDS == self._viewed:
            return
        self._viewed = wall_ns // NANOSECONDS
        view = session.view()
        self._desk.store.write(live_key(session.source), dump_document(live_document(view, self._desk.clock.now())))
        naked_ns = session.engine.take_longest_naked_ns()
        if catching_up:
            return
        publisher = self._bus.publisher
        samples = () if self._collector is None else self._collector.samples()
        health = None if publisher is None else publisher.health()
        collector = None if self._collector is None else self._collector.health()
        tick = self.watch.beat(wall_ns, dict(view.counts), health, samples, naked_ns=naked_ns, collector=collector)
        if tick is not None:
            self._bus.offer(tick_record(tick))


def _metrics(port: int, watch: Watch) -> AbstractContextManager[object]:
    """The Prometheus endpoint; none without a port. One that is taken is not worth a trade."""
    if not port:
        return nullcontext()
    try:
        return serve(port, watch.snapshot)
    except OSError as error:
        _log.error("no metrics are served on port %d: %s", port, error)
        return nullcontext()


def run(desk: ArbitrageDesk, stop: threading.Event) -> None:
    """Trade until ``stop`` is set. What fails is logged and begun again from the store."""
    try:
        _trade(desk, stop)
    finally:
        desk.close()


def _trade(desk: ArbitrageDesk, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            trader = Trader(desk)
            try:
                with _metrics(desk.settings.metrics_port, trader.watch):
                    while not stop.is_set():
                        if trader.step():
                            stop.wait(_STEP_SECONDS)
            finally:
                trader.close()
        except Overtaken as error:
            _log.error("another process trades this day too: %s", error)
            stop.wait(_RETRY_SECONDS)
        except (StoreError, FeedError, SessionError, JournalError, LogError) as error:
            _log.error("the trader starts again: %s: %s", type(error).__name__, error)
            stop.wait(_RETRY_SECONDS)
        except Exception:  # nobody else restarts a trade that is open: whatever it was, it is gone on with
            _log.exception("the trader starts again")
            stop.wait(_RETRY_SECONDS)
