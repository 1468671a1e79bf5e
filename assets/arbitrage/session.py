"""One UTC day of the paper trader: its feed, its engine and its stored log.

A killed session is begun again from its log. Where the feed can be asked again (a recording, the simulation) the day is
computed anew from its start, what people instructed given at the times at which it was taken, and every stored event
must come out the same, byte for byte. Where it cannot (a live feed), or does not give them again, the stored events are
folded, what was under way is put right (``Engine.recover``), what venues say that they settled meanwhile is paid and
the day goes on from now.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import islice

from assets.arbitrage.arbitrage_desk import ArbitrageDesk
from assets.arbitrage.codec import from_document, listing_from_document, rules_from_document, to_line, value_to_document
from assets.arbitrage.engine import Engine
from assets.arbitrage.events import Event, SessionOpened, Valued
from assets.arbitrage.exchange import touch
from assets.arbitrage.instructions import TAKEN, Given, given_after, given_again
from assets.arbitrage.journal import Journal
from assets.arbitrage.missed_funding import MissedFunding
from assets.arbitrage.model import Leg
from assets.arbitrage.portfolio import Portfolio
from assets.arbitrage.rules import Rules
from assets.arbitrage.scanner import Scanner
from assets.arbitrage.view import CapitalPoint, InstructionRow, TraderView, build_view, capital_point, instruction_row
from resources.documents import Document, load_document
from resources.feed import (
    NANOSECONDS,
    Feed,
    FeedEvent,
    Listing,
    SettlementHistory,
    from_units,
)
from resources.store import Store
from resources.store.once import create_once, find

_log = logging.getLogger(__name__)

DAY_NS = 86_400 * NANOSECONDS
# Events of a catch-up stored together: a segment of some hundred kilobytes.
_SEGMENT = 1_000
# A trade that goes on waits no longer for what was settled while it did not.
_HISTORY_SECONDS = 2.0
# The market waits while they are read.
_TAKEN_AT_ONCE = 16
# What a stored line has that took an instruction.
_INSTRUCTED = b'"instruction":'
# Of the capital curve every minute of the last hour is shown, and before it each fifth: what a screen can draw.
_HOUR_NS, _COARSE_NS = 3_600 * NANOSECONDS, 300 * NANOSECONDS


class SessionError(Exception):
    """A session cannot be begun or resumed; the message says which day and what to do."""


class Diverged(SessionError):
    """A repeatable feed did not give the stored events again: the feed or the program has changed."""


def day_of(time_ns: int) -> str:
    """The UTC day (YYYY-MM-DD) an instant belongs to."""
    return datetime.fromtimestamp(time_ns // NANOSECONDS, UTC).date().isoformat()


def start_of(day: str) -> int:
    """The first nanosecond of a UTC day. Raises ValueError when ``day`` is none."""
    return int(datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC).timestamp()) * NANOSECONDS


def day_key(source: str, day: str, name: str) -> str:
    """Where something of one day lies: ``log`` (the journal's folder), ``closing.json``, what Dagster makes of them."""
    return f"{_folder(source)}{day}/{name}"


def closing_of(store: Store, source: str, day: str) -> Document | None:
    """What a day that has ended left behind, None while it has not."""
    return find(store, day_key(source, day, "closing.json"))


def last_closing(store: Store, source: str, before: str) -> Document | None:
    """The closing of the newest day before ``before`` that has one; sessions of other days may lie between."""
    # As a rule it is the day before: one read, and not the names of all that was ever stored.
    closing = closing_of(store, source, (date.fromisoformat(before) - timedelta(days=1)).isoformat())
    if closing is not None:
        return closing
    days = {day for day, _ in _stored(store, source) if day < before}
    closings = (closing_of(store, source, day) for day in sorted(days, reverse=True))
    return next((closing for closing in closings if closing is not None), None)


def next_opening(store: Store, source: str, day: str) -> SessionOpened | None:
    """How the first stored day after ``day`` was begun, whether or not it has been closed; None while there is none.
    Raises JournalError when the beginning of its log is damaged."""
    following = next((later for later, name in _stored(store, source, after=day) if name == "log"), None)
    if following is None:
        return None
    # Not opened, which would read all of it.
    first = next(Journal(store, day_key(source, following, "log")).events(), None)
    return first if isinstance(first, SessionOpened) else None


def begun_days(store: Store, source: str, before: str) -> tuple[str, ...]:
    """The days before ``before`` that were begun and not closed, oldest first, since the newest closing. Until they
    are closed the next day would go on from a state without them: what they hold would be forgotten."""
    closing = last_closing(store, source, before)
    begun = _stored(store, source, after="" if closing is None else closing["day"])
    return tuple(sorted({day for day, name in begun if day < before and name == "log"}))


def is_day(name: str) -> bool:
    """Whether a folder's name is that of a day: what else people put beside the days is none."""
    try:
        return date.fromisoformat(name).isoformat() == name
    except ValueError:
        return False


def _stored(store: Store, source: str, *, after: str = "") -> Iterator[tuple[str, str]]:
    """What is stored of the days after ``after``, a day: (day, name of the object or its folder), by day."""
    folder = _folder(source)
    # "0" follows "/": nothing of that day is listed.
    for entry in store.list(folder, after=f"{folder}{after}0" if after else ""):
        day, _, rest = entry.key.removeprefix(folder).partition("/")
        if is_day(day):
            yield day, rest.partition("/")[0]


def _folder(source: str) -> str:
    return f"arbitrage/{source.lower()}/"


def stored_events(store: Store, source: str, day: str) -> Iterator[Event]:
    """The log of a day as stored, verified. Raises JournalError when it is damaged."""
    return Journal.open(store, day_key(source, day, "log")).events()


def portfolio_before(store: Store, opened: SessionOpened) -> Portfolio:
    """The portfolio a session began with, waiting for its SessionOpened. Raises SessionError when what it was carried
    from is not what it was then."""
    if not opened.carried:
        return Portfolio()
    closing = closing_of(store, opened.source, opened.carried_day)
    if closing is None or closing["state"]["log_sha256"] != opened.carried:
        raise SessionError(f"{opened.day} goes on from {opened.carried_day}, whose stored closing is another one")
    return Portfolio.from_carried(closing["state"])


def engine_of(
    feed: Feed,
    opened: SessionOpened,
    portfolio: Portfolio,
    write: Callable[[Event], None],
    scanner: Callable[[Sequence[Listing], Rules], Scanner] = Scanner,
) -> Engine:
    """An engine under the session's own rules, before its first event."""
    rules = rules_from_document(opened.rules)
    return Engine(feed.listings, rules, write, portfolio, scanner(feed.listings, rules))


def begin(engine: Engine, opened: SessionOpened, write: Callable[[Event], None]) -> None:
    """The first event, and what was carried over the night taken up."""
    engine.portfolio.apply(opened)
    write(opened)
    if engine.portfolio.open_trades:
        engine.recover(opened.time_ns)


def rehearsed(
    feed: Feed,
    opened: SessionOpened,
    portfolio: Portfolio,
    write: Callable[[Event], None],
    given: Iterable[tuple[int, Given]] = (),
    *,
    entering: bool = True,
) -> Engine:
    """The whole day computed from its feed and stored nowhere. ``given`` are its instructions and when they were taken;
    without ``entering`` opportunities are only watched, and all of them remembered."""
    engine = engine_of(feed, opened, portfolio, write, Scanner if entering else partial(Scanner, remembered=None))
    if not entering:
        engine.stop()
    begin(engine, opened, write)
    cursor_ns, end_ns = opened.time_ns, start_of(opened.day) + DAY_NS
    for time_ns, instruction in (*given, (end_ns, None)):
        for event in feed.events(cursor_ns, time_ns):
            engine.on_event(event)
        engine.advance(time_ns - 1)
        cursor_ns = time_ns
        if instruction is not None:
            engine.instruct(instruction, time_ns)
    return engine


def closing_marks(engine: Engine) -> Document:
    """The price each held leg could be closed at (exit side, before fees) by ``<exchange>:<symbol>``; None where its
    book is not known."""
    exchange, portfolio, marks = engine.exchange, engine.portfolio, Document()
    places = {(listing.venue, listing.symbol): index for index, listing in enumerate(engine.listings)}
    for trade in portfolio.open_trades:
        for leg, place in (
            (Leg.LONG, (trade.long_exchange, trade.long_symbol)),
            (Leg.SHORT, (trade.short_exchange, trade.short_symbol)),
        ):
            top = exchange.top(places[place]) if place in places else None
            price = None if top is None else from_units(touch(top, leg.closing_side))
            if portfolio.holding(trade.id, leg).quantity:
                marks[":".join(place)] = price
    return marks


class Session:
    """Follows one day. ``advance_to`` moves it, ``flush`` stores what happened, ``close`` ends the day.

    ``resumed`` says how it was begun: "" for a new day, "replayed" or "recovered".
    """

    def __init__(
        self,
        desk: ArbitrageDesk,
        day: str,
        now_ns: int,
        told: Callable[[Event, Portfolio], None] = lambda _event, _portfolio: None,
    ) -> None:
        """Begin or resume ``day``. ``now_ns`` is used where the feed's past is gone. ``told`` hears of every event of
        the day once it is folded, stored ones included, before it is stored.

        Raises SessionError, JournalError and LogError when the stored log cannot be gone on with.
        """
        self._store, self.feed, self.day = desk.store, desk.feed, day
        self._told = told
        self.source = self.feed.source
        self.start_ns, self.end_ns = start_of(day), start_of(day) + DAY_NS
        self.cursor_ns = self.start_ns  # the feed's events before it have been taken
        if closing_of(self._store, self.source, day) is not None:
            raise SessionError(f"the session of {day} has been closed")
        self._journal = Journal.open(self._store, day_key(self.source, day, "log"))
        self._stored: Iterator[bytes] | None = None
        self._pending: list[Event] = []
        self._flushed: list[Event] = []
        stored_first = next(self._journal.events(), None)
        if stored_first is None:
            self.resumed = ""
            self._begin(desk.rules, self.start_ns if self.feed.repeatable else max(now_ns, self.start_ns))
            return
        if not isinstance(stored_first, SessionOpened):
            raise SessionError(f"the log of {day} does not begin with its opening")
        if not self._same_listings(stored_first):
            # A venue changed a tick, or other venues are watched: the day goes on with what the feed has now.
            _log.warning("the session of %s was begun with other listings than the feed has now", day)
        elif self.feed.repeatable:
            try:
                self._replay(stored_first)
                self.resumed = "replayed"
                return
            except Diverged as error:
                _log.error("%s; the stored log is gone on with instead", error)
        self._recover(stored_first, now_ns)
        self.resumed = "recovered"

    @property
    def seq(self) -> int:
        """The newest stored event."""
        return self._journal.head_seq

    def advance_to(self, now_ns: int, seen: Callable[[FeedEvent], None] | None = None) -> None:
        """Take the feed's events up to ``now_ns`` (exclusive), and what is due by then. ``seen`` is shown each."""
        until = min(now_ns, self.end_ns)
        if until <= self.cursor_ns:
            return
        on_event = self.engine.on_event
        for event in self.feed.events(self.cursor_ns, until):
            on_event(event)
            if seen is not None:
                seen(event)
            if len(self._pending) >= _SEGMENT:
                self._store_pending()
        self.engine.advance(until - 1)
        self.cursor_ns = until

    def take_instructions(self) -> None:
        """Take what people have given since, where the session stands: for a trader at the present. What happens next
        is the event of each. Of very many some are left for the next time. A recorded past takes none: its days are
        each of their own, and would take all again."""
        if self.feed.days() or self.cursor_ns >= self.end_ns:
            return
        given_since = given_after(self._store, self.source, self.portfolio.taken)
        for given in islice(given_since, _TAKEN_AT_ONCE):
            self.engine.instruct(given, self.cursor_ns)

    def take_missed(self) -> None:
        """Pay what venues settled on open trades and nobody was handed over (``MissedFunding``), as far as it is told
        by now, where the session stands: for a trader at the present. What is owed at its end the next day asks for."""
        if self._missed is not None and self.cursor_ns < self.end_ns:
            self._book_missed(self._missed)

    @property
    def opened(self) -> SessionOpened:
        """The first event of the day's log."""
        return self._opened

    def flush(self) -> list[Event]:
        """Store what happened, and return what was stored since the last call. Raises Overtaken when another process
        trades this day too."""
        self._store_pending()
        flushed, self._flushed = self._flushed, []
        return flushed

    def _store_pending(self) -> None:
        pending, self._pending = self._pending, []
        self._journal.append(pending)
        self._flushed += pending

    def close(self) -> list[Event]:
        """Take the day to its end and store what the next one goes on from. Returns the last events."""
        self.advance_to(self.end_ns)
        if self._missed is not None:
            self._missed.end(self.portfolio, self.end_ns)
        last = self.flush()
        log_sha256 = self._journal.sha256()
        create_once(
            self._store,
            day_key(self.source, self.day, "closing.json"),
            lambda: {
                "day": self.day,
                "source": self.source,
                "last_seq": self._journal.head_seq,
                "marks": closing_marks(self.engine),
                "state": self.portfolio.carried_document(log_sha256),
            },
        )
        return last

    def view(self) -> TraderView:
        """What screens show of it now."""
        rejected = self.engine.rejected + self.engine.exchange.rejected
        recent = self.cursor_ns - _HOUR_NS
        points = [point for point in self.capital if point.time_ns >= recent or not point.time_ns % _COARSE_NS]
        return build_view(
            self.portfolio,
            self.engine.scanner,
            points,
            self.cursor_ns,
            refused=rejected,
            instructions=self.instructions,
        )

    # Beginning

    def _begin(self, rules: Rules, time_ns: int) -> None:
        closing = None if self.feed.days() else last_closing(self._store, self.source, self.day)
        state = None if closing is None else closing["state"]
        if state is not None and Decimal(state["starting_capital"]) != rules.starting_capital:
            _log.warning(
                "the session of %s goes on with the starting capital of %s, %s, not with the %s that is set: "
                "`desk capital` moves it",
                self.day,
                state["day"],
                state["starting_capital"],
                rules.starting_capital,
            )
        self._open(
            SessionOpened(
                seq=0,
                time_ns=time_ns,
                source=self.source,
                day=self.day,
                starting_capital=rules.starting_capital if state is None else Decimal(state["starting_capital"]),
                rules=value_to_document(rules),
                listings=tuple(value_to_document(listing) for listing in self.feed.listings),
                carried_day="" if state is None else state["day"],
                carried="" if state is None else state["log_sha256"],
            )
        )

    def _open(self, opened: SessionOpened) -> None:
        """The state after ``opened``, and after taking up what it carries."""
        self._build(opened)
        begin(self.engine, opened, self._write)
        self._look_for_missed(start_of(opened.carried_day) + DAY_NS if opened.carried_day else opened.time_ns)

    def _build(self, opened: SessionOpened) -> None:
        self._opened = opened
        self.capital: list[CapitalPoint] = []
        self.instructions: list[InstructionRow] = []
        self.portfolio = portfolio_before(self._store, opened)
        self.engine = engine_of(self.feed, opened, self.portfolio, self._write)
        self.cursor_ns = opened.time_ns
        self._missed: MissedFunding | None = None

    def _tell(self, event: Event) -> None:
        if isinstance(event, Valued):
            self.capital.append(capital_point(event))
        elif isinstance(event, TAKEN):
            self.instructions.append(instruction_row(event, self.portfolio))
        self._told(event, self.portfolio)

    def _write(self, event: Event) -> None:
        self._tell(event)
        if self._stored is not None:
            line = next(self._stored, None)
            if line is not None:
                if line != to_line(event):
                    raise Diverged(f"event {event.seq} of {self.day} is not the stored one")
                return
            self._stored = None
        self._pending.append(event)

    def _replay(self, opened: SessionOpened) -> None:
        """Compute the stored events anew, up to the time of the last. Raises Diverged when one comes out otherwise."""
        lines = list(self._journal.lines())
        self._stored = iter(lines)
        self._open(opened)
        for time_ns, given in given_again(_instructed(lines)):
            self.advance_to(time_ns)
            self.engine.instruct(given, time_ns)
        self.advance_to(from_document(load_document(lines[-1])).time_ns + 1)
        if self._stored is not None and next(self._stored, None) is not None:
            raise Diverged(f"{self.day}: after event {self.portfolio.seq} more is stored than happens")
        self._stored = None

    def _recover(self, opened: SessionOpened, now_ns: int) -> None:
        self._stored, self._pending = None, []
        self._build(opened)
        for event in self._journal.events():
            self.portfolio.apply(event)
            self._tell(event)
        stopped_ns = self.portfolio.time_ns
        went_on = stopped_ns + 1 if self.feed.repeatable else max(now_ns, stopped_ns)
        self.cursor_ns = min(went_on, self.end_ns)
        self.engine.recover(self.cursor_ns)
        self._look_for_missed(stopped_ns)

    def _look_for_missed(self, stopped_ns: int) -> None:
        """From now on, and at once where nobody has traded since ``stopped_ns``."""
        feed, portfolio, now_ns = self.feed, self.portfolio, self.cursor_ns
        if not isinstance(feed, SettlementHistory):
            if now_ns > stopped_ns + _HOUR_NS and portfolio.open_trades:
                _log.warning("%s: trades were open while nobody traded; funding settled then is not booked", self.day)
            return
        self._missed = MissedFunding(feed, feed.listings, stopped_ns, now_ns)
        if now_ns > stopped_ns:
            self._missed.ask(portfolio, now_ns)
            # A trade that is about to be closed is paid before, but what is naked does not wait for a venue's history.
            if not portfolio.naked_trades():
                self._missed.wait(_HISTORY_SECONDS)
            self._book_missed(self._missed)

    def _book_missed(self, missed: MissedFunding) -> None:
        settled = missed.take(self.portfolio, self.cursor_ns)
        if settled:
            self.engine.book_missed(settled, self.cursor_ns)

    def _same_listings(self, opened: SessionOpened) -> bool:
        return tuple(listing_from_document(document) for document in opened.listings) == self.feed.listings


def _instructed(lines: Iterable[bytes]) -> Iterator[Event]:
    """The events among stored lines that took an instruction, without reading the others."""
    return (from_document(load_document(line)) for line in lines if _INSTRUCTED in line)
