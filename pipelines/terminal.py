"""What the commands share on the terminal: statuses, tables, and refusals as one line."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import click
import simplejson
from rich.console import Console
from rich.table import Table

from resources.settings import Settings, load_settings

# Exit statuses beside 0 (done) and 2 (wrong usage): something differs or did not hold; refused or unreachable.
FAILED, REFUSED = 1, 3
# Piped into a file or another program nothing is cut at a screen's width.
console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)


def within_reach(when: datetime, text: str) -> None:
    """Raises BadParameter for a time outside 1970 to 2261, where not everything can count nanoseconds: nothing is
    recorded or simulated there, and a year may be subtracted or added without leaving what a date can be."""
    if not 1970 <= when.year <= 2261:
        raise click.BadParameter(f"{text!r} does not lie within the years 1970 to 2261")


class Day(click.DateTime):
    """A UTC day, YYYY-MM-DD, that is within reach."""

    def __init__(self) -> None:
        super().__init__(["%Y-%m-%d"])

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        day = super().convert(value, param, ctx)
        within_reach(day, str(value))
        return day


@contextmanager
def speaking_plainly() -> Iterator[None]:
    """What the desk or its surroundings refuse is one line and status 3, not a traceback."""
    from assets.accounting.book import LedgerError
    from assets.desk.rebalance import ClockBehind, ExecutionBusy, RebalanceRefused
    from resources.market import MarketError
    from resources.store import StoreError

    try:
        yield
    except (StoreError, MarketError, LedgerError, RebalanceRefused, ExecutionBusy, ClockBehind) as error:
        click.echo(f"desk: {error}", err=True)
        sys.exit(REFUSED)
    except simplejson.JSONDecodeError as error:
        click.echo(f"desk: a stored document is not JSON ({error}); `desk verify` names it", err=True)
        sys.exit(REFUSED)


def settings_or_exit() -> Settings:
    """The settings of the environment; an unknown or invalid one ends the command as wrong usage."""
    try:
        return load_settings()
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def plain_table(*headings: str) -> Table:
    """A table without edges, long texts folded rather than cut where the screen is narrow."""
    table = Table(show_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table
