"""The ended days of one source, for a Redis that did not get all of them: it was away when they ended.

Each session names the day it goes on from, so the days that come before the present one are a chain, and each is a log
that never changes. Redis says which of them it was filled from.
"""

import logging
from collections.abc import Sequence
from typing import Any, Final

from assets.arbitrage.events import SessionOpened
from assets.arbitrage.journal import Journal, JournalError
from assets.arbitrage.outbox import Outbox
from assets.arbitrage.portfolio import LogError
from assets.arbitrage.publication import Publication, log_name
from assets.arbitrage.session import SessionError, closing_of, day_key, is_day, portfolio_before, stored_events
from resources.bus import Batch, LaterLog, LogDamaged
from resources.bus.streams import CONFIRMS, SIGNALS, length_of
from resources.documents import Document
from resources.store import Store

_log = logging.getLogger(__name__)

# After so many closed trades the streams hold nothing of what was before: one signal of each, and two fills at least.
_TRADES_KEPT: Final = max(length_of(SIGNALS), length_of(CONFIRMS) // 2)


class EndedDay:
    """A day that was closed, as batches for the bus (``resources.bus.BatchSource``). Used by the bus's thread alone."""

    owned_prefixes = Publication.owned_prefixes

    def __init__(self, store: Store, opened: SessionOpened, last_seq: int) -> None:
        self.log = log_name(opened)
        self._store, self._opened, self._last_seq = store, opened, last_seq
        self._publication: Publication | None = None

    def batch_after(self, seq: int, limit: int) -> Batch | None:
        """See ``BatchSource``."""
        if seq == self._last_seq:
            return None  # as a rule Redis got all of it: the day need not be read to say so
        store, opened = self._store, self._opened
        try:
            if self._publication is None:
                box = Outbox(lambda: stored_events(store, opened.source, opened.day), self._last_seq)
                self._publication = Publication(opened, box.events_after, lambda: portfolio_before(store, opened))
            return self._publication.batch_after(seq, limit)
        except (JournalError, LogError, SessionError) as error:
            raise LogDamaged(f"the log of {opened.day} cannot be published: {error}") from error


class PastDays:
    """The days before that of ``opened``. Used by the bus's thread alone."""

    def __init__(self, store: Store, opened: SessionOpened) -> None:
        self._store, self._opened = store, opened

    def since(self, log: str) -> Sequence[EndedDay]:
        """The days that are published before the present one into a Redis that was filled from ``log``, oldest first:
        that day and those after it, but for days that the streams would not keep.

        Where it names none, or a log that is not stored here, the day the present one goes on from: a Redis that keeps
        nothing on disk may have been restarted over midnight, and readers want the evening. It holds 24 to 48 hours
        then; what is older is history. Raises LaterLog when the day of ``log`` comes after the present one, StoreError.
        """
        named = self._named(log)
        if named is not None and named.day > self._opened.day:
            raise LaterLog(log)
        days: list[EndedDay] = []
        closings: list[Document] = []
        opened = self._opened
        while opened.carried_day and (closing := self._closing_before(opened)) is not None:
            if closings and _closed_between(closing, closings[0]) >= _TRADES_KEPT:
                break
            before = self._opening(opened.carried_day)
            if before is None:
                break
            days.append(EndedDay(self._store, before, closing["last_seq"]))
            closings.append(closing)
            opened = before
            if named is None or opened.day <= named.day:
                break
        return days[::-1]

    def _named(self, log: str) -> SessionOpened | None:
        """The opening of the stored day whose log has that name."""
        source, _, rest = log.partition("/")
        day = rest.partition("/")[0]
        if not is_day(day) or source != self._opened.source.lower():
            return None
        opened = self._opening(day)
        return opened if opened is not None and log_name(opened) == log else None

    def _closing_before(self, opened: SessionOpened) -> Document | None:
        closing = closing_of(self._store, opened.source, opened.carried_day)
        return closing if closing is not None and closing["state"]["log_sha256"] == opened.carried else None

    def _opening(self, day: str) -> SessionOpened | None:
        """The first event of a stored day; only the beginning of the log is read."""
        try:
            first = next(Journal(self._store, day_key(self._opened.source, day, "log")).events(), None)
        except JournalError as error:
            _log.error("nothing of %s is published again: %s", day, error)
            return None
        return first if isinstance(first, SessionOpened) else None


def _closed_between(earlier: Document, later: Document) -> int:
    """Trades that began and closed between the ends of two days, at least."""
    return _closed(later["state"]) - _closed(earlier["state"]) - len(earlier["state"]["trades"])


def _closed(state: Any) -> int:
    return int(state["win_count"] + state["loss_count"] + state["break_even_count"])
