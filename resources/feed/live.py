"""Live venues: public streams of several exchanges, read with ccxt (the ``live`` extra). No key, nothing is ordered.

A thread of its own reads the connections and stamps each message as it arrives, so that a slow reader does not make
prices look younger than they are. All times are this machine's, the only clock that the venues share; a clock that is
set back does not make time go backwards. Of each book the best bid and ask are handed over. Rates of funding are asked
for once a minute, with the interval that they are for: a rate whose interval no venue tells cannot be compared and is
not handed over.

A settlement is booked with the rate last expected (the final one is published minutes later), at the middle of the
book. A timer hands it over at its instant, a few milliseconds late, and its time is that of handing over, since times
do not go backwards. Who opens within that lag pays as if he had been there, so the lag is bounded: a settlement that is
more than a second late, because this machine slept, is counted and not handed over. Nor is one whose rate or book was
not known of late: nothing is made up.

What was settled and not handed over can be asked for: the venue's history of rates says when, and at which; its mark
price is in the answer (Binance), else it is where the minute candle of the settlement opened (``fetch_mark_ohlcv``).
"""

import asyncio
import contextlib
import queue
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any, NamedTuple, Protocol

from resources.feed import (
    NANOSECONDS,
    UNITS,
    FeedError,
    FeedEvent,
    FundingQuote,
    FundingSettled,
    Interrupted,
    Listing,
    Quote,
    Settlements,
    Source,
    Trade,
    is_sound_rate,
    to_units,
)
from resources.feed.venues import UnknownSymbol, in_singles, per_single, unmultiplied, venue_of

ASSETS = ("BTC", "ETH", "SOL", "XRP", "DOGE", "PEPE")

_MILLISECOND = 1_000_000  # nanoseconds
_MINUTE_NS = 60 * NANOSECONDS
_CONNECT_SECONDS = 60.0  # to load the markets of all venues
_HISTORY_SECONDS = 10.0  # to tell when something was settled on a listing, and as long for at which marks
_CANDLES = 8  # asked for at a time of one listing
_FUNDING_SECONDS = 60.0  # between questions for rates
_FUNDING_AGE_NS = 600 * NANOSECONDS  # a rate older than this is not what was settled
_MARK_AGE_NS = 60 * NANOSECONDS  # nor a book older than this what it was settled at
_LATE_NS = NANOSECONDS  # a settlement later than this would be paid by who was not there
_BEFORE_NS = 2 * 86_400 * NANOSECONDS  # history asked for before a span: two settlements tell what is due after them
_LOOK_SECONDS = 0.25  # between looks at the clock while nothing arrives
_WAITING = 200_000  # events a slow reader may be behind before some are dropped
_LATENCY_NS = 50 * _MILLISECOND
# What reading a history or a candle raises that is not one.
_NONSENSE: tuple[type[Exception], ...] = (AttributeError, KeyError, IndexError, TypeError, ValueError, InvalidOperation)
_UNIT_MILLISECONDS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}
_QUOTES = ("USDT", "USDC")  # linear contracts in the first that a venue has

# What ccxt calls a venue of ours.
_CCXT = {
    "binance": "binanceusdm",
    "kucoin": "kucoinfutures",
    "binance_spot": "binance",
    "bybit_spot": "bybit",
}


class Exchange(Protocol):
    """What is used of a ccxt.pro exchange."""

    async def load_markets(self) -> Mapping[str, Any]: ...
    async def watch_order_book(self, symbol: str) -> Mapping[str, Any]: ...
    async def watch_trades(self, symbol: str) -> Sequence[Mapping[str, Any]]: ...
    async def fetch_funding_rate(self, symbol: str) -> Mapping[str, Any]: ...
    async def fetch_funding_interval(self, symbol: str) -> Mapping[str, Any]: ...
    async def fetch_funding_rate_history(self, symbol: str, since: int) -> Sequence[Mapping[str, Any]]: ...
    async def fetch_mark_ohlcv(
        self, symbol: str, timeframe: str, since: int, limit: int
    ) -> Sequence[Sequence[Any]]: ...
    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Line:
    """One listing's stream. ``size`` base units are in one unit of the venue's sizes, ``multiplier`` in its prices."""

    index: int
    symbol: str  # as ccxt writes it
    exchange: Exchange
    multiplier: int
    size: Decimal
    perpetual: bool


class _Expected(NamedTuple):
    """A rate as it was said at ``time_ns``."""

    time_ns: int
    rate: Decimal
    settles_ns: int


class LiveFeed:
    """The linear perpetuals (on spot venues: the pairs) of ``assets`` on ``venues``, from now on.

    Raises UnknownVenue, UnknownSymbol (a venue that lists none of the assets, an asset that no venue lists) and
    FeedError (ccxt is not installed, a venue does not answer). ``counts`` tells what was not handed over:
    ``malformed``, ``dropped``, ``disconnected``, ``interval_unknown`` (a rate that is not comparable with others),
    ``settlement_unknown`` (no rate or book of late), ``settlement_late``, by venue.

    ``open_exchange``, ``lost`` (what its methods raise when a connection is lost), ``clock_ns`` and ``pauses`` (seconds
    before attempts to connect again) are for tests.
    """

    def __init__(
        self,
        venues: Sequence[str],
        assets: Sequence[str] = ASSETS,
        *,
        open_exchange: Callable[[str], Exchange] | None = None,
        lost: tuple[type[Exception], ...] = (),
        clock_ns: Callable[[], int] = time.time_ns,
        pauses: Sequence[float] = (1, 2, 5, 10, 30, 60),
    ) -> None:
        for venue in venues:
            venue_of(venue)
        if len(set(venues)) < len(venues):
            raise FeedError(f"live: a venue is named twice in {','.join(venues)}")
        if open_exchange is None:
            open_exchange, lost = _with_ccxt()
        self._lost: tuple[type[Exception], ...] = (OSError, TimeoutError, *lost)
        self._clock_ns, self._pauses = clock_ns, pauses
        self._last_ns = 0
        self._events: queue.Queue[FeedEvent | BaseException] = queue.Queue(_WAITING)
        self._stamping = threading.Lock()
        self._watching: Future[None] | None = None
        self._after_the_last: FeedEvent | None = None
        self._owing: set[int] = set()  # listings with dropped events, which their reader has to be told
        self._down: dict[int, set[str]] = {}  # streams of a listing that are lost
        self._rates: dict[int, _Expected] = {}
        self._rated: defaultdict[int, asyncio.Event] = defaultdict(asyncio.Event)
        self._marks: dict[int, tuple[int, int]] = {}  # middle of the book, and when
        self.counts: Counter[tuple[str, str]] = Counter()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="live feed", daemon=True)
        self._thread.start()
        self._exchanges: dict[str, Exchange] = {}
        try:
            self._listings, self._lines = self._connect(venues, assets, open_exchange)
        except BaseException:
            self.close()
            raise

    @property
    def source(self) -> Source:
        return "LIVE"

    @property
    def listings(self) -> tuple[Listing, ...]:
        return self._listings

    @property
    def repeatable(self) -> bool:
        return False

    def days(self) -> tuple[str, ...]:
        return ()

    def events(self, start_ns: int, end_ns: int) -> Iterator[FeedEvent]:
        """Events as they arrive until the clock reaches ``end_ns``; what arrived before ``start_ns`` is left out.

        Watching begins with the first span and goes on between spans, until ``close``.
        """
        self._check_open()
        if self._watching is None:
            self._watching = asyncio.run_coroutine_threadsafe(self._watch_all(), self._loop)
            self._watching.add_done_callback(self._report)
        while (event := self._after_the_last or self._arrived(end_ns)) is not None:
            if event.time_ns >= end_ns:
                self._after_the_last = event  # the next span begins with it
                return
            self._after_the_last = None
            if event.time_ns >= start_ns:
                yield event

    def ask_settled(self, listing: int, since_ns: int, until_ns: int) -> Future[Settlements]:
        """Begins to ask what the venue published of its settlements on a listing with ``since_ns`` <= time <
        ``until_ns``. The answer is FeedError when it has no history, does not answer, or answers nonsense; a mark price
        that it does not tell in time makes a settlement one that is not known.
        """
        self._check_open()
        return asyncio.run_coroutine_threadsafe(self._settled(self._lines[listing], since_ns, until_ns), self._loop)

    def _arrived(self, end_ns: int) -> FeedEvent | None:
        """The next event, or None when the clock has reached ``end_ns`` and nothing from before it is left."""
        while True:
            self._check_open()
            with self._stamping:  # an event that has its time but not its place in the queue would be missed
                over = self._clock_ns() >= end_ns
                if over and self._events.empty():
                    return None
            try:
                event = self._events.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                continue
            if isinstance(event, BaseException):
                raise FeedError(f"live: reading the venues failed: {event!r}") from event
            return event

    def _check_open(self) -> None:
        if self._loop.is_closed():
            raise FeedError("live: the feed is closed")

    def close(self) -> None:
        """Closes the connections. Nothing can be read afterwards; closing again does nothing."""
        if self._loop.is_closed():
            return

        async def close_all() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await asyncio.gather(*(exchange.close() for exchange in self._exchanges.values()))

        with contextlib.suppress(*self._lost):  # what cannot be closed any more is closed
            asyncio.run_coroutine_threadsafe(close_all(), self._loop).result(_CONNECT_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CONNECT_SECONDS)
        if not self._thread.is_alive():
            self._loop.close()

    def _report(self, watching: "Future[None]") -> None:
        """What ends the watching, other than being told to, is the reader's to know."""
        if not watching.cancelled() and (error := watching.exception()) is not None:
            self._events.put(error)

    # Opening

    def _connect(
        self, venues: Sequence[str], assets: Sequence[str], open_exchange: Callable[[str], Exchange]
    ) -> tuple[tuple[Listing, ...], list[_Line]]:
        async def load() -> list[Mapping[str, Any]]:
            # Opened within the loop, since that is where their connections belong.
            self._exchanges = {venue: open_exchange(venue) for venue in venues}
            return await asyncio.gather(*(exchange.load_markets() for exchange in self._exchanges.values()))

        try:
            loaded = asyncio.run_coroutine_threadsafe(load(), self._loop).result(_CONNECT_SECONDS)
        except self._lost as error:
            raise FeedError(f"live: a venue of {', '.join(venues)} did not answer: {error!r}") from error
        listings: list[Listing] = []
        lines: list[_Line] = []
        for venue, markets in zip(venues, loaded, strict=True):
            chosen = _chosen(venue, markets, assets)
            if not chosen:
                raise UnknownSymbol(f"live: {venue} lists none of {', '.join(assets)}")
            for asset, market in chosen.items():
                listing, multiplier, size = _listing(venue, asset, market)
                spot = venue_of(venue).spot
                lines.append(_Line(len(listings), market["symbol"], self._exchanges[venue], multiplier, size, not spot))
                listings.append(listing)
        missing = [asset for asset in assets if all(listing.asset != asset for listing in listings)]
        if missing:
            raise UnknownSymbol(f"live: none of {', '.join(venues)} lists {', '.join(missing)}")
        return tuple(listings), lines

    # Reading: all of this runs in the loop's thread

    async def _watch_all(self) -> None:
        watching = [self._watch(line, "book", partial(self._book, line)) for line in self._lines]
        watching += [self._watch(line, "trades", partial(self._trades, line)) for line in self._lines]
        for line in self._lines:
            if line.perpetual:
                watching.append(self._watch(line, "funding", partial(self._funding, line)))
                watching.append(self._settle(line))
        async with asyncio.TaskGroup() as group:
            for each in watching:
                group.create_task(each)

    async def _watch(self, line: _Line, stream: str, read: Callable[[], Awaitable[None]]) -> None:
        """Reads a stream for ever; a lost connection is told once and tried again after growing pauses."""
        failures = 0
        while True:
            try:
                await read()
            except self._lost:
                # Rates are asked for, not streamed: a question without an answer does not make prices stale.
                self._count("disconnected", line)
                if stream != "funding":
                    if not self._down.get(line.index):
                        self._hand_over(Interrupted, line.index)
                    self._down.setdefault(line.index, set()).add(stream)
                await asyncio.sleep(self._pauses[min(failures, len(self._pauses) - 1)])
                failures += 1
            else:
                failures = 0
                self._down.get(line.index, set()).discard(stream)

    async def _book(self, line: _Line) -> None:
        book = await line.exchange.watch_order_book(line.symbol)
        try:
            (bid, bid_size, *_), (ask, ask_size, *_) = book["bids"][0], book["asks"][0]
            prices, sizes = self._prices(line, bid, ask), self._sizes(line, bid_size, ask_size)
        except (KeyError, IndexError, TypeError, ValueError, InvalidOperation):
            self._count("malformed", line)
            return
        shown = self._hand_over(Quote, line.index, prices[0], sizes[0], prices[1], sizes[1])
        self._marks[line.index] = sum(prices) // 2, shown.time_ns

    async def _trades(self, line: _Line) -> None:
        for trade in await line.exchange.watch_trades(line.symbol):
            try:
                (price,), (size,) = self._prices(line, trade["price"]), self._sizes(line, trade["amount"])
                buys = {"buy": True, "sell": False}[trade["side"]]
            except (KeyError, TypeError, ValueError, InvalidOperation):
                self._count("malformed", line)
                continue
            self._hand_over(Trade, line.index, price, size, buys)

    async def _funding(self, line: _Line) -> None:
        answer = await line.exchange.fetch_funding_rate(line.symbol)
        try:
            interval_ns = await self._interval(line, answer)
            rate = Decimal(str(answer["fundingRate"]))
            settles_ns = int(answer["fundingTimestamp"]) * _MILLISECOND
            if not is_sound_rate(rate) or settles_ns <= self._now_ns():
                raise ValueError(f"rate {rate} to be settled at {settles_ns}")
        except (AttributeError, KeyError, TypeError, ValueError, InvalidOperation):
            self._count("malformed", line)
        else:
            self._settle_what_is_due(line)
            self._rates[line.index] = _Expected(self._now_ns(), rate, settles_ns)
            self._rated[line.index].set()
            if interval_ns is None:
                self._count("interval_unknown", line)
            else:
                self._hand_over(FundingQuote, line.index, rate, settles_ns, interval_ns)
        await asyncio.sleep(_FUNDING_SECONDS)

    async def _interval(self, line: _Line, answer: Mapping[str, Any]) -> int | None:
        """Between two settlements: as the answer says, or its two instants, or as the venue says when asked."""
        try:
            if answer.get("interval"):
                return _nanoseconds(answer["interval"])
            if answer.get("nextFundingTimestamp"):
                return _apart(int(answer["fundingTimestamp"]), int(answer["nextFundingTimestamp"]))
            return _nanoseconds((await line.exchange.fetch_funding_interval(line.symbol))["interval"])
        except self._lost:  # ccxt's word for a venue that cannot be asked, too
            return None
        except (KeyError, TypeError, ValueError):
            return None

    async def _settle(self, line: _Line) -> None:
        """Hands over each settlement when it comes; looks at the clock in between notice one that is set."""
        rated = self._rated[line.index]
        while True:
            self._settle_what_is_due(line)
            pause, expected = _LOOK_SECONDS, self._rates.get(line.index)
            if expected is not None:
                pause = min(pause, max(0, expected.settles_ns - self._now_ns()) / NANOSECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await rated.wait()
            rated.clear()

    def _settle_what_is_due(self, line: _Line) -> None:
        expected = self._rates.get(line.index)
        if expected is None or (now_ns := self._now_ns()) < expected.settles_ns:
            return
        del self._rates[line.index]
        settles_ns = expected.settles_ns
        mark, shown_ns = self._marks.get(line.index, (0, settles_ns))
        if now_ns - settles_ns > _LATE_NS:
            self._count("settlement_late", line)
        elif not mark or settles_ns - shown_ns > _MARK_AGE_NS or settles_ns - expected.time_ns > _FUNDING_AGE_NS:
            self._count("settlement_unknown", line)
        else:
            self._hand_over(FundingSettled, line.index, expected.rate, mark)

    async def _settled(self, line: _Line, since_ns: int, until_ns: int) -> Settlements:
        if not line.perpetual:
            return Settlements((), ())
        try:
            published = await self._published(line, since_ns - _BEFORE_NS, until_ns)
        except self._lost + _NONSENSE as error:
            raise FeedError(f"live: the funding history of {line.symbol} is not told: {error!r}") from error
        several = asyncio.Semaphore(_CANDLES)
        asked = {
            time_ns: asyncio.ensure_future(self._settlement(line, answer, time_ns, several))
            for time_ns, answer in published.items()
            if time_ns >= since_ns
        }
        if asked:
            _, late = await asyncio.wait(asked.values(), timeout=_HISTORY_SECONDS)
            for each in late:
                each.cancel()
        told = {time_ns: each.result() if each.done() else None for time_ns, each in asked.items()}
        unknown = [time_ns for time_ns, event in told.items() if event is None]
        if len(published) > 1:
            first_ns, *_, before_ns, last_ns = (next(iter(published)), *published)
            apart_ns = last_ns - before_ns
            unknown += range(first_ns - apart_ns, since_ns - 1, -apart_ns)  # of a venue that tells the newest only
            unknown += range(last_ns + apart_ns, until_ns, apart_ns)
        return Settlements(tuple(event for event in told.values() if event is not None), tuple(sorted(unknown)))

    async def _published(self, line: _Line, since_ns: int, until_ns: int) -> dict[int, Mapping[str, Any]]:
        """The venue's answers by instant, in order and a minute or more apart; page after page, since a venue tells so
        many at a time. Of pages that do not come in time what came before them is told: two answers say what is due."""
        published: dict[int, Mapping[str, Any]] = {}
        newest_ns = since_ns - _MINUTE_NS
        try:
            async with asyncio.timeout(_HISTORY_SECONDS):
                while since_ns < until_ns:
                    page = await line.exchange.fetch_funding_rate_history(line.symbol, since_ns // _MILLISECOND)
                    told = {int(answer["timestamp"]) * _MILLISECOND: answer for answer in page}
                    further = [time_ns for time_ns in sorted(told) if since_ns <= time_ns]
                    if not further:
                        break
                    for time_ns in further:
                        if time_ns < until_ns and time_ns >= newest_ns + _MINUTE_NS:
                            published[time_ns] = told[time_ns]
                            newest_ns = time_ns
                    since_ns = further[-1] + _MILLISECOND
        except self._lost:
            if len(published) < 2:
                raise
        if not published:
            raise ValueError("it is empty")
        return published

    async def _settlement(
        self, line: _Line, answer: Mapping[str, Any], time_ns: int, several: asyncio.Semaphore
    ) -> FundingSettled | None:
        """A settlement with its rate and mark; None where the venue does not tell either."""
        try:
            rate = Decimal(str(answer["fundingRate"]))
        except (KeyError, InvalidOperation):
            return None
        if not is_sound_rate(rate):
            return None
        async with several:
            mark = await self._mark(line, answer, time_ns)
        return None if mark is None else FundingSettled(time_ns, line.index, rate, mark)

    async def _mark(self, line: _Line, answer: Mapping[str, Any], time_ns: int) -> int | None:
        """The mark price a settlement was at, in units (to the nearest); None where the venue does not tell."""
        try:
            told = (answer.get("info") or {}).get("markPrice")
            if not told:
                minute = time_ns // _MINUTE_NS * _MINUTE_NS // _MILLISECOND  # a venue may be milliseconds late
                candles = await line.exchange.fetch_mark_ohlcv(line.symbol, "1m", minute, 1)
                told = next((candle[1] for candle in candles if candle[0] == minute), None)
            mark = per_single(Decimal(str(told)), line.multiplier)
            units = to_units(mark.quantize(Decimal(1) / UNITS))
        except self._lost + _NONSENSE:
            return None
        return units if units > 0 else None

    def _now_ns(self) -> int:
        self._last_ns = max(self._last_ns, self._clock_ns())
        return self._last_ns

    def _hand_over(self, kind: Callable[..., FeedEvent], listing: int, *rest: object) -> FeedEvent:
        """An event of now to the reader; one that is too far behind loses events, and is told so before the next."""
        with self._stamping:
            event = kind(self._now_ns(), listing, *rest)
            try:
                if listing in self._owing:
                    self._events.put_nowait(Interrupted(event.time_ns, listing))
                    self._owing.discard(listing)
                self._events.put_nowait(event)
            except queue.Full:
                self._owing.add(listing)
                self.counts["dropped", self._listings[listing].venue] += 1
        return event

    def _count(self, what: str, line: _Line) -> None:
        self.counts[what, self._listings[line.index].venue] += 1

    def _prices(self, line: _Line, *numbers: object) -> list[int]:
        return [_positive(per_single(Decimal(str(number)), line.multiplier)) for number in numbers]

    def _sizes(self, line: _Line, *numbers: object) -> list[int]:
        return [_positive(Decimal(str(number)) * line.size) for number in numbers]


def _positive(number: Decimal) -> int:
    units = to_units(number)
    if units <= 0:
        raise ValueError(f"{number} is not positive")
    return units


def _nanoseconds(interval: str) -> int:
    """Of an interval as ccxt writes it (8h). Raises ValueError or KeyError for another writing."""
    return _apart(0, int(interval[:-1]) * _UNIT_MILLISECONDS[interval[-1]])


def _apart(earlier: int, later: int) -> int:
    """Nanoseconds between two settlements in milliseconds. Raises ValueError when it is less than a minute."""
    if (later - earlier) * _MILLISECOND < _MINUTE_NS:
        raise ValueError(f"a settlement at {later} after one at {earlier}")
    return (later - earlier) * _MILLISECOND


def _chosen(venue: str, markets: Mapping[str, Any], assets: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """The market of each asset: linear and active, in the first of the quotes that there is."""
    spot = venue_of(venue).spot
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for market in markets.values():
        of_kind = market.get("spot") if spot else market.get("swap") and market.get("linear")
        if of_kind and market.get("active") is not False:
            # Hyperliquid's own name keeps the small k of kPEPE, which ccxt turns into a capital.
            asset, _ = unmultiplied(market.get("baseName") or market["base"])
            found.setdefault((asset, market["quote"]), market)
    return {
        asset: found[asset, quote]
        for asset in assets
        if (quote := next((quote for quote in _QUOTES if (asset, quote) in found), None)) is not None
    }


def _listing(venue: str, asset: str, market: Mapping[str, Any]) -> tuple[Listing, int, Decimal]:
    """(listing, multiplier, base units in one unit of the venue's sizes). Raises FeedError for unusable filters."""
    fees = venue_of(venue)
    _, multiplier = unmultiplied(market.get("baseName") or market["base"])
    try:
        contract = Decimal(str(market.get("contractSize") or 1))
        size = in_singles(contract, multiplier)
        tick = per_single(Decimal(str(market["precision"]["price"])), multiplier)
        step = Decimal(str(market["precision"]["amount"])) * size
        smallest = market["limits"]["amount"]["min"]
        min_size = step if smallest is None else Decimal(str(smallest)) * size
        least = market["limits"]["cost"]["min"]
        for number in (tick, step):
            _positive(number)
    except (KeyError, TypeError, ValueError, InvalidOperation) as error:
        raise FeedError(f"live: the filters of {market.get('symbol')} on {venue} cannot be used: {error!r}") from error
    listing = Listing(
        venue,
        str(market["id"]),
        asset,
        market["quote"],
        tick=tick,
        step=step,
        min_size=min_size,
        min_notional=Decimal(0) if least is None else Decimal(str(least)),
        maker_fee=fees.maker_fee,
        taker_fee=fees.taker_fee,
        latency_ns=_LATENCY_NS,
        settles_inverse=False,
        can_short=not fees.spot,
        facts=(
            f"filters from the venue{'' if least is not None else ', which states no minimum notional'}; "
            f"{fees.fee_source}; latency assumed"
        ),
    )
    return listing, multiplier, size


def _with_ccxt() -> tuple[Callable[[str], Exchange], tuple[type[Exception], ...]]:
    """Opens a venue by ccxt, and what ccxt raises when a venue does not answer or answers nonsense."""
    try:
        import ccxt.pro
    except ImportError as missing:
        raise FeedError("live venues need ccxt: pip install 'signal-desk[live]'") from missing

    def open_exchange(venue: str) -> Exchange:
        kind = "spot" if venue_of(venue).spot else "swap"
        exchange: Exchange = getattr(ccxt.pro, _CCXT.get(venue, venue))({"options": {"defaultType": kind}})
        return exchange

    return open_exchange, (ccxt.BaseError,)
