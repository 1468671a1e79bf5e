"""How values become stored bytes: canonical JSON with exact decimals and UTC instants.

The same value always gives the same bytes, so a document's sha256 identifies its content.
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import simplejson

Document = dict[str, Any]


def dump_document(document: Document) -> bytes:
    """Canonical UTF-8 JSON: keys sorted, Decimals as plain JSON numbers, no NaN (ValueError)."""
    return _dump(document, sort_keys=True).encode() + b"\n"


def dump_line(row: Document) -> bytes:
    """One JSON line without its newline, keys in the order given (log rows keep brief 0's order)."""
    return _dump(row, sort_keys=False).encode()


def _dump(value: Document, *, sort_keys: bool) -> str:
    return simplejson.dumps(
        value,
        use_decimal=True,
        sort_keys=sort_keys,
        separators=(",", ":"),
        allow_nan=False,
        ensure_ascii=False,
        # Else every Decimal is first asked, by a failing attribute lookup, whether it is a named tuple: twice the time.
        namedtuple_as_object=False,
    )


def is_canonical(data: bytes, *, floats: bool = False) -> bool:
    """Whether ``dump_document`` wrote these bytes, of Decimals or, with ``floats``, of binary floats alone (1e-05,
    which as a Decimal would be written 0.00001). Raises ValueError when they are no JSON object."""
    document = load_document(data)
    if dump_document(document) == data:
        return True
    return floats and dump_document(simplejson.loads(data)) == data


def load_value(data: bytes | str) -> Any:
    """Like ``load_document`` of any JSON value."""
    try:
        return simplejson.loads(data, use_decimal=True)
    except ArithmeticError as error:
        raise ValueError("a number is beyond what a Decimal holds") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def load_document(data: bytes) -> Document:
    """Parse JSON with every fractional number as Decimal. Raises ValueError, and nothing else whatever the bytes are,
    when it is not a JSON object."""
    value = load_value(data)
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, got {type(value).__name__}")
    return value


def sha256_hex(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def to_iso(instant: datetime) -> str:
    """ISO-8601 with microseconds and +00:00; refuses naive and non-UTC instants."""
    offset = instant.utcoffset()
    if offset is None or offset:
        raise ValueError(f"instant must be UTC: {instant!r}")
    return instant.isoformat(timespec="microseconds")


def to_isos(instants: Mapping[str, datetime]) -> dict[str, str]:
    """``to_iso`` of each; an instant that many share, as marks made together do, is written out once."""
    texts: dict[datetime, str] = {}
    return {
        name: texts.get(instant) or texts.setdefault(instant, to_iso(instant)) for name, instant in instants.items()
    }


def from_iso(text: str) -> datetime:
    """The UTC instant written by ``to_iso``; refuses naive text, converts other offsets."""
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(f"instant without a time zone: {text!r}")
    return instant.astimezone(UTC)
