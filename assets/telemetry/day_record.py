"""What telemetry makes of the records of one UTC day, while the day passes and when it is over: one fold for both.

A day's records lie in ``arbitrage/<source>/<day>/performance.json``: ``day``, ``source``, ``records`` (one of each
kind that ``DayFold.take`` names, in order), ``opening`` (what was held at the beginning, as signed quantities and what
they had cost, a row for each order), ``marks`` (closing price by ``<exchange>:<symbol>``, null where there is none).
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from assets.accounting.precision import ZERO
from assets.telemetry.bad_telemetry import BadTelemetry
from assets.telemetry.metric_tick import MetricTick, measured_tick, tick_document
from assets.telemetry.performance_monitor import EquityPoint, PerformanceMonitor, PerformanceSummary
from assets.telemetry.performance_tracker import ClosedTrade, TradePerformance
from assets.telemetry.service_levels import (
    WINDOW_NS,
    Delivery,
    Heartbeat,
    LagSample,
    LatencySample,
    ServiceLevel,
    Targets,
    report_csv,
    service_levels,
)
from assets.telemetry.telemetry_log import read_ticks
from resources.documents import Document, dump_line
from resources.store import Store
from resources.store.once import create_bytes_once, create_once, find

_NS = 10**9
_MS_NS = 10**6
_DAY = timedelta(days=1)
MINUTE_NS = 60 * _NS
HOUR_NS = 3_600 * _NS
DAY_NS = 24 * HOUR_NS
# Valuations come once a minute: a state older than two of them is not that of now.
STATE_NS = 2 * MINUTE_NS
_UPTIME = "uptime"


@dataclass(frozen=True, slots=True)
class Sample:
    """One record on its way to a reader: published at ``time_ns``, ``latency_ns`` after the decision behind it, and
    read ``lag_ns`` later. ``id`` names the record, so that one published twice is seen to be."""

    time_ns: int
    latency_ns: int
    lag_ns: int
    id: str


@dataclass(frozen=True, slots=True)
class Standing:
    """P&L as last told: ``fees`` and ``realized`` in USD, ``unrealized`` None while it is unknown."""

    time_ns: int
    fees: Decimal
    realized: Decimal
    unrealized: Decimal | None


def day_of(time_ns: int) -> date:
    """The UTC day of an instant."""
    return datetime.fromtimestamp(time_ns // _NS, UTC).date()


def start_of(day: date) -> int:
    """The first nanosecond of a UTC day."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * _NS


def day_key(source: str, day: date, name: str) -> str:
    """Where something telemetry makes of one day lies."""
    return f"telemetry/{source.lower()}/{day:%Y-%m-%d}/{name}"


def performance_key(source: str, day: date) -> str:
    """Where the records of one day lie."""
    return f"arbitrage/{source.lower()}/{day:%Y-%m-%d}/performance.json"


def day_document(store: Store, source: str, day: date) -> Document | None:
    """The day's records with what was held, None while the day is not over. Raises BadTelemetry when the document is
    of another day or does not begin with the opening of its session."""
    document = find(store, performance_key(source, day))
    if document is None:
        return None
    if document.get("day") != day.isoformat():
        raise BadTelemetry("day", f"the record of {day} says it is of {document.get('day')!r}")
    records = document.get("records")
    if not isinstance(records, list) or not records or records[0].get("kind") != "opened":
        raise BadTelemetry("records", f"the record of {day} does not begin with the opening of its session")
    return document


class DayFold:
    """Folds a day's records in order, at a cost that does not grow with history.

    ``carried`` is what ``document`` gave at the end of the day the session goes on from; without it the session's
    capital is where measuring begins. Raises BadTelemetry for a record that cannot be measured with.
    """

    def __init__(self, opened: Document, carried: Document | None) -> None:
        self.source = str(opened["source"])
        self.day = date.fromisoformat(opened["day"])
        self.opened_ns: int = opened["time_ns"]
        self.standing: Standing | None = None  # unknown only where a day is gone on from that left nothing behind
        if carried is None:
            self.monitor = PerformanceMonitor(_amount(opened, "capital"), self.opened_ns)
            if not opened["carried_day"]:
                self.standing = Standing(self.opened_ns, ZERO, ZERO, ZERO)
        else:
            self.monitor = PerformanceMonitor.resumed(carried["monitor"])
            if carried["fees"] is not None:
                fees, realized = Decimal(carried["fees"]), Decimal(carried["realized"])
                self.standing = Standing(self.opened_ns, fees, realized, None)
        self.newest_ns = self.opened_ns
        self.handled = 1
        self.errors = 0
        self.error_times: deque[int] = deque(maxlen=1_000)  # of the newest; alarms look a minute back
        self.slippages: list[Decimal] = []  # of the day's market fills, basis points
        self.last_trade: tuple[int, TradePerformance] | None = None  # when it closed, and its figures

    def take(self, record: Document) -> None:
        """One record of the day: flow, trade, point, fill or error; others only count as handled."""
        time_ns: int = record["closed_ns"] if record["kind"] == "trade" else record["time_ns"]
        match record["kind"]:
            case "flow":
                self.monitor.flow(time_ns, _amount(record, "amount"))
            case "trade":
                self.last_trade = time_ns, self.monitor.record(_closed_trade(record))
            case "point":
                realized, unrealized = _amount(record, "realized"), _optional(record, "unrealized")
                point = EquityPoint(time_ns, _optional(record, "equity"), _amount(record, "cash"), realized, unrealized)
                self.monitor.observe(point)
                self.standing = Standing(time_ns, _amount(record, "fees"), realized, unrealized)
            case "fill":
                slippage = _optional(record, "slippage_bps")
                if slippage is not None:
                    self.slippages.append(slippage)
            case "error":
                self.errors += 1
                self.error_times.append(time_ns)
            case "opened":
                raise BadTelemetry("kind", f"the session of {self.day} is opened twice")
        self.handled += 1
        self.newest_ns = max(self.newest_ns, time_ns)

    def summary(self, now_ns: int) -> PerformanceSummary:
        """At ``now_ns``, or at the newest record if the clock is behind it."""
        return self.monitor.summary(max(now_ns, self.newest_ns))

    def tick(
        self,
        now_ns: int,
        summary: PerformanceSummary,
        latencies_ms: Iterable[Decimal] = (),
        errors_beside: int = 0,
    ) -> MetricTick | None:
        """The tick of ``now_ns`` (``summary`` of the same instant): P&L as last told, slippage of the UTC day's market
        fills so far, errors of the day's records. ``errors_beside`` happened beside them: each is added as an error and
        as a record. None while P&L is unknown."""
        standing = self.standing
        if standing is None:
            return None
        return measured_tick(
            now_ns // _MS_NS,
            fees=standing.fees,
            realized=standing.realized,
            unrealized=standing.unrealized,
            slippages_bps=self.slippages,
            latencies_ms=latencies_ms,
            win_rate_1h=summary.win_rate_1h,
            drawdown_daily=summary.drawdown_daily,
            errors=self.errors + errors_beside,
            handled=self.handled + errors_beside,
        )

    def document(self) -> Document:
        """What the next day goes on from."""
        standing = self.standing
        return {
            "day": self.day.isoformat(),
            "source": self.source,
            "fees": None if standing is None else standing.fees,
            "realized": None if standing is None else standing.realized,
            "monitor": self.monitor.carried(),
        }


def carried_monitor(store: Store, source: str, opened: Document) -> Document | None:
    """What the session goes on from: stored at the end of the day it names, or folded from that day's records where a
    process died before it could store it. None for a first session, and where neither is there."""
    if not opened["carried_day"]:
        return None
    day = date.fromisoformat(opened["carried_day"])
    stored = find(store, day_key(source, day, "monitor.json"))
    if stored is not None:
        return stored
    document = day_document(store, source, day)
    return None if document is None else store_monitor(store, source, folded(store, source, document))


def store_monitor(store: Store, source: str, fold: DayFold) -> Document:
    """What the day left behind, as first stored."""
    return create_once(store, day_key(source, fold.day, "monitor.json"), fold.document)


def begun(store: Store, source: str, opened: Document) -> DayFold:
    """The fold of a day, after its first record."""
    return DayFold(opened, carried_monitor(store, source, opened))


def folded(store: Store, source: str, document: Document) -> DayFold:
    """The whole day."""
    opened, *records = document["records"]
    fold = begun(store, source, opened)
    for record in records:
        fold.take(record)
    return fold


@dataclass(frozen=True, slots=True)
class RecomputedDay:
    """A day's ticks computed from its records alone, one at each valuation: no latency, and errors of the records only.
    ``standings`` are all that P&L was ever said to be, in order."""

    ticks: tuple[MetricTick, ...]
    standings: tuple[Standing, ...]
    fold: DayFold


def recomputed(store: Store, source: str, document: Document) -> RecomputedDay:
    """Raises BadTelemetry."""
    opened, *records = document["records"]
    fold = begun(store, source, opened)
    ticks: list[MetricTick] = []
    standings = [] if fold.standing is None else [fold.standing]
    for record in records:
        fold.take(record)
        if record["kind"] == "point":
            tick = fold.tick(record["time_ns"], fold.summary(record["time_ns"]))
            assert tick is not None  # the valuation just taken says what P&L is
            assert fold.standing is not None
            ticks.append(tick)
            standings.append(fold.standing)
    return RecomputedDay(tuple(ticks), tuple(standings), fold)


def tick_lines(ticks: Iterable[MetricTick]) -> bytes:
    """The ticks as stored, a line each."""
    return b"".join(dump_line(tick_document(tick)) + b"\n" for tick in ticks)


# --- service levels ---


def stored_heartbeats(store: Store, source: str, until: date) -> list[Heartbeat]:
    """Of the metric ticks stored in the window that ends with ``until``: the trader beats by them."""
    days = (until - _DAY * back for back in reversed(range(WINDOW_NS // DAY_NS + 1)))
    return [Heartbeat(tick.time_ms * _MS_NS) for day in days for tick in read_ticks(store, source.lower(), day).ticks]


def first_beat_ns(store: Store, source: str) -> int | None:
    """When the trader of this source first beat, None if it never did: from then on it was meant to run."""
    prefix = f"telemetry/{source.lower()}/"
    for entry in store.list(prefix):
        name, _, file = entry.key.removeprefix(prefix).partition("/")
        if file == "ticks.jsonl":
            ticks = read_ticks(store, source.lower(), date.fromisoformat(name)).ticks
            if ticks:
                return ticks[0].time_ms * _MS_NS
    return None


def levels_of(
    samples: Iterable[Sample],
    heartbeats: Iterable[Heartbeat],
    *,
    since_ns: int | None,
    now_ns: int,
    heartbeat_ns: int,
) -> tuple[ServiceLevel, ...]:
    """The four levels over the 72 hours that end at ``now_ns``.

    ``since_ns``, the trader's first beat, may lie outside. None, or a window before it: nobody was meant to run, and
    uptime is undecided rather than 0 or 100 %.
    """
    read = tuple(samples)
    never = since_ns is None or since_ns >= now_ns
    levels = service_levels(
        (LatencySample(each.time_ns, each.latency_ns) for each in read),
        (LagSample(each.time_ns, each.lag_ns) for each in read),
        (Delivery(each.time_ns, each.id) for each in read),
        heartbeats,
        since_ns=now_ns - WINDOW_NS if since_ns is None or never else since_ns,
        now_ns=now_ns,
        targets=Targets(heartbeat_ns=heartbeat_ns),
    )
    if not never:
        return levels
    return tuple(_unheard(level) if level.name == _UPTIME else level for level in levels)


def end_levels(store: Store, source: str, day: date, grid_seconds: int) -> Document:
    """The levels of the 72 hours that end with ``day``, as first judged: JSON, with a CSV of the same beside it."""
    end_ns = start_of(day) + DAY_NS

    def judged() -> Document:
        beats = stored_heartbeats(store, source, day)
        samples = stored_samples(store, source)
        levels = levels_of(
            samples,
            beats,
            since_ns=first_beat_ns(store, source),
            now_ns=end_ns,
            heartbeat_ns=grid_seconds * _NS,
        )
        return {
            "day": day.isoformat(),
            "source": source,
            "as_of_ns": end_ns,
            "heartbeats": sum(end_ns - WINDOW_NS < beat.time_ns <= end_ns for beat in beats),
            "samples": sum(end_ns - WINDOW_NS < sample.time_ns <= end_ns for sample in samples),
            "levels": [asdict(level) for level in levels],
        }

    document = create_once(store, day_key(source, day, "service_levels.json"), judged)
    rows = [_level(row) for row in document["levels"]]
    create_bytes_once(store, day_key(source, day, "service_levels.csv"), report_csv(rows, now_ns=end_ns).encode())
    return document


def _level(row: Document) -> ServiceLevel:
    """A level as stored; whole numbers come back as ints."""
    value = row["value"]
    return ServiceLevel(**row | {"value": None if value is None else Decimal(value), "target": Decimal(row["target"])})


def _unheard(level: ServiceLevel) -> ServiceLevel:
    reason = "no trader had ever beaten by the end of the window"
    return ServiceLevel(level.name, None, level.unit, level.rule, level.target, 0, level.needed, None, reason)


def sample_rows(samples: Iterable[Sample]) -> list[list[object]]:
    """As stored: time, latency and lag in nanoseconds, and the id."""
    return [[each.time_ns, each.latency_ns, each.lag_ns, each.id] for each in samples]


def samples_of(rows: Iterable[object]) -> Iterator[Sample]:
    """What ``sample_rows`` wrote. Raises BadTelemetry for a row that it would not write."""
    for row in rows:
        match row:
            case [int(time_ns), int(latency_ns), int(lag_ns), str(name)]:
                yield Sample(time_ns, latency_ns, lag_ns, name)
            case _:
                raise BadTelemetry("sample", f"{row!r:.100} is none")


def samples_key(source: str) -> str:
    """Where the group that reads ``metrics:signals:e2e`` keeps its samples."""
    return f"telemetry/{source.lower()}/e2e.json"


def stored_samples(store: Store, source: str) -> tuple[Sample, ...]:
    """The newest samples, as the group stored them; none where it never read."""
    document = find(store, samples_key(source))
    return () if document is None else tuple(samples_of(document["state"]["samples"]))


def _closed_trade(record: Mapping[str, object]) -> ClosedTrade:
    opened_ns, closed_ns, confidence = record["opened_ns"], record["closed_ns"], record["confidence"]
    if not isinstance(opened_ns, int) or not isinstance(closed_ns, int):
        raise BadTelemetry("closed_ns", f"{opened_ns!r} to {closed_ns!r} are no times")
    return ClosedTrade(
        _amount(record, "pnl_usd"),
        _amount(record, "fees_usd"),
        _amount(record, "notional_usd"),
        _optional(record, "slippage_bps"),
        opened_ns,
        closed_ns,
        str(record["strategy"]),
        confidence if isinstance(confidence, int) else None,  # the strategy gives a score, or none
        str(record["close_reason"]),
    )


def _amount(record: Mapping[str, object], name: str) -> Decimal:
    value = _optional(record, name)
    if value is None:
        raise BadTelemetry(name, "missing")
    return value


def _optional(record: Mapping[str, object], name: str) -> Decimal | None:
    """Whole numbers come back from the store as ints."""
    if name not in record:
        raise BadTelemetry(name, "missing")
    value = record[name]
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, Decimal | int):
        raise BadTelemetry(name, f"{value!r} is not an exact number")
    return Decimal(value)
