"""Whether an opportunity is entered, which leg goes first, and what the trade is expected to earn.

Judged from the two books, the rates, the capital that is available and the rules, and nothing else.
"""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from assets.accounting.precision import EXACT, ZERO, posted
from assets.arbitrage.exchange import Exchange, check_order
from assets.arbitrage.model import Leg, OrderSide
from assets.arbitrage.open_trade import Pair, pair_of
from assets.arbitrage.rules import Rules
from assets.arbitrage.scanner import Opportunity
from assets.arbitrage.sizing import calculate_position_size, quantity_for
from resources.feed import NANOSECONDS, UNITS, FundingQuote, Listing, Quote, from_units, is_sound_rate

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


class Entry(NamedTuple):
    """How an opportunity is entered.

    ``quantity`` of each leg in integer units; ``size``, which is reserved, and ``projected`` in quote currency;
    ``funding_due`` is what ``funding_within`` says, ``funding_delta`` the opportunity's own. The ``harder`` leg goes
    first, at ``limit`` (units); ``reason`` says why it does.
    """

    pair: Pair
    quantity: int
    size: Decimal
    projected: Decimal
    funding_due: Decimal
    funding_delta: Decimal
    harder: Leg
    reason: str
    limit: int


class Entries:
    """Judges by ``exchange``'s books; enters nothing itself. ``listings`` rank their venues by their order."""

    def __init__(self, listings: Sequence[Listing], exchange: Exchange, rules: Rules) -> None:
        self._listings = listings
        self._exchange = exchange
        self._rules = rules
        self._ranking = tuple(dict.fromkeys(listing.venue for listing in listings))
        self._pairs: dict[tuple[int, int], Pair] = {}
        self._rates: list[FundingQuote | None] = [None] * len(listings)  # the newest

    def take_rate(self, event: FundingQuote) -> None:
        """The newest rate of its listing; an unsound one is none."""
        self._rates[event.listing] = event if is_sound_rate(event.rate) else None

    def pair(self, long: int, short: int) -> Pair:
        """What trading two listings against each other takes."""
        pair = self._pairs.get((long, short))
        if pair is None:
            pair = self._pairs[long, short] = pair_of(self._listings[long], self._listings[short], self._rules)
        return pair

    def judge(self, found: Opportunity, available: Decimal, now_ns: int) -> Entry | str:
        """How ``found`` is entered with ``available`` capital, or why not.

        Refusals: what makes the opportunity itself not ``tradable``; ``funding_converged``; why a book is not usable as
        long as it takes (``Exchange.usable``); ``latency``; those of ``calculate_position_size``, ``quantity_for`` and
        ``check_order``; ``no_profit``.
        """
        rules, delta = self._rules, found.funding_delta
        if found.tradable or delta is None:
            return found.tradable or "no_funding"
        if delta < rules.funding_floor:
            return "funding_converged"  # it would be left on its first tick
        for index in (found.long, found.short):
            if reason := self._exchange.usable(index, now_ns + rules.limits_ns):
                return reason
        pair = self.pair(found.long, found.short)
        if not pair.possible:
            return "latency"
        sized = calculate_position_size(found.spread_bps, available, found.fees_bps, found.funding_cost_bps, rules)
        if sized.refusal:
            return sized.refusal
        bought, sold = found.long_quote, found.short_quote
        price, displayed = max(bought.ask, sold.bid), self._displayed(found, now_ns)
        quantity, size, refusal = quantity_for(sized.size, price, pair.grid, displayed, rules)
        long, short = self._listings[found.long], self._listings[found.short]
        refusal = refusal or check_order(long, quantity, bought.ask) or check_order(short, quantity, sold.bid)
        if refusal:
            return refusal
        due = funding_within(self._rates[found.long], self._rates[found.short], now_ns, rules.expected_hold_ns)
        projected = projected_profit(
            quantity, from_units(bought.ask), from_units(sold.bid), bought, sold, long, short, due
        )  # fmt: skip
        if projected <= 0:
            return "no_profit"
        harder, reason, limit = self._first(found, now_ns)
        return Entry(pair, quantity, size, projected, due, delta, harder, reason, limit)

    def _displayed(self, found: Opportunity, now_ns: int) -> int:
        """The least that is shown on the four sides that the trade and its unwinding take."""
        depth = self._exchange.depth
        return min(
            found.long_quote.ask_size,
            found.short_quote.bid_size,
            depth(found.long, OrderSide.LONG, now_ns),
            depth(found.long, OrderSide.SHORT, now_ns),
            depth(found.short, OrderSide.LONG, now_ns),
            depth(found.short, OrderSide.SHORT, now_ns),
        )

    def _first(self, found: Opportunity, now_ns: int) -> tuple[Leg, str, int]:
        """The leg that goes first, why, and its limit: where it would rest if its queue is expected to reach the fill
        threshold in time, else at the price the opportunity was found at."""
        bid, ask = found.long_quote.bid, found.short_quote.ask
        harder = harder_leg(
            self._queue(found.long, OrderSide.LONG, bid, now_ns),
            self._queue(found.short, OrderSide.SHORT, ask, now_ns),
            self._rules.fill_threshold,
            self._ranking,
        )
        if harder.seconds is not None and harder.seconds * NANOSECONDS <= self._rules.leg_timeout_ns:
            return harder.leg, harder.reason, bid if harder.leg is Leg.LONG else ask
        touch = found.long_quote.ask if harder.leg is Leg.LONG else found.short_quote.bid
        return harder.leg, f"{harder.reason}; sent at the touch, where it need not wait", touch

    def _queue(self, index: int, side: OrderSide, price: int, now_ns: int) -> LegQueue:
        return LegQueue(
            self._listings[index].venue,
            self._exchange.resting(index, side, price),
            self._exchange.traded_rate(index, price, side, now_ns),
        )
