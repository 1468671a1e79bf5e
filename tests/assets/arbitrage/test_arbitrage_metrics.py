"""The shown figures: each as defined, and None wherever it is not."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings

from assets.accounting.precision import EXACT, ZERO
from assets.arbitrage.codec import value_from_document, value_to_document
from assets.arbitrage.metrics import DailyMetrics, DayTally, portfolio_metrics, trade_statistics
from assets.arbitrage.model import Leg, PaperTrade, PortfolioState, Purpose
from assets.arbitrage.portfolio import Portfolio
from resources.documents import dump_document, load_document
from resources.feed import NANOSECONDS
from tests.arbitrage_parts import C0, DAY, DAY_NS, DAY_START, NEXT_DAY, LogWriter, logs, rich_log

D = Decimal
START = DAY_START

_NOTHING: dict[str, Any] = {
    "starting_capital": C0,
    "available_capital": C0,
    "total_open_positions": D(0),
    "net_flows": D(0),
    "realised": D(0),
    "active_trades": (),
    "closed_trades": (),
    "cumulative_pnl": D(0),
    "win_count": 0,
    "loss_count": 0,
    "leg_out_count": 0,
    "leg_out_total_loss": D(0),
    "halted": "",
    "break_even_count": 0,
    "first_trade_at": None,
}


def state(**fields: Any) -> PortfolioState:
    return PortfolioState(**(_NOTHING | fields))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"win_count": 4, "loss_count": 1}, D("0.8")),
        ({"break_even_count": 2}, D(0)),
        ({"win_count": 1, "loss_count": 1, "break_even_count": 2}, D("0.25")),
    ],
    ids=["none closed", "brief's screen", "break-even only", "break-even below the line"],
)
def test_win_rate(fields: dict[str, Any], expected: Decimal | None) -> None:
    metrics = portfolio_metrics(state(**fields), START)
    assert metrics.win_rate == expected
    assert metrics.total_trades == sum(fields.values())


@pytest.mark.parametrize(
    ("pnl", "loss", "share", "bps"),
    [
        ("250", "10", "0.04", "5"),
        ("0", "10", None, "5"),
        ("-5", "10", None, "5"),
        ("250", "0", "0", "0"),
        ("5", "10", "2", "5"),
    ],
    ids=["of a profit", "of nothing", "of a loss", "no leg-out", "more than what was left"],
)
def test_leg_out_loss(pnl: str, loss: str, share: str | None, bps: str) -> None:
    metrics = portfolio_metrics(state(cumulative_pnl=D(pnl), leg_out_total_loss=D(loss)), START)
    assert metrics.leg_out_loss_pct == (None if share is None else D(share))
    assert metrics.leg_out_loss_bps == D(bps)


@pytest.mark.parametrize(
    ("elapsed_ns", "apr", "provisional"),
    [
        (None, None, True),
        (60 * NANOSECONDS, None, True),  # 10 USD after one minute would read 26 280 %
        (DAY_NS - 1, None, True),
        (DAY_NS, D("0.1825"), True),
        (7 * DAY_NS - 1, D("0.0260714285714"), True),
        (7 * DAY_NS, D("0.0260714285714"), False),
        (365 * DAY_NS, D("0.0005"), False),
        (36 * 3_600 * NANOSECONDS, D("0.121666666667"), True),
    ],
)
def test_annual_rate(elapsed_ns: int | None, apr: Decimal | None, provisional: bool) -> None:
    first = None if elapsed_ns is None else START
    metrics = portfolio_metrics(state(cumulative_pnl=D(10), first_trade_at=first), START + (elapsed_ns or 0))
    assert metrics.realistic_apr == apr
    assert metrics.apr_provisional is provisional


@pytest.mark.parametrize(
    ("open_size", "available", "unrealized", "of_capital", "of_equity"),
    [
        ("5000", "15000", "0", "0.25", "0.25"),
        ("5000", "15000", "-10000", "0.25", "0.5"),
        ("5000", "15000", None, "0.25", None),
        ("5000", "-1000", "-4000", "0.25", None),
        ("5000", "-1000", "-5000", "0.25", None),
        ("0", "20000", "0", "0", "0"),
    ],
    ids=["brief's screen", "after a loss", "unknown value", "no equity", "negative equity", "nothing open"],
)
def test_utilisation(
    open_size: str, available: str, unrealized: str | None, of_capital: str, of_equity: str | None
) -> None:
    metrics = portfolio_metrics(
        state(total_open_positions=D(open_size), available_capital=D(available)),
        START,
        None if unrealized is None else D(unrealized),
    )
    assert metrics.utilization_pct == D(of_capital)
    assert metrics.utilization_of_equity == (None if of_equity is None else D(of_equity))


def test_the_briefs_screen() -> None:
    """Capital $20,000, available $15,000, utilisation 25 %, trades 5, win rate 80 %, P&L +$250 (+1.25 %)."""
    shown = portfolio_metrics(
        state(
            available_capital=D(15_250),
            total_open_positions=D(5_000),
            realised=D(250),
            cumulative_pnl=D(250),
            win_count=4,
            loss_count=1,
            leg_out_count=1,
            first_trade_at=START,
        ),
        START + 10 * DAY_NS,
    )
    assert (shown.total_trades, shown.win_rate, shown.utilization_pct) == (5, D("0.8"), D("0.25"))
    assert (shown.cumulative_pnl, shown.pnl_percentage, shown.leg_out_count) == (D(250), D("0.0125"), 1)
    assert shown.realistic_apr == D("0.45625")
    assert not shown.apr_provisional


@settings(max_examples=30)
@given(logs())
def test_undefined_ratios_are_none_and_the_others_make_sense(log: LogWriter) -> None:
    current = log.portfolio.state()
    metrics = portfolio_metrics(current, log.now + 2 * DAY_NS, D(0))
    assert metrics.total_trades == len(current.closed_trades)
    assert (metrics.win_rate is None) == (metrics.total_trades == 0)
    assert metrics.win_rate is None or 0 <= metrics.win_rate <= 1
    assert (metrics.realistic_apr is None) == (current.first_trade_at is None)
    assert (metrics.leg_out_loss_pct is None) == (current.cumulative_pnl <= 0)
    assert metrics.available_capital == current.available_capital


# Closed trades


def with_profits(*profits: str) -> list[PaperTrade]:
    """Closed trades that earned exactly these amounts, through a log."""
    log = LogWriter()
    for profit in profits:
        trade_id = log.opened_trade()
        log.exit(trade_id)
        log.fill(log.send(trade_id, Leg.LONG, Purpose.EXIT), fee="0")
        price = EXACT.subtract(EXACT.subtract(D(101), D(profit)), log.portfolio.trade(trade_id).fees_usd)
        log.fill(log.send(trade_id, Leg.SHORT, Purpose.EXIT, price=price), fee="0")
        log.close(trade_id)
    return list(log.portfolio.closed_trades)


def test_no_closed_trade_has_no_statistics() -> None:
    log = LogWriter()
    log.opened_trade()
    statistics = trade_statistics(log.portfolio.open_trades)
    assert (statistics.trades, statistics.pnl) == (0, ZERO)
    undefined = (statistics.win_rate, statistics.profit_factor, statistics.expectancy, statistics.average_win)
    assert undefined == (None, None, None, None)
    assert (statistics.average_loss, statistics.payoff, statistics.best, statistics.worst) == (None, None, None, None)


def test_statistics_by_hand() -> None:
    statistics = trade_statistics(with_profits("3", "1", "-2", "0", "-1", "-1", "4"))
    assert (statistics.trades, statistics.wins, statistics.losses, statistics.break_even) == (7, 3, 3, 1)
    assert (statistics.pnl, statistics.best, statistics.worst) == (D(4), D(4), D(-2))
    assert statistics.profit_factor == D(2)
    assert statistics.average_win == D("2.66666666667")
    assert statistics.average_loss == D("-1.33333333333")
    assert statistics.payoff == D(2)
    assert statistics.expectancy == D("0.571428571429")
    assert statistics.win_rate == D("0.428571428571")
    assert (statistics.longest_win_streak, statistics.longest_loss_streak) == (2, 2)


@pytest.mark.parametrize(
    ("profits", "factor", "payoff", "average_win", "average_loss"),
    [
        (("1", "2"), None, None, "1.5", None),
        (("-1", "-2"), "0", None, None, "-1.5"),
        (("0",), None, None, None, None),
        (("1", "-4"), "0.25", "0.25", "1", "-4"),
    ],
    ids=["no losses", "no wins", "break-even", "one of each"],
)
def test_statistics_that_are_undefined(
    profits: tuple[str, ...],
    factor: str | None,
    payoff: str | None,
    average_win: str | None,
    average_loss: str | None,
) -> None:
    statistics = trade_statistics(with_profits(*profits))
    shown = (statistics.profit_factor, statistics.payoff, statistics.average_win, statistics.average_loss)
    assert shown == tuple(None if each is None else D(each) for each in (factor, payoff, average_win, average_loss))


# One day


def tallied(log: LogWriter, portfolio: Portfolio | None = None) -> DayTally:
    tally = DayTally(portfolio or Portfolio())
    for event in log.events:
        tally.apply(event)
    return tally


def test_a_day_by_its_events() -> None:
    log = rich_log()
    day = tallied(log).metrics()
    assert (day.day, day.source, day.halted) == (DAY, "SIMULATED", "naked")
    assert (day.opened, day.abandoned, day.leg_outs, day.open_at_end) == (4, 1, 2, 2)
    assert day.exits == {"leg_out": 1, "profit_target": 3}
    assert day.refused == {"no_depth": 1}
    assert day.leg_out_loss == D("0.23")
    assert day.net_flows == D("500.25")
    assert day.fills == 17  # 2 x 4, 2 of the unwound entry, 5 of the trade that legged out at exit, 2 of the open one
    assert (day.realised, day.fees, day.funding) == (
        log.portfolio.realised,
        log.portfolio.fees,
        log.portfolio.funding,
    )
    assert day.statistics == trade_statistics(log.portfolio.closed_trades)
    assert day.utilization_max == D("0.02")
    assert day.available_low == min(C0, log.portfolio.available)


def test_the_next_day_counts_only_its_own() -> None:
    first = rich_log()
    carried = first.portfolio.carried_document("a" * 64)
    second = LogWriter(
        Portfolio.from_carried(carried), day=NEXT_DAY, start_ns=START + DAY_NS, carried_day=DAY, carried="a" * 64
    )
    active = second.portfolio.open_trades[0].id
    second.fund(active, Leg.SHORT, "0.001")
    second.exit(active)
    for leg in Leg:
        second.trade_leg(active, leg, Purpose.EXIT, "0.5", "100")
    second.close(active)
    day = tallied(second, Portfolio.from_carried(carried)).metrics()
    assert (day.statistics.trades, day.opened, day.fills, day.leg_outs) == (1, 0, 2, 0)
    assert (day.net_flows, day.fees, day.funding) == (D(0), D("0.05"), D("0.05"))
    assert day.realised == D("0.5")
    assert day.utilization_max == D("0.02")
    assert day.halted == ""  # the halt ended with its day, as nothing is naked
    assert day.open_at_end == 1


def test_the_days_of_a_portfolio_add_up() -> None:
    first = rich_log()
    carried = first.portfolio.carried_document("a" * 64)
    second = LogWriter(
        Portfolio.from_carried(carried), day=NEXT_DAY, start_ns=START + DAY_NS, carried_day=DAY, carried="a" * 64
    )
    second.flow("-7")
    second.fund(second.portfolio.open_trades[0].id, Leg.LONG, "0.002")
    days = [tallied(first).metrics(), tallied(second, Portfolio.from_carried(carried)).metrics()]
    for name in ("realised", "fees", "funding", "net_flows"):
        assert EXACT.add(getattr(days[0], name), getattr(days[1], name)) == getattr(second.portfolio, name)


@settings(max_examples=25)
@given(logs())
def test_a_day_survives_json(log: LogWriter) -> None:
    day = tallied(log).metrics()
    assert value_from_document(DailyMetrics, load_document(dump_document(value_to_document(day)))) == day
    assert day.statistics.trades == day.statistics.wins + day.statistics.losses + day.statistics.break_even
    assert sum(day.exits.values()) == day.statistics.trades


def test_a_day_is_counted_from_its_first_event_on() -> None:
    with pytest.raises(ValueError, match="no event yet"):
        DayTally(Portfolio()).metrics()
    with pytest.raises(ValueError, match=f"the day of {DAY} has begun: 1 events are folded"):
        DayTally(LogWriter().portfolio)
