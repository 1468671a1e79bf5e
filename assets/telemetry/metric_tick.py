"""The metric tick of brief 4 (``metrics:ticks``): exact numbers inside, the brief's published units at the edge.

Published units, one row for each number of the JSON (null where a number is undefined, never a zero in its place):

| field | unit | meaning |
|---|---|---|
| pnl.fees | USD | all fees posted so far; contained in ``realized`` already |
| pnl.realized | USD | P&L realised so far, net of fees and with funding, open trades' postings included |
| pnl.unrealized | USD | what closing all open trades now would add, net; null while a quote is missing or stale |
| slippage_bps_p50 | basis points | median slippage of market fills, positive is a cost |
| latency_ms_p95 | milliseconds | 95th percentile from decision through the store to the published record |
| win_rate_1h | fraction, 0 to 1 | winning / closed trades of the last hour, by net P&L |
| drawdown_daily | PER CENT, -100 to 0 | deepest fall below the running peak of this UTC day: -2.1 is 2.1 % lost |
| errors_rate | fraction, 0 to 1 | refused or failed / records of the day, what failed beside them included |
| timestamp | seconds since 1970 UTC | with milliseconds as decimals |

A decision's way begins with the first event of the step that stored it: an upper bound for those that followed.
The mixture of fraction and per cent is the brief's, kept because its readers depend on it; ``MetricTick`` holds
fractions only. Percentiles are nearest-rank (``percentile.py``).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cache
from pathlib import Path

from jsonschema import Draft202012Validator

from assets.accounting.precision import EXACT, divided
from assets.telemetry.bad_telemetry import BadTelemetry, finite, instant
from assets.telemetry.percentile import percentile
from resources.documents import Document, load_document

TYPE = "metrics.tick"
MEDIAN, P95 = Fraction(1, 2), Fraction(95, 100)
_MS_IN_SECOND_EXPONENT = -3
_ONE = Decimal(1)


def to_percent(fraction: Decimal | None) -> Decimal | None:
    """0.021 becomes 2.1, exactly; undefined stays undefined."""
    return None if fraction is None else _shifted(fraction, 2)


def from_percent(percent: Decimal | None) -> Decimal | None:
    """2.1 becomes 0.021, exactly; undefined stays undefined."""
    return None if percent is None else _shifted(percent, -2)


@dataclass(frozen=True, slots=True)
class MetricTick:
    """One tick. Money in USD, ``win_rate_1h`` and ``errors_rate`` fractions of 1, ``drawdown_daily`` a fraction in
    [-1, 0], ``time_ms`` milliseconds since 1970 UTC. Raises BadTelemetry on a number that is none or out of range."""

    fees: Decimal
    realized: Decimal
    unrealized: Decimal | None
    slippage_bps_p50: Decimal | None
    latency_ms_p95: Decimal | None
    win_rate_1h: Decimal | None
    drawdown_daily: Decimal | None
    errors_rate: Decimal | None
    time_ms: int

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if value is not None:
                finite(name, value)
            elif name in ("fees", "realized"):
                raise BadTelemetry(name, "money that was posted is never undefined")
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if value is not None and (value < low or (high is not None and value > high)):
                raise BadTelemetry(name, f"{value} is not within {low} and {'infinity' if high is None else high}")
        instant("time_ms", self.time_ms)


_RANGES: tuple[tuple[str, int, int | None], ...] = (
    ("latency_ms_p95", 0, None),
    ("win_rate_1h", 0, 1),
    ("drawdown_daily", -1, 0),
    ("errors_rate", 0, 1),
)


def measured_tick(
    time_ms: int,
    *,
    fees: Decimal,
    realized: Decimal,
    unrealized: Decimal | None,
    slippages_bps: Iterable[Decimal],
    latencies_ms: Iterable[Decimal],
    win_rate_1h: Decimal | None,
    drawdown_daily: Decimal | None,
    errors: int,
    handled: int,
) -> MetricTick:
    """The tick of what was measured: percentiles of the samples, ``errors`` of ``handled`` records (errors included;
    no record handled: no rate). Raises BadTelemetry as ``MetricTick`` does, and for more errors than records."""
    if not 0 <= errors <= handled:
        raise BadTelemetry("errors_rate", f"{errors} errors among {handled} records")
    return MetricTick(
        fees,
        realized,
        unrealized,
        percentile((finite("slippage_bps_p50", sample) for sample in slippages_bps), MEDIAN),
        percentile((finite("latency_ms_p95", sample) for sample in latencies_ms), P95),
        win_rate_1h,
        drawdown_daily,
        divided(Decimal(errors), Decimal(handled)) if handled else None,
        time_ms,
    )


def tick_document(tick: MetricTick) -> Document:
    """The brief's JSON: its names, its order, its units (see the table above)."""
    return {
        "type": TYPE,
        "pnl": {"fees": tick.fees, "realized": tick.realized, "unrealized": tick.unrealized},
        "slippage_bps_p50": tick.slippage_bps_p50,
        "latency_ms_p95": tick.latency_ms_p95,
        "win_rate_1h": tick.win_rate_1h,
        "drawdown_daily": to_percent(tick.drawdown_daily),
        "errors_rate": tick.errors_rate,
        "timestamp": EXACT.scaleb(Decimal(tick.time_ms), _MS_IN_SECOND_EXPONENT),
    }


@cache
def tick_schema() -> Document:
    """``metrics_tick.schema.json`` (JSON Schema 2020-12), the published contract of a tick."""
    return load_document(Path(__file__).with_name("metrics_tick.schema.json").read_bytes())


def check_tick(document: Document) -> None:
    """Raise BadTelemetry naming the first offending field unless the document is a tick by the published schema.

    NaN and infinities are refused too, which a JSON parser may let in and no schema can forbid.
    """
    pnl = document.get("pnl")
    for name, value in [*document.items(), *(pnl.items() if isinstance(pnl, dict) else ())]:
        if isinstance(value, float) and not _is_finite(value):
            raise BadTelemetry(str(name), f"{value} is not a finite number")
        if isinstance(value, Decimal):
            finite(str(name), value)
    for error in sorted(_validator().iter_errors(document), key=lambda each: each.json_path):
        raise BadTelemetry(error.json_path.removeprefix("$").lstrip(".") or "tick", error.message)


def parse_tick(document: Document) -> MetricTick:
    """The tick in a published document; a ``schema_version`` is passed over. Raises BadTelemetry."""
    # A day has thousands: what we would have written ourselves is a tick, which is seen faster than checked.
    try:
        tick = _read(document)
        if tick_document(tick) == document:
            return tick
    except (KeyError, TypeError, ValueError, ArithmeticError):
        pass  # The schema says below what is wrong with it.
    check_tick(document)
    try:
        return _read(document)
    except ArithmeticError as error:
        raise BadTelemetry("tick", "a number is beyond what can be reckoned with") from error


def _read(document: Document) -> MetricTick:
    pnl = document["pnl"]
    return MetricTick(
        _exact(pnl["fees"]),
        _exact(pnl["realized"]),
        _optional(pnl["unrealized"]),
        _optional(document["slippage_bps_p50"]),
        _optional(document["latency_ms_p95"]),
        _optional(document["win_rate_1h"]),
        from_percent(_optional(document["drawdown_daily"])),
        _optional(document["errors_rate"]),
        _milliseconds(_exact(document["timestamp"])),
    )


@cache
def _validator() -> Draft202012Validator:
    return Draft202012Validator(tick_schema())


def _shifted(value: Decimal, places: int) -> Decimal:
    """``value`` with its point moved, written plainly: -50, not -5E+1, for readers with simple parsers."""
    moved = EXACT.scaleb(value, places)
    exponent = moved.as_tuple().exponent
    return EXACT.quantize(moved, _ONE) if isinstance(exponent, int) and exponent > 0 else moved


def _is_finite(value: float) -> bool:
    return Decimal(value).is_finite()


def _exact(value: Decimal | int | float) -> Decimal:
    if isinstance(value, bool):
        raise TypeError("a truth is no number, though Python counts it as one")
    # A float is what its shortest text says: 0.65, not the binary neighbour of it.
    return Decimal(repr(value)) if isinstance(value, float) else Decimal(value)


def _optional(value: Decimal | int | float | None) -> Decimal | None:
    return None if value is None else _exact(value)


def _milliseconds(seconds: Decimal) -> int:
    time_ms = EXACT.scaleb(seconds, -_MS_IN_SECOND_EXPONENT)
    if time_ms != int(time_ms):
        raise BadTelemetry("timestamp", f"{seconds} has more than milliseconds")
    return int(time_ms)
