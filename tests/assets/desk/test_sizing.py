"""Sizing: the identity and bounds of reference/trading.md 3.3, with Fractions as the oracle."""

import random
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from math import floor
from typing import Any, Literal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from assets.accounting.instrument import Instruments, parse_exchange_info
from assets.accounting.marks import MarkSet
from assets.desk.signal import SignalRow
from assets.desk.sizing import SizedRow, Sizing, size
from resources.market import Mark
from tests.desk_parts import D, contract, exchange_info

NOW = datetime(2026, 11, 20, tzinfo=UTC)
ULP = Fraction(1, 10**6)  # what the two logged quotients may be off by, together


def row(ticker: str, notional: str | Decimal, side: int, ref_price: str | None = None) -> SignalRow:
    return SignalRow(
        2, "trend", ticker, Decimal(notional), Decimal(side), side, None if ref_price is None else D(ref_price)
    )  # type: ignore[arg-type]


def market(prices: dict[str, str], **filters: Any) -> tuple[MarkSet, Instruments]:
    marks = MarkSet({s: Mark(s, Decimal(p), NOW) for s, p in prices.items()}, {})
    return marks, parse_exchange_info(exchange_info(*(contract(s, **filters) for s in prices)))


def sized(
    rows: list[SignalRow],
    pv: str | Decimal,
    marks: MarkSet,
    instruments: Instruments,
    held: dict[str, Decimal] | None = None,
    residual: Literal["floor", "largest_remainder"] = "floor",
) -> Sizing:
    gross_base = sum((abs(r.notional) for r in rows), Decimal(0))
    return size(rows, gross_base, Decimal(pv), marks, instruments, held or {}, quote="USDT", residual=residual)


def one(
    notional: str, side: int, price: str, held: str = "0", *, pv: str = "1000", ref_price: str | None = None,
    **filters: Any,
) -> SizedRow:  # fmt: skip
    """The row of a signal that puts the whole capital into one symbol."""
    marks, instruments = market({"AUSDT": price}, **filters)
    current = {"AUSDT": Decimal(held)} if Decimal(held) else {}
    (result,) = sized([row("A_USDT", notional, side, ref_price)], pv, marks, instruments, current).rows
    return result


class RandomBook:
    """A signal, market and capital as the bound was measured on: 1-60 rows, prices 1e-5..1e5, awkward steps."""

    def __init__(self, seed: int) -> None:
        draw = random.Random(seed)
        self.rows: list[SignalRow] = []
        self.prices: dict[str, Decimal] = {}
        contracts = []
        for number in range(draw.randint(1, 60)):
            symbol = f"C{number}USDT"
            step = draw.choice(["0.00000001", "0.001", "0.1", "0.5", "1", "2.5", "5", "10", "1000"])
            least = str(Decimal(step) * draw.choice([1, 1, 2, 7]))
            status = draw.choice(["TRADING"] * 12 + ["SETTLING"])
            if draw.random() < 0.97:
                minimum = draw.choice(["0", "5", "100"])
                contracts.append(contract(symbol, step=step, min_qty=least, min_notional=minimum, status=status))
            if draw.random() < 0.95:
                self.prices[symbol] = Decimal(draw.randint(1, 99999)).scaleb(draw.randint(-9, 0))
            magnitude = Decimal(draw.randint(0, 10**8)).scaleb(draw.randint(-8, -2))
            side = draw.choice([1, -1]) if magnitude and draw.random() < 0.98 else 0
            self.rows.append(row(f"C{number}_USDT", magnitude.copy_sign(Decimal(side or 1)), side))
        contracts.append(contract("ZUSDT"))
        self.instruments = parse_exchange_info(exchange_info(*contracts))
        self.marks = MarkSet({s: Mark(s, p, NOW) for s, p in self.prices.items()}, {})
        self.pv = Decimal(draw.randint(1, 10**13)).scaleb(-6)
        self.held: dict[str, Decimal] = {}
        for instrument in self.instruments.values():
            if draw.random() < 0.4:
                self.held[instrument.symbol] = instrument.step * draw.choice([-1, 1]) * draw.randint(1, 10**4)
        self.gross_base = sum((abs(r.notional) for r in self.rows), Decimal(0))

    def sizing(self, residual: Literal["floor", "largest_remainder"] = "floor") -> Sizing:
        return sized(self.rows, self.pv, self.marks, self.instruments, self.held, residual)


def check_identity_and_bounds(book: RandomBook, sizing: Sizing) -> None:
    pv, base = Fraction(book.pv), Fraction(book.gross_base)
    parts = sizing.residual
    assert parts.total() == book.pv, "pv_pre = gross + rounding + dropped + untradable, exactly"
    target = {r.symbol: abs(Fraction(r.notional)) * pv / base for r in sizing.rows if r.status != "not_in_csv"}
    kept = [r for r in sizing.rows if r.status == "kept"]
    dropped = [r for r in sizing.rows if r.status == "dropped"]
    gross = sum((abs(Fraction(r.target_quantity)) * Fraction(book.prices[r.symbol]) for r in kept), Fraction(0))
    assert gross == Fraction(parts.gross)
    assert 0 <= gross <= pv, "sizing never levers"
    steps = {s: Fraction(i.step) * Fraction(book.prices.get(s, 0)) for s, i in book.instruments.items()}
    for r in kept:
        short = target[r.symbol] - abs(Fraction(r.target_quantity)) * Fraction(book.prices[r.symbol])
        assert 0 <= short < steps[r.symbol]
        assert abs(Fraction(r.rounding) - short) <= ULP
        assert abs(Fraction(r.target_notional) - target[r.symbol]) <= ULP
    for r in dropped:
        if r.reason == "direction_unknown":
            continue
        instrument, price = book.instruments[r.symbol], Fraction(book.prices[r.symbol])
        least = Fraction(instrument.min_qty) * price
        assert target[r.symbol] < max(least, Fraction(instrument.min_notional) + steps[r.symbol])
    lost = sum((target[r.symbol] for r in dropped), Fraction(0))
    held = sum((target[r.symbol] for r in sizing.rows if r.status == "untradable"), Fraction(0))
    assert abs(Fraction(parts.dropped) - lost) <= ULP
    assert abs(Fraction(parts.untradable) - held) <= ULP
    rounding = pv - gross - lost - held
    assert abs(Fraction(parts.rounding) - rounding) <= ULP
    assert rounding < sum((steps[r.symbol] for r in kept), Fraction(0)) or (not kept and rounding == 0)
    if not kept:
        assert parts.rounding == 0


@pytest.mark.parametrize("chunk", range(10))
def test_identity_and_bounds_hold_on_3000_random_books(chunk: int) -> None:
    for seed in range(300 * chunk, 300 * chunk + 300):
        book = RandomBook(seed)
        if book.gross_base:
            check_identity_and_bounds(book, book.sizing())


@pytest.mark.parametrize("chunk", range(5))
def test_largest_remainder_keeps_its_four_claims(chunk: int) -> None:
    """3.3: (i) gross never exceeds the kept target, (ii) not all rows are bumped, (iii) what is left is smaller than
    the cheapest step not spent, (iv) each row stays within a step; and dropped weight is never spent."""
    for seed in range(200 * chunk, 200 * chunk + 200):
        book = RandomBook(seed)
        if not book.gross_base:
            continue
        floored, spent = book.sizing(), book.sizing("largest_remainder")
        assert spent.residual.total() == book.pv
        assert (spent.residual.dropped, spent.residual.untradable) == (
            floored.residual.dropped, floored.residual.untradable,
        )  # fmt: skip
        pv, base = Fraction(book.pv), Fraction(book.gross_base)
        left = Fraction(0)
        not_bumped = []
        kept = 0
        for before, after in zip(floored.rows, spent.rows, strict=True):
            if after.status != "kept":
                assert before == after
                continue
            kept += 1
            step = Fraction(book.instruments[after.symbol].step) * Fraction(book.prices[after.symbol])
            target = abs(Fraction(after.notional)) * pv / base
            gross = abs(Fraction(after.target_quantity)) * Fraction(book.prices[after.symbol])
            assert abs(target - gross) < step
            left += target - gross
            if before.target_quantity == after.target_quantity:
                not_bumped.append(step)
            else:
                assert abs(after.target_quantity) - abs(before.target_quantity) == book.instruments[after.symbol].step
            assert after.delta_quantity == after.target_quantity - after.current_quantity
        assert left >= 0
        if kept:
            assert not_bumped
            assert left < min(not_bumped)


def test_the_largest_remainder_takes_the_step_first() -> None:
    """Weights 1:1 of 100 at 30 and 40: remainders 20/30 and 10/40; 30 left over buys one step of the first."""
    marks, instruments = market({"AUSDT": "30", "BUSDT": "40"}, step="1", min_notional="0")
    rows = [row("A_USDT", "1", 1), row("B_USDT", "1", -1)]
    sizing = sized(rows, "100", marks, instruments, residual="largest_remainder")
    assert {r.symbol: r.target_quantity for r in sizing.rows} == {"AUSDT": 2, "BUSDT": -1}
    assert sizing.residual.rounding == 0


def _on_grid_corpus() -> list[tuple[str, Decimal, int, int, int, int]]:
    """(step, price, a, b, j, m): weights j*a and j*b, capital (a + b) * m lots' value, so that PV / S = value * m / j
    does not terminate while the first target is exactly a * m lots."""
    draw = random.Random(3)
    return [
        (
            step,
            Decimal(draw.randint(1, 10**6)).scaleb(-draw.randint(0, 5)),
            draw.randint(1, 1000),
            draw.randint(1, 1000),
            draw.choice([3, 7, 9, 11, 13, 17]),
            draw.randint(1, 500),
        )
        for step in ("0.00000001", "0.001", "0.1", "0.5", "2.5", "5", "1", "10", "1000")
        for _ in range(120)
    ]


def test_values_on_the_grid_keep_every_lot_where_scaling_first_loses_one() -> None:
    """The trap of 3.2: PV / S first, then * n / P / step, floors 2974.999... to 2974."""
    lost_by_scaling_first = lost_by_floats = 0
    for step, price, a, b, j, m in _on_grid_corpus():
        pv = price * Decimal(step) * (a + b) * m
        marks, instruments = market({"AUSDT": str(price), "BUSDT": "1"}, step=step, min_notional="0")
        rows = [row("A_USDT", str(j * a), 1), row("B_USDT", str(j * b), 1)]
        result = {r.symbol: r for r in sized(rows, pv, marks, instruments).rows}["AUSDT"]
        assert Fraction(result.target_quantity) == a * m * Fraction(step), (step, price, a, b, j, m)
        assert result.rounding == 0
        scale = pv / (j * (a + b))
        lost_by_scaling_first += floor(scale * (j * a) / price / Decimal(step)) < a * m
        lost_by_floats += floor(float(pv) / (j * (a + b)) * (j * a) / float(price) / float(step)) < a * m
    assert lost_by_scaling_first > 30, "the corpus must hold the trap, else it tests nothing"
    assert lost_by_floats > 30


@pytest.mark.parametrize("step", ["0.00000001", "0.0001", "0.1", "0.5", "1", "2.5", "5", "10", "1000"])
@given(units=st.integers(1, 10**9), exponent=st.integers(-6, 2), capital=st.integers(1, 10**12))
def test_a_target_is_a_multiple_of_the_step_below_and_within_a_step(
    step: str, units: int, exponent: int, capital: int
) -> None:
    price, pv = Decimal(units).scaleb(exponent), Decimal(capital).scaleb(-2)
    marks, instruments = market({"AUSDT": str(price)}, step=step, min_notional="0", max_qty="1E+25")
    (result,) = sized([row("A_USDT", "1", 1)], pv, marks, instruments).rows
    exact = Fraction(pv) / Fraction(price)
    assert Fraction(result.target_quantity) % Fraction(step) == 0
    if result.status == "kept":
        assert 0 <= exact - Fraction(result.target_quantity) < Fraction(step)
    else:
        assert (result.reason, result.target_quantity) == ("below_min_qty", 0)
        assert exact < Fraction(step)


@given(st.integers(0, 200), st.randoms())
def test_the_order_of_rows_changes_nothing(seed: int, shuffle: random.Random) -> None:
    book = RandomBook(seed)
    assume(book.gross_base)
    before = book.sizing()
    shuffle.shuffle(book.rows)
    assert book.sizing() == before


@given(st.integers(0, 200), st.integers(1, 10**6), st.integers(-4, 4))
def test_scaling_all_notionals_changes_no_target(seed: int, units: int, exponent: int) -> None:
    book = RandomBook(seed)
    assume(book.gross_base)
    before, k = book.sizing(), Decimal(units).scaleb(exponent)
    scaled = [row(r.ticker, r.notional * k, r.side) for r in book.rows]
    after = sized(scaled, book.pv, book.marks, book.instruments, book.held)
    assert [(r.symbol, r.status, r.reason, r.target_quantity) for r in after.rows] == [
        (r.symbol, r.status, r.reason, r.target_quantity) for r in before.rows
    ]
    assert after.residual == before.residual


@given(st.integers(0, 200))
def test_negating_all_contracts_negates_the_targets(seed: int) -> None:
    book = RandomBook(seed)
    assume(book.gross_base)
    book.held = {}
    before = {r.symbol: r.target_quantity for r in book.sizing().rows}
    book.rows = [row(r.ticker, r.notional.copy_abs(), -r.side) for r in book.rows]
    assert {r.symbol: -q for r in book.sizing().rows for q in [r.target_quantity]} == before


# --- statuses and reasons ------------------------------------------------------------------------------------------


def test_a_kept_row_floors_its_magnitude_on_its_own_side() -> None:
    long, short = one("7", 1, "3", step="1", min_notional="5"), one("-7", -1, "3", step="1", min_notional="5")
    assert (long.status, long.reason, long.target_quantity, long.rounding) == ("kept", "", 333, 1)
    assert (short.status, short.target_quantity, short.rounding) == ("kept", -333, 1)


@pytest.mark.parametrize(
    ("held", "filters", "status", "reason", "target"),
    [
        ("0", {"step": "1", "min_qty": "334"}, "dropped", "below_min_qty", "0"),
        ("0", {"step": "1", "min_qty": "333"}, "kept", "", "333"),
        ("0", {"step": "1000"}, "dropped", "below_min_qty", "0"),
        ("0", {"step": "1", "min_notional": "999.01"}, "dropped", "below_min_notional", "0"),
        ("0", {"step": "1", "min_notional": "999"}, "kept", "", "333"),
        ("-10", {"step": "1", "min_notional": "1000"}, "dropped", "below_min_notional", "0"),
        ("10", {"step": "1", "min_notional": "1000"}, "kept", "", "333"),
        ("400", {"step": "1", "min_qty": "334"}, "dropped", "below_min_qty", "0"),
        ("500", {"step": "1", "status": "SETTLING"}, "untradable", "not_trading", "333"),
        ("100", {"step": "1", "status": "SETTLING"}, "untradable", "not_trading", "100"),
        ("-100", {"step": "1", "status": "SETTLING"}, "untradable", "not_trading", "0"),
        ("0", {"step": "1", "status": "SETTLING"}, "untradable", "not_trading", "0"),
    ],
    ids=lambda value: str(value),
)
def test_what_becomes_of_a_target_of_333_at_3(
    held: str, filters: dict[str, str], status: str, reason: str, target: str
) -> None:
    """Minimum notional only guards an opening; a contract that does not trade may only be reduced."""
    result = one("1", 1, "3", held, **filters)
    assert (result.status, result.reason, result.target_quantity) == (status, reason, Decimal(target))
    assert result.delta_quantity == Decimal(target) - Decimal(held)


@pytest.mark.parametrize(
    ("notional", "side", "held", "status", "reason", "target"),
    [
        ("0", 0, "5", "flat", "", "0"),
        ("0", 1, "5", "flat", "", "0"),
        ("10", 0, "5", "dropped", "direction_unknown", "0"),
    ],
)
def test_rows_without_a_side_target_nothing(
    notional: str, side: int, held: str, status: str, reason: str, target: str
) -> None:
    marks, instruments = market({"AUSDT": "3", "BUSDT": "1"}, step="1")
    rows = [row("A_USDT", notional, side), row("B_USDT", "90", 1)]
    result = sized(rows, "1000", marks, instruments, {"AUSDT": D(held)}).rows[0]
    assert (result.status, result.reason, result.target_quantity) == (status, reason, D(target))


def test_a_row_without_a_usable_price_is_held_and_its_weight_is_not_given_to_others() -> None:
    marks, instruments = market({"AUSDT": "3", "BUSDT": "1"}, step="1")
    refused = MarkSet({"BUSDT": marks.accepted["BUSDT"]}, {"AUSDT": "stale_mark"})
    rows = [row("A_USDT", "25", 1), row("B_USDT", "75", 1)]
    sizing = sized(rows, "1000", refused, instruments, {"AUSDT": D(7)})
    a, b = sizing.rows
    assert (a.status, a.reason, a.target_quantity, a.delta_quantity) == ("untradable", "stale_mark", 7, 0)
    assert b.target_quantity == 750
    assert sizing.untradable_share == D("0.25")
    assert sizing.residual.untradable == 250


def test_an_unknown_symbol_is_untradable_with_its_reason() -> None:
    marks, instruments = market({"AUSDT": "3"}, step="1")
    sizing = sized([row("A_USDT", "1", 1), row("NOPE_USDT", "1", 1)], "1000", marks, instruments)
    assert [(r.symbol, r.status, r.reason) for r in sizing.rows] == [
        ("AUSDT", "kept", ""), ("NOPE_USDT", "untradable", "unknown_symbol"),
    ]  # fmt: skip


def test_a_reference_price_in_another_unit_makes_a_row_untradable() -> None:
    assert one("1", 1, "3", "4", ref_price="3000").reason == "unit_mismatch"
    assert one("1", 1, "3", "4", ref_price="3000").target_quantity == 4
    assert one("1", 1, "3", ref_price="3.6").status == "kept"
    assert one("1", 1, "3", ref_price="3.61").reason == "unit_mismatch"


def test_two_tickers_of_one_contract_are_both_refused() -> None:
    marks, instruments = market({"1000SHIBUSDT": "0.02"}, step="1")
    rows = [row("SHIB_USDT", "1", 1), row("1000SHIB_USDT", "1", -1)]
    sizing = sized(rows, "1000", marks, instruments, {"1000SHIBUSDT": D(5)})
    assert [(r.symbol, r.status, r.reason) for r in sizing.rows] == [
        ("1000SHIBUSDT", "untradable", "duplicate_symbol")
    ] * 2
    assert all(r.delta_quantity == 0 for r in sizing.rows)


def test_what_left_the_signal_is_closed_unless_it_has_no_price_or_filters() -> None:
    marks, instruments = market({"AUSDT": "3", "BUSDT": "1", "CUSDT": "2"}, step="1")
    refused = MarkSet({s: m for s, m in marks.accepted.items() if s != "CUSDT"}, {"CUSDT": "stale_mark"})
    held = {"BUSDT": D(-5), "CUSDT": D(9), "GONEUSDT": D(3)}
    rows = {r.symbol: r for r in sized([row("A_USDT", "1", 1)], "1000", refused, instruments, held).rows}
    assert (rows["BUSDT"].status, rows["BUSDT"].reason, rows["BUSDT"].delta_quantity) == ("not_in_csv", "", 5)
    assert (rows["CUSDT"].reason, rows["CUSDT"].target_quantity) == ("stale_mark", 9)
    assert (rows["GONEUSDT"].reason, rows["GONEUSDT"].target_quantity) == ("no_filters", 3)


def test_an_all_flat_signal_leaves_the_whole_capital_in_cash() -> None:
    marks, instruments = market({"AUSDT": "3"}, step="1")
    sizing = sized([row("A_USDT", "0", 0)], "1000.5", marks, instruments, {"AUSDT": D(4)})
    assert (sizing.rows[0].status, sizing.rows[0].delta_quantity) == ("flat", -4)
    assert sizing.residual.total() == D("1000.5")
    assert (sizing.residual.gross, sizing.residual.rounding) == (0, 0)


@pytest.mark.parametrize("pv", ["0", "-1"])
def test_no_capital_sizes_nothing(pv: str) -> None:
    with pytest.raises(ValueError, match="pv_pre must be positive"):
        one("1", 1, "3", pv=pv)


def test_nothing_kept_means_nothing_rounded() -> None:
    """Thirds of 1000 dropped and untradable: the last digit belongs to them, not to a rounding that never was."""
    marks, instruments = market({"AUSDT": "3"}, step="100000")
    rows = [row("A_USDT", "1", 1), row("NOPE_USDT", "2", 1)]
    residual = sized(rows, "1000", marks, instruments).residual
    assert (residual.rounding, residual.total()) == (0, 1000)
