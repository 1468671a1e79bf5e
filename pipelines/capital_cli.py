"""What people tell the paper trader on the command line: ``desk capital deposit``, ``withdraw`` and ``resume``."""

import sys
import time
from datetime import date, timedelta
from typing import TYPE_CHECKING

import click

from pipelines.terminal import REFUSED, settings_or_exit, speaking_plainly

if TYPE_CHECKING:
    from decimal import Decimal

    from assets.arbitrage.arbitrage_desk import ArbitrageDesk
    from assets.arbitrage.instructions import Instruction
    from assets.arbitrage.view import InstructionRow, TraderView
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
    from assets.arbitrage.portfolio import LogError

    settings = settings_or_exit()
    with speaking_plainly():
        desk = open_arbitrage_desk(settings)
        if desk.source == "RECORDED":
            click.echo("desk: a recorded past takes no instructions: set DESK_FEED to what is traded now", err=True)
            sys.exit(REFUSED)
        now_ns = round(desk.clock.now().timestamp() * 1_000_000) * 1_000
        try:
            amount = None if text is None else amount_of(text)
            given = give(desk.store, desk.source, Kind(kind), amount, note, now_ns, taken=_newest_taken(desk))
        except BadInstruction as error:
            raise click.UsageError(str(error)) from error
        except LogError as error:
            click.echo(f"desk: the newest closed day cannot be gone on from: {error}", err=True)
            sys.exit(REFUSED)
        view = _view_of(desk.store, desk.source, given.number)
        outcome = None if view is None else _outcome(desk.store, view, given.number)
    if view is None:
        click.echo(f"stored as instruction {given.number}; no trader has taken it yet, it will when it runs")
    elif outcome is None:
        click.echo(f"instruction {given.number} is taken; what became of it stands in the log of its day")
    elif not _is_of(outcome, given):
        click.echo(f"refused: another instruction was taken as number {given.number}, ask again", err=True)
        sys.exit(REFUSED)
    elif outcome.refused:
        click.echo(f"refused: {outcome.refused}", err=True)
        sys.exit(REFUSED)
    else:
        click.echo(_done(given, outcome.available))


def _is_of(outcome: "InstructionRow", given: "Instruction") -> bool:
    return outcome.asked == given.asked if outcome.refused else outcome.amount == given.moved


def _done(given: "Instruction", available: "Decimal") -> str:
    done = {"deposit": "deposited", "withdraw": "withdrew", "resume": "resumed, trades are entered again"}[given.kind]
    amount = "" if given.amount is None else f" {given.amount:,f}"
    return f"{done}{amount}; available is now {available:,f} USD"


def _newest_taken(desk: "ArbitrageDesk") -> int:
    """The newest instruction that a trader says it took, 0 before the first."""
    from assets.arbitrage.portfolio import Portfolio
    from assets.arbitrage.session import last_closing

    view = _view_now(desk.store, desk.source)
    if view is not None:
        return view.taken
    closing = last_closing(desk.store, desk.source, desk.clock.now().date().isoformat())
    return 0 if closing is None else Portfolio.from_carried(closing["state"]).taken


def _view_now(store: "Store", source: str) -> "TraderView | None":
    from assets.arbitrage.view import live_from_document, live_key
    from resources.documents import load_document
    from resources.store import NotFound

    try:
        return live_from_document(load_document(store.read(live_key(source)).data))[0]
    except (NotFound, ValueError):  # nobody has written one, or a trader of another version has
        return None


def _view_of(store: "Store", source: str, number: int) -> "TraderView | None":
    """The trader's view once it has taken an instruction, None where it does not within our patience."""
    until = time.monotonic() + _PATIENCE_S
    while True:
        view = _view_now(store, source)
        if view is not None and view.taken >= number:
            return view
        if time.monotonic() >= until:
            return None
        time.sleep(_LOOK_S)


def _outcome(store: "Store", view: "TraderView", number: int) -> "InstructionRow | None":
    """What became of it, as the view says; the log of the day before where it was taken right before midnight. None
    where neither does."""
    from assets.arbitrage.events import SessionOpened
    from assets.arbitrage.instructions import TAKEN
    from assets.arbitrage.journal import JournalError
    from assets.arbitrage.portfolio import LogError, Portfolio
    from assets.arbitrage.session import SessionError, portfolio_before, stored_events
    from assets.arbitrage.view import instruction_row

    shown = next((row for row in view.instructions if row.number == number), None)
    if shown is not None:
        return shown
    portfolio = Portfolio()
    try:
        for event in stored_events(store, view.source, (date.fromisoformat(view.day) - timedelta(days=1)).isoformat()):
            if isinstance(event, SessionOpened):
                portfolio = portfolio_before(store, event)
            portfolio.apply(event)
            if isinstance(event, TAKEN) and event.instruction == number:
                return instruction_row(event, portfolio)
    except (JournalError, SessionError, LogError):  # somebody else's to name: what is asked for is taken
        return None
    return None
