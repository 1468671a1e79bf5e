"""Which marks may be used, and why another one may not."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from resources.market import FUTURE_TOLERANCE, Mark


def refusal(mark: Mark | None, now: datetime, max_age: timedelta) -> str:
    """Why ``mark`` may not be used at ``now``, or "" when it may.

    Codes: ``no_price``, ``not_finite`` (NaN or infinite), ``not_positive`` (zero or negative), ``future_mark``
    (stamped more than 5 s ahead), ``stale_mark`` (older than ``max_age``).
    """
    if mark is None:
        return "no_price"
    if not mark.price.is_finite():
        return "not_finite"
    if mark.price <= 0:
        return "not_positive"
    if mark.as_of - now > FUTURE_TOLERANCE:
        return "future_mark"
    if now - mark.as_of > max_age:
        return "stale_mark"
    return ""


@dataclass(frozen=True, slots=True)
class MarkSet:
    """Marks at one instant: those that may be used, and the refusal code of every other."""

    accepted: dict[str, Mark]
    refused: dict[str, str]

    def price(self, symbol: str) -> Decimal | None:
        mark = self.accepted.get(symbol)
        return None if mark is None else mark.price

    def reason(self, symbol: str) -> str:
        """The refusal code of ``symbol`` ("" when its mark is accepted)."""
        return "" if symbol in self.accepted else self.refused.get(symbol, "no_price")


def sift(marks: Mapping[str, Mark], now: datetime, max_age: timedelta) -> MarkSet:
    """Split a market's marks into accepted and refused."""
    accepted: dict[str, Mark] = {}
    refused: dict[str, str] = {}
    for symbol, mark in marks.items():
        reason = refusal(mark, now, max_age)
        if reason:
            refused[symbol] = reason
        else:
            accepted[symbol] = mark
    return MarkSet(accepted, refused)
