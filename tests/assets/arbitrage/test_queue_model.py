"""When a resting order fills (Property 3 of the brief), order by order."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.arbitrage.queue_model import QueueModel

BRIEF = QueueModel(Decimal("0.20"), partial_fills=True)
WHOLE = QueueModel(Decimal("0.20"), partial_fills=False)
CONSERVATIVE = QueueModel(Decimal(1), partial_fills=True)

_THRESHOLDS = st.sampled_from([Decimal(t) for t in ("0.0001", "0.07", "0.20", "0.333", "0.5", "1")])
# (how much; traded at the price, offered there, or through it)
_TRADES = st.lists(st.tuples(st.integers(1, 400), st.sampled_from(["traded", "offered", "through"])), max_size=12)


def test_nothing_fills_below_the_threshold_and_then_only_what_was_traded_beyond_it() -> None:
    queue = BRIEF.new_order(100)
    queue.trade(19)
    assert not queue.is_filled
    assert queue.take(50, 1) == 0
    queue.trade(1)
    assert queue.is_filled
    assert queue.take(50, 1) == 0  # reached, but nothing traded beyond it yet
    queue.trade(5)
    assert (queue.take(50, 1), queue.excess) == (5, 5)
    queue.trade(100)
    assert queue.take(45, 1) == 45


def test_the_conservative_model_waits_for_the_whole_queue() -> None:
    queue = CONSERVATIVE.new_order(100)
    queue.trade(100)
    assert queue.take(10, 1) == 0
    queue.trade(3)
    assert queue.take(10, 1) == 3


def test_an_order_that_fills_whole_says_how_much_of_it_was_not_traded() -> None:
    queue = WHOLE.new_order(100)
    queue.trade(21)
    assert queue.take(50, 1) == 50
    assert queue.excess == 1


def test_a_threshold_between_two_whole_units_is_reached_by_the_upper_one() -> None:
    queue = QueueModel(Decimal("0.333"), partial_fills=False).new_order(10)
    queue.trade(3)
    assert not queue.is_filled
    queue.trade(1)
    assert queue.is_filled


@pytest.mark.parametrize("model", [BRIEF, WHOLE, CONSERVATIVE])
def test_a_depth_of_zero_alone_fills_nobody(model: QueueModel) -> None:
    queue = model.new_order(0)
    assert not queue.is_filled
    assert queue.take(5, 1) == 0


def test_going_through_fills_an_order_that_stood_in_a_queue_outright() -> None:
    queue = CONSERVATIVE.new_order(100)
    queue.passed(1)
    assert queue.take(5_000, 1) == 5_000
    assert queue.cumulative == 101


def test_an_order_alone_at_its_price_gets_no_more_than_what_went_through() -> None:
    queue = BRIEF.new_order(0)
    queue.passed(3)
    assert queue.take(5_000, 1) == 3


def test_partial_fills_lie_on_the_step_and_the_rest_is_not_lost() -> None:
    queue = BRIEF.new_order(0)
    queue.trade(25)
    assert queue.take(100, 10) == 20
    queue.trade(5)
    assert queue.take(80, 10) == 10


@pytest.mark.parametrize("threshold", ["0", "-0.2", "1.01"])
def test_a_threshold_outside_its_range_is_refused(threshold: str) -> None:
    with pytest.raises(ValueError, match="threshold"):
        QueueModel(Decimal(threshold), partial_fills=True)


def test_a_negative_queue_is_refused() -> None:
    with pytest.raises(ValueError, match="queue"):
        BRIEF.new_order(-1)


@given(_THRESHOLDS, st.booleans(), st.integers(0, 500), st.integers(1, 60), st.integers(1, 7), _TRADES)
def test_property_3_for_any_trades(
    threshold: Decimal, partial: bool, depth: int, lots: int, step: int, trades: list[tuple[int, str]]
) -> None:
    """Filled => cumulative >= threshold * depth and > 0, in exact fractions; never beyond what was asked; and what an
    order took, while nothing went through its price, was traded beyond the threshold."""
    size = lots * step
    queue = QueueModel(threshold, partial).new_order(depth)
    remaining, seen, offered, through_any = size, 0, 0, False
    for volume, how in trades:
        if how == "through":
            queue.passed(volume)
        elif how == "traded":
            queue.trade(volume)
        else:
            queue.offer(volume)
        # What is offered is there once, however often it is shown.
        seen += volume if how != "offered" else max(0, volume - offered)
        offered = max(offered, volume) if how == "offered" else offered
        through_any = through_any or how == "through"
        fill = queue.take(remaining, step)
        assert 0 <= fill <= remaining
        remaining -= fill
        if fill:
            assert queue.cumulative > 0
            assert queue.cumulative >= depth * Fraction(threshold)
            assert fill % step == 0
        if not through_any:
            assert queue.cumulative == seen
            if partial:
                assert size - remaining <= max(Fraction(0), seen - depth * Fraction(threshold))
        if not partial:
            assert remaining in (0, size)
        if not remaining:
            break
    if trades and not depth and partial:
        assert size - remaining <= seen  # alone at its price: never more than the market traded


@given(_THRESHOLDS, st.integers(0, 500), st.lists(st.integers(1, 100), max_size=12))
def test_a_higher_threshold_never_fills_earlier_nor_more(threshold: Decimal, depth: int, trades: list[int]) -> None:
    lower, higher = QueueModel(threshold, True).new_order(depth), CONSERVATIVE.new_order(depth)
    filled_lower = filled_higher = 0
    for volume in trades:
        lower.trade(volume)
        higher.trade(volume)
        filled_lower += lower.take(1_000 - filled_lower, 1)
        filled_higher += higher.take(1_000 - filled_higher, 1)
        assert filled_higher <= filled_lower
