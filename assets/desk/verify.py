"""``desk verify``: recompute every stored hash, identity and number from the raw artifacts and say what differs.

Nothing is trusted twice: documents are rebuilt by the same pure functions that made them, from their stored inputs,
the ledger is replayed from its first segment, and every log row is valued again from its marks row.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from assets.accounting.book import Book, LedgerError
from assets.accounting.events import Baseline, Event, Fill
from assets.accounting.instrument import parse_exchange_info
from assets.accounting.ledger import SNAPSHOT, Ledger
from assets.accounting.pnl import MissingMark, portfolio_value, valuation
from assets.accounting.precision import logged
from assets.desk.artifacts import (
    DAILY_BASELINE,
    LATEST_EXECUTED,
    PORTFOLIO_VALUE_LOG,
    PRE_EXECUTION,
    REBALANCES,
    audit_key,
    detection_key,
    filters_key,
    find,
    sha256_of,
)
from assets.desk.desk import Desk
from assets.desk.detection import (
    DETECTION,
    OUTCOME,
    SIGNAL_COPY,
    Detection,
    detection_of,
    order_id_prefix,
)
from assets.desk.history import compacted_days, read_day, to_table
from assets.desk.invariants import (
    Finding,
    base_constant_between_baselines,
    baseline_after_t0,
    baseline_covers_positions,
    fills_match_orders,
    log_identities,
    minutes_strictly_rise,
    one_execution_per_content,
    order_findings,
    positions_explained,
    sizing_findings,
    value_continuous_at_t1,
)
from assets.desk.rebalance import (
    BASELINE,
    FILLS,
    PRE,
    SIGNAL,
    SIZED_ORDERS,
    baseline_event,
    batch_name,
    build_fills,
    build_pre_execution,
    build_sized_orders,
    execution_document,
    fill_events,
    liquidity_from_document,
)
from assets.desk.signal import SignalRejected, from_report, parse_signal, report
from assets.desk.value_log import LogRow, MarksRow, log_row, marks_key, minute_of, parse_log_row
from resources.documents import Document, dump_document, from_iso, load_document, sha256_hex, to_iso
from resources.store import NotFound, Store
from resources.venue import Order, PaperVenue

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Difference:
    """One stored thing that is not what recomputing it gives; ``what`` is a sentence naming both."""

    key: str
    what: str


@dataclass(frozen=True, slots=True)
class Report:
    """The verdict on a whole store: how much was recomputed, and what differs."""

    segments: int
    rebalances: int
    log_rows: int
    days: int
    differences: tuple[Difference, ...]


def verify(desk: Desk, progress: Progress = lambda _what, _done, _of: None) -> Report:
    """Recompute everything in the desk's store. Reads only. ``progress`` is told what is under way."""
    return _Verification(desk, progress).run()


class _Verification:
    def __init__(self, desk: Desk, progress: Progress) -> None:
        self.store: Store = desk.store
        self.desk = desk
        self.progress = progress
        self.differences: list[Difference] = []
        self.events_by_rebalance: dict[str, list[Event]] = {}

    def differs(self, key: str, what: str) -> None:
        self.differences.append(Difference(key, what))

    def finding(self, key: str, finding: Finding) -> None:
        if not finding.passed:
            self.differs(key, f"{finding.name}: {finding.detail}")

    def same(self, key: str, stored: Document, rebuilt: Document, *, besides: tuple[str, ...] = ()) -> None:
        """Compare field by field after the JSON round trip both have in common."""
        expected = load_document(dump_document(rebuilt))
        for name in sorted(expected.keys() | stored.keys()):
            if name not in besides and stored.get(name) != expected.get(name):
                self.differs(key, f"{name} is {_short(stored.get(name))}, recomputed {_short(expected.get(name))}")

    def run(self) -> Report:
        ids = sorted({entry.key.split("/")[1] for entry in self.store.list(REBALANCES)})
        rows, lines = self._read_log()
        books = self._replay_ledger(self._wanted_states(ids))
        for number, rebalance_id in enumerate(ids):
            self.progress("rebalances", number, len(ids))
            try:
                self._rebalance(rebalance_id, books, lines)
            except (NotFound, KeyError, ValueError, LedgerError) as error:
                self.differs(audit_key(rebalance_id, ""), f"cannot be recomputed: {error!r}")
        self._contents(ids)
        self._plain_copies()
        self._log(rows)
        days = self._history(rows)
        return Report(self.segments, len(ids), len(rows), days, tuple(self.differences))

    # --- ledger -------------------------------------------------------------------------------------------------

    def _wanted_states(self, ids: list[str]) -> set[int]:
        wanted = set()
        for rebalance_id in ids:
            for name in (PRE, BASELINE):
                document = find(self.store, audit_key(rebalance_id, name))
                if document is not None:
                    wanted.add(document["ledger_seq"])
        snapshot = find(self.store, SNAPSHOT)
        if snapshot is not None:
            wanted.add(snapshot["seq"])
        return wanted

    def _replay_ledger(self, wanted: set[int]) -> dict[int, Book]:
        """Replay every segment, keeping the book at the wanted ones; checks the chain, ids and the snapshot."""
        self.segments = 0
        kept: dict[int, Book] = {}
        try:
            book = Book(self.desk.settings.initial_capital)
            seen: set[str] = set()
            for segment in Ledger(self.store, self.desk.settings.initial_capital).segments():
                self.progress("ledger", segment.seq, 0)
                for event in segment.events:
                    if event.event_id in seen:
                        self.differs(f"segment {segment.seq}", f"{event.event_id} was posted before")
                    seen.add(event.event_id)
                    if isinstance(event, Fill | Baseline):
                        self.events_by_rebalance.setdefault(event.rebalance_id, []).append(event)
                book.apply_all(segment.events)
                book.seq = segment.seq
                self.segments += 1
                if segment.seq in wanted:
                    kept[segment.seq] = Book.from_document(book.to_document())
                    snapshot_head = segment.sha256
                    self._snapshot(kept[segment.seq], snapshot_head)
        except LedgerError as error:
            self.differs("ledger/", str(error))
        return kept

    def _snapshot(self, book: Book, head: str) -> None:
        stored = find(self.store, SNAPSHOT)
        if stored is not None and stored["seq"] == book.seq:
            self.same(SNAPSHOT, stored, book.to_document() | {"head_sha256": head})

    # --- rebalances ---------------------------------------------------------------------------------------------

    def _rebalance(self, rebalance_id: str, books: dict[int, Book], log_lines: list[bytes]) -> None:
        detection = detection_of(self.desk, rebalance_id)
        self._detection(detection)
        signal = find(self.store, audit_key(rebalance_id, SIGNAL))
        if signal is None:
            return
        self._signal(detection, signal)
        pre = self._rebuilt_pre_execution(detection, signal, books, log_lines)
        orders = find(self.store, audit_key(rebalance_id, SIZED_ORDERS))
        if pre is None or orders is None:
            return
        info = self.store.read(filters_key(detection.filters_sha256)).data
        inputs = self._inputs(rebalance_id, orders)
        rebuilt = build_sized_orders(pre, info, order_id_prefix(detection), inputs)
        self.same(audit_key(rebalance_id, SIZED_ORDERS), orders, rebuilt)
        for finding in order_findings(pre, orders, parse_exchange_info(info)):
            self.finding(audit_key(rebalance_id, SIZED_ORDERS), finding)
        batches = [find(self.store, audit_key(rebalance_id, batch_name(b))) for b in ("reductions", "increases")]
        stored_batches = [batch for batch in batches if batch is not None]
        for batch in stored_batches:
            self._batch(rebalance_id, batch)
        fills = find(self.store, audit_key(rebalance_id, FILLS))
        if fills is None:
            return
        rebuilt = build_fills(rebalance_id, stored_batches, self._inputs(rebalance_id, fills))
        self.same(audit_key(rebalance_id, FILLS), fills, rebuilt)
        self.finding(audit_key(rebalance_id, FILLS), fills_match_orders(orders, fills))
        expected: list[Event] = [e for batch in stored_batches for e in fill_events(batch, orders, rebalance_id)]
        baseline = find(self.store, audit_key(rebalance_id, BASELINE))
        if baseline is not None:
            self._baseline(pre, orders, baseline, books)
            expected.append(baseline_event(baseline))
        if self.events_by_rebalance.get(rebalance_id, []) != expected:
            self.differs(audit_key(rebalance_id, FILLS), "the ledger's events of this rebalance are not its fills")

    def _inputs(self, rebalance_id: str, document: Document) -> dict[str, str]:
        """The document's inputs with their hashes taken again from the stored bytes."""
        return {name: sha256_of(self.store, audit_key(rebalance_id, name)) for name in document["inputs"]}

    def _detection(self, detection: Detection) -> None:
        key = audit_key(detection.rebalance_id, SIGNAL_COPY)
        sha256 = sha256_of(self.store, key)
        if sha256 != detection.csv_sha256:
            self.differs(key, f"sha256 is {sha256}, frozen as {detection.csv_sha256}")
        filters = filters_key(detection.filters_sha256)
        if sha256_of(self.store, filters) != detection.filters_sha256:
            self.differs(filters, "content does not have the sha256 it is named by")
        frozen = find(self.store, detection_key(detection.csv_sha256, detection.generation))
        if frozen != find(self.store, audit_key(detection.rebalance_id, DETECTION)):
            self.differs(audit_key(detection.rebalance_id, DETECTION), "differs from what was frozen at t0")

    def _signal(self, detection: Detection, stored: Document) -> None:
        key = audit_key(detection.rebalance_id, SIGNAL)
        data = self.store.read(audit_key(detection.rebalance_id, SIGNAL_COPY)).data
        try:
            signal = parse_signal(data, detection.csv_filename, **stored["rules"])
        except SignalRejected as error:
            self.differs(key, f"the CSV is rejected: {error}")
            return
        inputs = self._inputs(detection.rebalance_id, stored)
        self.same(key, stored, {"signal": report(signal), "rules": stored["rules"], "inputs": inputs})

    def _rebuilt_pre_execution(
        self, detection: Detection, signal: Document, books: dict[int, Book], log_lines: list[bytes]
    ) -> Document | None:
        key = audit_key(detection.rebalance_id, PRE)
        stored = find(self.store, key)
        if stored is None:
            return None
        rebuilt = build_pre_execution(
            detection,
            from_report(signal["signal"]),
            self.store.read(filters_key(detection.filters_sha256)).data,
            books[stored["ledger_seq"]],
            _lines_known(stored, log_lines),
            {symbol: Decimal(price) for symbol, price in stored["fallback_prices"].items()},
            signal_sha256=sha256_of(self.store, audit_key(detection.rebalance_id, SIGNAL)),
            rules=stored["rules"],
        )
        # Warnings speak of the log as it stood then; rows written since cannot be told apart from rows ahead of t0.
        self.same(key, stored, rebuilt, besides=("warnings",))
        for finding in sizing_findings(stored):
            self.finding(key, finding)
        return stored

    def _batch(self, rebalance_id: str, stored: Document) -> None:
        """Execute the stored orders against the stored liquidity again."""
        orders = [
            Order(
                **order
                | {
                    name: None if order[name] is None else Decimal(order[name])
                    for name in ("quantity", "tick_size", "mark", "step_size")
                }
            )
            for order in stored["orders"]
        ]
        shown = {symbol: liquidity_from_document(symbol, entry) for symbol, entry in stored["liquidity"].items()}
        venue = PaperVenue(**{name: Decimal(bps) for name, bps in stored["rules"].items()})
        executions = venue.execute(orders, shown.get, from_iso(stored["timestamp_utc"]))
        rebuilt = stored | {"executions": [execution_document(execution) for execution in executions]}
        self.same(audit_key(rebalance_id, batch_name(stored["batch"])), stored, rebuilt)

    def _baseline(self, pre: Document, orders: Document, stored: Document, books: dict[int, Book]) -> None:
        key = audit_key(stored["rebalance_id"], BASELINE)
        book = books[stored["ledger_seq"]]
        prices = {symbol: Decimal(price) for symbol, price in stored["prices"].items()}
        value = logged(portfolio_value(book, prices))
        recomputed = {
            "portfolio_value": value,
            "positions": book.held(),
            "net_flows": logged(book.flows),
            "inputs": self._inputs(stored["rebalance_id"], stored),
        }
        self.same(key, stored, stored | recomputed)
        capital = self.desk.settings.initial_capital
        for finding in (
            value_continuous_at_t1(stored, value, capital),
            baseline_covers_positions(stored),
            baseline_after_t0(pre, stored),
            positions_explained(pre, orders, stored),
        ):
            self.finding(key, finding)

    def _contents(self, ids: list[str]) -> None:
        found = (find(self.store, audit_key(rebalance_id, OUTCOME)) for rebalance_id in ids)
        self.finding(REBALANCES, one_execution_per_content(outcome for outcome in found if outcome is not None))

    def _plain_copies(self) -> None:
        """The plain-named objects are copies of the audit set they name."""
        for key, name in ((PRE_EXECUTION, PRE), (DAILY_BASELINE, BASELINE)):
            plain = find(self.store, key)
            if plain is not None and plain != find(self.store, audit_key(plain["rebalance_id"], name)):
                self.differs(key, f"differs from {audit_key(plain['rebalance_id'], name)}")
        executed = find(self.store, LATEST_EXECUTED)
        if executed is not None:
            baseline = find(self.store, audit_key(executed["rebalance_id"], BASELINE)) or {}
            for name in ("timestamp_utc", "csv_filename", "csv_sha256", "status"):
                if executed[name] != baseline.get(name):
                    self.differs(LATEST_EXECUTED, f"{name} is {executed[name]}, the baseline says {baseline.get(name)}")

    # --- log ----------------------------------------------------------------------------------------------------

    def _read_log(self) -> tuple[list[LogRow], list[bytes]]:
        try:
            data = self.store.read(PORTFOLIO_VALUE_LOG).data
        except NotFound:
            return [], []
        rows, lines = [], data.split(b"\n")
        if lines.pop():
            self.differs(PORTFOLIO_VALUE_LOG, "ends in a torn line")
        for number, line in enumerate(lines, start=1):
            try:
                rows.append(parse_log_row(line))
            except ValueError as error:
                self.differs(PORTFOLIO_VALUE_LOG, f"line {number}: {error}")
        return rows, lines

    def _log(self, rows: list[LogRow]) -> None:
        for finding in (
            log_identities(rows, self.desk.settings.initial_capital),
            minutes_strictly_rise(rows),
            base_constant_between_baselines(rows),
        ):
            self.finding(PORTFOLIO_VALUE_LOG, finding)
        states = self._states_along(rows)
        marks_by_minute: dict[str, dict[str, MarksRow]] = {}
        for number, (row, book) in enumerate(zip(rows, states, strict=False)):
            if number % 1000 == 0:
                self.progress("log rows", number, len(rows))
            key = marks_key(minute_of(row.timestamp))
            if key not in marks_by_minute:
                marks_by_minute = {key: self._marks_of(key)}  # rows are in order: one hour is enough
            marks = marks_by_minute[key].get(to_iso(row.timestamp))
            if marks is None:
                self.differs(PORTFOLIO_VALUE_LOG, f"{row.timestamp}: no marks row in {key}")
                continue
            try:
                state = valuation(book, marks.prices)
            except (MissingMark, LedgerError) as error:
                self.differs(PORTFOLIO_VALUE_LOG, f"{row.timestamp}: {error}")
                continue
            rebalance_id = None if book.baseline is None else book.baseline.rebalance_id
            source = row.document.get("source", "")
            rebuilt = log_row(marks, state, seq=row.seq, rebalance_id=rebalance_id, source=source)
            if load_document(dump_document(rebuilt)) != row.document:
                self.differs(
                    PORTFOLIO_VALUE_LOG,
                    f"{row.timestamp}: portfolio value {row.portfolio_value}, recomputed {state.portfolio_value}",
                )

    def _states_along(self, rows: list[LogRow]) -> Iterator[Book]:
        """The book each row was valued with: one replay, stepping forward with the rows."""
        ledger = Ledger(self.store, self.desk.settings.initial_capital)
        segments = ledger.segments()
        book = Book(self.desk.settings.initial_capital)
        for row in rows:
            wanted = row.document.get("ledger_seq", 0)
            if wanted < book.seq:
                segments, book = ledger.segments(), Book(self.desk.settings.initial_capital)
            while book.seq < wanted:
                segment = next(segments, None)
                if segment is None:
                    self.differs(PORTFOLIO_VALUE_LOG, f"{row.timestamp}: the ledger has no segment {wanted}")
                    return
                book.apply_all(segment.events)
                book.seq = segment.seq
            yield book

    def _marks_of(self, key: str) -> dict[str, MarksRow]:
        try:
            lines = self.store.read(key).data.splitlines()
        except NotFound:
            return {}
        rows = {}
        for line in lines:
            try:
                row = MarksRow.parse(line)
            except (ValueError, KeyError):
                self.differs(key, f"a line is no marks row: {line[:60]!r}")
                continue
            rows[to_iso(row.timestamp)] = row
        return rows

    def _history(self, rows: list[LogRow]) -> int:
        by_day: dict[date, list[LogRow]] = {}
        for row in rows:
            by_day.setdefault(row.timestamp.date(), []).append(row)
        days = compacted_days(self.store)
        for day in days:
            if not read_day(self.store, day).equals(to_table(by_day.get(day, []))):
                self.differs(f"history of {day}", "differs from the log's rows of that day")
        return len(days)


def _lines_known(pre: Document, log_lines: list[bytes]) -> list[bytes]:
    """The log lines the choice of pv_pre rests on: those before t0, else the one row it fell back to."""
    t0 = from_iso(pre["timestamp_utc"])
    horizon = t0 - timedelta(days=2)
    known = []
    for line in log_lines:
        try:
            row = parse_log_row(line)
        except ValueError:
            continue
        fallback = pre["pv_source"] == "log_not_before_t0" and to_iso(row.timestamp) == pre["pv_timestamp"]
        if fallback or (row.timestamp < t0 and (row.timestamp > horizon or pre["pv_source"] != "log")):
            known.append(line)
    return known


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:60]}… ({sha256_hex(text.encode())[:8]})"
