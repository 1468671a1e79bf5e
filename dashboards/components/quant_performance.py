"""What the paper book of the decisions has earned and holds, and the risk guards that are active."""

from typing import Any

from dashboards import format as text
from dashboards import quant_labels as labels
from dashboards.components.quant_shown import Decided, Shown, fact, line

_GUARDS = {
    "hard_stop": labels.HARD_STOP,
    "daily_loss": labels.DAILY_LIMIT,
    "funding_drift": labels.FUNDING_DRIFT,
    "volatility_drift": labels.VOLATILITY_DRIFT,
}


def performance(decided: Decided) -> Shown:
    """P&L since the first decision as a share of capital, exposures as fractions of it."""
    marked = decided.step("feature_extraction").get("marked", {})
    book = decided.step("position_management").get("settlement", {}).get("book", {})
    why = decided.why("position_management")
    equity, held = book.get("equity"), book.get("exposure")
    target = decided.step("target_sizing").get("target")
    day = marked.get("day_return")
    pnl = None if equity is None else equity - 1.0
    unmarked: str = marked.get("reason", "")
    return {
        "title": labels.PERFORMANCE,
        "since": decided.published,
        "label": labels.PNL,
        "text": text.percent(pnl),
        "sign": text.sign_of(pnl),
        "reason": why if pnl is None else "",
        "pnl_title": "Compounded return of the decisions' own paper book since its first day, after fees, slippage and "
        "funding, as a share of capital",
        "delta": {
            "sign": text.sign_of(day),
            "text": "" if day is None else text.percent(day),
            "note": unmarked if day is None or unmarked else "the day before, before costs",
        },
        "facts": [
            fact(
                labels.CURRENT_EXPOSURE,
                text.ratio(held),
                "Held since this decision, as a fraction of capital: +1.00 is all of it in the asset",
                reason=why,
            ),
            fact(
                labels.TARGET_EXPOSURE,
                text.ratio(target),
                "x*, what the paper's optimal rate trades towards, capped",
                reason=decided.why("target_sizing"),
            ),
        ],
        "held": held,
        "target": target,
        "line": line(decided.history("equity")),
        "line_title": f"Equity of the paper book, last {len(decided.history('equity'))} days",
        "guards": guards(decided),
        "guards_label": labels.RISK_GUARDS,
    }


def guards(decided: Decided) -> list[Shown]:
    """Why exposure may not rise, one entry a cause; empty while nothing holds it back."""
    report = decided.step("risk_checks")
    if report.get("state") in (None, "ACTIVE"):
        return []
    active = [
        {"name": _GUARDS.get(each["name"], each["name"]), "text": each["reason"], "title": _limit(each)}
        for each in report["guards"]
        if each["active"]
    ]
    return [
        {"name": report["state"], "text": report["reason"] if not active else "", "title": report["reason"]},
        *active,
    ]


def _limit(guard: dict[str, Any]) -> str:
    return f"{text.number(guard['value'], significant=4)}, the limit is {guard['limit']:g}"
