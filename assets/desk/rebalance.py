"""The rebalance, step by step: pre_execution -> sized_orders -> fills -> baseline -> latest_executed.

Each step is: find its audit document, or build it (pure, from stored inputs) and create it once; then write the
plain-named copy. Killed anywhere and run again, the outcome is the same documents, fills and ledger events. Every
step re-checks what the asset checks check, because a blocking check guards only its own run.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime, timedelta
from decimal import Decimal, localcontext
from functools import partial
from typing import Any

from assets.accounting import events
from assets.accounting.book import Book, LedgerError
from assets.accounting.instrument import Instruments, parse_exchange_info
from assets.accounting.ledger import Ledger, Overtaken
from assets.accounting.marks import MarkSet, sift
from assets.accounting.pnl import logged_portfolio_value
from assets.accounting.precision import EXACT, ZERO, divided, logged
from assets.desk.artifacts import (
    DAILY_BASELINE,
    EXECUTION,
    LATEST_EXECUTED,
    LATEST_PRICES,
    PORTFOLIO_VALUE_LOG,
    PRE_EXECUTION,
    audit_key,
    filters_key,
)
from assets.desk.desk import Desk
from assets.desk.detection import (
    EXPIRED,
    SIGNAL_COPY,
    Detection,
    OutcomeStatus,
    claim,
    detection_of,
    has_expired,
    order_id_prefix,
    outcome_of,
    record_outcome,
)
from assets.desk.invariants import (
    Finding,
    baseline_covers_positions,
    content_unchanged,
    fills_match_orders,
    order_findings,
    sizing_findings,
)
from assets.desk.orders import PlannedOrder, plan_orders
from assets.desk.signal import Signal, SignalRejected, from_report, parse_signal, report
from assets.desk.sizing import SizedRow, size
from assets.desk.tick import Ticker, last_valid_marks
from assets.desk.value_log import LogRow, last_row_before
from resources.documents import Document, dump_document, from_iso, load_document, sha256_hex, to_iso
from resources.market import Book as OrderBook
from resources.market import Depth, Liquidity, Mark
from resources.store import AlreadyExists, NotFound, VersionConflict
from resources.store.once import create_once, find, sha256_of
from resources.venue import Execution, Order

SIGNAL = "signal.json"
SIZED_ORDERS = "sized_orders.json"
FILLS = "fills.json"
BASELINE = "baseline.json"
PRE = "pre_execution.json"
_BATCHES = ("reductions", "increases")

# A log value older than this, or further from the recomputed one, still sizes (the brief says so) with a warning.
PV_AGE_WARNING = timedelta(minutes=5)
PV_DIFFERENCE_WARNING_BPS = Decimal(10)
# Beyond this the last logged value says nothing about today: size on the value recomputed at t0.
PV_AGE_LIMIT = timedelta(hours=26)
# The end of the log that holds every row a rebalance may size on: an hour of minutes is under 40 KB.
_LOG_TAIL = 262_144


class RebalanceRefused(Exception):
    """This rebalance will not execute; ``outcome`` is recorded and final."""

    def __init__(self, outcome: Document) -> None:
        super().__init__(f"{outcome['status']}: {outcome['reason']}")
        self.outcome = outcome


class ExecutionBusy(Exception):
    """Another rebalance holds the execution lock and may still finish."""


class ClockBehind(Exception):
    """The clock is not past t0 or the last fill: it stepped back. Trying again later is right."""


def parse_daily_csv(desk: Desk, rebalance_id: str) -> Signal:
    """Parse the frozen copy of the CSV. Raises RebalanceRefused (quarantined) naming row and column."""
    detection = _open_detection(desk, rebalance_id)
    settings = desk.settings
    data = _frozen_signal(desk, detection)

    def build() -> Document:
        signal = parse_signal(
            data, detection.csv_filename, duplicates=settings.duplicates, allow_flat=settings.allow_flat
        )
        rules = {"duplicates": settings.duplicates, "allow_flat": settings.allow_flat}
        return {"signal": report(signal), "rules": rules, "inputs": {SIGNAL_COPY: detection.csv_sha256}}

    try:
        return from_report(create_once(desk.store, audit_key(rebalance_id, SIGNAL), build)["signal"])
    except SignalRejected as error:
        raise _refused(desk, detection, "quarantined", str(error)) from error


def _frozen_signal(desk: Desk, detection: Detection) -> bytes:
    """The copy of the CSV, refused unless it is byte for byte what was frozen at t0."""
    data = desk.store.read(audit_key(detection.rebalance_id, SIGNAL_COPY)).data
    finding = content_unchanged(sha256_hex(data), detection.csv_sha256)
    if not finding.passed and not _is_finished(desk, detection.rebalance_id):
        raise _refused(desk, detection, "aborted", _sentence([finding]))
    return data


def freeze_pre_execution(desk: Desk, rebalance_id: str, run_id: str | None = None) -> Document:
    """Take the execution lock and fix pv_pre, prices_at_t0 and every target quantity.

    Raises ExecutionBusy, or RebalanceRefused when the signal may not execute (capital gone, too much of it
    untradable, two tickers of one contract, set aside for a newer file).
    """
    detection = _open_detection(desk, rebalance_id)
    if _is_finished(desk, rebalance_id):
        return _audit(desk, rebalance_id, PRE)
    _frozen_signal(desk, detection)
    decided = claim(desk, rebalance_id, "execute")
    if decided["claim"] != "execute":
        raise _refused(desk, detection, decided["claim"], decided["reason"])
    signal = from_report(_audit(desk, rebalance_id, SIGNAL)["signal"])
    _take_lock(desk, rebalance_id, "pre_execution", run_id)

    def build() -> Document:
        if not _log_lines(desk):
            Ticker(desk).tick()  # the log begins with the capital the first signal is sized on
        book = desk.ledger().book()
        return build_pre_execution(
            detection,
            signal,
            desk.store.read(filters_key(detection.filters_sha256)).data,
            book,
            _log_lines(desk),
            _fallback_prices(desk, book, {}),
            signal_sha256=sha256_of(desk.store, audit_key(rebalance_id, SIGNAL)),
            rules={
                "quote": desk.settings.reporting_currency,
                "residual": desk.settings.residual,
                "stale_mark_seconds": desk.settings.stale_mark_seconds,
                "untradable_limit": desk.settings.untradable_limit,
            },
        )

    try:
        document = create_once(desk.store, audit_key(rebalance_id, PRE), build)
    except CannotSize as error:
        raise _refused(desk, detection, "aborted", str(error)) from error
    share, limit = Decimal(document["untradable_share"]), Decimal(document["rules"]["untradable_limit"])
    if share > limit:
        raise _refused(desk, detection, "aborted", f"{share:%} of the signal is untradable, more than {limit:%}")
    failed = [f for f in sizing_findings(document) if not f.passed]
    if failed:
        raise _refused(desk, detection, "aborted", _sentence(failed))
    if not _is_history(desk.ledger().book(), rebalance_id):
        desk.store.write(PRE_EXECUTION, dump_document(document))
    return document


class CannotSize(Exception):
    """No sizing is possible; the message says why."""


def build_pre_execution(
    detection: Detection,
    signal: Signal,
    exchange_info: bytes,
    book: Book,
    log_lines: Iterable[bytes],
    fallback_prices: Mapping[str, Decimal],
    *,
    signal_sha256: str,
    rules: Mapping[str, Any],
) -> Document:
    """The pre_execution document: a pure function of stored inputs, which ``desk verify`` calls again.

    ``fallback_prices`` value held symbols without an accepted mark at t0. Raises CannotSize.
    """
    instruments = parse_exchange_info(exchange_info)
    marks = sift(detection.marks, detection.t0, timedelta(seconds=rules["stale_mark_seconds"]))
    held = book.held()
    prices = {s: marks.price(s) or fallback_prices[s] for s in held if marks.price(s) or s in fallback_prices}
    unpriced = sorted(set(held) - set(prices))
    if unpriced:
        raise CannotSize(f"no price was ever seen for held {', '.join(unpriced)}")
    pv_at_t0 = logged_portfolio_value(book, prices)
    choice = choose_pv_pre(log_lines, detection.t0, pv_at_t0, book)
    if choice["pv_pre"] <= 0:
        raise CannotSize(f"portfolio value before execution is {choice['pv_pre']}: nothing may be opened")
    sizing = size(
        signal.rows, signal.gross_base, choice["pv_pre"], marks, instruments, held,
        quote=rules["quote"], residual=rules["residual"],
    )  # fmt: skip
    shared = sorted({row.symbol for row in sizing.rows if row.reason == "duplicate_symbol"})
    if shared:
        raise CannotSize(f"two tickers of the signal mean one contract: {', '.join(shared)}")
    named = {row.symbol for row in sizing.rows}
    return {
        "timestamp_utc": to_iso(detection.t0),
        "csv_filename": detection.csv_filename,
        "csv_sha256": detection.csv_sha256,
        **choice,
        "prices_at_t0": {s: m.price for s, m in sorted(marks.accepted.items()) if s in named},
        "rebalance_id": detection.rebalance_id,
        "pv_at_t0": pv_at_t0,
        "gross_base": sizing.gross_base,
        "scale": divided(sizing.pv_pre, sizing.gross_base) if sizing.gross_base else None,
        "filters_sha256": detection.filters_sha256,
        "residual": asdict(sizing.residual),
        "untradable_share": sizing.untradable_share,
        "rows": [row._asdict() for row in sizing.rows],
        "fallback_prices": {s: fallback_prices[s] for s in held if not marks.price(s)},
        "ledger_seq": book.seq,
        "source": detection.source,
        "rules": dict(rules),
        "inputs": {SIGNAL: signal_sha256, SIGNAL_COPY: detection.csv_sha256},
    }


def choose_pv_pre(log_lines: Iterable[bytes], t0: datetime, pv_at_t0: Decimal, book: Book) -> Document:
    """pv_pre and where it comes from (brief 0 section 4.1; reference/trading.md 3.4).

    The last logged value strictly before t0; without one, C0 on an empty ledger, else the most recent row (the
    brief's fallback). A value older than 26 h, or a log without any, gives way to the value recomputed at t0.
    ``warnings`` name an age above 5 minutes, a difference above 10 bps, and log rows more than 60 s ahead of t0.
    """
    before, newest = last_row_before(log_lines, t0)
    warnings = []
    if newest is not None and newest.timestamp - t0 > timedelta(seconds=60):
        warnings.append(f"the log is ahead of t0: its last row is dated {to_iso(newest.timestamp)}")
    chosen: LogRow | None = before
    source = "log"
    if before is None and book.seq > 0 and newest is not None:
        chosen, source = newest, "log_not_before_t0"
    if chosen is None and book.seq > 0:
        warnings.append("the log has no value: sized on the value recomputed at t0")
        return {"pv_pre": pv_at_t0, "pv_source": "recomputed_at_t0", "pv_timestamp": to_iso(t0), "warnings": warnings}
    if chosen is None:
        return {"pv_pre": logged(book.initial_capital), "pv_source": "initial_capital", "pv_timestamp": None,
                "warnings": warnings}  # fmt: skip
    age = t0 - chosen.timestamp
    if age > PV_AGE_LIMIT:
        warnings.append(f"last logged value is {age} old: sized on the value recomputed at t0")
        return {"pv_pre": pv_at_t0, "pv_source": "recomputed_at_t0", "pv_timestamp": to_iso(t0), "warnings": warnings}
    if age > PV_AGE_WARNING:
        warnings.append(f"pv_pre is {int(age.total_seconds())} s old")
    difference = abs(chosen.portfolio_value - pv_at_t0)
    if difference * 10_000 > PV_DIFFERENCE_WARNING_BPS * abs(pv_at_t0):
        warnings.append(f"pv_pre differs from the value recomputed at t0 by {difference}")
    return {"pv_pre": chosen.portfolio_value, "pv_source": source, "pv_timestamp": to_iso(chosen.timestamp),
            "warnings": warnings}  # fmt: skip


def sized_rows(pre_execution: Document) -> list[SizedRow]:
    """The rows of a stored pre_execution document."""
    rows = []
    for row in pre_execution["rows"]:
        values = dict(row)
        for name in (
            "notional",
            "target_notional",
            "target_quantity",
            "current_quantity",
            "delta_quantity",
            "rounding",
        ):
            values[name] = Decimal(values[name])
        values["strategies"] = {name: Decimal(share) for name, share in values["strategies"].items()}
        rows.append(SizedRow(**values))
    return rows


def plan_sized_orders(desk: Desk, rebalance_id: str, run_id: str | None = None) -> Document:
    """Fix the orders. Raises RebalanceRefused when one of them would break an invariant."""
    detection = _open_detection(desk, rebalance_id)
    if _is_finished(desk, rebalance_id):
        return _audit(desk, rebalance_id, SIZED_ORDERS)
    _take_lock(desk, rebalance_id, "sized_orders", run_id)
    pre = _audit(desk, rebalance_id, PRE)
    info = desk.store.read(filters_key(detection.filters_sha256)).data
    inputs = {PRE: sha256_of(desk.store, audit_key(rebalance_id, PRE))}
    document = create_once(
        desk.store,
        audit_key(rebalance_id, SIZED_ORDERS),
        lambda: build_sized_orders(pre, info, order_id_prefix(detection), inputs),
    )
    failed = [f for f in order_findings(pre, document, parse_exchange_info(info)) if not f.passed]
    if failed:
        raise _refused(desk, detection, "aborted", _sentence(failed))
    return document


def build_sized_orders(pre: Document, exchange_info: bytes, id_prefix: str, inputs: Mapping[str, str]) -> Document:
    """The sized_orders document, a pure function of pre_execution and the frozen filters."""
    prices = {s: Decimal(p) for s, p in pre["prices_at_t0"].items()}
    plan = plan_orders(sized_rows(pre), parse_exchange_info(exchange_info), prices, id_prefix)
    return {
        "rebalance_id": pre["rebalance_id"],
        "reductions": [order._asdict() for order in plan.reductions],
        "increases": [order._asdict() for order in plan.increases],
        "orders": len(plan.reductions) + len(plan.increases),
        "shortfalls": [shortfall._asdict() for shortfall in plan.shortfalls],
        "inputs": dict(inputs),
    }


def planned(document: Document, batch: str) -> list[PlannedOrder]:
    """The orders of one batch (``reductions`` or ``increases``) of a stored sized_orders document."""
    return [
        PlannedOrder(
            **order
            | {
                "quantity": Decimal(order["quantity"]),
                "strategies": {name: Decimal(share) for name, share in order["strategies"].items()},
            }
        )
        for order in document[batch]
    ]


def execute_orders(desk: Desk, rebalance_id: str, run_id: str | None = None) -> Document:
    """Send the planned orders, reductions first, and post their fills to the ledger.

    Each batch's executions are stored before they are posted, so a repeat finds finished orders and skips them.
    """
    detection = _open_detection(desk, rebalance_id)
    if _is_finished(desk, rebalance_id):
        return _audit(desk, rebalance_id, FILLS)
    _take_lock(desk, rebalance_id, "fills", run_id)
    pre = _audit(desk, rebalance_id, PRE)
    orders = _audit(desk, rebalance_id, SIZED_ORDERS)
    info = desk.store.read(filters_key(detection.filters_sha256)).data
    instruments = parse_exchange_info(info)
    failed = [f for f in (*sizing_findings(pre), *order_findings(pre, orders, instruments)) if not f.passed]
    if failed:
        raise _refused(desk, detection, "aborted", _sentence(failed))
    ledger = desk.ledger()
    batches: list[Document] = []
    positions = {row.symbol: row.current_quantity for row in sized_rows(pre) if row.current_quantity}
    for batch in _BATCHES:
        key = audit_key(rebalance_id, batch_name(batch))
        try:
            document = create_once(
                desk.store,
                key,
                partial(
                    _execute_batch, desk, detection, pre, orders, batch, tuple(batches), instruments, ledger, positions
                ),
            )
        except PositionsChanged as error:
            # Unless it was another process at this same rebalance that changed them: then its executions stand.
            stored = find(desk.store, key)
            if stored is None:
                raise _refused(desk, detection, "aborted", str(error)) from error
            document = stored
        fills = fill_events(document, orders, rebalance_id)
        try:
            ledger.post(fills, provided=partial(_holds, positions))
        except Overtaken as error:
            raise _refused(desk, detection, "aborted", str(error)) from error
        positions = _after(positions, fills)
        batches.append(document)
    inputs = {
        name: sha256_of(desk.store, audit_key(rebalance_id, name))
        for name in (SIZED_ORDERS, *map(batch_name, _BATCHES))
    }
    return create_once(desk.store, audit_key(rebalance_id, FILLS), lambda: build_fills(rebalance_id, batches, inputs))


def batch_name(batch: str) -> str:
    return f"executions_{batch}.json"


def _execute_batch(
    desk: Desk,
    detection: Detection,
    pre: Document,
    orders: Document,
    batch: str,
    earlier: Sequence[Document],
    instruments: Instruments,
    ledger: Ledger,
    positions: Mapping[str, Decimal],
) -> Document:
    """Trade one batch now, from ``positions``. What is not sent is listed with its reason: no usable mark, the
    reduction it waits for did not fill, or the rebalance expired before its turn."""
    # Books first: fetching them one by one takes seconds on a live market, and each is judged against ``at``.
    asked = desk.clock.now()
    symbols = sorted({order.symbol for order in planned(orders, batch)})
    shown = {symbol: desk.market.liquidity(symbol, asked) for symbol in symbols}
    at = desk.clock.now()
    latest = max((from_iso(document["timestamp_utc"]) for document in earlier), default=detection.t0)
    if at <= detection.t0 or at < latest:
        raise ClockBehind(f"it is {to_iso(at)}, not past t0 {to_iso(detection.t0)} and the last batch {to_iso(latest)}")
    if not _holds(positions, ledger.book()):
        raise PositionsChanged("positions changed since they were sized on")
    marks = sift(desk.market.marks(at), at, timedelta(seconds=pre["rules"]["stale_mark_seconds"]))
    waiting_for = {entry["symbol"] for document in earlier for entry in unfilled(document)}
    expired = has_expired(desk, detection)
    send: list[Order] = []
    not_sent: list[Document] = []
    for order in planned(orders, batch):
        mark = marks.price(order.symbol)
        reason = EXPIRED if expired else marks.reason(order.symbol)
        if order.leg == "open" and order.symbol in waiting_for:
            reason = "reduction_unfilled"
        if reason or mark is None:
            not_sent.append(_left_over(order.order_id, order.symbol, order.quantity, reason))
        else:
            instrument = instruments[order.symbol]
            # A full close may be dust off the grid; anything else fills in whole steps.
            step = None if order.close_position else instrument.step
            send.append(
                Order(
                    order.order_id,
                    order.symbol,
                    order.side,
                    order.quantity,
                    order.reduce_only,
                    instrument.tick_size,
                    mark,
                    step,
                )
            )
    shown = {symbol: shown[symbol] for symbol in sorted({order.symbol for order in send})}
    executions = desk.venue.execute(send, shown.get, at)
    return {
        "rebalance_id": detection.rebalance_id,
        "batch": batch,
        "timestamp_utc": to_iso(at),
        "orders": [asdict(order) for order in send],
        "liquidity": {symbol: liquidity_document(liquidity) for symbol, liquidity in shown.items()},
        "executions": [execution_document(execution) for execution in executions],
        "not_sent": not_sent,
        "rules": {
            "fee_bps": desk.settings.fee_bps,
            "slippage_floor_bps": desk.settings.slippage_floor_bps,
            "slippage_cap_bps": desk.settings.slippage_cap_bps,
            "stale_mark_seconds": desk.settings.stale_mark_seconds,
        },
    }


class PositionsChanged(Exception):
    """The plan starts from positions that are no longer held: anyone else's fill in between makes it wrong."""


def _holds(positions: Mapping[str, Decimal], book: Book) -> bool:
    return book.held() == positions


def _after(positions: Mapping[str, Decimal], fills: Iterable[events.Fill]) -> dict[str, Decimal]:
    after = dict(positions)
    with localcontext(EXACT):
        for fill in fills:
            after[fill.symbol] = after.get(fill.symbol, ZERO) + fill.quantity
    return {symbol: quantity for symbol, quantity in after.items() if quantity}


def _left_over(order_id: str, symbol: str, quantity: Decimal, reason: str) -> Document:
    return {"order_id": order_id, "symbol": symbol, "quantity": quantity, "reason": reason}


def unfilled(executions: Document) -> list[Document]:
    """What one stored batch left undone: parts not filled and orders not sent, each with its reason."""
    parts = [
        _left_over(execution["order_id"], execution["symbol"], Decimal(execution["unfilled"]), execution["reason"])
        for execution in executions["executions"]
        if Decimal(execution["unfilled"])
    ]
    return parts + list(executions["not_sent"])


def execution_document(execution: Execution) -> Document:
    """One execution as stored."""
    return {
        "order_id": execution.order.order_id,
        "symbol": execution.order.symbol,
        "fills": [asdict(fill) | {"time": to_iso(fill.time)} for fill in execution.fills],
        "unfilled": execution.unfilled,
        "method": execution.method,
        "slippage_bps": execution.slippage_bps,
        "reason": execution.reason,
    }


def liquidity_document(liquidity: Liquidity | None) -> Document | None:
    """What an order could trade against, as stored beside its execution so that the fill can be recomputed."""
    if liquidity is None:
        return None
    document: Document = {"as_of": to_iso(liquidity.as_of)}
    if isinstance(liquidity, OrderBook):
        return document | {
            "bids": [list(level) for level in liquidity.bids],
            "asks": [list(level) for level in liquidity.asks],
        }
    return document | {"depth": liquidity.quantity}


def liquidity_from_document(symbol: str, document: Document | None) -> Liquidity | None:
    """The inverse of ``liquidity_document``."""
    if document is None:
        return None
    as_of = from_iso(document["as_of"])
    if "depth" in document:
        return Depth(symbol, Decimal(document["depth"]), as_of)

    def levels(side: str) -> tuple[tuple[Decimal, Decimal], ...]:
        return tuple((Decimal(price), Decimal(quantity)) for price, quantity in document[side])

    return OrderBook(symbol, levels("bids"), levels("asks"), as_of)


def fill_events(executions: Document, orders: Document, rebalance_id: str) -> list[events.Fill]:
    """The ledger events of one stored batch, ids derived from the order ids."""
    strategies = {order.order_id: order.strategies for batch in _BATCHES for order in planned(orders, batch)}
    return [
        events.Fill(
            event_id=f"fill:{fill['fill_id']}",
            time=from_iso(fill["time"]),
            symbol=fill["symbol"],
            quantity=Decimal(fill["quantity"]) * (1 if fill["side"] == "BUY" else -1),
            price=Decimal(fill["price"]),
            fee=Decimal(fill["fee"]),
            order_id=fill["order_id"],
            rebalance_id=rebalance_id,
            strategies=strategies[fill["order_id"]],
        )
        for execution in executions["executions"]
        for fill in execution["fills"]
    ]


def build_fills(rebalance_id: str, batches: Sequence[Document], inputs: Mapping[str, str]) -> Document:
    """All fills of the rebalance in order, and what stayed unfilled; ``partial`` when anything did."""
    left = [entry for document in batches for entry in unfilled(document)]
    return {
        "rebalance_id": rebalance_id,
        "status": "partial" if left else "complete",
        "fills": [fill for document in batches for execution in document["executions"] for fill in execution["fills"]],
        "unfilled": left,
        "inputs": dict(inputs),
    }


def rebaseline(desk: Desk, rebalance_id: str, run_id: str | None = None) -> Document:
    """Take the baseline at t1: prices, positions and portfolio value after every fill and fee.

    base_cumulative comes from the ledger at t1, never from a daily P&L shown at t0: that would lose the move from t0
    to t1, the slippage and the fees (reference/trading.md 3.4, Compounding).
    """
    detection = detection_of(desk, rebalance_id)
    if _is_finished(desk, rebalance_id):
        return _audit(desk, rebalance_id, BASELINE)
    _take_lock(desk, rebalance_id, "baseline", run_id)
    pre, fills = _audit(desk, rebalance_id, PRE), _audit(desk, rebalance_id, FILLS)
    ledger = desk.ledger()

    def build() -> Document:
        book, t1 = ledger.book(), desk.clock.now()
        last_fill = max((from_iso(fill["time"]) for fill in fills["fills"]), default=detection.t0)
        if t1 <= detection.t0 or t1 < last_fill:
            raise ClockBehind(f"it is {to_iso(t1)}, not past t0 {to_iso(detection.t0)} and the last fill")
        marks = sift(desk.market.marks(t1), t1, timedelta(seconds=desk.settings.stale_mark_seconds))
        previous = book.baseline
        supersedes = None
        if previous is not None and previous.rebalance_id != rebalance_id:
            before = detection_of(desk, previous.rebalance_id)
            same_day = before.trading_day is not None and before.trading_day == detection.trading_day
            same_content = before.csv_sha256 == detection.csv_sha256
            supersedes = previous.rebalance_id if same_day or same_content else None
        return build_baseline(
            book, marks, _fallback_prices(desk, book, detection.marks), pre, fills, t1, supersedes=supersedes,
            inputs={FILLS: sha256_of(desk.store, audit_key(rebalance_id, FILLS))},
        )  # fmt: skip

    document = create_once(desk.store, audit_key(rebalance_id, BASELINE), build)
    ledger.post([baseline_event(document)])
    ledger.snapshot()
    if not _is_history(ledger.book(), rebalance_id):
        desk.store.write(DAILY_BASELINE, dump_document(document))
    return document


def build_baseline(
    book: Book,
    marks: MarkSet,
    fallback_prices: Mapping[str, Decimal],
    pre: Document,
    fills: Document,
    t1: datetime,
    *,
    supersedes: str | None,
    inputs: Mapping[str, str],
) -> Document:
    """The baseline document. A held symbol without an accepted mark at t1 is valued at its last valid one and
    named in ``stale``."""
    held = book.held()
    wanted = sorted(set(held) | {row["symbol"] for row in pre["rows"] if marks.price(row["symbol"]) is not None})
    prices = {symbol: marks.price(symbol) or fallback_prices[symbol] for symbol in wanted}
    value = logged_portfolio_value(book, prices)
    with localcontext(EXACT):
        base = value - book.initial_capital - book.flows
    return {
        "timestamp_utc": to_iso(t1),
        "csv_filename": pre["csv_filename"],
        "portfolio_value": value,
        "prices": prices,
        "positions": held,
        "base_cumulative": base,
        "net_flows": logged(book.flows),
        "csv_sha256": pre["csv_sha256"],
        "rebalance_id": pre["rebalance_id"],
        "supersedes": supersedes,
        "status": fills["status"],
        "unfilled": fills["unfilled"],
        "stale": sorted(symbol for symbol in held if marks.price(symbol) is None),
        "ledger_seq": book.seq,
        "inputs": dict(inputs),
    }


def baseline_id(rebalance_id: str) -> str:
    return f"baseline:{rebalance_id}"


def baseline_event(document: Document) -> events.Baseline:
    """The ledger event of a stored baseline document."""
    return events.Baseline(
        event_id=baseline_id(document["rebalance_id"]),
        time=from_iso(document["timestamp_utc"]),
        rebalance_id=document["rebalance_id"],
        portfolio_value=Decimal(document["portfolio_value"]),
        net_flows=Decimal(document["net_flows"]),
        prices={s: Decimal(p) for s, p in document["prices"].items()},
        positions={s: Decimal(q) for s, q in document["positions"].items()},
    )


def publish_executed(desk: Desk, rebalance_id: str) -> Document:
    """Say that the rebalance is executed, give the lock back and record its outcome, in that order: a kill in
    between leaves a rebalance without outcome, which is simply run again."""
    detection = detection_of(desk, rebalance_id)
    baseline = _audit(desk, rebalance_id, BASELINE)
    now = desk.clock.now()
    if now < from_iso(baseline["timestamp_utc"]) and not _is_finished(desk, rebalance_id):
        raise ClockBehind(f"it is {to_iso(now)}, before the baseline of {baseline['timestamp_utc']}")
    orders, fills = _audit(desk, rebalance_id, SIZED_ORDERS), _audit(desk, rebalance_id, FILLS)
    failed = [f for f in (fills_match_orders(orders, fills), baseline_covers_positions(baseline)) if not f.passed]
    if failed:
        raise LedgerError(f"{rebalance_id} is not published as executed: {_sentence(failed)}")
    document = {
        "timestamp_utc": baseline["timestamp_utc"],
        "csv_filename": detection.csv_filename,
        "csv_sha256": detection.csv_sha256,
        "rebalance_id": rebalance_id,
        "status": baseline["status"],
    }
    if not _is_history(desk.ledger().book(), rebalance_id):
        desk.store.write(LATEST_EXECUTED, dump_document(document))
    _give_lock_back(desk, rebalance_id)
    status: OutcomeStatus = "executed" if baseline["status"] == "complete" else "partial"
    reasons = {entry["reason"] for entry in baseline["unfilled"]}
    reason = EXPIRED if EXPIRED in reasons else ", ".join(sorted(reasons))
    record_outcome(desk, detection, status, reason)
    return document


def run_rebalance(desk: Desk, rebalance_id: str, run_id: str | None = None) -> Document:
    """All steps in order, as the Dagster assets run them one by one; returns the outcome."""
    parse_daily_csv(desk, rebalance_id)
    freeze_pre_execution(desk, rebalance_id, run_id)
    plan_sized_orders(desk, rebalance_id, run_id)
    execute_orders(desk, rebalance_id, run_id)
    rebaseline(desk, rebalance_id, run_id)
    publish_executed(desk, rebalance_id)
    outcome = outcome_of(desk, rebalance_id)
    assert outcome is not None
    return outcome


def _open_detection(desk: Desk, rebalance_id: str) -> Detection:
    """The rebalance's freeze, unless it ended without execution or ran out of time before its first order."""
    detection = detection_of(desk, rebalance_id)
    outcome = outcome_of(desk, rebalance_id)
    if outcome is not None and outcome["status"] not in ("executed", "partial"):
        raise RebalanceRefused(outcome)
    if outcome is None and has_expired(desk, detection) and not _began_trading(desk, rebalance_id):
        raise _refused(desk, detection, "expired", EXPIRED)
    return detection


def _is_finished(desk: Desk, rebalance_id: str) -> bool:
    """Whether the rebalance has its outcome: repeating one of its steps then returns what is stored, and no more."""
    return outcome_of(desk, rebalance_id) is not None


def _is_history(book: Book, rebalance_id: str) -> bool:
    """Whether a later rebalance took its baseline since this one did: a repeat must not turn plain copies back."""
    current = book.baseline
    return book.knows(baseline_id(rebalance_id)) and current is not None and current.rebalance_id != rebalance_id


def _began_trading(desk: Desk, rebalance_id: str) -> bool:
    return find(desk.store, audit_key(rebalance_id, batch_name(_BATCHES[0]))) is not None


def _refused(desk: Desk, detection: Detection, status: OutcomeStatus, reason: str) -> RebalanceRefused:
    _give_lock_back(desk, detection.rebalance_id)
    return RebalanceRefused(record_outcome(desk, detection, status, reason))


def _sentence(failed: Sequence[Finding]) -> str:
    return "; ".join(f"{finding.name}: {finding.detail}" for finding in failed)


def _take_lock(desk: Desk, rebalance_id: str, step: str, run_id: str | None) -> None:
    """Hold ``execution.json`` for this rebalance: the real lock, whatever orchestrates. Raises ExecutionBusy.

    A holder that has its outcome, or that ran out of time, is no obstacle; the latter is closed first for what it
    filled.
    """
    while True:
        try:
            blob = desk.store.read(EXECUTION)
        except NotFound:
            blob = None
        held = None if blob is None else load_document(blob.data)
        now = to_iso(desk.clock.now())
        mine = held is not None and held["rebalance_id"] == rebalance_id
        if held is not None and held["state"] == "executing" and not mine:
            _end_abandoned(desk, held["rebalance_id"])
        document = {
            "rebalance_id": rebalance_id,
            "state": "executing",
            "step": step,
            "run_id": run_id or (held["run_id"] if mine and held else None),
            "started_utc": held["started_utc"] if mine and held else now,
            "updated_utc": now,
        }
        try:
            if blob is None:
                desk.store.create(EXECUTION, dump_document(document))
            else:
                desk.store.replace(EXECUTION, dump_document(document), blob.version)
        except (AlreadyExists, VersionConflict):
            continue
        return


def _end_abandoned(desk: Desk, holder: str) -> None:
    """Finish what the holder of the lock left; raises ExecutionBusy while it may still do so itself."""
    if outcome_of(desk, holder) is not None:
        return
    detection = detection_of(desk, holder)
    if not has_expired(desk, detection):
        raise ExecutionBusy(f"{holder} is executing; it is resumed by the sensor, or by hand from its Dagster run")
    if not _began_trading(desk, holder):
        record_outcome(desk, detection, "expired", EXPIRED)
        return
    with suppress(RebalanceRefused):  # then its outcome is recorded, and it is no obstacle either
        execute_orders(desk, holder)
        rebaseline(desk, holder)
        publish_executed(desk, holder)


def _give_lock_back(desk: Desk, rebalance_id: str) -> None:
    try:
        blob = desk.store.read(EXECUTION)
    except NotFound:
        return
    held = load_document(blob.data)
    if held["rebalance_id"] == rebalance_id and held["state"] == "executing":
        document = held | {"state": "idle", "step": "", "updated_utc": to_iso(desk.clock.now())}
        try:
            desk.store.replace(EXECUTION, dump_document(document), blob.version)
        except VersionConflict:
            return  # somebody took it over, so it is not ours to give back


def _audit(desk: Desk, rebalance_id: str, name: str) -> Document:
    document = find(desk.store, audit_key(rebalance_id, name))
    if document is None:
        raise NotFound(f"{audit_key(rebalance_id, name)} does not exist yet: run the earlier steps of this rebalance")
    return document


def _log_lines(desk: Desk) -> list[bytes]:
    try:
        data = desk.store.read(PORTFOLIO_VALUE_LOG, tail=_LOG_TAIL).data
    except NotFound:
        return []
    return data[: data.rfind(b"\n") + 1].splitlines()


def _fallback_prices(desk: Desk, book: Book, at_t0: Mapping[str, Mark]) -> dict[str, Decimal]:
    """The newest price known of each symbol: from the last baseline, the last tick or, where given, the marks frozen
    at t0."""
    newest: dict[str, Mark] = {}
    if book.baseline is not None:
        newest = {s: Mark(s, price, book.baseline.time) for s, price in book.baseline.prices.items()}
    for marks in (last_valid_marks(find(desk.store, LATEST_PRICES)), at_t0):
        for symbol, mark in marks.items():
            if mark.price > 0 and (symbol not in newest or mark.as_of >= newest[symbol].as_of):
                newest[symbol] = mark
    return {symbol: mark.price for symbol, mark in newest.items()}
