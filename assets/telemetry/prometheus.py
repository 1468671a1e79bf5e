"""Telemetry for Prometheus: a snapshot read at each scrape, in base units, on this machine only.

Names end in their unit (``_usd``, ``_ratio``, ``_seconds``); what is undefined is absent from the scrape, never a zero
or a NaN. Prometheus stores floats: these figures are for watching, the store holds the exact ones.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from threading import Thread
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from assets.telemetry.alarms import AlarmStatus
from assets.telemetry.metric_tick import MetricTick
from assets.telemetry.performance_monitor import PerformanceSummary
from assets.telemetry.service_levels import ServiceLevel

LOOPBACK = "127.0.0.1"
_BPS = Decimal(10_000)
_MS = Decimal(1_000)


@dataclass(frozen=True, slots=True)
class TelemetrySnapshot:
    """What is exposed, made whole by its writer and never changed: a scrape sees one state. None: not known yet."""

    as_of_ns: int
    source: str
    summary: PerformanceSummary | None
    tick: MetricTick | None
    levels: tuple[ServiceLevel, ...]
    alarms: tuple[AlarmStatus, ...]


# Metric, help with the unit, the summary's field, divisor to the base unit.
_FROM_SUMMARY: tuple[tuple[str, str, str, Decimal], ...] = (
    ("desk_pnl_usd", "Net P&L of closed trades, in USD", "pnl_usd", Decimal(1)),
    ("desk_gross_pnl_usd", "P&L of closed trades before fees, in USD", "gross_pnl_total", Decimal(1)),
    ("desk_fees_usd", "Fees of closed trades, in USD", "fees_total", Decimal(1)),
    ("desk_pnl_per_notional_ratio", "Net P&L of closed trades per notional, a fraction", "pnl_bps", _BPS),
    ("desk_realized_pnl_usd", "P&L realised so far, net, in USD", "realized", Decimal(1)),
    ("desk_unrealized_pnl_usd", "P&L of open trades if closed now, net, in USD", "unrealized", Decimal(1)),
    ("desk_equity_usd", "Capital and P&L, in USD", "equity", Decimal(1)),
    ("desk_cash_usd", "Capital that is not tied in positions, in USD", "cash", Decimal(1)),
    ("desk_peak_equity_usd", "Peak that drawdown is measured from, in USD", "peak_equity", Decimal(1)),
    ("desk_max_equity_usd", "Highest equity seen, in USD", "max_equity", Decimal(1)),
    ("desk_min_equity_usd", "Lowest equity seen, in USD", "min_equity", Decimal(1)),
    ("desk_daily_pnl_usd", "Change of equity since 00:00 UTC without flows, in USD", "daily_pnl", Decimal(1)),
    ("desk_total_return_ratio", "Return on capital since the start, a fraction", "total_return", Decimal(1)),
    ("desk_sharpe_ratio", "Sharpe ratio of daily returns times sqrt(365), a number", "sharpe_ratio", Decimal(1)),
    ("desk_win_rate_ratio", "Winning / closed trades, a fraction", "win_rate", Decimal(1)),
    ("desk_win_rate_1h_ratio", "Winning / closed trades of the last hour, a fraction", "win_rate_1h", Decimal(1)),
    ("desk_max_drawdown_ratio", "Deepest fall below the peak, a fraction, negative", "max_drawdown", Decimal(1)),
    ("desk_current_drawdown_ratio", "Fall below the peak, a fraction, negative", "current_drawdown", Decimal(1)),
    ("desk_drawdown_daily_ratio", "Deepest fall of this UTC day, a fraction, negative", "drawdown_daily", Decimal(1)),
)
_FROM_TICK: tuple[tuple[str, str, str, Decimal], ...] = (
    ("desk_fees_posted_usd", "All fees posted, open trades' included, in USD", "fees", Decimal(1)),
    ("desk_slippage_p50_ratio", "Median slippage of market fills, a fraction of the price", "slippage_bps_p50", _BPS),
    (
        "desk_latency_p95_seconds",
        "95th percentile from decision to publication, the storing between them included, in seconds",
        "latency_ms_p95",
        _MS,
    ),
    ("desk_errors_ratio", "Refused or failed / records of the day, a fraction", "errors_rate", Decimal(1)),
    ("desk_tick_timestamp_seconds", "When the newest tick was made, in seconds since 1970 UTC", "time_ms", _MS),
)
_LEVEL_SUFFIX = {"s": ("seconds", "in seconds"), "fraction": ("ratio", "a fraction")}


class TelemetryCollector(Collector):
    """Asks ``snapshot`` at each scrape; nothing is exposed while it returns None."""

    def __init__(self, snapshot: Callable[[], TelemetrySnapshot | None]) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        seen = self._snapshot()
        if seen is None:
            return
        info = GaugeMetricFamily("desk_telemetry_info", "Where the numbers come from; always 1", labels=["source"])
        info.add_metric([seen.source], 1)
        yield info
        yield _gauge(
            "desk_telemetry_timestamp_seconds", "As of, in seconds since 1970 UTC", Decimal(seen.as_of_ns) / 10**9
        )
        if seen.summary is not None:
            yield from _gauges(seen.summary, _FROM_SUMMARY)
            yield CounterMetricFamily("desk_trades", "Closed trades, a count", value=seen.summary.total_trades)
            yield CounterMetricFamily(
                "desk_winning_trades", "Closed trades with positive net P&L, a count", value=seen.summary.winning_trades
            )
        if seen.tick is not None:
            yield from _gauges(seen.tick, _FROM_TICK)
        yield from _levels(seen.levels)
        yield from _alarms(seen.alarms)


class Endpoint:
    """The HTTP endpoint while it serves; ``close`` ends it and frees the port. Also a context manager."""

    def __init__(self, server: WSGIServer, thread: Thread) -> None:
        self._server, self._thread = server, thread

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self._server.server_port}/metrics"

    def close(self) -> None:
        """Answer the scrape in hand, stop listening. A second call does nothing."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def __enter__(self) -> "Endpoint":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def serve(port: int, snapshot: Callable[[], TelemetrySnapshot | None]) -> Endpoint:
    """Listen on ``port`` of the loopback address (0: any free one), with a registry of its own: nothing of the process
    or of other libraries is exposed. Raises OSError when the port is taken."""
    registry = CollectorRegistry()
    registry.register(TelemetryCollector(snapshot))
    return Endpoint(*start_http_server(port, addr=LOOPBACK, registry=registry))


def _gauges(
    record: PerformanceSummary | MetricTick, table: tuple[tuple[str, str, str, Decimal], ...]
) -> Iterator[Metric]:
    for name, meaning, field, divisor in table:
        value = getattr(record, field)
        if value is not None:
            yield _gauge(name, meaning, value / divisor)


def _gauge(name: str, meaning: str, value: Decimal) -> Metric:
    return GaugeMetricFamily(name, meaning, value=float(value))


def _levels(levels: tuple[ServiceLevel, ...]) -> Iterator[Metric]:
    met = GaugeMetricFamily(
        "desk_service_level_met", "1 met, 0 breached, absent while there is too little data", labels=["level"]
    )
    for level in levels:
        suffix, unit = _LEVEL_SUFFIX[level.unit]
        name = f"desk_service_{level.name}_{suffix}"
        if level.value is not None:
            yield _gauge(
                name, f"{level.name} over the window, {unit}; promised {level.rule} {level.target:f}", level.value
            )
        if level.met is not None:
            met.add_metric([level.name], int(level.met))
    yield met


def _alarms(alarms: tuple[AlarmStatus, ...]) -> Iterator[Metric]:
    firing = GaugeMetricFamily(
        "desk_alarm_firing", "1 fires, 0 silent, absent while it cannot be judged", labels=["alarm"]
    )
    suppressed = CounterMetricFamily(
        "desk_alarm_suppressed", "Repeats held back by the cool-down, a count", labels=["alarm"]
    )
    for alarm in alarms:
        if alarm.firing is not None:
            firing.add_metric([alarm.name], int(alarm.firing))
        suppressed.add_metric([alarm.name], alarm.suppressed_total)
    yield firing
    yield suppressed
