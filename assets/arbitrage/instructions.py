"""What people tell the paper trader: capital in, capital out, enter again. Stored first, followed afterwards.

An instruction is an immutable object, numbered from 1. ``create`` takes the first number that is free, so two people at
once get two numbers and no number is ever missing. The trader takes them one by one in that order, each as exactly one
event, and folds the newest number taken into its portfolio: none is taken twice or lost, whatever is killed when.

What lies under a number and is no instruction is taken as well, and refused with its reason: it stops neither the
trading nor the instructions behind it. The event has all that a replay needs: once it is stored the object may go.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from functools import partial
from itertools import count

from assets.accounting.instrument import NotADecimal, parse_decimal
from assets.arbitrage.codec import value_from_document, value_to_document
from assets.arbitrage.events import EntriesResumed, Event, FlowPosted, InstructionRefused
from resources.documents import dump_document, load_document
from resources.store import AlreadyExists, NotFound, Store
from resources.store.reading import read_ahead

# No desk moves more at once: what is larger is a slip of the hand, or of a program.
_MOST = Decimal(10) ** 12
_DECIMALS = 6  # as the ledger has it, which is told of the same log
_LONGEST_NOTE = 200
_LONGEST_REASON = 200

TAKEN = (FlowPosted, EntriesResumed, InstructionRefused)
"""The events that an instruction can become."""


class Kind(StrEnum):
    DEPOSIT = "deposit"
    WITHDRAW = "withdraw"
    RESUME = "resume"


class BadInstruction(ValueError):
    """Nobody could follow it; the message says why in one line."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """``amount`` in quote currency, > 0, None for a resume. ``note`` is the giver's, one printable line. ``given_ns``
    is the giver's clock; when it was taken is the event's time, which one that is made of its event has for both."""

    number: int
    kind: Kind
    amount: Decimal | None
    note: str
    given_ns: int

    @property
    def asked(self) -> str:
        """In words, as the command was given."""
        return self.kind.value if self.amount is None else f"{self.kind.value} {self.amount:f}"

    @property
    def moved(self) -> Decimal | None:
        """What it moves in (> 0) or out (< 0) where it is followed, None for a resume."""
        if self.amount is None or self.kind is not Kind.WITHDRAW:
            return self.amount
        return self.amount.copy_negate()


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What lies under a number and is no instruction, and why."""

    number: int
    reason: str

    @property
    def asked(self) -> str:
        """Nothing that can be said, as its event has it."""
        return ""


Given = Instruction | Unreadable


def amount_of(text: str) -> Decimal:
    """The amount a person wrote. Raises BadInstruction when it is no number above 0 with at most 6 decimals, or beyond
    1e12."""
    try:
        return _checked_amount(parse_decimal(text))
    except NotADecimal as error:
        raise BadInstruction(str(error)) from error


def give(
    store: Store, source: str, kind: Kind, amount: Decimal | None, note: str, now_ns: int, *, taken: int = 0
) -> Instruction:
    """Store an instruction under the first free number after ``taken``, the newest that is known to be taken: what is
    free before it was taken and deleted since, and would never be looked at again. Raises BadInstruction, and what the
    store raises."""
    folder = _folder(source)
    used = {entry.key for entry in store.list(folder)}
    given = _checked(Instruction(1, kind, amount, note, now_ns))
    for number in count(taken + 1):
        key = _key(source, number)
        if key in used:
            continue
        given = replace(given, number=number)
        try:
            store.create(key, dump_document(value_to_document(given)))
        except AlreadyExists:
            continue  # somebody else's, a moment ago
        return given
    raise AssertionError("unreachable: numbers do not end")


def given_at(store: Store, source: str, number: int) -> Given | None:
    """What was given under a number, None while nothing was."""
    try:
        data = store.read(_key(source, number)).data
    except NotFound:
        return None
    try:
        return _read(number, data)
    except BadInstruction as error:
        return Unreadable(number, str(error)[:_LONGEST_REASON])


def given_after(store: Store, source: str, number: int) -> Iterator[Given]:
    """What was given after a number, in order. As a rule there is nothing, which one read shows; those behind the
    first are read ahead. No listing: it is ten times the price in S3, and may show a later number before an earlier
    one that was there first."""
    given = given_at(store, source, number + 1)
    if given is None:
        return
    yield given
    for given in read_ahead(store, partial(given_at, store, source), count(number + 2)):
        if given is None:
            return
        yield given


def given_again(events: Iterable[Event]) -> Iterator[tuple[int, Given]]:
    """When the instructions of a log were taken, and what they said as far as an event came of it: what its day is
    computed anew with, whether they are still stored or not."""
    for event in events:
        if isinstance(event, TAKEN):
            yield event.time_ns, _as_taken(event)


def contradictions(store: Store, source: str, events: Iterable[Event]) -> Iterator[str]:
    """A sentence for each instruction that a log took and that is stored as another; one that is not stored any more
    contradicts nothing."""
    for _, taken in given_again(events):
        stored = given_at(store, source, taken.number)
        if stored is not None and stored.asked != taken.asked:
            told, found = (each.asked or "what cannot be read" for each in (taken, stored))
            yield f"instruction {taken.number} was taken as {told} and is stored as {found}"


def _as_taken(event: FlowPosted | EntriesResumed | InstructionRefused) -> Given:
    number, given_ns = event.instruction, event.time_ns
    if isinstance(event, EntriesResumed):
        return Instruction(number, Kind.RESUME, None, event.note, given_ns)
    if isinstance(event, FlowPosted):
        kind = Kind.WITHDRAW if event.amount < 0 else Kind.DEPOSIT
        return Instruction(number, kind, event.amount.copy_abs(), event.note, given_ns)
    asked, _, text = event.asked.partition(" ")
    try:  # a refusal says nothing of the note
        return _checked(Instruction(number, Kind(asked), amount_of(text) if text else None, "", given_ns))
    except ValueError:  # nothing is asked by what could not be read
        return Unreadable(number, event.reason)


def _folder(source: str) -> str:
    return f"arbitrage/{source.lower()}/instructions/"


def _key(source: str, number: int) -> str:
    return f"{_folder(source)}{number:08d}.json"


def _read(number: int, data: bytes) -> Instruction:
    try:
        document = load_document(data)
    except ValueError as error:
        raise BadInstruction("it is no JSON object") from error
    try:
        instruction = value_from_document(Instruction, document)
    except RecursionError as error:
        raise BadInstruction("it is nested too deeply") from error
    except ValueError as error:
        raise BadInstruction(str(error)) from error
    if instruction.number != number:
        raise BadInstruction(f"it says that it is instruction {instruction.number}")
    return _checked(instruction)


def _checked(instruction: Instruction) -> Instruction:
    kind, amount, note = instruction.kind, instruction.amount, instruction.note
    if (amount is None) != (kind is Kind.RESUME):
        raise BadInstruction(f"a {kind.value} {'needs an amount' if amount is None else 'has no amount'}")
    if amount is not None:
        _checked_amount(amount)
    if len(note) > _LONGEST_NOTE or not note.isprintable():
        raise BadInstruction(f"a note is one printable line of at most {_LONGEST_NOTE} characters")
    return instruction


def _checked_amount(amount: Decimal) -> Decimal:
    if not 0 < amount <= _MOST:
        raise BadInstruction(f"an amount is above 0 and at most {_MOST:,}, got {str(amount)[:40]}")
    exponent = amount.as_tuple().exponent
    if not isinstance(exponent, int) or exponent < -_DECIMALS:
        raise BadInstruction(f"an amount has at most {_DECIMALS} decimals, got {str(amount)[:40]}")
    return amount
