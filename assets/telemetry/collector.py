"""Reads how long the trader's entries were on their way (``metrics:signals:e2e``), as a reader of the streams does.

A consumer of the group ``telemetry``: each sample is counted once, whoever is killed when, and the newest are kept in
``telemetry/<source>/e2e.json`` beside what was handled. So latency, lag and duplicates are those of a real reader, and
outlive the process.
"""

import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from assets.telemetry.bad_telemetry import BadTelemetry
from assets.telemetry.day_record import Sample, sample_rows, samples_key, samples_of, stored_samples
from assets.telemetry.service_levels import WINDOW_NS
from resources.clock import Clock
from resources.documents import Document
from resources.store import Store, StoreError

if TYPE_CHECKING:
    from resources.bus.consumer import Consumer, Entry

_log = logging.getLogger(__name__)

GROUP, READER = "telemetry", "collector"
KEPT = 2_000  # samples; with the 72 hours of the service levels, whichever is less
_MS_NS = 10**6
_BLOCK_MS = 1_000
_RETRY_S = 5.0


@dataclass(frozen=True, slots=True)
class CollectorHealth:
    """How the collector fares: attempts that failed since it began, and why the newest one did ("" where it did not).

    Redis away, or a store that does not answer, is no failure of it: what publishes and what trades tells of these.
    """

    errors: int
    failed: str


class Collector:
    """Collects in a thread of its own until ``close``; whatever goes wrong is tried again.

    A stored document that cannot be read is told of until somebody has repaired it or taken it away.
    """

    def __init__(self, consumer: "Consumer", store: Store, source: str) -> None:
        self._consumer, self._key = consumer, samples_key(source)
        self._health = CollectorHealth(0, "")
        self._samples: tuple[Sample, ...] = ()
        try:
            self._samples = stored_samples(store, source)
        except (ValueError, LookupError, TypeError) as error:
            self._fail(error)  # samples are not worth a trade: the trader begins without them
        self._lost = False  # it was said that Redis is away
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="telemetry-collector", daemon=True)

    @classmethod
    def connected(cls, redis_url: str, store: Store, source: str, clock: Clock) -> "Collector | None":
        """A running collector, None without an address. Does not wait for Redis to answer.

        Raises BusError for an address that cannot be one, StoreError when the store does not answer.
        """
        if not redis_url:
            return None
        from resources.bus.consumer import Consumer  # redis costs a tenth of a second: only where it is used
        from resources.bus.redis_bus import connect
        from resources.bus.streams import END_TO_END

        def handle(state: Document, entry: "Entry") -> Document:
            return with_sample(state, entry, int(clock.now().timestamp() * 1_000))

        key = samples_key(source).removesuffix(".json")
        initial: Document = {"samples": []}
        consumer = Consumer(connect(redis_url), END_TO_END, GROUP, READER, store, key, handle, initial, None)
        collector = cls(consumer, store, source)
        collector._thread.start()
        return collector

    def samples(self) -> tuple[Sample, ...]:
        """The newest, oldest first; those of an earlier process too."""
        return self._samples

    def health(self) -> CollectorHealth:
        """As of the newest attempt."""
        return self._health

    def close(self) -> None:
        """Stop reading. What is not yet handled is read another time."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        from redis import RedisError

        while not self._stop.is_set():
            try:
                if self._consumer.poll(_BLOCK_MS) or self._health.failed:
                    self._samples = tuple(samples_of(self._consumer.state()["samples"]))
                self._lost = False
                if self._health.failed:
                    _log.warning("samples of the streams are collected again")
                    self._health = CollectorHealth(self._health.errors, "")
            except (RedisError, StoreError, OSError) as error:
                if not self._lost:
                    _log.warning("samples of the streams cannot be collected: %s", type(error).__name__)
                self._lost = True
                self._stop.wait(_RETRY_S)
            except Exception as error:  # whatever it is: a thread that ended would leave old samples standing as new
                self._fail(error)
                self._stop.wait(_RETRY_S)

    def _fail(self, error: Exception) -> None:
        """Count it, show it, and log it unless that was the last thing logged of it."""
        failed = f"{type(error).__name__}: {error}"
        if failed != self._health.failed:
            _log.error("samples of the streams cannot be collected in %s: %s", self._key, failed, exc_info=error)
        self._health = CollectorHealth(self._health.errors + 1, failed)


def with_sample(state: Document, entry: "Entry", read_ms: int) -> Document:
    """The samples with that of ``entry``, which a reader had at ``read_ms`` (milliseconds since 1970 UTC).

    ``id`` of a sample names the measured entry by its stream and content: one that was published twice is a duplicate,
    though its two measurements are different entries. Raises BadTelemetry for an entry of another kind.
    """
    from resources.bus.streams import EndToEnd

    measured = entry.record
    if not isinstance(measured, EndToEnd):
        raise BadTelemetry("record", f"a {type(measured).__name__} measures no way through the streams")
    # Two clocks may differ by more than the way took: then nothing of it was to be seen.
    lag_ms = max(0, read_ms - entry.id.milliseconds)
    name = f"{measured.stream}#{measured.hash}"
    sample = Sample(measured.time_ms * _MS_NS, int(measured.ms * _MS_NS), lag_ms * _MS_NS, name)
    rows = [*state["samples"], *sample_rows([sample])]
    oldest = sample.time_ns - WINDOW_NS
    return {"samples": [row for row in rows if row[0] > oldest][-KEPT:]}
