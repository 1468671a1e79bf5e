"""Instruments: what the exchange lets be traded, on which grid, and exact quantising onto that grid.

Everything the desk knows of a contract comes from one exchange-info answer (Binance USD-M, 2021 and 2025
generations, or spot). Numbers go from text to Decimal and from Decimal to integers; no float is involved, since
floor(0.3 / 0.1) is 2 in floats (reference/trading.md 1.1 and 3.2).
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from assets.accounting.precision import EXACT, ZERO
from resources.documents import load_document, sha256_hex

# Longest number text read: a float64 printed in full can need 55 digits, nothing meant to be read needs more.
MAX_NUMBER_CHARACTERS = 64
# Numbers outside 1e-30 .. 1e31 are refused: no price or quantity lies there, and 1e999999 would fill the memory.
MAX_MAGNITUDE = 30

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?(\d+))?", re.ASCII)
_NOT_FINITE = re.compile(r"[+-]?(?:s?nan\d*|inf(?:inity)?)", re.ASCII | re.IGNORECASE)
_GROUPED = re.compile(r"[+-]?\d[\d.]*(?:[,_'\s]\d+)+(?:\.\d*)?")
_MINUS_LOOKALIKES = frozenset("\u2010\u2011\u2012\u2013\u2014\u2212\ufe63\uff0d")

# "1000SHIB" is a contract on 1000 SHIB and "1MBABYDOGE" on a million, while "1INCH" and "0G" are plain names: only
# these three prefixes count, and only in front of something that is not a digit.
_MULTIPLIER = re.compile(r"(1000000|1000|1M)(?=\D)")
_MULTIPLIERS = {"1000": 1000, "1000000": 1_000_000, "1M": 1_000_000}

# Perpetual contracts on crypto and, from 2025 on, on traditional assets; quarterlies and spot are not held by the desk.
_PERPETUAL = frozenset({"PERPETUAL", "TRADIFI_PERPETUAL"})


class InvalidExchangeInfo(ValueError):
    """The bytes are no exchange-info answer at all (not JSON, or without a list of symbols)."""


class NotADecimal(ValueError):
    """A text is not a plain decimal number; ``code`` says in which way."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def parse_decimal(text: str) -> Decimal:
    """The exact number written in ``text``: ASCII digits, an optional point and exponent, spaces around it.

    Minus zero is zero. Raises NotADecimal with one of the codes ``blank``, ``not_finite``, ``unicode_minus``,
    ``percent``, ``thousands_separator``, ``out_of_range`` (longer than 64 characters, or beyond 1e-30 .. 1e31),
    ``not_a_number``.
    """
    stripped = text.strip(" \t")
    if not stripped:
        raise NotADecimal("blank", "the field is blank")
    if len(stripped) > MAX_NUMBER_CHARACTERS:
        raise NotADecimal("out_of_range", f"{stripped[:20]!r}... is longer than {MAX_NUMBER_CHARACTERS} characters")
    match = _NUMBER.fullmatch(stripped)
    if match is None:
        raise _why_not_a_number(stripped)
    exponent = match[1]
    if exponent is None or len(exponent) <= 3:
        value = Decimal(stripped)
        if not value:
            return ZERO
        if abs(value.adjusted()) <= MAX_MAGNITUDE:
            return value
    raise NotADecimal("out_of_range", f"{stripped!r} is beyond 1e-{MAX_MAGNITUDE} .. 1e{MAX_MAGNITUDE + 1}")


def _why_not_a_number(text: str) -> NotADecimal:
    if _NOT_FINITE.fullmatch(text):
        return NotADecimal("not_finite", f"{text!r} is not a finite number")
    if not _MINUS_LOOKALIKES.isdisjoint(text):
        return NotADecimal("unicode_minus", f"{text!r} holds a dash that is not the ASCII minus sign")
    if "%" in text:
        return NotADecimal("percent", f"{text!r} is a percentage, not an amount")
    if _GROUPED.fullmatch(text):
        return NotADecimal("thousands_separator", f"{text!r} groups its digits; write them without separators")
    return NotADecimal("not_a_number", f"{text!r} is not a decimal number")


@dataclass(frozen=True, slots=True)
class Instrument:
    """One contract and the rules for market orders in it.

    Quantities are in contract units (``multiplier`` coins of the underlying each), prices in ``quote_asset`` per
    contract unit.

    ``step``: the grid a market order's quantity must lie on, the least common multiple of LOT_SIZE and
    MARKET_LOT_SIZE (which is the coarser one whenever it is a multiple of the other). ``grid_offset``: 0 on every
    contract seen so far; where minQty is no multiple of the step the venue counts the grid from minQty, and orders
    are ``k * step + grid_offset`` with k >= 1 and -step < grid_offset <= 0.
    ``min_qty``: the larger minimum of the two filters. ``max_qty``: the smaller maximum; a larger order is split, and
    the maximum itself need not be on the grid. ``min_notional``: quantity * price of an opening market order must
    reach it (quote currency); 0 where the venue exempts market orders.
    ``min_price`` and ``max_price`` bound limit orders; 0 means no bound.
    ``contract_type``: as sent ("PERPETUAL", "CURRENT_QUARTER", ...), "" for spot.
    """

    symbol: str
    base_asset: str
    quote_asset: str
    status: str
    contract_type: str
    multiplier: int
    tick_size: Decimal
    min_price: Decimal
    max_price: Decimal
    step: Decimal
    grid_offset: Decimal
    min_qty: Decimal
    max_qty: Decimal
    min_notional: Decimal

    @property
    def perpetual(self) -> bool:
        return self.contract_type in _PERPETUAL

    @property
    def tradable(self) -> bool:
        """Whether new exposure may be opened: a perpetual contract whose status is TRADING."""
        return self.status == "TRADING" and self.perpetual


@dataclass(frozen=True, slots=True, eq=False)
class Instruments(Mapping[str, Instrument]):
    """All usable instruments of one exchange-info answer, by symbol.

    ``skipped``: symbol -> why its filters cannot be used (see ``parse_exchange_info``). ``server_time``: the
    exchange's clock when it answered (UTC), None when it did not say. ``sha256``: of the answer's bytes.
    ``aliases``: base asset without multiplier prefix, joined to the quote asset, -> symbols (SHIBUSDT -> 1000SHIBUSDT).
    ``spelled``: quote asset -> the usual spelling of each tradable contract's ticker (BTC_USDT) -> what it resolves to.
    """

    by_symbol: Mapping[str, Instrument]
    skipped: Mapping[str, str]
    aliases: Mapping[str, tuple[str, ...]]
    spelled: Mapping[str, Mapping[str, "Resolution"]]
    server_time: datetime | None
    sha256: str

    def __getitem__(self, symbol: str) -> Instrument:
        return self.by_symbol[symbol]

    def __iter__(self) -> Iterator[str]:
        return iter(self.by_symbol)

    def __len__(self) -> int:
        return len(self.by_symbol)


class _UnusableError(Exception):
    """Why one symbol is skipped; the argument is the reason code."""


def parse_exchange_info(raw: bytes) -> Instruments:
    """Every instrument of a Binance exchange-info answer (reference/trading.md 1.1, table of filters).

    Unknown fields and filters are ignored. A symbol is skipped, never guessed at, with one of the reasons
    ``malformed`` (a field missing or of the wrong type), ``duplicate_symbol``, ``no_price_filter``, ``no_lot_size``,
    ``no_min_notional`` (the filter is absent), ``invalid_price_filter``, ``invalid_lot_size``,
    ``invalid_min_notional`` (its numbers cannot be), ``grids_do_not_meet`` (LOT_SIZE and MARKET_LOT_SIZE count from
    different anchors). Raises InvalidExchangeInfo when there is no list of symbols to read.
    """
    try:
        document = load_document(raw)
    except ValueError as error:
        raise InvalidExchangeInfo(f"exchange info is not a JSON object: {error}") from error
    entries = document.get("symbols")
    if not isinstance(entries, list) or not entries:
        raise InvalidExchangeInfo("exchange info has no list of symbols")

    by_symbol: dict[str, Instrument] = {}
    skipped: dict[str, str] = {}
    for position, entry in enumerate(entries):
        symbol = entry.get("symbol") if isinstance(entry, dict) else None
        if not isinstance(symbol, str) or not symbol:
            skipped[f"symbols[{position}]"] = "malformed"
        elif symbol in by_symbol or symbol in skipped:
            # Two contradicting sets of rules: neither can be trusted.
            by_symbol.pop(symbol, None)
            skipped[symbol] = "duplicate_symbol"
        else:
            try:
                by_symbol[symbol] = _instrument(symbol, entry)
            except _UnusableError as unusable:
                skipped[symbol] = str(unusable)

    aliases: dict[str, tuple[str, ...]] = {}
    for instrument in by_symbol.values():
        if instrument.multiplier > 1 and _is_named_after_its_assets(instrument):
            name = _MULTIPLIER.sub("", instrument.base_asset, count=1) + instrument.quote_asset
            aliases[name] = (*aliases.get(name, ()), instrument.symbol)
    spelled: dict[str, dict[str, Resolution]] = {}
    for symbol, instrument in by_symbol.items():
        if instrument.tradable and _is_named_after_its_assets(instrument) and plain_symbol(symbol) == symbol:
            ticker = f"{instrument.base_asset}_{instrument.quote_asset}"
            spelled.setdefault(instrument.quote_asset, {})[ticker] = Resolution(symbol, "")
    return Instruments(by_symbol, skipped, aliases, spelled, _server_time(document), sha256_hex(raw))


def _is_named_after_its_assets(instrument: Instrument) -> bool:
    """False for delivery contracts (BTCUSDT_250926) and indices, which a ticker of two assets does not mean."""
    return instrument.symbol == instrument.base_asset + instrument.quote_asset


def _server_time(document: dict[str, Any]) -> datetime | None:
    milliseconds = document.get("serverTime")
    if milliseconds is None:
        return None
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
    except (TypeError, OverflowError) as error:
        raise InvalidExchangeInfo(f"serverTime is not a time in milliseconds: {milliseconds!r}") from error


def _instrument(symbol: str, entry: dict[str, Any]) -> Instrument:
    base, quote, status = (entry.get(name) for name in ("baseAsset", "quoteAsset", "status"))
    contract_type, filters = entry.get("contractType", ""), entry.get("filters")
    if not (
        isinstance(base, str)
        and isinstance(quote, str)
        and isinstance(status, str)
        and isinstance(contract_type, str)
        and isinstance(filters, list)
    ):
        raise _UnusableError("malformed")
    by_type: dict[object, dict[str, Any]] = {}
    for rules in filters:
        if not isinstance(rules, dict) or not isinstance(rules.get("filterType"), str):
            raise _UnusableError("malformed")
        by_type[rules["filterType"]] = rules

    price_filter, lot_size = by_type.get("PRICE_FILTER"), by_type.get("LOT_SIZE")
    if price_filter is None:
        raise _UnusableError("no_price_filter")
    if lot_size is None:
        raise _UnusableError("no_lot_size")
    tick_size, min_price, max_price = _numbers(price_filter, "invalid_price_filter", "tickSize", "minPrice", "maxPrice")
    if not tick_size:
        raise _UnusableError("invalid_price_filter")

    prefix = _MULTIPLIER.match(base)
    instrument = Instrument(
        symbol=symbol,
        base_asset=base,
        quote_asset=quote,
        status=status,
        contract_type=contract_type,
        multiplier=_MULTIPLIERS[prefix[1]] if prefix else 1,
        tick_size=tick_size,
        min_price=min_price,
        max_price=max_price,
        min_notional=_min_notional(by_type),
        **_market_lots(lot_size, by_type.get("MARKET_LOT_SIZE")),
    )
    largest = quantity_of(floor_lots(instrument.max_qty, instrument), instrument)
    if largest < instrument.min_qty or not largest:
        raise _UnusableError("invalid_lot_size")  # no quantity at all would be accepted
    return instrument


def _market_lots(lot_size: dict[str, Any], market_lot_size: dict[str, Any] | None) -> dict[str, Decimal]:
    """Grid and bounds that satisfy LOT_SIZE and MARKET_LOT_SIZE both (stepSize and maxQty "0" mean disabled)."""
    names = ("stepSize", "minQty", "maxQty")
    step, min_qty, max_qty = _numbers(lot_size, "invalid_lot_size", *names)
    if not step or not max_qty:
        raise _UnusableError("invalid_lot_size")
    anchor = EXACT.remainder(min_qty, step)
    if market_lot_size is not None:
        market_step, market_min, market_max = _numbers(market_lot_size, "invalid_lot_size", *names)
        if market_step and (market_step != step or market_min != min_qty):
            if anchor or EXACT.remainder(market_min, market_step):
                raise _UnusableError("grids_do_not_meet")
            step = _least_common_multiple(step, market_step)
        min_qty = max(min_qty, market_min)
        max_qty = min(max_qty, market_max) if market_max else max_qty
    return {
        "step": step,
        "grid_offset": EXACT.subtract(anchor, step) if anchor else ZERO,
        "min_qty": min_qty,
        "max_qty": max_qty,
    }


def _least_common_multiple(a: Decimal, b: Decimal) -> Decimal:
    (numerator_a, denominator_a), (numerator_b, denominator_b) = a.as_integer_ratio(), b.as_integer_ratio()
    multiple = math.lcm(numerator_a * denominator_b, numerator_b * denominator_a)
    return EXACT.divide(Decimal(multiple), Decimal(denominator_a * denominator_b))


def _min_notional(by_type: dict[object, dict[str, Any]]) -> Decimal:
    """The minimum for market orders: futures say ``notional``, spot ``minNotional`` and whether it applies to them."""
    minima = []
    for name, applies in (("MIN_NOTIONAL", "applyToMarket"), ("NOTIONAL", "applyMinToMarket")):
        rules = by_type.get(name)
        if rules is None:
            continue
        key = "notional" if "notional" in rules else "minNotional"
        (minimum,) = _numbers(rules, "invalid_min_notional", key)
        minima.append(minimum if rules.get(applies, True) else ZERO)
    if not minima:
        raise _UnusableError("no_min_notional")
    return max(minima)


def _numbers(rules: dict[str, Any], reason: str, *names: str) -> list[Decimal]:
    """Non-negative numbers of a filter, which sends them as text (as JSON numbers in some mirrors)."""
    values = []
    for name in names:
        value = rules.get(name)
        if not isinstance(value, str | int | Decimal):
            raise _UnusableError(reason)
        try:
            number = parse_decimal(str(value))
        except NotADecimal:
            raise _UnusableError(reason) from None
        if number < 0:
            raise _UnusableError(reason)
        values.append(number)
    return values


def lots_of(numerator: Iterable[Decimal], denominator: Iterable[Decimal], instrument: Instrument) -> int:
    """Whole lots in the quantity (product of ``numerator``) / (product of ``denominator``), by one exact floor.

    The factors are handed over unmultiplied because any rounding before the floor loses lots: sizing with a scale
    computed first lost one on 11 % of the rows that lie on the grid (reference/trading.md 3.2). A target quantity is
    ``lots_of((abs(notional), pv_pre), (gross_base, price), instrument)``. The magnitude is floored, the sign kept.
    Raises ZeroDivisionError when a divisor is zero, ValueError or OverflowError when a factor is not finite.
    """
    above, below = 1, 1
    for factor in numerator:
        top, bottom = factor.as_integer_ratio()
        above, below = above * top, below * bottom
    for factor in denominator:
        top, bottom = factor.as_integer_ratio()
        above, below = above * bottom, below * top
    sign = -1 if (above < 0) != (below < 0) else 1
    above, below = abs(above), abs(below)
    if instrument.grid_offset:
        top, bottom = instrument.grid_offset.as_integer_ratio()
        above, below = above * bottom - top * below, below * bottom
    step_top, step_bottom = instrument.step.as_integer_ratio()
    return sign * (above * step_bottom // (below * step_top))


def floor_lots(quantity: Decimal, instrument: Instrument) -> int:
    """Whole lots in ``quantity`` (contract units, signed), floored toward zero; exact, so on-grid values keep theirs.

    Raises ValueError or OverflowError when ``quantity`` is not finite.
    """
    return lots_of((quantity,), (), instrument)


def quantity_of(lots: int, instrument: Instrument) -> Decimal:
    """The quantity (contract units, signed) of ``lots``; 0 lots are flat whatever the grid's offset."""
    magnitude = EXACT.multiply(Decimal(abs(lots)), instrument.step)
    if lots and instrument.grid_offset:
        magnitude = EXACT.add(magnitude, instrument.grid_offset)
    # copy_negate, because the minus operator would round to the 28 digits of Decimal's ordinary context.
    return magnitude.copy_negate() if lots < 0 else magnitude


def round_price(price: Decimal, tick: Decimal, toward: Literal["up", "down"]) -> Decimal:
    """``price`` on the tick grid: unchanged when on it, else the next tick ``up`` or ``down``.

    A simulated fill is rounded against us, buys up and sells down (reference/trading.md 3.2). Prices below one tick
    round down to zero. Raises ValueError when ``tick`` is not positive or ``price`` not finite and non-negative.
    """
    if not (tick.is_finite() and tick > 0 and price.is_finite() and price >= 0):
        raise ValueError(f"cannot round price {price} to ticks of {tick}")
    price_top, price_bottom = price.as_integer_ratio()
    tick_top, tick_bottom = tick.as_integer_ratio()
    ticks, remainder = divmod(price_top * tick_bottom, price_bottom * tick_top)
    if remainder and toward == "up":
        ticks += 1
    return EXACT.multiply(Decimal(ticks), tick)


class Resolution(NamedTuple):
    """What a signal's ticker means on the exchange.

    ``symbol`` is set whenever the contract is known, even when ``reason`` forbids opening: a held position must
    still find its contract. ``reason`` is "" when new exposure may be opened. ``multiplier`` takes a price quoted for
    the ticker to the contract's price: 1000 for SHIB_USDT on 1000SHIBUSDT, 1 for 1000SHIB_USDT on the same contract.
    """

    symbol: str | None
    reason: str
    multiplier: int = 1


def plain_symbol(ticker: str) -> str:
    """``BTC_USDT``, ``btc_usdt`` and ``BTCUSDT`` are one ticker: no spaces around it, no "_", ASCII letters upper case.

    Other letters stay as they are: upper-casing would turn a dotless i into an I and a look-alike into BINANCE.
    """
    joined = ticker.strip(" \t").replace("_", "")
    return joined.upper() if joined.isascii() else joined


def resolve_ticker(ticker: str, instruments: Instruments, quote: str) -> Resolution:
    """The contract a ticker means, verified against the exchange's base and quote asset (reference/trading.md 3.4).

    An exact name wins; only where there is none does SHIB_USDT mean the contract on 1000 SHIB. Reasons:
    ``unknown_symbol`` (not listed), ``base_quote_mismatch`` (the letters match but the ticker splits them otherwise,
    as BT_CUSDT does, or the symbol is not named after its assets), ``wrong_quote`` (not settled in ``quote``),
    ``ambiguous_alias`` (several multiplier contracts), ``no_filters`` (listed, but its filters cannot be used),
    ``not_perpetual`` (a delivery or spot contract), ``not_trading`` (its status is not TRADING).
    """
    plain = plain_symbol(ticker)
    multiplier = 1
    instrument = instruments.by_symbol.get(plain)
    if instrument is None:
        if plain in instruments.skipped:
            return Resolution(plain, "no_filters")
        candidates = instruments.aliases.get(plain, ())
        if not candidates:
            return Resolution(None, "unknown_symbol")
        if len(candidates) > 1:
            return Resolution(None, "ambiguous_alias")
        instrument = instruments[candidates[0]]
        multiplier = instrument.multiplier

    named = _is_named_after_its_assets(instrument)
    if "_" in ticker:
        named = named and plain_symbol(ticker.rpartition("_")[2]) == instrument.quote_asset
    if not named:
        return Resolution(None, "base_quote_mismatch")
    if instrument.quote_asset != quote:
        return Resolution(None, "wrong_quote")
    if not instrument.perpetual:
        return Resolution(instrument.symbol, "not_perpetual", multiplier)
    if not instrument.tradable:
        return Resolution(instrument.symbol, "not_trading", multiplier)
    return Resolution(instrument.symbol, "", multiplier)


def resolve_tickers(tickers: Iterable[str], instruments: Instruments, quote: str) -> dict[str, Resolution]:
    """``resolve_ticker`` for a whole signal, by ticker as given.

    Two tickers may differ in letters and still mean one contract (SHIB_USDT and 1000SHIB_USDT); that shows only here.
    All of them get the reason ``duplicate_symbol``, since two targets for one position cannot both be met.
    """
    usual = instruments.spelled.get(quote, {})
    resolutions = {ticker: usual.get(ticker) or resolve_ticker(ticker, instruments, quote) for ticker in tickers}
    if len({resolution.symbol for resolution in resolutions.values()}) == len(resolutions):
        return resolutions
    by_symbol: dict[str, list[str]] = {}
    for ticker, resolution in resolutions.items():
        if resolution.symbol is not None:
            by_symbol.setdefault(resolution.symbol, []).append(ticker)
    for sharing in by_symbol.values():
        if len(sharing) > 1:
            for ticker in sharing:
                resolutions[ticker] = resolutions[ticker]._replace(reason="duplicate_symbol")
    return resolutions
