"""The publisher: one thread that keeps Redis equal to the log, whatever happens to Redis.

How far Redis has been filled stands in Redis itself (``CURSOR``), written in the transaction that fills it. So a lost
answer, a restart on an older snapshot, an emptied server and a second process are one case: read the cursor, go on from
there. Entries have ids of their own, so writing one twice adds nothing.

A stream takes no entry before its last one. So where the cursor names a log that has ended, what Redis lacks of it and
of those that ended after it is published before the present log begins. Readers see the keys of these moments in their
order meanwhile, each as of the event it names, as they do whenever Redis catches up with the present log.

Records that are in no log are offered. Those of a stream that is stored (``stored``) are read again after a loss, those
of others (market trades, measured times) only as far as they are in memory: a process that dies takes them along.
"""

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from operator import index
from typing import Any, Final, cast
from urllib.parse import parse_qs, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.client import Pipeline
from redis.retry import Retry

from resources.bus import (
    NO_STORED,
    START,
    Batch,
    BatchSource,
    BusError,
    BusHealth,
    CursorAhead,
    Earlier,
    EntryId,
    LaterLog,
    LogDamaged,
    Stored,
    StreamRecord,
    none_earlier,
)
from resources.bus.streams import CONFIRMS, END_TO_END, SIGNALS, EndToEnd, length_of
from resources.clock import Clock
from resources.documents import dump_document, load_document, sha256_hex
from resources.store import StoreError

CURSOR: Final = "strategy:bus:cursor"

BATCH_EVENTS = 500  # in one transaction: some hundred kilobytes, a few milliseconds in which Redis serves nobody else
KEPT_OUTSIDE = 10_000  # records outside of the log kept for another filling: what the longest of their streams holds
KEPT_ANNOUNCED = 100_000  # times of events not published yet: an outage must not cost memory without end
FIRST_WAIT_S, LONGEST_WAIT_S = 0.05, 5.0  # between attempts to reach Redis: doubled each time
SOCKET_TIMEOUT_S = 5.0  # an answer that takes longer counts as a lost connection
CHECK_S = 1.0  # without work: how often it is looked whether Redis still holds what it was given
GATHER_S = 0.02  # records outside of the log wait so long for a transaction to go with, else a measured time costs one
STORING_S = 0.005  # an event was announced and is not stored yet

MEASURED = frozenset({SIGNALS, CONFIRMS})  # streams whose way from decision to publication is measured
_AGENT = "arbitrage"
_TOO_SMALL = "equal or smaller than the target stream top item"
_WEAKENED = ("ssl_cert_reqs", "ssl_check_hostname")  # query parts that would turn the verification off


def connect(url: str, *, socket_timeout_s: float = SOCKET_TIMEOUT_S) -> "redis.Redis":
    """A client that connects when first used, tries once and gives up in time. ``rediss://`` verifies the server.

    A certificate authority of one's own: ``?ssl_ca_certs=<file>``. Raises BusError for an address that cannot be one,
    or that turns the verification off.
    """
    try:
        options = parse_qs(urlsplit(url).query)
        weakened = [name for name in _WEAKENED if name in options]
        if weakened:
            raise BusError(f"REDIS_URL sets {weakened[0]}: the server's certificate is always verified")
        return redis.Redis.from_url(
            url,
            decode_responses=True,
            protocol=2,  # one shape of answers in all versions of the library
            socket_timeout=socket_timeout_s,
            socket_connect_timeout=SOCKET_TIMEOUT_S,
            socket_keepalive=True,
            retry=Retry(NoBackoff(), 0),  # repeated by the caller, who knows what is safe to repeat
        )
    except ValueError as error:
        raise BusError("REDIS_URL is no redis:// or rediss:// address (its value is not shown)") from error


@dataclass(frozen=True, slots=True)
class Cursor:
    """What Redis was filled with: events of ``log`` up to ``seq``. ``complete`` once a filling from the start ended.

    ``last_ids`` is where each stream stands, by an entry of this log or of one that ended before it.
    """

    log: str
    seq: int
    complete: bool
    last_ids: Mapping[str, EntryId]

    def to_text(self) -> str:
        ids = {stream: str(last) for stream, last in self.last_ids.items()}
        return dump_document({"log": self.log, "seq": self.seq, "complete": self.complete, "last_ids": ids}).decode()

    @classmethod
    def from_text(cls, text: str | None) -> "Cursor | None":
        """None for a missing text and for one that nobody here wrote: both mean that nothing is known."""
        try:
            document = load_document((text or "").encode())
            ids = {stream: EntryId.parse(last) for stream, last in document["last_ids"].items()}
            return cls(str(document["log"]), index(document["seq"]), document["complete"] is True, ids)
        except (ValueError, KeyError, TypeError, AttributeError):
            return None


class _Conflict(Exception):
    """A stream holds what this log did not write."""

    def __init__(self, streams: Iterable[str]) -> None:
        super().__init__()
        self.streams = tuple(streams)


class _Outside:
    """Records that are in no log (market trades, measured times): kept for a while, sent in their order."""

    def __init__(self) -> None:
        self._records: deque[StreamRecord] = deque(maxlen=KEPT_OUTSIDE)
        self._end = 0  # how many were ever added
        self._sent = 0
        self._tried = 0  # up to here a record found in place is our own
        self.dropped = 0

    @property
    def waiting(self) -> bool:
        return self._sent < self._end

    def add(self, records: Iterable[StreamRecord]) -> None:
        for record in records:
            self._records.append(record)
            self._end += 1
        lost = self._end - len(self._records) - self._sent
        if lost > 0:
            self.dropped += lost
            self._sent += lost

    def take(self, limit: int) -> tuple[list[StreamRecord], int, int]:
        """The next records, how many of them Redis may have already, and what ``sent`` is to be told."""
        offset = self._sent - (self._end - len(self._records))
        found = list(islice(self._records, offset, offset + limit))
        repeated = min(max(0, self._tried - self._sent), len(found))
        end = self._sent + len(found)
        self._tried = max(self._tried, end)
        return found, repeated, end

    def sent(self, end: int) -> None:
        self._sent = max(self._sent, end)

    def again(self) -> None:
        """All that is kept shall be sent once more."""
        self._sent = self._end - len(self._records)


class Publisher:
    """Keeps Redis equal to ``source`` from a thread of its own; ``announce`` and ``offer`` never wait for Redis.

    ``earlier`` and ``stored`` as in ``open_bus``.
    """

    def __init__(
        self,
        client: "redis.Redis",
        source: BatchSource,
        clock: Clock,
        report: Callable[[str], None],
        *,
        earlier: Earlier = none_earlier,
        stored: Mapping[str, Stored] = NO_STORED,
    ) -> None:
        self._client = client
        self._source = source
        self._earlier = earlier
        self._logs: Sequence[BatchSource] = (source,)  # still to be published, the present one last
        self._told_of = ""  # the ended log that was last said to be published
        self._stored = stored
        self._known: dict[str, EntryId] = {}  # up to where Redis has the stored streams
        self._read_to: dict[str, EntryId] = {}  # up to where they were read
        self._behind: deque[StreamRecord] = deque()  # what was read of them and Redis lacks
        self._clock = clock
        self._report = report
        self._changed = threading.Condition()
        self._outside = _Outside()
        self._announced = -1
        self._begun_at: dict[int, float] = {}
        self._stopping = False
        self._stop_by = 0.0
        self._drained = False  # Redis holds all there is
        self._wait = FIRST_WAIT_S
        self._thread = threading.Thread(target=self._run, name="bus-publisher", daemon=True)
        self._health = BusHealth(False, -1, 0, {}, 0, 0, 0, 0, 0, 0, 0, 0, "", "")
        # While Redis is filled from the start: what was written, and streams that held some of it already.
        self._verifying = False
        self._filled: dict[str, list[EntryId]] = {}
        self._doubted: set[str] = set()
        self._last_ids: Mapping[str, EntryId] = {}
        self._found: Cursor | None = None  # where a filling from the start begins: another's, if it moves meanwhile

    def start(self) -> None:
        self._thread.start()

    def announce(self, seq: int, first: int | None = None, emitted_at: float | None = None) -> None:
        """Events ``first`` (None: ``seq`` alone) to ``seq`` are in the log now, and their way to their readers is
        measured: from ``emitted_at``, when the first of them was emitted (``time.monotonic()``), so that the time the
        store took is part of it; from now without it."""
        with self._changed:
            self._announced = max(self._announced, seq)
            if len(self._begun_at) < KEPT_ANNOUNCED:
                begun = time.monotonic() if emitted_at is None else emitted_at
                self._begun_at.update(dict.fromkeys(range(seq if first is None else first, seq + 1), begun))
            self._changed.notify_all()

    def offer(self, records: Iterable[StreamRecord]) -> None:
        """Publish records that are in no log. While Redis is away the newest ``KEPT_OUTSIDE`` are kept."""
        with self._changed:
            self._outside.add(records)
            self._changed.notify_all()

    def health(self) -> BusHealth:
        with self._changed:
            lag = max(0, self._announced - self._health.last_seq)
            return replace(self._health, lag_events=lag, dropped=self._outside.dropped)

    def wait_for(self, seq: int, seconds: float) -> bool:
        """Whether Redis holds event ``seq`` (and what was offered before) within ``seconds``, for certain: a filling
        from the start counts once it has ended, since another publisher may begin it anew."""
        with self._changed:
            return (
                self._changed.wait_for(
                    lambda: (
                        bool(self._health.failed)
                        or (
                            self._health.last_seq >= seq
                            and not (self._verifying or self._behind or self._outside.waiting)
                        )
                    ),
                    seconds,
                )
                and not self._health.failed
            )

    def close(self, seconds: float = 2.0) -> None:
        """Publish what there still is, for ``seconds`` at most, and end the thread. What remains is in the log."""
        with self._changed:
            self._stopping = True
            self._stop_by = time.monotonic() + seconds
            self._changed.notify_all()
        self._thread.join(seconds + SOCKET_TIMEOUT_S * 2)
        self._client.close()

    def _set(self, **changes: Any) -> None:
        with self._changed:
            self._health = replace(self._health, **changes)
            self._changed.notify_all()

    def _add(self, **more: int) -> None:
        with self._changed:
            self._set(**{name: getattr(self._health, name) + count for name, count in more.items()})

    def _run(self) -> None:
        try:
            self._serve()
        except BaseException as error:
            self._set(connected=False, failed=f"{type(error).__name__}: {error}")
            self._report(f"the bus gave up: {type(error).__name__}")
            raise
        self._set(connected=False)

    def _serve(self) -> None:
        self._wait = FIRST_WAIT_S
        lost = False  # whether what Redis holds is in doubt
        foreign: tuple[str, ...] = ()
        conflict_wait = FIRST_WAIT_S
        while not self._over():
            try:
                if foreign:
                    self._replace(foreign)
                    foreign = ()
                with self._client.pipeline(transaction=True) as pipe:
                    self._publish(pipe, lost)
                # It returns to be called anew: to look whether all is still there, or because the time is over.
                lost = False
                continue
            except LaterLog:
                with self._changed:
                    self._set(connected=True)
                    self._drained = True  # its publisher began with what was left of ours
            except redis.WatchError:
                pass  # somebody emptied or wrote what is ours; nothing of the transaction was done
            except _Conflict as conflict:
                foreign = conflict.streams
                # Longer each time, for good: two logs in one Redis would replace each other at speed.
                self._wait = conflict_wait = min(conflict_wait * 2, LONGEST_WAIT_S)
            except (redis.RedisError, OSError, StoreError) as error:
                if self._health.connected:
                    self._report(f"the bus is interrupted: {type(error).__name__}")
                self._set(connected=False, errors=self._health.errors + 1, last_error=type(error).__name__)
            lost = True
            with self._changed:
                # Not all of it: two that fill the same Redis from the start must not disturb each other for ever.
                self._changed.wait_for(lambda: self._stopping, self._wait * random.uniform(0.5, 1))
                if self._stopping:
                    self._changed.wait(FIRST_WAIT_S)
            self._wait = min(self._wait * 2, LONGEST_WAIT_S)

    def _over(self) -> bool:
        with self._changed:
            if not self._stopping:
                return False
            return self._drained or time.monotonic() >= self._stop_by

    def _publish(self, pipe: Pipeline, lost: bool) -> None:
        """Fill Redis from where it stands; returns when there was nothing to do for a while."""
        self._drained = False
        self._look_behind()
        seq = self._position()
        try:
            self._fill(pipe, seq, lost)
        except CursorAhead:
            # The log is shorter than what Redis was given: all of it is looked at again.
            self._client.delete(CURSOR)

    def _fill(self, pipe: Pipeline, seq: int, lost: bool) -> None:
        if lost or self._verifying:
            self._outside.again()
        if not self._health.connected:
            if self._health.errors:
                self._add(reconnects=1)
                self._report("the bus is connected again")
            self._set(connected=True)
        idle_until = time.monotonic() + CHECK_S
        gather_until = 0.0
        while not self._over():
            try:
                batch = self._logs[0].batch_after(seq, BATCH_EVENTS)
            except LogDamaged as error:
                self._report(f"passed over: {error}")
                self._set(errors=self._health.errors + 1, last_error=type(error).__name__)
                seq = self._next_log(pipe, seq)
                continue
            behind = list(islice(self._behind, BATCH_EVENTS))
            with self._changed:
                self._drained = False
                gathered = batch is not None or self._verifying or time.monotonic() >= gather_until
                outside, repeated, end = self._outside.take(BATCH_EVENTS if gathered or self._stopping else 0)
            if behind:  # before what was offered since
                outside, repeated, end = behind, len(behind), 0
            if batch is None and not outside:
                if len(self._logs) > 1:
                    seq = self._next_log(pipe, seq)
                elif self._verifying:
                    self._finish_filling(pipe, seq)
                elif time.monotonic() >= idle_until:
                    return
                else:
                    if not pipe.watching:  # now, when nobody waits: the next transaction is then one exchange
                        self._watch(pipe, seq)
                    self._await_work(seq, idle_until, gather_until)
                continue
            self._commit(pipe, seq, batch, outside, repeated)
            with self._changed:
                self._outside.sent(end)
                for _ in behind:
                    self._behind.popleft()
            if not self._verifying:
                self._wait = FIRST_WAIT_S
            if batch is not None:
                seq = batch.seq
                if len(self._logs) == 1:
                    self._measure(batch)
                    self._set(last_seq=seq, last_ids=dict(self._last_ids))
                elif self._told_of != self._logs[0].log:
                    self._told_of = self._logs[0].log
                    self._report(f"published before the present: what was left of {self._told_of}")
            idle_until = time.monotonic() + CHECK_S
            gather_until = time.monotonic() + GATHER_S

    def _await_work(self, seq: int, idle_until: float, gather_until: float) -> None:
        with self._changed:
            behind = self._announced > seq
            self._drained = not behind and not self._outside.waiting
            if behind:  # announced and not stored yet
                self._changed.wait(STORING_S)
                return
            waiting = self._outside.waiting
            until = gather_until if waiting else idle_until
            self._changed.wait_for(
                lambda: self._stopping or self._announced > seq or self._outside.waiting > waiting,
                max(0.0, until - time.monotonic()),
            )

    def _look_behind(self) -> None:
        """Read what Redis lacks of the streams that are stored, unless it is known to lack nothing."""
        if not self._stored:
            return
        _, tops = self._look(self._stored)
        interrupted = bool(self._behind)
        self._behind.clear()
        for stream, read in self._stored.items():
            known, top = self._known.get(stream), tops[stream]
            if known is None or top < known or interrupted:
                records = read(top)
                self._known[stream] = top
                self._read_to.update((record.stream, record.id) for record in records[-1:])
                self._behind.extend(records)

    def _position(self) -> int:
        """The event of the first of ``_logs`` up to which Redis is filled; -1, and everything is to be verified, when
        that is not certain."""
        cursor = Cursor.from_text(cast("str | None", self._client.get(CURSOR)))
        self._logs = self._logs_from("" if cursor is None else cursor.log)
        if cursor is not None and cursor.log == self._logs[0].log:
            looked, tops = self._look(cursor.last_ids)
            if looked is None or looked.log != cursor.log:
                raise redis.WatchError("the cursor was moved")
            cursor = looked
            if cursor.complete and tops == cursor.last_ids:
                self._verifying = False
                self._last_ids = cursor.last_ids
                present = len(self._logs) == 1
                self._set(last_seq=cursor.seq if present else -1, last_ids=dict(cursor.last_ids) if present else {})
                return cursor.seq
            lost = any(top < cursor.last_ids.get(stream, START) for stream, top in tops.items())
            if lost and len(self._logs) == 1:  # as much of it comes back as where everything was lost
                self._logs = self._logs_from("")
        self._found = cursor
        if self._health.last_seq >= 0:
            self._report("the streams are filled again from the log")
        self._begin_filling({})
        return -1

    def _logs_from(self, log: str) -> Sequence[BatchSource]:
        """What is to be published into a Redis that was filled from ``log`` ("": from none), the present log last."""
        if log == self._source.log:
            return (self._source,)
        names = [each.log for each in self._logs]
        if log in names:  # they know already where they are
            return self._logs[names.index(log) :]
        return (*self._earlier(log), self._source)

    def _begin_filling(self, last_ids: Mapping[str, EntryId]) -> None:
        self._verifying = True
        self._filled, self._doubted = {}, set()
        self._last_ids = last_ids
        self._add(refills=1)
        self._set(last_seq=-1, last_ids={})

    def _next_log(self, pipe: Pipeline, seq: int) -> int:
        """An ended log was published up to ``seq``, its end: the one after it is filled from its start, if Redis is
        still as it was left. What was to be verified is so at the end of all of them, which share their streams."""
        if seq >= 0:
            self._found = Cursor(self._logs[0].log, seq, not self._verifying, self._last_ids)
        pipe.reset()
        self._logs = self._logs[1:]
        if not self._verifying:
            self._begin_filling(self._last_ids)
        return -1

    def _look(self, streams: Iterable[str]) -> tuple[Cursor | None, dict[str, EntryId]]:
        """The cursor, and the greatest id each stream ever had, all of one moment. Raises _Conflict for no streams."""
        names = list(streams)
        with self._client.pipeline(transaction=True) as pipe:
            pipe.get(CURSOR)
            for stream in names:
                pipe.xinfo_stream(stream)
            text, *answers = pipe.execute(raise_on_error=False)
        tops = {}
        for stream, answer in zip(names, answers, strict=True):
            if isinstance(answer, redis.ResponseError):
                if "WRONGTYPE" in str(answer):
                    raise _Conflict([stream])
                if "no such key" not in str(answer):
                    raise answer
            tops[stream] = START if isinstance(answer, Exception) else EntryId.parse(answer["last-generated-id"])
        return Cursor.from_text(text), tops

    def _commit(
        self, pipe: Pipeline, seq: int, batch: Batch | None, outside: list[StreamRecord], repeated: int
    ) -> None:
        """One transaction, refused whole when the cursor or a stream of the log was touched by somebody else."""
        if not pipe.watching:
            self._watch(pipe, seq)
        orphans = self._orphans(pipe, batch) if batch is not None and seq == -1 else []
        records = [*(batch.records if batch else ()), *outside]
        last_ids = {**self._last_ids, **(batch.last_ids if batch else {})}
        pipe.multi()
        for record in records:
            fields: dict[Any, Any] = dict(record.fields)
            pipe.xadd(record.stream, fields, id=str(record.id), maxlen=length_of(record.stream), approximate=True)
        if batch is not None:
            for key, value in batch.keys.items():
                if value is None:
                    pipe.delete(key)
                else:
                    pipe.set(key, value.value, ex=value.seconds)
            if orphans:
                pipe.delete(*orphans)
            pipe.set(CURSOR, Cursor(self._logs[0].log, batch.seq, not self._verifying, last_ids).to_text())
        answers = pipe.execute(raise_on_error=False)
        self._last_ids = last_ids
        self._judge(batch, outside, repeated, answers[: len(records)])

    def _watch(self, pipe: Pipeline, seq: int) -> None:
        """Have the next transaction refused unless Redis stays as it is: filled up to ``seq`` and by nobody else."""
        filled = {**self._known, **self._last_ids}
        pipe.watch(CURSOR, *filled)  # type: ignore[no-untyped-call]
        cursor, tops = self._look(filled)
        if seq == -1 and self._verifying:
            expected = cursor == self._found  # else somebody fills it: what two write in turns is no moment of the log
        else:
            expected = cursor is not None and cursor.log == self._logs[0].log and cursor.seq == seq
        if not expected:
            raise redis.WatchError("the cursor was moved")
        if any(tops[stream] < last for stream, last in filled.items()):
            raise redis.WatchError("a stream was lost")
        foreign = [stream for stream, last in self._last_ids.items() if tops[stream] > last]
        if foreign and not self._verifying:
            raise _Conflict(foreign)

    def _orphans(self, pipe: Pipeline, batch: Batch) -> list[str]:
        """Keys of another log's trades: with the first batch of a filling they go."""
        found = {
            str(key)
            for prefix in self._logs[0].owned_prefixes
            for key in pipe.scan_iter(match=f"{prefix}*", count=1000)
        }
        return sorted(found - set(batch.keys))

    def _judge(self, batch: Batch | None, outside: list[StreamRecord], repeated: int, answers: list[Any]) -> None:
        logged = batch.records if batch else ()
        refused = [record for record, answer in zip(logged, answers, strict=False) if isinstance(answer, Exception)]
        failed = [answer for answer in answers if isinstance(answer, Exception) and _TOO_SMALL not in str(answer)]
        if failed:
            wrong = zip([*logged, *outside], answers, strict=True)
            raise _Conflict({record.stream for record, answer in wrong if answer in failed})
        late = [number for number, answer in enumerate(answers[len(logged) :]) if isinstance(answer, Exception)]
        again = sum(
            number < repeated or outside[number].id <= self._read_to.get(outside[number].stream, START)
            for number in late
        )
        for record in outside:
            if record.stream in self._stored:
                self._known[record.stream] = max(record.id, self._known[record.stream])
        if refused:
            self._verify(refused)
        if self._verifying:
            for record in logged:
                self._filled.setdefault(record.stream, []).append(record.id)
        self._add(
            published=len(answers) - len(refused) - len(late),
            already_there=len(refused) + again,
            refused=len(late) - again,
        )

    def _verify(self, records: list[StreamRecord]) -> None:
        """Entries that Redis would not take are in place, each as we would have written it; else _Conflict.

        Those that are not there at all may have given way to newer ones: ``_compare`` tells, once all is written.
        """
        with self._client.pipeline(transaction=False) as pipe:
            for record in records:
                pipe.xrange(record.stream, min=str(record.id), max=str(record.id))
            found = pipe.execute()
        pairs = zip(records, found, strict=True)
        wrong = {record.stream for record, entries in pairs if entries and entries[0][1] != dict(record.fields)}
        if wrong:
            raise _Conflict(wrong)
        self._doubted.update(record.stream for record in records)

    def _compare(self, stream: str) -> bool:
        """Whether ``stream``, from our first entry on, holds our entries and no others; the oldest may be missing from
        a stream that is as long as it may be."""
        ours = self._filled[stream]
        found: Any = self._client.xrange(stream, min=str(ours[0]))
        there = [EntryId.parse(entry) for entry, _ in found]
        complete = len(there) == len(ours) or len(there) >= length_of(stream)
        return complete and there == ours[-len(there) :]

    def _finish_filling(self, pipe: Pipeline, seq: int) -> None:
        """Everything was written: what stands beyond our last entries is another log's."""
        if not pipe.watching:
            self._watch(pipe, seq)
        if wrong := [stream for stream in sorted(self._doubted) if not self._compare(stream)]:
            raise _Conflict(wrong)
        pipe.multi()
        pipe.set(CURSOR, Cursor(self._source.log, seq, True, self._last_ids).to_text())
        pipe.execute()
        self._filled, self._doubted = {}, set()
        self._wait = FIRST_WAIT_S
        with self._changed:
            self._verifying = False
            self._changed.notify_all()

    def _replace(self, streams: tuple[str, ...]) -> None:
        """Streams that hold another log's entries go, and are filled from the start."""
        self._report(f"filled anew, as another log had written them: {', '.join(sorted(streams))}")
        self._add(replaced=len(streams))
        self._client.delete(CURSOR, *streams)

    def _measure(self, batch: Batch) -> None:
        """Offer the time from the emission of an event to its publication; a refill measures nothing."""
        with self._changed:
            published = time.monotonic()
            samples = []
            for record in batch.records:
                begun = self._begun_at.get(record.id.number)
                if record.stream in MEASURED and begun is not None:
                    samples.append((record, published - begun))
            while self._begun_at and (oldest := next(iter(self._begun_at))) <= batch.seq:
                del self._begun_at[oldest]
            if not samples:
                return
            now = int(self._clock.now().timestamp() * 1000)
            self.offer(
                StreamRecord(
                    END_TO_END,
                    EntryId(now, record.id.number),
                    EndToEnd.measured(now, seconds, _AGENT, record.stream, _hash_of(record)).to_fields(),
                )
                for record, seconds in samples
            )


def _hash_of(record: StreamRecord) -> str:
    """Eight hex digits that name an entry by its content."""
    return sha256_hex(dump_document({"id": str(record.id), "fields": dict(record.fields)}))[:8]
