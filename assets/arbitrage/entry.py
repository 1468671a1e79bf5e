"""Which leg goes first, and what a trade is expected to earn. Pure functions of the two books."""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from assets.accounting.precision import EXACT, ZERO, posted
from assets.arbitrage.model import Leg
from resources.feed import UNITS, FundingQuote, Listing, Quote

_SECONDS_SHOWN = 3


class LegQueue(NamedTuple):
    """What decides how soon an order of one leg would be filled where it would rest.

    ``depth``: displayed ahead of it (integer units), None where nobody shows it. ``rate``: what opposite aggressors
    traded there, integer units per second.
    """

    venue: str
    depth: int | None
    rate: Fraction


class Harder(NamedTuple):
    """``seconds`` is the expected time to the fill threshold of the harder leg, None when it is unbounded."""

    leg: Leg
    reason: str
    seconds: Fraction | None


def seconds_to_fill(queue: LegQueue, threshold: Decimal) -> Fraction | None:
    """threshold * depth / traded volume per second; None (never) without trades or without a displayed depth."""
    if queue.depth is None or queue.rate <= 0:
        return None
    return Fraction(threshold) * queue.depth / queue.rate


def identify_harder_leg(long_exchange: str, short_exchange: str, ranking: Sequence[str] = ()) -> Leg:
    """The harder leg by the venues' names alone: the one ranked earlier, then the earlier name.

    A venue that is not ranked comes after all that are. The brief's two-string signature, used where the books tell
    nothing.
    """

    def place(venue: str) -> tuple[int, str]:
        return (ranking.index(venue) if venue in ranking else len(ranking), venue)

    return Leg.LONG if place(long_exchange) <= place(short_exchange) else Leg.SHORT


def harder_leg(long: LegQueue, short: LegQueue, threshold: Decimal, ranking: Sequence[str] = ()) -> Harder:
    """The leg with the longer expected time to its fill threshold; it is sent first.

    Ties go to the smaller displayed depth (unknown counts as none), then to ``identify_harder_leg``.
    """
    times = {Leg.LONG: seconds_to_fill(long, threshold), Leg.SHORT: seconds_to_fill(short, threshold)}
    of_long, of_short = times[Leg.LONG], times[Leg.SHORT]
    if of_long != of_short:
        longer_on_long = of_long is None or (of_short is not None and of_long > of_short)
        leg = Leg.LONG if longer_on_long else Leg.SHORT
        return Harder(leg, f"fills in {_shown(times[leg])}, the other leg in {_shown(times[leg.other])}", times[leg])
    both = f"both legs fill in {_shown(of_long)}"
    long_depth, short_depth = long.depth or 0, short.depth or 0
    if long_depth != short_depth:
        leg = Leg.LONG if long_depth < short_depth else Leg.SHORT
        return Harder(leg, f"{both}; less is displayed on this one", times[leg])
    leg = identify_harder_leg(long.venue, short.venue, ranking)
    return Harder(leg, f"{both} behind the same depth; by the order of venues", times[leg])


def _shown(seconds: Fraction | None) -> str:
    if seconds is None:
        return "unbounded time"
    return f"{round(float(seconds), _SECONDS_SHOWN)} s"


def funding_within(
    long: FundingQuote | None, short: FundingQuote | None, now_ns: int, expected_hold_ns: int
) -> Decimal:
    """What the next settlements bring, a fraction of notional, as far as they lie within the expected hold: the short
    leg's rate less the long leg's, each only where it is settled by then.

    None is a leg that settles nothing, or of which no rate is known. A settlement that is further away is hardly ever
    received, and one that has passed says nothing of the next.
    """

    def due(rate: FundingQuote | None) -> Decimal:
        within = rate is not None and now_ns < rate.settles_ns <= now_ns + expected_hold_ns
        return rate.rate if rate is not None and within else ZERO

    return EXACT.subtract(due(short), due(long))


def projected_profit(
    quantity: int,
    long_price: Decimal,
    short_price: Decimal,
    long_quote: Quote,
    short_quote: Quote,
    long: Listing,
    short: Listing,
    funding: Decimal,
) -> Decimal:
    """What the trade earns if the mids converge, quote currency, 8 decimals; may be negative.

    quantity * (short - long price), less four taker fees at those prices, less half of each bid-ask spread for leaving
    at the other sides, plus ``funding``, a fraction of the long notional: what ``funding_within`` says.
    """
    base = Decimal(quantity).scaleb(-10, context=EXACT)
    crossing = Decimal(long_quote.ask - long_quote.bid + short_quote.ask - short_quote.bid)
    half_spreads = EXACT.divide(crossing, Decimal(2 * UNITS))
    fees = EXACT.multiply(
        Decimal(2),
        EXACT.add(EXACT.multiply(long.taker_fee, long_price), EXACT.multiply(short.taker_fee, short_price)),
    )
    per_unit = EXACT.subtract(EXACT.subtract(short_price, long_price), EXACT.add(fees, half_spreads))
    per_unit = EXACT.add(per_unit, EXACT.multiply(long_price, funding))
    return posted(EXACT.multiply(base, per_unit))
