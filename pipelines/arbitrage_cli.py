"""The paper trader on the command line: ``desk trade`` and ``desk monitor``."""

import gc
import logging
import os
import signal
import sys
import threading
from datetime import datetime
from typing import TYPE_CHECKING

import click

from pipelines.terminal import FAILED, REFUSED, Day, console, plain_table, settings_or_exit, speaking_plainly

if TYPE_CHECKING:
    from assets.arbitrage.arbitrage_desk import ArbitrageDesk

_SECONDS = 1.0


# Trading catches up with the day at a lower priority, so that the desk's first rebalance is not kept waiting by it.
_NICENESS = 5


@click.command()
@click.option("--resident", is_flag=True, help="Trade the present day with the clock, and the next ones.")
@click.option("--day", type=Day(), help="Trade or read this past UTC day and judge its log.")
def trade(resident: bool, day: datetime | None) -> None:
    """Paper trading between venues: the resident trader, or one past day.

    A past day is traded where that has not been done and its feed can be asked again; then its log is judged by the
    correctness properties, its closing by the log, and it is computed anew and compared byte for byte. Status 1 when
    anything differs.
    """
    from assets.arbitrage.arbitrage_desk import open_arbitrage_desk

    if resident == (day is not None):
        raise click.UsageError("give --resident, or --day DAY")
    settings = settings_or_exit()
    with speaking_plainly():
        desk = open_arbitrage_desk(settings)
        if day is not None:
            _judge(desk, day.date().isoformat())
            return
    from pipelines.trader import run

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("desk").setLevel(logging.INFO)
    os.nice(_NICENESS)
    stop = threading.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, lambda _sign, _frame: stop.set())
    run(desk, stop)


def _judge(desk: "ArbitrageDesk", day: str) -> None:
    from assets.arbitrage import trading_day
    from assets.arbitrage.journal import JournalError
    from assets.arbitrage.portfolio import LogError
    from assets.arbitrage.properties import PROPERTIES, naked_legs_alarmed
    from assets.arbitrage.session import SessionError

    try:
        stored = trading_day.StoredDay(desk, day)
        metrics = trading_day.daily_metrics(stored)["metrics"]
        violations = {judge.__name__: judge(stored.events, stored.before()) for judge in PROPERTIES}
        alarmed = naked_legs_alarmed(stored.events, stored.before())
        violations["closing_follows"] = trading_day.closing_follows(stored)
        if desk.feed.repeatable:
            violations["log_replays"] = trading_day.log_replays(stored)
    except (SessionError, JournalError, LogError) as error:
        click.echo(f"desk: {error}", err=True)
        sys.exit(REFUSED)
    table = plain_table(f"{desk.source} {day}", "")
    statistics = metrics["statistics"]
    for name, value in (
        ("events in the log", f"{len(stored.events):,}"),
        ("trades closed (won, lost, even)", "{trades} ({wins}, {losses}, {break_even})".format(**statistics)),
        ("Profit of the day", f"{metrics['realised']:+,.2f} USD"),
        ("fees / funding", f"{metrics['fees']:,.2f} / {metrics['funding']:+,.2f} USD"),
        ("leg-outs and what they cost", f"{metrics['leg_outs']} / {metrics['leg_out_loss']:,.2f} USD"),
        ("naked for more than 500 ms, alarmed", alarmed[0] if alarmed else "none"),
        *((name, "holds" if not found else found[0]) for name, found in violations.items()),
    ):
        table.add_row(name, value)
    console.print(table)
    for sentence in trading_day.passed_over(stored):
        click.echo(sentence, err=True)
    sys.exit(FAILED if any(violations.values()) else 0)


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
    # The modules stay: to go through them at every full collection took a tenth of all the monitor does.
    gc.freeze()
    try:
        Monitor(lambda: poller.snapshot, clock, _SECONDS).run()
    finally:
        stop.set()
