"""The paper trader watched while it trades: metric ticks, alarms, service levels, what the page and Prometheus show.

``Watch`` is told every record of the day (``day_record.py``), those of the past again after a restart, and asked to
beat. What it shows is ``telemetry/<source>/live.json``, replaced whole at each instant of the grid:

| field | meaning |
|---|---|
| as_of | when it was written, ISO UTC; after a few grid steps without a new one the trader has stopped |
| source, day, grid_seconds | whose numbers these are, and how often they come |
| values | every metric of a summary or a tick by its name in ``telemetry_log.METRICS``, in its unit; null: undefined |
| tick | the newest tick in the brief's JSON, null while P&L is unknown or older than two valuations |
| levels | each service level: name, value, unit, rule, target, samples, needed, met (null: undecided), reason |
| alarms | each alarm: name, firing (null: cannot be judged), detail, since_ns, last_notice_ns, suppressed, .. |
| bus | the publisher's health (``resources.bus.BusHealth``), ids as text; null without Redis |
| collector | who reads the samples (``collector.CollectorHealth``): errors, failed ("": it reads); null without Redis |
| rejected | refused feed events by reason |
| last_trade | the newest closed trade of the day by its metrics' names, with closed_ns; null while there is none |
| errors, handled | what the tick's rate is made of: errors, and the records among which they are |
| series | by metric: ``points``, the newest [time_ns, value or null], and ``changed_ns``, of its newest change |

P&L series have a point for each valuation (a minute), trades' one for each trade, ``ms`` one for each sample; what only
a tick knows (``latency_ms_p95``, ``errors_rate``, ``timestamp``) one a minute from the stored ticks of the day. Metrics
of confirmations and backtests are not of this process and have no series. All numbers are exact.
"""

import logging
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from assets.telemetry.alarms import AlarmBook, Readings
from assets.telemetry.bad_telemetry import BadTelemetry
from assets.telemetry.collector import CollectorHealth
from assets.telemetry.day_record import (
    HOUR_NS,
    MINUTE_NS,
    STATE_NS,
    DayFold,
    Sample,
    begun,
    day_of,
    first_beat_ns,
    levels_of,
    store_monitor,
    stored_heartbeats,
)
from assets.telemetry.metric_tick import MetricTick, tick_document
from assets.telemetry.performance_monitor import PerformanceSummary
from assets.telemetry.service_levels import WINDOW_NS, Heartbeat, ServiceLevel
from assets.telemetry.telemetry_log import append_tick, metric_values, read_ticks
from resources.bus import BusHealth
from resources.documents import Document, dump_document, to_iso
from resources.store import Store

if TYPE_CHECKING:
    from assets.telemetry.prometheus import TelemetrySnapshot

_log = logging.getLogger(__name__)

SERIES_POINTS = 120
_FROM_TICKS = ("latency_ms_p95", "errors_rate", "timestamp")
_OF_TRADES = ("fees_usd", "slippage_bps", "hold_time_seconds", "confidence")
_MS_NS = 10**6
_MS = Decimal(_MS_NS)

Value = Decimal | int | None


def live_key(source: str) -> str:
    """Where the newest state of a source's telemetry lies."""
    return f"telemetry/{source.lower()}/live.json"


@dataclass(slots=True)
class _Series:
    points: deque[tuple[int, Value]] = field(default_factory=lambda: deque(maxlen=SERIES_POINTS))
    changed_ns: int | None = None

    def add(self, time_ns: int, value: Value) -> None:
        if not self.points or self.points[-1][1] != value:
            self.changed_ns = time_ns
        self.points.append((time_ns, value))

    def document(self) -> Document:
        return {"points": [list(point) for point in self.points], "changed_ns": self.changed_ns}


class Watch:
    """Watches one source; used by the trader's thread, ``snapshot`` by any.

    ``since_ns`` is when watching begins: silence is counted from there. Metrics come out the same however often the
    trader was killed, except those of publishing: ``latency_ms_p95`` is of the samples of the last hour (undefined
    without Redis), and of ``errors_rate`` what failed in publishing. That is a rate of the UTC day's records: refused
    orders and halts among them, to both of which are added what failed beside them, each as an error and a record: the
    publisher's failed attempts and refused and dropped entries since it began, records that could not be measured with
    and failed attempts of the collector. What was published is no record of the day: without failures the rate is the
    same with Redis and without it, and that of the tick recomputed from the day's records.
    """

    def __init__(self, store: Store, source: str, grid_seconds: int, since_ns: int) -> None:
        self._store, self._source = store, source.lower()
        self._shown_source = source
        self._grid_seconds, self._since_ns = grid_seconds, since_ns
        self._fold: DayFold | None = None
        self._series: dict[str, _Series] = {}
        self._unusable = 0  # records of the day that could not be measured with
        self._alarms = AlarmBook()
        self._beaten: int | None = None  # instant of the grid
        self._naked_ns: int | None = None  # the longest since the last review
        self._last_tick: MetricTick | None = None  # of this watch
        self._beats: deque[Heartbeat] | None = None  # read when first needed
        self._first_beat_ns: int | None = None
        self._levels: tuple[ServiceLevel, ...] = ()
        self._levels_ns: int | None = None
        self._bus_failed = 0  # since the publisher began, as of the newest beat
        self._collector: CollectorHealth | None = None  # as of the newest beat
        self._bus_errors: deque[tuple[int, int]] = deque()  # when they were seen, and how many
        self._snapshot: TelemetrySnapshot | None = None

    def take(self, record: Document) -> None:
        """One record of the day; ``opened`` begins the day, again if it was begun before.

        A record that cannot be measured with is logged and counted as an error: trading goes on. Raises StoreError when
        what the day goes on from cannot be read.
        """
        try:
            if record["kind"] == "opened":
                self._begin(record)
            elif self._fold is not None:
                self._fold.take(record)
                self._note(self._fold, record["kind"])
        except BadTelemetry as error:
            self._unusable += 1
            _log.error("a %s record cannot be measured with: %s", record["kind"], error)

    def beat(
        self,
        now_ns: int,
        counts: Mapping[str, int],
        bus: BusHealth | None,
        samples: Sequence[Sample],
        *,
        naked_ns: int | None,
        collector: CollectorHealth | None = None,
    ) -> Document | None:
        """What is due at ``now_ns``: nothing but noting what stood alone, if this instant of the grid was beaten.

        ``naked_ns`` is the longest that one leg stood without its other since the last call, one that still does
        included; None when none did. The alarm is given the longest since its last review.

        Else the tick is stored, alarms reviewed, notices logged and ``live.json`` written. Returns the tick's document
        if it was stored. None is made while P&L is unknown or older than two valuations, before a day's session begins
        and after it ended: what is shown as of now must be of now. ``counts`` are refused feed events by reason.
        ``collector`` is None without Redis. Raises StoreError.
        """
        if naked_ns is not None:
            self._naked_ns = max(self._naked_ns or 0, naked_ns)
        instant = now_ns // (self._grid_seconds * 10**9)
        fold = self._fold
        if instant == self._beaten or fold is None or day_of(now_ns) != fold.day:
            return None
        self._beaten = instant
        self._note_bus(now_ns, bus)
        self._note_collector(now_ns, collector)
        summary = fold.summary(now_ns)
        tick = self._tick(fold, summary, now_ns, samples)
        stored = tick is not None and append_tick(self._store, self._source, tick, self._grid_seconds)
        levels = self._service_levels(now_ns, samples)
        self._review(now_ns, levels, fold, summary)
        if tick is not None and stored:
            self._last_tick = tick
            self._heard(now_ns)
            self._note_tick(tick)
        self._show(now_ns, summary, tick, counts, bus, samples)
        return tick_document(tick) if tick is not None and stored else None

    def snapshot(self) -> "TelemetrySnapshot | None":
        """The state as of the newest beat, None before the first."""
        return self._snapshot

    def close_day(self) -> None:
        """Store what the next day goes on from; once, whoever else does."""
        if self._fold is not None:
            store_monitor(self._store, self._source, self._fold)

    # Folding

    def _begin(self, opened: Document) -> None:
        self._fold, self._series, self._unusable = None, {}, 0
        self._fold = fold = begun(self._store, self._source, opened)
        for tick in read_ticks(self._store, self._source, fold.day).ticks:
            self._note_tick(tick)

    def _note(self, fold: DayFold, kind: str) -> None:
        """Add to the series what the newest record has changed."""
        if kind == "point":
            now_ns = fold.newest_ns
            summary = fold.summary(now_ns)
            for name, value in metric_values(summary, fold.tick(now_ns, summary)).items():
                if name not in _FROM_TICKS:
                    self._add(name, now_ns, value)
        elif kind == "trade" and fold.last_trade is not None:
            closed_ns, trade = fold.last_trade
            for name in _OF_TRADES:
                self._add(name, closed_ns, getattr(trade, name))

    def _note_tick(self, tick: MetricTick) -> None:
        """One a minute of what only ticks know."""
        time_ns = tick.time_ms * _MS_NS
        known = self._series.get(_FROM_TICKS[0])
        if known is not None and known.points[-1][0] // MINUTE_NS == time_ns // MINUTE_NS:
            return
        values = metric_values(None, tick)
        for name in _FROM_TICKS:
            self._add(name, time_ns, values[name])

    def _add(self, name: str, time_ns: int, value: Value) -> None:
        self._series.setdefault(name, _Series()).add(time_ns, value)

    # Beating

    def _note_bus(self, now_ns: int, bus: BusHealth | None) -> None:
        seen = _failed(bus)
        # A publisher that began anew counts from zero again.
        new = seen - self._bus_failed if seen >= self._bus_failed else seen
        if new:
            self._bus_errors.append((now_ns, new))
        while self._bus_errors and self._bus_errors[0][0] <= now_ns - MINUTE_NS:
            self._bus_errors.popleft()
        self._bus_failed = seen

    def _note_collector(self, now_ns: int, collector: CollectorHealth | None) -> None:
        new = _errors_of(collector) - _errors_of(self._collector)
        if new > 0:
            self._bus_errors.append((now_ns, new))
        self._collector = collector

    @property
    def _errors_beside(self) -> int:
        """What failed beside the day's records: each counts as an error and as a record."""
        return self._bus_failed + self._unusable + _errors_of(self._collector)

    def _tick(
        self, fold: DayFold, summary: PerformanceSummary, now_ns: int, samples: Iterable[Sample]
    ) -> MetricTick | None:
        if fold.standing is None or now_ns - fold.standing.time_ns > STATE_NS:
            return None
        latencies = (Decimal(each.latency_ns) / _MS for each in samples if now_ns - HOUR_NS < each.time_ns <= now_ns)
        return fold.tick(now_ns, summary, latencies, self._errors_beside)

    def _heartbeats(self, now_ns: int) -> deque[Heartbeat]:
        if self._beats is None:
            self._beats = deque(stored_heartbeats(self._store, self._source, day_of(now_ns)))
            self._first_beat_ns = first_beat_ns(self._store, self._source)
        return self._beats

    def _heard(self, now_ns: int) -> None:
        beats = self._heartbeats(now_ns)
        beat_ns = now_ns // _MS_NS * _MS_NS  # as the stored tick has it
        if not beats or beats[-1].time_ns < beat_ns:
            beats.append(Heartbeat(beat_ns))
        self._first_beat_ns = beat_ns if self._first_beat_ns is None else self._first_beat_ns
        oldest = now_ns - WINDOW_NS - 2 * self._grid_seconds * 10**9
        while beats[0].time_ns < oldest:
            beats.popleft()

    def _service_levels(self, now_ns: int, samples: Sequence[Sample]) -> tuple[ServiceLevel, ...]:
        """Judged once a minute: a window of 72 hours does not change sooner."""
        minute = now_ns // MINUTE_NS
        if self._levels_ns != minute:
            beats = self._heartbeats(now_ns)
            self._levels = levels_of(
                samples,
                beats,
                since_ns=self._first_beat_ns,
                now_ns=now_ns,
                heartbeat_ns=self._grid_seconds * 10**9,
            )
            self._levels_ns = minute
        return self._levels

    def _review(
        self, now_ns: int, levels: tuple[ServiceLevel, ...], fold: DayFold, summary: PerformanceSummary
    ) -> None:
        last_ns = None if self._last_tick is None else self._last_tick.time_ms * _MS_NS
        in_records = sum(now_ns - MINUTE_NS < time_ns <= now_ns for time_ns in fold.error_times)
        readings = Readings(
            now_ns=now_ns,
            since_ns=self._since_ns,
            last_tick_ns=last_ns,
            errors_last_minute=in_records + sum(number for _, number in self._bus_errors),
            last_heartbeat_ns=last_ns,
            levels=levels,
            naked_ns=self._naked_ns,
            drawdown_daily=summary.drawdown_daily,
        )
        self._naked_ns = None
        for notice in self._alarms.review(readings):
            repeats = f" (and {notice.suppressed} times more since it was last told)" if notice.suppressed else ""
            _log.warning("%s: %s%s", notice.name, notice.detail, repeats)

    # Showing

    def _show(
        self,
        now_ns: int,
        summary: PerformanceSummary,
        tick: MetricTick | None,
        counts: Mapping[str, int],
        bus: BusHealth | None,
        samples: Sequence[Sample],
    ) -> None:
        from assets.telemetry.prometheus import TelemetrySnapshot  # the assets fold days without its library

        assert self._fold is not None  # beat looked
        alarms = self._alarms.status()
        self._snapshot = TelemetrySnapshot(now_ns, self._shown_source, summary, tick, self._levels, alarms)
        series = {name: each.document() for name, each in self._series.items()}
        series["equity_curve"] = _series(
            (point.time_ns, point.equity) for point in self._fold.monitor.equity_curve[-SERIES_POINTS:]
        )
        series["ms"] = _series((each.time_ns, Decimal(each.latency_ns) / _MS) for each in samples[-SERIES_POINTS:])
        document: Document = {
            "as_of": to_iso(datetime.fromtimestamp(now_ns // 10**9, UTC)),
            "source": self._shown_source,
            "day": self._fold.day.isoformat(),
            "grid_seconds": self._grid_seconds,
            "values": dict(metric_values(summary, tick)),
            "tick": None if tick is None else tick_document(tick),
            "levels": [asdict(level) for level in self._levels],
            "alarms": [asdict(alarm) for alarm in alarms],
            "bus": None if bus is None else _health(bus),
            "collector": None if self._collector is None else asdict(self._collector),
            "rejected": dict(counts),
            "last_trade": self._last_trade(),
            "errors": self._fold.errors + self._errors_beside,
            "handled": self._fold.handled + self._errors_beside,
            "series": series,
        }
        self._store.write(live_key(self._source), dump_document(document))

    def _last_trade(self) -> Document | None:
        assert self._fold is not None
        if self._fold.last_trade is None:
            return None
        closed_ns, trade = self._fold.last_trade
        return {"closed_ns": closed_ns, **asdict(trade)}


def _series(points: Iterable[tuple[int, Value]]) -> Document:
    series = _Series()
    for time_ns, value in points:
        series.add(time_ns, value)
    return series.document()


def _failed(bus: BusHealth | None) -> int:
    """Failed attempts, and entries that Redis refused or that gave way unpublished."""
    return 0 if bus is None else bus.errors + bus.refused + bus.dropped


def _errors_of(collector: CollectorHealth | None) -> int:
    return 0 if collector is None else collector.errors


def _health(bus: BusHealth) -> Document:
    fields = {name: getattr(bus, name) for name in bus.__slots__}
    return fields | {"last_ids": {stream: str(entry) for stream, entry in bus.last_ids.items()}}
