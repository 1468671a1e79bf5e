"""Execution confirmations of brief 4 (``exec:paper:confirms``): read as text, refused when they cannot be true.

The brief's own sample is a "filled" order of price 0.00 and quantity 0.00. Such a record is an error of its writer:
counted as a fill, it would enter every average.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

from assets.telemetry.bad_telemetry import BadTelemetry, finite

EXECUTED = frozenset({"filled", "partially_filled"})
STATUSES = EXECUTED | {"pending", "accepted", "cancelled", "refused", "rejected"}
SIDES = frozenset({"buy", "sell"})

# Nothing here was traded before: an earlier time is a process clock taken for the calendar.
_EARLIEST_MS = int(datetime(2009, 1, 3, tzinfo=UTC).timestamp() * 1000)
_LATEST_MS = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp() * 1000)


@dataclass(frozen=True, slots=True)
class Confirmation:
    """One confirmation. ``price`` in quote currency, ``quantity`` in base units, ``timestamp`` in milliseconds since
    1970 UTC; ``execution_time_ms`` from the decision to the confirmation."""

    order_id: str
    symbol: str
    side: str
    strategy: str
    status: str
    price: Decimal
    quantity: Decimal
    timestamp: int
    paper_mode: bool
    execution_time_ms: Decimal


def read_confirmation(fields: Mapping[str, str]) -> Confirmation:
    """The confirmation in the text fields of a stream entry; further fields are left alone.

    Raises BadTelemetry naming the field: missing or empty, an unknown status or side, a number that is none, negative
    or not finite, a time that is not the calendar's, and an executed order without a price or a quantity.
    """
    status, side = _text(fields, "status"), _text(fields, "side")
    if status not in STATUSES:
        raise BadTelemetry("status", f"{status!r} is none of {', '.join(sorted(STATUSES))}")
    if side not in SIDES:
        raise BadTelemetry("side", f"{side!r} is neither buy nor sell")
    price, quantity = _number(fields, "price"), _number(fields, "quantity")
    if status in EXECUTED:
        for name, value in (("price", price), ("quantity", quantity)):
            if not value:
                raise BadTelemetry(name, f"a {status} order cannot have a {name} of zero")
    paper_mode = _text(fields, "paper_mode")
    if paper_mode not in ("true", "false"):
        raise BadTelemetry("paper_mode", f"{paper_mode!r} is neither true nor false")
    return Confirmation(
        _text(fields, "order_id"),
        _text(fields, "symbol"),
        side,
        _text(fields, "strategy"),
        status,
        price,
        quantity,
        _time_ms(fields, "timestamp"),
        paper_mode == "true",
        _number(fields, "execution_time_ms"),
    )


def _text(fields: Mapping[str, str], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value.strip():
        raise BadTelemetry(name, "missing" if value is None else f"{value!r} is no text")
    return value


def _number(fields: Mapping[str, str], name: str) -> Decimal:
    text = _text(fields, name)
    try:
        value = finite(name, Decimal(text))
    except InvalidOperation:
        raise BadTelemetry(name, f"{text!r} is not a number") from None
    if value < 0:
        raise BadTelemetry(name, f"{text} is negative")
    return value


def _time_ms(fields: Mapping[str, str], name: str) -> int:
    value = _number(fields, name)
    if value != value.to_integral_value() or not _EARLIEST_MS <= value < _LATEST_MS:
        raise BadTelemetry(name, f"{value} is no calendar time in whole milliseconds since 1970")
    return int(value)
