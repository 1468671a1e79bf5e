"""The inbox sensor: a CSV lands, t0 is frozen, its rebalance runs.

The cursor only saves re-reading files it has seen; everything that must not be forgotten is in the store, so a lost or
unreadable cursor costs one longer look. A run key carries the attempt, because Dagster never runs a key twice and a
failed rebalance must be resumable.
"""

from collections.abc import Sequence
from dataclasses import asdict

import dagster as dg
import simplejson

from assets.desk.assets import rebalances, signal_inbox
from assets.desk.desk import Desk
from assets.desk.detection import Look, Sighting, Sightings, detection_of, look
from pipelines.jobs import REBALANCE_JOB, rebalance_job
from resources.documents import to_iso
from resources.settings import load_settings

PARTITION_TAG = "dagster/partition"


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


def next_attempt(runs: Sequence[dg.DagsterRun], max_attempts: int) -> int | None:
    """The number of the attempt to request for a rebalance without an outcome, given its runs so far.

    None while one of them may still finish, and once ``max_attempts`` have ended: then a person resumes it by
    re-executing the partition in the Dagster UI.
    """
    if any(not run.is_finished for run in runs):
        return None
    return len(runs) + 1 if len(runs) < max_attempts else None


def requests(desk: Desk, found: Look, instance: dg.DagsterInstance) -> list[dg.RunRequest]:
    """One run request for each pending rebalance that has no run under way and attempts left."""
    wanted = []
    for rebalance_id in found.pending:
        filters = dg.RunsFilter(job_name=REBALANCE_JOB, tags={PARTITION_TAG: rebalance_id})
        attempt = next_attempt(instance.get_runs(filters), desk.settings.max_attempts)
        if attempt is not None:
            detection = detection_of(desk, rebalance_id)
            tags = {"desk/t0": to_iso(detection.t0), "desk/attempt": str(attempt)}
            wanted.append(dg.RunRequest(run_key=f"{rebalance_id}:{attempt}", partition_key=rebalance_id, tags=tags))
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
