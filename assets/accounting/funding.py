"""Funding of perpetual contracts: what settlements pay on what was held, and which of those due were not booked.

A payment is -quantity * mark * rate, once per symbol and time, with the quantity held strictly before that time
(reference/trading.md 3.1). Where no usable rate is told nothing is booked, and that is said: it is no rate of 0.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import localcontext

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


def payments(book: Book, rates: Iterable[FundingRate]) -> tuple[list[Funding], list[FundingRate]]:
    """The payments that ``rates`` cause on what ``book`` held, and those of them that nothing can be booked of: without
    a mark, or not a number. A rate on nothing held, or whose payment the book knows, is neither."""
    paid, unusable = [], []
    with localcontext(EXACT):
        for rate in rates:
            event_id = funding_id(rate.symbol, rate.time)
            quantity = book.held_before(rate.symbol, rate.time)
            if not quantity or book.knows(event_id):
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
    due = after - (after - _EPOCH) % PERIOD + PERIOD
    while due <= until:
        yield from ((due, symbol) for symbol in sorted(symbols) if book.held_before(symbol, due))
        due += PERIOD


def settled(times: Sequence[datetime], due: datetime) -> bool:
    """Whether one of these settlements, ascending, is of the period that ends at ``due``."""
    newest = bisect_right(times, due + DELAY)
    return newest > 0 and times[newest - 1] > due + DELAY - PERIOD


def unbooked(book: Book, after: datetime, until: datetime) -> list[Due]:
    """What was due on what ``book`` held, as ``due_on`` has it, and has no payment in it."""
    owed = list(due_on(book, book.recently_held(), after, until))
    paid = book.settlements() if owed else {}  # every minute asks, and as a rule nothing was due since
    return [(due, symbol) for due, symbol in owed if not settled(paid.get(symbol, ()), due)]


def said_unbooked(missing: Iterable[Due]) -> list[str]:
    """A sentence for each symbol: how many periods, from the first to the last."""
    times: dict[str, list[datetime]] = {}
    for due, symbol in missing:
        times.setdefault(symbol, []).append(due)
    return [
        f"funding of {symbol}: {len(dues)} not booked, from {min(dues):%Y-%m-%dT%H:%M} to {max(dues):%Y-%m-%dT%H:%M} "
        "UTC: not recorded, or without a usable rate or mark"
        for symbol, dues in sorted(times.items())
    ]
