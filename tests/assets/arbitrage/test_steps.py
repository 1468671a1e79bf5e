"""What is ordered next, of trades and books that are put there by hand."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.arbitrage.model import Leg, OrderSide, Purpose
from assets.arbitrage.open_trade import OpenLeg, OpenOrder, OpenTrade, Pair, Stage
from assets.arbitrage.rules import Rules
from assets.arbitrage.steps import Step, Steps
from resources.feed import Interrupted, Quote, to_units
from tests.assets.arbitrage.exchange_parts import Stage as Venues
from tests.assets.arbitrage.trader_parts import listing, units

NOW = 10**9
NORTH, SOUTH = listing("north"), listing("south", step="0.025", min_notional="20")
GRID = to_units(Decimal("0.05"))  # of both steps


class Scene:
    """A trade that bought on north at 100 and sold on south at 101, before two books that a test shows."""

    def __init__(self, long: float, short: float, stage: Stage = Stage.ENTRY_SETTLE) -> None:
        self.venues = Venues(NORTH, SOUTH)
        self.steps = Steps(self.venues.exchange, Rules())
        legs = OpenLeg(Leg.LONG, 0, NORTH, units(100)), OpenLeg(Leg.SHORT, 1, SOUTH, units(101))
        for leg, held in zip(legs, (long, short), strict=True):
            if held:
                leg.fill(leg.leg.opening_side, leg.plan, units(held), NOW)
        self.trade = OpenTrade("a trade", "SOL", *legs, Pair(GRID, 0, True))
        self.trade.stage = stage
        self.show(0, 99.99, 100)
        self.show(1, 101, 101.01)

    def show(self, index: int, bid: float, ask: float, bid_size: float = 400, ask_size: float = 400) -> None:
        self.venues.play(Quote(NOW, index, units(bid), units(bid_size), units(ask), units(ask_size)))

    def hide(self, index: int) -> None:
        self.venues.play(Interrupted(NOW, index))

    def hedge(self) -> list[tuple[Leg, Purpose, OrderSide, Decimal]]:
        return shown(self.steps.hedge(self.trade, NOW))

    def leave(self) -> list[tuple[Leg, Purpose, OrderSide, Decimal]]:
        return shown(self.steps.leave(self.trade, NOW))


def shown(steps: list[Step]) -> list[tuple[Leg, Purpose, OrderSide, Decimal]]:
    assert all(step.limit is None for step in steps)
    return [(step.leg.leg, step.purpose, step.side, Decimal(step.size) / 10**10) for step in steps]


COMPLETE = (Leg.SHORT, Purpose.HEDGE, OrderSide.SHORT)
UNWIND = (Leg.LONG, Purpose.UNWIND, OrderSide.SHORT)


# The second leg


@pytest.mark.parametrize(
    ("bid", "limit"),
    [
        (101.5, 101.5),  # better than it was
        (100.4, 100.4),  # worse, and still worth having: 0.4 less fees of 0.2 and crossings of 0.01
        (100.2, 101),  # the trade would lose there: at the price it was found at
    ],
)
def test_the_second_leg_is_ordered_at_the_touch_while_the_trade_earns_there(bid: float, limit: float) -> None:
    scene = Scene(long=10, short=0, stage=Stage.ENTRY)
    scene.show(1, bid, bid + 0.01)
    step = scene.steps.second(scene.trade)
    assert step == Step(scene.trade.short, Purpose.ENTRY, OrderSide.SHORT, units(10), units(limit))


def test_the_second_leg_waits_at_its_plan_while_a_book_is_unknown() -> None:
    for index in (0, 1):
        scene = Scene(long=10, short=0, stage=Stage.ENTRY)
        scene.hide(index)
        step = scene.steps.second(scene.trade)
        assert step is not None
        assert step.limit == units(101)


def test_only_what_no_order_covers_is_met_and_only_on_the_grid_of_both() -> None:
    scene = Scene(long=10.03, short=4, stage=Stage.ENTRY)
    trade = scene.trade
    trade.live.append(OpenOrder("working", trade, trade.short, OrderSide.SHORT, units(5), units(101)))
    step = scene.steps.second(trade)
    assert step is not None
    assert step.size == units(1)
    trade.live.append(OpenOrder("too", trade, trade.short, OrderSide.SHORT, units(1), units(101)))
    assert scene.steps.second(trade) is None


@pytest.mark.parametrize(("held", "ordered"), [(0.2, True), (0.15, False)])  # 20 at the least
def test_what_the_second_venue_would_not_take_is_not_ordered(held: float, ordered: bool) -> None:
    scene = Scene(long=held, short=0, stage=Stage.ENTRY)
    assert (scene.steps.second(scene.trade) is not None) is ordered


# Naked legs


def test_a_missing_leg_is_completed_where_that_pays_and_the_filled_one_taken_back_where_not() -> None:
    scene = Scene(long=10, short=0)
    assert scene.hedge() == [(*COMPLETE, 10)]
    scene.show(1, 100.2, 100.21)
    assert scene.hedge() == [(*UNWIND, 10)]


@pytest.mark.parametrize(
    ("bid", "size", "way"),
    [
        # Sold at 100.2103 ten earn nothing: fees of 0.2, crossings of 0.01. The touch would do, the slippage decides.
        (100.24, 400, COMPLETE),  # two basis points at least
        (100.23, 400, UNWIND),
        (100.24, 8, UNWIND),  # 3 x 10 / 8 basis points in a thin book
        (100.25, 8, COMPLETE),
    ],
)
def test_completing_pays_or_not_after_its_slippage(
    bid: float, size: float, way: tuple[Leg, Purpose, OrderSide]
) -> None:
    scene = Scene(long=10, short=0)
    scene.show(1, bid, bid + 0.01, bid_size=size)
    assert scene.hedge() == [(*way, 10)]


def test_after_a_refused_attempt_the_other_way_goes_first() -> None:
    scene = Scene(long=10, short=0)
    scene.trade.attempts = 1
    assert scene.hedge() == [(*UNWIND, 10)]
    scene.trade.attempts = 2
    assert scene.hedge() == [(*COMPLETE, 10)]


def test_where_one_way_is_not_open_the_other_is_taken() -> None:
    scene = Scene(long=10, short=0)
    scene.hide(1)
    assert scene.hedge() == [(*UNWIND, 10)]
    scene.hide(0)
    assert scene.hedge() == []


def test_a_shallow_book_takes_what_it_can_if_neither_takes_all() -> None:
    scene = Scene(long=10, short=0)
    scene.show(0, 99.99, 100, bid_size=9)
    scene.show(1, 101, 101.01, bid_size=3)
    assert scene.hedge() == [(*UNWIND, 10)]  # five thirds of 9 are more than 10
    scene.show(0, 99.99, 100, bid_size=3)
    assert scene.hedge() == [(*COMPLETE, 5)]


def test_a_part_never_exceeds_the_difference() -> None:
    """The short leg's 4.025 would become 4, which both grids have; while its book is gone, 6.03 would be too much."""
    scene = Scene(long=10.03, short=4.025)
    scene.hide(1)
    assert scene.hedge() == [(*UNWIND, 6)]


def test_on_the_way_out_the_leg_that_holds_more_is_closed_and_never_the_other_opened() -> None:
    scene = Scene(long=10, short=4, stage=Stage.EXIT_SETTLE)
    assert scene.hedge() == [(Leg.LONG, Purpose.HEDGE, OrderSide.SHORT, 6)]
    scene.hide(0)
    assert scene.hedge() == []


# The way out


def test_both_legs_leave_in_equal_slices_that_the_thinner_book_takes() -> None:
    scene = Scene(long=100, short=100, stage=Stage.EXIT_SETTLE)
    scene.show(1, 101, 101.01, ask_size=80)
    slices = [(Leg.LONG, Purpose.EXIT, OrderSide.SHORT, 10), (Leg.SHORT, Purpose.EXIT, OrderSide.LONG, 10)]
    assert scene.leave() == slices  # an eighth of 80
    scene.hide(0)
    assert scene.leave() == []


def test_what_is_left_may_be_smaller_than_what_a_venue_lets_begin() -> None:
    scene = Scene(long=0.1, short=0.1, stage=Stage.EXIT_SETTLE)
    assert [size for *_, size in scene.leave()] == [Decimal("0.1")] * 2


def test_both_legs_are_quoted_where_they_join_their_side_and_no_more_than_a_hedge_could_take() -> None:
    scene = Scene(long=100, short=100, stage=Stage.EXIT_SETTLE)
    scene.show(1, 101, 101.01, ask_size=80)
    assert scene.steps.quote(scene.trade, NOW) == [  # a quarter of 80
        Step(scene.trade.long, Purpose.EXIT, OrderSide.SHORT, units(20), units(100)),
        Step(scene.trade.short, Purpose.EXIT, OrderSide.LONG, units(20), units(101)),
    ]
    scene.hide(0)
    assert scene.steps.quote(scene.trade, NOW) == []


@given(
    long=st.integers(0, 800),
    short=st.integers(0, 800),
    stage=st.sampled_from([Stage.ENTRY_SETTLE, Stage.EXIT_SETTLE]),
    attempts=st.integers(0, 3),
    bids=st.tuples(st.integers(9_900, 10_200), st.integers(9_900, 10_200)),
    sizes=st.lists(st.integers(1, 2_000), min_size=4, max_size=4),
    hidden=st.sets(st.integers(0, 1)),
)
def test_no_step_makes_the_legs_more_unequal_or_asks_for_more_than_a_book_can_give(
    long: int, short: int, stage: Stage, attempts: int, bids: tuple[int, int], sizes: list[int], hidden: set[int]
) -> None:
    """Holdings and displayed sizes in steps of each venue, prices in ticks."""
    scene = Scene(long / 100, short * 25 / 1_000, stage)
    trade, exchange = scene.trade, scene.venues.exchange
    trade.attempts = attempts
    for index, bid in enumerate(bids):
        scene.show(index, bid / 100, (bid + 1) / 100, sizes[index] / 100, sizes[index + 2] / 100)
    for index in hidden:
        scene.hide(index)
    naked = trade.naked
    judged = scene.steps.hedge if naked else scene.steps.leave
    steps = judged(trade, NOW) if naked or trade.long.held else []
    sums = {leg: trade.legs[leg].held for leg in Leg}
    for step in steps:
        assert step.size > 0
        assert step.size % step.leg.step == 0
        assert 3 * step.size <= 5 * exchange.depth(step.leg.index, step.side, NOW)
        sums[step.leg.leg] += step.size if step.side is step.leg.leg.opening_side else -step.size
    assert min(sums.values()) >= 0
    assert abs(sums[Leg.LONG] - sums[Leg.SHORT]) <= abs(naked)
    if not naked and steps:
        assert len({step.size for step in steps}) == 1
