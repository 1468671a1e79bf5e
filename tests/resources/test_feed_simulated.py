"""SimulatedFeed: a function of seed and hour, with something to trade in it, or nothing at all."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from decimal import Decimal
from itertools import pairwise
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.feed import FeedEvent, FundingQuote, FundingSettled, Quote, Trade, from_units
from resources.feed.simulated import ASSETS, EPOCH, LISTINGS, SimulatedFeed
from tests.resources.feed_parts import DAY_NS, SECOND, at

DAY = at("2026-11-20T00:00:00")
HOUR_NS = 3600 * SECOND
FEED = SimulatedFeed(7)


@pytest.fixture(scope="module")
def day() -> list[FeedEvent]:
    return list(FEED.events(DAY, DAY + DAY_NS))


@settings(max_examples=6)
@given(st.lists(st.integers(0, 1200 * SECOND), max_size=4).map(sorted))
def test_events_do_not_depend_on_how_the_span_is_cut(cuts: list[int]) -> None:
    """Across a midnight, the parts asked for backwards and of a feed that has drawn nothing yet."""
    start = DAY + DAY_NS - 600 * SECOND
    at_cuts = [start, *(start + cut for cut in cuts), start + 1200 * SECOND]
    feed = SimulatedFeed(7)
    parts = [list(feed.events(*span)) for span in reversed(list(pairwise(at_cuts)))]
    assert [event for part in reversed(parts) for event in part] == list(FEED.events(at_cuts[0], at_cuts[-1]))


def test_a_seed_is_a_market_of_its_own() -> None:
    spans = [list(SimulatedFeed(seed).events(DAY, DAY + 10 * SECOND)) for seed in (1, 1, 2)]
    assert spans[0] == spans[1]
    assert spans[0] != spans[2]


def test_every_listing_speaks_before_it_trades_in_every_hour(day: list[FeedEvent]) -> None:
    shown: set[tuple[int, int]] = set()
    for event in day:
        key = (event.listing, (event.time_ns - DAY) // HOUR_NS)
        if isinstance(event, Quote):
            shown.add(key)
        elif isinstance(event, Trade):
            assert key in shown
    assert len(shown) == 24 * len(LISTINGS)


def test_a_day_is_as_long_and_as_dense_as_promised(day: list[FeedEvent]) -> None:
    kinds = Counter(type(event) for event in day)
    assert 1_000_000 < len(day) < 1_600_000
    assert kinds[FundingQuote] == 1440 * len(LISTINGS)
    assert kinds[FundingSettled] == 3 * len(LISTINGS)
    of_one = [event.time_ns for event in day if isinstance(event, Quote) and event.listing == 0]
    assert 1 < fmean(np.diff(of_one)) / SECOND < 2
    assert all(DAY <= event.time_ns < DAY + DAY_NS for event in day)


def test_trades_happen_at_the_quote_that_is_shown(day: list[FeedEvent]) -> None:
    shown: dict[int, Quote] = {}
    for event in day:
        if isinstance(event, Quote):
            shown[event.listing] = event
        elif isinstance(event, Trade):
            quote = shown[event.listing]
            taken = (quote.ask, quote.ask_size) if event.buyer_is_aggressor else (quote.bid, quote.bid_size)
            assert event.price == taken[0]
            assert event.size <= taken[1]


def test_prices_stay_near_where_their_asset_usually_is() -> None:
    usual = {asset.name: asset.price for asset in ASSETS}
    for year in (2020, 2026, 2030):
        start = at(f"{year}-06-01T00:00:00")
        for event in FEED.events(start, start + 60 * SECOND):
            if isinstance(event, Quote):
                assert 0.1 < float(from_units(event.bid)) / usual[LISTINGS[event.listing].asset] < 10


def test_prices_do_not_jump_at_midnight_or_at_a_new_year() -> None:
    for midnight in (DAY, int(EPOCH.timestamp() + 365 * 86_400) * SECOND):
        last: dict[int, Quote] = {}
        for event in FEED.events(midnight - 20 * SECOND, midnight + 5 * SECOND):
            if isinstance(event, Quote):
                if event.listing in last:
                    assert abs(event.bid / last[event.listing].bid - 1) < 0.01
                last[event.listing] = event


def test_nothing_is_known_before_the_epoch() -> None:
    begin = int(EPOCH.timestamp()) * SECOND
    assert list(FEED.events(begin - DAY_NS, begin)) == []
    first = next(FEED.events(begin - DAY_NS, begin + SECOND))
    assert first == FundingQuote(begin, 0, first.rate, begin + 8 * HOUR_NS, 8 * HOUR_NS)  # type: ignore[union-attr]


def test_what_is_settled_is_what_was_expected_last(day: list[FeedEvent]) -> None:
    expected: dict[int, FundingQuote] = {}
    middle: dict[int, float] = {}
    settled = 0
    for event in day:
        if isinstance(event, FundingQuote):
            assert event.settles_ns > event.time_ns
            assert event.settles_ns % (8 * HOUR_NS) == 0
            expected[event.listing] = event
        elif isinstance(event, Quote):
            middle[event.listing] = (event.bid + event.ask) / 2
        elif isinstance(event, FundingSettled) and event.listing in expected:
            assert event.time_ns == expected[event.listing].settles_ns
            assert abs(event.rate - expected[event.listing].rate) < Decimal("0.000002")
            assert event.mark / middle[event.listing] == pytest.approx(1, abs=0.015)
            settled += 1
    assert settled == 2 * len(LISTINGS)  # at 08:00 and 16:00; nothing was expected yet at midnight


def test_rates_differ_between_venues_by_more_than_the_floor_often_enough(day: list[FeedEvent]) -> None:
    rates: dict[tuple[str, int], list[Decimal]] = defaultdict(list)
    for event in day:
        if isinstance(event, FundingSettled):
            rates[LISTINGS[event.listing].asset, event.time_ns].append(event.rate)
    wide = [max(each) - min(each) > Decimal("0.00005") for each in rates.values()]
    assert len(wide) == 18
    assert sum(wide) >= 9


def test_only_names_and_grids_differ_between_venues_of_one_asset() -> None:
    by_asset: dict[str, set[str]] = defaultdict(set)
    for listing in LISTINGS:
        by_asset[listing.asset].add(listing.venue)
        assert not listing.settles_inverse
        assert listing.facts.startswith("SIMULATED")
    assert set(by_asset) == {"BTC", "ETH", "SOL", "XRP", "DOGE", "PEPE"}
    assert all(venues == {"binance", "bybit", "kucoin"} for venues in by_asset.values())
    assert [listing.symbol for listing in LISTINGS if listing.asset == "PEPE"] == [
        "1000PEPEUSDT",
        "1000PEPEUSDT",
        "PEPEUSDTM",
    ]


def deviations(events: Iterable[FeedEvent], every_ns: int) -> dict[int, list[float]]:
    """Log middle price of each listing over the average of its asset's listings, sampled at a distance."""
    middle: dict[int, float] = {}
    sampled: dict[int, list[float]] = defaultdict(list)
    following = 0
    for event in events:
        if event.time_ns >= following and len(middle) == len(LISTINGS):
            following = event.time_ns + every_ns
            for asset in ASSETS:
                of_asset = {index: middle[index] for index, each in enumerate(LISTINGS) if each.asset == asset.name}
                average = fmean(of_asset.values())
                for index, level in of_asset.items():
                    sampled[index].append(level - average)
        if isinstance(event, Quote):
            middle[event.listing] = float(np.log((event.bid + event.ask) / 2))
    return sampled


def test_most_venues_come_apart_within_a_day_and_come_together_again(day: list[FeedEvent]) -> None:
    widest = []
    for levels in deviations(day, 10 * SECOND).values():
        far = np.abs(levels) > 20e-4
        widest.append(max(np.abs(levels)))
        assert far.mean() < 0.1
        assert np.median(np.abs(levels)) < 4e-4
    assert sum(each > 20e-4 for each in widest) >= len(LISTINGS) / 2
    assert max(widest) < 65e-4


def recall(events: Iterable[FeedEvent]) -> float:
    """Slope of the next quarter of an hour's change on the level: 0 of a martingale, -1 where nothing is remembered."""
    levels = np.array(list(deviations(events, 900 * SECOND).values()))
    change, level = np.diff(levels, axis=1), levels[:, :-1]
    return float((change * level).sum() / (level * level).sum())


def test_deviations_revert_or_have_no_memory(day: list[FeedEvent]) -> None:
    wandering = SimulatedFeed(3, reverting=False).events(DAY, DAY + 8 * HOUR_NS)
    assert recall(day) < -0.7
    assert abs(recall(wandering)) < 0.1


def test_only_one_of_the_markets_comes_together_until_its_day_ends(day: list[FeedEvent]) -> None:
    wandering = SimulatedFeed(7, reverting=False).events(DAY + 22 * HOUR_NS, DAY + 24 * HOUR_NS)
    apart = np.abs(list(deviations(wandering, 60 * SECOND).values())).mean()
    assert apart > 3 * np.abs(list(deviations(day, 60 * SECOND).values())).mean()
