"""Stored events for a reader in another thread: the newest from memory, older ones from the store."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from assets.arbitrage.events import Event

KEPT = 10_000  # events in memory: some megabytes, and minutes of a busy market
_CHUNK = 1_000


class Outbox:
    """What the trader has stored and the bus may publish. ``add`` never waits for the reader."""

    def __init__(self, stored: Callable[[], Iterator[Event]], head_seq: int, kept: int = KEPT) -> None:
        """``stored`` reads the whole log anew, and is called by the reader's thread; it reaches ``head_seq`` now."""
        self._stored = stored
        self._head = head_seq
        self._newest: deque[Event] = deque(maxlen=kept)
        self._reading: tuple[int, Iterator[Event]] | None = None  # the last event given of the store, and what follows
        self._lock = threading.Lock()

    def add(self, events: Iterable[Event]) -> None:
        """Events that have just been stored, in order. Raises ValueError when one does not follow the last."""
        with self._lock:
            for event in events:
                if event.seq != self._head + 1:
                    raise ValueError(f"event {event.seq} was stored after {self._head}")
                self._newest.append(event)
                self._head = event.seq

    def events_after(self, seq: int) -> Iterator[Event]:
        """All stored events after ``seq``, up to the newest. Raises what reading the store raises."""
        if seq + 1 < self._first_kept():
            for event in self._from_store(seq):
                yield event
                seq = event.seq
        while chunk := self._kept_after(seq):
            yield from chunk
            seq = chunk[-1].seq

    def _from_store(self, seq: int) -> Iterator[Event]:
        """What is stored after ``seq``. Whoever asks for a batch goes on where the last one ended: not from the log's
        beginning each time."""
        reading, self._reading = self._reading, None
        events = self._stored() if reading is None or reading[0] != seq else reading[1]
        for event in events:
            if event.seq > seq:
                self._reading = event.seq, events
                yield event
                self._reading = None  # an iterator that fails is over

    def _first_kept(self) -> int:
        with self._lock:
            return self._newest[0].seq if self._newest else self._head + 1

    def _kept_after(self, seq: int) -> tuple[Event, ...]:
        """A chunk, so that the reader does not keep the trader waiting. Nothing where it has been overtaken: what
        comes next then is in the store."""
        with self._lock:
            if not self._newest or seq + 1 < self._newest[0].seq:
                return ()
            start = seq + 1 - self._newest[0].seq
            return tuple(islice(self._newest, start, start + _CHUNK))
