"""Recorded venues: what was written down while it happened, merged on the recorder's own clock.

Layout of the folder, either part of which may be missing:

``ticks_book/{quotes,trades}/<market>_<symbol>_<YYYYMMDD>.parquet`` and ``ticks_book/raw/<same name>.gz``, where market
is usdm, spot or coinm. All events carry the recorder's receive time: the exchanges' stamps are of other clocks (in the
recording of 2024-08-08 the recorder's is 1.27 s behind), and two venues could not be put into one order by them.

``two_venue/quotes_1m_<YYYY-MM-DD>.parquet`` and ``two_venue/funding_lean.csv``: closing quotes of minutes in which a
quote changed. A row is stamped with the beginning of its minute and handed over at its end, when it was known. Between
rows there is nothing: the reader's limit of staleness decides how long a quote is good. The bars of trades beside
them are not handed over, since a bar does not say what traded at which price.

No recording here has the funding that was expected, so there are no FundingQuotes; settlements are handed over from
the listing's first quote on, at the middle of its newest quote (no mark was recorded, and before a quote nothing can
be held).

Contracts settled in the asset count their size in dollars: it is handed over as dollars / price, floored to the
units. That is for display; such listings carry ``settles_inverse`` and a linear hedge cannot use them.
"""

import csv
import gzip
import heapq
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from functools import partial
from itertools import repeat
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from resources.feed import (
    NANOSECONDS,
    UNITS,
    Depth,
    FeedError,
    FeedEvent,
    FundingSettled,
    Interrupted,
    Listing,
    Quote,
    Source,
    Trade,
    is_sound_rate,
    to_units,
)
from resources.feed.venues import canonical, venue_of

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]

_MINUTE_NS = 60 * NANOSECONDS
_DAY_NS = 86_400 * NANOSECONDS
_UNIT_DIGITS = len(str(UNITS)) - 1
_BATCH = 65_536  # rows read at a time
_LATENCY_NS = 20_000_000

_MARKETS = {"usdm": "binance", "spot": "binance_spot", "coinm": "binance"}
_TICKS_FILE = re.compile(r"(?P<market>[a-z]+)_(?P<symbol>[a-z0-9_]+)_(?P<day>\d{8})\.parquet")
_MINUTES_FILE = re.compile(r"quotes_1m_(?P<day>\d{4}-\d{2}-\d{2})\.parquet")

_QUOTE_COLUMNS = {"local_ts_ns": pa.int64()} | dict.fromkeys(("bid", "bid_qty", "ask", "ask_qty"), pa.float64())
_TRADE_COLUMNS = {
    "local_ts_ns": pa.int64(),
    "price": pa.float64(),
    "qty": pa.float64(),
    "buyer_is_maker": pa.bool_(),
    "exec_type": pa.large_string(),
}
_MINUTE_COLUMNS = {
    "timestamp_utc": pa.timestamp("ms", tz="UTC"),
    "venue": pa.large_string(),
    "instrument": pa.large_string(),
} | dict.fromkeys(("bid", "bid_qty", "ask", "ask_qty"), pa.float64())
_FUNDING_COLUMNS = ("timestamp_utc", "venue", "instrument", "funding_rate")

# What the order book itself did; insurance fund and deleveraging trades have no place in a queue.
_BOOK_TRADES = frozenset({"MARKET", ""})


class _Facts(NamedTuple):
    """Grids in the venue's own units. ``contract`` dollars are in one unit of size (None: sizes are of the asset)."""

    tick: str
    step: str
    min_size: str
    min_notional: str
    contract: int | None
    source: str


_MEASURED = "tick and step measured on the recording"
_FACTS: Mapping[tuple[str, str], _Facts] = {
    ("binance", "BTCUSDT"): _Facts("0.1", "0.001", "0.001", "100", None, f"{_MEASURED}; minima: exchangeInfo 2025"),
    ("binance_spot", "BTCUSDT"): _Facts("0.01", "0.00001", "0.00001", "5", None, "LEAN symbol properties 2026"),
    ("binance", "BTCUSD_PERP"): _Facts("0.1", "1", "1", "100", 100, f"{_MEASURED}; contracts of 100 USD"),
    ("binance", "ADAUSDT"): _Facts("0.0001", "1", "1", "5", None, "exchangeInfo 2021-07-21"),
    ("bybit", "BTCUSD"): _Facts("0.5", "1", "1", "1", 1, f"{_MEASURED}; contracts of 1 USD"),
    ("bybit", "BTCUSDT"): _Facts("0.5", "0.001", "0.001", "5", None, f"{_MEASURED}; minimum notional assumed"),
    ("bybit_spot", "BTCUSDT"): _Facts("0.01", "0.000001", "0.000011", "5", None, f"{_MEASURED}; minima: LEAN 2026"),
}


@dataclass(frozen=True, slots=True)
class _Grid:
    """How a listing's recorded numbers become units."""

    index: int
    tick: int
    step: int  # of recorded sizes, in units of what they count
    contract: int | None


class _Recording(NamedTuple):
    """One instrument of one day of ``ticks_book``; ``raw`` is None where no depth was recorded."""

    day: date
    grid: _Grid
    quotes: Path
    trades: Path | None
    raw: Path | None


class RecordedFeed:
    """The recordings of ``folder``. Raises FeedError when there are none, or one is of an instrument without facts.

    Depth begins with a snapshot some messages after the first quote. A caller that begins later gets changes only, as
    a listener who joins late would.
    """

    def __init__(self, folder: Path) -> None:
        self._reader: _Reader | None = None
        self._listings: list[Listing] = []
        self._grids: dict[tuple[str, str], _Grid] = {}
        self._recordings = [self._recording(file) for file in sorted(folder.glob("ticks_book/quotes/*.parquet"))]
        self._minutes = [
            (_day(file, _MINUTES_FILE, "%Y-%m-%d"), file)
            for file in sorted(folder.glob("two_venue/quotes_1m_*.parquet"))
        ]
        if not self._recordings and not self._minutes:
            raise FeedError(f"recorded: neither ticks_book/quotes nor two_venue/quotes_1m_* in {folder}")
        for _, file in self._minutes:
            self._open_minutes(file)
        self._settlements = self._read_settlements(folder / "two_venue" / "funding_lean.csv") if self._minutes else []

    @property
    def source(self) -> Source:
        return "RECORDED"

    @property
    def listings(self) -> tuple[Listing, ...]:
        return tuple(self._listings)

    @property
    def repeatable(self) -> bool:
        return True

    def days(self) -> tuple[str, ...]:
        days = {recording.day for recording in self._recordings} | {day for day, _ in self._minutes}
        return tuple(sorted(day.isoformat() for day in days))

    def events(self, start_ns: int, end_ns: int) -> Iterator[FeedEvent]:
        """The recorded events of a span. Raises FeedError, while it goes, where a file does not say what it should:
        a time that goes backwards, a missing, zero or off-grid number, a crossed quote."""
        if end_ns < start_ns:
            raise FeedError(f"recorded: a span from {start_ns} to {end_ns} ends before it begins")
        reader, self._reader = self._reader, None
        if reader is None or reader.at_ns != start_ns:
            reader = _Reader(self._openings(start_ns))
        for event in reader.until(end_ns):
            if event.time_ns >= start_ns:
                yield event
        self._reader = reader  # whoever asks for a day second by second reads its files once

    def close(self) -> None:
        """Gives up the files of the span that was read last."""
        self._reader = None

    def _openings(self, start_ns: int) -> Iterator["_Opening"]:
        """What opens each day's files, from the day of ``start_ns`` on."""
        for text in self.days():
            day = date.fromisoformat(text)
            begin_ns = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * NANOSECONDS
            if start_ns <= begin_ns + _DAY_NS:  # a day's last minute is known at its very end
                yield _Opening(begin_ns, partial(self._day_events, day))

    def _day_events(self, day: date) -> Iterator[FeedEvent]:
        streams: list[Iterator[FeedEvent]] = []
        for recording in self._recordings:
            if recording.day == day:
                streams.append(_quotes(recording))
                if recording.trades is not None:
                    streams.append(_trades(recording.trades, recording.grid))
                if recording.raw is not None:
                    streams.append(_depth(recording.raw, recording.grid))
        streams += [self._minute_events(file, day) for recorded, file in self._minutes if recorded == day]
        return heapq.merge(*streams, key=itemgetter(0))

    def _grid(self, venue: str, symbol: str) -> _Grid:
        """The listing's grid; listings are numbered as they are met, which is the order of the files' names."""
        known = self._grids.get((venue, symbol))
        if known is not None:
            return known
        facts = _FACTS.get((venue, symbol))
        if facts is None:
            raise FeedError(f"recorded: nothing is known of the tick, step and minima of {symbol} on {venue}")
        meaning, fees = canonical(venue, symbol), venue_of(venue)
        inverse = facts.contract is not None
        # A contract of dollars is no fixed quantity of the asset: its step in base units is the unit itself.
        step, min_size = (
            (Decimal(1).scaleb(-_UNIT_DIGITS),) * 2 if inverse else map(Decimal, (facts.step, facts.min_size))
        )
        grid = _Grid(len(self._listings), to_units(Decimal(facts.tick)), to_units(Decimal(facts.step)), facts.contract)
        self._grids[venue, symbol] = grid
        self._listings.append(
            Listing(
                venue,
                symbol,
                meaning.asset,
                meaning.quote,
                tick=Decimal(facts.tick),
                step=step,
                min_size=min_size,
                min_notional=Decimal(facts.min_notional),
                maker_fee=fees.maker_fee,
                taker_fee=fees.taker_fee,
                latency_ns=_LATENCY_NS,
                settles_inverse=inverse,
                can_short=not fees.spot,
                facts=f"recorded prices; {facts.source}; {fees.fee_source}; latency assumed",
            )
        )
        return grid

    def _recording(self, quotes: Path) -> _Recording:
        named = _TICKS_FILE.fullmatch(quotes.name)
        if named is None or named["market"] not in _MARKETS:
            raise FeedError(f"recorded: {quotes} is not named <usdm|spot|coinm>_<symbol>_<YYYYMMDD>.parquet")
        grid = self._grid(_MARKETS[named["market"]], named["symbol"].upper())
        _check_columns(quotes, _QUOTE_COLUMNS)
        trades = quotes.parent.parent / "trades" / quotes.name
        raw = quotes.parent.parent / "raw" / f"{quotes.stem}.gz"
        if trades.exists():
            _check_columns(trades, _TRADE_COLUMNS)
        return _Recording(
            _day(quotes, _TICKS_FILE, "%Y%m%d"),
            grid,
            quotes,
            trades if trades.exists() else None,
            raw if raw.exists() else None,
        )

    def _open_minutes(self, file: Path) -> None:
        """Numbers the listings of a file of minutes, which holds several."""
        _check_columns(file, _MINUTE_COLUMNS)
        pairs: set[tuple[str, str]] = set()
        for rows in _batches(file, ["venue", "instrument"]):
            pairs |= set(zip(rows["venue"].to_pylist(), rows["instrument"].to_pylist(), strict=True))
        for venue, symbol in sorted(pairs, key=str):
            self._grid(venue, symbol)

    def _minute_events(self, file: Path, day: date) -> Iterator[FeedEvent]:
        """Closing quotes and settlements of one day, in order; a settlement before the minute that closes with it."""
        quotes: list[Quote] = []
        for rows in _batches(file, list(_MINUTE_COLUMNS)):
            stamps = _column(rows, "timestamp_utc", file).astype("datetime64[ns]").astype(np.int64) + _MINUTE_NS
            names = list(zip(rows["venue"].to_pylist(), rows["instrument"].to_pylist(), strict=True))
            for pair in sorted(set(names)):
                chosen = np.array([name == pair for name in names])
                columns = [_column(rows, name, file)[chosen] for name in ("bid", "bid_qty", "ask", "ask_qty")]
                _forward(stamps[chosen], file)
                quotes += _as_quotes(stamps[chosen], columns, self._grids[pair], file)
        newest: dict[int, Quote] = {}
        settled = [row for row in self._settlements if row[0].date() == day]
        at_ns = [(int(row[0].timestamp()) * NANOSECONDS, *row[1:]) for row in settled]
        quotes.sort(key=itemgetter(0))  # stable: equal minutes keep the order of the instruments
        following = iter(quotes)
        quote = next(following, None)
        for stamp, listing, rate in at_ns:
            while quote is not None and quote.time_ns < stamp:
                newest[quote.listing] = quote
                yield quote
                quote = next(following, None)
            if (shown := newest.get(listing)) is not None:
                yield FundingSettled(stamp, listing, rate, (shown.bid + shown.ask) // 2)
        while quote is not None:
            yield quote
            quote = next(following, None)

    def _read_settlements(self, file: Path) -> list[tuple[datetime, int, Decimal]]:
        """(instant, listing, rate) of the instruments whose quotes are recorded, in order of time."""
        if not file.exists():
            return []
        try:
            with file.open(encoding="utf-8", newline="") as lines:
                reader = csv.DictReader(lines)
                if tuple(reader.fieldnames or ()) != _FUNDING_COLUMNS:
                    raise FeedError(f"recorded: {file} has not the columns {', '.join(_FUNDING_COLUMNS)}")
                rows = []
                for row in reader:
                    grid = self._grids.get((row["venue"], row["instrument"]))
                    instant, rate = datetime.fromisoformat(row["timestamp_utc"]), Decimal(row["funding_rate"])
                    if instant.tzinfo is None or not is_sound_rate(rate):
                        raise FeedError(f"recorded: {file}: {row} has no time zone or no rate of at most 1")
                    if grid is not None:
                        rows.append((instant.astimezone(UTC), grid.index, rate))
        except (OSError, ValueError, TypeError, InvalidOperation) as error:
            raise FeedError(f"recorded: {file} is not a table of settlements: {error!r}") from error
        return sorted(rows, key=itemgetter(0))


class _Opening(NamedTuple):
    begin_ns: int
    events: Callable[[], Iterator[FeedEvent]]


class _Reader:
    """Reads days one after the other and stops anywhere. ``at_ns`` is where the next span would begin."""

    def __init__(self, openings: Iterator[_Opening]) -> None:
        self.at_ns: int | None = None
        self._openings = openings
        self._opening = next(openings, None)
        self._events: Iterator[FeedEvent] = iter(())
        self._held: FeedEvent | None = None

    def until(self, end_ns: int) -> Iterator[FeedEvent]:
        """Events before ``end_ns``; no day is opened that begins later."""
        self.at_ns = None
        last_ns = 0
        while True:
            event = self._held or next(self._events, None)
            self._held = None
            if event is None:
                if self._opening is None or self._opening.begin_ns >= end_ns:
                    break
                self._events, self._opening = self._opening.events(), next(self._openings, None)
                continue
            if event.time_ns < last_ns:
                raise FeedError(f"recorded: the days overlap at {event.time_ns}: a file is named after another day")
            last_ns = event.time_ns
            if last_ns >= end_ns:
                self._held = event
                break
            yield event
        self.at_ns = end_ns


def _day(file: Path, pattern: re.Pattern[str], form: str) -> date:
    named = pattern.fullmatch(file.name)
    try:
        if named is not None:
            return datetime.strptime(named["day"], form).replace(tzinfo=UTC).date()
    except ValueError as error:
        raise FeedError(f"recorded: {file} is named after no day: {error}") from error
    raise FeedError(f"recorded: {file} is named after no day")


# Parquet


def _check_columns(file: Path, columns: Mapping[str, pa.DataType]) -> None:
    try:
        schema = pq.read_schema(file)
    except (OSError, pa.ArrowException) as error:
        raise FeedError(f"recorded: {file} is not a parquet file: {error}") from error
    for name, kind in columns.items():
        found = schema.field(name).type if name in schema.names else "missing"
        if found != kind:
            raise FeedError(f"recorded: column {name} of {file} is {found}, not {kind}")


def _batches(file: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    try:
        with pq.ParquetFile(file) as table:
            yield from table.iter_batches(_BATCH, columns=columns)
    except (OSError, pa.ArrowException) as error:
        raise FeedError(f"recorded: {file} cannot be read: {error}") from error


def _column(rows: pa.RecordBatch, name: str, file: Path) -> NDArray[Any]:
    column = rows[name]
    if column.null_count:
        raise FeedError(f"recorded: {name} of {file} is missing in {column.null_count} rows")
    values: NDArray[Any] = column.to_numpy(zero_copy_only=False)
    return values


def _forward(times: _Ints, file: Path, last: int = 0) -> int:
    """The last of ``times``, which must not go backwards, not even from the batch before."""
    steps = np.diff(times, prepend=last)
    if len(steps) and steps.min() < 0:
        at = int(times[int(steps.argmin())])
        raise FeedError(f"recorded: the times of {file} go backwards at {at}")
    return int(times[-1]) if len(times) else last


def _on_grid(values: _Floats, grid: int, what: str, file: Path) -> _Ints:
    """How many ``grid`` units are in each of ``values``, which floats hold to 15 digits: exact or an error."""
    if not np.isfinite(values).all() or not (values > 0).all():
        raise FeedError(f"recorded: a {what} of {file} is missing, zero or negative")
    counts = values * (UNITS / grid)
    whole = np.rint(counts)
    if (np.abs(counts - whole) > 1e-5).any():
        off = float(values[int(np.abs(counts - whole).argmax())])
        raise FeedError(f"recorded: {what} {off!r} of {file} is not a multiple of {Decimal(grid) / UNITS}")
    return whole.astype(np.int64)


def _sizes(values: _Floats, prices: _Ints, grid: _Grid, file: Path) -> list[int]:
    """Recorded sizes in units of the asset; dollars of an inverse contract at ``prices`` (in units), floored."""
    counts = _on_grid(values, grid.step, "size", file)
    if grid.contract is None:
        return [count * grid.step for count in counts.tolist()]
    return [
        _dollars(count * grid.contract, price) for count, price in zip(counts.tolist(), prices.tolist(), strict=True)
    ]


def _dollars(dollars: int, price: int) -> int:
    return dollars * UNITS * UNITS // price


def _as_quotes(times: _Ints, columns: list[_Floats], grid: _Grid, file: Path) -> Iterable[Quote]:
    bid_price, bid_size, ask_price, ask_size = columns
    bid = _on_grid(bid_price, grid.tick, "bid", file) * grid.tick
    ask = _on_grid(ask_price, grid.tick, "ask", file) * grid.tick
    if (bid >= ask).any():
        raise FeedError(f"recorded: a quote of {file} is crossed at {int(times[int((bid >= ask).argmax())])}")
    return map(
        Quote,
        times.tolist(),
        repeat(grid.index),
        bid.tolist(),
        _sizes(bid_size, bid, grid, file),
        ask.tolist(),
        _sizes(ask_size, ask, grid, file),
    )


def _quotes(recording: _Recording) -> Iterator[Quote]:
    last = 0
    for rows in _batches(recording.quotes, list(_QUOTE_COLUMNS)):
        times = _column(rows, "local_ts_ns", recording.quotes)
        last = _forward(times, recording.quotes, last)
        columns = [_column(rows, name, recording.quotes) for name in ("bid", "bid_qty", "ask", "ask_qty")]
        yield from _as_quotes(times, columns, recording.grid, recording.quotes)


def _trades(file: Path, grid: _Grid) -> Iterator[Trade]:
    last = 0
    for rows in _batches(file, list(_TRADE_COLUMNS)):
        times = _column(rows, "local_ts_ns", file)
        last = _forward(times, file, last)
        of_book = np.array([kind in _BOOK_TRADES for kind in rows["exec_type"].to_pylist()], dtype=np.bool_)
        times = times[of_book]
        price = _on_grid(_column(rows, "price", file)[of_book], grid.tick, "price", file) * grid.tick
        size = _sizes(_column(rows, "qty", file)[of_book], price, grid, file)
        buys = ~_column(rows, "buyer_is_maker", file)[of_book].astype(np.bool_)
        yield from map(Trade, times.tolist(), repeat(grid.index), price.tolist(), size, buys.tolist())


# Depth: the messages as they were sent


def _depth(file: Path, grid: _Grid) -> Iterator[Depth | Interrupted]:
    """The snapshot and every change after it (Binance's rule: a change continues the one before or the snapshot).

    Changes that came before the snapshot but go beyond it are handed over with it. A hole in the chain interrupts the
    listing until the next snapshot.
    """
    last_ns, newest = 0, None
    early: list[dict[str, Any]] = []  # changes that wait for a snapshot
    for number, (time_ns, message) in enumerate(_messages(file), 1):
        if time_ns < last_ns:
            raise FeedError(f"recorded: the times of {file} go backwards at {time_ns}")
        last_ns = time_ns
        try:
            if "stream" in message:
                changes = [message["data"]]
            else:
                newest, changes, early = int(message["lastUpdateId"]), early, []
                yield _levels(time_ns, grid, message["bids"], message["asks"], snapshot=True)
            for change in changes:
                if newest is None:
                    early.append(change)
                elif change["u"] <= newest:
                    continue
                elif _continues(change, newest):
                    newest = int(change["u"])
                    yield _levels(time_ns, grid, change["b"], change["a"], snapshot=False)
                else:
                    newest, early = None, [change]
                    yield Interrupted(time_ns, grid.index)
        except (KeyError, TypeError, ValueError) as error:
            raise FeedError(f"recorded: depth message {number} of {file} cannot be read: {error!r}") from error


def _continues(change: dict[str, Any], newest: int) -> bool:
    """Futures name the change before (``pu``); spot counts on. The first after a snapshot reaches back over it."""
    if "pu" in change:
        return int(change["pu"]) <= newest
    return int(change["U"]) <= newest + 1


def _messages(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(receive time, message) of snapshots and depth changes; other streams are in the parquet files."""
    try:
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            for line in lines:
                stamp, _, text = line.partition(" ")
                if '"stream"' in text and "@depth" not in text[:60]:
                    continue
                yield int(stamp), json.loads(text)
    except (OSError, EOFError, ValueError) as error:
        raise FeedError(f"recorded: {file} is not a recording of messages: {error!r}") from error


def _levels(time_ns: int, grid: _Grid, bids: Iterable[Any], asks: Iterable[Any], *, snapshot: bool) -> Depth:
    sides = [tuple([_level(price, size, grid) for price, size in side]) for side in (bids, asks)]
    return Depth(time_ns, grid.index, sides[0], sides[1], snapshot)


def _level(price: str, size: str, grid: _Grid) -> tuple[int, int]:
    at = _text_units(price)
    if at <= 0:
        raise ValueError(f"price {price!r}")
    if grid.contract is None:
        return at, _text_units(size)
    return at, _dollars(int(size) * grid.contract, at)


def _text_units(text: str) -> int:
    """``to_units`` of a plain decimal text, three times as fast."""
    whole, _, fraction = text.partition(".")
    fraction = fraction.rstrip("0")
    if len(fraction) > _UNIT_DIGITS or not whole.isdecimal() or (fraction and not fraction.isdecimal()):
        raise ValueError(f"{text!r} is no plain number on the grid of the units")
    return int(whole) * UNITS + (int(fraction) * 10 ** (_UNIT_DIGITS - len(fraction)) if fraction else 0)
