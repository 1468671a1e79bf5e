"""The displayed book and what walking it costs, against a book kept in the simplest way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.arbitrage.model import OrderSide
from assets.arbitrage.order_book import CrossedBookError, EmptyBookError, Level, OrderBook, walk

ASKS: list[Level] = [(101, 5), (102, 10), (105, 1)]
BIDS: list[Level] = [(100, 5), (99, 10), (90, 1)]

_LEVELS = st.lists(st.tuples(st.integers(1, 30), st.integers(0, 4)), max_size=6)


@pytest.mark.parametrize(
    ("size", "cost", "filled", "unfilled", "levels"),
    [(1, 101, 1, 0, 1), (5, 505, 5, 0, 1), (6, 607, 6, 0, 2), (16, 1630, 16, 0, 3), (20, 1630, 16, 4, 3)],
)
def test_a_walk_pays_level_by_level_and_says_what_the_book_does_not_cover(
    size: int, cost: int, filled: int, unfilled: int, levels: int
) -> None:
    assert walk(ASKS, size, OrderSide.LONG, 100) == (cost, filled, unfilled, levels)


def test_a_seller_receives_what_the_bids_pay() -> None:
    assert walk(BIDS, 7, OrderSide.SHORT, 101) == (5 * 100 + 2 * 99, 7, 0, 2)


def test_an_empty_book_is_refused_and_gives_no_price() -> None:
    with pytest.raises(EmptyBookError, match="empty"):
        walk([], 1, OrderSide.LONG, 0)


@pytest.mark.parametrize(("side", "levels", "other"), [(OrderSide.LONG, ASKS, 101), (OrderSide.SHORT, BIDS, 99)])
def test_a_crossed_or_locked_book_is_refused(side: OrderSide, levels: list[Level], other: int) -> None:
    with pytest.raises(CrossedBookError, match="crossed"):
        walk(levels, 1, side, other)


@pytest.mark.parametrize("size", [0, -3])
def test_nothing_cannot_be_walked(size: int) -> None:
    with pytest.raises(ValueError, match="cannot walk"):
        walk(ASKS, size, OrderSide.LONG, 100)


@given(
    st.lists(st.tuples(st.integers(1, 1000), st.integers(1, 50)), min_size=1, max_size=20, unique_by=lambda x: x[0]),
    st.integers(1, 400),
    st.integers(1, 400),
)
def test_a_walk_is_additive_and_never_better_than_the_best(levels: list[Level], first: int, second: int) -> None:
    """Walking for a + b costs what walking for a, then for b on what is left, costs."""
    asks = sorted(levels)
    one = walk(asks, first, OrderSide.LONG, 0)
    assert one.filled + one.unfilled == first
    assert one.cost >= asks[0][0] * one.filled
    assert one.cost <= asks[-1][0] * one.filled
    eaten, left = first, []
    for price, size in asks:
        took = min(eaten, size)
        eaten -= took
        if size > took:
            left.append((price, size - took))
    both = walk(asks, first + second, OrderSide.LONG, 0)
    if left:
        rest = walk(left, second, OrderSide.LONG, 0)
        assert both.cost == one.cost + rest.cost
        assert both.filled == one.filled + rest.filled
    else:
        assert both.cost == one.cost


def test_deleting_the_best_uncovers_the_next() -> None:
    book = OrderBook()
    book.replace(BIDS, ASKS)
    book.change([(100, 0)], [(101, 0), (104, 3)])
    assert (book.best_bid, book.best_ask) == (99, 102)
    book.change([(99, 0), (90, 0)], [])
    assert book.best_bid == 0
    assert not book.crossed
    book.change([(102, 1)], [])
    assert book.crossed


def test_what_the_snapshot_did_not_reach_is_unknown_and_holes_within_it_are_empty() -> None:
    book = OrderBook()
    assert book.shown_bid(100) is None
    assert book.shown_ask(100) is None
    book.replace(BIDS, ASKS)
    assert (book.shown_bid(99), book.shown_bid(95), book.shown_bid(89)) == (10, 0, None)
    assert (book.shown_ask(102), book.shown_ask(103), book.shown_ask(106)) == (10, 0, None)
    book.change([(80, 7)], [(120, 8)])
    assert (book.shown_bid(80), book.shown_bid(85)) == (7, None)
    assert (book.shown_ask(120), book.shown_ask(110)) == (8, None)


def test_a_new_snapshot_forgets_the_old_one() -> None:
    book = OrderBook()
    book.replace(BIDS, ASKS)
    book.replace([(50, 1)], [(60, 1)])
    assert (book.best_bid, book.best_ask) == (50, 60)
    assert book.bids == {50: 1}


@given(st.lists(st.tuples(st.booleans(), _LEVELS, _LEVELS), max_size=25))
def test_the_best_prices_are_those_of_a_book_kept_in_two_dictionaries(
    changes: list[tuple[bool, list[Level], list[Level]]],
) -> None:
    book, bids, asks = OrderBook(), dict[int, int](), dict[int, int]()
    for snapshot, bid_levels, ask_levels in changes:
        if snapshot:
            shown = [[level for level in side if level[1]] for side in (bid_levels, ask_levels)]
            book.replace(*shown)
            bids, asks = (dict(side) for side in shown)
        else:
            book.change(bid_levels, ask_levels)
            for held, levels in ((bids, bid_levels), (asks, ask_levels)):
                held.update(levels)
                for price in [price for price, size in held.items() if not size]:
                    del held[price]
        assert (book.bids, book.asks) == (bids, asks)
        assert book.best_bid == max(bids, default=0)
        assert book.best_ask == min(asks, default=0)


def test_the_memory_of_prices_that_are_gone_stays_bounded() -> None:
    """A best that stays while prices behind it come and go twenty thousand times."""
    book = OrderBook()
    book.replace([(1_000, 1)], [(2_000, 1)])
    for number in range(20_000):
        gone = number // 500 % 2
        book.change([(1 + number % 500, 1 - gone)], [(2_001 + number % 500, 1 - gone)])
    assert len(book._bid_heap) <= 4 * len(book.bids) + 65
    assert len(book._ask_heap) <= 4 * len(book.asks) + 65
