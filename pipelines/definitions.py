"""Everything Dagster loads. Adding an asset, check or schedule is one line here."""

import warnings
from collections.abc import Mapping
from typing import Any

import dagster as dg

from assets.arbitrage.assets import arbitrage_assets, arbitrage_resource
from assets.arbitrage.checks import arbitrage_checks
from assets.desk.assets import desk_resource, external_assets, portfolio_value_history, rebalance_assets
from assets.desk.checks import rebalance_checks, standing_checks
from assets.research.assets import daily_assets, fold_assets, research_resource, walk_forward
from assets.research.checks import daily_checks, fold_checks
from assets.telemetry.assets import telemetry_assets, telemetry_resource
from assets.telemetry.checks import telemetry_checks
from pipelines.jobs import (
    rebalance_job,
    research_job,
    trading_day_job,
    upkeep_job,
    walk_forward_folds_job,
    walk_forward_job,
)
from pipelines.schedules import daily_walk_forward, hourly_upkeep, research_at_midnight, trading_day_after_midnight
from pipelines.sensors import decision_sensor, first_walk_forward_sensor, inbox_sensor


def build(resources: Mapping[str, Any] | None = None) -> dg.Definitions:
    """The definitions, with ``resources`` in place of the real ones where tests want their own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # code references warn once an asset
        assets = dg.with_source_code_references(
            [
                *rebalance_assets,
                portfolio_value_history,
                *external_assets,
                *daily_assets,
                *fold_assets,
                walk_forward,
                *arbitrage_assets,
                *telemetry_assets,
            ]
        )
    return dg.Definitions(
        assets=assets,
        asset_checks=[
            *rebalance_checks,
            *standing_checks,
            *daily_checks,
            *fold_checks,
            *arbitrage_checks,
            *telemetry_checks,
        ],
        jobs=[rebalance_job, upkeep_job, research_job, walk_forward_job, walk_forward_folds_job, trading_day_job],
        schedules=[hourly_upkeep, research_at_midnight, daily_walk_forward, trading_day_after_midnight],
        sensors=[inbox_sensor, decision_sensor, first_walk_forward_sensor],
        resources={
            "desk": desk_resource,
            "research": research_resource,
            "arbitrage": arbitrage_resource,
            "telemetry": telemetry_resource,
            **(resources or {}),
        },
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    return build()
