"""The book: positions, FIFO lots, cash and amounts to date, folded from ledger events exactly.

Two independent views are kept so that one can prove the other (reference/trading.md 3.1):
the cash account (identity A3) and the lots with realised P&L (identity A2).
"""

from collections import deque
from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal, localcontext

from assets.accounting.events import Baseline, Event, Fill, Flow, Funding, from_document, funded_symbol, to_document
from assets.accounting.precision import EXACT, ZERO, logged
from resources.documents import Document, from_iso, to_iso

# Event ids are remembered this long, counted from the newest event: longer than any rebalance may be resumed
# and any funding settlement is looked up late, short enough that a book stays small after years.
MEMORY = timedelta(days=8)


class LedgerError(Exception):
    """An event cannot be applied, or a stored ledger contradicts itself."""


class Position:
    """Open lots of one symbol, oldest first: [signed quantity, price] pairs that share one sign."""

    __slots__ = ("lots", "quantity")

    def __init__(self) -> None:
        self.quantity = ZERO
        self.lots: deque[list[Decimal]] = deque()

    def trade(self, quantity: Decimal, price: Decimal) -> Decimal:
        """Match ``quantity`` against open lots, first in first out; returns the realised P&L gross of fees.

        What exceeds the open position opens a lot on the other side.
        """
        realised = ZERO
        self.quantity += quantity
        lots = self.lots
        while quantity and lots and (lots[0][0] < 0) != (quantity < 0):
            oldest = lots[0]
            if abs(quantity) < abs(oldest[0]):
                realised -= quantity * (price - oldest[1])
                oldest[0] += quantity
                return realised
            realised += oldest[0] * (price - oldest[1])
            quantity += oldest[0]
            lots.popleft()
        if quantity:
            lots.append([quantity, price])
        return realised


class Book:
    """The state after a run of ledger events. Amounts in the reporting currency; quantities signed.

    ``cash`` = C0 + flows - sum(quantity * price) - fees + funding; ``realised`` is gross of fees;
    ``seq`` is the last ledger segment folded in.
    """

    __slots__ = (
        "_ids",
        "_newest",
        "_recent",
        "baseline",
        "cash",
        "fees",
        "flows",
        "funding",
        "initial_capital",
        "positions",
        "realised",
        "seq",
    )

    def __init__(self, initial_capital: Decimal) -> None:
        self.initial_capital = initial_capital
        self.cash = initial_capital
        self.realised = ZERO
        self.fees = ZERO
        self.funding = ZERO
        self.flows = ZERO
        self.positions: dict[str, Position] = {}
        self.baseline: Baseline | None = None
        self.seq = -1
        self._newest: datetime | None = None
        self._recent: deque[tuple[datetime, str, str, Decimal]] = deque()
        self._ids: set[str] = set()

    def quantity(self, symbol: str) -> Decimal:
        """Signed contract units held, zero when flat."""
        position = self.positions.get(symbol)
        return ZERO if position is None else position.quantity

    def held(self) -> dict[str, Decimal]:
        """Signed quantity of every open position, by symbol in order."""
        return {symbol: position.quantity for symbol, position in sorted(self.positions.items())}

    def held_before(self, symbol: str, instant: datetime) -> Decimal:
        """Signed quantity held strictly before ``instant``, which must lie within the book's memory."""
        with localcontext(EXACT):
            later = sum((dq for time, _, traded, dq in self._recent if traded == symbol and time >= instant), ZERO)
            return self.quantity(symbol) - later

    def recently_held(self) -> set[str]:
        """Symbols held now or traded within the book's memory: those a late funding settlement may concern."""
        return set(self.positions) | {symbol for _, _, symbol, _ in self._recent if symbol}

    def settlements(self) -> dict[str, list[datetime]]:
        """When funding of each symbol was settled and posted within the book's memory, ascending."""
        times: dict[str, list[datetime]] = {}
        for time, event_id, _, _ in self._recent:
            symbol = funded_symbol(event_id)
            if symbol is not None:
                times.setdefault(symbol, []).append(time)
        return {symbol: sorted(posted) for symbol, posted in times.items()}

    def knows(self, event_id: str) -> bool:
        """Whether an event of this id was applied within the book's memory."""
        return event_id in self._ids

    def remembers(self, instant: datetime) -> bool:
        """Whether an event dated ``instant`` can still be told from a repeat."""
        return self._newest is None or instant >= self._newest - MEMORY

    def apply_all(self, events: Iterable[Event]) -> int:
        """Apply events in order; returns how many were new (identity A12: a repeated id changes nothing)."""
        with localcontext(EXACT):
            return sum(self._apply(event) for event in events)

    def _apply(self, event: Event) -> bool:
        if event.event_id in self._ids:
            return False
        if not self.remembers(event.time):
            raise LedgerError(f"{event.event_id}: dated {event.time}, older than the book can tell from a repeat")
        if self._newest is None or event.time > self._newest:
            self._newest = event.time
            self._forget()
        symbol, traded = "", ZERO
        if isinstance(event, Fill):
            symbol, traded = event.symbol, event.quantity
            self._fill(event)
        elif isinstance(event, Funding):
            self.cash += event.amount
            self.funding += event.amount
        elif isinstance(event, Flow):
            if event.amount != logged(event.amount):
                raise LedgerError(f"{event.event_id}: a flow has at most 6 decimals, got {event.amount}")
            self.cash += event.amount
            self.flows += event.amount
        else:
            self.baseline = event
        self._recent.append((event.time, event.event_id, symbol, traded))
        self._ids.add(event.event_id)
        return True

    def _fill(self, fill: Fill) -> None:
        if not fill.quantity or fill.price <= 0 or fill.fee < 0:
            raise LedgerError(f"{fill.event_id}: quantity {fill.quantity}, price {fill.price}, fee {fill.fee}")
        position = self.positions.get(fill.symbol)
        if position is None:
            position = self.positions[fill.symbol] = Position()
        self.realised += position.trade(fill.quantity, fill.price)
        self.cash -= fill.quantity * fill.price + fill.fee
        self.fees += fill.fee
        if not position.quantity:
            del self.positions[fill.symbol]

    def _forget(self) -> None:
        assert self._newest is not None
        horizon = self._newest - MEMORY
        while self._recent and self._recent[0][0] < horizon:
            self._ids.discard(self._recent.popleft()[1])

    def to_document(self) -> Document:
        """The whole state, so that snapshot plus later events equals a full replay (identity A11)."""
        return {
            "seq": self.seq,
            "initial_capital": self.initial_capital,
            "cash": self.cash,
            "realised": self.realised,
            "fees": self.fees,
            "funding": self.funding,
            "flows": self.flows,
            "lots": {symbol: [list(lot) for lot in p.lots] for symbol, p in sorted(self.positions.items())},
            "baseline": None if self.baseline is None else to_document(self.baseline),
            "newest": None if self._newest is None else to_iso(self._newest),
            "recent": [[to_iso(time), event_id, symbol, dq] for time, event_id, symbol, dq in self._recent],
        }

    @classmethod
    def from_document(cls, document: Document) -> "Book":
        book = cls(Decimal(document["initial_capital"]))
        book.seq = document["seq"]
        for name in ("cash", "realised", "fees", "funding", "flows"):
            setattr(book, name, Decimal(document[name]))
        with localcontext(EXACT):
            for symbol, lots in document["lots"].items():
                position = book.positions[symbol] = Position()
                for quantity, price in lots:
                    position.lots.append([Decimal(quantity), Decimal(price)])
                    position.quantity += Decimal(quantity)
        if document["baseline"] is not None:
            baseline = from_document(document["baseline"])
            assert isinstance(baseline, Baseline)
            book.baseline = baseline
        book._newest = None if document["newest"] is None else from_iso(document["newest"])
        for time, event_id, symbol, dq in document["recent"]:
            book._recent.append((from_iso(time), event_id, symbol, Decimal(dq)))
            book._ids.add(event_id)
        return book
