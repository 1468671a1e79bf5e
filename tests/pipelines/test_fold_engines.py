"""Walk-forward folds on every engine: a pool, runs of their own and Celery workers write the same bytes."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path

import dagster as dg
import pytest
import yaml

from assets.research.research_desk import open_research_desk
from assets.research.validation_runs import available_folds, run
from pipelines.fold_executor import ExecutorUnavailable, fold_executor
from resources.settings import Settings
from tests.redis_server import needs_redis, redis_server

PROJECT = Path(__file__).parents[2]
SYMBOL, UNTIL, HISTORY_DAYS = "BTCUSDT", date(2024, 8, 1), 470
BROKER = "redis://:secret@127.0.0.1:6379/0"

needs_celery = pytest.mark.skipif(
    importlib.util.find_spec("dagster_celery") is None, reason="the extra [celery] is not installed"
)


def _pooled(store: Path, workers: int) -> list[str]:
    """Partition keys of the folds, all computed into ``store``."""
    settings = Settings(store=str(store), history="simulated", research_history_days=HISTORY_DAYS)
    research = open_research_desk(settings).research
    folds = available_folds(research, SYMBOL, UNTIL)
    reports = list(run(research, SYMBOL, folds, workers))
    assert all("result" in report for report in reports)
    return [f"{SYMBOL}_{fold.name}" for fold in folds]


def _objects(store: Path) -> dict[str, bytes]:
    """Everything research stored, less the summary, which tells the time."""
    files = (path for path in (store / "research").rglob("*") if path.is_file() and path.name != "summary.json")
    return {path.relative_to(store).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def pooled(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], dict[str, bytes]]:
    """The folds' partitions, and what one worker stored of them."""
    store = tmp_path_factory.mktemp("pooled")
    return _pooled(store, workers=1), _objects(store)


def _environment(folder: Path, **more: str) -> dict[str, str]:
    home = folder / "dagster"
    home.mkdir()
    shutil.copy(PROJECT / "dagster.yaml", home)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        # Creates the databases, before two processes do so at once.
        instance.get_runs(limit=1)
        instance.all_instigator_state()
        instance.get_dynamic_partitions("fold")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("DESK_")}
    desk = {"DESK_STORE": str(folder / "store"), "DESK_HISTORY": "simulated", "DESK_RESEARCH_SYMBOLS": SYMBOL}
    return inherited | desk | {"DAGSTER_HOME": str(home)} | more


def _run_side_by_side(partitions: list[str], environment: Mapping[str, str]) -> list[str]:
    """What Dagster said of the run of each partition; all of them at once, as the queue would start them."""
    with dg.DagsterInstance.from_config(environment["DAGSTER_HOME"]) as instance:
        instance.add_dynamic_partitions("fold", partitions)
    dagster = Path(sys.executable).with_name("dagster")
    command = [str(dagster), "job", "execute", "-m", "pipelines.definitions", "-j", "walk_forward_folds", "--tags"]
    runs = [
        subprocess.Popen(
            [*command, f'{{"dagster/partition": "{partition}"}}'], cwd=PROJECT, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        for partition in partitions
    ]  # fmt: skip
    try:
        said = [run.communicate(timeout=600)[0] for run in runs]
    finally:
        for run in runs:
            run.kill()
    for run, output in zip(runs, said, strict=True):
        assert run.returncode == 0, output
        assert "RUN_SUCCESS" in output
    return said


@contextmanager
def _process(command: list[str], environment: Mapping[str, str], log: Path) -> Iterator[None]:
    """A process with all that it starts, ended by the id of its group."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=PROJECT, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(60)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_for(log: Path, text: str) -> None:
    until = time.monotonic() + 180
    while text not in log.read_text():
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.1)


def test_two_workers_write_what_one_does(pooled: tuple[list[str], dict[str, bytes]], tmp_path: Path) -> None:
    partitions, expected = pooled
    assert len(partitions) == 2
    assert sum(key.endswith("/report.json") for key in expected) == 2
    assert _pooled(tmp_path, workers=2) == partitions
    assert _objects(tmp_path) == expected


def test_a_run_of_its_own_writes_what_the_pool_does(pooled: tuple[list[str], dict[str, bytes]], tmp_path: Path) -> None:
    (first, _), expected = pooled
    [said] = _run_side_by_side([first], _environment(tmp_path, DESK_FOLD_EXECUTOR="multiprocess"))
    assert "Launching subprocess for" in said
    stored = _objects(tmp_path / "store")
    assert sum(key.endswith("/report.json") for key in stored) == 1
    assert stored.items() <= expected.items()


@needs_redis
@needs_celery
def test_celery_workers_write_what_the_pool_does(pooled: tuple[list[str], dict[str, bytes]], tmp_path: Path) -> None:
    partitions, expected = pooled
    celery = str(Path(sys.executable).with_name("dagster-celery"))
    worker = [celery, "worker", "start", "-A", "dagster_celery.app", "-y", "celery.yaml"]
    logs = [tmp_path / f"worker_{number}.log" for number in (1, 2)]
    with redis_server(tmp_path / "redis") as broker:
        environment = _environment(tmp_path, DESK_FOLD_EXECUTOR="celery", DESK_CELERY_BROKER=broker.url)
        # The command starts `celery` by name.
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        with _process(worker, environment, logs[0]), _process(worker, environment, logs[1]):
            for log in logs:
                _wait_for(log, " ready.")
            said = _run_side_by_side(partitions, environment)
    submitted = sum(output.count("Submitting celery task") for output in said)
    assert submitted >= 2 * len(partitions)
    assert sum(log.read_text().count(" succeeded in ") for log in logs) == submitted
    assert _objects(tmp_path / "store") == expected


def test_the_executor_is_the_one_the_settings_name() -> None:
    assert fold_executor(Settings()) is dg.in_process_executor
    assert fold_executor(Settings(fold_executor="multiprocess")) is dg.multiprocess_executor


@needs_celery
def test_the_broker_is_named_by_its_variable_so_that_no_password_is_stored() -> None:
    executor = fold_executor(Settings(fold_executor="celery", celery_broker=BROKER))
    job = dg.define_asset_job("job", executor_def=executor)
    resolved = dg.Definitions(assets=[dg.asset(name="fold")(lambda: None)], jobs=[job]).resolve_job_def("job")
    assert "secret" not in dg.serialize_value(resolved.get_job_snapshot())


def test_without_the_extra_celery_is_refused_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dagster_celery", None)
    with pytest.raises(ExecutorUnavailable, match=r"\.\[celery\]"):
        fold_executor(Settings(fold_executor="celery", celery_broker=BROKER))


@pytest.mark.parametrize("broker", ["", "amqp://localhost", "127.0.0.1:6379"])
def test_celery_without_the_address_of_a_redis_is_a_wrong_setting(broker: str) -> None:
    with pytest.raises(ValueError, match="DESK_CELERY_BROKER"):
        Settings(fold_executor="celery", celery_broker=broker)


def test_the_workers_configuration_is_where_the_worker_looks_for_it() -> None:
    worker = yaml.safe_load((PROJECT / "celery.yaml").read_text())["execution"]["config"]
    assert worker["broker"] == worker["backend"] == {"env": "DESK_CELERY_BROKER"}


def test_folds_leave_room_in_the_queue_and_rebalances_go_first(tmp_path: Path) -> None:
    from pipelines.jobs import rebalance_job, walk_forward_folds_job

    shutil.copy(PROJECT / "dagster.yaml", tmp_path)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        queue = instance.get_concurrency_config().run_queue_config
    assert queue is not None
    folds = walk_forward_folds_job.tags or {}
    limits = [limit for limit in queue.tag_concurrency_limits if folds.get(limit["key"]) == limit.get("value")]
    assert limits
    assert min(limit["limit"] for limit in limits) < queue.max_concurrent_runs
    priority = int((rebalance_job.tags or {})["dagster/priority"])
    assert priority > 0 > int(folds["dagster/priority"])
