"""The inbox sensor: one rebalance per content, whatever is lost, repeated or broken around it."""

from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.desk.detection import Sighting
from assets.desk.rebalance import RebalanceRefused, freeze_pre_execution, parse_daily_csv, run_rebalance
from pipelines.definitions import build
from pipelines.sensors import inbox_sensor, next_attempt, read_cursor, write_cursor
from resources.store import StoreUnavailable
from resources.store.local import LocalStore
from tests.desk_parts import DAY, Parts, file_name, signal_csv

LONG = {"BTC_USDT": ("600000", 1), "ETH_USDT": ("400000", 1)}
SHORT = {"BTC_USDT": ("-600000", -1), "ETH_USDT": ("-400000", -1)}
BROKEN = b"strategy,ticker,target_notional,target_contracts\ntrend,BTC_USDT,lots,1\n"


class Daemon:
    """What the Dagster daemon does with a sensor: keeps its cursor, adds partitions, makes runs of new run keys."""

    def __init__(self, parts: Parts, instance: dg.DagsterInstance) -> None:
        self.parts, self.instance = parts, instance
        self.cursor: str | None = None
        self.partition_requests: list[list[str]] = []

    def tick(self) -> dg.SensorResult:
        """One evaluation; the cursor is kept only when it succeeds."""
        with dg.build_sensor_context(instance=self.instance, cursor=self.cursor) as context:
            result = inbox_sensor(context, desk=self.parts.desk())
        assert isinstance(result, dg.SensorResult)
        self.cursor = result.cursor
        for request in result.dynamic_partitions_requests or []:
            keys = list(request.partition_keys)
            self.partition_requests.append(keys)
            self.instance.add_dynamic_partitions("rebalance", keys)
        self.parts.clock.sleep(5)
        return result

    def launch(self) -> list[str]:
        """Ticks twice, as a file in a folder needs, and makes a started run of each requested key not used before."""
        made = []
        for _ in range(2):
            for request in self.tick().run_requests or []:
                assert request.run_key
                if self.instance.get_runs(dg.RunsFilter(tags={"dagster/run_key": request.run_key})):
                    continue
                self.run(request)
                made.append(request.run_key)
        return made

    def run(self, request: dg.RunRequest) -> dg.DagsterRun:
        partition = {"dagster/partition": request.partition_key, "dagster/run_key": request.run_key}
        return self.instance.create_run_for_job(
            build(resources={"desk": self.parts.desk()}).resolve_job_def("rebalance"),
            status=dg.DagsterRunStatus.STARTED,
            tags={**request.tags, **{name: value or "" for name, value in partition.items()}},
        )

    def end(self, status: dg.DagsterRunStatus) -> None:
        """Ends every run under way."""
        for run in self.instance.get_runs():
            if not run.is_finished:
                kind = dg.DagsterEventType.RUN_FAILURE if status == FAILURE else dg.DagsterEventType.RUN_SUCCESS
                self.instance.report_dagster_event(dg.DagsterEvent(kind.value, run.job_name), run.run_id)


FAILURE, SUCCESS = dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS


@pytest.fixture
def daemon(parts: Parts, instance: dg.DagsterInstance) -> Daemon:
    return Daemon(parts, instance)


def drop(daemon: Daemon, targets: Any = LONG, name: str | None = None) -> str:
    name = name or file_name(daemon.parts.clock.now())
    daemon.parts.drop(name, targets if isinstance(targets, bytes) else signal_csv(targets))
    return name


# --- what fires ---


def test_a_new_file_fires_one_run_of_its_own_partition_once_it_stopped_growing(daemon: Daemon) -> None:
    drop(daemon)
    first = daemon.tick()
    assert not first.run_requests
    assert first.skip_reason
    second = daemon.tick()
    assert second.run_requests is not None
    (request,) = second.run_requests
    assert request.partition_key is not None
    assert request.partition_key.startswith("monitor_signal_DF_20261119-2355-")
    assert daemon.partition_requests == [[request.partition_key]]


def test_a_run_is_told_the_t0_that_was_frozen_at_detection(daemon: Daemon) -> None:
    drop(daemon)
    daemon.tick()
    now = daemon.parts.clock.now()
    (request,) = daemon.tick().run_requests or []
    assert datetime.fromisoformat(request.tags["desk/t0"]) == now
    assert request.partition_key is not None
    frozen = daemon.parts.audit(request.partition_key, "detection.json")
    assert frozen["timestamp_utc"] == request.tags["desk/t0"]


def test_what_landed_is_reported_on_the_inbox_asset_once(daemon: Daemon) -> None:
    drop(daemon)
    events = [event for _ in range(4) for event in daemon.tick().asset_events]
    (landed,) = events
    assert landed.asset_key == dg.AssetKey("signal_inbox")
    assert landed.metadata["file"].value == "inbox/monitor_signal_DF_20261119-2355.csv"


def test_a_file_that_is_looked_at_again_fires_nothing(daemon: Daemon) -> None:
    drop(daemon)
    assert len(daemon.launch()) == 1
    run_rebalance(daemon.parts.desk(), daemon.instance.get_dynamic_partitions("rebalance")[0])
    daemon.end(SUCCESS)
    assert daemon.launch() == []
    assert daemon.launch() == []


def test_the_same_content_under_another_name_fires_nothing(daemon: Daemon) -> None:
    drop(daemon)
    daemon.launch()
    run_rebalance(daemon.parts.desk(), daemon.instance.get_dynamic_partitions("rebalance")[0])
    daemon.end(SUCCESS)
    drop(daemon, name="a_copy_20261119.csv")
    assert daemon.launch() == []
    assert daemon.instance.get_dynamic_partitions("rebalance") != []
    assert len(daemon.instance.get_dynamic_partitions("rebalance")) == 1


def test_changed_content_under_the_same_name_is_a_rebalance_of_its_own(daemon: Daemon) -> None:
    name = drop(daemon)
    daemon.launch()
    first = daemon.instance.get_dynamic_partitions("rebalance")[0]
    run_rebalance(daemon.parts.desk(), first)
    daemon.end(SUCCESS)
    drop(daemon, SHORT, name)
    assert len(daemon.launch()) == 1
    second = set(daemon.instance.get_dynamic_partitions("rebalance")) - {first}
    assert len(second) == 1
    assert second.pop().rsplit("-", 1)[0] == first.rsplit("-", 1)[0]


def test_of_two_files_in_one_tick_the_newer_runs_and_the_other_is_superseded(daemon: Daemon) -> None:
    older = file_name(daemon.parts.clock.now() - DAY)
    drop(daemon, SHORT, older)
    drop(daemon)
    assert len(daemon.launch()) == 1
    assert list(daemon.parts.outcomes().values()) == ["superseded"]
    (partition,) = daemon.instance.get_dynamic_partitions("rebalance")
    assert partition.startswith(file_name(daemon.parts.clock.now()).removesuffix(".csv"))


def test_a_name_that_would_upset_dagster_becomes_a_plain_partition(daemon: Daemon) -> None:
    drop(daemon, name="a, b...c\t[20261119].csv")
    assert len(daemon.launch()) == 1
    (partition,) = daemon.instance.get_dynamic_partitions("rebalance")
    assert partition.rsplit("-", 1)[0] == "a_b.c_20261119_"


def test_a_partition_is_requested_once_however_often_its_run_is(daemon: Daemon) -> None:
    drop(daemon)
    for _ in range(3):
        daemon.launch()
        daemon.end(FAILURE)
    assert len(daemon.partition_requests) == 1


# --- what is lost or broken around it ---


@pytest.mark.parametrize(
    "cursor",
    ["", "not json", "[]", "7", '{"inbox/a.csv": 3}', '{"inbox/a.csv": {"size": 1}}', '{"a": {"unknown": 1}}', "null"],
)
def test_an_unreadable_cursor_is_an_empty_memory(cursor: str) -> None:
    assert read_cursor(cursor) == {}


def test_a_cursor_reads_back_as_it_was_written() -> None:
    sightings = {"inbox/a.csv": Sighting(3, "2026-01-01T00:00:00.000000+00:00", "ab", "a-ab", done=True, replaces="b")}
    assert read_cursor(write_cursor(sightings)) == sightings


@pytest.mark.parametrize("cursor", [None, "garbage"])
def test_a_lost_cursor_fires_no_second_run(daemon: Daemon, cursor: str | None) -> None:
    drop(daemon)
    daemon.launch()
    partition = daemon.instance.get_dynamic_partitions("rebalance")[0]
    run_rebalance(daemon.parts.desk(), partition)
    daemon.end(SUCCESS)
    daemon.cursor = cursor
    assert daemon.launch() == []
    assert len(daemon.partition_requests) == 1
    assert daemon.parts.outcomes() == {partition: "executed"}


def test_a_cursor_of_another_store_costs_one_longer_look(daemon: Daemon, tmp_path: Path) -> None:
    name = drop(daemon)
    daemon.launch()
    daemon.parts.store = LocalStore(tmp_path / "another")
    drop(daemon, SHORT, name)
    daemon.end(FAILURE)
    assert len(daemon.launch()) == 1


def test_a_store_that_was_emptied_gives_the_same_content_its_attempts_back(daemon: Daemon, tmp_path: Path) -> None:
    for number in range(5):
        daemon.parts.store = LocalStore(tmp_path / str(number))
        drop(daemon, name="signal_20261119.csv")
        assert len(daemon.launch()) == 1, f"store {number}"
        daemon.end(SUCCESS)


class Deaf(LocalStore):
    """A folder that does not answer."""

    def list(self, prefix: str, *, after: str = "") -> Any:  # noqa: ARG002
        raise StoreUnavailable("cannot list 'inbox/': no answer")


def test_a_listing_that_fails_fails_the_tick_and_keeps_the_cursor(daemon: Daemon) -> None:
    drop(daemon)
    daemon.tick()
    good, cursor = daemon.parts.store, daemon.cursor
    daemon.parts.store = Deaf(Path(good.url))
    with pytest.raises(StoreUnavailable, match="cannot list"):
        daemon.tick()
    assert daemon.cursor == cursor
    daemon.parts.store = good
    assert len(daemon.tick().run_requests or []) == 1


# --- what failed before ---


def test_a_run_in_flight_is_not_doubled(daemon: Daemon) -> None:
    drop(daemon)
    assert len(daemon.launch()) == 1
    assert daemon.launch() == []
    assert len(daemon.instance.get_runs()) == 1


def test_a_failed_run_is_followed_by_the_next_attempt_with_the_same_t0(daemon: Daemon) -> None:
    drop(daemon)
    (first,) = daemon.launch()
    daemon.end(FAILURE)
    (second,) = daemon.launch()
    assert first != second
    assert (first.rsplit(":", 1)[1], second.rsplit(":", 1)[1]) == ("1", "2")
    assert len({run.tags["desk/t0"] for run in daemon.instance.get_runs()}) == 1
    assert {run.tags["desk/attempt"] for run in daemon.instance.get_runs()} == {"1", "2"}


def test_attempts_end_after_the_set_number_and_a_person_decides(daemon: Daemon) -> None:
    drop(daemon)
    for _ in range(daemon.parts.settings.max_attempts):
        assert len(daemon.launch()) == 1
        daemon.end(FAILURE)
    assert daemon.launch() == []


def test_a_rebalance_waits_without_spending_attempts_while_another_holds_the_lock(daemon: Daemon) -> None:
    """A correction that lands while its predecessor executes runs when that one has ended."""
    drop(daemon)
    (first,) = daemon.launch()
    holder = first.split("@")[0]
    parse_daily_csv(daemon.parts.desk(), holder)
    freeze_pre_execution(daemon.parts.desk(), holder)
    drop(daemon, SHORT, "correction_20261119-2355.csv")
    for _ in range(4):
        assert daemon.launch() == []
    daemon.end(FAILURE)
    (again,) = daemon.launch()
    assert again.startswith(f"{holder}@")


def test_a_holder_that_ran_out_of_attempts_and_time_gets_the_run_that_closes_it(daemon: Daemon) -> None:
    drop(daemon)
    (first,) = daemon.launch()
    holder = first.split("@")[0]
    for step in (parse_daily_csv, freeze_pre_execution):
        step(daemon.parts.desk(), holder)
    daemon.end(FAILURE)
    for _ in range(daemon.parts.settings.max_attempts - 1):
        assert len(daemon.launch()) == 1
        daemon.end(FAILURE)
    assert daemon.launch() == []
    daemon.parts.clock.sleep(timedelta(minutes=61).total_seconds())
    (closing,) = daemon.launch()
    assert closing.startswith(f"{holder}@")


def test_a_person_re_executing_by_hand_is_waited_for(daemon: Daemon) -> None:
    drop(daemon)
    daemon.launch()
    daemon.end(FAILURE)
    partition = daemon.instance.get_dynamic_partitions("rebalance")[0]
    daemon.run(dg.RunRequest(run_key="by hand", partition_key=partition))
    assert daemon.launch() == []


@pytest.mark.parametrize(
    ("runs", "attempt"),
    [
        ([], 1),
        ([("t0", FAILURE)], 2),
        ([("t0", FAILURE), ("t0", FAILURE)], 3),
        ([("t0", FAILURE)] * 3, None),
        ([("t0", FAILURE), ("t0", dg.DagsterRunStatus.STARTED)], None),
        ([("", dg.DagsterRunStatus.STARTED)], None),
        ([("t0", dg.DagsterRunStatus.CANCELED)], 2),
        ([("another", FAILURE)] * 3, 1),
    ],
)
def test_the_next_attempt_counts_the_ended_runs_of_its_own_t0(
    runs: list[tuple[str, dg.DagsterRunStatus]], attempt: int | None
) -> None:
    made = [dg.DagsterRun(job_name="rebalance", status=status, tags={"desk/t0": t0}) for t0, status in runs]
    assert next_attempt(made, "t0", 3) == attempt


def test_a_rebalance_that_expired_starts_over_as_the_next_generation_with_a_fresh_t0(daemon: Daemon) -> None:
    drop(daemon)
    daemon.launch()
    daemon.end(FAILURE)
    (partition,) = daemon.instance.get_dynamic_partitions("rebalance")
    daemon.parts.clock.sleep(60 * daemon.parts.settings.max_rebalance_minutes + 1)
    with pytest.raises(RebalanceRefused, match="expired"):
        parse_daily_csv(daemon.parts.desk(), partition)
    (key,) = daemon.launch()
    assert key.startswith(f"{partition}.2@")
    before, after = (daemon.parts.audit(id_, "detection.json") for id_ in (partition, f"{partition}.2"))
    assert before["timestamp_utc"] < after["timestamp_utc"]
    assert before["csv_sha256"] == after["csv_sha256"]


def test_a_quarantined_file_is_never_run_again(daemon: Daemon) -> None:
    drop(daemon, BROKEN)
    (_,) = daemon.launch()
    (partition,) = daemon.instance.get_dynamic_partitions("rebalance")
    with pytest.raises(RebalanceRefused, match="quarantined"):
        run_rebalance(daemon.parts.desk(), partition)
    daemon.end(FAILURE)
    assert daemon.launch() == []
    daemon.cursor = None
    assert daemon.launch() == []
    assert len(daemon.instance.get_runs()) == 1


def test_a_corrected_file_runs_after_its_quarantined_predecessor(daemon: Daemon) -> None:
    name = drop(daemon, BROKEN)
    daemon.launch()
    with pytest.raises(RebalanceRefused):
        run_rebalance(daemon.parts.desk(), daemon.instance.get_dynamic_partitions("rebalance")[0])
    daemon.end(FAILURE)
    drop(daemon, LONG, name)
    (_,) = daemon.launch()
    assert sorted(daemon.parts.outcomes().values()) == ["quarantined"]


# --- two of them ---


def test_two_daemons_on_one_store_freeze_one_t0_and_make_one_set_of_orders(parts: Parts) -> None:
    """Two Dagster instances that do not know of each other: the store alone keeps them from trading twice."""
    with dg.DagsterInstance.ephemeral() as one, dg.DagsterInstance.ephemeral() as other:
        left, right = Daemon(parts, one), Daemon(parts, other)
        parts.tick()
        parts.clock.sleep(60)
        drop(left)
        requested = []
        for _ in range(2):
            requested += [request for daemon in (left, right) for request in daemon.tick().run_requests or []]
        assert len(requested) == 2
        assert len({request.run_key for request in requested}) == 1
        for request, instance in zip(requested, (one, other), strict=True):
            parts.clock.sleep(1)
            job = build(resources={"desk": parts.desk()}).resolve_job_def("rebalance")
            assert job.execute_in_process(instance=instance, partition_key=request.partition_key).success
    assert request.partition_key is not None
    fills = parts.audit(request.partition_key, "fills.json")["fills"]
    assert len({fill["fill_id"] for fill in fills}) == len(fills) == 2
    assert parts.held() == {"BTCUSDT": Decimal("6.666"), "ETHUSDT": Decimal("133.333")}
    posted = [event for segment in parts.desk().ledger().segments() for event in segment.events]
    assert len(posted) == len({event.event_id for event in posted}) == len(fills) + 1


def test_a_second_look_at_the_same_moment_freezes_nothing_new(daemon: Daemon, instance: dg.DagsterInstance) -> None:
    drop(daemon)
    daemon.tick()
    twin = Daemon(daemon.parts, instance)
    twin.cursor = daemon.cursor
    first = daemon.tick().run_requests or []
    second = twin.tick().run_requests or []
    assert [request.run_key for request in first] == [request.run_key for request in second]
