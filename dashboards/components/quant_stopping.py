"""The exit rule of the open position: stop or hold, and between which bounds its value lies."""

from typing import Any

from dashboards import format as text
from dashboards import quant_labels as labels
from dashboards.components.quant_shown import Decided, Shown, fact, gauge


def stopping(decided: Decided) -> Shown:
    """The decision of the day; bounds and values are fractions of the notional at entry."""
    step: dict[str, Any] = decided.step("position_management").get("exit", {})
    why = decided.why("position_management") or step.get("reason") or "the exit rule gave none"
    day, most = step.get("day"), step.get("days_max")
    confidence = step.get("confidence")
    lower, upper, going_on = step.get("lower"), step.get("upper"), step.get("continuation")
    return {
        "title": labels.STOPPING,
        "since": decided.published,
        "label": labels.DECISION,
        "decision": step.get("decision"),
        "reason": decided.why("position_management") or step.get("reason", ""),
        "gauge": gauge(
            labels.CONFIDENCE,
            confidence,
            text.percent(confidence, signed=False, decimals=0),
            "How sure the exit rule is of its decision",
            reason=why,
        ),
        "day": {
            "label": labels.DAY,
            "text": text.MISSING if day is None or most is None else f"{day} of {most}",
            "day": day,
            "most": most,
            "title": "Days since the position was opened; on the last one it is closed",
        },
        "facts": [
            fact(
                labels.LOWER_BOUND, text.percent(lower), "Value of following the rule, from simulated paths", reason=why
            ),
            fact(labels.UPPER_BOUND, text.percent(upper), "No rule can be worth more, by duality", reason=why),
            fact(labels.CONTINUATION, text.percent(going_on), "Value of going on for another day", reason=why),
        ],
        "range": _positions(lower, upper, going_on),
    }


def _positions(lower: float | None, upper: float | None, going_on: float | None) -> list[float] | None:
    """Where the bounds and the continuation value lie on a line that holds them all, each in [0, 1]."""
    if lower is None or upper is None or going_on is None:
        return None
    least, most = min(lower, upper, going_on), max(lower, upper, going_on)
    span = most - least
    if not 0 < span < float("inf"):
        return [0.0, 1.0, 0.5]
    return [(value - least) / span for value in (lower, upper, going_on)]
