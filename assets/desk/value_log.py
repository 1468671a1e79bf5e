"""The portfolio-value log and the marks behind it: row shapes, tolerant reading, one row a minute.

A log row is a pure function of one marks row and the ledger up to the segment that row names, so every logged
number can be recomputed from stored artifacts.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from assets.accounting.pnl import Valuation
from assets.desk.artifacts import MARKS_HISTORY
from resources.documents import Document, dump_line, from_iso, load_document, to_iso, to_isos

MINUTE = timedelta(minutes=1)


def minute_of(instant: datetime) -> datetime:
    """The minute an instant belongs to (its floor), which names a log row."""
    return instant.replace(second=0, microsecond=0)


def marks_key(minute: datetime) -> str:
    """Where the marks that valued ``minute`` lie: one object an hour keeps appends small on any store."""
    return f"{MARKS_HISTORY}date={minute:%Y-%m-%d}/hour={minute:%H}.jsonl"


@dataclass(frozen=True, slots=True)
class MarksRow:
    """The prices one minute was valued at: of every held symbol, with their own times; ``stale`` names those
    whose mark was refused and valued at the last valid price instead."""

    timestamp: datetime
    prices: dict[str, Decimal]
    as_of: dict[str, datetime]
    stale: tuple[str, ...]
    ledger_seq: int

    def line(self) -> bytes:
        return dump_line(
            {
                "timestamp": to_iso(self.timestamp),
                "prices": self.prices,
                "as_of": to_isos(self.as_of),
                "stale": list(self.stale),
                "ledger_seq": self.ledger_seq,
            }
        )

    @classmethod
    def parse(cls, line: bytes) -> "MarksRow":
        row = load_document(line)
        return cls(
            from_iso(row["timestamp"]),
            {symbol: Decimal(price) for symbol, price in row["prices"].items()},
            {symbol: from_iso(text) for symbol, text in row["as_of"].items()},
            tuple(row["stale"]),
            row["ledger_seq"],
        )


def log_row(marks: MarksRow, value: Valuation, *, seq: int, rebalance_id: str | None, source: str) -> Document:
    """Brief 0's four fields first, then the additive ones (reference/trading.md 3.4, Artifacts)."""
    return {
        "timestamp": to_iso(marks.timestamp),
        "portfolio_value": value.portfolio_value,
        "daily_pnl": value.daily_pnl,
        "total_pnl": value.total_pnl,
        "base_cumulative": value.base_cumulative,
        "net_flows": value.net_flows,
        "seq": seq,
        "stale": list(marks.stale),
        "ledger_seq": marks.ledger_seq,
        "rebalance_id": rebalance_id,
        "source": source,
    }


@dataclass(frozen=True, slots=True)
class LogRow:
    """One parsed row of the portfolio-value log; ``document`` is the row as stored."""

    timestamp: datetime
    portfolio_value: Decimal
    daily_pnl: Decimal
    total_pnl: Decimal
    base_cumulative: Decimal
    net_flows: Decimal
    seq: int
    document: Document


def parse_log_row(line: bytes) -> LogRow:
    """Raises ValueError when the line is not a log row. ``base_cumulative`` absent reads as 0: rows written by
    brief 0's first logger, which knew no accumulation."""
    row = load_document(line)
    try:
        return LogRow(
            from_iso(row["timestamp"]),
            Decimal(row["portfolio_value"]),
            Decimal(row["daily_pnl"]),
            Decimal(row["total_pnl"]),
            Decimal(row.get("base_cumulative", 0)),
            Decimal(row.get("net_flows", 0)),
            row.get("seq", 0),
            row,
        )
    except (KeyError, TypeError, ArithmeticError) as error:
        raise ValueError(f"not a log row: {error!r}") from error


def last_row_before(lines: Iterable[bytes], instant: datetime) -> tuple[LogRow | None, LogRow | None]:
    """The last row strictly before ``instant``, and the most recent row of all; unreadable lines are passed over."""
    before = newest = None
    for line in lines:
        try:
            row = parse_log_row(line)
        except ValueError:
            continue
        newest = row
        if row.timestamp < instant:
            before = row
    return before, newest


def minute_of_line(line: bytes) -> datetime:
    """The minute a stored row stands for; the epoch's first minute for an empty or unreadable line."""
    try:
        return minute_of(from_iso(load_document(line)["timestamp"]))
    except (ValueError, KeyError, TypeError):
        return datetime.min.replace(tzinfo=UTC)


def next_seq(last: bytes) -> int:
    """The number of the row that follows the line ``last``: from 0 on an empty log or after a line that is no row,
    from 1 after a row that has no number (brief 0's first logger)."""
    try:
        return parse_log_row(last).seq + 1
    except ValueError:
        return 0
