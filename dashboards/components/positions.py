"""The positions table: texts to show and numbers to sort by, row for row from ``assets.desk.position_table``."""

from decimal import Decimal
from typing import Any

from assets.desk.position_table import PositionRow
from dashboards import format as text
from dashboards.components.cards import NO_SIGNAL
from dashboards.components.pills import milliseconds
from dashboards.snapshot import Snapshot
from resources.documents import Document, from_iso

# key, column head, explanation; the order of the columns and of every row's ``cells`` and ``sort``.
COLUMNS = (
    ("symbol", "Symbol", "Symbol of the exchange"),
    ("side", "Side", "Side of the held quantity"),
    ("weight", "Weight", "Quantity × mark / portfolio value"),
    ("target", "Target notional", "Target at t0, in the reporting currency"),
    ("quantity", "Quantity", "Executed, signed contract units"),
    ("baseline", "Baseline", "Price at t1"),
    ("mark", "Mark", "Latest stored mark"),
    ("pnl", "P&L", "Quantity × (mark − baseline)"),
    ("pct", "P&L %", "Side × (mark / baseline − 1)"),
)

_SIDES = {1: "Long", 0: "Flat", -1: "Short"}

_REASONS = {
    "no_mark": "no price was ever stored for this symbol",
    "no_baseline": "no price was stored at t1",
    "no_portfolio_value": "no portfolio value in the log yet",
}


def positions(snapshot: Snapshot, rows: list[PositionRow]) -> dict[str, Any]:
    """Columns, rows and, while there are none, what will fill the table."""
    shown: dict[str, Any] = {
        "columns": [list(column) for column in COLUMNS],
        "rows": [_cells(row) for row in rows],
        "open": sum(row.side != 0 for row in rows),
        "reason": NO_SIGNAL if not rows else "",
    }
    if snapshot.prices is not None:
        shown["since"] = milliseconds(from_iso(snapshot.prices["timestamp_utc"]))
    return shown


def saved(rows: list[PositionRow]) -> dict[str, Document]:
    """The table as a file, row for row by symbol: the exact numbers under the columns' keys, weight and P&L % as
    fractions."""
    names = [key for key, _, _ in COLUMNS]
    return {
        row.symbol: dict(zip(names, (row.symbol, _SIDES[row.side], *_numbers(row)), strict=True)) | {"note": _note(row)}
        for row in rows
    }


def _numbers(row: PositionRow) -> tuple[Decimal | None, ...]:
    return (row.weight, row.target_notional, row.quantity, row.baseline, row.mark, row.pnl, row.pnl_pct)


def _note(row: PositionRow) -> str:
    notes = []
    if not row.in_csv:
        notes.append("not in CSV")
    if row.stale:
        notes.append(f"stale mark: {row.stale}")
    if row.missing:
        notes.append(_REASONS[row.missing])
    return "; ".join(notes)


def _cells(row: PositionRow) -> dict[str, Any]:
    return {
        "cells": [
            row.symbol,
            _SIDES[row.side],
            text.percent(row.weight),
            text.whole_money(row.target_notional),
            text.quantity(row.quantity),
            text.price(row.baseline),
            text.price(row.mark),
            text.money(row.pnl, signed=True).text,
            text.percent(row.pnl_pct).removesuffix("%"),
        ],
        "sort": [
            row.symbol,
            row.side,
            *(None if number is None else float(number) for number in _numbers(row)),
        ],
        "side": row.side,
        "in_csv": row.in_csv,
        "stale": bool(row.stale),
        "note": _note(row),
    }
