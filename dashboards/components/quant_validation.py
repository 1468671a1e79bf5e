"""Walk-forward validation: the newest slice against the acceptance criteria, and the verdict on every slice."""

from datetime import date
from typing import Any

from dashboards import format as text
from dashboards import quant_labels as labels
from dashboards.components.quant_shown import Shown, day_name, moment
from resources.documents import Document

WALK_FORWARD_JOB = "walk_forward_pool"
NO_SUMMARY = f"No walk-forward yet: the job {WALK_FORWARD_JOB} runs it"

_CRITERIA = (
    ("hit_rate", labels.HIT_RATE, "Share of traded days with a gain after costs"),
    ("sharpe", labels.SHARPE, "Mean over standard deviation of daily returns, times √365"),
    ("max_drawdown", labels.DRAWDOWN, "Largest fall of equity from its peak"),
    ("gate_off", labels.GATE_OFF_DAYS, "Share of days with the gate off"),
)


def validation(summary: Document | None, absence: str) -> Shown:
    """The four ticks of the newest slice, GO only when all of them pass, and one mark for each slice."""
    folds: list[dict[str, Any]] = [] if summary is None else sorted(summary["folds"], key=_test_start)
    if summary is None or not folds:
        reason = absence or (NO_SUMMARY if summary is None else "The walk-forward holds no slice")
        return {
            "title": labels.VALIDATION,
            "since": None,
            "verdict": None,
            "reason": reason,
            "ticks": [_tick(label, title, None, reason) for _, label, title in _CRITERIA],
            "lines": [[label, text.MISSING, reason] for label in (labels.SLICE, labels.COSTS, labels.EMBARGO)],
            "slices": [],
            "sum": "",
        }
    newest = folds[-1]
    verdicts = {verdict["name"]: verdict for verdict in newest["verdicts"]}
    window = newest["fold"]
    purge = (date.fromisoformat(window["test_start"]) - date.fromisoformat(window["train_end"])).days
    costs, rate = newest["performance"].get("costs"), summary.get("cost_bp")
    return {
        "title": labels.VALIDATION,
        "since": moment(summary.get("computed_utc")),
        "verdict": labels.GO if newest["accepted"] else labels.NO_GO,
        "passed": bool(newest["accepted"]),
        "reason": "",
        "ticks": [
            _tick(label, title, verdicts.get(name), "the newest slice has no such verdict")
            for name, label, title in _CRITERIA
        ],
        "lines": [
            [labels.SLICE, _span(window), f"Trained from {window['train_start']} to {window['train_end']}"],
            [
                labels.COSTS,
                text.percent(costs, signed=False),
                "Fees, slippage and funding of the slice as a share of capital; all results are after them"
                + ("" if rate is None else f". Every change of exposure costs {rate:g} bp"),
            ],
            [labels.EMBARGO, f"{purge} d", "Days between training and test that neither sees"],
        ],
        "slices": [
            [bool(fold["accepted"]), f"{_span(fold['fold'])}: {_verdict(fold)}, {_result(fold['performance'])}"]
            for fold in folds
        ],
        "sum": _sum(summary, folds),
    }


def _test_start(fold: dict[str, Any]) -> str:
    return str(fold["fold"]["test_start"])


def _tick(label: str, title: str, verdict: dict[str, Any] | None, reason: str) -> Shown:
    if verdict is None:
        return {"label": label, "text": text.MISSING, "passed": None, "limit": "", "title": f"{title}\n{reason}"}
    value, limit, name = verdict["value"], verdict["limit"], verdict["name"]
    relation = {">=": "≥", "<=": "≤"}.get(verdict["relation"], verdict["relation"])
    plain = name == "sharpe"
    return {
        "label": label,
        "text": text.ratio(value) if plain else text.percent(value, signed=False, decimals=1),
        "passed": bool(verdict["passed"]),
        "limit": f"{relation} {limit:.2f}" if plain else f"{relation} {limit * 100:g}%",
        "title": f"{title}\n{verdict['reason']}",
    }


def _span(window: dict[str, Any]) -> str:
    return f"{day_name(window['test_start'])[:-5]} – {day_name(window['test_end'])}"


def _verdict(fold: dict[str, Any]) -> str:
    if fold["accepted"]:
        return "accepted"
    failed = [label for name, label, _ in _CRITERIA if not _passed(fold, name)]
    return f"fails {', '.join(failed)}"


def _passed(fold: dict[str, Any], name: str) -> bool:
    return any(verdict["name"] == name and verdict["passed"] for verdict in fold["verdicts"])


def _result(performance: dict[str, Any]) -> str:
    return f"{text.percent(performance['total_return'])}, Sharpe {text.ratio(performance['sharpe'])}"


def _sum(summary: Document, folds: list[dict[str, Any]]) -> str:
    accepted = f"{sum(bool(fold['accepted']) for fold in folds)} of {len(folds)} slices accepted"
    overall, holding = summary.get("overall"), summary.get("buy_and_hold")
    if not overall or not holding:
        return accepted
    return f"{accepted}; all slices {_result(overall)}; buy and hold {_result(holding)}"
