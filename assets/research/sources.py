"""The source tables of brief 1 as they were at 00:00 of a day: pulled from the history, checked, and stored.

Tables lie under their sha256; a document a table and day says which it was and what is wrong with it. Written once, so
that a decision always finds what it was made from.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import date, datetime, timedelta
from typing import Any

import pandas as pd

from assets.research import archive
from assets.research.archive import written_once
from assets.research.bad_input import BadInput
from assets.research.data import contracts
from assets.research.data.contracts import CONTRACTS, Contract, Finding
from assets.research.research_desk import Research, midnight
from assets.research.walk_forward import LOOK_BACK, Tables
from resources.documents import Document, to_iso
from resources.market import MarketError
from resources.store import Store

# Days of source tables behind a decision: the filter's burn-in, the test window and the one before it, whose models may
# still be in force, and a week for the features.
_SOURCE_DAYS = 150
# So long after 00:00 a table that lacks its newest rows is asked for again; later the decision is made without them.
_PATIENCE = timedelta(minutes=10)
_TABLES = tuple(field.name for field in fields(Tables))


def pull_source(research: Research, symbol: str, day: date, name: str) -> Document:
    """The source table ``name`` of brief 1 as it was at 00:00 of ``day``, stored, with what is wrong with it.

    A table the source does not have is absent with the reason; nothing is made up. Raises MarketError where the
    source does not answer, and while it may still be about to.
    """
    key = archive.source_key(research.source, symbol, day, name)
    found = archive.find_document(research.store, key)
    if found is not None:
        return found
    if research.clock.now() < midnight(day):
        raise BadInput("has not begun yet", column="day", at=midnight(day))
    tables, absence, faults = _tables(research, symbol, day, name)
    contract = CONTRACTS[name]
    stored = {
        each: {
            "sha256": archive.store_table(research.store, research.source, symbol, table),
            "rows": len(table),
            "first": _instant(table, 0),
            "last": _instant(table, -1),
        }
        for each, table in tables.items()
    }
    findings = faults if name not in tables else _findings(tables[name], contract, midnight(day))
    if any(finding.rule == "late" for finding in findings) and research.clock.now() < midnight(day) + _PATIENCE:
        raise MarketError(f"{symbol}: {name} is not complete yet: {findings[0].message}")
    document = {
        "table": name,
        "symbol": symbol,
        "day": day.isoformat(),
        "source": research.source,
        "pulled_utc": to_iso(research.clock.now()),
        "tables": stored,
        "absence": absence,
        "findings": [archive.dump_value(finding) for finding in findings],
    }
    return written_once(research.store, key, document)


def _tables(
    research: Research, symbol: str, day: date, name: str
) -> tuple[dict[str, pd.DataFrame], str, list[Finding]]:
    """The tables of a source by name; where there is none why, and what is wrong with what it would be made from.
    Funding keeps its raw settlements beside the deltas."""
    history, end = research.history, midnight(day)
    start = end - timedelta(days=_SOURCE_DAYS)
    if name == "bars_1h":
        return {name: history.hourly_bars(symbol, start, end)}, "", []
    if name == "daily_close":
        bars = _source_table(research, symbol, day, "bars_1h")
        return _built(name, bars, contracts.BARS_1H, contracts.daily_close)
    if name == "funding_24h":
        settlements = history.funding(symbol, start, end)
        if settlements.empty:
            return {}, "no settlements", []
        tables, absence, faults = _built(name, settlements, contracts.FUNDING_SETTLEMENTS, contracts.funding_24h)
        return tables | ({"funding_settlements": settlements} if tables else {}), absence, faults
    if name == "oi_24h":
        levels = history.open_interest(symbol, start, end)
        if levels is None or levels.empty:
            return {}, history.absence("open_interest", symbol), []
        return _built(name, levels, contracts.OPEN_INTEREST, contracts.oi_24h)
    if name == "options_moves":
        surface = history.option_levels(symbol, start, end)
        if surface is None or surface.empty:
            return {}, history.absence("option_levels", symbol), []
        return _built(name, surface, contracts.OPTION_LEVELS, contracts.options_moves)
    slippage = slippage_log(research.store, symbol, end)
    return ({}, "the desk has not traded this symbol yet", []) if slippage.empty else ({name: slippage}, "", [])


def _built(
    name: str, raw: pd.DataFrame, contract: Contract, build: Callable[[pd.DataFrame], pd.DataFrame]
) -> tuple[dict[str, pd.DataFrame], str, list[Finding]]:
    """The table ``build`` makes of ``raw``. Of a raw table that breaks its contract nothing is made: the decision goes
    on without, as it does without a table that never came."""
    faults = contracts.check_form(raw, contract)
    if faults:
        return {}, f"{contract.name} cannot be used: {faults[0].message}", faults
    return {name: build(raw)}, "", []


def slippage_log(store: Store, symbol: str, end: datetime) -> pd.DataFrame:
    """SLIPPAGE_LOG of the desk's own fills of ``symbol`` before ``end``: for each, the distance of its price from the
    mark the rebalance was sized on, positive where the price moved against it; size is the traded notional."""
    rows = []
    for entry in store.list("rebalances/"):
        if not entry.key.endswith("/fills.json") or entry.modified < end - timedelta(days=_SOURCE_DAYS):
            continue
        fills = archive.read_document(store, entry.key)
        marks = archive.read_document(store, entry.key.removesuffix("fills.json") + "pre_execution.json")[
            "prices_at_t0"
        ]
        for fill in fills["fills"]:
            at = pd.Timestamp(fill["time"])
            if fill["symbol"] != symbol or at >= end or symbol not in marks:
                continue
            sign = 1 if fill["side"] == "BUY" else -1
            price, mark = float(fill["price"]), float(marks[symbol])
            rows.append(
                {
                    "date_utc": at.floor("D"),
                    "symbol": symbol,
                    "side": fill["side"],
                    "size": abs(float(fill["quantity"])) * price,
                    "est_impact_bp": sign * (price / mark - 1) * 1e4,
                }
            )
    table = pd.DataFrame(rows, columns=list(contracts.SLIPPAGE_LOG.columns))
    if not table.empty:
        table["date_utc"] = pd.DatetimeIndex(table["date_utc"]).as_unit("us")
    return table.sort_values("date_utc", kind="stable", ignore_index=True)


def _findings(table: pd.DataFrame, contract: Contract, decision_time: datetime) -> list[Finding]:
    if table.empty:
        return [Finding(contract.name, "empty", "no rows", contract.time, None)]
    return contracts.check(table, contract, decision_time)


def _source_table(research: Research, symbol: str, day: date, name: str, table: str | None = None) -> pd.DataFrame:
    document = pull_source(research, symbol, day, name)
    entry = document["tables"].get(table or name)
    if entry is None:
        raise BadInput(document["absence"], column=name)
    return archive.load_table(research.store, research.source, symbol, entry["sha256"])


def tables_between(research: Research, symbol: str, first: date, last: date) -> Tables:
    """What the decisions of ``first`` to ``last`` and their outcomes need, from the history. Raises MarketError."""
    history = research.history
    start, end = midnight(first) - LOOK_BACK.to_pytimedelta(), midnight(last) + timedelta(days=1)
    funding, levels = history.funding(symbol, start, end), history.open_interest(symbol, start, end)
    surface = history.option_levels(symbol, start, end)
    return Tables(
        history.hourly_bars(symbol, start, end),
        None if funding.empty else funding,
        None if levels is None or levels.empty else contracts.oi_24h(levels),
        None if surface is None or surface.empty else contracts.options_moves(surface),
    )


def store_tables(research: Research, symbol: str, tables: Tables) -> dict[str, str]:
    """The sha256 of each table there is, under which it is stored."""
    present = {name: getattr(tables, name) for name in _TABLES if getattr(tables, name) is not None}
    return {
        name: archive.store_table(research.store, research.source, symbol, table) for name, table in present.items()
    }


def load_tables(research: Research, symbol: str, stored: Mapping[str, str]) -> Tables:
    """The tables that ``store_tables`` stored. Raises TamperedObject."""
    return Tables(
        **{
            name: archive.load_table(research.store, research.source, symbol, stored[name])
            for name in _TABLES
            if name in stored
        }
    )


def _instant(table: pd.DataFrame, row: int) -> str | None:
    """The stamp of a row (0 the first, -1 the last); None in an empty table. What is no UTC instant is a finding of its
    contract and shown as it came."""
    if table.empty:
        return None
    stamp: Any = table.iloc[row, 0]
    utc = isinstance(stamp, pd.Timestamp) and stamp.tzinfo is not None and not stamp.utcoffset()
    return to_iso(stamp.to_pydatetime()) if utc else str(stamp)
