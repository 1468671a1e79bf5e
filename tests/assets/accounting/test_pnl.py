"""Valuations: A4-A8 of reference/trading.md 3.1, exact after quantising and after JSON."""

from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.accounting.book import Book, LedgerError
from assets.accounting.events import Baseline, Event, Fill, Flow
from assets.accounting.pnl import MissingMark, portfolio_value, portfolio_value_from_lots, valuation
from assets.accounting.precision import divided, logged, logged_ratio, posted
from resources.documents import dump_document, load_document
from tests.assets.accounting.test_book import C0, T, book_of, fill, funding, histories, marks


def baseline_of(book: Book, prices: dict[str, Decimal], name: str) -> Baseline:
    value = logged(portfolio_value(book, prices))
    return Baseline(f"baseline:{name}", T, name, value, logged(book.flows), prices, book.held())


@given(histories(), histories(), marks, marks)
def test_identities_hold_exactly_on_every_valuation(
    before: list[Event], after: list[Event], at_t1: dict[str, Decimal], now: dict[str, Decimal]
) -> None:
    """A4, A5, A6, with flows before and after the baseline, computed from the quantised value."""
    book = book_of(*before)
    baseline = baseline_of(book, at_t1, "r1")
    later = [_renamed(event, "later") for event in after]
    book.apply_all([baseline, *later])
    row = valuation(book, now)
    assert row.portfolio_value == logged(portfolio_value(book, now))
    assert row.total_pnl == row.portfolio_value - C0 - row.net_flows
    assert row.daily_pnl == row.portfolio_value - baseline.portfolio_value - (row.net_flows - baseline.net_flows)
    assert row.base_cumulative == row.total_pnl - row.daily_pnl
    assert row.base_cumulative == baseline.portfolio_value - C0 - baseline.net_flows, "constant between re-baselines"


@given(histories(), marks)
def test_a_rebaseline_moves_no_value(events: list[Event], prices: dict[str, Decimal]) -> None:
    """A8: at t1 the value and total P&L are what they were; daily P&L restarts at zero and base takes it over."""
    book = book_of(*events)
    before = valuation(book, prices)
    book.apply_all([baseline_of(book, prices, "r1")])
    after = valuation(book, prices)
    assert (after.portfolio_value, after.total_pnl) == (before.portfolio_value, before.total_pnl)
    assert after.daily_pnl == 0
    assert after.base_cumulative == before.base_cumulative + before.daily_pnl


@given(st.lists(st.tuples(histories(), marks), min_size=1, max_size=4))
def test_daily_gains_add_up_to_the_total(days: list[tuple[list[Event], dict[str, Decimal]]]) -> None:
    """The total telescopes over any sequence of days: what predecessor systems lost at every roll."""
    book = Book(C0)
    total = Decimal(0)
    for number, (events, prices) in enumerate(days):
        book.apply_all(_renamed(event, f"day{number}") for event in events)
        row = valuation(book, prices)
        total += row.daily_pnl
        assert total == row.total_pnl
        book.apply_all([baseline_of(book, prices, f"r{number}")])


def test_daily_gain_is_position_moves_plus_trades_and_funding_since_t1() -> None:
    """A7: sum q(t1) * (m - B) + trades since + funding - fees."""
    book = book_of(fill(1, "2", "100"), fill(2, "-3", "10", symbol="BUSDT"))
    at_t1 = {"AUSDT": Decimal(101), "BUSDT": Decimal(9)}
    book.apply_all([baseline_of(book, at_t1, "r1"), fill(3, "-1", "105", fee="0.5"), funding(1, "-0.25")])
    now = {"AUSDT": Decimal(110), "BUSDT": Decimal(8)}
    rows = 2 * (110 - 101) + -3 * (8 - 9)
    since = -1 * (110 - 105)
    assert valuation(book, now).daily_pnl == rows + since - Decimal("0.5") - Decimal("0.25")


def test_before_the_first_baseline_everything_is_of_today() -> None:
    row = valuation(book_of(fill(1, "1", "100"), Flow("d", T, Decimal(50), "")), {"AUSDT": Decimal(107)})
    assert (row.portfolio_value, row.daily_pnl, row.total_pnl, row.base_cumulative) == (C0 + 57, 7, 7, 0)


@given(histories(), marks)
def test_a_valuation_survives_a_float64_reader(events: list[Event], prices: dict[str, Decimal]) -> None:
    """Six decimals below 1e8: a JSON reader with doubles reads the number that was written."""
    row = valuation(book_of(*events), prices)
    if abs(row.portfolio_value) < Decimal(10) ** 8:
        again = load_document(dump_document({"value": row.portfolio_value}))["value"]
        assert again == row.portfolio_value
        assert Decimal(repr(float(row.portfolio_value))) == row.portfolio_value


@pytest.mark.parametrize("view", [portfolio_value, portfolio_value_from_lots, valuation])
def test_a_held_symbol_without_a_price_has_no_value(view: object) -> None:
    """Missing stays missing: no default price, and the message names the symbol."""
    book = book_of(fill(1, "1", "100"), fill(2, "1", "5", symbol="BUSDT"))
    with pytest.raises(MissingMark, match="BUSDT"):
        view(book, {"AUSDT": Decimal(1)})  # type: ignore[operator]


def test_a_closed_symbol_needs_no_price() -> None:
    assert portfolio_value(book_of(fill(1, "1", "100"), fill(2, "-1", "90")), {}) == C0 - 10


def test_a_book_whose_two_views_disagree_has_no_value() -> None:
    book = book_of(fill(1, "1", "100"))
    book.cash += Decimal("0.00000001")
    with pytest.raises(LedgerError, match="differ"):
        valuation(book, {"AUSDT": Decimal(100)})


@pytest.mark.parametrize(
    ("amount", "six", "eight"),
    [
        ("0.0000005", "0.000000", "0.00000050"),
        ("0.0000015", "0.000002", "0.00000150"),
        ("0.0000025", "0.000002", "0.00000250"),
        ("0.000000005", "0.000000", "0.00000000"),
        ("0.000000015", "0.000000", "0.00000002"),
        ("-0.0000015", "-0.000002", "-0.00000150"),
        ("123456789012345678901234567890.0000005", "123456789012345678901234567890.000000",
         "123456789012345678901234567890.00000050"),
    ],
)  # fmt: skip
def test_money_is_quantised_once_half_even(amount: str, six: str, eight: str) -> None:
    assert f"{logged(Decimal(amount)):f}" == six
    assert f"{posted(Decimal(amount)):f}" == eight


@given(st.integers(-(10**20), 10**20), st.integers(1, 10**20))
def test_a_logged_ratio_is_the_nearest_six_decimals(numerator: int, denominator: int) -> None:
    quotient = Fraction(numerator, denominator)
    stated = logged_ratio(Decimal(numerator), Decimal(denominator))
    assert abs(Fraction(stated) - quotient) <= Fraction(1, 2 * 10**6)
    assert stated.as_tuple().exponent == -6


def test_a_displayed_ratio_has_twelve_digits() -> None:
    assert str(divided(Decimal(1), Decimal(3))) == "0.333333333333"


def _renamed(event: Event, prefix: str) -> Event:
    fields = {name: getattr(event, name) for name in event.__slots__}
    fields["event_id"] = f"{prefix}:{event.event_id}"
    fields["time"] = event.time + timedelta(hours=1)
    return type(event)(**fields)


def test_a_fill_is_a_value() -> None:
    assert fill(1, "1", "2") == fill(1, "1", "2")
    assert isinstance(fill(1, "1", "2"), Fill)
