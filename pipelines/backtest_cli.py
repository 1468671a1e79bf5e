"""Backtests on the command line: ``desk backtest`` and ``desk import-report``."""

import sys
from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import simplejson

from pipelines.terminal import (
    FAILED,
    REFUSED,
    console,
    plain_table,
    settings_or_exit,
    speaking_plainly,
    within_reach,
)

_DAY = timedelta(days=1)


def _when(context: click.Context, option: click.Parameter, text: str | None) -> date | None:  # noqa: ARG001
    """A UTC day, or an instant (a datetime) with its offset."""
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is neither a day nor an instant") from None
    within_reach(instant, text)
    if instant.tzinfo is not None:
        return instant.astimezone(UTC)
    if len(text) > len("2025-01-31"):
        raise click.BadParameter(f"{text!r} has no offset: write {text}Z for UTC")
    return instant.date()


def _midnight(when: date) -> datetime:
    return when if isinstance(when, datetime) else datetime.combine(when, time(), UTC)


def _instant(when: date | None, recorded: datetime, day: timedelta) -> datetime:
    """A day's 00:00, or ``recorded``, where the recording begins (ends), if that lies within the day after (before) it.

    ``day`` is the way from 00:00 to the other end of that day. The first close of a day is known after its 00:00, and
    who asks for the day means what is recorded of it.
    """
    if when is None or isinstance(when, datetime):
        return when or recorded
    midnight = _midnight(when)
    first, last = sorted((midnight, midnight + day))
    return recorded if first < recorded < last else midnight


@click.command()
@click.argument("name")
@click.option(
    "--signals",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="CSV with timestamp, pair, side, strategy, and qty or notional; signal_id and confidence are optional.",
)
@click.option(
    "--bars",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="Folder of recorded one-minute bars and exchange filters, as for `desk replay`.",
)
@click.option(
    "--from", "first", metavar="WHEN", callback=_when,
    help="UTC day (2025-01-05) or instant (2025-01-05T12:00Z) to begin at (default: where the recording begins). Every "
    "symbol traded from there on must be flat by then.",
)  # fmt: skip
@click.option(
    "--to", "last", metavar="WHEN", callback=_when,
    help="Likewise where to end; a day is its 00:00, so not included (default: where the recording ends).",
)  # fmt: skip
@click.option("--capital", help="Starting capital in DESK_REPORTING_CURRENCY (default: DESK_INITIAL_CAPITAL).")
@click.option(
    "--step", "step_minutes", type=click.IntRange(min=1), default=240, show_default=True,
    help="Minutes between two points of the equity curve.",
)  # fmt: skip
def backtest(
    name: str,
    signals: Path,
    bars: Path,
    first: date | None,
    last: date | None,
    capital: str | None,
    step_minutes: int,
) -> None:
    """Run signals against recorded bars and store the report as reports/NAME.

    Fills, fees and the book are those of paper trading; each signal sees only what was known before its time. A symbol
    has to be recorded from its first signal to where its position ends; bars missing there are counted, and more than
    one in twenty refuses the run. A run begins flat: where earlier signals leave a symbol held that it would trade, it
    is refused, as their exit would be taken for an opening. A name is written once: the same backtest may be run again,
    another one needs another name.
    """
    from assets.accounting.instrument import NotADecimal, parse_decimal
    from assets.desk.desk import paper_venue
    from assets.telemetry.backtest.engine import BacktestEngine, BacktestRefused, read_signals
    from assets.telemetry.backtest.report import ReportError, report_key, write_report
    from resources.market.replay import ReplayMarket
    from resources.store import open_store

    settings = settings_or_exit()
    try:
        amount = settings.initial_capital if capital is None else parse_decimal(capital)
    except NotADecimal as error:
        raise click.UsageError(str(error)) from error
    if amount <= 0:
        raise click.UsageError(f"--capital must be above 0, got {capital}")
    with speaking_plainly():
        try:
            report_key(name, "")
            market = ReplayMarket(bars)
            engine = BacktestEngine(
                market,
                paper_venue(settings),
                capital=amount,
                currency=settings.reporting_currency,
                step=timedelta(minutes=step_minutes),
                stale_mark_seconds=settings.stale_mark_seconds,
            )
            if first is not None and last is not None and _midnight(first) > _midnight(last):
                raise BacktestRefused(f"--from {first} lies after --to {last}")
            begin, end = _instant(first, market.start, _DAY), _instant(last, market.end, -_DAY)
            if not market.start <= begin <= end <= market.end:
                raise BacktestRefused(
                    f"{begin} to {end} is no part of what is recorded, {market.start} to {market.end}"
                )  # fmt: skip
            report = engine.run(read_signals(signals.read_bytes()), begin, end)
            store = open_store(settings.store)
            results = write_report(store, name, report)
        except (BacktestRefused, ReportError) as error:
            click.echo(f"desk: {error}", err=True)
            sys.exit(REFUSED)
    table = plain_table(f"{name} ({results['source']})", "")
    period, trips = results["period"], results["round_trips"]
    for label, shown in (
        ("period", f"{period['start'][:16]} to {period['end'][:16]} UTC"),
        ("start value", f"{results['start_value']:,} {results['currency']}"),
        ("final equity", f"{results['final_equity']:,.2f} {results['currency']}"),
        ("total return", _said(results["total_return"], "+.2f", " %")),
        ("max drawdown", _said(results["max_drawdown"], ".2f", " %")),
        ("volatility a year", _said(results["volatility"], ".2f", " %")),
        ("Sharpe ratio a year", _sharpe(results)),
        ("fills / signals", f"{results['total_trades']} / {results['total_signals']}"),
        ("round trips closed / won / open", f"{trips['closed']} / {trips['won']} / {trips['open']}"),
        ("win rate", _said(results["win_rate"], ".1f", " %")),
        ("fees / funding", f"{results['fees']:,.2f} {results['currency']} / {_funding(results, bool(report.funding))}"),
        ("store", f"{store.url}/{report_key(name, '')}"),
    ):
        table.add_row(label, shown)
    console.print(table)
    for symbol, found in report.coverage.items():
        missing = found["expected"] - found["present"]
        if missing:
            span = f"from {found['start'][:16]} to {found['end'][:16]} UTC"
            click.echo(f"{symbol} lacks {missing} of {found['expected']} bars {span}, gaps: {found['gaps']}", err=True)
    for symbol, found in results.get("funding_not_recorded", {}).items():
        span = f"from {found['first'][:16]} to {found['last'][:16]} UTC"
        click.echo(f"funding of {symbol}: {found['settlements']} not recorded, {span}", err=True)
    for symbol, count in Counter(unbooked["symbol"] for unbooked in results["funding_not_booked"]).items():
        click.echo(f"funding of {symbol}: {count} not booked, without a usable rate or mark", err=True)
    for signal in report.signals:
        if signal.reason:
            click.echo(f"signal {signal.signal_id} {signal.symbol}: {signal.status}, {signal.reason}", err=True)


def _funding(results: dict[str, Any], booked: bool) -> str:
    """What was booked, never 0 for what nobody knows."""
    amount = f"{results['funding']:+,.2f} {results['currency']}"
    missing = results.get("funding_not_recorded", {})
    said = [f"not recorded: {', '.join(missing)}"] if missing else []
    if results["funding_not_booked"]:
        said.append(f"not booked: {', '.join(sorted({row['symbol'] for row in results['funding_not_booked']}))}")
    return "; ".join([amount, *said] if booked or not said else said)


def _said(value: Decimal | None, form: str, unit: str = "") -> str:
    return "undefined" if value is None else f"{value:{form}}{unit}"


def _sharpe(results: dict[str, Any]) -> str:
    days = results["annualisation"]["daily_returns"]
    said = _said(results["sharpe_ratio"], ".3f")
    return f"{said} ({days} days, provisional)" if results["annualisation"]["provisional"] else f"{said} ({days} days)"


@click.command("import-report")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print every row, accepted or flagged, as one JSON object.")
def import_report(folder: Path, as_json: bool) -> None:
    """Read a backtest report (equity_curve.csv, trades.csv, signals.csv, results.json) and print what cannot be so.

    Nothing is repaired or left out. Status 1 when anything is flagged.
    """
    from assets.telemetry.backtest.importer import FILES, counts
    from assets.telemetry.backtest.importer import import_report as judge
    from resources.clock import SystemClock

    files = {name: (folder / name).read_bytes() for name in FILES if (folder / name).is_file()}
    if not files:
        raise click.UsageError(f"{folder} holds none of {', '.join(FILES)}")
    imported = judge(files, SystemClock().now())
    if as_json:
        click.echo(simplejson.dumps(imported.document(), use_decimal=True))
    else:
        for flag in imported.flags:
            click.echo(str(flag))
        for file, rows, accepted in counts(imported):
            click.echo(f"{file}: {rows} rows in, {accepted} accepted, {rows - accepted} flagged")
        click.echo(f"{len(imported.flags)} flags")
    sys.exit(FAILED if imported.flags else 0)
