"""What the Dagster UI shows of a value: plain Python values, tables and column schemas.

Dagster refuses Decimals, datetimes and NumPy values in metadata, some of them only while the event is stored, so
everything goes through ``plain``. Floats appear here for display alone.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import dagster as dg

from resources.documents import Document, to_iso


def plain(value: Any) -> Any:
    """``value`` with Decimals as floats, instants as ISO text and tuples as lists."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, datetime):
        return to_iso(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def entries(document: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """The named fields as metadata; a None is shown as such, not left out."""
    return {name: "none" if document[name] is None else plain(document[name]) for name in names}


def column_schema(columns: Mapping[str, tuple[str, str]]) -> dg.TableSchema:
    """A column schema from name -> (type, meaning with its unit)."""
    return dg.TableSchema([dg.TableColumn(name, kind, meaning) for name, (kind, meaning) in columns.items()])


def table(rows: Sequence[Document], columns: Mapping[str, tuple[str, str]]) -> dg.TableMetadataValue:
    """Rows as a table in the UI, exact numbers as text so that no digit is lost in the browser."""
    return dg.MetadataValue.table(
        [dg.TableRecord({name: _cell(row.get(name)) for name in columns}) for row in rows],
        dg.TableSchema([dg.TableColumn(name, "string", meaning) for name, (_, meaning) in columns.items()]),
    )


def _cell(value: Any) -> str:
    if isinstance(value, Decimal):
        return f"{value:f}"
    return "" if value is None else str(plain(value))
