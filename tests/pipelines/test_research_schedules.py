"""When research runs: midnight's schedule asks for its own day, the sensor for the day that was missed."""

from datetime import date, timedelta

import dagster as dg
import pytest

from assets.desk.artifacts import LATEST_EXECUTED
from assets.research.archive import latest_key, step_key, summary_key
from assets.research.assets import decision_days
from assets.research.research_desk import ResearchDesk
from assets.research.steps import STEPS
from pipelines.definitions import build
from pipelines.schedules import daily_walk_forward, research_at_midnight
from pipelines.sensors import PARTITION_TAG, T0_TAG, decision_sensor, first_walk_forward_sensor, undecided
from resources.clock import ManualClock
from resources.documents import dump_document
from resources.settings import Settings
from resources.store.local import LocalStore
from tests.memory_store import MemoryStore
from tests.research_parts import SYMBOL, TODAY, ScriptedHistory, midnight

DAY = timedelta(days=1)


# --- the schedule --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("day", [date(2024, 10, 27), date(2024, 12, 31), date(2025, 1, 1), date(2024, 2, 29)])
def test_midnight_asks_for_the_day_that_begins(day):
    with dg.build_schedule_context(scheduled_execution_time=midnight(day)) as context:
        request = research_at_midnight(context)
    assert (request.partition_key, request.run_key) == (day.isoformat(), day.isoformat())
    assert request.partition_key in decision_days.get_partition_keys(midnight(day)), "the partition is there already"


def test_a_day_has_its_partition_from_its_own_midnight_and_not_a_second_earlier():
    day = date(2025, 1, 1)
    assert decision_days.get_partition_keys(midnight(day))[-1] == "2025-01-01"
    assert decision_days.get_partition_keys(midnight(day) - timedelta(seconds=1))[-1] == "2024-12-31"
    assert decision_days.get_first_partition_key() == "2019-01-01"


def test_the_decision_comes_at_midnight_utc_and_the_folds_after_it():
    assert (research_at_midnight.cron_schedule, research_at_midnight.execution_timezone) == ("0 0 * * *", "UTC")
    assert (daily_walk_forward.cron_schedule, daily_walk_forward.execution_timezone) == ("30 0 * * *", "UTC")
    assert research_at_midnight.job_name == "research_daily"
    for schedule in (research_at_midnight, daily_walk_forward):
        assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING


# --- the sensor ----------------------------------------------------------------------------------------------------


class Morning:
    """A desk some time into ``TODAY`` and what the daemon asks of its sensor."""

    def __init__(self, store, instance, repository):
        self.store, self.instance, self.repository = store, instance, repository
        self.clock = ManualClock(midnight(TODAY) + timedelta(minutes=15))
        self.settings = Settings(store=store.url, research_symbols=(SYMBOL, "ETHUSDT"))
        self.cursor = "waited"

    def tick(self, sensor=decision_sensor):
        """The run asked for, or what is said instead; the cursor is kept as the daemon keeps it."""
        desk = ResearchDesk(self.settings, self.store, self.clock, ScriptedHistory())
        with dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, resources={"research": desk}, repository_def=self.repository
        ) as context:
            found = sensor.evaluate_tick(context)
        self.cursor = found.cursor
        assert bool(found.run_requests) != bool(found.skip_message)
        return found.run_requests[0] if found.run_requests else found.skip_message

    def decide(self, symbol, day=TODAY):
        self.store.write(latest_key("SIMULATED", symbol), dump_document({"day": day.isoformat()}))

    def run(self, status, day=TODAY, **tags):
        self.instance.create_run_for_job(
            self.repository.get_job("research_daily"),
            status=status,
            tags={PARTITION_TAG: day.isoformat(), **tags},
        )


@pytest.fixture(scope="module")
def repository():
    return build({"desk": None, "research": None}).get_repository_def()


@pytest.fixture
def morning(instance, repository):
    store = MemoryStore()
    store.write(LATEST_EXECUTED, dump_document({}))
    return Morning(store, instance, repository)


def test_an_undecided_day_is_asked_for(morning):
    asked = morning.tick()
    assert isinstance(asked, dg.RunRequest)
    assert (asked.partition_key, asked.run_key) == (TODAY.isoformat(), f"{TODAY}:1")
    assert asked.tags[T0_TAG] == TODAY.isoformat()


def test_the_schedule_has_the_first_ten_minutes(morning):
    morning.clock.move_to(midnight(TODAY))
    assert "midnight's own run" in morning.tick()
    morning.clock.move_to(midnight(TODAY) + timedelta(minutes=9, seconds=59))
    assert "midnight's own run" in morning.tick()
    morning.clock.sleep(1)
    assert isinstance(morning.tick(), dg.RunRequest)


def test_the_first_rebalance_of_a_fresh_desk_comes_first_and_then_no_longer(morning):
    morning.store.delete(LATEST_EXECUTED)
    morning.cursor = None
    assert "first rebalance" in morning.tick()
    assert isinstance(morning.tick(), dg.RunRequest), "no desk without signals waits for ever"


def test_a_day_decided_for_every_symbol_is_left_alone(morning):
    morning.decide(SYMBOL)
    assert isinstance(morning.tick(), dg.RunRequest)
    morning.decide("ETHUSDT")
    assert morning.tick() == "today's decision is made"


def test_yesterdays_decision_is_not_todays(morning):
    for symbol in (SYMBOL, "ETHUSDT"):
        morning.decide(symbol, TODAY - DAY)
    assert isinstance(morning.tick(), dg.RunRequest)


@pytest.mark.parametrize(
    "status", [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
)
def test_a_run_under_way_is_waited_for(morning, status):
    morning.run(status)
    assert "a run is under way" in morning.tick()


def test_the_failed_run_of_midnight_is_no_attempt_of_the_sensor(morning):
    morning.run(dg.DagsterRunStatus.FAILURE)
    asked = morning.tick()
    assert isinstance(asked, dg.RunRequest)
    assert asked.run_key == f"{TODAY}:1"


def test_attempts_are_counted_and_end(morning):
    for attempt in range(1, morning.settings.max_attempts + 1):
        asked = morning.tick()
        assert asked.run_key == f"{TODAY}:{attempt}"
        morning.run(dg.DagsterRunStatus.FAILURE, **asked.tags)
    assert "attempts are spent" in morning.tick()
    morning.clock.move_to(morning.clock.now() + DAY)
    assert morning.tick().run_key == f"{TODAY + DAY}:1"


def test_a_decision_under_another_source_does_not_count(tmp_path):
    store = LocalStore(tmp_path)
    desk = ResearchDesk(Settings(store=store.url, research_symbols=(SYMBOL,)), store)
    store.write(latest_key("RECORDED", SYMBOL), dump_document({"day": TODAY.isoformat()}))
    assert undecided(desk, TODAY) == [SYMBOL]
    # Every step may be there: until it is published, the screen shows another day.
    store.write(step_key("SIMULATED", SYMBOL, TODAY, STEPS[-1]), b"{}")
    assert undecided(desk, TODAY) == [SYMBOL]
    store.write(latest_key("SIMULATED", SYMBOL), dump_document({"day": TODAY.isoformat()}))
    assert undecided(desk, TODAY) == []


def test_the_first_walk_forward_waits_for_the_days_decision_and_is_asked_for_once(morning):
    assert morning.tick(first_walk_forward_sensor) == "today's decision comes first"
    morning.decide(SYMBOL)
    morning.decide("ETHUSDT")
    asked = morning.tick(first_walk_forward_sensor)
    assert isinstance(asked, dg.RunRequest)
    assert morning.tick(first_walk_forward_sensor).run_key == asked.run_key, "the daemon runs a key once"
    for symbol in (SYMBOL, "ETHUSDT"):
        morning.store.write(summary_key("SIMULATED", symbol), b"{}")
    assert morning.tick(first_walk_forward_sensor) == "every symbol has been validated"
