"""The simulated venue, case by case: arrival, queue, crossing, racing cancels, refusals, bad events, a real book."""

import gzip
import json
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from functools import partial
from itertools import pairwise

import pytest

from assets.arbitrage.exchange import Exchange, check_order
from assets.arbitrage.model import OrderSide
from assets.arbitrage.rules import MILLISECOND, Rules
from assets.arbitrage.timers import Rank, Timers
from resources.feed import Depth, FundingQuote, Interrupted, Quote, Trade
from resources.settings import Settings
from tests.assets.arbitrage.exchange_parts import (
    LATENCY,
    STEP,
    TICK,
    Diary,
    Stage,
    bought,
    depth,
    listing,
    quote,
    sold,
    units,
)

LONG, SHORT = OrderSide.LONG, OrderSide.SHORT
S = 1_000 * MILLISECOND
RAW = Settings().test_data / "ticks_book" / "raw" / "usdm_btcusdt_20240808.gz"


@pytest.fixture
def stage() -> Stage:
    """A quoted market at one second: 10 at 100.0, 10 at 100.5."""
    stage = Stage()
    stage.play(quote(S, 100, 10, 100.5, 10))
    return stage


# Arrival


def test_an_order_arrives_after_the_latency_and_sees_the_market_of_then(stage: Stage) -> None:
    stage.exchange.send("a", 0, LONG, units(1), units(100), S)
    assert stage.through(S + LATENCY - 1) == []
    stage.play(quote(S + LATENCY, 100, 7, 100.5, 10))
    (report,) = stage.through(S + LATENCY)
    assert (report.time_ns, report.word, report.depth) == (S + LATENCY, "accepted", units(7))


def test_trades_before_acceptance_count_for_nobody(stage: Stage) -> None:
    stage.exchange.send("a", 0, LONG, units(1), units(100), S)
    stage.play(sold(S + 1, 100, 500), sold(S + LATENCY, 100, 500))
    stage.through(S + LATENCY)
    assert stage.words("a") == ["accepted"]


def test_a_price_that_improves_the_best_has_nobody_ahead(stage: Stage) -> None:
    stage.exchange.send("a", 0, LONG, units(1), units(100.2), S)
    stage.exchange.send("b", 0, SHORT, units(1), units(100.3), S)
    stage.through(2 * S)
    assert [report.depth for report in stage.diary.reports] == [0, 0]


def test_a_price_behind_the_best_needs_a_book(stage: Stage) -> None:
    stage.exchange.send("a", 0, LONG, units(1), units(99.9), S)
    stage.through(2 * S)
    stage.play(depth(2 * S, {100: 10, 99.9: 33, 99: 1}, {100.5: 10, 101: 4}))
    for order_id, price in (("b", 99.9), ("c", 99.5), ("d", 98)):
        stage.exchange.send(order_id, 0, LONG, units(1), units(price), 2 * S)
    stage.through(3 * S)
    assert stage.words("a") == ["refused no_depth"]
    assert [report.depth for report in stage.diary.reports[1:3]] == [units(33), 0]
    assert stage.words("d") == ["refused no_depth"]


@pytest.mark.parametrize(
    ("size", "price", "reason"),
    [
        (0, units(100), "size_not_positive"),
        (-units(1), units(100), "size_not_positive"),
        (units(1), 0, "price_not_positive"),
        (units(1) + 1, units(100), "size_off_step"),
        (units(1), units(100) + 1, "price_off_tick"),
        (units("0.001"), units(100), "below_min_size"),
        (units("0.049"), units(100), "below_min_notional"),
        (units("0.05"), units(100), ""),
    ],
)
def test_filters_are_checked_alike_before_sending_and_on_arrival(size: int, price: int, reason: str) -> None:
    strict = listing(min_size="0.002")
    assert check_order(strict, size, price) == reason
    stage = Stage(strict)
    stage.play(quote(S, 100, 10, 100.5, 10))
    stage.exchange.send("a", 0, LONG, size, price, S)
    stage.through(2 * S)
    assert stage.words("a") == [f"refused {reason}" if reason else "accepted"]


def test_a_market_order_needs_no_tick_but_a_size_and_a_notional() -> None:
    assert check_order(listing(), units(1), units(100) + 1, market=True) == ""
    assert check_order(listing(), units("0.01"), units(100) + 1, market=True) == "below_min_notional"


def test_what_closes_a_position_may_be_small_but_lies_on_the_grids(stage: Stage) -> None:
    assert check_order(listing(min_size="0.002"), STEP, units(100), reduce_only=True) == ""
    assert check_order(listing(), STEP + 1, units(100), reduce_only=True) == "size_off_step"
    assert check_order(listing(), STEP, units(100) + 1, reduce_only=True) == "price_off_tick"
    stage.exchange.send("dust", 0, LONG, STEP, units(100), S)
    stage.exchange.send("closes", 0, LONG, STEP, units(100), S, reduce_only=True)
    stage.through(2 * S)
    assert stage.words("dust") == ["refused below_min_notional"]
    assert stage.words("closes") == ["accepted"]


def test_a_listing_without_a_grid_is_an_error() -> None:
    with pytest.raises(ValueError, match="tick"):
        check_order(replace(listing(), tick=Decimal(0)), units(1), units(100))


def test_an_order_id_is_used_once_at_a_time(stage: Stage) -> None:
    stage.exchange.send("a", 0, LONG, units(1), units(100), S)
    with pytest.raises(ValueError, match="exists"):
        stage.exchange.send("a", 0, LONG, units(1), units(100), S)


# Markets that cannot be traded


def test_a_market_that_was_never_quoted() -> None:
    silent = Stage()
    silent.exchange.send("a", 0, LONG, units(1), units(100), S)
    silent.exchange.send("b", 0, LONG, units(1), None, S)
    silent.through(2 * S)
    assert silent.words("a") == silent.words("b") == ["refused no_quote"]
    assert silent.exchange.top(0) is None
    assert silent.exchange.resting(0, LONG, units(100)) is None


@pytest.mark.parametrize("limit", [None, units(100)])
def test_stale_is_older_than_five_seconds_not_five_seconds(stage: Stage, limit: int | None) -> None:
    still, late = S + 5 * S, S + 5 * S + 1
    assert stage.exchange.usable(0, still) == ""
    assert stage.exchange.usable(0, late) == "stale_quote"
    stage.exchange.send("in time", 0, LONG, units(1), limit, still - LATENCY)
    stage.exchange.send("late", 0, LONG, units(1), limit, late - LATENCY)
    stage.through(late)
    assert stage.words("in time") == ["accepted" if limit else "filled"]
    assert stage.words("late") == ["refused stale_quote"]


@pytest.mark.parametrize("limit", [None, units(100)])
def test_trades_do_not_keep_a_quote_fresh(stage: Stage, limit: int | None) -> None:
    stage.play(sold(7 * S, 100, 1))
    stage.exchange.send("a", 0, LONG, units(1), limit, 7 * S)
    stage.through(8 * S)
    assert stage.words("a") == ["refused stale_quote"]


def test_a_crossed_or_locked_quote_stops_trading_until_the_next(stage: Stage) -> None:
    stage.exchange.send("rests", 0, LONG, units(1), units(100), S)
    for number, ask in enumerate((99.0, 101.0), start=2):
        stage.play(quote(number * S, 101, 10, ask, 10))
        assert stage.exchange.top(0) is None
        assert stage.exchange.usable(0, number * S) == "crossed_book"
        stage.exchange.send(f"{ask}", 0, LONG, units(1), None, number * S)
        stage.through(number * S + LATENCY)
        assert stage.words(f"{ask}") == ["refused crossed_book"]
    stage.play(quote(4 * S, 100, 10, 100.5, 10))
    assert stage.exchange.usable(0, 4 * S) == ""
    # The ask of 99.0 was part of a quote nobody believes, so it filled nobody.
    assert stage.words("rests") == ["accepted"]
    assert stage.exchange.rejected["crossed_quote"] == 2


def test_a_crossed_book_stops_trading_until_it_is_put_right() -> None:
    stage = Stage()
    stage.play(depth(S, {100: 10}, {100.5: 10}), depth(2 * S, {100.6: 1}, {}, snapshot=False))
    assert stage.exchange.usable(0, 2 * S) == "crossed_book"
    assert stage.exchange.top(0) is None
    stage.play(depth(3 * S, {100.6: 0}, {}, snapshot=False))
    assert stage.exchange.top(0) == quote(3 * S, 100, 10, 100.5, 10)


def test_a_book_with_an_empty_side_gives_no_fill() -> None:
    stage = Stage()
    stage.play(depth(S, {100: 10}, {100.5: 10}), depth(2 * S, {}, {100.5: 0}, snapshot=False))
    stage.exchange.send("buy", 0, LONG, units(1), None, 2 * S)
    stage.exchange.send("sell", 0, SHORT, units(1), None, 2 * S)
    stage.through(3 * S)
    assert stage.words("buy") == stage.words("sell") == ["refused empty_book"]


def test_an_interruption_lasts_until_the_next_snapshot_or_quote(stage: Stage) -> None:
    stage.play(depth(S, {100: 10, 99: 1}, {100.5: 10}), Interrupted(2 * S, 0))
    assert stage.exchange.usable(0, 2 * S) == "interrupted"
    stage.exchange.send("a", 0, LONG, units(1), None, 2 * S)
    stage.play(depth(3 * S, {99: 3}, {}, snapshot=False))
    assert stage.words("a") == ["refused interrupted"]
    assert stage.exchange.rejected["no_snapshot"] == 1
    stage.play(quote(4 * S, 100, 10, 100.5, 10))
    assert stage.exchange.usable(0, 4 * S) == ""
    # The old book's levels did not survive: behind the best nothing is known.
    assert stage.exchange.resting(0, LONG, units(99)) is None
    stage.play(Interrupted(5 * S, 0), depth(6 * S, {100: 10, 99: 1}, {100.5: 10}))
    assert stage.exchange.resting(0, LONG, units(99)) == units(1)


# Resting orders


def test_a_resting_order_fills_by_what_trades_beyond_the_threshold(stage: Stage) -> None:
    stage.exchange.send("a", 0, LONG, units(5), units(100), S)
    stage.through(2 * S)
    stage.play(sold(2 * S, 100, 2))
    assert stage.fills("a") == []
    stage.play(sold(3 * S, 100, 1.5), bought(3 * S, 100, 50), sold(4 * S, 100.1, 50))
    assert stage.fills("a") == [(units(100), units(1.5))]
    stage.play(sold(5 * S, 100, 50))
    first, second = (report.fill for report in stage.diary.reports if report.fill)
    assert first is not None
    assert second is not None
    assert (first.remaining, first.cumulative, first.excess) == (units(3.5), units(3.5), units(1.5))
    assert (second.size, second.remaining, second.maker) == (units(3.5), 0, True)
    stage.play(sold(6 * S, 99, 50))
    assert len(stage.fills("a")) == 2


def test_a_seller_is_the_mirror_of_a_buyer(stage: Stage) -> None:
    stage.exchange.send("a", 0, SHORT, units(5), units(100.5), S)
    stage.through(2 * S)
    stage.play(sold(2 * S, 100.5, 50), bought(3 * S, 100.5, 3.5), bought(4 * S, 100.6, 0.001))
    assert stage.fills("a") == [(units(100.5), units(1.5)), (units(100.5), units(3.5))]


def test_without_partial_fills_an_order_fills_whole_at_the_threshold_and_is_flagged() -> None:
    stage = Stage(rules=replace(Rules(), partial_fills=False))
    stage.play(quote(S, 100, 10, 100.5, 10))
    stage.exchange.send("a", 0, LONG, units(5), units(100), S)
    stage.through(2 * S)
    stage.play(sold(2 * S, 100, 2))
    (fill,) = (report.fill for report in stage.diary.reports if report.fill)
    assert fill is not None
    assert (fill.size, fill.excess, fill.cumulative) == (units(5), 0, units(2))


def test_a_trade_through_the_price_fills_the_rest_outright(stage: Stage) -> None:
    stage.exchange.send("a", 0, LONG, units(5), units(100), S)
    stage.through(2 * S)
    stage.play(sold(2 * S, 99.9, 0.001))
    assert stage.fills("a") == [(units(100), units(5))]


def test_an_offer_through_the_price_fills_the_rest_outright_at_the_limit(stage: Stage) -> None:
    stage.exchange.send("bid", 0, LONG, units(5), units(100), S)
    stage.exchange.send("ask", 0, SHORT, units(5), units(100.5), S)
    stage.through(2 * S)
    stage.play(quote(2 * S, 99, 1, 99.9, 1))
    assert stage.fills("bid") == [(units(100), units(5))]
    stage.play(quote(3 * S, 100.6, 1, 101, 1))
    assert stage.fills("ask") == [(units(100.5), units(5))]


def test_an_offer_at_the_price_counts_as_that_much_traded_and_fills_no_more(stage: Stage) -> None:
    """Ten stood ahead, so that two have to go before anything fills."""
    stage.exchange.send("a", 0, SHORT, units(5), units(100.5), S)
    stage.through(2 * S)
    stage.play(quote(2 * S, 100.5, 0.01, 101, 1))
    assert stage.fills("a") == []
    stage.play(quote(3 * S, 100.5, 3, 101, 1))
    assert stage.fills("a") == [(units(100.5), units(1))]
    (fill,) = (report.fill for report in stage.diary.reports if report.fill)
    assert fill is not None
    assert (fill.cumulative, fill.excess) == (units(3), units(1))


def test_an_offer_that_stands_at_the_price_is_counted_once(stage: Stage) -> None:
    stage.exchange.send("a", 0, LONG, units(5), units(100.2), S)
    stage.through(2 * S)
    for second, bid in ((2, 99), (3, 99.1), (4, 99)):
        stage.play(quote(second * S, bid, 1, 100.2, 2))
    assert stage.fills("a") == [(units(100.2), units(2))]
    stage.play(quote(5 * S, 99, 1, 100.2, 2.5))
    stage.play(quote(6 * S, 99, 1, 100.2, 1))
    assert stage.fills("a") == [(units(100.2), units(2)), (units(100.2), units(0.5))]


def test_one_offer_is_not_given_to_two_of_our_orders(stage: Stage) -> None:
    for order_id in ("first", "second"):
        stage.exchange.send(order_id, 0, LONG, units(2), units(100.2), S)
    stage.through(2 * S)
    stage.play(quote(2 * S, 99, 1, 100.2, 3))
    assert stage.fills("first") == [(units(100.2), units(2))]
    assert stage.fills("second") == [(units(100.2), units(1))]


def test_a_book_that_crosses_the_price_fills_too() -> None:
    stage = Stage()
    stage.play(depth(S, {100: 10}, {100.5: 10}))
    stage.exchange.send("a", 0, LONG, units(5), units(100), S)
    stage.through(2 * S)
    stage.play(depth(2 * S, {100: 0, 99: 1}, {100: 2.5}, snapshot=False))
    assert stage.fills("a") == [(units(100), units(0.5))]
    stage.play(depth(3 * S, {}, {99.9: 1}, snapshot=False))
    assert stage.fills("a") == [(units(100), units(0.5)), (units(100), units(4.5))]


def test_an_order_alone_inside_the_spread_gets_what_traded_and_no_more(stage: Stage) -> None:
    """History's sellers hit the bid below; here they would have met our better one first, with their size."""
    stage.exchange.send("a", 0, LONG, units(5), units(100.2), S)
    stage.through(2 * S)
    stage.play(sold(2 * S, 100, 0.3))
    assert stage.fills("a") == [(units(100.2), units(0.3))]


def test_one_trade_is_not_given_to_two_of_our_orders(stage: Stage) -> None:
    for order_id, price in (("behind", 100.2), ("ahead", 100.3), ("second ahead", 100.3)):
        stage.exchange.send(order_id, 0, LONG, units(1), units(price), S)
    stage.through(2 * S)
    stage.play(sold(2 * S, 100.2, 2.5))
    assert stage.fills("ahead") == [(units(100.3), units(1))]
    assert stage.fills("second ahead") == [(units(100.3), units(1))]
    assert stage.fills("behind") == [(units(100.2), units(0.5))]


# Orders that take


def test_a_marketable_limit_walks_what_is_shown_within_its_limit_and_rests_with_the_rest() -> None:
    stage = Stage()
    stage.play(depth(S, {100: 10}, {100.5: 1, 100.6: 2, 100.8: 4}))
    stage.exchange.send("a", 0, LONG, units(5), units(100.7), S)
    stage.through(2 * S)
    assert stage.fills("a") == [(units(100.5), units(1)), (units(100.6), units(2))]
    assert stage.words("a") == ["filled", "filled", "accepted"]
    assert stage.diary.reports[-1].depth == 0
    assert all(report.fill is None or not report.fill.maker for report in stage.diary.reports)


def test_what_was_taken_is_not_taken_again_until_something_else_is_shown(stage: Stage) -> None:
    stage.exchange.send("a", 0, LONG, units(8), units(100.5), S)
    stage.exchange.send("b", 0, LONG, units(8), units(100.5), S)
    stage.through(S + LATENCY)
    assert stage.fills("b") == [(units(100.5), units(2))]
    stage.play(quote(2 * S, 100.1, 10, 100.5, 10))  # the same offer beside a new bid
    assert stage.fills("b") == [(units(100.5), units(2))]
    stage.exchange.send("c", 0, LONG, units(1), None, 2 * S)
    stage.through(2 * S + LATENCY)
    assert stage.words("c") == ["refused insufficient_depth"]
    stage.play(quote(3 * S, 100.1, 10, 100.5, 4))  # another offer at that price
    assert stage.fills("b") == [(units(100.5), units(2)), (units(100.5), units(4))]
    stage.exchange.send("d", 0, LONG, units(1), units(100.5), 3 * S)  # b got that offer, resting as it was
    stage.through(3 * S + LATENCY)
    assert stage.words("d") == ["accepted"]


def test_the_depth_that_can_be_taken_is_what_a_market_order_meets() -> None:
    stage = Stage()
    assert stage.exchange.depth(0, LONG, S) == 0
    stage.play(depth(S, {100: 10, 99: 5}, {100.5: 1, 101: 99}))
    assert (stage.exchange.depth(0, LONG, S), stage.exchange.depth(0, SHORT, S)) == (units(100), units(15))
    stage.exchange.send("a", 0, LONG, units(2), None, S)
    stage.through(2 * S)
    assert stage.exchange.depth(0, LONG, 2 * S) == units(98)
    assert stage.exchange.depth(0, LONG, 6 * S + 1) == 0
    stage.play(quote(7 * S, 99, 3, 101, 7))
    assert (stage.exchange.depth(0, LONG, 7 * S), stage.exchange.depth(0, SHORT, 7 * S)) == (units(7), units(3))


def test_what_was_taken_is_remembered_as_long_as_a_quote_is_believed(stage: Stage) -> None:
    stage.exchange.send("a", 0, LONG, units(10), None, S)
    stage.through(S + LATENCY)
    for second in range(2, 7):
        stage.play(quote(second * S, 100, 10, 100.5, 10))
    stage.exchange.send("early", 0, LONG, units(10), None, 6 * S)
    stage.exchange.send("late", 0, LONG, units(10), None, 6 * S + 1)
    stage.through(7 * S)
    assert stage.words("early") == ["refused insufficient_depth"]
    assert stage.words("late") == ["filled"]


def test_without_partial_fills_a_marketable_limit_takes_all_or_nothing() -> None:
    stage = Stage(rules=replace(Rules(), partial_fills=False))
    stage.play(quote(S, 100, 10, 100.5, 10))
    stage.exchange.send("all", 0, SHORT, units(10), units(100), S)
    stage.exchange.send("nothing", 0, LONG, units(11), units(100.5), S)
    stage.through(2 * S)
    assert stage.words("all") == ["filled"]
    assert stage.words("nothing") == ["accepted"]


def test_a_market_order_pays_slippage_and_the_tick(stage: Stage) -> None:
    stage.exchange.send("buy", 0, LONG, units(10), None, S)
    stage.exchange.send("sell", 0, SHORT, units(1), None, S)
    stage.through(2 * S)
    buy, sell = (report.fill for report in stage.diary.reports)
    assert buy is not None
    assert sell is not None
    # 3 bps of 100.5 is 0.03015, 2 bps of 100.0 is 0.02: each rounded up to a whole tick against us.
    assert (buy.price, buy.slippage_bps, buy.remaining) == (units(100.6), 3, 0)
    assert (sell.price, sell.slippage_bps, sell.walked_bps) == (units(99.9), 2, None)


def test_a_market_order_above_five_thirds_of_the_depth_is_refused(stage: Stage) -> None:
    stage.exchange.send("a", 0, LONG, units("16.667"), None, S)
    stage.exchange.send("b", 0, LONG, units("16.666"), None, S)
    stage.through(2 * S)
    assert stage.words("a") == ["refused insufficient_depth"]
    assert stage.words("b") == ["filled"]


def test_with_a_book_the_walked_cost_is_reported_and_deep_liquidity_counts() -> None:
    stage = Stage()
    stage.play(depth(S, {100: 10}, {100.5: 1, 101: 99}))
    stage.exchange.send("a", 0, LONG, units(2), None, S)
    stage.through(2 * S)
    (fill,) = (report.fill for report in stage.diary.reports)
    assert fill is not None
    assert fill.slippage_bps == 5
    assert fill.walked_bps == Decimal("24.87562190")  # half of 0.5 on 100.5, rounded up
    assert fill.capped


def test_levels_better_than_a_newer_quote_are_not_believed() -> None:
    stage = Stage()
    stage.play(depth(S, {100: 10, 99: 5}, {100.5: 1, 101: 99}), quote(2 * S, 98, 3, 101, 7))
    assert stage.exchange.top(0) == quote(2 * S, 98, 3, 101, 7)
    assert stage.exchange.resting(0, LONG, units(99)) == 0
    stage.exchange.send("a", 0, LONG, units(7), units(101), 2 * S)
    stage.exchange.send("b", 0, LONG, units(1), units(101), 2 * S)
    stage.through(3 * S)
    assert stage.fills("a") == [(units(101), units(7))]
    assert stage.words("b") == ["accepted"]
    stage.play(depth(4 * S, {}, {101: 50}, snapshot=False))
    assert stage.exchange.top(0) == quote(4 * S, 100, 10, 100.5, 1)


# Cancelling


def test_a_fill_that_races_the_cancellation_wins_and_is_kept(stage: Stage) -> None:
    stage.exchange.send("a", 0, LONG, units(5), units(100), S)
    stage.through(2 * S)
    stage.exchange.cancel("a", 2 * S, "timeout")
    stage.play(sold(2 * S + LATENCY, 100, 3))  # at the very time of the acknowledgement
    stage.through(3 * S)
    stage.play(sold(4 * S, 99, 100))
    assert stage.words("a") == ["accepted", "filled", "cancelled timeout"]
    assert stage.fills("a") == [(units(100), units(1))]
    assert stage.diary.reports[-1].time_ns == 2 * S + LATENCY


def test_a_cancellation_that_comes_too_late_is_not_reported(stage: Stage) -> None:
    stage.exchange.send("a", 0, LONG, units(5), units(100), S)
    stage.through(2 * S)
    stage.exchange.cancel("a", 2 * S, "timeout")
    stage.play(sold(2 * S + LATENCY, 99, 3))
    stage.through(3 * S)
    assert stage.words("a") == ["accepted", "filled"]


def test_an_order_cancelled_on_its_way_arrives_first(stage: Stage) -> None:
    stage.exchange.send("rests", 0, LONG, units(5), units(100), S)
    stage.exchange.cancel("rests", S, "changed mind")
    stage.exchange.send("takes", 0, LONG, units(5), None, S)
    stage.exchange.cancel("takes", S, "changed mind")
    stage.through(2 * S)
    assert stage.words("rests") == ["accepted", "cancelled changed mind"]
    assert stage.words("takes") == ["filled"]


def test_unknown_and_final_orders_are_left_alone_and_two_cancellations_are_one(stage: Stage) -> None:
    stage.exchange.cancel("nobody", S, "timeout")
    stage.exchange.send("a", 0, LONG, units(5), units(100), S)
    stage.through(2 * S)
    stage.exchange.cancel("a", 2 * S, "first")
    stage.exchange.cancel("a", 2 * S, "second")
    stage.through(3 * S)
    stage.exchange.cancel("a", 3 * S, "third")
    stage.through(4 * S)
    assert stage.words("a") == ["accepted", "cancelled first"]
    assert stage.timers.next_ns is None


def test_an_old_cancellation_does_not_reach_a_new_order_of_that_name(stage: Stage) -> None:
    stage.exchange.send("a", 0, LONG, units(5), None, S)
    stage.exchange.cancel("a", S + LATENCY, "old")
    stage.through(S + LATENCY)
    stage.exchange.send("a", 0, LONG, units(5), units(100), S + LATENCY)
    stage.through(3 * S)
    assert stage.words("a") == ["filled", "accepted"]


# What a report may answer


def test_a_report_may_send_and_cancel_at_once_even_without_latency() -> None:
    class Eager(Diary):
        def filled(self, time_ns: int, order_id: str, fill: object) -> None:
            super().filled(time_ns, order_id, fill)  # type: ignore[arg-type]
            if order_id == "a":
                exchange.cancel("b", time_ns, "hedged")
                exchange.send("hedge", 0, SHORT, units(1), None, time_ns)

    timers, eager = Timers(), Eager()
    exchange = Exchange([listing(latency_ns=0)], Rules(), timers, eager)
    exchange.on_event(quote(S, 100, 10, 100.5, 10))
    exchange.send("a", 0, LONG, units(1), units(100), S)
    exchange.send("b", 0, LONG, units(1), units(100), S)
    timers.run_through(S)
    exchange.on_event(sold(2 * S, 100, 3))
    timers.run_through(2 * S)
    assert [(report.order_id, report.word) for report in eager.reports] == [
        ("a", "accepted"), ("b", "accepted"), ("a", "filled"), ("hedge", "filled"), ("b", "cancelled"),
    ]  # fmt: skip


# Events that are refused


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (Quote(2 * S, 0, 0, 1, 2, 1), "quote_not_positive"),
        (Quote(2 * S, 0, 1, 1, -2, 1), "quote_not_positive"),
        (Quote(2 * S, 0, 1, 0, 2, 1), "quote_not_positive"),
        (Quote(2 * S, 0, 1, 1, 2, 0), "quote_not_positive"),
        (Quote(S - 1, 0, 1, 1, 2, 1), "out_of_order"),
        (Quote(2 * S, 7, 1, 1, 2, 1), "unknown_listing"),
        (Quote(2 * S, -1, 1, 1, 2, 1), "unknown_listing"),
        (Trade(2 * S, 0, 0, 1, True), "trade_not_positive"),
        (Trade(2 * S, 0, 1, 0, True), "trade_not_positive"),
        (Trade(S - 1, 0, 1, 1, True), "out_of_order"),
        (Trade(2 * S, 7, 1, 1, True), "unknown_listing"),
        (Depth(2 * S, 0, ((5, 1), (0, 1)), (), True), "level_not_positive"),
        (Depth(2 * S, 0, (), ((5, 0),), True), "level_not_positive"),
        (Depth(2 * S, 0, (), ((5, -1),), False), "level_not_positive"),
        (Depth(2 * S, 0, (), ((5, 1),), False), "no_snapshot"),
        (Depth(S - 1, 0, (), ((5, 1),), True), "out_of_order"),
        (Depth(2 * S, 7, (), (), True), "unknown_listing"),
        (Interrupted(S - 1, 0), "out_of_order"),
        (Interrupted(2 * S, 7), "unknown_listing"),
    ],
)
def test_a_bad_event_is_counted_and_changes_nothing(stage: Stage, event: Quote, reason: str) -> None:
    before = stage.exchange.top(0)
    stage.exchange.on_event(event)
    assert stage.exchange.rejected == {reason: 1}
    assert stage.exchange.top(0) == before
    assert stage.exchange.usable(0, 2 * S) == ""
    assert stage.exchange.resting(0, LONG, units(99)) is None
    assert stage.exchange.traded_rate(0, event[2] if isinstance(event, Trade) else 1, LONG, 2 * S) == 0


def test_funding_is_none_of_the_venues_matching(stage: Stage) -> None:
    stage.exchange.on_event(FundingQuote(2 * S, 0, Decimal("0.0001"), 9 * S, 8 * 3600 * S))
    assert not stage.exchange.rejected
    assert stage.exchange.top(0) == quote(S, 100, 10, 100.5, 10)


def test_listings_do_not_touch_each_other() -> None:
    stage = Stage(listing("north"), listing("south"))
    stage.play(quote(2 * S, 100, 10, 100.5, 10), quote(S, 200, 10, 200.5, 10, index=1))
    assert not stage.exchange.rejected
    stage.exchange.send("a", 0, LONG, units(1), units(100), 2 * S)
    stage.through(3 * S)
    stage.play(sold(3 * S, 1, 99, index=1))
    assert stage.words("a") == ["accepted"]


# The last minute


def test_the_traded_rate_counts_opposite_aggressors_at_that_price_in_the_last_minute(stage: Stage) -> None:
    stage.play(sold(10 * S, 100, 3), sold(20 * S, 100, 3), sold(21 * S, 99, 9), bought(22 * S, 100, 60))
    rate = stage.exchange.traded_rate
    assert rate(0, units(100), LONG, 30 * S) == Fraction(units(6), 60)
    assert rate(0, units(100), SHORT, 30 * S) == units(1)
    assert rate(0, units(100), LONG, 70 * S) == Fraction(units(3), 60)  # the window excludes its beginning
    stage.play(sold(200 * S, 100, 6))
    assert rate(0, units(100), LONG, 200 * S) == Fraction(units(6), 60)


# A recorded book


def _messages() -> Iterator[tuple[int, dict[str, object]]]:
    if not RAW.exists():
        pytest.skip(f"no recorded book at {RAW}")
    with gzip.open(RAW, "rt") as lines:
        for line in lines:
            local, _, text = line.partition(" ")
            yield int(local), json.loads(text)


def _levels(pairs: object) -> tuple[tuple[int, int], ...]:
    assert isinstance(pairs, list)
    return tuple((units(price), units(size)) for price, size in pairs)


def _cancel(exchange: Exchange, order_id: str, time_ns: int) -> None:
    exchange.cancel(order_id, time_ns, "late")


@pytest.mark.real_data
def test_the_recorded_depth_chain_gives_the_tops_the_venue_quoted() -> None:
    """The venue numbers its book's states: a best quote of number u holds until the next one. So after a depth message
    that ends at u, the top of our book must be the quote with the largest number not above u, price and size."""
    stage = Stage(listing("binance"))
    quotes: list[tuple[int, tuple[int, int, int, int]]] = []
    states: list[tuple[int, Quote | None]] = []
    updates, last = [], 0
    for local_ns, message in _messages():
        data = message.get("data")
        if data is None:  # the snapshot: earlier changes are in it
            last = int(str(message["lastUpdateId"]))
            stage.play(Depth(local_ns, 0, _levels(message["bids"]), _levels(message["asks"]), True))
        elif isinstance(data, dict) and data["e"] == "depthUpdate" and last:
            if data["u"] <= last:
                continue
            updates.append(data)
            stage.play(Depth(local_ns, 0, _levels(data["b"]), _levels(data["a"]), False))
            states.append((data["u"], stage.exchange.top(0)))
        elif isinstance(data, dict) and data["e"] == "bookTicker":
            quotes.append((data["u"], (units(data["b"]), units(data["B"]), units(data["a"]), units(data["A"]))))
    assert all(later["pu"] == earlier["u"] for earlier, later in pairwise(updates))
    compared = equal = position = 0
    for number, top in states:
        while position + 1 < len(quotes) and quotes[position + 1][0] <= number:
            position += 1
        if quotes[position][0] > number or position + 1 == len(quotes):
            continue
        compared += 1
        equal += top is not None and top[2:] == quotes[position][1]
    assert compared > 5_000
    assert equal == compared
    assert set(stage.exchange.rejected) <= {"crossed_book"}


@pytest.mark.real_data
def test_a_recorded_market_fills_in_the_queue_and_the_conservative_model_later() -> None:
    """An order at the best bid every ten seconds of the recording, under both thresholds."""
    filled = {}
    for threshold in (Decimal("0.20"), Decimal(1)):
        stage = Stage(listing("binance"), rules=replace(Rules(), fill_threshold=threshold))
        sent, next_ns = 0, 0
        for local_ns, message in _messages():
            data = message.get("data")
            if not isinstance(data, dict) or data["e"] not in ("bookTicker", "trade"):
                continue
            if data["e"] == "trade":
                if data["X"] == "MARKET":
                    stage.play(Trade(local_ns, 0, units(data["p"]), units(data["q"]), not data["m"]))
                continue
            stage.play(Quote(local_ns, 0, units(data["b"]), units(data["B"]), units(data["a"]), units(data["A"])))
            top = stage.exchange.top(0)
            if top is not None and local_ns >= next_ns:
                next_ns = local_ns + 10 * S
                sent += 1
                stage.exchange.send(f"{sent}", 0, LONG, units("0.5"), top.bid, local_ns)
                stage.timers.at(local_ns + 5 * S, Rank.TIMER, partial(_cancel, stage.exchange, f"{sent}"))
        stage.through(next_ns + 60 * S)
        assert not stage.exchange.rejected
        assert sent > 30
        sizes = {f"{n}": sum(size for _, size in stage.fills(f"{n}")) for n in range(1, sent + 1)}
        assert all(0 <= size <= units("0.5") and size % STEP == 0 for size in sizes.values())
        assert all(price % TICK == 0 for n in sizes for price, _ in stage.fills(n))
        filled[threshold] = sizes
    brief, conservative = filled[Decimal("0.20")], filled[Decimal(1)]
    assert all(conservative[name] <= brief[name] for name in brief)
    assert 0 < sum(conservative.values()) < sum(brief.values())
