"""The Dagster faces of telemetry: what a UTC day of the paper trader measured, computed anew from the day's records.

A partition is a UTC day that is over. Everything is written once, so that a repeated run changes nothing; the work is
in ``day_record`` and ``day_report``, loaded when a run needs it.
"""

from collections.abc import Callable
from datetime import date
from functools import lru_cache
from typing import Any, TypeVar

import dagster as dg

from assets import metadata
from assets.days import trading_days
from assets.telemetry.telemetry_desk import TelemetryDesk, open_telemetry_desk
from resources.documents import Document
from resources.settings import load_settings
from resources.store import StoreError

GROUP = "telemetry"
OWNERS = ["team:telemetry"]

Result = TypeVar("Result")


@lru_cache(maxsize=1)
def telemetry_from_environment() -> TelemetryDesk:
    """The telemetry desk of this process; opening it probes the store once."""
    return open_telemetry_desk(load_settings())


@dg.resource(description="Store and source named by the DESK_* environment variables (README, Settings).")
def telemetry_resource(_context: dg.InitResourceContext) -> TelemetryDesk:
    """Needs neither the trader's feed nor Redis."""
    return telemetry_from_environment()


def answered(action: Callable[..., Result], *arguments: Any) -> Result:
    """``action(*arguments)``; what it refuses is a failed run that says why, and is not tried again."""
    from assets.telemetry.backtest.report import ReportError
    from assets.telemetry.bad_telemetry import BadTelemetry

    try:
        return action(*arguments)
    except (BadTelemetry, ReportError, StoreError) as error:
        raise dg.Failure(f"{type(error).__name__}: {error}", allow_retries=False) from error


def recorded_day(desk: TelemetryDesk, day: date) -> Document:
    """What the trader recorded of the day. Fails with a sentence where there is nothing yet."""
    from assets.telemetry.day_record import day_document, performance_key

    document = answered(day_document, desk.store, desk.source, day)
    if document is None:
        raise dg.Failure(
            f"Nothing is recorded of {day} yet: {performance_key(desk.source, day)} is made by arbitrage_portfolio "
            "once the day is over. Materialise that first.",
            allow_retries=False,
        )
    return document


# Nested as in the published JSON; see metrics_tick.schema.json.
_TICK_COLUMNS = {
    "type": ("string", "metrics.tick"),
    "pnl.fees": ("decimal", "all fees posted so far, contained in realized, USD"),
    "pnl.realized": ("decimal", "P&L realised so far, net of fees, with funding, USD"),
    "pnl.unrealized": ("decimal", "what closing all open trades would add, net, USD; null while unknown"),
    "slippage_bps_p50": ("decimal", "median slippage of the day's market fills, basis points"),
    "latency_ms_p95": ("decimal", "milliseconds; null here: what was published is not in the records"),
    "win_rate_1h": ("decimal", "winning / closed trades of the last hour, fraction"),
    "drawdown_daily": ("decimal", "deepest fall below the day's running peak, PER CENT, zero or negative"),
    "errors_rate": ("decimal", "refused orders and halts / records of the day so far, fraction"),
    "timestamp": ("decimal", "the valuation's time, seconds since 1970 UTC"),
}


@dg.asset(
    group_name=GROUP, owners=OWNERS, kinds={"json"}, partitions_def=trading_days,
    deps=[dg.AssetDep("arbitrage_portfolio")],
    metadata={"dagster/column_schema": metadata.column_schema(_TICK_COLUMNS)},
)  # fmt: skip
def metrics_ticks(
    context: dg.AssetExecutionContext, telemetry: dg.ResourceParam[TelemetryDesk]
) -> dg.MaterializeResult:
    """One metric tick a minute, at each valuation of the day, computed anew from the day's records alone.

    The ticks that the resident trader stored as the day passed stand beside it and are checked against it. What the
    next day's measuring goes on from is stored too.
    """
    from assets.telemetry.day_record import day_key, recomputed, store_monitor, tick_lines
    from resources.store.once import create_bytes_once

    day = date.fromisoformat(context.partition_key)
    found = answered(recomputed, telemetry.store, telemetry.source, recorded_day(telemetry, day))
    key = day_key(telemetry.source, day, "recomputed.jsonl")
    answered(create_bytes_once, telemetry.store, key, tick_lines(found.ticks))
    answered(store_monitor, telemetry.store, telemetry.source, found.fold)
    summary = found.fold.summary(found.fold.newest_ns)
    last = found.ticks[-1] if found.ticks else None
    shown = ("realized", "unrealized", "slippage_bps_p50", "win_rate_1h", "drawdown_daily", "errors_rate")
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(found.ticks),
            "source": telemetry.source,
            "ticks": dg.MetadataValue.path(f"{telemetry.store.url.rstrip('/')}/{key}"),
            "at the last valuation": "none" if last is None else {n: metadata.plain(getattr(last, n)) for n in shown},
            "closed trades so far": summary.total_trades,
            "net P&L of closed trades, USD": float(summary.net_pnl_total),
            "total return, fraction": float(summary.total_return),
            "deepest drawdown, fraction": float(summary.max_drawdown),
        }
    )


_LEVEL_COLUMNS = {
    "name": ("string", "what is promised"),
    "value": ("decimal", "as measured, in unit; null without a sample"),
    "unit": ("string", "s, or a fraction of 1"),
    "rule": ("string", "how value and target must stand to each other"),
    "target": ("decimal", "as promised, in unit"),
    "samples": ("int", "how many were measured"),
    "needed": ("int", "how many are needed to judge"),
    "met": ("bool", "null: undecided"),
    "reason": ("string", "why it is undecided"),
}


@dg.asset(
    name="service_levels", group_name=GROUP, owners=OWNERS, kinds={"json", "csv"}, partitions_def=trading_days,
    deps=[metrics_ticks], metadata={"dagster/column_schema": metadata.column_schema(_LEVEL_COLUMNS)},
)  # fmt: skip
def service_levels_asset(
    context: dg.AssetExecutionContext, telemetry: dg.ResourceParam[TelemetryDesk]
) -> dg.MaterializeResult:
    """The four service levels over the 72 hours that end with the day, as first judged.

    Uptime is of the ticks the resident trader stored; latency, lag and duplicates of what was read from the streams.
    A day that was only replayed has neither, and its levels are undecided.
    """
    from assets.telemetry.day_record import end_levels

    day = date.fromisoformat(context.partition_key)
    recorded_day(telemetry, day)
    document = answered(end_levels, telemetry.store, telemetry.source, day, telemetry.settings.metrics_seconds)
    return dg.MaterializeResult(
        metadata={
            "source": telemetry.source,
            "levels": metadata.table(document["levels"], _LEVEL_COLUMNS),
            "heartbeats": document["heartbeats"],
            "samples": document["samples"],
        }
    )


_FIGURES = (
    "total_return", "sharpe_ratio", "max_drawdown", "volatility", "start_value", "final_equity", "total_trades",
    "total_signals", "signal_to_trade_ratio", "win_rate", "fees", "funding", "held", "held_value", "points",
)  # fmt: skip
_TRADE_COLUMNS = {
    "symbol": ("string", "<exchange>:<symbol> of the venue"),
    "side": ("string", "buy or sell"),
    "qty": ("decimal", "base units"),
    "price": ("decimal", "quote currency per base unit"),
    "fee": ("decimal", "quote currency"),
    "strategy": ("string", "what traded"),
    "cost": ("decimal", "qty * price + fee of a buy, quote currency"),
    "proceeds": ("decimal", "qty * price - fee of a sale, quote currency"),
}


@dg.asset(
    group_name=GROUP, owners=OWNERS, kinds={"csv", "json"}, partitions_def=trading_days,
    deps=[dg.AssetDep("arbitrage_portfolio")],
    metadata={"dagster/column_schema": metadata.column_schema(_TRADE_COLUMNS)},
)  # fmt: skip
def backtest_report(
    context: dg.AssetExecutionContext, telemetry: dg.ResourceParam[TelemetryDesk]
) -> dg.MaterializeResult:
    """The day as a report in brief 4's files: equity curve, fills (its columns are shown), signals and results.

    Fails where something is still held at the day's end that has no closing mark: its worth is unknown.
    """
    from assets.telemetry.backtest.report import RESULTS, report_key, write_report
    from assets.telemetry.day_report import report_name, report_of

    day = date.fromisoformat(context.partition_key)
    name = report_name(telemetry.source, day)
    report = answered(report_of, recorded_day(telemetry, day))
    results = answered(write_report, telemetry.store, name, report)
    folder = report_key(name, RESULTS).removesuffix(f"/{RESULTS}")
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": results["total_trades"],
            "source": telemetry.source,
            "report": dg.MetadataValue.path(f"{telemetry.store.url.rstrip('/')}/{folder}"),
            "units": "ratios in per cent as in the brief; amounts in " + report.currency,
            **metadata.entries(results, *_FIGURES),
        }
    )


telemetry_assets = [metrics_ticks, service_levels_asset, backtest_report]
