"""What the code server loads, built the way it builds it."""

import itertools
import subprocess
import sys
import tomllib
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.definitions.metadata import CodeReferencesMetadataValue
from dagster._core.definitions.repository_definition import RepositoryDefinition
from dagster._core.workspace.load import location_origins_from_yaml_paths

from assets.research.steps import SOURCES, STEPS
from pipelines.definitions import build, defs

PROJECT = Path(__file__).parents[2]

RUN_ASSETS = {"daily_csv", "pre_execution", "sized_orders", "fills", "baseline", "latest_executed"}
EXTERNAL = {"signal_inbox", "latest_prices", "portfolio_value_log"}
OTHERS = {"portfolio_value_history"}
DESK = RUN_ASSETS | EXTERNAL | OTHERS
DAILY = {*SOURCES, "research_models", "exit_rule", *STEPS}
FOLDS = {"walk_forward_features", "walk_forward_report"}
RESEARCH = DAILY | FOLDS | {"walk_forward"}
ARBITRAGE = {"opportunities", "paper_trades", "arbitrage_portfolio", "daily_metrics"}
TELEMETRY = {"metrics_ticks", "service_levels", "backtest_report"}
TRADING = ARBITRAGE | TELEMETRY
GROUPS = {"desk": DESK, "research": RESEARCH, "arbitrage": ARBITRAGE, "telemetry": TELEMETRY}

BLOCKING = {
    "daily_csv": {"content_unchanged"},
    "pre_execution": {"gross_identity", "target_signs", "prices_complete", "pv_pre_before_t0"},
    "sized_orders": {"orders_respect_filters", "reductions_only_reduce", "plan_reaches_targets"},
    "fills": {"fills_match_orders"},
    "baseline": {"baseline_covers_positions", "baseline_after_t0", "value_continuous_at_t1"},
}
SPEAKING_ONLY = {
    "pre_execution": {"sizing_warnings"},
    "baseline": {"positions_explained"},
    "latest_executed": {"content_executed_once", "signal_not_late"},
    "portfolio_value_history": {
        "log_identities",
        "minutes_strictly_rise",
        "base_constant_between_baselines",
        "log_recent",
        "prices_recent",
        "funding_booked",
    },
    **{source: {"schema_holds", "monotonic_utc", "no_gaps", "fresh"} for source in SOURCES if source != "slippage_log"},
    "slippage_log": {"schema_holds", "monotonic_utc", "fresh"},  # no row of it is due, so it has no gaps
    "feature_extraction": {"features_unleaked"},
    "position_management": {"decision_within_bounds"},
    "weekly_calibration": {"decision_replays"},
    "walk_forward_report": {"acceptance"},
    "opportunities": {"signals_were_opportunities"},
    "paper_trades": {
        "naked_legs_alarmed",
        "no_naked_leg",
        "queue_fills_accurate",
        "slippage_realistic",
        "exits_have_reasons",
        "leg_outs_logged",
        "log_replays",
    },
    "arbitrage_portfolio": {"capital_conserved", "pnl_accurate", "ledger_agrees", "next_day_goes_on"},
    "metrics_ticks": {"ticks_follow_schema", "ticks_match_log"},
    "service_levels": {"levels_met"},
    "backtest_report": {"report_identities", "results_plausible"},
}
JOBS = {"rebalance", "upkeep", "research_daily", "walk_forward_pool", "walk_forward_folds", "trading_day"}
SCHEDULES = {
    "hourly_upkeep": "5 * * * *",
    "research_at_midnight": "0 0 * * *",
    "trading_day_after_midnight": "10 0 * * *",
    "daily_walk_forward": "30 0 * * *",
}
SENSORS = {
    "inbox_sensor": "rebalance",
    "decision_sensor": "research_daily",
    "first_walk_forward_sensor": "walk_forward_pool",
}


@pytest.fixture(scope="module")
def repository() -> RepositoryDefinition:
    loaded = defs()
    assert isinstance(loaded, dg.Definitions)
    return loaded.get_repository_def()


def _spec(repository: RepositoryDefinition, name: str) -> dg.AssetSpec:
    return repository.asset_graph.get(dg.AssetKey(name)).to_asset_spec()


def _as_table(checks: set[dg.AssetCheckKey]) -> dict[str, set[str]]:
    table: dict[str, set[str]] = {}
    for key in checks:
        table.setdefault(key.asset_key.to_user_string(), set()).add(key.name)
    return table


def test_exactly_the_assets_of_the_desk_of_research_and_of_the_trader_are_loaded(
    repository: RepositoryDefinition,
) -> None:
    keys = {key.to_user_string() for key in repository.asset_graph.get_all_asset_keys()}
    assert keys == DESK | RESEARCH | TRADING


def test_a_check_blocks_exactly_where_the_next_step_would_build_on_a_wrong_number(
    repository: RepositoryDefinition,
) -> None:
    graph = repository.asset_graph
    blocking = {key for key in graph.asset_check_keys if graph.get_check_spec(key).blocking}
    assert _as_table(blocking) == BLOCKING
    assert _as_table(set(graph.asset_check_keys) - blocking) == SPEAKING_ONLY


def test_jobs_schedules_and_sensors_have_their_names_and_run_from_the_start(repository: RepositoryDefinition) -> None:
    assert {job.name for job in repository.get_all_jobs() if not job.name.startswith("__")} == JOBS
    assert {schedule.name: schedule.cron_schedule for schedule in repository.schedule_defs} == SCHEDULES
    assert {sensor.name: sensor.job_name for sensor in repository.sensor_defs} == SENSORS
    for schedule in repository.schedule_defs:
        assert schedule.execution_timezone == "UTC", schedule.name
        assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING, schedule.name
    for sensor in repository.sensor_defs:
        assert sensor.default_status == dg.DefaultSensorStatus.RUNNING, sensor.name


def test_a_rebalance_runs_in_process_without_retries_and_one_at_a_time(repository: RepositoryDefinition) -> None:
    job = repository.get_job("rebalance")
    assert job.executor_def.name == "in_process"
    assert job.tags["dagster/max_retries"] == "0"
    for name in RUN_ASSETS:
        operation = repository.assets_defs_by_key[dg.AssetKey(name)].op
        assert operation.retry_policy is None, name
        assert operation.pool == (None if name == "daily_csv" else "execution"), name


def test_the_daily_path_is_one_dynamic_partition_a_rebalance(repository: RepositoryDefinition) -> None:
    for name in RUN_ASSETS:
        partitions = repository.asset_graph.get(dg.AssetKey(name)).partitions_def
        assert isinstance(partitions, dg.DynamicPartitionsDefinition), name
        assert partitions.name == "rebalance"


@pytest.mark.parametrize("name", sorted(DAILY))
def test_a_daily_asset_of_research_is_a_partition_a_utc_day(repository: RepositoryDefinition, name: str) -> None:
    partitions = repository.asset_graph.get(dg.AssetKey(name)).partitions_def
    assert isinstance(partitions, dg.DailyPartitionsDefinition)
    assert partitions.timezone == "UTC"
    assert partitions.end_offset == 1


@pytest.mark.parametrize("name", sorted(TRADING))
def test_a_trading_day_is_one_partition_of_all_its_assets_once_it_is_over(
    repository: RepositoryDefinition, name: str
) -> None:
    partitions = repository.asset_graph.get(dg.AssetKey(name)).partitions_def
    assert isinstance(partitions, dg.DailyPartitionsDefinition)
    assert partitions.timezone == "UTC"
    assert partitions.get_first_partition_key() == "2022-12-01"
    assert partitions.end_offset == 0, "of a day that has not ended nothing is made"
    operation = repository.assets_defs_by_key[dg.AssetKey(name)].op
    assert operation.retry_policy is None
    assert operation.pool is None, f"{name} must never wait for the execution slot"


def test_only_what_asks_a_source_is_retried(repository: RepositoryDefinition) -> None:
    """And a fold is one dynamic partition of both of its assets."""
    for name in DAILY | FOLDS:
        operation = repository.assets_defs_by_key[dg.AssetKey(name)].op
        assert (operation.retry_policy is not None) == (name in SOURCES), name
        assert operation.pool is None, f"{name} must never wait for the execution slot"
    for name in FOLDS:
        partitions = repository.asset_graph.get(dg.AssetKey(name)).partitions_def
        assert isinstance(partitions, dg.DynamicPartitionsDefinition), name
        assert partitions.name == "fold"


@pytest.mark.parametrize("name", sorted(DESK | RESEARCH | TRADING))
def test_every_asset_says_what_it_is_and_whose(repository: RepositoryDefinition, name: str) -> None:
    spec = _spec(repository, name)
    (group,) = (group for group, names in GROUPS.items() if name in names)
    assert spec.group_name == group
    assert spec.owners == [f"team:{group}"]
    assert spec.kinds & {"csv", "json", "parquet", "jax"}
    assert spec.description
    assert len(spec.description) > 40


@pytest.mark.parametrize(
    "name",
    [
        *("daily_csv", "pre_execution", "sized_orders", "fills", "portfolio_value_log", "portfolio_value_history"),
        *SOURCES,
        *("opportunities", "paper_trades", "metrics_ticks", "service_levels", "backtest_report"),
    ],
)
def test_a_tabular_asset_describes_each_column(repository: RepositoryDefinition, name: str) -> None:
    schema = _spec(repository, name).metadata["dagster/column_schema"]
    assert isinstance(schema, dg.TableSchema | dg.TableSchemaMetadataValue)
    columns = (schema if isinstance(schema, dg.TableSchema) else schema.schema).columns
    assert len(columns) >= (5 if name in DESK else 2)
    for column in columns:
        assert column.description, f"{name}.{column.name}"


def test_the_log_describes_the_four_columns_of_the_brief_first(repository: RepositoryDefinition) -> None:
    schema = _spec(repository, "portfolio_value_log").metadata["dagster/column_schema"]
    names = [column.name for column in schema.columns]
    assert names[:4] == ["timestamp", "portfolio_value", "daily_pnl", "total_pnl"]


@pytest.mark.parametrize(
    "name",
    sorted(
        RUN_ASSETS | OTHERS | {"research_models", "exit_rule", "walk_forward"} | {"paper_trades", "metrics_ticks"},
    ),
)
def test_an_asset_points_to_the_line_that_makes_it(repository: RepositoryDefinition, name: str) -> None:
    (group,) = (group for group, names in GROUPS.items() if name in names)
    references = _spec(repository, name).metadata["dagster/code_references"]
    assert isinstance(references, CodeReferencesMetadataValue)
    (reference,) = references.code_references
    file = Path(reference.file_path)
    assert file == PROJECT / "assets" / group / "assets.py"
    around = file.read_text().splitlines()[reference.line_number - 1 :][:12]
    assert any(f"def {name}(" in line for line in around)


@pytest.mark.parametrize("name", ["latest_prices", "portfolio_value_log"])
def test_what_the_ticker_writes_turns_stale_after_three_minutes(repository: RepositoryDefinition, name: str) -> None:
    policy = _spec(repository, name).freshness_policy
    assert policy == dg.FreshnessPolicy.time_window(timedelta(minutes=3), timedelta(minutes=2))


def test_every_check_says_what_it_checks(repository: RepositoryDefinition) -> None:
    graph = repository.asset_graph
    silent = [key.name for key in graph.asset_check_keys if not graph.get_check_spec(key).description]
    assert silent == []


def test_the_lineage_has_no_loop_and_leads_from_the_inbox_to_what_is_held(repository: RepositoryDefinition) -> None:
    upstream = {
        key.to_user_string(): {parent.to_user_string() for parent in repository.asset_graph.get(key).parent_keys}
        for key in repository.asset_graph.toposorted_asset_keys
    }
    assert upstream["daily_csv"] == {"signal_inbox"}
    assert upstream["latest_executed"] == {"baseline"}
    assert upstream["portfolio_value_history"] == {"portfolio_value_log"}


def test_the_lineage_of_a_decision_leads_through_all_ten_steps(repository: RepositoryDefinition) -> None:
    upstream = {
        key.to_user_string(): {parent.to_user_string() for parent in repository.asset_graph.get(key).parent_keys}
        for key in repository.asset_graph.toposorted_asset_keys
    }
    assert upstream["data_pull"] == {*SOURCES, "research_models"}
    for before, after in itertools.pairwise(STEPS):
        assert before in upstream[after], f"{after} comes after {before}"
    assert "exit_rule" in upstream["position_management"]
    assert upstream["slippage_log"] == {"fills"}
    assert upstream["walk_forward_report"] == {"walk_forward_features"}


def test_the_lineage_of_a_trading_day_leads_from_its_opportunities_to_its_report(
    repository: RepositoryDefinition,
) -> None:
    upstream = {
        name: {parent.to_user_string() for parent in repository.asset_graph.get(dg.AssetKey(name)).parent_keys}
        for name in TRADING
    }
    assert upstream == {
        "opportunities": set(),
        "paper_trades": {"opportunities"},
        "arbitrage_portfolio": {"paper_trades"},
        "daily_metrics": {"arbitrage_portfolio"},
        "metrics_ticks": {"arbitrage_portfolio"},
        "service_levels": {"metrics_ticks"},
        "backtest_report": {"arbitrage_portfolio"},
    }
    job = repository.get_job("trading_day")
    assert {key.to_user_string() for key in job.asset_layer.executable_asset_keys} == TRADING


def test_the_source_columns_are_those_of_their_contracts(repository: RepositoryDefinition) -> None:
    from assets.research.data.contracts import CONTRACTS

    for name in SOURCES:
        schema = _spec(repository, name).metadata["dagster/column_schema"]
        assert tuple(column.name for column in schema.columns) == CONTRACTS[name].columns


def test_tests_can_put_their_own_desk_in() -> None:
    own = build(resources={"desk": "mine"}).resources
    assert own is not None
    assert own["desk"] == "mine"
    assert own.keys() == {"desk", "research", "arbitrage", "telemetry"}, "a job that needs the other still finds it"


def test_loading_the_definitions_imports_no_heavy_library() -> None:
    program = (
        "import sys, dagster\n"
        "before = set(sys.modules)\n"
        "import pipelines.definitions\n"
        "pipelines.definitions.defs()\n"
        "heavy = {'panel', 'bokeh', 'boto3', 'numpy', 'pandas', 'pyarrow', 'httpx', 'moto', 'PIL'}\n"
        "heavy |= {'jax', 'numba', 'sklearn', 'scipy', 'optax', 'redis', 'prometheus_client', 'textual', 'ccxt'}\n"
        "print(sorted({name.split('.')[0] for name in set(sys.modules) - before} & heavy))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("package", ["pipelines", "assets", "resources", "dashboards"])
def test_a_package_is_ours_and_not_one_of_that_name_from_elsewhere(package: str) -> None:
    found = find_spec(package)
    assert found is not None
    assert found.origin is not None
    assert Path(found.origin).parent == PROJECT / package


def test_workspace_yaml_names_the_definitions() -> None:
    (origin,) = location_origins_from_yaml_paths([str(PROJECT / "workspace.yaml")])
    assert origin.location_name == "signal_desk"
    assert origin.loadable_target_origin.module_name == "pipelines.definitions"


def test_pyproject_has_no_table_that_would_shadow_workspace_yaml() -> None:
    tool = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]
    assert not {"dagster", "dg"} & tool.keys()


def test_dagster_yaml_makes_an_instance_that_runs_one_rebalance_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_bytes((PROJECT / "dagster.yaml").read_bytes())
    with dg.DagsterInstance.from_config(str(tmp_path)) as loaded:
        assert loaded.telemetry_enabled is False
        assert loaded.run_retries_enabled is False
        assert loaded.run_monitoring_enabled is True
        pools = loaded.get_concurrency_config().pool_config
        assert pools.default_pool_limit == 1
        assert pools.pool_granularity is not None
        assert pools.pool_granularity.value == "run"


def test_dagster_yaml_keeps_sensor_ticks_for_a_limited_time_only() -> None:
    config = yaml.safe_load((PROJECT / "dagster.yaml").read_text())
    assert set(config["retention"]["sensor"]["purge_after_days"]) == {"skipped", "success", "failure"}


def test_a_module_dagster_loads_keeps_its_annotations_at_run_time() -> None:
    modules = [*PROJECT.glob("pipelines/*.py"), *PROJECT.glob("assets/*/*.py"), *PROJECT.glob("resources/**/*.py")]
    postponed = [path.name for path in modules if "from __future__ import annotations" in path.read_text()]
    assert postponed == []
