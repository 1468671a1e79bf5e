"""Equity, drawdown, daily returns and the summary: flows are neutral, days are UTC days, pieces give the whole."""

from dataclasses import fields
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.telemetry.bad_telemetry import BadTelemetry
from assets.telemetry.performance_monitor import EquityPoint, PerformanceMonitor, PerformanceSummary, sharpe_ratio
from assets.telemetry.performance_tracker import ClosedTrade
from resources.documents import dump_document, load_document

HOUR = 3_600 * 10**9
DAY = 24 * HOUR
START = int(datetime(2026, 11, 18, tzinfo=UTC).timestamp()) * 10**9
CAPITAL = Decimal(20_000)


def point(at_ns: int, equity: str | Decimal | int | None) -> EquityPoint:
    known = None if equity is None else Decimal(equity)
    return EquityPoint(at_ns, known, Decimal(100), Decimal("3.5"), None if known is None else Decimal("-1.25"))


def monitor_of(*steps: tuple[float, str | int | None], capital: Decimal = CAPITAL) -> PerformanceMonitor:
    """A monitor that saw (hours after the start, equity); hours of a flow come as a text of its amount with a +."""
    monitor = PerformanceMonitor(capital, START)
    for hours, value in steps:
        at_ns = START + int(hours * HOUR)
        if isinstance(value, str) and value[0] == "+":
            monitor.flow(at_ns, Decimal(value[1:]))
        else:
            monitor.observe(point(at_ns, value))
    return monitor


def summary_of(hours: float, *steps: tuple[float, str | int | None]) -> PerformanceSummary:
    return monitor_of(*steps).summary(START + int(hours * HOUR))


def test_an_account_that_only_falls_falls_from_its_starting_capital() -> None:
    summary = summary_of(2, (1, 19_000), (2, 18_000))
    assert (summary.max_drawdown, summary.current_drawdown, summary.drawdown_daily) == (Decimal("-0.1"),) * 3
    assert (summary.max_equity, summary.min_equity, summary.peak_equity) == (20_000, 18_000, 20_000)
    assert (summary.total_return, summary.return_bps, summary.daily_pnl) == (Decimal("-0.1"), -1000, -2000)


def test_a_drawdown_stays_when_the_account_recovers_and_the_present_one_does_not() -> None:
    summary = summary_of(3, (1, 25_000), (2, 20_000), (3, 24_000))
    assert (summary.max_drawdown, summary.current_drawdown) == (Decimal("-0.2"), Decimal("-0.04"))


def test_a_deposit_is_no_profit_and_a_withdrawal_no_loss() -> None:
    quiet = summary_of(4, (1, 20_000), (2, "+80000"), (3, 100_000), (3, "+-90000"), (4, 10_000))
    assert (quiet.total_return, quiet.max_drawdown, quiet.daily_pnl) == (0, 0, 0)
    assert (quiet.max_equity, quiet.min_equity, quiet.peak_equity) == (100_000, 10_000, 10_000)


def test_a_loss_after_a_deposit_is_measured_on_what_was_there_to_lose() -> None:
    summary = summary_of(3, (1, "+80000"), (2, 100_000), (3, 90_000))
    assert (summary.max_drawdown, summary.daily_pnl) == (Decimal("-0.1"), -10_000)


def test_the_day_s_drawdown_begins_anew_at_midnight_utc_and_the_other_does_not() -> None:
    evening = summary_of(23, (1, 22_000), (23, 19_800))
    assert (evening.drawdown_daily, evening.max_drawdown) == (Decimal("-0.1"), Decimal("-0.1"))
    morning = summary_of(25, (1, 22_000), (23, 19_800), (24, 19_800), (25, 19_305))
    assert (morning.drawdown_daily, morning.max_drawdown) == (Decimal("-0.025"), Decimal("-0.1225"))
    assert morning.daily_pnl == -495


def test_the_last_valuation_before_midnight_is_the_next_day_s_beginning() -> None:
    """A fall between the last valuation of a day and the first of the next belongs to the next."""
    summary = summary_of(25, (23, 20_000), (25, 19_000))
    assert (summary.drawdown_daily, summary.daily_pnl) == (Decimal("-0.05"), -1000)


def test_today_is_unknown_until_it_is_valued() -> None:
    monitor = monitor_of((1, 19_000))
    yesterday = monitor.summary(START + DAY - 1)
    assert (yesterday.drawdown_daily, yesterday.daily_pnl) == (Decimal("-0.05"), -1000)
    today = monitor.summary(START + DAY)
    assert (today.drawdown_daily, today.daily_pnl) == (None, None)
    assert today.max_drawdown == Decimal("-0.05")
    fresh = PerformanceMonitor(CAPITAL, START).summary(START)
    assert (fresh.drawdown_daily, fresh.daily_pnl, fresh.current_drawdown) == (None, None, None)
    assert (fresh.equity, fresh.cash, fresh.realized, fresh.unrealized, fresh.sharpe_ratio) == (None,) * 5


def test_what_could_not_be_valued_is_unknown_and_no_point_of_the_curve() -> None:
    monitor = monitor_of((1, 19_000), (2, None))
    summary = monitor.summary(START + 2 * HOUR)
    assert (summary.equity, summary.unrealized, summary.current_drawdown) == (None, None, None)
    assert (summary.peak_equity, summary.daily_pnl) == (None, None)
    assert (summary.realized, summary.cash) == (Decimal("3.5"), 100)
    assert (summary.max_drawdown, summary.drawdown_daily) == (Decimal("-0.05"), Decimal("-0.05"))
    assert [each.equity for each in monitor.equity_curve] == [19_000]


def test_daily_returns_are_of_whole_days_from_close_to_close() -> None:
    steps: list[tuple[float, str | int | None]] = [(12, 20_100), (23, 20_200), (36, 1), (47, 20_402), (49, 30_000)]
    monitor = monitor_of(*steps)
    assert monitor.daily_returns == (Decimal("0.01"), Decimal("0.01"))
    assert monitor.summary(START + 50 * HOUR).sharpe_days == 2


def test_one_day_without_a_valuation_is_carried_forward_and_a_longer_gap_has_no_return() -> None:
    assert monitor_of((1, 20_200), (49, 20_200), (73, 1)).daily_returns == (Decimal("0.01"), 0, 0)
    # Days 1 and 2 are missing: what happened over them is no day's return, and day 3 begins at its first valuation.
    gap = monitor_of((1, 20_200), (73, 40_400), (74, 44_440), (97, 44_440))
    assert gap.daily_returns == (Decimal("0.01"), Decimal("0.1"))
    assert gap.summary(START + 97 * HOUR).total_return == Decimal("1.222")
    after = monitor_of((1, 20_200), (73, 40_400)).summary(START + 73 * HOUR)
    assert (after.daily_pnl, after.drawdown_daily) == (None, 0)


def test_ruin_is_a_drawdown_of_all_and_no_deposit_heals_it() -> None:
    summary = summary_of(4, (1, -500), (2, "+40000"), (3, 39_500), (4, 60_000))
    assert (summary.max_drawdown, summary.current_drawdown, summary.total_return) == (-1, -1, -1)
    assert (summary.min_equity, summary.peak_equity) == (-500, None)


def test_an_empty_account_neither_earns_nor_loses_until_it_loses_what_it_has_not() -> None:
    assert summary_of(2, (1, "+-20000"), (1, 0), (2, 0)).total_return == 0
    assert summary_of(2, (1, "+-20000"), (1, 0), (2, -1)).max_drawdown == -1


def test_the_curve_is_bounded_and_keeps_the_newest() -> None:
    monitor = PerformanceMonitor(CAPITAL, START, curve_points=3)
    for hour in range(5):
        monitor.observe(point(START + hour * HOUR, 20_000 + hour))
    assert [each.equity for each in monitor.equity_curve] == [20_002, 20_003, 20_004]


def test_nothing_is_folded_out_of_order() -> None:
    monitor = monitor_of((2, 20_000))
    for late in (
        lambda: monitor.observe(point(START + HOUR, 1)),
        lambda: monitor.flow(START, Decimal(1)),
        lambda: monitor.record(trade(START, "1")),
        lambda: monitor.summary(START),
    ):
        with pytest.raises(BadTelemetry, match="folded already"):
            late()
    assert monitor.summary(START + 2 * HOUR).total_trades == 0


@pytest.mark.parametrize("bad", [Decimal("NaN"), Decimal("-Infinity"), 1.0])
def test_a_number_that_is_none_is_refused(bad: Decimal) -> None:
    with pytest.raises(BadTelemetry, match="amount"):
        monitor_of().flow(START, bad)
    for field in ("equity", "cash", "realized", "unrealized"):
        values = dict.fromkeys(("equity", "cash", "realized", "unrealized"), Decimal(1)) | {field: bad}
        with pytest.raises(BadTelemetry, match=field):
            EquityPoint(START, **values)
    with pytest.raises(BadTelemetry, match="together"):
        EquityPoint(START, None, Decimal(1), Decimal(1), Decimal(1))
    with pytest.raises(BadTelemetry, match="starting_capital"):
        PerformanceMonitor(Decimal(0), START)


def test_the_summary_has_the_brief_s_names() -> None:
    names = {field.name for field in fields(PerformanceSummary)}
    assert names >= {"pnl_usd", "pnl_bps", "realized", "unrealized", "gross_pnl_total", "net_pnl_total", "fees_total"}
    assert names >= {"return_bps", "total_return", "sharpe_ratio", "win_rate", "win_rate_1h", "winning_trades"}
    assert names >= {"total_trades", "max_drawdown", "drawdown_daily", "current_drawdown", "max_equity", "min_equity"}


def test_closed_trades_are_summed_on_one_basis() -> None:
    monitor = monitor_of()
    for pnl, fees in (("10", "2"), ("-1", "3"), ("0", "1")):
        monitor.record(trade(START, pnl, fees))
    summary = monitor.summary(START)
    assert (summary.gross_pnl_total, summary.net_pnl_total, summary.fees_total, summary.pnl_usd) == (15, 9, 6, 9)
    assert (summary.winning_trades, summary.total_trades, summary.pnl_bps) == (1, 3, 30)
    assert summary.win_rate == summary.win_rate_1h == Decimal("0.333333333333")


def trade(at_ns: int, pnl: str | Decimal, fees: str | Decimal = "1") -> ClosedTrade:
    return ClosedTrade(Decimal(pnl), Decimal(fees), Decimal(1000), None, at_ns, at_ns, "carry", None, "loss_limit")


@pytest.mark.parametrize("returns", [[], ["0.01"], ["0.01", "0.01", "0.01"], ["0", "0"]])
def test_a_sharpe_ratio_without_spread_is_undefined(returns: list[str]) -> None:
    assert sharpe_ratio(Decimal(each) for each in returns) is None


@settings(max_examples=40)
@given(st.lists(st.decimals("-0.5", "0.5", places=6), min_size=2, max_size=40))
def test_the_sharpe_ratio_is_the_textbook_one(returns: list[Decimal]) -> None:
    sample = np.array([float(each) for each in returns])
    value = sharpe_ratio(returns)
    if value is None:
        assert sample.std(ddof=1) < 1e-11
    else:
        assert float(value) == pytest.approx(sample.mean() / sample.std(ddof=1) * np.sqrt(365), rel=1e-9, abs=1e-9)


# One step: how long after the one before, what happens, and its amount.
STEPS = st.lists(
    st.tuples(
        st.integers(0, 20 * HOUR),
        st.sampled_from(["observe", "observe", "flow", "record", "unvalued"]),
        st.decimals(-9_000, 9_000, places=4),
    ),
    max_size=30,
)
Step = tuple[int, str, Decimal]


def play(monitor: PerformanceMonitor, steps: list[Step], now_ns: int) -> int:
    """Equities are 5,000 and an amount, so they may lie below zero."""
    for wait, kind, amount in steps:
        now_ns += wait
        if kind == "observe":
            monitor.observe(point(now_ns, Decimal(5_000) + amount))
        elif kind == "unvalued":
            monitor.observe(point(now_ns, None))
        elif kind == "flow":
            monitor.flow(now_ns, amount)
        else:
            monitor.record(trade(now_ns, amount, abs(amount)))
    return now_ns


@settings(max_examples=150)
@given(STEPS, st.data())
def test_a_monitor_that_goes_on_from_stored_bytes_knows_what_one_over_all_does(
    steps: list[Step], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(steps)))
    whole, first = PerformanceMonitor(CAPITAL, START, 5), PerformanceMonitor(CAPITAL, START, 5)
    now = play(whole, steps, START)
    middle = play(first, steps[:cut], START)
    second = PerformanceMonitor.resumed(load_document(dump_document(first.carried())))
    assert play(second, steps[cut:], middle) == now
    assert second.summary(now) == whole.summary(now)
    assert second.carried() == whole.carried()
    assert second.equity_curve == whole.equity_curve
    assert second.daily_returns == whole.daily_returns


@settings(max_examples=150)
@given(STEPS)
def test_a_drawdown_is_a_loss_of_at_most_all(steps: list[Step]) -> None:
    monitor = PerformanceMonitor(CAPITAL, START)
    deepest = monitor.max_drawdown
    now = START
    for step in steps:
        now = play(monitor, [step], now)
        summary = monitor.summary(now)
        assert -1 <= summary.max_drawdown <= 0
        assert summary.max_drawdown <= deepest
        deepest = summary.max_drawdown
        for value in (summary.current_drawdown, summary.drawdown_daily):
            assert value is None or summary.max_drawdown <= value <= 0


@settings(max_examples=150)
@given(
    st.lists(st.tuples(st.decimals("0.5", "1.5", places=3), st.decimals(0, 50_000, places=2)), min_size=1, max_size=15)
)
def test_flows_change_no_return_and_no_drawdown(moves: list[tuple[Decimal, Decimal]]) -> None:
    """The same relative moves, once with the capital alone and once with deposits in between."""
    alone, fed = PerformanceMonitor(CAPITAL, START), PerformanceMonitor(CAPITAL, START)
    value = other = CAPITAL
    for number, (factor, deposit) in enumerate(moves):
        now = START + number * 7 * HOUR
        value, other = value * factor, (other + deposit) * factor
        alone.observe(point(now, value))
        fed.flow(now, deposit)
        fed.observe(point(now, other))
    ours, theirs = alone.summary(now), fed.summary(now)
    for name in ("total_return", "max_drawdown", "current_drawdown", "drawdown_daily"):
        # Factors are rounded to 28 digits when equities are made here: the last shown digit may differ.
        assert getattr(ours, name) == pytest.approx(getattr(theirs, name), abs=Decimal("1e-11"))


@pytest.mark.parametrize("broken", [{}, {"curve": 1}, {"index": "x"}, {"totals": {}}, {"day": "today"}])
def test_what_is_no_stored_monitor_is_refused(broken: dict[str, object]) -> None:
    document = monitor_of((1, 19_000)).carried() | broken if broken else {}
    with pytest.raises(BadTelemetry, match="no state of a monitor"):
        PerformanceMonitor.resumed(document)
