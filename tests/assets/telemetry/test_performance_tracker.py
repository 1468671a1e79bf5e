"""Closed trades: brief 4's fields, one basis for wins and totals, sums that add up however they are cut."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.telemetry.bad_telemetry import BadTelemetry
from assets.telemetry.performance_tracker import HOUR_NS, ClosedTrade, PerformanceTracker, TradeTotals

START = 1_763_424_000 * 10**9
SECOND = 10**9
TRADE = ClosedTrade(
    pnl_usd=Decimal("12.5"),
    fees_usd=Decimal("2.5"),
    notional_usd=Decimal(5000),
    slippage_bps=Decimal("2.1"),
    opened_ns=START,
    closed_ns=START + 1_500_000_001,
    strategy="cash_and_carry",
    confidence=82,
    close_reason="profit_target",
)
MONEY = st.decimals(-500, 500, places=8)


def closing(pnl: str | Decimal, at_ns: int, fees: str | Decimal = "1") -> ClosedTrade:
    return replace(TRADE, pnl_usd=Decimal(pnl), fees_usd=Decimal(fees), opened_ns=at_ns, closed_ns=at_ns)


@st.composite
def histories(draw: st.DrawFn) -> list[ClosedTrade]:
    steps = draw(st.lists(st.tuples(st.integers(0, 2 * HOUR_NS), MONEY | st.just(Decimal(0)), MONEY), max_size=25))
    now, trades = START, []
    for step, pnl, fees in steps:
        now += step
        trades.append(closing(pnl, now, abs(fees)))
    return trades


def tracked(trades: list[ClosedTrade]) -> PerformanceTracker:
    tracker = PerformanceTracker()
    for trade in trades:
        tracker.record(trade)
    return tracker


def test_a_trade_has_the_brief_s_fields() -> None:
    performance = PerformanceTracker().record(TRADE)
    assert {name: getattr(performance, name) for name in type(performance).__slots__} == {
        "pnl_usd": Decimal("12.5"),
        "pnl_bps": Decimal(25),
        "fees_usd": Decimal("2.5"),
        "slippage_bps": Decimal("2.1"),
        "hold_time_seconds": Decimal("1.500000001"),
        "strategy": "cash_and_carry",
        "confidence": 82,
        "close_reason": "profit_target",
    }


def test_a_trade_that_earns_less_than_its_fees_is_a_loss() -> None:
    """The predecessor called it a win: gross +1, fees 3."""
    totals = tracked([closing("-2", START, fees="3")]).totals
    assert (totals.gross_pnl_usd, totals.pnl_usd, totals.winning_trades, totals.losing_trades) == (1, -2, 0, 1)


def test_break_even_counts_below_the_line_only() -> None:
    totals = tracked([closing("1", START), closing("0", START), closing("0", START), closing("-1", START)]).totals
    assert (totals.total_trades, totals.winning_trades, totals.losing_trades, totals.even_trades) == (4, 1, 1, 2)
    assert totals.win_rate == Decimal("0.25")


def test_without_a_trade_rates_are_undefined_and_sums_are_zero() -> None:
    tracker = PerformanceTracker()
    assert (tracker.totals.win_rate, tracker.totals.pnl_bps, tracker.win_rate_1h(START)) == (None, None, None)
    assert (tracker.totals.pnl_usd, tracker.totals.total_trades) == (0, 0)


def test_the_hour_ends_now_and_its_beginning_is_not_in_it() -> None:
    tracker = tracked([closing("-1", START), closing("1", START + SECOND)])
    assert tracker.win_rate_1h(START + SECOND) == Decimal("0.5")
    assert tracker.win_rate_1h(START + HOUR_NS - 1) == Decimal("0.5")
    assert tracker.win_rate_1h(START + HOUR_NS) == 1
    assert tracker.win_rate_1h(START + HOUR_NS + SECOND) is None


def test_a_trade_out_of_order_is_refused_and_not_counted() -> None:
    tracker = tracked([closing("1", START + SECOND)])
    with pytest.raises(BadTelemetry, match="counted already"):
        tracker.record(closing("1", START))
    assert tracker.totals.total_trades == 1
    with pytest.raises(BadTelemetry, match="before the newest"):
        tracker.win_rate_1h(START)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("pnl_usd", Decimal("NaN")),
        ("pnl_usd", 1.5),
        ("pnl_usd", True),
        ("fees_usd", Decimal("Infinity")),
        ("notional_usd", Decimal(0)),
        ("notional_usd", Decimal(-5)),
        ("slippage_bps", Decimal("sNaN")),
        ("opened_ns", 0),
        ("closed_ns", START - 1),
        ("closed_ns", 1.7e18),
        ("confidence", 101),
        ("confidence", -1),
        ("strategy", ""),
        ("close_reason", ""),
    ],
)
def test_what_no_trade_can_be_is_refused(field: str, value: object) -> None:
    with pytest.raises(BadTelemetry) as caught:
        replace(TRADE, **{field: value})
    assert caught.value.field == field


@settings(max_examples=50)
@given(histories())
def test_win_and_loss_and_even_are_all_and_gross_less_fees_is_net(trades: list[ClosedTrade]) -> None:
    totals = tracked(trades).totals
    assert totals.winning_trades == sum(trade.pnl_usd > 0 for trade in trades)
    assert totals.losing_trades == sum(trade.pnl_usd < 0 for trade in trades)
    assert totals.winning_trades + totals.losing_trades + totals.even_trades == totals.total_trades == len(trades)
    assert totals.gross_pnl_usd - totals.fees_usd == totals.pnl_usd == sum(trade.pnl_usd for trade in trades)
    assert totals.win_rate is None or 0 <= totals.win_rate <= 1


@settings(max_examples=50)
@given(histories(), st.data())
def test_the_totals_of_pieces_add_up_to_the_totals_of_the_whole(trades: list[ClosedTrade], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(trades)))
    assert tracked(trades[:cut]).totals.plus(tracked(trades[cut:]).totals) == tracked(trades).totals
    assert tracked(trades).totals.plus(TradeTotals()) == tracked(trades).totals


@settings(max_examples=50)
@given(histories(), st.integers(0, 2 * HOUR_NS))
def test_the_rate_of_the_last_hour_is_that_of_all_trades_looked_through(trades: list[ClosedTrade], later: int) -> None:
    now = (trades[-1].closed_ns if trades else START) + later
    last_hour = [trade for trade in trades if now - HOUR_NS < trade.closed_ns <= now]
    expected = tracked(last_hour).totals.win_rate
    assert tracked(trades).win_rate_1h(now) == expected


def test_memory_does_not_grow_with_history() -> None:
    tracker = tracked([closing("1", START + number * 60 * SECOND) for number in range(500)])
    assert len(tracker.recent) == 60
    assert tracker.totals.total_trades == 500
