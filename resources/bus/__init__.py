"""Live streams and keys in Redis: a copy for readers who want to be told at once. The store remains the truth.

What is published is a function of a stored log, so everything here may be lost and is filled again: every stream entry
has an id made of the log's own time and number (``<milliseconds>-<number>``), and Redis itself remembers how far it was
filled, in the transaction that filled it. Without an address there is no bus, and nothing else changes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Protocol

from resources.clock import Clock

if TYPE_CHECKING:
    from resources.bus.redis_bus import Publisher


class BusError(Exception):
    """The bus cannot be used as asked; the message says why and never holds the address, which has a password."""


class CursorAhead(Exception):
    """The log ends before the number that Redis says it was filled to: Redis was filled from another log."""


class LaterLog(Exception):
    """Redis was filled from a log that follows this one, which therefore is in Redis as far as it is kept there."""


class LogDamaged(Exception):
    """An ended log cannot be read, now or later; the message names it and says why."""


class EntryId(NamedTuple):
    """Where an entry stands in its stream: milliseconds, then a number among those of one millisecond."""

    milliseconds: int
    number: int

    @classmethod
    def parse(cls, text: str) -> "EntryId":
        """Raises ValueError for anything but ``<milliseconds>-<number>``."""
        milliseconds, dash, number = text.partition("-")
        if not (dash and text.isascii() and milliseconds.isdecimal() and number.isdecimal()):
            raise ValueError(f"{text!r} is no entry id such as 1703123456789-0")
        return cls(int(milliseconds), int(number))

    @property
    def after(self) -> "EntryId":
        """The least id above this one."""
        return EntryId(self.milliseconds, self.number + 1)

    @property
    def before(self) -> "EntryId":
        """The greatest id below this one. Raises ValueError for the least."""
        if self.number:
            return EntryId(self.milliseconds, self.number - 1)
        if not self.milliseconds:
            raise ValueError("nothing comes before 0-0")
        return EntryId(self.milliseconds - 1, 2**64 - 1)

    def __str__(self) -> str:
        return f"{self.milliseconds}-{self.number}"


START = EntryId(0, 0)  # before every entry: Redis gives this id to none


@dataclass(frozen=True, slots=True)
class StreamRecord:
    """One entry of one stream. All fields are text, as streams hold nothing else."""

    stream: str
    id: EntryId
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class KeyValue:
    """What a key shall hold. ``seconds`` is how long it is kept, None for ever."""

    value: bytes
    seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """What events up to ``seq`` add to the streams, and the keys as they stand after ``seq`` (None: the key goes).

    It becomes visible as a whole, so that no reader sees keys of two different moments. ``last_ids`` is the last id of
    every stream the log has written to, up to ``seq``.
    """

    seq: int
    records: tuple[StreamRecord, ...]
    keys: Mapping[str, KeyValue | None]
    last_ids: Mapping[str, EntryId]


class BatchSource(Protocol):
    """The log as batches. Called by the publisher's thread alone."""

    @property
    def log(self) -> str:
        """Names the log by its content: two logs that begin differently have different names."""
        ...

    @property
    def owned_prefixes(self) -> tuple[str, ...]:
        """Beginnings of keys that exist only because of this log; others found there are deleted on a refill."""
        ...

    def batch_after(self, seq: int, limit: int) -> Batch | None:
        """What the next ``limit`` events after ``seq`` bring, -1 being before the first; None when there are none yet.

        Only events that are safely stored: what Redis shows must not be undone by a restart. Raises CursorAhead when
        the log has no event ``seq``, StoreError when it cannot be read now, LogDamaged when an ended one never can.
        """
        ...


# The ended logs that are published before the present one, oldest first: from the named one on, which Redis was filled
# from. What Redis gets where it names none ("") or a log nobody here knows is theirs to decide. Called by the
# publisher's thread. Raises LaterLog when the named log follows the present one, StoreError.
Earlier = Callable[[str], Sequence[BatchSource]]

# The stored records of a stream that is in no log, after an id, oldest first. Called by the publisher's thread. Raises
# StoreError.
Stored = Callable[[EntryId], Sequence[StreamRecord]]

NO_STORED: Mapping[str, Stored] = MappingProxyType({})


def none_earlier(_log: str) -> Sequence[BatchSource]:
    """A log that follows no other."""
    return ()


@dataclass(frozen=True, slots=True)
class BusHealth:
    """How the publisher fares. Counters are since its start.

    ``last_seq`` is of the present log, ``last_ids`` of it and of those that ended before it; -1 and none while those
    are published. ``lag_events`` are announced events that Redis does not hold yet. ``already_there`` counts entries
    that a refill found in place, ``dropped`` entries outside of the log that had to give way while Redis was away,
    ``refused`` those that Redis held a later id than. ``replaced`` counts streams deleted and filled again because
    another log had written them. ``last_error`` is the kind of the last failure; ``failed`` why the publisher gave up
    ("" while it goes on).
    """

    connected: bool
    last_seq: int
    lag_events: int
    last_ids: Mapping[str, EntryId]
    published: int
    already_there: int
    dropped: int
    refused: int
    errors: int
    reconnects: int
    refills: int
    replaced: int
    last_error: str
    failed: str


def open_bus(
    url: str,
    source: BatchSource,
    clock: Clock,
    report: Callable[[str], None],
    *,
    earlier: Earlier = none_earlier,
    stored: Mapping[str, Stored] = NO_STORED,
) -> "Publisher | None":
    """The publisher of ``source``, started, or None without an address. Does not wait for Redis to answer.

    ``earlier`` gives the ended logs that Redis may lack the rest of; ``stored``, by stream, what is offered to the
    publisher and stored elsewhere than in a log. ``report`` is told in a sentence when the connection is lost, comes
    back, or streams are filled again. Raises BusError when the address turns off the verification of the server's
    certificate.
    """
    if not url:
        return None
    from resources.bus.redis_bus import Publisher, connect  # redis costs a tenth of a second: only where it is used

    publisher = Publisher(connect(url), source, clock, report, earlier=earlier, stored=stored)
    publisher.start()
    return publisher
