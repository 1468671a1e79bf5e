"""How texts of the arbitrage page are made: cells of its tables, instants of the trader's clock, spreads.

A cell is a text, or ``{text, title, unit, missing}`` where more is to be said. A table is ``{columns, rows, empty}``; a
row is ``{id, cells, sign, title}``, and ``sort`` beside them where the browser may sort it.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from dashboards import format as text
from dashboards.arbitrage_labels import BPS

Shown = dict[str, Any]
Cell = str | Shown

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NANOSECONDS = 10**9
_TINY = Decimal("0.0001")


def instant(time_ns: int) -> datetime:
    """An instant of the engine's clock, to the microsecond."""
    return _EPOCH + timedelta(microseconds=time_ns // 1000)


def clock_text(time_ns: int, as_of_ns: int) -> str:
    """``16:25:36``, with the day in front when it is not that of ``as_of_ns``."""
    return text.clock_time(instant(time_ns), today=instant(as_of_ns), seconds=True).removesuffix(" UTC")


def elapsed(from_ns: int, to_ns: int) -> str:
    """A span of the engine's clock: ``0.4 s`` below ten seconds, else its largest two units."""
    span = max(0, to_ns - from_ns)
    if span < 10 * _NANOSECONDS:
        return f"{span / _NANOSECONDS:.1f} s"
    return text.duration(span / _NANOSECONDS)


def bps(value: Decimal | None, *, signed: bool = False) -> str:
    """Basis points with one decimal, without the unit."""
    if value is None:
        return text.MISSING
    shown = text.basis_points(value.scaleb(-4))
    return f"+{shown}" if signed and value > 0 and shown.strip("0.") else shown


def price(value: Decimal) -> str:
    """Five digits; where four of them would stand behind as many zeros, with an exponent, or no row would fit."""
    return text.number(value, significant=5) if value < _TINY else text.price(value)


def spread_cell(value: Decimal | None, reason: str = "") -> Cell:
    """A spread with its unit; the placeholder with its reason where it is unknown."""
    return missing(reason) if value is None else {"text": bps(value), "unit": BPS}


def missing(reason: str) -> Shown:
    """The placeholder and why there is no value."""
    return {"text": text.MISSING, "title": reason, "missing": True}


def column(key: str, head: str, title: str, kind: str = "number") -> Shown:
    """One column: ``kind`` is text, number, signed (toned by the row's sign), quotes or confidence."""
    return {"key": key, "head": head, "title": title, "kind": kind}


def sortable(value: Decimal | int | None) -> float | None:
    return None if value is None else float(value)


def words(reason: str) -> str:
    """``spread_gone`` as people read it."""
    return reason.replace("_", " ")
