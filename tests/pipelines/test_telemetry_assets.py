"""Telemetry as Dagster runs it: a day from its records, checks that pass and fail, and a second run for nothing."""

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

import dagster as dg
import pytest

from assets.days import trading_days
from assets.telemetry.assets import backtest_report, metrics_ticks, service_levels_asset, telemetry_assets
from assets.telemetry.checks import telemetry_checks
from assets.telemetry.day_record import Sample, day_key, performance_key, sample_rows, samples_key, tick_lines
from assets.telemetry.metric_tick import MetricTick
from assets.telemetry.telemetry_desk import TelemetryDesk
from assets.telemetry.telemetry_log import append_tick, ticks_key
from resources.clock import ManualClock
from resources.documents import Document, dump_document
from resources.settings import Settings
from tests.assets.telemetry.day_parts import DAY, MARKS, SECOND, T0, a_day, day_document, end_of, store_day, whole_day
from tests.memory_store import MemoryStore

KEY = DAY.isoformat()
REPORT = f"reports/paper_simulated_{KEY}"
TICKS = day_key("simulated", DAY, "recomputed.jsonl")
LEVELS = day_key("simulated", DAY, "service_levels.json")
CHECKS = {"ticks_follow_schema", "ticks_match_log", "levels_met", "report_identities", "results_plausible"}


@pytest.fixture
def store() -> MemoryStore:
    """With a few valuations of the day."""
    made = MemoryStore()
    store_day(made, day_document(a_day()))
    return made


def desk_of(store: MemoryStore) -> TelemetryDesk:
    return TelemetryDesk(Settings(), store, ManualClock(datetime(2026, 3, 2, 1, tzinfo=UTC)))


def run(
    store: MemoryStore, instance: dg.DagsterInstance, *assets: dg.AssetsDefinition, fails: bool = False
) -> dg.ExecuteInProcessResult:
    chosen = assets or tuple(telemetry_assets)
    keys = {key for each in chosen for key in each.keys}
    checks = [check for check in telemetry_checks if {key.asset_key for key in check.check_keys} <= keys]
    return dg.materialize(
        [*chosen, *checks],
        partition_key=KEY,
        instance=instance,
        resources={"telemetry": desk_of(store)},
        raise_on_error=not fails,
    )


def verdicts(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {each.check_name: each for each in result.get_asset_check_evaluations()}


def test_a_day_is_measured_judged_and_a_second_run_changes_nothing(instance: dg.DagsterInstance) -> None:
    store = MemoryStore()
    store_day(store, day_document(whole_day(a_day())))
    first = run(store, instance)
    found = verdicts(first)
    assert set(found) == CHECKS
    passed = {name for name, each in found.items() if each.passed}
    assert passed == CHECKS - {"levels_met"}
    undecided = found["levels_met"]
    assert undecided.severity is dg.AssetCheckSeverity.WARN
    assert undecided.description is not None
    assert "undecided: uptime, no trader had ever beaten by the end of the window" in undecided.description
    assert found["ticks_match_log"].description == (
        "1440 ticks recomputed; 0 resident ticks compared; 0 of them one valuation behind"
    )
    assert found["report_identities"].metadata["valuations_with_nothing_held"].value == 5
    assert "missing_rows" in found["results_plausible"].metadata["forced"].value  # type: ignore[operator]
    assert first.asset_materializations_for_node("backtest_report")[0].metadata["final_equity"].value == 19993.983
    assert first.asset_materializations_for_node("metrics_ticks")[0].metadata["dagster/row_count"].value == 1440
    before = store.contents()
    assert {key for key in before if key.startswith(("reports", "telemetry"))} == {
        f"{REPORT}/equity_curve.csv",
        f"{REPORT}/results.json",
        f"{REPORT}/signals.csv",
        f"{REPORT}/trades.csv",
        day_key("simulated", DAY, "monitor.json"),
        TICKS,
        LEVELS,
        LEVELS.replace(".json", ".csv"),
    }
    assert run(store, instance).success
    assert store.contents() == before


@pytest.mark.parametrize("asset", telemetry_assets, ids=lambda asset: asset.key.to_user_string())
def test_a_day_of_which_nothing_is_recorded_fails_with_a_sentence(
    asset: dg.AssetsDefinition, instance: dg.DagsterInstance
) -> None:
    result = run(MemoryStore(), instance, asset, fails=True)
    assert not result.success
    (failed,) = (event for event in result.all_events if event.event_type_value == "STEP_FAILURE")
    failure = failed.step_failure_data
    assert failure.user_failure_data is not None
    assert failure.user_failure_data.description is not None
    assert failure.user_failure_data.description.startswith(
        "Nothing is recorded of 2026-03-01 yet: arbitrage/simulated/2026-03-01/performance.json is made by"
    )


def refusal(result: dg.ExecuteInProcessResult) -> str:
    assert not result.success
    (failed,) = (event for event in result.all_events if event.event_type_value == "STEP_FAILURE")
    data = failed.step_failure_data.user_failure_data
    assert data is not None
    return str(data.description)


def test_a_position_without_a_closing_mark_makes_no_report(instance: dg.DagsterInstance) -> None:
    store = MemoryStore()
    store_day(store, day_document(a_day(), marks=MARKS | {"bybit:BTCUSDT": None}))
    said = refusal(run(store, instance, backtest_report, fails=True))
    assert said.endswith("2026-03-01-3 still holds -0.1 of bybit:BTCUSDT, which has no closing mark")


def test_another_report_under_the_name_is_left_as_it_is(store: MemoryStore, instance: dg.DagsterInstance) -> None:
    store.create(f"{REPORT}/trades.csv", b"somebody else's\n")
    assert "holds another report" in refusal(run(store, instance, backtest_report, fails=True))
    assert store.read(f"{REPORT}/trades.csv").data == b"somebody else's\n"


def changed(store: MemoryStore, key: str, old: bytes, new: bytes) -> None:
    data = store.read(key).data
    assert old in data
    store.write(key, data.replace(old, new, 1))


def break_schema(store: MemoryStore) -> None:
    changed(store, TICKS, b'"win_rate_1h":null', b'"win_rate_1h":1.5')


def break_ticks(store: MemoryStore) -> None:
    changed(store, TICKS, b'"fees":15.017', b'"fees":15.018')


def add_foreign_tick(store: MemoryStore) -> None:
    unknown = (None, None, None, None, None)
    append_tick(
        store, "simulated", MetricTick(Decimal(1), Decimal(2), *unknown, Decimal(0), (T0 + 510 * SECOND) // 10**6), 10
    )


@pytest.mark.parametrize(
    ("breaking", "check", "reason"),
    [
        (break_schema, "ticks_follow_schema", "win_rate_1h"),
        (break_ticks, "ticks_match_log", "not those that its records give"),
        (add_foreign_tick, "ticks_match_log", "has fees 1 and realized 2, in the log 15.017 and -6.517"),
    ],
)
def test_ticks_that_are_not_of_the_log_fail_their_check(
    store: MemoryStore,
    instance: dg.DagsterInstance,
    breaking: Callable[[MemoryStore], None],
    check: str,
    reason: str,
) -> None:
    assert run(store, instance, metrics_ticks).success
    breaking(store)
    result = verdicts(run(store, instance, metrics_ticks))[check]
    assert not result.passed
    assert result.severity is dg.AssetCheckSeverity.ERROR
    assert result.description is not None
    assert reason in result.description


def test_a_resident_tick_of_the_log_passes_and_is_counted(store: MemoryStore, instance: dg.DagsterInstance) -> None:
    assert run(store, instance, metrics_ticks).success
    lines = store.read(TICKS).data.splitlines(keepends=True)
    store.write(ticks_key("simulated", DAY), b"".join(lines[3:5]))
    result = verdicts(run(store, instance, metrics_ticks))["ticks_match_log"]
    assert result.passed
    assert result.metadata["resident ticks compared"].value == 2


def test_levels_pass_when_all_are_met_and_say_which_is_breached(
    store: MemoryStore, instance: dg.DagsterInstance
) -> None:
    end = end_of(DAY)
    quiet: Document = {"slippage_bps_p50": None, "latency_ms_p95": None, "win_rate_1h": None, "drawdown_daily": None}
    zero = {"fees": Decimal(0), "realized": Decimal(0), "unrealized": Decimal(0), "errors_rate": Decimal(0)}
    beats = [MetricTick(**zero | quiet, time_ms=(end - n * 10 * SECOND) // 10**6) for n in range(250, 0, -1)]
    store.write(ticks_key("simulated", DAY), tick_lines(beats))
    samples = [Sample(end - n * SECOND, 10**7, 10**6, f"signals:paper#{n:08x}") for n in range(1_200)]
    store.write(samples_key("simulated"), dump_document({"state": {"samples": sample_rows(samples)}}))
    met = verdicts(run(store, instance, service_levels_asset))["levels_met"]
    assert met.passed
    assert met.metadata["met"].value == 4
    changed(store, LEVELS, b'"met":true,"name":"stream_lag_p95"', b'"met":false,"name":"stream_lag_p95"')
    breached = verdicts(run(store, instance, service_levels_asset))["levels_met"]
    assert not breached.passed
    assert breached.description == "breached: stream_lag_p95 is 0.001 s, promised <= 1"


@pytest.mark.parametrize("file", ["trades.csv", "equity_curve.csv", "signals.csv"])
def test_a_report_file_that_was_changed_is_left_and_its_run_fails(
    store: MemoryStore, instance: dg.DagsterInstance, file: str
) -> None:
    assert run(store, instance, backtest_report).success
    store.write(f"{REPORT}/{file}", store.read(f"{REPORT}/{file}").data + b"\n")
    assert "holds another report" in refusal(run(store, instance, backtest_report, fails=True))


class Tampered(MemoryStore):
    """Where results.json is another between the step that writes it and the check that reads it."""

    def __init__(self, old: bytes, new: bytes) -> None:
        super().__init__()
        self._old, self._new = old, new

    def create(self, key: str, data: bytes) -> str:
        if key.endswith("results.json"):
            assert self._old in data
            data = data.replace(self._old, self._new, 1)
        return super().create(key, data)


@pytest.mark.parametrize(
    ("name", "old", "new", "reason"),
    [
        ("report_identities", b'"final_equity":19993.983', b'"final_equity":19994.983', "final_equity is stated as"),
        ("results_plausible", b'"win_rate":0.000000', b'"win_rate":140', "results.json out_of_range figure=win_rate"),
    ],
)
def test_results_that_were_changed_fail_their_check(
    instance: dg.DagsterInstance, name: str, old: bytes, new: bytes, reason: str
) -> None:
    store = Tampered(old, new)
    store_day(store, day_document(a_day()))
    result = verdicts(run(store, instance, backtest_report))[name]
    assert not result.passed
    assert result.description is not None
    assert reason in result.description


def test_a_record_that_cannot_be_measured_with_fails_its_run(instance: dg.DagsterInstance) -> None:
    store = MemoryStore()
    records = a_day()
    records[1]["realized"] = None
    store.create(performance_key("simulated", DAY), dump_document(day_document(records)))
    assert refusal(run(store, instance, metrics_ticks, fails=True)) == "BadTelemetry: realized: missing"


@pytest.mark.parametrize("asset", telemetry_assets, ids=lambda asset: asset.key.to_user_string())
def test_every_asset_says_whose_it_is_and_what_its_columns_are(asset: dg.AssetsDefinition) -> None:
    spec = asset.get_asset_spec()
    assert spec.group_name == "telemetry"
    assert spec.owners == ["team:telemetry"]
    assert spec.description
    assert spec.partitions_def == trading_days
    schema = spec.metadata["dagster/column_schema"]
    assert isinstance(schema, dg.TableSchema)
    assert all(column.description for column in schema.columns)


def test_lineage_begins_with_the_portfolio_of_the_paper_trader() -> None:
    above = {
        asset.key.to_user_string(): {dep.asset_key.to_user_string() for dep in asset.get_asset_spec().deps}
        for asset in telemetry_assets
    }
    assert above == {
        "metrics_ticks": {"arbitrage_portfolio"},
        "service_levels": {"metrics_ticks"},
        "backtest_report": {"arbitrage_portfolio"},
    }
    assert trading_days.get_first_partition_key() == "2022-12-01"
    assert trading_days.get_partition_keys(datetime(2026, 3, 2, 1, tzinfo=UTC))[-1] == KEY  # a day that is over


def test_loading_the_assets_loads_no_library_that_only_a_run_needs() -> None:
    code = (
        "import sys, assets.telemetry.assets, assets.telemetry.checks; "
        "print(sorted({'pandas', 'numpy', 'redis', 'jsonschema', 'prometheus_client'} & set(sys.modules)))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"
