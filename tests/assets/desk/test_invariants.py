"""Each invariant has a document that makes it fire and one that keeps it silent: an alarm that never fires is none."""

import copy
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from assets.accounting.instrument import parse_exchange_info
from assets.desk.invariants import (
    Finding,
    base_constant_between_baselines,
    baseline_after_t0,
    baseline_covers_positions,
    fills_match_orders,
    gross_identity,
    log_identities,
    minutes_strictly_rise,
    one_execution_per_content,
    order_findings,
    orders_respect_filters,
    plan_reaches_targets,
    positions_explained,
    prices_complete,
    pv_pre_before_t0,
    recently_written,
    reductions_only_reduce,
    sizing_findings,
    target_signs,
    value_continuous_at_t1,
)
from assets.desk.value_log import LogRow, parse_log_row
from resources.documents import Document, dump_line, to_iso
from tests.desk_parts import D, Parts, contract, exchange_info, file_name, market_of
from tests.memory_store import MemoryStore

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
Damage = Callable[[Document], Any]


@pytest.fixture(scope="module")
def day() -> dict[str, Document]:
    """The documents of a real second day with a reduction, a zero-cross, a close, an increase and an opening."""
    parts = Parts(market_of({"AUSDT": "100", "BUSDT": "10", "CUSDT": "1", "DUSDT": "5"}), MemoryStore())
    parts.execute({"A_USDT": ("50", 1), "B_USDT": ("30", -1), "C_USDT": ("20", 1)})
    parts.clock.move_to(parts.clock.now() + timedelta(days=1))
    parts.tick()
    parts.clock.sleep(60)
    parts.market.offers = {"DUSDT": None}
    name = file_name(parts.clock.now())
    targets = {"A_USDT": ("40", -1), "B_USDT": ("10", -1), "D_USDT": ("9", 1), "NOPE_USDT": ("1", 1)}
    rebalance_id = parts.execute(targets, name)["rebalance_id"]
    return {
        name: parts.audit(rebalance_id, f"{file}.json")
        for name, file in (
            ("pre", "pre_execution"),
            ("orders", "sized_orders"),
            ("fills", "fills"),
            ("baseline", "baseline"),
        )
    }


INSTRUMENTS = parse_exchange_info(exchange_info(*(contract(s) for s in ("AUSDT", "BUSDT", "CUSDT", "DUSDT"))))


def damaged(document: Document, damage: Damage) -> Document:
    changed = copy.deepcopy(document)
    damage(changed)
    return changed


def set_row(symbol: str, **values: Any) -> Damage:
    def damage(pre: Document) -> None:
        next(row for row in pre["rows"] if row["symbol"] == symbol).update(values)

    return damage


def set_order(order: str, **values: Any) -> Damage:
    def damage(orders: Document) -> None:
        every = (*orders["reductions"], *orders["increases"])
        next(o for o in every if o["order_id"].endswith(order)).update(values)

    return damage


def fires(finding: Finding, said: str) -> None:
    assert not finding.passed, f"{finding.name} stayed silent"
    assert said in finding.detail, finding.detail


def test_a_real_day_keeps_every_invariant_silent(day: dict[str, Document]) -> None:
    pre, orders, fills, baseline = day["pre"], day["orders"], day["fills"], day["baseline"]
    assert {row["status"] for row in pre["rows"]} >= {"kept", "untradable", "not_in_csv"}
    assert baseline["unfilled"]
    findings = [
        *sizing_findings(pre),
        *order_findings(pre, orders, INSTRUMENTS),
        fills_match_orders(orders, fills),
        positions_explained(pre, orders, baseline),
        baseline_covers_positions(baseline),
        baseline_after_t0(pre, baseline),
        value_continuous_at_t1(baseline, baseline["portfolio_value"], D(1_000_000)),
    ]
    assert [finding for finding in findings if not finding.passed] == []
    assert all(finding.detail == "" for finding in findings)


@pytest.mark.parametrize(
    ("check", "damage", "said"),
    [
        (gross_identity, lambda pre: pre["residual"].update(rounding=D("0.5")), "the parts sum to"),
        (gross_identity, set_row("BUSDT", target_quantity=D(-1)), "rows add up to a gross of"),
        (gross_identity, lambda pre: pre.update(pv_pre=D(1)), "outside 0 .. pv_pre"),
        (target_signs, set_row("AUSDT", target_quantity=D(5)), "AUSDT targets 5 on side -1"),
        (prices_complete, lambda pre: pre["prices_at_t0"].pop("AUSDT"), "AUSDT is kept without a price"),
        (prices_complete, lambda pre: pre["prices_at_t0"].pop("CUSDT"), "CUSDT is not_in_csv without a price"),
        (prices_complete, lambda pre: pre.update(untradable_share=D("0.11")), "of the signal is untradable"),
        (pv_pre_before_t0, lambda pre: pre.update(pv_timestamp=pre["timestamp_utc"]), "pv_pre is dated"),
        (pv_pre_before_t0, lambda pre: pre.update(pv_pre=D(0)), "pv_pre is 0"),
    ],
)
def test_sizing_invariants_fire(
    day: dict[str, Document], check: Callable[[Document], Finding], damage: Damage, said: str
) -> None:
    fires(check(damaged(day["pre"], damage)), said)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (set_order("AUSDT-open-1", quantity=D("0.0005")), "below the minimum"),
        (set_order("AUSDT-open-1", quantity=D("1.0005")), "off the grid"),
        (set_order("BUSDT-reduce-1", quantity=D("1.0005")), "off the grid"),
        (set_order("AUSDT-open-1", quantity=D(1_000_001)), "above the maximum"),
        (set_order("AUSDT-open-1", quantity=D(0)), "quantity 0"),
        (set_order("AUSDT-open-1", quantity=D("0.001")), "AUSDT opens 0.100, the minimum is 5"),
    ],
)
def test_an_order_outside_the_filters_fires(day: dict[str, Document], damage: Damage, said: str) -> None:
    fires(orders_respect_filters(day["pre"], damaged(day["orders"], damage), INSTRUMENTS), said)


def test_a_close_may_be_off_the_grid(day: dict[str, Document]) -> None:
    dust = damaged(day["orders"], set_order("CUSDT-reduce-1", quantity=D("0.00005")))
    assert orders_respect_filters(day["pre"], dust, INSTRUMENTS).passed


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (set_order("AUSDT-reduce-1", side="BUY"), "does not reduce"),
        (set_order("AUSDT-reduce-1", reduce_only=False), "does not reduce"),
        (set_order("AUSDT-reduce-1", quantity=D(10**9)), "AUSDT: reduces 1000000000"),
        (set_order("AUSDT-reduce-1", symbol="ZUSDT"), "does not reduce"),
        (lambda orders: orders["increases"].append(orders["increases"][0]), "order ids repeat"),
    ],
)
def test_a_reduction_that_does_not_reduce_fires(day: dict[str, Document], damage: Damage, said: str) -> None:
    fires(reductions_only_reduce(day["pre"], damaged(day["orders"], damage)), said)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda orders: orders["increases"].pop(), "DUSDT: planned 0, wanted"),
        (set_order("AUSDT-open-1", quantity=D(1)), "AUSDT: planned"),
        (lambda orders: orders["shortfalls"].append({"symbol": "AUSDT", "quantity": D(1), "reason": "x"}), "AUSDT"),
        (lambda orders: orders["shortfalls"].append({"symbol": "BUSDT", "quantity": D(0), "reason": ""}), "without a"),
        (lambda orders: orders["shortfalls"].append({"symbol": "ZUSDT", "quantity": D(1), "reason": "x"}), "ZUSDT"),
    ],
)
def test_a_plan_that_misses_its_target_fires(day: dict[str, Document], damage: Damage, said: str) -> None:
    fires(plan_reaches_targets(day["pre"], damaged(day["orders"], damage)), said)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda fills: fills["fills"].pop(), " of "),
        (lambda fills: fills["fills"].append(fills["fills"][0]), " of "),
        (lambda fills: fills["fills"][0].update(order_id="other"), "belongs to no planned order"),
        (lambda fills: fills["fills"][0].update(side="BUY"), "belongs to no planned order"),
        (lambda fills: fills["fills"][0].update(price=D(0)), "at 0"),
        (lambda fills: fills["fills"][0].update(fee=D("-0.1")), "fee -0.1"),
        (lambda fills: fills["unfilled"][0].update(reason=""), "unfilled without a reason"),
        (lambda fills: fills["unfilled"][0].update(order_id="other"), "was never planned"),
        (lambda fills: fills["unfilled"].pop(), " of "),
    ],
)
def test_fills_that_do_not_match_the_orders_fire(day: dict[str, Document], damage: Damage, said: str) -> None:
    fires(fills_match_orders(day["orders"], damaged(day["fills"], damage)), said)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda baseline: baseline["positions"].update(AUSDT=D(7)), "AUSDT holds 7"),
        (lambda baseline: baseline["positions"].pop("BUSDT"), "BUSDT holds 0"),
        (lambda baseline: baseline["positions"].update(CUSDT=D(1)), "CUSDT holds 1, target 0"),
        (lambda baseline: baseline["positions"].update(ZUSDT=D(1)), "ZUSDT is held and was never sized"),
        (lambda baseline: baseline.update(unfilled=[]), "DUSDT holds 0"),
    ],
)
def test_an_unexplained_position_fires(day: dict[str, Document], damage: Damage, said: str) -> None:
    fires(positions_explained(day["pre"], day["orders"], damaged(day["baseline"], damage)), said)


def test_a_position_without_a_baseline_price_fires(day: dict[str, Document]) -> None:
    changed = damaged(day["baseline"], lambda baseline: baseline["prices"].pop("AUSDT"))
    fires(baseline_covers_positions(changed), "AUSDT has no baseline price")


def test_a_baseline_at_t0_fires(day: dict[str, Document]) -> None:
    changed = damaged(day["baseline"], lambda baseline: baseline.update(timestamp_utc=day["pre"]["timestamp_utc"]))
    fires(baseline_after_t0(day["pre"], changed), "is not after t0")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda baseline: baseline.update(portfolio_value=baseline["portfolio_value"] + 1), "the ledger"),
        (lambda baseline: baseline.update(base_cumulative=D(0)), "base_cumulative is 0, should be"),
        (lambda baseline: baseline.update(net_flows=D(1)), "should be"),
    ],
)
def test_a_value_that_jumps_at_t1_fires(day: dict[str, Document], damage: Damage, said: str) -> None:
    recomputed = day["baseline"]["portfolio_value"]
    fires(value_continuous_at_t1(damaged(day["baseline"], damage), recomputed, D(1_000_000)), said)


# --- the log ----------------------------------------------------------------------------------------------------------


def row(
    minute: int, seq: int, *, value: str = "1010", daily: str = "4", base: str = "6", rebalance: str = "r"
) -> LogRow:
    return parse_log_row(
        dump_line(
            {
                "timestamp": to_iso(NOW + timedelta(minutes=minute, seconds=3)),
                "portfolio_value": D(value),
                "daily_pnl": D(daily),
                "total_pnl": D(daily) + D(base),
                "base_cumulative": D(base),
                "net_flows": Decimal(0),
                "seq": seq,
                "rebalance_id": rebalance,
            }
        )
    )


def test_log_identities_fire_and_stay_silent() -> None:
    assert log_identities([row(0, 0), row(1, 1)], D(1000)).passed
    fires(log_identities([row(0, 0, value="1010.000001")], D(1000)), "total_pnl 10 is not PV - C0 - F")
    broken = parse_log_row(dump_line(row(0, 0).document | {"base_cumulative": D(5)}))
    fires(log_identities([broken], D(1000)), "base_cumulative 5 is not total - daily")


def test_a_base_that_moves_within_a_baseline_fires() -> None:
    assert base_constant_between_baselines([row(0, 0), row(1, 1), row(2, 2, base="9", rebalance="s")]).passed
    fires(base_constant_between_baselines([row(0, 0), row(1, 1, base="7")]), "base_cumulative moved from 6 to 7")


def test_minutes_that_repeat_step_back_or_skip_a_number_fire() -> None:
    assert minutes_strictly_rise([row(0, 0), row(1, 1), row(90, 2)]).passed, "a gap in time is no fault"
    fires(minutes_strictly_rise([row(0, 0), row(0, 1)]), "does not follow")
    fires(minutes_strictly_rise([row(5, 0), row(4, 1)]), "does not follow")
    fires(minutes_strictly_rise([row(0, 0), row(1, 2)]), "seq 2 after 0")


def test_what_is_late_fires() -> None:
    limit = timedelta(minutes=3)
    assert recently_written(NOW - limit, NOW, limit, "log").passed
    fires(recently_written(NOW - limit - timedelta(seconds=1), NOW, limit, "log"), "last written 181 s ago")
    fires(recently_written(None, NOW, limit, "log"), "nothing was written yet")


def outcome(rebalance_id: str, status: str, reason: str = "", sha: str = "a") -> Document:
    return {"rebalance_id": rebalance_id, "status": status, "reason": reason, "csv_sha256": sha}


def test_a_content_executed_twice_fires() -> None:
    silent = [
        outcome("x", "partial", "expired"),
        outcome("x.2", "executed"),
        outcome("y", "executed", sha="b"),
        outcome("z", "superseded"),
    ]
    assert one_execution_per_content(silent).passed
    fires(one_execution_per_content([*silent, outcome("x-again", "executed")]), "x.2 and x-again executed the same")


def test_a_long_list_of_faults_is_cut_and_counted() -> None:
    finding = minutes_strictly_rise([row(0, seq) for seq in range(9)])
    assert finding.detail.endswith("(+3 more)")
