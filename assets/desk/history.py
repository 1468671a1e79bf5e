"""The daily roll-up of the portfolio-value log: one Parquet file a UTC day, which is what charts read.

The log stays the truth; a file here is a copy of its rows and may be rebuilt at any time.
"""

import io
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

from assets.desk.artifacts import PORTFOLIO_VALUE_LOG, VALUE_HISTORY
from assets.desk.value_log import LogRow, minute_of, parse_log_row
from resources.store import NotFound, Store

if TYPE_CHECKING:  # at run time imported where used: it would cost every Dagster process a third of a second
    import pyarrow as pa

# Column -> Arrow type.
COLUMNS = {
    "timestamp": "timestamp[us, tz=UTC]",
    "portfolio_value": "double",
    "daily_pnl": "double",
    "total_pnl": "double",
    "stale": "bool",
}
_FIRST_TAIL = 1 << 16


def history_key(day: date) -> str:
    return f"{VALUE_HISTORY}date={day:%Y-%m-%d}.parquet"


def compacted_days(store: Store) -> list[date]:
    """UTC days that have their file, in order; files of other names are not ours."""
    name, days = f"{VALUE_HISTORY}date=", []
    for entry in store.list(name):
        with suppress(ValueError):
            day = date.fromisoformat(entry.key.removeprefix(name).removesuffix(".parquet"))
            if entry.key == history_key(day):
                days.append(day)
    return days


def rows_since(store: Store, instant: datetime) -> list[LogRow]:
    """Log rows dated ``instant`` or later, reading no more of the log's end than that takes (doubling)."""
    tail = _FIRST_TAIL
    while True:
        try:
            blob = store.read(PORTFOLIO_VALUE_LOG, tail=tail)
        except NotFound:
            return []
        whole = len(blob.data) >= blob.size
        lines = blob.data[: blob.data.rfind(b"\n") + 1].splitlines()
        rows = list(log_rows(lines if whole else lines[1:]))
        if whole or (rows and rows[0].timestamp < instant):
            return [row for row in rows if row.timestamp >= instant]
        tail *= 2


def log_rows(lines: Iterable[bytes]) -> Iterator[LogRow]:
    """Parsed rows in order; a line that is no row is passed over (``desk verify`` reports it), and of two rows of
    one minute the last wins."""
    pending: LogRow | None = None
    for line in lines:
        try:
            row = parse_log_row(line)
        except ValueError:
            continue
        if pending is not None and minute_of(pending.timestamp) != minute_of(row.timestamp):
            yield pending
        pending = row
    if pending is not None:
        yield pending


def schema() -> "pa.Schema":
    import pyarrow as pa

    special = {"timestamp": pa.timestamp("us", tz="UTC")}
    return pa.schema([(name, special.get(name) or pa.type_for_alias(kind)) for name, kind in COLUMNS.items()])


def to_table(rows: Iterable[LogRow]) -> "pa.Table":
    """The roll-up of ``rows``: 6-decimal amounts as float64, for charts only."""
    import pyarrow as pa

    listed = list(rows)
    return pa.table(
        {
            "timestamp": [row.timestamp for row in listed],
            "portfolio_value": [float(row.portfolio_value) for row in listed],
            "daily_pnl": [float(row.daily_pnl) for row in listed],
            "total_pnl": [float(row.total_pnl) for row in listed],
            "stale": [bool(row.document.get("stale")) for row in listed],
        },
        schema=schema(),
    )


def to_parquet(rows: Iterable[LogRow]) -> bytes:
    """The same rows always give the same bytes (one writer version)."""
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(to_table(rows), buffer, compression="zstd")
    return buffer.getvalue()


def holds_exactly(parquet: bytes, rows: Iterable[LogRow]) -> bool:
    """Whether a stored day is what ``rows`` give: every byte where this version of the writer made it, every value
    where another version did. Raises OSError or ValueError when it cannot be read at all."""
    import pyarrow.parquet as pq

    listed = list(rows)
    expected = to_parquet(listed)
    if parquet == expected:
        return True
    stored = pq.ParquetFile(io.BytesIO(parquet))
    same_writer = stored.metadata.created_by == pq.ParquetFile(io.BytesIO(expected)).metadata.created_by
    return not same_writer and bool(stored.read().equals(to_table(listed)))


def compact(store: Store, today: date) -> dict[date, int]:
    """Write the file of every whole day before ``today`` that lies after the last one written; rows by day."""
    done = compacted_days(store)
    start = datetime.combine(done[-1] + timedelta(days=1), time(), UTC) if done else datetime.min.replace(tzinfo=UTC)
    by_day: dict[date, list[LogRow]] = {}
    for row in rows_since(store, start):
        if row.timestamp.date() < today:
            by_day.setdefault(row.timestamp.date(), []).append(row)
    for day, rows in sorted(by_day.items()):
        store.write(history_key(day), to_parquet(rows))
    return {day: len(rows) for day, rows in sorted(by_day.items())}
