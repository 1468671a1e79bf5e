"""What a market order pays beyond the best (Property 4 of the brief), checked in exact fractions."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from assets.arbitrage.model import OrderSide
from assets.arbitrage.order_book import CrossedBookError, EmptyBookError, Level
from assets.arbitrage.rules import Rules
from assets.arbitrage.slippage import InsufficientDepthError, SlippageModel

MODEL = SlippageModel(Rules())
LONG, SHORT = OrderSide.LONG, OrderSide.SHORT

_SIDES = st.sampled_from(OrderSide)


def _book(side: OrderSide, best: int, gaps: list[int], sizes: list[int]) -> list[Level]:
    levels, price = [], best
    for gap, size in zip([0, *gaps], sizes, strict=False):
        price += side.sign * gap
        levels.append((price, size))
    return levels


def test_small_orders_pay_the_floor() -> None:
    slipped = MODEL.price([(10_000_000, 1_000)], 1, LONG, 1, 1, has_book=False)
    assert slipped == (10_002_000, Decimal(2), None, False)
    assert MODEL.price([(10_000_000, 1_000)], 1, SHORT, 10_000_001, 1, has_book=False).price == 9_998_000


def test_an_order_as_large_as_the_depth_pays_three() -> None:
    assert MODEL.price([(10_000_000, 1_000)], 1_000, LONG, 1, 1, has_book=False).bps == 3


def test_five_thirds_of_the_depth_is_the_most_and_pays_the_cap() -> None:
    assert MODEL.price([(10_000_000, 3)], 5, LONG, 1, 1, has_book=False).bps == 5
    with pytest.raises(InsufficientDepthError, match="displayed"):
        MODEL.price([(10_000_000, 3_000)], 5_001, LONG, 1, 1, has_book=False)


def test_the_price_is_rounded_to_the_tick_against_us() -> None:
    """2 bps of 100.05 is 0.02001: the applied slippage stays 2 bps, the rest is the tick's."""
    assert MODEL.price([(10_005, 10)], 1, LONG, 1, 10, has_book=False)[:2] == (10_010, Decimal(2))
    assert MODEL.price([(10_005, 10)], 1, SHORT, 99_999, 10, has_book=False)[:2] == (10_000, Decimal(2))


def test_a_market_fill_is_never_better_than_the_book_up_to_the_cap() -> None:
    levels = [(1_000_000, 10), (1_000_800, 10)]
    slipped = MODEL.price(levels, 20, LONG, 1, 1, has_book=True)
    assert (slipped.walked_bps, slipped.bps, slipped.price) == (4, 4, 1_000_400)
    assert not slipped.capped


def test_where_the_cap_hides_part_of_the_cost_the_fill_says_so() -> None:
    levels = [(1_000_000, 10), (1_010_000, 10)]
    slipped = MODEL.price(levels, 20, LONG, 1, 1, has_book=True)
    assert (slipped.walked_bps, slipped.bps, slipped.capped) == (50, 5, True)


def test_levels_that_end_before_the_order_does_are_capped_too() -> None:
    slipped = MODEL.price([(1_000_000, 10)], 15, LONG, 1, 1, has_book=True)
    assert (slipped.walked_bps, slipped.bps, slipped.capped) == (0, Decimal("4.5"), True)


def test_books_without_a_price_give_none() -> None:
    with pytest.raises(EmptyBookError):
        MODEL.price([], 1, LONG, 1, 1, has_book=True)
    with pytest.raises(CrossedBookError):
        MODEL.price([(100, 5)], 1, LONG, 100, 1, has_book=True)
    with pytest.raises(InsufficientDepthError, match="below one tick"):
        MODEL.price([(100, 5)], 1, SHORT, 200, 100, has_book=True)


def test_a_rule_finer_than_the_log_is_refused() -> None:
    with pytest.raises(ValueError, match="finer"):
        SlippageModel(replace(Rules(), slippage_floor_bps=Decimal("2.000000001")))


@given(
    _SIDES,
    st.integers(10**6, 10**9),
    st.lists(st.integers(1, 500), max_size=6),
    st.lists(st.integers(1, 10**6), min_size=1, max_size=7),
    st.integers(1, 10**7),
    st.sampled_from([1, 5, 10, 250, 1000]),
    st.booleans(),
)
def test_property_4_for_any_book(
    side: OrderSide, best: int, gaps: list[int], sizes: list[int], size: int, tick: int, has_book: bool
) -> None:
    """2 <= s <= 5 and s >= 3 size / depth, exactly; the price is adverse by at least s and by less than s plus one
    tick; above 5/3 of the depth there is no price at all."""
    levels = _book(side, best, gaps, sizes)
    depth = sum(shown for _, shown in levels)
    other = best - side.sign
    if 3 * size > 5 * depth:
        with pytest.raises(InsufficientDepthError):
            MODEL.price(levels, size, side, other, tick, has_book)
        return
    slipped = MODEL.price(levels, size, side, other, tick, has_book)
    assert 2 <= slipped.bps <= 5
    assert Fraction(slipped.bps) >= Fraction(3 * size, depth)
    unrounded = best * (1 + side.sign * Fraction(slipped.bps) / 10_000)
    beyond = side.sign * (slipped.price - unrounded)
    assert 0 <= beyond < tick
    assert slipped.price % tick == 0
    if not has_book:
        assert slipped.walked_bps is None
    elif not slipped.capped:
        # Then nothing of the book's own cost is left out.
        assert slipped.walked_bps is not None
        assert slipped.bps >= slipped.walked_bps >= 0
        assert size <= depth


@given(st.integers(10**6, 10**9), st.integers(1, 10**5), st.integers(1, 10**5), st.integers(1, 10**5))
def test_a_larger_order_never_pays_less(best: int, depth: int, first: int, second: int) -> None:
    smaller, larger = sorted((first, second))
    assume(3 * larger <= 5 * depth)
    price = MODEL.price([(best, depth)], smaller, LONG, 1, 1, has_book=False).price
    assert price <= MODEL.price([(best, depth)], larger, LONG, 1, 1, has_book=False).price


@given(st.integers(10**6, 10**9), st.integers(1, 10**5), st.integers(1, 10**5))
def test_buying_and_selling_lose_the_same(mid: int, depth: int, size: int) -> None:
    assume(3 * size <= 5 * depth)
    bought = MODEL.price([(mid, depth)], size, LONG, 1, 1, has_book=False)
    sold = MODEL.price([(mid, depth)], size, SHORT, mid + 1, 1, has_book=False)
    assert bought.bps == sold.bps
    assert bought.price - mid == mid - sold.price
