"""From a file in the inbox to a frozen t0: what is complete, what is new, what executes and what does not.

Detection is the moment that counts: t0, the file's hash and bytes, every mark and the filters are frozen here, and the
freeze is keyed by content, so the same content is never executed twice whatever it is called and however many
daemons look. All of it can be repeated: cursors may be lost, processes killed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Literal

from assets.desk.artifacts import (
    EXECUTION,
    FORCED,
    INBOX,
    LATEST_EXECUTED,
    LATEST_REFUSED,
    audit_key,
    detection_key,
    filters_key,
    forced_key,
)
from assets.desk.desk import Desk
from assets.desk.signal import SignalRejected, parse_signal, rebalance_id_of, trading_day_of_name
from resources.documents import Document, dump_document, from_iso, sha256_hex, to_iso
from resources.market import Mark
from resources.store import Entry, NotFound
from resources.store.once import create_bytes_once, create_once, find

SIGNAL_COPY = "signal.csv"
DETECTION = "detection.json"
CLAIM = "claim.json"
OUTCOME = "outcome.json"
# The reason an outcome carries when a rebalance was not finished within ``max_rebalance_minutes`` of its t0.
EXPIRED = "expired"

OutcomeStatus = Literal["executed", "partial", "quarantined", "superseded", "stale", "aborted", "expired"]


# Outcomes a person should see; a superseded signal has its newer one to show for it.
REFUSALS = ("quarantined", "stale", "aborted", "expired")


@dataclass(frozen=True, slots=True)
class Detection:
    """What was frozen at t0. ``marks`` are as the market sent them (finite ones), judged later."""

    rebalance_id: str
    csv_key: str
    csv_filename: str
    csv_modified: datetime
    csv_sha256: str
    t0: datetime
    trading_day: date | None
    generation: int
    filters_sha256: str
    marks: Mapping[str, Mark]
    source: str


def order_id_prefix(detection: Detection) -> str:
    """First 12 hex of the content's sha256, with the generation from the second on, as order ids begin."""
    prefix = detection.csv_sha256[:12]
    return prefix if detection.generation == 1 else f"{prefix}.{detection.generation}"


def freeze(desk: Desk, key: str, modified: datetime, data: bytes, generation: int = 1) -> Detection:
    """Freeze t0 for a complete file, or return what an earlier look froze for the same content."""
    sha256 = sha256_hex(data)
    frozen_key = detection_key(sha256, generation)
    document = find(desk.store, frozen_key)
    if document is None:
        filename = key.rsplit("/", 1)[-1]
        rebalance_id = rebalance_id_of(filename, sha256)
        trading_day = _trading_day(filename, data)
        t0 = desk.clock.now()
        marks = desk.market.marks(t0)
        filters = desk.market.exchange_info(t0)
        create_bytes_once(desk.store, filters_key(sha256_hex(filters)), filters)
        frozen: Document = {
            "rebalance_id": rebalance_id if generation == 1 else f"{rebalance_id}.{generation}",
            "csv_key": key,
            "csv_filename": filename,
            "csv_modified_utc": to_iso(modified),
            "csv_sha256": sha256,
            "timestamp_utc": to_iso(t0),
            "trading_day": None if trading_day is None else trading_day.isoformat(),
            "generation": generation,
            "filters_sha256": sha256_hex(filters),
            "marks": {s: [m.price, to_iso(m.as_of)] for s, m in marks.items() if m.price.is_finite()},
            "source": desk.market.name,
        }
        document = create_once(desk.store, frozen_key, lambda: frozen)
    detection = _detection(document)
    # The audit set of the rebalance: a kill before this point is made good by the next look, which finds the freeze.
    create_bytes_once(desk.store, audit_key(detection.rebalance_id, SIGNAL_COPY), data)
    create_once(desk.store, audit_key(detection.rebalance_id, DETECTION), lambda: document)
    return detection


def _trading_day(filename: str, data: bytes) -> date | None:
    """The day in the file's name, else the one its ``value_ts`` agrees on; None where neither says."""
    named = trading_day_of_name(filename)
    if named is not None:
        return named
    try:
        return parse_signal(data, filename, duplicates="net", allow_flat=True).trading_day
    except SignalRejected:
        return None  # its run will say why


def detection_of(desk: Desk, rebalance_id: str) -> Detection:
    """The freeze of a rebalance. Raises NotFound when nothing of that id was ever detected."""
    document = find(desk.store, audit_key(rebalance_id, DETECTION))
    if document is None:
        raise NotFound(f"no signal was detected as {rebalance_id!r}; drop its CSV into {INBOX}")
    return _detection(document)


def _detection(document: Document) -> Detection:
    day = document["trading_day"]
    return Detection(
        document["rebalance_id"],
        document["csv_key"],
        document["csv_filename"],
        from_iso(document["csv_modified_utc"]),
        document["csv_sha256"],
        from_iso(document["timestamp_utc"]),
        None if day is None else date.fromisoformat(day),
        document["generation"],
        document["filters_sha256"],
        {s: Mark(s, Decimal(price), from_iso(as_of)) for s, (price, as_of) in document["marks"].items()},
        document["source"],
    )


def record_outcome(desk: Desk, detection: Detection, status: OutcomeStatus, reason: str) -> Document:
    """State, once and for ever, how a rebalance ended; the first statement stands. It is never dated before t0, which
    a clock that stepped back would do.

    A refusal that a person should see is stated under a plain name too, before the outcome: once that is there nobody
    comes back to write it.
    """

    def state() -> Document:
        outcome = {
            "rebalance_id": detection.rebalance_id,
            "csv_filename": detection.csv_filename,
            "csv_sha256": detection.csv_sha256,
            "status": status,
            "reason": reason,
            "timestamp_utc": to_iso(max(desk.clock.now(), detection.t0)),
        }
        if status in REFUSALS:
            desk.store.write(LATEST_REFUSED, dump_document(outcome))
        return outcome

    return create_once(desk.store, audit_key(detection.rebalance_id, OUTCOME), state)


def outcome_of(desk: Desk, rebalance_id: str) -> Document | None:
    return find(desk.store, audit_key(rebalance_id, OUTCOME))


@dataclass(frozen=True, slots=True)
class Sighting:
    """What the last look saw of one inbox file: enough to tell "still growing" from "complete" from "done".

    ``rebalance_id`` is "" until the file is complete and frozen; ``done`` once its outcome is recorded; ``replaces``
    names the unfinished rebalance of other content that had this file name before.
    """

    size: int
    modified: str
    sha256: str
    rebalance_id: str = ""
    done: bool = False
    replaces: str = ""


Sightings = dict[str, Sighting]


@dataclass(frozen=True, slots=True)
class Look:
    """The result of one look at the inbox: the sightings to remember, the rebalances that wait for a run (oldest
    first) and, for the log, what was noticed."""

    sightings: Sightings
    pending: tuple[str, ...]
    notices: tuple[str, ...]


def look(desk: Desk, before: Mapping[str, Sighting]) -> Look:
    """Look at the inbox once. ``before`` is what the last look returned; an empty mapping is always safe."""
    notices: list[str] = []
    sightings: Sightings = {}
    complete: list[tuple[Entry, bytes]] = []
    for entry in desk.store.list(INBOX):
        if not entry.key.endswith(".csv"):
            continue
        seen = before.get(entry.key)
        if seen is not None and seen.rebalance_id and _unchanged(seen, entry):
            sightings[entry.key] = seen
            continue
        try:
            data = desk.store.read(entry.key).data
        except NotFound:
            continue
        sighting = Sighting(len(data), _stamp(entry), sha256_hex(data), replaces=_unfinished(seen))
        sightings[entry.key] = sighting
        if _is_complete(desk, seen, sighting):
            complete.append((entry, data))
    for entry, data in complete:
        detection = freeze(desk, entry.key, entry.modified, data)
        sightings[entry.key] = replace(sightings[entry.key], rebalance_id=detection.rebalance_id)
    pending = _settle(desk, sightings, notices)
    return Look(sightings, pending, tuple(notices))


def _unchanged(seen: Sighting, entry: Entry) -> bool:
    return seen.size == entry.size and seen.modified == _stamp(entry)


def _stamp(entry: Entry) -> str:
    """When an entry was written, and its version: S3 tells time by the second, too coarse for a quick correction."""
    return f"{to_iso(entry.modified)} {entry.version}"


def _unfinished(seen: Sighting | None) -> str:
    if seen is None or seen.done:
        return ""
    return seen.rebalance_id or seen.replaces


def _is_complete(desk: Desk, seen: Sighting | None, now: Sighting) -> bool:
    """A local file may still be growing: it must look the same, digest included, in two looks. S3 shows an object
    only once it is whole. Content that was frozen before is complete by definition."""
    if desk.store.url.startswith("s3://") or find(desk.store, detection_key(now.sha256, 1)) is not None:
        return True
    return seen is not None and (seen.size, seen.modified, seen.sha256) == (now.size, now.modified, now.sha256)


def _settle(desk: Desk, sightings: Sightings, notices: list[str]) -> tuple[str, ...]:
    """Decide which frozen signals wait for a run: those that began executing, and the newest of the rest.

    The others are recorded as superseded or stale and never traded. The signal that holds the execution lock and one
    whose file was replaced count too, although the inbox no longer shows them.
    """
    waiting: dict[str, Detection] = {}
    forced = {entry.key for entry in desk.store.list(FORCED)}
    replaced = [seen.replaces for seen in sightings.values() if seen.rebalance_id and seen.replaces]
    for rebalance_id in (*replaced, *holder_of_lock(desk)):
        if outcome_of(desk, rebalance_id) is None:
            waiting[rebalance_id] = detection_of(desk, rebalance_id)
    for key, sighting in list(sightings.items()):
        if not sighting.rebalance_id or (sighting.done and forced_key(sighting.sha256) not in forced):
            continue
        is_forced = forced_key(sighting.sha256) in forced
        detection = _latest_generation(desk, detection_of(desk, sighting.rebalance_id), notices, forced=is_forced)
        done = outcome_of(desk, detection.rebalance_id) is not None
        sightings[key] = replace(sighting, rebalance_id=detection.rebalance_id, done=done)
        if not done:
            waiting[detection.rebalance_id] = detection
    fresh = []
    for detection in waiting.values():
        decided = find(desk.store, audit_key(detection.rebalance_id, CLAIM))
        if decided is None:
            fresh.append(detection)
        elif decided["claim"] != "execute":  # declined by a look that was killed before it could say so
            record_outcome(desk, detection, decided["claim"], decided["reason"])
    fresh.sort(key=_age_rank)
    for detection in fresh[:-1]:
        _decline(desk, detection, "superseded", f"{fresh[-1].rebalance_id} is newer", notices)
    for newest in fresh[-1:]:
        if forced_key(newest.csv_sha256) in forced:
            break
        for came_before in _executed(desk):
            if came_before.csv_sha256 == newest.csv_sha256:
                continue
            day, last_day = newest.trading_day, came_before.trading_day
            if day is not None and last_day is not None and day < last_day:
                _decline(desk, newest, "stale", f"dated {day}, {last_day} came before it", notices)
            elif newest.generation > 1 and _age_rank(newest) < _age_rank(came_before):
                # It expired and a newer signal executed meanwhile: starting it over would undo the newer one.
                _decline(desk, newest, "superseded", f"{came_before.rebalance_id} is newer", notices)
    open_ones = [d for d in waiting.values() if outcome_of(desk, d.rebalance_id) is None]
    return tuple(d.rebalance_id for d in sorted(open_ones, key=lambda d: d.t0))


def has_expired(desk: Desk, detection: Detection) -> bool:
    """Whether a rebalance had its time: unfinished ones are then closed for what they filled."""
    return desk.clock.now() - detection.t0 > timedelta(minutes=desk.settings.max_rebalance_minutes)


def holder_of_lock(desk: Desk) -> list[str]:
    """The rebalance that holds the execution lock, if one does."""
    held = find(desk.store, EXECUTION)
    return [held["rebalance_id"]] if held is not None and held["state"] == "executing" else []


def _age_rank(detection: Detection) -> tuple[date, datetime, str]:
    """Newest last: by file date (the day it landed where the name has none), modified time, name."""
    return (detection.trading_day or detection.csv_modified.date(), detection.csv_modified, detection.csv_filename)


def _latest_generation(desk: Desk, detection: Detection, notices: list[str], *, forced: bool) -> Detection:
    """The freeze to go on with: one that expired unfinished, or was stale until a person forced it, is frozen anew,
    up to ``max_attempts`` generations; then a person decides."""
    while detection.generation < desk.settings.max_attempts:
        outcome = outcome_of(desk, detection.rebalance_id)
        if outcome is None:
            break
        expired, wanted_after_all = outcome["reason"] == EXPIRED, forced and outcome["status"] == "stale"
        if not (expired or wanted_after_all):
            break
        data = desk.store.read(audit_key(detection.rebalance_id, SIGNAL_COPY)).data
        again = freeze(desk, detection.csv_key, detection.csv_modified, data, detection.generation + 1)
        why = "expired unfinished" if expired else "was stale and is forced"
        notices.append(f"{detection.rebalance_id} {why}; starting over as {again.rebalance_id}")
        detection = again
    return detection


def claim(desk: Desk, rebalance_id: str, what: Literal["execute", "superseded", "stale"], reason: str = "") -> Document:
    """Decide once between executing a signal and setting it aside; returns what is decided (``claim``, ``reason``).

    One create settles the race between a run that starts and a look that finds a newer file.
    """
    return create_once(desk.store, audit_key(rebalance_id, CLAIM), lambda: {"claim": what, "reason": reason})


def _decline(
    desk: Desk, detection: Detection, status: Literal["superseded", "stale"], reason: str, notices: list[str]
) -> None:
    decided = claim(desk, detection.rebalance_id, status, reason)
    if decided["claim"] == status:
        record_outcome(desk, detection, status, decided["reason"])
        notices.append(f"{detection.rebalance_id} {status}: {decided['reason']}")


def _executed(desk: Desk) -> list[Detection]:
    """What was executed last, and what is being executed."""
    executed = find(desk.store, LATEST_EXECUTED)
    ids = [*([] if executed is None else [executed["rebalance_id"]]), *holder_of_lock(desk)]
    return [detection_of(desk, rebalance_id) for rebalance_id in ids]
