"""What must hold, as pure functions over stored documents. Asset checks report them, execution code asserts them,
``desk verify`` runs them over the whole store.

A finding says what was compared with what; ``detail`` is a sentence when it failed.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal, localcontext
from typing import Any

from assets.accounting.instrument import Instrument, Instruments, floor_lots, quantity_of
from assets.accounting.precision import EXACT, ZERO
from assets.desk.value_log import LogRow, minute_of
from resources.documents import Document, from_iso


@dataclass(frozen=True, slots=True)
class Finding:
    """The verdict on one invariant, with the numbers it rests on."""

    name: str
    passed: bool
    detail: str = ""
    numbers: Mapping[str, Any] = field(default_factory=dict)


def _finding(name: str, wrong: list[str], **numbers: Any) -> Finding:
    return Finding(
        name, not wrong, "; ".join(wrong[:5]) + (f" (+{len(wrong) - 5} more)" if len(wrong) > 5 else ""), numbers
    )


def sizing_findings(pre: Document) -> list[Finding]:
    """Invariants of one pre_execution document: gross identity, signs, prices complete, pv_pre before t0."""
    return [gross_identity(pre), target_signs(pre), prices_complete(pre), pv_pre_before_t0(pre)]


def gross_identity(pre: Document) -> Finding:
    """pv_pre = gross + rounding + dropped + untradable, exactly, with gross recomputed from the rows.

    Under the floor rule 0 <= gross <= pv_pre as well: sizing never levers.
    """
    with localcontext(EXACT):
        pv_pre = Decimal(pre["pv_pre"])
        parts = {name: Decimal(amount) for name, amount in pre["residual"].items()}
        total = sum(parts.values(), ZERO)
        kept = [row for row in pre["rows"] if row["status"] == "kept"]
        wrong = [f"{row['symbol']} is kept without a price" for row in kept if row["symbol"] not in pre["prices_at_t0"]]
        gross = sum(
            (abs(Decimal(row["target_quantity"])) * Decimal(pre["prices_at_t0"].get(row["symbol"], 0)) for row in kept),
            ZERO,
        )
        if total != pv_pre:
            wrong.append(f"the parts sum to {total}, pv_pre is {pv_pre}")
        if gross != parts["gross"]:
            wrong.append(f"rows add up to a gross of {gross}, stated is {parts['gross']}")
        if not 0 <= gross <= pv_pre:
            wrong.append(f"gross {gross} is outside 0 .. pv_pre {pv_pre}")
    return _finding("gross_identity", wrong, pv_pre=pv_pre, **parts)


def target_signs(pre: Document) -> Finding:
    """The sign of every target is 0 or the sign of target_contracts; untradable rows may keep what is held."""
    wrong = [
        f"{row['symbol']} targets {row['target_quantity']} on side {row['side']}"
        for row in pre["rows"]
        if row["status"] in ("kept", "dropped", "flat") and Decimal(row["target_quantity"]) * row["side"] < 0
    ]
    return _finding("target_signs", wrong, rows=len(pre["rows"]))


def prices_complete(pre: Document) -> Finding:
    """Every row that is to be held or traded has its price at t0, and the untradable share is within its limit."""
    wrong = [
        f"{row['symbol']} is {row['status']} without a price"
        for row in pre["rows"]
        if (row["status"] == "kept" or Decimal(row["delta_quantity"])) and row["symbol"] not in pre["prices_at_t0"]
    ]
    share, limit = Decimal(pre["untradable_share"]), Decimal(pre["rules"]["untradable_limit"])
    if share > limit:
        wrong.append(f"{share:%} of the signal is untradable, the limit is {limit:%}")
    return _finding("prices_complete", wrong, untradable_share=share, priced=len(pre["prices_at_t0"]))


def pv_pre_before_t0(pre: Document) -> Finding:
    """pv_pre was logged strictly before t0, or says which fallback it is."""
    wrong = []
    if pre["pv_source"] == "log" and not from_iso(pre["pv_timestamp"]) < from_iso(pre["timestamp_utc"]):
        wrong.append(f"pv_pre is dated {pre['pv_timestamp']}, t0 is {pre['timestamp_utc']}")
    if Decimal(pre["pv_pre"]) <= 0:
        wrong.append(f"pv_pre is {pre['pv_pre']}")
    return _finding("pv_pre_before_t0", wrong, pv_source=pre["pv_source"], pv_timestamp=pre["pv_timestamp"] or "")


def order_findings(pre: Document, orders: Document, instruments: Instruments) -> list[Finding]:
    """Invariants of the order plan against the rows it serves: filters, reduce-only, completeness."""
    return [
        orders_respect_filters(pre, orders, instruments),
        reductions_only_reduce(pre, orders),
        plan_reaches_targets(pre, orders),
    ]


def orders_respect_filters(pre: Document, orders: Document, instruments: Instruments) -> Finding:
    """Every order is on the grid and within the quantity limits; opening orders reach the notional minimum in all.

    Exempt, as documented: a reduction from the notional minimum, a full close from the grid and minimum (dust).
    """
    wrong: list[str] = []
    opened: dict[str, Decimal] = {}
    with localcontext(EXACT):
        for order in (*orders["reductions"], *orders["increases"]):
            instrument, quantity = instruments[order["symbol"]], Decimal(order["quantity"])
            wrong += [f"{order['order_id']}: {problem}" for problem in _lot_problems(order, quantity, instrument)]
            if order["leg"] == "open":
                opened[order["symbol"]] = opened.get(order["symbol"], ZERO) + quantity
        for symbol, quantity in opened.items():
            notional, least = quantity * Decimal(pre["prices_at_t0"][symbol]), instruments[symbol].min_notional
            if notional < least:
                wrong.append(f"{symbol} opens {notional}, the minimum is {least}")
    return _finding("orders_respect_filters", wrong, orders=orders["orders"])


def _lot_problems(order: Document, quantity: Decimal, instrument: Instrument) -> list[str]:
    problems = []
    if quantity <= 0:
        problems.append(f"quantity {quantity}")
    if instrument.max_qty and quantity > instrument.max_qty:
        problems.append(f"{quantity} is above the maximum {instrument.max_qty}")
    if not order["close_position"]:
        if quantity < instrument.min_qty:
            problems.append(f"{quantity} is below the minimum {instrument.min_qty}")
        if quantity != quantity_of(floor_lots(quantity, instrument), instrument):
            problems.append(f"{quantity} is off the grid of {instrument.step}")
    return problems


def reductions_only_reduce(pre: Document, orders: Document) -> Finding:
    """Per symbol, reduce-only orders sum to no more than the position and point against it; ids are unique."""
    held: defaultdict[str, Decimal] = defaultdict(Decimal)
    held.update((row["symbol"], Decimal(row["current_quantity"])) for row in pre["rows"])
    wrong: list[str] = []
    reduced: dict[str, Decimal] = {}
    for order in orders["reductions"]:
        sign = 1 if order["side"] == "BUY" else -1
        if not order["reduce_only"] or held[order["symbol"]] * sign >= 0:
            wrong.append(f"{order['order_id']} does not reduce {held[order['symbol']]}")
        reduced[order["symbol"]] = reduced.get(order["symbol"], ZERO) + Decimal(order["quantity"])
    wrong += [f"{s}: reduces {q}, held {held[s]}" for s, q in reduced.items() if q > abs(held[s])]
    ids = [order["order_id"] for order in (*orders["reductions"], *orders["increases"])]
    if len(ids) != len(set(ids)):
        wrong.append("order ids repeat")
    return _finding("reductions_only_reduce", wrong, reductions=len(orders["reductions"]))


def plan_reaches_targets(pre: Document, orders: Document) -> Finding:
    """Orders plus the shortfalls that carry a reason add up to each row's delta, exactly."""
    with localcontext(EXACT):
        planned: dict[str, Decimal] = {}
        for order in (*orders["reductions"], *orders["increases"]):
            signed = Decimal(order["quantity"]) * (1 if order["side"] == "BUY" else -1)
            planned[order["symbol"]] = planned.get(order["symbol"], ZERO) + signed
        wrong = []
        for shortfall in orders["shortfalls"]:
            if not shortfall["reason"]:
                wrong.append(f"{shortfall['symbol']} falls short without a reason")
            symbol = shortfall["symbol"]
            planned[symbol] = planned.get(symbol, ZERO) + Decimal(shortfall["quantity"])
        delta = {row["symbol"]: Decimal(row["delta_quantity"]) for row in pre["rows"]}
        wrong += [
            f"{symbol}: planned {planned.get(symbol, ZERO)}, wanted {delta.get(symbol, ZERO)}"
            for symbol in sorted(planned.keys() | delta.keys())
            if planned.get(symbol, ZERO) != delta.get(symbol, ZERO)
        ]
    return _finding("plan_reaches_targets", wrong, shortfalls=len(orders["shortfalls"]))


def fills_match_orders(orders: Document, fills: Document) -> Finding:
    """Per order, filled plus unfilled equals ordered; every fill belongs to a planned order, on its side."""
    planned = {o["order_id"]: o for o in (*orders["reductions"], *orders["increases"])}
    done = dict.fromkeys(planned, ZERO)
    wrong: list[str] = []
    with localcontext(EXACT):
        for fill in fills["fills"]:
            order = planned.get(fill["order_id"])
            if order is None or order["side"] != fill["side"] or order["symbol"] != fill["symbol"]:
                wrong.append(f"{fill['fill_id']} belongs to no planned order")
                continue
            if Decimal(fill["price"]) <= 0 or Decimal(fill["fee"]) < 0:
                wrong.append(f"{fill['fill_id']} at {fill['price']}, fee {fill['fee']}")
            done[fill["order_id"]] += Decimal(fill["quantity"])
        for left in fills["unfilled"]:
            if not left["reason"]:
                wrong.append(f"{left['order_id']} is unfilled without a reason")
            if left["order_id"] not in planned:
                wrong.append(f"{left['order_id']} is unfilled and was never planned")
                continue
            done[left["order_id"]] += Decimal(left["quantity"])
        wrong += [
            f"{order_id}: {done[order_id]} of {order['quantity']}"
            for order_id, order in planned.items()
            if done[order_id] != Decimal(order["quantity"])
        ]
    return _finding("fills_match_orders", wrong, fills=len(fills["fills"]), unfilled=len(fills["unfilled"]))


def positions_explained(pre: Document, orders: Document, baseline: Document) -> Finding:
    """Each position at t1 is its target, or the difference carries a reason (shortfall, unfilled, held on)."""
    reasons = {entry["symbol"]: entry["reason"] for entry in (*orders["shortfalls"], *baseline["unfilled"])}
    wrong = []
    tracking = ZERO
    with localcontext(EXACT):
        for row in pre["rows"]:
            held = Decimal(baseline["positions"].get(row["symbol"], 0))
            target = Decimal(row["target_quantity"])
            if held != target:
                tracking += abs(held - target) * Decimal(pre["prices_at_t0"].get(row["symbol"], 0))
                if not reasons.get(row["symbol"]):
                    wrong.append(f"{row['symbol']} holds {held}, target {target}, no reason given")
    named = {row["symbol"] for row in pre["rows"]}
    wrong += [f"{symbol} is held and was never sized" for symbol in baseline["positions"] if symbol not in named]
    return _finding("positions_explained", wrong, tracking_difference=tracking)


def baseline_covers_positions(baseline: Document) -> Finding:
    """Every position at t1 has its price in the baseline, so that daily P&L can be stated for it."""
    wrong = [f"{symbol} has no baseline price" for symbol in baseline["positions"] if symbol not in baseline["prices"]]
    return _finding("baseline_covers_positions", wrong, positions=len(baseline["positions"]))


def baseline_after_t0(pre: Document, baseline: Document) -> Finding:
    """t0 < t1."""
    t0, t1 = pre["timestamp_utc"], baseline["timestamp_utc"]
    wrong = [] if from_iso(t0) < from_iso(t1) else [f"t1 {t1} is not after t0 {t0}"]
    return _finding("baseline_after_t0", wrong, t0=t0, t1=t1)


def value_continuous_at_t1(baseline: Document, recomputed: Decimal, initial_capital: Decimal) -> Finding:
    """A8: the baseline's value is the ledger's at the same prices, so nothing jumps; base_cumulative follows (A6)."""
    with localcontext(EXACT):
        value, base = Decimal(baseline["portfolio_value"]), Decimal(baseline["base_cumulative"])
        expected_base = value - initial_capital - Decimal(baseline["net_flows"])
        wrong = []
        if value != recomputed:
            wrong.append(f"the baseline says {value}, the ledger {recomputed}")
        if base != expected_base:
            wrong.append(f"base_cumulative is {base}, should be {expected_base}")
    return _finding("value_continuous_at_t1", wrong, portfolio_value=value, base_cumulative=base)


def log_identities(rows: Iterable[LogRow], initial_capital: Decimal) -> Finding:
    """Every row: total_pnl = PV - C0 - F (A4) and base_cumulative = total_pnl - daily_pnl (A6), exactly."""
    wrong, count = [], 0
    with localcontext(EXACT):
        for row in rows:
            count += 1
            if row.total_pnl != row.portfolio_value - initial_capital - row.net_flows:
                wrong.append(f"{row.timestamp}: total_pnl {row.total_pnl} is not PV - C0 - F")
            if row.base_cumulative != row.total_pnl - row.daily_pnl:
                wrong.append(f"{row.timestamp}: base_cumulative {row.base_cumulative} is not total - daily")
    return _finding("log_identities", wrong, rows=count)


def base_constant_between_baselines(rows: Iterable[LogRow]) -> Finding:
    """A6: base_cumulative changes only where the baseline in force does."""
    wrong, previous = [], None
    for row in rows:
        key = row.document.get("rebalance_id")
        if previous is not None and previous[0] == key and previous[1] != row.base_cumulative:
            wrong.append(f"{row.timestamp}: base_cumulative moved from {previous[1]} to {row.base_cumulative}")
        previous = (key, row.base_cumulative)
    return _finding("base_constant_between_baselines", wrong)


def minutes_strictly_rise(rows: Iterable[LogRow]) -> Finding:
    """One row a minute, in order, numbered without a gap."""
    wrong, count = [], 0
    previous: LogRow | None = None
    for row in rows:
        count += 1
        if previous is not None:
            if minute_of(row.timestamp) <= minute_of(previous.timestamp):
                wrong.append(f"{row.timestamp} does not follow {previous.timestamp}")
            if row.seq != previous.seq + 1:
                wrong.append(f"{row.timestamp}: seq {row.seq} after {previous.seq}")
        previous = row
    return _finding("minutes_strictly_rise", wrong, rows=count)


def recently_written(timestamp: datetime | None, now: datetime, limit: timedelta, name: str) -> Finding:
    """Something that is written regularly was written within ``limit``."""
    if timestamp is None:
        return _finding(name, ["nothing was written yet"])
    age = now - timestamp
    wrong = [f"last written {int(age.total_seconds())} s ago"] if age > limit else []
    return _finding(name, wrong, age_seconds=age.total_seconds())


def one_execution_per_content(outcomes: Iterable[Document]) -> Finding:
    """No signal content was executed twice, whatever its file was called.

    An expired execution and the one that started it over count as one.
    """
    executed: dict[str, list[str]] = {}
    for outcome in outcomes:
        if outcome["status"] in ("executed", "partial") and outcome["reason"] != "expired":
            executed.setdefault(outcome["csv_sha256"], []).append(outcome["rebalance_id"])
    wrong = [f"{' and '.join(ids)} executed the same content" for ids in executed.values() if len(ids) > 1]
    return _finding("one_execution_per_content", wrong, contents=len(executed))


def content_unchanged(sha256: str, frozen_sha256: str) -> Finding:
    """The stored copy of the signal is, byte for byte, what was frozen at t0."""
    wrong = [] if sha256 == frozen_sha256 else [f"sha256 is {sha256}, frozen as {frozen_sha256}"]
    return _finding("content_unchanged", wrong, sha256=sha256)


def sizing_warnings(pre: Document) -> Finding:
    """Nothing about pv_pre or the log needs a person's eye (age above 5 minutes, more than 10 bps off at t0)."""
    return _finding("sizing_warnings", list(pre["warnings"]), pv_pre=pre["pv_pre"], pv_at_t0=pre["pv_at_t0"])
