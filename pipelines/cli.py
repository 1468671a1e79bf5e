"""The command line, ``desk``. Exit status: 0 done, 1 something differs or did not hold, 2 wrong usage, 3 refused or
unreachable."""

import logging
import secrets
import signal
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, TextIO

import click
import simplejson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from pipelines.arbitrage_cli import monitor, trade
from pipelines.backtest_cli import backtest, import_report
from pipelines.capital_cli import capital
from pipelines.research_cli import decide, train, walk_forward
from pipelines.terminal import FAILED, REFUSED, Day, console, plain_table, settings_or_exit, speaking_plainly
from resources.settings import Settings

# Each command imports what it needs: `desk --help` answers at once.


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="signal-desk")
def main() -> None:
    """Signal Desk: a daily signal CSV becomes sized orders, paper fills and a minute-by-minute portfolio value.

    Settings are DESK_* environment variables; the README lists them.
    """


@contextmanager
def _bars() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar for each kind of work as it reports itself; silent where there is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        tasks: dict[str, TaskID] = {}

        def step(what: str, done: int, of: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what)
            progress.update(tasks[what], completed=done, total=of or None)

        yield step


@main.command()
@click.option("--open/--no-open", "open_pages", default=False, help="Open the dashboard in a browser.")
@click.option("--sample/--no-sample", default=True, help="Drop a sample CSV when the inbox has none for today.")
def up(open_pages: bool, sample: bool) -> None:
    """Start Dagster, the ticker, the paper trader and the dashboard; Ctrl-C stops all of it.

    On the simulated market a sample signal, labelled SIMULATED, is dropped for the day that has none. A second
    `desk up` goes on where the first one stopped.
    """
    from assets.desk.desk import open_desk
    from pipelines.up import Supervisor, answers, dagster_home, services

    settings = settings_or_exit()
    with speaking_plainly():
        desk = open_desk(settings)
        desk.ledger()
    dashboard = f"http://{settings.host}:{settings.dashboard_port}"
    for address in (settings.dagster_address, dashboard):
        if answers(address):
            ports = "DESK_DAGSTER_PORT, DESK_DASHBOARD_PORT"
            click.echo(f"desk: {address} is in use already: is the desk up? Else set {ports}", err=True)
            sys.exit(REFUSED)
    if settings.auth != "off":
        from dashboards.auth import AuthMisconfigured, checked_secret, load_users

        try:
            load_users(settings.users_file)
            checked_secret(settings.cookie_secret)
        except AuthMisconfigured as error:
            click.echo(f"desk: {error}", err=True)
            sys.exit(REFUSED)
    supervisor = Supervisor(services(settings, dagster_home()), click.echo)
    supervisor.stop_on_signals()
    supervisor.start()
    try:
        click.echo(f"Signal Desk is starting on {desk.store.url}, market {desk.market.name} ...")
        if sample and settings.market == "simulated":
            with speaking_plainly():
                _drop_sample(desk, settings)
        ready = supervisor.wait_until(lambda: answers(settings.dagster_address) and answers(dashboard), seconds=120)
        if ready:
            click.echo(f"\n  Dagster UI   {settings.dagster_address}\n  Dashboard    {dashboard}\n\nCtrl-C stops it.")
            if open_pages:
                webbrowser.open(dashboard)
        status = supervisor.run()
    finally:
        click.echo("Stopping ...")
        supervisor.stop()
    click.echo("Stopped. The next start goes on from here.")
    sys.exit(status)


@main.command()
@click.option(
    "--folder", type=click.Path(path_type=Path), help="Keep the day's store here (default: a new temporary one)."
)
def demo(folder: Path | None) -> None:
    """Run one whole compressed day without a browser and verify it.

    Simulated clock and market: a CSV, its rebalance, 24 h of minute ticks with a restart in between, a second CSV that
    flips and drops names, its rebalance killed half-way and resumed. Status 0 only if every identity held.
    """
    from pipelines.demo import demo as run_demo

    if folder is not None and folder.exists() and any(folder.iterdir()):
        raise click.UsageError(f"{folder} is not empty")
    with speaking_plainly(), _bars() as step:
        summary = run_demo(settings_or_exit(), folder, step)
    table = plain_table("SIMULATED day", "")
    for outcome in summary.outcomes:
        table.add_row(f"rebalance {outcome['rebalance_id']}", outcome["status"])
    table.add_row("names flipped / dropped by the second signal", f"{summary.flipped} / {summary.dropped}")
    table.add_row("minute ticks (missed)", f"{summary.ticks} ({summary.gaps})")
    table.add_row("ticks per second", f"{summary.ticks_per_second:,.0f}")
    table.add_row("Portfolio Value", f"{summary.portfolio_value:,.2f}")
    table.add_row("Total P&L Since Inception", f"{summary.total_pnl:+,.2f}")
    table.add_row("log rows recomputed", f"{summary.log_rows:,}")
    table.add_row("differences", str(len(summary.differences)))
    table.add_row("store", str(summary.folder))
    console.print(table)
    for difference in summary.differences[:20]:
        click.echo(f"  {difference.key}: {difference.what}", err=True)
    sys.exit(0 if summary.held else FAILED)


@main.command()
@click.option("--resident", is_flag=True, help="Keep ticking every DESK_TICK_SECONDS and report to Dagster.")
def tick(resident: bool) -> None:
    """Value the portfolio now and log it, once a minute at most, whoever asks."""
    from assets.accounting.funding import said_unbooked
    from assets.desk.desk import open_desk
    from assets.desk.tick import Ticker

    settings = settings_or_exit()
    with speaking_plainly():
        desk = open_desk(settings)
        if not resident:
            result = Ticker(desk).tick()
            click.echo(f"{result.status} {result.reason}".strip())
            if result.valuation is not None:
                click.echo(f"Portfolio Value {result.valuation.portfolio_value:,}")
            for missing in said_unbooked(result.funding_unbooked):
                click.echo(missing, err=True)
            sys.exit(FAILED if result.status == "no_value" else 0)
    from pipelines.ticker import dagster_report, run

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("desk").setLevel(logging.INFO)
    stop = threading.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, lambda _sign, _frame: stop.set())
    run(desk, dagster_report(), stop)


@main.command()
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--sample", is_flag=True, help="Drop the SIMULATED sample of the day instead of a file.")
@click.option("--force", is_flag=True, help="Execute although the file is dated before the last executed one.")
def drop(file: Path | None, sample: bool, force: bool) -> None:
    """Put a signal CSV into the inbox, whole or not at all. The file is checked first and refused with reasons."""
    from assets.desk.artifacts import INBOX, forced_key
    from assets.desk.desk import open_desk
    from assets.desk.signal import SignalRejected, parse_signal
    from resources.documents import sha256_hex
    from resources.store.once import create_bytes_once

    if (file is None) != sample:
        raise click.UsageError("give a FILE, or --sample")
    settings = settings_or_exit()
    with speaking_plainly():
        desk = open_desk(settings)
        if sample:
            if settings.market != "simulated":
                raise click.UsageError("the sample belongs to the simulated market alone")
            _drop_sample(desk, settings)
            return
        assert file is not None
        if not file.name.endswith(".csv"):
            raise click.UsageError(f"{file.name} does not end in .csv: the desk would never look at it")
        data = file.read_bytes()
        try:
            signal = parse_signal(data, file.name, duplicates=settings.duplicates, allow_flat=settings.allow_flat)
        except SignalRejected as error:
            for problem in error.reasons:
                click.echo(f"{file.name}: {problem.message}", err=True)
            sys.exit(REFUSED)
        if force:
            create_bytes_once(desk.store, forced_key(sha256_hex(data)), b"{}\n")
        desk.store.write(f"{INBOX}{file.name}", data)
    click.echo(
        f"dropped {file.name}: {len(signal.rows)} rows, S = {signal.gross_base:,}; becomes {signal.rebalance_id}"
    )


def _drop_sample(desk: Any, settings: Settings) -> None:
    """Drop the sample signal of yesterday's date, which is what a desk executes today, unless somebody else's signal
    of that day or later is in the inbox: a sample must never trade over a real one."""
    from assets.desk.artifacts import INBOX
    from assets.desk.signal import trading_day_of_name
    from resources.market.sample import sample_signal
    from resources.store.once import create_bytes_once

    now = desk.clock.now()
    day = now.date() - timedelta(days=1)
    name, data = sample_signal(desk.market, day, desk.market.marks(now), settings.seed)
    for entry in desk.store.list(INBOX):
        other = entry.key.removeprefix(INBOX)
        if other != name and (trading_day_of_name(other) or entry.modified.date()) >= day:
            click.echo(f"no sample dropped: {other} is in the inbox")
            return
    create_bytes_once(desk.store, f"{INBOX}{name}", data)
    click.echo(f"sample signal {name} (SIMULATED) is in the inbox")


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(as_json: bool) -> None:
    """Say how the desk stands: portfolio value, its age, the signal held, who is executing, what is stale.

    Status 1 when no portfolio value was logged within three minutes.
    """
    from assets.desk.status import desk_status

    settings = settings_or_exit()
    with speaking_plainly():
        from assets.desk.desk import open_desk

        state = desk_status(open_desk(settings))
    if as_json:
        click.echo(simplejson.dumps(state.document(), use_decimal=True, indent=2))
    else:
        table = plain_table("Signal Desk", settings.store)
        for label, text in state.lines():
            table.add_row(label, text)
        console.print(table)
    sys.exit(0 if state.live else FAILED)


@main.command()
@click.argument("kind", type=click.Choice(["deposit", "withdraw"]))
@click.argument("amount")
@click.option("--reason", required=True, help="Kept in the ledger beside the amount.")
@click.option("--id", "flow_id", help="Your name for it: the same id is posted once, however often (default: random).")
def flow(kind: str, amount: str, reason: str, flow_id: str | None) -> None:
    """Deposit or withdraw capital, AMOUNT > 0 in the reporting currency.

    Moves Portfolio Value from the next tick on, never P&L. The next rebalance sizes on the new value.
    """
    from assets.accounting.instrument import NotADecimal, parse_decimal
    from assets.desk.desk import open_desk
    from assets.desk.flows import post_flow

    try:
        number = parse_decimal(amount)
    except NotADecimal as error:
        raise click.UsageError(str(error)) from error
    if number <= 0:
        raise click.UsageError(f"AMOUNT must be above 0, got {amount}")
    flow_id = flow_id or secrets.token_hex(6)
    with speaking_plainly():
        posted, new = post_flow(
            open_desk(settings_or_exit()), number if kind == "deposit" else -number, reason, flow_id
        )
    when = "posted" if new else f"posted before, at {posted.time.isoformat()}"
    click.echo(f"{when}: {posted.amount:+,}, id {flow_id}")


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def verify(as_json: bool) -> None:
    """Recompute what is stored from the raw artifacts: the desk's hashes, identities and numbers, closed days of paper
    trading from their logs, reports from their days or by their own files. Status 1 when anything differs.

    Only the form is judged of research and of telemetry, and nothing of a trading day that is under way.
    """
    from assets.arbitrage.verify_days import verify_days
    from assets.desk.desk import open_desk
    from assets.desk.verify import verify as recompute
    from assets.telemetry.verify_reports import verify_reports

    with speaking_plainly(), _bars() as step:
        desk = open_desk(settings_or_exit())
        report = recompute(desk, step)
        traded = verify_days(desk.store, step)
        reports = verify_reports(desk.store, desk.clock.now(), step)
    differences = [*report.differences, *traded.differences, *reports.differences]
    if as_json:
        counts = {name: getattr(report, name) for name in ("segments", "rebalances", "log_rows", "days")}
        counts |= {"arbitrage_days": traded.days, "reports": reports.reports}
        counts |= {"differences": [each._asdict() for each in differences], "passed_over": traded.passed_over}
        click.echo(simplejson.dumps(counts))
    else:
        for sentence in traded.passed_over:
            click.echo(sentence, err=True)
        for key, what in differences:
            click.echo(f"{key}: {what}")
        click.echo(
            f"{report.segments} ledger segments, {report.rebalances} rebalances, {report.log_rows} log rows, "
            f"{report.days} compacted days, {traded.days} arbitrage days, {reports.reports} reports recomputed: "
            f"{len(differences)} differences"
        )
    sys.exit(FAILED if differences else 0)


@main.command()
@click.argument("bars", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--signals",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="Folder of signal CSVs with YYYYMMDD in their names; each lands at 00:20 UTC of the next day.",
)
@click.option("--days", type=click.IntRange(min=1), help="Days to replay (default: all recorded).")
@click.option("--into", type=click.Path(path_type=Path), required=True, help="Empty folder for the store.")
def replay(bars: Path, signals: Path, days: int | None, into: Path) -> None:
    """Replay recorded minute bars with your own signals, minute by minute, and verify the outcome."""
    from pipelines.replay import replay as run_replay

    if into.exists() and any(into.iterdir()):
        raise click.UsageError(f"{into} is not empty")
    with speaking_plainly(), _bars() as step:
        result = run_replay(settings_or_exit(), bars, signals, into, days, step)
    click.echo(
        f"{result.ticks:,} ticks, {result.rebalances} rebalances, {result.ticks_per_second:,.0f} ticks/s; "
        f"Portfolio Value {result.portfolio_value:,}, Total P&L Since Inception {result.total_pnl:+,}"
    )
    for line in (*result.notices, *(f"{d.key}: {d.what}" for d in result.differences)):
        click.echo(line, err=True)
    click.echo(f"{len(result.differences)} differences")
    sys.exit(FAILED if result.differences else 0)


@main.command()
@click.argument("what", type=click.Choice(["values", "fills", "orders", "positions", "events"]))
@click.option("--from", "first", type=Day(), help="First UTC day (default: all).")
@click.option("--to", "last", type=Day(), help="Last UTC day, included (default: all).")
@click.option("--format", "form", type=click.Choice(["csv", "json"]), default="csv", show_default=True)
@click.option(
    "--output", "-o", type=click.File("w", encoding="utf-8"), default="-", help="File (default: standard output)."
)
def export(what: str, first: datetime | None, last: datetime | None, form: str, output: TextIO) -> None:
    """Write stored rows out, exact to the last digit: log values, fills, orders, positions at baselines, events."""
    from assets.desk.desk import open_desk
    from assets.desk.export import EXPORTS, write_csv

    if first and last and last < first:
        raise click.UsageError("--to lies before --from")
    begin: date = first.date() if first else date.min
    end: date = last.date() if last else date.max
    with speaking_plainly():
        rows = list(EXPORTS[what](open_desk(settings_or_exit()), begin, end))
    if form == "json":
        output.write(simplejson.dumps(rows, use_decimal=True, indent=1) + "\n")
        return
    write_csv(rows, output)


for command in (decide, train, walk_forward, trade, monitor, capital, backtest, import_report):
    main.add_command(command)


if __name__ == "__main__":
    main()
