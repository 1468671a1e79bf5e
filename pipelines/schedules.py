"""Schedules, all UTC."""

from datetime import timedelta

import dagster as dg

from pipelines.jobs import research_job, trading_day_job, upkeep_job, walk_forward_job

hourly_upkeep = dg.ScheduleDefinition(
    name="hourly_upkeep",
    job=upkeep_job,
    cron_schedule="5 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every hour at five past: compaction and the standing checks.",
)


@dg.schedule(
    job=research_job,
    cron_schedule="0 0 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="At 00:00 UTC: the decision of the day that begins.",
)
def research_at_midnight(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """The partition is the day of the tick itself, not the one that ended."""
    day = context.scheduled_execution_time.date().isoformat()
    return dg.RunRequest(run_key=day, partition_key=day)


daily_walk_forward = dg.ScheduleDefinition(
    name="daily_walk_forward",
    job=walk_forward_job,
    cron_schedule="30 0 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Half an hour later: folds that have become whole. On most days there is none to compute.",
)


@dg.schedule(
    job=trading_day_job,
    cron_schedule="10 0 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="At 00:10 UTC: what is made of the trading day that ended.",
)
def trading_day_after_midnight(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """The day before; the resident trader has closed it by then."""
    day = (context.scheduled_execution_time - timedelta(days=1)).date().isoformat()
    return dg.RunRequest(run_key=day, partition_key=day)
