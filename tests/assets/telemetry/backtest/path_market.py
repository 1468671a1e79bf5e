"""A market whose marks a test writes minute by minute, and which can be cut off at an instant."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from resources.market import Book, FundingRate, Mark
from resources.venue import PaperVenue
from tests.desk_parts import contract, exchange_info

START = datetime(2026, 3, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
MUCH = Decimal(10) ** 9


@dataclass(frozen=True)
class PathMarket:
    """``paths[symbol][k]`` is the mark from START + k minutes on; None: there is no new one, the last gets older.

    The book is deep, one tick wide and centred on nothing: buyers pay the mark, sellers get a tick less.
    """

    paths: Mapping[str, Sequence[Decimal | None]]
    rates: Sequence[FundingRate] = ()
    cut: datetime | None = None
    contracts: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    name: str = "SCRIPTED"

    def until(self, instant: datetime) -> "PathMarket":
        """The same market without anything later than ``instant``."""
        return replace(self, cut=instant)

    def _mark(self, symbol: str, at: datetime) -> Mark | None:
        at = at if self.cut is None else min(at, self.cut)
        path = self.paths[symbol]
        for number in range(min((at - START) // MINUTE, len(path) - 1), -1, -1):
            price = path[number]
            if price is not None:
                return Mark(symbol, price, START + number * MINUTE)
        return None

    def marks(self, at: datetime) -> Mapping[str, Mark]:
        found = {symbol: self._mark(symbol, at) for symbol in self.paths}
        return {symbol: mark for symbol, mark in found.items() if mark is not None}

    def exchange_info(self, at: datetime) -> bytes:  # noqa: ARG002
        return exchange_info(*(self.contracts.get(symbol) or contract(symbol) for symbol in self.paths))

    def liquidity(self, symbol: str, at: datetime) -> Book | None:
        mark = self._mark(symbol, at)
        if mark is None:
            return None
        return Book(symbol, ((mark.price - Decimal("0.01"), MUCH),), ((mark.price, MUCH),), mark.as_of)

    def funding(self, symbols: Collection[str], after: datetime, until: datetime) -> list[FundingRate]:
        until = until if self.cut is None else min(until, self.cut)
        return sorted(
            (rate for rate in self.rates if rate.symbol in symbols and after < rate.time <= until),
            key=lambda rate: (rate.time, rate.symbol),
        )


def flat(price: str, minutes: int) -> list[Decimal | None]:
    return [Decimal(price)] * (minutes + 1)


def venue(fee_bps: str = "5") -> PaperVenue:
    return PaperVenue(Decimal(fee_bps), Decimal(2), Decimal(5))
