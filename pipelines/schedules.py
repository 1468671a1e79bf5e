"""Schedules, all UTC."""

import dagster as dg

from pipelines.jobs import upkeep_job

hourly_upkeep = dg.ScheduleDefinition(
    name="hourly_upkeep",
    job=upkeep_job,
    cron_schedule="5 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every hour at five past: compaction and the standing checks.",
)
