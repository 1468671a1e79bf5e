"""What a venue's symbol means, and what its prices and sizes are of."""

import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.feed import FeedError, from_units
from resources.feed.venues import (
    VENUES,
    UnknownSymbol,
    UnknownVenue,
    canonical,
    price_units,
    size_units,
    unmultiplied,
    venue_of,
)


@pytest.mark.parametrize(
    ("venue", "symbol", "asset", "quote", "multiplier"),
    [
        ("binance", "BTCUSDT", "BTC", "USDT", 1),
        ("bybit", "BTCUSDT", "BTC", "USDT", 1),
        ("okx", "BTC-USDT-SWAP", "BTC", "USDT", 1),
        ("kucoin", "XBTUSDTM", "BTC", "USDT", 1),
        ("bitget", "BTCUSDT", "BTC", "USDT", 1),
        ("gate", "BTC_USDT", "BTC", "USDT", 1),
        ("hyperliquid", "BTC", "BTC", "USDC", 1),
        ("paradex", "BTC-USD-PERP", "BTC", "USD", 1),
        ("kraken", "XBTUSD", "BTC", "USD", 1),
        ("kraken", "XBT/USD", "BTC", "USD", 1),
        ("kraken", "XDGUSD", "DOGE", "USD", 1),
        ("kraken", "POLUSD", "POL", "USD", 1),
        ("binance", "MATICUSDT", "POL", "USDT", 1),
        ("binance", "1000PEPEUSDT", "PEPE", "USDT", 1000),
        ("bybit", "1000PEPEUSDT", "PEPE", "USDT", 1000),
        ("hyperliquid", "kPEPE", "PEPE", "USDC", 1000),
        ("kucoin", "PEPEUSDTM", "PEPE", "USDT", 1),
        ("bybit", "1000000MOGUSDT", "MOG", "USDT", 1_000_000),
        ("bybit", "10000LADYSUSDT", "LADYS", "USDT", 10_000),
        ("binance", "1MBABYDOGEUSDT", "BABYDOGE", "USDT", 1_000_000),
        ("binance", "1INCHUSDT", "1INCH", "USDT", 1),
        ("hyperliquid", "KAS", "KAS", "USDC", 1),
        ("binance", "USDCUSDT", "USDC", "USDT", 1),
    ],
)
def test_one_asset_under_every_venues_name(venue: str, symbol: str, asset: str, quote: str, multiplier: int) -> None:
    meaning = canonical(venue, symbol)
    assert (meaning.asset, meaning.quote, meaning.multiplier, meaning.inverse) == (asset, quote, multiplier, False)
    assert meaning.perpetual is (venue != "kraken")


@pytest.mark.parametrize(("venue", "symbol"), [("binance", "BTCUSD_PERP"), ("bybit", "BTCUSD"), ("kucoin", "XBTUSDM")])
def test_contracts_settled_in_the_asset_are_told_apart(venue: str, symbol: str) -> None:
    assert canonical(venue, symbol)[:2] == ("BTC", "USD")
    assert canonical(venue, symbol).inverse


@pytest.mark.parametrize(
    ("venue", "symbol"),
    [
        ("binance", "BTCUSDT_250926"),
        ("bybit", "BTC-27DEC24"),
        ("binance", "BTC"),
        ("binance", "USDT"),
        ("binance", "btcusdt"),
        ("binance", "BTCUSDT "),
        ("okx", "BTCUSDT"),
        ("kucoin", "XBTUSDT"),
        ("gate", ""),
        ("hyperliquid", "KPEPE/USDC"),
        ("binance", "ＢＴＣUSDT"),
    ],
)
def test_another_spelling_is_an_error_not_a_guess(venue: str, symbol: str) -> None:
    with pytest.raises(UnknownSymbol, match=re.escape(repr(symbol))):
        canonical(venue, symbol)


def test_an_unknown_venue_is_an_error_naming_the_known() -> None:
    with pytest.raises(UnknownVenue, match=r"'mtgox'; known: binance, .*paradex"):
        venue_of("mtgox")
    with pytest.raises(FeedError):
        canonical("lighter", "BTC")


def test_a_multiple_is_not_a_cheaper_coin() -> None:
    """1000PEPE at 0.0123 and PEPE at 0.0000123 are one price, and 7 of the former are 7000 of the latter."""
    assert price_units(Decimal("0.0123"), 1000) == price_units(Decimal("0.0000123"), 1) == 123_000
    assert size_units(Decimal(7), 1000) == size_units(Decimal(7000), 1)


@given(
    price=st.integers(1, 10**12).map(lambda n: Decimal(n).scaleb(-4)),
    size=st.integers(1, 10**12).map(lambda n: Decimal(n).scaleb(-3)),
    multiplier=st.sampled_from([1, 1000, 10_000, 1_000_000]),
)
def test_a_conversion_keeps_the_notional_to_the_last_digit(price: Decimal, size: Decimal, multiplier: int) -> None:
    assert from_units(price_units(price, multiplier)) * from_units(size_units(size, multiplier)) == price * size


@pytest.mark.parametrize("price", ["0.000000001", "NaN", "Infinity"])
def test_a_price_that_the_units_cannot_hold_is_refused(price: str) -> None:
    with pytest.raises(ValueError, match=r"finer than|not a finite"):
        price_units(Decimal(price), 1000)


def test_taker_fees_are_those_of_the_comparison() -> None:
    basis_points = {name: venue.taker_fee * 10_000 for name, venue in VENUES.items() if not venue.spot}
    assert basis_points == {
        "binance": 4,
        "bybit": Decimal("5.5"),
        "okx": 5,
        "kucoin": 6,
        "bitget": 6,
        "gate": 6,
        "hyperliquid": Decimal("4.5"),
        "paradex": 5,
    }
    assert all(0 < venue.maker_fee <= venue.taker_fee and venue.fee_source for venue in VENUES.values())


@given(st.sampled_from(["BTC", "PEPE", "1INCH", "K", "KAS", "1000"]))
def test_a_name_without_a_multiple_stays(base: str) -> None:
    assert unmultiplied(base) == (base, 1)
