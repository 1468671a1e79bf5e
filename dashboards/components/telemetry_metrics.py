"""Every metric of brief 4 by its own name: value in its unit, trend, age, and where undefined the reason.

A metric is ``{name, text, unit, sign, title, reason, since, stale_after, line}``; ``line`` holds levels 0 to 1000 with
gaps where the value was undefined, ``since`` is when the value was measured, in ms.
"""

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
from dashboards.components.quant_shown import line
from dashboards.telemetry_snapshot import Series, TelemetryView, Value

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
    "errors_rate": "no record handled yet",
    "confidence": "the trade had no score",
    "equity_curve": "no valuation yet",
}


def metric_groups(view: TelemetryView | None) -> list[list[Shown]]:
    """The columns of the page: in each the records, in each record its metrics in the order of the brief's table."""
    return [
        [
            {
                "title": record[0].upper() + record[1:],
                "heads": [labels.METRIC, labels.TREND, labels.VALUE, labels.UNIT, labels.AGE],
                "rows": [_metric(metric, view) for metric in METRICS if metric.source == record],
            }
            for record in column
        ]
        for column in labels.COLUMNS
    ]


def _metric(metric: Metric, view: TelemetryView | None) -> Shown:
    shown: Shown = {
        "name": metric.name,
        "unit": labels.UNITS.get(metric.unit, metric.unit),
        "sign": 0,
        "line": [],
        "words": False,
    }
    if view is None:
        return _undefined(shown, metric, NO_TRADER)
    series = view.series.get(metric.name)
    # Texts have no trend, and neither has a time that only ever grows.
    if series is not None and metric.name != "timestamp":
        shown["line"] = line([None if value is None else float(value) for _, value in series.points])
    value = _value(metric, view, series)
    if value is None:
        return _undefined(shown, metric, _reason(metric, view))
    if isinstance(value, str):
        written, shown["words"] = value, True
    elif metric.name == "timestamp":
        written = f"{datetime.fromtimestamp(int(value) / 1000, UTC):%H:%M:%S}"
        shown["unit"] = "UTC"
    else:
        written = in_unit(metric, value)
        shown["sign"] = _sign(metric, value)
    return {
        **shown,
        "text": written,
        "reason": "",
        "title": "\n".join(filter(None, (metric.meaning, _exactly(metric, value), _unchanged(series)))),
        "since": _measured_ms(metric, view, series),
        "stale_after": None if metric.source in _EVENTFUL else _STALE_SECONDS,
    }


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


def _undefined(shown: Shown, metric: Metric, reason: str) -> Shown:
    return {
        **shown,
        "text": text.MISSING,
        "reason": reason,
        "title": f"{metric.meaning}\n{reason}",
        "since": None,
        "stale_after": None,
    }


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
    if metric.source == BACKTEST:
        return "in reports/<name>/results.json"
    if metric.source == CONFIRMATION:
        return "in exec:paper:confirms"
    if metric.source == TRADE and view.last_trade is None:
        return "no trade has closed today"
    if metric.source == TICK and not view.has_tick:
        return _NO_TICK
    if metric.name in ("latency_ms_p95", "ms"):
        return labels.NO_REDIS if view.bus is None else "no sample in the last hour"
    return _UNDEFINED.get(metric.name, "not measured yet")


def _measured_ms(metric: Metric, view: TelemetryView, series: Series | None) -> int:
    """When the value shown was measured: at the newest point of its series, else with the document."""
    if metric.source == TRADE and view.last_trade is not None:
        return int(view.last_trade["closed_ns"]) // 1_000_000
    tick_only = metric.name in ("latency_ms_p95", "errors_rate", "timestamp")
    if series is None or not series.points or tick_only:
        return round(view.as_of.timestamp() * 1000)
    return series.points[-1][0] // 1_000_000


def _exactly(metric: Metric, value: Value | str) -> str:
    """What is stored, where the text shows it in another unit or rounded."""
    if isinstance(value, str) or value is None:
        return ""
    return f"Exactly {value:f} {metric.unit}" if isinstance(value, Decimal) else f"Exactly {value} {metric.unit}"


def _unchanged(series: Series | None) -> str:
    if series is None or series.changed_ns is None:
        return ""
    return f"Unchanged since {datetime.fromtimestamp(series.changed_ns // 10**9, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _sign(metric: Metric, value: Decimal | int) -> int:
    return text.sign_of(value) if metric.name in _SIGNED else 0
