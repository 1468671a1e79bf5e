"""One day of paper trading as a report in brief 4's files, and whether the stored files are true.

``reports/paper_<source>_<day>/``. A fill's symbol is ``<exchange>:<symbol>``, its round trip that of its signal: both
legs together. ``cash`` is the cash account: what capital, fills, funding and flows leave, proceeds of short sales
included. Points are the day's valuations, which hold what closing would cost, then one at the day's end, at its marks.
"""

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, localcontext
from typing import Any, Literal

from assets.accounting.precision import EXACT, ZERO, divided
from assets.telemetry.backtest.coverage import Flag
from assets.telemetry.backtest.engine import quoted_in
from assets.telemetry.backtest.importer import FILES, import_report
from assets.telemetry.backtest.report import (
    EQUITY,
    RESULTS,
    SIGNALS,
    TRADES,
    CapitalFlow,
    EquityPoint,
    FundingPayment,
    Holding,
    Report,
    SignalRecord,
    Trade,
    report_key,
)
from assets.telemetry.bad_telemetry import BadTelemetry
from resources.documents import Document, load_document, sha256_hex
from resources.store import NotFound, Store

CURRENCY = "USD"
# Quotes that the trader counts as dollars: its pool of capital is one.
DOLLARS = frozenset({"USD", "USDT", "USDC"})
# Flags of the importer that our own report earns because of the brief's columns, and why.
FORCED = {
    "fee_inconsistent": "the columns name neither the venue's rate nor whether the fill was a maker's: both differ",
    "mixed_quote_currencies": "a leg is named by its venue's symbol, and dollars are spelled USD, USDT or USDC there",
    "missing_rows": "the curve's columns hold no unknown equity: such valuations have no row",
    "no_trades": "a day may pass without a fill",
    "result_without_trades": "trades.csv has no row for what was held when the day began",
}
# Of a price that is no more than a cost divided by a quantity; the start value is computed with the price as it is.
_PRICE_DIGITS = 30


def report_name(source: str, day: date) -> str:
    """The folder of one day's report."""
    return f"paper_{source.lower()}_{day:%Y-%m-%d}"


@dataclass(frozen=True, slots=True)
class Carried:
    """What was held when the day began: by (signal, symbol) a signed quantity and what it had cost, signed alike."""

    quantity: Decimal
    cost: Decimal


def carried_over(document: Document) -> dict[tuple[str, str], Carried]:
    """A leg that was flat at the day's beginning has nothing left to book, whatever it once cost."""
    held: dict[tuple[str, str], Carried] = {}
    with localcontext(EXACT):
        for row in document["opening"]:
            key = row["signal_id"], _symbol(row)
            before = held.get(key, Carried(ZERO, ZERO))
            held[key] = Carried(before.quantity + row["quantity"], before.cost + row["notional"])
    return {key: each for key, each in held.items() if each.quantity}


def report_of(document: Document) -> Report:
    """The report of a day's records. Raises BadTelemetry when something held at the end has no mark, ReportError when
    the records contradict each other."""
    records: list[Document] = document["records"]
    opened = records[0]
    strategies = _Strategies(records)
    carried = carried_over(document)
    with localcontext(EXACT):
        opening = tuple(
            Holding(
                symbol,
                held.quantity,
                divided(held.cost, held.quantity, _PRICE_DIGITS),
                strategies.of(signal),
                signal,
            )
            for (signal, symbol), held in carried.items()
        )
        cost = sum((held.cost for held in carried.values()), ZERO)
        start_cash = opened["capital"] - cost
        start = start_cash + sum((holding.quantity * holding.price for holding in opening), ZERO)
    fills = [record for record in records if record["kind"] == "fill"]
    currency = _currency(_symbol(record) for record in fills)
    trades = tuple(
        _trade(number, record, strategies.of(record["signal_id"]), currency) for number, record in enumerate(fills)
    )
    prices = _closing_marks(document, opening, trades)
    funding = tuple(
        FundingPayment(_instant(record["time_ns"]), _symbol(record), Decimal(record["amount"]), record["signal_id"])
        for record in records
        if record["kind"] == "funding"
    )
    flows = tuple(
        CapitalFlow(_instant(record["time_ns"]), Decimal(record["amount"]))
        for record in records
        if record["kind"] == "flow"
    )
    points = [
        EquityPoint(_instant(record["time_ns"]), Decimal(record["equity"]), cash)
        for record, cash, _ in cash_account(document)
        if record["kind"] == "point" and record["equity"] is not None
    ]
    points.append(_last_point(opened, start_cash, opening, trades, funding, flows, prices))
    return Report(
        currency=currency,
        source=str(opened["source"]),
        start_value=start,
        points=tuple(points),
        trades=trades,
        signals=tuple(_signals(records)),
        prices=prices,
        funding=funding,
        flows=flows,
        opening=opening,
    )


def cash_account(document: Document) -> Iterator[tuple[Document, Decimal, bool]]:
    """Each record of the day, the cash account after it, and whether nothing is held then."""
    held = {key: each.quantity for key, each in carried_over(document).items()}
    with localcontext(EXACT):
        cash = Decimal(document["records"][0]["capital"])
        cash -= sum((each.cost for each in carried_over(document).values()), ZERO)
    for record in document["records"]:
        with localcontext(EXACT):
            if record["kind"] == "fill":
                signed = record["quantity"] * (1 if record["side"] == "buy" else -1)
                cash -= signed * record["price"] + record["fee"]
                key = record["signal_id"], _symbol(record)
                held[key] = held.get(key, ZERO) + signed
            elif record["kind"] in ("funding", "flow"):
                cash += record["amount"]
        yield record, cash, not any(held.values())


class _Strategies:
    """Who traded a signal. One that was begun on an earlier day is of the strategy that the day's others are of."""

    def __init__(self, records: Iterable[Document]) -> None:
        named = [record for record in records if record["kind"] in ("signal", "trade")]
        self._by_signal = {record["signal_id"]: str(record["strategy"]) for record in named if "signal_id" in record}
        self._usual = str(named[0]["strategy"]) if named else "carried over"

    def of(self, signal: str) -> str:
        return self._by_signal.get(signal, self._usual)


def _last_point(
    opened: Document,
    start_cash: Decimal,
    opening: tuple[Holding, ...],
    trades: tuple[Trade, ...],
    funding: tuple[FundingPayment, ...],
    flows: tuple[CapitalFlow, ...],
    prices: Mapping[str, Decimal],
) -> EquityPoint:
    """The day's last microsecond at the closing marks: cash and what is held, without what closing would cost."""
    with localcontext(EXACT):
        cash = start_cash + sum((trade.paid for trade in trades), ZERO)
        cash += sum((payment.amount for payment in funding), ZERO) + sum((flow.amount for flow in flows), ZERO)
        value = sum((quantity * prices[symbol] for symbol, quantity in _held(opening, trades).items()), ZERO)
        midnight = datetime.combine(date.fromisoformat(opened["day"]) + timedelta(days=1), datetime.min.time(), UTC)
        return EquityPoint(midnight - timedelta(microseconds=1), cash + value, cash)


def _held(opening: Iterable[Holding], trades: Iterable[Trade]) -> dict[str, Decimal]:
    held: dict[str, Decimal] = defaultdict(Decimal)
    with localcontext(EXACT):
        for holding in opening:
            held[holding.symbol] += holding.quantity
        for trade in trades:
            held[trade.symbol] += trade.signed
    return {symbol: quantity for symbol, quantity in held.items() if quantity}


def _closing_marks(document: Document, opening: Iterable[Holding], trades: Iterable[Trade]) -> dict[str, Decimal]:
    owned: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    with localcontext(EXACT):
        for holding in opening:
            owned[holding.group, holding.symbol] += holding.quantity
        for trade in trades:
            owned[trade.group, trade.symbol] += trade.signed
    prices: dict[str, Decimal] = {}
    for (signal, symbol), quantity in owned.items():
        if not quantity:
            continue
        mark = document["marks"].get(symbol)
        if mark is None:
            raise BadTelemetry("marks", f"{signal} still holds {quantity:f} of {symbol}, which has no closing mark")
        prices[symbol] = Decimal(mark)
    return prices


def _trade(number: int, record: Document, strategy: str, currency: str) -> Trade:
    side: Literal["buy", "sell"] = "buy" if record["side"] == "buy" else "sell"
    return Trade(
        f"{record['order_id']}#{number}",  # an order may fill in parts
        _instant(record["time_ns"]),
        _symbol(record),
        side,
        Decimal(record["quantity"]),
        Decimal(record["price"]),
        Decimal(record["fee"]),
        strategy,
        currency,
        record["signal_id"],
    )


def _signals(records: list[Document]) -> Iterator[SignalRecord]:
    """A signal was filled when one of its legs at some time held all of it; its side is that of the leg bought."""
    most: dict[str, Decimal] = {}
    held: dict[tuple[str, str], Decimal] = {}
    abandoned = {record["signal_id"]: record["reason"] for record in records if record["kind"] == "entry_abandoned"}
    for record in records:
        if record["kind"] == "fill":
            key = record["signal_id"], _symbol(record)
            signed = record["quantity"] * (1 if record["side"] == "buy" else -1)
            held[key] = EXACT.add(held.get(key, ZERO), signed)
            most[key[0]] = max(most.get(key[0], ZERO), abs(held[key]))
    for record in records:
        if record["kind"] != "signal":
            continue
        name, filled = record["signal_id"], most.get(record["signal_id"], ZERO)
        status: Literal["filled", "partial", "refused"] = "partial" if filled else "refused"
        reason = abandoned.get(name, f"{filled:f} of {record['quantity']:f} filled by the end of the day")
        if name not in abandoned and filled >= record["quantity"]:
            status, reason = "filled", ""
        yield SignalRecord(
            name,
            _instant(record["time_ns"]),
            record["symbol"],
            "buy",
            record["strategy"],
            Decimal(record["confidence"]),
            Decimal(record["quantity"]),
            Decimal(record["notional"]),
            status,
            reason,
        )


def _currency(symbols: Iterable[str]) -> str:
    """The quote that all symbols spell, dollars where they spell several of them or none."""
    spelled = {quoted_in(symbol) for symbol in symbols} - {""}
    if not spelled <= DOLLARS:
        raise BadTelemetry("symbol", f"a pool of dollars cannot trade against {', '.join(sorted(spelled - DOLLARS))}")
    return spelled.pop() if len(spelled) == 1 else CURRENCY


def _symbol(record: Document) -> str:
    return f"{record['exchange']}:{record['symbol']}"


def _instant(time_ns: int) -> datetime:
    return datetime.fromtimestamp(time_ns // 10**9, UTC) + timedelta(microseconds=time_ns % 10**9 // 1_000)


# --- what was stored ---


@dataclass(frozen=True, slots=True)
class Verdict:
    """What does not hold, a sentence each, and how much was looked at."""

    failures: tuple[str, ...]
    compared: Mapping[str, int]


def stored_files(store: Store, name: str) -> dict[str, bytes]:
    """The files of a stored report that are there, by name."""
    files = {}
    for file in FILES:
        try:
            files[file] = store.read(report_key(name, file)).data
        except NotFound:
            continue
    return files


def identities(files: Mapping[str, bytes], document: Document) -> Verdict:
    """Recompute from the stored files, and the day's records, all that must come out the same to the last digit."""
    missing = [file for file in FILES if file not in files]
    if missing:
        return Verdict((f"not stored: {', '.join(missing)}",), {"files": len(files)})
    results: dict[str, Any] = load_document(files[RESULTS])
    failures = [
        f"{file} is not what results.json says it was"
        for file in (EQUITY, TRADES, SIGNALS)
        if sha256_hex(files[file]) != results["sha256"].get(file)
    ]
    rows, curve = _rows(files[TRADES]), _rows(files[EQUITY])

    def expect(what: str, stated: Decimal | None, due: Decimal) -> None:
        if stated is None or stated != due:
            failures.append(f"{what} is stated as {stated}, computed {due:f}")

    fills = sum(record["kind"] == "fill" for record in document["records"])
    expect("number of fills", Decimal(len(rows)), Decimal(fills))
    with localcontext(EXACT):
        traded = sum((Decimal(row["proceeds"] or 0) - Decimal(row["cost"] or 0) for row in rows), ZERO)
        funding = sum((each["amount"] for each in document["records"] if each["kind"] == "funding"), ZERO)
        flows = sum((each["amount"] for each in document["records"] if each["kind"] == "flow"), ZERO)
        held: dict[str, Decimal] = defaultdict(Decimal)
        for (_, symbol), each in carried_over(document).items():
            held[symbol] += each.quantity
        for row in rows:
            held[row["symbol"]] += Decimal(row["qty"]) * (1 if row["side"] == "buy" else -1)
        held = {symbol: quantity for symbol, quantity in held.items() if quantity}
        if held != results["held"]:
            failures.append(f"held is stated as {results['held']}, the fills leave {held}")
        value = sum((quantity * (document["marks"].get(symbol) or ZERO) for symbol, quantity in held.items()), ZERO)
        expect("funding", results["funding"], funding)
        expect("net_flows", results["net_flows"], flows)
        expect("held_value", results["held_value"], value)
        due = results["start_value"] + traded + funding + flows + value - results["opening_value"]
        expect("final_equity", results["final_equity"], due)
        expect("last equity of the curve", Decimal(curve[-1]["equity"]) if curve else None, due)
        expect("last cash of the curve", Decimal(curve[-1]["cash"]) if curve else None, due - value)
        flat = 0
        for record, cash, nothing_held in cash_account(document):
            if record["kind"] == "point" and record["equity"] is not None and nothing_held:
                flat += 1
                expect(f"equity at {record['time_ns']} ns, with nothing held,", Decimal(record["equity"]), cash)
    return Verdict(tuple(failures), {"fills": len(rows), "points": len(curve), "valuations_with_nothing_held": flat})


def implausible(files: Mapping[str, bytes], document: Document, now: datetime) -> tuple[list[Flag], list[Flag]]:
    """What the importer of foreign reports flags in ours: (what nothing excuses, what ``FORCED`` explains)."""
    flags = import_report(files, now).flags
    unknown = sum(record["kind"] == "point" and record["equity"] is None for record in document["records"])
    explained = [flag for flag in flags if _is_forced(flag, unknown, document)]
    return [flag for flag in flags if flag not in explained], explained


def _is_forced(flag: Flag, unknown: int, document: Document) -> bool:
    if flag.code == "missing_rows":
        return flag.numbers.get("missing") == unknown
    if flag.code == "result_without_trades":
        return bool(document["opening"])
    if flag.code == "mixed_quote_currencies":
        return {name for name in flag.numbers if name != "stated"} <= DOLLARS
    return flag.code in FORCED


def _rows(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode())))
