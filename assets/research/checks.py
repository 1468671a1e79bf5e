"""Asset checks of research: the brief's integrity checks on each source table, and the promises of a decision.

None of them blocks: a table with a gap closes the gate in the decision itself, which is stored with its reason, and a
run that stopped instead would leave yesterday's decision standing. A failed check says which promise did not hold.
"""

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

import dagster as dg

from assets import metadata
from assets.research.assets import (
    answered,
    source_assets,
    step_assets,
    walk_forward_report,
)
from assets.research.research_desk import ResearchDesk
from assets.research.steps import SOURCES, STEPS

# Findings of the contracts by the brief's integrity check that they fail.
INTEGRITY = {
    "schema_holds": ("columns", "type", "missing", "grid", "range", "empty"),
    "monotonic_utc": ("naive", "utc", "order", "duplicate"),
    "no_gaps": ("gap", "late"),
    "fresh": ("stale", "future"),
}
_TEXT = {
    "schema_holds": "Exactly the brief's columns, of their types, no NaN, prices and sizes positive.",
    "monotonic_utc": "Stamps in UTC, strictly rising where the table is a series.",
    "no_gaps": "No row missing between others or before the decision.",
    "fresh": "Newest row less than 26 hours old at the decision, and none that was not known then.",
}
# A log of trades has no row that is due.
_CANNOT_FAIL = {("slippage_log", "no_gaps")}
# Without these no decision is made; the others may be absent.
_NEEDED = ("bars_1h", "daily_close")

_WARN, _ERROR = dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR


def _result(failures: Sequence[str], numbers: dict[str, Any], severity: dg.AssetCheckSeverity) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=not failures,
        severity=severity,
        description="; ".join(failures) or None,
        metadata=metadata.plain(numbers),
    )


def _integrity_check(source: str, name: str) -> dg.AssetChecksDefinition:
    severity = _ERROR if source in _NEEDED else _WARN

    @dg.asset_check(asset=source_assets[source], name=name, description=_TEXT[name])
    def check(context: dg.AssetCheckExecutionContext, research: dg.ResourceParam[ResearchDesk]) -> dg.AssetCheckResult:
        from assets.research.sources import pull_source

        day, failures, compared = date.fromisoformat(context.partition_key), list[str](), dict[str, Any]()
        for symbol in research.settings.research_symbols:
            document = answered(pull_source, research.research, symbol, day, source)
            rows = document["tables"].get(source, {}).get("rows", 0)
            compared[symbol] = f"{rows} rows" if rows else f"absent: {document['absence']}"
            if not rows and source in _NEEDED:
                failures.append(f"{symbol}: no rows")
            failures += [
                f"{symbol}: {finding['message']}"
                for finding in document["findings"]
                if finding["rule"] in INTEGRITY[name]
            ]
        return _result(failures, compared, severity)

    return check


def _of_decisions(asset: str, judge: Callable[[Any, str, date], list[str]]) -> dg.AssetChecksDefinition:
    """A check of every symbol's decision of the partition's day; its name and description are the judge's."""

    @dg.asset_check(asset=step_assets[asset], name=judge.__name__.lstrip("_"), description=judge.__doc__)
    def check(context: dg.AssetCheckExecutionContext, research: dg.ResourceParam[ResearchDesk]) -> dg.AssetCheckResult:
        day = date.fromisoformat(context.partition_key)
        symbols = research.settings.research_symbols
        failures = [
            f"{symbol}: {failure}" for symbol in symbols for failure in answered(judge, research.research, symbol, day)
        ]
        return _result(failures, {"symbols": list(symbols)}, _ERROR)

    return check


def _features_unleaked(research: Any, symbol: str, day: date) -> list[str]:
    """Features of earlier days, computed anew from the day's tables cut off at those days, have the very same bits."""
    from assets.research.replay import leaked_features

    return leaked_features(research, symbol, day)


def _decision_replays(research: Any, symbol: str, day: date) -> list[str]:
    """Every step computed again from the stored tables, models and steps gives the stored result."""
    from assets.research.replay import replay

    return [
        f"{replayed.step} {difference}"
        for replayed in replay(research, symbol, day)
        for difference in replayed.differences
    ]


def _decision_within_bounds(research: Any, symbol: str, day: date) -> list[str]:
    """Probability in [0, 1], bias in [-1, 1], exposure within the cap, nothing opened while the gate is off."""
    from assets.research.replay import bound_violations

    return bound_violations(research, symbol, day)


@dg.asset_check(
    asset=walk_forward_report,
    name="acceptance",
    description="The fold meets the brief's criteria: hit rate, Sharpe, drawdown, gate. Fails honestly, as a warning.",
)
def acceptance(context: dg.AssetCheckExecutionContext, research: dg.ResourceParam[ResearchDesk]) -> dg.AssetCheckResult:
    """The stored verdicts of the partition's fold."""
    from assets.research.validation_runs import fold_named, fold_report

    symbol, _, name = context.partition_key.partition("_")
    report = answered(fold_report, research.research, symbol, answered(fold_named, name, research.research))
    verdicts = report["result"]["verdicts"]
    failures = [f"{verdict['name']}: {verdict['reason']}" for verdict in verdicts if not verdict["passed"]]
    return _result(failures, {verdict["name"]: verdict["reason"] for verdict in verdicts}, _WARN)


daily_checks: Sequence[dg.AssetChecksDefinition] = [
    *(_integrity_check(source, name) for source in SOURCES for name in INTEGRITY if (source, name) not in _CANNOT_FAIL),
    _of_decisions("feature_extraction", _features_unleaked),
    _of_decisions("position_management", _decision_within_bounds),
    _of_decisions(STEPS[-1], _decision_replays),
]
fold_checks: Sequence[dg.AssetChecksDefinition] = [acceptance]
