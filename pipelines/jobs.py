"""Jobs: the rebalance of one signal, and the hourly look at the minute path."""

import dagster as dg

from assets.desk.assets import portfolio_value_history, rebalance_assets
from assets.desk.checks import standing_checks

REBALANCE_JOB = "rebalance"

# The execution slot is held by the whole run (pools with run granularity, see dagster.yaml); a failed run is resumed by
# the sensor, never retried by the framework.
rebalance_job = dg.define_asset_job(
    REBALANCE_JOB,
    selection=dg.AssetSelection.assets(*rebalance_assets),
    executor_def=dg.in_process_executor,
    tags={"dagster/max_retries": "0"},
    description="One signal: daily_csv -> pre_execution -> sized_orders -> fills -> baseline -> latest_executed.",
)

upkeep_job = dg.define_asset_job(
    "upkeep",
    selection=dg.AssetSelection.assets(portfolio_value_history) | dg.AssetSelection.checks(*standing_checks),
    executor_def=dg.in_process_executor,
    description="Compact whole days of the value log and check log, prices, lateness and single execution.",
)
