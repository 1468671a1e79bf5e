"""The last rebalance: anchors, the sizing identity with its numbers, what was dropped and why, and where it ran."""

from datetime import datetime
from decimal import Decimal, localcontext
from typing import Any

from assets.accounting.precision import EXACT, divided
from dashboards import format as text
from dashboards.components.cards import NO_SIGNAL
from dashboards.components.pills import milliseconds, run_url
from dashboards.snapshot import Snapshot
from resources.documents import Document, from_iso
from resources.settings import Settings

_PV_SOURCES = {
    "log": "last row before t0",
    "log_not_before_t0": "most recent row, none before t0",
    "initial_capital": "initial capital, empty log",
    "recomputed_at_t0": "recomputed at t0",
}

_PARTS = (("gross", "Gross targeted"), ("rounding", "Rounding"), ("dropped", "Dropped"), ("untradable", "Untradable"))


def rebalance(snapshot: Snapshot, settings: Settings, now: datetime) -> dict[str, Any]:
    """``{reason}`` before the first detection, else the panel's facts, top to bottom."""
    detected = snapshot.detected
    if detected is None:
        return {"reason": " ".join(_refusal(snapshot)) or NO_SIGNAL}
    t0 = from_iso(detected["timestamp_utc"])
    return {
        "reason": "",
        "since": milliseconds(t0),
        "file": str(detected.get("csv_filename", "")),
        "sha": str(detected.get("csv_sha256", "")),
        "sha_short": text.short_hash(str(detected.get("csv_sha256", ""))),
        **_status(snapshot),
        "anchors": _anchors(snapshot, t0, now),
        "identity": _identity(detected),
        "pv_source": _PV_SOURCES.get(str(detected.get("pv_source")), str(detected.get("pv_source", ""))),
        "pv_time": _pv_time(detected, now),
        "dropped": _left_out(detected),
        "warnings": [*_refusal(snapshot), *(str(warning) for warning in detected.get("warnings", []))],
        "run": run_url(snapshot, settings),
    }


def _refusal(snapshot: Snapshot) -> list[str]:
    """A newer file that was not executed, when it is not the one this panel is about."""
    refused = snapshot.unanswered_refusal
    if refused is None or refused.get("rebalance_id") == snapshot.rebalance_id:
        return []
    return [f"{refused['csv_filename']} {refused['status']}: {refused['reason']}"]


def _status(snapshot: Snapshot) -> dict[str, Any]:
    execution, outcome = snapshot.execution, snapshot.outcome
    executing = execution is not None and execution.get("state") == "executing"
    if outcome is not None:
        return {"status": str(outcome.get("status", "")), "why": str(outcome.get("reason") or "")}
    if executing and execution is not None and execution.get("rebalance_id") == snapshot.rebalance_id:
        return {"status": "executing", "why": str(execution.get("step") or "")}
    return {"status": "open", "why": "no outcome stored yet"}


def _anchors(snapshot: Snapshot, t0: datetime, now: datetime) -> list[list[str]]:
    """[name, time, exact time] of t0 and t1, and how long it took between them."""
    anchors = [["t0", text.clock_time(t0, today=now, seconds=True), t0.isoformat()]]
    baseline = snapshot.baseline
    if baseline is not None and baseline.get("rebalance_id") == snapshot.rebalance_id:
        t1 = from_iso(baseline["timestamp_utc"])
        anchors.append(["t1", text.clock_time(t1, today=now, seconds=True), t1.isoformat()])
        anchors.append(["took", text.duration((t1 - t0).total_seconds()), "from detection to baseline"])
    return anchors


def _identity(detected: Document) -> dict[str, Any] | None:
    """pv_pre = gross + rounding + dropped + untradable, with each term's share of pv_pre; None when not stated."""
    residual = detected.get("residual")
    pv_pre = Decimal(detected.get("pv_pre") or 0)
    if not residual or not pv_pre:
        return None
    parts = [Decimal(residual[name]) for name, _ in _PARTS]
    with localcontext(EXACT):
        difference = pv_pre - sum(parts)
    return {
        "pv_pre": list(text.money(pv_pre)),
        "terms": [
            [label, *text.money(part), _share(name, part, pv_pre)]
            for (name, label), part in zip(_PARTS, parts, strict=True)
        ],
        "exact": difference == 0,
        "difference": text.money(difference, signed=True).text,
    }


def _share(name: str, part: Decimal, pv_pre: Decimal) -> str:
    share = divided(part, pv_pre)
    return text.percent(share, signed=False) if name == "gross" else f"{text.basis_points(share)} bp"


def _pv_time(detected: Document, now: datetime) -> str:
    stamp = detected.get("pv_timestamp")
    return text.clock_time(from_iso(stamp), today=now, seconds=True) if stamp else ""


def _left_out(detected: Document) -> list[list[str]]:
    """[symbol, reason, target notional] of every row that was not sized as asked."""
    return [
        [
            row["symbol"],
            str(row.get("reason") or row["status"]).replace("_", " "),
            text.whole_money(row["target_notional"]),
        ]
        for row in detected.get("rows", ())
        if row["status"] in ("dropped", "untradable")
    ]
