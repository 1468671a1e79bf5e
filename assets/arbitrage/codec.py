"""Events, rules, listings and the brief's structures as JSON documents and back, strictly.

A document has one key per field, by the field's own name: for the brief's structures those are the brief's names, and
what is ours comes on top. Decimals are JSON numbers, enums their values, times integer nanoseconds, None is null. A
missing, unknown or wrongly typed field is a ValueError that names it; nothing is filled in. A field whose default is
None has no key while it is None: what was stored before there was such a field is read, and written again, as it was.
"""

import re
import types
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from assets.arbitrage import events
from assets.arbitrage.events import Event
from assets.arbitrage.model import PaperTrade
from assets.arbitrage.rules import Rules
from resources.documents import Document, dump_document
from resources.feed import Listing

T = TypeVar("T")

_Reader = Callable[[Any], Any]
_Writer = Callable[[Any], Any]


class _Mismatch(ValueError):
    """A value that is not of its field's type; the field's name is added where it is known."""


def event_kind(event_type: type[Event]) -> str:
    """How an event's document names it: ``TradeOpened`` is "trade_opened"."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", event_type.__name__).lower()


def to_document(event: Event) -> Document:
    """The event as stored: its fields plus ``kind``. Raises ValueError when a value is not of its field's type."""
    document: Document = {"kind": _NAMES[type(event)]}
    document.update(value_to_document(event))
    return document


def from_document(document: Mapping[str, Any]) -> Event:
    """The event a document stands for. Raises ValueError on an unknown kind, a missing, unknown or mistyped field."""
    kind = document.get("kind")
    event_type = _KINDS.get(kind) if isinstance(kind, str) else None
    if event_type is None:
        raise ValueError(f"unknown event kind {kind!r}")
    rest = dict(document)
    del rest["kind"]
    event: Event = value_from_document(event_type, rest)
    return event


def to_line(event: Event) -> bytes:
    """The event as a line of the log: canonical JSON and a newline, the same event always the same bytes."""
    return dump_document(to_document(event))


def value_to_document(value: Any) -> Document:
    """A frozen value of this package (or Rules, a Listing) as a document. Raises ValueError on a mistyped field."""
    document: Document = {}
    for name, write, _, optional in _plan(type(value)):
        field = getattr(value, name)
        if optional and field is None:
            continue
        try:
            document[name] = write(field)
        except _Mismatch as error:
            raise ValueError(f"{type(value).__name__}.{name}: {error}") from error
    return document


def value_from_document(value_type: type[T], document: Mapping[str, Any]) -> T:
    """The value of ``value_type`` a document stands for. Raises ValueError naming the field that is missing, unknown
    or of another type."""
    plan = _plan(value_type)
    values = {}
    for name, _, read, optional in plan:
        if optional and name not in document:
            continue
        try:
            values[name] = read(document[name])
        except KeyError:
            raise ValueError(f"{value_type.__name__} lacks {name}") from None
        except _Mismatch as error:
            raise ValueError(f"{value_type.__name__}.{name}: {error}") from error
    if len(document) != len(values):
        raise ValueError(f"{value_type.__name__} has no field {sorted(set(document) - set(values))}")
    value = value_type(**values)
    if isinstance(value, PaperTrade):
        _check_orders(value)
    return value


def rules_from_document(document: Mapping[str, Any]) -> Rules:
    """The rules that ``value_to_document`` wrote. Raises ValueError naming the field."""
    return value_from_document(Rules, document)


def listing_from_document(document: Mapping[str, Any]) -> Listing:
    """The listing that ``value_to_document`` wrote. Raises ValueError naming the field."""
    return value_from_document(Listing, document)


def _check_orders(trade: PaperTrade) -> None:
    """A trade names each order by its id, and its two entry orders are among them."""
    entries = [order for order in (trade.long_order, trade.short_order) if order is not None]
    if any(key != order.id for key, order in trade.orders.items()) or any(
        trade.orders.get(order.id) != order for order in entries
    ):
        raise ValueError(f"PaperTrade.orders: the orders of {trade.id} contradict each other")


_PLANS: dict[type, tuple[tuple[str, _Writer, _Reader, bool], ...]] = {}


def _plan(value_type: type) -> tuple[tuple[str, _Writer, _Reader, bool], ...]:
    """Name, writer, reader and whether it may be left out, of every field, worked out once for each type."""
    plan = _PLANS.get(value_type)
    if plan is None:
        if not is_dataclass(value_type):
            raise ValueError(f"{value_type.__name__} is not a structure with fields")
        hints = get_type_hints(value_type)
        plan = tuple((field.name, *_codec(hints[field.name]), field.default is None) for field in fields(value_type))
        _PLANS[value_type] = plan
    return plan


def _codec(kind: Any) -> tuple[_Writer, _Reader]:
    """The writer and the reader of one type of value."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Decimal:
        return _decimal_written, _decimal_read
    if kind in (str, int, bool):
        exact = _exactly(kind)
        return exact, exact
    if kind is object:
        return _free, _free
    if origin is Literal:
        return _one_of(arguments), _one_of(arguments)
    if origin is types.UnionType:
        (inner,) = (argument for argument in arguments if argument is not types.NoneType)
        write, read = _codec(inner)
        return _or_none(write), _or_none(read)
    if origin is tuple:
        return _tuple_codec(arguments)
    if origin is not None and issubclass(origin, Mapping):
        write, read = _codec(arguments[1])
        return _mapping(write), _mapping(read)
    if issubclass(kind, StrEnum):
        return _exactly(kind), _enum_read(kind)
    return value_to_document, lambda document: value_from_document(kind, _mapping_of(document))


def _mismatch(wanted: str, value: Any) -> _Mismatch:
    return _Mismatch(f"must be {wanted}, got {value!r:.100}")


def _decimal_written(value: Any) -> Decimal:
    if type(value) is Decimal and value.is_finite():
        return value
    raise _mismatch("a finite Decimal", value)


def _decimal_read(value: Any) -> Decimal:
    """A JSON reader gives int or Decimal, never text or a float."""
    if type(value) is Decimal and value.is_finite():
        return value
    if type(value) is int:
        return Decimal(value)
    raise _mismatch("a number", value)


def _exactly(kind: type) -> _Reader:
    """Accepts that type alone: True is not an int, an enum's text is not the enum."""

    def check(value: Any) -> Any:
        if type(value) is kind:
            return value
        raise _mismatch(kind.__name__, value)

    return check


def _enum_read(kind: type[StrEnum]) -> _Reader:
    members = {member.value: member for member in kind}

    def read(value: Any) -> StrEnum:
        member = members.get(value) if isinstance(value, str) else None
        if member is None:
            raise _mismatch(f"one of {', '.join(members)}", value)
        return member

    return read


def _one_of(choices: tuple[Any, ...]) -> _Reader:
    def check(value: Any) -> Any:
        if value in choices:
            return value
        raise _mismatch(f"one of {', '.join(map(str, choices))}", value)

    return check


def _or_none(inner: _Reader) -> _Reader:
    return lambda value: None if value is None else inner(value)


def _tuple_codec(arguments: tuple[Any, ...]) -> tuple[_Writer, _Reader]:
    """A JSON list: of any length (``tuple[X, ...]``), or of a fixed one with a type for each place."""
    if arguments[-1] is Ellipsis:
        write, read = _codec(arguments[0])
        return (
            lambda value: [write(item) for item in _sequence(value, tuple)],
            lambda value: tuple(read(item) for item in _sequence(value, list)),
        )
    codecs = [_codec(argument) for argument in arguments]
    length = len(codecs)
    return (
        lambda value: [w(item) for (w, _), item in zip(codecs, _sequence(value, tuple, length), strict=True)],
        lambda value: tuple(r(item) for (_, r), item in zip(codecs, _sequence(value, list, length), strict=True)),
    )


def _sequence(value: Any, kind: type[list[Any]] | type[tuple[Any, ...]], length: int | None = None) -> Any:
    if not isinstance(value, kind) or (length is not None and len(value) != length):
        raise _mismatch("a list" if length is None else f"a list of {length}", value)
    return value


def _mapping(inner: _Reader) -> _Reader:
    return lambda value: {key: inner(item) for key, item in _mapping_of(value).items()}


def _mapping_of(value: Any) -> Mapping[str, Any]:
    if isinstance(value, Mapping) and all(type(key) is str for key in value):
        return value
    raise _mismatch("an object", value)


def _free(value: Any) -> Any:
    """A value of a document that is kept as it was written: JSON without floats."""
    if value is None or type(value) in (str, int, bool):
        return value
    if type(value) is Decimal:
        return _decimal_written(value)
    if isinstance(value, list):
        return [_free(item) for item in value]
    return {key: _free(item) for key, item in _mapping_of(value).items()}


_KINDS: dict[str, Any] = {event_kind(event_type): event_type for event_type in get_args(events.Event)}
_NAMES: dict[type, str] = {event_type: name for name, event_type in _KINDS.items()}
