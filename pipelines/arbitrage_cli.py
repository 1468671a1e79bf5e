"""The paper trader on the command line: ``desk monitor``."""

import sys
import threading

import click

from pipelines.terminal import FAILED, console, settings_or_exit, speaking_plainly

_SECONDS = 1.0


@click.command()
@click.option("--once", is_flag=True, help="Print the panels once and exit; status 1 when they are stale or missing.")
def monitor(once: bool) -> None:
    """Show the paper trader: portfolio summary, active trades and recent exits, each second.

    Reads what the trader of DESK_FEED stores; `desk up` starts it. Keys are listed under `?`; NO_COLOR is respected.
    """
    from dashboards.trader_snapshot import TraderPoller
    from resources.clock import SystemClock
    from resources.feed import source_of
    from resources.store import open_store

    settings, clock = settings_or_exit(), SystemClock()
    with speaking_plainly():
        poller = TraderPoller(open_store(settings.store), clock, source_of(settings))
    poller.refresh()
    if once:
        from dashboards.terminal import print_once

        sys.exit(0 if print_once(poller.snapshot, clock.now(), console) else FAILED)
    if not sys.stdout.isatty():
        raise click.UsageError("the monitor needs a terminal; without one: desk monitor --once")
    from dashboards.terminal import Monitor

    stop = threading.Event()

    def poll() -> None:
        while not stop.wait(_SECONDS):
            poller.refresh()

    # A store that does not answer for a while must not hold up keys and ages.
    reader = threading.Thread(target=poll, name="trader-poller", daemon=True)
    reader.start()
    try:
        Monitor(lambda: poller.snapshot, clock, _SECONDS).run()
    finally:
        stop.set()
