"""LiveFeed against scripted exchanges: no network, no ccxt."""

import asyncio
import threading
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import islice
from typing import Any

import pytest

from resources.feed import (
    FeedError,
    FeedEvent,
    FundingQuote,
    FundingSettled,
    Interrupted,
    Quote,
    SettlementHistory,
    Settlements,
    Trade,
    from_units,
)
from resources.feed.live import LiveFeed
from resources.feed.venues import UnknownSymbol, UnknownVenue
from tests.resources.feed_parts import (
    SECOND,
    Lost,
    ScriptedExchange,
    at,
    book,
    check_events,
    live_feed,
    market,
)


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resources.feed.live._LOOK_SECONDS", 0.01)


NOON = at("2026-11-21T12:00:00")
HOUR = 3600 * SECOND
ANY_TIME = (0, at("2100-01-01T00:00:00"))


def read(feed: LiveFeed, count: int) -> list[FeedEvent]:
    """The next events; the connections are closed afterwards."""
    try:
        return list(islice(feed.events(*ANY_TIME), count))
    finally:
        feed.close()


def test_books_and_trades_arrive_stamped_with_the_local_clock() -> None:
    trade = {"price": 100.5, "amount": 0.25, "side": "buy"}
    feed = live_feed(ScriptedExchange([market("BTC")], books=[book(100.1, 100.5)] * 3, trades=[[trade, trade]]))
    events = read(feed, 5)
    check_events(events, feed.listings)
    assert all(event.time_ns > NOON for event in events)
    quote = next(event for event in events if isinstance(event, Quote))
    assert [from_units(number) for number in quote[2:]] == [Decimal("100.1"), 1, Decimal("100.5"), 1]
    assert [event[2:] for event in events if isinstance(event, Trade)] == [(1005 * 10**9, 25 * 10**8, True)] * 2


def test_a_clock_that_is_set_back_does_not_turn_time_around() -> None:
    times = iter([NOON, NOON + 9, NOON + 5, NOON + 7])
    last = [NOON + 20]
    feed = live_feed(ScriptedExchange([market("BTC")], books=[book(1, 2)] * 5), clock_ns=lambda: next(times, last[0]))
    events = read(feed, 5)
    assert [event.time_ns for event in events] == sorted(event.time_ns for event in events)


def test_multiples_and_contracts_become_single_units() -> None:
    pepe = market(
        "1000PEPE", precision={"price": 1e-7, "amount": 1.0}, limits={"amount": {"min": 1.0}, "cost": {"min": 5}}
    )
    feed = live_feed(ScriptedExchange([pepe], books=[book(0.0123, 0.0124, size=7)]), assets=("PEPE",))
    (event,) = read(feed, 1)
    assert isinstance(event, Quote)
    assert (from_units(event.bid), from_units(event.bid_size)) == (Decimal("0.0000123"), 7000)
    (listing,) = feed.listings
    assert (listing.asset, listing.symbol, listing.min_notional) == ("PEPE", "1000PEPEUSDT", 5)
    assert (listing.tick, listing.step, listing.min_size) == (Decimal("1E-10"), 1000, 1000)

    lots = market("BTC", id="XBTUSDTM", contractSize=0.001, precision={"price": 0.1, "amount": 1.0})
    lots["limits"] = {"amount": {"min": None}, "cost": {"min": None}}
    feed = live_feed(ScriptedExchange([lots], books=[book(64_000, 64_001, size=250)]), venue="kucoin")
    (event,) = read(feed, 1)
    assert isinstance(event, Quote)
    assert from_units(event.ask_size) == Decimal("0.25")
    (listing,) = feed.listings
    assert (listing.symbol, listing.step, listing.min_size) == ("XBTUSDTM", Decimal("0.001"), Decimal("0.001"))
    assert listing.min_notional == 0
    assert "states no minimum notional" in listing.facts


def test_the_small_k_of_a_name_is_a_thousand() -> None:
    kpepe = market("KPEPE", "USDC", baseName="kPEPE", precision={"price": 1e-6, "amount": 1.0})
    feed = live_feed(ScriptedExchange([kpepe]), venue="hyperliquid", assets=("PEPE",))
    feed.close()
    assert feed.listings[0].step == 1000


def test_only_live_linear_contracts_in_the_first_quote_are_listed() -> None:
    markets = [
        market("BTC", "USDC"),
        market("BTC", "USD", linear=False),
        market("BTC", "USDT", symbol="BTC/USDT", swap=False, spot=True),
        market("BTC"),
        market("ETH", active=False),
        market("ETH", "USDC"),
        market("SOL"),
    ]
    feed = live_feed(ScriptedExchange(markets), assets=("BTC", "ETH"))
    feed.close()
    assert [(each.asset, each.quote, each.settles_inverse, each.can_short) for each in feed.listings] == [
        ("BTC", "USDT", False, True),
        ("ETH", "USDC", False, True),
    ]


def test_a_spot_venue_lists_pairs_that_cannot_be_shorted_and_has_no_funding() -> None:
    pair = market("XBT", "USDT", symbol="BTC/USDT", swap=False, spot=True, contractSize=None)
    exchange = ScriptedExchange([pair, market("BTC")], books=[book(1, 2)], funding=[AssertionError("spot has none")])
    feed = live_feed(exchange, venue="kraken")
    (event,) = read(feed, 1)
    assert isinstance(event, Quote)
    assert [(each.asset, each.can_short) for each in feed.listings] == [("BTC", False)]


def test_a_lost_connection_is_told_once_and_tried_again() -> None:
    exchange = ScriptedExchange(
        [market("BTC")],
        books=[book(1, 2), Lost(), ConnectionResetError(), TimeoutError(), book(3, 4), Lost(), book(5, 6)],
    )
    feed = live_feed(exchange)
    events = read(feed, 5)
    assert [type(event) for event in events] == [Quote, Interrupted, Quote, Interrupted, Quote]
    assert feed.counts["disconnected", "binance"] == 4
    assert exchange.closed
    feed.close()  # which changes nothing


@pytest.mark.parametrize(
    "nonsense",
    [
        {},
        {"bids": [], "asks": []},
        {"bids": [[1.0, 1.0]], "asks": []},
        {"bids": [[None, 1.0]], "asks": [[2.0, 1.0]]},
        {"bids": [[0.0, 1.0]], "asks": [[2.0, 1.0]]},
        {"bids": [[1.0, -1.0]], "asks": [[2.0, 1.0]]},
        {"bids": [["x", 1.0]], "asks": [[2.0, 1.0]]},
        {"bids": [[float("nan"), 1.0]], "asks": [[2.0, 1.0]]},
        {"bids": [[1e-11, 1.0]], "asks": [[2.0, 1.0]]},
        {"bids": [[1.0]], "asks": [[2.0, 1.0]]},
        None,
    ],
)
def test_a_malformed_book_is_counted_and_not_fatal(nonsense: Any) -> None:
    feed = live_feed(ScriptedExchange([market("BTC")], books=[nonsense, book(1, 2)]))
    assert [type(event) for event in read(feed, 1)] == [Quote]
    assert feed.counts["malformed", "binance"] == 1


def test_malformed_trades_and_rates_are_counted_and_not_fatal() -> None:
    good = {"price": 1.0, "amount": 2.0, "side": "sell"}
    trades = [{**good, "side": None}, {**good, "amount": None}, {"price": 1.0}, {**good, "price": "1e-12"}, good]
    feed = live_feed(ScriptedExchange([market("BTC")], trades=[trades]))
    events = read(feed, 1)
    assert [type(event) for event in events] == [Trade]
    assert feed.counts == {("malformed", "binance"): 4}


@pytest.mark.parametrize(
    "nonsense",
    [
        {"fundingTimestamp": NOON // 10**6 - 1},
        {"fundingTimestamp": None},
        {"fundingRate": None},
        {"fundingRate": "x"},
        {"fundingRate": float("nan")},
        {"fundingRate": float("-inf")},
        {"fundingRate": 1.5},
    ],
)
def test_a_rate_that_can_be_none_is_counted_and_not_handed_over(nonsense: dict[str, Any]) -> None:
    class Patient(ScriptedExchange):
        async def watch_order_book(self, symbol: str) -> Mapping[str, Any]:
            while not feed.counts:
                await asyncio.sleep(0.001)
            return await super().watch_order_book(symbol)

    (good,) = expecting(0.0001, NOON + HOUR)
    feed = live_feed(Patient([market("BTC")], books=[book(1, 2)], funding=[good | nonsense]), clock_ns=lambda: NOON)
    assert [type(event) for event in read(feed, 1)] == [Quote]
    assert feed.counts == {("malformed", "binance"): 1}


def expecting(rate: float, settles_ns: int) -> list[Any]:
    return [{"fundingRate": rate, "fundingTimestamp": settles_ns // 10**6, "interval": "8h"}]


@pytest.mark.parametrize(
    ("said", "asked", "hours"),
    [
        ({"interval": "1h"}, [], 1),
        ({"interval": "480m"}, [], 8),
        ({"interval": None, "nextFundingTimestamp": (NOON + 5 * HOUR) // 10**6}, [], 4),
        ({"interval": None}, [{"interval": "4h"}], 4),
        ({}, [{"interval": "1d"}], 24),
    ],
)
def test_a_rate_is_for_the_interval_that_the_venue_says(said: dict[str, Any], asked: list[Any], hours: int) -> None:
    rate = {"fundingRate": 0.0001, "fundingTimestamp": (NOON + HOUR) // 10**6} | said
    feed = live_feed(ScriptedExchange([market("BTC")], funding=[rate], interval=asked))
    (event,) = read(feed, 1)
    assert isinstance(event, FundingQuote)
    assert (event.settles_ns, event.interval_ns) == (NOON + HOUR, hours * HOUR)


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        ({}, []),
        ({"interval": None}, [Lost()]),
        ({"interval": None}, [{"interval": None}]),
        ({"interval": "0h"}, []),
        ({"interval": "h"}, []),
        ({"interval": "8x"}, []),
        ({"nextFundingTimestamp": NOON // 10**6}, []),
        ({"nextFundingTimestamp": NOON // 10**6 + 50_000 + 59_999}, []),
    ],
)
def test_a_rate_of_an_unknown_interval_is_not_handed_over_but_settled(said: dict[str, Any], asked: list[Any]) -> None:
    clock, settles_ns = [NOON], NOON + 50 * SECOND
    rate = {"fundingRate": 0.0001, "fundingTimestamp": settles_ns // 10**6} | said
    exchange = ScriptedExchange([market("BTC")], books=[book(99, 101)], funding=[rate], interval=asked)
    feed = live_feed(exchange, clock_ns=lambda: clock[0])
    try:
        events = feed.events(*ANY_TIME)
        first = next(events)
        while not feed.counts["interval_unknown", "binance"]:
            time.sleep(0.001)
        clock[0] = settles_ns
        settled = next(events)
    finally:
        feed.close()
    assert isinstance(first, Quote)
    assert settled == FundingSettled(settles_ns, 0, Decimal("0.0001"), 100 * 10**10)
    assert feed.counts == {("interval_unknown", "binance"): 1}


def test_funding_is_quoted_and_settled_with_the_rate_last_expected() -> None:
    clock, settles_ns = [NOON], NOON + 60 * SECOND
    exchange = ScriptedExchange([market("BTC")], books=[book(99, 101)], funding=expecting(-1.5e-05, settles_ns))
    feed = live_feed(exchange, clock_ns=lambda: clock[0])
    try:
        events = feed.events(*ANY_TIME)
        first = {type(event): event for event in islice(events, 2)}
        clock[0] = settles_ns + SECOND
        settled = next(events)
    finally:
        feed.close()
    assert first[FundingQuote] == FundingQuote(NOON, 0, Decimal("-0.000015"), settles_ns, 8 * HOUR)
    assert settled == FundingSettled(settles_ns + SECOND, 0, Decimal("-0.000015"), 100 * 10**10)


@pytest.mark.parametrize(
    ("quoted", "rated", "late", "counted"),
    [
        (60, 600, SECOND, ""),  # seconds before the settlement, nanoseconds after it
        (61, 61, 0, "settlement_unknown"),
        (None, 5, 0, "settlement_unknown"),
        (5, 601, 0, "settlement_unknown"),
        (5, 5, SECOND + 1, "settlement_late"),
    ],
)
def test_a_settlement_is_handed_over_in_time_and_of_what_is_known_or_counted(
    quoted: int | None, rated: int, late: int, counted: str
) -> None:
    settles_ns = NOON + HOUR
    clock = [settles_ns - rated * SECOND]

    class Patient(ScriptedExchange):
        async def watch_order_book(self, symbol: str) -> Mapping[str, Any]:
            while quoted is not None and clock[0] < settles_ns - quoted * SECOND:
                await asyncio.sleep(0.001)
            return await super().watch_order_book(symbol)

        async def watch_trades(self, symbol: str) -> Sequence[Mapping[str, Any]]:
            while not counted or not feed.counts:
                await asyncio.sleep(0.001)
            return await super().watch_trades(symbol)

    trade = {"price": 1.0, "amount": 2.0, "side": "sell"}
    books = [] if quoted is None else [book(99, 101)]
    exchange = Patient([market("BTC")], books=books, trades=[[trade]], funding=expecting(0.0001, settles_ns))
    feed = live_feed(exchange, clock_ns=lambda: clock[0])
    try:
        events = feed.events(*ANY_TIME)
        kinds = {type(next(events))}
        if quoted is not None:
            clock[0] = settles_ns - quoted * SECOND
            kinds.add(type(next(events)))
        clock[0] = settles_ns + late
        last = next(events)
    finally:
        feed.close()
    assert kinds == ({FundingQuote} if quoted is None else {FundingQuote, Quote})
    if counted:
        assert isinstance(last, Trade)
        assert feed.counts == {(counted, "binance"): 1}
    else:
        assert last == FundingSettled(settles_ns + late, 0, Decimal("0.0001"), 100 * 10**10)
        assert not feed.counts


def test_a_settlement_is_handed_over_when_it_comes_and_not_at_the_next_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resources.feed.live._LOOK_SECONDS", 3600)
    settles_ns = NOON + SECOND // 50
    exchange = ScriptedExchange([market("BTC")], books=[book(99, 101)], funding=expecting(0.0001, settles_ns))
    *_, last = read(live_feed(exchange), 3)
    assert isinstance(last, FundingSettled)
    assert settles_ns <= last.time_ns <= settles_ns + SECOND


# --- what was settled while nobody watched ---


def told(hour: int, rate: float | None = 0.0001, mark: str | None = None, late_ms: int = 0) -> dict[str, Any]:
    """A settlement ``hour`` hours after noon, as ccxt tells it."""
    answer = {"symbol": "BTC/USDT:USDT", "fundingRate": rate, "timestamp": (NOON + hour * HOUR) // 10**6 + late_ms}
    return answer | {"info": {} if mark is None else {"markPrice": mark}}


def settled(exchange: ScriptedExchange, since_ns: int, until_ns: int, **feed_options: Any) -> Settlements:
    feed = live_feed(exchange, **feed_options)
    try:
        assert isinstance(feed, SettlementHistory)
        return feed.ask_settled(0, since_ns, until_ns).result(60)
    finally:
        feed.close()


def a_settlement(hour: int, rate: str, mark: str) -> FundingSettled:
    return FundingSettled(NOON + hour * HOUR, 0, Decimal(rate), int(Decimal(mark) * 10**10))


EVERY_EIGHT = [told(hour, hour / 1e5, f"{100 + hour}.5") for hour in range(-36, 36, 8)]


@pytest.mark.parametrize(
    ("since", "until", "hours"),
    [
        (NOON, NOON + 21 * HOUR, [4, 12, 20]),
        (NOON + 4 * HOUR, NOON + 12 * HOUR, [4]),  # the first instant belongs to the span, the last does not
        (NOON + 4 * HOUR + 1, NOON + 12 * HOUR + 1, [12]),
        (NOON + 5 * HOUR, NOON + 11 * HOUR, []),
    ],
)
@pytest.mark.parametrize("page", [1, 2, 100])
def test_past_settlements_are_told_page_by_page_with_rate_and_mark(
    since: int, until: int, hours: list[int], page: int
) -> None:
    found = settled(ScriptedExchange([market("BTC")], history=EVERY_EIGHT, page=page), since, until)
    assert found == (tuple(a_settlement(hour, str(Decimal(hour).scaleb(-5)), f"{100 + hour}.5") for hour in hours), ())


def test_where_the_answer_has_no_mark_it_is_where_the_minute_of_the_mark_price_opened() -> None:
    candles = {told(hour)["timestamp"]: 100.25 + hour for hour in (4, 12)}
    candles[told(19)["timestamp"]] = candles[told(21)["timestamp"]] = 777.0  # not of the minute of 20
    history = [told(-4), told(4), told(12, late_ms=3), told(20), told(28, mark="")]
    exchange = ScriptedExchange([market("BTC")], history=history, candles=candles)
    found = settled(exchange, NOON, NOON + 29 * HOUR)
    later = a_settlement(12, "0.0001", "112.25")
    assert found.known == (a_settlement(4, "0.0001", "104.25"), later._replace(time_ns=later.time_ns + 3_000_000))
    assert found.unknown == (NOON + 20 * HOUR, NOON + 28 * HOUR)
    exchange = ScriptedExchange([market("BTC")], history=history)  # no candles at all
    assert settled(exchange, NOON, NOON + 11 * HOUR) == ((), (NOON + 4 * HOUR,))


@pytest.mark.parametrize(
    ("rate", "mark"),
    [(None, "104"), (1.5, "104"), (float("nan"), "104"), *((0.0001, mark) for mark in ("0", "-1", "NaN", "x", "1e30"))],
)
def test_a_settlement_whose_rate_or_mark_can_be_none_is_not_known(rate: float | None, mark: str) -> None:
    history = [told(-4, mark="99"), told(4, rate, mark)]
    found = settled(ScriptedExchange([market("BTC")], history=history), NOON, NOON + 5 * HOUR)
    assert found == ((), (NOON + 4 * HOUR,))


def test_what_is_due_and_not_published_is_not_known_either() -> None:
    history = [told(-4, mark="99"), told(4, mark="104")]
    found = settled(ScriptedExchange([market("BTC")], history=history), NOON, NOON + 20 * HOUR + 1)
    assert found == ((a_settlement(4, "0.0001", "104"),), (NOON + 12 * HOUR, NOON + 20 * HOUR))
    cut = [told(19, mark="99"), told(20, mark="99")]  # of a venue that tells the newest only
    found = settled(ScriptedExchange([market("BTC")], history=cut), NOON + 17 * HOUR, NOON + 20 * HOUR + 1)
    assert found == (
        (a_settlement(19, "0.0001", "99"), a_settlement(20, "0.0001", "99")),
        (NOON + 17 * HOUR, NOON + 18 * HOUR),
    )


def test_settlements_less_than_a_minute_apart_are_one_and_make_no_interval() -> None:
    twice = [
        told(0, mark="100"),
        told(0, mark="100", late_ms=1),
        told(1, mark="101"),
        told(1, mark="7", late_ms=59_999),
    ]
    for page in (1, 100):
        found = settled(ScriptedExchange([market("BTC")], history=twice, page=page), NOON, NOON + 3 * HOUR + 1)
        assert found == (
            (a_settlement(0, "0.0001", "100"), a_settlement(1, "0.0001", "101")),
            (NOON + 2 * HOUR, NOON + 3 * HOUR),
        )
        only_one = ScriptedExchange([market("BTC")], history=twice[:2], page=page)
        assert settled(only_one, NOON, NOON + HOUR) == ((a_settlement(0, "0.0001", "100"),), ())


def an_hour_passes() -> None:
    """By the clock of the loop: no patience that a slow machine could outlast, and nobody waits for it to end."""
    loop = asyncio.get_running_loop()
    passed = loop.time() + 3600
    loop.time = lambda: passed  # type: ignore[method-assign]


def test_marks_are_asked_for_several_at_a_time_and_what_does_not_come_in_time_is_not_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    history = [told(hour) for hour in range(20)]

    class Busy(ScriptedExchange):
        """Answers once several wait, and never of the hour five: an hour passes when all else is answered."""

        waiting = most = answered = 0

        async def fetch_mark_ohlcv(self, *asked: Any) -> Sequence[Sequence[Any]]:
            self.waiting += 1
            self.most = max(self.most, self.waiting)
            while self.most < 4 or asked[2] == told(5)["timestamp"]:
                await asyncio.sleep(0.001)
                if self.answered == 19:
                    an_hour_passes()
            self.waiting -= 1
            answer = await super().fetch_mark_ohlcv(*asked)
            self.answered += 1
            return answer

    monkeypatch.setattr("resources.feed.live._HISTORY_SECONDS", 3600)
    exchange = Busy([market("BTC")], history=history, candles={told(hour)["timestamp"]: 100.0 for hour in range(20)})
    found = settled(exchange, NOON, NOON + 20 * HOUR)
    assert [event.time_ns for event in found.known] == [NOON + hour * HOUR for hour in range(20) if hour != 5]
    assert found.unknown == (NOON + 5 * HOUR,)
    assert 4 <= exchange.most <= 8  # a venue's limits are kept


@pytest.mark.parametrize(
    ("failure", "pages", "known"),
    [("silence", 0, None), ("silence", 2, 2), ("loss", 0, None), ("loss", 1, None), ("loss", 2, 2), ("loss", 3, 3)],
)
def test_of_a_history_that_breaks_off_what_came_is_told_and_the_rest_is_not_known(
    failure: str, pages: int, known: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Breaking(ScriptedExchange):
        async def fetch_funding_rate_history(self, *asked: Any) -> Sequence[Mapping[str, Any]]:
            if len(self.asked) < pages:
                return await super().fetch_funding_rate_history(*asked)
            if failure == "silence":
                an_hour_passes()
                await asyncio.Event().wait()
            raise Lost("429")

    monkeypatch.setattr("resources.feed.live._HISTORY_SECONDS", 3600)
    exchange = Breaking([market("BTC")], history=[told(hour, mark="100") for hour in range(6)], page=1)
    if known is None:  # one settlement does not say when the next is due
        with pytest.raises(FeedError, match="is not told"):
            settled(exchange, NOON, NOON + 6 * HOUR)
        return
    found = settled(exchange, NOON, NOON + 6 * HOUR)
    assert [event.time_ns for event in found.known] == [NOON + hour * HOUR for hour in range(known)]
    assert found.unknown == tuple(NOON + hour * HOUR for hour in range(known, 6))


def test_a_mark_of_a_multiple_becomes_that_of_one() -> None:
    pepe = market("1000PEPE", precision={"price": 1e-7, "amount": 1.0})
    history = [told(-4), told(4, mark="0.01234567")]
    exchange = ScriptedExchange([pepe], history=history)
    (event,) = settled(exchange, NOON, NOON + 5 * HOUR, assets=("PEPE",)).known
    assert event.mark == 123_457  # units of 1e-10, to the nearest


@pytest.mark.parametrize(
    ("history", "message"),
    [
        ([], "not supported"),
        ([told(40)], "it is empty"),
        ([told(4) | {"timestamp": None}], "TypeError"),
    ],
)
def test_a_venue_that_tells_no_history_is_an_error(history: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(FeedError, match=f"the funding history of BTC/USDT:USDT is not told: .*{message}"):
        settled(ScriptedExchange([market("BTC")], history=history), NOON, NOON + 30 * HOUR)


def test_spot_settles_nothing() -> None:
    pair = market("BTC", symbol="BTC/USDT", swap=False, spot=True)
    assert settled(ScriptedExchange([pair]), NOON, NOON + 30 * HOUR, venue="binance_spot") == ((), ())


def test_a_span_ends_with_the_clock_and_the_next_begins_where_it_ended() -> None:
    clock = [NOON]

    class Later(ScriptedExchange):
        async def watch_order_book(self, symbol: str) -> Mapping[str, Any]:
            answer = await super().watch_order_book(symbol)
            clock[0] += SECOND
            return answer

    exchange = Later([market("BTC")], books=[book(n, n + 1) for n in range(1, 6)])
    feed = live_feed(exchange, clock_ns=lambda: clock[0])
    try:
        first = list(feed.events(NOON, NOON + 3 * SECOND))
        rest = list(islice(feed.events(NOON + 3 * SECOND, NOON + 9 * SECOND), 3))
        quiet = list(feed.events(NOON, NOON + SECOND))
    finally:
        feed.close()
    assert [from_units(event.bid) for event in first if isinstance(event, Quote)] == [1, 2]
    assert [from_units(event.bid) for event in rest if isinstance(event, Quote)] == [3, 4, 5]
    assert quiet == []
    assert exchange.asked.count("BTC/USDT:USDT") == 5 + 3  # the books, and once each what stayed silent


def test_a_reader_that_falls_behind_is_told_what_it_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ten books the first is read, three wait, four find no room, and two come once there is room again."""
    monkeypatch.setattr("resources.feed.live._WAITING", 3)
    gates = {2: threading.Event(), 9: threading.Event()}
    flooded = threading.Event()

    class Flood(ScriptedExchange):
        async def watch_order_book(self, symbol: str) -> Mapping[str, Any]:
            answer = await super().watch_order_book(symbol)
            number = int(answer["bids"][0][0])
            if number == 9:
                flooded.set()
            while number in gates and not gates[number].is_set():
                await asyncio.sleep(0.001)
            return answer

    pair = market("BTC", symbol="BTC/USDT", swap=False, spot=True)
    feed = live_feed(Flood([pair], books=[book(n, n + 1) for n in range(1, 11)]), venue="binance_spot")
    try:
        events = feed.events(*ANY_TIME)
        got = [next(events)]
        gates[2].set()
        assert flooded.wait(60)
        got += islice(events, 3)
        gates[9].set()
        got += islice(events, 3)
    finally:
        feed.close()
    assert [event.bid // 10**10 if isinstance(event, Quote) else event._fields for event in got] == [
        *(1, 2, 3, 4),
        Interrupted._fields,
        *(9, 10),
    ]
    assert feed.counts["dropped", "binance_spot"] == 4


def test_who_waits_for_a_feed_that_is_closed_is_told() -> None:
    feed = live_feed(ScriptedExchange([market("BTC")], books=[book(1, 2)]))
    events = feed.events(*ANY_TIME)
    assert isinstance(next(events), Quote)
    closing = threading.Timer(0.05, feed.close)
    closing.start()
    with pytest.raises(FeedError, match="the feed is closed"):
        next(events)
    closing.join()


def test_what_no_one_foresaw_reaches_the_reader() -> None:
    feed = live_feed(ScriptedExchange([market("BTC")], books=[ZeroDivisionError("a bug")]))
    with pytest.raises(FeedError, match="a bug"):
        read(feed, 1)


def test_unknown_venues_and_symbols_are_errors_of_their_own() -> None:
    with pytest.raises(UnknownVenue, match="'mtgox'"):
        live_feed(ScriptedExchange([]), venue="mtgox")
    exchange = ScriptedExchange([market("BTC")])
    with pytest.raises(UnknownSymbol, match="binance lists none of DOGE"):
        live_feed(exchange, assets=("DOGE",))
    assert exchange.closed
    with pytest.raises(UnknownSymbol, match="none of binance lists DOGE"):
        live_feed(ScriptedExchange([market("BTC")]), assets=("BTC", "DOGE"))
    with pytest.raises(FeedError, match="named twice"):
        LiveFeed(("binance", "binance"), open_exchange=lambda _: exchange)


def test_a_venue_that_does_not_answer_is_an_error_naming_it() -> None:
    class Silent(ScriptedExchange):
        async def load_markets(self) -> Mapping[str, Any]:
            raise Lost("503")

    with pytest.raises(FeedError, match=r"a venue of binance did not answer.*503"):
        live_feed(Silent([]))


@pytest.mark.parametrize(
    "other",
    [{"precision": {"price": None, "amount": 1}}, {"precision": {"price": 0.1, "amount": 1e-12}}, {"limits": {}}],
)
def test_filters_that_cannot_be_used_are_an_error_naming_the_symbol(other: dict[str, Any]) -> None:
    with pytest.raises(FeedError, match=r"the filters of BTC/USDT:USDT on binance cannot be used"):
        live_feed(ScriptedExchange([market("BTC", **other)]))
