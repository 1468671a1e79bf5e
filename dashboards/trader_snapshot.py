"""What the paper trader says of itself, read once for every viewer: the newest view of one source."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from assets.arbitrage.view import TraderView, live_from_document, live_key
from dashboards.live_poller import LivePoller, LiveSnapshot
from resources.clock import Clock
from resources.documents import Document
from resources.feed import Source
from resources.store import Store

# The trader writes each second. Ages are coloured as the predecessor's were, at 5 and 15 s (predecessors.md, brief 3).
LATE_SECONDS, STALE_SECONDS = 5, 15


@dataclass(frozen=True, slots=True)
class TraderSnapshot(LiveSnapshot):
    """``view`` is None while no trader of ``source`` has written one; ``written_at`` is when the trader wrote it."""

    view: TraderView | None = None
    written_at: datetime | None = None

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


class TraderPoller(LivePoller[TraderSnapshot]):
    """Reads what the trader of ``source`` stores each second."""

    def __init__(self, store: Store, clock: Clock, source: Source) -> None:
        super().__init__(store, clock, live_key(source), TraderSnapshot(source))

    def read(self, document: Document) -> dict[str, Any]:
        view, written_at = live_from_document(document)
        return {"view": view, "written_at": written_at}
