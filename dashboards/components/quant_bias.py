"""The directional bias: its side at the threshold of brief 1, a word for its degree, and its past."""

from dashboards import format as text
from dashboards import quant_labels as labels
from dashboards.components.quant_shown import Decided, Shown, day_name, line

# TODO: the words STRONG and EXTREME are the original screen's, their thresholds are in no source. These are our choice
# and change what is read only; the side is taken at the decision's own threshold.
STRONG_FROM = 0.5
EXTREME_FROM = 0.8


def bias(decided: Decided) -> Shown:
    """The gauge from -1 to 1. Without a value (the gate is off) neither a side nor a word is shown, but why."""
    step = decided.step("bias_computation")
    value, threshold = step.get("value"), step.get("threshold")
    side = None if value is None or threshold is None else side_of(value, threshold)
    past = decided.history("bias")
    return {
        "title": labels.BIAS,
        "since": decided.published,
        "value": value,
        "text": text.ratio(value),
        "sign": text.sign_of(value),
        "side": side,
        "look": "on" if side == labels.LONG else "off",
        "word": None if value is None or threshold is None else word_of(value, threshold),
        "reason": step.get("reason") or decided.why("bias_computation") if value is None else "",
        "threshold": threshold,
        "ends": [f"−1 {labels.BEAR}", labels.NEUTRAL, f"{labels.BULL} +1"],
        "details": _details(value, threshold),
        # Half of the height is full bias, either way.
        "bars": line(past, -1.0, 1.0),
        "days": len(past),
        "span": [day_name(day) for day in decided.span],
    }


def side_of(value: float, threshold: float) -> str:
    """LONG, SHORT or HOLD: what the bias would have the desk do."""
    return labels.HOLD if abs(value) < threshold else labels.LONG if value > 0 else labels.SHORT


def word_of(value: float, threshold: float) -> str:
    """NEUTRAL, BULL or BEAR, with STRONG or EXTREME before it from their thresholds on."""
    if abs(value) < threshold:
        return labels.NEUTRAL
    direction = labels.BULL if value > 0 else labels.BEAR
    degree = labels.EXTREME if abs(value) >= EXTREME_FROM else labels.STRONG if abs(value) >= STRONG_FROM else ""
    return f"{degree} {direction}".strip()


def _details(value: float | None, threshold: float | None) -> str:
    stated = "no bias" if value is None else f"Bias {value:+.4f}"
    side = "" if threshold is None else f"; {labels.LONG} from +{threshold:g}, {labels.SHORT} from −{threshold:g}"
    return (
        f"{stated}: P(up) − P(down) of the next day by the direction classifier{side}. "
        f"{labels.STRONG} from {STRONG_FROM:g} and {labels.EXTREME} from {EXTREME_FROM:g} are our own words"
    )
