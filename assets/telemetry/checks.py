"""Asset checks of telemetry: what was stored is read again, judged by its schema and computed anew.

They speak and do not block. A service level that is undecided has not been met: its check does not pass, and says that
nothing was decided.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import dagster as dg

from assets import metadata
from assets.telemetry.assets import (
    answered,
    backtest_report,
    metrics_ticks,
    recorded_day,
    service_levels_asset,
)
from assets.telemetry.telemetry_desk import TelemetryDesk

_WARN, _ERROR = dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR
_NAMED = 10


def _result(
    failures: Sequence[str], looked_at: Mapping[str, Any], severity: dg.AssetCheckSeverity, said: str = ""
) -> dg.AssetCheckResult:
    more = [f"and {len(failures) - _NAMED} more"] if len(failures) > _NAMED else []
    return dg.AssetCheckResult(
        passed=not failures,
        severity=severity,
        description="; ".join([*failures[:_NAMED], *more]) or said or None,
        metadata=metadata.plain(looked_at),
    )


@dg.asset_check(
    asset=metrics_ticks,
    description="Every stored tick, recomputed or the resident trader's, is one by metrics_tick.schema.json, of its "
    "day, in order of time; the resident's at most one for an instant of the grid.",
)
def ticks_follow_schema(
    context: dg.AssetCheckExecutionContext, telemetry: dg.ResourceParam[TelemetryDesk]
) -> dg.AssetCheckResult:
    """Fails without a single recomputed tick."""
    from assets.telemetry.day_checks import schema_failures

    day = date.fromisoformat(context.partition_key)
    verdict = answered(schema_failures, telemetry.store, telemetry.source, day, telemetry.settings.metrics_seconds)
    return _result(verdict.failures, verdict.compared, _ERROR)


@dg.asset_check(
    asset=metrics_ticks,
    description="The stored ticks come out of the day's records again, and the P&L of every tick of the resident "
    "trader is that of a valuation not older than two minutes.",
)
def ticks_match_log(
    context: dg.AssetCheckExecutionContext, telemetry: dg.ResourceParam[TelemetryDesk]
) -> dg.AssetCheckResult:
    """Says how many were compared: a day that was only replayed has no resident ticks."""
    from assets.telemetry.day_checks import log_differences

    day = date.fromisoformat(context.partition_key)
    document = recorded_day(telemetry, day)
    verdict = answered(log_differences, telemetry.store, telemetry.source, day, document)
    said = "; ".join(f"{number} {name}" for name, number in verdict.compared.items())
    return _result(verdict.failures, verdict.compared, _ERROR, said)


@dg.asset_check(
    asset=service_levels_asset,
    description="No service level is breached, and at least one is decided; undecided ones are counted.",
)
def levels_met(
    context: dg.AssetCheckExecutionContext, telemetry: dg.ResourceParam[TelemetryDesk]
) -> dg.AssetCheckResult:
    """Judges what is stored of the day."""
    from assets.telemetry.day_checks import unmet_levels

    day = date.fromisoformat(context.partition_key)
    verdict = answered(unmet_levels, telemetry.store, telemetry.source, day)
    return _result(verdict.failures, verdict.compared, _WARN)


@dg.asset_check(
    asset=backtest_report,
    description="Read again, the files have their hashes, and proceeds - cost + funding + flows + held at the marks = "
    "final equity - start, to the last digit; with nothing held, the valuations of the day agree with the fills.",
)
def report_identities(
    context: dg.AssetCheckExecutionContext, telemetry: dg.ResourceParam[TelemetryDesk]
) -> dg.AssetCheckResult:
    """Recomputed from the stored rows and the day's records."""
    from assets.telemetry.day_report import identities, report_name, stored_files

    day = date.fromisoformat(context.partition_key)
    document = recorded_day(telemetry, day)
    files = answered(stored_files, telemetry.store, report_name(telemetry.source, day))
    verdict = answered(identities, files, document)
    return _result(verdict.failures, verdict.compared, _ERROR)


@dg.asset_check(
    asset=backtest_report,
    description="What flags impossible numbers in foreign reports finds none in ours, beside what the brief's columns "
    "force: those are named with the reason.",
)
def results_plausible(
    context: dg.AssetCheckExecutionContext, telemetry: dg.ResourceParam[TelemetryDesk]
) -> dg.AssetCheckResult:
    """Judged by the importer."""
    from assets.telemetry.day_report import FORCED, implausible, report_name, stored_files

    day = date.fromisoformat(context.partition_key)
    files = answered(stored_files, telemetry.store, report_name(telemetry.source, day))
    flags, explained = answered(implausible, files, recorded_day(telemetry, day), telemetry.clock.now())
    forced = {flag.code: FORCED[flag.code] for flag in explained}
    return _result(
        [str(flag) for flag in flags], {"files": len(files), "flags": len(flags), "forced": forced or "none"}, _WARN
    )


telemetry_checks: Sequence[dg.AssetChecksDefinition] = [
    ticks_follow_schema,
    ticks_match_log,
    levels_met,
    report_identities,
    results_plausible,
]
