"""What telemetry says of the paper trader, read once for every viewer: the newest state of one source, and beside it
what other records hold: the newest backtest report, and how long the day's orders took to be confirmed."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from assets.telemetry.alarms import AlarmStatus
from assets.telemetry.service_levels import ServiceLevel
from assets.telemetry.telemetry_log import METRICS, TRADE
from assets.telemetry.watch import live_key
from dashboards.backtest_report import BacktestReport, NewestReport
from dashboards.confirmations import NOTHING_CONFIRMED, ConfirmationLog, Confirmations
from dashboards.live_poller import LivePoller, LiveSnapshot
from resources.clock import Clock
from resources.documents import Document, from_iso
from resources.feed import Source
from resources.store import Store

Value = Decimal | int | None

# A day's log grows by the minute, reports come by the day: neither is worth a request a second.
_RECORDS_EVERY = timedelta(seconds=15)


@dataclass(frozen=True, slots=True)
class Series:
    """The newest values of one metric, oldest first, as (time_ns, value); ``changed_ns`` is when it last changed."""

    points: tuple[tuple[int, Value], ...]
    changed_ns: int | None


@dataclass(frozen=True, slots=True)
class TelemetryView:
    """``assets.telemetry.watch``'s live document, its fields by their names there; numbers exact, None undefined."""

    as_of: datetime
    source: str
    day: str
    grid_seconds: int
    values: Mapping[str, Value]
    has_tick: bool
    levels: tuple[ServiceLevel, ...]
    alarms: tuple[AlarmStatus, ...]
    bus: Document | None
    rejected: Mapping[str, int]
    last_trade: Document | None
    errors: int
    handled: int
    series: Mapping[str, Series]


@dataclass(frozen=True, slots=True)
class TelemetrySnapshot(LiveSnapshot):
    """``view`` is None while no trader of ``source`` has written one, ``backtest`` while no report is stored."""

    view: TelemetryView | None = None
    backtest: BacktestReport | None = None
    confirmations: Confirmations = NOTHING_CONFIRMED


class TelemetryPoller(LivePoller[TelemetrySnapshot]):
    """Reads what the trader of ``source`` tells of itself at each instant of its grid, and more seldom the rest."""

    def __init__(self, store: Store, clock: Clock, source: Source) -> None:
        super().__init__(store, clock, live_key(source), TelemetrySnapshot(source))
        self._reports = NewestReport(store)
        self._log = ConfirmationLog(store, source)
        self._due: datetime | None = None

    def read(self, document: Document) -> dict[str, Any]:
        view = view_from_document(document)
        return {"view": view, "written_at": view.as_of}

    def completed(self, snapshot: TelemetrySnapshot) -> TelemetrySnapshot:
        now = self._clock.now()
        if self._due is None or now >= self._due or self._log.behind:
            self._reports.refresh()
            if snapshot.view is not None:
                self._log.refresh(snapshot.view.day)
            self._due = now + _RECORDS_EVERY
        return replace(snapshot, backtest=self._reports.report, confirmations=self._log.confirmations)


def view_from_document(document: Document) -> TelemetryView:
    """The view a live document stands for. Raises ValueError naming what is missing or of another type."""
    values = {name: _value(value, f"values.{name}") for name, value in _mapping(document, "values").items()}
    bus, trade = document.get("bus"), document.get("last_trade")
    return TelemetryView(
        as_of=from_iso(_typed(document, "as_of", str)),
        source=_typed(document, "source", str),
        day=_typed(document, "day", str),
        grid_seconds=_typed(document, "grid_seconds", int),
        values=values,
        has_tick=document.get("tick") is not None,
        levels=tuple(_level(row) for row in _rows(document, "levels")),
        alarms=tuple(_alarm(row) for row in _rows(document, "alarms")),
        bus=None if bus is None else _mapping(document, "bus"),
        rejected={reason: _count(count, reason) for reason, count in _mapping(document, "rejected").items()},
        last_trade=None if trade is None else _trade(_mapping(document, "last_trade")),
        errors=_typed(document, "errors", int),
        handled=_typed(document, "handled", int),
        series={name: _series(each, name) for name, each in _mapping(document, "series").items()},
    )


def _level(row: Document) -> ServiceLevel:
    taken = _fields(row, ServiceLevel)
    for name in ("name", "unit", "rule", "reason"):
        _typed(row, name, str)
    if taken["target"] is None:
        raise ValueError("levels.target is not a number")
    taken |= {name: _decimal(_value(taken[name], f"levels.{name}")) for name in ("value", "target")}
    taken |= {name: _count(taken[name], f"levels.{name}") for name in ("samples", "needed")}
    return ServiceLevel(**taken | {"met": _truth(taken["met"], "levels.met")})


def _alarm(row: Document) -> AlarmStatus:
    taken = _fields(row, AlarmStatus)
    for name in ("name", "detail"):
        _typed(row, name, str)
    for name in ("since_ns", "last_notice_ns"):
        if taken[name] is not None:
            _typed(row, name, int)
    taken |= {name: _count(taken[name], f"alarms.{name}") for name in ("suppressed", "suppressed_total")}
    return AlarmStatus(**taken | {"firing": _truth(taken["firing"], "alarms.firing")})


def _trade(document: Document) -> Document:
    """Its metrics are numbers, or words for the strategy and for why it was closed."""
    _typed(document, "closed_ns", int)
    for metric in METRICS:
        if metric.source == TRADE:
            value = document.get(metric.name)
            if metric.unit == "text":
                _typed(document, metric.name, str)
            else:
                _value(value, f"last_trade.{metric.name}")
    return document


def _series(document: Any, name: str) -> Series:
    if not isinstance(document, dict) or not isinstance(document.get("points"), list):
        raise ValueError(f"series.{name} has no points")
    points = []
    for point in document["points"]:
        if not isinstance(point, list) or len(point) != 2:
            raise ValueError(f"series.{name}: {point!r} is no point")
        points.append((_count(point[0], f"series.{name}"), _value(point[1], f"series.{name}")))
    changed = document.get("changed_ns")
    return Series(tuple(points), None if changed is None else _count(changed, f"series.{name}.changed_ns"))


def _fields(row: Document, kind: type) -> dict[str, Any]:
    """The fields of a dataclass by name; a reader passes over what a later writer adds."""
    names = [each.name for each in fields(kind)]
    absent = [name for name in names if name not in row]
    if absent:
        raise ValueError(f"a {kind.__name__} lacks {', '.join(absent)}")
    return {name: row[name] for name in names}


def _rows(document: Document, name: str) -> list[Document]:
    rows = document.get(name)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{name} is no list of rows")
    return rows


def _mapping(document: Document, name: str) -> Document:
    value = document.get(name)
    if not isinstance(value, dict):
        raise ValueError(f"{name} is missing or no mapping")
    return value


def _typed(document: Document, name: str, kind: type) -> Any:
    value = document.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{name} is missing or no {kind.__name__}")
    return value


def _value(value: Any, name: str) -> Value:
    if value is not None and (isinstance(value, bool) or not isinstance(value, (Decimal, int))):
        raise ValueError(f"{name} is no number")
    return value


def _decimal(value: Value) -> Decimal | None:
    return None if value is None else Decimal(value)


def _count(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{name} is no whole number")
    return value


def _truth(value: Any, name: str) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise ValueError(f"{name} is neither true, false nor unknown")
    return value
