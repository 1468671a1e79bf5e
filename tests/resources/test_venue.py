"""PaperVenue: exact fills from what was displayed, bounded slippage where nothing was, reasons for the rest."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.market import Book, Depth, Liquidity
from resources.market.simulated import SimulatedMarket
from resources.venue import Execution, Order, PaperVenue, Side

NOW = datetime(2026, 11, 21, 0, 15, tzinfo=UTC)
D = Decimal
VENUE = PaperVenue(D(5), D(2), D(5))
BOOK = Book(
    "BTCUSDT",
    bids=((D("99.9"), D("1.0")), (D("99.8"), D("2.0")), (D("99.5"), D("3.0"))),
    asks=((D("100.1"), D("1.0")), (D("100.2"), D("2.0")), (D("100.5"), D("3.0"))),
    as_of=NOW,
)
DEPTH = Depth("BTCUSDT", D(300), NOW)


def order(side: Side = "BUY", quantity: str = "1", **changes: object) -> Order:
    plain = Order("o1", "BTCUSDT", side, D(quantity), False, D("0.1"), D("100.0"), D("0.001"))
    return replace(plain, **changes)  # type: ignore[arg-type]


def execute(one: Order, liquidity: Liquidity | None, venue: PaperVenue = VENUE) -> Execution:
    (execution,) = venue.execute([one], lambda _: liquidity, NOW)
    return execution


def shape(execution: Execution) -> list[tuple[str, str]]:
    return [(str(fill.price), str(fill.quantity)) for fill in execution.fills]


@pytest.mark.parametrize(
    ("side", "quantity", "fills", "bps"),
    [
        ("BUY", "0.4", [("100.1", "0.4")], "10.000000"),
        ("BUY", "1.0", [("100.1", "1.0")], "10.000000"),
        ("BUY", "3.5", [("100.1", "1.0"), ("100.2", "2.0"), ("100.5", "0.5")], "21.428571"),
        ("SELL", "1.5", [("99.9", "1.0"), ("99.8", "0.5")], "13.333333"),
        ("SELL", "6", [("99.9", "1.0"), ("99.8", "2.0"), ("99.5", "3.0")], "33.333333"),
    ],
)
def test_a_book_is_walked_level_by_level(side: Side, quantity: str, fills: list[tuple[str, str]], bps: str) -> None:
    execution = execute(order(side, quantity), BOOK)
    assert shape(execution) == fills
    assert (execution.method, execution.unfilled, execution.reason) == ("book", 0, "")
    assert execution.slippage_bps == D(bps)


def test_what_the_book_does_not_hold_stays_unfilled() -> None:
    execution = execute(order("BUY", "7.5"), BOOK)
    assert sum(fill.quantity for fill in execution.fills) == 6
    assert (execution.unfilled, execution.reason) == (D("1.5"), "insufficient_depth")


def test_a_price_better_than_the_mark_shows_as_negative_cost() -> None:
    assert execute(order("BUY", "1", mark=D("101")), BOOK).slippage_bps == D("-89.108911")


def test_fills_are_numbered_timed_and_charged() -> None:
    first, second = execute(order("BUY", "1.5", order_id="abc-BTCUSDT-open-1"), BOOK).fills
    assert (first.fill_id, second.fill_id) == ("abc-BTCUSDT-open-1#1", "abc-BTCUSDT-open-1#2")
    assert (first.order_id, first.symbol, first.side, first.time) == ("abc-BTCUSDT-open-1", "BTCUSDT", "BUY", NOW)
    assert (str(first.fee), str(second.fee)) == ("0.05005000", "0.02505000")


@pytest.mark.parametrize(
    ("price", "quantity", "fee_bps", "fee"),
    [
        ("0.0001", "0.1", "5", "0.00000000"),  # 5e-9: half to even
        ("0.0003", "0.1", "5", "0.00000002"),  # 1.5e-8: half to even
        ("0.0005", "0.1", "5", "0.00000002"),  # 2.5e-8: half to even
        ("115344.1", "12.345", "4.5", "640.76531152"),  # 640.765311525: half to even
        ("100", "1", "0", "0.00000000"),
    ],
)
def test_a_fee_is_rounded_once_half_even(price: str, quantity: str, fee_bps: str, fee: str) -> None:
    book = Book("BTCUSDT", (), ((D(price), D(quantity)),), NOW)
    one = order("BUY", quantity, tick_size=D("0.0001"))
    (fill,) = execute(one, book, PaperVenue(D(fee_bps), D(2), D(5))).fills
    assert format(fill.fee, "f") == fee


def test_levels_off_the_tick_grid_are_rounded_against_us() -> None:
    book = Book("BTCUSDT", ((D("99.97"), D(1)),), ((D("100.01"), D(1)),), NOW)
    assert shape(execute(order("BUY"), book)) == [("100.1", "1")]
    assert shape(execute(order("SELL"), book)) == [("99.9", "1")]


@pytest.mark.parametrize(
    ("liquidity", "reason"),
    [
        (None, "no_liquidity"),
        (replace(BOOK, asks=()), "empty_book"),
        (replace(BOOK, asks=((D(0), D(5)),)), "empty_book"),
        (replace(BOOK, asks=((D("NaN"), D(5)), (D(100), D(0)))), "empty_book"),
        (replace(BOOK, bids=((D("100.1"), D(1)),)), "crossed_book"),
        (replace(BOOK, bids=((D("200"), D(1)),)), "crossed_book"),
        (replace(BOOK, as_of=NOW - timedelta(seconds=121)), "stale_book"),
        (replace(BOOK, as_of=NOW + timedelta(seconds=6)), "stale_book"),
        (replace(DEPTH, quantity=D(0)), "no_depth"),
        (replace(DEPTH, quantity=D(-1)), "no_depth"),
        (replace(DEPTH, quantity=D("NaN")), "no_depth"),
        (replace(DEPTH, as_of=NOW - timedelta(seconds=121)), "stale_depth"),
    ],
)
def test_unusable_liquidity_fills_nothing_and_says_why(liquidity: Liquidity | None, reason: str) -> None:
    execution = execute(order("BUY", "2"), liquidity)
    assert execution == Execution(order("BUY", "2"), (), D(2), "none", None, reason)


def test_liquidity_at_the_edge_of_its_age_is_used() -> None:
    for age in (timedelta(seconds=120), timedelta(seconds=-5)):
        assert execute(order(), replace(BOOK, as_of=NOW - age)).fills
        assert execute(order(), replace(DEPTH, as_of=NOW - age)).fills


def test_how_old_liquidity_may_be_is_the_settings_to_say() -> None:
    strict, lenient = (PaperVenue(D(5), D(2), D(5), seconds) for seconds in (30, 300))
    old = replace(BOOK, as_of=NOW - timedelta(seconds=60))
    assert execute(order(), old, strict).reason == "stale_book"
    assert execute(order(), old, lenient).fills


@pytest.mark.parametrize(
    ("side", "quantity", "price", "bps"),
    [
        ("BUY", "3", "100.02", "2"),  # the floor
        ("BUY", "200", "100.02", "2"),  # 3 * 200/300 is the floor
        ("BUY", "400", "100.04", "4"),
        ("SELL", "400", "99.96", "4"),
        ("BUY", "500", "100.05", "5"),  # 5/3 of the depth reaches the cap
        ("SELL", "500", "99.95", "5"),
    ],
)
def test_without_a_book_slippage_grows_with_size_between_floor_and_cap(
    side: Side, quantity: str, price: str, bps: str
) -> None:
    execution = execute(order(side, quantity, tick_size=D("0.01")), DEPTH)
    assert shape(execution) == [(price, quantity)]
    assert (execution.method, execution.slippage_bps) == ("bounded_slippage", D(bps))


def test_bounded_slippage_is_rounded_to_the_tick_against_us() -> None:
    assert shape(execute(order("BUY", "3"), DEPTH)) == [("100.1", "3")]
    assert shape(execute(order("SELL", "3"), DEPTH)) == [("99.9", "3")]


def test_above_five_thirds_of_the_depth_the_rest_stays_unfilled_on_the_grid() -> None:
    execution = execute(order("BUY", "900", tick_size=D("0.01")), replace(DEPTH, quantity=D("100")))
    assert shape(execution) == [("100.05", "166.666")]
    assert (execution.unfilled, execution.reason) == (D("733.334"), "insufficient_depth")


@pytest.mark.parametrize(("step", "filled"), [("5", "165"), ("10", "160"), (None, "166")])
def test_a_partial_fill_is_cut_to_the_quantity_grid(step: str | None, filled: str) -> None:
    one = order("BUY", "900", step_size=None if step is None else D(step))
    for liquidity in (replace(DEPTH, quantity=D(100)), replace(BOOK, asks=((D(101), D("99.9")), (D(102), D("66.77"))))):
        execution = execute(one, liquidity)
        assert sum(fill.quantity for fill in execution.fills) == D(filled)
        assert execution.unfilled == 900 - D(filled)


def test_depth_below_one_step_fills_nothing() -> None:
    execution = execute(order("BUY", "5", step_size=D(5)), replace(DEPTH, quantity=D(2)))
    assert (execution.fills, execution.method, execution.reason) == ((), "none", "insufficient_depth")


def test_the_cap_bounds_slippage_below_five_basis_points_too() -> None:
    venue = PaperVenue(D(5), D(1), D(3))
    assert execute(order("BUY", "500", tick_size=D("0.01")), DEPTH, venue).slippage_bps == 3


def test_a_sale_never_fills_at_zero() -> None:
    tiny = order("SELL", "1", mark=D("0.05"))
    assert execute(tiny, DEPTH).reason == "price_below_tick"
    assert execute(tiny, replace(BOOK, bids=((D("0.04"), D(9)),))).reason == "price_below_tick"


def test_orders_of_one_batch_use_up_the_same_book() -> None:
    batch = [
        order("BUY", "1.5", order_id="a"),
        order("SELL", "1", order_id="b"),
        order("BUY", "2", order_id="c"),
        order("BUY", "9", order_id="d"),
        order("BUY", "1", order_id="e"),
    ]
    asked: list[str] = []

    def liquidity(symbol: str) -> Liquidity:
        asked.append(symbol)
        return BOOK

    executions = VENUE.execute(batch, liquidity, NOW)
    assert asked == ["BTCUSDT"]
    assert [shape(execution) for execution in executions] == [
        [("100.1", "1.0"), ("100.2", "0.5")],
        [("99.9", "1.0")],
        [("100.2", "1.5"), ("100.5", "0.5")],
        [("100.5", "2.5")],
        [],
    ]
    assert [execution.reason for execution in executions] == ["", "", "", "insufficient_depth", "insufficient_depth"]
    assert BOOK.asks[0] == (D("100.1"), D("1.0"))


def test_splitting_an_order_does_not_evade_bounded_slippage() -> None:
    children = [order("BUY", "200", order_id=f"o{n}", tick_size=D("0.01")) for n in range(3)]
    executions = VENUE.execute(children, lambda _: DEPTH, NOW)
    assert [execution.slippage_bps for execution in executions] == [2, 4, 5]
    assert [execution.unfilled for execution in executions] == [0, 0, 100]


@pytest.mark.parametrize(
    "changes",
    [
        {"quantity": D(0)},
        {"quantity": D(-1)},
        {"quantity": D("NaN")},
        {"quantity": D("Infinity")},
        {"quantity": D("0.0005")},
        {"mark": D("NaN")},
        {"mark": D(0)},
        {"mark": D("-1")},
        {"tick_size": D(0)},
        {"step_size": D(0)},
        {"side": "HOLD"},
    ],
)
def test_an_order_no_venue_would_accept_is_an_error(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="o1"):
        execute(order(**changes), BOOK)  # type: ignore[arg-type]


def test_an_order_id_used_twice_is_an_error() -> None:
    with pytest.raises(ValueError, match="repeat"):
        VENUE.execute([order(), order()], lambda _: BOOK, NOW)


@pytest.mark.parametrize("terms", [("-1", "2", "5"), ("5", "-1", "5"), ("5", "6", "5"), ("5", "2", "10000")])
def test_impossible_terms_are_an_error(terms: tuple[str, str, str]) -> None:
    with pytest.raises(ValueError, match=r"fee_bps|slippage"):
        PaperVenue(*map(D, terms))


def test_an_exchange_mark_between_two_ticks_is_no_error() -> None:
    assert shape(execute(order("BUY", "3", mark=D("100.04567891")), DEPTH)) == [("100.1", "3")]


def test_the_simulated_book_takes_100k_in_a_few_levels_and_not_50m() -> None:
    market = SimulatedMarket(7)
    mark = market.marks(NOW)["BTCUSDT"].price
    for value, filled in ((100_000, True), (50_000_000, False)):
        quantity = str((value / mark).quantize(D("0.001")))
        (execution,) = VENUE.execute([order("BUY", quantity, mark=mark)], lambda s: market.liquidity(s, NOW), NOW)
        assert (execution.unfilled == 0) is filled
        if filled:
            assert 2 <= len(execution.fills) <= 8
            assert execution.slippage_bps is not None
            assert 0 < execution.slippage_bps < 10


steps = st.sampled_from(["0.001", "0.1", "1", "5"]).map(D)
ticks = st.sampled_from(["0.0001", "0.1", "0.5"]).map(D)
sides = st.sampled_from(["BUY", "SELL"])


@st.composite
def batches(draw: st.DrawFn) -> list[Order]:
    step, tick = draw(steps), draw(ticks)
    return [
        Order(
            f"o{number}",
            "BTCUSDT",
            draw(sides),
            draw(st.integers(1, 5_000)) * step,
            False,
            tick,
            draw(st.integers(50_000, 5_000_000)) * D("0.01"),
            step,
        )
        for number in range(draw(st.integers(1, 5)))
    ]


@st.composite
def books(draw: st.DrawFn) -> Book:
    middle = draw(st.integers(60_000, 5_000_000))

    def side(direction: int) -> tuple[tuple[Decimal, Decimal], ...]:
        away = sorted(draw(st.sets(st.integers(1, 50_000), max_size=6)))
        sizes = draw(st.lists(st.integers(1, 3_000_000), min_size=len(away), max_size=len(away)))
        return tuple((D(middle + direction * a) / 100, D(size) / 1000) for a, size in zip(away, sizes, strict=True))

    return Book("BTCUSDT", side(-1), side(1), NOW)


def _check_conservation(executions: list[Execution]) -> None:
    for execution in executions:
        filled = sum((fill.quantity for fill in execution.fills), start=D(0))
        assert filled + execution.unfilled == execution.order.quantity
        assert filled % (execution.order.step_size or D(1)) == 0
        assert (execution.reason == "") == (execution.unfilled == 0)
        assert (execution.method == "none") == (not execution.fills)
        assert (execution.slippage_bps is None) == (not execution.fills)
        for fill in execution.fills:
            assert fill.quantity > 0
            assert fill.price > 0
            assert fill.price % execution.order.tick_size == 0
            assert abs(fill.fee - fill.price * fill.quantity * 5 / 10_000) <= D("0.000000005")


@given(batches(), books())
def test_a_book_is_never_over_consumed(batch: list[Order], book: Book) -> None:
    executions = VENUE.execute(batch, lambda _: book, NOW)
    _check_conservation(executions)
    for side, levels in (("BUY", book.asks), ("SELL", book.bids)):
        fills = [fill for execution in executions if execution.order.side == side for fill in execution.fills]
        for depth in range(1, len(levels) + 1):
            # However deep one looks, no more was traded up to that price than was displayed up to it.
            price, shown = levels[depth - 1][0], sum(quantity for _, quantity in levels[:depth])
            reached = [f.quantity for f in fills if (f.price <= price if side == "BUY" else f.price >= price)]
            assert sum(reached) <= shown
    assert executions == VENUE.execute(batch, lambda _: book, NOW)


@given(batches(), st.integers(1, 10**7))
def test_bounded_slippage_stays_between_floor_and_cap_up_to_one_tick(batch: list[Order], depth: int) -> None:
    shown = D(depth) / 1000
    executions = VENUE.execute(batch, lambda _: Depth("BTCUSDT", shown, NOW), NOW)
    _check_conservation(executions)
    for side in ("BUY", "SELL"):
        traded = sum(f.quantity for e in executions if e.order.side == side for f in e.fills)
        assert 3 * traded <= 5 * shown
    for execution in executions:
        sign = 1 if execution.order.side == "BUY" else -1
        for fill in execution.fills:
            cost = sign * (fill.price - execution.order.mark)
            floor, cap = (execution.order.mark * bps / 10_000 for bps in (2, 5))
            assert floor <= cost < cap + execution.order.tick_size


@given(books(), st.integers(1, 3_000), st.integers(1, 3_000), sides)
def test_two_orders_of_a_batch_cost_what_one_order_costs(book: Book, first: int, second: int, side: Side) -> None:
    split = [order(side, str(first), order_id="a"), order(side, str(second), order_id="b")]

    def paid(executions: list[Execution]) -> Decimal:
        return sum((f.price * f.quantity for e in executions for f in e.fills), start=D(0))

    whole = [order(side, str(first + second))]
    assert paid(VENUE.execute(split, lambda _: book, NOW)) == paid(VENUE.execute(whole, lambda _: book, NOW))
