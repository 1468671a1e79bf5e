"""The Dagster faces of the paper trader: a partition is a UTC day, traded or replayed, and everything made of its log.

Thin: ``trading_day`` does the work, once a day; a second run finds what the first one stored. The day itself is traded
by the resident trader as it passes; a day that nobody traded is traded by its run, where the feed can be asked again.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets import metadata
from assets.arbitrage.arbitrage_desk import ArbitrageDesk, open_arbitrage_desk
from assets.days import trading_days
from resources.documents import Document
from resources.settings import load_settings

if TYPE_CHECKING:
    from assets.arbitrage.trading_day import StoredDay

GROUP = "arbitrage"
OWNERS = ["team:arbitrage"]


@lru_cache(maxsize=1)
def arbitrage_from_environment() -> ArbitrageDesk:
    """The paper trader's desk of this process; opening it probes the store once."""
    return open_arbitrage_desk(load_settings())


@dg.resource(description="Store, feed and rules named by the DESK_* environment variables (README, Settings).")
def arbitrage_resource(_context: dg.InitResourceContext) -> ArbitrageDesk:
    """What the resident trader and the command line use too."""
    return arbitrage_from_environment()


@contextmanager
def failing_plainly() -> Iterator[None]:
    """What cannot be traded or read is a failed run that says why, and is not tried again."""
    from assets.arbitrage.journal import JournalError
    from assets.arbitrage.portfolio import LogError
    from assets.arbitrage.session import SessionError
    from resources.feed import FeedError
    from resources.store import StoreError

    try:
        yield
    except (SessionError, JournalError, LogError, FeedError, StoreError) as error:
        raise dg.Failure(f"{type(error).__name__}: {error}", allow_retries=False) from error


def stored_day(desk: ArbitrageDesk, day: str) -> "StoredDay":
    """The day's log, traded now where that is still to be done."""
    from assets.arbitrage.trading_day import StoredDay

    with failing_plainly():
        return StoredDay(desk, day)


def _document(day: "StoredDay", name: str, make: Callable[["StoredDay"], Document]) -> Document:
    with failing_plainly():
        return day.stored_once(name, make)


_OPPORTUNITY = {
    "asset": ("string", "canonical base asset"),
    "long_exchange": ("string", "venue whose ask is bought"),
    "short_exchange": ("string", "venue whose bid is sold"),
    "since_ns": ("int", "when it appeared, ns since 1970 UTC"),
    "removed_ns": ("int", "when it ended; empty while it stands"),
    "reason": ("string", "why it ended"),
    "spread_bps": ("decimal", "bid over ask as it last stood, basis points"),
    "net_bps": ("decimal", "spread less four fees, funding cost and half of both bid-ask spreads"),
    "funding_delta": ("decimal", "short rate less long rate, fraction per 8 hours"),
    "confidence": ("int", "score of 100"),
}
_TRADE = {
    "symbol": ("string", "canonical base asset"),
    "long_exchange": ("string", "venue of the long leg"),
    "short_exchange": ("string", "venue of the short leg"),
    "entry_time": ("int", "ns since 1970 UTC"),
    "exit_time": ("int", "ns since 1970 UTC"),
    "quantity": ("decimal", "base units, equal on both legs"),
    "position_size_usd": ("decimal", "notional per leg and capital reserved"),
    "entry_spread_bps": ("decimal", "basis points"),
    "projected_profit_usd": ("decimal", "net of four fees and of leaving"),
    "actual_profit_usd": ("decimal", "price P&L less all fees plus funding, leg-out included once"),
    "exit_reason": ("string", "leg_out, loss_limit, profit_target, funding_convergence"),
}
_SHOWN_ROWS = 50


@dg.asset(
    group_name=GROUP, owners=OWNERS, kinds={"json"}, partitions_def=trading_days,
    metadata={"dagster/column_schema": metadata.column_schema(_OPPORTUNITY)},
)  # fmt: skip
def opportunities(
    context: dg.AssetExecutionContext, arbitrage: dg.ResourceParam[ArbitrageDesk]
) -> dg.MaterializeResult:
    """Every spread between two venues that outlived its costs, from its appearance to its end."""
    from assets.arbitrage import trading_day

    day = stored_day(arbitrage, context.partition_key)
    document = _document(day, "opportunities", trading_day.opportunities)
    rows: list[Document] = document["rows"]
    best = sorted(rows, key=lambda row: -row["confidence"])[:_SHOWN_ROWS]
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(rows),
            "source": arbitrage.source,
            "found_by": document["found_by"],
            "most confident": metadata.table(best, _OPPORTUNITY),
        }
    )


@dg.asset(
    group_name=GROUP, owners=OWNERS, kinds={"json"}, partitions_def=trading_days, deps=[opportunities],
    metadata={"dagster/column_schema": metadata.column_schema(_TRADE)},
)  # fmt: skip
def paper_trades(context: dg.AssetExecutionContext, arbitrage: dg.ResourceParam[ArbitrageDesk]) -> dg.MaterializeResult:
    """The day's trades, folded from its event log: entry, queue, hedge, funding and exit of both legs."""
    from assets.arbitrage import trading_day

    day = stored_day(arbitrage, context.partition_key)
    document = _document(day, "trades", trading_day.trades)
    closed: list[Document] = document["closed"]
    return dg.MaterializeResult(
        data_version=dg.DataVersion(document["log_sha256"]),
        metadata={
            "dagster/row_count": len(closed),
            "source": arbitrage.source,
            "events": document["events"],
            "open at the end": len(document["open"]),
            "log_sha256": document["log_sha256"],
            "closed": metadata.table(closed[:_SHOWN_ROWS], _TRADE),
        },
    )


_STATE = (
    "starting_capital", "net_flows", "available_capital", "total_open_positions", "realised", "cumulative_pnl",
    "win_count", "loss_count", "leg_out_count", "leg_out_total_loss", "halted",
)  # fmt: skip


@dg.asset(group_name=GROUP, owners=OWNERS, kinds={"json"}, partitions_def=trading_days, deps=[paper_trades])
def arbitrage_portfolio(
    context: dg.AssetExecutionContext, arbitrage: dg.ResourceParam[ArbitrageDesk]
) -> dg.MaterializeResult:
    """The pool of capital at the day's end: available + open = starting + flows + realised."""
    from assets.arbitrage import trading_day

    day = stored_day(arbitrage, context.partition_key)
    state: Mapping[str, Any] = _document(day, "portfolio", trading_day.portfolio_state)["state"]
    records = _document(day, "performance", trading_day.performance)["records"]
    return dg.MaterializeResult(
        metadata={"source": arbitrage.source, "records": len(records), **metadata.entries(state, *_STATE)}
    )


@dg.asset(
    name="daily_metrics", group_name=GROUP, owners=OWNERS, kinds={"json"}, partitions_def=trading_days,
    deps=[arbitrage_portfolio],
)  # fmt: skip
def daily_metrics_asset(
    context: dg.AssetExecutionContext, arbitrage: dg.ResourceParam[ArbitrageDesk]
) -> dg.MaterializeResult:
    """The day in numbers: wins, P&L, fees, funding, leg-outs, utilisation. What is undefined is shown as none."""
    from assets.arbitrage import trading_day

    day = stored_day(arbitrage, context.partition_key)
    document = _document(day, "metrics", trading_day.daily_metrics)
    return dg.MaterializeResult(
        metadata={
            "source": arbitrage.source,
            **metadata.entries(document["metrics"], "realised", "fees", "funding", "fills", "leg_outs", "open_at_end"),
            "trades": metadata.plain(document["metrics"]["statistics"]),
            "portfolio": metadata.plain(document["portfolio"]),
        }
    )


arbitrage_assets = [opportunities, paper_trades, arbitrage_portfolio, daily_metrics_asset]
