"""Consumers of a stream, sharing it as a group: every entry has its effect exactly once, whoever is killed when.

An effect is a change of one stored document, and the ids of the entries it contains are written in the same
compare-and-swap: an entry that comes again (its reader died before it could acknowledge, Redis came back on an older
snapshot, the stream was filled again) is seen to be there and is only acknowledged. An entry is acknowledged after its
effect is stored, never before. Entries that the stream's bound took away unread are found by looking at what the stream
begins with, and read from the log instead.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import redis

from resources.bus import START, EntryId, StreamRecord
from resources.bus.streams import MalformedEntry, OutOfOrder, Record, parse_entry
from resources.documents import Document, dump_document, load_document
from resources.store import AlreadyExists, NotFound, Store, VersionConflict

COUNT = 100  # entries in one read, and so in one write to the store
DELIVERIES = 5  # of one entry whose handler fails, before it is put aside
IDLE_MS = 60_000  # an entry that its reader has not acknowledged for so long is taken over by another
_AHEAD_OF_ID_MS = 60_000  # clocks of two machines differ; an entry cannot be from further in the future than this

_COUNTERS = ("handled", "malformed", "out_of_order", "dead", "recovered", "lost")


class Entry(NamedTuple):
    """One entry of the stream, read strictly."""

    id: EntryId
    record: Record


# What an entry does: the state before to the state after. Pure: it may be called again, and its result thrown away.
Handler = Callable[[Document, Entry], Document]

# The log's records of the stream strictly between two ids, in order.
Missed = Callable[[EntryId, EntryId], Iterable[StreamRecord]]


@dataclass(frozen=True, slots=True)
class ConsumerReport:
    """What became of the group's entries, all consumers together, as stored with the effect.

    ``malformed`` and ``out_of_order`` entries are among ``dead``: put aside with the reason under ``<key>/dead/``.
    ``recovered`` were trimmed before anybody read them and came from the log; ``lost`` were trimmed and are in no log.
    ``repeated`` counts entries this consumer was given again after their effect was stored; ``failures`` calls of the
    handler that raised; ``rewound`` says that the stream ends before what was handled already: it holds another log,
    or is being filled again.
    """

    handled: int
    malformed: int
    out_of_order: int
    dead: int
    recovered: int
    lost: int
    repeated: int
    failures: int
    rewound: bool


@dataclass(frozen=True, slots=True)
class StreamLag:
    """How far a group is behind: entries not delivered (None where Redis cannot tell) and not acknowledged."""

    stream: str
    group: str
    undelivered: int | None
    pending: int


def stream_lag(client: "redis.Redis", stream: str, group: str) -> StreamLag | None:
    """None where there is no such stream or group."""
    try:
        groups = client.xinfo_groups(stream)
    except redis.ResponseError as error:
        if "no such key" in str(error):
            return None
        raise
    for found in groups:
        if found["name"] == group:
            return StreamLag(stream, group, found.get("lag"), int(found["pending"]))
    return None


@dataclass(slots=True)
class _Progress:
    """The stored document: ``floor`` and everything below is handled, and ``ahead`` beyond it."""

    floor: EntryId
    ahead: set[EntryId]
    latest: tuple[EntryId, int]  # the newest entry handled and its own time
    counts: dict[str, int]
    state: Document

    def raise_floor(self, up_to: EntryId) -> None:
        """Everything up to there is handled, or gone for ever."""
        self.floor = max(self.floor, up_to)
        self.ahead = {each for each in self.ahead if each > self.floor}

    def holds(self, entry_id: EntryId) -> bool:
        return entry_id <= self.floor or entry_id in self.ahead

    def to_bytes(self) -> bytes:
        return dump_document(
            {
                "floor": str(self.floor),
                "ahead": [str(each) for each in sorted(self.ahead)],
                "latest_id": str(self.latest[0]),
                "latest_ms": self.latest[1],
                "counts": self.counts,
                "state": self.state,
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> "_Progress":
        document = load_document(data)
        return cls(
            EntryId.parse(document["floor"]),
            {EntryId.parse(each) for each in document["ahead"]},
            (EntryId.parse(document["latest_id"]), document["latest_ms"]),
            dict(document["counts"]),
            document["state"],
        )


class _Raw(NamedTuple):
    id: EntryId
    fields: Mapping[str, str]  # empty where the entry was deleted before it was read
    recovered: bool


class Consumer:
    """One reader of ``stream`` in ``group``; ``name`` is its own, and the same after a restart.

    The group's one document is ``<key>.json`` in ``store``: ``state`` in it is what ``handle`` makes of ``initial`` and
    the entries. ``missed`` gives the log's records, None where the stream has no log. No thread: ``poll`` is called.
    """

    def __init__(
        self,
        client: "redis.Redis",
        stream: str,
        group: str,
        name: str,
        store: Store,
        key: str,
        handle: Handler,
        initial: Document,
        missed: Missed | None,
        *,
        count: int = COUNT,
        deliveries: int = DELIVERIES,
        idle_ms: int = IDLE_MS,
    ) -> None:
        self._client = client
        self._stream, self._group, self._name = stream, group, name
        self._store, self._key = store, key
        self._handle = handle
        self._initial = initial
        self._missed = missed
        self._count, self._deliveries, self._idle_ms = count, deliveries, idle_ms
        self._own_first = True  # entries given to this consumer earlier may wait for it
        self._cached: tuple[bytes, str] | None = None  # the document and its version
        self._attempts: dict[EntryId, int] = {}  # at entries from the log, which Redis counts no deliveries of
        self._reached: EntryId | None = None  # all entries up to here are handled, as the last look at Redis found
        self._repeated = self._failures = 0
        self._rewound = False

    def poll(self, block_ms: int) -> int:
        """How many entries were settled by this call; waits for new ones up to ``block_ms`` (0: not at all).

        Raises RedisError or StoreError when either cannot be used: nothing is lost then, the next call goes on.
        """
        own_first, self._own_first = self._own_first, True
        done = self._close_gap()
        waiting = False
        if own_first:
            settled, waiting = self._take_own()
            done += settled
        for raws in (self._take_over(), self._new(block_ms)):
            settled, failed = self._settle(raws)
            done += settled
            waiting = waiting or failed
        self._own_first = waiting
        return done

    def state(self) -> Document:
        """The state as stored. Raises NotFound before the first call of ``poll``."""
        self._cached = None
        return self._load().state

    def report(self) -> ConsumerReport:
        """Raises NotFound before the first call of ``poll``."""
        self._cached = None
        counts = self._load().counts
        stored = {name: counts[name] for name in _COUNTERS}
        return ConsumerReport(**stored, repeated=self._repeated, failures=self._failures, rewound=self._rewound)

    def _load(self) -> _Progress:
        if self._cached is None:
            blob = self._store.read(self._document)
            progress = _Progress.from_bytes(blob.data)  # before it is kept: a damaged one is read anew each time
            self._cached = blob.data, blob.version
            return progress
        return _Progress.from_bytes(self._cached[0])

    @property
    def _document(self) -> str:
        return f"{self._key}.json"

    def _survey(self) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """The stream, the group and what is pending, all of one moment; the document and the group exist afterwards."""
        while True:
            with self._client.pipeline(transaction=True) as pipe:
                pipe.xinfo_stream(self._stream)
                pipe.xinfo_groups(self._stream)
                pipe.xpending(self._stream, self._group)
                stream, groups, pending = pipe.execute(raise_on_error=False)
            for answer in (stream, groups, pending):
                if isinstance(answer, redis.ResponseError) and not _nothing_there(answer):
                    raise answer
            known = not any(isinstance(answer, Exception) for answer in (stream, groups, pending))
            try:
                floor = self._load().floor
            except NotFound:
                self._begin(known)
                continue
            if known:
                (group,) = (found for found in groups if found["name"] == self._group)
                return stream, group, pending
            self._create_group(floor)

    def _begin(self, group_exists: bool) -> None:
        """Without a document nothing had an effect yet: the group, if there is one, is given everything again."""
        if group_exists:
            self._client.xgroup_setid(self._stream, self._group, str(START), entries_read=0)
        empty = _Progress(START, set(), (START, 0), dict.fromkeys(_COUNTERS, 0), self._initial)
        try:
            self._store.create(self._document, empty.to_bytes())
        except AlreadyExists:
            return  # by another consumer of the group

    def _create_group(self, floor: EntryId) -> None:
        """The group goes on after what is handled, be the stream new, emptied or filled again."""
        try:
            self._client.xgroup_create(
                self._stream, self._group, id=str(floor), mkstream=True, entries_read=0 if floor == START else None
            )
        except redis.ResponseError as error:
            if "BUSYGROUP" not in str(error):  # else another consumer was faster
                raise

    def _close_gap(self) -> int:
        """Settle what was trimmed before it was read; afterwards ``_reached`` is right."""
        self._reached = None
        stream, group, pending = self._survey()
        progress = self._load()
        floor = progress.floor
        self._rewound = EntryId.parse(stream["last-generated-id"]) < max(floor, *progress.ahead, progress.latest[0])
        removed = int(stream["entries-added"]) - int(stream["length"])
        first = stream["first-entry"]
        end = EntryId.parse(first[0]) if first else EntryId.parse(stream["last-generated-id"]).after
        done = 0
        if removed > 0 and floor < end.before:
            if self._missed is not None:
                rows = self._missed(floor, end)
                settled, failed = self._settle([_Raw(row.id, row.fields, True) for row in rows])
                done += settled
                if failed:
                    return done
            else:
                read = group["entries-read"]
                self._note_loss(end.before, 1 if read is None else max(0, removed - int(read)))
        delivered = EntryId.parse(group["last-delivered-id"])
        # What is pending may lie beyond what is delivered, where the group was given everything again.
        self._reached = min(EntryId.parse(pending["min"]).before, delivered) if pending["pending"] else delivered
        return done

    def _note_loss(self, up_to: EntryId, entries: int) -> None:
        """Entries that no log has are gone; counted once."""
        while True:
            progress = self._load()
            if up_to <= progress.floor:
                return
            progress.counts["lost"] += entries
            progress.raise_floor(up_to)
            if self._write(progress):
                return

    def _take_own(self) -> tuple[int, bool]:
        """What this consumer was given and did not acknowledge; whether some of it still waits."""
        done, waiting, after = 0, False, START
        while True:
            raws = self._read(str(after), None)
            if not raws:
                return done, waiting
            after = raws[-1].id
            settled, failed = self._settle(raws)
            done += settled
            waiting = waiting or failed

    def _take_over(self) -> list[_Raw]:
        """What others were given and have not acknowledged for ``idle_ms``."""
        answer: Any = self._client.xautoclaim(
            self._stream, self._group, self._name, self._idle_ms, start_id=str(START), count=self._count
        )
        _, taken, deleted = answer
        return [_raw(*each) for each in taken] + [_raw(each, None) for each in deleted]

    def _new(self, block_ms: int) -> list[_Raw]:
        return self._read(">", block_ms or None)

    def _read(self, after: str, block_ms: int | None) -> list[_Raw]:
        # The library's answer has other shapes under other protocols; ours is fixed by ``connect``.
        answer: Any = self._client.xreadgroup(
            self._group, self._name, {self._stream: after}, count=self._count, block=block_ms
        )
        return [_raw(*each) for each in answer[0][1]] if answer else []

    def _settle(self, raws: list[_Raw]) -> tuple[int, bool]:
        """Store the effect of the entries, then acknowledge them: how many had none before, and whether some failed."""
        if not raws:
            return 0, False
        raws = self._restored(raws)
        failing: set[EntryId] = set()
        given_up: dict[EntryId, str] = {}
        while True:
            progress = self._load()
            repeated = sum(progress.holds(raw.id) for raw in raws)
            before = len(progress.ahead)
            try:
                dead = self._fold(progress, [raw for raw in raws if raw.id not in failing], given_up)
            except _Failed as failed:
                self._failures += 1
                if self._tries(failed.raw) >= self._deliveries:
                    given_up[failed.raw.id] = failed.reason
                else:
                    failing.add(failed.raw.id)
                continue
            done = len(progress.ahead) - before
            if not done:
                break
            for raw, reason in dead:
                self._put_aside(raw, reason)
            if self._reached is not None:
                progress.raise_floor(self._reached)
            if self._write(progress):
                break
        self._repeated += repeated
        acknowledged = [str(raw.id) for raw in raws if raw.id not in failing and not raw.recovered]
        if acknowledged:
            self._client.xack(self._stream, self._group, *acknowledged)
        return done, bool(failing)

    def _restored(self, raws: list[_Raw]) -> list[_Raw]:
        """Entries that were deleted after they were given to a reader, as the log has them."""
        deleted = [raw.id for raw in raws if not raw.fields]
        if not deleted or self._missed is None:
            return raws
        logged = {row.id: row.fields for row in self._missed(min(deleted).before, max(deleted).after)}
        return [raw if raw.fields else raw._replace(fields=logged.get(raw.id, {})) for raw in raws]

    def _fold(self, progress: _Progress, raws: list[_Raw], given_up: Mapping[EntryId, str]) -> list[tuple[_Raw, str]]:
        """Bring the effect of the entries into ``progress``; those to be put aside, with the reason."""
        dead: list[tuple[_Raw, str]] = []
        for raw in raws:
            if progress.holds(raw.id):
                continue
            counts = progress.counts
            if not raw.fields:
                counts["lost"] += 1
            elif raw.id in given_up:
                counts["dead"] += 1
                dead.append((raw, given_up[raw.id]))
            else:
                try:
                    entry = Entry(raw.id, parse_entry(self._stream, raw.fields))
                    _check_order(entry, progress.latest)
                except MalformedEntry as error:
                    counts["out_of_order" if isinstance(error, OutOfOrder) else "malformed"] += 1
                    counts["dead"] += 1
                    dead.append((raw, f"{type(error).__name__}: {error}"))
                else:
                    progress.state = self._handled(progress.state, entry, raw)
                    counts["handled"] += 1
                    progress.latest = max(progress.latest, (entry.id, entry.record.time_ms))
            if raw.recovered:
                counts["recovered"] += 1
            progress.ahead.add(raw.id)
        return dead

    def _handled(self, state: Document, entry: Entry, raw: _Raw) -> Document:
        try:
            return self._handle(state, entry)
        except Exception as error:  # whatever it is: the entry is tried again, then put aside with the reason
            raise _Failed(raw, f"{type(error).__name__}: {error}") from error

    def _tries(self, raw: _Raw) -> int:
        """How often the entry was given to a handler, this time included."""
        if raw.recovered:
            self._attempts[raw.id] = self._attempts.get(raw.id, 0) + 1
            return self._attempts[raw.id]
        found = self._client.xpending_range(self._stream, self._group, str(raw.id), str(raw.id), 1)
        return int(found[0]["times_delivered"]) if found else 1

    def _put_aside(self, raw: _Raw, reason: str) -> None:
        row = {"stream": self._stream, "id": str(raw.id), "fields": dict(raw.fields), "reason": reason}
        try:
            self._store.create(f"{self._key}/dead/{raw.id}.json", dump_document(row))
        except AlreadyExists:
            return  # by a consumer that died before it could say so

    def _write(self, progress: _Progress) -> bool:
        """False when another consumer wrote since this one read: what it wrote is to be read first."""
        assert self._cached is not None
        data, version = progress.to_bytes(), self._cached[1]
        self._cached = None
        try:
            version = self._store.replace(self._document, data, version)
        except VersionConflict:
            return False
        self._cached = data, version
        return True


class _Failed(Exception):
    """The handler raised."""

    def __init__(self, raw: _Raw, reason: str) -> None:
        super().__init__(reason)
        self.raw, self.reason = raw, reason


def _raw(entry_id: str, fields: Mapping[str, str] | None) -> _Raw:
    return _Raw(EntryId.parse(entry_id), fields or {}, False)


def _nothing_there(error: redis.ResponseError) -> bool:
    return "no such key" in str(error) or "NOGROUP" in str(error)


def _check_order(entry: Entry, latest: tuple[EntryId, int]) -> None:
    """Times follow the order of the ids, also where an older entry comes again. Raises OutOfOrder."""
    time_ms = entry.record.time_ms
    if time_ms > entry.id.milliseconds + _AHEAD_OF_ID_MS:
        raise OutOfOrder("", f"its time {time_ms} is after that of its own entry {entry.id}")
    latest_id, latest_ms = latest
    if (entry.id > latest_id and time_ms < latest_ms) or (entry.id < latest_id and time_ms > latest_ms):
        raise OutOfOrder("", f"its time {time_ms} and that of {latest_id}, {latest_ms}, are the other way round")
