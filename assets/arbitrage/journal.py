"""The stored log of one session: immutable numbered segments of event lines, each naming the sha256 of the one before.

A segment is created, never rewritten, so of two writers one wins and the other is told (Overtaken). Its first line says
its number, the segment it follows, which events it holds and the sha256 of their lines; the lines of all segments, one
event each as canonical JSON, are the log. Every stored byte is covered by a check, the newest segment's too.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from assets.arbitrage.codec import from_document, to_line
from assets.arbitrage.events import Event
from resources.documents import dump_document, load_document, sha256_hex
from resources.store import AlreadyExists, Store
from resources.store.reading import read_ahead


class JournalError(Exception):
    """The stored log is damaged, or events do not continue it; the message names the segment."""


class Overtaken(JournalError):
    """Another writer stored the next segment first: this one must stop."""


@dataclass(frozen=True, slots=True)
class _Segment:
    """A stored segment: ``lines`` are its events' bytes, ``sha256`` is of the whole object."""

    lines: bytes
    count: int
    sha256: str


def _segment_bytes(number: int, previous: str, first_seq: int, count: int, lines: bytes) -> bytes:
    header = dump_document(
        {
            "segment": number,
            "previous_sha256": previous,
            "first_seq": first_seq,
            "events": count,
            "lines_sha256": sha256_hex(lines),
        }
    )
    return header + lines


class Journal:
    """Follows and extends one stored log. ``head_seq`` is the newest event's ``seq``, -1 while there is none.

    What opening read is kept until the log is extended, so that whoever opens a log to go on with it reads it once: a
    busy day is some megabytes. Not for use by several threads at once.
    """

    def __init__(self, store: Store, prefix: str) -> None:
        """Use ``Journal.open``."""
        self._store = store
        self._prefix = f"{prefix.rstrip('/')}/"
        self._segments = 0
        self._head = ""
        self._kept: list[_Segment] | None = None
        self._lines_sha256 = hashlib.sha256()
        self.head_seq = -1

    @classmethod
    def open(cls, store: Store, prefix: str) -> "Journal":
        """The log whose segments lie under ``prefix``, empty when there are none, its whole chain verified.

        Raises JournalError when a segment is damaged or missing.
        """
        journal = cls(store, prefix)
        journal._kept = list(journal._read())
        for segment in journal._kept:
            journal._take(segment)
        return journal

    def append(self, events: Sequence[Event]) -> None:
        """Store the events as one segment, all or none; nothing to append stores nothing.

        Raises Overtaken when another writer was first (open the journal anew to see what it wrote), JournalError when
        the events do not continue the log's ``seq``.
        """
        if not events:
            return
        number, key = self._segments, self._key(self._segments)
        for seq, event in enumerate(events, self.head_seq + 1):
            if event.seq != seq:
                raise JournalError(f"{key}: event {event.seq} does not continue the log, {seq} is next")
        lines = b"".join(map(to_line, events))
        data = _segment_bytes(number, self._head, self.head_seq + 1, len(events), lines)
        try:
            self._store.create(key, data)
        except AlreadyExists as error:
            raise Overtaken(f"{key} was stored by another writer") from error
        self._kept = None
        self._take(_Segment(lines, len(events), sha256_hex(data)))

    def events(self) -> Iterator[Event]:
        """Every stored event in order, verified: as opening found them, or read anew once the log was extended. Raises
        JournalError at the segment that is damaged."""
        seq = 0
        for number, segment in enumerate(self._stored()):
            for line in segment.lines.splitlines():
                try:
                    event = from_document(load_document(line))
                except ValueError as error:
                    raise JournalError(f"{self._key(number)}: event {seq} cannot be read: {error}") from error
                if event.seq != seq:
                    raise JournalError(f"{self._key(number)}: event {event.seq} where {seq} is next")
                yield event
                seq += 1

    def lines(self) -> Iterator[bytes]:
        """Every stored event's line with its newline, not decoded; otherwise like ``events``."""
        for segment in self._stored():
            yield from segment.lines.splitlines(keepends=True)

    def sha256(self) -> str:
        """The sha256 of the log: of all its lines together, however they were cut into segments."""
        return self._lines_sha256.copy().hexdigest()

    def _take(self, segment: _Segment) -> None:
        self._segments += 1
        self._head = segment.sha256
        self._lines_sha256.update(segment.lines)
        self.head_seq += segment.count

    def _key(self, number: int) -> str:
        return f"{self._prefix}{number:08d}.jsonl"

    def _stored(self) -> Iterator[_Segment]:
        return self._read() if self._kept is None else iter(self._kept)

    def _keys(self) -> Iterator[str]:
        for number, entry in enumerate(self._store.list(self._prefix)):
            if entry.key != self._key(number):
                raise JournalError(f"{entry.key} is stored where {self._key(number)} is next")
            yield entry.key

    def _read(self) -> Iterator[_Segment]:
        """The segments in order, each checked to be whole and to continue the one before."""
        previous, first_seq = "", 0
        for number, blob in enumerate(read_ahead(self._store, self._store.read, self._keys())):
            key, data = self._key(number), blob.data
            lines = data[data.find(b"\n") + 1 :]
            count = lines.count(b"\n")
            # The header is not read but made again: it has one right form, to the byte.
            if not lines or lines[-1:] != b"\n" or data != _segment_bytes(number, previous, first_seq, count, lines):
                raise JournalError(f"{key} is damaged, or does not continue the segment before")
            segment = _Segment(lines, count, sha256_hex(data))
            yield segment
            previous, first_seq = segment.sha256, first_seq + count
