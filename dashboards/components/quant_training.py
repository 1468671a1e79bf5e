"""How the direction classifier was trained and what came of it: the noise-robust loss; rates, metrics and averages."""

from typing import Any

from dashboards import format as text
from dashboards import quant_labels as labels
from dashboards.components.quant_shown import Decided, Shown, fact, line

NO_REPORT = "the decision holds no training report"

_METRICS = {
    "activation_sparsity": (labels.SPARSITY, "Share of hidden activations that are exactly zero"),
    "confidence": (labels.CONFIDENCE, "Mean largest class probability of the raw network"),
    "class_separation": (labels.CLASS_SEPARATION, "R² of the classes in the hidden layer"),
    "kept_at_half": (labels.COMPRESSION, "Share of the accuracy kept with the smaller half of the weights removed"),
}
_AVERAGES = (("last", labels.LAST_ITERATE), ("ema", labels.EMA), ("bema", labels.BEMA))


def noise_robust(decided: Decided) -> Shown:
    """The loss, the noise it was set for, and whether the result is right more often than the base rate."""
    report = _report(decided)
    why = decided.absence or NO_REPORT
    accuracy, error, base = (report.get(name) for name in ("accuracy", "accuracy_error", "base_rate_accuracy"))
    measured = report.get("measured_noise_rate")
    return {
        "title": labels.NOISE_ROBUST,
        "hint": _rows(report),
        "verdict": report.get("verdict", why),
        "beats": report.get("beats_base_rate"),
        "facts": [
            fact(labels.LOSS, report.get("loss"), "The trained loss; jal-ce is cross-entropy with AMSE", reason=why),
            fact(
                labels.NOISE,
                text.percent(report.get("noise_rate"), signed=False, decimals=1),
                "Estimated share of wrong labels, held between a floor and a ceiling",
                note="" if measured is None else f"measured {text.percent(measured, signed=False, decimals=1)}",
                reason=why,
            ),
            fact(
                labels.ASYMMETRY,
                text.number(report.get("asymmetry")),
                "Of the AMSE: noise-tolerant from 1 / (1 − 2 noise) on",
                reason=why,
            ),
            fact(labels.ACTIVE_FROM, _step_name(report), "First step of the noise-robust loss", reason=why),
            fact(
                labels.ACCURACY,
                text.percent(accuracy, signed=False, decimals=1),
                "Share of validation days whose direction the raw score got right, and its standard error",
                note="" if error is None else f"± {text.percent(error, signed=False, decimals=1)}",
                reason=why,
            ),
            fact(
                labels.BASE_RATE,
                text.percent(base, signed=False, decimals=1),
                "What always saying the commoner direction of the training days would get",
                reason=why,
            ),
            fact(
                labels.SLOPE,
                text.number(report.get("slope")),
                "What is left of the score after shrinking by its uncertainty; 0: the features do not move the bias",
                note=_evidence(report),
                reason=why,
            ),
        ],
        "ruler": None if accuracy is None or error is None or base is None else [accuracy, error, base],
    }


def learning_rate(decided: Decided) -> Shown:
    """The schedule, the recipe's metrics beside the brief's targets, and the averages compared by validation loss."""
    report = _report(decided)
    why = decided.absence or NO_REPORT
    rates = [float(rate) for _, rate in report.get("learning_rates", ())]
    targets = {target["metric"]: target for target in report.get("targets", ())}
    candidates = report.get("candidates", {})
    epochs = report.get("epochs")
    return {
        "title": labels.LEARNING_RATE,
        "averaging": labels.AVERAGING,
        "hint": ""
        if not rates or epochs is None
        else f"peak {text.number(max(rates), significant=2)}, {epochs:.0f} epochs",
        "reason": "" if report else why,
        "line": line(rates, 0.0),
        "line_title": "Learning rate over the steps of the training",
        "metrics": [_metric(name, explanation, targets.get(key), why) for key, (name, explanation) in _METRICS.items()],
        "average_labels": [labels.AVERAGE_LOSS, labels.AVERAGE_ACCURACY, labels.CHOSEN],
        "averages": [
            _average(label, candidates.get(name), report.get("chosen") == name, why) for name, label in _AVERAGES
        ],
    }


def _report(decided: Decided) -> dict[str, Any]:
    report: dict[str, Any] = decided.document.get("training") or {}
    return report


def _rows(report: dict[str, Any]) -> str:
    return f"{report['training_rows']} + {report['validation_rows']} days" if "training_rows" in report else ""


def _step_name(report: dict[str, Any]) -> str | None:
    first = report.get("robust_from_step")
    return None if first is None else f"step {first:,}"


def _evidence(report: dict[str, Any]) -> str:
    evidence = report.get("slope_evidence")
    return "" if evidence is None else f"{text.number(evidence, signed=True)} standard errors"


def _metric(name: str, explanation: str, target: dict[str, Any] | None, why: str) -> Shown:
    if target is None:
        return {"label": name, "text": text.MISSING, "passed": None, "limit": "", "title": f"{explanation}\n{why}"}
    plain = target["metric"] == "class_separation"
    value, least = target["value"], target["least"]
    return {
        "label": name,
        "text": text.ratio(value, signed=False) if plain else text.percent(value, signed=False, decimals=0),
        "passed": target["met"],
        "limit": f"≥ {least:g}" if plain else f"≥ {least * 100:g}%",
        "title": "\n".join(part for part in (explanation, target.get("remark", "")) if part),
    }


def _average(label: str, found: dict[str, float] | None, chosen: bool, why: str) -> Shown:
    title = "Validation loss and accuracy; the smallest loss is taken"
    if found is None:
        return {"label": label, "loss": text.MISSING, "accuracy": text.MISSING, "chosen": False, "title": why}
    return {
        "label": label,
        "loss": text.number(found["loss"], significant=4),
        "accuracy": text.percent(found["accuracy"], signed=False, decimals=1),
        "chosen": chosen,
        "title": title,
    }
