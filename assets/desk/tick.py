"""One tick: marks -> latest prices -> portfolio value -> one log row, written at most once a minute.

``value`` is pure. ``Ticker.tick`` loads and stores around it, in an order that makes a killed tick harmless:
latest prices (overwritten), then the marks row, then the log row computed from the marks row as stored. A second
writer of the same minute finds the marks row and computes the identical log row, and only one of them lands.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Literal

from assets.accounting.book import MEMORY, Book
from assets.accounting.funding import DELAY, UNANSWERED, UNUSABLE, Lack, payments, unbooked
from assets.accounting.marks import sift
from assets.accounting.pnl import MissingMark, Valuation, valuation
from assets.desk.artifacts import EXECUTION, LATEST_PRICES, PORTFOLIO_VALUE_LOG
from assets.desk.desk import Desk
from assets.desk.value_log import MarksRow, log_row, marks_key, minute_of, minute_of_line, next_seq
from resources.documents import Document, dump_document, dump_line, from_iso, to_iso, to_isos
from resources.market import FundingRate, Mark, MarketError
from resources.store import NotFound
from resources.store.once import find

# Settlements are published with a delay of seconds to minutes: at the last hour a ticker looks again each time.
FUNDING_LATE = timedelta(hours=1)
# After a start, and where the market did not answer, they are looked for this far back, inside what the book remembers.
_FUNDING_LOOKBACK = MEMORY - timedelta(days=1)
# Bytes from the log's end that surely hold its last whole line: a row is under 500, plus what is stale.
_LINE_REACH = 65_536


@dataclass(frozen=True, slots=True)
class Prices:
    """What ``latest_prices.json`` states: the last valid mark of each symbol, and who was refused this time."""

    timestamp: datetime
    marks: Mapping[str, Mark]
    refused: Mapping[str, str]
    source: str

    def document(self) -> Document:
        return {
            "timestamp_utc": to_iso(self.timestamp),
            "prices": {symbol: mark.price for symbol, mark in self.marks.items()},
            "as_of": to_isos({symbol: mark.as_of for symbol, mark in self.marks.items()}),
            "source": self.source,
            "refused": dict(self.refused),
        }


def last_valid_marks(document: Document | None) -> dict[str, Mark]:
    """The marks a stored ``latest_prices.json`` holds (none when there is no such object yet)."""
    if document is None:
        return {}
    as_of = document["as_of"]
    return {s: Mark(s, Decimal(price), from_iso(as_of[s])) for s, price in document["prices"].items()}


def value(book: Book, prices: Prices) -> MarksRow:
    """The marks row that values ``book``: every held symbol at its last valid mark, the refused ones named stale.

    Raises MissingMark when a held symbol never had a valid mark.
    """
    held = sorted(book.positions)
    missing = [symbol for symbol in held if symbol not in prices.marks]
    if missing:
        raise MissingMark(f"no valid mark yet for held {', '.join(missing)}")
    return MarksRow(
        timestamp=prices.timestamp,
        prices={symbol: prices.marks[symbol].price for symbol in held},
        as_of={symbol: prices.marks[symbol].as_of for symbol in held},
        stale=tuple(symbol for symbol in held if symbol in prices.refused),
        ledger_seq=book.seq,
    )


@dataclass(frozen=True, slots=True)
class TickResult:
    """What a tick did. ``status``: ``logged``; ``already_logged`` (this minute has its row, whoever wrote it);
    ``clock_behind_log`` (our clock stepped back behind the log, nothing written); ``no_value`` with ``reason``.
    ``funding_unbooked``: what is known not to be booked and no longer is looked for, and what the market does not
    answer about an hour after it was due; one ticker names each of these once."""

    status: Literal["logged", "already_logged", "clock_behind_log", "no_value"]
    timestamp: datetime
    row: Document | None
    valuation: Valuation | None
    refused: Mapping[str, str]
    funding_posted: int
    reason: str = ""
    funding_unbooked: tuple[Lack, ...] = ()


@dataclass(frozen=True, slots=True)
class _Look:
    """A look at what was settled. ``checked``: until when all of it is booked or named by now. ``named``: until when
    what is not booked is named, be it that the market does not answer."""

    posted: int
    missing: tuple[Lack, ...]
    checked: datetime | None
    named: datetime | None


class Ticker:
    """Ticks one desk, keeping its book and last valid marks in memory between ticks."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._ledger = desk.ledger()
        self._last_valid = _stored_marks(desk)
        self._funding_checked: datetime | None = None
        self._funding_named: datetime | None = None
        self._unusable: list[FundingRate] = []

    def tick(self) -> TickResult:
        """Value the portfolio now and log it, unless this minute is logged already."""
        desk = self._desk
        now = desk.clock.now()
        if minute_of_line(last_log_line(desk)) > minute_of(now):
            # What our clock said when it looked for settlements was wrong.
            self._funding_checked = self._funding_named = None
            return TickResult("clock_behind_log", now, None, None, {}, 0)
        raw = desk.market.marks(now)
        sifted = sift(raw, now, timedelta(seconds=desk.settings.stale_mark_seconds))
        self._last_valid.update(sifted.accepted)
        book = self._ledger.book()
        refused = {s: sifted.reason(s) for s in (*sifted.refused, *book.positions) if sifted.reason(s)}
        prices = Prices(now, self._last_valid, refused, desk.market.name)
        look = self._post_funding(book, now)
        said = partial(
            TickResult, timestamp=now, refused=refused, funding_posted=look.posted, funding_unbooked=look.missing
        )
        result = self._log_value(book, prices, said)
        # Last of all, since what a tick that fails finds is told to nobody.
        self._funding_checked, self._funding_named = look.checked, look.named
        return result

    def unbooked_yet(self) -> tuple[Lack, ...]:
        """What is not booked and was still looked for at the last tick: where a recording is over, it has no more."""
        now = self._desk.clock.now()
        return self._missing(self._ledger.book(), self._funding_named or now - _FUNDING_LOOKBACK, now - DELAY, now)

    def _log_value(self, book: Book, prices: Prices, said: Callable[..., TickResult]) -> TickResult:
        """Store the prices, and the value of ``book`` at them unless this minute has its row."""
        if not book.positions.keys() <= self._last_valid.keys():
            # Another ticker may have seen a mark of what we hold and never saw priced.
            self._last_valid = _stored_marks(self._desk) | self._last_valid
            prices = replace(prices, marks=self._last_valid)
        self._desk.store.write(LATEST_PRICES, dump_document(prices.document()))
        try:
            marks = self._claim_minute(value(book, prices))
        except MissingMark as error:
            return said("no_value", row=None, valuation=None, reason=str(error))
        if marks is None:
            return said("clock_behind_log", row=None, valuation=None)
        if marks.ledger_seq != book.seq:
            book = self._ledger.book_at(marks.ledger_seq)
        state = valuation(book, marks.prices)
        row, newest = self._log(marks, state, None if book.baseline is None else book.baseline.rebalance_id)
        if row is not None:
            return said("logged", row=row, valuation=state)
        behind = newest > minute_of(marks.timestamp)
        return said("clock_behind_log" if behind else "already_logged", row=None, valuation=state)

    def _post_funding(self, book: Book, now: datetime) -> _Look:
        """Post every settlement published since the last look; ids make a repeated look harmless.

        A rebalance under way may still post fills dated before a settlement, so those wait until it is done. A market
        that does not answer costs nothing but time: the next look goes back as far, and what it has not got is judged
        when it answers. That it does not is named an hour after something was due.
        """
        oldest, late = now - _FUNDING_LOOKBACK, now - FUNDING_LATE
        since = max(self._funding_checked or oldest, oldest)
        try:
            rates = self._desk.market.funding(book.recently_held(), since, now)
        except MarketError:
            after = max(self._funding_named or oldest, oldest)
            return _Look(0, tuple(unbooked(book, after, late, why=UNANSWERED)), self._funding_checked, late)
        paid, self._unusable = payments(book, rates)
        executing = find(self._desk.store, EXECUTION) if paid else None
        if executing is not None and executing["state"] == "executing":
            posted = len(self._ledger.post(e for e in paid if e.time < from_iso(executing["started_utc"])))
            return _Look(posted, (), self._funding_checked, self._funding_named)
        posted = len(self._ledger.post(paid))
        return _Look(posted, self._missing(book, since, late, late), late, late)

    def _missing(self, book: Book, after: datetime, ended: datetime, told: datetime) -> tuple[Lack, ...]:
        """Of what was due since ``after``: the periods ended by ``ended`` without a payment, and the settlements told
        by ``told`` that nothing can be booked of."""
        unusable = (Lack(rate.time, rate.symbol, UNUSABLE) for rate in self._unusable if after < rate.time <= told)
        return (*unbooked(book, after, ended, self._unusable), *unusable)

    def _claim_minute(self, wanted: MarksRow) -> MarksRow | None:
        """Store the marks row of this minute, or find the one already stored; None when the clock stepped back."""
        minute = minute_of(wanted.timestamp)
        found: list[bytes] = []

        def line(last: bytes) -> bytes | None:
            found[:] = [last]
            return wanted.line() if minute_of_line(last) < minute else None

        if self._desk.store.append(marks_key(minute), line) is not None:
            return wanted
        stored = MarksRow.parse(found[0])
        return stored if minute_of(stored.timestamp) == minute else None

    def _log(self, marks: MarksRow, state: Valuation, rebalance_id: str | None) -> tuple[Document | None, datetime]:
        """Append the log row unless its minute, or a later one, is there; returns it and the log's minute before."""
        minute = minute_of(marks.timestamp)
        rows: list[Document] = []
        newest = minute

        def line(last: bytes) -> bytes | None:
            nonlocal newest
            newest = minute_of_line(last)
            if newest >= minute:
                return None
            seq = next_seq(last)
            row = log_row(marks, state, seq=seq, rebalance_id=rebalance_id, source=self._desk.market.name)
            rows[:] = [row]
            return dump_line(row)

        appended = self._desk.store.append(PORTFOLIO_VALUE_LOG, line)
        return (None if appended is None else rows[0]), newest


def _stored_marks(desk: Desk) -> dict[str, Mark]:
    """The last valid marks of an earlier tick; none where the object is damaged, since this tick overwrites it."""
    try:
        return last_valid_marks(find(desk.store, LATEST_PRICES))
    except (ValueError, KeyError, TypeError, ArithmeticError):
        return {}


def last_log_line(desk: Desk) -> bytes:
    """The last whole line of the portfolio-value log, b"" when there is none."""
    try:
        data = desk.store.read(PORTFOLIO_VALUE_LOG, tail=_LINE_REACH).data
    except NotFound:
        return b""
    end = data.rfind(b"\n")
    return data[data.rfind(b"\n", 0, end) + 1 : end] if end >= 0 else b""
