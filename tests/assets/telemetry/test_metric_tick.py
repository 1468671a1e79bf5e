"""The tick is the brief's JSON, in the brief's units, valid by the published schema whatever was measured."""

import json
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from assets.telemetry import metric_tick
from assets.telemetry.bad_telemetry import BadTelemetry
from assets.telemetry.metric_tick import (
    MetricTick,
    check_tick,
    from_percent,
    measured_tick,
    parse_tick,
    tick_document,
    tick_schema,
    to_percent,
)
from resources.documents import Document, dump_line, load_document

# The sample of brief 4, word for word.
SAMPLE = """{
  "type": "metrics.tick",
  "pnl": {
    "fees": 12.75,
    "realized": 150.25,
    "unrealized": -45.5
  },
  "slippage_bps_p50": 2.5,
  "latency_ms_p95": 45.2,
  "win_rate_1h": 0.65,
  "drawdown_daily": -2.1,
  "errors_rate": 0.001,
  "timestamp": 1703123456.789
}"""
TICK = MetricTick(
    fees=Decimal("12.75"),
    realized=Decimal("150.25"),
    unrealized=Decimal("-45.5"),
    slippage_bps_p50=Decimal("2.5"),
    latency_ms_p95=Decimal("45.2"),
    win_rate_1h=Decimal("0.65"),
    drawdown_daily=Decimal("-0.021"),
    errors_rate=Decimal("0.001"),
    time_ms=1_703_123_456_789,
)
# Undefined as far as anything may be.
NOTHING = MetricTick(Decimal(0), Decimal(0), None, None, None, None, None, None, 1)

NUMBERS = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12, places=8)
FRACTIONS = st.decimals(0, 1, places=12)
TICKS = st.builds(
    MetricTick,
    fees=NUMBERS,
    realized=NUMBERS,
    unrealized=st.none() | NUMBERS,
    slippage_bps_p50=st.none() | NUMBERS,
    latency_ms_p95=st.none() | NUMBERS.map(abs),
    win_rate_1h=st.none() | FRACTIONS,
    drawdown_daily=st.none() | FRACTIONS.map(lambda each: -each),
    errors_rate=st.none() | FRACTIONS,
    time_ms=st.integers(1, 4 * 10**12),
)


def sample(**changes: object) -> Document:
    return load_document(SAMPLE.encode()) | changes


def test_the_brief_s_sample_is_what_we_publish_name_for_name_in_its_order_and_units() -> None:
    line = dump_line(tick_document(TICK))
    assert line.decode() == json.dumps(json.loads(SAMPLE), separators=(",", ":"))
    assert parse_tick(sample()) == TICK


def test_the_sample_parsed_to_floats_is_the_same_tick() -> None:
    assert parse_tick(json.loads(SAMPLE)) == TICK


def test_what_is_undefined_is_null_and_not_zero() -> None:
    document = tick_document(NOTHING)
    nulls = {name for name, value in document.items() if value is None}
    assert nulls == {"slippage_bps_p50", "latency_ms_p95", "win_rate_1h", "drawdown_daily", "errors_rate"}
    assert document["pnl"] == {"fees": 0, "realized": 0, "unrealized": None}
    check_tick(document)


def test_per_cent_is_made_at_the_edge_alone() -> None:
    assert (to_percent(Decimal("-0.021")), from_percent(Decimal("-2.1"))) == (Decimal("-2.1"), Decimal("-0.021"))
    assert (to_percent(None), from_percent(None)) == (None, None)
    document = tick_document(TICK)
    assert (document["drawdown_daily"], document["win_rate_1h"]) == (Decimal("-2.1"), Decimal("0.65"))


def test_the_schema_is_one_of_the_draft_it_names_and_says_every_unit() -> None:
    schema = tick_schema()
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    named = schema["properties"] | schema["properties"]["pnl"]["properties"]
    units = {name: each["description"].split(":")[0] for name, each in named.items() if "description" in each}
    assert units.pop("timestamp").startswith("seconds since 1970 UTC")
    assert units == {
        "fees": "USD",
        "realized": "USD",
        "unrealized": "USD",
        "slippage_bps_p50": "basis points",
        "latency_ms_p95": "milliseconds",
        "win_rate_1h": "fraction",
        "drawdown_daily": "per cent",
        "errors_rate": "fraction",
    }
    table = metric_tick.__doc__ or ""
    assert all(f"{name} | {unit.lower()}" in table.lower() for name, unit in units.items())


@pytest.mark.parametrize("version", ["1.0", 2])
def test_a_schema_version_is_let_through_and_passed_over(version: object) -> None:
    assert parse_tick(sample(schema_version=version)) == TICK


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"type": "metrics.tock"}, "type"),
        ({"further": 1}, "tick"),
        ({"pnl": None}, "pnl"),
        ({"pnl": {"fees": 1, "realized": 1}}, "pnl"),
        ({"pnl": {"fees": 1, "realized": None, "unrealized": 1}}, "pnl.realized"),
        ({"pnl": {"fees": "12.75", "realized": 1, "unrealized": 1}}, "pnl.fees"),
        ({"pnl": {"fees": 1, "realized": 1, "unrealized": 1, "net": 1}}, "pnl"),
        ({"pnl": {"fees": Decimal("NaN"), "realized": 1, "unrealized": 1}}, "fees"),
        ({"win_rate_1h": 65}, "win_rate_1h"),
        ({"win_rate_1h": True}, "win_rate_1h"),
        ({"drawdown_daily": Decimal("2.1")}, "drawdown_daily"),
        ({"drawdown_daily": Decimal("-100.1")}, "drawdown_daily"),
        ({"latency_ms_p95": -1}, "latency_ms_p95"),
        ({"latency_ms_p95": float("inf")}, "latency_ms_p95"),
        ({"errors_rate": Decimal("1.5")}, "errors_rate"),
        ({"errors_rate": float("nan")}, "errors_rate"),
        ({"slippage_bps_p50": "2.5"}, "slippage_bps_p50"),
        ({"timestamp": 0}, "timestamp"),
        ({"timestamp": "1703123456789"}, "timestamp"),
        ({"timestamp": Decimal("1703123456.7891")}, "timestamp"),
        ({"schema_version": 1.5}, "schema_version"),
    ],
)
def test_a_document_that_is_no_tick_is_refused_by_the_name_of_its_field(changes: Document, field: str) -> None:
    with pytest.raises(BadTelemetry) as caught:
        parse_tick(sample(**changes))
    assert caught.value.field == field


@pytest.mark.parametrize("missing", sorted(json.loads(SAMPLE)))
def test_every_field_is_required(missing: str) -> None:
    document = sample()
    del document[missing]
    with pytest.raises(BadTelemetry, match=missing):
        check_tick(document)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("fees", None),
        ("realized", None),
        ("realized", Decimal("NaN")),
        ("unrealized", Decimal("Infinity")),
        ("fees", 12.75),
        ("latency_ms_p95", Decimal(-1)),
        ("win_rate_1h", Decimal("1.01")),
        ("drawdown_daily", Decimal("0.021")),
        ("drawdown_daily", Decimal("-2.1")),
        ("errors_rate", Decimal("-0.1")),
        ("time_ms", 0),
        ("time_ms", None),
    ],
)
def test_a_tick_that_cannot_be_is_never_made(field: str, value: object) -> None:
    with pytest.raises(BadTelemetry) as caught:
        replace(TICK, **{field: value})
    assert caught.value.field == field


@settings(max_examples=80)
@given(TICKS)
def test_every_tick_is_valid_and_comes_back_as_it_was(tick: MetricTick) -> None:
    document = tick_document(tick)
    check_tick(document)
    assert parse_tick(load_document(dump_line(document))) == tick


@settings(max_examples=80)
@given(
    st.lists(NUMBERS, max_size=30),
    st.lists(NUMBERS.map(abs), max_size=30),
    st.integers(0, 50),
    st.integers(0, 50),
)
def test_what_is_measured_makes_a_valid_tick_of_samples(
    slippages: list[Decimal], latencies: list[Decimal], errors: int, successes: int
) -> None:
    tick = measured_tick(
        1_703_123_456_789,
        fees=Decimal(1),
        realized=Decimal(2),
        unrealized=None,
        slippages_bps=slippages,
        latencies_ms=latencies,
        win_rate_1h=None,
        drawdown_daily=None,
        errors=errors,
        handled=errors + successes,
    )
    check_tick(tick_document(tick))
    assert (tick.slippage_bps_p50 in slippages) if slippages else tick.slippage_bps_p50 is None
    assert (tick.latency_ms_p95 in latencies) if latencies else tick.latency_ms_p95 is None
    assert (tick.errors_rate is None) == (errors + successes == 0)
    assert tick.errors_rate is None or errors - 1 < tick.errors_rate * (errors + successes) < errors + 1


def test_more_errors_than_records_are_a_mistake_of_the_caller() -> None:
    with pytest.raises(BadTelemetry, match="3 errors among 2 records"):
        measured_tick(
            1,
            fees=Decimal(0),
            realized=Decimal(0),
            unrealized=None,
            slippages_bps=(),
            latencies_ms=(),
            win_rate_1h=None,
            drawdown_daily=None,
            errors=3,
            handled=2,
        )


JSON = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-200, 200),
    st.decimals(-200, 200, places=3),
    st.floats(-200, 200),
    st.text(max_size=4),
    st.just(Decimal("NaN")),
    st.just([]),
    st.fixed_dictionaries({"fees": st.just(1), "realized": st.booleans() | st.just(1), "unrealized": st.none()}),
)


@settings(max_examples=200)
@given(TICKS, st.sampled_from([*json.loads(SAMPLE), "pnl.fees", "schema_version", "further"]), JSON)
def test_no_way_of_reading_admits_what_the_schema_refuses(tick: MetricTick, field: str, value: object) -> None:
    document = tick_document(tick)
    if field == "pnl.fees":
        document["pnl"]["fees"] = value
    else:
        document[field] = value
    try:
        check_tick(document)
    except BadTelemetry:
        with pytest.raises(BadTelemetry):
            parse_tick(document)
        return
    if field == "timestamp" and Decimal(str(value)) * 1000 % 1:  # which a schema cannot say
        with pytest.raises(BadTelemetry, match="more than milliseconds"):
            parse_tick(document)
        return
    check_tick(tick_document(parse_tick(document)))
