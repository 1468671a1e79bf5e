"""A trade read from the log stands where the trader that is gone left it."""

import random
from decimal import Decimal

import pytest

from assets.arbitrage.model import Leg, PaperTrade, Purpose, TradeStatus
from assets.arbitrage.open_trade import OpenTrade, Pair, Stage
from assets.arbitrage.recovery import restored
from assets.arbitrage.rules import Rules
from resources.feed import from_units, to_units
from tests.arbitrage_parts import LISTINGS, LogWriter
from tests.assets.arbitrage.trader_parts import Desk, units, unrealized_of

D = Decimal
PAIR = Pair(to_units(D("0.001")), 0, True)


def taken_up(log: LogWriter) -> OpenTrade:
    (value,) = log.portfolio.open_trades
    return restored(value, LISTINGS, 0, 1, PAIR)


def leg_of(trade: OpenTrade, leg: Leg) -> tuple[Decimal, Decimal]:
    """What is held, and the price that is counted on."""
    return from_units(trade.legs[leg].held), from_units(trade.legs[leg].plan)


def test_an_entry_that_was_under_way_has_to_be_settled() -> None:
    log = LogWriter()
    trade_id = log.propose("2")
    log.send(trade_id, Leg.SHORT, size="2", price="101")
    trade = taken_up(log)
    assert (trade.stage, trade.reason, trade.naked, trade.live) == (Stage.ENTRY_SETTLE, "restart", 0, [])
    # The long leg was never ordered: 100 basis points of spread below the short one.
    assert leg_of(trade, Leg.SHORT) == (0, 101)
    assert leg_of(trade, Leg.LONG) == (0, 100)


def test_an_order_after_a_restart_gets_an_id_of_its_own() -> None:
    log = LogWriter()
    log.opened_trade()
    assert taken_up(log).orders == 2


def test_an_open_trade_goes_on_and_one_that_was_left_goes_to_the_market() -> None:
    log = LogWriter()
    trade_id = log.opened_trade("2")
    trade = taken_up(log)
    assert (trade.stage, trade.urgent, trade.unrealized) == (Stage.ACTIVE, False, D("-0.3"))
    assert (trade.long.held, trade.short.held) == (units(2), units(2))
    log.exit(trade_id, "funding_convergence")
    log.fill(log.send(trade_id, Leg.LONG, Purpose.EXIT, "2", "100.7"), "0.5")
    trade = taken_up(log)
    assert (trade.stage, trade.urgent, trade.reason) == (Stage.EXIT_SETTLE, True, "funding_convergence")
    assert leg_of(trade, Leg.LONG) == (D("1.5"), D("100.7"))
    assert leg_of(trade, Leg.SHORT) == (2, 101)


def test_a_hedge_that_was_half_done_costs_what_all_of_it_costs() -> None:
    """Two bought at 100 and sold again at 99.9 and 99.8, with and without a restart in between."""
    costs = []
    for restart in (False, True):
        log = LogWriter()
        trade_id = log.propose("2")
        log.trade_leg(trade_id, Leg.LONG, Purpose.ENTRY, "2", "100")
        log.leg_out(trade_id, Purpose.ENTRY)
        trade = taken_up(log)
        for price in ("99.9", "99.8"):
            if restart:
                trade = taken_up(log)
            log.trade_leg(trade_id, Leg.LONG, Purpose.UNWIND, "1", price)
            side, notional = Leg.LONG.closing_side, units(1) * units(price)
            fee = D(price) * LISTINGS[0].taker_fee
            trade.count_hedge(trade.long, side, units(1), notional, fee)
            trade.long.fill(side, units(price), units(1), log.now)
        assert trade.hedging
        price_paid, cost = trade.end_hedge()
        assert from_units(price_paid) == D("99.85")
        assert not trade.hedging
        costs.append(cost)
        assert taken_up(log).spent == trade.spent
        assert (taken_up(log).long.cash, trade.long.cash) == (0, 0)  # of what is flat nothing is valued any more
    # 0.1 and 0.2 of price, the fees of selling, and those of having bought.
    assert costs == [D("0.3") + D("0.0005") * (D("199.7") + 200)] * 2


def test_what_an_entry_lost_is_not_counted_again_on_the_way_out() -> None:
    log = LogWriter()
    trade_id = log.propose()
    log.trade_leg(trade_id, Leg.LONG, Purpose.ENTRY, "1", "100")
    log.leg_out(trade_id, Purpose.ENTRY)
    log.trade_leg(trade_id, Leg.SHORT, Purpose.HEDGE, "1", "100.5")
    log.hedged(trade_id, Purpose.ENTRY, "100.5", "0.5")
    log.open(trade_id)
    log.exit(trade_id)
    log.trade_leg(trade_id, Leg.LONG, Purpose.EXIT, "1", "100.8")
    log.leg_out(trade_id, Purpose.EXIT)
    trade = taken_up(log)
    assert trade.leg_outs == {Purpose.ENTRY: True, Purpose.EXIT: False}
    assert trade.leg_out_cost == D("0.5")
    assert (trade.hedging, trade.hedged, trade.hedge_loss) == (True, 0, 0)


def test_a_closed_trade_is_not_taken_up() -> None:
    log = LogWriter()
    log.closed_trade()
    (value,) = log.portfolio.closed_trades
    with pytest.raises(ValueError, match="cannot be taken up"):
        restored(value, LISTINGS, 0, 1, PAIR)


def test_holdings_and_value_are_those_of_the_log_at_any_time_of_many_trades() -> None:
    """Held quantities against the portfolio's, unrealised P&L against the brief's structures alone."""
    draw = random.Random(11)
    desk = Desk(rules=Rules(reentry_pause_ns=1, min_confidence=50))
    desk.rates()
    seen: set[TradeStatus] = set()
    for _ in range(600):
        desk.wait(draw.choice([5, 15, 60, 400]))
        for index, bid in enumerate(draw.choice([(100, 101), (100.3, 100.3), (100, 100.7)])):
            desk.quote(index, bid, bid + 0.01, draw.choice([60, 400]), draw.choice([60, 400]))
        for value in desk.portfolio.open_trades:
            seen.add(value.status)
            agrees(desk, value)
    assert seen == {TradeStatus.PENDING, TradeStatus.ACTIVE, TradeStatus.EXITING}
    assert len(desk.portfolio.closed_trades) >= 10


def agrees(desk: Desk, value: PaperTrade) -> None:
    indices = [("north", "south").index(venue) for venue in (value.long_exchange, value.short_exchange)]
    trade = restored(value, desk.listings, *indices, PAIR)
    for leg in Leg:
        assert from_units(trade.legs[leg].held) == desk.portfolio.holding(value.id, leg).quantity
    if value.status is TradeStatus.ACTIVE:
        prices = units(100.1), units(100.7)
        expected = unrealized_of(value, desk.listings, *prices)
        assert trade.watched(D(0), desk.rules).unrealized(*prices) == pytest.approx(expected, abs=D("1e-8"))
