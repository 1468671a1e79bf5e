"""The stored metric ticks of a day, and the table of every metric of brief 4.

Ticks lie in ``telemetry/<source>/<day>/ticks.jsonl``, one JSON line each in the brief's shape, in order of time and
one an instant of the grid at most, whoever writes: two writers, or one that was restarted, leave no second row.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

from assets.telemetry.metric_tick import MetricTick, parse_tick, tick_document
from assets.telemetry.performance_monitor import PerformanceSummary
from resources.documents import dump_line, load_document
from resources.store import NotFound, Store

_BEFORE_ALL = -1
_DAYS = 7

TICK, SUMMARY, MONITOR, TRADE, SIGNAL, CONFIRMATION, BACKTEST = (
    "metric tick",
    "performance summary",
    "performance monitor",
    "closed trade",
    "signal latency",
    "confirmation",
    "backtest result",
)


def ticks_key(source: str, day: date) -> str:
    """Where the ticks of one UTC day lie."""
    return f"telemetry/{source}/{day:%Y-%m-%d}/ticks.jsonl"


def grid_instant(time_ms: int, grid_seconds: int) -> int:
    """The instant of the grid that a time belongs to (its floor), in milliseconds."""
    step = grid_seconds * 1_000
    return time_ms // step * step


def append_tick(store: Store, source: str, tick: MetricTick, grid_seconds: int) -> bool:
    """Add the tick to its day's log; False, and nothing is written, if one of the same or a later instant of the grid
    is there. Raises StoreError when the store does."""
    line = dump_line(tick_document(tick))
    own = grid_instant(tick.time_ms, grid_seconds)

    def following(last: bytes) -> bytes | None:
        newest = _time_of_line(last)
        return None if newest != _BEFORE_ALL and grid_instant(newest, grid_seconds) >= own else line

    day = datetime.fromtimestamp(tick.time_ms // 1_000, UTC).date()
    return store.append(ticks_key(source, day), following) is not None


@dataclass(frozen=True, slots=True)
class DayTicks:
    """A day's ticks in stored order; ``unreadable`` counts the whole lines that are no ticks."""

    ticks: tuple[MetricTick, ...]
    unreadable: int


def read_ticks(store: Store, source: str, day: date) -> DayTicks:
    """The ticks of one UTC day, none where none were written. A torn last line is not yet written and passed over."""
    try:
        data = store.read(ticks_key(source, day)).data
    except NotFound:
        return DayTicks((), 0)
    ticks, unreadable = [], 0
    for line in data[: data.rfind(b"\n") + 1].splitlines():
        try:
            ticks.append(parse_tick(load_document(line)))
        except ValueError:
            unreadable += 1
    return DayTicks(tuple(ticks), unreadable)


def newest_ticks(store: Store, source: str, after_ms: int, until: date, count: int) -> list[MetricTick]:
    """The newest ticks later than ``after_ms`` (milliseconds since 1970 UTC), ``count`` at most, of the week that ends
    with ``until``; oldest first. Raises StoreError."""
    found: list[MetricTick] = []
    for back in range(_DAYS):
        day = until - timedelta(days=back)
        newer = [tick for tick in read_ticks(store, source, day).ticks if tick.time_ms > after_ms]
        found = newer + found
        if len(found) >= count or datetime.combine(day, time(), UTC).timestamp() * 1_000 <= after_ms:
            break
    return found[-count:]


def _time_of_line(line: bytes) -> int:
    try:
        return parse_tick(load_document(line)).time_ms
    except ValueError:
        return _BEFORE_ALL


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: its name in brief 4, the unit its value has here, what it means, and the record it is a field of."""

    name: str
    unit: str
    meaning: str
    source: str


METRICS: tuple[Metric, ...] = (
    Metric("pnl_usd", "USD", "Net P&L of closed trades, fees and funding included", SUMMARY),
    Metric("pnl_bps", "bps", "Net P&L of closed trades per notional traded", SUMMARY),
    Metric("realized", "USD", "P&L realised so far, net of fees, open trades' postings included", TICK),
    Metric("unrealized", "USD", "What closing all open trades now would add, net of exit fees", TICK),
    Metric("fees", "USD", "All fees posted so far, contained in realized", TICK),
    Metric("gross_pnl_total", "USD", "P&L of closed trades before fees: net + fees", SUMMARY),
    Metric("net_pnl_total", "USD", "P&L of closed trades after fees", SUMMARY),
    Metric("fees_total", "USD", "Fees of closed trades, of all their fills", SUMMARY),
    Metric("return_bps", "bps", "Total return in basis points", SUMMARY),
    Metric("total_return", "fraction", "Return on capital since the start, deposits and withdrawals neutral", SUMMARY),
    Metric(
        "sharpe_ratio", "ratio", "Mean / deviation of daily returns times sqrt(365); two whole days at least", SUMMARY
    ),
    Metric("win_rate", "fraction", "Trades with positive net P&L / all closed trades", SUMMARY),
    Metric("win_rate_1h", "fraction", "The same of the trades closed in the last hour", TICK),
    Metric("winning_trades", "count", "Closed trades with positive net P&L", SUMMARY),
    Metric("total_trades", "count", "Closed trades (round trips, not fills)", SUMMARY),
    Metric("max_drawdown", "fraction", "Deepest fall below the running peak, zero or negative", SUMMARY),
    Metric("drawdown_daily", "fraction", "The same within this UTC day (per cent in the published tick)", TICK),
    Metric("current_drawdown", "fraction", "Fall below the running peak now, zero or negative", SUMMARY),
    Metric("equity", "USD", "Capital and P&L, realised and unrealised", SUMMARY),
    Metric("cash", "USD", "Capital that is not tied in positions", SUMMARY),
    Metric("unrealized_pnl", "USD", "What closing all open trades now would add, at the newest valuation", SUMMARY),
    Metric("peak_equity", "USD", "The peak drawdown is measured from, in money of today's capital", SUMMARY),
    Metric("max_equity", "USD", "Highest equity seen, deposits included", SUMMARY),
    Metric("min_equity", "USD", "Lowest equity seen, withdrawals included", SUMMARY),
    Metric("daily_pnl", "USD", "Change of equity since 00:00 UTC, without flows", SUMMARY),
    Metric("equity_curve", "USD", "The newest valuations, oldest first", MONITOR),
    Metric("slippage_bps_p50", "bps", "Median slippage of market fills, positive is a cost", TICK),
    Metric("latency_ms_p95", "ms", "95th percentile from decision through the store to the published record", TICK),
    Metric("errors_rate", "fraction", "Refused or failed / records of the day", TICK),
    Metric("timestamp", "ms", "When the tick was made, since 1970 UTC (seconds in the published tick)", TICK),
    Metric("fees_usd", "USD", "Fees of one trade, of all its fills", TRADE),
    Metric("slippage_bps", "bps", "Slippage of one trade's market fills, weighted by notional", TRADE),
    Metric("hold_time_seconds", "s", "How long one trade was held", TRADE),
    Metric("strategy", "text", "What traded", TRADE),
    Metric("confidence", "points of 100", "Score of the signal behind one trade", TRADE),
    Metric("close_reason", "text", "Why one trade was closed", TRADE),
    Metric("ms", "ms", "From one decision through the store to its publication", SIGNAL),
    Metric("execution_time_ms", "ms", "From one decision to the confirmation of its order", CONFIRMATION),
    Metric("start_value", "USD", "Capital a backtest began with", BACKTEST),
    Metric("final_equity", "USD", "Equity a backtest ended with", BACKTEST),
    Metric("volatility", "fraction", "Yearly deviation of returns (per cent in results.json)", BACKTEST),
    Metric("total_signals", "count", "Signals a backtest saw", BACKTEST),
    Metric("signal_to_trade_ratio", "ratio", "Signals / fills of a backtest", BACKTEST),
)

# Where a record's field has another name than the brief's metric: two records of the brief name one number differently.
_FIELDS = {"unrealized_pnl": "unrealized", "timestamp": "time_ms"}


def metric_values(summary: PerformanceSummary | None, tick: MetricTick | None) -> Mapping[str, Decimal | int | None]:
    """Every metric of a summary or a tick by its name in ``METRICS``, in the unit given there; None is undefined.

    What is of one trade or one signal is not here, nor is the curve.
    """
    values: dict[str, Decimal | int | None] = {}
    for metric in METRICS:
        if metric.source == SUMMARY:
            values[metric.name] = None if summary is None else getattr(summary, _FIELDS.get(metric.name, metric.name))
        elif metric.source == TICK:
            values[metric.name] = None if tick is None else getattr(tick, _FIELDS.get(metric.name, metric.name))
    return values
