"""Recordings and exchanges made for tests of the feeds."""

import asyncio
import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from resources.feed import NANOSECONDS, Depth, FeedEvent, FundingSettled, Listing, Quote, Trade
from resources.feed.live import LiveFeed

SECOND = NANOSECONDS
DAY_NS = 86_400 * SECOND


def at(text: str) -> int:
    """Nanoseconds of a UTC time such as 2024-08-08T23:54:15."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * SECOND


TICKS_DAY = at("2024-08-08T23:54:00")
MINUTES_DAY = at("2022-12-13T00:00:00")


def check_events(events: Sequence[FeedEvent], listings: Sequence[Listing]) -> None:
    """What every feed promises: order, known listings, positive whole numbers, books that are not crossed."""
    assert [event.time_ns for event in events] == sorted(event.time_ns for event in events)
    for event in events:
        assert type(event.time_ns) is int
        assert 0 <= event.listing < len(listings)
        if isinstance(event, Quote):
            assert all(type(number) is int and number > 0 for number in event[2:])
            assert event.bid < event.ask
        elif isinstance(event, Trade):
            assert type(event.price) is type(event.size) is int
            assert event.price > 0
            assert event.size > 0
            assert type(event.buyer_is_aggressor) is bool
        elif isinstance(event, FundingSettled):
            assert type(event.mark) is int
            assert event.mark > 0
        elif isinstance(event, Depth):
            assert all(price > 0 and size >= 0 for price, size in (*event.bids, *event.asks))


# Recordings


def write_quotes(file: Path, rows: Sequence[tuple[Any, ...]]) -> None:
    """(local_ts_ns, bid, bid_qty, ask, ask_qty)"""
    _write(file, rows, ("local_ts_ns", "bid", "bid_qty", "ask", "ask_qty"), (pa.int64(), *[pa.float64()] * 4))


def write_trades(file: Path, rows: Sequence[tuple[Any, ...]]) -> None:
    """(local_ts_ns, price, qty, buyer_is_maker, exec_type)"""
    names = ("local_ts_ns", "price", "qty", "buyer_is_maker", "exec_type")
    _write(file, rows, names, (pa.int64(), pa.float64(), pa.float64(), pa.bool_(), pa.large_string()))


def write_minutes(file: Path, rows: Sequence[tuple[Any, ...]]) -> None:
    """(timestamp_utc, venue, instrument, bid, bid_qty, ask, ask_qty)"""
    names = ("timestamp_utc", "venue", "instrument", "bid", "bid_qty", "ask", "ask_qty")
    text = pa.large_string()
    _write(file, rows, names, (pa.timestamp("ms", tz="UTC"), text, text, *[pa.float64()] * 4))


def _write(file: Path, rows: Sequence[tuple[Any, ...]], names: Sequence[str], kinds: Sequence[pa.DataType]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    columns = [pa.array([row[index] for row in rows], kind) for index, kind in enumerate(kinds)]
    pq.write_table(pa.table(columns, names=list(names)), file)


def write_messages(file: Path, messages: Sequence[tuple[int, Mapping[str, Any]]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(file, "wt") as lines:
        lines.writelines(f"{time_ns} {json.dumps(message)}\n" for time_ns, message in messages)


def change(first: int, last: int, before: int, bids: list[list[str]], asks: list[list[str]]) -> dict[str, Any]:
    return {"stream": "btcusdt@depth@0ms", "data": {"U": first, "u": last, "pu": before, "b": bids, "a": asks}}


def snapshot(newest: int, bids: list[list[str]], asks: list[list[str]]) -> dict[str, Any]:
    return {"lastUpdateId": newest, "bids": bids, "asks": asks}


def record_venues(folder: Path) -> Path:
    """A few seconds of two markets on one clock, and three minutes of two venues with a settlement."""
    start, ticks = TICKS_DAY, folder / "ticks_book"
    write_quotes(
        ticks / "quotes" / "usdm_btcusdt_20240808.parquet",
        [(start + n * SECOND, 61_800.1 + n / 10, 2.507, 61_800.3 + n / 10, 0.011) for n in range(5)],
    )
    write_trades(
        ticks / "trades" / "usdm_btcusdt_20240808.parquet",
        [(start + n * SECOND + 7, 61_800.3, 0.006, n % 2 == 0, "MARKET") for n in range(5)]
        + [(start + 5 * SECOND, 61_800.3, 0.5, True, "INSURANCE_FUND")],
    )
    write_messages(
        ticks / "raw" / "usdm_btcusdt_20240808.gz",
        [
            (start + 1, change(1, 10, 0, [["61700.00", "1.000"]], [])),
            (start + 2, change(11, 20, 10, [["61800.10", "2.000"]], [["61800.30", "0.000"]])),
            (start + 3, {"stream": "btcusdt@bookTicker", "data": {}}),
            (start + 4, snapshot(15, [["61800.00", "1.5"]], [["61800.30", "3"], ["61800.40", "4"]])),
            (start + 5, change(21, 30, 20, [["61800.00", "0"]], [])),
        ],
    )
    write_quotes(
        ticks / "quotes" / "coinm_btcusd_perp_20240808.parquet",
        [(start + n * SECOND + 3, 61_804.7, 35.0, 61_804.8, 1645.0) for n in range(3)],
    )
    minutes = folder / "two_venue"
    write_minutes(
        minutes / "quotes_1m_2022-12-13.parquet",
        [
            (datetime(2022, 12, 13, 7, minute, tzinfo=UTC), venue, symbol, bid, 2.0, bid + 0.5, 3.0)
            for venue, symbol, bid in (("binance", "BTCUSD_PERP", 17_207.5), ("bybit", "BTCUSDT", 17_199.0))
            for minute in (57, 58, 59)
        ],
    )
    (minutes / "funding_lean.csv").write_text(
        "timestamp_utc,venue,instrument,funding_rate\n"
        "2022-12-13T00:00:00+00:00,bybit,BTCUSDT,-0.0002016\n"
        "2022-12-13T08:00:00+00:00,bybit,BTCUSDT,-0.00022398\n"
        "2022-12-13T08:00:00+00:00,bybit,ETHUSDT,-0.1\n"
        "2022-12-13T16:00:00+00:00,bybit,BTCUSDT,-0.00038555\n"
    )
    return folder


# Exchanges


class Lost(Exception):
    """What the exchange of the tests raises when its connection is lost."""


def market(base: str, quote: str = "USDT", **other: Any) -> dict[str, Any]:
    """A linear perpetual in ccxt's form, with Binance's filters of BTCUSDT."""
    return {
        "id": f"{base}{quote}",
        "symbol": f"{base}/{quote}:{quote}",
        "base": base,
        "quote": quote,
        "swap": True,
        "spot": False,
        "linear": True,
        "active": True,
        "contractSize": 1.0,
        "precision": {"price": 0.1, "amount": 0.001},
        "limits": {"amount": {"min": 0.001}, "cost": {"min": 100.0}},
    } | other


class ScriptedExchange:
    """Answers from a script, one item a question; an exception is raised. At its end a stream stays silent."""

    def __init__(
        self,
        markets: Sequence[Mapping[str, Any]],
        books: Sequence[Any] = (),
        trades: Sequence[Any] = (),
        funding: Sequence[Any] = (),
        interval: Sequence[Any] = (),
        history: Sequence[Mapping[str, Any]] = (),
        page: int = 100,
        candles: Mapping[int, float] | None = None,
    ) -> None:
        """``history`` is told by ``page`` answers at a time; ``candles`` are opens of the mark price by their minute in
        milliseconds. Without either the exchange does not support the question."""
        self.markets = {each["symbol"]: each for each in markets}
        self._scripts = {
            "book": list(books),
            "trades": list(trades),
            "funding": list(funding),
            "interval": list(interval),
        }
        self.history, self.page, self.candles = list(history), page, candles
        self.asked: list[str] = []
        self.closed = False

    async def _next(self, stream: str, symbol: str) -> Any:
        await asyncio.sleep(0)
        self.asked.append(symbol)
        if not self._scripts[stream]:
            await asyncio.Event().wait()
        item = self._scripts[stream].pop(0)
        if isinstance(item, Exception):
            raise item
        return item

    async def load_markets(self) -> Mapping[str, Any]:
        return self.markets

    async def watch_order_book(self, symbol: str) -> Mapping[str, Any]:
        book: Mapping[str, Any] = await self._next("book", symbol)
        return book

    async def watch_trades(self, symbol: str) -> Sequence[Mapping[str, Any]]:
        trades: Sequence[Mapping[str, Any]] = await self._next("trades", symbol)
        return trades

    async def fetch_funding_rate(self, symbol: str) -> Mapping[str, Any]:
        rate: Mapping[str, Any] = await self._next("funding", symbol)
        return rate

    async def fetch_funding_interval(self, symbol: str) -> Mapping[str, Any]:
        if not self._scripts["interval"]:
            raise Lost("fetchFundingInterval is not supported")
        answer: Mapping[str, Any] = await self._next("interval", symbol)
        return answer

    async def fetch_funding_rate_history(self, symbol: str, since: int) -> Sequence[Mapping[str, Any]]:
        await asyncio.sleep(0)
        self.asked.append(symbol)
        if not self.history:
            raise Lost("fetchFundingRateHistory is not supported")
        return [answer for answer in self.history if answer["timestamp"] is None or answer["timestamp"] >= since][
            : self.page
        ]

    async def fetch_mark_ohlcv(self, symbol: str, timeframe: str, since: int, limit: int) -> Sequence[Sequence[Any]]:
        await asyncio.sleep(0)
        self.asked.append(symbol)
        if self.candles is None:
            raise Lost("fetchMarkOHLCV is not supported")
        assert (timeframe, since % 60_000) == ("1m", 0)
        minutes = sorted(minute for minute in self.candles if minute >= since)[:limit]
        return [[minute, self.candles[minute], None, None, None, None] for minute in minutes]

    async def close(self) -> None:
        self.closed = True


def book(bid: float, ask: float, size: float = 1.0) -> dict[str, Any]:
    return {"bids": [[bid, size], [bid - 1, 9.0]], "asks": [[ask, size], [ask + 1, 9.0]]}


def live_feed(
    exchange: ScriptedExchange,
    venue: str = "binance",
    assets: Sequence[str] = ("BTC",),
    clock_ns: Callable[[], int] | None = None,
) -> LiveFeed:
    """A live feed of one exchange, connecting again without a pause; the clock ticks a millisecond a look."""
    return LiveFeed(
        (venue,),
        assets,
        open_exchange=lambda _: exchange,
        lost=(Lost,),
        clock_ns=clock_ns or ticking(),
        pauses=(0,),
    )


def ticking(start_ns: int = at("2026-11-21T12:00:00"), step_ns: int = 1_000_000) -> Callable[[], int]:
    now = start_ns

    def clock_ns() -> int:
        nonlocal now
        now += step_ns
        return now

    return clock_ns
