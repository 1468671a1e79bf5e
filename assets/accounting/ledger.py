"""The stored ledger: numbered, immutable segments of events, each naming the sha256 of the one before.

A segment is created, never rewritten, so two writers cannot both take a number: the loser folds the winner's
segment in and tries the next number. Segment 0 states the initial capital. A snapshot saves cold readers the
replay; it is derived data and may be lost.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from itertools import count

from assets.accounting.book import Book, LedgerError
from assets.accounting.events import Event, from_document, to_document
from resources.documents import dump_document, load_document, sha256_hex
from resources.store import AlreadyExists, NotFound, Store
from resources.store.reading import read_ahead


class Overtaken(LedgerError):
    """Events were not posted because the book they were made for has changed."""


class DamagedSnapshot(LedgerError):
    """The stored snapshot cannot be used. The ledger itself may be whole."""


_log = logging.getLogger(__name__)

SEGMENTS = "ledger/segments/"
SNAPSHOT = "ledger/snapshot.json"


def segment_key(seq: int) -> str:
    return f"{SEGMENTS}{seq:012d}.json"


@dataclass(frozen=True, slots=True)
class Segment:
    """One stored batch of events; ``sha256`` is of the stored bytes."""

    seq: int
    previous_sha256: str
    sha256: str
    events: tuple[Event, ...]
    initial_capital: Decimal | None


def read_segment(store: Store, seq: int) -> Segment:
    """Segment ``seq``. Raises NotFound past the end, LedgerError when its content is not a segment."""
    data = store.read(segment_key(seq)).data
    try:
        document = load_document(data)
        capital = document.get("initial_capital")
        return Segment(
            seq=document["seq"],
            previous_sha256=document["previous_sha256"],
            sha256=sha256_hex(data),
            events=tuple(from_document(event) for event in document["events"]),
            initial_capital=None if capital is None else Decimal(capital),
        )
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
        raise LedgerError(f"{segment_key(seq)} is not a ledger segment: {error}") from error


def read_segments(
    store: Store, first: int = 0, previous_sha256: str = "", *, until: int | None = None
) -> Iterator[Segment]:
    """Stored segments from number ``first`` on, each proven to continue the one before; the first of them continues the
    one with ``previous_sha256``. Reads only, unlike a Ledger, which founds itself. Raises LedgerError."""
    wanted = count(first) if until is None else range(first, until + 1)
    with suppress(NotFound):
        for seq, segment in enumerate(read_ahead(store, partial(read_segment, store), wanted), first):
            if segment.seq != seq or segment.previous_sha256 != previous_sha256:
                raise LedgerError(f"{segment_key(seq)} does not continue the chain")
            yield segment
            previous_sha256 = segment.sha256


def read_snapshot(store: Store) -> tuple[Book, str] | None:
    """The stored book and the sha256 of the segment it stood after; None where there is no snapshot.

    Raises DamagedSnapshot when it cannot be read. One that can be read and contradicts the segments is no damage to be
    passed over: the chain does not continue from it, and a person must look.
    """
    try:
        document = load_document(store.read(SNAPSHOT).data)
        book, head = Book.from_document(document), document["head_sha256"]
        if not isinstance(book.seq, int) or not isinstance(head, str):
            raise TypeError(f"seq {book.seq!r}, head_sha256 {head!r}")
    except NotFound:
        return None
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, AssertionError) as error:
        raise DamagedSnapshot(f"{SNAPSHOT} cannot be read: {error!r}") from error
    return book, head


class Ledger:
    """Follows and extends the stored ledger. Not for use by several threads at once."""

    def __init__(self, store: Store, initial_capital: Decimal) -> None:
        """Opens the ledger in ``store``, founding it with ``initial_capital`` when there is none.

        Raises LedgerError when the stored capital is another one: C0 is history, not a setting to change.
        """
        self._store = store
        self._head = ""
        genesis = dump_document({"seq": 0, "previous_sha256": "", "initial_capital": initial_capital, "events": []})
        try:
            self._founding = read_segment(store, 0)
        except NotFound:
            with suppress(AlreadyExists):
                store.create(segment_key(0), genesis)
            self._founding = read_segment(store, 0)
        if self._founding.initial_capital != initial_capital:
            raise LedgerError(
                f"the ledger in {store.url} began with {self._founding.initial_capital}, settings say {initial_capital}"
            )
        self._initial_capital = initial_capital
        self._book = self._from_snapshot()

    def book(self) -> Book:
        """The book after every segment stored by now (one store read when nothing is new)."""
        for segment in read_segments(self._store, self._book.seq + 1, self._head):
            if (segment.seq, segment.previous_sha256) != (self._book.seq + 1, self._head):
                raise LedgerError(f"{segment_key(segment.seq)} does not continue the chain")
            self._book.apply_all(segment.events)
            self._book.seq = segment.seq
            self._head = segment.sha256
        return self._book

    def book_at(self, seq: int) -> Book:
        """The book as it stood after segment ``seq``, replayed from the beginning."""
        book = Book(self._initial_capital)
        for segment in self.segments(until=seq):
            book.apply_all(segment.events)
            book.seq = segment.seq
        if book.seq != seq:
            raise LedgerError(f"ledger ends at segment {book.seq}, before {seq}")
        return book

    def segments(self, *, until: int | None = None) -> Iterator[Segment]:
        """Stored segments from the first, checking that each continues the chain (LedgerError if not)."""
        return read_segments(self._store, until=until)

    def post(self, events: Iterable[Event], *, provided: Callable[[Book], bool] = lambda _: True) -> list[Event]:
        """Append the events not yet posted as one segment, atomically; returns those that were new.

        ``provided`` is asked about the very book the segment would follow; Overtaken is raised where it says no, so
        that a writer who was suspended cannot post on top of what others did meanwhile.
        """
        wanted: dict[str, Event] = {}
        for event in events:
            wanted.setdefault(event.event_id, event)
        if not wanted:
            return []
        while True:
            book = self.book()
            new = [event for event in wanted.values() if not self._posted(event)]
            if not new:
                return []
            if not provided(book):
                raise Overtaken(f"{new[0].event_id}: the book has changed since this was planned")
            # Tried on a copy first: a segment that cannot be applied must never be stored.
            Book.from_document(book.to_document()).apply_all(new)
            data = dump_document(
                {"seq": book.seq + 1, "previous_sha256": self._head, "events": [to_document(event) for event in new]}
            )
            try:
                self._store.create(segment_key(book.seq + 1), data)
            except AlreadyExists:
                continue
            self.book()
            return new

    def _posted(self, event: Event) -> bool:
        """Whether the ledger holds an event of this id; what the book has forgotten is looked up in the segments."""
        if self._book.remembers(event.time):
            return self._book.knows(event.event_id)
        return any(event.event_id == posted.event_id for segment in self.segments() for posted in segment.events)

    def snapshot(self) -> None:
        """Store the present book for cold readers, which replay the segments after it."""
        document = self.book().to_document() | {"head_sha256": self._head}
        self._store.write(SNAPSHOT, dump_document(document))

    def _from_snapshot(self) -> Book:
        try:
            snapshot = read_snapshot(self._store)
        except DamagedSnapshot as damage:
            _log.warning("%s; every segment is replayed instead", damage)
            snapshot = None
        if snapshot is None:
            return Book(self._initial_capital)
        book, self._head = snapshot
        return book
