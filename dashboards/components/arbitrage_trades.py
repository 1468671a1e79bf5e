"""Three tables of trades: the active ones, the newest exits and the leg-outs, texts and what to sort by."""

from decimal import Decimal

from assets.arbitrage.view import ActiveRow, ExitRow, LegOutRow, TraderView
from dashboards import arbitrage_labels as labels
from dashboards import format as text
from dashboards.components.arbitrage_shown import (
    Cell,
    Shown,
    clock_text,
    column,
    elapsed,
    instant,
    missing,
    price,
    sortable,
    spread_cell,
    words,
)
from dashboards.components.arbitrage_summary import NO_TRADER
from dashboards.components.live_strip import STARTED_BY
from dashboards.format import sign_of

_ACTIVE = (
    column("ticker", labels.TICKER, "Asset and quote currency, the same for every venue", "text"),
    column("entry", labels.ENTRY_SPREAD, "How far the short leg's entry price stood above the long leg's"),
    column("spread", labels.CURRENT_SPREAD, "The same between the prices that both legs would be closed at now"),
    column("pnl", labels.UNREALIZED_PNL, "Both legs closed now: all fees and the funding so far included", "signed"),
    column("bar", "", "", "bar"),
    column("long", labels.LONG, "Venue of the long leg", "text"),
    column("short", labels.SHORT, "Venue of the short leg", "text"),
    column("size", labels.SIZE, "Notional of one leg, the capital reserved"),
    column("funding", labels.FUNDING, "Short rate - long rate, per 8 hours"),
    column("age", labels.AGE, "Since entry, by the trader's clock"),
)
_EXITS = (
    column("ticker", labels.TICKER, "Asset and quote currency, the same for every venue", "text"),
    column("status", labels.STATUS, "Status of the trade", "text"),
    column("profit", labels.PROFIT, "Actual profit: fees, funding and leg-outs included", "signed"),
    column("reason", labels.REASON, "Why the trade was closed", "text"),
    column("at", labels.CLOSED_AT, "UTC, by the trader's clock"),
)
_LEG_OUTS = (
    column("ticker", labels.TICKER, "Asset and quote currency, the same for every venue", "text"),
    column("phase", labels.PHASE, "Whether it happened on entering or on leaving", "text"),
    column("leg", labels.FILLED_LEG, "The leg that was filled alone", "text"),
    column("price", labels.HEDGE_PRICE, "What the missing leg was hedged at"),
    column("cost", labels.COST, "The loss attributed to it, contained in the trade's profit"),
    column("at", labels.FILLED_AT, "When the first leg was filled, UTC, by the trader's clock"),
)


def active(view: TraderView | None) -> Shown:
    """The open trades with brief 3's columns first."""
    rows = () if view is None else view.active
    return {
        "title": labels.ACTIVE_TRADES.format(text.MISSING if view is None else len(rows)),
        "columns": list(_ACTIVE),
        "rows": [] if view is None else [_active_row(row, view.as_of_ns) for row in rows],
        "empty": [NO_TRADER, STARTED_BY] if view is None else ["No trade is open", _waiting(view)],
    }


def exits(view: TraderView | None) -> Shown:
    """The newest closed trades, newest first."""
    return {
        "title": labels.RECENT_EXITS,
        "hint": "" if view is None else _of_all(len(view.exits), view.metrics.total_trades),
        "columns": list(_EXITS),
        "rows": [] if view is None else [_exit_row(row, view.as_of_ns) for row in view.exits],
        "empty": [NO_TRADER, STARTED_BY]
        if view is None
        else ["No trade has closed today", "Exits appear here, newest first"],
    }


def leg_outs(view: TraderView | None) -> Shown:
    """The newest leg-outs, newest first."""
    rows = () if view is None else view.leg_outs
    return {
        "title": labels.LEG_OUTS,
        "hint": f"{len(rows)} today" if rows else "",
        "columns": list(_LEG_OUTS),
        "rows": [] if view is None else [_leg_out_row(row, view.as_of_ns) for row in rows],
        "empty": [NO_TRADER, STARTED_BY]
        if view is None
        else ["No leg-out today", "A leg that filled alone appears here with what its hedge cost"],
    }


def leg_out_id(row: LegOutRow) -> str:
    """A trade has at most one leg-out a phase."""
    return f"{row.trade_id} {row.phase}"


def _of_all(shown: int, total: int) -> str:
    return f"newest {shown} of {total:,}" if shown < total else ""


def _waiting(view: TraderView) -> str:
    return f"Halted: {view.halted}" if view.halted else "One opens when an opportunity is good enough"


def _active_row(row: ActiveRow, as_of_ns: int) -> Shown:
    unquoted = f"no usable quote of {' and '.join(row.missing)}"
    pnl = row.unrealized_pnl
    cells: list[Cell] = [
        row.ticker,
        spread_cell(row.entry_spread_bps),
        spread_cell(row.current_spread_bps, unquoted),
        missing(unquoted) if pnl is None else text.money(pnl, signed=True).text,
        "",
        row.long_exchange,
        row.short_exchange,
        text.money(row.position_size_usd).text,
        missing("a funding rate is not known")
        if row.funding_delta is None
        else text.percent(row.funding_delta, decimals=4),
        elapsed(row.entry_time_ns, as_of_ns),
    ]
    return {
        "id": row.trade_id,
        "cells": cells,
        "sort": [
            row.ticker,
            sortable(row.entry_spread_bps),
            sortable(row.current_spread_bps),
            sortable(pnl),
            None,
            row.long_exchange,
            row.short_exchange,
            sortable(row.position_size_usd),
            sortable(row.funding_delta),
            as_of_ns - row.entry_time_ns,
        ],
        "sign": _cents_sign(pnl),
        "tag": "" if row.status == "Active" else row.status,
        "title": "\n".join(
            (
                f"{row.status} since {instant(row.entry_time_ns):%Y-%m-%d %H:%M:%S} UTC",
                f"Long {row.long_exchange}, short {row.short_exchange}, {text.quantity(row.quantity).lstrip('+')} each",
                f"Projected profit {text.money(row.projected_profit, signed=True).text}",
                f"Trade {row.trade_id}",
            )
        ),
    }


def _exit_row(row: ExitRow, as_of_ns: int) -> Shown:
    return {
        "id": row.trade_id,
        "cells": [
            row.ticker,
            row.status,
            text.money(row.profit, signed=True).text,
            {"text": row.reason, "title": labels.WHY_CLOSED.get(row.reason, "")},
            clock_text(row.exit_time_ns, as_of_ns),
        ],
        "sign": _cents_sign(row.profit),
        "title": f"Long {row.long_exchange}, short {row.short_exchange}, held for {elapsed(0, row.held_ns)}\n"
        f"Trade {row.trade_id}",
    }


def _leg_out_row(row: LegOutRow, as_of_ns: int) -> Shown:
    open_since = elapsed(row.filled_at_ns, as_of_ns)
    if row.hedged_at_ns is None:
        alone = f"the hedge is under way, alone for {open_since}"
    else:
        alone = f"hedged after {(row.hedged_at_ns - row.filled_at_ns) // 1_000_000:,} ms"
    return {
        "id": leg_out_id(row),
        "cells": [
            row.ticker,
            words(row.phase),
            row.filled_leg,
            {"text": labels.UNDER_WAY, "title": alone, "missing": True}
            if row.hedge_price is None
            else price(row.hedge_price),
            missing(alone) if row.hedged_at_ns is None else text.money(row.cost).text,
            clock_text(row.filled_at_ns, as_of_ns),
        ],
        "sign": 0,
        "title": f"{alone[0].upper()}{alone[1:]}\nTrade {row.trade_id}",
    }


def _cents_sign(value: Decimal | None) -> int:
    """What rounds to zero cents is neither a gain nor a loss."""
    return sign_of(None if value is None else round(value, 2))
