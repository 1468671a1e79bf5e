"""The rebalance as Dagster runs it: what it shows, what its checks stop, and what its steps refuse by themselves."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import boto3
import dagster as dg
import pytest
from moto import mock_aws

from assets import metadata
from assets.desk.history import history_key
from assets.desk.value_log import parse_log_row
from assets.desk.value_plot import value_plot
from pipelines.definitions import build
from resources.documents import Document, dump_document, load_document, sha256_hex
from resources.market import FundingRate
from resources.store import Blob, Entry, Line, Store, StoreUnavailable, open_store
from tests.desk_parts import DAY, Parts, file_name, market_of, signal_csv
from tests.memory_store import MemoryStore

PRICES = {"BTCUSDT": "90000", "ETHUSDT": "3000", "SOLUSDT": "150"}
LONG_SHORT = {"BTC_USDT": ("500000", 1), "ETH_USDT": ("-300000", -1), "SOL_USDT": ("200000", 1)}
STEPS = ["daily_csv", "pre_execution", "sized_orders", "fills", "baseline", "latest_executed"]


class Between:
    """A store in which a document changes between the step that writes it and the check that reads it."""

    def __init__(self, inner: MemoryStore, name: str, change: Callable[[Document], object]) -> None:
        self._inner, self._name, self._change = inner, name, change
        self.url = inner.url
        self.reads_at_once = inner.reads_at_once

    def create(self, key: str, data: bytes) -> str:
        if key.endswith(f"/{self._name}"):
            document = load_document(data)
            self._change(document)
            data = dump_document(document)
        return self._inner.create(key, data)

    def read(self, key: str, *, tail: int | None = None) -> Blob:
        return self._inner.read(key, tail=tail)

    def write(self, key: str, data: bytes) -> str:
        return self._inner.write(key, data)

    def replace(self, key: str, data: bytes, version: str) -> str:
        return self._inner.replace(key, data, version)

    def append(self, key: str, line: Line) -> bytes | None:
        return self._inner.append(key, line)

    def list(self, prefix: str, *, after: str = "") -> Iterator[Entry]:
        return self._inner.list(prefix, after=after)

    def check(self) -> None:
        return


@pytest.fixture
def parts() -> Parts:
    return Parts(market_of(PRICES), MemoryStore())


def detected(parts: Parts, data: bytes | None = None) -> str:
    """The id of a signal that was dropped and frozen, a minute after the first logged value."""
    parts.tick()
    parts.clock.sleep(60)
    parts.drop(file_name(parts.clock.now()), signal_csv(LONG_SHORT) if data is None else data)
    return parts.detect()[0]


def execute(
    parts: Parts,
    instance: dg.DagsterInstance,
    rebalance_id: str,
    *,
    store: Store | None = None,
    only: str | None = None,
) -> dg.ExecuteInProcessResult:
    """A run of the rebalance job, or of one of its assets alone, as a later run of a person would be."""
    instance.add_dynamic_partitions("rebalance", [rebalance_id])
    job = build(resources={"desk": parts.desk(store)}).resolve_job_def("rebalance")
    selection = None if only is None else [dg.AssetKey(only)]
    return job.execute_in_process(
        instance=instance, partition_key=rebalance_id, raise_on_error=False, asset_selection=selection
    )


def materialized(result: dg.ExecuteInProcessResult) -> list[str]:
    events = result.get_asset_materialization_events()
    return [event.asset_key.to_user_string() for event in events if event.asset_key]


def why(result: dg.ExecuteInProcessResult, step: str) -> str:
    """What the run's page shows for the step that failed: one reason, with no chain of tracebacks under it."""
    (event,) = [event for event in result.filter_events(lambda e: e.is_step_failure) if event.step_key == step]
    failure, error = event.step_failure_data.user_failure_data, event.step_failure_data.error
    assert failure is not None
    assert error is not None
    assert error.cause is None
    assert error.context is None
    return failure.description or ""


def _description(result: dg.ExecuteInProcessResult, step: str) -> str:
    (event,) = [event for event in result.filter_events(lambda e: e.is_step_failure) if event.step_key == step]
    failure = event.step_failure_data.user_failure_data
    assert failure is not None
    return failure.description or ""


# --- what a good run leaves ---


def test_a_rebalance_materializes_every_step_with_row_counts_and_passing_checks(
    parts: Parts, instance: dg.DagsterInstance
) -> None:
    rebalance_id = detected(parts)
    result = execute(parts, instance, rebalance_id)
    assert result.success
    assert materialized(result) == STEPS
    counts = {}
    for name in STEPS:  # read back from the instance: what could not be stored would be missing there
        event = instance.get_latest_materialization_event(dg.AssetKey(name))
        assert event is not None
        assert event.asset_materialization is not None
        assert event.asset_materialization.partition == rebalance_id
        counts[name] = event.asset_materialization.metadata.get("dagster/row_count")
    shown = {name: count.value for name, count in counts.items() if count is not None}
    assert shown == {"daily_csv": 3, "pre_execution": 3, "sized_orders": 3, "fills": 3, "baseline": 3}
    evaluations = result.get_asset_check_evaluations()
    assert len(evaluations) == 16
    assert [evaluation.check_name for evaluation in evaluations if not evaluation.passed] == []


def test_the_shown_numbers_are_those_of_the_stored_documents(parts: Parts, instance: dg.DagsterInstance) -> None:
    rebalance_id = detected(parts)
    result = execute(parts, instance, rebalance_id)
    shown = {
        event.asset_key.to_user_string(): event.materialization.metadata
        for event in result.get_asset_materialization_events()
        if event.asset_key
    }
    pre, baseline = parts.audit(rebalance_id, "pre_execution.json"), parts.audit(rebalance_id, "baseline.json")
    csv = parts.store.read(f"rebalances/{rebalance_id}/signal.csv").data
    assert shown["daily_csv"]["sha256"].value == sha256_hex(csv)
    assert shown["daily_csv"]["gross_base"].value == 1_000_000
    assert shown["pre_execution"]["t0"].value == pre["timestamp_utc"]
    assert shown["pre_execution"]["pv_pre"].value == float(pre["pv_pre"])
    assert shown["baseline"]["t1"].value == baseline["timestamp_utc"]
    assert shown["baseline"]["portfolio_value"].value == float(baseline["portfolio_value"])
    table = shown["fills"]["fills"].records
    fills = parts.audit(rebalance_id, "fills.json")["fills"]
    assert [record.data["quantity"] for record in table] == [f"{fill['quantity']:f}" for fill in fills]
    assert shown["fills"]["fees"].value == float(sum(fill["fee"] for fill in fills))


def test_t0_is_the_one_of_detection_however_late_the_run_starts(parts: Parts, instance: dg.DagsterInstance) -> None:
    rebalance_id = detected(parts)
    frozen = parts.audit(rebalance_id, "detection.json")["timestamp_utc"]
    parts.clock.sleep(600)
    parts.market.prices["BTCUSDT"] = Decimal("99000")
    assert execute(parts, instance, rebalance_id).success
    pre = parts.audit(rebalance_id, "pre_execution.json")
    assert pre["timestamp_utc"] == frozen
    assert pre["prices_at_t0"]["BTCUSDT"] == 90000


def test_running_a_finished_rebalance_again_changes_nothing(parts: Parts, instance: dg.DagsterInstance) -> None:
    assert isinstance(parts.store, MemoryStore)
    rebalance_id = detected(parts)
    assert execute(parts, instance, rebalance_id).success
    before = parts.store.contents()
    parts.clock.sleep(60)
    assert execute(parts, instance, rebalance_id).success
    assert parts.store.contents() == before


def test_a_second_day_that_flips_a_name_reduces_before_it_opens(parts: Parts, instance: dg.DagsterInstance) -> None:
    assert execute(parts, instance, detected(parts)).success
    parts.clock.sleep(DAY.total_seconds())
    parts.ticker = None
    flipped = detected(parts, signal_csv({"BTC_USDT": ("-500000", -1), "SOL_USDT": ("500000", 1)}))
    result = execute(parts, instance, flipped)
    assert result.success
    orders = parts.audit(flipped, "sized_orders.json")
    assert {order["symbol"] for order in orders["reductions"]} == {"BTCUSDT", "ETHUSDT"}
    assert parts.held()["BTCUSDT"] < 0
    assert "ETHUSDT" not in parts.held()


# --- what a check stops ---


def _pv_pre(pre: Document) -> None:
    pre["pv_pre"] += 1


def _sign(pre: Document) -> None:
    pre["rows"][0]["side"] = -pre["rows"][0]["side"]


def _share(pre: Document) -> None:
    pre["untradable_share"] = Decimal("0.5")


def _pv_time(pre: Document) -> None:
    pre["pv_timestamp"] = pre["timestamp_utc"]


def _quantity(orders: Document) -> None:
    orders["increases"][0]["quantity"] += Decimal("0.001")


def _off_grid(orders: Document) -> None:
    orders["increases"][0]["quantity"] += Decimal("0.0001")


def _reduce(orders: Document) -> None:
    orders["reductions"].append(orders["increases"][0] | {"reduce_only": True, "order_id": "made-up"})


def _fill(fills: Document) -> None:
    fills["fills"][0]["quantity"] += Decimal("0.001")


def _unpriced(baseline: Document) -> None:
    del baseline["prices"]["BTCUSDT"]


def _early(baseline: Document) -> None:
    baseline["timestamp_utc"] = "2026-11-20T00:00:00.000000+00:00"


def _value(baseline: Document) -> None:
    baseline["portfolio_value"] += 1


def _base(baseline: Document) -> None:
    baseline["base_cumulative"] += 1


BLOCKED = [
    ("gross_identity", "pre_execution.json", _pv_pre, "pre_execution"),
    ("target_signs", "pre_execution.json", _sign, "pre_execution"),
    ("prices_complete", "pre_execution.json", _share, "pre_execution"),
    ("pv_pre_before_t0", "pre_execution.json", _pv_time, "pre_execution"),
    ("plan_reaches_targets", "sized_orders.json", _quantity, "sized_orders"),
    ("orders_respect_filters", "sized_orders.json", _off_grid, "sized_orders"),
    ("reductions_only_reduce", "sized_orders.json", _reduce, "sized_orders"),
    ("fills_match_orders", "fills.json", _fill, "fills"),
    ("baseline_covers_positions", "baseline.json", _unpriced, "baseline"),
    ("baseline_after_t0", "baseline.json", _early, "baseline"),
    ("value_continuous_at_t1", "baseline.json", _value, "baseline"),
    ("value_continuous_at_t1", "baseline.json", _base, "baseline"),
]


@pytest.mark.parametrize(("check", "name", "change", "at"), BLOCKED, ids=[f"{b[0]}{b[2].__name__}" for b in BLOCKED])
def test_a_check_that_finds_a_tampered_document_stops_the_run_there(
    parts: Parts,
    instance: dg.DagsterInstance,
    check: str,
    name: str,
    change: Callable[[Document], object],
    at: str,
) -> None:
    assert isinstance(parts.store, MemoryStore)
    rebalance_id = detected(parts)
    result = execute(parts, instance, rebalance_id, store=Between(parts.store, name, change))
    assert not result.success
    failed = {evaluation.check_name for evaluation in result.get_asset_check_evaluations() if not evaluation.passed}
    assert check in failed
    assert materialized(result) == STEPS[: STEPS.index(at) + 1]
    assert "latest_executed.json" not in parts.store.contents()


def test_a_check_that_fails_tells_the_numbers_it_compared(parts: Parts, instance: dg.DagsterInstance) -> None:
    assert isinstance(parts.store, MemoryStore)
    rebalance_id = detected(parts)
    result = execute(parts, instance, rebalance_id, store=Between(parts.store, "pre_execution.json", _pv_pre))
    (failed,) = [e for e in result.get_asset_check_evaluations() if not e.passed]
    assert failed.description == "the parts sum to 1000000.000000, pv_pre is 1000001.000000"
    assert failed.metadata["pv_pre"].value == 1_000_001.0
    assert failed.blocking


def test_a_tampered_copy_of_the_csv_stops_the_run_before_anything_is_sized(
    parts: Parts, instance: dg.DagsterInstance
) -> None:
    rebalance_id = detected(parts)
    key = f"rebalances/{rebalance_id}/signal.csv"
    parts.store.write(key, parts.store.read(key).data.replace(b"500000", b"900000"))
    result = execute(parts, instance, rebalance_id)
    assert not result.success
    assert "pre_execution" not in materialized(result)
    assert parts.held() == {}


# --- what a step refuses by itself: a blocking check does not stop a later run of the next asset ---


@pytest.mark.parametrize(
    ("name", "change", "at", "following"),
    [
        ("pre_execution.json", _pv_pre, "pre_execution", "fills"),
        ("pre_execution.json", _sign, "pre_execution", "fills"),
        ("pre_execution.json", _share, "pre_execution", "fills"),
        ("pre_execution.json", _pv_time, "pre_execution", "fills"),
        ("sized_orders.json", _quantity, "sized_orders", "fills"),
        ("sized_orders.json", _off_grid, "sized_orders", "fills"),
        ("sized_orders.json", _reduce, "sized_orders", "fills"),
    ],
    ids=["pv_pre", "sign", "share", "pv_time", "quantity", "off_grid", "reduce"],
)
def test_execution_refuses_in_a_later_run_what_a_blocking_check_stopped_in_an_earlier_one(
    parts: Parts,
    instance: dg.DagsterInstance,
    name: str,
    change: Callable[[Document], object],
    at: str,
    following: str,
) -> None:
    assert isinstance(parts.store, MemoryStore)
    rebalance_id = detected(parts)
    assert not execute(parts, instance, rebalance_id, store=Between(parts.store, name, change)).success
    for later in STEPS[STEPS.index(at) + 1 : STEPS.index(following) + 1]:
        result = execute(parts, instance, rebalance_id, only=later)
    assert not result.success
    assert "Not executed. aborted" in (why(result, following))
    assert parts.held() == {}
    assert parts.outcomes() == {rebalance_id: "aborted"}
    assert not list(result.filter_events(lambda e: e.event_type_value == "STEP_UP_FOR_RETRY"))


def test_a_later_run_of_pre_execution_sizes_nothing_on_a_tampered_csv(
    parts: Parts, instance: dg.DagsterInstance
) -> None:
    rebalance_id = detected(parts)
    key = f"rebalances/{rebalance_id}/signal.csv"
    parts.store.write(key, parts.store.read(key).data.replace(b"500000", b"900000"))
    assert not execute(parts, instance, rebalance_id).success
    assert not execute(parts, instance, rebalance_id, only="pre_execution").success


def test_a_step_launched_before_its_inputs_exist_says_what_to_run_first(
    parts: Parts, instance: dg.DagsterInstance
) -> None:
    rebalance_id = detected(parts)
    result = execute(parts, instance, rebalance_id, only="fills")
    assert "run the earlier steps of this rebalance" in _description(result, "fills")
    assert parts.held() == {}


def test_a_rebalance_under_way_elsewhere_makes_the_second_wait_and_say_for_whom(
    parts: Parts, instance: dg.DagsterInstance
) -> None:
    first = detected(parts)
    for name in ("daily_csv", "pre_execution"):
        assert execute(parts, instance, first, only=name).success
    second = detected(parts, signal_csv({"BTC_USDT": ("1", 1)}))
    second = next(id_ for id_ in parts.look().pending if id_ != first) if second == first else second
    result = execute(parts, instance, second)
    assert not result.success
    assert f"Not now: {first} is executing" in (why(result, "pre_execution"))


# --- refused files ---


def test_a_quarantined_file_fails_its_run_with_row_and_column_and_is_not_tried_again(
    parts: Parts, instance: dg.DagsterInstance
) -> None:
    bad = signal_csv(LONG_SHORT).replace(b"-300000,-1", b"-300000,minus one")
    rebalance_id = detected(parts, bad)
    result = execute(parts, instance, rebalance_id)
    assert not result.success
    assert materialized(result) == []
    reason = why(result, "daily_csv")
    assert reason.startswith("Not executed. quarantined: ")
    assert "target_contracts" in reason
    assert "row 3" in reason
    attempts = [event for event in result.all_events if event.step_key == "daily_csv" and event.is_step_start]
    assert len(attempts) == 1
    assert parts.outcomes() == {rebalance_id: "quarantined"}
    assert parts.held() == {}


def test_a_quarantined_file_is_refused_again_with_the_same_words(parts: Parts, instance: dg.DagsterInstance) -> None:
    rebalance_id = detected(parts, b"strategy,ticker\n")
    first = why(execute(parts, instance, rebalance_id), "daily_csv")
    parts.clock.sleep(3600)
    assert (why(execute(parts, instance, rebalance_id), "daily_csv")) == first


class OutOfReach(Between):
    """A store that stops answering when fills are to be written."""

    def __init__(self, inner: MemoryStore) -> None:
        super().__init__(inner, "", lambda _document: None)

    def create(self, key: str, data: bytes) -> str:
        if key.endswith("/fills.json"):
            raise StoreUnavailable("cannot create 'fills.json': no answer; look at the store, then run it again")
        return super().create(key, data)


def test_a_run_that_lost_its_store_half_way_is_finished_by_the_next_with_the_same_fills(
    parts: Parts, instance: dg.DagsterInstance
) -> None:
    assert isinstance(parts.store, MemoryStore)
    rebalance_id = detected(parts)
    result = execute(parts, instance, rebalance_id, store=OutOfReach(parts.store))
    assert "StoreUnavailable: cannot create 'fills.json'" in _description(result, "fills")
    posted = parts.held()
    assert posted
    parts.clock.sleep(30)
    assert execute(parts, instance, rebalance_id).success
    assert parts.held() == posted
    assert parts.outcomes() == {rebalance_id: "executed"}


# --- on S3 ---


@pytest.fixture
def s3_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        boto3.client("s3").create_bucket(
            Bucket="desk", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
        )
        yield open_store("s3://desk/signal-dashboard/data")


def test_a_rebalance_on_s3_leaves_the_contract_objects_under_the_prefix(
    s3_store: Store, instance: dg.DagsterInstance
) -> None:
    parts = Parts(market_of(PRICES), s3_store)
    parts.tick()
    parts.clock.sleep(60)
    s3_store.write(f"inbox/{file_name(parts.clock.now())}", signal_csv(LONG_SHORT))
    (rebalance_id,) = parts.detect()
    result = execute(parts, instance, rebalance_id)
    assert result.success
    assert materialized(result) == STEPS
    keys = {entry["Key"] for entry in boto3.client("s3").list_objects_v2(Bucket="desk")["Contents"]}
    names = ("pre_execution", "daily_baseline", "latest_executed", "latest_prices")
    wanted = {f"signal-dashboard/data/{name}.json" for name in names}
    assert wanted | {"signal-dashboard/data/portfolio_value_log.jsonl"} <= keys
    event = instance.get_latest_materialization_event(dg.AssetKey("baseline"))
    assert event is not None
    assert event.asset_materialization is not None
    uri = event.asset_materialization.metadata["dagster/uri"].value
    assert uri == "s3://desk/signal-dashboard/data/daily_baseline.json"


def test_a_bad_file_on_s3_is_quarantined_as_it_is_in_a_folder(s3_store: Store, instance: dg.DagsterInstance) -> None:
    parts = Parts(market_of(PRICES), s3_store)
    s3_store.write(f"inbox/{file_name(parts.clock.now())}", b"ticker,target_notional,target_contracts\nBTC_USDT,x,1\n")
    (rebalance_id,) = parts.detect()
    result = execute(parts, instance, rebalance_id)
    assert "Not executed. quarantined" in (why(result, "daily_csv"))
    assert parts.outcomes() == {rebalance_id: "quarantined"}


# --- the hourly job ---


def upkeep(parts: Parts, instance: dg.DagsterInstance, store: Store | None = None) -> dg.ExecuteInProcessResult:
    job = build(resources={"desk": parts.desk(store)}).resolve_job_def("upkeep")
    return job.execute_in_process(instance=instance, raise_on_error=False)


def verdicts(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {evaluation.check_name: evaluation.passed for evaluation in result.get_asset_check_evaluations()}


def settlement(symbol: str, hour: int) -> FundingRate:
    return FundingRate(symbol, datetime(2026, 11, 20, hour, tzinfo=UTC), Decimal("0.0001"), Decimal(100))


def test_upkeep_compacts_whole_days_and_finds_nothing_wrong_with_a_day_of_ticks(
    parts: Parts, instance: dg.DagsterInstance
) -> None:
    assert isinstance(parts.store, MemoryStore)
    execute(parts, instance, detected(parts))
    parts.market.rates = [settlement(symbol, hour) for symbol in parts.held() for hour in (8, 16)]
    parts.clock.move_to(datetime(2026, 11, 20, 23, 30, tzinfo=UTC))
    parts.minutes(45)
    result = upkeep(parts, instance)
    assert result.success
    event = instance.get_latest_materialization_event(dg.AssetKey("portfolio_value_history"))
    assert event is not None
    assert event.asset_materialization is not None
    shown = event.asset_materialization.metadata
    whole = sum(row["timestamp"].startswith("2026-11-20") for row in parts.log())
    assert shown["dagster/row_count"].value == whole
    assert shown["days_written"].value == ["2026-11-20"]
    assert "portfolio_value_24h" in shown
    assert history_key(date(2026, 11, 20)) in parts.store.contents()
    assert history_key(date(2026, 11, 21)) not in parts.store.contents()
    assert verdicts(result) == {
        "content_executed_once": True,
        "log_identities": True,
        "minutes_strictly_rise": True,
        "base_constant_between_baselines": True,
        "log_recent": True,
        "prices_recent": True,
        "funding_booked": True,
        "signal_not_late": True,
    }


def test_upkeep_twice_writes_a_day_once(parts: Parts, instance: dg.DagsterInstance) -> None:
    parts.tick()
    parts.clock.sleep(DAY.total_seconds())
    parts.tick()
    assert upkeep(parts, instance).success
    before = parts.store.read(history_key(date(2026, 11, 20)))
    assert upkeep(parts, instance).success
    assert parts.store.read(history_key(date(2026, 11, 20))) == before


def test_upkeep_of_a_desk_that_did_nothing_yet_says_so(parts: Parts, instance: dg.DagsterInstance) -> None:
    result = upkeep(parts, instance)
    assert result.success, "a failed standing check is a verdict, not a failed run"
    found = verdicts(result)
    assert found["log_recent"] is False
    assert found["prices_recent"] is False
    assert found["log_identities"] is True


def test_standing_checks_notice_a_stopped_ticker_and_a_late_signal(parts: Parts, instance: dg.DagsterInstance) -> None:
    execute(parts, instance, detected(parts))
    parts.tick()
    parts.clock.sleep(timedelta(minutes=4).total_seconds())
    found = verdicts(upkeep(parts, instance))
    assert (found["log_recent"], found["prices_recent"], found["signal_not_late"]) == (False, False, True)
    parts.clock.sleep(timedelta(hours=26).total_seconds())
    assert verdicts(upkeep(parts, instance))["signal_not_late"] is False


def test_a_standing_check_names_the_eight_hours_in_which_nothing_was_booked_of_what_was_held(
    parts: Parts, instance: dg.DagsterInstance
) -> None:
    execute(parts, instance, detected(parts))
    first, *others = sorted(parts.held())
    parts.market.rates = [settlement(symbol, 8) for symbol in others]
    parts.clock.move_to(datetime(2026, 11, 20, 8, 30, tzinfo=UTC))
    parts.tick()
    assert verdicts(upkeep(parts, instance))["funding_booked"] is True, "it is still looked for"
    longest = timedelta(hours=1, minutes=parts.settings.max_rebalance_minutes)
    parts.clock.move_to(datetime(2026, 11, 20, 8, tzinfo=UTC) + longest - timedelta(seconds=1))
    parts.tick()
    assert verdicts(upkeep(parts, instance))["funding_booked"] is True, "a rebalance may be under way, and it waits"
    parts.clock.move_to(datetime(2026, 11, 20, 8, tzinfo=UTC) + longest)
    parts.tick()
    result = upkeep(parts, instance)
    (evaluation,) = (each for each in result.get_asset_check_evaluations() if each.check_name == "funding_booked")
    assert (evaluation.passed, evaluation.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert (evaluation.description or "").startswith(f"funding of {first}: 1 not booked, from 2026-11-20T08:00")
    assert evaluation.metadata["not_booked"].value == 1


def test_a_tampered_log_row_fails_the_standing_check_on_the_log(parts: Parts, instance: dg.DagsterInstance) -> None:
    parts.tick()
    parts.minutes(3)
    log = parts.store.read("portfolio_value_log.jsonl").data
    parts.store.write("portfolio_value_log.jsonl", log.replace(b'"total_pnl":0', b'"total_pnl":1', 1))
    found = verdicts(upkeep(parts, instance))
    assert found["log_identities"] is False
    assert found["minutes_strictly_rise"] is True


def test_a_log_with_a_missing_row_number_fails_the_standing_check(parts: Parts, instance: dg.DagsterInstance) -> None:
    parts.tick()
    parts.minutes(3)
    lines = parts.store.read("portfolio_value_log.jsonl").data.splitlines(keepends=True)
    parts.store.write("portfolio_value_log.jsonl", b"".join([*lines[:1], *lines[2:]]))
    found = verdicts(upkeep(parts, instance))
    assert found["minutes_strictly_rise"] is False
    assert found["log_identities"] is True


def test_content_executed_twice_fails_its_check(parts: Parts, instance: dg.DagsterInstance) -> None:
    rebalance_id = detected(parts)
    execute(parts, instance, rebalance_id)
    outcome = parts.audit(rebalance_id, "outcome.json") | {"rebalance_id": "again"}
    parts.store.write("rebalances/again/outcome.json", dump_document(outcome))
    assert verdicts(upkeep(parts, instance))["content_executed_once"] is False


# --- metadata ---


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (Decimal("1.5"), 1.5),
        (Decimal("-0"), 0.0),
        (datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC), "2026-01-02T03:04:05.000006+00:00"),
        (date(2026, 1, 2), "2026-01-02"),
        ({"a": Decimal(1), 2: (Decimal(3), None)}, {"a": 1.0, "2": [3.0, None]}),
        ([date(2026, 1, 2), "x", True], ["2026-01-02", "x", True]),
        ("text", "text"),
        (7, 7),
        (False, False),
        (None, None),
    ],
)
def test_a_value_is_shown_as_plain_python(value: Any, shown: Any) -> None:
    found = metadata.plain(value)
    assert found == shown
    assert type(found) is type(shown)


@pytest.mark.parametrize("value", [Decimal("1.5"), datetime(2026, 1, 2, tzinfo=UTC), {"a": [Decimal(1)]}, [date.max]])
def test_what_dagster_refuses_it_takes_once_it_is_plain(value: Any) -> None:
    taken = dg.AssetMaterialization("any", metadata={"value": metadata.plain(value)})
    assert dg.deserialize_value(dg.serialize_value(taken), dg.AssetMaterialization) == taken


def test_a_missing_field_is_shown_as_none_and_not_left_out() -> None:
    assert metadata.entries({"a": None, "b": Decimal(2)}, "a", "b") == {"a": "none", "b": 2.0}


def test_a_table_keeps_every_digit_of_a_number() -> None:
    exact = Decimal("0.000000123456789012345678901234567890")
    shown = metadata.table([{"n": exact, "m": None}], {"n": ("decimal", "number"), "m": ("string", "missing")})
    assert shown.records[0].data == {"n": f"{exact:f}", "m": ""}
    assert [column.description for column in shown.schema.columns] == ["number", "missing"]


def test_the_plot_needs_two_points_and_is_a_picture_then() -> None:
    rows = [
        parse_log_row(b'{"timestamp":"2026-11-20T00:0%d:00+00:00","portfolio_value":1,"daily_pnl":0,"total_pnl":0}' % n)
        for n in range(2)
    ]
    assert value_plot(rows[:1]) is None
    plot = value_plot(rows)
    assert plot is not None
    assert plot.value.startswith("![portfolio value](data:image/png;base64,iVBOR")
