"""What the paper trader says of itself, read once for every viewer: the newest view of one source."""

import asyncio
import logging
from dataclasses import dataclass, replace
from datetime import datetime

from assets.arbitrage.view import TraderView, live_from_document, live_key
from resources.clock import Clock
from resources.documents import load_document
from resources.feed import Source
from resources.store import NotFound, Store, StoreError

_log = logging.getLogger(__name__)

# The trader writes each second. Ages are coloured as the predecessor's were, at 5 and 15 s (predecessors.md, brief 3).
LATE_SECONDS, STALE_SECONDS = 5, 15


@dataclass(frozen=True, slots=True)
class TraderSnapshot:
    """As of one look at the store; ``version`` rises with every change, 0 before the first look.

    ``view`` is None while no trader of ``source`` has written one. ``written_at`` is when the trader wrote it and
    ``seen_at`` when it was first seen here. ``disconnected`` is why the store could not be read, ``unreadable`` why its
    document could not be understood ("" while all is well); the view then keeps its last state.
    """

    source: Source
    version: int = 0
    view: TraderView | None = None
    written_at: datetime | None = None
    seen_at: datetime | None = None
    disconnected: str = ""
    unreadable: str = ""

    def age_seconds(self, now: datetime) -> float | None:
        """Seconds since the trader last said something, None when it never did. Neither a trader's clock that is ahead
        nor one that is behind makes an old view look new."""
        if self.written_at is None or self.seen_at is None:
            return None
        return max((now - self.written_at).total_seconds(), (now - self.seen_at).total_seconds(), 0.0)

    def is_stale(self, now: datetime) -> bool:
        """Whether the numbers are too old to be taken for the present, or there are none."""
        age = self.age_seconds(now)
        return age is None or age > STALE_SECONDS


class TraderPoller:
    """Reads one store for one process. ``refresh`` blocks on the store and is never run twice at once."""

    def __init__(self, store: Store, clock: Clock, source: Source) -> None:
        self._store = store
        self._clock = clock
        self._key = live_key(source)
        self._stored = ""  # the store's version of what was read last
        self._snapshot = TraderSnapshot(source)

    @property
    def snapshot(self) -> TraderSnapshot:
        """The newest snapshot; safe to read from any thread."""
        return self._snapshot

    async def run(self, seconds: float) -> None:
        """Refresh every ``seconds`` until cancelled; the store is read off the event loop."""
        while True:
            await asyncio.to_thread(self.refresh)
            await asyncio.sleep(seconds)

    def refresh(self) -> None:
        """Look at the store and publish what changed. A store error keeps the old view and says why."""
        try:
            self._look()
        except Exception as error:  # whatever is wrong, viewers must be told rather than shown old numbers as live
            if not isinstance(error, StoreError):
                _log.exception("refresh failed")
            self._publish(disconnected=str(error) or repr(error))

    def _look(self) -> None:
        try:
            blob = self._store.read(self._key)
        except NotFound:
            self._stored = ""
            self._publish(view=None, written_at=None, seen_at=None, disconnected="", unreadable="")
            return
        if blob.version == self._stored:
            self._publish(disconnected="")
            return
        self._stored = blob.version
        try:
            view, written_at = live_from_document(load_document(blob.data))
        except ValueError as error:
            self._publish(disconnected="", unreadable=f"{self._key}: {error}")
            return
        self._publish(view=view, written_at=written_at, seen_at=self._clock.now(), disconnected="", unreadable="")

    def _publish(self, **changes: object) -> None:
        before = self._snapshot
        if before.version == 0 or any(getattr(before, name) != value for name, value in changes.items()):
            self._snapshot = replace(before, version=before.version + 1, **changes)  # type: ignore[arg-type]
