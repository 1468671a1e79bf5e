"""What the Dagster UI shows of a document: plain Python values, tables, column schemas and the value plot.

Dagster refuses Decimals, datetimes and NumPy values in metadata, some of them only while the event is stored, so
everything goes through ``plain``. Floats appear here for display alone.
"""

import base64
import io
import itertools
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import dagster as dg

from assets.desk.value_log import LogRow
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


def value_plot(rows: Iterable[LogRow], width: int = 720, height: int = 180) -> dg.MarkdownMetadataValue | None:
    """Portfolio value over time as an inline picture; None below two rows. Missing minutes stay gaps."""
    from PIL import Image, ImageDraw  # 40 ms, needed only where a run draws

    points = [(row.timestamp.timestamp(), float(row.portfolio_value)) for row in rows]
    if len(points) < 2:
        return None
    (first, last), values = (points[0][0], points[-1][0]), [value for _, value in points]
    low, high = min(values), max(values)
    span, pad = (high - low) or 1.0, 12
    image = Image.new("RGB", (width, height), "#0A0A0B")
    draw = ImageDraw.Draw(image)

    def at(point: tuple[float, float]) -> tuple[float, float]:
        x = pad + (point[0] - first) / ((last - first) or 1.0) * (width - 2 * pad)
        return x, height - pad - (point[1] - low) / span * (height - 3 * pad)

    for before, after in itertools.pairwise(points):
        if after[0] - before[0] < 150:
            draw.line((at(before), at(after)), fill="#E6E6EA")
    draw.text((pad, 1), f"{high:,.2f}", fill="#84848F")
    draw.text((pad, height - pad), f"{low:,.2f}", fill="#84848F")
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    encoded = base64.b64encode(buffer.getvalue()).decode()
    return dg.MetadataValue.md(f"![portfolio value](data:image/png;base64,{encoded})")
