"""A table as the file a person saves: exact numbers as stored, instants in UTC, a header of field names.

What the browser asks for is ``{export: table, ids: [...]}``: the rows shown, in the order shown; without ``ids`` all.
"""

import io
from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from assets.desk.export import write_csv
from resources.documents import Document

_NANOSECONDS = 10**9


def chosen(rows: Mapping[str, Document], ids: object) -> list[Document]:
    """The rows by their ids in that order, without those that are gone since they were shown; all where ids are no
    list."""
    if not isinstance(ids, list):
        return list(rows.values())
    return [rows[each] for each in ids if isinstance(each, str) and each in rows]


def table_file(page: str, table: str, rows: list[Document], now: datetime) -> dict[str, str] | None:
    """``{name, content}`` of a CSV; None without a row."""
    if not rows:
        return None
    text = io.StringIO(newline="")
    write_csv(rows, text)
    return {"name": f"{page}_{table}_{now:%Y%m%dT%H%M%SZ}.csv", "content": text.getvalue()}


def record(row: Any, *, without: str = "") -> Document:
    """A dataclass's fields by their names; an instant ``…_ns`` is ``…_utc``, several words are one text."""
    shown: Document = {}
    for field in fields(row):
        if field.name == without:
            continue
        value = getattr(row, field.name)
        if field.name.endswith("_ns") and field.name not in _SPANS:
            shown[f"{field.name.removesuffix('_ns')}_utc"] = utc(value)
        else:
            shown[field.name] = " ".join(value) if isinstance(value, tuple) else value
    return shown


def utc(time_ns: int | None) -> str | None:
    """An instant to the nanosecond, ISO."""
    if time_ns is None:
        return None
    seconds, rest = divmod(time_ns, _NANOSECONDS)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}+00:00"


# Nanoseconds that are no instant.
_SPANS = {"held_ns"}
