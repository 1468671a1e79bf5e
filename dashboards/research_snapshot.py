"""What research says of each symbol, read once for every viewer: its newest decision and its newest walk-forward.

Both change once a day or less, so a refresh reads one of them, in turn; after as many refreshes as there are documents
everything has been looked at again.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from assets.research import archive
from dashboards.polling import Polling
from resources.clock import Clock
from resources.documents import Document
from resources.history import source_of
from resources.market import MarketError
from resources.settings import Settings
from resources.store import Store, StoreError

_log = logging.getLogger(__name__)

# What the page cannot do without; a document that lacks one of these counts as unreadable.
_REQUIRED = {
    "decision": ("symbol", "day", "source", "published_utc", "steps"),
    "summary": ("symbol", "source", "folds"),
}


@dataclass(frozen=True, slots=True)
class SymbolResearch:
    """A symbol's documents, None while the store holds none. ``unreadable`` names stored ones that are not what they
    should be."""

    decision: Document | None = None
    summary: Document | None = None
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ResearchSnapshot:
    """As of one look at the store; ``version`` rises with every change, 0 before the first look.

    ``source`` names where research has its past from, None when the settings lead to none (``no_source`` says why).
    ``disconnected`` is why the store could not be read ("" while it answers); the rest then keeps its last values, read
    at ``read_at``.
    """

    version: int = 0
    source: str | None = None
    no_source: str = ""
    symbols: Mapping[str, SymbolResearch] = field(default_factory=dict)
    disconnected: str = ""
    read_at: datetime | None = None


class ResearchPoller(Polling[ResearchSnapshot]):
    """Reads one store for one process."""

    def __init__(self, store: Store, clock: Clock, settings: Settings) -> None:
        self._store = store
        self._clock = clock
        self._turn = 0
        self._keys: list[tuple[str, str, str]] = []
        symbols = settings.research_symbols
        nothing = {symbol: SymbolResearch() for symbol in symbols}
        try:
            source = source_of(settings)
        except MarketError as error:
            self._snapshot = ResearchSnapshot(version=1, no_source=str(error), symbols=nothing)
            return
        self._snapshot = ResearchSnapshot(source=source, symbols=nothing)
        self._keys = [
            (symbol, name, key(source, symbol))
            for symbol in symbols
            for name, key in (("decision", archive.latest_key), ("summary", archive.summary_key))
        ]

    def refresh(self) -> None:
        """Look at the next document, at first and after a failure at all, and publish what changed. A store error keeps
        the old data and says why."""
        before = self._snapshot
        if not self._keys:
            return
        whole = before.version == 0 or bool(before.disconnected)
        due = self._keys if whole else [self._keys[self._turn]]
        self._turn = 0 if whole else (self._turn + 1) % len(self._keys)
        symbols = dict(before.symbols)
        try:
            for symbol, name, key in due:
                symbols[symbol] = self._looked_at(symbols[symbol], name, key)
        except Exception as error:  # whatever is wrong, viewers must be told rather than shown old numbers as live
            if not isinstance(error, StoreError):
                _log.exception("refresh failed")
            if not before.disconnected:
                self._snapshot = replace(before, version=before.version + 1, disconnected=str(error) or repr(error))
            return
        if whole or symbols != before.symbols:
            self._snapshot = replace(
                before, version=before.version + 1, symbols=symbols, disconnected="", read_at=self._clock.now()
            )

    def _looked_at(self, known: SymbolResearch, name: str, key: str) -> SymbolResearch:
        unreadable = [each for each in known.unreadable if each != key]
        try:
            document = archive.find_document(self._store, key)
        except ValueError:
            document = {}
        if document is not None and not all(each in document for each in _REQUIRED[name]):
            document = None
            unreadable.append(key)
        if name == "decision":
            return replace(known, decision=document, unreadable=tuple(unreadable))
        return replace(known, summary=document, unreadable=tuple(unreadable))
