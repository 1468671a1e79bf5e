"""What a hedge costs, and what a trade has spent, to the last digit."""

from decimal import Decimal

import pytest

from assets.arbitrage.model import Leg, OrderSide, Purpose
from assets.arbitrage.open_trade import OpenLeg, OpenTrade, Pair, Stage
from resources.feed import UNITS, from_units
from tests.assets.arbitrage.trader_parts import NORTH, SOUTH, units

D = Decimal


@pytest.fixture
def trade() -> OpenTrade:
    """Ten bought at 99.5, where 100 was planned; 101 is planned for the short leg, of which nothing is sold."""
    legs = OpenLeg(Leg.LONG, 0, NORTH, units(100)), OpenLeg(Leg.SHORT, 1, SOUTH, units(101))
    made = OpenTrade("a trade", "SOL", *legs, Pair(units("0.05"), 0, True))
    made.long.fill(OrderSide.LONG, units("99.5"), units(10), 1)
    made.stage = Stage.ENTRY_SETTLE
    made.leg_outs[Purpose.ENTRY] = False
    return made


def hedge(trade: OpenTrade, leg: OpenLeg, side: OrderSide, price: str, size: str = "10") -> None:
    notional = units(price) * units(size)
    trade.count_hedge(leg, side, units(size), notional, D(price) * D(size) * leg.listing.taker_fee)
    leg.fill(side, units(price), units(size), 2)


def ended(trade: OpenTrade) -> tuple[Decimal, Decimal]:
    price, cost = trade.end_hedge()
    return from_units(price), cost


def test_completing_costs_what_the_planned_price_would_have_brought_more(trade: OpenTrade) -> None:
    hedge(trade, trade.short, OrderSide.SHORT, "100.9", "4")
    hedge(trade, trade.short, OrderSide.SHORT, "100.8", "6")
    assert ended(trade) == (D("100.84"), 4 * D("0.1") + 6 * D("0.2"))


def test_a_better_price_than_planned_costs_nothing(trade: OpenTrade) -> None:
    hedge(trade, trade.short, OrderSide.SHORT, "101.5")
    assert ended(trade) == (D("101.5"), 0)


def test_taking_back_costs_the_difference_to_what_was_paid_and_the_fees_of_both_ways(trade: OpenTrade) -> None:
    hedge(trade, trade.long, OrderSide.SHORT, "99.4")
    assert ended(trade) == (D("99.4"), 1 + D("0.0005") * (995 + 994))


def test_where_a_late_fill_made_the_hedge_unnecessary_it_cost_nothing_at_the_planned_price(trade: OpenTrade) -> None:
    trade.short.fill(OrderSide.SHORT, units(101), units(10), 2)
    assert ended(trade) == (101, 0)


def test_on_the_way_out_a_hedge_is_held_against_the_price_that_was_quoted(trade: OpenTrade) -> None:
    trade.stage, trade.long.plan = Stage.EXIT_SETTLE, units("100.5")
    hedge(trade, trade.long, OrderSide.SHORT, "100.2")
    assert ended(trade) == (D("100.2"), 3)


def test_a_phase_is_hedged_once_and_the_next_one_begins_from_nothing(trade: OpenTrade) -> None:
    hedge(trade, trade.short, OrderSide.SHORT, "100.9")
    trade.end_hedge()
    assert not trade.hedging
    trade.stage = Stage.EXIT_SETTLE
    assert not trade.hedging  # nothing of this phase is out
    trade.leg_outs[Purpose.EXIT] = False
    assert trade.hedging
    hedge(trade, trade.long, OrderSide.SHORT, "98")
    assert ended(trade) == (98, 20)
    assert trade.leg_out_cost == 21


def test_what_is_spent_is_the_loss_before_fees_once_everything_is_closed(trade: OpenTrade) -> None:
    assert trade.spent == 995 * UNITS**2
    trade.long.fill(OrderSide.SHORT, units("99.4"), units(4), 2)
    trade.long.fill(OrderSide.SHORT, units("99.4"), units(6), 3)
    assert trade.spent == 1 * UNITS**2
    trade.fees, trade.funding = D("0.5"), D("0.2")
    assert trade.charges == D("0.3")
