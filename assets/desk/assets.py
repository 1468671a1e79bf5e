"""The Dagster faces of the desk: thin assets that load, call a step, and say what came out.

A rebalance is one partition; its id is the CSV's stem and the first 12 hex of its sha256. Nothing here is retried by
the framework: every step may be run again by hand or by the sensor, because it finds what is done and goes on.
"""

from collections.abc import Callable
from datetime import timedelta
from functools import lru_cache
from typing import TypeVar

import dagster as dg

from assets import metadata
from assets.accounting.book import LedgerError
from assets.desk.artifacts import DAILY_BASELINE, LATEST_EXECUTED, LATEST_PRICES, PORTFOLIO_VALUE_LOG, audit_key
from assets.desk.desk import Desk, open_desk
from assets.desk.detection import SIGNAL_COPY, detection_of
from assets.desk.history import COLUMNS, compact, compacted_days, rows_since
from assets.desk.rebalance import (
    BASELINE,
    FILLS,
    PRE,
    SIZED_ORDERS,
    ClockBehind,
    ExecutionBusy,
    RebalanceRefused,
    execute_orders,
    freeze_pre_execution,
    parse_daily_csv,
    plan_sized_orders,
    publish_executed,
    rebaseline,
)
from assets.desk.value_plot import value_plot
from resources.market import MarketError
from resources.settings import load_settings
from resources.store import StoreError

GROUP = "desk"
OWNERS = ["team:desk"]
# One rebalance executes at a time; dagster.yaml gives the pool its one slot. The store's lock is the real one.
EXECUTION_POOL = "execution"

rebalances = dg.DynamicPartitionsDefinition(name="rebalance")

Result = TypeVar("Result")


@lru_cache(maxsize=1)
def desk_from_environment() -> Desk:
    """The desk of this process. Opening it probes the store once, not on every run and sensor tick."""
    return open_desk(load_settings())


@dg.resource(description="The desk described by the DESK_* environment variables (README, Settings).")
def desk_resource(_context: dg.InitResourceContext) -> Desk:
    """Hands assets and sensors the plain ``Desk`` that the ticker and the command line use too."""
    return desk_from_environment()


def step(action: Callable[[], Result]) -> Result:
    """Run one step; what the desk refuses becomes a failed run that says why, never a traceback.

    None of it is retried by the framework: a refusal is final, and everything else is resumed by the sensor.
    """
    try:
        return action()
    except RebalanceRefused as error:
        raise dg.Failure(f"Not executed. {error}", allow_retries=False) from None
    except (ExecutionBusy, ClockBehind) as error:
        raise dg.Failure(f"Not now: {error}. The sensor resumes this rebalance.", allow_retries=False) from None
    except (StoreError, MarketError, LedgerError) as error:
        raise dg.Failure(f"{type(error).__name__}: {error}", allow_retries=False) from error


def _where(desk: Desk, key: str) -> dg.MetadataValue:
    return dg.MetadataValue.path(f"{desk.store.url.rstrip('/')}/{key}")


# --- outside the runs: what lands, and what the resident ticker writes and reports ---

signal_inbox = dg.AssetSpec(
    "signal_inbox",
    group_name=GROUP,
    owners=OWNERS,
    kinds={"csv"},
    description="Daily signal CSVs as they land under `inbox/`. Written by the outside world, read by the sensor.",
)

latest_prices = dg.AssetSpec(
    "latest_prices",
    group_name=GROUP,
    owners=OWNERS,
    kinds={"json"},
    freshness_policy=dg.FreshnessPolicy.time_window(fail_window=timedelta(minutes=3), warn_window=timedelta(minutes=2)),
    description=(
        "`latest_prices.json`: the last valid mark of every symbol with its own time, overwritten atomically by each "
        "tick. Refused marks (stale, zero, negative, NaN, future) are named with their reason."
    ),
)

portfolio_value_log = dg.AssetSpec(
    "portfolio_value_log",
    group_name=GROUP,
    owners=OWNERS,
    kinds={"json"},
    deps=["latest_prices", "baseline"],
    freshness_policy=dg.FreshnessPolicy.time_window(fail_window=timedelta(minutes=3), warn_window=timedelta(minutes=2)),
    metadata={
        "dagster/column_schema": metadata.column_schema(
            {
                "timestamp": ("string", "UTC instant of the tick; one row a minute"),
                "portfolio_value": ("number", "PV = cash + sum(quantity * mark), reporting currency"),
                "daily_pnl": ("number", "PV - PV_baseline - (F - F_baseline)"),
                "total_pnl": ("number", "PV - C0 - F"),
                "base_cumulative": ("number", "total_pnl - daily_pnl, constant between re-baselines"),
                "net_flows": ("number", "F, deposits less withdrawals since inception"),
                "seq": ("integer", "row number"),
                "stale": ("array", "held symbols valued at an older mark"),
                "ledger_seq": ("integer", "ledger segment the row was valued with"),
                "rebalance_id": ("string", "baseline in force"),
                "source": ("string", "market the marks came from"),
            }
        )
    },
    description=(
        "`portfolio_value_log.jsonl`: append-only, one row a minute whoever writes. Each row is recomputable from its "
        "marks row and the ledger. A missed minute stays a gap."
    ),
)


# --- the daily path ---

_SIGNAL_COLUMNS = {
    "ticker": ("string", "as given, like BTC_USDT"),
    "strategy": ("string", "strategy the row belongs to"),
    "notional": ("decimal", "target notional as in the file, signed; its magnitude is the weight"),
    "side": ("integer", "sign of target_contracts"),
    "ref_price": ("decimal", "for the unit check only, never for sizing"),
}


@dg.asset(
    group_name=GROUP, owners=OWNERS, kinds={"csv", "json"}, partitions_def=rebalances, deps=[signal_inbox],
    metadata={"dagster/column_schema": metadata.column_schema(_SIGNAL_COLUMNS)},
)  # fmt: skip
def daily_csv(context: dg.AssetExecutionContext, desk: dg.ResourceParam[Desk]) -> dg.MaterializeResult:
    """The signal of the day, parsed from the bytes frozen at t0 (`rebalances/<id>/signal.csv`).

    A file that breaks an input rule is quarantined with row and column named; it never executes in part.
    S = sum |target_notional| over all rows.
    """
    signal = step(lambda: parse_daily_csv(desk, context.partition_key))
    rows = [
        {"ticker": r.ticker, "strategy": r.strategy, "notional": r.notional, "side": r.side, "ref_price": r.ref_price}
        for r in signal.rows
    ]
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(rows),
            "sha256": signal.sha256,
            "trading_day": metadata.plain(signal.trading_day) or "unknown",
            "gross_base": metadata.plain(signal.gross_base),
            "net": metadata.plain(sum(abs(r.notional) * r.side for r in signal.rows)),
            "notices": [notice.message for notice in signal.notices] or "none",
            "rows": metadata.table(rows, _SIGNAL_COLUMNS),
            "dagster/uri": f"{desk.store.url}/{audit_key(context.partition_key, SIGNAL_COPY)}",
        },
        data_version=dg.DataVersion(signal.sha256),
    )


_ROW_COLUMNS = {
    "symbol": ("string", "exchange symbol"),
    "side": ("integer", "sign of target_contracts"),
    "status": ("string", "kept, dropped, untradable, flat or not_in_csv"),
    "reason": ("string", "why it is not simply kept"),
    "target_notional": ("decimal", "|notional| * pv_pre / S"),
    "target_quantity": ("decimal", "lots * step * side, lots = |n| * pv_pre // (S * price * step)"),
    "current_quantity": ("decimal", "signed quantity held at t0"),
    "delta_quantity": ("decimal", "target - current"),
    "rounding": ("decimal", "target_notional - |target_quantity| * price"),
}


@dg.asset(
    group_name=GROUP, owners=OWNERS, kinds={"json"}, partitions_def=rebalances, pool=EXECUTION_POOL,
    # It reads the log as well (pv_pre), but yesterday's rows: a loop through time that no lineage graph can draw.
    deps=[daily_csv, latest_prices],
    metadata={"dagster/column_schema": metadata.column_schema(_ROW_COLUMNS)},
)  # fmt: skip
def pre_execution(context: dg.AssetExecutionContext, desk: dg.ResourceParam[Desk]) -> dg.MaterializeResult:
    """What the rebalance is sized on: t0, pv_pre, prices_at_t0 and every target quantity.

    pv_pre is the last logged portfolio value strictly before t0. The identity
    `pv_pre = gross + rounding + dropped + untradable` holds exactly.
    """
    document = step(lambda: freeze_pre_execution(desk, context.partition_key, context.run.run_id))
    parts = [{"part": name, "amount": amount} for name, amount in document["residual"].items()]
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(document["rows"]),
            "t0": document["timestamp_utc"],
            **metadata.entries(document, "csv_sha256", "pv_pre", "pv_source", "pv_timestamp", "pv_at_t0", "gross_base"),
            **metadata.entries(document, "scale", "filters_sha256", "untradable_share"),
            "warnings": document["warnings"] or "none",
            "residual": metadata.table(
                [*parts, {"part": "pv_pre", "amount": document["pv_pre"]}],
                {"part": ("string", "part of the capital"), "amount": ("decimal", "reporting currency")},
            ),
            "rows": metadata.table(document["rows"], _ROW_COLUMNS),
            "document": _where(desk, audit_key(context.partition_key, PRE)),
        }
    )


_ORDER_COLUMNS = {
    "order_id": ("string", "<sha12>-<symbol>-<leg>-<n>, the same on every repeat"),
    "symbol": ("string", "exchange symbol"),
    "side": ("string", "BUY or SELL"),
    "quantity": ("decimal", "contract units, on the exchange's grid"),
    "reduce_only": ("bool", "may only reduce a position"),
    "leg": ("string", "reduce or open"),
}


@dg.asset(
    group_name=GROUP, owners=OWNERS, kinds={"json"}, partitions_def=rebalances, pool=EXECUTION_POOL,
    deps=[pre_execution],
    metadata={"dagster/column_schema": metadata.column_schema(_ORDER_COLUMNS)},
)  # fmt: skip
def sized_orders(context: dg.AssetExecutionContext, desk: dg.ResourceParam[Desk]) -> dg.MaterializeResult:
    """Orders from what is held to what is targeted: all reductions first, then increases.

    A zero-cross is two orders: the whole old side reduce-only, then the new side once that has filled.
    """
    document = step(lambda: plan_sized_orders(desk, context.partition_key, context.run.run_id))
    orders = [*document["reductions"], *document["increases"]]
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(orders),
            "reductions": len(document["reductions"]),
            "increases": len(document["increases"]),
            "orders": metadata.table(orders, _ORDER_COLUMNS),
            "shortfalls": metadata.table(
                document["shortfalls"],
                {
                    "symbol": ("string", "exchange symbol"),
                    "quantity": ("decimal", "wanted but not ordered, signed"),
                    "reason": ("string", "filter that forbids it"),
                },
            ),
            "document": _where(desk, audit_key(context.partition_key, SIZED_ORDERS)),
        }
    )


_FILL_COLUMNS = {
    "fill_id": ("string", "<order id>#<n>"),
    "symbol": ("string", "exchange symbol"),
    "side": ("string", "BUY or SELL"),
    "quantity": ("decimal", "contract units"),
    "price": ("decimal", "quote per unit, on the tick grid, rounded against us"),
    "fee": ("decimal", "quote, 8 decimals"),
    "time": ("string", "UTC"),
}


@dg.asset(
    group_name=GROUP, owners=OWNERS, kinds={"json"}, partitions_def=rebalances, pool=EXECUTION_POOL,
    deps=[sized_orders],
    metadata={"dagster/column_schema": metadata.column_schema(_FILL_COLUMNS)},
)  # fmt: skip
def fills(context: dg.AssetExecutionContext, desk: dg.ResourceParam[Desk]) -> dg.MaterializeResult:
    """Paper executions of the sized orders, posted to the ledger once each.

    The venue walks the displayed book, or bounds the slippage where none is shown; what it cannot fill stays unfilled.
    """
    document = step(lambda: execute_orders(desk, context.partition_key, context.run.run_id))
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(document["fills"]),
            "status": document["status"],
            "traded_notional": metadata.plain(sum(f["quantity"] * f["price"] for f in document["fills"])),
            "fees": metadata.plain(sum(f["fee"] for f in document["fills"])),
            "fills": metadata.table(document["fills"], _FILL_COLUMNS),
            "unfilled": metadata.table(
                document["unfilled"],
                {
                    "order_id": ("string", "order"),
                    "quantity": ("decimal", "not filled"),
                    "reason": ("string", "why"),
                },
            ),
            "document": _where(desk, audit_key(context.partition_key, FILLS)),
        }
    )


@dg.asset(
    group_name=GROUP, owners=OWNERS, kinds={"json"}, partitions_def=rebalances, pool=EXECUTION_POOL, deps=[fills],
)  # fmt: skip
def baseline(context: dg.AssetExecutionContext, desk: dg.ResourceParam[Desk]) -> dg.MaterializeResult:
    """Prices, positions and portfolio value at t1, after the last fill: daily P&L restarts here.

    base_cumulative = PV(t1) - C0 - F comes from the ledger, so total P&L runs on without a jump.
    """
    document = step(lambda: rebaseline(desk, context.partition_key, context.run.run_id))
    rows = rows_since(desk.store, detection_of(desk, context.partition_key).t0 - timedelta(days=1))
    plot = value_plot(rows)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(document["positions"]),
            "t1": document["timestamp_utc"],
            **metadata.entries(document, "portfolio_value", "base_cumulative", "net_flows", "status", "supersedes"),
            "positions": metadata.table(
                [
                    {"symbol": symbol, "quantity": quantity, "price": document["prices"][symbol]}
                    for symbol, quantity in document["positions"].items()
                ],
                {
                    "symbol": ("string", "exchange symbol"),
                    "quantity": ("decimal", "signed contract units"),
                    "price": ("decimal", "baseline mark at t1"),
                },
            ),
            **({} if plot is None else {"portfolio_value_24h": plot}),
            "document": _where(desk, audit_key(context.partition_key, BASELINE)),
            "dagster/uri": f"{desk.store.url}/{DAILY_BASELINE}",
        }
    )


@dg.asset(
    group_name=GROUP, owners=OWNERS, kinds={"json"}, partitions_def=rebalances, pool=EXECUTION_POOL, deps=[baseline],
    freshness_policy=dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=26)),
)  # fmt: skip
def latest_executed(context: dg.AssetExecutionContext, desk: dg.ResourceParam[Desk]) -> dg.MaterializeResult:
    """Which signal the portfolio now holds; written last, when the rebalance is whole."""
    document = step(lambda: publish_executed(desk, context.partition_key))
    return dg.MaterializeResult(
        metadata={**metadata.plain(document), "dagster/uri": f"{desk.store.url}/{LATEST_EXECUTED}"}
    )


@dg.asset(
    group_name=GROUP, owners=OWNERS, kinds={"parquet"}, deps=[portfolio_value_log],
    retry_policy=dg.RetryPolicy(max_retries=3, delay=2, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS),
    metadata={
        "dagster/column_schema": metadata.column_schema(
            {name: (kind, "copied from portfolio_value_log.jsonl") for name, kind in COLUMNS.items()}
        )
    },
)  # fmt: skip
def portfolio_value_history(desk: dg.ResourceParam[Desk]) -> dg.MaterializeResult:
    """One Parquet file for every whole UTC day of the portfolio-value log: what charts read.

    Reads only, writes copies, so the framework may retry it; it moves no money.
    """
    now = desk.clock.now()
    written = compact(desk.store, now.date())
    days = compacted_days(desk.store)
    recent = rows_since(desk.store, now - timedelta(days=1))
    plot = value_plot(recent)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": sum(written.values()),
            "days": len(days),
            "days_written": [day.isoformat() for day in written] or "none",
            "log": _where(desk, PORTFOLIO_VALUE_LOG),
            "prices": _where(desk, LATEST_PRICES),
            **({} if plot is None else {"portfolio_value_24h": plot}),
        }
    )


rebalance_assets = [daily_csv, pre_execution, sized_orders, fills, baseline, latest_executed]
external_assets = [signal_inbox, latest_prices, portfolio_value_log]
