"""Jobs: the rebalance of one signal, the hourly look at the minute path, the decision of a day and its validation, and
the paper trader's day."""

import dagster as dg

from assets.arbitrage.assets import arbitrage_assets
from assets.desk.assets import portfolio_value_history, rebalance_assets
from assets.desk.checks import standing_checks
from assets.research.assets import daily_assets, fold_assets, walk_forward
from assets.telemetry.assets import telemetry_assets
from pipelines.fold_executor import fold_executor
from resources.settings import load_settings

REBALANCE_JOB = "rebalance"
RESEARCH_JOB = "research_daily"

# The execution slot is held by the whole run (pools with run granularity, see dagster.yaml); a failed run is resumed by
# the sensor, never retried by the framework.
rebalance_job = dg.define_asset_job(
    REBALANCE_JOB,
    selection=dg.AssetSelection.assets(*rebalance_assets),
    executor_def=dg.in_process_executor,
    # First out of the queue, whatever waits in it.
    tags={"dagster/max_retries": "0", "dagster/priority": "10"},
    description="One signal: daily_csv -> pre_execution -> sized_orders -> fills -> baseline -> latest_executed.",
)

upkeep_job = dg.define_asset_job(
    "upkeep",
    selection=dg.AssetSelection.assets(portfolio_value_history) | dg.AssetSelection.checks(*standing_checks),
    executor_def=dg.in_process_executor,
    description="Compact whole days of the value log and check log, prices, lateness and single execution.",
)

research_job = dg.define_asset_job(
    RESEARCH_JOB,
    selection=dg.AssetSelection.assets(*daily_assets),
    executor_def=dg.in_process_executor,
    description="The exposure decision of one UTC day, steps 1 to 10 of the trading pipeline.",
)

walk_forward_job = dg.define_asset_job(
    "walk_forward_pool",
    selection=dg.AssetSelection.assets(walk_forward),
    executor_def=dg.in_process_executor,
    description="Folds without a report, computed in a pool of processes within one step; then the summary.",
)

# One run a fold: a backfill of this job spreads folds over as many runs as the queue lets through at once, and, with
# DESK_FOLD_EXECUTOR=celery, over the workers of many machines. The tag is what dagster.yaml limits. A fold whose worker
# died is not waited for longer than an hour.
walk_forward_folds_job = dg.define_asset_job(
    "walk_forward_folds",
    selection=dg.AssetSelection.assets(*fold_assets),
    executor_def=fold_executor(load_settings()),
    tags={"desk/kind": "fold", "dagster/priority": "-10", "dagster/max_runtime": "3600"},
    description="One fold: its features, its decisions and the verdict on them.",
)

trading_day_job = dg.define_asset_job(
    "trading_day",
    selection=dg.AssetSelection.assets(*arbitrage_assets, *telemetry_assets),
    executor_def=dg.in_process_executor,
    description="One past UTC day of the paper trader: its log judged and computed anew, its metrics and its report.",
)
