"""Service levels: met, breached or undecided, each on samples that were recorded, over 72 hours."""

import csv
import io
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.telemetry.bad_telemetry import BadTelemetry
from assets.telemetry.service_levels import (
    WINDOW_NS,
    Delivery,
    Heartbeat,
    LagSample,
    LatencySample,
    ServiceLevel,
    Targets,
    report_csv,
    service_levels,
)

SECOND = 10**9
HOUR = 3_600 * SECOND
NOW = 1_763_424_000 * SECOND
MS = SECOND // 1000


def levels(
    latencies_ms: list[int] | None = None,
    lags_ms: list[int] | None = None,
    ids: list[str] | None = None,
    beats: list[int] | None = None,
    since_ns: int = NOW - HOUR,
    now_ns: int = NOW,
) -> dict[str, ServiceLevel]:
    found = service_levels(
        [LatencySample(NOW - SECOND, each * MS) for each in latencies_ms or []],
        [LagSample(NOW - SECOND, each * MS) for each in lags_ms or []],
        [Delivery(NOW - SECOND, each) for each in ids or []],
        [Heartbeat(each) for each in beats or []],
        since_ns=since_ns,
        now_ns=now_ns,
    )
    return {level.name: level for level in found}


def beating(begin_ns: int, end_ns: int) -> list[int]:
    return list(range(begin_ns, end_ns + 1, 10 * SECOND))


def test_nothing_is_met_by_default() -> None:
    empty = levels(since_ns=NOW - SECOND)
    assert [level.met for level in empty.values()] == [None] * 4
    assert [level.samples for level in empty.values()] == [0] * 4
    assert [empty[name].value for name in ("publish_latency_p95", "stream_lag_p95", "duplicate_rate")] == [None] * 3
    assert all("samples needed" in level.reason for level in empty.values())


@pytest.mark.parametrize(("name", "target_ms"), [("publish_latency_p95", 500), ("stream_lag_p95", 1000)])
def test_a_percentile_is_held_inclusively_and_judged_from_twenty_samples_on(name: str, target_ms: int) -> None:
    def level(samples: list[int]) -> ServiceLevel:
        return levels(
            samples if name == "publish_latency_p95" else None, samples if name == "stream_lag_p95" else None
        )[name]

    # One bad sample of twenty breaches nothing, two do.
    assert level([target_ms] * 19 + [10**6]).met is True
    breached = level([target_ms] * 18 + [target_ms + 1] * 2)
    assert (breached.met, breached.value) == (False, Decimal(target_ms + 1) / 1000)
    young = level([10**6] * 19)
    assert (young.met, young.value, young.samples, young.needed) == (None, 1000, 19, 20)


def test_duplicates_stay_strictly_below_one_in_a_thousand() -> None:
    distinct = [str(number) for number in range(1999)]
    assert levels(ids=[*distinct, "0"])["duplicate_rate"].met is True  # 1 of 2000
    one_in_thousand = levels(ids=[*distinct[:1998], "0", "1"])["duplicate_rate"]
    assert (one_in_thousand.value, one_in_thousand.met) == (Decimal("0.001"), False)
    young = levels(ids=[*distinct[:999], "0"])["duplicate_rate"]
    assert (young.value, young.met, young.needed) == (Decimal("0.001"), None, 1001)


def test_a_service_that_beats_is_up_and_one_that_never_beat_is_not_unknown() -> None:
    up = levels(beats=beating(NOW - HOUR, NOW))["uptime"]
    assert (up.value, up.met, up.samples) == (1, True, 360)
    down = levels()["uptime"]
    assert (down.value, down.met) == (0, False)


def test_uptime_is_not_compared_with_more_than_all_of_the_time() -> None:
    """The predecessor warned below 1.1 times 99.5 %, hence always."""

    def uptime(gap: int) -> ServiceLevel:
        resumed = NOW - (1_000 - gap) * SECOND
        return levels(beats=beating(NOW - HOUR, NOW - 1_000 * SECOND) + beating(resumed, NOW))["uptime"]

    assert (uptime(28).value, uptime(28).met) == (Decimal("0.995"), True)  # 18 s of the hour are lost
    assert (uptime(29).value, uptime(29).met) == (Decimal("0.994722222222"), False)


def test_an_outage_counts_from_one_interval_after_the_last_beat() -> None:
    beats = [beat for beat in beating(NOW - HOUR, NOW) if not NOW - 1_000 * SECOND < beat < NOW - 500 * SECOND]
    level = levels(beats=beats)["uptime"]
    assert (level.value, level.met) == (Decimal("0.863888888889"), False)  # 490 s of 3600


def test_one_late_beat_is_no_outage() -> None:
    beats = beating(NOW - HOUR, NOW)
    del beats[100]
    assert levels(beats=beats)["uptime"].value == 1


def test_uptime_is_undecided_while_one_lost_beat_would_breach_it() -> None:
    young = levels(beats=[NOW - 1_990 * SECOND], since_ns=NOW - 1_990 * SECOND)["uptime"]
    assert (young.met, young.samples, young.needed) == (None, 199, 200)
    assert levels(beats=[NOW - 2_000 * SECOND], since_ns=NOW - 2_000 * SECOND)["uptime"].met is False


def test_what_lies_outside_of_the_window_does_not_count() -> None:
    old, coming = NOW - WINDOW_NS, NOW + 1
    found = service_levels(
        [LatencySample(time_ns, 1) for time_ns in (old, coming)],
        [LagSample(time_ns, 1) for time_ns in (old, coming)],
        [Delivery(time_ns, "a") for time_ns in (old, coming)],
        [Heartbeat(coming)],
        since_ns=NOW - 2 * WINDOW_NS,
        now_ns=NOW,
    )
    assert [level.samples for level in found] == [0, 0, 0, WINDOW_NS // (10 * SECOND)]
    assert found[3].value == 0
    inside = service_levels(
        [LatencySample(time_ns, 1) for time_ns in (old + 1, NOW)], (), (), (), since_ns=old, now_ns=NOW
    )
    assert inside[0].samples == 2


@pytest.mark.parametrize(
    "broken",
    [
        lambda: LatencySample(NOW, -1),
        lambda: LatencySample(0, 1),
        lambda: LagSample(NOW, 1.5),  # type: ignore[arg-type]
        lambda: Delivery(NOW, ""),
        lambda: Heartbeat(-1),
        lambda: Targets(uptime=Decimal(1)),
        lambda: Targets(duplicates=Decimal(0)),
        lambda: Targets(heartbeat_ns=0),
        lambda: levels(since_ns=NOW),
    ],
)
def test_samples_and_targets_that_cannot_be_are_refused(broken: object) -> None:
    with pytest.raises(BadTelemetry):
        broken()  # type: ignore[operator]


def test_the_report_is_a_table_with_units_and_without_invented_numbers() -> None:
    found = levels([100] * 20, [], ["a"], [])
    rows = list(csv.DictReader(io.StringIO(report_csv(tuple(found.values()), now_ns=NOW))))
    assert [(row["name"], row["value"], row["unit"], row["rule"], row["target"], row["met"]) for row in rows] == [
        ("publish_latency_p95", "0.1", "s", "<=", "0.5", "yes"),
        ("stream_lag_p95", "", "s", "<=", "1", "unknown"),
        ("duplicate_rate", "0", "fraction", "<", "0.001", "unknown"),
        ("uptime", "0", "fraction", ">=", "0.995", "no"),
    ]
    assert {(row["as_of"], row["window_hours"]) for row in rows} == {("2025-11-18T00:00:00.000000+00:00", "72")}
    assert (rows[2]["reason"], rows[2]["samples"], rows[0]["reason"]) == ("1 of the 1001 samples needed", "1", "")


@settings(max_examples=80)
@given(st.lists(st.integers(0, 4_000), max_size=80), st.integers(1, 4_000))
def test_uptime_is_a_share_and_one_more_beat_never_lowers_it(seconds: list[int], more: int) -> None:
    begin = NOW - 4_000 * SECOND
    beats = [begin + each * SECOND for each in seconds]
    before = levels(beats=beats, since_ns=begin)["uptime"].value
    after = levels(beats=[*beats, begin + more * SECOND], since_ns=begin)["uptime"].value
    assert before is not None
    assert after is not None
    assert 0 <= before <= after <= 1


@settings(max_examples=80)
@given(st.lists(st.integers(0, 400), max_size=60))
def test_uptime_is_the_time_that_beats_cover_counted_second_by_second(seconds: list[int]) -> None:
    begin = NOW - 400 * SECOND
    beats = sorted(set(seconds))
    up = 0
    for second in range(400):
        last = max((beat for beat in beats if beat <= second), default=None)
        coming = min((beat for beat in [*beats, 400] if beat > second), default=None)
        if last is None:
            up += bool(beats) and coming is not None and coming <= 20
        elif coming is not None:
            up += coming - last <= 20 or second < last + 10
    found = levels(beats=[begin + each * SECOND for each in beats], since_ns=begin)["uptime"].value
    assert found == pytest.approx(Decimal(up) / 400)


def test_other_targets_are_other_promises() -> None:
    found = service_levels(
        [LatencySample(NOW, 10 * MS)] * 20,
        (),
        (),
        (),
        since_ns=NOW - HOUR,
        now_ns=NOW,
        targets=replace(Targets(), publish_latency_s=Decimal("0.005")),
    )
    assert (found[0].met, found[0].target) == (False, Decimal("0.005"))
