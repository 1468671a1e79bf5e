"""How much of an opportunity is there to be had: 0 to 100 points in four parts, each of which is shown.

The predecessor gave 50 points for the spread, 30 for funding and a fixed 20 (reference/predecessors.md, brief 3 (c)).
Here the last 20 are earned: 10 by what is displayed against the size of a trade, 10 by the age of the quotes. Each part
is rounded down, so that the parts add up to the score and a score is never reached by rounding.

    spread     50 x spread / 50 bp, at most 50
    funding    30 x (short rate - long rate) / 0.0003 per eight hours, 0 to 30; unknown earns nothing
    depth      10 x (smaller displayed notional of the two sides taken) / trade_notional, at most 10
    freshness  10 x (1 - age of the older quote / greatest age it may be used at), at least 0
"""

from decimal import Decimal

from resources.feed import Quote

SPREAD_POINTS, FULL_SPREAD_BPS = 50, 50
FUNDING_POINTS, FULL_FUNDING = 30, Decimal("0.0003")
DEPTH_POINTS = 10
FRESHNESS_POINTS = 10

BPS = 10_000

Parts = tuple[tuple[str, int], ...]


def confidence_parts(
    long: Quote, short: Quote, funding_delta: Decimal | None, now_ns: int, trade_notional: int, stale_ns: int
) -> Parts:
    """The parts of the score for buying at ``long``'s ask and selling at ``short``'s bid at ``now_ns``.

    Both quotes have positive prices. ``trade_notional`` > 0 is the notional of a leg as price units times size units;
    ``stale_ns`` > 0 the greatest age at which a quote may be used.
    """
    # Comparisons instead of min and max: this is done for every quote that leaves an edge.
    spread = SPREAD_POINTS * BPS * (short.bid - long.ask) // (FULL_SPREAD_BPS * long.ask)
    spread = 0 if spread < 0 else SPREAD_POINTS if spread > SPREAD_POINTS else spread
    funding = 0
    if funding_delta is not None and funding_delta > 0:
        funding = (
            FUNDING_POINTS if funding_delta >= FULL_FUNDING else int(FUNDING_POINTS * funding_delta // FULL_FUNDING)
        )
    bought, sold = long.ask * long.ask_size, short.bid * short.bid_size
    depth = DEPTH_POINTS * (bought if bought < sold else sold) // trade_notional
    depth = DEPTH_POINTS if depth > DEPTH_POINTS else depth
    age = now_ns - (long.time_ns if long.time_ns < short.time_ns else short.time_ns)
    freshness = FRESHNESS_POINTS if age <= 0 else FRESHNESS_POINTS * (stale_ns - age) // stale_ns
    freshness = 0 if freshness < 0 else freshness
    return (("spread", spread), ("funding", funding), ("depth", depth), ("freshness", freshness))


def confidence(parts: Parts) -> int:
    """The score: the sum of its parts."""
    return sum(points for _, points in parts)
