"""A day that is over, measured from its records: recomputed ticks, levels and report, and judges that can say no."""

import csv
import io
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.telemetry.backtest.report import (
    EQUITY,
    RESULTS,
    SIGNALS,
    TRADES,
    ReportContradiction,
    round_trips,
    write_report,
)
from assets.telemetry.bad_telemetry import BadTelemetry
from assets.telemetry.day_checks import log_differences, schema_failures, unmet_levels
from assets.telemetry.day_record import (
    DAY_NS,
    MINUTE_NS,
    Sample,
    day_key,
    end_levels,
    levels_of,
    performance_key,
    recomputed,
    sample_rows,
    samples_key,
    store_monitor,
    tick_lines,
)
from assets.telemetry.day_record import day_document as read_day
from assets.telemetry.day_report import FORCED, identities, implausible, report_name, report_of, stored_files
from assets.telemetry.metric_tick import MetricTick
from assets.telemetry.telemetry_log import append_tick, ticks_key
from assets.telemetry.watch import Watch
from resources.documents import Document, dump_document, load_document
from tests.assets.telemetry.day_parts import (
    DAY,
    MARKS,
    SECOND,
    T0,
    a_day,
    day_document,
    end_of,
    fill,
    opened,
    point,
    signal,
    store_day,
    whole_day,
)
from tests.memory_store import MemoryStore

NEXT = DAY + timedelta(days=1)
NOW = datetime(2026, 3, 5, tzinfo=UTC)
LONG, SHORT = "binance:BTCUSDT", "bybit:BTCUSDT"


def tick_at(time_ns: int, **changes: Any) -> MetricTick:
    zero = {"fees": Decimal(0), "realized": Decimal(0), "unrealized": Decimal(0)}
    unknown = dict.fromkeys(("slippage_bps_p50", "latency_ms_p95", "win_rate_1h", "drawdown_daily", "errors_rate"))
    return MetricTick(**zero | unknown | {"time_ms": time_ns // 10**6} | changes)  # type: ignore[arg-type]


def through_the_store(document: Document) -> Document:
    """As it is read back: whole numbers become ints."""
    return load_document(dump_document(document))


# --- ticks ---


def test_there_is_a_tick_at_every_valuation_and_no_other() -> None:
    found = recomputed(MemoryStore(), "SIMULATED", through_the_store(day_document(a_day())))
    assert [tick.time_ms for tick in found.ticks] == [
        (T0 + minute * MINUTE_NS) // 10**6 for minute in (0, 2, 3, 4, 6, 8)
    ]
    assert [tick.unrealized for tick in found.ticks] == [0, Decimal("1.25"), None, 0, 0, Decimal("-1.5")]
    assert [tick.win_rate_1h for tick in found.ticks] == [None, None, None, 0, 0, 0]
    assert all(tick.latency_ms_p95 is None for tick in found.ticks)
    assert found.ticks[-1].errors_rate == Decimal(1) / len(a_day())


def test_what_was_told_as_it_happened_and_what_was_stored_measure_the_same() -> None:
    records = a_day()
    told = recomputed(MemoryStore(), "SIMULATED", day_document(records))
    stored = recomputed(MemoryStore(), "SIMULATED", through_the_store(day_document(records)))
    assert tick_lines(told.ticks) == tick_lines(stored.ticks)
    assert dump_document(told.fold.document()) == dump_document(stored.fold.document())


def test_a_record_of_another_day_or_without_its_opening_is_refused() -> None:
    store = MemoryStore()
    assert read_day(store, "SIMULATED", DAY) is None
    store.write(performance_key("SIMULATED", DAY), dump_document(day_document(a_day(NEXT))))
    with pytest.raises(BadTelemetry, match="says it is of '2026-03-02'"):
        read_day(store, "SIMULATED", DAY)
    store.write(performance_key("SIMULATED", DAY), dump_document(day_document(a_day()) | {"records": a_day()[1:]}))
    with pytest.raises(BadTelemetry, match="does not begin with the opening"):
        read_day(store, "SIMULATED", DAY)


def test_a_field_that_is_missing_or_no_exact_number_is_named() -> None:
    for broken, reason in (({"realized": 0.5}, "realized: 0.5 is not an exact number"), ({}, "fees: missing")):
        record = point(T0 + 1, "1") | broken
        if not broken:
            del record["fees"]
        with pytest.raises(BadTelemetry, match=reason):
            recomputed(MemoryStore(), "SIMULATED", day_document([opened(), record]))


def resident(store: MemoryStore, records: list[Document], *, lag_ns: int = 0) -> None:
    """The day as the trader passes through it: told of what is older than ``lag_ns``, beating every ten seconds."""
    watch = Watch(store, "SIMULATED", 10, T0)
    waiting = list(records)
    for number in range(9 * 6):
        now_ns = T0 + number * 10 * SECOND + SECOND
        while waiting and waiting[0].get("time_ns", waiting[0].get("closed_ns")) <= now_ns - lag_ns:
            watch.take(waiting.pop(0))
        watch.beat(now_ns, {}, None, (), naked_ns=None)
    watch.close_day()


@pytest.mark.parametrize(("lag_s", "behind"), [(0, 0), (5, 2)])
def test_the_ticks_of_a_resident_trader_agree_with_the_log(lag_s: int, behind: int) -> None:
    store = MemoryStore()
    resident(store, a_day(), lag_ns=lag_s * SECOND)
    document = through_the_store(day_document(a_day()))
    store.create(
        day_key("SIMULATED", DAY, "recomputed.jsonl"), tick_lines(recomputed(store, "SIMULATED", document).ticks)
    )
    verdict = log_differences(store, "SIMULATED", DAY, document)
    assert verdict.failures == ()
    # Late, it knew nothing at the first beat, and thrice what it knew was more than two minutes old.
    assert verdict.compared["resident ticks compared"] == (50 if lag_s else 54)
    assert verdict.compared["of them one valuation behind"] == behind
    assert schema_failures(store, "SIMULATED", DAY, 10).failures == ()


def test_a_resident_tick_that_is_not_of_the_log_is_found() -> None:
    store = MemoryStore()
    document = day_document(a_day())
    store.create(
        day_key("SIMULATED", DAY, "recomputed.jsonl"), tick_lines(recomputed(store, "SIMULATED", document).ticks)
    )
    append_tick(store, "simulated", tick_at(T0 + MINUTE_NS), 10)  # nothing was realised yet: true
    append_tick(store, "simulated", tick_at(T0 + 5 * MINUTE_NS), 10)
    verdict = log_differences(store, "SIMULATED", DAY, document)
    (failure,) = verdict.failures
    assert "has fees 0 and realized 0, in the log 10.012 and -2.012" in failure
    assert verdict.compared["resident ticks compared"] == 2


def test_stored_ticks_that_the_records_do_not_give_are_found() -> None:
    store, document = MemoryStore(), day_document(a_day())
    assert log_differences(store, "SIMULATED", DAY, document).failures == ("the ticks of 2026-03-01 are not stored",)
    ticks = recomputed(store, "SIMULATED", document).ticks
    store.create(day_key("SIMULATED", DAY, "recomputed.jsonl"), tick_lines(ticks[:-1]))
    (failure,) = log_differences(store, "SIMULATED", DAY, document).failures
    assert "not those that its records give" in failure


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{}", "required property"),
        (b"{", "is not JSON"),
        (tick_lines([tick_at(end_of(DAY))]).strip(), "is of another day"),
        (tick_lines([tick_at(T0)]).strip(), "is not later than the tick before it"),
    ],
)
def test_a_line_that_is_no_tick_of_the_day_in_its_place_is_found(line: bytes, reason: str) -> None:
    store = MemoryStore()
    ticks = recomputed(store, "SIMULATED", day_document(a_day())).ticks
    store.create(day_key("SIMULATED", DAY, "recomputed.jsonl"), tick_lines(ticks))
    assert schema_failures(store, "SIMULATED", DAY, 10).failures == ()
    store.write(ticks_key("simulated", DAY), tick_lines(ticks[:1]) + line + b"\n")
    failure = schema_failures(store, "SIMULATED", DAY, 10).failures[0]
    assert reason in failure
    assert failure.startswith("telemetry/simulated/2026-03-01/ticks.jsonl:2 ")


def test_a_day_without_a_tick_and_an_instant_with_two_are_found() -> None:
    store = MemoryStore()
    assert schema_failures(store, "SIMULATED", DAY, 10).failures == ("no tick of 2026-03-01 is stored",)
    store.write(ticks_key("simulated", DAY), tick_lines([tick_at(T0), tick_at(T0 + SECOND)]))
    assert schema_failures(store, "SIMULATED", DAY, 10).failures[1:] == (
        "1 instants of the grid have more than one resident tick",
    )


# --- service levels ---


def test_a_day_nobody_traded_while_it_passed_has_no_uptime_at_all() -> None:
    store = MemoryStore()
    document = end_levels(store, "SIMULATED", DAY, 10)
    assert {level["name"]: level["met"] for level in document["levels"]} == {
        "publish_latency_p95": None, "stream_lag_p95": None, "duplicate_rate": None, "uptime": None,
    }  # fmt: skip
    uptime = document["levels"][-1]
    assert uptime["value"] is None
    assert uptime["reason"] == "no trader had ever beaten by the end of the window"
    rows = list(csv.DictReader(io.StringIO(store.read(day_key("SIMULATED", DAY, "service_levels.csv")).data.decode())))
    assert rows[-1]["met"] == "unknown"
    assert unmet_levels(store, "SIMULATED", DAY).compared == {"met": 0, "breached": 0, "undecided": 4}


def beaten(store: MemoryStore, first_ns: int, count: int) -> None:
    day = date.fromisoformat(datetime.fromtimestamp(first_ns // SECOND, UTC).date().isoformat())
    lines = tick_lines([tick_at(first_ns + number * 10 * SECOND) for number in range(count)])
    store.write(ticks_key("simulated", day), lines)


def sampled(store: MemoryStore, latency_ns: int, *, until_ns: int, same: bool = False) -> None:
    samples = [
        Sample(until_ns - number * SECOND, latency_ns, 10**6, f"signals:paper#{0 if same else number:08x}")
        for number in range(1_200)
    ]
    store.write(samples_key("SIMULATED"), dump_document({"state": {"samples": sample_rows(samples)}}))


def test_levels_are_of_the_ticks_stored_and_the_samples_read() -> None:
    store = MemoryStore()
    beaten(store, end_of(DAY) - 2_500 * SECOND, 250)
    sampled(store, 40_000_000, until_ns=end_of(DAY))
    document = end_levels(store, "SIMULATED", DAY, 10)
    assert {level["name"]: (level["value"], level["met"]) for level in document["levels"]} == {
        "publish_latency_p95": (Decimal("0.04"), True),
        "stream_lag_p95": (Decimal("0.001"), True),
        "duplicate_rate": (0, True),
        "uptime": (1, True),
    }
    assert unmet_levels(store, "SIMULATED", DAY).failures == ()
    # As first judged: what is measured later does not change it.
    before = store.contents()
    sampled(store, 900_000_000, until_ns=end_of(DAY))
    end_levels(store, "SIMULATED", DAY, 10)
    changed = {key for key, data in store.contents().items() if before[key] != data}
    assert changed == {samples_key("SIMULATED")}


def test_a_breached_level_and_an_undecided_one_are_told_apart() -> None:
    store = MemoryStore()
    beaten(store, end_of(DAY) - 4 * 3_600 * SECOND, 250)
    sampled(store, 600_000_000, until_ns=end_of(DAY), same=True)
    end_levels(store, "SIMULATED", DAY, 10)
    breached = unmet_levels(store, "SIMULATED", DAY).failures
    assert [failure.partition(" is ")[0] for failure in breached] == [
        "breached: publish_latency_p95", "breached: duplicate_rate", "breached: uptime",
    ]  # fmt: skip
    assert unmet_levels(store, "SIMULATED", NEXT).failures == ("the service levels of 2026-03-02 are not stored",)


def test_a_day_the_trader_was_away_after_it_had_run_is_down_and_not_undecided() -> None:
    store = MemoryStore()
    beaten(store, end_of(DAY) - 2_500 * SECOND, 250)
    uptime = end_levels(store, "SIMULATED", NEXT, 10)["levels"][-1]
    assert uptime["met"] is False
    assert uptime["value"] < Decimal("0.03")


def test_time_from_before_the_first_beat_is_neither_up_nor_down() -> None:
    levels = levels_of((), (), since_ns=T0 + DAY_NS, now_ns=T0, heartbeat_ns=10 * SECOND)
    assert levels[-1].met is None
    assert levels[-1].value is None


# --- report ---


def stored_report(document: Document, store: MemoryStore | None = None) -> tuple[dict[str, bytes], Document]:
    where = MemoryStore() if store is None else store
    again = through_the_store(document)
    name = report_name("SIMULATED", date.fromisoformat(document["day"]))
    write_report(where, name, report_of(again))
    return stored_files(where, name), again


def test_the_report_of_a_day_by_hand() -> None:
    files, document = stored_report(day_document(a_day()))
    results = load_document(files[RESULTS])
    # Trip: 0.1 * (50060 - 50000 + 50100 - 50080) - 10.012 of fees. Then 5010 - 5000 - 5.005 of fees + 0.5 of funding,
    # and at the marks 5001 - 5010.5 is held.
    assert results["start_value"] == 20_000
    assert results["fees"] == Decimal("15.017")
    assert results["funding"] == Decimal("0.5")
    assert results["held"] == {LONG: Decimal("0.1"), SHORT: Decimal("-0.1")}
    assert results["held_value"] == Decimal("-9.5")
    assert results["final_equity"] == 20_000 + Decimal("-2.012") + Decimal("5.495") - Decimal("9.5")
    assert results["total_trades"] == 6
    assert results["total_signals"] == 3
    assert results["win_rate"] == 0
    assert results["round_trips"]["closed"] == 1
    assert results["round_trips"]["open"] == 1
    assert results["round_trips"]["closed_net_pnl"] == Decimal("-2.012")
    curve = list(csv.DictReader(io.StringIO(files[EQUITY].decode())))
    assert [row["datetime"] for row in curve][-2:] == ["2026-03-01 00:08:00+00:00", "2026-03-01 23:59:59.999999+00:00"]
    assert len(curve) == 6  # five of six valuations are known, and the day's end
    assert Decimal(curve[-1]["cash"]) == 20_000 + Decimal("-2.012") + Decimal("5.495")
    signals = list(csv.DictReader(io.StringIO(files[SIGNALS].decode())))
    assert [(row["status"], row["reason"]) for row in signals] == [
        ("filled", ""), ("refused", "spread_lost"), ("filled", ""),
    ]  # fmt: skip
    verdict = identities(files, document)
    assert verdict.failures == ()
    assert verdict.compared == {"fills": 6, "points": 6, "valuations_with_nothing_held": 3}


def test_a_signal_filled_in_part_says_how_much() -> None:
    name = "s"
    records = [
        opened(),
        signal(T0, name, quantity="0.4"),
        fill(T0 + 1, name, LONG, "buy", "50000"),
        fill(T0 + 2, name, LONG, "buy", "50000"),
        {"kind": "entry_abandoned", "time_ns": T0 + 3, "signal_id": name, "reason": "leg_out"},
        signal(T0 + 4, "t", quantity="0.4"),
        fill(T0 + 5, "t", LONG, "buy", "50000"),
        signal(T0 + 6, "u"),
    ]
    found = [(each.status, each.reason) for each in report_of(day_document(records)).signals]
    assert found == [
        ("partial", "leg_out"),
        ("partial", "0.1 of 0.4 filled by the end of the day"),
        ("refused", "0 of 0.1 filled by the end of the day"),
    ]


def test_what_is_held_without_a_mark_has_no_worth() -> None:
    with pytest.raises(BadTelemetry, match=r"-3 still holds -0\.1 of bybit:BTCUSDT, which has no closing mark"):
        report_of(day_document(a_day(), marks=MARKS | {SHORT: None}))
    with pytest.raises(BadTelemetry, match="no closing mark"):
        report_of(day_document(a_day(), marks={}))


def test_a_pool_of_dollars_does_not_trade_against_other_money() -> None:
    records = [opened(), fill(T0 + 1, "s", "kraken:BTC/EUR", "buy", "40000")]
    with pytest.raises(BadTelemetry, match="cannot trade against EUR"):
        report_of(day_document(records, marks={"kraken:BTC/EUR": Decimal(1)}))


def carried_day() -> Document:
    """The day after ``a_day``: its third signal is held from the start and closed, the short leg at two prices."""
    start, name = end_of(DAY), f"{DAY}-3"
    first = dict(opened(NEXT, Decimal(20_000) - Decimal("6.517"), DAY.isoformat()))
    fees = [Decimal("2.5025"), Decimal("1.2515"), Decimal("1.2520")]
    net = Decimal("-6.517") - sum(fees) + Decimal("0.1") * (50_050 - 50_000) + Decimal("0.05") * (2 * 50_100 - 100_140)
    records = [
        first,
        point(start, "-6.517", "-1.5", "15.017"),
        fill(start + 1, name, LONG, "sell", "50050", fee=fees[0]),
        fill(start + 2, name, SHORT, "buy", "50060", quantity="0.05", fee=fees[1]),
        fill(start + 3, name, SHORT, "buy", "50080", quantity="0.05", fee=fees[2]),
        point(start + MINUTE_NS, f"{net}", "0", f"{Decimal('15.017') + sum(fees)}"),
    ]
    opening = [
        {"signal_id": name, "exchange": "binance", "symbol": "BTCUSDT", "quantity": "0.1", "notional": "5000"},
        {"signal_id": name, "exchange": "bybit", "symbol": "BTCUSDT", "quantity": "-0.1", "notional": "-5010"},
        # A leg of another signal that was flat at midnight: what it had won is in the capital already.
        {"signal_id": "flat", "exchange": "bybit", "symbol": "ETHUSDT", "quantity": "1", "notional": "3000"},
        {"signal_id": "flat", "exchange": "bybit", "symbol": "ETHUSDT", "quantity": "-1", "notional": "-3010"},
    ]
    rows = [row | {name: Decimal(row[name]) for name in ("quantity", "notional")} for row in opening]
    return day_document(records, opening=rows, marks={})


def test_what_was_held_when_the_day_began_is_in_the_report_with_what_it_had_cost() -> None:
    files, document = stored_report(carried_day())
    results = load_document(files[RESULTS])
    assert results["start_value"] == Decimal("19993.483")
    assert results["opening_value"] == -10
    assert results["held"] == {}
    assert results["total_signals"] == 0
    assert results["round_trips"]["closed"] == 1
    verdict = identities(files, document)
    assert verdict.failures == ()
    assert verdict.compared["valuations_with_nothing_held"] == 1
    assert results["final_equity"] == document["records"][-1]["equity"]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 10**6), st.integers(1, 10**9), st.integers(1, 10**9), st.integers(1, 10**9))
def test_the_report_of_a_carried_leg_is_exact_for_any_cost(quantity: int, cost: int, price: int, mark: int) -> None:
    """Its entry price seldom has finitely many digits; what was earned has."""
    size, paid = Decimal(quantity).scaleb(-3), Decimal(cost).scaleb(-4)
    rows = [{"signal_id": "s", "exchange": "x", "symbol": "BTCUSDT", "quantity": size, "notional": paid}]
    records = [opened(capital=Decimal(10**9)), fill(T0 + 1, "s", "x:BTCUSDT", "sell", str(Decimal(price).scaleb(-2)))]
    document = day_document(records, opening=rows, marks={"x:BTCUSDT": Decimal(mark).scaleb(-2)})
    report = report_of(document)
    assert abs(report.start_value - 10**9) < Decimal("1e-15")
    earned = report.final_equity - report.start_value
    proceeds = Decimal("0.1") * Decimal(price).scaleb(-2) * Decimal("0.9995")
    due = proceeds + (size - Decimal("0.1")) * Decimal(mark).scaleb(-2) - paid
    assert abs(earned - due) < Decimal("1e-15")
    write = MemoryStore()
    write_report(write, report_name("SIMULATED", DAY), report)
    assert identities(stored_files(write, report_name("SIMULATED", DAY)), through_the_store(document)).failures == ()


@pytest.mark.parametrize(
    ("file", "old", "new", "reason"),
    [
        (TRADES, b",5000.0,", b",5001.0,", "trades.csv is not what results.json says it was"),
        (EQUITY, b"20000,20000", b"20001,20000", "equity_curve.csv is not what results.json says it was"),
        (SIGNALS, b"filled", b"refused", "signals.csv is not what results.json says it was"),
        (RESULTS, b'"funding":0.5', b'"funding":0.6', "funding is stated as 0.6, computed 0.5"),
        (RESULTS, b'"final_equity":19993.983', b'"final_equity":19993.984', "final_equity is stated as 19993.984"),
        (RESULTS, b'"held_value":-9.5', b'"held_value":-9.4', "held_value is stated as -9.4, computed -9.5"),
        (RESULTS, b'"bybit:BTCUSDT":-0.1', b'"bybit:BTCUSDT":-0.2', "held is stated as"),
    ],
)
def test_a_report_that_was_changed_is_found(file: str, old: bytes, new: bytes, reason: str) -> None:
    files, document = stored_report(day_document(a_day()))
    if file == TRADES:
        old, new = b"sell,0.1,50060", b"sell,0.1,50061"
    assert old in files[file]
    verdict = identities(files | {file: files[file].replace(old, new, 1)}, document)
    assert any(reason in failure for failure in verdict.failures), verdict.failures


def test_a_valuation_that_the_fills_contradict_is_found() -> None:
    records = a_day()
    wrong = next(record for record in records if record["kind"] == "point" and record["fees"] == Decimal("10.012"))
    wrong["equity"] += 1
    files, document = stored_report(day_document(records))
    (failure,) = identities(files, document).failures
    assert "with nothing held, is stated as 19998.988, computed 19997.988" in failure


def test_a_report_that_is_not_all_there_is_found() -> None:
    files, document = stored_report(day_document(a_day()))
    del files[SIGNALS]
    assert identities(files, document).failures == ("not stored: signals.csv",)


def test_the_importer_finds_nothing_in_our_report_that_is_not_explained() -> None:
    files, document = stored_report(day_document(whole_day(a_day())))
    flags, explained = implausible(files, document, NOW)
    assert [str(flag) for flag in flags] == []
    assert {flag.code for flag in explained} == {"missing_rows"}
    assert set(FORCED) >= {"missing_rows"}


def test_the_importer_finds_what_was_made_worse() -> None:
    files, document = stored_report(day_document(a_day()))
    assert b'"win_rate":0.000000' in files[RESULTS]
    shown = files | {RESULTS: files[RESULTS].replace(b'"win_rate":0.000000', b'"win_rate":140')}
    flags, _ = implausible(shown, document, NOW)
    assert "out_of_range" in {flag.code for flag in flags}
    without = {file: data for file, data in files.items() if file != TRADES}
    assert "file_missing" in {flag.code for flag in implausible(without, document, NOW)[0]}
    future, _ = implausible(files, document, datetime(2026, 2, 1, tzinfo=UTC))
    assert "future_time" in {flag.code for flag in future}


def test_a_hole_in_the_curve_that_no_unknown_valuation_explains_is_found() -> None:
    whole = [opened(), *(point(T0 + n * MINUTE_NS, "0", None if n == 7 else "0") for n in range(24 * 60))]
    files, document = stored_report(day_document(whole))
    flags, explained = implausible(files, document, NOW)
    assert [str(flag) for flag in flags] == []
    assert {flag.code for flag in explained} == {"missing_rows", "no_trades"}
    files, document = stored_report(
        day_document([record for record in whole if record["time_ns"] != T0 + 9 * MINUTE_NS])
    )
    assert "missing_rows" in {flag.code for flag in implausible(files, document, NOW)[0]}


def test_records_that_contradict_themselves_make_no_report() -> None:
    records = [opened(), fill(T0 + 1, "s", LONG, "buy", "50000", fee=Decimal(-1))]
    with pytest.raises(ReportContradiction, match="fee -1"):
        report_of(day_document(records))


def test_both_legs_of_a_signal_are_one_round_trip() -> None:
    (trip,) = round_trips(report_of(day_document(a_day()))).closed
    assert trip.group == "2026-03-01-1"
    assert trip.trades == 4
    assert trip.net == Decimal("-2.012")


def test_two_days_in_a_row_measure_as_one_monitor_would() -> None:
    store = MemoryStore()
    store_day(store, day_document(a_day()))
    first = recomputed(store, "SIMULATED", through_the_store(day_document(a_day())))
    store_monitor(store, "SIMULATED", first.fold)
    second = recomputed(store, "SIMULATED", through_the_store(carried_day()))
    assert second.ticks[0].fees == Decimal("15.017")
    assert second.fold.monitor.trades.total_trades == 1
    assert len(second.fold.monitor.daily_returns) == 1
