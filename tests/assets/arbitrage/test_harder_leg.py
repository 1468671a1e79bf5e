"""Which leg goes first, deterministically, and what a trade is projected to earn."""

from decimal import Decimal
from fractions import Fraction

import pytest

from assets.arbitrage.entry import (
    LegQueue,
    funding_within,
    harder_leg,
    identify_harder_leg,
    projected_profit,
    seconds_to_fill,
)
from assets.arbitrage.model import Leg
from resources.feed import FUNDING_PERIOD_NS, FundingQuote, Quote
from tests.assets.arbitrage.trader_parts import NORTH, SOUTH, units

D = Decimal
THRESHOLD = D("0.2")


def queue(depth: int | None, rate: int, venue: str = "north") -> LegQueue:
    return LegQueue(venue, depth, Fraction(rate))


@pytest.mark.parametrize(
    ("long", "short", "leg", "seconds"),
    [
        (queue(100, 10), queue(100, 20), Leg.LONG, 2),  # slower by trades
        (queue(100, 10), queue(900, 20), Leg.SHORT, 9),  # slower by depth
        (queue(100, 0), queue(10**9, 1), Leg.LONG, None),  # nothing trades: never
        (queue(10**9, 1), queue(100, 0), Leg.SHORT, None),
        (queue(None, 5), queue(100, 1), Leg.LONG, None),  # nobody shows a depth: never
        (queue(100, 10), queue(50, 5), Leg.SHORT, 2),  # a tie: less displayed
        (queue(50, 5), queue(100, 10), Leg.LONG, 2),
        (queue(None, 0), queue(7, 0), Leg.LONG, None),  # both never: unknown is less than any
        (queue(5, 1, "b"), queue(5, 1, "a"), Leg.SHORT, 1),  # all equal: by name
        (queue(5, 1, "a"), queue(5, 1, "b"), Leg.LONG, 1),
    ],
)
def test_harder_leg_is_the_slower_one(long: LegQueue, short: LegQueue, leg: Leg, seconds: int | None) -> None:
    harder = harder_leg(long, short, THRESHOLD)
    assert (harder.leg, harder.seconds) == (leg, seconds)
    assert harder.reason


def test_no_depth_ahead_is_filled_by_the_first_trade() -> None:
    assert seconds_to_fill(queue(0, 3), THRESHOLD) == 0


def test_ranked_venues_come_before_names() -> None:
    assert identify_harder_leg("alpha", "beta") is Leg.LONG
    assert identify_harder_leg("alpha", "beta", ("beta", "alpha")) is Leg.SHORT
    assert identify_harder_leg("alpha", "beta", ("beta",)) is Leg.SHORT
    assert harder_leg(queue(5, 1, "alpha"), queue(5, 1, "beta"), THRESHOLD, ("beta",)).leg is Leg.SHORT


def test_swapping_the_legs_swaps_the_answer() -> None:
    queues = [queue(depth, rate, venue) for depth in (None, 0, 5) for rate in (0, 1) for venue in ("a", "b")]
    for one in queues:
        for other in queues:
            if one.venue != other.venue:
                there, back = harder_leg(one, other, THRESHOLD), harder_leg(other, one, THRESHOLD)
                assert there.leg is back.leg.other
                assert there.seconds == back.seconds


def test_projected_profit_is_what_converging_mids_pay() -> None:
    long, short = (
        Quote(0, 0, units("99.98"), 1, units(100), 1),
        Quote(0, 1, units(101), 1, units("101.04"), 1),
    )
    profit = projected_profit(units(10), D(100), D(101), long, short, NORTH, SOUTH, D("0.0003"))
    # 10 x 1, less two fees of 0.05 % on each leg, less half of both spreads (0.01 + 0.02), plus 0.0003 of 1,000.
    assert profit == 10 - 10 * 2 * (D("0.05") + D("0.0505")) - D("0.3") + D("0.3")


def test_projected_profit_equals_leaving_where_the_mids_meet() -> None:
    """Another way to the same number: buy, sell, and leave at the bid and ask around one mid, all at taker fees."""
    long, short = (
        Quote(0, 0, units("99.9"), 1, units("100.1"), 1),
        Quote(0, 1, units("102"), 1, units("102.6"), 1),
    )
    entered = projected_profit(units(3), D("100.1"), D(102), long, short, NORTH, SOUTH, D(0))
    mid = D(101)
    bid, ask = mid - D("0.1"), mid + D("0.3")
    gross = 3 * ((bid - D("100.1")) + (D(102) - ask))
    fees = 3 * D("0.0005") * 2 * (D("100.1") + D(102))
    assert entered == gross - fees


@pytest.mark.parametrize(
    ("long_in", "short_in", "due"),
    [
        (601, 601, "0"),  # both lie beyond the ten minutes
        (600, 600, "0.0003"),
        (601, 600, "0.0004"),
        (600, 601, "-0.0001"),  # what is paid counts as well
        (None, 1, "0.0004"),  # spot
        (0, 0, "0"),  # settled already
        (-5, None, "0"),
    ],
)
def test_funding_counts_where_it_is_settled_within_the_expected_hold(
    long_in: int | None, short_in: int | None, due: str
) -> None:
    now, second = 10**18, 10**9
    long, short = (
        None if seconds is None else FundingQuote(now, index, D(rate), now + seconds * second, FUNDING_PERIOD_NS)
        for index, (seconds, rate) in enumerate([(long_in, "0.0001"), (short_in, "0.0004")])
    )
    assert funding_within(long, short, now, 600 * second) == D(due)
