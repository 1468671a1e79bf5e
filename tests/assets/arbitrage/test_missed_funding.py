"""Funding that was settled while the trader was down: booked late, once, at its own rate and mark, or missed aloud."""

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from decimal import Decimal

import pytest

from assets.accounting.precision import posted
from assets.arbitrage.arbitrage_desk import ArbitrageDesk
from assets.arbitrage.codec import from_document, to_document, to_line
from assets.arbitrage.events import FundingPaid, SessionOpened, Valued
from assets.arbitrage.model import Leg
from assets.arbitrage.portfolio import LogError
from assets.arbitrage.properties import PROPERTIES
from assets.arbitrage.session import Session, portfolio_before, start_of, stored_events
from resources.documents import load_document
from resources.feed import NANOSECONDS, FeedError, FeedEvent, FundingSettled, Settlements
from resources.feed.live import LiveFeed
from tests.arbitrage_parts import LogWriter
from tests.assets.arbitrage.trader_parts import Desk, units
from tests.faults.dying_store import DyingStore, Killed
from tests.memory_store import MemoryStore
from tests.resources.feed_parts import Lost, ScriptedExchange, market
from tests.trading_parts import DAY, NEXT_DAY, VENUES, ScriptedFeed, desk_of, one_opportunity, only

HOUR = 3600 * NANOSECONDS
MIDNIGHT = start_of(DAY)
D = Decimal


def opening(hour: float) -> list[FeedEvent]:
    return one_opportunity(MIDNIGHT + round(hour * HOUR))


class PastFeed(ScriptedFeed):
    """A live feed whose venues tell some settlements, and of some that they know none, or nothing."""

    def __init__(
        self,
        script: Sequence[FeedEvent] = (),
        known: Sequence[FundingSettled] = (),
        unknown: Sequence[int] = (),
        silent: Sequence[int] = (),
    ) -> None:
        super().__init__(only({DAY: script}), source="LIVE", repeatable=False)
        self.known, self.unknown, self.silent = known, unknown, silent
        self.asked: list[tuple[int, int, int]] = []
        self.patient = False  # whether answers are left to ``answer``
        self._answers: list[Callable[[], None]] = []

    def ask_settled(self, listing: int, since_ns: int, until_ns: int) -> Future[Settlements]:
        self.asked.append((listing, since_ns, until_ns))
        future: Future[Settlements] = Future()

        def answer() -> None:
            if listing in self.silent:
                future.set_exception(FeedError("no history"))
                return
            known = [event for event in self.known if event.listing == listing and since_ns <= event.time_ns < until_ns]
            told = {event.time_ns for event in known}
            unknown = [instant for instant in self.unknown if since_ns <= instant < until_ns and instant not in told]
            future.set_result(Settlements(tuple(known), tuple(unknown)))

        self._answers.append(answer)
        if not self.patient:
            self.answer()
        return future

    def answer(self) -> None:
        """All that has been asked."""
        while self._answers:
            self._answers.pop(0)()

    @property
    def hours(self) -> list[tuple[float, float]]:
        """Since and until when the first listing was asked for."""
        return [
            ((since - MIDNIGHT) / HOUR, (until - MIDNIGHT) / HOUR) for index, since, until in self.asked if not index
        ]


def settlement(hour: float, listing: int = 0, rate: str = "0.0001", mark: str = "100") -> FundingSettled:
    return FundingSettled(MIDNIGHT + round(hour * HOUR), listing, D(rate), units(mark))


def opened_and_killed(desk: ArbitrageDesk, hour: float, seconds: int = 60) -> Session:
    """A trade entered at ``hour``; the process is gone ``seconds`` later, everything stored."""
    at = MIDNIGHT + round(hour * HOUR)
    session = Session(desk, DAY, at - NANOSECONDS)
    session.advance_to(at + seconds * NANOSECONDS)
    session.flush()
    (trade,) = session.portfolio.open_trades
    assert trade.status == "Active"
    return session


def again(store: MemoryStore | DyingStore, feed: ScriptedFeed, hour: float, day: str = DAY) -> Session:
    session = Session(desk_of(store, feed), day, MIDNIGHT + round(hour * HOUR))
    session.flush()
    return session


def paid(store: MemoryStore, day: str = DAY) -> list[FundingPaid]:
    return [event for event in stored_events(store, "LIVE", day) if isinstance(event, FundingPaid)]


def instants(store: MemoryStore, day: str = DAY) -> list[tuple[str, float]]:
    """Leg and hour of what was paid."""
    return [(event.leg.value, ((event.settled_ns or event.time_ns) - MIDNIGHT) / HOUR) for event in paid(store, day)]


def sound(store: MemoryStore, day: str = DAY) -> bool:
    """Whether every property holds, the other ledger's agreement among them."""
    events = list(stored_events(store, "LIVE", day))
    assert isinstance(events[0], SessionOpened)
    assert [event.time_ns for event in events] == sorted(event.time_ns for event in events)
    return not any(judge(events, portfolio_before(store, events[0])) for judge in PROPERTIES)


# --- a live feed and its exchanges ---


def told(hour: int, rate: str, mark: str | None) -> dict[str, object]:
    instant = (MIDNIGHT + hour * HOUR) // 10**6
    return {"fundingRate": float(rate), "timestamp": instant, "info": {"markPrice": mark} if mark else {}}


@pytest.fixture
def live() -> Iterator[Callable[[], LiveFeed]]:
    """Binance with marks in its answers, Bybit with candles of the mark price."""
    opened: list[LiveFeed] = []

    def open_feed() -> LiveFeed:
        hours = range(-16, 24, 8)
        candles = {(MIDNIGHT + hour * HOUR) // 10**6: 101.0 + hour / 8 for hour in hours}
        exchanges = {
            "binance": ScriptedExchange(
                [market("BTC")], history=[told(h, f"0.0001{h + 16:02d}", f"10{h % 9}") for h in hours]
            ),
            "bybit": ScriptedExchange(
                [market("BTC")], history=[told(h, "0.0004", None) for h in hours], candles=candles
            ),
        }
        opened.append(LiveFeed(("binance", "bybit"), ("BTC",), open_exchange=exchanges.__getitem__, lost=(Lost,)))
        return opened[-1]

    yield open_feed
    for feed in opened:
        feed.close()


def test_what_live_venues_settled_while_the_trader_was_down_is_paid_once(live: Callable[[], LiveFeed]) -> None:
    store, first = MemoryStore(), live()
    watched = ScriptedFeed(only({DAY: opening(7)}), listings=first.listings, source="LIVE", repeatable=False)
    before = opened_and_killed(desk_of(store, watched), 7).portfolio
    (trade,) = before.open_trades
    session = Session(replace(desk_of(store), feed_given=first), DAY, MIDNIGHT + 17 * HOUR)
    stored = session.flush()
    # 00:00 was before the trade was opened, and 24:00 is still to come.
    assert [type(event) for event in stored] == [FundingPaid] * 4
    booked = paid(store)
    assert {event.time_ns for event in booked} == {MIDNIGHT + 17 * HOUR}
    quantity = trade.quantity
    assert [(event.exchange, event.settled_ns, event.rate, event.mark, event.amount) for event in booked] == [
        ("binance", MIDNIGHT + 8 * HOUR, D("0.000124"), D(108), posted(-quantity * 108 * D("0.000124"))),
        ("bybit", MIDNIGHT + 8 * HOUR, D("0.0004"), D(102), posted(quantity * 102 * D("0.0004"))),
        ("binance", MIDNIGHT + 16 * HOUR, D("0.000132"), D(107), posted(-quantity * 107 * D("0.000132"))),
        ("bybit", MIDNIGHT + 16 * HOUR, D("0.0004"), D(103), posted(quantity * 103 * D("0.0004"))),
    ]
    received = sum((event.amount for event in booked), D(0))
    after = session.portfolio
    assert after.available == before.available + received
    assert after.open_trades[0].funding_usd == after.funding == received
    for hour in (17.01, 18, 23):  # killed again and again
        resumed = Session(replace(desk_of(store), feed_given=live()), DAY, MIDNIGHT + round(hour * HOUR))
        resumed.flush()
        assert resumed.portfolio.funding == received
    assert len(paid(store)) == 4
    assert sound(store)


# --- once ---


KNOWN = [settlement(hour, listing, "0.0003", "100.5") for hour in (0, 8, 16) for listing in range(3)]


def test_killed_at_any_store_operation_each_settlement_is_paid_once() -> None:
    feed = PastFeed(opening(7), KNOWN)
    whole = MemoryStore()
    opened_and_killed(desk_of(whole, feed), 7)
    measured = DyingStore(MemoryStore(), 10**9, "before")
    for key, data in whole.contents().items():
        measured.write(key, data)
    written = measured.operations
    again(measured, feed, 17)
    for when in ("before", "after"):
        for die_at in range(1, measured.operations - written + 1):
            store = MemoryStore()
            for key, data in whole.contents().items():
                store.write(key, data)
            with pytest.raises(Killed):
                again(DyingStore(store, die_at, when), feed, 17)
            again(store, feed, 17.5)
            again(store, feed, 18)
            assert instants(store) == [("long", 8), ("short", 8), ("long", 16), ("short", 16)]
            assert sound(store)


@pytest.mark.parametrize("late_ns", [None, 0, 3_000_000, NANOSECONDS])
def test_a_kill_at_the_very_instant_of_a_settlement_neither_loses_nor_doubles_it(late_ns: int | None) -> None:
    """The minute's valuation is stored at that instant; the settlement is handed over after it, or not any more."""
    store, script = MemoryStore(), opening(7.99)
    eight = MIDNIGHT + 8 * HOUR
    if late_ns is not None:
        script += [event._replace(time_ns=eight + late_ns) for event in KNOWN if event.time_ns == eight]
    session = opened_and_killed(desk_of(store, PastFeed(script, KNOWN)), 7.99, seconds=10)
    session.advance_to(eight + 1 + (late_ns or 0))
    session.flush()
    assert eight in [event.time_ns for event in stored_events(store, "LIVE", DAY) if isinstance(event, Valued)]
    assert len(paid(store)) == (0 if late_ns is None else 2)
    again(store, PastFeed((), KNOWN), 9)
    again(store, PastFeed((), KNOWN), 9.5)
    long, short = sorted(paid(store), key=lambda event: event.leg)
    assert (long.leg, short.leg) == ("long", "short")
    assert long.amount == -short.amount == -long.quantity * D("0.03015")


def test_over_midnight_each_day_pays_what_was_settled_in_it() -> None:
    known = [settlement(hour, listing) for hour in (20, 24, 32, 40) for listing in range(2)]
    store, feed = MemoryStore(), PastFeed(opening(19), known)
    opened_and_killed(desk_of(store, feed), 19)
    again(store, feed, 34).close()
    again(store, feed, 34, NEXT_DAY)
    again(store, feed, 35, NEXT_DAY)
    again(store, feed, 41, NEXT_DAY)
    assert instants(store) == [("long", 20), ("short", 20)]
    assert instants(store, NEXT_DAY) == [(leg, hour) for hour in (24, 32, 40) for leg in ("long", "short")]
    assert [event.time_ns for event in paid(store, NEXT_DAY)] == [MIDNIGHT + h * HOUR for h in (34, 34, 34, 34, 41, 41)]
    assert sound(store)
    assert sound(store, NEXT_DAY)


def test_only_the_listings_that_are_held_are_asked_for_since_the_trade_was_entered_or_some_hours() -> None:
    store, feed = MemoryStore(), PastFeed(opening(7) + opening(17.2)[2:])
    (trade,) = opened_and_killed(desk_of(store, feed), 7).portfolio.open_trades
    session = again(store, feed, 17)
    assert feed.asked == [(index, trade.entry_time, MIDNIGHT + 17 * HOUR) for index in (0, 1)]
    session.advance_to(MIDNIGHT + round(17.5 * HOUR))
    session.flush()
    stopped = session.portfolio.time_ns
    feed.asked.clear()
    again(store, feed, 18)
    assert feed.asked == [(index, stopped - 6 * HOUR, MIDNIGHT + 18 * HOUR) for index in (0, 1)]
    flat = PastFeed()
    again(MemoryStore(), flat, 17)
    assert flat.asked == []


# --- what is not known ---


@pytest.mark.parametrize(
    ("feed", "legs", "said"),
    [
        (
            PastFeed((), KNOWN, silent=[1]),
            ["long", "long"],
            ["what south settled on SOLUSDT is not booked yet, and asked for again: no history"],
        ),
        (
            PastFeed((), KNOWN[:6], unknown=[MIDNIGHT + 16 * HOUR]),
            ["long", "short"],
            [
                f"what {name} settled on SOLUSDT is not booked yet, and asked for again: 1 of 2026-03-01 16:00:00+00:00"
                " to 2026-03-01 16:00:00+00:00 not known"
                for name in ("north", "south")
            ],
        ),
        (
            ScriptedFeed(only({}), source="LIVE", repeatable=False),
            [],
            ["trades were open while nobody traded; funding settled then is not booked"],
        ),
    ],
    ids=["a venue without history", "a settlement without rate or mark", "a feed without history"],
)
def test_what_nobody_tells_is_logged_and_not_made_up(
    feed: ScriptedFeed, legs: list[str], said: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore()
    opened_and_killed(desk_of(store, PastFeed(opening(7))), 7)
    with caplog.at_level(logging.WARNING):
        again(store, feed, 17)
    assert [leg for leg, _ in instants(store)] == legs
    assert len(caplog.messages) == len(said)
    for message, part in zip(caplog.messages, said, strict=True):
        assert part in message
    assert sound(store)


def test_a_venue_that_is_gone_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    store, feed = MemoryStore(), PastFeed((), KNOWN)
    opened_and_killed(desk_of(store, PastFeed(opening(7))), 7)
    feed.listings = VENUES[1:]
    again(store, feed, 17)
    assert "north settled on SOLUSDT is not booked: it is not listed any more" in caplog.text
    assert [leg for leg, _ in instants(store)] == ["short", "short"]


# --- the engine and the fold ---


def test_what_was_settled_before_a_leg_was_filled_is_not_its() -> None:
    desk = Desk()
    trade = desk.open_trade()
    filled = max(order.filled_at or 0 for order in trade.orders.values() if order.leg is Leg.LONG)
    desk.engine = desk._begin()
    desk.now += 60 * 60 * NANOSECONDS
    wanted = [FundingSettled(instant, 0, D("0.0001"), units(100)) for instant in (filled - 1, filled, filled + 1)]
    desk.engine.recover(desk.now)
    desk.engine.book_missed(wanted, desk.now)
    (booked,) = desk.words(FundingPaid)
    assert (booked.settled_ns, booked.time_ns, booked.quantity) == (filled + 1, desk.now, trade.quantity)
    assert desk.auditor.problems == []


def test_a_payment_that_takes_all_capital_halts_the_trader() -> None:
    desk = Desk()
    desk.open_trade()
    desk.engine = desk._begin()
    desk.now += 60 * 60 * NANOSECONDS
    desk.engine.recover(desk.now)
    desk.engine.book_missed([FundingSettled(desk.now - 1, 0, D(1), units(300))], desk.now)
    assert desk.portfolio.available < 0
    assert desk.portfolio.halted == "available capital is below zero"


@pytest.mark.parametrize(
    ("settled", "message"),
    [
        (0, "booked at .* and settled at"),  # from now
        (1, "booked at .* and settled at"),
        (-10_000, "where 0 was held"),  # before the leg was filled
        (-2_000, "where 0 was held"),  # paid already
        (-2_000 + 1, "where 0 was held"),  # the same one, told twice
    ],
)
def test_a_late_payment_that_cannot_be_due_is_no_part_of_a_log(settled: int, message: str) -> None:
    """Seconds from now: filled 5,000 ago, paid 2,000 ago."""
    log = LogWriter()
    trade_id = log.opened_trade("2")
    log.wait(3_000 * NANOSECONDS)
    log.fund(trade_id, Leg.LONG)
    log.wait(2_000 * NANOSECONDS)
    fields = {name: getattr(log.events[-1], name) for name in FundingPaid.__slots__ if name not in ("seq", "time_ns")}
    with pytest.raises(LogError, match=message):
        log.write(FundingPaid, **(fields | {"settled_ns": log.now + settled * NANOSECONDS}))
    log.write(FundingPaid, **(fields | {"settled_ns": log.now - 1_000 * NANOSECONDS}))


def test_lines_stored_before_there_was_late_funding_are_read_and_written_as_they_were() -> None:
    log = LogWriter()
    trade_id = log.opened_trade()
    log.wait(1)
    log.fund(trade_id, Leg.LONG)
    event = log.events[-1]
    line = to_line(event)
    assert b"settled_ns" not in line
    assert from_document(load_document(line)) == event
    late = replace(event, settled_ns=5)
    assert from_document(load_document(to_line(late))) == late
    with pytest.raises(ValueError, match=r"FundingPaid\.settled_ns: must be int"):
        from_document(to_document(event) | {"settled_ns": "5"})
