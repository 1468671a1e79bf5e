"""Rows for ``desk export``, exact to the last digit and dated by UTC day."""

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from decimal import Decimal
from typing import TextIO

import simplejson

from assets.accounting.events import to_document
from assets.desk.artifacts import PORTFOLIO_VALUE_LOG, REBALANCES
from assets.desk.desk import Desk
from assets.desk.history import log_rows
from assets.desk.rebalance import BASELINE, FILLS, SIZED_ORDERS
from resources.documents import Document, from_iso
from resources.store import NotFound
from resources.store.once import find


def _within(instant: str, first: date, last: date) -> bool:
    return first <= from_iso(instant).date() <= last


def values(desk: Desk, first: date, last: date) -> Iterator[Document]:
    """Rows of the portfolio-value log."""
    try:
        data = desk.store.read(PORTFOLIO_VALUE_LOG).data
    except NotFound:
        return
    for row in log_rows(data[: data.rfind(b"\n") + 1].splitlines()):
        if first <= row.timestamp.date() <= last:
            yield row.document | {"stale": " ".join(row.document.get("stale", []))}


def _audit_documents(desk: Desk, name: str) -> Iterator[tuple[str, Document]]:
    for entry in desk.store.list(REBALANCES):
        rebalance_id, _, stored = entry.key.removeprefix(REBALANCES).partition("/")
        if stored == name:
            document = find(desk.store, entry.key)
            assert document is not None
            yield rebalance_id, document


def fills(desk: Desk, first: date, last: date) -> Iterator[Document]:
    """Every fill of every rebalance, by its own time."""
    for rebalance_id, document in _audit_documents(desk, FILLS):
        for fill in document["fills"]:
            if _within(fill["time"], first, last):
                yield {"rebalance_id": rebalance_id, **fill}


def orders(desk: Desk, first: date, last: date) -> Iterator[Document]:
    """Every planned order, by the t0 of its rebalance."""
    for rebalance_id, document in _audit_documents(desk, SIZED_ORDERS):
        detection = find(desk.store, f"{REBALANCES}{rebalance_id}/detection.json")
        assert detection is not None
        if _within(detection["timestamp_utc"], first, last):
            for order in (*document["reductions"], *document["increases"]):
                strategies = " ".join(f"{name}={share}" for name, share in order["strategies"].items())
                yield {"rebalance_id": rebalance_id, **order, "strategies": strategies}


def positions(desk: Desk, first: date, last: date) -> Iterator[Document]:
    """Positions and prices at every baseline, by t1."""
    for rebalance_id, document in _audit_documents(desk, BASELINE):
        if _within(document["timestamp_utc"], first, last):
            for symbol, quantity in document["positions"].items():
                yield {
                    "rebalance_id": rebalance_id,
                    "timestamp_utc": document["timestamp_utc"],
                    "symbol": symbol,
                    "quantity": quantity,
                    "price": document["prices"][symbol],
                }


def events(desk: Desk, first: date, last: date) -> Iterator[Document]:
    """Every ledger event in order."""
    for segment in desk.ledger().segments():
        for event in segment.events:
            if first <= event.time.date() <= last:
                yield {"segment": segment.seq, **to_document(event)}


EXPORTS: dict[str, Callable[[Desk, date, date], Iterator[Document]]] = {
    "values": values,
    "fills": fills,
    "orders": orders,
    "positions": positions,
    "events": events,
}


# A spreadsheet may run a text that begins like this as a formula; it passes over what nobody sees.
_FORMULA = re.compile(r"[\t\r\n]|[\s\x00-\x1f\x7f-\x9f\u200b-\u200f\u2060\ufeff]*[=+\-@＝＋－＠]")


def write_csv(rows: Sequence[Document], output: TextIO) -> None:
    """Rows under a header of all their names: numbers in full, mappings and lists as JSON, None as an empty cell, and
    a ``'`` before a text that a spreadsheet would run."""
    if not rows:
        return
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.writer(output)
    writer.writerow(map(_cell, names))
    writer.writerows([_cell(row.get(name)) for name in names] for row in rows)


def _cell(value: object) -> object:
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, str) and _FORMULA.match(value):
        return f"'{value}"
    return simplejson.dumps(value, use_decimal=True) if isinstance(value, dict | list) else value
