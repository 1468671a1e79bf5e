"""What the store says, read once for every viewer: one poller a process publishes immutable snapshots.

In the steady state a refresh is exactly one store read, alternately the log's tail and ``execution.json``,
whatever the number of viewers. A new row or a changed execution state makes the poller read the small documents
again; the history files are read once at the start and looked for again when the UTC day changes.
"""

import io
import json
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import numpy as np

from assets.desk.artifacts import (
    DAILY_BASELINE,
    EXECUTION,
    LATEST_EXECUTED,
    LATEST_PRICES,
    LATEST_REFUSED,
    PORTFOLIO_VALUE_LOG,
    PRE_EXECUTION,
    VALUE_HISTORY,
    audit_key,
)
from assets.desk.value_log import LogRow, parse_log_row
from dashboards.polling import Polling
from dashboards.series import EMPTY, MINUTE_MS, Series, Values, drawdown, of_rows
from resources.clock import Clock
from resources.documents import Document, from_iso, load_document
from resources.store import Blob, NotFound, Store, StoreError

_log = logging.getLogger(__name__)

_FIRST_TAIL = 64 * 1024  # bytes, some three hours of rows
_HISTORY_READERS = 8  # reads in flight while the history is loaded
_DAY_MS = 1440 * MINUTE_MS

# What the pages cannot do without; an object that lacks one of these counts as unreadable.
_REQUIRED = {
    LATEST_PRICES: ("timestamp_utc", "prices"),
    DAILY_BASELINE: ("timestamp_utc", "portfolio_value", "prices", "positions"),
    LATEST_EXECUTED: ("timestamp_utc", "csv_filename"),
    LATEST_REFUSED: ("timestamp_utc", "csv_filename", "status", "reason"),
    PRE_EXECUTION: ("timestamp_utc", "pv_pre", "rows"),
    EXECUTION: ("state", "started_utc"),
    "outcome.json": ("status",),
}


Changes = dict[str, Any]  # fields of a Snapshot that are new


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything the pages show, as of one look at the store. A document is None while the store holds none.

    ``version`` rises with every change. ``depth`` is the drawdown of each row of ``series``, a fraction <= 0.
    ``detected`` is the newest pre_execution and ``outcome`` belongs to it; ``in_force`` is the pre_execution of the
    baseline's rebalance. ``unreadable`` names objects that are present but not what they should be.
    ``disconnected`` is why the store could not be read ("" while it answers); the rest then keeps its last values,
    read at ``read_at``.
    """

    version: int = 0
    row: LogRow | None = None
    series: Series = EMPTY
    depth: Values = field(default_factory=lambda: EMPTY.value)
    prices: Document | None = None
    baseline: Document | None = None
    executed: Document | None = None
    refused: Document | None = None
    detected: Document | None = None
    in_force: Document | None = None
    outcome: Document | None = None
    execution: Document | None = None
    unreadable: tuple[str, ...] = ()
    history_loaded: bool = False
    disconnected: str = ""
    read_at: datetime | None = None

    @property
    def initial_capital(self) -> Decimal | None:
        """C0 in the reporting currency, from the last row: PV - total P&L - net flows. None without a row."""
        row = self.row
        return None if row is None else row.portfolio_value - row.total_pnl - row.net_flows

    @property
    def unanswered_refusal(self) -> Document | None:
        """The last signal that was not executed, while nothing was executed since."""
        if self.refused is None or self.executed is None:
            return self.refused
        later = from_iso(self.refused["timestamp_utc"]) > from_iso(self.executed["timestamp_utc"])
        return self.refused if later else None

    @property
    def rebalance_id(self) -> str | None:
        """The rebalance the newest detection belongs to."""
        return None if self.detected is None else self.detected.get("rebalance_id")


class Poller(Polling[Snapshot]):
    """Reads one store for one process."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._snapshot = Snapshot()
        self._log_next = True
        self._log_version = ""
        self._execution_version = ""
        self._last_history_key = ""
        self._audit: dict[str, Document] = {}

    def refresh(self) -> None:
        """Look at the store once and publish what changed. A store error keeps the old data and says why."""
        try:
            if self._snapshot.version == 0:
                self._look_at_execution()
                self._publish(**self._look_at_log() or {}, **self._documents())
                return
            if not self._snapshot.history_loaded:
                self._publish(**self._load_history(), history_loaded=True)
            look = self._look_at_log if self._log_next else self._look_at_execution
            self._log_next = not self._log_next
            changes = look()
            if changes is not None:
                self._publish(**changes, **self._documents())
            elif self._snapshot.disconnected:
                self._publish()
        except Exception as error:  # whatever is wrong, viewers must be told rather than shown old numbers as live
            if not isinstance(error, StoreError):
                _log.exception("refresh failed")
            # What was seen but not published must be seen again.
            self._log_version = self._execution_version = ""
            if not self._snapshot.disconnected:
                before = self._snapshot
                self._snapshot = replace(before, version=before.version + 1, disconnected=str(error) or repr(error))

    def _publish(self, **changes: Any) -> None:
        self._snapshot = replace(
            self._snapshot,
            version=self._snapshot.version + 1,
            disconnected="",
            read_at=self._clock.now(),
            **changes,
        )

    def _look_at_execution(self) -> Changes | None:
        """{} when somebody started, moved on or ended an execution; the documents tell the rest."""
        try:
            version = self._store.read(EXECUTION).version
        except NotFound:
            version = ""
        if version == self._execution_version:
            return None
        self._execution_version = version
        return {}

    def _look_at_log(self) -> Changes | None:
        """The log's new rows taken in, or None when there are none."""
        try:
            blob = self._store.read(PORTFOLIO_VALUE_LOG, tail=_FIRST_TAIL)
        except NotFound:
            if self._snapshot.row is not None:
                raise  # a log that was there and is not any more is no quiet day
            return None
        if blob.version == self._log_version:
            return None
        series = self._snapshot.series
        known = int(series.time[-1]) if len(series) else None
        # Until the history is there nobody knows how far back the log is needed.
        rows = _rows(blob.data) if known is None else self._rows_since(blob, known)
        self._log_version = blob.version
        newest = _newest_row(blob.data)
        if newest is None or not len(rows):
            return None
        series = series.merged(rows)
        if known is not None and int(rows.time[-1]) // _DAY_MS != known // _DAY_MS and self._snapshot.history_loaded:
            series = series.merged(self._new_history())
        return _taken(series, newest)

    def _rows_since(self, blob: Blob, known: int) -> Series:
        """The log's rows from the minute of ``known`` (ms) on, reading back as far as that takes."""
        while True:
            rows = _rows(blob.data)
            reaches = len(rows) and rows.time[0] // MINUTE_MS <= known // MINUTE_MS
            if reaches or len(blob.data) >= blob.size:
                break
            blob = self._store.read(PORTFOLIO_VALUE_LOG, tail=2 * len(blob.data))
        new = rows.time // MINUTE_MS >= known // MINUTE_MS
        return Series(rows.time[new], rows.value[new], rows.daily[new], rows.total[new])

    def _load_history(self) -> Changes:
        """All past days, then as much of the log's tail as they do not cover."""
        try:
            blob = self._store.read(PORTFOLIO_VALUE_LOG, tail=_FIRST_TAIL)
        except NotFound:
            return {}
        newest = _newest_row(blob.data)
        if newest is None:
            return {}
        history = self._new_history()
        known = int(history.time[-1]) if len(history) else -1
        return _taken(history.merged(self._rows_since(blob, known)), newest)

    def _new_history(self) -> Series:
        """The rows of every history file not read before."""
        keys = [e.key for e in self._store.list(VALUE_HISTORY, after=self._last_history_key) if _is_parquet(e.key)]
        if not keys:
            return EMPTY
        with ThreadPoolExecutor(_HISTORY_READERS) as readers:
            days = list(readers.map(lambda key: _history_columns(self._store.read(key).data), keys))
        self._last_history_key = keys[-1]
        return of_rows(*(np.concatenate(columns) for columns in zip(*days, strict=True)))

    def _documents(self) -> Changes:
        """The small documents as they are now."""
        unreadable: list[str] = []

        def read(key: str) -> Document | None:
            try:
                document = load_document(self._store.read(key).data)
            except NotFound:
                return None
            except ValueError:
                document = {}
            if all(name in document for name in _REQUIRED[key.rpartition("/")[2]]):
                return document
            unreadable.append(key)
            return None

        def audited(rebalance_id: str, name: str) -> Document | None:
            key = audit_key(rebalance_id, name)
            document = self._audit.get(key) or read(key)  # immutable once there
            if document is not None:
                self._audit[key] = document
            return document

        baseline, detected = read(DAILY_BASELINE), read(PRE_EXECUTION)
        in_force = detected
        if baseline is not None and (detected is None or detected.get("rebalance_id") != baseline.get("rebalance_id")):
            in_force = audited(baseline["rebalance_id"], "pre_execution.json") if "rebalance_id" in baseline else None
        outcome = None
        if detected is not None and "rebalance_id" in detected:
            outcome = audited(detected["rebalance_id"], "outcome.json")
        return {
            "prices": read(LATEST_PRICES),
            "baseline": baseline,
            "executed": read(LATEST_EXECUTED),
            "refused": read(LATEST_REFUSED),
            "detected": detected,
            "in_force": in_force,
            "outcome": outcome,
            "execution": read(EXECUTION) if self._execution_version else None,
            "unreadable": tuple(unreadable),
        }


def _taken(series: Series, row: LogRow) -> Changes:
    capital = float(row.portfolio_value - row.total_pnl - row.net_flows)
    return {"series": series, "depth": drawdown(series.total, capital), "row": row}


def _is_parquet(key: str) -> bool:
    return key.endswith(".parquet")


def _whole_lines(data: bytes) -> Iterator[bytes]:
    """Lines that end in a newline, newest first; the torn end is left out."""
    lines = data.split(b"\n")
    return reversed(lines[:-1])


def _rows(data: bytes) -> Series:
    """The readable rows of a stretch of log; a torn first or last line and foreign lines are passed over."""
    rows: list[tuple[float, float, float, float]] = []
    for line in reversed(list(_whole_lines(data))):
        try:
            row = json.loads(line)
            instant = datetime.fromisoformat(row["timestamp"]).timestamp() * 1000
            rows.append((instant, float(row["portfolio_value"]), float(row["daily_pnl"]), float(row["total_pnl"])))
        except (ValueError, KeyError, TypeError):
            continue
    if not rows:
        return EMPTY
    time, value, daily, total = np.array(rows).T
    return of_rows(time.astype(np.int64), value, daily, total)


def _newest_row(data: bytes) -> LogRow | None:
    for line in _whole_lines(data):
        try:
            return parse_log_row(line)
        except ValueError:
            continue
    return None


def _history_columns(data: bytes) -> tuple[Any, ...]:
    """time (ms), portfolio_value, daily_pnl and total_pnl of one day's file."""
    import pyarrow.parquet as pq  # a quarter of a second: only where there is a history

    names = ["timestamp", "portfolio_value", "daily_pnl", "total_pnl"]
    table = pq.read_table(io.BytesIO(data), columns=names)
    stamps = table["timestamp"].to_numpy().astype("datetime64[ms]").astype(np.int64)
    return stamps, *(table[name].to_numpy().astype(np.float64) for name in names[1:])
