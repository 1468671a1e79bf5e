"""What a scrape shows: base units, help with the unit, nothing undefined, and only on this machine."""

import socket
import urllib.request
from dataclasses import replace
from decimal import Decimal

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from assets.telemetry.alarms import AlarmStatus
from assets.telemetry.metric_tick import MetricTick
from assets.telemetry.performance_monitor import EquityPoint, PerformanceMonitor
from assets.telemetry.performance_tracker import ClosedTrade
from assets.telemetry.prometheus import TelemetryCollector, TelemetrySnapshot, serve
from assets.telemetry.service_levels import ServiceLevel

NOW = 1_763_424_000 * 10**9


def snapshot() -> TelemetrySnapshot:
    monitor = PerformanceMonitor(Decimal(20_000), NOW)
    for pnl in ("12.5", "-2.5"):
        monitor.record(
            ClosedTrade(Decimal(pnl), Decimal(1), Decimal(1000), None, NOW, NOW, "carry", None, "profit_target")
        )
    monitor.observe(EquityPoint(NOW, Decimal(19_000), Decimal(100), Decimal(10), Decimal(-1010)))
    half = Decimal("0.5")
    return TelemetrySnapshot(
        as_of_ns=NOW,
        source="SIMULATED",
        summary=monitor.summary(NOW),
        tick=MetricTick(Decimal(2), Decimal(10), None, Decimal("2.5"), Decimal("45.2"), half, None, None, NOW // 10**6),
        levels=(
            ServiceLevel("publish_latency_p95", Decimal("0.1"), "s", "<=", half, 20, 20, True, ""),
            ServiceLevel("stream_lag_p95", None, "s", "<=", Decimal(1), 0, 20, None, "0 of the 20 samples needed"),
            ServiceLevel("uptime", Decimal("0.9"), "fraction", ">=", Decimal("0.995"), 360, 200, False, ""),
        ),
        alarms=(
            AlarmStatus("errors", True, "42 errors", NOW, NOW, 3, 7),
            AlarmStatus("drawdown", None, "unknown", None, None, 0, 0),
            AlarmStatus("no_ticks", False, "fresh", None, None, 0, 0),
        ),
    )


def scraped(seen: TelemetrySnapshot | None) -> list[Sample]:
    registry = CollectorRegistry()
    registry.register(TelemetryCollector(lambda: seen))
    text = generate_latest(registry).decode()
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def values(seen: TelemetrySnapshot | None) -> dict[str, float]:
    return {",".join([sample.name, *sample.labels.values()]): sample.value for sample in scraped(seen)}


def test_numbers_are_exposed_in_base_units() -> None:
    found = values(snapshot())
    expected = {
        "desk_telemetry_info,SIMULATED": 1,
        "desk_telemetry_timestamp_seconds": 1_763_424_000,
        "desk_pnl_usd": 10,
        "desk_gross_pnl_usd": 12,
        "desk_fees_usd": 2,
        "desk_pnl_per_notional_ratio": 0.005,
        "desk_equity_usd": 19_000,
        "desk_max_drawdown_ratio": -0.05,
        "desk_drawdown_daily_ratio": -0.05,
        "desk_win_rate_ratio": 0.5,
        "desk_trades_total": 2,
        "desk_winning_trades_total": 1,
        "desk_slippage_p50_ratio": 0.00025,
        "desk_latency_p95_seconds": 0.0452,
        "desk_tick_timestamp_seconds": 1_763_424_000,
        "desk_service_publish_latency_p95_seconds": 0.1,
        "desk_service_uptime_ratio": 0.9,
        "desk_service_level_met,publish_latency_p95": 1,
        "desk_service_level_met,uptime": 0,
        "desk_alarm_firing,errors": 1,
        "desk_alarm_firing,no_ticks": 0,
        "desk_alarm_suppressed_total,errors": 7,
    }
    assert {name: found.get(name) for name in expected} == expected


def test_what_is_undefined_is_absent() -> None:
    found = values(snapshot())
    assert not {
        "desk_sharpe_ratio",
        "desk_errors_ratio",
        "desk_service_stream_lag_p95_seconds",
        "desk_service_level_met,stream_lag_p95",
        "desk_alarm_firing,drawdown",
    } & set(found)
    assert not any(value != value for value in found.values())
    assert values(None) == {}
    bare = values(replace(snapshot(), summary=None, tick=None, levels=(), alarms=()))
    assert set(bare) == {"desk_telemetry_info,SIMULATED", "desk_telemetry_timestamp_seconds"}


def test_every_name_ends_in_its_unit_and_every_help_says_it() -> None:
    registry = CollectorRegistry()
    registry.register(TelemetryCollector(snapshot))
    families = list(registry.collect())
    assert len({family.name for family in families}) == len(families)
    words = {"_usd": "in USD", "_seconds": "in seconds", "_ratio": ("fraction", "number")}
    for family in families:
        units = [unit for suffix, unit in words.items() if family.name.endswith(suffix)]
        if units:
            allowed = (units[0],) if isinstance(units[0], str) else units[0]
            assert any(word in family.documentation for word in allowed), family.name
        else:
            assert family.type == "counter" or family.name in (
                "desk_telemetry_info",
                "desk_service_level_met",
                "desk_alarm_firing",
            )


def test_the_endpoint_serves_the_present_snapshot_and_frees_its_port() -> None:
    seen = snapshot()
    present: list[TelemetrySnapshot | None] = [None]
    with serve(0, lambda: present[0]) as endpoint:
        assert "desk_" not in urllib.request.urlopen(endpoint.url).read().decode()
        present[0] = seen
        text = urllib.request.urlopen(endpoint.url).read().decode()
        assert "desk_equity_usd 19000.0" in text
        # A registry of its own: nothing about the process or its Python.
        assert not [line for line in text.splitlines() if line and not line.startswith(("#", "desk_"))]
        port = int(endpoint.url.split(":")[2].split("/")[0])
    endpoint.close()
    with serve(port, lambda: seen) as again:
        assert again.url == endpoint.url
        with pytest.raises(OSError, match="in use"):
            serve(port, lambda: seen)


def test_it_listens_on_the_loopback_address_alone() -> None:
    with serve(0, lambda: None) as endpoint:
        host, port = endpoint.url.removeprefix("http://").removesuffix("/metrics").split(":")
        assert host == "127.0.0.1"
        # Another address of this machine: taken as well, were it listening everywhere.
        with socket.socket() as other:
            assert other.connect_ex(("127.0.0.2", int(port))) != 0
