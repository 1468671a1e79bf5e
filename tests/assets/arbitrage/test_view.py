"""The view restates the fold and the quotes, adds up to the last digit, and survives its document unchanged."""

from dataclasses import fields, replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.accounting.precision import EXACT
from assets.arbitrage.events import Valued
from assets.arbitrage.instructions import TAKEN
from assets.arbitrage.model import Leg, Purpose
from assets.arbitrage.portfolio import Portfolio
from assets.arbitrage.rules import Rules
from assets.arbitrage.scanner import Scanner
from assets.arbitrage.view import (
    CapitalPoint,
    TraderView,
    build_view,
    capital_point,
    instruction_row,
    live_document,
    live_from_document,
    view_from_document,
    view_to_document,
)
from resources.documents import dump_document, load_document
from resources.feed import UNITS, FundingQuote, Interrupted, Quote
from tests.arbitrage_parts import DAY_START, LISTINGS, LogWriter, logs, rich_log

SECOND = 10**9


def quoting(now_ns: int, long_bid: str = "100.5", short_ask: str = "100.8") -> Scanner:
    """binance and bybit one tick wide at ``now_ns``, the short leg's funding one basis point above the long one's."""
    scanner = Scanner(LISTINGS, Rules())
    tick = Decimal("0.1")
    for index, (bid, ask) in enumerate(
        ((Decimal(long_bid), Decimal(long_bid) + tick), (Decimal(short_ask) - tick, Decimal(short_ask)))
    ):
        scanner.on_event(
            FundingQuote(now_ns, index, Decimal("0.0001") * (index + 1), now_ns + 3600 * SECOND, 8 * 3600 * SECOND)
        )
        scanner.on_event(Quote(now_ns, index, int(bid * UNITS), 50 * UNITS, int(ask * UNITS), 50 * UNITS))
    return scanner


def view_of(log: LogWriter, scanner: Scanner | None = None, shown: int = 50) -> TraderView:
    capital = [capital_point(event) for event in log.events if isinstance(event, Valued)]
    taken, folding = [], Portfolio()
    for event in log.events:
        folding.apply(event)
        if isinstance(event, TAKEN):
            taken.append(instruction_row(event, folding))
    return build_view(log.portfolio, scanner or quoting(log.now), capital, log.now, instructions=taken, shown=shown)


def test_an_open_trade_is_valued_at_the_sides_it_would_be_closed_at_with_all_four_fees() -> None:
    log = LogWriter()
    trade_id = log.opened_trade("2", "100", "101")
    log.wait(SECOND)
    log.fund(trade_id, Leg.SHORT, "0.0003", "101")
    (row,) = view_of(log).active
    fees_in = Decimal("0.1") + Decimal("0.101")  # 5 bp of 2 x 100 and 2 x 101
    fees_out = 2 * (Decimal("100.5") + Decimal("100.8")) * Decimal("0.0005")
    moved = 2 * ((Decimal("100.5") - 100) + (101 - Decimal("100.8")))
    assert row.unrealized_pnl == moved - fees_in - fees_out + Decimal("0.0606")
    assert row.current_spread_bps == Decimal("29.85074627")  # 0.3 of 100.5
    assert (row.ticker, row.long_exchange, row.short_exchange) == ("BTCUSDT", "binance", "bybit")
    assert (row.entry_spread_bps, row.quantity, row.status) == (100, 2, "Active")
    assert (row.funding_delta, row.missing) == (Decimal("0.0001"), ())


def test_a_trade_opened_in_part_is_shown_with_what_that_part_takes_and_promises() -> None:
    log = LogWriter()
    trade_id = log.propose("8", "900")
    for leg in Leg:
        log.trade_leg(trade_id, leg, Purpose.ENTRY, "3", "100")
    log.open(trade_id)
    view = view_of(log)
    (row,) = view.active
    assert (row.quantity, row.position_size_usd, row.projected_profit) == (3, Decimal("337.5"), Decimal("0.1875"))
    assert view.total_open_positions == Decimal("337.5")
    assert view.metrics.utilization_pct == Decimal("0.016875")


def test_equity_is_what_closing_everything_would_leave() -> None:
    log = rich_log()
    view = view_of(log)
    assert view.unrealized_pnl == sum(row.unrealized_pnl or 0 for row in view.active)
    portfolio = log.portfolio
    expected = portfolio.starting_capital + portfolio.net_flows + portfolio.cumulative_pnl + view.unrealized_pnl
    assert view.equity == expected
    # Close the open trade at those very prices: equity becomes capital to the last digit.
    halted = LogWriter()
    trade_id = halted.opened_trade("0.5")
    before = view_of(halted, quoting(halted.now))
    halted.exit(trade_id)
    halted.trade_leg(trade_id, Leg.LONG, Purpose.EXIT, "0.5", "100.5")
    halted.trade_leg(trade_id, Leg.SHORT, Purpose.EXIT, "0.5", "100.8")
    closed = halted.close(trade_id)
    assert before.equity == halted.portfolio.available
    assert before.active[0].unrealized_pnl == closed.actual_profit_usd
    assert view_of(halted).equity == halted.portfolio.available


def test_a_missing_quote_leaves_its_trade_and_the_totals_undefined_and_names_the_venue() -> None:
    log = LogWriter()
    log.opened_trade()
    scanner = quoting(log.now)
    scanner.on_event(Interrupted(log.now, 1))
    view = view_of(log, scanner)
    (row,) = view.active
    assert (row.unrealized_pnl, row.current_spread_bps, row.missing) == (None, None, ("bybit",))
    assert (view.equity, view.unrealized_pnl, view.metrics.utilization_of_equity) == (None, None, None)
    assert view.metrics.available_capital == log.portfolio.available


def test_stale_quotes_are_missing_quotes() -> None:
    log = LogWriter()
    log.opened_trade()
    scanner = quoting(log.now)
    log.wait(Rules().stale_quote_ns)
    assert view_of(log, scanner).active[0].missing == ()
    log.wait(1)
    assert view_of(log, scanner).active[0].missing == ("binance", "bybit")


def test_a_proposal_without_a_fill_is_not_yet_an_active_trade_and_a_naked_leg_is_one() -> None:
    log = LogWriter()
    trade_id = log.propose()
    assert view_of(log).active == ()
    log.trade_leg(trade_id, Leg.LONG, Purpose.ENTRY, "1", "100")
    (row,) = view_of(log).active
    assert (row.status, row.unrealized_pnl) == ("Pending", Decimal("0.5") - Decimal("0.05") - Decimal("0.05025"))


def test_exits_and_leg_outs_come_newest_first_and_no_more_than_asked_for() -> None:
    view = view_of(rich_log())
    assert [row.reason for row in view.exits] == ["profit_target", "leg_out", "profit_target", "profit_target"]
    assert [row.exit_time_ns for row in view.exits] == sorted((row.exit_time_ns for row in view.exits), reverse=True)
    assert [(row.phase, row.filled_leg, row.cost) for row in view.leg_outs] == [
        ("exit", "long", Decimal("0.2")),
        ("entry", "long", Decimal("0.03")),
    ]
    short = view_of(rich_log(), shown=1)
    assert (short.exits, short.leg_outs) == (view.exits[:1], view.leg_outs[:1])
    assert short.metrics == view.metrics


def test_the_capital_curve_is_that_of_the_valued_events() -> None:
    view = view_of(rich_log())
    assert [point.equity is None for point in view.capital] == [False, True]
    point = view.capital[0]
    assert isinstance(point, CapitalPoint)
    assert point.equity == point.available + point.open + Decimal("0.125")


def test_opportunities_are_shown_with_prices_points_and_why_they_are_not_traded() -> None:
    log = LogWriter()
    scanner = quoting(log.now, "100", "101")
    (row,) = view_of(log, scanner).opportunities
    assert (row.long_ask, row.short_bid) == (Decimal("100.1"), Decimal("100.9"))
    assert (row.ticker, row.tradable, row.confidence) == ("BTCUSDT", "", 75)
    assert row.confidence_parts == (("spread", 50), ("funding", 10), ("depth", 5), ("freshness", 10))
    log.wait(SECOND)
    scanner.on_event(Interrupted(log.now, 0))
    view = view_of(log, scanner)
    (gone,) = view.removed
    assert view.opportunities == ()
    assert (gone.removed_reason, gone.removed_ns) == ("interrupted", log.now)
    assert replace(gone, removed_ns=None, removed_reason="") == row


def test_refused_events_of_scanner_and_others_are_counted_together() -> None:
    log = LogWriter()
    scanner = quoting(log.now)
    scanner.on_event(Quote(log.now, 9, 1, 1, 2, 1))
    view = build_view(log.portfolio, scanner, (), log.now, refused={"unknown_listing": 2, "bad_depth": 1})
    assert view.counts == (("bad_depth", 1), ("unknown_listing", 3))
    assert view.venues == (("binance", DAY_START), ("bybit", DAY_START))


def test_a_view_is_its_document_again() -> None:
    log = rich_log()
    scanner = quoting(log.now, "100", "101")
    scanner.on_event(Quote(log.now, 5, 1, 1, 2, 1))
    view = view_of(log, scanner)
    assert all(getattr(view, field.name) for field in fields(view) if field.name not in ("removed", "equity"))
    stored = dump_document(view_to_document(view))
    assert view_from_document(load_document(stored)) == view


def test_what_became_of_instructions_is_shown_newest_first() -> None:
    log = LogWriter()
    log.flow("500.5")
    log.propose(size="100")
    log.flow("-20000")
    log.halt()
    log.resume()
    log.refuse_instruction("nothing is halted")
    view = view_of(log)
    assert (view.taken, view.net_flows) == (4, Decimal("-19499.5"))
    assert [(row.number, row.amount, row.asked, row.refused) for row in view.instructions] == [
        (4, None, "resume", "nothing is halted"),
        (3, None, "", ""),
        (2, Decimal(-20_000), "", ""),
        (1, Decimal("500.5"), "", ""),
    ]
    assert [row.available for row in view.instructions] == [
        Decimal(each) for each in ("400.5", "400.5", "400.5", "20500.5")
    ]
    assert view.metrics.available_capital == Decimal("400.5")
    assert [row.number for row in view_of(log, shown=2).instructions] == [4, 3]


@pytest.mark.parametrize("change", [{"seq": "3"}, {"active": [{}]}, {"venues": [["binance", "late"]]}, {"extra": 1}])
def test_a_document_that_is_no_view_is_refused_by_field(change: dict[str, object]) -> None:
    document = view_to_document(view_of(rich_log())) | change
    with pytest.raises(ValueError, match=next(iter(change)) if "active" not in change else "ActiveRow"):
        view_from_document(document)


@settings(max_examples=40)
@given(log=logs(), bid=st.integers(900, 1100), ask=st.integers(900, 1100))
def test_whatever_happened_the_amounts_of_a_view_add_up(log: LogWriter, bid: int, ask: int) -> None:
    scanner = quoting(log.now, str(Decimal(bid) / 10), str(Decimal(ask) / 10))
    view, portfolio = view_of(log, scanner), log.portfolio
    held = EXACT.add(view.metrics.available_capital, view.total_open_positions)
    assert held == sum((portfolio.starting_capital, portfolio.net_flows, portfolio.realised), Decimal(0))
    assert view.unrealized_pnl is not None
    assert view.equity is not None
    assert view.equity - view.unrealized_pnl == (
        portfolio.starting_capital + portfolio.net_flows + portfolio.cumulative_pnl
    )
    assert view_from_document(load_document(dump_document(view_to_document(view)))) == view


def test_a_live_document_says_when_it_was_written_and_anything_less_is_refused() -> None:
    view, written = view_of(rich_log()), datetime(2026, 3, 1, 1, 0, 1, tzinfo=UTC)
    document = load_document(dump_document(live_document(view, written)))
    assert live_from_document(document) == (view, written)
    for name in document:
        with pytest.raises(ValueError, match="written_utc and view"):
            live_from_document({key: value for key, value in document.items() if key != name})
