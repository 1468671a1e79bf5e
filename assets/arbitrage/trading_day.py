"""What is made of one day of paper trading once it is over: immutable documents, each a fold of the day's log.

A day that nobody traded while it passed is traded when it is asked for, where its feed can be asked again. Of a day
that is being traded nothing is made until it has ended.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from functools import cached_property

from assets.arbitrage.arbitrage_desk import ArbitrageDesk
from assets.arbitrage.codec import rules_from_document, to_line, value_to_document
from assets.arbitrage.engine import Engine
from assets.arbitrage.events import EntryRefused, Event, SessionOpened, TradeProposed
from assets.arbitrage.instructions import contradictions, given_again
from assets.arbitrage.journal import Journal, JournalError
from assets.arbitrage.metrics import DayTally, portfolio_metrics
from assets.arbitrage.model import Leg
from assets.arbitrage.performance import performance_record
from assets.arbitrage.portfolio import Portfolio
from assets.arbitrage.rules import Rules
from assets.arbitrage.scanner import Opportunity
from assets.arbitrage.session import (
    DAY_NS,
    Session,
    SessionError,
    closing_marks,
    closing_of,
    day_key,
    next_opening,
    portfolio_before,
    rehearsed,
    start_of,
)
from resources.documents import Document
from resources.feed import NANOSECONDS, Feed
from resources.store import Store
from resources.store.differences import shortened, unlike
from resources.store.once import create_once


class NotOver(SessionError):
    """The day has not ended, or nobody traded it and its feed cannot be asked again."""


def traded(desk: ArbitrageDesk, day: str) -> Document:
    """The day's closing, traded now where that is still to be done. Raises NotOver, and what ``Session`` raises."""
    closing = closing_of(desk.store, desk.source, day)
    if closing is not None:
        return closing
    now_ns = int(desk.clock.now().timestamp()) * NANOSECONDS
    feed = desk.feed
    if start_of(day) + DAY_NS > now_ns:
        raise NotOver(f"{day} is not over: its trader closes it at 00:00 UTC")
    if feed.days() and day not in feed.days():
        raise NotOver(f"nothing is recorded of {day}; recorded are {', '.join(feed.days())}")
    if not feed.repeatable and not _stored_anything(desk, day):
        raise NotOver(f"nobody traded {day}, and the past of a live feed cannot be asked for")
    session = Session(desk, day, now_ns)
    session.close()
    closing = closing_of(desk.store, desk.source, day)
    assert closing is not None  # just stored
    return closing


def _stored_anything(desk: ArbitrageDesk, day: str) -> bool:
    return any(desk.store.list(f"{day_key(desk.source, day, 'log')}/"))


class ClosedDay:
    """One closed day as stored, read and nothing else: its events, and the portfolio before and after them."""

    def __init__(self, store: Store, source: str, day: str, closing: Document) -> None:
        """Raises SessionError, JournalError or LogError when the stored day cannot be used."""
        self.store, self.source, self.day, self.closing = store, source, day, closing
        journal = Journal.open(store, day_key(source, day, "log"))
        self.log_sha256 = journal.sha256()
        self.events: list[Event] = list(journal.events())
        opened = self.events[0] if self.events else None
        if not isinstance(opened, SessionOpened):
            raise SessionError(f"the log of {day} does not begin with its opening")
        self.opened = opened

    @property
    def rules(self) -> Rules:
        return rules_from_document(self.opened.rules)

    @property
    def head(self) -> Document:
        """What every document of the day begins with."""
        return {"day": self.day, "source": self.source, "log_sha256": self.log_sha256}

    def before(self) -> Portfolio:
        """A portfolio that waits for the day's first event."""
        return portfolio_before(self.store, self.opened)

    @cached_property
    def end(self) -> Portfolio:
        """The portfolio at the day's end; not to be changed."""
        portfolio = self.before()
        for event in self.events:
            portfolio.apply(event)
        return portfolio


class StoredDay(ClosedDay):
    """A closed day for who may trade it: it is traded now where that is still to be done, and what is made of it is
    stored."""

    def __init__(self, desk: ArbitrageDesk, day: str) -> None:
        """Raises NotOver too where there is no such day."""
        self.desk = desk
        super().__init__(desk.store, desk.source, day, traded(desk, day))

    def stored_once(self, name: str, make: Callable[["StoredDay"], Document]) -> Document:
        """The day's document ``name`` as first stored; made of the day where it is not."""
        key = day_key(self.source, self.day, f"{name}.json")
        return create_once(self.store, key, lambda: self.head | make(self))


def opportunities(day: StoredDay) -> Document:
    """Every opportunity of the day from its appearance to its end, found by the scanner alone where the feed can be
    asked again; of a live day those that were good enough to be considered, from its log."""
    if day.desk.feed.repeatable:
        return {"found_by": "scanner", "rows": _watched(day)}
    return considered(day.events)


def considered(events: Iterable[Event]) -> Document:
    """The opportunities that a log shows: each was entered, or refused for a reason."""
    return {
        "found_by": "log",
        "rows": [
            {
                "asset": event.asset,
                "long_exchange": event.long_exchange,
                "short_exchange": event.short_exchange,
                "since_ns": event.time_ns,
                "removed_ns": None,
                "reason": "traded" if isinstance(event, TradeProposed) else event.reason,
                "spread_bps": event.spread_bps if isinstance(event, TradeProposed) else None,
                "net_bps": None,
                "funding_delta": event.funding_delta if isinstance(event, TradeProposed) else None,
                "confidence": event.confidence,
            }
            for event in events
            if isinstance(event, TradeProposed | EntryRefused)
        ],
    }


def _watched(day: StoredDay) -> list[Document]:
    """What stood at any time of the day if nothing was traded, in the order in which it ended; what still stood at the
    day's end comes last."""
    feed, end_ns = day.desk.feed, start_of(day.day) + DAY_NS
    scanner = rehearsed(feed, day.opened, day.before(), lambda _event: None, entering=False).scanner
    standing = [found for found in scanner.current(end_ns) if found.since_ns is not None]
    ended = [_episode(feed, each.opportunity, each.removed_ns, each.reason) for each in scanner.removed(None)]
    return [*reversed(ended), *(_episode(feed, found, None, "") for found in standing)]


def _episode(feed: Feed, found: Opportunity, removed_ns: int | None, reason: str) -> Document:
    return {
        "asset": found.asset,
        "long_exchange": feed.listings[found.long].venue,
        "short_exchange": feed.listings[found.short].venue,
        "since_ns": found.since_ns,
        "removed_ns": removed_ns,
        "reason": reason,
        "spread_bps": found.spread_bps,
        "net_bps": found.net_bps,
        "funding_delta": found.funding_delta,
        "confidence": found.confidence,
    }


def unexplained_signals(day: StoredDay) -> list[str]:
    """Proposals of the log that no stored opportunity of the same venues stands for at their time."""
    return unexplained(day.events, day.stored_once("opportunities", opportunities)["rows"])


def unexplained(events: Iterable[Event], rows: Iterable[Document]) -> list[str]:
    """Proposals among ``events`` that none of the opportunities stands for."""
    stood: dict[tuple[str, str, str], list[tuple[int, int | None]]] = {}
    for row in rows:
        pair = row["asset"], row["long_exchange"], row["short_exchange"]
        stood.setdefault(pair, []).append((row["since_ns"], row["removed_ns"]))
    return [
        f"trade {event.trade_id} of {event.asset}, {event.long_exchange} to {event.short_exchange}"
        for event in events
        if isinstance(event, TradeProposed)
        and not any(
            since <= event.time_ns and (until is None or event.time_ns <= until)
            for since, until in stood.get((event.asset, event.long_exchange, event.short_exchange), ())
        )
    ]


def trades(day: ClosedDay) -> Document:
    """The day's closed trades in the brief's JSON, oldest first, and those still open at its end."""
    portfolio = day.end
    return {
        "events": len(day.events),
        "closed": [value_to_document(trade) for trade in portfolio.closed_trades],
        "open": [value_to_document(trade) for trade in portfolio.open_trades],
    }


def portfolio_state(day: ClosedDay) -> Document:
    """The brief's PortfolioState at the day's end; the trades themselves stand in ``trades.json``."""
    state = day.end.state()
    return {"state": value_to_document(replace(state, active_trades=(), closed_trades=()))}


def performance(day: ClosedDay) -> Document:
    """What telemetry and reports are told of the day (``performance.py``), and the marks of what is held at its end."""
    portfolio, records = day.before(), []
    for event in day.events:
        portfolio.apply(event)
        record = performance_record(event, portfolio)
        if record is not None:
            records.append(record)
    return {"records": records, "closed": True, "marks": day.closing["marks"], "opening": _opening(day)}


def _opening(day: ClosedDay) -> list[Document]:
    """What was held when the day began, leg by leg, at its entry price: reports need to know what they do not see
    bought."""
    return [
        {
            "signal_id": trade.id,
            "exchange": order.exchange,
            "symbol": order.symbol,
            "quantity": order.filled_size * order.side.sign,
            "notional": order.filled_notional * order.side.sign,
        }
        for trade in day.before().open_trades
        for order in trade.orders.values()
        if order.filled_size
    ]


def daily_metrics(day: ClosedDay) -> Document:
    """The day's metrics, and the portfolio's at its end."""
    portfolio = day.before()
    tally = DayTally(portfolio)
    for event in day.events:
        tally.apply(event)
    valued = portfolio.last_valued
    state = portfolio.state()
    end_ns = start_of(day.day) + DAY_NS
    unrealized = None if valued is None else valued.unrealized
    return {
        "metrics": value_to_document(tally.metrics()),
        "portfolio": value_to_document(portfolio_metrics(state, end_ns, unrealized)),
    }


# The day's documents that are folds of its log, and of the marks that its closing has, by name.
FOLDS: Mapping[str, Callable[[ClosedDay], Document]] = {
    "trades": trades,
    "portfolio": portfolio_state,
    "performance": performance,
    "metrics": daily_metrics,
}


def closing_follows(day: ClosedDay) -> list[str]:
    """What the stored closing has and the day's log does not leave, a sentence each.

    The marks are of the feed, which is not in the log: which legs have one is judged, and that it is above zero;
    ``log_replays`` has them computed anew.
    """
    left = {
        "day": day.day,
        "source": day.source,
        "last_seq": day.end.seq,
        "state": day.end.carried_document(day.log_sha256),
    }
    marks = day.closing.get("marks")
    if not isinstance(marks, dict):
        return ["the closing has no marks"]
    held = {
        f"{exchange}:{symbol}"
        for trade in day.end.open_trades
        for leg, exchange, symbol in (
            (Leg.LONG, trade.long_exchange, trade.long_symbol),
            (Leg.SHORT, trade.short_exchange, trade.short_symbol),
        )
        if day.end.holding(trade.id, leg).quantity
    }
    wrong = unlike(day.closing, left | {"marks": marks})
    wrong += [
        f"marks: {place} {'is not held' if place in marks else 'is held'}" for place in sorted(marks.keys() ^ held)
    ]
    for place, mark in marks.items():
        if mark is not None and not (isinstance(mark, Decimal | int) and mark > 0):
            wrong.append(f"marks.{place} is {shortened(mark)}")
    return wrong


def passed_over(day: ClosedDay) -> list[str]:
    """A sentence where the next stored day had been begun before this one was closed and does not go on from it: its
    capital, and that of every day since, is without what this one left. Recorded days are each of their own.

    A sentence too where the next day's log cannot be read, which is no fault of this day's.
    """
    try:
        following = None if day.source == "RECORDED" else next_opening(day.store, day.source, day.day)
    except JournalError as error:
        return [f"what the next stored day goes on from is not known: {error}"]
    if following is None or following.carried_day >= day.day:
        return []
    basis = following.carried_day or "its starting capital"
    return [
        f"{following.day} does not go on from {day.day} but from {basis}: it was begun before {day.day} was closed, "
        f"and what {day.day} earned or lost is in no later capital"
    ]


def log_replays(day: StoredDay) -> list[str]:
    """Whether the feed and the instructions that the log took give it again, byte for byte (Property 6 with it: what
    should be left is left), what is still stored of those instructions is what it took, and the closing's marks are the
    feed's.

    A sentence for the first difference. Of a live feed nothing can be said: raises NotOver.
    """
    if not day.desk.feed.repeatable:
        raise NotOver("the past of a live feed cannot be asked for")
    return list(_differences(day))[:1]


def _differences(day: StoredDay) -> Iterator[str]:
    yield from contradictions(day.store, day.source, day.events)
    # A recording is the same for everybody; what is simulated is a function of the seed.
    hint = "; another DESK_SEED or version of the program?" if day.desk.source == "SIMULATED" else ""
    events, engine = _rehearsal(day)
    again = iter(events)
    for event in day.events:
        other = next(again, None)
        if other is None or to_line(other) != to_line(event):
            yield f"event {event.seq} is stored as {type(event).__name__} and comes out otherwise{hint}"
            return
    if next(again, None) is not None:
        yield f"more happens than the {len(day.events)} stored events{hint}"
    yield from (f"the closing's marks.{each}" for each in unlike(day.closing["marks"], closing_marks(engine)))


def replayed(day: StoredDay) -> list[Event]:
    """The day's events as they come out of its feed now and the instructions that its log took, stored nowhere."""
    return _rehearsal(day)[0]


def _rehearsal(day: StoredDay) -> tuple[list[Event], Engine]:
    events: list[Event] = []
    return events, rehearsed(day.desk.feed, day.opened, day.before(), events.append, given_again(day.events))
