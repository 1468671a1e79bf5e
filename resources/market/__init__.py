"""Where marks, exchange filters, liquidity and funding come from.

``simulated`` (labelled on every screen), ``replay:<folder>`` (recorded minute bars) or ``binance``
(live USD-M). A market hands over what it has: missing stays missing, nothing is made up to fill a hole.
Whether a mark may be used is decided by ``assets.accounting.marks``.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Protocol

from resources.settings import Settings

# A feed may stamp a little ahead of our clock; anything further in the future is a wrong clock, not a price.
FUTURE_TOLERANCE = timedelta(seconds=5)


class MarketError(Exception):
    """The market source cannot be opened or did not answer; the message says which and what to do."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A price to value a position at, in quote currency per contract unit, and when it was made (UTC).

    ``price`` is as sent: it may be zero, negative or NaN, and is refused later with a reason.
    """

    symbol: str
    price: Decimal
    as_of: datetime


@dataclass(frozen=True, slots=True)
class FundingRate:
    """One published funding settlement: ``rate`` is a fraction of notional, positive when longs pay.

    ``mark`` is the mark price at ``time`` (None where the source does not give it).
    """

    symbol: str
    time: datetime
    rate: Decimal
    mark: Decimal | None


@dataclass(frozen=True, slots=True)
class Book:
    """Displayed depth: (price, quantity) levels, best first; quantities in contract units."""

    symbol: str
    bids: tuple[tuple[Decimal, Decimal], ...]
    asks: tuple[tuple[Decimal, Decimal], ...]
    as_of: datetime


@dataclass(frozen=True, slots=True)
class Depth:
    """Where no book was recorded: the quantity traded in the last minute, as a stand-in for depth."""

    symbol: str
    quantity: Decimal
    as_of: datetime


Liquidity = Book | Depth


class Market(Protocol):
    name: str  # shown on every screen: "SIMULATED", "REPLAY", "BINANCE"

    def marks(self, at: datetime) -> Mapping[str, Mark]:
        """The newest mark of every symbol known at ``at`` (never one made later)."""
        ...

    def exchange_info(self, at: datetime) -> bytes:
        """The exchange-info JSON (Binance USD-M shape) in force at ``at``, byte for byte as sent."""
        ...

    def liquidity(self, symbol: str, at: datetime) -> Liquidity | None:
        """What an order could trade against at ``at``; None where the source has nothing to say."""
        ...

    def funding(self, symbols: Collection[str], after: datetime, until: datetime) -> list[FundingRate]:
        """Published settlements with ``after`` < time <= ``until``, by time then symbol."""
        ...


def open_market(settings: Settings) -> Market:
    """The market ``settings.market`` names. Raises MarketError when it cannot be opened."""
    # Imported here so that a process pays for its own source only.
    kind, _, folder = settings.market.partition(":")
    if kind == "simulated":
        from resources.market.simulated import SimulatedMarket

        return SimulatedMarket(settings.seed)
    if kind == "replay":
        from resources.market.replay import ReplayMarket

        return ReplayMarket(Path(folder))
    from resources.market.binance import BinanceMarket

    return BinanceMarket()
