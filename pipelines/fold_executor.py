"""Which Dagster executor runs a fold's steps: the only place that knows the engines by name.

How many folds run side by side is not decided here but by the run queue (``dagster.yaml``), whatever the engine.
"""

import dagster as dg

from resources.settings import Settings


class ExecutorUnavailable(Exception):
    """The executor that the settings name is not installed; the message says how to get it."""


def fold_executor(settings: Settings) -> dg.ExecutorDefinition:
    """The executor named by ``DESK_FOLD_EXECUTOR``. Raises ExecutorUnavailable."""
    if settings.fold_executor == "in_process":
        return dg.in_process_executor
    if settings.fold_executor == "multiprocess":
        return dg.multiprocess_executor
    try:
        from dagster_celery import celery_executor
    except ModuleNotFoundError:
        raise ExecutorUnavailable(
            "DESK_FOLD_EXECUTOR=celery needs the extra of that name: pip install -e '.[celery]'"
        ) from None
    # Named rather than copied, so that a password in it does not reach Dagster's database.
    broker = {"env": "DESK_CELERY_BROKER"}
    configured: dg.ExecutorDefinition = celery_executor.configured({"broker": broker, "backend": broker}, name="celery")
    return configured
