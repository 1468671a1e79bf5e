"""The order plan: the case table of reference/trading.md 3.4 "Execution of row i"."""

import random
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from assets.accounting.instrument import Instruments, floor_lots, parse_exchange_info, quantity_of
from assets.desk.orders import MAX_CHILDREN, OrderPlan, PlannedOrder, plan_orders
from assets.desk.sizing import SizedRow
from tests.assets.desk.test_sizing import RandomBook
from tests.desk_parts import D, contract, exchange_info

PRICE = D(10)


def instruments_of(**filters: Any) -> Instruments:
    return parse_exchange_info(exchange_info(contract("AUSDT", **filters), contract("BUSDT", **filters)))


def target_row(current: str, target: str, symbol: str = "AUSDT") -> SizedRow:
    c, t = D(current), D(target)
    side = 1 if t > 0 else -1
    return SizedRow("A_USDT", symbol, side, D(1), "kept", "", D(1), t, c, t - c, D(0), {"trend": D(1)})


def plan(current: str, target: str, **filters: Any) -> OrderPlan:
    return plan_orders([target_row(current, target)], instruments_of(**filters), {"AUSDT": PRICE}, "abc")


def orders_of(plan: OrderPlan) -> list[tuple[str, str, str, bool, bool]]:
    return [
        (order.leg, order.side, str(order.quantity).removesuffix(".0"), order.reduce_only, order.close_position)
        for order in (*plan.reductions, *plan.increases)
    ]


@pytest.mark.parametrize(
    ("current", "target", "orders", "shortfalls"),
    [
        pytest.param("0", "7", [("open", "BUY", "7", False, False)], [], id="open long"),
        pytest.param("0", "-7", [("open", "SELL", "7", False, False)], [], id="open short"),
        pytest.param("5", "7", [("open", "BUY", "2", False, False)], [], id="increase long"),
        pytest.param("-5", "-7", [("open", "SELL", "2", False, False)], [], id="increase short"),
        pytest.param("5", "5.4", [], [("0.4", "below_min_notional")], id="increase too small keeps what is held"),
        pytest.param("-5", "-5.4", [], [("-0.4", "below_min_notional")], id="increase of a short too small"),
        pytest.param("7", "5", [("reduce", "SELL", "2", True, False)], [], id="reduce long"),
        pytest.param("-7", "-5", [("reduce", "BUY", "2", True, False)], [], id="reduce short"),
        pytest.param("5.4", "5", [("reduce", "SELL", "0.4", True, False)], [], id="reduction exempt from notional"),
        pytest.param("7", "0", [("reduce", "SELL", "7", True, True)], [], id="close long"),
        pytest.param("-7", "0", [("reduce", "BUY", "7", True, True)], [], id="close short"),
        pytest.param("0.05", "0", [("reduce", "SELL", "0.05", True, True)], [], id="close dust below a lot"),
        pytest.param("7.05", "0", [("reduce", "SELL", "7.05", True, True)], [], id="close off the grid"),
        pytest.param(
            "5", "-7", [("reduce", "SELL", "5", True, True), ("open", "SELL", "7", False, False)], [], id="cross down"
        ),
        pytest.param(
            "-5", "7", [("reduce", "BUY", "5", True, True), ("open", "BUY", "7", False, False)], [], id="cross up"
        ),
        pytest.param(
            "5", "-0.4", [("reduce", "SELL", "5", True, True)], [("-0.4", "below_min_notional")], id="cross to flat"
        ),
        pytest.param("5", "5", [], [], id="nothing to do"),
        pytest.param("0", "0", [], [], id="flat and stays flat"),
        pytest.param(
            "7.05", "5", [("reduce", "SELL", "2", True, False)], [("-0.05", "off_grid_position")],
            id="reduce from off the grid",
        ),
        pytest.param(
            "5.05", "7", [("open", "BUY", "1.9", False, False)], [("0.05", "off_grid_position")],
            id="increase from off the grid",
        ),
        pytest.param("5.05", "5", [], [("-0.05", "below_min_qty")], id="reduce by less than a lot"),
    ],
)  # fmt: skip
def test_each_case_of_the_table(
    current: str, target: str, orders: list[tuple[str, str, str, bool, bool]], shortfalls: list[tuple[str, str]]
) -> None:
    """Step and minimum 0.1, price 10, minimum notional 5."""
    result = plan(current, target, step="0.1", min_notional="5")
    assert orders_of(result) == orders
    assert [(str(s.quantity), s.reason) for s in result.shortfalls] == shortfalls


def test_a_minimum_of_zero_never_makes_an_order_of_nothing() -> None:
    """minQty 0 and minNotional 0 exist; a difference below one step is a shortfall, not an order of quantity 0."""
    for current, target in (("5.05", "5"), ("5", "5.05")):
        result = plan(current, target, step="0.1", min_qty="0", min_notional="0")
        assert orders_of(result) == []
        assert [s.reason for s in result.shortfalls] == ["below_min_qty"]


@pytest.mark.parametrize(
    ("quantity", "max_qty", "parts"),
    [
        ("10", "10", ["10"]),
        ("10.1", "10", ["5.1", "5.0"]),
        ("25", "10", ["8.4", "8.3", "8.3"]),
        ("20", "10", ["10", "10"]),
        ("30.1", "10", ["7.6", "7.5", "7.5", "7.5"]),
        ("30", "10.05", ["10", "10", "10"]),
        ("30.1", "10.05", ["7.6", "7.5", "7.5", "7.5"]),
    ],
)
@pytest.mark.parametrize("leg", ["open", "reduce"])
def test_a_large_order_is_split_into_near_equal_children(
    quantity: str, max_qty: str, parts: list[str], leg: str
) -> None:
    """The maximum is never exceeded, also where it does not lie on the grid; children differ by one step at most."""
    current, target = ("0", quantity) if leg == "open" else (str(D(quantity) + 1), "1")
    result = plan(current, target, step="0.1", max_qty=max_qty)
    orders = [*result.reductions, *result.increases]
    assert [order.quantity for order in orders] == [D(part) for part in parts]
    assert [order.order_id for order in orders] == [f"abc-AUSDT-{leg}-{n}" for n in range(1, len(parts) + 1)]
    assert result.shortfalls == ()


def test_a_close_in_several_parts_closes_the_dust_too() -> None:
    result = plan("20.05", "0", step="0.1", max_qty="10")
    assert sum((order.quantity for order in result.reductions), D(0)) == D("20.05")
    assert all(order.quantity <= 10 and order.close_position for order in result.reductions)


@pytest.mark.parametrize(
    ("quantity", "ordered", "short"),
    [("11", ["10"], "1"), ("12", ["6", "6"], "0"), ("21", ["7", "7", "7"], "0"), ("17", ["9", "8"], "0")],
)
def test_no_child_is_below_the_minimum(quantity: str, ordered: list[str], short: str) -> None:
    """Minimum 6, maximum 10: 11 cannot be split into children of 6 to 10, so one is sent and the rest has a reason."""
    result = plan("0", quantity, step="1", min_qty="6", max_qty="10")
    assert [str(order.quantity) for order in result.increases] == ordered
    assert sum((s.quantity for s in result.shortfalls), D(0)) == D(short)
    assert all(s.reason == "below_min_qty" for s in result.shortfalls)


def test_a_wrong_price_cannot_ask_for_millions_of_orders() -> None:
    """What is beyond the largest number of children is a shortfall with its reason, and the next day goes on."""
    for current, target in (("0", "100000000"), ("100000000", "0"), ("100000000", "10")):
        result = plan(current, target, step="0.1", max_qty="10")
        orders = [*result.reductions, *result.increases]
        assert len(orders) == MAX_CHILDREN
        assert [s.reason for s in result.shortfalls] == ["too_many_orders"]
        ordered = sum((o.quantity for o in orders), D(0)) + abs(result.shortfalls[0].quantity)
        assert ordered == abs(D(target) - D(current))


def test_reductions_precede_increases_and_symbols_are_in_order() -> None:
    rows = [target_row("0", "7", "BUSDT"), target_row("5", "-7", "AUSDT")]
    result = plan_orders(rows, instruments_of(step="0.1"), {"AUSDT": PRICE, "BUSDT": PRICE}, "abc")
    assert [o.order_id for o in result.reductions] == ["abc-AUSDT-reduce-1"]
    assert [o.order_id for o in result.increases] == ["abc-AUSDT-open-1", "abc-BUSDT-open-1"]


def test_planning_again_gives_the_same_ids() -> None:
    assert plan("5", "-7", step="0.1") == plan("5", "-7", step="0.1")


def test_a_grid_counted_from_its_minimum_is_respected() -> None:
    """minQty 0.05 on a step of 0.1: quantities are 0.05, 0.15, ...; differences of two of them are not."""
    result = plan("0", "20.05", step="0.1", min_qty="0.05", max_qty="10.05")
    (instrument, *_) = instruments_of(step="0.1", min_qty="0.05", max_qty="10.05").values()
    assert len(result.increases) == 2
    for order in result.increases:
        assert order.quantity == quantity_of(floor_lots(order.quantity, instrument), instrument)
        assert order.quantity <= D("10.05")
    done = sum((o.quantity for o in result.increases), D(0)) + sum((s.quantity for s in result.shortfalls), D(0))
    assert done == D("20.05")


@pytest.mark.parametrize("chunk", range(4))
def test_the_plan_reaches_every_target_or_says_why_and_breaks_no_filter(chunk: int) -> None:
    """3.9 number 10 on random books: plan applied to current = target except shortfalls with a reason; no order
    violates a filter; no reduce-only order exceeds the position; increases never precede reductions."""
    draw = random.Random(chunk)
    for seed in range(150 * chunk, 150 * chunk + 150):
        book = RandomBook(seed)
        if not book.gross_base:
            continue
        if draw.random() < 0.5:
            book.held = {s: q + draw.choice([0, 0, D("0.0000000001")]) for s, q in book.held.items()}
        sizing = book.sizing()
        result = plan_orders(sizing.rows, book.instruments, book.prices, "abc")
        reached = {row.symbol: Fraction(row.current_quantity) for row in sizing.rows}
        for order in result.reductions:
            _check_reduction(order, reached[order.symbol], book.instruments)
            reached[order.symbol] += _signed(order)
        for order in result.increases:
            assert not order.reduce_only
            assert reached[order.symbol] * _signed(order) >= 0, "the other side is closed before"
            _check_lots(order, book.instruments)
            reached[order.symbol] += _signed(order)
        for shortfall in result.shortfalls:
            assert shortfall.reason
            reached[shortfall.symbol] += Fraction(shortfall.quantity)
        assert reached == {row.symbol: Fraction(row.target_quantity) for row in sizing.rows}
        opened: dict[str, Fraction] = {}
        for order in result.increases:
            opened[order.symbol] = opened.get(order.symbol, Fraction(0)) + Fraction(order.quantity)
        for symbol, quantity in opened.items():
            assert quantity * Fraction(book.prices[symbol]) >= Fraction(book.instruments[symbol].min_notional)
        ids = [order.order_id for order in (*result.reductions, *result.increases)]
        assert len(ids) == len(set(ids))


def _signed(order: PlannedOrder) -> Fraction:
    return Fraction(order.quantity) * (1 if order.side == "BUY" else -1)


def _check_lots(order: PlannedOrder, instruments: Instruments) -> None:
    instrument = instruments[order.symbol]
    assert 0 < order.quantity <= instrument.max_qty
    assert order.quantity >= instrument.min_qty
    assert Fraction(order.quantity) % Fraction(instrument.step) == 0


def _check_reduction(order: PlannedOrder, held: Fraction, instruments: Instruments) -> None:
    assert order.reduce_only
    assert held * _signed(order) < 0
    assert abs(held) >= Fraction(order.quantity)
    if not order.close_position:
        _check_lots(order, instruments)


def test_quantities_beyond_28_digits_are_planned_exactly() -> None:
    quantity = Decimal("12345678901234567890123456789.001")
    result = plan("0", str(quantity), max_qty="1E+29", min_notional="5")
    assert [order.quantity for order in result.increases] == [quantity]
    halves = plan("0", str(quantity), max_qty="1E+28", min_notional="5").increases
    assert sum(Fraction(order.quantity) for order in halves) == Fraction(quantity)
