"""Asset checks: the invariants of brief 0 and reference/trading.md 3.1 and 3.4, on the edges where they matter.

Each check calls one pure function of ``invariants`` on the stored documents and reports what it compared with what.
Blocking where the next step would move money on a wrong number; the steps assert the same themselves, because a
blocking check guards only the run it is in.
"""

import inspect
from collections.abc import Callable, Sequence
from datetime import timedelta

import dagster as dg

from assets import metadata
from assets.accounting.funding import Lack, said_unbooked, unbooked
from assets.accounting.instrument import parse_exchange_info
from assets.accounting.pnl import logged_portfolio_value
from assets.desk.artifacts import LATEST_EXECUTED, LATEST_PRICES, REBALANCES, audit_key, filters_key
from assets.desk.assets import (
    baseline,
    daily_csv,
    fills,
    latest_executed,
    portfolio_value_history,
    pre_execution,
    sized_orders,
)
from assets.desk.desk import Desk
from assets.desk.detection import OUTCOME, SIGNAL_COPY, detection_of
from assets.desk.history import rows_since
from assets.desk.invariants import (
    Finding,
    base_constant_between_baselines,
    baseline_after_t0,
    baseline_covers_positions,
    content_unchanged,
    fills_match_orders,
    gross_identity,
    log_identities,
    minutes_strictly_rise,
    one_execution_per_content,
    orders_respect_filters,
    plan_reaches_targets,
    positions_explained,
    prices_complete,
    pv_pre_before_t0,
    recently_written,
    reductions_only_reduce,
    sizing_warnings,
    target_signs,
    value_continuous_at_t1,
)
from assets.desk.rebalance import BASELINE, FILLS, PRE, SIZED_ORDERS
from assets.desk.tick import FUNDING_LATE
from resources.documents import Document, from_iso, sha256_hex
from resources.store.once import find

# Beyond this without a row or a price file, the ticker is not running.
_TICK_LIMIT = timedelta(minutes=3)

Judge = Callable[[Desk, str], Finding]

_ERROR, _WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN


def check_result(finding: Finding, severity: dg.AssetCheckSeverity = _ERROR) -> dg.AssetCheckResult:
    """A finding as Dagster shows it."""
    return dg.AssetCheckResult(
        passed=finding.passed,
        severity=severity,
        description=finding.detail or None,
        metadata=metadata.plain(finding.numbers),
    )


def _document(desk: Desk, rebalance_id: str, name: str) -> Document:
    document = find(desk.store, audit_key(rebalance_id, name))
    if document is None:
        raise dg.Failure(f"{audit_key(rebalance_id, name)} does not exist: materialize its asset first")
    return document


def rebalance_check(
    asset: dg.AssetsDefinition,
    name: str,
    judge: Judge,
    *,
    blocking: bool,
    severity: dg.AssetCheckSeverity = _ERROR,
) -> dg.AssetChecksDefinition:
    """A check of one invariant over one rebalance's documents; its description is the judge's docstring."""

    @dg.asset_check(asset=asset, name=name, blocking=blocking, description=inspect.getdoc(judge))
    def check(context: dg.AssetCheckExecutionContext, desk: dg.ResourceParam[Desk]) -> dg.AssetCheckResult:
        return check_result(judge(desk, context.partition_key), severity)

    return check


def _content(desk: Desk, id_: str) -> Finding:
    """The stored copy of the CSV still has the sha256 frozen at t0."""
    return content_unchanged(
        sha256_hex(desk.store.read(audit_key(id_, SIGNAL_COPY)).data), detection_of(desk, id_).csv_sha256
    )


def _filters(desk: Desk, id_: str) -> Finding:
    """Every order obeys LOT_SIZE, MARKET_LOT_SIZE and the notional minimum of the filters frozen at t0."""
    info = desk.store.read(filters_key(detection_of(desk, id_).filters_sha256)).data
    pre, orders = _document(desk, id_, PRE), _document(desk, id_, SIZED_ORDERS)
    return orders_respect_filters(pre, orders, parse_exchange_info(info))


def _continuity(desk: Desk, id_: str) -> Finding:
    """A8: the baseline's value equals the ledger's at the same prices; base_cumulative = PV - C0 - F."""
    stored = _document(desk, id_, BASELINE)
    book = desk.ledger().book_at(stored["ledger_seq"])
    value = logged_portfolio_value(book, stored["prices"])
    return value_continuous_at_t1(stored, value, desk.settings.initial_capital)


def _over(judge: Callable[..., Finding], *names: str) -> Judge:
    """A judge of the named documents of a rebalance, with the invariant's own description."""

    def judged(desk: Desk, id_: str) -> Finding:
        return judge(*(_document(desk, id_, name) for name in names))

    judged.__doc__ = judge.__doc__
    return judged


rebalance_checks: Sequence[dg.AssetChecksDefinition] = [
    rebalance_check(daily_csv, "content_unchanged", _content, blocking=True),
    rebalance_check(pre_execution, "gross_identity", _over(gross_identity, PRE), blocking=True),
    rebalance_check(pre_execution, "target_signs", _over(target_signs, PRE), blocking=True),
    rebalance_check(pre_execution, "prices_complete", _over(prices_complete, PRE), blocking=True),
    rebalance_check(pre_execution, "pv_pre_before_t0", _over(pv_pre_before_t0, PRE), blocking=True),
    rebalance_check(pre_execution, "sizing_warnings", _over(sizing_warnings, PRE), blocking=False, severity=_WARN),
    rebalance_check(sized_orders, "orders_respect_filters", _filters, blocking=True),
    rebalance_check(
        sized_orders, "reductions_only_reduce", _over(reductions_only_reduce, PRE, SIZED_ORDERS), blocking=True
    ),
    rebalance_check(
        sized_orders, "plan_reaches_targets", _over(plan_reaches_targets, PRE, SIZED_ORDERS), blocking=True
    ),
    rebalance_check(fills, "fills_match_orders", _over(fills_match_orders, SIZED_ORDERS, FILLS), blocking=True),
    rebalance_check(baseline, "baseline_covers_positions", _over(baseline_covers_positions, BASELINE), blocking=True),
    rebalance_check(baseline, "baseline_after_t0", _over(baseline_after_t0, PRE, BASELINE), blocking=True),
    rebalance_check(baseline, "value_continuous_at_t1", _continuity, blocking=True),
    rebalance_check(
        baseline, "positions_explained", _over(positions_explained, PRE, SIZED_ORDERS, BASELINE), blocking=False
    ),
]


@dg.asset_check(asset=latest_executed)
def content_executed_once(desk: dg.ResourceParam[Desk]) -> dg.AssetCheckResult:
    """No signal content was executed twice, whatever its file was called."""
    keys = [entry.key for entry in desk.store.list(REBALANCES) if entry.key.endswith(f"/{OUTCOME}")]
    documents = (find(desk.store, key) for key in keys)
    return check_result(one_execution_per_content(document for document in documents if document is not None))


# --- the minute path, looked at by the hourly job ---


@dg.multi_asset_check(
    specs=[
        dg.AssetCheckSpec(
            "log_identities",
            asset=portfolio_value_history,
            description="total_pnl = PV - C0 - F (A4) and base_cumulative = total_pnl - daily_pnl (A6), last 48 hours",
        ),
        dg.AssetCheckSpec(
            "minutes_strictly_rise",
            asset=portfolio_value_history,
            description="One row a minute, in order, numbered without a gap, last 48 hours",
        ),
        dg.AssetCheckSpec(
            "base_constant_between_baselines",
            asset=portfolio_value_history,
            description="base_cumulative changes only where the baseline in force does, last 48 hours",
        ),
    ]
)
def log_checks(desk: dg.ResourceParam[Desk]):  # type: ignore[no-untyped-def]
    """Identities over the last 48 hours of the log; ``desk verify`` covers all of it."""
    rows = rows_since(desk.store, desk.clock.now() - timedelta(hours=48))
    for finding in (
        log_identities(rows, desk.settings.initial_capital),
        minutes_strictly_rise(rows),
        base_constant_between_baselines(rows),
    ):
        result = check_result(finding)
        yield dg.AssetCheckResult(
            asset_key=portfolio_value_history.key,
            check_name=finding.name,
            passed=result.passed,
            severity=result.severity,
            description=result.description,
            metadata=result.metadata,
        )


@dg.asset_check(asset=portfolio_value_history)
def log_recent(desk: dg.ResourceParam[Desk]) -> dg.AssetCheckResult:
    """The ticker wrote a row within the last three minutes."""
    now = desk.clock.now()
    rows = rows_since(desk.store, now - timedelta(hours=1))
    newest = rows[-1].timestamp if rows else None
    return check_result(recently_written(newest, now, _TICK_LIMIT, "log_recent"))


@dg.asset_check(asset=portfolio_value_history)
def prices_recent(desk: dg.ResourceParam[Desk]) -> dg.AssetCheckResult:
    """The ticker wrote latest_prices.json within the last three minutes; refused marks are listed."""
    document = find(desk.store, LATEST_PRICES)
    newest = None if document is None else from_iso(document["timestamp_utc"])
    result = recently_written(newest, desk.clock.now(), _TICK_LIMIT, "prices_recent")
    refused = {} if document is None else document["refused"]
    return check_result(Finding(result.name, result.passed, result.detail, {**result.numbers, "refused": refused}))


@dg.asset_check(asset=portfolio_value_history)
def funding_booked(desk: dg.ResourceParam[Desk]) -> dg.AssetCheckResult:
    """Something was booked in each eight hours at whose end a contract was held, in the 48 hours before the newest
    tick; where nothing was, that is no rate of 0 and is named. From the ledger alone: one settlement that is missing
    between others of these hours is not seen, and one told without a usable rate is named by the ticker."""
    document = find(desk.store, LATEST_PRICES)
    missing: list[Lack] = []
    if document is not None:
        newest = from_iso(document["timestamp_utc"])
        # What is younger is still looked for, and waits while a rebalance is under way.
        late = newest - FUNDING_LATE - timedelta(minutes=desk.settings.max_rebalance_minutes)
        missing = unbooked(desk.ledger().book(), newest - timedelta(hours=48), late)
    detail = "; ".join(said_unbooked(missing))
    return check_result(Finding("funding_booked", not missing, detail, {"not_booked": len(missing)}), _WARN)


@dg.asset_check(asset=latest_executed)
def signal_not_late(desk: dg.ResourceParam[Desk]) -> dg.AssetCheckResult:
    """A signal was executed within ``DESK_CSV_DEADLINE_HOURS``; positions and daily P&L run on meanwhile."""
    document = find(desk.store, LATEST_EXECUTED)
    newest = None if document is None else from_iso(document["timestamp_utc"])
    limit = timedelta(hours=desk.settings.csv_deadline_hours)
    return check_result(recently_written(newest, desk.clock.now(), limit, "signal_not_late"), _WARN)


standing_checks: Sequence[dg.AssetChecksDefinition] = [
    content_executed_once,
    log_checks,
    log_recent,
    prices_recent,
    funding_booked,
    signal_not_late,
]
