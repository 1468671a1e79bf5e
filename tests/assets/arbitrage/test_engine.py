"""The trader step by step: entry, leg-out, exits, funding, outages, restarts. Times in milliseconds after the start."""

from decimal import Decimal

import pytest

from assets.arbitrage.events import (
    EntryAbandoned,
    EntryRefused,
    Event,
    FundingPaid,
    Halted,
    LegOut,
    LegOutHedged,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderRefused,
    OrderSubmitted,
    TradeClosed,
    TradeExiting,
    TradeOpened,
    TradeProposed,
    Valued,
)
from assets.arbitrage.model import Leg, OrderStatus, OrderType, PaperTrade, Purpose, TradeStatus
from assets.arbitrage.portfolio import Portfolio
from assets.arbitrage.properties import naked_legs_alarmed, no_naked_leg
from assets.arbitrage.rules import MILLISECOND, Rules
from resources.feed import FUNDING_PERIOD_NS, Depth, FundingQuote, Quote
from tests.assets.arbitrage.trader_parts import (
    NORTH,
    START,
    D,
    Desk,
    fold,
    listing,
    units,
    unrealized_of,
)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def milliseconds(event: Event) -> float:
    return (event.time_ns - START) / MILLISECOND


def submitted(desk: Desk) -> list[tuple[Leg, Purpose, OrderType, Decimal]]:
    return [(o.leg, o.purpose, o.order_type, o.size) for o in desk.log if isinstance(o, OrderSubmitted)]


def sound(desk: Desk) -> None:
    desk.auditor.finish(desk.now)
    assert desk.auditor.problems == []
    assert fold(desk.log).state() == desk.portfolio.state()


# Entry


def test_an_opportunity_becomes_a_trade_with_equal_legs(desk: Desk) -> None:
    trade = desk.open_trade()
    # 100 bp of spread at a cost of 20 of it: four fifths, capped at half of 20,000, over 101, down to steps of 0.05.
    assert trade.quantity == D("99")
    assert trade.position_size_usd == 10_000
    assert trade.entry_long_price == 100
    assert trade.entry_short_price == 101
    assert desk.portfolio.available == 10_000 - trade.fees_usd
    assert trade.fees_usd == D("99") * (100 + 101) * D("0.0005")
    assert submitted(desk) == [
        (Leg.LONG, Purpose.ENTRY, OrderType.LIMIT, D("99")),
        (Leg.SHORT, Purpose.ENTRY, OrderType.LIMIT, D("99")),
    ]
    # Each leg took its venue's latency, the second one sent when the first was filled.
    assert [milliseconds(fill) for fill in desk.words(OrderFilled)] == [10, 30]
    top_long, top_short = desk.engine.exchange.top(0), desk.engine.exchange.top(1)
    assert top_long is not None
    assert top_short is not None
    assert trade.entry_unrealized_usd == unrealized_of(trade, desk.listings, top_long.bid, top_short.ask)
    sound(desk)


def test_the_harder_leg_is_sent_first_and_rests_where_its_queue_is_quick(desk: Desk) -> None:
    desk.rates()
    desk.calm()
    for _ in range(10):
        desk.trade(0, 99.99, 4_000, buyer_is_aggressor=False)
        desk.trade(1, 101.01, 1_000, buyer_is_aggressor=True)
    desk.apart()
    proposed = desk.last(TradeProposed)
    # 0.2 x 400 waits behind 10,000 / 60 a second on the short leg, behind four times as much on the long one.
    assert proposed.harder_leg is Leg.SHORT
    assert "0.48 s" in proposed.harder_reason
    assert "0.12 s" in proposed.harder_reason
    assert [(o.leg, o.price) for o in desk.words(OrderSubmitted)] == [(Leg.SHORT, D("101.01"))]
    desk.wait(20)
    assert desk.last(OrderAccepted).resting_depth == 400
    desk.trade(1, 101.01, 80, buyer_is_aggressor=True)  # the threshold, and nothing beyond it
    assert desk.words(OrderFilled) == []
    desk.trade(1, 101.01, 500, buyer_is_aggressor=True)
    assert desk.last(OrderFilled).fee == D("99") * D("101.01") * D("0.0002")  # a maker's
    desk.wait(10)
    assert desk.only_trade.status is TradeStatus.ACTIVE
    sound(desk)


def test_the_second_leg_meets_only_what_the_first_has_filled(desk: Desk) -> None:
    desk.rates()
    desk.apart()
    desk.quote(0, 99.99, 100, ask_size=30.01)  # on arrival less is left than was asked for
    desk.wait(10)
    assert desk.only_trade.orders[desk.last(OrderFilled).order_id].filled_size == D("30.01")
    # 30.01 is not on the other venue's grid of 0.025.
    assert submitted(desk)[1:] == [(Leg.SHORT, Purpose.ENTRY, OrderType.LIMIT, D("30"))]
    desk.quote(1, 101, 101.01)
    desk.wait(480)
    # At the deadline the rest of the first leg is cancelled and the last hundredth sold again.
    desk.quote(0, 99.99, 100.01)
    desk.quote(1, 101, 101.01)
    desk.wait(30)
    trade = desk.only_trade
    assert (trade.status, trade.quantity) == (TradeStatus.ACTIVE, D(30))
    assert submitted(desk)[2:] == [(Leg.LONG, Purpose.UNWIND, OrderType.MARKET, D("0.01"))]
    sound(desk)


def test_a_first_leg_that_does_not_fill_is_no_trade(desk: Desk) -> None:
    desk.rates()
    desk.apart()
    desk.quote(0, 99.99, 100.6)  # the ask ran away before the order arrived
    desk.wait(520)
    assert [type(event) for event in desk.log[-2:]] == [OrderCancelled, EntryAbandoned]
    assert milliseconds(desk.log[-2]) == 510  # asked for at 500, acknowledged 10 later
    assert desk.portfolio.available == 20_000
    assert desk.portfolio.leg_out_count == 0
    sound(desk)


def test_filled_at_exactly_half_a_second_is_in_time(desk: Desk) -> None:
    desk.rates()
    desk.apart()
    desk.quote(0, 99.99, 100.6)
    desk.wait(500 - 0.000001)
    assert desk.words(OrderCancelled) == []
    desk.now = START + 500 * MILLISECOND
    desk.quote(0, 99.99, 100)
    assert milliseconds(desk.last(OrderFilled)) == 500
    desk.wait(40)
    assert desk.only_trade.status is TradeStatus.ACTIVE
    sound(desk)


def test_a_fill_that_races_the_cancellation_wins_and_goes_on(desk: Desk) -> None:
    desk.rates()
    desk.apart()
    desk.quote(0, 99.99, 100.6)
    desk.wait(505)  # the cancellation is on its way
    desk.quote(0, 99.99, 100)
    assert milliseconds(desk.last(OrderFilled)) == 505
    desk.wait(60)
    # Nothing was left to wait for: the other leg was completed at the market.
    assert milliseconds(desk.last(LegOut)) == 505
    assert submitted(desk)[1:] == [(Leg.SHORT, Purpose.HEDGE, OrderType.MARKET, D("99"))]
    assert desk.only_trade.status is TradeStatus.ACTIVE
    assert desk.portfolio.leg_out_count == 1
    sound(desk)


@pytest.mark.parametrize(
    ("short_bid", "purpose", "status"),
    [
        (100.7, Purpose.HEDGE, TradeStatus.ACTIVE),  # still worth having after slippage and fee
        (100.1, Purpose.UNWIND, TradeStatus.CLOSED),
    ],
)
def test_a_missing_leg_is_completed_or_the_filled_one_taken_back(
    desk: Desk, short_bid: float, purpose: Purpose, status: TradeStatus
) -> None:
    desk.rates()
    desk.apart()
    desk.wait(10)
    assert len(desk.words(OrderFilled)) == 1
    desk.quote(1, 100, 101.5)  # the bid is gone: the order rests at a price of its own
    desk.wait(300)
    desk.quote(1, short_bid, short_bid + 0.01)
    desk.wait(200)
    leg_out = desk.last(LegOut)
    # The first leg was filled at 10: the deadline is 500 later, less one cancellation and three hedges of 20 each.
    assert milliseconds(leg_out) == 10 + 500 - 80
    assert (leg_out.filled_leg, leg_out.naked_quantity) == (Leg.LONG, D("99"))
    assert submitted(desk)[-1][1] is purpose
    hedged = desk.last(LegOutHedged)
    assert milliseconds(hedged) <= 510
    trade = desk.only_trade
    assert trade.status is status
    assert trade.leg_out_event is not None
    assert trade.leg_out_event.hedge_executed
    fill = desk.last(OrderFilled)
    assert hedged.hedge_price == fill.price
    if purpose is Purpose.HEDGE:
        assert hedged.cost == D("99") * (101 - fill.price)
    else:
        first_fee = desk.words(OrderFilled)[0].fee
        assert hedged.cost == D("99") * (100 - fill.price) + first_fee + fill.fee
        assert trade.exit_reason == "leg_out"
        assert trade.actual_profit_usd == -hedged.cost
        assert trade.gross_profit_usd == 0
        assert desk.portfolio.cumulative_pnl == desk.portfolio.gross_profit - desk.portfolio.leg_out_total_loss
    sound(desk)


def test_a_hedge_that_is_refused_is_tried_the_other_way(desk: Desk) -> None:
    desk.rates()
    desk.apart()
    desk.wait(10)
    desk.quote(1, 100, 101.5)
    desk.wait(415)
    desk.quote(1, 100.9, 101.5)
    desk.wait(30)  # cancelled at 450, the completing order sent
    assert submitted(desk)[-1][1] is Purpose.HEDGE
    desk.quote(1, 100.9, 101.5, bid_size=1)  # gone before it arrives
    desk.wait(40)
    assert desk.last(OrderRefused).reason == "insufficient_depth"
    assert submitted(desk)[-1][1] is Purpose.UNWIND
    assert desk.only_trade.status is TradeStatus.CLOSED
    assert desk.portfolio.halted == ""
    sound(desk)


def test_a_naked_leg_without_books_halts_the_trader_and_is_not_forgotten(desk: Desk) -> None:
    desk.rates()
    desk.apart()
    desk.wait(10)
    desk.quote(1, 100, 100.01)
    desk.wait(1)
    desk.interrupt(0)
    desk.interrupt(1)
    desk.wait(2_000)
    halted = desk.last(Halted)
    assert milliseconds(halted) == 510  # half a second after the fill
    assert "99 SOL long on north" in halted.reason
    desk.quote(0, 99.5, 99.6)
    desk.wait(10)
    assert desk.only_trade.status is TradeStatus.CLOSED
    assert milliseconds(desk.last(LegOutHedged)) == pytest.approx(2_021)
    desk.wait(70_000)
    desk.apart()
    assert len(desk.words(TradeProposed)) == 1  # nothing is entered any more
    sound(desk)


def test_the_longest_naked_leg_is_told_once_and_counts_what_came_and_went(desk: Desk) -> None:
    assert desk.engine.take_longest_naked_ns() is None
    desk.open_trade()
    assert desk.engine.naked_since_ns is None
    assert desk.engine.take_longest_naked_ns() == 20 * MILLISECOND  # between the fills at 10 and at 30
    assert desk.engine.take_longest_naked_ns() is None
    desk.wait(1_000)
    desk.quote(0, 99, 99.01)
    desk.quote(1, 101, 101.01)
    desk.wait(15)
    assert desk.engine.take_longest_naked_ns() == 5 * MILLISECOND  # and goes on
    desk.wait(60)
    assert desk.only_trade.status is TradeStatus.CLOSED
    assert desk.engine.take_longest_naked_ns() == 10 * MILLISECOND
    assert desk.engine.take_longest_naked_ns() is None


def test_a_shallow_book_hedges_what_it_can(desk: Desk) -> None:
    desk.rates()
    desk.apart()
    desk.wait(10)
    desk.quote(1, 100, 101.5, bid_size=30)
    desk.quote(0, 99, 99.01, bid_size=30)
    desk.wait(440)
    # 50 of 99 fit five thirds of 30; the rest fits the other venue.
    assert submitted(desk)[-1] == (Leg.LONG, Purpose.UNWIND, OrderType.MARKET, D(50))
    desk.wait(30)
    assert submitted(desk)[-1] == (Leg.SHORT, Purpose.HEDGE, OrderType.MARKET, D(49))
    assert (desk.only_trade.status, desk.only_trade.quantity) == (TradeStatus.ACTIVE, D(49))
    assert milliseconds(desk.last(LegOutHedged)) < 510
    sound(desk)


def test_refusals_while_nothing_is_naked_are_no_attempts_to_hedge(desk: Desk) -> None:
    """Both venues go away under four market exits in a row; then one leg is sold and the other order refused once."""
    desk.open_trade()
    for _ in range(5):
        desk.quote(0, 95, 95.01)
        desk.quote(1, 101, 101.01)
        desk.wait(5)
        desk.interrupt(0)
        desk.interrupt(1)
        desk.wait(40)
    assert len(desk.words(OrderRefused)) >= 8
    desk.quote(0, 95, 95.01)
    desk.quote(1, 101, 101.01)
    desk.wait(12)
    desk.interrupt(1)
    desk.wait(30)
    assert isinstance(desk.last(LegOut), LegOut)
    assert desk.words(Halted) == []
    desk.quote(1, 101, 101.01)
    desk.wait(60)
    assert desk.only_trade.status is TradeStatus.CLOSED
    assert desk.portfolio.halted == ""
    sound(desk)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"rules": Rules(starting_capital=D(60))}, "insufficient_capital"),
        ({"listings": (NORTH, listing("south", 101))}, "latency"),
        ({"listings": (NORTH, listing("south", 20, "0.025", min_notional="20000"))}, "below_min_notional"),
        ({"listings": (NORTH, listing("south", 20, "200"))}, "below_minimum"),
    ],
)
def test_refused_entries_say_why_once(change: dict[str, object], reason: str) -> None:
    desk = Desk(**change)  # type: ignore[arg-type]
    desk.rates()
    desk.apart()
    desk.apart()
    assert [event.reason for event in desk.words(EntryRefused)] == [reason]
    desk.quote(1, 99.99, 100)
    desk.wait(1)
    desk.apart()
    assert [event.reason for event in desk.words(EntryRefused)] == [reason] * 2
    assert desk.portfolio.available == desk.rules.starting_capital


def test_a_trade_whose_costs_cannot_be_paid_is_not_entered() -> None:
    """The smallest trade takes 100 of 100.02: its fees made what was available negative, which halted the trader."""
    desk = Desk(rules=Rules(starting_capital=D("100.02")))
    desk.rates()
    desk.apart()
    assert [event.reason for event in desk.words(EntryRefused)] == ["insufficient_capital"]
    enough = Desk(rules=Rules(starting_capital=D("100.5")))
    trade = enough.open_trade()
    assert enough.portfolio.available == D("0.5") - trade.fees_usd > trade.fees_usd
    assert enough.portfolio.halted == ""
    sound(enough)


def test_no_entry_where_the_funding_exit_already_holds(desk: Desk) -> None:
    desk.rate(0, "0.0001")
    desk.rate(1, "0.0001499")
    desk.apart()
    assert [event.reason for event in desk.words(EntryRefused)] in (["funding_converged"], [])
    assert desk.words(TradeProposed) == []
    wide = Desk()
    wide.rate(0, "0.0001")
    wide.rate(1, "0.0001499")
    wide.quote(0, 99.99, 100, 4_000, 4_000)
    wide.quote(1, 104, 104.01, 4_000, 4_000)
    assert [event.reason for event in wide.words(EntryRefused)] == ["funding_converged"]


@pytest.mark.parametrize(("settles_in_s", "funding"), [(1, "2.97"), (600, "2.97"), (601, "0")])
def test_a_settlement_beyond_the_expected_hold_promises_nothing(desk: Desk, settles_in_s: int, funding: str) -> None:
    """3 bp of 9,900 are received within ten minutes or not counted on."""
    settles = desk.now + settles_in_s * 1_000 * MILLISECOND
    desk.feed(FundingQuote(desk.now, 0, D("0.0001"), settles, FUNDING_PERIOD_NS))
    desk.feed(FundingQuote(desk.now, 1, D("0.0004"), settles, FUNDING_PERIOD_NS))
    desk.quote(0, 99.99, 100)
    desk.quote(1, 101, 101.01)
    proposed = desk.last(TradeProposed)
    without = 99 * (1 - D("0.001") * 201 - D("0.01"))
    assert proposed.projected_profit_usd == without + D(funding)


def test_no_entry_on_thin_or_aging_books(desk: Desk) -> None:
    desk.rates()
    desk.quote(0, 99.99, 100, ask_size=1.5)
    desk.quote(1, 101, 101.01)
    assert [event.reason for event in desk.words(EntryRefused)] == ["insufficient_depth"]
    aging = Desk()
    aging.rates()
    aging.quote(0, 99.99, 100, 4_000, 4_000)
    aging.wait(4_001)  # still usable, but no more when a hedge might be needed
    aging.quote(1, 101, 101.01, 4_000, 4_000)
    assert [event.reason for event in aging.words(EntryRefused)] == ["stale_quote"]


def test_spot_is_never_the_short_leg() -> None:
    desk = Desk((NORTH, listing("spot", 20, can_short=False)))
    desk.rate(0, "0.0004")
    desk.apart()
    assert desk.words(TradeProposed) == []
    desk.quote(0, 101, 101.01)
    desk.quote(1, 99.99, 100)
    assert desk.last(TradeProposed).short_exchange == "north"


def test_one_trade_of_a_pair_and_a_pause_after_it(desk: Desk) -> None:
    desk.open_trade()
    desk.wait(1_000)
    desk.apart()
    assert len(desk.words(TradeProposed)) == 1
    desk.calm()
    desk.wait(520)
    desk.quote(0, 99.98, 99.99)
    desk.quote(1, 100, 100.01)
    desk.wait(3_000)
    desk.calm()
    desk.wait(2_500)
    closed = desk.last(TradeClosed)
    desk.now = closed.time_ns + desk.rules.reentry_pause_ns - 1
    desk.apart()
    assert len(desk.words(TradeProposed)) == 1
    desk.now += 1
    desk.apart()
    assert len(desk.words(TradeProposed)) == 2
    sound(desk)


def test_stopped_enters_nothing_and_finishes_what_it_has(desk: Desk) -> None:
    desk.rates()
    desk.engine.stop()
    desk.apart()
    assert desk.words(TradeProposed) == []
    other = Desk()
    other.rates()
    other.apart()
    assert other.engine.busy
    other.engine.stop()
    other.wait(40)
    assert other.only_trade.status is TradeStatus.ACTIVE
    assert not other.engine.busy


# Exit


def test_profit_target_leaves_by_limits_on_both_sides(desk: Desk) -> None:
    trade = desk.open_trade()
    desk.wait(10_000)
    desk.quote(0, 100.5, 100.51)
    desk.quote(1, 100.51, 100.52)
    exiting = desk.last(TradeExiting)
    assert (exiting.reason, exiting.conditions) == ("profit_target", ("profit_target",))
    assert exiting.unrealized_pnl >= D("0.9") * trade.projected_profit_usd
    assert exiting.unrealized_pnl == unrealized_of(trade, desk.listings, units("100.5"), units("100.52"))
    exits = [order for order in desk.words(OrderSubmitted) if order.purpose is Purpose.EXIT]
    assert [(order.leg, order.price) for order in exits] == [(Leg.LONG, D("100.51")), (Leg.SHORT, D("100.51"))]
    desk.wait(30)
    desk.trade(0, 100.51, 600, buyer_is_aggressor=True)
    desk.trade(1, 100.51, 600, buyer_is_aggressor=False)
    closed = desk.only_trade
    assert closed.status is TradeStatus.CLOSED
    gross = D("99") * ((D("100.51") - 100) + (101 - D("100.51")))
    assert closed.actual_profit_usd == gross - closed.fees_usd
    assert desk.portfolio.win_count == 1
    assert desk.portfolio.available == 20_000 + closed.actual_profit_usd
    sound(desk)


def test_one_exit_filled_and_the_other_not_is_a_leg_out(desk: Desk) -> None:
    desk.open_trade()
    desk.wait(10_000)
    desk.quote(0, 100.5, 100.51)
    desk.quote(1, 100.51, 100.52)
    begun = desk.now
    desk.wait(100)
    desk.trade(0, 100.51, 600, buyer_is_aggressor=True)
    filled = desk.now
    desk.wait(600)
    leg_out = desk.last(LegOut)
    assert (leg_out.phase, leg_out.filled_leg, leg_out.filled_at) == (Purpose.EXIT, Leg.LONG, filled)
    assert leg_out.time_ns == begun + 500 * MILLISECOND
    hedged = desk.last(LegOutHedged)
    assert hedged.time_ns == leg_out.time_ns + 2 * 20 * MILLISECOND  # cancelled, then bought
    fill = desk.last(OrderFilled)
    assert fill.slippage_bps == 2
    assert hedged.cost == D("99") * (fill.price - D("100.51"))
    trade = desk.only_trade
    assert trade.exit_reason == "profit_target"
    assert trade.exit_leg_out_event is not None
    assert trade.actual_profit_usd == trade.gross_profit_usd - trade.leg_out_cost_usd  # type: ignore[operator]
    sound(desk)


def test_unfilled_exits_are_quoted_again_then_sent_to_the_market(desk: Desk) -> None:
    desk.open_trade()
    desk.wait(10_000)
    desk.quote(0, 100.5, 100.51)
    desk.quote(1, 100.51, 100.52)
    desk.wait(2_400)
    rounds = [order for order in desk.words(OrderSubmitted) if order.purpose is Purpose.EXIT]
    limits = [order for order in rounds if order.order_type is OrderType.LIMIT]
    assert len(limits) == 2 * (1 + desk.rules.exit_requotes)
    assert [order.order_type for order in rounds[-2:]] == [OrderType.MARKET] * 2
    assert desk.only_trade.status is TradeStatus.CLOSED
    assert desk.portfolio.leg_out_count == 0
    sound(desk)


def test_the_loss_limit_goes_to_the_market_at_once(desk: Desk) -> None:
    trade = desk.open_trade()
    desk.wait(1_000)
    desk.quote(0, 99, 99.01)
    desk.quote(1, 101, 101.01)
    exiting = desk.last(TradeExiting)
    assert exiting.reason == "loss_limit"
    assert exiting.unrealized_pnl - trade.entry_unrealized_usd <= D("-0.3") * trade.projected_profit_usd  # type: ignore[operator]
    # An eighth of what both books show, then of what that left of them.
    assert submitted(desk)[2:] == [(leg, Purpose.EXIT, OrderType.MARKET, D("50")) for leg in Leg]
    desk.wait(60)
    assert [order[2:] for order in submitted(desk)[4:]] == [
        (OrderType.MARKET, size) for size in (D("43.75"), D("43.75"), D("5.25"), D("5.25"))
    ]
    assert desk.only_trade.status is TradeStatus.CLOSED
    assert desk.portfolio.loss_count == 1
    sound(desk)


def test_a_loss_leaves_in_slices_that_books_thinned_by_nine_tenths_still_take(desk: Desk) -> None:
    """Each time orders are under way one of the two books falls to a tenth: no order is refused and nothing stays naked
    for longer than the two venues' latencies differ."""
    desk.open_trade()
    desk.wait(1_000)
    desk.quote(0, 99, 99.01)
    desk.quote(1, 101, 101.01)
    begun = desk.now
    thin = 0
    while desk.only_trade.status is not TradeStatus.CLOSED:
        desk.wait(5)
        desk.quote(thin, *((99, 99.01), (101, 101.01))[thin], 40, 40)
        desk.wait(16)
        desk.quote(0, 99, 99.01)
        desk.quote(1, 101, 101.01)
        thin = 1 - thin
    assert desk.words(OrderRefused) == []
    assert desk.words(LegOut) == []
    assert desk.auditor.longest_naked <= 20 * MILLISECOND  # of the entry; 10 of each slice
    assert desk.last(TradeClosed).time_ns - begun < 100 * MILLISECOND
    sound(desk)


def test_a_slice_of_which_one_leg_is_refused_is_hedged_alone(desk: Desk) -> None:
    """Not with all the rest behind it: the hedge takes no more than the slice, and the next slice waits for it."""
    desk.open_trade()
    desk.wait(1_000)
    desk.quote(0, 99, 99.01)
    desk.quote(1, 101, 101.01)
    desk.wait(12)
    assert [order.size for order in desk.words(OrderSubmitted)[2:]] == [D("50")] * 2
    desk.quote(1, 101, 101.01, 29, 29)  # 50 do not fit five thirds of 29
    desk.wait(9)
    assert isinstance(desk.last(OrderRefused), OrderRefused)
    hedge = desk.last(OrderSubmitted)
    assert (hedge.purpose, hedge.leg, hedge.size) == (Purpose.HEDGE, Leg.SHORT, D("48.325"))
    desk.quote(1, 101, 101.01)
    desk.wait(100)
    assert desk.only_trade.status is TradeStatus.CLOSED
    assert desk.auditor.longest_naked < 100 * MILLISECOND
    sound(desk)


def test_a_loss_overtakes_an_exit_by_limits(desk: Desk) -> None:
    desk.open_trade()
    desk.wait(1_000)
    desk.apart()
    desk.rate(1, "0.0001")
    assert desk.last(TradeExiting).reason == "funding_convergence"
    desk.wait(100)
    desk.quote(0, 98, 98.01)
    desk.wait(100)
    assert desk.only_trade.status is TradeStatus.CLOSED
    assert [order[2] for order in submitted(desk)[-2:]] == [OrderType.MARKET] * 2
    sound(desk)


def test_stale_prices_suspend_exits(desk: Desk) -> None:
    desk.open_trade()
    desk.wait(5_100)
    desk.quote(0, 99, 99.01)  # a loss, but the other venue has been silent for more than five seconds
    desk.rate(1, "-0.01")
    assert desk.words(TradeExiting) == []
    desk.quote(1, 101, 101.01)
    assert desk.last(TradeExiting).conditions == ("loss_limit", "funding_convergence")
    sound(desk)


def test_a_rate_that_comes_while_a_book_is_gone_counts_once_the_book_is_back(desk: Desk) -> None:
    desk.open_trade()
    desk.apart()
    desk.quote(0, 100, 100)  # locked: no price to leave at
    desk.rate(1, "0.0001")
    assert desk.words(TradeExiting) == []
    desk.apart()
    assert desk.last(TradeExiting).reason == "funding_convergence"


def test_after_a_leg_out_on_the_way_out_the_rest_leaves_at_the_market(desk: Desk) -> None:
    """Books of 100 let a part of the 99 be quoted at once. Who was naked on the way out waits for no limits again."""
    desk.open_trade()
    desk.wait(10_000)
    desk.quote(0, 100.5, 100.51, 100, 100)
    desk.quote(1, 100.51, 100.52, 100, 100)
    quoted = submitted(desk)[2:]
    assert [order[:3] for order in quoted] == [(leg, Purpose.EXIT, OrderType.LIMIT) for leg in Leg]
    assert quoted[0][3] < 99
    desk.wait(100)
    desk.trade(0, 100.51, 600, buyer_is_aggressor=True)
    desk.wait(500)
    assert desk.last(LegOut).phase is Purpose.EXIT
    while desk.only_trade.status is not TradeStatus.CLOSED:
        desk.quote(0, 100.5, 100.51, 100, 100)
        desk.quote(1, 100.51, 100.52, 100, 100)
        desk.wait(100)
        assert desk.words(OrderSubmitted)[-1].order_type is OrderType.MARKET
    hedge, *rest = submitted(desk)[4:]
    assert hedge[:3] == (Leg.SHORT, Purpose.HEDGE, OrderType.MARKET)
    assert {order[1:3] for order in rest} == {(Purpose.EXIT, OrderType.MARKET)}
    sound(desk)


def test_a_round_of_exit_limits_has_its_own_half_second(desk: Desk) -> None:
    """The clock of a round that filled early does not end the next one."""
    desk.open_trade()
    desk.wait(10_000)
    desk.quote(0, 100.5, 100.51, 100, 100)
    desk.quote(1, 100.51, 100.52, 100, 100)
    desk.wait(300)
    desk.trade(0, 100.51, 600, buyer_is_aggressor=True)
    desk.trade(1, 100.51, 600, buyer_is_aggressor=False)
    assert [order[2] for order in submitted(desk)[4:]] == [OrderType.LIMIT] * 2
    desk.wait(499)
    assert desk.words(OrderCancelled) == []
    desk.wait(100)
    assert {event.reason for event in desk.words(OrderCancelled)} == {"timeout"}
    sound(desk)


def test_exit_limits_are_not_quoted_again_by_a_price_that_grows_old(desk: Desk) -> None:
    desk.open_trade()
    desk.wait(1_000)
    desk.apart()
    desk.wait(3_900)
    desk.quote(0, 99.99, 100)
    desk.rate(1, "0.0001")
    assert len(submitted(desk)) == 4
    desk.wait(550)  # what the other venue said would be older than five seconds before a second round is over
    assert len(desk.words(OrderCancelled)) == 2
    assert len(submitted(desk)) == 4
    desk.apart()
    assert [order[2] for order in submitted(desk)[4:]] == [OrderType.LIMIT] * 2
    sound(desk)


@pytest.mark.parametrize(("age_ms", "leaves"), [(4_900, True), (4_950, False)])
def test_a_loss_leaves_by_prices_that_outlast_a_hedge(desk: Desk, age_ms: int, leaves: bool) -> None:
    """One cancellation and three hedges take 80 ms at these venues, and a price is believed for five seconds."""
    desk.open_trade()
    desk.wait(1_000)
    desk.apart()
    desk.wait(age_ms)
    desk.quote(0, 99, 99.01)
    assert bool(desk.words(TradeExiting)) is leaves
    sound(desk)


@pytest.mark.parametrize(("age_ms", "leaves"), [(3_900, True), (4_100, False)])
def test_limits_leave_by_prices_that_outlast_them_and_a_hedge(desk: Desk, age_ms: int, leaves: bool) -> None:
    desk.open_trade()
    desk.wait(1_000)
    desk.apart()
    desk.wait(age_ms)
    desk.quote(0, 99.99, 100)
    desk.rate(1, "0.0001")
    assert bool(desk.words(TradeExiting)) is leaves
    sound(desk)


def test_funding_received_counts_towards_the_target_at_the_next_price(desk: Desk) -> None:
    desk.open_trade()
    desk.wait(1_000)
    desk.apart()
    assert desk.words(TradeExiting) == []
    desk.settle(1, "0.01", 100)
    desk.wait(1)
    desk.apart()
    assert desk.last(TradeExiting).reason == "profit_target"
    sound(desk)


def test_a_loss_of_more_than_all_capital_halts(desk: Desk) -> None:
    desk.open_trade()
    desk.wait(1_000)
    desk.quote(0, 1, 1.01)
    desk.quote(1, 250, 250.01)
    desk.wait(100)
    assert desk.only_trade.status is TradeStatus.CLOSED
    assert desk.portfolio.available < 0
    (halted,) = desk.words(Halted)
    assert halted.reason == "available capital is below zero"
    assert halted.seq < desk.last(TradeClosed).seq, "said with the fill that took it there"


def test_each_time_a_trade_is_naked_for_too_long_is_alarmed(desk: Desk) -> None:
    desk.rates()
    desk.apart()
    desk.wait(10)
    desk.interrupt(0)
    desk.interrupt(1)
    desk.wait(600)
    assert len(desk.words(Halted)) == 1
    desk.quote(1, 101, 101.01)  # the only way open is to complete the trade
    desk.wait(60)
    assert desk.only_trade.status is TradeStatus.ACTIVE
    desk.quote(0, 95, 95.01)
    desk.quote(1, 101, 101.01)
    desk.wait(5)
    desk.interrupt(1)  # one leg is sold, the other is not bought back
    desk.wait(600)
    assert len(desk.words(Halted)) == 2
    sound(desk)


def test_a_hedge_refused_for_the_third_time_halts_at_once_and_the_next_naked_leg_counts_anew(desk: Desk) -> None:
    desk.open_trade()
    desk.wait(1_000)
    desk.quote(0, 99, 99.01)
    desk.quote(1, 101, 101.01)
    desk.wait(12)  # one leg's first slice is sold
    for refused in range(1, 4):
        assert desk.words(Halted) == []
        desk.interrupt(1)  # before the order arrives
        desk.wait(25)
        assert len(desk.words(OrderRefused)) == refused
        assert desk.last(LegOut).phase is Purpose.EXIT
        desk.quote(1, 101, 101.01)
    assert desk.last(Halted).time_ns == desk.last(OrderRefused).time_ns
    desk.wait(25)
    assert desk.engine.naked_since_ns is None
    assert submitted(desk)[-1][1] is Purpose.EXIT, "hedged, and the next slice is under way"
    desk.interrupt(1)
    desk.wait(25)
    assert len(desk.words(OrderRefused)) == 4
    assert len(desk.words(Halted)) == 1
    desk.quote(0, 99, 99.01)
    desk.quote(1, 101, 101.01)
    desk.wait(200)
    assert desk.only_trade.status is TradeStatus.CLOSED
    sound(desk)


def test_nothing_more_is_sent_while_an_order_of_the_slice_is_still_under_way(desk: Desk) -> None:
    """One order of the two is refused and its venue comes back at once: another slice now would close the other leg
    twice."""
    desk.open_trade()
    desk.wait(1_000)
    desk.quote(0, 99, 99.01)
    desk.quote(1, 101, 101.01)
    desk.wait(5)
    desk.interrupt(0)
    desk.wait(7)
    assert len(desk.words(OrderRefused)) == 1
    desk.quote(0, 99, 99.01)
    assert len(submitted(desk)) == 4
    desk.wait(10)
    assert submitted(desk)[4:] == [(Leg.LONG, Purpose.HEDGE, OrderType.MARKET, D("50"))]
    desk.wait(100)
    assert desk.only_trade.status is TradeStatus.CLOSED
    sound(desk)


def test_what_has_left_already_is_no_part_of_a_later_loss(desk: Desk) -> None:
    """Half is sold at the target; what is left of the trade has not lost what the whole of it would have."""
    desk.open_trade()
    desk.wait(10_000)
    desk.quote(0, 100.5, 100.51, 100, 100)
    desk.quote(1, 100.51, 100.52, 100, 100)
    desk.wait(100)
    desk.trade(0, 100.51, 600, buyer_is_aggressor=True)
    desk.trade(1, 100.51, 600, buyer_is_aggressor=False)
    desk.wait(30)
    desk.quote(0, 99.5, 99.51)
    desk.quote(1, 100.8, 100.81)
    desk.wait(100)
    assert desk.words(OrderCancelled) == []
    desk.quote(1, 103, 103.01)
    assert [order[2] for order in submitted(desk)[4:]] == [OrderType.LIMIT] * 2
    desk.wait(60)
    assert len(desk.words(OrderCancelled)) == 2
    assert submitted(desk)[-1][2] is OrderType.MARKET
    sound(desk)


def test_an_unknown_rate_is_no_convergence(desk: Desk) -> None:
    desk.open_trade()
    desk.now += 8 * 3600 * 10**9  # both rates were settled
    desk.apart()
    assert desk.words(TradeExiting) == []
    desk.rate(0, "0.0001")
    desk.rate(1, "0.0001")
    assert desk.last(TradeExiting).reason == "funding_convergence"


# Funding, value, capital


def test_funding_is_paid_on_what_was_held_strictly_before(desk: Desk) -> None:
    desk.rates()
    desk.apart()
    desk.wait(30)
    desk.settle(1, "0.0004", 100.5)  # the short leg was filled in this very nanosecond
    assert desk.only_trade.status is TradeStatus.ACTIVE
    assert desk.words(FundingPaid) == []
    desk.wait(1)
    desk.settle(1, "0.0004", 100.5)
    desk.settle(0, "0.0001", 100.4)
    received, paid = desk.words(FundingPaid)
    assert received.amount == D("99") * D("100.5") * D("0.0004")
    assert paid.amount == -D("99") * D("100.4") * D("0.0001")
    assert desk.only_trade.funding_usd == received.amount + paid.amount
    assert desk.portfolio.available == 10_000 - desk.only_trade.fees_usd + desk.only_trade.funding_usd
    sound(desk)


def test_impossible_settlements_are_counted(desk: Desk) -> None:
    desk.open_trade()
    desk.settle(1, "NaN", 100)
    desk.settle(1, "1.01", 100)  # more than all there is
    desk.settle(1, "0.0001", 0)
    assert desk.engine.rejected == {"funding_malformed": 3}
    assert desk.words(FundingPaid) == []


def test_the_portfolio_is_valued_each_minute_and_says_what_it_cannot_value(desk: Desk) -> None:
    trade = desk.open_trade()
    desk.wait(59_000)
    desk.apart()
    desk.wait(1_000)
    desk.wait(60_000)
    known, unknown = desk.words(Valued)
    assert known.time_ns % (60 * 10**9) == 0
    net = unrealized_of(trade, desk.listings, units("99.99"), units("101.01"))
    # What is not posted yet: without the fees already paid.
    assert known.unrealized == net + trade.fees_usd
    assert known.available_capital + known.total_open_positions + known.unrealized == 20_000 + net
    assert (unknown.unrealized, unknown.missing) == (None, ("north SOLUSDT", "south SOLUSDT"))


def test_no_capital_left_halts(desk: Desk) -> None:
    desk.open_trade()
    for _ in range(4):
        desk.settle(1, "-0.3", 100)
        desk.wait(1)
    assert desk.portfolio.available < 0
    assert [event.reason for event in desk.words(Halted)] == ["available capital is below zero"]


# Odd input


def test_time_does_not_go_back_and_strangers_are_counted(desk: Desk) -> None:
    desk.open_trade()
    before = list(desk.log)
    desk.engine.on_event(Quote(desk.now - 1, 0, 1, 1, 2, 1))
    desk.engine.on_event(Quote(desk.now, 9, 1, 1, 2, 1))
    desk.engine.on_event(Quote(desk.now, -1, 1, 1, 2, 1))
    assert desk.engine.rejected == {"out_of_order": 1, "unknown_listing": 2}
    assert desk.log == before


def test_a_book_is_as_good_as_quotes_until_it_crosses(desk: Desk) -> None:
    def book(index: int, bid: float, ask: float) -> None:
        desk.feed(Depth(desk.now, index, ((units(bid), units(400)),), ((units(ask), units(400)),), snapshot=True))

    desk.rates()
    book(0, 99.99, 100)
    book(1, 101, 101.01)
    desk.wait(40)
    assert desk.only_trade.status is TradeStatus.ACTIVE
    book(0, 98, 97)
    book(1, 101, 101.01)
    assert desk.words(TradeExiting) == []
    book(0, 98, 98.01)
    assert desk.last(TradeExiting).reason == "loss_limit"
    sound(desk)


# The log


def eventful(desk: Desk) -> Desk:
    """Two trades: one left by the loss limit, one entered and left with a leg-out each."""
    desk.open_trade()
    desk.wait(1_000)
    desk.settle(1, "0.0004", 100.5)
    desk.quote(0, 99, 99.01)
    desk.quote(1, 101, 101.01)
    desk.wait(61_000)
    desk.rates()
    desk.apart()
    desk.wait(10)
    desk.quote(1, 100.6, 100.61)
    desk.wait(460)
    desk.quote(1, 100.6, 100.61)
    desk.wait(60)
    desk.quote(0, 100.5, 100.51)
    desk.quote(1, 100.1, 100.11)
    desk.wait(100)
    desk.trade(0, 100.51, 600, buyer_is_aggressor=True)
    desk.wait(600)
    return desk


def test_the_same_input_gives_the_same_bytes(desk: Desk) -> None:
    eventful(desk)
    assert len(desk.words(TradeClosed)) == 2
    assert [event.phase for event in desk.words(LegOut)] == [Purpose.ENTRY, Purpose.EXIT]
    assert eventful(Desk()).lines() == desk.lines()
    sound(desk)


def test_a_kill_after_any_event_leaves_nothing_naked_and_no_order_behind() -> None:
    whole = eventful(Desk())
    for prefix in range(1, len(whole.log) + 1):
        desk = Desk()
        desk.log = list(whole.log)
        before = fold(whole.log[:prefix])
        naked = [
            trade.id
            for trade in before.open_trades
            if before.holding(trade.id, Leg.LONG).quantity != before.holding(trade.id, Leg.SHORT).quantity
        ]
        desk.now = whole.log[prefix - 1].time_ns + 3_000 * MILLISECOND
        desk.restart(prefix)
        assert desk.portfolio.seq + 1 == len(desk.log)
        for trade in (*desk.portfolio.open_trades, *desk.portfolio.closed_trades):
            assert all(order.status is not OrderStatus.PENDING for order in trade.orders.values())
        desk.wait(100)
        desk.apart()
        desk.wait(100)
        for trade in desk.portfolio.open_trades:
            held = {leg: desk.portfolio.holding(trade.id, leg).quantity for leg in Leg}
            assert trade.status is TradeStatus.ACTIVE
            assert held[Leg.LONG] == held[Leg.SHORT] == trade.quantity
        assert not desk.engine.busy
        # What was naked at the kill has been so for three seconds, and the log says it.
        assert [trade_id for trade_id in naked if trade_id not in desk.portfolio.halted] == []
        assert bool(desk.portfolio.halted) == bool(naked)
        assert no_naked_leg(desk.log, Portfolio()) == []
        assert len(naked_legs_alarmed(desk.log, Portfolio())) == len(naked)
        sound(desk)


def test_a_restarted_trader_goes_on_with_its_active_trade(desk: Desk) -> None:
    trade = desk.open_trade()
    desk.wait(1_000)
    desk.restart()
    assert desk.only_trade == trade
    desk.quote(0, 99, 99.01)
    desk.quote(1, 101, 101.01)
    assert desk.last(TradeExiting).reason == "loss_limit"
    desk.wait(60)
    assert desk.only_trade.status is TradeStatus.CLOSED
    sound(desk)


@pytest.mark.parametrize("dead_ms", [0, 100, 499, 500])
def test_the_clock_of_a_naked_leg_goes_on_over_a_restart(desk: Desk, dead_ms: int) -> None:
    desk.rates()
    desk.apart()
    desk.wait(10)
    filled = desk.now
    desk.now += dead_ms * MILLISECOND
    desk.restart()
    assert isinstance(desk.log[-1], LegOut)
    assert desk.engine.naked_since_ns == filled
    desk.wait(600)
    assert desk.last(Halted).time_ns == filled + 500 * MILLISECOND
    desk.apart()
    desk.wait(60)
    assert not any(desk.auditor.naked_since)
    assert desk.words(Halted) == [desk.last(Halted)]
    sound(desk)


def test_a_leg_that_was_naked_too_long_before_the_restart_is_alarmed_at_once(desk: Desk) -> None:
    desk.rates()
    desk.apart()
    desk.wait(10)
    desk.now += 500 * MILLISECOND + 1
    desk.restart()
    assert desk.last(Halted).time_ns == desk.now
    assert desk.only_trade.id in desk.portfolio.halted
    desk.apart()
    desk.wait(60)
    assert desk.only_trade.status is not TradeStatus.PENDING
    assert no_naked_leg(desk.log, Portfolio()) == []
    (sentence,) = naked_legs_alarmed(desk.log, Portfolio())
    assert desk.only_trade.id in sentence
    # A second restart has nothing to say again.
    desk.restart()
    assert len(desk.words(Halted)) == 1
    sound(desk)


@pytest.mark.parametrize("entering", [True, False])
def test_what_a_hedge_has_cost_so_far_outlives_a_kill(entering: bool) -> None:
    def played(killed: bool) -> PaperTrade:
        desk = Desk()
        if entering:
            desk.rates()
            desk.apart()
            desk.wait(10)
            desk.quote(0, 99, 99.01, bid_size=30)
            desk.interrupt(1)  # 99 are bought and cannot be sold there
            desk.wait(35)  # 50 of them are sold again where they came from
        else:
            desk.open_trade()
            desk.quote(0, 95, 95.01)
            desk.quote(1, 101, 101.01)
            desk.wait(5)
            desk.interrupt(1)  # 50 are sold, and not bought back
            desk.wait(18)
            desk.quote(1, 102, 102.01, ask_size=12)
            desk.wait(22)  # 20 of them are, a dollar above
        hedge = list(desk.only_trade.orders.values())[-1]
        assert hedge.filled_size == (50 if entering else 20)
        if killed:
            desk.restart()
        desk.quote(0, 95, 95.01)
        desk.quote(1, 102, 102.01)
        desk.wait(200)
        assert desk.only_trade.status in (TradeStatus.CLOSED, TradeStatus.ACTIVE)
        sound(desk)
        return desk.only_trade

    whole, killed = played(False), played(True)
    assert whole.leg_out_cost_usd == killed.leg_out_cost_usd > 50
    assert whole.gross_profit_usd == killed.gross_profit_usd
    assert (whole.leg_out_event, whole.exit_leg_out_event) == (killed.leg_out_event, killed.exit_leg_out_event)


def test_a_trade_on_a_venue_that_is_gone_is_left_alone_until_it_is_back() -> None:
    south, west = listing("south", 20, "0.025"), listing("west", 20)
    desk = Desk((NORTH, south, west), Rules(max_capital_share=D("0.2"), reentry_pause_ns=0))
    desk.rates()
    desk.rate(2, "0.0004")
    desk.apart()
    desk.wait(40)
    desk.quote(2, 101, 101.01)
    desk.wait(40)
    gone, kept = desk.portfolio.open_trades
    assert (gone.short_exchange, kept.short_exchange) == ("south", "west")
    whole = desk.listings

    desk.listings = (NORTH, west)
    desk.restart()
    halted = desk.last(Halted)
    assert "south SOLUSDT" in halted.reason
    assert gone.id in halted.reason
    assert kept.id not in halted.reason
    desk.quote(0, 99, 99.01)
    desk.quote(1, 101, 101.01)
    desk.wait(100)
    assert [trade.id for trade in desk.portfolio.closed_trades] == [kept.id]
    assert desk.portfolio.open_trades == (gone,)
    desk.wait(60_000)
    valued = desk.last(Valued)
    assert (valued.unrealized, valued.missing) == (None, ("south SOLUSDT",))
    desk.restart()
    assert len(desk.words(Halted)) == 1, "it is said once"

    desk.listings = whole
    desk.restart()
    desk.quote(0, 99, 99.01)
    desk.quote(1, 101, 101.01)
    desk.wait(100)
    assert desk.portfolio.open_trades == ()
    sound(desk)


def test_partial_projection_scales_with_what_was_opened(desk: Desk) -> None:
    """A third of the proposal has a third of its target: it is left where the whole one would be left."""
    desk.rates()
    desk.apart()
    projected = desk.last(TradeProposed).projected_profit_usd
    desk.quote(0, 99.99, 100, ask_size=33)
    desk.wait(550)
    trade = desk.only_trade
    assert (trade.status, trade.quantity) == (TradeStatus.ACTIVE, D(33))
    assert isinstance(desk.last(TradeOpened), TradeOpened)
    desk.quote(0, 100.5, 100.51)
    desk.quote(1, 100.51, 100.52)
    exiting = desk.last(TradeExiting)
    assert D("0.9") * projected / 3 <= exiting.unrealized_pnl < D("0.9") * projected


def test_without_partial_fills_an_order_fills_whole_or_not_at_all() -> None:
    desk = Desk(rules=Rules(partial_fills=False))
    desk.rates()
    desk.apart()
    desk.quote(0, 99.99, 100, ask_size=33)
    desk.wait(505)
    assert desk.words(OrderFilled) == []
    desk.wait(10)
    assert isinstance(desk.log[-1], EntryAbandoned)
    sound(desk)
