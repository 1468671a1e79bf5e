"""The desk's part of ``desk verify``: recompute each of its stored hashes, identities and numbers from the raw
artifacts and say what differs. Closed days of paper trading and reports are recomputed by their own capabilities.

Nothing is trusted twice: documents are rebuilt by the same pure functions that made them, from their stored inputs,
the ledger is replayed from its first segment, and every log row is valued again from its marks row. Whatever a stored
object makes this raise is a difference of that object, never a crash; only the store itself may fail.

What nothing stored can vouch for is checked for its form alone: the times at which marks were made (``as_of``) and
outcomes recorded, marks of symbols not held, the execution lock, and the inbox, which belongs to the outside world.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal, localcontext

from assets.accounting.book import Book, LedgerError
from assets.accounting.events import Baseline, Event, Fill, Funding, funding_id
from assets.accounting.instrument import parse_exchange_info
from assets.accounting.ledger import SEGMENTS, SNAPSHOT, read_segments, segment_key
from assets.accounting.pnl import MissingMark, logged_portfolio_value, valuation
from assets.accounting.precision import EXACT, logged, posted
from assets.desk.artifacts import (
    DAILY_BASELINE,
    INBOX,
    LATEST_EXECUTED,
    LATEST_PRICES,
    LATEST_REFUSED,
    PORTFOLIO_VALUE_LOG,
    PRE_EXECUTION,
    REBALANCES,
    audit_key,
    detection_key,
    filters_key,
)
from assets.desk.desk import Desk
from assets.desk.detection import (
    CLAIM,
    DETECTION,
    EXPIRED,
    OUTCOME,
    REFUSALS,
    SIGNAL_COPY,
    Detection,
    detection_of,
    order_id_prefix,
)
from assets.desk.history import compacted_days, history_key, holds_exactly
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
from resources.documents import (
    Document,
    dump_document,
    dump_line,
    from_iso,
    is_canonical,
    load_document,
    sha256_hex,
    to_iso,
)
from resources.store import NotFound, Store
from resources.store.differences import Difference, Progress, recomputing
from resources.store.once import find, sha256_of
from resources.venue import Order, PaperVenue

_MADE_IN_ORDER = (
    SIGNAL_COPY, DETECTION, SIGNAL, CLAIM, PRE, SIZED_ORDERS, batch_name("reductions"), batch_name("increases"), FILLS,
    BASELINE,
)  # fmt: skip

_RESEARCH = "research/"  # its documents hold binary floats, no money


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
        self.capital = desk.settings.initial_capital
        self.progress = progress
        self.differences: list[Difference] = []
        self.segments = 0
        self.events_by_rebalance: dict[str, list[Event]] = {}
        self.finished: set[str] = set()

    def recomputing(self, key: str) -> AbstractContextManager[None]:
        return recomputing(key, self.differences)

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
        self._canonical()
        ids = sorted({entry.key.split("/")[1] for entry in self.store.list(REBALANCES)})
        self.finished = {id_ for id_ in ids if self._exists(audit_key(id_, OUTCOME))}
        rows, lines = self._read_log()
        books = self._replay_ledger(self._wanted_states(ids))
        for number, rebalance_id in enumerate(ids):
            self.progress("rebalances", number, len(ids))
            with self.recomputing(audit_key(rebalance_id, "")[:-1]):
                self._rebalance(rebalance_id, books, lines)
        with self.recomputing(REBALANCES):
            self._contents(ids)
        self._plain_copies(ids)
        with self.recomputing(PORTFOLIO_VALUE_LOG):
            self._log(rows)
        days = self._history(rows)
        return Report(self.segments, len(ids), len(rows), days, tuple(self.differences))

    def _exists(self, key: str) -> bool:
        try:
            self.store.read(key, tail=1)
        except NotFound:
            return False
        return True

    def _canonical(self) -> None:
        """Every document is stored as ``dump_document`` writes it: no byte of it is free."""
        for entry in self.store.list(""):
            folder = entry.key.partition("/")[0] + "/"
            if not entry.key.endswith(".json") or folder in (INBOX, "filters/"):
                continue  # the outside world's, and the exchange's own bytes, which their name vouches for
            with self.recomputing(entry.key):
                if not is_canonical(self.store.read(entry.key).data, floats=folder == _RESEARCH):
                    self.differs(entry.key, "is not written the way the desk writes documents")

    # --- ledger -------------------------------------------------------------------------------------------------

    def _wanted_states(self, ids: list[str]) -> set[int]:
        wanted = set()
        for key in (SNAPSHOT, *(audit_key(id_, name) for id_ in ids for name in (PRE, BASELINE))):
            with self.recomputing(key):
                document = find(self.store, key)
                if document is not None:
                    wanted.add(document["seq" if key == SNAPSHOT else "ledger_seq"])
        return wanted

    def _replay_ledger(self, wanted: set[int]) -> dict[int, Book]:
        """Replay every segment, keeping the book at the wanted ones; checks the chain, ids and the snapshot."""
        kept: dict[int, Book] = {}
        heads: dict[int, str] = {}
        last = max((entry.key for entry in self.store.list(SEGMENTS)), default=None)
        snapshot = None
        with self.recomputing(SNAPSHOT):
            snapshot = find(self.store, SNAPSHOT)
        with self.recomputing("ledger/"):
            book = Book(self.capital)
            seen: set[str] = set()
            for segment in read_segments(self.store):
                self.progress("ledger", segment.seq, 0)
                if segment.seq == 0 and segment.initial_capital != self.capital:
                    self.differs(
                        segment_key(0), f"begins with {segment.initial_capital}, the settings say {self.capital}"
                    )
                for event in segment.events:
                    if event.event_id in seen:
                        self.differs(segment_key(segment.seq), f"{event.event_id} was posted before")
                    seen.add(event.event_id)
                    if isinstance(event, Fill | Baseline):
                        self.events_by_rebalance.setdefault(event.rebalance_id, []).append(event)
                    elif isinstance(event, Funding):
                        self._funding(segment_key(segment.seq), event, book)
                book.apply_all(segment.events)
                book.seq = segment.seq
                self.segments += 1
                heads[segment.seq] = segment.sha256
                if segment.seq in wanted:
                    kept[segment.seq] = Book.from_document(book.to_document())
        if last is not None and last >= segment_key(self.segments):
            self.differs(last, f"the chain of segments ends before it, with {self.segments}")
        if snapshot is not None:
            with self.recomputing(SNAPSHOT):
                seq = snapshot["seq"]
                self.same(SNAPSHOT, snapshot, kept[seq].to_document() | {"head_sha256": heads[seq]})
        return kept

    def _funding(self, key: str, event: Funding, book: Book) -> None:
        """A settlement's amount and quantity, from what the ledger held just before it."""
        with localcontext(EXACT):
            amount = posted(-event.quantity * event.mark * event.rate)
        for name, stored, recomputed in (
            ("event_id", event.event_id, funding_id(event.symbol, event.time)),
            ("quantity", event.quantity, book.held_before(event.symbol, event.time)),
            ("amount", event.amount, amount),
        ):
            if stored != recomputed:
                self.differs(key, f"{event.event_id}: {name} is {stored}, recomputed {recomputed}")

    def _state_at(self, seq: int, books: dict[int, Book]) -> Book:
        """The book after segment ``seq``; replayed once more for a rebalance that moved on while we verify."""
        if seq not in books:
            book = Book(self.capital)
            for segment in read_segments(self.store, until=seq):
                book.apply_all(segment.events)
                book.seq = segment.seq
            if book.seq != seq:
                raise LedgerError(f"the ledger has no segment {seq}")
            books[seq] = book
        return books[seq]

    # --- rebalances ---------------------------------------------------------------------------------------------

    def _rebalance(self, rebalance_id: str, books: dict[int, Book], log_lines: list[bytes]) -> None:
        detection = detection_of(self.desk, rebalance_id)
        self._detection(detection)
        self._complete(rebalance_id)
        self._ending(detection)
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
        expected: list[Event] = [e for batch in stored_batches for e in fill_events(batch, orders, rebalance_id)]
        fills = find(self.store, audit_key(rebalance_id, FILLS))
        if fills is not None:
            rebuilt = build_fills(rebalance_id, stored_batches, self._inputs(rebalance_id, fills))
            self.same(audit_key(rebalance_id, FILLS), fills, rebuilt)
            self.finding(audit_key(rebalance_id, FILLS), fills_match_orders(orders, fills))
            baseline = find(self.store, audit_key(rebalance_id, BASELINE))
            if baseline is not None:
                self._baseline(pre, orders, fills, baseline, books)
                expected.append(baseline_event(baseline))
        actual = self.events_by_rebalance.get(rebalance_id, [])
        # One under way may have gone on since the ledger was read: what it had posted then must be its beginning.
        if actual != (expected if rebalance_id in self.finished else expected[: len(actual)]):
            self.differs(audit_key(rebalance_id, FILLS), "the ledger's events of this rebalance are not its fills")

    def _complete(self, rebalance_id: str) -> None:
        """Every document that an existing later one was made from is there."""
        stored = {entry.key.rsplit("/", 1)[1] for entry in self.store.list(audit_key(rebalance_id, ""))}
        # A signal that was set aside has its claim and nothing else: a claim calls for no earlier document.
        made = stored - {CLAIM}
        last = max((number for number, name in enumerate(_MADE_IN_ORDER) if name in made), default=-1)
        for name in _MADE_IN_ORDER[: last + 1]:
            if name not in stored:
                self.differs(audit_key(rebalance_id, name), f"is missing, although {_MADE_IN_ORDER[last]} is there")

    def _ending(self, detection: Detection) -> None:
        """How the rebalance was decided and ended, from the documents it left; the time and reason of a refusal
        are what was said then."""
        id_ = detection.rebalance_id
        claim, outcome = (find(self.store, audit_key(id_, name)) for name in (CLAIM, OUTCOME))
        baseline = find(self.store, audit_key(id_, BASELINE))
        if claim is not None:
            choices: list[Document] = [{"claim": "execute", "reason": ""}]
            if outcome is not None and outcome["status"] in ("superseded", "stale"):
                choices = [{"claim": outcome["status"], "reason": outcome["reason"]}]
            elif outcome is None and not self._exists(audit_key(id_, PRE)):
                choices += [{"claim": what, "reason": claim.get("reason")} for what in ("superseded", "stale")]
            if claim not in choices:
                self.differs(audit_key(id_, CLAIM), f"is {claim}, expected {' or '.join(map(str, choices))}")
        if outcome is None:
            return
        expected: Document = {
            "rebalance_id": id_,
            "csv_filename": detection.csv_filename,
            "csv_sha256": detection.csv_sha256,
            "timestamp_utc": to_iso(from_iso(outcome["timestamp_utc"])),
            "status": outcome["status"],
            "reason": outcome["reason"],
        }
        if baseline is not None:
            reasons = {entry["reason"] for entry in baseline["unfilled"]}
            expected["status"] = "executed" if baseline["status"] == "complete" else "partial"
            expected["reason"] = EXPIRED if EXPIRED in reasons else ", ".join(sorted(reasons))
        elif outcome["status"] in ("superseded", "stale") and claim is None:
            self.differs(audit_key(id_, CLAIM), f"is missing, although the outcome is {outcome['status']}")
        elif outcome["status"] not in ("quarantined", "superseded", "stale", "aborted", "expired"):
            self.differs(audit_key(id_, OUTCOME), f"status is {outcome['status']!r} without a baseline")
        self.same(audit_key(id_, OUTCOME), outcome, expected)
        if from_iso(outcome["timestamp_utc"]) < detection.t0:
            self.differs(audit_key(id_, OUTCOME), f"recorded {outcome['timestamp_utc']}, before t0")

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
            self._state_at(stored["ledger_seq"], books),
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
        venue = PaperVenue(**{name: Decimal(rule) for name, rule in stored["rules"].items()})
        executions = venue.execute(orders, shown.get, from_iso(stored["timestamp_utc"]))
        rebuilt = stored | {"executions": [execution_document(execution) for execution in executions]}
        self.same(audit_key(rebalance_id, batch_name(stored["batch"])), stored, rebuilt)

    def _baseline(
        self, pre: Document, orders: Document, fills: Document, stored: Document, books: dict[int, Book]
    ) -> None:
        key = audit_key(pre["rebalance_id"], BASELINE)
        book = self._state_at(stored["ledger_seq"], books)
        prices = {symbol: Decimal(price) for symbol, price in stored["prices"].items()}
        value = logged_portfolio_value(book, prices)
        recomputed = {
            **{name: pre[name] for name in ("rebalance_id", "csv_filename", "csv_sha256")},
            **{name: fills[name] for name in ("status", "unfilled")},
            "portfolio_value": value,
            "positions": book.held(),
            "net_flows": logged(book.flows),
            "supersedes": self._superseded(pre, book),
            "inputs": self._inputs(pre["rebalance_id"], stored),
        }
        self.same(key, stored, stored | recomputed)
        if not set(stored["stale"]) <= set(book.positions):
            self.differs(key, f"stale names {', '.join(stored['stale'])}, not all of them held")
        for finding in (
            value_continuous_at_t1(stored, value, self.capital),
            baseline_covers_positions(stored),
            baseline_after_t0(pre, stored),
            positions_explained(pre, orders, stored),
        ):
            self.finding(key, finding)

    def _superseded(self, pre: Document, book: Book) -> str | None:
        """The rebalance before, where it was of the same day or content."""
        if book.baseline is None:
            return None
        detection = detection_of(self.desk, pre["rebalance_id"])
        before = detection_of(self.desk, book.baseline.rebalance_id)
        same_day = before.trading_day is not None and before.trading_day == detection.trading_day
        return before.rebalance_id if same_day or before.csv_sha256 == detection.csv_sha256 else None

    def _contents(self, ids: list[str]) -> None:
        found = (find(self.store, audit_key(rebalance_id, OUTCOME)) for rebalance_id in ids)
        self.finding(REBALANCES, one_execution_per_content(outcome for outcome in found if outcome is not None))

    def _plain_copies(self, ids: list[str]) -> None:
        """The plain-named objects are copies of the audit set they name, and the last prices those of their tick."""
        if any(id_ in self.finished and self._exists(audit_key(id_, BASELINE)) for id_ in ids):
            for key in (PRE_EXECUTION, DAILY_BASELINE, LATEST_EXECUTED):
                if not self._exists(key):
                    self.differs(key, "is missing, although a rebalance was executed")
        for id_ in ids:
            with self.recomputing(audit_key(id_, OUTCOME)):
                outcome = find(self.store, audit_key(id_, OUTCOME))
                if outcome and outcome["status"] in REFUSALS and not self._exists(LATEST_REFUSED):
                    self.differs(LATEST_REFUSED, f"is missing, although {id_} was refused")
        for key, name in ((PRE_EXECUTION, PRE), (DAILY_BASELINE, BASELINE), (LATEST_REFUSED, OUTCOME)):
            with self.recomputing(key):
                plain = find(self.store, key)
                audited = None if plain is None else find(self.store, audit_key(plain["rebalance_id"], name))
                if plain is None or plain == audited:
                    continue
                if key == LATEST_REFUSED and audited is None and plain["rebalance_id"] in ids:
                    continue  # stated under its plain name first: after a kill in between the outcome is still to come
                self.differs(key, f"differs from {audit_key(plain['rebalance_id'], name)}")
        with self.recomputing(LATEST_EXECUTED):
            executed = find(self.store, LATEST_EXECUTED)
            if executed is not None:
                baseline = find(self.store, audit_key(executed["rebalance_id"], BASELINE)) or {}
                names = ("timestamp_utc", "csv_filename", "csv_sha256", "rebalance_id", "status")
                self.same(LATEST_EXECUTED, executed, {name: baseline.get(name) for name in names})
        with self.recomputing(LATEST_PRICES):
            latest = find(self.store, LATEST_PRICES)
            if latest is not None:
                self._latest_prices(latest)

    def _latest_prices(self, latest: Document) -> None:
        key = marks_key(minute_of(from_iso(latest["timestamp_utc"])))
        marks = self._marks_of(key).get(latest["timestamp_utc"])
        if marks is None:
            return  # the minute was claimed by another tick of it, or this one is still under way
        for symbol, price in marks.prices.items():
            shown = latest["prices"].get(symbol), latest["as_of"].get(symbol)
            if shown != (price, to_iso(marks.as_of[symbol])):
                self.differs(LATEST_PRICES, f"{symbol} is {shown[0]} as of {shown[1]}, the marks row says {price}")

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
                row = parse_log_row(line)
            except ValueError as error:
                self.differs(PORTFOLIO_VALUE_LOG, f"line {number}: {error}")
                continue
            rows.append(row)
            if dump_line(row.document) != line:
                self.differs(PORTFOLIO_VALUE_LOG, f"line {number} is not written the way the desk writes rows")
        return rows, lines

    def _log(self, rows: list[LogRow]) -> None:
        for finding in (
            log_identities(rows, self.capital),
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
        segments, book = read_segments(self.store), Book(self.capital)
        for row in rows:
            wanted = row.document.get("ledger_seq", 0)
            if wanted < book.seq:
                segments, book = read_segments(self.store), Book(self.capital)
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
            with self.recomputing(key):
                row = MarksRow.parse(line)
                if row.line() != line:
                    self.differs(key, f"{to_iso(row.timestamp)}: the row is not written the way the desk writes rows")
                rows[to_iso(row.timestamp)] = row
        return rows

    def _history(self, rows: list[LogRow]) -> int:
        by_day: dict[date, list[LogRow]] = {}
        for row in rows:
            by_day.setdefault(row.timestamp.date(), []).append(row)
        days = compacted_days(self.store)
        for day in days:
            key = history_key(day)
            with self.recomputing(key):
                if not holds_exactly(self.store.read(key).data, by_day.get(day, [])):
                    self.differs(key, "differs from the log's rows of that day")
        for day in sorted(by_day.keys() - set(days)):
            if days and day < days[-1]:
                self.differs(history_key(day), "is missing, although a later day is compacted")
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
