"""Scripted days for the paper trader: two or three venues of one coin that drift apart every few seconds, for minutes.

A day's market is a function of (seed, day) and stands at the end of it (``EVENING``) unless told otherwise, so that a
whole day costs some milliseconds: the trader's minutes begin with the first event.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache

from assets.arbitrage.arbitrage_desk import ArbitrageDesk
from assets.arbitrage.events import Event, SessionOpened
from assets.arbitrage.portfolio import Portfolio
from assets.arbitrage.rules import MILLISECOND, Rules
from assets.arbitrage.session import (
    DAY_NS,
    Session,
    SessionError,
    day_key,
    portfolio_before,
    start_of,
    stored_events,
)
from resources.clock import ManualClock
from resources.feed import (
    FUNDING_PERIOD_NS,
    NANOSECONDS,
    FeedEvent,
    FundingQuote,
    FundingSettled,
    Listing,
    Quote,
    Source,
    Trade,
    to_units,
)
from resources.settings import Settings
from resources.store import Store

DAY, NEXT_DAY, THIRD_DAY = "2026-03-01", "2026-03-02", "2026-03-03"
EVENING = DAY_NS - 120 * NANOSECONDS  # when the market opens, ns of the day
D = Decimal

# Entries may follow each other at once: many trades in little time.
RULES = Rules(reentry_pause_ns=500 * MILLISECOND)


def venue(name: str, latency_ms: int, step: str = "0.01") -> Listing:
    return Listing(
        venue=name, symbol="SOLUSDT", asset="SOL", quote="USDT", tick=D("0.01"), step=D(step), min_size=D(step),
        min_notional=D(5), maker_fee=D("0.0002"), taker_fee=D("0.0005"), latency_ns=latency_ms * MILLISECOND,
        settles_inverse=False, can_short=True, facts="a test",
    )  # fmt: skip


VENUES = (venue("north", 10), venue("south", 20, "0.025"), venue("west", 30))


@lru_cache(maxsize=16)
def market(seed: int, day: str, begin_ns: int = EVENING, seconds: int = 110) -> tuple[FeedEvent, ...]:
    """Quotes, trades and funding of ``VENUES`` from ``begin_ns`` of the day on, in time order.

    Every few seconds one venue leaves the others by 1 to 2 % and comes back; depth is thin at times, so that legs fill
    in part or not at all.
    """
    draw = random.Random(f"{seed} {day}")
    now = start_of(day) + begin_ns
    end = now + seconds * NANOSECONDS
    settles = start_of(day) + DAY_NS + 8 * 3600 * NANOSECONDS
    events: list[FeedEvent] = [
        FundingQuote(now, index, D(draw.randint(-2, 6)).scaleb(-4), settles, FUNDING_PERIOD_NS)
        for index in range(len(VENUES))
    ]
    away, apart = 0, 0.0
    middle = 100.0
    while now < end:
        now += draw.randint(5, 90) * MILLISECOND
        if draw.random() < 0.01:
            away, apart = draw.randrange(len(VENUES)), draw.choice((-1, 1)) * draw.uniform(0.01, 0.02)
        apart *= 0.985
        middle *= 1 + draw.gauss(0, 1e-5)
        index = draw.randrange(len(VENUES))
        centre = middle * (1 + (apart if index == away else 0.0))
        bid = round(centre * 100 - draw.uniform(0.3, 1.5)) / 100
        ask = round(bid * 100 + draw.randint(1, 3)) / 100
        if draw.random() < 0.7:
            sizes = (draw.choice((3, 40, 250)) * draw.uniform(0.5, 1.5) for _ in range(2))
            bid_size, ask_size = (to_units(round(D(size), 2)) for size in sizes)
            events.append(Quote(now, index, _units(bid), bid_size, _units(ask), ask_size))
        else:
            buyer = draw.random() < 0.5
            size = to_units(round(D(draw.uniform(0.5, 60)), 2))
            events.append(Trade(now, index, _units(ask if buyer else bid), size, buyer))
    events.append(FundingSettled(end, draw.randrange(len(VENUES)), D("0.0003"), _units(middle)))
    return tuple(events)


def _units(price: float) -> int:
    return to_units(round(D(price), 2))


def one_opportunity(at_ns: int) -> list[FeedEvent]:
    """The first venue at 100, the second at 101 and paying more funding, and both still so five seconds later."""
    hour = 3600 * NANOSECONDS
    rates = [FundingQuote(at_ns, index, D(rate), at_ns + hour, 8 * hour) for index, rate in enumerate(("1e-4", "4e-4"))]
    size = to_units(D(400))
    quotes = [
        Quote(at_ns + later * NANOSECONDS, index, _units(bid), size, _units(bid + 0.1), size)
        for later in (0, 5)
        for index, bid in enumerate((100, 101))
    ]
    return [*rates, *quotes]


class ScriptedFeed:
    """A feed of events written down by day; ``listings``, ``source`` and ``repeatable`` are a test's to choose."""

    def __init__(
        self,
        script: Callable[[str], Sequence[FeedEvent]],
        *,
        listings: tuple[Listing, ...] = VENUES,
        source: Source = "SIMULATED",
        repeatable: bool = True,
        recorded: tuple[str, ...] = (),
    ) -> None:
        self.listings, self.source, self.repeatable = listings, source, repeatable
        self._script, self._recorded = script, recorded
        self._days: dict[str, Sequence[FeedEvent]] = {}

    def close(self) -> None:
        """Nothing is held open."""

    def days(self) -> tuple[str, ...]:
        return self._recorded

    def events(self, start_ns: int, end_ns: int) -> Iterator[FeedEvent]:
        day = datetime.fromtimestamp(start_ns // NANOSECONDS, UTC).date()
        while start_of(day.isoformat()) < end_ns:
            name = day.isoformat()
            if name not in self._days:
                self._days[name] = self._script(name)
            yield from (event for event in self._days[name] if start_ns <= event.time_ns < end_ns)
            day += timedelta(days=1)


def evenings(seed: int = 7, **market_options: int) -> Callable[[str], Sequence[FeedEvent]]:
    """A script with a market every evening."""
    return lambda day: market(seed, day, **market_options)


def only(days: Mapping[str, Sequence[FeedEvent]]) -> Callable[[str], Sequence[FeedEvent]]:
    """A script of these days; nothing happens on others."""
    return lambda day: days.get(day, ())


def at(day: str, second: float = 0) -> datetime:
    return datetime.fromisoformat(f"{day}T00:00:00+00:00") + timedelta(seconds=second)


def desk_of(
    store: Store,
    feed: ScriptedFeed | None = None,
    *,
    rules: Rules = RULES,
    now: datetime | None = None,
    **settings: object,
) -> ArbitrageDesk:
    """A trader's desk on ``store``; its clock stands a week after ``DAY`` unless told otherwise."""
    clock = ManualClock(now or at("2026-03-08"))
    return ArbitrageDesk(
        Settings(**settings),  # type: ignore[arg-type]
        store,
        clock,
        feed or ScriptedFeed(evenings()),
        rules,
    )


def traded_through(desk: ArbitrageDesk, day: str = DAY) -> Session:
    """The day traded in one go and closed."""
    session = Session(desk, day, start_of(day))
    session.close()
    return session


def stored_log(store: Store, day: str = DAY, source: str = "simulated") -> bytes:
    """The event lines of a day, however they were cut into segments."""
    prefix = day_key(source, day, "log") + "/"
    return b"".join(store.read(entry.key).data.split(b"\n", 1)[1] for entry in store.list(prefix))


def closing_bytes(store: Store, day: str = DAY, source: str = "simulated") -> bytes:
    return store.read(day_key(source, day, "closing.json")).data


def kinds(events: Sequence[Event]) -> set[str]:
    return {type(event).__name__ for event in events}


def fold(store: Store, source: str, day: str) -> tuple[Portfolio, list[Event]]:
    """The stored day folded, and its events. Raises SessionError when there is none, JournalError, LogError."""
    events = list(stored_events(store, source, day))
    if not events or not isinstance(events[0], SessionOpened):
        raise SessionError(f"no session of {day} is stored for {source}")
    portfolio = portfolio_before(store, events[0])
    for event in events:
        portfolio.apply(event)
    return portfolio, events
