"""RecordedFeed: what was written down, on the recorder's clock, or an error that names the file."""

import gzip
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from resources.feed import (
    Depth,
    FeedError,
    FeedEvent,
    FundingSettled,
    Interrupted,
    Quote,
    Trade,
    from_units,
    to_units,
)
from resources.feed.recorded import RecordedFeed
from resources.settings import Settings
from tests.resources.feed_parts import (
    DAY_NS,
    MINUTES_DAY,
    SECOND,
    TICKS_DAY,
    at,
    change,
    check_events,
    record_venues,
    snapshot,
    write_messages,
    write_minutes,
    write_quotes,
    write_trades,
)

ANY_TIME = (0, at("2100-01-01T00:00:00"))
DATA = Settings().test_data
real_data = pytest.mark.skipif(
    not (DATA / "ticks_book").is_dir() or not (DATA / "two_venue").is_dir(), reason=f"no recorded venues in {DATA}"
)
USDM = "usdm_btcusdt_20240808"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return record_venues(tmp_path)


def events_of(folder: Path, venue: str, symbol: str) -> list[FeedEvent]:
    feed = RecordedFeed(folder)
    names = [(listing.venue, listing.symbol) for listing in feed.listings]
    return [event for event in feed.events(*ANY_TIME) if event.listing == names.index((venue, symbol))]


def units(text: str) -> int:
    return to_units(Decimal(text))


def test_numbers_are_exact_although_they_were_stored_as_floats(folder: Path) -> None:
    first, second = [e for e in events_of(folder, "binance", "BTCUSDT") if isinstance(e, Quote)][:2]
    assert first[2:] == (units("61800.1"), units("2.507"), units("61800.3"), units("0.011"))
    assert second.bid == units("61800.2")


def test_markets_are_merged_on_the_clock_of_the_recorder(folder: Path) -> None:
    listings = RecordedFeed(folder).listings
    events = list(RecordedFeed(folder).events(TICKS_DAY, TICKS_DAY + SECOND + 8))
    assert [(event.time_ns - TICKS_DAY, type(event), listings[event.listing].symbol) for event in events] == [
        (0, Quote, "BTCUSDT"),
        (3, Quote, "BTCUSD_PERP"),
        (4, Depth, "BTCUSDT"),
        (4, Depth, "BTCUSDT"),
        (5, Depth, "BTCUSDT"),
        (7, Trade, "BTCUSDT"),
        (SECOND, Quote, "BTCUSDT"),
        (SECOND + 3, Quote, "BTCUSD_PERP"),
        (SECOND + 7, Trade, "BTCUSDT"),
    ]


def test_the_buyer_is_the_aggressor_where_the_maker_sold(folder: Path) -> None:
    trades = [e for e in events_of(folder, "binance", "BTCUSDT") if isinstance(e, Trade)]
    assert [trade.buyer_is_aggressor for trade in trades] == [False, True, False, True, False]
    assert {(trade.price, trade.size) for trade in trades} == {(units("61800.3"), units("0.006"))}


def test_a_trade_with_the_insurance_fund_is_no_trade_of_the_book(folder: Path) -> None:
    assert all(e.size < units("0.5") for e in events_of(folder, "binance", "BTCUSDT") if isinstance(e, Trade))


def test_dollars_of_an_inverse_contract_become_what_they_buy(folder: Path) -> None:
    (listing,) = [each for each in RecordedFeed(folder).listings if each.symbol == "BTCUSD_PERP"]
    assert listing.settles_inverse
    quotes = [e for e in events_of(folder, "binance", "BTCUSD_PERP") if isinstance(e, Quote) and e.time_ns > TICKS_DAY]
    assert quotes[0].bid_size == int(Decimal(35 * 100 * 10**10) / Decimal("61804.7"))
    assert quotes[0].ask_size == int(Decimal(1645 * 100 * 10**10) / Decimal("61804.8"))


def test_depth_begins_with_the_snapshot_and_goes_on_where_it_ends(folder: Path) -> None:
    depth = [e for e in events_of(folder, "binance", "BTCUSDT") if isinstance(e, Depth)]
    assert [event.snapshot for event in depth] == [True, False, False]
    assert depth[0].asks == ((units("61800.3"), units("3")), (units("61800.4"), units("4")))
    assert depth[1].bids == ((units("61800.1"), units("2")),)  # came before the snapshot and reaches beyond it
    assert depth[1].asks == ((units("61800.3"), 0),)
    assert depth[2].bids == ((units("61800"), 0),)


def test_a_hole_in_the_chain_interrupts_until_the_next_snapshot(folder: Path) -> None:
    raw, level = folder / "ticks_book" / "raw" / f"{USDM}.gz", [["61800.00", "1"]]
    write_messages(
        raw,
        [
            (TICKS_DAY + 1, snapshot(15, level, [])),
            (TICKS_DAY + 2, change(16, 20, 15, level, [])),
            (TICKS_DAY + 3, change(31, 40, 30, level, [])),
            (TICKS_DAY + 4, change(41, 50, 40, level, [])),
            (TICKS_DAY + 5, snapshot(45, level, [])),
            (TICKS_DAY + 6, change(51, 60, 50, level, [])),
        ],
    )
    events = [e for e in events_of(folder, "binance", "BTCUSDT") if isinstance(e, Depth | Interrupted)]
    assert [(e.time_ns - TICKS_DAY, type(e), getattr(e, "snapshot", None)) for e in events] == [
        (1, Depth, True),
        (2, Depth, False),
        (3, Interrupted, None),
        (5, Depth, True),
        (5, Depth, False),
        (6, Depth, False),
    ]


def test_without_its_messages_a_market_has_quotes_and_trades(folder: Path) -> None:
    (folder / "ticks_book" / "raw" / f"{USDM}.gz").unlink()
    assert {type(e) for e in events_of(folder, "binance", "BTCUSDT")} == {Quote, Trade}
    (folder / "ticks_book" / "trades" / f"{USDM}.parquet").unlink()
    assert {type(e) for e in events_of(folder, "binance", "BTCUSDT")} == {Quote}


def test_a_minutes_quote_is_known_when_the_minute_is_over(folder: Path) -> None:
    first = events_of(folder, "bybit", "BTCUSDT")[0]
    assert first.time_ns == at("2022-12-13T07:58:00")
    assert isinstance(first, Quote)
    assert (from_units(first.bid), from_units(first.ask_size)) == (17_199, 3)


def test_a_settlement_is_marked_by_the_quote_before_it_or_is_not_handed_over(folder: Path) -> None:
    settled = [e for e in RecordedFeed(folder).events(*ANY_TIME) if isinstance(e, FundingSettled)]
    assert [(e.time_ns, e.rate, from_units(e.mark)) for e in settled] == [
        (at("2022-12-13T08:00:00"), Decimal("-0.00022398"), Decimal("17199.25")),
        (at("2022-12-13T16:00:00"), Decimal("-0.00038555"), Decimal("17199.25")),
    ]


def test_the_days_are_those_of_the_files(folder: Path) -> None:
    feed = RecordedFeed(folder)
    assert feed.days() == ("2022-12-13", "2024-08-08")
    assert list(feed.events(at("2023-01-01T00:00:00"), at("2024-01-01T00:00:00"))) == []


def test_going_on_reads_each_file_once_and_a_later_day_not_at_all(folder: Path) -> None:
    feed = RecordedFeed(folder)
    raw = folder / "ticks_book" / "raw" / f"{USDM}.gz"
    raw.write_bytes(b"damaged after it was opened")
    assert len(list(feed.events(MINUTES_DAY, MINUTES_DAY + DAY_NS))) > 0
    record_venues(folder)
    first = list(feed.events(TICKS_DAY, TICKS_DAY + SECOND))
    raw.write_bytes(b"damaged while it was read")
    assert len(first) + len(list(feed.events(TICKS_DAY + SECOND, TICKS_DAY + DAY_NS))) == 16


def test_a_span_left_in_the_middle_spoils_nothing(folder: Path) -> None:
    feed = RecordedFeed(folder)
    whole = list(feed.events(TICKS_DAY, TICKS_DAY + DAY_NS))
    left = feed.events(TICKS_DAY, TICKS_DAY + DAY_NS)
    assert next(left) == whole[0]
    assert list(feed.events(TICKS_DAY, TICKS_DAY + DAY_NS)) == whole
    assert list(left) == whole[1:]


# Files that do not say what they should


def quotes(folder: Path, *rows: tuple[Any, ...]) -> None:
    write_quotes(folder / "ticks_book" / "quotes" / f"{USDM}.parquet", rows)


def trades(folder: Path, *rows: tuple[Any, ...]) -> None:
    write_trades(folder / "ticks_book" / "trades" / f"{USDM}.parquet", rows)


def messages(folder: Path, *rows: tuple[int, dict[str, Any]]) -> None:
    write_messages(folder / "ticks_book" / "raw" / f"{USDM}.gz", rows)


def minutes(folder: Path, *rows: tuple[Any, ...]) -> None:
    write_minutes(folder / "two_venue" / "quotes_1m_2022-12-13.parquet", rows)


T, MINUTE = TICKS_DAY, datetime(2022, 12, 13, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: quotes(f, (T, 100.0, 1.0, 100.1, 1.0), (T - 1, 100.0, 1.0, 100.1, 1.0)), "go backwards"),
        (lambda f: quotes(f, (T, float("nan"), 1.0, 100.1, 1.0)), "a bid .* is missing, zero or negative"),
        (lambda f: quotes(f, (T, 0.0, 1.0, 100.1, 1.0)), "a bid .* is missing, zero or negative"),
        (lambda f: quotes(f, (T, None, 1.0, 100.1, 1.0)), "bid .* is missing in 1 rows"),
        (lambda f: quotes(f, (T, 100.0, 0.0, 100.1, 1.0)), "a size .* is missing, zero or negative"),
        (lambda f: quotes(f, (T, 100.0, 1.0, 100.0, 1.0)), "crossed"),
        (lambda f: quotes(f, (T, 100.05, 1.0, 100.1, 1.0)), "bid 100.05 .* is not a multiple of 0.1"),
        (lambda f: quotes(f, (T, 100.0, 1.0, float("inf"), 1.0)), "a ask .* is missing, zero or negative"),
        (lambda f: trades(f, (T, -1.0, 1.0, True, "MARKET")), "a price .* is missing, zero or negative"),
        (lambda f: trades(f, (T, 100.0, 1.0, None, "MARKET")), "buyer_is_maker .* is missing"),
        (lambda f: trades(f, (T, 1.0, 1.0, True, ""), (T - 1, 1.0, 1.0, True, "")), "go backwards"),
        (lambda f: messages(f, (T, snapshot(1, [["x", "1"]], []))), "depth message 1 .* cannot be read"),
        (lambda f: messages(f, (T, snapshot(1, [["0", "1"]], []))), "depth message 1 .* cannot be read"),
        (lambda f: messages(f, (T, snapshot(1, [["1", "-1"]], []))), "depth message 1 .* cannot be read"),
        (lambda f: messages(f, (T, snapshot(1, [], [["0.00000000001", "1"]]))), "depth message 1 .* cannot be read"),
        (lambda f: messages(f, (T, {"bids": [], "asks": []})), "depth message 1 .* cannot be read"),
        (lambda f: messages(f, (T, snapshot(1, [], [])), (T - 1, snapshot(2, [], []))), "go backwards"),
        (lambda f: (f / "ticks_book" / "raw" / f"{USDM}.gz").write_bytes(b"no gzip"), "not a recording of messages"),
        (lambda f: minutes(f, (MINUTE, "bybit", "BTCUSDT", 0.0, 1.0, 1.0, 1.0)), "a bid .* is missing"),
        (
            lambda f: minutes(f, *((MINUTE.replace(minute=n), "bybit", "BTCUSDT", 1.0, 1.0, 1.5, 1.0) for n in (2, 1))),
            "go backwards",
        ),
    ],
)
def test_a_damaged_file_is_an_error_when_it_is_read(
    folder: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(folder)
    with pytest.raises(FeedError, match=message):
        list(RecordedFeed(folder).events(*ANY_TIME))


def wrong_kind(folder: Path) -> None:
    file = folder / "ticks_book" / "quotes" / f"{USDM}.parquet"
    table = pq.read_table(file)
    pq.write_table(table.set_column(1, "bid", table["bid"].cast(pa.float32())), file)


def missing_column(folder: Path) -> None:
    file = folder / "two_venue" / "quotes_1m_2022-12-13.parquet"
    pq.write_table(pq.read_table(file).drop_columns(["ask"]), file)


def settlements(text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / "two_venue" / "funding_lean.csv").write_text(text)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (wrong_kind, "column bid .* is float, not double"),
        (missing_column, "column ask .* is missing, not double"),
        (lambda f: (f / "ticks_book" / "trades" / f"{USDM}.parquet").write_bytes(b"x"), "is not a parquet file"),
        (lambda f: write_quotes(f / "ticks_book" / "quotes" / "btc.parquet", []), "is not named <usdm"),
        (
            lambda f: write_quotes(f / "ticks_book" / "quotes" / "usdm_ethusdt_20240808.parquet", []),
            "ETHUSDT on binance",
        ),
        (lambda f: write_quotes(f / "ticks_book" / "quotes" / "usdm_btcusdt_20249908.parquet", []), "after no day"),
        (lambda f: write_minutes(f / "two_venue" / "quotes_1m_friday.parquet", []), "after no day"),
        (lambda f: minutes(f, (MINUTE, "mtgox", "BTCUSD", 1.0, 1.0, 1.5, 1.0)), "nothing is known .* BTCUSD on mtgox"),
        (settlements("a,b\n1,2\n"), "has not the columns"),
        (
            settlements("timestamp_utc,venue,instrument,funding_rate\nx,bybit,BTCUSDT,0.1\n"),
            "not a table of settlements",
        ),
        (settlements("timestamp_utc,venue,instrument,funding_rate\n2022-12-13,bybit,BTCUSDT,0.1\n"), "no time zone"),
        (
            settlements("timestamp_utc,venue,instrument,funding_rate\n2022-12-13T00:00:00Z,bybit,BTCUSDT,NaN\n"),
            "no rate",
        ),
        (
            settlements("timestamp_utc,venue,instrument,funding_rate\n2022-12-13T00:00:00Z,bybit,BTCUSDT,-1.5\n"),
            "no rate of at most 1",
        ),
    ],
)
def test_a_folder_that_cannot_be_used_is_an_error_when_it_is_opened(
    folder: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(folder)
    with pytest.raises(FeedError, match=message):
        RecordedFeed(folder)


def test_a_file_cut_short_is_an_error_naming_it(folder: Path) -> None:
    file = folder / "ticks_book" / "raw" / f"{USDM}.gz"
    file.write_bytes(gzip.compress(f"{TICKS_DAY} {{}}\n".encode() * 1000)[:-20])
    with pytest.raises(FeedError, match=file.name):
        list(RecordedFeed(folder).events(*ANY_TIME))


# The recordings


@real_data
@pytest.mark.real_data
def test_the_recorded_seconds_of_three_markets_are_read() -> None:
    feed, day = RecordedFeed(DATA), at("2024-08-08T00:00:00")
    events = list(feed.events(day, day + DAY_NS))
    check_events(events, feed.listings)
    counts = Counter((feed.listings[e.listing].venue, feed.listings[e.listing].symbol, type(e)) for e in events)
    assert counts["binance", "BTCUSDT", Quote] == 66_089
    assert counts["binance", "BTCUSDT", Trade] == 21_313
    assert counts["binance_spot", "BTCUSDT", Quote] == 28_040
    assert counts["binance_spot", "BTCUSDT", Trade] == 9_757
    assert counts["binance", "BTCUSD_PERP", Quote] == 19_136
    assert counts["binance", "BTCUSD_PERP", Trade] == 2_286
    assert not any(isinstance(event, Interrupted) for event in events)  # every chain is whole

    # A book kept from the depth alone agrees with the quotes of another stream, and is never crossed.
    books: dict[int, tuple[dict[int, int], dict[int, int]]] = {}
    top: dict[int, tuple[int, int]] = {}
    agree = Counter[bool]()
    gap: list[float] = []
    for event in events:
        if isinstance(event, Quote):
            top[event.listing] = (event.bid, event.ask)
            perpetual, spot = top.get(2), top.get(1)
            if perpetual and spot:
                gap.append(1e4 * (sum(perpetual) / sum(spot) - 1))
        elif isinstance(event, Depth):
            if event.snapshot:
                books[event.listing] = ({}, {})
            for side, levels in zip(books[event.listing], (event.bids, event.asks), strict=True):
                side.update(levels)
                for price in [price for price, size in levels if not size]:
                    side.pop(price, None)
            best = max(books[event.listing][0]), min(books[event.listing][1])
            assert best[0] < best[1]
            agree[best == top[event.listing]] += 1
    assert agree[True] > 0.99 * agree.total()
    assert sum(gap) / len(gap) == pytest.approx(-3.7, abs=0.2)  # the recording's own notes say so


@real_data
@pytest.mark.real_data
def test_the_recorded_minutes_of_two_venues_are_read() -> None:
    feed = RecordedFeed(DATA)
    assert feed.days() == ("2022-12-13", "2024-08-08")
    events = list(feed.events(MINUTES_DAY, MINUTES_DAY + DAY_NS))
    check_events(events, feed.listings)
    counts = Counter(f"{feed.listings[e.listing].venue} {feed.listings[e.listing].symbol}" for e in events)
    assert counts == {  # the last minute of a day is known on the next
        "binance BTCUSD_PERP": 1103 + 2,
        "binance ADAUSDT": 1099,
        "bybit BTCUSD": 464 + 2,
        "bybit BTCUSDT": 460 + 2,
        "bybit_spot BTCUSDT": 721,
    }
    settled = [(feed.listings[e.listing].symbol, e.rate) for e in events if isinstance(e, FundingSettled)]
    assert ("BTCUSDT", Decimal("-0.00038555")) in settled
    # Edges between the two inverse contracts, as the recording's own notes have them (in bp, minutes common to both).
    top: dict[str, Quote] = {}
    edges: list[tuple[float, float]] = []
    for event in events:
        if isinstance(event, Quote) and feed.listings[event.listing].settles_inverse:
            top[feed.listings[event.listing].venue] = event
            if len(top) == 2 and top["binance"].time_ns == top["bybit"].time_ns:
                one, other = top["binance"], top["bybit"]
                edges.append((1e4 * (one.bid / other.ask - 1), 1e4 * (other.bid / one.ask - 1)))
    assert len(edges) == 398
    assert sorted(round(median(way), 1) for way in zip(*edges, strict=True)) == [-3.8, 3.4]
    assert round(max(max(edge) for edge in edges), 1) == 9.7
