"""What can happen to a portfolio. Immutable events, in order; every amount on a screen is a fold over them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from resources.documents import Document, from_iso, to_iso

_FUNDING = "funding:"


@dataclass(frozen=True, slots=True)
class Fill:
    """An execution. ``quantity`` is signed (buy > 0) in contract units, ``price`` in quote per unit,
    ``fee`` >= 0 in quote; ``strategies`` maps each strategy to its share of the order (shares sum to 1)."""

    event_id: str
    time: datetime
    symbol: str
    quantity: Decimal
    price: Decimal
    fee: Decimal
    order_id: str
    rebalance_id: str
    strategies: Mapping[str, Decimal] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Funding:
    """One funding settlement on a held position; ``amount`` = -quantity * mark * rate, received when positive.

    ``quantity`` is what was held strictly before ``time`` (reference/trading.md 3.1)."""

    event_id: str
    time: datetime
    symbol: str
    quantity: Decimal
    mark: Decimal
    rate: Decimal
    amount: Decimal


def funding_id(symbol: str, time: datetime) -> str:
    """The id of a settlement's payment, whoever posts it."""
    return f"{_FUNDING}{symbol}:{to_iso(time)}"


def funded_symbol(event_id: str) -> str | None:
    """The symbol of a ``funding_id``, None of any other id."""
    return event_id.removeprefix(_FUNDING).partition(":")[0] if event_id.startswith(_FUNDING) else None


@dataclass(frozen=True, slots=True)
class Flow:
    """Capital deposited (> 0) or withdrawn (< 0): moves portfolio value, never P&L."""

    event_id: str
    time: datetime
    amount: Decimal
    note: str


@dataclass(frozen=True, slots=True)
class Baseline:
    """The snapshot at t1 from which daily P&L runs: value, flows so far, prices and signed positions."""

    event_id: str
    time: datetime
    rebalance_id: str
    portfolio_value: Decimal
    net_flows: Decimal
    prices: Mapping[str, Decimal]
    positions: Mapping[str, Decimal]


Event = Fill | Funding | Flow | Baseline

_KINDS: dict[str, type[Event]] = {"fill": Fill, "funding": Funding, "flow": Flow, "baseline": Baseline}
_NAMES: dict[type[Event], str] = {cls: name for name, cls in _KINDS.items()}


def to_document(event: Event) -> Document:
    """The event as stored: its fields plus ``kind``."""
    document: Document = {"kind": _NAMES[type(event)]}
    for name in event.__slots__:
        value = getattr(event, name)
        if isinstance(value, datetime):
            value = to_iso(value)
        elif isinstance(value, Mapping):
            value = dict(value)
        document[name] = value
    return document


def from_document(document: Document) -> Event:
    """The event a document stands for. Raises ValueError on an unknown kind, a missing field or one of another type."""
    cls = _KINDS.get(document.get("kind", ""))
    if cls is None:
        raise ValueError(f"unknown ledger event kind {document.get('kind')!r}")
    values = {}
    for name in cls.__slots__:
        if name not in document:
            raise ValueError(f"{document['kind']} event lacks {name}")
        values[name] = _read(name, document[name])
    return cls(**values)


_TEXTS = frozenset({"event_id", "symbol", "order_id", "rebalance_id", "note"})
_NUMBERS_BY_NAME = frozenset({"strategies", "prices", "positions"})


def _read(name: str, value: Any) -> Any:
    if name == "time":
        return from_iso(value)
    if name in _TEXTS:
        if isinstance(value, str):
            return value
    elif name in _NUMBERS_BY_NAME:
        if isinstance(value, dict):
            return {key: _number(name, number) for key, number in value.items()}
    else:
        return _number(name, value)
    raise ValueError(f"{name} cannot be {value!r}")


def _number(name: str, value: Any) -> Decimal:
    """A stored number: a JSON reader gives int or Decimal, never text or a float."""
    if isinstance(value, Decimal):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    raise ValueError(f"{name} must be a number, got {value!r}")
