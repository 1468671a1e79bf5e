"""Every closed day of paper trading judged from the store alone: what its log leaves is what stands beside it.

The log's chain is followed and its events are folded, from the closing of the day that it says it goes on from. That
must be what the day closed with, what its documents hold and what was instructed. A day under way has not closed and
is not judged.

What is not in the log is judged as far as it goes: the marks of a closing for what they are of, and opportunities that
the scanner found in the feed for standing behind every entry. ``desk trade --day`` computes a day from its feed again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from assets.arbitrage.instructions import contradictions
from assets.arbitrage.session import closing_of, day_key, is_day
from assets.arbitrage.trading_day import FOLDS, ClosedDay, closing_follows, considered, passed_over, unexplained
from resources.documents import Document
from resources.store import Store
from resources.store.differences import Difference, Progress, recomputing, unlike
from resources.store.once import find

_FOLDER = "arbitrage/"
_OPPORTUNITIES = "opportunities"


@dataclass(frozen=True, slots=True)
class DaysVerdict:
    """How many closed days were judged, what differs, and a sentence for each day that no later one goes on from:
    every number of it is right, and in no later capital."""

    days: int
    differences: tuple[Difference, ...]
    passed_over: tuple[str, ...]


def verify_days(store: Store, progress: Progress = lambda _what, _done, _of: None) -> DaysVerdict:
    """Judge every closed day of every source. Reads only. ``progress`` is told what is under way. Raises StoreError
    where the store itself cannot be read: whatever else stored bytes cause is a difference."""
    found: list[Difference] = []
    sentences: list[str] = []
    stored = _stored_days(store)
    judged = 0
    for number, (source, day) in enumerate(stored):
        progress("arbitrage days", number, len(stored))
        key = day_key(source, day, "closing.json")
        closing = None
        with recomputing(key, found):
            closing = closing_of(store, source, day)
            if closing is None:
                made = [name for name in (*FOLDS, _OPPORTUNITIES) if find(store, day_key(source, day, f"{name}.json"))]
                found += [Difference(key, f"is missing, although {name}.json is there") for name in made[:1]]
        if closing is not None:
            judged += 1
            with recomputing(day_key(source, day, "log"), found):
                closed = ClosedDay(store, source.upper(), day, closing)
                _judge(store, closed, found)
                sentences += passed_over(closed)
    return DaysVerdict(judged, tuple(found), tuple(sentences))


def _stored_days(store: Store) -> list[tuple[str, str]]:
    """(source as its folder is named, day), oldest first of each source."""
    parts = (entry.key.removeprefix(_FOLDER).split("/") for entry in store.list(_FOLDER))
    return sorted({(each[0], each[1]) for each in parts if len(each) > 2 and is_day(each[1])})


def _judge(store: Store, day: ClosedDay, found: list[Difference]) -> None:
    def differ(name: str, judge: Callable[[Document], list[str]]) -> None:
        key = day_key(day.source, day.day, f"{name}.json")
        with recomputing(key, found):
            document = find(store, key)
            if document is not None:
                found.extend(Difference(key, each) for each in judge(document))

    log = day_key(day.source, day.day, "log")
    if (day.end.source, day.end.day) != (day.source, day.day):
        found.append(Difference(log, f"is the log of {day.end.source} {day.end.day}"))
    found += [Difference(log, each) for each in contradictions(store, day.source, day.events)]
    differ("closing", lambda _closing: closing_follows(day))
    for name, make in FOLDS.items():
        differ(name, partial(_fold, day, make))
    differ(_OPPORTUNITIES, lambda document: _opportunities(day, document))


def _fold(day: ClosedDay, make: Callable[[ClosedDay], Document], document: Document) -> list[str]:
    return unlike(document, day.head | make(day))


def _opportunities(day: ClosedDay, document: Document) -> list[str]:
    if document["found_by"] != "scanner":
        return unlike(document, day.head | considered(day.events))
    rows = document["rows"]
    entered = unexplained(day.events, rows)
    return unlike(document, day.head | {"found_by": "scanner", "rows": rows}) + [
        f"none of them stands for {each}" for each in entered
    ]
