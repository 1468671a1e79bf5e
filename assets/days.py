"""The UTC days that the paper trader's assets are partitioned by, one definition: lineage goes day by day."""

import dagster as dg

# The first day that recorded quotes of several venues could be traded on.
FIRST_TRADING_DAY = "2022-12-01"

trading_days = dg.DailyPartitionsDefinition(start_date=FIRST_TRADING_DAY, timezone="UTC")
