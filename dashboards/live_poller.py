"""One live document of the store, read once a process for every viewer."""

import logging
from abc import abstractmethod
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

from dashboards.polling import Polling
from resources.clock import Clock
from resources.documents import Document, load_document
from resources.feed import Source
from resources.store import NotFound, Store, StoreError

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LiveSnapshot:
    """As of one look at the store; ``version`` rises with every change, 0 before the first look.

    ``written_at`` is when its writer wrote the document, ``seen_at`` when it was first seen here, None while there is
    none. ``disconnected`` is why the store could not be read, ``unreadable`` why its document could not be understood
    ("" while all is well); what was read before then stays.
    """

    source: Source
    version: int = 0
    written_at: datetime | None = None
    seen_at: datetime | None = None
    disconnected: str = ""
    unreadable: str = ""

    @property
    def heard_at(self) -> datetime | None:
        """From when on the writer's word counts: the earlier instant, so that no clock ahead makes anything newer."""
        heard = [at for at in (self.written_at, self.seen_at) if at is not None]
        return min(heard) if heard else None


Snapshot = TypeVar("Snapshot", bound=LiveSnapshot)


class LivePoller(Polling[Snapshot]):
    """Reads one document of one store."""

    def __init__(self, store: Store, clock: Clock, key: str, nothing: Snapshot) -> None:
        """``nothing`` is the snapshot while the document is not there."""
        self._store = store
        self._clock = clock
        self._key = key
        self._stored = ""  # the store's version of what was read last
        self._nothing = self._snapshot = nothing

    @abstractmethod
    def read(self, document: Document) -> dict[str, Any]:
        """The snapshot's own fields, as the document says. Raises ValueError naming what is wrong with it."""

    def completed(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot with what other objects of the store add to it: nothing, unless a subclass knows of some."""
        return snapshot

    def refresh(self) -> None:
        """Look at the store and publish what changed. A store error keeps the old state and says why."""
        before = self._snapshot
        try:
            now = self.completed(self._looked(before))
        except Exception as error:  # whatever is wrong, viewers must be told rather than shown old numbers as live
            if not isinstance(error, StoreError):
                _log.exception("refresh failed")
            now = replace(before, disconnected=str(error) or repr(error))
        if before.version == 0 or now != before:
            self._snapshot = replace(now, version=before.version + 1)

    def _looked(self, before: Snapshot) -> Snapshot:
        try:
            blob = self._store.read(self._key)
        except NotFound:
            self._stored = ""
            return replace(self._nothing, version=before.version)
        if blob.version == self._stored:
            return replace(before, disconnected="")
        self._stored = blob.version
        try:
            fields = self.read(load_document(blob.data))
        except ValueError as error:
            return replace(before, disconnected="", unreadable=f"{self._key}: {error}")
        return replace(before, **fields, seen_at=self._clock.now(), disconnected="", unreadable="")
