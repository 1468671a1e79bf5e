"""The regime gate: P(RISK-ON), the state that threshold and inertia make of it, and how well the filter stands."""

from datetime import UTC, datetime, timedelta

from dashboards import format as text
from dashboards import quant_labels as labels
from dashboards.components.pills import milliseconds
from dashboards.components.quant_shown import Decided, Shown, fact, gauge, line, moment

# Brief 1: older data are stale, and stale data close the gate.
STALE_AFTER_SECONDS = 26 * 3600


def gate(decided: Decided) -> Shown:
    """``state`` is what the decision said; the browser shows GATE-OFF over it once ``freshness`` has run out."""
    step = decided.step("regime_gate")
    day = step.get("day", {})
    probability, reason = day.get("probability"), day.get("reason") or decided.why("regime_gate")
    ess, particles = step.get("effective_sample_size"), step.get("particles")
    threshold, needed = step.get("threshold"), step.get("inertia_days")
    history = decided.history("probability")
    return {
        "title": labels.GATE,
        "since": decided.published,
        "state": day.get("state"),
        "off_state": labels.GATE_OFF,
        "reason": reason,
        "gauges": [
            gauge(
                labels.PROBABILITY,
                probability,
                text.percent(probability, signed=False, decimals=0),
                f"Probability of the RISK-ON regime by the particle filter, {_exact(probability)}",
                mark=threshold,
                note="" if threshold is None else f"gate {threshold:.2f}",
                reason=reason,
            ),
            _confidence(probability, reason),
            gauge(
                labels.ESS,
                None if ess is None or not particles else ess / particles,
                text.number(ess),
                "Effective sample size of the filter's particles: how many equally weighted ones would say as much",
                note="" if particles is None else f"n/{particles}",
                reason=reason,
            ),
        ],
        "facts": [
            fact(
                labels.INERTIA,
                None if needed is None or "inertia_count" not in day else f"{day['inertia_count']} of {needed}",
                "Consecutive days at or above the threshold; after OFF this many are needed for ON",
                reason=reason,
            ),
            fact(
                labels.LEARNING_STEPS,
                _whole(step.get("learning_steps")),
                "Iterations K in which the filter learns its twist, a day",
                reason=reason,
            ),
            fact(
                labels.WINDOW,
                None if step.get("window") is None else f"{step['window']} d",
                "Days L of the filter's rolling window",
                reason=reason,
            ),
        ],
        "line": line(history, 0.0, 1.0),
        "mark": threshold,
        "days": len(history),
        "line_title": f"{labels.PROBABILITY} of the last {len(history)} days; the dashed line is the threshold",
    }


def freshness(decided: Decided) -> Shown:
    """When the decision stops being the present: ``as_of`` (ms) of its data plus ``stale_after`` (s), and the end of
    its day. None where the document does not say, which is stale as well."""
    as_of = decided.step("data_pull").get("as_of")
    day = decided.document.get("day")
    begins = None if not day else datetime.fromisoformat(day).replace(tzinfo=UTC)
    return {
        "as_of": moment(as_of),
        "stale_after": STALE_AFTER_SECONDS,
        "day": day,
        "begins": None if begins is None else milliseconds(begins),
        "ends": None if begins is None else milliseconds(begins + timedelta(days=1)),
        "absence": decided.absence,
    }


def _confidence(probability: float | None, reason: str) -> Shown:
    # TODO: the original screen shows a confidence of the gate without saying what it is; this is our reading.
    confidence = None if probability is None else max(probability, 1.0 - probability)
    return gauge(
        labels.CONFIDENCE,
        confidence,
        text.percent(confidence, signed=False, decimals=0),
        "Probability of the likelier regime, max(p, 1 − p): 50% knows nothing. Our own reading of this label",
        note="max(p, 1−p)",
        reason=reason,
    )


def _exact(value: float | None) -> str:
    return "not known" if value is None else f"{value:.4f}"


def _whole(value: int | None) -> str | None:
    return None if value is None else f"{value:,}"
