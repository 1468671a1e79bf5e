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
    """``view`` is None while no trader of ``source`` has written one."""

    view: TraderView | None = None

    def age_seconds(self, now: datetime) -> float | None:
        """Seconds since the trader last said something, None when it never did."""
        return None if self.heard_at is None else max((now - self.heard_at).total_seconds(), 0.0)

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
