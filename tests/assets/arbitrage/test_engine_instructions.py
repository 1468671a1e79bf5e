"""What the trader makes of instructions: one event each, at its time, and never what capital or a naked leg forbids."""

import pytest

from assets.arbitrage.events import (
    EntriesResumed,
    FlowPosted,
    Halted,
    InstructionRefused,
    OrderAccepted,
    TradeOpened,
    TradeProposed,
    Valued,
)
from assets.arbitrage.instructions import Unreadable
from assets.arbitrage.model import TradeStatus
from assets.arbitrage.portfolio import LogError, Portfolio
from assets.arbitrage.properties import PROPERTIES
from resources.feed import Quote
from tests.assets.arbitrage.trader_parts import NORTH, D, Desk, fold, listing, units


@pytest.fixture
def desk() -> Desk:
    return Desk()


def sound(desk: Desk) -> None:
    desk.auditor.finish(desk.now)
    assert desk.auditor.problems == []
    assert fold(desk.log).state() == desk.portfolio.state()
    for judge in PROPERTIES:
        assert judge(desk.log, Portfolio()) == [], judge.__name__


def naked(desk: Desk) -> None:
    """99 SOL long on the first venue, no books to hedge in, halted for it."""
    desk.rates()
    desk.apart()
    desk.wait(10)
    desk.quote(1, 100, 100.01)
    desk.wait(1)
    desk.interrupt(0)
    desk.interrupt(1)
    desk.wait(2_000)
    assert desk.portfolio.halted


def hedged(desk: Desk) -> None:
    desk.quote(0, 99.5, 99.6)
    desk.wait(10)
    assert desk.only_trade.status is TradeStatus.CLOSED
    desk.wait(70_000)


def test_capital_moves_at_its_time_and_profit_stays(desk: Desk) -> None:
    trade = desk.open_trade()
    before = desk.portfolio.state()
    flow = desk.instruct("deposit", "1000.5")
    assert flow == FlowPosted(desk.portfolio.seq, desk.now, 1, D("1000.5"), "a test")
    out = desk.instruct("withdraw", "300")
    assert (out.amount, out.instruction) == (D(-300), 2)  # type: ignore[union-attr]
    after = desk.portfolio.state()
    assert after.available_capital - before.available_capital == after.net_flows == D("700.5")
    assert (after.realised, after.cumulative_pnl) == (before.realised, before.cumulative_pnl)
    assert after.active_trades == before.active_trades
    assert trade.id in {each.id for each in after.active_trades}
    desk.wait(61_000)
    assert desk.last(Valued).available_capital == after.available_capital  # type: ignore[union-attr]
    sound(desk)


def test_all_that_is_available_may_go_and_not_a_millionth_more(desk: Desk) -> None:
    desk.open_trade()
    available = desk.portfolio.available
    floor = available.quantize(D("0.000001"), rounding="ROUND_FLOOR")
    refused = desk.instruct("withdraw", str(floor + D("0.000001")))
    assert isinstance(refused, InstructionRefused)
    assert (refused.asked, refused.reason) == (f"withdraw {floor + D('0.000001')}", f"only {available} is available")
    assert desk.portfolio.available == available
    assert isinstance(desk.instruct("withdraw", str(floor)), FlowPosted)
    assert 0 <= desk.portfolio.available < D("0.000001")
    assert desk.portfolio.halted == ""
    sound(desk)


def test_without_capital_nothing_is_entered_and_with_more_it_is(desk: Desk) -> None:
    desk.instruct("withdraw", "20000")
    desk.rates()
    desk.apart()
    assert desk.words(TradeProposed) == []
    desk.instruct("deposit", "5000")
    desk.wait(1)
    desk.apart()
    assert len(desk.words(TradeProposed)) == 1
    desk.wait(40)
    assert desk.words(TradeOpened)
    sound(desk)


def test_a_deposit_is_sized_with(desk: Desk) -> None:
    other = Desk()
    desk.instruct("deposit", "20000")
    for each in (desk, other):
        each.rates()
        each.apart()
    larger, smaller = (each.last(TradeProposed).position_size_usd for each in (desk, other))  # type: ignore[union-attr]
    assert larger > smaller


# --- a halt that somebody ends ---


def test_resumed_after_a_halt_it_enters_again(desk: Desk) -> None:
    naked(desk)
    hedged(desk)
    desk.apart()
    assert len(desk.words(TradeProposed)) == 1
    resumed = desk.instruct("resume")
    assert resumed == EntriesResumed(desk.portfolio.seq, desk.now, 1, "a test")
    assert desk.portfolio.halted == ""
    desk.apart()
    assert len(desk.words(TradeProposed)) == 2
    desk.wait(40)
    assert desk.portfolio.open_trades[0].status is TradeStatus.ACTIVE
    sound(desk)


def test_resumed_it_halts_again_for_the_next_naked_leg(desk: Desk) -> None:
    naked(desk)
    hedged(desk)
    desk.instruct("resume")
    naked(desk)
    assert len(desk.words(Halted)) == 2
    assert desk.portfolio.open_trades[0].id in desk.portfolio.halted
    hedged_again = desk.portfolio.open_trades[0].id
    desk.quote(0, 99.5, 99.6)
    desk.wait(10)
    assert desk.portfolio.trade(hedged_again).status is TradeStatus.CLOSED
    sound(desk)


def test_while_a_leg_is_naked_it_stays_halted(desk: Desk) -> None:
    naked(desk)
    refused = desk.instruct("resume")
    assert isinstance(refused, InstructionRefused)
    assert refused.reason == f"a position is still naked (trade {desk.only_trade.id})"
    assert desk.portfolio.halted
    assert isinstance(desk.instruct("deposit", "5"), FlowPosted), "capital may move meanwhile"
    hedged(desk)
    assert isinstance(desk.instruct("resume"), EntriesResumed)
    sound(desk)


def test_where_nothing_is_halted_nothing_is_resumed(desk: Desk) -> None:
    refused = desk.instruct("resume")
    assert isinstance(refused, InstructionRefused)
    assert (refused.asked, refused.reason) == ("resume", "nothing is halted")
    sound(desk)


def test_without_capital_a_halt_is_ended_by_a_deposit_and_a_resume(desk: Desk) -> None:
    desk.open_trade()
    for _ in range(4):
        desk.settle(1, "-0.3", 100)
        desk.wait(1)
    missing = desk.portfolio.available
    assert missing < 0
    assert isinstance(refused := desk.instruct("resume"), InstructionRefused)
    assert refused.reason == f"available capital is below zero ({missing}): deposit first"
    assert isinstance(desk.instruct("withdraw", "1"), InstructionRefused)
    desk.instruct("deposit", "10000")
    assert desk.portfolio.halted, "a deposit alone resumes nothing"
    assert isinstance(desk.instruct("resume"), EntriesResumed)
    assert desk.portfolio.halted == ""
    sound(desk)


def test_what_the_feed_does_not_list_keeps_it_halted() -> None:
    desk = Desk((NORTH, listing("south"), listing("west")))
    desk.open_trade()
    desk.listings = (NORTH, listing("west"))
    desk.restart()
    assert isinstance(refused := desk.instruct("resume"), InstructionRefused)
    assert refused.reason == "open trades are left alone, the feed does not list south SOLUSDT"
    assert desk.portfolio.halted


# --- order and numbers ---


def test_what_cannot_be_read_is_refused_and_the_next_is_taken(desk: Desk) -> None:
    refused = desk.take(Unreadable(1, "it is no JSON object"))
    assert refused == InstructionRefused(1, desk.now, 1, "", "it is no JSON object")
    assert isinstance(desk.instruct("deposit", "5"), FlowPosted)
    assert desk.portfolio.taken == 2
    sound(desk)


@pytest.mark.parametrize("number", [0, 1, 3, 7])
def test_an_instruction_is_taken_once_and_none_is_passed_over(desk: Desk, number: int) -> None:
    desk.instruct("deposit", "5")
    with pytest.raises(LogError, match=f"instruction {number} is taken after 1"):
        desk.take(Unreadable(number, "why"))
    assert desk.portfolio.taken == 1


def test_what_was_due_before_comes_first_and_what_is_due_then_afterwards(desk: Desk) -> None:
    """An order that arrives in the same nanosecond: at its own time the instruction goes first."""
    desk.rates()
    desk.apart()
    desk.now += NORTH.latency_ns - 1  # the order arrives a nanosecond later
    flow = desk.instruct("deposit", "5")
    assert desk.words(OrderAccepted) == []
    desk.wait(0)
    following = desk.log[flow.seq + 1]
    assert following.time_ns == flow.time_ns
    desk.engine.on_event(Quote(desk.now - 1, 0, units(99), units(1), units(100), units(1)))
    assert desk.engine.rejected["out_of_order"] == 1


def test_killed_after_it_the_rest_of_the_day_is_taken_up(desk: Desk) -> None:
    desk.open_trade()
    desk.instruct("deposit", "123.456789")
    desk.restart()
    assert desk.portfolio.taken == 1
    assert desk.portfolio.net_flows == D("123.456789")
    assert isinstance(desk.instruct("withdraw", "3"), FlowPosted)
    sound(desk)
