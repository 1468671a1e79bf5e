"""Opportunities against a plain recomputation in Fractions, their beginnings and ends, and what is refused."""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.arbitrage.rules import Rules
from assets.arbitrage.scanner import Opportunity, Scanner
from resources.feed import UNITS, Depth, FundingQuote, FundingSettled, Interrupted, Listing, Quote, Trade

S = 10**9
FAR = 10**18
HOUR = 3600 * S
RULES = Rules()


def listing(venue: str, asset: str = "BTC", **changes: Any) -> Listing:
    facts: dict[str, Any] = {
        "venue": venue, "symbol": f"{asset}-{venue}", "asset": asset, "quote": "USDT", "tick": Decimal("0.01"),
        "step": Decimal("0.001"), "min_size": Decimal("0.001"), "min_notional": Decimal(5),
        "maker_fee": Decimal("0.0002"), "taker_fee": Decimal("0.0005"), "latency_ns": 0, "settles_inverse": False,
        "can_short": True, "facts": "made up",
    }  # fmt: skip
    return Listing(**(facts | changes))


def quote(index: int, time_ns: int, bid: str, ask: str, size: str = "1000") -> Quote:
    units = [int(Decimal(text) * UNITS) for text in (bid, size, ask, size)]
    return Quote(time_ns, index, *units)


def with_funding(scanner: Scanner, *rates: str, until: int = FAR) -> Scanner:
    for index, rate in enumerate(rates):
        scanner.on_event(FundingQuote(0, index, Decimal(rate), until, 8 * HOUR))
    return scanner


def pair_of(*, first: dict[str, Any] | None = None, second: dict[str, Any] | None = None) -> Scanner:
    """Two venues; the second's funding pays the short 3 bp more than the first's takes."""
    scanner = Scanner((listing("a", **(first or {})), listing("b", **(second or {}))), RULES)
    return with_funding(scanner, "0.0001", "0.0004")


CHEAP, DEAR = ("99.99", "100"), ("100.60", "100.61")


def open_one(scanner: Scanner, time_ns: int = S) -> Opportunity:
    scanner.on_event(quote(0, time_ns, *CHEAP))
    (found,) = scanner.on_event(quote(1, time_ns, *DEAR))
    return found


def test_an_opportunity_says_what_it_costs_and_what_its_points_are() -> None:
    found = open_one(pair_of())
    assert (found.asset, found.long, found.short, found.since_ns) == ("BTC", 0, 1, S)
    assert found.spread_bps == 60  # bought at 100, sold at 100.60
    assert found.fees_bps == 20  # 2 x (5 + 5)
    assert found.funding_cost_bps == 0
    assert found.net_bps == 60 - 20 - 1  # two spreads of 1 bp, half of each
    assert found.funding_delta == Decimal("0.0003")
    assert dict(found.parts) == {"spread": 50, "funding": 30, "depth": 10, "freshness": 10}
    assert found.confidence == 100
    assert found.tradable == ""


def test_funding_that_is_to_be_paid_is_a_cost() -> None:
    scanner = with_funding(Scanner((listing("a"), listing("b")), RULES), "0.0004", "0.0001")
    scanner.on_event(quote(0, S, *CHEAP))
    (found,) = scanner.on_event(quote(1, S, *DEAR))  # 50 + 0 + 10 + 10 points
    assert (found.funding_cost_bps, found.net_bps, found.confidence) == (3, 36, 70)


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ({"settles_inverse": True}, {}, "inverse_contract"),
        ({}, {"settles_inverse": True}, "inverse_contract"),
        ({}, {"quote": "USD"}, "quote_differs"),
    ],
)
def test_what_is_never_traded_is_shown_with_the_reason(first: dict, second: dict, reason: str) -> None:
    scanner = pair_of(first=first, second=second)
    scanner.on_event(quote(0, S, *CHEAP))
    assert not scanner.on_event(quote(1, S, *DEAR))
    (shown,) = scanner.current(S)
    assert (shown.tradable, shown.since_ns, shown.net_bps) == (reason, S, 39)


def test_spot_is_bought_without_funding_and_never_sold_short() -> None:
    spot = Scanner((listing("a", can_short=False), listing("b")), RULES)
    spot.on_event(FundingQuote(0, 1, Decimal("0.0003"), FAR, 8 * HOUR))
    spot.on_event(quote(0, S, *CHEAP))
    (found,) = spot.on_event(quote(1, S, *DEAR))
    assert found.funding_delta == Decimal("0.0003")
    spot.on_event(quote(0, 2 * S, *DEAR))
    assert not spot.on_event(quote(1, 2 * S, *CHEAP))
    (shown,) = spot.current(2 * S)
    assert (shown.long, shown.short, shown.tradable) == (1, 0, "no_short")
    spot.on_event(FundingQuote(3 * S, 0, Decimal("0.0001"), FAR, 8 * HOUR))
    assert spot.refused == {"funding_on_spot": 1}


def test_a_funding_rate_is_known_until_it_is_settled() -> None:
    scanner = with_funding(Scanner((listing("a"), listing("b")), RULES), "0.0001", "0.0004", until=3 * S)
    open_one(scanner, 2 * S)
    assert scanner.funding_delta(0, 1, 3 * S - 1) == Decimal("0.0003")
    assert scanner.funding_delta(0, 1, 3 * S) is None
    assert not scanner.on_event(quote(1, 3 * S, *DEAR))
    (shown,) = scanner.current(3 * S)
    assert (shown.tradable, shown.funding_delta) == ("no_funding", None)
    # The other rate is still that of the settlement that is over.
    assert not scanner.on_event(FundingQuote(4 * S, 1, Decimal("0.0004"), FAR, 8 * HOUR))
    (again,) = scanner.on_event(FundingQuote(4 * S, 0, Decimal("0.0001"), FAR, 8 * HOUR))
    assert again.since_ns == 2 * S


def test_rates_of_different_settlement_intervals_are_compared_over_eight_hours() -> None:
    """0.00125 % an hour and 0.01 % in eight hours are the same cost: there is no edge in their difference."""
    scanner = Scanner((listing("hourly"), listing("b"), listing("c"), listing("d")), RULES)
    told = (("0.0000125", 1), ("0.0001", 8), ("0.00005", 4), ("0.0003", 24))
    for index, (rate, hours) in enumerate(told):
        scanner.on_event(FundingQuote(0, index, Decimal(rate), FAR, hours * HOUR))
    for other in (1, 2, 3):
        assert scanner.funding_delta(0, other, S) == scanner.funding_delta(other, 0, S) == 0
    scanner.on_event(FundingQuote(0, 0, Decimal("-0.0000125"), FAR, HOUR))
    scanner.on_event(quote(0, S, *CHEAP))
    (found,) = scanner.on_event(quote(1, S, *DEAR))
    assert found.funding_delta == Decimal("0.0002")
    assert dict(found.parts)["funding"] == 20
    scanner.on_event(FundingQuote(S, 0, Decimal("0.0000375"), FAR, HOUR))
    (paying,) = scanner.on_event(quote(1, S, *DEAR))
    assert (paying.funding_cost_bps, paying.net_bps) == (2, 60 - 20 - 1 - 2)


@pytest.mark.parametrize("rate", ["NaN", "sNaN", "Infinity", "-Infinity", "1.00000001", "-1E+30"])
def test_a_rate_that_can_be_none_is_refused_and_nothing_is_known_until_the_next(rate: str) -> None:
    scanner = pair_of()
    open_one(scanner)
    assert not scanner.on_event(FundingQuote(2 * S, 0, Decimal(rate), FAR, 8 * HOUR))
    assert scanner.refused == {"funding_malformed": 1}
    assert scanner.funding_delta(0, 1, 2 * S) is None
    (shown,) = scanner.current(2 * S)
    assert (shown.tradable, shown.since_ns) == ("no_funding", S)
    (again,) = scanner.on_event(FundingQuote(3 * S, 0, Decimal("0.0001"), FAR, 8 * HOUR))
    assert again.funding_delta == Decimal("0.0003")


def test_an_interval_of_no_time_and_a_settlement_that_can_be_none_are_counted() -> None:
    scanner = pair_of()
    for interval_ns in (0, -1):
        scanner.on_event(FundingQuote(S, 1, Decimal("0.0004"), FAR, interval_ns))
    for rate, mark in (("NaN", 1), ("Infinity", 1), ("-5", 1), ("0.0001", 0), ("1", 1), ("-1", 1)):
        assert not scanner.on_event(FundingSettled(S, 0, Decimal(rate), mark))
    assert scanner.refused == {"funding_malformed": 6}
    assert scanner.funding_delta(0, 1, S) is None


def test_listings_of_one_venue_or_of_different_assets_are_no_pair() -> None:
    scanner = Scanner((listing("a"), listing("a", symbol="other"), listing("b", "ETH")), RULES)
    with_funding(scanner, "0", "0", "0")
    for index, prices in enumerate((CHEAP, DEAR, DEAR)):
        assert not scanner.on_event(quote(index, S, *prices))
    assert scanner.current(S) == ()


def test_the_end_of_an_opportunity_has_a_time_and_a_reason() -> None:
    crossed, empty, free = (
        Quote(2 * S, 1, 5, 1, 5, 1), Quote(2 * S, 1, 5, 0, 6, 1), Quote(2 * S, 1, 0, 1, 6, 1)
    )  # fmt: skip
    ends: list[tuple[Any, str]] = [
        (quote(1, 2 * S, "100.10", "100.11"), "spread_gone"),
        (FundingQuote(2 * S, 1, Decimal("-0.005"), FAR, 8 * HOUR), "funding_gone"),
        (Interrupted(2 * S, 0), "interrupted"),
        (crossed, "crossed_book"),
        (empty, "empty_book"),
        (free, "zero_price"),
    ]
    for event, reason in ends:
        scanner = pair_of()
        stood = open_one(scanner)
        assert not scanner.on_event(event)
        (removed,) = scanner.removed()
        assert (removed.reason, removed.removed_ns) == (reason, 2 * S)
        assert removed.opportunity == stood


def test_a_refused_quote_takes_the_former_one_with_it_but_a_late_one_is_only_counted() -> None:
    scanner = pair_of()
    open_one(scanner)
    scanner.on_event(Quote(2 * S, 0, 7, 1, 6, 1))
    assert scanner.quote(0, 2 * S) is None
    assert scanner.current(2 * S) == ()
    scanner.on_event(quote(1, 2 * S, *DEAR))
    scanner.on_event(quote(1, 2 * S - 1, *CHEAP))
    assert scanner.quote(1, 2 * S) == quote(1, 2 * S, *DEAR)
    scanner.on_event(quote(7, 2 * S, *DEAR))
    scanner.on_event(quote(-1, 2 * S, *DEAR))
    scanner.on_event(Interrupted(S, 1))
    assert scanner.refused == {"crossed_book": 1, "out_of_order": 2, "unknown_listing": 2}


def test_what_is_no_event_is_an_error_and_books_and_trades_are_only_dated() -> None:
    scanner = pair_of()
    with pytest.raises(TypeError, match="str is no event"):
        scanner.on_event("quote")  # type: ignore[arg-type]
    assert scanner.newest_ns(0) == 0
    scanner.on_event(Trade(5, 0, 1, 1, True))
    scanner.on_event(Depth(7, 0, (), (), True))
    assert (scanner.newest_ns(0), scanner.newest_ns(1)) == (7, 0)
    assert scanner.current(7) == ()


def test_a_quote_may_be_used_at_its_greatest_age_and_not_a_nanosecond_longer() -> None:
    scanner = pair_of()
    open_one(scanner)
    last = S + RULES.stale_quote_ns
    assert len(scanner.current(last)) == 1
    assert scanner.removed() == ()
    assert scanner.current(last + 1) == ()
    (removed,) = scanner.removed()
    assert (removed.reason, removed.removed_ns) == ("stale", last + 1)


def test_an_opportunity_that_was_stale_in_between_appears_anew() -> None:
    scanner = pair_of()
    open_one(scanner)
    later = S + 2 * RULES.stale_quote_ns
    assert not scanner.on_event(quote(1, later, *DEAR))  # the other side is stale
    (found,) = scanner.on_event(quote(0, later, *CHEAP))
    assert found.since_ns == later
    (removed,) = scanner.removed()
    assert (removed.reason, removed.removed_ns) == ("stale", S + RULES.stale_quote_ns + 1)


def test_the_best_net_comes_first_and_spreads_below_costs_are_shown_too() -> None:
    scanner = Scanner((listing("a"), listing("b"), listing("c"), listing("d")), RULES)
    with_funding(scanner, "0", "0.0003", "0.0003", "0")
    prices = (CHEAP, ("100.50", "100.51"), ("100.70", "100.71"), ("100.05", "100.06"))
    for index, each in enumerate(prices):
        last = scanner.on_event(quote(index, S, *each))
        if index == 2:
            assert [found.short for found in last] == [2]
    shown = scanner.current(S)
    assert [each.net_bps for each in shown] == sorted((each.net_bps for each in shown), reverse=True)
    below = next(each for each in shown if (each.long, each.short) == (0, 3))
    assert (below.spread_bps, below.net_bps, below.tradable, below.since_ns) == (5, -16, "no_edge", None)


# A state machine in one line: whatever comes, what stands is what a plain computation finds.

_quote = st.tuples(
    st.just("quote"),
    st.integers(0, 3),
    st.sampled_from([10_000, 10_010, 10_030, 10_060, 10_100]),
    st.sampled_from([1, 1, 1, 2, 5, 12, 0, -1]),
    st.sampled_from([300, 150, 90, 20, 0]),
)
_funding = st.tuples(st.just("funding"), st.integers(0, 3), st.integers(-40, 40), st.integers(1, 20), st.just(0))
_interrupted = st.tuples(st.just("interrupted"), st.integers(0, 3), st.just(0), st.just(0), st.just(0))
_steps = st.lists(
    st.tuples(st.sampled_from([0, 1, 30, 700, 2_000]), _quote | _quote | _quote | _funding | _interrupted),
    min_size=30,
    max_size=40,
)
_FOUR = (listing("a"), listing("b"), listing("c", taker_fee=Decimal("0.00012345")), listing("d", can_short=False))


def _feed_event(time_ns: int, drawn: tuple[Any, ...]) -> Quote | FundingQuote | Interrupted:
    kind, index, number, width, size = drawn
    if kind == "quote":
        return Quote(time_ns, index, number * UNITS, size * UNITS, (number + width) * UNITS, size * UNITS)
    if kind == "funding":
        return FundingQuote(
            time_ns, index, Decimal(number).scaleb(-5), time_ns + width * S, (width % 3 * 4 or 1) * HOUR
        )
    return Interrupted(time_ns, index)


def _expected_rate(rates: dict[int, FundingQuote], index: int, now: int) -> Fraction | None:
    if index == 3:
        return Fraction(0)
    known = rates.get(index)
    if known is None or now >= known.settles_ns:
        return None
    return Fraction(known.rate) * 8 * HOUR / known.interval_ns


def _expected(
    quotes: dict[int, Quote], rates: dict[int, FundingQuote], index: int, now: int
) -> list[tuple[int, int, Fraction]]:
    """What can be traded now with listing ``index``, and its net, straight from the definition."""
    found = []
    for long, short in ((one, other) for one in range(4) for other in range(4) if one != other):
        if index not in (long, short) or short == 3:
            continue
        bought, sold = quotes.get(long), quotes.get(short)
        paid, received = (_expected_rate(rates, each, now) for each in (long, short))
        if not bought or not sold or paid is None or received is None:
            continue
        if min(bought.time_ns, sold.time_ns) < now - RULES.stale_quote_ns:
            continue
        delta = received - paid
        fees = 2 * (Fraction(_FOUR[long].taker_fee) + Fraction(_FOUR[short].taker_fee))
        halves = Fraction(bought.ask - bought.bid + sold.ask - sold.bid, 2 * bought.ask)
        spread = Fraction(sold.bid - bought.ask, bought.ask)
        net = spread - fees - max(Fraction(0), -delta) - halves
        points = min(50, int(spread * 10_000)) if spread > 0 else 0
        points += max(0, min(30, int(30 * delta / Fraction(3, 10_000)))) if delta > 0 else 0
        points += min(10, 10 * min(bought.ask * bought.ask_size, sold.bid * sold.bid_size) // (10_000 * UNITS**2))
        age = now - min(bought.time_ns, sold.time_ns)
        points += max(0, 10 * (RULES.stale_quote_ns - age) // RULES.stale_quote_ns)
        if net > 0 and points >= 70:
            found.append((long, short, net))
    return found


@settings(max_examples=120)
@given(steps=_steps, looks=st.lists(st.integers(0, 40), max_size=5))
def test_what_is_found_is_what_the_definition_says_whoever_looks_in_between(
    steps: Sequence[tuple[int, tuple[Any, ...]]], looks: Sequence[int]
) -> None:
    watched, alone = Scanner(_FOUR, RULES), Scanner(_FOUR, RULES)
    quotes: dict[int, Quote] = {}
    rates: dict[int, FundingQuote] = {}
    now = 0
    for index, rate in enumerate((0, 20, 40)):
        rates[index] = FundingQuote(0, index, Decimal(rate).scaleb(-5), 30 * S, 8 * HOUR)
        assert not watched.on_event(rates[index])
        assert not alone.on_event(rates[index])
    for number, (elapsed, drawn) in enumerate(steps):
        now += elapsed * 10**6
        event = _feed_event(now, drawn)
        found = list(watched.on_event(event))
        assert found == list(alone.on_event(event))
        if number in looks:
            watched.current(now)
            watched.expire(now)
        if isinstance(event, Quote):
            quotes.pop(event.listing, None)
            if event.bid < event.ask and event.bid_size > 0:
                quotes[event.listing] = event
        elif isinstance(event, Interrupted):
            quotes.pop(event.listing, None)
            assert not found
            continue
        elif event.listing != 3:
            rates[event.listing] = event
        else:
            assert not found
            continue
        expected = _expected(quotes, rates, event.listing, now)
        assert sorted((each.long, each.short) for each in found) == sorted((long, short) for long, short, _ in expected)
        for each in found:
            net = next(net for long, short, net in expected if (long, short) == (each.long, each.short))
            assert abs(Fraction(each.net_bps) - net * 10_000) <= Fraction(2, 10**8)
            assert each.confidence == sum(points for _, points in each.parts) >= 70
    watched.expire(now)
    alone.expire(now)
    assert watched.removed() == alone.removed()
    assert watched.refused == alone.refused
