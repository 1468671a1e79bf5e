"""The streams of brief 4 by name, and the payload of each as a typed record, written as text and read back strictly.

Streams hold nothing but text: numbers are plain decimals, times milliseconds since 1970 UTC (seconds with decimals
where the brief has them), truth values "true" and "false". What cannot be read exactly is a MalformedEntry that names
the field; nothing is filled in. Fields beyond the brief's are ours and may be absent in the entries of others.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Any, Final, Protocol, TypeVar

import simplejson

from resources.bus import EntryId, StreamRecord
from resources.documents import Document, load_value

TICKS: Final = "metrics:ticks"
END_TO_END: Final = "metrics:signals:e2e"
CONFIRMS: Final = "exec:paper:confirms"
SIGNALS: Final = "signals:paper"
MARKET_TRADES: Final = "md:trades"
_VENUE_TRADES = re.compile(r"[a-z0-9_\-]+:trades:[A-Za-z0-9.\-]+")

# About how many entries a stream keeps: Redis has a budget, the store has all of it.
_LENGTHS = {
    TICKS: 10_000,  # a day of one each 10 s is 8,640
    END_TO_END: 10_000,  # what a day's percentiles are taken from
    CONFIRMS: 20_000,  # four fills and some cancellations for each of 4,000 trades
    SIGNALS: 10_000,
    MARKET_TRADES: 20_000,  # 40 minutes of four batches a second from two listings
}
_VENUE_TRADES_LENGTH = 5_000  # 20 minutes of four batches a second, for each listing

# A number outside of these is no time of this market: seconds taken for milliseconds, or the other way round.
_EARLIEST_S, _LATEST_S = 1_230_940_800, 4_102_444_800  # 2009 and 2100
_NUMBER = re.compile(r"[+-]?\d{1,40}(\.\d{1,40})?([eE][+-]?\d{1,2})?", re.ASCII)
_ALL_DIGITS = Context(prec=200)  # more than _NUMBER lets through
_DIGITS = re.compile(r"\d{1,20}", re.ASCII)
_HASH = re.compile(r"[0-9a-f]{8}")

_FILLED = frozenset({"filled", "partially_filled"})
_STATUSES = _FILLED | {"pending", "accepted", "cancelled", "refused", "rejected"}
_SIDES = frozenset({"buy", "sell"})

T = TypeVar("T")


class MalformedEntry(Exception):
    """A stream entry that cannot be true or read: ``field`` is "" where the whole entry is meant."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{field}: {why}" if field else why)
        self.field = field


class ZeroFill(MalformedEntry):
    """A filled order without a price or a quantity, as in the brief's sample: counted, it would enter every average."""


class OutOfOrder(MalformedEntry):
    """An entry whose own time contradicts its place in the stream."""


class Record(Protocol):
    """A payload that knows its time."""

    @property
    def time_ms(self) -> int:
        """Milliseconds since 1970 UTC."""
        ...

    def to_fields(self) -> dict[str, str]:
        """The payload as a stream holds it."""
        ...


def length_of(stream: str) -> int:
    """About how many entries ``stream`` keeps."""
    return _LENGTHS.get(stream, _VENUE_TRADES_LENGTH)


def shard_of(symbol: str) -> str:
    """How a venue's symbol is written in the name of a stream: BTC/USD is BTC-USD."""
    return re.sub(r"[^A-Za-z0-9.]", "-", symbol)


def venue_trades(venue: str, symbol: str) -> str:
    """The stream of one venue's trades in one symbol: ``kraken:trades:BTC-USD``. Raises ValueError without letters."""
    stream = f"{venue.lower()}:trades:{shard_of(symbol)}"
    if not _VENUE_TRADES.fullmatch(stream):
        raise ValueError(f"{stream!r} is no name of a stream of trades")
    return stream


def parse_entry(stream: str, fields: Mapping[str, str]) -> Record:
    """The record in an entry of ``stream``. Raises MalformedEntry, also for a stream nobody here writes."""
    reader = _READERS.get(stream)
    if reader is None:
        if not _VENUE_TRADES.fullmatch(stream):
            raise MalformedEntry("", f"nothing is known of the entries of {stream!r:.100}")
        reader = VenueTrades.from_fields
    return reader(fields)


def tick_record(document: Document) -> StreamRecord:
    """A metric tick as the one entry of its millisecond. Raises MalformedEntry when the document is no tick."""
    tick = Tick(document)
    fields = tick.to_fields()
    return StreamRecord(TICKS, EntryId(tick.time_ms, 0), fields)


def number_text(value: Decimal) -> str:
    """A number as streams hold it: all its digits, no exponent."""
    return format(value, "f")


class _Fields:
    """The fields of an entry, each taken once; what is left over is unknown."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._rest = dict(fields)

    def _take(self, name: str) -> str:
        value = self._rest.pop(name, None)
        if value is None:
            raise MalformedEntry(name, "missing")
        if not isinstance(value, str):
            raise MalformedEntry(name, f"must be text, is {type(value).__name__}")
        return value

    def text(self, name: str) -> str:
        value = self._take(name)
        if not value.strip():
            raise MalformedEntry(name, "empty")
        return value

    def number(self, name: str) -> Decimal:
        return _number(name, self._take(name))

    def not_negative(self, name: str) -> Decimal:
        value = self.number(name)
        if value < 0:
            raise MalformedEntry(name, f"{value} is negative")
        return value

    def integer(self, name: str) -> int:
        value = self._take(name)
        if not _DIGITS.fullmatch(value):
            raise MalformedEntry(name, f"{value!r:.60} is no whole number")
        return int(value)

    def time_ms(self, name: str) -> int:
        value = self.integer(name)
        if not _EARLIEST_S * 1000 <= value < _LATEST_S * 1000:
            raise MalformedEntry(name, f"{value} is no time in milliseconds since 1970")
        return value

    def seconds(self, name: str) -> int:
        """A time in seconds with at most three decimals, in milliseconds."""
        return _milliseconds(name, self.number(name))

    def truth(self, name: str) -> bool:
        return self.one_of(name, frozenset({"true", "false"})) == "true"

    def one_of(self, name: str, words: frozenset[str]) -> str:
        value = self._take(name)
        if value not in words:
            raise MalformedEntry(name, f"{value!r:.60} is none of {', '.join(sorted(words))}")
        return value

    def optional(self, name: str, read: Callable[[str], T]) -> T | None:
        return read(name) if name in self._rest else None

    def end(self) -> None:
        if self._rest:
            raise MalformedEntry(sorted(map(str, self._rest))[0], "unknown field")


def _number(name: str, text: str) -> Decimal:
    if not _NUMBER.fullmatch(text):
        raise MalformedEntry(name, f"{text!r:.60} is no number")
    return Decimal(text)


def _milliseconds(name: str, seconds: Decimal) -> int:
    milliseconds = seconds.scaleb(3, _ALL_DIGITS)
    if not _EARLIEST_S <= seconds < _LATEST_S or milliseconds != milliseconds.to_integral_value():
        raise MalformedEntry(name, f"{seconds} is no time in seconds since 1970 with at most three decimals")
    return int(milliseconds)


def _seconds_text(milliseconds: int) -> str:
    return f"{milliseconds // 1000}.{milliseconds % 1000:03d}"


def _given(fields: Mapping[str, str | None]) -> dict[str, str]:
    return {name: text for name, text in fields.items() if text is not None}


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What became of an order (``exec:paper:confirms``).

    ``price`` in quote currency and ``quantity`` in base units: of this execution, or the order's limit and what is left
    of it where it was cancelled or refused. ``execution_time_ms`` is from sending the order to this. ``fee`` in quote
    currency.
    """

    order_id: str
    symbol: str
    side: str
    strategy: str
    status: str
    price: Decimal
    quantity: Decimal
    time_ms: int
    paper_mode: bool
    execution_time_ms: Decimal
    exchange: str | None = None
    trade_id: str | None = None
    fee: Decimal | None = None
    reason: str | None = None

    def to_fields(self) -> dict[str, str]:
        return _given(
            {
                "order_id": self.order_id,
                "symbol": self.symbol,
                "side": self.side,
                "strategy": self.strategy,
                "status": self.status,
                "price": number_text(self.price),
                "quantity": number_text(self.quantity),
                "timestamp": str(self.time_ms),
                "paper_mode": "true" if self.paper_mode else "false",
                "execution_time_ms": number_text(self.execution_time_ms),
                "exchange": self.exchange,
                "trade_id": self.trade_id,
                "fee": None if self.fee is None else number_text(self.fee),
                "reason": self.reason,
            }
        )

    @classmethod
    def from_fields(cls, fields: Mapping[str, str]) -> "Confirmation":
        """Raises MalformedEntry, and ZeroFill for an executed order without a price or a quantity above zero."""
        read = _Fields(fields)
        status = read.one_of("status", _STATUSES)
        price, quantity = read.number("price"), read.number("quantity")
        for name, value in (("price", price), ("quantity", quantity)):
            if status in _FILLED and value <= 0:
                raise ZeroFill(name, f"a {status} order with a {name} of {value}")
            if value < 0:
                raise MalformedEntry(name, f"{value} is negative")
        confirmation = cls(
            read.text("order_id"),
            read.text("symbol"),
            read.one_of("side", _SIDES),
            read.text("strategy"),
            status,
            price,
            quantity,
            read.time_ms("timestamp"),
            read.truth("paper_mode"),
            read.not_negative("execution_time_ms"),
            read.optional("exchange", read.text),
            read.optional("trade_id", read.text),
            read.optional("fee", read.not_negative),
            read.optional("reason", read.text),
        )
        read.end()
        return confirmation


@dataclass(frozen=True, slots=True)
class Signal:
    """An entry into a trade on two venues (``signals:paper``); the brief names the stream and no fields.

    ``side`` is "long_short": bought on the long venue, sold short on the other, ``quantity`` base units on both.
    ``confidence`` is in points of 100. Prices and money in quote currency; ``funding_delta`` is a fraction of notional
    for each settlement, positive when it is received.
    """

    signal_id: str
    time_ms: int
    pair: str
    side: str
    strategy: str
    confidence: int
    long_exchange: str
    long_symbol: str
    long_price: Decimal
    short_exchange: str
    short_symbol: str
    short_price: Decimal
    quantity: Decimal
    size_usd: Decimal
    spread_bps: Decimal
    fees_bps: Decimal
    funding_cost_bps: Decimal
    funding_delta: Decimal
    projected_profit_usd: Decimal
    harder_leg: str

    def to_fields(self) -> dict[str, str]:
        return {
            "signal_id": self.signal_id,
            "timestamp": str(self.time_ms),
            "pair": self.pair,
            "side": self.side,
            "strategy": self.strategy,
            "confidence": str(self.confidence),
            "long_exchange": self.long_exchange,
            "long_symbol": self.long_symbol,
            "long_price": number_text(self.long_price),
            "short_exchange": self.short_exchange,
            "short_symbol": self.short_symbol,
            "short_price": number_text(self.short_price),
            "quantity": number_text(self.quantity),
            "size_usd": number_text(self.size_usd),
            "spread_bps": number_text(self.spread_bps),
            "fees_bps": number_text(self.fees_bps),
            "funding_cost_bps": number_text(self.funding_cost_bps),
            "funding_delta": number_text(self.funding_delta),
            "projected_profit_usd": number_text(self.projected_profit_usd),
            "harder_leg": self.harder_leg,
        }

    @classmethod
    def from_fields(cls, fields: Mapping[str, str]) -> "Signal":
        """Raises MalformedEntry."""
        read = _Fields(fields)
        signal = cls(
            read.text("signal_id"),
            read.time_ms("timestamp"),
            read.text("pair"),
            read.one_of("side", frozenset({"long_short"})),
            read.text("strategy"),
            read.integer("confidence"),
            read.text("long_exchange"),
            read.text("long_symbol"),
            read.not_negative("long_price"),
            read.text("short_exchange"),
            read.text("short_symbol"),
            read.not_negative("short_price"),
            read.not_negative("quantity"),
            read.not_negative("size_usd"),
            read.number("spread_bps"),
            read.number("fees_bps"),
            read.number("funding_cost_bps"),
            read.number("funding_delta"),
            read.number("projected_profit_usd"),
            read.one_of("harder_leg", frozenset({"long", "short"})),
        )
        read.end()
        if signal.confidence > 100:
            raise MalformedEntry("confidence", f"{signal.confidence} is above 100")
        return signal


@dataclass(frozen=True, slots=True)
class EndToEnd:
    """How long an entry was on its way from the decision to its publication (``metrics:signals:e2e``).

    ``ms`` in milliseconds; ``hash`` names the entry of ``stream`` by eight hex digits of its content.
    """

    time_ms: int
    ms: Decimal
    agent: str
    stream: str
    hash: str

    @classmethod
    def measured(cls, time_ms: int, seconds: float, agent: str, stream: str, entry_hash: str) -> "EndToEnd":
        """A measured duration, to the microsecond."""
        return cls(time_ms, Decimal(round(seconds * 1_000_000)).scaleb(-3), agent, stream, entry_hash)

    def to_fields(self) -> dict[str, str]:
        return {
            "ts": str(self.time_ms),
            "ms": number_text(self.ms),
            "agent": self.agent,
            "stream": self.stream,
            "hash": self.hash,
        }

    @classmethod
    def from_fields(cls, fields: Mapping[str, str]) -> "EndToEnd":
        """Raises MalformedEntry."""
        read = _Fields(fields)
        sample = cls(
            read.time_ms("ts"), read.not_negative("ms"), read.text("agent"), read.text("stream"), read.text("hash")
        )
        read.end()
        if not _HASH.fullmatch(sample.hash):
            raise MalformedEntry("hash", f"{sample.hash!r:.60} is not eight hex digits")
        return sample


@dataclass(frozen=True, slots=True)
class VenueTrade:
    """One public trade. ``order_type`` is None where the venue's feed does not tell it."""

    price: Decimal
    volume: Decimal
    time_ms: int
    side: str  # of the aggressor
    order_type: str | None


@dataclass(frozen=True, slots=True)
class VenueTrades:
    """A batch of one venue's trades in one pair (``kraken:trades:{symbol}``); its time is that of the last one."""

    pair: str
    shard: str
    trades: tuple[VenueTrade, ...]

    @property
    def time_ms(self) -> int:
        return self.trades[-1].time_ms

    def to_fields(self) -> dict[str, str]:
        trades = [
            {
                "price": number_text(trade.price),
                "volume": number_text(trade.volume),
                "time": _seconds_text(trade.time_ms),
                "side": trade.side,
                "orderType": trade.order_type,
            }
            for trade in self.trades
        ]
        return {
            "channel": "trade",
            "pair": self.pair,
            "trades": simplejson.dumps(trades, separators=(",", ":")),
            "timestamp": _seconds_text(self.time_ms),
            "shard": self.shard,
            "batch_size": str(len(trades)),
            "redis_optimized": "true",
        }

    @classmethod
    def from_fields(cls, fields: Mapping[str, str]) -> "VenueTrades":
        """Raises MalformedEntry; OutOfOrder when a trade is earlier than the one before it."""
        read = _Fields(fields)
        read.one_of("channel", frozenset({"trade"}))
        batch = cls(read.text("pair"), read.text("shard"), _venue_trades(read.text("trades")))
        timestamp, size = read.seconds("timestamp"), read.integer("batch_size")
        read.truth("redis_optimized")
        read.end()
        if size != len(batch.trades):
            raise MalformedEntry("batch_size", f"{size} are announced, {len(batch.trades)} are there")
        if timestamp != batch.time_ms:
            raise MalformedEntry("timestamp", "is not the time of the last trade")
        return batch


def _venue_trades(text: str) -> tuple[VenueTrade, ...]:
    try:
        rows = simplejson.loads(text)
    except (ValueError, RecursionError) as error:
        raise MalformedEntry("trades", "is no JSON") from error
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise MalformedEntry("trades", "is no list of trades")
    trades: list[VenueTrade] = []
    for row in rows:
        order_type = row.pop("orderType", None)
        if order_type is not None and not isinstance(order_type, str):
            raise MalformedEntry("orderType", f"must be text, is {type(order_type).__name__}")
        read = _Fields(row)
        trade = VenueTrade(
            read.number("price"),
            read.number("volume"),
            read.seconds("time"),
            read.one_of("side", _SIDES),
            order_type,
        )
        read.end()
        if trade.price <= 0 or trade.volume <= 0:
            raise ZeroFill("trades", f"a trade of {trade.volume} at {trade.price}")
        if trades and trade.time_ms < trades[-1].time_ms:
            raise OutOfOrder("trades", "a trade is earlier than the one before it")
        trades.append(trade)
    return tuple(trades)


@dataclass(frozen=True, slots=True)
class MarketTrades:
    """What was traded in one listing within a short time (``md:trades``; the brief names the stream and no fields).

    ``volume`` in base units, ``buy_volume`` of it by buyers as aggressors, ``notional`` in quote currency.
    """

    exchange: str
    symbol: str
    pair: str
    time_ms: int  # the end of that time
    count: int
    first: Decimal
    high: Decimal
    low: Decimal
    last: Decimal
    volume: Decimal
    buy_volume: Decimal
    notional: Decimal

    def to_fields(self) -> dict[str, str]:
        return {
            "exchange": self.exchange,
            "symbol": self.symbol,
            "pair": self.pair,
            "timestamp": str(self.time_ms),
            "count": str(self.count),
            "first": number_text(self.first),
            "high": number_text(self.high),
            "low": number_text(self.low),
            "last": number_text(self.last),
            "volume": number_text(self.volume),
            "buy_volume": number_text(self.buy_volume),
            "notional": number_text(self.notional),
        }

    @classmethod
    def from_fields(cls, fields: Mapping[str, str]) -> "MarketTrades":
        """Raises MalformedEntry, also for prices and volumes that contradict each other."""
        read = _Fields(fields)
        trades = cls(
            read.text("exchange"),
            read.text("symbol"),
            read.text("pair"),
            read.time_ms("timestamp"),
            read.integer("count"),
            read.not_negative("first"),
            read.not_negative("high"),
            read.not_negative("low"),
            read.not_negative("last"),
            read.not_negative("volume"),
            read.not_negative("buy_volume"),
            read.not_negative("notional"),
        )
        read.end()
        if not (trades.count and trades.low and trades.volume and trades.notional):
            raise ZeroFill("", "trades without a number, a price or a volume")
        if not (trades.low <= min(trades.first, trades.last) and max(trades.first, trades.last) <= trades.high):
            raise MalformedEntry("high", "first and last are not between low and high")
        if trades.buy_volume > trades.volume:
            raise MalformedEntry("buy_volume", "is more than the volume")
        return trades


_TICK_NUMBERS = ("slippage_bps_p50", "latency_ms_p95", "win_rate_1h", "drawdown_daily", "errors_rate")
_TICK_PNL = ("fees", "realized", "unrealized")


@dataclass(frozen=True, slots=True)
class Tick:
    """A metric tick (``metrics:ticks``) as the brief's nested JSON; its units are those of the published schema.

    In the stream each top-level member is one field: ``type`` as it is, all others as JSON text, so that a number looks
    like one, what is undefined is ``null``, and ``pnl`` is a JSON object.
    """

    document: Document

    @property
    def time_ms(self) -> int:
        return _milliseconds("timestamp", Decimal(self.document["timestamp"]))

    def to_fields(self) -> dict[str, str]:
        """Raises MalformedEntry when the document is no tick."""
        _check_tick(self.document)
        return {
            name: value if name == "type" else simplejson.dumps(value, use_decimal=True, separators=(",", ":"))
            for name, value in self.document.items()
        }

    @classmethod
    def from_fields(cls, fields: Mapping[str, str]) -> "Tick":
        """Raises MalformedEntry."""
        document: Document = {}
        for name, text in fields.items():
            if not isinstance(text, str):
                raise MalformedEntry(str(name), f"must be text, is {type(text).__name__}")
            if name == "type":
                document[name] = text
                continue
            try:
                document[name] = load_value(text)
            except ValueError as error:
                raise MalformedEntry(str(name), f"{text!r:.60} is no JSON") from error
        _check_tick(document)
        return cls(document)


def _check_tick(document: Document) -> None:
    if document.get("type") != "metrics.tick":
        raise MalformedEntry("type", "is not metrics.tick")
    pnl = document.get("pnl")
    if not isinstance(pnl, dict):
        raise MalformedEntry("pnl", "is no object")
    for holder, names in ((pnl, _TICK_PNL), (document, (*_TICK_NUMBERS, "timestamp"))):
        for name in names:
            if name not in holder:
                raise MalformedEntry(name, "missing")
            value = holder[name]
            if value is None and name != "timestamp":
                continue
            if isinstance(value, bool) or not isinstance(value, int | Decimal) or not Decimal(value).is_finite():
                raise MalformedEntry(name, f"must be a number, is {value!r:.60}")
    _milliseconds("timestamp", Decimal(document["timestamp"]))


_READERS: dict[str, Callable[[Mapping[str, str]], Record]] = {
    TICKS: Tick.from_fields,
    END_TO_END: EndToEnd.from_fields,
    CONFIRMS: Confirmation.from_fields,
    SIGNALS: Signal.from_fields,
    MARKET_TRADES: MarketTrades.from_fields,
}
