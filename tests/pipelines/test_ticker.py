"""The resident ticker: the portfolio value goes on, whatever happens to Dagster, the store or the market."""

import logging
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import dagster as dg
import pytest

from assets.desk.tick import Ticker, TickResult
from pipelines.ticker import DagsterReport, dagster_report, run, seconds_to_next
from resources.clock import ManualClock
from resources.market import FundingRate, Mark, MarketError
from resources.store import Line, StoreUnavailable
from tests.desk_parts import START, Parts, ScriptedMarket, market_of
from tests.memory_store import MemoryStore

LOG = dg.AssetKey("portfolio_value_log")
PRICES = dg.AssetKey("latest_prices")


class Stop(threading.Event):
    """Lets the desk's clock pass instead of the machine's, and is set after ``waits`` of them."""

    def __init__(self, clock: ManualClock, waits: int) -> None:
        super().__init__()
        self._clock, self._left = clock, waits
        self.slept: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.slept.append(timeout)
        self._clock.sleep(timeout)
        self._left -= 1
        if self._left <= 0:
            self.set()
        return self.is_set()


class Heard:
    """A report that only listens."""

    def __init__(self) -> None:
        self.results: list[TickResult] = []

    def __call__(self, result: TickResult) -> None:
        self.results.append(result)


class Failing(MemoryStore):
    """A store whose log cannot be written while ``broken``."""

    broken = False

    def append(self, key: str, line: Line) -> bytes | None:
        if self.broken:
            raise StoreUnavailable(f"cannot append to {key!r}: no space left on device; free disk space")
        return super().append(key, line)


@pytest.fixture
def parts() -> Parts:
    return Parts(market_of({"BTCUSDT": "90000", "ETHUSDT": "3000"}), Failing())


def tick_on(parts: Parts, minutes: int, report: object = None) -> Stop:
    stop = Stop(parts.clock, minutes)
    run(parts.desk(), report if callable(report) else Heard(), stop)
    return stop


def minutes_logged(parts: Parts) -> list[str]:
    return [row["timestamp"][11:16] for row in parts.log()]


# --- the loop ---


def test_it_ticks_once_a_minute_on_the_minute_until_it_is_stopped(parts: Parts) -> None:
    stop = tick_on(parts, 4)
    assert minutes_logged(parts) == ["00:20", "00:21", "00:22", "00:23"]
    assert stop.slept[0] == pytest.approx(57.02)
    assert stop.slept[1:] == [pytest.approx(60.0)] * 3


def test_a_tick_that_takes_long_does_not_move_the_ones_after_it(parts: Parts) -> None:
    def slow(_result: TickResult) -> None:
        parts.clock.sleep(17.3)

    tick_on(parts, 5, slow)
    assert minutes_logged(parts) == ["00:20", "00:21", "00:22", "00:23", "00:24"]
    assert {row["timestamp"][17:19] for row in parts.log()[1:]} == {"00"}


def test_funding_that_nobody_recorded_is_a_warning(parts: Parts, caplog: pytest.LogCaptureFixture) -> None:
    parts.tick()
    parts.clock.sleep(60)
    parts.execute({"BTC_USDT": ("1", 1)})
    parts.clock.move_to(START.replace(hour=9, minute=1))
    tick_on(parts, 2)
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        "funding of BTCUSDT: 1 not booked, from 2026-11-20T08:00 to 2026-11-20T08:00 UTC: not recorded, or without a "
        "usable rate or mark"
    ]


def test_what_is_missing_is_said_once_whatever_fails_meanwhile(parts: Parts, caplog: pytest.LogCaptureFixture) -> None:
    """A tick that fails is followed by a fresh ticker, which judges the last days again."""
    parts.tick()
    parts.clock.sleep(60)
    parts.execute({"BTC_USDT": ("1", 1), "ETH_USDT": ("1", 1)})
    parts.market.rates = [FundingRate("ETHUSDT", START.replace(hour=8, minute=0, second=0), Decimal("NaN"), None)]
    parts.clock.move_to(START.replace(hour=9, minute=1))
    assert isinstance(parts.store, Failing)
    store = parts.store

    class Failures(Stop):
        def wait(self, timeout: float | None = None) -> bool:
            stopped = super().wait(timeout)
            store.broken = parts.clock.now().minute % 2 == 1
            return stopped

    run(parts.desk(), Heard(), Failures(parts.clock, 5))
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 2
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        "funding of BTCUSDT: 1 not booked, from 2026-11-20T08:00 to 2026-11-20T08:00 UTC: not recorded, or without a "
        "usable rate or mark",
        "funding of ETHUSDT: 1 not booked, from 2026-11-20T08:00 to 2026-11-20T08:00 UTC: without a usable rate "
        "or mark",
    ]


def test_a_market_that_does_not_answer_for_funding_is_one_warning_for_all_contracts(
    parts: Parts, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts.tick()
    parts.clock.sleep(60)
    parts.execute({"BTC_USDT": ("1", 1), "ETH_USDT": ("1", 1)})

    def silent(*_: object) -> list[FundingRate]:
        raise MarketError("fundingRate did not answer")

    monkeypatch.setattr(parts.market, "funding", silent)
    parts.clock.move_to(START.replace(hour=9, minute=1))
    tick_on(parts, 3)
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        "funding of 2 contracts: 2 not booked, from 2026-11-20T08:00 to 2026-11-20T08:00 UTC: the market does not "
        "answer which funding was settled; it is asked again each minute"
    ]


def test_it_does_not_tick_at_all_once_stopped(parts: Parts) -> None:
    stop = Stop(parts.clock, 1)
    stop.set()
    heard = Heard()
    run(parts.desk(), heard, stop)
    assert heard.results == []


@pytest.mark.parametrize(
    ("at", "every", "seconds"),
    [
        ("00:00:00", 60, 60.02),
        ("00:00:59.500000", 60, 0.52),
        ("00:00:00.000001", 60, 60.019999),
        ("13:37:31", 60, 29.02),
        ("13:37:31", 30, 29.02),
        ("13:37:29", 30, 1.02),
        ("13:37:04", 5, 1.02),
        ("23:59:59.999999", 60, 0.020001),
        ("00:00:02", 1, 1.02),
    ],
)
def test_the_next_tick_is_just_past_the_next_multiple(at: str, every: int, seconds: float) -> None:
    now = datetime.fromisoformat(f"2026-11-20T{at}").replace(tzinfo=UTC)
    assert seconds_to_next(now, every) == pytest.approx(seconds, abs=1e-6)
    then = now + timedelta(seconds=seconds_to_next(now, every))
    assert (then.minute * 60 + then.second) % every == 0


# --- what breaks around it ---


def test_a_store_that_fails_leaves_its_minutes_missing_and_nothing_half_written(
    parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    assert isinstance(parts.store, Failing)
    store = parts.store

    class Mending(Stop):
        def wait(self, timeout: float | None = None) -> bool:
            stopped = super().wait(timeout)
            store.broken = parts.clock.now().minute in (22, 23)
            return stopped

    heard = Heard()
    with caplog.at_level(logging.INFO, "desk.ticker"):
        run(parts.desk(), heard, Mending(parts.clock, 6))
    assert minutes_logged(parts) == ["00:20", "00:21", "00:24", "00:25"]
    assert [row["seq"] for row in parts.log()] == [0, 1, 2, 3]
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 2
    assert "StoreUnavailable: cannot append" in errors[0].message
    assert errors[0].exc_info is None
    assert len(heard.results) == 4


class Fragile(ScriptedMarket):
    """A market that raises what it is told to."""

    error: Exception | None = None

    def marks(self, at: datetime) -> Mapping[str, Mark]:
        if self.error is not None:
            raise self.error
        return super().marks(at)


@pytest.mark.parametrize(
    "error", [MarketError("binance: no answer within 10 s"), ZeroDivisionError("a bug"), ValueError("not JSON")]
)
def test_whatever_one_minute_raises_the_next_is_tried(error: Exception) -> None:
    whole = market_of({"BTCUSDT": "90000"})
    market = Fragile(whole.prices, whole.contracts)
    parts = Parts(market, MemoryStore())

    class Recovering(Stop):
        def wait(self, timeout: float | None = None) -> bool:
            stopped = super().wait(timeout)
            market.error = error if parts.clock.now().minute == 21 else None
            return stopped

    run(parts.desk(), Heard(), Recovering(parts.clock, 4))
    assert minutes_logged(parts) == ["00:20", "00:22", "00:23"]


def test_dagster_out_of_reach_does_not_stop_the_portfolio_value(parts: Parts, caplog: pytest.LogCaptureFixture) -> None:
    def unreachable(_result: TickResult) -> None:
        raise RuntimeError("database is locked")

    with caplog.at_level(logging.WARNING, "desk.ticker"):
        tick_on(parts, 3, unreachable)
    assert len(parts.log()) == 3
    assert [record.exc_info for record in caplog.records] == [None] * 3
    assert "database is locked" in caplog.text


def test_a_dagster_home_that_is_no_folder_yet_is_tried_again_at_every_tick(
    parts: Parts, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    home = tmp_path / "dagster"
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    report = dagster_report()
    with caplog.at_level(logging.WARNING, "desk.ticker"):
        tick_on(parts, 2, report)
    assert len(parts.log()) == 2
    assert len(caplog.records) == 2
    home.mkdir()
    tick_on(parts, 2, report)
    with dg.DagsterInstance.get() as instance:
        assert instance.get_latest_materialization_event(LOG) is not None


def test_without_a_dagster_home_it_says_once_that_nothing_is_reported(
    parts: Parts, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    with caplog.at_level(logging.WARNING, "desk.ticker"):
        tick_on(parts, 3, dagster_report())
    assert len(parts.log()) == 3
    assert [record.message for record in caplog.records] == [
        "DAGSTER_HOME is not set: ticks are not reported to Dagster"
    ]


# --- what Dagster is told ---


def materializations(instance: dg.DagsterInstance, key: dg.AssetKey) -> list[dg.AssetMaterialization]:
    records = instance.fetch_materializations(key, limit=200, ascending=True).records
    return [record.asset_materialization for record in records if record.asset_materialization]


def test_every_logged_minute_is_one_materialization_of_the_log_and_of_the_prices(
    parts: Parts, instance: dg.DagsterInstance
) -> None:
    tick_on(parts, 5, DagsterReport(instance))
    reported = materializations(instance, LOG)
    assert [event.metadata["seq"].value for event in reported] == [0, 1, 2, 3, 4]
    assert [event.metadata["timestamp"].value for event in reported] == [row["timestamp"] for row in parts.log()]
    assert reported[-1].metadata["portfolio_value"].value == 1_000_000.0
    assert len(materializations(instance, PRICES)) == 5
    assert instance.get_runs() == []


def test_a_minute_somebody_else_logged_is_not_reported_as_ours(parts: Parts, instance: dg.DagsterInstance) -> None:
    parts.tick()
    DagsterReport(instance)(Ticker(parts.desk()).tick())
    assert materializations(instance, LOG) == []
    assert len(materializations(instance, PRICES)) == 1


def test_a_refused_mark_is_named_on_the_prices(parts: Parts, instance: dg.DagsterInstance) -> None:
    parts.market.prices["ETHUSDT"] = Decimal(0)
    tick_on(parts, 1, DagsterReport(instance))
    (event,) = materializations(instance, PRICES)
    refused = event.metadata["refused"].value
    assert isinstance(refused, Mapping)
    assert set(refused) == {"ETHUSDT"}


def test_a_tick_that_values_nothing_reports_prices_alone(instance: dg.DagsterInstance) -> None:
    result = TickResult("no_value", START, None, None, {}, 0, "no valid mark yet for held BTCUSDT")
    DagsterReport(instance)(result)
    assert materializations(instance, LOG) == []
    assert len(materializations(instance, PRICES)) == 1
