"""Sizes of dual-leg trades: the brief's formula, its four wrong answers corrected, and both venues' grids."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.arbitrage.rules import Rules
from assets.arbitrage.sizing import calculate_position_size, common_grid, exit_part, floor_to, quantity_for
from resources.feed import UNITS, to_units

D = Decimal
RULES = Rules()


@pytest.mark.parametrize(
    ("spread", "fees", "funding", "available", "size"),
    [
        (D(30), D(20), D(1), D(20_000), D(6_000)),  # 9/30 of what is available
        (D(100), D(20), D(0), D(20_000), D(10_000)),  # capped at the half
        (D(30), D(29), D(0), D(1_500), D(100)),  # 50 is raised to the minimum
        (D(100), D(20), D(0), D(150), D(100)),  # the minimum wins over the half
        (D(100), D(20), D(0), D("100.4"), D(100)),  # 20 bp of fees and four times 5 of slippage are left
        (D(3), D(2), D(0), D(1_000), D("333.33333333")),  # cut off, not rounded up
    ],
)
def test_size_is_the_edge_s_share_of_the_capital(
    spread: Decimal, fees: Decimal, funding: Decimal, available: Decimal, size: Decimal
) -> None:
    assert calculate_position_size(spread, available, fees, funding, RULES) == (size, "")


@pytest.mark.parametrize(
    ("spread", "fees", "funding", "available", "refusal"),
    [
        (D(-5), D(1), D(1), D(20_000), "no_edge"),  # two negatives made 10,000 of it
        (D(10), D(9), D(2), D(20_000), "no_edge"),  # the minimum made 100 of it
        (D(10), D(9), D(1), D(20_000), "no_edge"),  # an edge of nothing
        (D(0), D(0), D(0), D(20_000), "no_edge"),  # a division by zero
        (D(100), D(20), D(0), D(60), "insufficient_capital"),  # 100 out of 60
        (D(100), D(20), D(0), D("100.39"), "insufficient_capital"),  # its costs would be paid from nothing
        (D(100), D(20), D(0), D(100), "insufficient_capital"),
        (D(100), D(20), D(0), D("99.99"), "insufficient_capital"),
        (D(100), D(20), D(0), D(0), "insufficient_capital"),
        (D(100), D(20), D(0), D(-1), "insufficient_capital"),
    ],
)
def test_no_size_where_the_literal_formula_is_wrong(
    spread: Decimal, fees: Decimal, funding: Decimal, available: Decimal, refusal: str
) -> None:
    assert calculate_position_size(spread, available, fees, funding, RULES) == (0, refusal)


def test_a_share_of_everything_leaves_what_the_trade_may_cost() -> None:
    whole = Rules(max_capital_share=D(1))
    assert calculate_position_size(D(10_000), D(10_040), D(20), D(0), whole) == (10_000, "")


def test_strict_cap_refuses_instead_of_raising() -> None:
    strict = Rules(min_size_policy="reject")
    assert calculate_position_size(D(100), D(150), D(20), D(0), strict).refusal == "below_minimum"
    assert calculate_position_size(D(100), D(200), D(20), D(0), strict) == (100, "")


@given(
    spread=st.decimals(-100, 1000, places=4),
    fees=st.decimals(0, 100, places=4),
    funding=st.decimals(0, 100, places=4),
    available=st.decimals(-1000, 100_000, places=8),
)
@settings(max_examples=200)
def test_a_size_is_never_more_than_there_is(
    spread: Decimal, fees: Decimal, funding: Decimal, available: Decimal
) -> None:
    size, refusal = calculate_position_size(spread, available, fees, funding, RULES)
    if refusal:
        assert size == 0
    else:
        assert spread > fees + funding
        assert RULES.min_trade_usd <= size
        assert size * (1 + (fees + 4 * RULES.slippage_cap_bps) / 10_000) <= available
        assert size <= max(available / 2, RULES.min_trade_usd)


@pytest.mark.parametrize(
    ("steps", "grid"),
    [(("0.001", "0.001"), "0.001"), (("0.01", "0.025"), "0.05"), (("1", "0.3"), "3"), (("1000", "0.5"), "1000")],
)
def test_common_grid_is_the_least_common_multiple(steps: tuple[str, str], grid: str) -> None:
    assert common_grid(D(step) for step in steps) == to_units(D(grid))


@pytest.mark.parametrize("step", ["0", "-1", "0.00000000001", "NaN"])
def test_an_impossible_step_is_no_grid(step: str) -> None:
    with pytest.raises(ValueError, match=r"step|finer|finite"):
        common_grid([D(step)])


@given(
    size=st.decimals(100, 10_000, places=2),
    price=st.integers(1, 10**6 * UNITS),
    steps=st.tuples(*[st.sampled_from(["0.001", "0.0025", "0.01", "0.5", "3"])] * 2),
    displayed=st.integers(0, 10**5 * UNITS),
)
@settings(max_examples=200)
def test_quantity_lies_on_both_grids_within_size_and_depth(
    size: Decimal, price: int, steps: tuple[str, str], displayed: int
) -> None:
    grid = common_grid(D(step) for step in steps)
    quantity, reserved, refusal = quantity_for(size, price, grid, displayed, RULES)
    if refusal:
        assert refusal in ("below_minimum", "insufficient_depth")
        assert (quantity, reserved) == (0, 0)
        return
    assert all(quantity % to_units(D(step)) == 0 for step in steps)
    assert quantity * price <= reserved * UNITS * UNITS
    assert quantity <= displayed // 2
    assert RULES.min_trade_usd <= reserved <= size


def test_quantity_keeps_every_lot_that_fits() -> None:
    # 0.3 / 0.1 is 2 lots in floats.
    assert quantity_for(D("300"), 1000 * UNITS, to_units(D("0.1")), 10**6 * UNITS, RULES).quantity == to_units(D("0.3"))


def test_thin_books_shrink_the_trade_and_what_it_reserves() -> None:
    grid = to_units(D("0.01"))
    sized = quantity_for(D(10_000), 100 * UNITS, grid, 60 * UNITS, RULES)
    assert sized == (30 * UNITS, 3_000, "")
    assert quantity_for(D(10_000), 100 * UNITS, grid, 1 * UNITS, RULES).refusal == "insufficient_depth"


def test_floor_is_downward_to_the_grid() -> None:
    assert [floor_to(quantity, 50) for quantity in (0, 49, 50, 149)] == [0, 0, 50, 100]


@pytest.mark.parametrize(
    ("held", "displayed", "at_market", "part"),
    [
        (99, 400, True, 50),
        (99, 400, False, 99),
        (99, 200, False, 50),
        (30, 400, True, 30),  # never more than is held
        (99, 39, True, 4),  # down to the grid of 2
        (99, 7, True, 2),  # one step where the share is less
        (99, 0, True, 0),
    ],
)
def test_an_exit_leaves_in_parts_of_what_is_displayed(held: int, displayed: int, at_market: bool, part: int) -> None:
    assert exit_part(held - held % 2, displayed, 2, at_market) == part - part % 2


@given(held=st.integers(1, 10**6), displayed=st.integers(0, 10**6), grid=st.integers(1, 100), left=st.fractions(0, 1))
@settings(max_examples=200)
def test_a_slice_fills_in_a_book_of_which_three_fortieths_are_left(
    held: int, displayed: int, grid: int, left: Fraction
) -> None:
    part = exit_part(held * grid, displayed, grid, True)
    assert part % grid == 0
    assert part <= held * grid
    assert bool(part) == (displayed > 0)
    if displayed >= 8 * grid and left >= Fraction(3, 40):
        most, per = RULES.max_depth_share
        assert part * per <= left * displayed * most
