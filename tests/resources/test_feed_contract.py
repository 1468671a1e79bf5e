"""What every feed promises, and which feed a setting opens."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.feed import Feed, FeedError, FeedEvent, Quote, Trade, from_units, open_feed, source_of, to_units
from resources.feed.live import LiveFeed
from resources.feed.recorded import RecordedFeed
from resources.feed.simulated import SimulatedFeed
from resources.feed.venues import VENUES
from resources.settings import Settings
from tests.resources.feed_parts import (
    DAY_NS,
    SECOND,
    ScriptedExchange,
    at,
    book,
    check_events,
    live_feed,
    market,
    record_venues,
)

ANY_TIME = (0, at("2100-01-01T00:00:00"))


def simulated(_: Path) -> tuple[Feed, list[FeedEvent]]:
    feed = SimulatedFeed(7)
    start = at("2026-11-20T07:59:00")
    return feed, list(feed.events(start, start + 120 * SECOND))


def recorded(folder: Path) -> tuple[Feed, list[FeedEvent]]:
    feed = RecordedFeed(record_venues(folder))
    return feed, list(feed.events(*ANY_TIME))


def live(_: Path) -> tuple[Feed, list[FeedEvent]]:
    trades = [{"price": 100.2, "amount": 0.5, "side": side} for side in ("buy", "sell")]
    exchange = ScriptedExchange(
        [market("BTC")],
        books=[book(100 + n, 100.5 + n) for n in range(5)],
        trades=[trades, trades],
        funding=[{"fundingRate": 0.0001, "fundingTimestamp": at("2026-11-21T16:00:00") // 10**6, "interval": "8h"}],
    )
    feed = live_feed(exchange)
    try:
        return feed, list(islice(feed.events(*ANY_TIME), 10))
    finally:
        feed.close()


@pytest.fixture(params=[simulated, recorded, live], ids=["simulated", "recorded", "live"])
def read(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Feed, list[FeedEvent]]:
    make: Callable[[Path], tuple[Feed, list[FeedEvent]]] = request.param
    return make(tmp_path)


def test_events_are_in_order_whole_numbers_of_known_listings(read: tuple[Feed, list[FeedEvent]]) -> None:
    feed, events = read
    assert {type(event) for event in events} >= {Quote, Trade}
    check_events(events, feed.listings)


def test_listings_name_their_venue_their_grid_and_where_it_comes_from(read: tuple[Feed, list[FeedEvent]]) -> None:
    feed, _ = read
    assert len({(listing.venue, listing.symbol) for listing in feed.listings}) == len(feed.listings)
    for listing in feed.listings:
        assert listing.venue in VENUES
        assert to_units(listing.tick) > 0
        assert to_units(listing.step) > 0
        assert listing.min_size >= listing.step
        assert listing.min_notional >= 0
        assert 0 < listing.maker_fee <= listing.taker_fee < Decimal("0.01")
        assert 0 < listing.latency_ns < SECOND
        assert listing.can_short is not VENUES[listing.venue].spot
        assert listing.facts


def test_prices_and_sizes_lie_on_the_listings_grid(read: tuple[Feed, list[FeedEvent]]) -> None:
    feed, events = read
    on_grid = 0
    for event in events:
        listing = feed.listings[event.listing]
        if isinstance(event, Quote) and not listing.settles_inverse:
            assert event.bid % to_units(listing.tick) == event.ask % to_units(listing.tick) == 0
            assert event.bid_size % to_units(listing.step) == event.ask_size % to_units(listing.step) == 0
            on_grid += 1
    assert on_grid


def test_whether_a_day_can_be_asked_for_again(read: tuple[Feed, list[FeedEvent]]) -> None:
    feed, events = read
    assert feed.repeatable is (feed.source != "LIVE")
    assert feed.days() == (("2022-12-13", "2024-08-08") if feed.source == "RECORDED" else ())
    if feed.repeatable:
        first, last = events[0].time_ns, events[-1].time_ns
        assert list(feed.events(first, last + 1)) == [event for event in events if event.time_ns <= last]


def test_a_feed_may_be_closed_again_and_what_can_be_repeated_goes_on(read: tuple[Feed, list[FeedEvent]]) -> None:
    feed, events = read
    feed.close()
    feed.close()
    if feed.repeatable:
        assert next(feed.events(events[0].time_ns, events[-1].time_ns)) == events[0]
    else:
        with pytest.raises(FeedError, match="closed"):
            next(feed.events(*ANY_TIME))


@pytest.mark.parametrize("kind", ["simulated", "recorded"])
def test_a_span_may_be_cut_anywhere(kind: str, tmp_path: Path) -> None:
    make = {"simulated": simulated, "recorded": recorded}[kind]
    feed, events = make(tmp_path)
    first, last = events[0].time_ns, events[-1].time_ns + 1
    middle = events[len(events) // 3].time_ns
    for cut in (first, middle, middle + 1, last):
        assert [*feed.events(first, cut), *feed.events(cut, last)] == events
    with pytest.raises(FeedError, match="ends before it begins"):
        list(feed.events(last, first))


@pytest.mark.parametrize("kind", ["simulated", "recorded"])
def test_a_reader_may_go_on_second_by_second(kind: str, tmp_path: Path) -> None:
    make = {"simulated": simulated, "recorded": recorded}[kind]
    feed, events = make(tmp_path)
    start, end = (at("2024-08-08T23:53:58"), at("2024-08-08T23:54:09")) if kind == "recorded" else (0, 0)
    if kind == "simulated":
        start, end = events[0].time_ns, events[0].time_ns + 20 * SECOND
    slices = [list(feed.events(begin, begin + SECOND)) for begin in range(start, end, SECOND)]
    assert [event for each in slices for event in each] == [e for e in events if start <= e.time_ns < end] != []


def test_the_setting_opens_its_feed(tmp_path: Path) -> None:
    record_venues(tmp_path)
    for setting, source in (("simulated", "SIMULATED"), (f"recorded:{tmp_path}", "RECORDED")):
        settings = Settings(feed=setting)
        assert source_of(settings) == open_feed(settings).source == source
    assert source_of(Settings(feed="live:binance,bybit")) == "LIVE"


def test_a_feed_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    with pytest.raises(FeedError, match="two_venue"):
        open_feed(Settings(feed=f"recorded:{tmp_path}"))
    with pytest.raises(FeedError, match="unknown venue 'mtgox'"):
        open_feed(Settings(feed="live:binance, mtgox"))


def test_the_seed_of_the_settings_is_the_feeds() -> None:
    start = at("2026-11-20T00:00:00")

    def opening(seed: int) -> Iterator[FeedEvent]:
        return open_feed(Settings(seed=seed)).events(start, start + SECOND)

    assert list(opening(1)) == list(opening(1)) != list(opening(2))


def test_live_venues_without_the_extra_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ccxt", None)
    monkeypatch.setitem(__import__("sys").modules, "ccxt.pro", None)
    with pytest.raises(FeedError, match=r"pip install 'signal-desk\[live\]'"):
        LiveFeed(("binance",))


@given(st.integers(1, 10**28 - 1))
def test_units_give_their_number_back(units: int) -> None:
    assert to_units(from_units(units)) == units


def test_a_day_has_a_days_nanoseconds() -> None:
    assert at("2026-11-21T00:00:00") - at("2026-11-20T00:00:00") == DAY_NS
