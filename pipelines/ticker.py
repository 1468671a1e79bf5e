"""The resident ticker: one process that values the portfolio every minute and tells Dagster about it.

Not a run a minute: a run costs seconds of CPU and files without end, a runless event six milliseconds
(reference/dagster.md 2.9). What Dagster is told is a report; the store is the truth, and the ticker goes on when
Dagster is down.
"""

import logging
import os
import threading
from collections.abc import Callable
from datetime import datetime

import dagster as dg

from assets import metadata
from assets.accounting.book import MEMORY, LedgerError
from assets.accounting.funding import Lack, said_unbooked
from assets.desk.assets import latest_prices, portfolio_value_log
from assets.desk.desk import Desk
from assets.desk.tick import Ticker, TickResult
from resources.documents import to_iso
from resources.market import MarketError
from resources.store import StoreError

log = logging.getLogger("desk.ticker")

Report = Callable[[TickResult], None]


class DagsterReport:
    """Reports ticks to a Dagster instance as runless events on the external assets."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance = instance

    def __call__(self, result: TickResult) -> None:
        events = [
            dg.AssetMaterialization(
                latest_prices.key,
                metadata={"as_of": to_iso(result.timestamp), "refused": dict(result.refused) or "none"},
            )
        ]
        if result.row is not None:
            shown = ("timestamp", "portfolio_value", "daily_pnl", "total_pnl", "base_cumulative", "seq", "source")
            events.append(
                dg.AssetMaterialization(
                    portfolio_value_log.key,
                    metadata={**metadata.entries(result.row, *shown), "stale": result.row["stale"] or "none"},
                )
            )
        for event in events:
            self._instance.report_runless_asset_event(event)


def dagster_report() -> Report:
    """Reports to the instance of ``DAGSTER_HOME``; without one nothing is reported, which the log says."""
    if not os.environ.get("DAGSTER_HOME"):
        log.warning("DAGSTER_HOME is not set: ticks are not reported to Dagster")
        return lambda _result: None
    reports: list[DagsterReport] = []

    def report(result: TickResult) -> None:
        if not reports:  # opened at the first tick and, where that fails, at the next: the tick comes first
            reports.append(DagsterReport(dg.DagsterInstance.get()))
        reports[0](result)

    return report


def run(desk: Desk, report: Report, stop: threading.Event) -> None:
    """Tick at every multiple of ``tick_seconds`` until ``stop`` is set.

    A tick that fails is logged and leaves its minute missing; the next one tries again with a fresh ticker, which
    judges the funding of the last days again: what was said of it here is not said again.
    """
    ticker: Ticker | None = None
    said: set[Lack] = set()
    while not stop.is_set():
        try:
            ticker = ticker or Ticker(desk)
            result = ticker.tick()
            log.info("%s %s %s", to_iso(result.timestamp), result.status, result.reason)
            missing = set(result.funding_unbooked) - said
            for sentence in said_unbooked(missing):
                log.warning(sentence)
            said = {lack for lack in said | missing if lack.time > result.timestamp - MEMORY}
            _report(report, result)
        except (StoreError, MarketError, LedgerError) as error:
            log.error("tick failed: %s: %s", type(error).__name__, error)
            ticker = None
        except Exception:  # nobody restarts the minute: whatever it was, the next one is tried
            log.exception("tick failed")
            ticker = None
        stop.wait(seconds_to_next(desk.clock.now(), desk.settings.tick_seconds))


def _report(report: Report, result: TickResult) -> None:
    try:
        report(result)
    except Exception as error:  # Dagster's storage raises its own kinds; none of them may stop the portfolio value
        log.warning("the tick is logged, but Dagster could not be told: %s: %s", type(error).__name__, error)


def seconds_to_next(now: datetime, tick_seconds: int) -> float:
    """Seconds until the next multiple of ``tick_seconds`` within the hour, and a little more so that it is past."""
    elapsed = (now.minute * 60 + now.second) % tick_seconds + now.microsecond / 1e6
    return tick_seconds - elapsed + 0.02
