"""What is fixed about each venue: its fees, how it writes its symbols, and what a symbol's prices and sizes are of.

Taker fees are those of the recorded comparison of nine venues (``reference/predecessors.md``, brief 3); maker fees the
venues' published schedules for the ordinary tier, which no file here records. Where neither says anything a maker pays
what a taker pays, the dearer of the two. Kraken's perpetuals are left out: nothing recorded states their fees.

The multiplier idea is that of ``assets/accounting/instrument.py`` (SHIB_USDT is 1000SHIBUSDT), which resources may not
import; there the exchange's own list of assets decides, here the spelling, since a venue's stream carries no list.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from resources.feed import FeedError, to_units


class UnknownVenue(FeedError):
    """A venue that the table does not have."""


class UnknownSymbol(FeedError):
    """A symbol that is not written as its venue writes them, or a contract with a delivery date."""


class Canonical(NamedTuple):
    """What one venue's symbol means.

    ``asset`` and ``quote`` in the spelling all venues share; ``multiplier`` single base units are in one unit of the
    venue (1000 for 1000PEPEUSDT: its price is that of a thousand); ``inverse`` contracts settle in the asset.
    """

    asset: str
    quote: str
    multiplier: int
    inverse: bool
    perpetual: bool


@dataclass(frozen=True, slots=True)
class Venue:
    """Fees as fractions of notional; ``spelling`` matches the venue's symbols with groups base and quote.

    ``quote`` is what a symbol without a quote is quoted in ("" where every symbol names it). Symbols of ``spot``
    venues are pairs: they cannot be shorted and have no funding.
    """

    name: str
    taker_fee: Decimal
    maker_fee: Decimal
    fee_source: str
    spelling: re.Pattern[str]
    quote: str = ""
    spot: bool = False


_PREDECESSOR = "taker: recorded comparison of nine venues (brief 3)"
_PUBLISHED = f"{_PREDECESSOR}; maker: the venue's published ordinary tier"
_AS_TAKER = f"{_PREDECESSOR}; maker charged as taker, no source"

# Base assets may begin with a digit (1INCH, 1000PEPE); quotes are few and named, so that BTCUSDT has one reading only.
_BASE, _QUOTE = r"(?P<base>[A-Z0-9]+?)", r"(?P<quote>USDT|USDC|USDE|FDUSD|USD)"


def _venue(
    name: str,
    taker: str,
    maker: str,
    spelling: str,
    *,
    source: str = _PUBLISHED,
    quote: str = "",
    spot: bool = False,
) -> Venue:
    """Fees are given in basis points, as the sources give them."""
    return Venue(
        name,
        Decimal(taker).scaleb(-4),
        Decimal(maker).scaleb(-4),
        source,
        re.compile(spelling.replace("BASE", _BASE).replace("QUOTE", _QUOTE)),
        quote,
        spot,
    )


VENUES: Mapping[str, Venue] = {
    venue.name: venue
    for venue in (
        _venue("binance", "4", "2", r"BASEQUOTE(_PERP)?"),
        _venue("bybit", "5.5", "2", r"BASEQUOTE"),
        _venue("okx", "5", "2", r"BASE-QUOTE-SWAP"),
        _venue("kucoin", "6", "2", r"BASEQUOTEM"),
        _venue("bitget", "6", "2", r"BASEQUOTE(_[UDC]MCBL)?"),
        _venue("gate", "6", "2", r"BASE_QUOTE"),
        _venue("hyperliquid", "4.5", "1.5", r"(?P<base>k?[A-Z0-9]+)", quote="USDC"),
        _venue("paradex", "5", "5", r"BASE-QUOTE-PERP", source=_AS_TAKER),
        _venue("binance_spot", "10", "10", r"BASEQUOTE", source="the venue's published ordinary tier, spot", spot=True),
        _venue("bybit_spot", "10", "10", r"BASEQUOTE", source="the venue's published ordinary tier, spot", spot=True),
        _venue("kraken", "26", "16", r"BASE/?QUOTE", source="the crypto bot's back-test (brief 4), spot", spot=True),
    )
}

# Other names of the same asset. MATIC became POL one for one in September 2024.
ALIASES: Mapping[str, str] = {"XBT": "BTC", "XDG": "DOGE", "MATIC": "POL"}

# Quotes of contracts that are settled in the base asset when the venue names them with plain USD.
_INVERSE_USD = frozenset({"binance", "bybit", "okx", "kucoin", "bitget", "gate"})

_MULTIPLES = {"1000000": 1_000_000, "10000": 10_000, "1000": 1000, "1M": 1_000_000, "k": 1000}
# The largest first: 1000000MOG is not 1000 of 000MOG. What follows is a letter: 1INCH and 10000 alone are names.
_MULTIPLE = re.compile(r"(1000000|10000|1000|1M|k)(?=[A-Z])")


def venue_of(name: str) -> Venue:
    """The facts of a venue. Raises UnknownVenue, naming those there are."""
    venue = VENUES.get(name)
    if venue is None:
        raise UnknownVenue(f"unknown venue {name!r}; known: {', '.join(sorted(VENUES))}")
    return venue


def canonical(venue: str, symbol: str) -> Canonical:
    """What ``symbol`` means, as ``venue`` itself writes it: no other spelling is guessed at.

    Raises UnknownVenue or UnknownSymbol.
    """
    facts = venue_of(venue)
    match = facts.spelling.fullmatch(symbol)
    if match is None:
        raise UnknownSymbol(f"{venue}: {symbol!r} is not written as this venue writes its perpetuals or pairs")
    groups = match.groupdict()
    quote = groups.get("quote") or facts.quote
    asset, multiplier = unmultiplied(groups["base"])
    inverse = not facts.spot and venue in _INVERSE_USD and quote == "USD"
    return Canonical(asset, quote, multiplier, inverse, perpetual=not facts.spot)


def unmultiplied(base: str) -> tuple[str, int]:
    """(asset, single units in one of ``base``): 1000PEPE and kPEPE are 1000 PEPE, XBT is BTC."""
    prefix = _MULTIPLE.match(base)
    multiplier = 1
    if prefix is not None:
        multiplier, base = _MULTIPLES[prefix[0]], base[prefix.end() :]
    return ALIASES.get(base, base), multiplier


def price_units(price: Decimal, multiplier: int) -> int:
    """A venue's price in integer units of one single base unit: 1000PEPE at 0.0123 is PEPE at 0.0000123.

    Raises ValueError when that is not finite or finer than the units.
    """
    return to_units(per_single(price, multiplier))


def size_units(size: Decimal, multiplier: int) -> int:
    """A venue's size in integer units of single base units. Raises ValueError as ``price_units`` does."""
    return to_units(in_singles(size, multiplier))


def per_single(price: Decimal, multiplier: int) -> Decimal:
    """``price`` of ``multiplier`` base units as the price of one: exact, multipliers being powers of ten."""
    return price.scaleb(-(len(str(multiplier)) - 1))


def in_singles(size: Decimal, multiplier: int) -> Decimal:
    """``size`` in multiples of ``multiplier`` as a number of single base units."""
    return size.scaleb(len(str(multiplier)) - 1)
