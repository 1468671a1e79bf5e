"""The sensors: a CSV lands, t0 is frozen, its rebalance runs; a day without its decision gets it.

The cursor only saves re-reading files it has seen; everything that must not be forgotten is in the store, so a lost or
unreadable cursor costs one longer look. A run key carries t0 and the attempt, because Dagster never runs a key twice: a
failed rebalance must be resumable, and a Dagster instance may outlive the store it worked on.
"""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime, time, timedelta

import dagster as dg
import simplejson

from assets.desk.artifacts import LATEST_EXECUTED
from assets.desk.assets import rebalances, signal_inbox
from assets.desk.desk import Desk
from assets.desk.detection import Look, Sighting, Sightings, detection_of, has_expired, holder_of_lock, look
from assets.research.research_desk import ResearchDesk
from pipelines.jobs import REBALANCE_JOB, RESEARCH_JOB, rebalance_job, research_job, walk_forward_job
from resources.documents import to_iso
from resources.history import source_of
from resources.settings import load_settings
from resources.store import NotFound
from resources.store.once import find

PARTITION_TAG = "dagster/partition"
T0_TAG = "desk/t0"

# So long after midnight the sensor leaves the day's decision to the schedule.
_SCHEDULE_FIRST = timedelta(minutes=10)


def read_cursor(cursor: str | None) -> Sightings:
    """The sightings a cursor holds; an absent or unreadable one is an empty memory, which is always safe."""
    if not cursor:
        return {}
    try:
        return {key: Sighting(**seen) for key, seen in simplejson.loads(cursor).items()}
    except (ValueError, TypeError, AttributeError):
        return {}


def write_cursor(sightings: Sightings) -> str:
    return simplejson.dumps({key: asdict(sighting) for key, sighting in sightings.items()})


def next_attempt(runs: Sequence[dg.DagsterRun], t0: str, max_attempts: int) -> int | None:
    """The number of the attempt to request for a rebalance without an outcome, given its partition's runs so far.

    None while any of them may still finish, and once ``max_attempts`` of this ``t0`` have ended: then a person resumes
    it by re-executing the partition in the Dagster UI.
    """
    if any(not run.is_finished for run in runs):
        return None
    ended = sum(run.tags.get(T0_TAG) == t0 for run in runs)
    return ended + 1 if ended < max_attempts else None


def requests(desk: Desk, found: Look, instance: dg.DagsterInstance) -> list[dg.RunRequest]:
    """One run request for each pending rebalance that has no run under way and attempts left.

    While one of them holds the execution lock the others wait, so that they do not spend their attempts on finding it
    held. A holder that ran out of time gets one attempt more: the run that closes it for what it filled.
    """
    wanted = []
    held = [id_ for id_ in found.pending if id_ in holder_of_lock(desk)]
    for rebalance_id in held or found.pending:
        filters = dg.RunsFilter(job_name=REBALANCE_JOB, tags={PARTITION_TAG: rebalance_id})
        detection = detection_of(desk, rebalance_id)
        t0 = to_iso(detection.t0)
        most = desk.settings.max_attempts + (1 if has_expired(desk, detection) else 0)
        attempt = next_attempt(instance.get_runs(filters), t0, most)
        if attempt is not None:
            run_key = f"{rebalance_id}@{t0}:{attempt}"
            tags = {T0_TAG: t0, "desk/attempt": str(attempt)}
            wanted.append(dg.RunRequest(run_key=run_key, partition_key=rebalance_id, tags=tags))
    return wanted


@dg.sensor(
    job=rebalance_job,
    minimum_interval_seconds=load_settings().sensor_seconds,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Fires one rebalance per signal content, freezing t0 at detection.",
)
def inbox_sensor(context: dg.SensorEvaluationContext, desk: dg.ResourceParam[Desk]) -> dg.SensorResult:
    """Look at the inbox once; add a partition and request a run for what is new or was left unfinished."""
    before = read_cursor(context.cursor)
    try:
        found = look(desk, before)
    except NotFound:  # the cursor speaks of another store than this one
        before = {}
        found = look(desk, before)
    for notice in found.notices:
        context.log.info(notice)
    run_requests = requests(desk, found, context.instance)
    known = set(context.instance.get_dynamic_partitions(rebalances.name or ""))
    keys = [id_ for id_ in found.pending if id_ not in known]
    landed = [
        dg.AssetMaterialization(
            signal_inbox.key, metadata={"file": key, "sha256": seen.sha256, "rebalance_id": seen.rebalance_id}
        )
        for key, seen in found.sightings.items()
        if seen.rebalance_id and (key not in before or before[key].rebalance_id != seen.rebalance_id)
    ]
    return dg.SensorResult(
        run_requests=run_requests,
        dynamic_partitions_requests=[rebalances.build_add_request(keys)] if keys else [],
        asset_events=landed,
        cursor=write_cursor(found.sightings),
        skip_reason=None if run_requests else f"{len(found.sightings)} files seen, nothing new",
    )


def undecided(research: ResearchDesk, day: date) -> list[str]:
    """The symbols whose decision of ``day`` is not published yet, which is the last thing a decision does."""
    from assets.research.archive import find_document, latest_key  # loads numerical libraries, which loading need not

    source = _source(research)
    published = {
        symbol: find_document(research.store, latest_key(source, symbol))
        for symbol in research.settings.research_symbols
    }
    return [symbol for symbol, shown in published.items() if shown is None or shown["day"] < day.isoformat()]


def _source(research: ResearchDesk) -> str:
    return source_of(research.settings) if research.history is None else research.history.source


@dg.sensor(
    job=research_job,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Today's decision where midnight's run did not make it: first start, a source that was away, a kill.",
)
def decision_sensor(
    context: dg.SensorEvaluationContext, research: dg.ResourceParam[ResearchDesk]
) -> dg.RunRequest | dg.SkipReason:
    """Request today's partition once an attempt, at most ``max_attempts`` times. The schedule has its chance first,
    and the first rebalance of a fresh desk is not kept waiting by it."""
    now = research.clock.now()
    if now - datetime.combine(now.date(), time(), UTC) < _SCHEDULE_FIRST:
        return dg.SkipReason("midnight's own run comes first")
    if find(research.store, LATEST_EXECUTED) is None and context.cursor is None:
        context.update_cursor("waited")
        return dg.SkipReason("the desk's first rebalance comes first")
    missing = undecided(research, now.date())
    if not missing:
        return dg.SkipReason("today's decision is made")
    day = now.date().isoformat()
    runs = context.instance.get_runs(dg.RunsFilter(job_name=RESEARCH_JOB, tags={PARTITION_TAG: day}))
    attempt = next_attempt(runs, day, research.settings.max_attempts)
    if attempt is None:
        return dg.SkipReason(f"{', '.join(missing)}: a run is under way, or its attempts are spent")
    return dg.RunRequest(run_key=f"{day}:{attempt}", partition_key=day, tags={T0_TAG: day})


@dg.sensor(
    job=walk_forward_job,
    minimum_interval_seconds=120,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="The first walk-forward of a store, once today's decision is made; the schedule goes on from there.",
)
def first_walk_forward_sensor(research: dg.ResourceParam[ResearchDesk]) -> dg.RunRequest | dg.SkipReason:
    """Requested once for a store and symbols, whatever comes of it: a history without a whole fold stays without."""
    if undecided(research, research.clock.now().date()):
        return dg.SkipReason("today's decision comes first")
    from assets.research.archive import find_document, summary_key  # as above

    source, symbols = _source(research), research.settings.research_symbols
    missing = [symbol for symbol in symbols if find_document(research.store, summary_key(source, symbol)) is None]
    if not missing:
        return dg.SkipReason("every symbol has been validated")
    return dg.RunRequest(run_key=f"{research.store.url} {source} {','.join(missing)}")
