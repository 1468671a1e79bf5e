"""Every metric of brief 4 by its own name: value in its unit, trend, age, and where undefined the reason.

A metric is ``{name, text, unit, sign, title, reason, since, stale_after, line, alone, words}``; ``line`` holds levels 0
to 1000 with gaps where the value was undefined, ``alone`` stands in its place where one value is all there is,
``since`` is when the value was measured, in ms.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from assets.telemetry.telemetry_log import (
    BACKTEST,
    CONFIRMATION,
    METRICS,
    MONITOR,
    SIGNAL,
    SUMMARY,
    TICK,
    TRADE,
    Metric,
)
from dashboards import format as text
from dashboards import telemetry_labels as labels
from dashboards.backtest_report import BacktestReport
from dashboards.components.quant_shown import line
from dashboards.components.table_file import utc
from dashboards.confirmations import Confirmations
from dashboards.telemetry_snapshot import Series, TelemetrySnapshot, TelemetryView, Value
from resources.documents import Document

Shown = dict[str, Any]

NO_TRADER = "No trader has written telemetry to this store yet"

_SIGNED = {
    "pnl_usd",
    "pnl_bps",
    "realized",
    "unrealized",
    "gross_pnl_total",
    "net_pnl_total",
    "return_bps",
    "total_return",
    "sharpe_ratio",
    "max_drawdown",
    "drawdown_daily",
    "current_drawdown",
    "unrealized_pnl",
    "daily_pnl",
}
# Valuations and ticks come once a minute: two that are missing are noticed.
_STALE_SECONDS = 150
_EVENTFUL = (TRADE, SIGNAL, CONFIRMATION, BACKTEST)  # nothing is late in these

_NO_TICK = "no tick now: P&L is unknown"
_NOT_VALUED = "an open trade has no quote"
_NO_TRADE = "no trade has closed yet"
_UNDEFINED = {
    "sharpe_ratio": "two whole days are needed",
    "win_rate": _NO_TRADE,
    "pnl_bps": _NO_TRADE,
    "win_rate_1h": "no trade closed in the last hour",
    "unrealized": _NOT_VALUED,
    "unrealized_pnl": _NOT_VALUED,
    "equity": _NOT_VALUED,
    "current_drawdown": _NOT_VALUED,
    "peak_equity": _NOT_VALUED,
    "daily_pnl": "no valuation of this day yet",
    "drawdown_daily": "no valuation of this day yet",
    "cash": "no valuation yet",
    "slippage_bps_p50": "no market fill yet",
    "slippage_bps": "the trade had no market fill",
    "errors_rate": "no record of the day yet",
    "confidence": "the trade had no score",
    "equity_curve": "no valuation yet",
    "start_value": "not in the report",
    "final_equity": "not in the report",
    "volatility": "two whole days are needed",
    "total_signals": "not in the report",
    "signal_to_trade_ratio": "the backtest has no fill",
}


NOTHING_YET = "no telemetry yet"
NO_BACKTEST = "no backtest stored yet"


@dataclass(frozen=True, slots=True)
class _Measured:
    """One metric as it stands: ``value`` in ``unit``, None with the ``reason`` why; ``at_ns`` is when it was measured,
    ``trend`` its newest values."""

    metric: Metric
    value: Value | str
    unit: str
    reason: str
    at_ns: int | None
    trend: tuple[tuple[int, Value], ...] = ()
    changed_ns: int | None = None


def metric_groups(snapshot: TelemetrySnapshot) -> list[list[Shown]]:
    """The columns of the page: in each the records, in each record its metrics in the order of the brief's table."""
    return [
        [
            {
                "title": record[0].upper() + record[1:],
                "heads": [labels.METRIC, labels.TREND, labels.VALUE, labels.UNIT, labels.AGE],
                "rows": [_shown(_measured(metric, snapshot)) for metric in METRICS if metric.source == record],
                **(_report(snapshot.backtest) if record == BACKTEST else {"hint": "", "hint_title": ""}),
            }
            for record in column
        ]
        for column in labels.COLUMNS
    ]


def metric_rows(snapshot: TelemetrySnapshot) -> dict[str, Document]:
    """Every metric by its name as a row to save: exact, in the unit it has inside."""
    found = (_measured(metric, snapshot) for metric in METRICS)
    return {
        each.metric.name: {
            "metric": each.metric.name,
            "record": each.metric.source,
            "value": each.value,
            "unit": each.unit,
            "measured_utc": utc(each.at_ns),
            "unchanged_since_utc": utc(each.changed_ns),
            "undefined_because": each.reason,
            "meaning": each.metric.meaning,
        }
        for each in found
    }


def _measured(metric: Metric, snapshot: TelemetrySnapshot) -> _Measured:
    if metric.source == BACKTEST:
        return _of_report(metric, snapshot.backtest)
    view = snapshot.view
    if view is None:
        return _Measured(metric, None, metric.unit, NOTHING_YET, None)
    if metric.source == CONFIRMATION:
        return _of_confirmations(metric, snapshot.confirmations)
    series = view.series.get(metric.name)
    points, changed_ns = ((), None) if series is None else (series.points, series.changed_ns)
    # A time that only ever grows has no trend.
    trend = () if metric.name == "timestamp" else points
    value = _value(metric, view, series)
    if value is None:
        return _Measured(metric, None, metric.unit, _reason(metric, view), None, trend)
    return _Measured(metric, value, metric.unit, "", _measured_ns(metric, view, series), trend, changed_ns)


def _of_report(metric: Metric, report: BacktestReport | None) -> _Measured:
    if report is None:
        return _Measured(metric, None, metric.unit, NO_BACKTEST, None)
    unit = report.currency if metric.unit == "USD" and report.currency else metric.unit
    value = report.values.get(metric.name)
    if value is None:
        reason = "the report is damaged" if report.damaged else _UNDEFINED[metric.name]
        return _Measured(metric, None, unit, reason, None)
    at_ns = round(report.stored_at.timestamp() * 1_000) * 1_000_000
    return _Measured(metric, value, unit, "", at_ns, report.trends[metric.name])


def _of_confirmations(metric: Metric, found: Confirmations) -> _Measured:
    newest = found.points[-1] if found.points else None
    if newest is None or newest[1] is None:
        reason = found.reason or "its order was sent on another day"
        return _Measured(metric, None, metric.unit, reason, None, found.points)
    return _Measured(metric, newest[1], metric.unit, "", newest[0], found.points)


def _report(report: BacktestReport | None) -> Shown:
    """Which report the metrics are of, or what will make one."""
    if report is None:
        return {"hint": "desk backtest …", "hint_title": "desk backtest NAME --signals FILE --bars DIR stores one"}
    return {"hint": report.name, "hint_title": report.damaged or f"reports/{report.name}/results.json"}


def _shown(measured: _Measured) -> Shown:
    metric, value = measured.metric, measured.value
    shown: Shown = {
        "name": metric.name,
        "unit": labels.UNITS.get(measured.unit, measured.unit),
        "sign": 0,
        "words": isinstance(value, str),
        "line": line([None if each is None else float(each) for _, each in measured.trend]),
        "alone": labels.ONE_VALUE if sum(each is not None for _, each in measured.trend) == 1 else "",
        "reason": measured.reason,
        "since": None if measured.at_ns is None else measured.at_ns // 1_000_000,
        "stale_after": None if metric.source in _EVENTFUL or value is None else _STALE_SECONDS,
    }
    if value is None:
        return {**shown, "text": text.MISSING, "title": f"{metric.meaning}\n{measured.reason}"}
    if isinstance(value, str):
        written = value
    elif metric.name == "timestamp":
        written = f"{datetime.fromtimestamp(int(value) / 1000, UTC):%H:%M:%S}"
        shown["unit"] = "UTC"
    else:
        written = in_unit(metric, value)
        shown["sign"] = _sign(metric, value)
    title = "\n".join(filter(None, (metric.meaning, _exactly(measured), _unchanged(measured.changed_ns))))
    return {**shown, "text": written, "title": title}


def in_unit(metric: Metric, value: Decimal | int) -> str:
    """The number as text in the unit it is shown in; the unit itself is not part of it."""
    signed = metric.name in _SIGNED
    match metric.unit:
        case "USD":
            return text.money(value, signed=signed).text
        case "fraction":
            return text.percent(value, signed=signed).removesuffix("%")
        case "count" | "points of 100":
            return f"{value:,}"
        case "bps" | "ratio":
            return text.ratio(value, signed=signed)
        case _:
            return text.number(value, significant=4)


def _value(metric: Metric, view: TelemetryView, series: Series | None) -> Value | str:
    """The newest value, by what the metric is a field of."""
    if metric.source == TRADE:
        found: Value | str = None if view.last_trade is None else view.last_trade.get(metric.name)
        return found
    if metric.source in (TICK, SUMMARY):
        return view.values.get(metric.name)
    if metric.source in (MONITOR, SIGNAL) and series is not None and series.points:
        return series.points[-1][1]
    return None


def _reason(metric: Metric, view: TelemetryView) -> str:
    if metric.source == TRADE and view.last_trade is None:
        return "no trade has closed today"
    if metric.source == TICK and not view.has_tick:
        return _NO_TICK
    if metric.name in ("latency_ms_p95", "ms"):
        return labels.NO_REDIS if view.bus is None else "no sample in the last hour"
    return _UNDEFINED.get(metric.name, "not measured yet")


def _measured_ns(metric: Metric, view: TelemetryView, series: Series | None) -> int:
    """When the value shown was measured: at the newest point of its series, else with the document."""
    if metric.source == TRADE and view.last_trade is not None:
        return int(view.last_trade["closed_ns"])
    tick_only = metric.name in ("latency_ms_p95", "errors_rate", "timestamp")
    if series is None or not series.points or tick_only:
        return round(view.as_of.timestamp() * 1_000) * 1_000_000
    return series.points[-1][0]


def _exactly(measured: _Measured) -> str:
    """What is stored, where the text shows it in another unit or rounded."""
    value = measured.value
    if isinstance(value, str) or value is None:
        return ""
    return f"Exactly {value:f} {measured.unit}" if isinstance(value, Decimal) else f"Exactly {value} {measured.unit}"


def _unchanged(changed_ns: int | None) -> str:
    if changed_ns is None:
        return ""
    return f"Unchanged since {datetime.fromtimestamp(changed_ns // 10**9, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _sign(metric: Metric, value: Decimal | int) -> int:
    return text.sign_of(value) if metric.name in _SIGNED else 0
