"""What people tell the paper trader on the command line: ``desk capital deposit``, ``withdraw`` and ``resume``."""

import sys
import time
from typing import TYPE_CHECKING

import click

from pipelines.terminal import REFUSED, settings_or_exit, speaking_plainly

if TYPE_CHECKING:
    from decimal import Decimal

    from assets.arbitrage.instructions import Instruction
    from assets.arbitrage.view import TraderView
    from resources.store import Store

# A running trader looks each second and answers in the same: some of them for one that is busy.
_PATIENCE_S = 5.0
_LOOK_S = 0.25

_note = click.option("--note", default="", help="Kept in the day's log beside it.")


@click.group()
def capital() -> None:
    """Move the paper trader's capital, or end its halt.

    What is asked for is stored first. The trader of DESK_FEED takes it within a second where it runs, and when it next
    runs else: once, whatever is killed meanwhile. P&L and its percentages stay of the capital it was started with.
    """


@capital.command()
@click.argument("amount")
@_note
def deposit(amount: str, note: str) -> None:
    """Put AMOUNT in, in quote currency, at most 6 decimals."""
    _ask("deposit", amount, note)


@capital.command()
@click.argument("amount")
@_note
def withdraw(amount: str, note: str) -> None:
    """Take AMOUNT out of what is available; capital in open trades is not."""
    _ask("withdraw", amount, note)


@capital.command()
@_note
def resume(note: str) -> None:
    """Have a halted trader enter trades again on this day; not while a position is naked."""
    _ask("resume", None, note)


def _ask(kind: str, text: str | None, note: str) -> None:
    """Store the instruction, wait a little for what becomes of it and say it. Status 3 where it is refused."""
    from assets.arbitrage.arbitrage_desk import open_arbitrage_desk
    from assets.arbitrage.instructions import BadInstruction, Kind, amount_of, give

    settings = settings_or_exit()
    with speaking_plainly():
        desk = open_arbitrage_desk(settings)
        if desk.source == "RECORDED":
            click.echo("desk: a recorded past takes no instructions: set DESK_FEED to what is traded now", err=True)
            sys.exit(REFUSED)
        now_ns = round(desk.clock.now().timestamp() * 1_000_000) * 1_000
        try:
            amount = None if text is None else amount_of(text)
            given = give(desk.store, desk.source, Kind(kind), amount, note, now_ns)
        except BadInstruction as error:
            raise click.UsageError(str(error)) from error
        view = _view_of(desk.store, desk.source, given.number)
    if view is None:
        click.echo(f"stored as instruction {given.number}; no trader has taken it yet, it will when it runs")
        return
    outcome = next((row for row in view.instructions if row.number == given.number), None)
    if outcome is None:  # taken right before midnight: the view is of the day after
        click.echo(f"instruction {given.number} is taken; what became of it stands in the log of the day before")
    elif outcome.refused:
        click.echo(f"refused: {outcome.refused}", err=True)
        sys.exit(REFUSED)
    else:
        click.echo(_done(given, outcome.available))


def _done(given: "Instruction", available: "Decimal") -> str:
    done = {"deposit": "deposited", "withdraw": "withdrew", "resume": "resumed, trades are entered again"}[given.kind]
    amount = "" if given.amount is None else f" {given.amount:,f}"
    return f"{done}{amount}; available is now {available:,f}"


def _view_of(store: "Store", source: str, number: int) -> "TraderView | None":
    """The trader's view once it has taken an instruction, None where it does not within our patience."""
    from assets.arbitrage.view import live_from_document, live_key
    from resources.documents import load_document
    from resources.store import NotFound

    until = time.monotonic() + _PATIENCE_S
    while True:
        try:
            view, _ = live_from_document(load_document(store.read(live_key(source)).data))
        except (NotFound, ValueError):  # nobody has written one, or a trader of another version has
            pass
        else:
            if view.taken >= number:
                return view
        if time.monotonic() >= until:
            return None
        time.sleep(_LOOK_S)
