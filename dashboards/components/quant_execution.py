"""How the exposure moves: the rate's corrections, the price impact, and the step planned for the day."""

from dashboards import format as text
from dashboards import quant_labels as labels
from dashboards.components.quant_shown import Decided, Shown, day_name, fact


def execution(decided: Decided) -> Shown:
    """Seven facts; rates are per day and in fractions of capital."""
    step = decided.step("execution_rate")
    why = decided.why("execution_rate")
    traded = decided.step("position_management").get("settlement", {}).get("reason")
    return {
        "title": labels.EXECUTION,
        "since": decided.published,
        "facts": [
            fact(
                labels.FAST_SPEED,
                _rate(step.get("fast_correction")),
                "What the fast volatility factor adds to the trading rate at its start, fraction of capital per day",
                note="" if "speed" not in step else f"speed {text.number(step['speed'])} a day",
                reason=why,
            ),
            fact(
                labels.SLOW_SPEED,
                _rate(step.get("slow_correction")),
                "What the slow volatility factor adds to the trading rate at its start, fraction of capital per day",
                reason=why,
            ),
            _impact(decided),
            _planned_step(decided),
            _preview(decided),
            _calibration(decided),
            _half_step(decided),
        ],
        "reason": f"Trade: {traded}" if traded else why,
    }


def _rate(value: float | None) -> str:
    return text.MISSING if value is None else f"{text.number(value, signed=True)} /d"


def _impact(decided: Decided) -> Shown:
    step = decided.step("impact_tracking")
    now, after = step.get("now_bp"), step.get("after_bp")
    return fact(
        labels.IMPACT,
        None if now is None else f"{text.number(now, signed=True)} bp",
        "Price impact that earlier trades have left at the decision, and what the planned step makes of it",
        note="" if after is None else f"then {text.number(after, signed=True)} bp",
        reason=decided.why("impact_tracking"),
    )


def _planned_step(decided: Decided) -> Shown:
    step, marked = decided.step("execution_rate"), decided.step("feature_extraction").get("marked", {})
    planned, held = step.get("planned"), marked.get("exposure")
    change = None if planned is None or held is None else planned - held
    return fact(
        labels.PLANNED_STEP,
        text.number(change, signed=True),
        "Change of exposure planned for the day, before the risk rails and the exit rule",
        reason=decided.why("execution_rate") or decided.why("feature_extraction"),
    )


def _preview(decided: Decided) -> Shown:
    """From what was held before the decision to what is held after it."""
    held = decided.step("feature_extraction").get("marked", {}).get("exposure")
    then = decided.step("position_management").get("settlement", {}).get("book", {}).get("exposure")
    preview = fact(
        labels.EXPOSURE_PREVIEW,
        None if held is None or then is None else f"{text.ratio(held)} → {text.ratio(then)}",
        "Exposure before the decision and after its trade",
        reason=decided.why("position_management") or decided.why("feature_extraction"),
    )
    return preview | {"from": held, "to": then}


def _calibration(decided: Decided) -> Shown:
    result = decided.step("weekly_calibration").get("result", {})
    day, reason = result.get("calibrated"), result.get("reason", "")
    new, old = result.get("new"), result.get("old")
    title = "Weekly estimate of lambda, the impact per trade, from realised slippage (our own heuristic)"
    return fact(
        labels.LAST_CALIBRATION,
        None if not day else day_name(day),
        title if new is None else f"{title}: {old:g} → {new:g}; {reason}",
        reason=f"never yet: {reason}" if reason else decided.why("weekly_calibration"),
    )


def _half_step(decided: Decided) -> Shown:
    half = decided.step("execution_rate").get("half_step")
    return fact(
        labels.HALF_STEP,
        None if half is None else labels.ON if half else labels.OFF,
        "Whether the step was halved because volatility is above 1.2 times its long-run level; off unless configured",
        tone="loud" if half else "",
        reason=decided.why("execution_rate"),
    )
