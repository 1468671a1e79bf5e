"""Research as Dagster runs it: a day, its checks, folds in a pool and one by one."""

import json
import math
from datetime import timedelta

import dagster as dg
import pandas as pd
import pytest

from assets.research import replay as leakage
from assets.research import sources
from assets.research.archive import latest_key, step_key, summary_key
from assets.research.assets import daily_assets, folds
from assets.research.publication import decide_day
from assets.research.research_desk import ResearchDesk
from assets.research.steps import SOURCES, STEPS
from assets.research.validation_runs import available_folds
from pipelines.definitions import build
from resources.clock import ManualClock
from resources.documents import dump_document
from resources.settings import Settings
from tests.memory_store import MemoryStore
from tests.research_parts import (
    SYMBOL,
    TINY,
    TODAY,
    ScriptedHistory,
    hourly,
    interest,
    midnight,
    research_on,
    settlements,
    surface,
    with_value,
    without_hours,
)

DAY = timedelta(days=1)
LAST = TODAY + 29 * DAY
CHECKS = ("schema_holds", "monotonic_utc", "no_gaps", "fresh")


class Desk:
    """A research desk under Dagster, and what a run on it came to."""

    def __init__(self, instance, store=None, history=None, day=TODAY, **settings):
        self.instance, self.day = instance, day
        self.store = store or MemoryStore()
        self.settings = Settings(store=self.store.url, research_symbols=(SYMBOL,), **settings)
        self.clock = ManualClock(midnight(day) + timedelta(minutes=20))
        self.history = history or ScriptedHistory()

    def run(self, job, *assets, partition=None, raise_on_error=True):
        desk = ResearchDesk(self.settings, self.store, self.clock, self.history, TINY)
        return (
            build({"desk": None, "research": desk})
            .resolve_job_def(job)
            .execute_in_process(
                instance=self.instance,
                partition_key=partition,
                asset_selection=[dg.AssetKey(name) for name in assets] or None,
                raise_on_error=raise_on_error,
            )
        )

    def decide(self, *assets, **options):
        return self.run("research_daily", *assets, partition=self.day.isoformat(), **options)


def verdicts(result):
    return {
        (each.asset_key.to_user_string(), each.check_name): each.passed for each in result.get_asset_check_evaluations()
    }


def failed(result):
    return {key for key, passed in verdicts(result).items() if not passed}


def materialized(result):
    return [event.asset_key.to_user_string() for event in result.get_asset_materialization_events()]


@pytest.fixture(scope="module")
def trained_store():
    store = MemoryStore()
    decide_day(research_on(TODAY - DAY, store), SYMBOL, TODAY - DAY)
    return store


@pytest.fixture
def desk(instance, trained_store):
    return Desk(instance, trained_store.copy())


# --- a day ---------------------------------------------------------------------------------------------------------


def test_a_day_runs_from_nothing_and_all_its_checks_pass(instance):
    """The objects are those that the command line writes."""
    desk = Desk(instance)
    result = desk.decide()
    assert result.success
    assert sorted(materialized(result)) == sorted([*SOURCES, "research_models", "exit_rule", *STEPS])
    assert len(materialized(result)) == len(daily_assets)
    ran = verdicts(result)
    assert set(ran) == {
        *((source, check) for source in SOURCES for check in CHECKS if (source, check) != ("slippage_log", "no_gaps")),
        ("feature_extraction", "features_unleaked"),
        ("position_management", "decision_within_bounds"),
        ("weekly_calibration", "decision_replays"),
    }
    assert failed(result) == set()
    direct = MemoryStore()
    decide_day(research_on(TODAY, direct), SYMBOL, TODAY)
    assert desk.store.contents() == direct.contents()
    assert json.loads(desk.store.read(latest_key("SIMULATED", SYMBOL)).data)["day"] == TODAY.isoformat()


def test_a_second_run_of_the_day_changes_nothing(desk):
    desk.decide()
    before = desk.store.contents()
    assert desk.decide().success
    assert desk.store.contents() == before


def test_steps_run_in_the_briefs_order(desk):
    ran = [name for name in materialized(desk.decide()) if name in STEPS]
    assert ran == list(STEPS)


def test_a_day_whose_bars_stopped_is_decided_off_and_says_so(instance, trained_store):
    bars = hourly()
    stopped = bars[bars["timestamp_utc"] < midnight(TODAY) - timedelta(hours=31)].reset_index(drop=True)
    desk = Desk(instance, trained_store.copy(), ScriptedHistory(stopped))
    result = desk.decide()
    assert result.success, "a run that stopped would leave yesterday's decision standing"
    assert {("bars_1h", "fresh"), ("bars_1h", "no_gaps"), ("daily_close", "no_gaps")} <= failed(result)
    assert not {check for check in failed(result) if check[0] in STEPS}
    gate = json.loads(desk.store.read(step_key("SIMULATED", SYMBOL, TODAY, "regime_gate")).data)
    assert gate["result"]["day"]["state"] == "GATE-OFF"


# --- each check fails on what it is there for ----------------------------------------------------------------------

AT = midnight(TODAY - 9 * DAY)


def changed(table, **values):
    return table.assign(**{name: change(table[name]) for name, change in values.items()})


BAD = {
    "bars_1h schema: NaN": (lambda: ScriptedHistory(with_value(hourly(), AT, "close", math.nan)), "schema_holds"),
    "bars_1h schema: price": (lambda: ScriptedHistory(with_value(hourly(), AT, "close", 0.0)), "schema_holds"),
    "bars_1h schema: columns": (lambda: ScriptedHistory(hourly().rename(columns={"close": "last"})), "schema_holds"),
    "bars_1h order": (lambda: ScriptedHistory(hourly().iloc[::-1].reset_index(drop=True)), "monotonic_utc"),
    "bars_1h twice": (
        lambda: ScriptedHistory(pd.concat([hourly().iloc[:6000], hourly().iloc[5999:]], ignore_index=True)),
        "monotonic_utc",
    ),
    "bars_1h gap": (lambda: ScriptedHistory(without_hours(hourly(), AT, 3)), "no_gaps"),
    "bars_1h late": (lambda: ScriptedHistory(without_hours(hourly(), midnight(TODAY) - DAY / 12, 2)), "no_gaps"),
    "bars_1h stale": (lambda: ScriptedHistory(without_hours(hourly(), midnight(TODAY) - 2 * DAY, 48)), "fresh"),
    "daily_close gap": (lambda: ScriptedHistory(without_hours(hourly(), AT, 3)), "no_gaps"),
    "daily_close stale": (lambda: ScriptedHistory(without_hours(hourly(), midnight(TODAY) - 3 * DAY, 72)), "fresh"),
    "daily_close none": (lambda: ScriptedHistory(with_value(hourly(), AT, "close", math.nan)), "schema_holds"),
    "funding_24h schema": (
        lambda: ScriptedHistory(settled=with_value(settlements(), AT, "funding_rate", math.nan)),
        "schema_holds",
    ),
    "funding_24h order": (lambda: ScriptedHistory(settled=settlements().iloc[::-1]), "monotonic_utc"),
    "funding_24h gap": (
        lambda: ScriptedHistory(settled=settlements()[settlements()["timestamp_utc"] != AT]),
        "no_gaps",
    ),
    "funding_24h stale": (
        lambda: ScriptedHistory(settled=settlements()[settlements()["timestamp_utc"] < AT]),
        "fresh",
    ),
    "oi_24h schema": (lambda: ScriptedHistory(levels=with_value(interest(), AT, "oi_usd", -1.0)), "schema_holds"),
    "oi_24h order": (lambda: ScriptedHistory(levels=interest().iloc[::-1]), "monotonic_utc"),
    "oi_24h gap": (lambda: ScriptedHistory(levels=interest()[interest()["date_utc"] != AT]), "no_gaps"),
    "oi_24h stale": (lambda: ScriptedHistory(levels=interest()[interest()["date_utc"] < AT]), "fresh"),
    "options_moves schema": (
        lambda: ScriptedHistory(options=with_value(surface(), AT, "rr25d", math.inf)),
        "schema_holds",
    ),
    "options_moves order": (lambda: ScriptedHistory(options=surface().iloc[::-1]), "monotonic_utc"),
    "options_moves gap": (lambda: ScriptedHistory(options=surface()[surface()["date_utc"] != AT]), "no_gaps"),
    "options_moves stale": (lambda: ScriptedHistory(options=surface()[surface()["date_utc"] < AT]), "fresh"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_an_integrity_check_fails_on_the_data_it_is_there_for(instance, case):
    source, (history, check) = case.split(" ")[0], BAD[case]
    result = Desk(instance, history=history()).decide("bars_1h", source)
    assert result.success
    assert (source, check) in failed(result)


class Ahead(ScriptedHistory):
    """A source that hands over the bar under way."""

    def hourly_bars(self, symbol, start, end):
        return super().hourly_bars(symbol, start, end + timedelta(hours=1))


class Naive(ScriptedHistory):
    """A source that has forgotten its time zone."""

    def hourly_bars(self, symbol, start, end):
        bars = super().hourly_bars(symbol, start, end)
        return bars.assign(timestamp_utc=bars["timestamp_utc"].dt.tz_localize(None))


class Elsewhere(ScriptedHistory):
    """A source that speaks of Tokyo's hours."""

    def hourly_bars(self, symbol, start, end):
        bars = super().hourly_bars(symbol, start, end)
        return bars.assign(timestamp_utc=bars["timestamp_utc"].dt.tz_convert("Asia/Tokyo"))


@pytest.mark.parametrize(
    ("history", "check"), [(Ahead, "fresh"), (Naive, "monotonic_utc"), (Elsewhere, "monotonic_utc")]
)
def test_a_source_that_breaks_its_promise_of_time_fails_its_check(instance, history, check):
    result = Desk(instance, history=history()).decide("bars_1h")
    assert failed(result) == {("bars_1h", check)}


def test_an_absent_optional_table_fails_nothing(instance):
    history = ScriptedHistory(settled=settlements().iloc[:0], levels=None, options=None)
    result = Desk(instance, history=history).decide("funding_24h", "oi_24h", "options_moves", "slippage_log")
    assert len(verdicts(result)) == 15
    assert failed(result) == set()


def test_slippage_that_cannot_be_fails_its_checks(desk, monkeypatch):
    table = pd.DataFrame(
        {
            "date_utc": pd.DatetimeIndex([midnight(TODAY), midnight(TODAY - 3 * DAY)]).as_unit("us"),
            "symbol": SYMBOL,
            "side": "HOLD",
            "size": -1.0,
            "est_impact_bp": math.nan,
        }
    )
    monkeypatch.setattr(sources, "slippage_log", lambda *_: table)
    # A log has no rows that are due, so no gaps; it may be out of order and speak of the future.
    assert failed(desk.decide("slippage_log")) == {
        ("slippage_log", name) for name in ("schema_holds", "monotonic_utc", "fresh")
    }


def rewrite(store, step, change):
    key = step_key("SIMULATED", SYMBOL, TODAY, step)
    document = json.loads(store.read(key).data)
    change(document["result"])
    store.write(key, dump_document(document))


def close_gate(result):
    result["day"].update(state="GATE-OFF")


def hold(exposure):
    return lambda result: result["settlement"]["book"].update(exposure=exposure)


@pytest.mark.parametrize(
    "changes",
    [
        {"position_management": hold(1.5)},
        {"bias_computation": lambda result: result.update(value=-1.01)},
        {"regime_gate": lambda result: result["day"].update(probability=1.2)},
        {"regime_gate": close_gate, "position_management": hold(0.4)},
    ],
    ids=["exposure", "bias", "probability", "opened behind a closed gate"],
)
def test_a_decision_out_of_bounds_fails_its_check_and_its_replay(desk, changes):
    desk.decide()
    for step, change in changes.items():
        rewrite(desk.store, step, change)
    found = failed(desk.decide("position_management", "weekly_calibration"))
    assert found == {("position_management", "decision_within_bounds"), ("weekly_calibration", "decision_replays")}


def test_a_feature_that_looks_ahead_fails_its_check(desk, monkeypatch):
    desk.decide()
    honest = leakage.panel_of

    def peeking(symbol, tables):
        panel = honest(symbol, tables)
        panel.features["sig_0"] += tables.bars_1h["close"].iloc[-1]
        return panel

    monkeypatch.setattr(leakage, "panel_of", peeking)
    assert failed(desk.decide("feature_extraction")) == {("feature_extraction", "features_unleaked")}


# --- what fails says why -------------------------------------------------------------------------------------------


def error_of(result):
    (event,) = [event for event in result.all_events if event.event_type_value == "STEP_FAILURE"]
    return event.event_specific_data.user_failure_data or event.event_specific_data.error


def test_a_training_window_with_a_hole_and_no_older_models_is_a_failure_that_names_it(instance):
    hole = midnight(TODAY - 100 * DAY)
    result = Desk(instance, history=ScriptedHistory(without_hours(hourly(), hole, 24 * 30))).decide(
        "research_models", raise_on_error=False
    )
    assert not result.success
    said = error_of(result)
    assert f"{hole:%Y-%m-%d}" in str(getattr(said, "description", said))


def test_a_tampered_table_is_a_failure_that_names_it(desk):
    desk.decide()
    key = next(key for key in desk.store.contents() if key.endswith(".parquet"))
    for key in [key for key in desk.store.contents() if "/tables/" in key]:
        desk.store.write(key, b"other bytes")
    result = desk.decide("weekly_calibration", raise_on_error=False)
    assert not result.success
    said = error_of(result)
    assert "sha256" in str(getattr(said, "description", said))


# --- folds ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_folds():
    """The last two folds of a history that holds no earlier one."""
    history = ScriptedHistory()
    planned = available_folds(research_on(LAST, MemoryStore(), history), SYMBOL, LAST)[-2:]
    start = midnight(planned[0].train_start - 9 * DAY)
    bars = history.bars[history.bars["timestamp_utc"] >= start].reset_index(drop=True)
    return planned, ScriptedHistory(bars)


def test_folds_from_a_pool_and_from_partitions_are_the_same_objects(two_folds):
    planned, history = two_folds
    with dg.DagsterInstance.ephemeral() as instance:
        pool = Desk(instance, history=history, day=LAST, walk_forward_workers=1)
        result = pool.run("walk_forward_pool")
        names = [f"{SYMBOL}_{fold.name}" for fold in planned]
        assert instance.get_dynamic_partitions(folds.name) == names
        reported = [
            event.partition
            for event in result.get_asset_materialization_events()
            if event.asset_key == dg.AssetKey("walk_forward_report")
        ]
        assert reported == names
        summary = json.loads(pool.store.read(summary_key("SIMULATED", SYMBOL)).data)
        assert [fold["fold"]["test_start"] for fold in summary["folds"]] == [fold.name for fold in planned]
        alone = Desk(instance, history=history, day=LAST)
        shown = alone.run("walk_forward_folds", partition=names[1])
        assert verdicts(shown).keys() == {("walk_forward_report", "acceptance")}
        accepted = summary["folds"][1]["accepted"]
        assert verdicts(shown)["walk_forward_report", "acceptance"] is accepted
        written = {key: data for key, data in alone.store.contents().items() if key != summary_key("SIMULATED", SYMBOL)}
        assert len(written) >= 6
        assert written.items() <= pool.store.contents().items()
        # Acceptance is read from the report: one that was accepted passes, one that was not fails.
        key = next(key for key in alone.store.contents() if key.endswith("/report.json"))
        report = json.loads(alone.store.read(key).data)
        for passed in (True, False):
            for verdict in report["result"]["verdicts"]:
                verdict["passed"] = passed
            alone.store.write(key, dump_document(report))
            again = alone.run("walk_forward_folds", "walk_forward_report", partition=names[1])
            assert verdicts(again)["walk_forward_report", "acceptance"] is passed


def test_a_partition_that_is_no_fold_is_a_failure_that_says_which_would_be(instance, two_folds):
    planned, history = two_folds
    wrong = f"{SYMBOL}_{planned[0].test_start + DAY}"
    instance.add_dynamic_partitions(folds.name, [wrong])
    result = Desk(instance, history=history, day=LAST).run(
        "walk_forward_folds", "walk_forward_features", partition=wrong, raise_on_error=False
    )
    assert not result.success
    assert planned[0].name in str(getattr(error_of(result), "description", ""))
