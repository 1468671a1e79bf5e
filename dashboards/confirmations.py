"""How long the orders of a day took to be confirmed, from the trader's own log: with or without Redis.

``execution_time_ms`` is what ``exec:paper:confirms`` has of each confirmation: from sending an order to its fill, its
cancellation or its refusal (``assets.arbitrage.publication``).
"""

from collections import deque
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice

from assets.accounting.precision import EXACT
from assets.arbitrage.codec import from_document
from assets.arbitrage.events import OrderCancelled, OrderFilled, OrderRefused, OrderSubmitted
from assets.arbitrage.view import live_key
from resources.documents import load_document
from resources.store import Store
from resources.store.reading import read_ahead

_KEPT = 120  # as many as other metrics' trends have
_SEGMENTS = 200  # read at a time: a whole day's at once would keep the page waiting
_OF_AN_ORDER = b'"kind":"order_'
_CONFIRMED = (OrderFilled, OrderCancelled, OrderRefused)


@dataclass(frozen=True, slots=True)
class Confirmations:
    """The newest of a day, oldest first, as (time_ns, milliseconds); None where the order was sent on another day.
    ``reason`` says why there is none, or none that could be read ("" while all is well)."""

    points: tuple[tuple[int, Decimal | None], ...]
    reason: str


NOTHING_CONFIRMED = Confirmations((), "no order confirmed yet today")
_READING = "reading the day's log"


class ConfirmationLog:
    """Reads on in a day's log from where it was read last."""

    def __init__(self, store: Store, source: str) -> None:
        self._store = store
        self._folder = live_key(source).rpartition("/")[0]
        self._day = self._newest = ""  # the key read last
        self._sent: dict[str, int] = {}
        self._points: deque[tuple[int, Decimal | None]] = deque(maxlen=_KEPT)
        self.behind = False
        self.confirmations = NOTHING_CONFIRMED

    def refresh(self, day: str) -> None:
        """Read what was added to the log of ``day``, as much as can be read at a time. A segment that is damaged is
        named, and tried again the next time. Raises StoreError."""
        prefix = f"{self._folder}/{day}/log/"
        if day != self._day:  # orders that were sent before midnight may be confirmed after it
            self._day, self._newest = day, prefix
            self._points.clear()
        keys = [entry.key for entry in islice(self._store.list(prefix, after=self._newest), _SEGMENTS)]
        for key, blob in zip(keys, read_ahead(self._store, self._store.read, keys), strict=True):
            try:
                self._take(blob.data)
            except ValueError as error:
                self.behind, self.confirmations = False, Confirmations((), f"damaged: {key}: {error}")
                return
            self._newest = key
        self.behind = len(keys) == _SEGMENTS
        reason = _READING if self.behind else NOTHING_CONFIRMED.reason if not self._points else ""
        self.confirmations = Confirmations(() if self.behind else tuple(self._points), reason)

    def _take(self, segment: bytes) -> None:
        events = [from_document(load_document(line)) for line in segment.splitlines() if _OF_AN_ORDER in line]
        for event in events:
            if isinstance(event, OrderSubmitted):
                self._sent[event.order_id] = event.time_ns
            elif isinstance(event, _CONFIRMED):
                sent = self._sent.get(event.order_id)
                took = None if sent is None else EXACT.scaleb(Decimal(event.time_ns - sent), -6)
                self._points.append((event.time_ns, took))
                if not isinstance(event, OrderFilled) or not event.remaining:
                    self._sent.pop(event.order_id, None)
