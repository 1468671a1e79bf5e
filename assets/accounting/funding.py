"""Funding of perpetual contracts: what settlements pay on what was held, and what is known not to be booked.

A payment is -quantity * mark * rate, once per symbol and time, with the quantity held strictly before that time
(reference/trading.md 3.1). Where a settlement is told without a usable rate or mark nothing is booked, and that is
said: it is no rate of 0. So is it where nothing was booked in eight hours at whose end something was held. How often a
contract settles is nowhere stated and changes, so a hole between more frequent settlements is not seen.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import localcontext
from typing import NamedTuple

from assets.accounting.book import Book
from assets.accounting.events import Funding, funding_id
from assets.accounting.precision import EXACT, posted
from resources.market import FundingRate

# Perpetuals settle at 00:00, 08:00 and 16:00 UTC or more often, published a moment later.
PERIOD = timedelta(hours=8)
DELAY = timedelta(minutes=1)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Due = tuple[datetime, str]
"""The end of a period of eight hours that a symbol was held at."""

# Why nothing is booked, as it is said.
NOT_TOLD = "not recorded, or without a usable rate or mark"
UNUSABLE = "without a usable rate or mark"
UNANSWERED = "the market does not answer which funding was settled; it is asked again each minute"


class Lack(NamedTuple):
    """Funding that is not booked. ``time``: of the settlement where it is UNUSABLE, else the end of the eight hours in
    which nothing was booked and at which ``symbol`` was held."""

    time: datetime
    symbol: str
    why: str


def payments(book: Book, rates: Iterable[FundingRate]) -> tuple[list[Funding], list[FundingRate]]:
    """The payments that ``rates`` cause on what ``book`` held, and those of them that nothing can be booked of: without
    a mark, or not a number. A rate on nothing held, or whose payment the book knows, is neither."""
    paid, unusable = [], []
    with localcontext(EXACT):
        for rate in rates:
            event_id = funding_id(rate.symbol, rate.time)
            # What is known is by far the most in the hour after a settlement, and looked up at once.
            if book.knows(event_id) or not (quantity := book.held_before(rate.symbol, rate.time)):
                continue
            if rate.mark is None or not (rate.rate.is_finite() and rate.mark.is_finite()):
                unusable.append(rate)
                continue
            amount = posted(-quantity * rate.mark * rate.rate)
            paid.append(Funding(event_id, rate.time, rate.symbol, quantity, rate.mark, rate.rate, amount))
    return paid, unusable


def due_on(book: Book, symbols: Collection[str], after: datetime, until: datetime) -> Iterator[Due]:
    """Each period that ends at ``after`` < time <= ``until``, within the book's memory, for each of ``symbols`` held
    strictly before that: by time then symbol."""
    for due in _ends(after, until):
        yield from ((due, symbol) for symbol in sorted(symbols) if book.held_before(symbol, due))


def _ends(after: datetime, until: datetime) -> Iterator[datetime]:
    due = after - (after - _EPOCH) % PERIOD + PERIOD
    while due <= until:
        yield due
        due += PERIOD


def settled(times: Sequence[datetime], due: datetime) -> bool:
    """Whether any of these settlements, ascending, lies in the eight hours that end at ``due``, or up to a minute
    late; of a contract that settles more often one is enough."""
    newest = bisect_right(times, due + DELAY)
    return newest > 0 and times[newest - 1] > due + DELAY - PERIOD


def unbooked(
    book: Book, after: datetime, until: datetime, unusable: Iterable[FundingRate] = (), why: str = NOT_TOLD
) -> list[Lack]:
    """The periods of eight hours that end at ``after`` < time <= ``until``, within the book's memory, in which nothing
    was booked of what ``book`` held at their end; but those that one of ``unusable`` ends are none of these."""
    ends = list(_ends(after, until))
    if not ends:  # every minute asks, and as a rule no period ended since
        return []
    paid, symbols, told = book.settlements(), sorted(book.recently_held()), list(unusable)
    return [
        Lack(due, symbol, why)
        for due in ends
        for symbol in symbols
        # Only of what has no payment is it asked whether it was held, which goes through all that the book remembers.
        if not settled(paid.get(symbol, ()), due)
        and not any(rate.symbol == symbol and due <= rate.time <= due + DELAY for rate in told)
        and book.held_before(symbol, due)
    ]


def said_unbooked(missing: Iterable[Lack]) -> list[str]:
    """A sentence for each symbol and reason: how many, from the first to the last. A market that does not answer is
    one sentence, however many contracts it is silent about."""
    found: dict[tuple[str, str], list[Lack]] = {}
    for lack in missing:
        found.setdefault(("" if lack.why == UNANSWERED else lack.symbol, lack.why), []).append(lack)
    return [_said(symbol, why, lacks) for (symbol, why), lacks in sorted(found.items())]


def _said(symbol: str, why: str, lacks: Sequence[Lack]) -> str:
    whose = symbol or f"{len({lack.symbol for lack in lacks})} contracts"
    times = [lack.time for lack in lacks]
    span = f"from {min(times):%Y-%m-%dT%H:%M} to {max(times):%Y-%m-%dT%H:%M} UTC"
    return f"funding of {whose}: {len(lacks)} not booked, {span}: {why}"
