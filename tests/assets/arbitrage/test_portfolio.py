"""The fold of the event log: worked examples to the cent, and every log that cannot have happened refused."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from assets.arbitrage.codec import to_document
from assets.arbitrage.events import (
    FundingPaid,
    InstructionRefused,
    LegOut,
    OrderFilled,
    OrderSubmitted,
    SessionOpened,
    TradeClosed,
    TradeExiting,
    TradeOpened,
    TradeProposed,
    Valued,
)
from assets.arbitrage.model import Leg, OrderSide, OrderStatus, OrderType, Purpose, TradeStatus
from assets.arbitrage.portfolio import Holding, LogError, Portfolio
from tests.arbitrage_parts import C0, DAY, DAY_NS, DAY_START, NEXT_DAY, LogWriter, folded, rich_log, without

D = Decimal


# What a trade yields


def test_a_trade_by_hand() -> None:
    """1.5 bought at 100 and sold at 101.2, sold at 101 and bought at 100.4, four fees of 0.05 %, one funding each."""
    log = LogWriter()
    trade_id = log.opened_trade("1.5")
    entry_fees = D("0.075") + D("0.07575")
    assert log.portfolio.available == C0 - 100 - entry_fees
    assert log.portfolio.realised == -entry_fees
    log.wait(1)
    log.fund(trade_id, Leg.LONG, "0.0001", "100")
    log.fund(trade_id, Leg.SHORT, "0.0004", "101")
    funding = D("-0.015") + D("0.0606")
    assert log.portfolio.realised == -entry_fees + funding
    log.exit(trade_id, "profit_target", "funding_convergence")
    log.trade_leg(trade_id, Leg.LONG, Purpose.EXIT, "1.5", "101.2")
    log.trade_leg(trade_id, Leg.SHORT, Purpose.EXIT, "1.5", "100.4")
    closed = log.close(trade_id)
    fees = entry_fees + D("0.0759") + D("0.0753")
    assert closed.actual_profit_usd == D("1.5") * (D("1.2") + D("0.6")) - fees + funding
    trade = log.portfolio.trade(trade_id)
    assert (trade.status, trade.exit_reason, trade.exit_time) == (TradeStatus.CLOSED, "profit_target", log.now)
    assert trade.exit_conditions == ("profit_target", "funding_convergence")
    assert (trade.fees_usd, trade.funding_usd) == (fees, funding)
    assert trade.gross_profit_usd == trade.actual_profit_usd == closed.actual_profit_usd
    assert log.portfolio.available == C0 + closed.actual_profit_usd
    assert log.portfolio.total_open == 0


def test_the_entry_prices_are_the_average_of_what_opened_the_leg() -> None:
    log = LogWriter()
    trade_id = log.propose("3")
    order = log.send(trade_id, Leg.LONG, size="3", price="101")
    assert log.portfolio.trade(trade_id).entry_long_price is None
    log.fill(order, "1", "100")
    log.fill(order, "2", "101")
    trade = log.portfolio.trade(trade_id)
    assert trade.entry_long_price == D("100.66666666666666667")
    assert trade.long_order is not None
    assert trade.long_order.fill_price == trade.entry_long_price
    assert trade.long_order.filled_notional == 302
    assert trade.entry_short_price is None
    assert log.portfolio.holding(trade_id, Leg.LONG) == Holding(D(3), D(-302))


def test_the_entry_orders_are_the_first_of_each_leg_and_the_first_fill_begins_the_record() -> None:
    log = LogWriter()
    trade_id = log.propose()
    first = log.send(trade_id, Leg.LONG)
    log.wait(7)
    log.cancel(first)
    assert log.portfolio.first_trade_ns is None
    log.fill(log.send(trade_id, Leg.LONG))
    log.wait(7)
    log.trade_leg(trade_id, Leg.SHORT, Purpose.ENTRY, "1", "101")
    trade = log.portfolio.trade(trade_id)
    assert trade.long_order == log.portfolio.order(first)
    assert len(trade.orders) == 3
    assert log.portfolio.state().first_trade_at == DAY_START + 7


def test_a_market_fill_keeps_its_slippage_and_whether_it_was_capped() -> None:
    log = LogWriter()
    trade_id = log.propose("2")
    order = log.send(trade_id, Leg.LONG, size="2", order_type=OrderType.MARKET)
    log.fill(order, "1")
    fill = _fields(log.events[-1])
    log.write(OrderFilled, **(fill | {"remaining": D(0), "walked_bps": D(9), "slippage_capped": True}))
    kept = log.portfolio.order(order)
    assert (kept.slippage_bps, kept.walked_bps, kept.slippage_capped, kept.traded_excess) == (D(2), D(9), True, None)


def test_the_newest_value_is_kept() -> None:
    log = LogWriter()
    assert log.portfolio.last_valued is None
    log.value("1.5")
    assert log.portfolio.last_valued == log.events[-1]


def test_price_profit_is_posted_when_a_leg_is_flat_and_not_before() -> None:
    log = LogWriter()
    trade_id = log.opened_trade("2")
    log.exit(trade_id)
    before = log.portfolio.realised
    order = log.send(trade_id, Leg.LONG, Purpose.EXIT, "2", "103")
    log.fill(order, "1", fee="0")
    assert log.portfolio.realised == before
    assert log.portfolio.holding(trade_id, Leg.LONG) == Holding(D(1), D(-97))
    assert log.portfolio.price_pnl_at(trade_id, D(103), D(101)) == 6
    log.fill(order, fee="0")
    assert log.portfolio.realised == before + 6
    assert log.portfolio.holding(trade_id, Leg.LONG) == Holding(D(0), D(0))
    assert log.portfolio.price_pnl_at(trade_id, D(1), D(100)) == 8


def test_an_unwound_entry_is_a_closed_trade_and_its_cost_counts_once() -> None:
    log = LogWriter()
    trade_id = log.propose("2")
    order = log.send(trade_id, Leg.LONG, size="2")
    log.fill(order, "1.5", fee="0.1")
    log.cancel(order)
    assert log.leg_out(trade_id, Purpose.ENTRY).naked_quantity == D("1.5")
    assert log.portfolio.leg_out_count == 1
    unwind = log.send(trade_id, Leg.LONG, Purpose.UNWIND, "1.5", "99", OrderType.MARKET)
    log.fill(unwind, fee="0.2")
    log.hedged(trade_id, Purpose.ENTRY, "99", "1.5")
    assert log.portfolio.leg_out_total_loss == 0  # attributed when the trade closes, with its profit
    closed = log.close(trade_id)
    assert (closed.reason, closed.actual_profit_usd, closed.gross_profit_usd) == ("leg_out", D("-1.8"), D("-0.3"))
    state = log.portfolio.state()
    assert (state.leg_out_count, state.leg_out_total_loss, state.loss_count) == (1, D("1.5"), 1)
    assert state.cumulative_pnl == D("-1.8") == state.available_capital - C0
    leg_out = state.closed_trades[0].leg_out_event
    assert leg_out is not None
    assert (leg_out.filled_leg, leg_out.hedge_price, leg_out.hedged_at) == (Leg.LONG, D(99), log.now)


def test_a_trade_can_leg_out_at_entry_and_at_exit_and_counts_both() -> None:
    log = LogWriter()
    trade_id = log.propose("1")
    log.trade_leg(trade_id, Leg.SHORT, Purpose.ENTRY, "1", "101")
    log.leg_out(trade_id, Purpose.ENTRY)
    log.trade_leg(trade_id, Leg.LONG, Purpose.HEDGE, "1", "100.02")
    log.hedged(trade_id, Purpose.ENTRY, "100.02", "0.02")
    log.open(trade_id)
    log.exit(trade_id)
    log.trade_leg(trade_id, Leg.LONG, Purpose.EXIT, "1", "100.5")
    assert log.leg_out(trade_id, Purpose.EXIT).filled_leg is Leg.LONG
    log.trade_leg(trade_id, Leg.SHORT, Purpose.HEDGE, "1", "100.6")
    log.hedged(trade_id, Purpose.EXIT, "100.6", "0.1")
    closed = log.close(trade_id)
    assert closed.leg_out_cost_usd == D("0.12")
    assert log.portfolio.leg_out_count == 2
    assert log.portfolio.cumulative_pnl == log.portfolio.gross_profit - D("0.12")


def test_an_abandoned_entry_leaves_nothing_but_its_free_capital() -> None:
    log = LogWriter()
    before = log.portfolio.state()
    trade_id = log.propose()
    order = log.send(trade_id, Leg.LONG)
    log.cancel(order)
    assert log.portfolio.available == C0 - 100
    log.abandon(trade_id)
    assert log.portfolio.state() == before
    with pytest.raises(LogError, match="no open trade"):
        log.portfolio.trade(trade_id)


def test_what_a_trade_opened_without_is_free_again_and_no_longer_promised() -> None:
    log = LogWriter()
    trade_id = log.propose("8", "100")
    for leg in Leg:
        log.trade_leg(trade_id, leg, Purpose.ENTRY, "3", "100")
    pending = log.portfolio.trade(trade_id)
    assert (pending.quantity, pending.position_size_usd, pending.projected_profit_usd) == (8, 100, D("0.5"))
    assert log.portfolio.total_open == 100
    before = log.portfolio.available
    log.open(trade_id)
    trade = log.portfolio.trade(trade_id)
    assert (trade.quantity, trade.position_size_usd, trade.projected_profit_usd) == (3, D("37.5"), D("0.1875"))
    assert log.portfolio.total_open == D("37.5")
    assert log.portfolio.available == before + D("62.5")
    log.exit(trade_id)
    for leg in Leg:
        log.trade_leg(trade_id, leg, Purpose.EXIT, "3", "100")
    log.close(trade_id)
    assert log.portfolio.total_open == 0
    assert log.portfolio.trade(trade_id).position_size_usd == D("37.5")
    assert log.portfolio.available == C0 + log.portfolio.realised


def test_a_part_is_posted_to_eight_decimals_and_is_never_nothing() -> None:
    log = LogWriter()
    thirds = log.propose("3", "100")
    least = log.propose("3", "100", projected_profit_usd=D("0.00000001"))
    for trade_id in (thirds, least):
        for leg in Leg:
            log.trade_leg(trade_id, leg, Purpose.ENTRY, "1", "100")
        log.open(trade_id)
    assert log.portfolio.trade(thirds).position_size_usd == D("33.33333333")
    assert log.portfolio.trade(thirds).projected_profit_usd == D("0.16666667")
    assert log.portfolio.trade(least).projected_profit_usd == D("0.00000001")  # a target and a limit need some
    assert log.portfolio.total_open == D("66.66666666")


def test_a_part_is_carried_over_midnight_as_it_is() -> None:
    first = LogWriter()
    trade_id = first.propose("8")
    for leg in Leg:
        first.trade_leg(trade_id, leg, Purpose.ENTRY, "3", "100")
    first.open(trade_id)
    document = first.portfolio.carried_document("a" * 64)
    assert document["total_open"] == D("37.5")
    second = Portfolio.from_carried(document)
    assert second.open_trades == first.portfolio.open_trades


def test_wins_losses_and_break_even_are_told_apart() -> None:
    log = LogWriter()
    log.closed_trade()
    log.closed_trade(exit=("100", "101"))
    even = log.opened_trade()
    log.exit(even)
    log.fill(log.send(even, Leg.LONG, Purpose.EXIT, price="101"), fee="0.8995")
    log.fill(log.send(even, Leg.SHORT, Purpose.EXIT, price="101"), fee="0")
    assert log.close(even).actual_profit_usd == 0
    state = log.portfolio.state()
    assert (state.win_count, state.loss_count, state.break_even_count) == (1, 1, 1)
    assert log.portfolio.closed_count == len(state.closed_trades) == 3


def test_all_that_is_available_may_be_withdrawn() -> None:
    log = LogWriter()
    log.propose()
    log.flow("-19900")
    assert (log.portfolio.available, log.portfolio.total_open, log.portfolio.net_flows) == (0, 100, -19_900)


def test_available_capital_below_zero_is_told_not_hidden() -> None:
    log = LogWriter(capital=D(100))
    trade_id = log.propose(size="100")
    log.fill(log.send(trade_id, Leg.LONG), fee="0.5")
    assert log.portfolio.available == D("-0.5")
    log.halt("capital")
    assert log.portfolio.state().halted == "capital"


def test_orders_keep_what_became_of_them() -> None:
    log = LogWriter()
    trade_id = log.propose("2")
    limit = log.send(trade_id, Leg.LONG, size="2")
    assert log.portfolio.order(limit).status is OrderStatus.PENDING
    log.wait(5)
    log.accept(limit, "40")
    log.wait(5)
    log.fill(limit, "0.5")
    order = log.portfolio.order(limit)
    assert (order.accepted_at, order.filled_at, order.filled_size) == (log.now - 5, log.now, D("0.5"))
    assert order.queue_position is not None
    assert (order.queue_position.resting_depth_at_entry, order.queue_position.is_filled) == (D(40), False)
    assert order.queue_position.cumulative_volume_at_price == 12
    assert order.queue_position.should_fill()
    log.cancel(limit, "timeout")
    order = log.portfolio.order(limit)
    assert (order.status, order.reason, order.filled_size) == (OrderStatus.CANCELLED, "timeout", D("0.5"))
    log.leg_out(trade_id, Purpose.ENTRY)
    market = log.send(trade_id, Leg.LONG, Purpose.UNWIND, "0.5", "100", OrderType.MARKET)
    log.fill(market, price="99.9")
    order = log.portfolio.order(market)
    assert (order.side, order.status, order.slippage_bps) == (OrderSide.SHORT, OrderStatus.FILLED, D(2))
    assert order.queue_position is None
    log.hedged(trade_id, Purpose.ENTRY)
    log.close(trade_id)
    assert log.portfolio.order(market) == order


def test_funding_is_due_on_what_was_held_strictly_before() -> None:
    log = LogWriter()
    trade_id = log.opened_trade("2")
    with pytest.raises(LogError, match="where 0 was held"):
        log.fund(trade_id, Leg.LONG)
    log.wait(1)
    log.fund(trade_id, Leg.LONG)
    log.exit(trade_id)
    log.fill(log.send(trade_id, Leg.SHORT, Purpose.EXIT, "2"), "0.5")
    log.write(
        FundingPaid,
        trade_id=trade_id,
        leg=Leg.SHORT,
        exchange="bybit",
        symbol="BTCUSDT",
        quantity=D(2),
        mark=D(100),
        rate=D("0.0001"),
        amount=D("0.02"),
    )
    assert log.portfolio.funding == 0


# What a session goes on from


def test_a_halt_outlasts_its_day_while_a_leg_is_naked() -> None:
    before = LogWriter()
    before.trade_leg(before.propose(), Leg.LONG, Purpose.ENTRY, "1", "100")
    before.halt()
    document = before.portfolio.carried_document("a" * 64)
    after = LogWriter(
        Portfolio.from_carried(document), day=NEXT_DAY, start_ns=DAY_START + DAY_NS, carried_day=DAY, carried="a" * 64
    )
    assert after.portfolio.halted == "naked"


def test_a_session_goes_on_from_the_one_before() -> None:
    before = rich_log()
    document = before.portfolio.carried_document("a" * 64)
    after = LogWriter(
        Portfolio.from_carried(document), day=NEXT_DAY, start_ns=DAY_START + DAY_NS, carried_day=DAY, carried="a" * 64
    )
    was, now = before.portfolio.state(), after.portfolio.state()
    assert now.active_trades == was.active_trades
    assert len(now.active_trades) == 2
    assert now.closed_trades == ()
    assert (now.available_capital, now.cumulative_pnl) == (was.available_capital, was.cumulative_pnl)
    assert (now.win_count, now.loss_count, now.leg_out_count) == (was.win_count, was.loss_count, was.leg_out_count)
    assert (was.halted, now.halted) == ("naked", "")  # nothing is naked any more
    active = now.active_trades[0].id
    after.exit(active)
    after.trade_leg(active, Leg.LONG, Purpose.EXIT, "0.5", "101")
    after.trade_leg(active, Leg.SHORT, Purpose.EXIT, "0.5", "100")
    closed = after.close(active)
    assert closed.actual_profit_usd == D(1) - after.portfolio.trade(active).fees_usd
    assert after.portfolio.cumulative_pnl == was.cumulative_pnl + closed.actual_profit_usd


def test_funding_at_midnight_is_due_on_what_the_day_before_held_strictly_before_it() -> None:
    first = LogWriter()
    trade_id = first.propose()
    first.trade_leg(trade_id, Leg.LONG, Purpose.ENTRY, "0.25", "100")
    first.now = DAY_START + DAY_NS
    first.trade_leg(trade_id, Leg.LONG, Purpose.ENTRY, "0.75", "100")
    carried = first.portfolio.carried_document("a" * 64)
    second = LogWriter(
        Portfolio.from_carried(carried), day=NEXT_DAY, start_ns=first.now, carried_day=DAY, carried="a" * 64
    )
    with pytest.raises(LogError, match=r"where 0\.25 was held"):
        second.fund(trade_id, Leg.LONG)
    second.wait(1)
    second.fund(trade_id, Leg.LONG)
    assert second.portfolio.funding == D("-0.01")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"carried": "b" * 64}, "it goes on from 2026-03-01, not from 2026-03-01"),
        ({"carried_day": "2026-02-28"}, "it goes on from 2026-02-28, not from 2026-03-01"),
        ({"carried": "", "carried_day": ""}, "it goes on from , not from 2026-03-01"),
        ({"capital": D(10_000)}, "SIMULATED with 10000, not SIMULATED with 20000"),
    ],
)
def test_a_session_that_goes_on_from_something_else_is_refused(fields: dict[str, Any], message: str) -> None:
    portfolio = Portfolio.from_carried(rich_log().portfolio.carried_document("a" * 64))
    with pytest.raises(LogError, match=message):
        LogWriter(portfolio, **({"day": NEXT_DAY, "carried_day": DAY, "carried": "a" * 64} | fields))


def test_a_first_session_cannot_claim_an_earlier_one() -> None:
    with pytest.raises(LogError, match="whose state was not given"):
        LogWriter(carried_day=DAY, carried="a" * 64)


def test_a_carried_state_that_contradicts_itself_is_refused() -> None:
    document = rich_log().portfolio.carried_document("a" * 64)
    with pytest.raises(LogError, match="capital is not conserved"):
        Portfolio.from_carried(document | {"realised": document["realised"] + 1})
    with pytest.raises(LogError, match="carried trades reserve 400, the carried total is 500"):
        Portfolio.from_carried(document | {"total_open": D(500)})
    with pytest.raises(LogError, match="cannot be read: KeyError"):
        Portfolio.from_carried(without(document, "win_count"))
    with pytest.raises(LogError, match="cannot be read: ValueError"):
        Portfolio.from_carried(document | {"available": "20000"})


# Logs that cannot have happened


def test_a_log_begins_with_its_session_and_has_no_hole() -> None:
    first, second = LogWriter().events[0], rich_log().events[1]
    with pytest.raises(LogError, match=r"event 1 \(FlowPosted\) follows -1"):
        folded([second])
    with pytest.raises(LogError, match=r"event 0 \(SessionOpened\) follows 0"):
        folded([first, first])
    flow = LogWriter()
    flow.flow("1")
    with pytest.raises(LogError, match="a log begins with SessionOpened and holds it once"):
        flow.write(SessionOpened, **_fields(first))
    flow.wait(-1)
    with pytest.raises(LogError, match="lies before"):
        flow.flow("1")


def _fields(event: Any) -> dict[str, Any]:
    return {name: getattr(event, name) for name in event.__slots__ if name not in ("seq", "time_ns")}


def _without_capital(log: LogWriter) -> None:
    opened = log.events[0]
    assert isinstance(opened, SessionOpened)
    Portfolio().apply(replace(opened, starting_capital=D(0)))


def _reserved_withdrawn(log: LogWriter) -> None:
    log.propose()
    log.flow("-19950")


def _proposed_again(log: LogWriter) -> None:
    log.propose(trade_id=log.propose())


def _abandoned_id_again(log: LogWriter) -> None:
    trade_id = log.propose()
    log.abandon(trade_id)
    log.propose(trade_id=trade_id)


def _closed_id_again(log: LogWriter) -> None:
    log.propose(trade_id=log.closed_trade().trade_id)


def _instruction(number: int) -> Callable[[LogWriter], None]:
    def steps(log: LogWriter) -> None:
        log.flow("5")
        log.write(InstructionRefused, instruction=number, asked="resume", reason="nothing is halted")

    return steps


def _resumed_naked(log: LogWriter) -> None:
    log.trade_leg(log.propose(), Leg.LONG, Purpose.ENTRY, "1", "100")
    log.halt()
    log.resume()


def _resumed_poor(log: LogWriter) -> None:
    log.flow("-19900")
    log.fill(log.send(log.propose(), Leg.LONG), fee="0.5")
    log.halt()
    log.resume()


def _while_halted(log: LogWriter) -> None:
    log.halt()
    log.propose()


def _closed_twice(log: LogWriter) -> None:
    log.write(TradeClosed, **_fields(log.closed_trade()))


def _order_again(log: LogWriter) -> None:
    trade_id = log.propose()
    log.send(trade_id, Leg.LONG, order_id=log.send(trade_id, Leg.LONG))


def _closed_misstated(**fields: Decimal) -> Callable[[LogWriter], None]:
    def steps(log: LogWriter) -> None:
        trade_id = log.opened_trade()
        log.exit(trade_id)
        log.trade_leg(trade_id, Leg.LONG, Purpose.EXIT, "1", "101")
        log.trade_leg(trade_id, Leg.SHORT, Purpose.EXIT, "1", "100")
        profit = D(2) - log.portfolio.trade(trade_id).fees_usd
        stated = {"gross_profit_usd": profit, "leg_out_cost_usd": D(0), "actual_profit_usd": profit}
        log.write(TradeClosed, trade_id=trade_id, reason="profit_target", **(stated | fields))

    return steps


def _order_of(log: LogWriter, trade_id: str) -> None:
    log.send(log.propose(), Leg.LONG)
    log.write(OrderSubmitted, **(_fields(log.events[-1]) | {"order_id": "o", "trade_id": trade_id}))


def _exit_for(reason: str, *conditions: str) -> Callable[[LogWriter], None]:
    def steps(log: LogWriter) -> None:
        log.exit(log.opened_trade())
        stated = _fields(log.events[-1]) | {"trade_id": log.opened_trade(), "reason": reason, "conditions": conditions}
        log.write(TradeExiting, **stated)

    return steps


def _exit_twice(log: LogWriter) -> None:
    log.exit(_exiting(log))


def _exiting(log: LogWriter) -> str:
    trade_id = log.opened_trade()
    log.exit(trade_id)
    return trade_id


def _half_filled(log: LogWriter) -> tuple[str, str]:
    trade_id = log.propose()
    order = log.send(trade_id, Leg.LONG)
    log.fill(order, "0.5")
    return trade_id, order


def _cancel_twice(log: LogWriter) -> None:
    order = log.send(log.propose(), Leg.LONG)
    log.cancel(order)
    log.cancel(order)


def _fill_after_cancel(log: LogWriter) -> None:
    order = log.send(log.propose(), Leg.LONG)
    log.cancel(order)
    log.fill(order)


def _accept_twice(log: LogWriter) -> None:
    order = log.send(log.propose(), Leg.LONG)
    log.accept(order)
    log.accept(order)


def _open_with_pending(log: LogWriter) -> None:
    trade_id = log.propose()
    log.send(trade_id, Leg.LONG)
    for leg in Leg:
        log.trade_leg(trade_id, leg, Purpose.ENTRY, "0.5", "100")
    log.open(trade_id)


def _close_with_pending(log: LogWriter) -> None:
    trade_id = _exiting(log)
    log.send(trade_id, Leg.LONG, Purpose.EXIT)
    for leg in Leg:
        log.trade_leg(trade_id, leg, Purpose.EXIT, "1", "100")
    log.close(trade_id)


def _leg_out_twice(log: LogWriter) -> None:
    trade_id, _ = _half_filled(log)
    log.leg_out(trade_id, Purpose.ENTRY)
    log.leg_out(trade_id, Purpose.ENTRY)


def _leg_out(log: LogWriter, trade_id: str, **fields: Any) -> None:
    stated = {
        "trade_id": trade_id,
        "phase": Purpose.ENTRY,
        "filled_leg": Leg.LONG,
        "filled_at": log.now,
        "unfilled_leg": Leg.SHORT,
        "naked_quantity": D("0.5"),
    }
    log.write(LegOut, **(stated | fields))


def _hedged_while_naked(log: LogWriter) -> None:
    trade_id, _ = _half_filled(log)
    log.leg_out(trade_id, Purpose.ENTRY)
    log.hedged(trade_id, Purpose.ENTRY)


def _hedged_twice(log: LogWriter) -> None:
    trade_id, order = _half_filled(log)
    log.cancel(order)
    log.leg_out(trade_id, Purpose.ENTRY)
    log.trade_leg(trade_id, Leg.LONG, Purpose.UNWIND, "0.5", "100")
    log.hedged(trade_id, Purpose.ENTRY)
    log.hedged(trade_id, Purpose.ENTRY)


def _negative_cost(log: LogWriter) -> None:
    trade_id, _ = _half_filled(log)
    log.leg_out(trade_id, Purpose.ENTRY)
    log.trade_leg(trade_id, Leg.LONG, Purpose.UNWIND, "0.5", "100")
    log.hedged(trade_id, Purpose.ENTRY, cost="-0.01")


def _abandon_filled(log: LogWriter) -> None:
    trade_id, order = _half_filled(log)
    log.cancel(order)
    log.abandon(trade_id)


def _abandon_pending(log: LogWriter) -> None:
    trade_id = log.propose()
    log.send(trade_id, Leg.LONG)
    log.abandon(trade_id)


def _open_unequal(log: LogWriter) -> None:
    trade_id = log.propose()
    log.trade_leg(trade_id, Leg.LONG, Purpose.ENTRY, "1", "100")
    log.trade_leg(trade_id, Leg.SHORT, Purpose.ENTRY, "0.9", "100")
    log.open(trade_id)


def _open_misstated(log: LogWriter) -> None:
    trade_id = log.propose()
    for leg in Leg:
        log.trade_leg(trade_id, leg, Purpose.ENTRY, "1", "100")
    log.write(TradeOpened, trade_id=trade_id, quantity=D("0.9"), entry_unrealized_usd=D(0))


def _fund_misstated(log: LogWriter) -> None:
    trade_id = log.opened_trade()
    log.wait(1)
    log.fund(trade_id, Leg.LONG)
    fields = _fields(log.events[-1])
    log.write(FundingPaid, **(fields | {"amount": -fields["amount"]}))


def _fund_elsewhere(log: LogWriter) -> None:
    trade_id = log.opened_trade()
    log.wait(1)
    log.fund(trade_id, Leg.LONG)
    log.write(FundingPaid, **(_fields(log.events[-1]) | {"exchange": "bybit"}))


def _refuse_part_filled(log: LogWriter) -> None:
    log.refuse_order(_half_filled(log)[1])


def _value_misstated(log: LogWriter) -> None:
    log.value()
    log.write(Valued, **(_fields(log.events[-1]) | {"realised": D(1)}))


def _fill_misstated(**fields: Any) -> Callable[[LogWriter], None]:
    def steps(log: LogWriter) -> None:
        order = log.send(log.propose("5"), Leg.LONG, size="2")
        log.fill(order, "1")
        log.write(OrderFilled, **(_fields(log.events[-1]) | {"remaining": D(0)} | fields))

    return steps


IMPOSSIBLE: dict[str, tuple[Callable[[LogWriter], object], str]] = {
    "capital of nothing": (_without_capital, "starting capital 0"),
    "flow of nothing": (lambda log: log.flow("0"), "a flow is not zero"),
    "more withdrawn than is there": (lambda log: log.flow("-20000.000001"), "-20000.000001 of 20000 available"),
    "reserved capital withdrawn": (_reserved_withdrawn, "-19950 of 19900 available"),
    "flow finer than a ledger's": (lambda log: log.flow("0.0000001"), "at most 6 decimals"),
    "instruction taken again": (_instruction(1), "instruction 1 is taken after 1"),
    "instruction passed over": (_instruction(3), "instruction 3 is taken after 1"),
    "instruction refused for no reason": (lambda log: log.refuse_instruction(""), "no reason"),
    "resumed what is not halted": (lambda log: log.resume(), "nothing is halted"),
    "resumed while naked": (_resumed_naked, "naked are"),
    "resumed without capital": (_resumed_poor, "-0.5 is available"),
    "trade proposed twice": (_proposed_again, "was proposed before"),
    "abandoned trade proposed again": (_abandoned_id_again, "was proposed before"),
    "closed trade proposed again": (_closed_id_again, "was proposed before"),
    "trade without an id": (lambda log: log.propose(trade_id=""), "was proposed before"),
    "entry while halted": (_while_halted, "no entries while halted: naked"),
    "both legs on one venue": (lambda log: log.propose(short_exchange="binance"), "both legs on binance"),
    "trade that promises nothing": (lambda log: log.propose(projected_profit_usd=D(0)), "above zero"),
    "trade of no quantity": (lambda log: log.propose(quantity="0"), "above zero"),
    "more than is available": (lambda log: log.propose(size="20000.01"), "reserves 20000.01 of 20000 available"),
    "order of an unknown trade": (lambda log: _order_of(log, "t"), "no open trade 't'"),
    "order of a closed trade": (lambda log: _order_of(log, log.closed_trade().trade_id), "no open trade"),
    "order id used twice": (_order_again, "was submitted before"),
    "leg on the other venue": (lambda log: log.send(log.propose(), Leg.LONG, exchange="bybit"), "the long leg trades"),
    "order of no size": (lambda log: log.send(log.propose(), Leg.LONG, size="0"), "size 0 at 100"),
    "order at no price": (lambda log: log.send(log.propose(), Leg.LONG, price="0"), "size 1 at 0"),
    "entry that sells the long leg": (
        lambda log: log.send(log.propose(), Leg.LONG, side=OrderSide.SHORT),
        "a Short entry order on a Pending trade's long leg",
    ),
    "entry into an open trade": (lambda log: log.send(log.opened_trade(), Leg.LONG), "entry order on a Active"),
    "exit of a trade that stays": (
        lambda log: log.send(log.opened_trade(), Leg.LONG, Purpose.EXIT),
        "exit order on a Active",
    ),
    "unwinding at exit": (lambda log: log.send(_exiting(log), Leg.LONG, Purpose.UNWIND), "unwind order on a Exiting"),
    "hedge before the leg-out is logged": (
        lambda log: log.send(_half_filled(log)[0], Leg.SHORT, Purpose.HEDGE),
        "hedge before the leg-out was logged",
    ),
    "hedge at exit after a leg-out at entry alone": (
        lambda log: log.send(_exiting(log), Leg.SHORT, Purpose.HEDGE),
        "hedge before the leg-out was logged",
    ),
    "unknown order filled": (
        lambda log: log.write(
            OrderFilled,
            order_id="o",
            price=D(1),
            size=D(1),
            remaining=D(0),
            fee=D(0),
            cumulative_volume=None,
            traded_excess=None,
            slippage_bps=None,
            walked_bps=None,
            slippage_capped=False,
        ),
        "order 'o' is not pending",
    ),
    "fill beyond the order": (_fill_misstated(size=D("1.5")), "leaves -0.5 of 2, not 0"),
    "fill that leaves more than it says": (_fill_misstated(size=D("0.5")), "leaves 0.5 of 2, not 0"),
    "fill of nothing": (_fill_misstated(size=D(0), remaining=D(1)), "0 at 100"),
    "fill at price zero": (_fill_misstated(price=D(0)), "1 at 0"),
    "fill worse than its limit": (_fill_misstated(price=D("100.01")), "worse than its limit 100"),
    "negative fee": (_fill_misstated(fee=D("-0.01")), "a fee is not negative"),
    "fee finer than posted": (_fill_misstated(fee=D("0.000000001")), "at most 8 decimals"),
    "fill after the cancellation": (_fill_after_cancel, "is not pending"),
    "entry beyond what was proposed": (
        lambda log: log.trade_leg(log.propose("1"), Leg.LONG, Purpose.ENTRY, "1.1", "100"),
        "would hold more than the 1 proposed",
    ),
    "exit of more than is held": (
        lambda log: log.trade_leg(_exiting(log), Leg.LONG, Purpose.EXIT, "1.1", "100"),
        "closes 1.1 of the 1 that the long leg holds",
    ),
    "cancelled twice": (_cancel_twice, "is not pending"),
    "accepted twice": (_accept_twice, "accepted once"),
    "market order that rests": (
        lambda log: log.accept(log.send(log.propose(), Leg.LONG, order_type=OrderType.MARKET)),
        "only a limit order rests",
    ),
    "negative depth": (lambda log: log.accept(log.send(log.propose(), Leg.LONG), "-1"), "depth -1"),
    "refused after a fill": (_refuse_part_filled, "filled in part"),
    "leg-out logged twice": (_leg_out_twice, "the leg-out at entry is logged already"),
    "leg-out of a trade that is open": (
        lambda log: _leg_out(log, log.opened_trade()),
        "a leg-out at entry of a Active",
    ),
    "leg-out of the other phase": (
        lambda log: _leg_out(log, _half_filled(log)[0], phase=Purpose.EXIT),
        "a leg-out at exit of a Pending",
    ),
    "leg-out of one leg": (
        lambda log: _leg_out(log, _half_filled(log)[0], unfilled_leg=Leg.LONG),
        "long filled at .*, long not",
    ),
    "leg-out of a quantity that is not naked": (
        lambda log: _leg_out(log, _half_filled(log)[0], naked_quantity=D(1)),
        "0.5 of the long leg is naked, not 1",
    ),
    "leg-out the wrong way round": (
        lambda log: _leg_out(log, _half_filled(log)[0], filled_leg=Leg.SHORT, unfilled_leg=Leg.LONG),
        "-0.5 of the short leg is naked",
    ),
    "hedge done without a leg-out": (lambda log: log.hedged(log.propose(), Purpose.ENTRY), "no leg-out at entry"),
    "hedge done while naked": (_hedged_while_naked, "0.5 is still naked"),
    "hedge done twice": (_hedged_twice, "no leg-out at entry waits"),
    "leg-out that earned": (_negative_cost, "cost -0.01"),
    "filled entry abandoned": (_abandon_filled, "filled: True"),
    "entry abandoned with an order pending": (_abandon_pending, "orders are still pending"),
    "legs of unequal size": (_open_unequal, r"holds \[.*0.9.*\], not 1 twice"),
    "opened at another quantity": (_open_misstated, "not 0.9 twice"),
    "opened with an order pending": (_open_with_pending, "orders are still pending"),
    "opened twice": (lambda log: log.open(log.opened_trade()), "a Active trade that holds"),
    "exit for a reason that does not hold": (
        _exit_for("profit_target", "loss_limit"),
        r"a Active trade leaves for 'profit_target' of \('loss_limit',\)",
    ),
    "exit begun twice": (_exit_twice, "a Exiting trade leaves"),
    "exit of a pending trade": (lambda log: log.exit(log.propose()), "a Pending trade leaves"),
    "funding on the other venue": (_fund_elsewhere, "the long leg trades"),
    "funding of the other sign": (_fund_misstated, "0.01.* on 1, where 1 was held and -0.01.* is due"),
    "closed without an exit": (lambda log: log.close(log.opened_trade()), "a Active trade whose legs are not flat"),
    "closed while held": (lambda log: log.close(_exiting(log)), "a Exiting trade whose legs are not flat"),
    "closed without a fill": (lambda log: log.close(log.propose()), "never were filled"),
    "closed twice": (_closed_twice, "no open trade"),
    "closed with an order pending": (_close_with_pending, "orders are still pending"),
    "another profit than the fold's": (_closed_misstated(actual_profit_usd=D(2)), "folded"),
    "another gross profit": (_closed_misstated(gross_profit_usd=D(2)), "folded"),
    "a leg-out cost that was not logged": (_closed_misstated(leg_out_cost_usd=D("0.1")), "folded"),
    "halted for no reason": (lambda log: log.halt(""), "no reason"),
    "valued otherwise": (_value_misstated, "folded"),
    "unknown value without what is missing": (lambda log: log.value(None), r"unrealized None while \(\) are missing"),
    "known value with something missing": (lambda log: log.value("1", ("bybit:BTCUSDT",)), "unrealized 1 while"),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_cannot_have_happened_is_refused_and_changes_nothing(name: str) -> None:
    steps, message = IMPOSSIBLE[name]
    log = LogWriter()
    with pytest.raises(LogError, match=message):
        steps(log)
    again = folded(log.events)
    assert log.portfolio.carried_document("") == again.carried_document("")
    assert log.portfolio.state() == again.state()


def test_a_closing_reason_must_be_the_trades_own() -> None:
    log = LogWriter()
    trade_id = _exiting(log)
    for leg in Leg:
        log.trade_leg(trade_id, leg, Purpose.EXIT, "1", "100")
    with pytest.raises(LogError, match="reason 'leg_out', the trade's is 'profit_target'"):
        log.close(trade_id, "leg_out")
    assert log.close(trade_id).reason == "profit_target"


def test_the_state_names_its_reserved_trades() -> None:
    log = LogWriter()
    log.propose()
    assert isinstance(log.events[-1], TradeProposed)
    assert [trade.status for trade in log.portfolio.open_trades] == [TradeStatus.PENDING]
    assert log.portfolio.total_open == 100
    assert to_document(log.events[-1])["position_size_usd"] == 100
