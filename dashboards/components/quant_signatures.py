"""The signature features of the decision, and what each contributes to the volatility forecast and to the bias."""

from collections.abc import Iterable, Mapping

from dashboards import format as text
from dashboards import quant_labels as labels
from dashboards.components.quant_shown import Decided, Shown

_PREFIX = "sig_"
_LETTERS = {"0": "time", "1": "log price"}


def signatures(decided: Decided) -> Shown:
    """A row a signature feature, words of the path's channels in order; the last row sums up all other features."""
    step = decided.step("feature_extraction")
    features: Mapping[str, float | None] = step.get("known", {}).get("features", {})
    volatility = step.get("volatility", {})
    to_volatility: Mapping[str, float] = volatility.get("attributions", {})
    bias = decided.step("bias_computation")
    to_bias: Mapping[str, float] = bias.get("attributions", {})
    words = sorted((name for name in features if name.startswith(_PREFIX)), key=lambda name: (len(name), name))
    refusal = step.get("known", {}).get("refusal", "")
    missing = decided.why("feature_extraction") or refusal or "the decision holds no signature features"
    return {
        "title": labels.SIGNATURES,
        "since": decided.published,
        "reason": "" if words else missing,
        "hint": _forecast(volatility),
        "hint_title": "Volatility of the coming day by the signature regression; realised: of the last 24 hours",
        "heads": [labels.FEATURE, labels.VALUE, labels.TO_VOLATILITY, labels.TO_BIAS],
        "no_volatility": "" if to_volatility else volatility.get("reason") or missing,
        "no_bias": "" if to_bias else bias.get("reason") or decided.why("bias_computation"),
        "rows": [
            *_rows(words, features, to_volatility, to_bias),
            *([_others(set(words), to_volatility, to_bias)] if words else []),
        ],
    }


def _rows(
    words: Iterable[str],
    features: Mapping[str, float | None],
    to_volatility: Mapping[str, float],
    to_bias: Mapping[str, float],
) -> list[Shown]:
    rows = list(words)
    largest = [max((abs(part.get(name, 0.0)) for name in rows), default=0.0) for part in (to_volatility, to_bias)]
    return [
        {
            "name": name,
            "title": _meaning(name),
            "text": text.number(features[name], signed=True),
            "parts": [
                _part(part.get(name), most, unit)
                for part, most, unit in zip((to_volatility, to_bias), largest, ("%", ""), strict=True)
            ],
        }
        for name in rows
    ]


def _meaning(name: str) -> str:
    letters = (_LETTERS.get(letter, letter) for letter in name.removeprefix(_PREFIX))
    return f"Iterated integral of {', '.join(letters)}"


def _others(words: set[str], to_volatility: Mapping[str, float], to_bias: Mapping[str, float]) -> Shown:
    rest = [{name: share for name, share in part.items() if name not in words} for part in (to_volatility, to_bias)]
    described = [
        "\n".join(f"{name} {text.number(share, signed=True)}" for name, share in sorted(shares.items()))
        for shares in rest
    ]
    return {
        "name": labels.ALL_OTHERS,
        "title": "\n".join(
            f"{what}:\n{lines}"
            for what, lines in zip((labels.VOLATILITY, labels.BIAS), described, strict=True)
            if lines
        ),
        "text": "",
        "parts": [
            _part(sum(shares.values()) if shares else None, 0.0, unit)
            for shares, unit in zip(rest, ("%", ""), strict=True)
        ],
    }


def _part(value: float | None, largest: float, unit: str) -> Shown:
    """A contribution: its text, and its share of the largest one for the bar (0: no bar)."""
    shown = text.MISSING
    if value is not None:
        shown = text.percent(value, decimals=3) if unit else text.number(value, signed=True)
    return {"text": shown, "size": value / largest if value is not None and largest > 0 else 0.0}


def _forecast(volatility: Mapping[str, float | None]) -> str:
    if not volatility:
        return ""
    forecast, realised = (text.percent(volatility.get(name), signed=False) for name in ("forecast", "realised"))
    return f"σ {forecast} a day, realised {realised}"
