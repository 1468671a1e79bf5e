"""The rebalance as one flow, each rule of reference/trading.md 3.4 as a small story on a scripted market."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assets.accounting.book import Book as Portfolio
from assets.accounting.events import Fill, Flow
from assets.desk.detection import detection_of, look, outcome_of
from assets.desk.rebalance import (
    ClockBehind,
    ExecutionBusy,
    RebalanceRefused,
    choose_pv_pre,
    execute_orders,
    freeze_pre_execution,
    parse_daily_csv,
    plan_sized_orders,
    publish_executed,
    rebaseline,
    run_rebalance,
)
from assets.desk.tick import Ticker
from assets.desk.verify import verify
from resources.clock import ManualClock
from resources.documents import Document, dump_document, dump_line, from_iso, load_document, sha256_hex, to_iso
from resources.market import Book, Depth
from resources.store.local import LocalStore
from tests.desk_parts import DAY, START, D, Parts, ScriptedMarket, contract, file_name, market_of, signal_csv
from tests.memory_store import MemoryStore

PRICES = {"AUSDT": "100", "BUSDT": "10", "CUSDT": "1"}
STEPS = (parse_daily_csv, freeze_pre_execution, plan_sized_orders, execute_orders, rebaseline, publish_executed)


def desk_with(prices: dict[str, str] | None = None, **settings: Any) -> Parts:
    return Parts(market_of(prices or PRICES, step="0.001"), MemoryStore(), **{"fee_bps": D(0)} | settings)


def next_day(parts: Parts) -> None:
    parts.clock.move_to(parts.clock.now() + DAY)
    parts.tick()
    parts.clock.sleep(60)


def pending_after(parts: Parts, targets: dict[str, tuple[str, int]], name: str | None = None) -> str:
    parts.drop(name or file_name(parts.clock.now()), signal_csv(targets))
    pending = parts.detect()
    return pending[-1]


# --- the whole flow -------------------------------------------------------------------------------------------------


def test_a_signal_becomes_positions_a_baseline_and_an_outcome(tmp_path: Path) -> None:
    """On a real folder: the contract objects of brief 0 with their keys, and a store that verifies."""
    parts = Parts(market_of(PRICES, step="0.001"), LocalStore(tmp_path))
    parts.tick()
    parts.clock.sleep(30)
    outcome = parts.execute({"A_USDT": ("60", 1), "B_USDT": ("-40", -1)})
    assert (outcome["status"], outcome["reason"]) == ("executed", "")
    assert parts.held() == {"AUSDT": D(6000), "BUSDT": D(-40000)}
    pre = parts.document("pre_execution.json")
    assert {"timestamp_utc", "csv_filename", "csv_sha256", "pv_pre", "prices_at_t0"} <= pre.keys()
    assert pre["pv_pre"] == 1_000_000
    assert pre["prices_at_t0"] == {"AUSDT": 100, "BUSDT": 10}
    baseline = parts.document("daily_baseline.json")
    assert {"timestamp_utc", "csv_filename", "portfolio_value", "prices"} <= baseline.keys()
    assert baseline["positions"] == {"AUSDT": 6000, "BUSDT": -40000}
    executed = parts.document("latest_executed.json")
    assert executed["csv_filename"] == pre["csv_filename"] == "monitor_signal_DF_20261119-2355.csv"
    assert from_iso(pre["timestamp_utc"]) < from_iso(baseline["timestamp_utc"])
    assert parts.document("execution.json")["state"] == "idle"
    assert verify(parts.desk()).differences == ()


def test_every_artifact_names_the_true_hashes_of_its_inputs() -> None:
    parts = desk_with()
    rebalance_id = parts.execute({"A_USDT": ("1", 1)})["rebalance_id"]
    data = signal_csv({"A_USDT": ("1", 1)})
    folder = f"rebalances/{rebalance_id}/"
    named = 0
    for entry in list(parts.store.list(folder)):
        if not entry.key.endswith(".json"):
            continue
        for name, sha256 in parts.document(entry.key).get("inputs", {}).items():
            assert sha256 == sha256_hex(parts.store.read(folder + name).data), (entry.key, name)
            named += 1
    assert named >= 6
    assert parts.store.read(folder + "signal.csv").data == data
    for key in ("pre_execution.json", "daily_baseline.json", "latest_executed.json"):
        assert parts.document(key)["csv_sha256"] == sha256_hex(data), "the hash of the signal, not of another file"
    filters = parts.audit(rebalance_id, "pre_execution.json")["filters_sha256"]
    assert sha256_hex(parts.store.read(f"filters/{filters}.json").data) == filters


def test_the_log_begins_before_the_first_signal_is_sized() -> None:
    parts = desk_with()
    rebalance_id = parts.execute({"A_USDT": ("1", 1)})["rebalance_id"]
    pre = parts.audit(rebalance_id, "pre_execution.json")
    assert (pre["pv_source"], pre["pv_pre"], pre["pv_timestamp"]) == ("initial_capital", 1_000_000, None)
    assert [row["portfolio_value"] for row in parts.log()] == [1_000_000]


# --- pv_pre ---------------------------------------------------------------------------------------------------------

T0 = datetime(2026, 11, 20, 12, 0, tzinfo=START.tzinfo)


def log_line(seconds_before_t0: float, value: str) -> bytes:
    at = T0 - timedelta(seconds=seconds_before_t0)
    return dump_line(
        {"timestamp": to_iso(at), "portfolio_value": D(value), "daily_pnl": D(0), "total_pnl": D(0), "seq": 0}
    )


@pytest.mark.parametrize(
    ("lines", "traded", "pv_pre", "source", "warnings"),
    [
        pytest.param([], False, "1000000", "initial_capital", [], id="nothing logged, nothing traded"),
        pytest.param([], True, "1005", "recomputed_at_t0", ["no value"], id="the log was lost"),
        pytest.param([(60, "1005")], True, "1005", "log", [], id="a minute old"),
        pytest.param([(60, "1004"), (0, "1005")], True, "1004", "log", [], id="at t0 is not before t0"),
        pytest.param([(60, "1004"), (0.000001, "1005")], True, "1005", "log", [], id="a microsecond before is"),
        pytest.param([(0, "1004")], True, "1004", "log_not_before_t0", [], id="none before: the most recent"),
        pytest.param([(0, "1000000")], False, "1000000", "initial_capital", [], id="none before, nothing traded"),
        pytest.param([(300, "1005")], True, "1005", "log", [], id="five minutes old"),
        pytest.param([(301, "1005")], True, "1005", "log", ["301 s old"], id="older"),
        pytest.param([(60, "1006.005")], True, "1006.005", "log", [], id="10 bps off"),
        pytest.param([(60, "1006.006")], True, "1006.006", "log", ["differs"], id="more than 10 bps off"),
        pytest.param([(60, "1003.994")], True, "1003.994", "log", ["differs"], id="more than 10 bps below"),
        pytest.param([(26 * 3600, "1005")], True, "1005", "log", ["93600 s old"], id="26 hours old"),
        pytest.param([(26 * 3600 + 1, "9")], True, "1005", "recomputed_at_t0", ["recomputed"], id="older than 26 h"),
        pytest.param([(60, "1005"), (-60, "7")], True, "1005", "log", [], id="rows of the minute after t0"),
        pytest.param([(60, "1005"), (-61, "7")], True, "1005", "log", ["ahead of t0"], id="a log ahead of t0"),
    ],
)
def test_pv_pre_is_the_last_value_before_t0_or_says_what_else_it_is(
    lines: list[tuple[float, str]], traded: bool, pv_pre: str, source: str, warnings: list[str]
) -> None:
    book = Portfolio(D(1_000_000))
    book.seq = 1 if traded else 0
    garbage = [b'lf of a line"}', b"{}", b"\xff"]
    chosen = choose_pv_pre([*garbage, *(log_line(*line) for line in lines), b"{"], T0, D(1005), book)
    assert (chosen["pv_pre"], chosen["pv_source"]) == (D(pv_pre), source)
    assert len(chosen["warnings"]) == len(warnings)
    for said, expected in zip(chosen["warnings"], warnings, strict=True):
        assert expected in said


def test_a_stale_log_is_warned_about_and_the_brief_is_followed() -> None:
    parts = desk_with()
    parts.execute({"A_USDT": ("1", 1)})
    parts.minutes(1)
    parts.clock.move_to(parts.clock.now() + DAY)
    parts.market.prices["AUSDT"] = D(110)
    rebalance_id = parts.execute({"A_USDT": ("1", 1), "B_USDT": ("1", 1)})["rebalance_id"]
    pre = parts.audit(rebalance_id, "pre_execution.json")
    assert pre["pv_pre"] == 1_000_000
    assert pre["pv_at_t0"] == 1_100_000
    assert [warning.split(" ")[0:3] for warning in pre["warnings"]] == [
        ["pv_pre", "is", "86405"], ["pv_pre", "differs", "from"],
    ]  # fmt: skip


def test_a_log_older_than_26_hours_gives_way_to_the_value_at_t0() -> None:
    parts = desk_with()
    parts.execute({"A_USDT": ("1", 1)})
    parts.minutes(1)
    parts.clock.move_to(parts.clock.now() + timedelta(hours=26, minutes=1))
    parts.market.prices["AUSDT"] = D(110)
    rebalance_id = parts.execute({"A_USDT": ("1", 1), "B_USDT": ("1", 1)})["rebalance_id"]
    pre = parts.audit(rebalance_id, "pre_execution.json")
    assert (pre["pv_pre"], pre["pv_source"]) == (1_100_000, "recomputed_at_t0")
    assert verify(parts.desk()).differences == ()


def test_without_capital_nothing_is_opened() -> None:
    parts = desk_with()
    parts.execute({"A_USDT": ("1", 1)})
    parts.desk().ledger().post([Flow("out", parts.clock.now(), D(-1_000_000), "all of it")])
    next_day(parts)
    rebalance_id = pending_after(parts, {"A_USDT": ("1", 1), "B_USDT": ("1", 1)})
    with pytest.raises(RebalanceRefused, match=r"before execution is 0\.000000: nothing may be opened"):
        run_rebalance(parts.desk(), rebalance_id)
    assert parts.held() == {"AUSDT": D(10000)}
    assert parts.document("execution.json")["state"] == "idle"


# --- compounding and continuity -------------------------------------------------------------------------------------


def test_the_move_between_t0_and_t1_the_slippage_and_the_fees_are_not_lost() -> None:
    """The example of 3.4 "Compounding": one BTC, mark 99 000 -> 100 000 at t0 -> 100 500 at t1, sold at 100 480,
    25 ETH bought at 4 012 (mark 4 010 at t1), 5 bps. Adding the daily P&L of t0 to the base would keep 1 000 of
    1 329.61 and lose 329.61."""
    parts = Parts(
        ScriptedMarket(
            {"BTCUSDT": D(99_000), "ETHUSDT": D(3_998)},
            {"BTCUSDT": contract("BTCUSDT", step="0.001"), "ETHUSDT": contract("ETHUSDT", step="1")},
        ),
        MemoryStore(), initial_capital=D(99_000),
    )  # fmt: skip
    parts.execute({"BTC_USDT": ("1", 1)})
    before = parts.document("daily_baseline.json")
    assert (parts.held(), before["base_cumulative"]) == ({"BTCUSDT": D(1)}, D("-49.5"))
    parts.clock.move_to(parts.clock.now() + DAY)
    parts.market.prices["BTCUSDT"] = D(100_000)
    daily_at_t0 = parts.tick().row["daily_pnl"]  # type: ignore[index]
    assert daily_at_t0 == 1_000
    parts.clock.sleep(60)
    rebalance_id = pending_after(parts, {"ETH_USDT": ("1", 1)})
    desk = parts.desk()
    for step in STEPS[:3]:
        step(desk, rebalance_id)
    parts.market.offers = {
        "BTCUSDT": Book("BTCUSDT", ((D(100_480), D(9)),), ((D(100_481), D(9)),), T0),
        "ETHUSDT": Book("ETHUSDT", ((D(4_011), D(99)),), ((D(4_012), D(99)),), T0),
    }
    execute_orders(desk, rebalance_id)
    parts.market.prices |= {"BTCUSDT": D(100_500), "ETHUSDT": D(4_010)}
    rebaseline(desk, rebalance_id)
    publish_executed(desk, rebalance_id)
    after = parts.document("daily_baseline.json")
    assert parts.held() == {"ETHUSDT": D(25)}
    assert after["base_cumulative"] - before["base_cumulative"] == D("1329.61")
    assert after["base_cumulative"] - (before["base_cumulative"] + daily_at_t0) == D("329.61")
    row = parts.minutes(1)[0].row
    assert row is not None
    assert (row["daily_pnl"], row["base_cumulative"]) == (0, after["base_cumulative"])
    assert row["total_pnl"] == D("-49.5") + D("1329.61")


targets = st.dictionaries(
    st.sampled_from(["A_USDT", "B_USDT", "C_USDT"]),
    st.tuples(st.integers(1, 1000), st.sampled_from([1, -1])).map(lambda t: (str(t[0] * t[1]), t[1])),
    min_size=1,
)
moves = st.tuples(*(st.integers(700, 1400).map(lambda n: Decimal(n).scaleb(-3)) for _ in range(3)))


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(targets, moves), min_size=1, max_size=5))
def test_value_is_continuous_at_every_rebaseline_whatever_the_files_say(
    days: list[tuple[dict[str, tuple[str, int]], tuple[Decimal, ...]]],
) -> None:
    """A8: PV(t1) = PV just before less what the fills cost against the marks; daily restarts, the total telescopes."""
    parts = desk_with(fee_bps=D(5))
    parts.market.spread = D("0.01")
    parts.tick()
    total = Decimal(0)
    seen: set[bytes] = set()
    for wanted, move in days:
        if signal_csv(wanted) in seen:
            continue
        seen.add(signal_csv(wanted))
        parts.clock.move_to(parts.clock.now() + DAY)
        for (symbol, price), factor in zip(list(parts.market.prices.items()), move, strict=True):
            parts.market.prices[symbol] = (price * factor).quantize(D("0.01")) + D("0.02")
        before = parts.tick().row
        assert before is not None
        total += before["daily_pnl"]
        assert total == before["total_pnl"]
        parts.clock.sleep(60)
        outcome = parts.execute(wanted)
        fills = parts.audit(outcome["rebalance_id"], "fills.json")["fills"]
        cost = sum(
            (
                Decimal(f["quantity"])
                * (Decimal(f["price"]) - parts.market.prices[f["symbol"]])
                * (1 if f["side"] == "BUY" else -1)
                + Decimal(f["fee"])
                for f in fills
            ),
            Decimal(0),
        )
        after = parts.minutes(1)[0].row
        assert after is not None
        assert abs(after["portfolio_value"] - (before["portfolio_value"] - cost)) <= D("0.000001")
        assert after["daily_pnl"] == 0
        total += after["total_pnl"] - before["total_pnl"]
    assert verify(parts.desk()).differences == ()


# --- positions and orders -------------------------------------------------------------------------------------------


def test_a_symbol_that_left_the_file_is_closed() -> None:
    parts = desk_with()
    parts.execute({"A_USDT": ("1", 1), "B_USDT": ("1", -1)})
    next_day(parts)
    parts.execute({"A_USDT": ("1", 1)})
    assert list(parts.held()) == ["AUSDT"]


def test_a_partial_close_keeps_the_other_side_from_being_opened() -> None:
    """Zero-cross: the opening leg waits for the closing one; when that fills in part, it is not sent."""
    parts = desk_with()
    parts.execute({"A_USDT": ("1", 1)})
    next_day(parts)
    parts.market.offers = {"AUSDT": Depth("AUSDT", D(600), START)}  # bounded slippage takes 5/3 of it at most
    outcome = parts.execute({"A_USDT": ("1", -1)})
    assert outcome["status"] == "partial"
    assert parts.held() == {"AUSDT": D(9000)}
    baseline = parts.audit(outcome["rebalance_id"], "baseline.json")
    left = [(entry["order_id"].split("-", 1)[1], entry["quantity"], entry["reason"]) for entry in baseline["unfilled"]]
    assert left == [
        ("AUSDT-reduce-1", 9000, "insufficient_depth"), ("AUSDT-open-1", 10000, "reduction_unfilled"),
    ]  # fmt: skip
    assert verify(parts.desk()).differences == ()


def test_partial_fills_give_a_partial_baseline_with_what_is_held() -> None:
    parts = desk_with()
    parts.market.offers = {"BUSDT": Depth("BUSDT", D(6), START), "CUSDT": None}
    outcome = parts.execute({"A_USDT": ("50", 1), "B_USDT": ("40", 1), "C_USDT": ("10", 1)})
    assert (outcome["status"], outcome["reason"]) == ("partial", "insufficient_depth, no_liquidity")
    baseline = parts.document("daily_baseline.json")
    assert baseline["status"] == "partial"
    assert baseline["positions"] == {"AUSDT": 5000, "BUSDT": 10}
    assert {entry["symbol"]: entry["quantity"] for entry in baseline["unfilled"]} == {"BUSDT": 39990, "CUSDT": 100000}
    assert verify(parts.desk()).differences == ()


def test_a_mark_lost_after_t0_keeps_its_order_unsent() -> None:
    parts = desk_with()
    rebalance_id = pending_after(parts, {"A_USDT": ("1", 1), "B_USDT": ("1", 1)})
    desk = parts.desk()
    for step in STEPS[:3]:
        step(desk, rebalance_id)
    parts.market.as_of["AUSDT"] = parts.clock.now() - timedelta(seconds=121)
    fills = execute_orders(desk, rebalance_id)
    assert [(entry["symbol"], entry["reason"]) for entry in fills["unfilled"]] == [("AUSDT", "stale_mark")]
    baseline = rebaseline(desk, rebalance_id)
    assert baseline["positions"] == {"BUSDT": 50000}


@pytest.mark.parametrize(("weight", "executes"), [("10", True), ("10.001", False)])
def test_too_much_untradable_weight_aborts_before_any_order(weight: str, executes: bool) -> None:
    """More than 10 % of S without a usable price; the rest is never levered up instead."""
    parts = desk_with()
    parts.market.prices["CUSDT"] = D(0)
    rest = str(100 - D(weight))
    rebalance_id = pending_after(parts, {"A_USDT": (rest, 1), "C_USDT": (weight, 1)})
    if executes:
        run_rebalance(parts.desk(), rebalance_id)
        assert parts.held() == {"AUSDT": D(9000)}
    else:
        with pytest.raises(RebalanceRefused, match=r"10\.0+10*% of the signal is untradable"):
            run_rebalance(parts.desk(), rebalance_id)
        assert parts.outcomes() == {rebalance_id: "aborted"}
        assert parts.held() == {}
        assert list(parts.store.list(f"rebalances/{rebalance_id}/executions")) == []
        assert parts.document("execution.json")["state"] == "idle"
        assert parts.look().pending == (), "an aborted rebalance is over"


def test_a_price_in_another_unit_is_held_not_traded() -> None:
    parts = desk_with({"AUSDT": "100", "1000SHIBUSDT": "0.02"})
    csv = signal_csv({"A_USDT": ("95", 1), "SHIB_USDT": ("5", 1)}, {"SHIB_USDT": "0.02", "A_USDT": "100"})
    parts.drop(file_name(parts.clock.now()), csv)
    (rebalance_id,) = parts.detect()
    run_rebalance(parts.desk(), rebalance_id)
    rows = {row["symbol"]: row for row in parts.document("pre_execution.json")["rows"]}
    assert (rows["1000SHIBUSDT"]["status"], rows["1000SHIBUSDT"]["reason"]) == ("untradable", "unit_mismatch")
    assert list(parts.held()) == ["AUSDT"]


def test_two_tickers_of_one_contract_abort() -> None:
    parts = desk_with({"AUSDT": "100", "1000SHIBUSDT": "0.02"})
    rebalance_id = pending_after(parts, {"A_USDT": ("98", 1), "SHIB_USDT": ("1", 1), "1000SHIB_USDT": ("1", 1)})
    with pytest.raises(RebalanceRefused, match="two tickers of the signal mean one contract: 1000SHIBUSDT"):
        run_rebalance(parts.desk(), rebalance_id)


def test_a_broken_file_is_quarantined_and_the_book_stays() -> None:
    parts = desk_with()
    parts.execute({"A_USDT": ("1", 1)})
    next_day(parts)
    parts.drop(file_name(parts.clock.now()), b"ticker,target_notional,target_contracts\nA_USDT,12,-\n")
    (rebalance_id,) = parts.detect()
    with pytest.raises(RebalanceRefused, match="row 2, target_contracts"):
        run_rebalance(parts.desk(), rebalance_id)
    assert parts.outcomes()[rebalance_id] == "quarantined"
    refused = load_document(parts.store.read("latest_refused.json").data)
    assert (refused["rebalance_id"], refused["status"]) == (rebalance_id, "quarantined")
    assert parts.held() == {"AUSDT": D(10000)}
    assert parts.look().pending == ()


def test_an_all_flat_file_closes_the_book_only_when_allowed() -> None:
    flat = {"A_USDT": ("0", 0)}
    strict, lenient = desk_with(), desk_with(allow_flat=True)
    for parts in (strict, lenient):
        parts.execute({"A_USDT": ("1", 1)})
        next_day(parts)
    with pytest.raises(RebalanceRefused, match="every target is 0"):
        strict.execute(flat)
    assert lenient.execute(flat)["status"] == "executed"
    assert (list(strict.held()), lenient.held()) == (["AUSDT"], {})


def test_a_held_symbol_that_lost_its_price_is_valued_at_the_last_and_held() -> None:
    parts = desk_with()
    parts.execute({"A_USDT": ("95", 1), "C_USDT": ("5", 1)})
    next_day(parts)
    del parts.market.prices["CUSDT"]
    parts.tick()
    parts.clock.sleep(60)
    outcome = parts.execute({"B_USDT": ("1", 1)})
    assert outcome["status"] == "executed"
    assert set(parts.held()) == {"BUSDT", "CUSDT"}
    baseline = parts.document("daily_baseline.json")
    assert (baseline["stale"], baseline["prices"]["CUSDT"]) == (["CUSDT"], 1)
    assert verify(parts.desk()).differences == ()


# --- the same and other files ---------------------------------------------------------------------------------------


def test_the_same_content_executes_once_whatever_the_file_is_called() -> None:
    parts = desk_with()
    csv = {"A_USDT": ("1", 1)}
    first = parts.execute(csv)
    segments = len(list(parts.store.list("ledger/")))
    next_day(parts)
    parts.drop("copy of signal.csv", signal_csv(csv))
    parts.drop(file_name(parts.clock.now()), signal_csv(csv))
    assert parts.detect() == ()
    assert parts.detect() == ()
    assert parts.outcomes() == {first["rebalance_id"]: "executed"}
    assert len(list(parts.store.list("ledger/"))) == segments


def test_repeating_an_executed_rebalance_changes_nothing_at_all() -> None:
    """Also after a newer one executed: the plain-named objects stay the newer one's, no lock is taken."""
    parts = desk_with()
    first = parts.execute({"A_USDT": ("1", 1)})["rebalance_id"]
    next_day(parts)
    parts.execute({"B_USDT": ("1", 1)})
    assert isinstance(parts.store, MemoryStore)
    before = parts.store.contents()
    parts.clock.sleep(30)
    assert run_rebalance(parts.desk(), first)["status"] == "executed"
    assert parts.store.contents() == before


def test_an_unfinished_rebalance_resumed_after_a_newer_one_does_not_turn_the_plain_copies_back() -> None:
    """Killed between giving the lock back and its outcome; the newer one executed before it was resumed."""
    parts = desk_with()
    first = parts.execute({"A_USDT": ("1", 1)})["rebalance_id"]
    assert isinstance(parts.store, MemoryStore)
    parts.store.delete(f"rebalances/{first}/outcome.json")
    next_day(parts)
    rebalance_id = pending_after(parts, {"B_USDT": ("1", 1)})
    run_rebalance(parts.desk(), rebalance_id)
    run_rebalance(parts.desk(), first)
    for key in ("pre_execution.json", "daily_baseline.json", "latest_executed.json"):
        assert parts.document(key)["rebalance_id"] == rebalance_id, key
    assert parts.outcomes() == {first: "executed", rebalance_id: "executed"}
    assert parts.held() == {"BUSDT": D(100000)}


def test_a_correction_on_the_same_day_supersedes() -> None:
    parts = desk_with()
    name = file_name(parts.clock.now())
    first = parts.execute({"A_USDT": ("1", 1)}, name)["rebalance_id"]
    parts.minutes(1)
    parts.clock.sleep(60)
    second = parts.execute({"B_USDT": ("1", 1)}, name)["rebalance_id"]
    assert parts.document("daily_baseline.json")["supersedes"] == first
    assert parts.held() == {"BUSDT": D(100000)}
    assert parts.outcomes() == {first: "executed", second: "executed"}
    next_day(parts)
    parts.execute({"A_USDT": ("2", 1), "B_USDT": ("1", 1)})
    assert parts.document("daily_baseline.json")["supersedes"] is None


def test_a_file_dated_before_the_last_executed_is_refused_unless_forced() -> None:
    parts = desk_with()
    parts.execute({"A_USDT": ("1", 1)})
    parts.drop(file_name(START - DAY), signal_csv({"B_USDT": ("1", 1)}))
    assert parts.detect() == ()
    (stale,) = (rebalance_id for rebalance_id, status in parts.outcomes().items() if status == "stale")
    assert parts.audit(stale, "outcome.json")["reason"] == "dated 2026-11-18, 2026-11-19 came before it"
    forced = signal_csv({"C_USDT": ("1", 1)})
    parts.store.create(f"forced/{sha256_hex(forced)}.json", b"{}\n")
    parts.drop(file_name(START - 2 * DAY), forced)
    (rebalance_id,) = parts.detect()
    assert run_rebalance(parts.desk(), rebalance_id)["status"] == "executed"
    assert list(parts.held()) == ["CUSDT"]


def test_a_refused_old_file_can_be_forced_afterwards() -> None:
    parts = desk_with()
    parts.execute({"A_USDT": ("1", 1)})
    old = signal_csv({"B_USDT": ("1", 1)})
    parts.drop(file_name(START - DAY), old)
    assert parts.detect() == ()
    parts.store.create(f"forced/{sha256_hex(old)}.json", b"{}\n")
    (rebalance_id,) = parts.detect()
    assert rebalance_id.endswith(".2")
    run_rebalance(parts.desk(), rebalance_id)
    assert list(parts.held()) == ["BUSDT"]
    assert parts.detect() == ()


def test_an_aborted_file_with_a_wrong_date_does_not_make_todays_stale() -> None:
    """Only what executed or is executing counts as the last trading day."""
    parts = desk_with()
    wrong = pending_after(parts, {"NOPE_USDT": ("1", 1)}, "signal_20271231-2355.csv")
    with pytest.raises(RebalanceRefused):
        run_rebalance(parts.desk(), wrong)
    assert parts.execute({"A_USDT": ("1", 1)})["status"] == "executed"


@pytest.mark.parametrize("newest_has", ["later date", "later modified time", "later name"])
def test_of_two_files_at_once_the_newest_executes_and_the_other_never_does(newest_has: str) -> None:
    parts = desk_with()
    now = parts.clock.now()
    older = ("a_20261118-2355.csv" if newest_has == "later date" else "a_20261119-2355.csv", now)
    newest = ("b_20261119-2355.csv", now)
    if newest_has == "later date":
        older, newest = (older[0], now + timedelta(seconds=5)), (newest[0], now)
    if newest_has == "later modified time":
        older, newest = ("z_20261119-2355.csv", now), (newest[0], now + timedelta(seconds=1))
    parts.drop(older[0], signal_csv({"A_USDT": ("1", 1)}), older[1])
    parts.drop(newest[0], signal_csv({"B_USDT": ("1", 1)}), newest[1])
    (rebalance_id,) = parts.detect()
    assert rebalance_id.startswith("b_")
    run_rebalance(parts.desk(), rebalance_id)
    assert sorted(parts.outcomes().values()) == ["executed", "superseded"]
    (other,) = (name for name, status in parts.outcomes().items() if status == "superseded")
    with pytest.raises(RebalanceRefused, match="superseded"):
        run_rebalance(parts.desk(), other)
    assert parts.detect() == ()
    assert list(parts.held()) == ["BUSDT"]


def test_a_superseded_signal_stays_so_when_the_look_was_killed_before_saying_it() -> None:
    parts = desk_with()
    parts.drop("a_20261118-2355.csv", signal_csv({"A_USDT": ("1", 1)}))
    parts.drop("b_20261119-2355.csv", signal_csv({"B_USDT": ("1", 1)}))
    parts.detect()
    (other,) = (name for name, status in parts.outcomes().items() if status == "superseded")
    assert isinstance(parts.store, MemoryStore)
    parts.store.delete(f"rebalances/{other}/outcome.json")
    with pytest.raises(RebalanceRefused, match="superseded"):
        run_rebalance(parts.desk(), other)
    parts.store.delete(f"rebalances/{other}/outcome.json")
    parts.sightings = {}
    (pending,) = parts.look().pending
    assert pending.startswith("b_")
    assert parts.outcomes() == {other: "superseded"}


# --- detection ------------------------------------------------------------------------------------------------------


def test_a_file_that_still_grows_is_left_alone() -> None:
    parts = desk_with()
    whole = signal_csv({"A_USDT": ("1", 1), "B_USDT": ("1", 1)})
    for size in (20, 60, 61):
        parts.drop("s_20261119.csv", whole[:size])
        assert parts.look().pending == ()
        parts.clock.sleep(5)
    parts.drop("s_20261119.csv", whole)
    assert parts.look().pending == ()
    parts.clock.sleep(5)
    (rebalance_id,) = parts.look().pending
    assert parts.store.read(f"rebalances/{rebalance_id}/signal.csv").data == whole


def test_a_file_that_changes_without_growing_is_left_alone_too() -> None:
    """Same size and same modified time, other content: the digest decides."""
    parts = desk_with()
    for weight in ("1", "2", "3"):
        parts.drop("s_20261119.csv", signal_csv({"A_USDT": (weight, 1)}), START)
        assert parts.look().pending == ()


def test_a_lost_cursor_is_harmless() -> None:
    parts = desk_with()
    rebalance_id = pending_after(parts, {"A_USDT": ("1", 1)})
    parts.sightings = {}
    assert parts.look().pending == (rebalance_id,), "what was frozen needs no second look"
    run_rebalance(parts.desk(), rebalance_id)
    parts.sightings = {}
    assert parts.look().pending == ()
    assert parts.look().notices == ()


def test_only_csv_files_count() -> None:
    parts = desk_with()
    parts.drop("notes.txt", b"hello")
    parts.drop("signal.csv.part", signal_csv({"A_USDT": ("1", 1)}))
    assert parts.detect() == ()
    assert list(parts.store.list("detections/")) == []


def test_t0_prices_and_filters_are_frozen_at_detection() -> None:
    parts = desk_with()
    rebalance_id = pending_after(parts, {"A_USDT": ("1", 1)})
    detection = detection_of(parts.desk(), rebalance_id)
    parts.market.prices["AUSDT"] = D(200)
    parts.market.contracts["AUSDT"] = contract("AUSDT", step="1000")
    parts.clock.sleep(60)
    freeze_rows = _up_to_freeze(parts, rebalance_id)
    assert freeze_rows["prices_at_t0"] == {"AUSDT": 100}
    assert freeze_rows["rows"][0]["target_quantity"] == 10_000
    assert freeze_rows["timestamp_utc"] == to_iso(detection.t0)


def _up_to_freeze(parts: Parts, rebalance_id: str) -> Document:
    parse_daily_csv(parts.desk(), rebalance_id)
    return freeze_pre_execution(parts.desk(), rebalance_id)


def test_a_file_replaced_before_it_executed_is_superseded_by_its_replacement() -> None:
    parts = desk_with()
    first = pending_after(parts, {"A_USDT": ("1", 1)}, "s_20261119.csv")
    second = pending_after(parts, {"B_USDT": ("1", 1)}, "s_20261119.csv")
    assert parts.outcomes() == {first: "superseded"}
    assert parts.look().pending == (second,)
    with pytest.raises(RebalanceRefused):
        run_rebalance(parts.desk(), first)
    run_rebalance(parts.desk(), second)
    assert list(parts.held()) == ["BUSDT"]


def test_a_rebalance_whose_file_was_replaced_while_it_executed_is_finished_first() -> None:
    parts = desk_with()
    first = pending_after(parts, {"A_USDT": ("1", 1)}, "s_20261119.csv")
    for step in STEPS[:4]:
        step(parts.desk(), first)
    parts.drop("s_20261119.csv", signal_csv({"B_USDT": ("1", 1)}))
    parts.sightings = {}
    parts.look()
    parts.clock.sleep(5)
    pending = parts.look().pending
    assert pending[0] == first
    for rebalance_id in pending:
        parts.clock.sleep(5)
        run_rebalance(parts.desk(), rebalance_id)
    assert list(parts.held()) == ["BUSDT"]
    assert parts.document("daily_baseline.json")["supersedes"] == first
    assert verify(parts.desk()).differences == ()


def test_a_look_that_is_behind_freezes_what_an_earlier_one_froze() -> None:
    parts = desk_with()
    parts.drop("s_20261119.csv", signal_csv({"A_USDT": ("1", 1)}))
    behind = look(parts.desk(), {})
    (first,) = parts.detect()
    t0 = detection_of(parts.desk(), first).t0
    parts.clock.sleep(30)
    assert look(parts.desk(), behind.sightings).pending == (first,)
    assert detection_of(parts.desk(), first).t0 == t0


# --- expiry and the lock --------------------------------------------------------------------------------------------


def test_a_rebalance_that_never_traded_expires_and_starts_over_with_a_fresh_t0() -> None:
    parts = desk_with()
    first = pending_after(parts, {"A_USDT": ("1", 1)})
    for step in STEPS[:3]:
        step(parts.desk(), first)
    parts.clock.sleep(3600 + 1)
    parts.market.prices["AUSDT"] = D(125)
    with pytest.raises(RebalanceRefused, match="expired"):
        run_rebalance(parts.desk(), first)
    assert outcome_of(parts.desk(), first)["status"] == "expired"  # type: ignore[index]
    (second,) = parts.look().pending
    assert second == f"{first}.2"
    parts.clock.sleep(5)
    assert run_rebalance(parts.desk(), second)["status"] == "executed"
    assert parts.held() == {"AUSDT": D(8000)}
    assert parts.document("daily_baseline.json")["supersedes"] is None
    assert parts.look().pending == ()


def test_a_rebalance_that_traded_in_part_is_closed_partial_and_started_over() -> None:
    parts = desk_with()
    parts.execute({"A_USDT": ("1", 1)})
    next_day(parts)
    first = pending_after(parts, {"B_USDT": ("1", 1)})
    for step in STEPS[:3]:
        step(parts.desk(), first)
    orders = {order["order_id"] for order in parts.audit(first, "sized_orders.json")["increases"]}
    _kill_after_reductions(parts, first)
    parts.clock.sleep(3600 + 1)
    outcome = run_rebalance(parts.desk(), first)
    assert (outcome["status"], outcome["reason"]) == ("partial", "expired")
    baseline = parts.audit(first, "baseline.json")
    assert (baseline["status"], baseline["positions"]) == ("partial", {})
    assert {entry["order_id"] for entry in baseline["unfilled"]} == orders
    (second,) = parts.look().pending
    parts.clock.sleep(5)
    assert run_rebalance(parts.desk(), second)["status"] == "executed"
    fresh = {order["order_id"] for order in parts.audit(second, "sized_orders.json")["increases"]}
    assert fresh.isdisjoint(orders)
    assert parts.held() == {"BUSDT": D(100000)}
    assert parts.audit(second, "baseline.json")["supersedes"] == first
    assert verify(parts.desk()).differences == ()


class _KilledError(BaseException):
    pass


def _kill_after_reductions(parts: Parts, rebalance_id: str) -> None:
    """The process dies when it asks what the increases could trade against."""
    desk = parts.desk()

    class DiesAtIncreases(ScriptedMarket):
        def liquidity(self, symbol: str, at: datetime) -> Any:
            if symbol == "BUSDT":
                raise _KilledError
            return super().liquidity(symbol, at)

    dying = DiesAtIncreases(parts.market.prices, parts.market.contracts)
    with pytest.raises(_KilledError):
        execute_orders(replace(desk, market=dying), rebalance_id)
    assert parts.held() == {}


def test_after_three_generations_a_person_decides() -> None:
    parts = desk_with()
    rebalance_id = pending_after(parts, {"A_USDT": ("1", 1)})
    for generation in (1, 2, 3):
        assert parts.look().pending == (rebalance_id if generation == 1 else f"{rebalance_id}.{generation}",)
        parts.clock.sleep(3601)
        with pytest.raises(RebalanceRefused):
            run_rebalance(parts.desk(), parts.look().pending[0])
    assert parts.look().pending == ()


def test_an_expired_signal_does_not_come_back_after_its_correction_executed() -> None:
    """Same trading day: started over, it would undo the newer file."""
    parts = desk_with()
    first = pending_after(parts, {"A_USDT": ("1", 1)}, "a_20261119-2355.csv")
    freeze_and_forget = STEPS[:3]
    for step in freeze_and_forget:
        step(parts.desk(), first)
    parts.clock.sleep(3601)
    parts.drop("b_20261119-2355.csv", signal_csv({"B_USDT": ("1", 1)}))
    pending = parts.detect()
    assert pending[0] == first
    run_rebalance(parts.desk(), pending[1])
    assert parts.outcomes() == {first: "expired", pending[1]: "executed"}
    assert parts.detect() == ()
    assert parts.outcomes()[f"{first}.2"] == "superseded"
    assert list(parts.held()) == ["BUSDT"]


def test_one_rebalance_executes_at_a_time() -> None:
    parts = desk_with()
    first = pending_after(parts, {"A_USDT": ("1", 1)}, "a_20261119-2355.csv")
    for step in STEPS[:3]:
        step(parts.desk(), first)
    second = pending_after(parts, {"B_USDT": ("1", 1)}, "b_20261119-2355.csv")
    assert second != first
    with pytest.raises(ExecutionBusy, match="is executing"):
        run_rebalance(parts.desk(), second)
    assert parts.held() == {}
    run_rebalance(parts.desk(), first)
    run_rebalance(parts.desk(), second)
    assert list(parts.held()) == ["BUSDT"]


def test_an_expired_holder_is_closed_for_what_it_filled_before_the_next_executes() -> None:
    parts = desk_with()
    parts.execute({"A_USDT": ("1", 1)})
    next_day(parts)
    first = pending_after(parts, {"B_USDT": ("1", 1)})
    for step in STEPS[:3]:
        step(parts.desk(), first)
    _kill_after_reductions(parts, first)
    parts.clock.move_to(parts.clock.now() + timedelta(minutes=61))
    parts.tick()
    second = pending_after(parts, {"C_USDT": ("1", 1)}, "later_20261120-2355.csv")
    run_rebalance(parts.desk(), second)
    assert parts.outcomes()[first] == "partial"
    assert list(parts.held()) == ["CUSDT"]
    assert verify(parts.desk()).differences == ()


@pytest.mark.parametrize("asleep_in", ["reductions", "increases"])
def test_a_holder_that_wakes_up_after_it_was_overtaken_posts_nothing(asleep_in: str) -> None:
    """Suspended for an hour between pricing its fills and posting them; another rebalance executed meanwhile."""
    parts = desk_with()
    if asleep_in == "reductions":
        parts.execute({"C_USDT": ("1", 1)})
        next_day(parts)
    first = pending_after(parts, {"A_USDT": ("1", 1)}, "a_20261120-2355.csv")
    for step in STEPS[:3]:
        step(parts.desk(), first)

    class Sleepy(ScriptedMarket):
        asleep = True

        def liquidity(self, symbol: str, at: datetime) -> Any:
            if self.asleep:
                self.asleep = False
                parts.clock.sleep(3700)
                parts.drop("b_20261120-2355.csv", signal_csv({"B_USDT": ("1", 1)}))
                run_rebalance(parts.desk(), next(r for r in parts.detect() if r.startswith("b_")))
            return super().liquidity(symbol, at)

    sleepy = Sleepy(parts.market.prices, parts.market.contracts)
    if asleep_in == "reductions":
        with pytest.raises(RebalanceRefused, match="expired"):
            execute_orders(replace(parts.desk(), market=sleepy), first)
    else:
        assert execute_orders(replace(parts.desk(), market=sleepy), first)["fills"] == []
    assert list(parts.held()) == ["BUSDT"]
    assert parts.document("latest_executed.json")["csv_filename"] == "b_20261120-2355.csv"


def test_a_position_changed_by_someone_else_aborts_before_any_order() -> None:
    parts = desk_with()
    rebalance_id = pending_after(parts, {"A_USDT": ("1", 1)})
    for step in STEPS[:3]:
        step(parts.desk(), rebalance_id)
    stray = Fill("fill:by hand", parts.clock.now(), "BUSDT", D(1), D(10), D(0), "o", "r", {"hand": D(1)})
    parts.desk().ledger().post([stray])
    with pytest.raises(RebalanceRefused, match="positions changed"):
        execute_orders(parts.desk(), rebalance_id)
    assert parts.held() == {"BUSDT": D(1)}


# --- clock ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", range(len(STEPS)), ids=[step.__name__ for step in STEPS])
def test_a_clock_that_steps_back_stops_the_rebalance_until_it_is_right_again(step: int) -> None:
    """Whatever happens, last_log <= t0 < fills <= t1, and the resumed rebalance is the one that was planned."""
    parts = desk_with()
    parts.execute({"A_USDT": ("1", 1)})
    next_day(parts)
    rebalance_id = pending_after(parts, {"A_USDT": ("1", -1), "B_USDT": ("1", 1)})
    desk = parts.desk()
    for earlier in STEPS[:step]:
        earlier(desk, rebalance_id)
    right = parts.clock.now()
    parts.clock.move_to(right - timedelta(minutes=10))
    with pytest.raises(ClockBehind):
        run_rebalance(desk, rebalance_id)
    parts.clock.move_to(right + timedelta(seconds=1))
    run_rebalance(parts.desk(), rebalance_id)
    t0 = parts.audit(rebalance_id, "pre_execution.json")["timestamp_utc"]
    reductions = parts.audit(rebalance_id, "executions_reductions.json")["timestamp_utc"]
    increases = parts.audit(rebalance_id, "executions_increases.json")["timestamp_utc"]
    t1 = parts.audit(rebalance_id, "baseline.json")["timestamp_utc"]
    assert t0 < reductions <= increases <= t1
    assert parts.held() == {"AUSDT": D(-5000), "BUSDT": D(50000)}
    assert verify(parts.desk()).differences == ()


def test_increases_do_not_happen_before_the_reductions_they_follow() -> None:
    parts = desk_with()
    parts.execute({"A_USDT": ("1", 1)})
    next_day(parts)
    rebalance_id = pending_after(parts, {"B_USDT": ("1", 1)})
    for step in STEPS[:3]:
        step(parts.desk(), rebalance_id)
    parts.clock.sleep(60)
    _kill_after_reductions(parts, rebalance_id)
    parts.clock.sleep(-30)  # still past t0
    with pytest.raises(ClockBehind):
        execute_orders(parts.desk(), rebalance_id)
    parts.clock.sleep(30)
    run_rebalance(parts.desk(), rebalance_id)
    assert list(parts.held()) == ["BUSDT"]


def test_a_desk_detecting_with_a_clock_behind_its_log_says_so() -> None:
    parts = desk_with()
    parts.execute({"A_USDT": ("1", 1)})
    parts.minutes(5)
    parts.clock.sleep(-180)
    parts.ticker = None
    rebalance_id = pending_after(parts, {"B_USDT": ("1", 1)})
    run_rebalance(parts.desk(), rebalance_id)
    pre = parts.audit(rebalance_id, "pre_execution.json")
    assert from_iso(pre["pv_timestamp"]) < from_iso(pre["timestamp_utc"])
    assert any("ahead of t0" in warning for warning in pre["warnings"])


def test_steps_refuse_to_run_ahead_of_each_other() -> None:
    parts = desk_with()
    rebalance_id = pending_after(parts, {"A_USDT": ("1", 1)})
    steps: list[Callable[..., object]] = [freeze_pre_execution, plan_sized_orders, execute_orders, rebaseline]
    for step in steps:
        with pytest.raises(Exception, match="run the earlier steps"):
            step(parts.desk(), rebalance_id)
    assert parts.held() == {}


def test_the_lock_says_who_executes_since_when() -> None:
    parts = desk_with()
    rebalance_id = pending_after(parts, {"A_USDT": ("1", 1)})
    parse_daily_csv(parts.desk(), rebalance_id)
    freeze_pre_execution(parts.desk(), rebalance_id, run_id="run-1")
    started = parts.clock.now()
    parts.clock.sleep(7)
    plan_sized_orders(parts.desk(), rebalance_id)
    lock = parts.document("execution.json")
    assert (lock["state"], lock["step"], lock["run_id"]) == ("executing", "sized_orders", "run-1")
    assert (lock["started_utc"], lock["updated_utc"]) == (to_iso(started), to_iso(parts.clock.now()))


def test_documents_are_canonical_json() -> None:
    parts = desk_with()
    rebalance_id = parts.execute({"A_USDT": ("1", 1)})["rebalance_id"]
    for entry in parts.store.list(f"rebalances/{rebalance_id}/"):
        if entry.key.endswith(".json"):
            assert dump_document(parts.document(entry.key)) == parts.store.read(entry.key).data, entry.key


def test_a_fresh_clock_and_ticker_change_nothing_about_the_day() -> None:
    """The ticker that lived through the rebalance and one started afterwards see the same book."""
    parts = desk_with()
    parts.tick()
    parts.execute({"A_USDT": ("1", 1)})
    parts.market.prices["AUSDT"] = D(101)
    old = parts.minutes(1)[0].row
    parts.clock.sleep(60)
    new = Ticker(replace(parts.desk(), clock=ManualClock(parts.clock.now()))).tick().row
    assert old is not None
    assert new is not None
    assert old["portfolio_value"] == new["portfolio_value"] == 1_010_000
    assert old["rebalance_id"] == new["rebalance_id"]


def test_a_file_named_without_a_date_has_the_day_its_rows_say() -> None:
    """An old signal is stale whatever it is called: its value_ts dates it where its name does not."""
    header = "ticker,target_notional,target_contracts,value_ts\n"
    parts = desk_with()
    parts.drop("today.csv", f"{header}A_USDT,1,1,2026-07-09 23:55\n".encode())
    (newer,) = parts.detect()
    assert run_rebalance(parts.desk(), newer)["status"] == "executed"
    held = parts.held()
    next_day(parts)
    parts.drop("old.csv", f"{header}B_USDT,1,-1,2026-06-01 23:55\n".encode())
    assert parts.detect() == ()
    assert sorted(parts.outcomes().values()) == ["executed", "stale"]
    assert parts.held() == held


def test_books_that_take_seconds_to_fetch_are_not_judged_from_before_they_were_made() -> None:
    parts = desk_with()

    class Slow(ScriptedMarket):
        """Each book takes four seconds and carries the time it was made."""

        def liquidity(self, symbol: str, at: datetime) -> Book | Depth | None:
            parts.clock.sleep(4)
            return super().liquidity(symbol, at + timedelta(seconds=4))

    rebalance_id = pending_after(parts, {"A_USDT": ("1", 1), "B_USDT": ("1", -1)})
    slow = Slow(parts.market.prices, parts.market.contracts)
    assert run_rebalance(replace(parts.desk(), market=slow), rebalance_id)["status"] == "executed"


def test_a_mark_refused_at_t1_gives_way_to_the_newest_valid_price_not_to_the_one_at_t0() -> None:
    parts = desk_with()
    rebalance_id = pending_after(parts, {"A_USDT": ("1", 1), "B_USDT": ("1", -1)})
    for step in (parse_daily_csv, freeze_pre_execution, plan_sized_orders, execute_orders):
        step(parts.desk(), rebalance_id)
    parts.clock.sleep(600)
    parts.market.prices["AUSDT"] *= 2
    parts.tick()
    newest = parts.market.prices["AUSDT"]
    parts.market.prices["AUSDT"] = D("NaN")
    parts.clock.sleep(30)
    baseline = rebaseline(parts.desk(), rebalance_id)
    assert baseline["stale"] == ["AUSDT"]
    assert baseline["prices"]["AUSDT"] == newest
