"""The watch: same numbers however often it is killed, one tick an instant, nothing shown as of now that is not."""

import logging
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.accounting.precision import divided
from assets.telemetry.collector import CollectorHealth
from assets.telemetry.day_record import (
    MINUTE_NS,
    Sample,
    begun,
    day_key,
    folded,
    store_monitor,
)
from assets.telemetry.metric_tick import check_tick
from assets.telemetry.telemetry_log import METRICS, SUMMARY, TICK, read_ticks
from assets.telemetry.watch import SERIES_POINTS, Watch, live_key
from resources.bus import BusHealth, EntryId
from resources.documents import Document, load_document
from resources.store import Store
from tests.assets.telemetry.day_parts import (
    DAY,
    SECOND,
    T0,
    a_day,
    day_document,
    end_of,
    opened,
    point,
    store_day,
    trade,
)
from tests.memory_store import MemoryStore

GRID = 10
HEALTH = BusHealth(True, 4, 0, {"exec:paper:confirms": EntryId(5, 1)}, 90, 0, 0, 0, 0, 0, 0, 0, "", "")


def watch_of(store: Store, records: list[Document], since_ns: int = T0) -> Watch:
    watch = Watch(store, "SIMULATED", GRID, since_ns)
    for record in records:
        watch.take(record)
    return watch


def beat(watch: Watch, now_ns: int, samples: tuple[Sample, ...] = (), **changes: Any) -> Document | None:
    given: dict[str, Any] = {"counts": {}, "bus": None, "naked_ns": None} | changes
    counts, bus = given.pop("counts"), given.pop("bus")
    return watch.beat(now_ns, counts, bus, samples, **given)


def live(store: Store) -> Document:
    return load_document(store.read(live_key("SIMULATED")).data)


def steady(minutes: int) -> list[Document]:
    """A valuation a minute, the newest at ``minutes``."""
    return [opened(), *(point(T0 + number * MINUTE_NS, str(number)) for number in range(minutes + 1))]


def test_a_tick_says_what_the_records_say() -> None:
    store = MemoryStore()
    watch = watch_of(store, a_day())
    tick = beat(watch, T0 + 8 * MINUTE_NS + 3 * SECOND)
    assert tick is not None
    check_tick(tick)
    assert tick["pnl"] == {"fees": Decimal("15.017"), "realized": Decimal("-6.517"), "unrealized": Decimal("-1.5")}
    assert tick["slippage_bps_p50"] == 2  # of 2, 2, 3, 4
    assert tick["latency_ms_p95"] is None  # nothing was published: undefined, not zero
    assert tick["win_rate_1h"] == 0
    assert tick["errors_rate"] == Decimal(1) / Decimal(len(a_day()))
    assert tick["timestamp"] == Decimal(T0 + 8 * MINUTE_NS + 3 * SECOND) / SECOND
    assert [each.time_ms for each in read_ticks(store, "simulated", DAY).ticks] == [
        (T0 + 8 * MINUTE_NS) // 10**6 + 3_000
    ]


@pytest.mark.parametrize("killed_after", range(1, len(a_day()) + 1))
def test_a_watch_killed_after_any_record_and_told_again_shows_the_same(killed_after: int) -> None:
    records, now_ns = a_day(), T0 + 8 * MINUTE_NS + 3 * SECOND
    straight, killed = MemoryStore(), MemoryStore()
    whole = watch_of(straight, records)
    beat(whole, now_ns)
    watch_of(killed, records[:killed_after])
    again = watch_of(killed, records)
    beat(again, now_ns)
    before, after = whole.snapshot(), again.snapshot()
    assert before is not None
    assert before == after
    assert live(straight) == live(killed)
    whole.close_day()
    again.close_day()
    assert straight.read(day_key("SIMULATED", DAY, "monitor.json")).data == (
        killed.read(day_key("SIMULATED", DAY, "monitor.json")).data
    )


def test_ticks_made_before_a_kill_are_in_the_series_of_what_only_ticks_know() -> None:
    store = MemoryStore()
    now_ns = T0 + 5 * MINUTE_NS
    sample = Sample(now_ns - SECOND, 40_000_000, 2_000_000, "signals:paper#00000001")
    first = watch_of(store, steady(5))
    beat(first, now_ns, (sample,))
    shown = live(store)["series"]["latency_ms_p95"]
    assert shown == {"points": [[now_ns, 40]], "changed_ns": now_ns}
    second = watch_of(store, steady(6))
    beat(second, now_ns + MINUTE_NS)
    assert live(store)["series"]["latency_ms_p95"]["points"] == [[now_ns, 40], [now_ns + MINUTE_NS, None]]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(0, 300_000), min_size=1, max_size=40),
    st.lists(st.booleans(), min_size=40, max_size=40),
)
def test_no_instant_of_the_grid_has_two_ticks_whoever_is_killed_and_wherever_the_clock_goes(
    offsets_ms: list[int], killed: list[bool]
) -> None:
    store = MemoryStore()
    watch = watch_of(store, steady(5))
    for offset, dies in zip(offsets_ms, killed, strict=False):
        if dies:
            watch = watch_of(store, steady(5))
        beat(watch, T0 + 4 * MINUTE_NS + offset * 10**6)
    instants = [tick.time_ms // (GRID * 1_000) for tick in read_ticks(store, "simulated", DAY).ticks]
    # The newest valuation is of a minute after the beats' earliest: two more, and it is not that of now any more.
    assert bool(instants) == (min(offsets_ms) <= 3 * 60_000)
    assert instants == sorted(set(instants))


def test_a_state_older_than_two_valuations_makes_no_tick_and_an_alarm() -> None:
    store = MemoryStore()
    watch = watch_of(store, steady(5))
    newest = T0 + 5 * MINUTE_NS
    assert beat(watch, newest + 2 * MINUTE_NS) is not None
    assert beat(watch, newest + 2 * MINUTE_NS + GRID * SECOND) is None
    assert live(store)["tick"] is None
    beat(watch, newest + 17 * MINUTE_NS)
    alarms = {alarm["name"]: alarm for alarm in live(store)["alarms"]}
    assert alarms["no_ticks"]["firing"]
    assert alarms["lost_heartbeat"]["firing"]


def test_a_session_makes_ticks_of_its_own_day_only() -> None:
    store = MemoryStore()
    last = end_of(DAY) - 30 * SECOND
    watch = watch_of(store, [opened(), point(last, "1")])
    assert beat(watch, end_of(DAY) - 1) is not None
    assert beat(watch, end_of(DAY) + SECOND) is None
    assert not read_ticks(store, "simulated", DAY + timedelta(days=1)).ticks


def test_before_anything_is_told_there_is_nothing_to_show() -> None:
    store = MemoryStore()
    watch = Watch(store, "SIMULATED", GRID, T0)
    assert beat(watch, T0 + SECOND) is None
    assert watch.snapshot() is None
    watch.close_day()
    assert store.contents() == {}


def test_a_first_session_beats_from_its_first_second() -> None:
    tick = beat(watch_of(MemoryStore(), [opened()]), T0 + SECOND)
    assert tick is not None
    assert tick["pnl"] == {"fees": 0, "realized": 0, "unrealized": 0}


def test_the_next_day_goes_on_from_what_the_day_before_left() -> None:
    store = MemoryStore()
    watch = watch_of(store, a_day())
    watch.close_day()
    following = DAY + timedelta(days=1)
    for record in a_day(following, DAY.isoformat(), before="-6.517", fees_before="15.017")[:1]:
        watch.take(record)
    tick = beat(watch, end_of(DAY) + SECOND)
    assert tick is not None
    assert tick["pnl"] == {"fees": Decimal("15.017"), "realized": Decimal("-6.517"), "unrealized": None}
    shown = live(store)["values"]
    assert shown["total_trades"] == 1
    assert shown["slippage_bps_p50"] is None  # nothing was filled on this day
    watch.close_day()
    assert load_document(store.read(day_key("SIMULATED", following, "monitor.json")).data)["day"] == "2026-03-02"


def test_a_day_whose_trader_died_before_it_stored_the_monitor_is_folded_from_its_records() -> None:
    told, died = MemoryStore(), MemoryStore()
    store_day(died, day_document(a_day()))
    watch_of(told, a_day()).close_day()
    following = opened(DAY + timedelta(days=1), carried_day=DAY.isoformat())
    assert begun(told, "SIMULATED", following).document() == begun(died, "SIMULATED", following).document()
    assert died.read(day_key("SIMULATED", DAY, "monitor.json")).data == (
        told.read(day_key("SIMULATED", DAY, "monitor.json")).data
    )


def test_where_nothing_is_left_of_the_day_before_pnl_is_unknown_until_the_first_valuation() -> None:
    store = MemoryStore()
    following = DAY + timedelta(days=1)
    watch = watch_of(store, [opened(following, carried_day=DAY.isoformat())])
    assert beat(watch, end_of(DAY) + SECOND) is None
    assert live(store)["values"]["realized"] is None
    watch.take(point(end_of(DAY) + MINUTE_NS, "3"))
    assert beat(watch, end_of(DAY) + MINUTE_NS) is not None


def test_the_monitor_of_a_day_is_stored_once_whoever_stores_it() -> None:
    store = MemoryStore()
    document = day_document(a_day())
    first = store_monitor(store, "SIMULATED", folded(store, "SIMULATED", document))
    watch = watch_of(store, [opened(), point(T0 + MINUTE_NS, "9")])
    watch.close_day()
    stored = load_document(store.read(day_key("SIMULATED", DAY, "monitor.json")).data)
    assert stored == load_document(store.read(day_key("SIMULATED", DAY, "monitor.json")).data)
    assert stored["realized"] == first["realized"] == Decimal("-6.517")


def test_everything_the_page_needs_is_in_the_live_document() -> None:
    store = MemoryStore()
    watch = watch_of(store, a_day())
    beat(watch, T0 + 8 * MINUTE_NS + SECOND, counts={"crossed_book": 3}, bus=HEALTH)
    document = live(store)
    assert document["as_of"] == "2026-03-01T00:08:01.000000+00:00"
    assert document["source"] == "SIMULATED"
    assert document["day"] == "2026-03-01"
    assert document["rejected"] == {"crossed_book": 3}
    assert document["bus"]["last_ids"] == {"exec:paper:confirms": "5-1"}
    assert document["bus"]["published"] == 90
    assert set(document["values"]) == {metric.name for metric in METRICS if metric.source in (SUMMARY, TICK)}
    assert document["values"]["equity"] == Decimal("19991.983")
    assert [level["name"] for level in document["levels"]] == [
        "publish_latency_p95", "stream_lag_p95", "duplicate_rate", "uptime",
    ]  # fmt: skip
    assert all(level["met"] is None and level["reason"] for level in document["levels"])
    assert document["last_trade"]["pnl_usd"] == Decimal("-2.012")
    assert document["last_trade"]["close_reason"] == "profit_target"
    assert document["errors"] == 1
    assert document["handled"] == len(a_day())
    realized = document["series"]["realized"]
    assert [value for _, value in realized["points"]] == [
        Decimal(each["realized"]) for each in a_day() if each["kind"] == "point"
    ]
    assert realized["changed_ns"] == T0 + 8 * MINUTE_NS
    assert document["series"]["unrealized"]["points"][2] == [T0 + 3 * MINUTE_NS, None]
    assert document["series"]["hold_time_seconds"]["points"] == [[T0 + 3 * MINUTE_NS + 2, Decimal("119.999999999")]]
    assert document["series"]["equity_curve"]["points"][-1] == [T0 + 8 * MINUTE_NS, Decimal("19991.983")]


def test_series_keep_the_newest_points_and_when_they_last_changed() -> None:
    store = MemoryStore()
    records = [opened(), *(point(T0 + n * MINUTE_NS, "7" if n > 50 else "5") for n in range(200))]
    beat(watch_of(store, records), T0 + 199 * MINUTE_NS)
    series = live(store)["series"]["realized"]
    assert len(series["points"]) == SERIES_POINTS
    assert series["points"][0] == [T0 + 80 * MINUTE_NS, 7]
    assert series["changed_ns"] == T0 + 51 * MINUTE_NS


def test_without_redis_there_is_no_bus_and_no_latency() -> None:
    store = MemoryStore()
    beat(watch_of(store, steady(5)), T0 + 5 * MINUTE_NS)
    assert live(store)["bus"] is None
    assert live(store)["values"]["latency_ms_p95"] is None
    assert live(store)["series"]["ms"] == {"points": [], "changed_ns": None}


def test_latency_is_of_the_last_hour() -> None:
    now_ns = T0 + 120 * MINUTE_NS
    watch = watch_of(MemoryStore(), steady(120))
    old = Sample(now_ns - 60 * MINUTE_NS, 900_000_000, 0, "a#1")
    new = Sample(now_ns - 59 * MINUTE_NS, 1_500_000, 0, "a#2")
    tick = beat(watch, now_ns, (old, new))
    assert tick is not None
    assert tick["latency_ms_p95"] == Decimal("1.5")


def test_failures_of_the_publisher_are_errors_and_a_new_publisher_counts_from_zero() -> None:
    store = MemoryStore()
    watch = watch_of(store, steady(5))
    now_ns = T0 + 5 * MINUTE_NS
    failing = replace(HEALTH, published=5, errors=2, refused=1, dropped=1)
    tick = beat(watch, now_ns, bus=failing)
    assert tick is not None
    assert tick["errors_rate"] == divided(Decimal(4), Decimal(11))  # 4 beside 7 records
    for number in range(1, 4):
        beat(watch, now_ns + number * GRID * SECOND, bus=replace(failing, errors=2 + 4 * number))
    errors = {alarm["name"]: alarm for alarm in live(store)["alarms"]}["errors"]
    assert errors["firing"]
    assert "16 errors in the last minute" in errors["detail"]
    beat(watch, now_ns + 90 * SECOND, bus=replace(failing, errors=1))
    errors = {alarm["name"]: alarm for alarm in live(store)["alarms"]}["errors"]
    assert "3 errors in the last minute" in errors["detail"]
    assert not errors["firing"]


@pytest.mark.parametrize("bus", [None, HEALTH, replace(HEALTH, published=10**6)], ids=["none", "little", "much"])
def test_the_rate_of_errors_is_that_of_the_days_records_however_much_was_published(bus: BusHealth | None) -> None:
    store, records = MemoryStore(), [*a_day(), {"kind": "error", "time_ns": T0 + 8 * MINUTE_NS}]
    tick = beat(watch_of(store, records), T0 + 8 * MINUTE_NS, bus=bus)
    assert tick is not None
    assert tick["errors_rate"] == divided(Decimal(2), Decimal(len(records)))
    document = live(store)
    assert (document["errors"], document["handled"]) == (2, len(records))
    again = begun(store, "SIMULATED", records[0])
    for record in records[1:]:
        again.take(record)
    recomputed = again.tick(T0 + 8 * MINUTE_NS, again.summary(T0 + 8 * MINUTE_NS))
    assert recomputed is not None
    assert recomputed.errors_rate == tick["errors_rate"]


def test_a_collector_that_fails_is_shown_and_its_failures_are_errors() -> None:
    store = MemoryStore()
    watch = watch_of(store, steady(5))
    now_ns = T0 + 5 * MINUTE_NS
    beat(watch, now_ns)
    assert live(store)["collector"] is None
    failing = CollectorHealth(11, "KeyError: 'state'")
    tick = beat(watch, now_ns + GRID * SECOND, bus=HEALTH, collector=failing)
    document = live(store)
    assert document["collector"] == {"errors": 11, "failed": "KeyError: 'state'"}
    assert (document["errors"], document["handled"]) == (11, len(steady(5)) + 11)
    assert {alarm["name"]: alarm for alarm in document["alarms"]}["errors"]["firing"]
    assert tick is not None
    assert tick["errors_rate"] > 0
    # A publisher that began anew counts from zero, and the collector's failures are not new by that.
    beat(watch, now_ns + 2 * GRID * SECOND, bus=replace(HEALTH, published=0), collector=replace(failing, failed=""))
    errors = {alarm["name"]: alarm for alarm in live(store)["alarms"]}["errors"]
    assert "11 errors in the last minute" in errors["detail"]
    assert live(store)["collector"]["failed"] == ""


def test_an_alarm_is_said_once_and_held_back_for_ten_minutes(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore()
    watch = watch_of(store, [opened()])
    with caplog.at_level(logging.WARNING):
        for number in range(70):
            now_ns = T0 + number * GRID * SECOND
            watch.take(point(now_ns, "0"))
            beat(watch, now_ns, naked_ns=SECOND)
    said = [record.getMessage() for record in caplog.records if record.getMessage().startswith("naked_position")]
    assert len(said) == 2
    assert said[1].endswith("(and 59 times more since it was last told)")


def test_a_leg_that_stood_alone_between_two_beats_is_not_forgotten() -> None:
    store = MemoryStore()
    watch = watch_of(store, steady(5))
    now_ns = T0 + 5 * MINUTE_NS
    beat(watch, now_ns)
    beat(watch, now_ns + 2 * SECOND, naked_ns=SECOND)
    beat(watch, now_ns + 3 * SECOND, naked_ns=SECOND // 10)  # a shorter one afterwards does not hide it
    beat(watch, now_ns + 4 * SECOND)
    beat(watch, now_ns + GRID * SECOND)
    naked = {alarm["name"]: alarm for alarm in live(store)["alarms"]}["naked_position"]
    assert naked["firing"]
    assert naked["detail"] == "one leg stood alone for 1.000 s"
    beat(watch, now_ns + 2 * GRID * SECOND)
    assert not {alarm["name"]: alarm for alarm in live(store)["alarms"]}["naked_position"]["firing"]


def test_a_leg_that_stood_alone_before_the_day_began_is_told_with_its_first_review() -> None:
    store = MemoryStore()
    watch = watch_of(store, [])
    assert beat(watch, T0, naked_ns=SECOND) is None  # no session yet, nothing to show
    for record in steady(5):
        watch.take(record)
    beat(watch, T0 + 5 * MINUTE_NS)
    assert {alarm["name"]: alarm for alarm in live(store)["alarms"]}["naked_position"]["firing"]


def test_uptime_counts_the_time_a_killed_trader_was_away() -> None:
    store = MemoryStore()
    for minute in (60, 300):  # two runs of ten minutes, and almost four hours between them
        watch = watch_of(store, steady(minute))
        for number in range(61):
            now_ns = T0 + minute * MINUTE_NS + number * GRID * SECOND
            watch.take(point(now_ns, str(minute)))
            beat(watch, now_ns)
    uptime = {level["name"]: level for level in live(store)["levels"]}["uptime"]
    assert uptime["met"] is False
    expected = Decimal(20 * 60 + GRID) / Decimal(250 * 60)
    assert abs(uptime["value"] - expected) < Decimal("1e-9")


def test_a_record_that_cannot_be_measured_with_is_an_error_and_the_day_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = MemoryStore()
    watch = watch_of(store, steady(4))
    watch.take(point(T0 + MINUTE_NS, "5"))  # before what was folded
    watch.take(trade("1", "1", T0, T0 + 4 * MINUTE_NS) | {"notional_usd": 0})
    watch.take(point(T0 + 5 * MINUTE_NS, "5"))
    tick = beat(watch, T0 + 5 * MINUTE_NS)
    assert tick is not None
    assert tick["pnl"]["realized"] == 5
    assert live(store)["errors"] == 2
    assert "a trade record cannot be measured with: notional_usd: 0 is not positive" in caplog.text


def test_a_session_told_twice_is_begun_twice() -> None:
    store = MemoryStore()
    watch = watch_of(store, [*a_day()[:9], *a_day()])
    beat(watch, T0 + 8 * MINUTE_NS + SECOND)
    assert live(store)["values"]["total_trades"] == 1
    assert live(store)["handled"] == len(a_day())


def test_a_day_is_known_by_its_date() -> None:
    assert day_key("SIMULATED", date(2026, 3, 1), "monitor.json") == "telemetry/simulated/2026-03-01/monitor.json"
