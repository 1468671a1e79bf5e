"""Walk-forward validation: the newest slice against the acceptance criteria, and the verdict on every slice.

A slice that was refused (it has no result) is shown with its reason; a refused newest slice leaves no GO to an older
one. A slice whose costs are incomplete says what they lack; it was not accepted.
"""

from collections import Counter
from collections.abc import Sequence
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
    """The four ticks of the newest slice with a result, GO only when that is accepted and no later slice is refused,
    and one mark for each slice."""
    folds: list[dict[str, Any]] = [] if summary is None else sorted(summary["folds"], key=_test_start)
    refused: list[dict[str, Any]] = [] if summary is None else sorted(summary.get("refused", ()), key=_test_start)
    if summary is None or not folds:
        nothing = NO_SUMMARY if summary is None else _refusal(refused) or "The walk-forward holds no slice"
        reason = absence or nothing
        return {
            "title": labels.VALIDATION,
            "since": None,
            "verdict": None,
            "reason": reason,
            "ticks": [_tick(label, title, None, reason) for _, label, title in _CRITERIA],
            "lines": [[label, text.MISSING, reason] for label in (labels.SLICE, labels.COSTS, labels.EMBARGO)],
            "slices": _slices(folds, refused),
            "sum": "",
            "remarks": _remarks(folds, refused),
        }
    newest = folds[-1]
    later = [each for each in refused if _test_start(each) > _test_start(newest)]
    accepted = bool(newest["accepted"]) and not later
    verdicts = {verdict["name"]: verdict for verdict in newest["verdicts"]}
    window = newest["fold"]
    purge = (date.fromisoformat(window["test_start"]) - date.fromisoformat(window["train_end"])).days
    costs, rate = newest["performance"].get("costs"), summary.get("cost_bp")
    gaps: str = newest.get("cost_gaps", "")
    return {
        "title": labels.VALIDATION,
        "since": moment(summary.get("computed_utc")),
        "verdict": labels.GO if accepted else labels.NO_GO,
        "passed": accepted,
        "reason": _refusal(later) or gaps,
        "ticks": [
            _tick(label, title, verdicts.get(name), "the newest slice has no such verdict")
            for name, label, title in _CRITERIA
        ],
        "lines": [
            [labels.SLICE, _span(window), f"Trained from {window['train_start']} to {window['train_end']}"],
            [
                labels.COSTS,
                text.percent(costs, signed=False) + (f", {labels.INCOMPLETE}" if gaps else ""),
                "Fees, slippage and funding of the slice as a share of capital; all results are after them"
                + ("" if rate is None else f". Every change of exposure costs {rate:g} bp")
                + (f"\n{gaps}" if gaps else ""),
            ],
            [labels.EMBARGO, f"{purge} d", "Days between training and test that neither sees"],
        ],
        "slices": _slices(folds, refused),
        "sum": _sum(summary, folds, refused),
        "remarks": _remarks(folds, refused),
    }


def _slices(folds: Sequence[dict[str, Any]], refused: Sequence[dict[str, Any]]) -> list[list[Any]]:
    """A mark a slice from the oldest to the newest: whether it was accepted (None: refused), and what it says."""
    return [
        [None if "reason" in each else bool(each["accepted"]), f"{_span(each['fold'])}: {_verdict(each)}"]
        for each in sorted([*folds, *refused], key=_test_start)
    ]


def _refusal(refused: Sequence[dict[str, Any]]) -> str:
    """What is said of the newest of ``refused``; "" without one."""
    return f"{_span(refused[-1]['fold'])}: {_verdict(refused[-1])}" if refused else ""


def _remarks(folds: Sequence[dict[str, Any]], refused: Sequence[dict[str, Any]]) -> str:
    """A line for every reason slices were refused for, and for everything the costs of others lack."""
    reasons = Counter(each["reason"] for each in refused)
    gaps = Counter(fold["cost_gaps"] for fold in folds if fold.get("cost_gaps"))
    return "\n".join(
        [f"{count} {labels.SLICE_REFUSED}: {reason}" for reason, count in reasons.items()]
        + [f"{count} with {labels.COSTS.lower()} {labels.INCOMPLETE}: {gap}" for gap, count in gaps.items()]
    )


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
    if "reason" in fold:
        return f"{labels.SLICE_REFUSED}, {fold['reason']}"
    failed = [label for name, label, _ in _CRITERIA if not _passed(fold, name)]
    said = [
        labels.ACCEPTED if fold["accepted"] else "",
        f"{labels.FAILS} {', '.join(failed)}" if failed and not fold["accepted"] else "",
        fold.get("cost_gaps", ""),
        _result(fold["performance"]),
    ]
    return ", ".join(filter(None, said))


def _passed(fold: dict[str, Any], name: str) -> bool:
    return any(verdict["name"] == name and verdict["passed"] for verdict in fold["verdicts"])


def _result(performance: dict[str, Any]) -> str:
    return f"{text.percent(performance['total_return'])}, Sharpe {text.ratio(performance['sharpe'])}"


def _sum(summary: Document, folds: Sequence[dict[str, Any]], refused: Sequence[dict[str, Any]]) -> str:
    accepted = f"{sum(bool(fold['accepted']) for fold in folds)} of {len(folds)} slices {labels.ACCEPTED}"
    if refused:
        accepted += f", {len(refused)} {labels.SLICE_REFUSED}"
    incomplete = sum(bool(fold.get("cost_gaps")) for fold in folds)
    if incomplete:
        accepted += f", {incomplete} with {labels.COSTS.lower()} {labels.INCOMPLETE}"
    overall, holding = summary.get("overall"), summary.get("buy_and_hold")
    if not overall or not holding:
        return accepted
    return f"{accepted}; all slices {_result(overall)}; buy and hold {_result(holding)}"
