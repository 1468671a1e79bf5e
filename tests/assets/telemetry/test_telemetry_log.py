"""The day's ticks in the store: one a grid instant whoever writes, read tolerantly; and every metric of brief 4."""

import threading
from dataclasses import fields, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from assets.telemetry.metric_tick import MetricTick, tick_document
from assets.telemetry.performance_monitor import PerformanceMonitor, PerformanceSummary
from assets.telemetry.performance_tracker import TradePerformance
from assets.telemetry.telemetry_log import (
    METRICS,
    DayTicks,
    append_tick,
    grid_instant,
    metric_values,
    newest_ticks,
    read_ticks,
    ticks_key,
)
from resources.documents import dump_line
from resources.store.local import LocalStore
from tests.memory_store import MemoryStore

DAY = date(2026, 11, 18)
START = int(datetime(2026, 11, 18, tzinfo=UTC).timestamp()) * 1000
TICK = MetricTick(Decimal("1.5"), Decimal(2), None, None, Decimal(45), None, Decimal("-0.021"), Decimal(0), START)
KEY = "telemetry/simulated/2026-11-18/ticks.jsonl"

# Every field that brief 4 names.
TRACKER = ("pnl_usd", "pnl_bps", "fees_usd", "slippage_bps", "hold_time_seconds", "strategy", "confidence")
MONITOR = ("gross_pnl_total", "net_pnl_total", "fees_total", "max_equity", "min_equity", "max_drawdown", "equity_curve")
ENGINE = ("equity", "cash", "unrealized_pnl", "peak_equity", "daily_pnl")
MAPPINGS = ("realized", "unrealized", "return_bps", "total_return", "sharpe_ratio", "win_rate", "win_rate_1h")
COUNTS = ("winning_trades", "total_trades", "drawdown_daily", "current_drawdown", "close_reason")
STREAMS = ("fees", "slippage_bps_p50", "latency_ms_p95", "errors_rate", "timestamp", "ms", "execution_time_ms")
RESULTS = ("final_equity", "start_value", "volatility", "total_signals", "signal_to_trade_ratio")
BRIEF = TRACKER + MONITOR + ENGINE + MAPPINGS + COUNTS + STREAMS + RESULTS


def at(seconds: float) -> MetricTick:
    return replace(TICK, time_ms=START + int(seconds * 1000))


def test_ticks_are_stored_in_the_brief_s_shape_and_read_back() -> None:
    store = MemoryStore()
    assert append_tick(store, "simulated", at(0), 10)
    assert append_tick(store, "simulated", at(10), 10)
    assert store.contents() == {KEY: b"".join(dump_line(tick_document(at(each))) + b"\n" for each in (0, 10))}
    read = read_ticks(store, "simulated", DAY)
    assert (read.ticks, read.unreadable) == ((at(0), at(10)), 0)
    assert read_ticks(store, "live", DAY).ticks == ()


def test_of_one_grid_instant_there_is_one_tick_and_none_goes_back() -> None:
    store = MemoryStore()
    assert append_tick(store, "simulated", at(10), 10)
    for seconds in (10, 10.001, 19.999, 9.999, 0):
        assert not append_tick(store, "simulated", at(seconds), 10)
    assert append_tick(store, "simulated", at(20.5), 10)
    assert read_ticks(store, "simulated", DAY).ticks == (at(10), at(20.5))
    assert (grid_instant(START + 19_999, 10), grid_instant(START + 20_000, 10)) == (START + 10_000, START + 20_000)


def test_a_tick_lies_in_its_own_utc_day() -> None:
    store = MemoryStore()
    append_tick(store, "live", at(86_399.999), 10)
    append_tick(store, "live", at(86_400), 10)
    assert sorted(store.contents()) == [ticks_key("live", DAY), ticks_key("live", date(2026, 11, 19))]


def test_two_writers_at_once_leave_one_tick_an_instant(tmp_path: Path) -> None:
    wrote: list[bool] = []

    def write() -> None:
        store = LocalStore(tmp_path)
        wrote.extend(append_tick(store, "simulated", at(10 * number), 10) for number in range(20))

    writers = [threading.Thread(target=write) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    times = [tick.time_ms for tick in read_ticks(LocalStore(tmp_path), "simulated", DAY).ticks]
    assert times == sorted(set(times))
    assert sum(wrote) == len(times)
    assert START + 190_000 in times


def test_a_torn_end_is_passed_over_and_the_next_writer_goes_on(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    append_tick(store, "simulated", at(0), 10)
    with (tmp_path / KEY).open("ab") as log:
        log.write(dump_line(tick_document(at(10)))[:40])
    assert read_ticks(store, "simulated", DAY) == DayTicks((at(0),), 0)
    assert append_tick(store, "simulated", at(10), 10)
    assert read_ticks(store, "simulated", DAY).ticks == (at(0), at(10))


# Seconds before and after the day's beginning: two days back, twice the evening before, and thrice of the day.
KEPT = (-100_000, -80, -10, 0, 10.001, 20)


@pytest.mark.parametrize(
    ("after_s", "count", "first"),
    [(-1e9, 100, 0), (-1e9, 3, 3), (-80, 100, 2), (-0.001, 100, 3), (0, 100, 4), (20, 100, 6), (2**63, 100, 6)],
)
def test_the_newest_ticks_are_read_over_the_days(after_s: float, count: int, first: int) -> None:
    store = MemoryStore()
    for seconds in (-8 * 86_400, *KEPT):  # in an earlier week too
        assert append_tick(store, "simulated", at(seconds), 10)
    found = newest_ticks(store, "simulated", at(after_s).time_ms if after_s < 100 else 2**63, DAY, count)
    assert found == [at(seconds) for seconds in KEPT[first:]]


def test_lines_that_are_no_ticks_are_counted_and_do_not_stop_the_log() -> None:
    store = MemoryStore()
    append_tick(store, "simulated", at(0), 10)
    wrong = [{"win_rate_1h": 65}, {"timestamp": Decimal("1e999999999")}]
    beyond = dump_line(tick_document(at(5))).replace(b'"type"', b'"of":1e99999999999999999999,"type"')
    for line in (b"garbage", b"{}", b"[1]", beyond, *(dump_line(tick_document(at(5)) | each) for each in wrong)):
        store.append(KEY, line)
    assert append_tick(store, "simulated", at(10), 10)
    read = read_ticks(store, "simulated", DAY)
    assert (read.ticks, read.unreadable) == ((at(0), at(10)), 6)


@pytest.mark.parametrize("name", BRIEF)
def test_every_metric_of_the_brief_is_in_the_table_once_with_unit_and_meaning(name: str) -> None:
    found = [metric for metric in METRICS if metric.name == name]
    assert len(found) == 1
    assert all((found[0].unit, found[0].meaning, found[0].source))


def test_the_table_has_no_metric_of_our_own() -> None:
    assert {metric.name for metric in METRICS} == set(BRIEF)


def test_a_metric_is_a_field_of_the_record_it_is_said_to_be_of() -> None:
    records = {
        "performance summary": PerformanceSummary,
        "closed trade": TradePerformance,
        "metric tick": MetricTick,
        "performance monitor": PerformanceMonitor,
    }
    other_names = {"unrealized_pnl": "unrealized", "timestamp": "time_ms"}
    missing = [
        metric.name
        for metric in METRICS
        if metric.source in records and not hasattr(records[metric.source], other_names.get(metric.name, metric.name))
    ]
    assert missing == []


def test_values_come_by_the_table_s_names_and_undefined_is_none() -> None:
    summary = PerformanceMonitor(Decimal(20_000), START * 10**6).summary(START * 10**6)
    found = metric_values(summary, TICK)
    assert set(found) == {metric.name for metric in METRICS if metric.source in ("performance summary", "metric tick")}
    assert (found["max_equity"], found["fees"], found["timestamp"]) == (20_000, Decimal("1.5"), START)
    assert (found["drawdown_daily"], found["latency_ms_p95"]) == (Decimal("-0.021"), 45)
    assert (found["unrealized_pnl"], found["sharpe_ratio"], found["win_rate_1h"], found["total_trades"]) == (
        None,
        None,
        None,
        0,
    )
    assert set(metric_values(None, None).values()) == {None}
    assert {field.name for field in fields(MetricTick)} - {"time_ms"} <= set(found)
