"""Every pair of venues that lists the same asset, watched for a spread that outlives its costs.

An opportunity buys at the ask of one venue and sells at the bid of another. It stands while

    net = spread - four taker fees - funding to be paid - half of both bid-ask spreads > 0

per unit of notional: two fees on the way in, two out, and as what is hoped for is that the mids converge, leaving on
the other sides of the books costs half of each bid-ask spread. Whether it stands is decided in integers, exactly;
Decimals are made of those alone that are handed over or shown. A quote is usable up to ``Rules.stale_quote_ns`` after
its time. Rates of funding are compared per eight hours, whatever the interval in which each venue settles: an hour's
rate of 0.00125 % and 0.01 % of eight hours cost the same.

What is decided never depends on when somebody looked: an opportunity that went stale ended at the instant its older
quote became too old, whoever notices it, and however late.
"""

from collections import Counter, deque
from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from math import gcd
from typing import NamedTuple, cast

from assets.accounting.precision import ZERO
from assets.arbitrage.confidence import BPS, Parts, confidence, confidence_parts
from assets.arbitrage.rules import Rules
from resources.feed import (
    FUNDING_PERIOD_NS,
    UNITS,
    FeedEvent,
    FundingQuote,
    FundingSettled,
    Interrupted,
    Listing,
    Quote,
    is_sound_rate,
)

_REMEMBERED = 50  # ended opportunities kept for screens
_RATES = Context(prec=28, rounding=ROUND_HALF_EVEN)
_NO_ASK = 1 << 120  # stands for the ask of a venue without a usable quote: nothing is bought there


class Opportunity(NamedTuple):
    """Buy ``long`` (index of a listing) at its ask, sell ``short`` at its bid; both quotes as they were used.

    ``spread_bps`` is of the long ask; ``fees_bps`` are four taker fees; ``funding_cost_bps`` what eight hours of
    funding take (0 when they pay or are unknown). ``net_bps`` = spread - fees - funding cost - half of both bid-ask
    spreads, all 8 decimals. ``funding_delta`` is short rate - long rate as a fraction per eight hours, None while a
    rate is unknown. ``confidence`` is the sum of ``parts``. ``tradable`` is "" or the first reason why it is not
    traded: quote_differs, inverse_contract, no_short, no_funding, no_edge, low_confidence. ``since_ns`` is when it
    appeared; None while it does not cover its costs.
    """

    asset: str
    long: int
    short: int
    long_quote: Quote
    short_quote: Quote
    spread_bps: Decimal
    fees_bps: Decimal
    funding_cost_bps: Decimal
    net_bps: Decimal
    funding_delta: Decimal | None
    confidence: int
    parts: Parts
    tradable: str = ""
    since_ns: int | None = None


class Removed(NamedTuple):
    """An opportunity as it last stood. ``reason``: spread_gone, funding_gone, stale, interrupted, crossed_book,
    zero_price, empty_book, or what ``forget`` was told."""

    opportunity: Opportunity
    removed_ns: int
    reason: str


class _Ended(NamedTuple):
    """What a ``Removed`` is computed from when somebody asks."""

    pair: "_Pair"
    standing: "_Standing"
    removed_ns: int
    reason: str


class _Standing(NamedTuple):
    """An opportunity as it was last seen to stand."""

    since_ns: int
    seen_ns: int
    long_quote: Quote
    short_quote: Quote
    funding_delta: Decimal | None


class _Pair:
    """One direction of two listings: what never changes of it, its funding, and what stands."""

    __slots__ = (
        "asset",
        "blocked",
        "cost_denominator",
        "cost_numerator",
        "fees",
        "fees_bps",
        "funding_delta",
        "known_until",
        "long",
        "short",
        "standing",
    )

    def __init__(self, long: int, short: int, listings: Sequence[Listing]) -> None:
        bought, sold = listings[long], listings[short]
        self.asset = bought.asset
        self.long = long
        self.short = short
        self.fees = 2 * (bought.taker_fee + sold.taker_fee)
        self.fees_bps = self.fees * BPS
        self.blocked = ""
        if bought.quote != sold.quote:
            self.blocked = "quote_differs"
        elif bought.settles_inverse or sold.settles_inverse:
            self.blocked = "inverse_contract"
        elif not sold.can_short:
            self.blocked = "no_short"
        self.standing: _Standing | None = None
        self.set_funding(None, None)

    def set_funding(self, delta: Decimal | None, known_until: int | None) -> None:
        """``known_until`` None: for ever (unknown stays unknown too, until it is set again)."""
        self.funding_delta = delta
        self.known_until = known_until
        cost = self.fees if delta is None or delta >= 0 else self.fees - delta
        numerator, denominator = cost.as_integer_ratio()
        # Twice the cost of one unit of notional, to be compared with twice the edge (see ``_covers``).
        self.cost_numerator, self.cost_denominator = 2 * numerator, denominator


class Scanner:
    """Takes the feed's quotes and funding and says what could be traded now. Pure: no clock, no randomness.

    Quotes come from the feed or, where a venue shows its book, from whoever keeps the book; ``Depth`` and ``Trade``
    events are accepted and only dated. A listing's quotes must not go back in time; one that does is refused and
    counted. A quote or rate that makes no sense is refused, counted, and takes the listing's former one with it: what
    a venue last said is then not known. A settlement changes nothing here; one that makes no sense is counted.
    """

    def __init__(self, listings: Sequence[Listing], rules: Rules, *, remembered: int | None = _REMEMBERED) -> None:
        """``remembered`` ended opportunities are kept, None for all of them."""
        count = self._count = len(listings)
        self._listings = tuple(listings)
        self._stale_ns = rules.stale_quote_ns
        self._min_confidence = rules.min_confidence
        # The largest trade that the rules allow at the start, the yardstick of displayed size.
        notional = rules.starting_capital * rules.max_capital_share * UNITS * UNITS
        self._trade_notional = max(1, int(notional))
        self._quotes: list[Quote | None] = [None] * count
        self._bids = [0] * count
        self._asks = [_NO_ASK] * count
        self._times = [-1] * count  # of the last quote, interruption or forgetting
        self._funding_times = [-1] * count
        self._newest = [-1] * count
        self._rates: list[tuple[Decimal, int | None] | None] = [
            None if listing.can_short or listing.settles_inverse else (ZERO, None) for listing in listings
        ]
        self._pairs: list[tuple[_Pair, ...]] = []
        self._others: list[tuple[int, ...]] = []
        pairs = [
            _Pair(long, short, listings)
            for long, bought in enumerate(listings)
            for short, sold in enumerate(listings)
            if bought.asset == sold.asset and bought.venue != sold.venue
        ]
        self._all_pairs = tuple(pairs)
        for index in range(count):
            mine = tuple(pair for pair in pairs if index in (pair.long, pair.short))
            self._pairs.append(mine)
            self._others.append(tuple(sorted({pair.long + pair.short - index for pair in mine})))
        for pair in pairs:
            self._renew_funding(pair)
        self._standing = [0] * count  # how many of a listing's pairs stand
        self._refused: Counter[str] = Counter()
        self._ended: deque[_Ended] = deque(maxlen=remembered)

    @property
    def refused(self) -> dict[str, int]:
        """How many events were refused, by reason: crossed_book, zero_price, empty_book, out_of_order, unknown_listing,
        funding_on_spot, funding_malformed (a rate that is no number or above 1, an interval or mark not above 0)."""
        return dict(sorted(self._refused.items()))

    def on_event(self, event: FeedEvent) -> Sequence[Opportunity]:
        """The opportunities with the event's listing that could be traded now: they stand, nothing blocks them, and
        their confidence suffices; the best net first. Raises TypeError when it is no event of a feed."""
        if type(event) is Quote:
            time_ns, index, bid, bid_size, ask, ask_size = event
            if not 0 <= index < self._count:
                self._refused["unknown_listing"] += 1
                return ()
            if time_ns < self._times[index]:
                self._refused["out_of_order"] += 1
                return ()
            if bid <= 0 or bid >= ask or bid_size <= 0 or ask_size <= 0:
                reason = "zero_price" if bid <= 0 or ask <= 0 else "crossed_book" if bid >= ask else "empty_book"
                self._refused[reason] += 1
                self._lose(index, time_ns, reason)
                return ()
            if self._standing[index]:
                # Before the old quote is gone: what had become stale in the meantime ended then.
                self._expire(self._pairs[index], time_ns)
            self._quotes[index] = event
            self._times[index] = time_ns
            self._bids[index] = bid
            self._asks[index] = ask
            if not self._standing[index]:
                bids, asks = self._bids, self._asks
                for other in self._others[index]:
                    if bids[other] > ask or asks[other] < bid:
                        break
                else:
                    return ()
            return self._evaluate(index, time_ns, "spread_gone")
        return self._on_other(event)

    def _on_other(self, event: FeedEvent) -> Sequence[Opportunity]:
        if not isinstance(event, FeedEvent):
            raise TypeError(f"{type(event).__name__} is no event of a feed")
        index, time_ns = event.listing, event.time_ns
        if not 0 <= index < self._count:
            self._refused["unknown_listing"] += 1
            return ()
        if isinstance(event, FundingQuote):
            return self._on_funding(event)
        if isinstance(event, FundingSettled) and not (event.mark > 0 and is_sound_rate(event.rate)):
            self._refused["funding_malformed"] += 1
        if isinstance(event, Interrupted):
            self.forget(index, time_ns, "interrupted")
        self._newest[index] = max(self._newest[index], time_ns)
        return ()

    def _on_funding(self, event: FundingQuote) -> Sequence[Opportunity]:
        index, time_ns = event.listing, event.time_ns
        listing = self._listings[index]
        if not listing.can_short and not listing.settles_inverse:
            self._refused["funding_on_spot"] += 1
            return ()
        if time_ns < self._funding_times[index]:
            self._refused["out_of_order"] += 1
            return ()
        self._funding_times[index] = time_ns
        self._newest[index] = max(self._newest[index], time_ns)
        if is_sound_rate(event.rate) and event.interval_ns > 0:
            self._rates[index] = (_per_period(event), event.settles_ns)
        else:
            self._refused["funding_malformed"] += 1
            self._rates[index] = None
        self._expire(self._pairs[index], time_ns)
        for pair in self._pairs[index]:
            self._renew_funding(pair)
        return self._evaluate(index, time_ns, "funding_gone")

    def forget(self, listing: int, time_ns: int, reason: str) -> None:
        """The listing has no usable quote from now on, until its next one (its book became empty or unreadable)."""
        if time_ns < self._times[listing]:
            self._refused["out_of_order"] += 1
            return
        self._lose(listing, time_ns, reason)

    def expire(self, now_ns: int) -> None:
        """End what has become stale by now. Changes no later answer: it only brings ``removed`` up to date."""
        self._expire(self._all_pairs, now_ns)

    def funding_delta(self, long: int, short: int, now_ns: int) -> Decimal | None:
        """Short rate - long rate as a fraction per eight hours; a rate holds until it is settled, spot's is 0."""
        paid, received = self._rate(long, now_ns), self._rate(short, now_ns)
        return None if paid is None or received is None else received - paid

    def quote(self, listing: int, now_ns: int) -> Quote | None:
        """The listing's newest quote, None when there is none, it was refused or lost, or is stale."""
        quote = self._quotes[listing]
        return None if quote is None or quote.time_ns < now_ns - self._stale_ns else quote

    @property
    def listings(self) -> tuple[Listing, ...]:
        return self._listings

    def newest_ns(self, listing: int) -> int | None:
        """The time of the newest event of a listing, None before the first."""
        newest = max(self._newest[listing], self._times[listing])
        return None if newest < 0 else newest

    def current(self, now_ns: int) -> tuple[Opportunity, ...]:
        """Every pair with a positive spread between usable quotes, also below its costs; the best net first."""
        self.expire(now_ns)
        shown = [
            self._shown(
                pair,
                None if pair.standing is None else pair.standing.since_ns,
                now_ns,
                *quotes,
                self.funding_delta(pair.long, pair.short, now_ns),
            )
            for pair in self._all_pairs
            if (quotes := self._usable(pair, now_ns)) and quotes[1].bid > quotes[0].ask
        ]
        return tuple(sorted(shown, key=_best_first))

    def removed(self, count: int | None = _REMEMBERED) -> tuple[Removed, ...]:
        """The opportunities that ended last, the newest first, at most ``count`` (None: all that are remembered)."""
        newest = sorted(self._ended, key=lambda ended: -ended.removed_ns)[:count]
        return tuple(Removed(self._shown(each.pair, *each.standing), each.removed_ns, each.reason) for each in newest)

    def _evaluate(self, index: int, now_ns: int, reason: str) -> Sequence[Opportunity]:
        """Which of the listing's pairs stand now; one that does no more ended because of ``reason``."""
        found = []
        bids, asks, quotes, oldest = self._bids, self._asks, self._quotes, now_ns - self._stale_ns
        for pair in self._pairs[index]:
            standing = pair.standing
            if bids[pair.short] > asks[pair.long]:
                # Both are there, else one would have no price.
                long_quote, short_quote = cast(Quote, quotes[pair.long]), cast(Quote, quotes[pair.short])
                if pair.known_until is not None and now_ns >= pair.known_until:
                    self._renew_funding(pair, now_ns)
                if (
                    long_quote.time_ns >= oldest
                    and short_quote.time_ns >= oldest
                    and _covers(pair, long_quote, short_quote)
                ):
                    if standing is None:
                        since_ns = now_ns
                        self._standing[pair.long] += 1
                        self._standing[pair.short] += 1
                    else:
                        since_ns = standing.since_ns
                    pair.standing = _Standing(since_ns, now_ns, long_quote, short_quote, pair.funding_delta)
                    if not pair.blocked and pair.funding_delta is not None:
                        opportunity = self._confident(pair, since_ns, now_ns, long_quote, short_quote)
                        if opportunity is not None:
                            found.append(opportunity)
                    continue
            if standing is not None:
                self._end(pair, standing, now_ns, reason)
        if len(found) > 1:
            found.sort(key=_best_first)
        return found

    def _usable(self, pair: _Pair, now_ns: int) -> tuple[Quote, Quote] | None:
        long_quote, short_quote = self._quotes[pair.long], self._quotes[pair.short]
        if long_quote is None or short_quote is None:
            return None
        oldest = now_ns - self._stale_ns
        if long_quote.time_ns < oldest or short_quote.time_ns < oldest:
            return None
        return long_quote, short_quote

    def _confident(
        self, pair: _Pair, since_ns: int, now_ns: int, long_quote: Quote, short_quote: Quote
    ) -> Opportunity | None:
        parts = confidence_parts(
            long_quote, short_quote, pair.funding_delta, now_ns, self._trade_notional, self._stale_ns
        )
        score = confidence(parts)
        if score < self._min_confidence:
            return None
        return self._computed(pair, since_ns, long_quote, short_quote, pair.funding_delta, parts, score)

    def _shown(
        self,
        pair: _Pair,
        since_ns: int | None,
        now_ns: int,
        long_quote: Quote,
        short_quote: Quote,
        delta: Decimal | None,
    ) -> Opportunity:
        parts = confidence_parts(long_quote, short_quote, delta, now_ns, self._trade_notional, self._stale_ns)
        return self._computed(pair, since_ns, long_quote, short_quote, delta, parts, confidence(parts))

    def _computed(
        self,
        pair: _Pair,
        since_ns: int | None,
        long_quote: Quote,
        short_quote: Quote,
        delta: Decimal | None,
        parts: Parts,
        score: int,
    ) -> Opportunity:
        fees = pair.fees_bps
        cost = ZERO if delta is None or delta >= 0 else -delta * BPS
        spread = _bps(short_quote.bid - long_quote.ask, long_quote.ask)
        crossing = _bps(long_quote.ask - long_quote.bid + short_quote.ask - short_quote.bid, 2 * long_quote.ask)
        net = spread - fees - cost - crossing
        blocked = pair.blocked
        if not blocked:
            if delta is None:
                blocked = "no_funding"
            elif since_ns is None:
                blocked = "no_edge"
            elif score < self._min_confidence:
                blocked = "low_confidence"
        return Opportunity(
            pair.asset, pair.long, pair.short, long_quote, short_quote,
            spread, fees, cost, net, delta, score, parts, blocked, since_ns,
        )  # fmt: skip

    def _rate(self, index: int, now_ns: int) -> Decimal | None:
        known = self._rates[index]
        if known is None:
            return None
        rate, settles_ns = known
        return None if settles_ns is not None and now_ns >= settles_ns else rate

    def _renew_funding(self, pair: _Pair, now_ns: int | None = None) -> None:
        """Take the pair's funding from the rates of its listings; at ``now_ns`` one of them may have been settled."""
        paid, received = self._rates[pair.long], self._rates[pair.short]
        if paid is None or received is None:
            pair.set_funding(None, None)
            return
        ends = [settles_ns for _, settles_ns in (paid, received) if settles_ns is not None]
        until = min(ends, default=None)
        if now_ns is not None and until is not None and now_ns >= until:
            pair.set_funding(None, None)
        else:
            pair.set_funding(received[0] - paid[0], until)

    def _lose(self, index: int, time_ns: int, reason: str) -> None:
        self._expire(self._pairs[index], time_ns)
        self._times[index] = time_ns
        self._quotes[index] = None
        self._bids[index] = 0
        self._asks[index] = _NO_ASK
        if self._standing[index]:
            self._evaluate(index, time_ns, reason)

    def _expire(self, pairs: Sequence[_Pair], now_ns: int) -> None:
        oldest = now_ns - self._stale_ns
        for pair in pairs:
            standing = pair.standing
            if standing is None:
                continue
            quoted = min(self._times[pair.long], self._times[pair.short])
            if quoted < oldest:
                # The first nanosecond at which the older quote may not be used any more.
                self._end(pair, standing, quoted + self._stale_ns + 1, "stale")

    def _end(self, pair: _Pair, standing: _Standing, removed_ns: int, reason: str) -> None:
        pair.standing = None
        self._standing[pair.long] -= 1
        self._standing[pair.short] -= 1
        self._ended.append(_Ended(pair, standing, removed_ns, reason))


def _per_period(event: FundingQuote) -> Decimal:
    """The rate for eight hours, to 28 digits: exact where that is a whole number of settlements."""
    if event.interval_ns == FUNDING_PERIOD_NS:
        return event.rate
    common = gcd(FUNDING_PERIOD_NS, event.interval_ns)
    period, interval = Decimal(FUNDING_PERIOD_NS // common), Decimal(event.interval_ns // common)
    return _RATES.divide(_RATES.multiply(event.rate, period), interval)


def _covers(pair: _Pair, long: Quote, short: Quote) -> bool:
    """net > 0, exactly: both sides of the inequality times 2 x long ask x the cost's denominator."""
    edge = 2 * short.bid - 3 * long.ask + long.bid - short.ask + short.bid
    return edge * pair.cost_denominator > long.ask * pair.cost_numerator


def _bps(numerator: int, denominator: int) -> Decimal:
    """A ratio in basis points, rounded half-even to 8 decimals; in integers, for this is done for each opportunity."""
    value, rest = divmod(numerator * (BPS * 10**8), denominator)
    if 2 * rest > denominator or (2 * rest == denominator and value & 1):
        value += 1
    return Decimal(value).scaleb(-8)


def _best_first(opportunity: Opportunity) -> tuple[Decimal, int, int]:
    return (-opportunity.net_bps, opportunity.long, opportunity.short)
