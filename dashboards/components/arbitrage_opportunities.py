"""The opportunities as they stand and those that ended: quotes, net, the score with its parts, and why not traded."""

from assets.arbitrage.confidence import DEPTH_POINTS, FRESHNESS_POINTS, FUNDING_POINTS, SPREAD_POINTS
from assets.arbitrage.view import OpportunityRow, TraderView
from dashboards import arbitrage_labels as labels
from dashboards import format as text
from dashboards.components.arbitrage_shown import Cell, Shown, bps, clock_text, column, elapsed, missing, price, words
from dashboards.components.arbitrage_summary import NO_TRADER
from dashboards.components.live_strip import STARTED_BY

_COLUMNS = (
    column("ticker", labels.TICKER, "Asset and quote currency, the same for every venue", "text"),
    column("long", labels.LONG, "Venue to buy at: bid / ask, the ask is paid", "quotes"),
    column("short", labels.SHORT, "Venue to sell at: bid / ask, the bid is received", "quotes"),
    column("spread", labels.SPREAD, "Short bid above long ask, bps of the ask"),
    column(
        "net", labels.NET, "Spread - four taker fees - funding to pay - half of both bid-ask spreads, bps", "signed"
    ),
    column("funding", labels.FUNDING, "Short rate - long rate, per 8 hours"),
    column(
        "confidence",
        labels.CONFIDENCE,
        f"Points of 100 = spread (of {SPREAD_POINTS}) + funding (of {FUNDING_POINTS}) + depth (of {DEPTH_POINTS})"
        f" + freshness (of {FRESHNESS_POINTS})",
        "confidence",
    ),
    column("age", labels.AGE, "Age of the older of the two quotes; of a removed one, when it ended"),
    column("why", labels.NOT_TRADED, "Why it is not traded, or why it was removed", "text"),
)


def opportunities(view: TraderView | None) -> Shown:
    """The opportunities as they stand, the best first."""
    current = () if view is None else view.opportunities
    standing = sum(row.since_ns is not None for row in current)
    return {
        "title": labels.OPPORTUNITIES,
        "hint": "" if view is None else f"{len(current)} watched, {standing} above their costs",
        "columns": list(_COLUMNS),
        "rows": [] if view is None else [_standing_row(row, view.as_of_ns) for row in current],
        "empty": [NO_TRADER, STARTED_BY]
        if view is None
        else ["No pair of venues has usable quotes", "Quotes of the same asset at two venues become a row here"],
    }


def removed(view: TraderView | None) -> Shown:
    """Those that ended, the newest first, under the same columns: they change seldom, the others all the time."""
    rows = [] if view is None else [_removed_row(row, view.as_of_ns) for row in view.removed]
    return {"title": labels.REMOVED, "rows": rows}


def opportunity_id(row: OpportunityRow) -> str:
    """Its pair of venues, and for one that ended when."""
    return f"{row.ticker} {row.long_exchange} {row.short_exchange} {row.removed_ns or ''}"


def _standing_row(row: OpportunityRow, as_of_ns: int) -> Shown:
    if row.tradable:
        why: Cell = {"text": words(row.tradable), "title": labels.WHY_NOT_TRADED.get(row.tradable, "")}
    else:
        why = {"text": "tradable", "title": "Good enough; traded when size and venues' filters allow it"}
    since = "Does not cover its costs" if row.since_ns is None else f"Stands for {elapsed(row.since_ns, as_of_ns)}"
    return _row(row, elapsed(row.quote_time_ns, as_of_ns), why, since)


def _removed_row(row: OpportunityRow, as_of_ns: int) -> Shown:
    why = {"text": words(row.removed_reason), "title": labels.WHY_REMOVED.get(row.removed_reason, "")}
    if row.removed_ns is None:
        return _row(row, missing("when it ended is not known"), why, "")
    stood = "" if row.since_ns is None else f"Stood for {elapsed(row.since_ns, row.removed_ns)}"
    was = f"Was not traded: {words(row.tradable)}" if row.tradable else "Was tradable"
    return _row(row, clock_text(row.removed_ns, as_of_ns), why, "\n".join(filter(None, (stood, was))))


def _row(row: OpportunityRow, age: Cell, why: Cell, title: str) -> Shown:
    parts = [[name, points] for name, points in row.confidence_parts]
    return {
        "id": opportunity_id(row),
        "cells": [
            row.ticker,
            {"venue": row.long_exchange, "bid": price(row.long_bid), "ask": price(row.long_ask), "take": 1},
            {
                "venue": row.short_exchange,
                "bid": price(row.short_bid),
                "ask": price(row.short_ask),
                "take": 0,
            },
            bps(row.spread_bps),
            bps(row.net_bps, signed=True),
            missing("a funding rate is not known")
            if row.funding_delta is None
            else text.percent(row.funding_delta, decimals=4),
            {
                "score": str(row.confidence),
                "parts": parts,
                "title": " + ".join(f"{name} {points}" for name, points in parts),
            },
            age,
            why,
        ],
        "sign": text.sign_of(round(row.net_bps, 1)),
        "quiet": row.since_ns is None,
        "title": title,
    }
