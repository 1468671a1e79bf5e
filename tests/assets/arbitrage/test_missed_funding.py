"""Funding that was settled while the trader was down, asleep or not told: booked late, once, at its own rate and mark,
or missed aloud."""

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
from assets.arbitrage.missed_funding import MissedFunding
from assets.arbitrage.model import Leg
from assets.arbitrage.portfolio import LogError, Portfolio
from assets.arbitrage.properties import PROPERTIES
from assets.arbitrage.session import Session, portfolio_before, start_of, stored_events
from pipelines.trader import Trader
from resources.clock import ManualClock
from resources.documents import dump_document, load_document
from resources.feed import NANOSECONDS, FeedError, FeedEvent, FundingSettled, Quote, Settlements
from resources.feed.live import LiveFeed
from tests.arbitrage_parts import LogWriter
from tests.assets.arbitrage.trader_parts import Desk, units
from tests.faults.dying_store import DyingStore, Killed
from tests.memory_store import MemoryStore
from tests.resources.feed_parts import Lost, ScriptedExchange, market
from tests.trading_parts import DAY, NEXT_DAY, VENUES, ScriptedFeed, at, desk_of, one_opportunity, only

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
    entered = MIDNIGHT + round(hour * HOUR)
    session = Session(desk, DAY, entered - NANOSECONDS)
    session.advance_to(entered + seconds * NANOSECONDS)
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


def test_only_the_listings_that_are_held_are_asked_for_since_the_trade_was_entered_and_then_of_some_hours() -> None:
    store, feed = MemoryStore(), PastFeed(opening(7))
    (trade,) = opened_and_killed(desk_of(store, feed), 7).portfolio.open_trades
    session = again(store, feed, 17)
    assert feed.asked == [(index, trade.entry_time, MIDNIGHT + 17 * HOUR) for index in (0, 1)]
    stepped(session, 18.5)
    assert [(round(since), round(until)) for since, until in feed.hours] == [(7, 17), (11, 17), (11, 18)]
    flat = PastFeed()
    again(MemoryStore(), flat, 17)
    assert flat.asked == []


def test_what_no_venue_told_before_the_day_was_closed_is_paid_the_day_after(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process is gone all night, and its venues take longer than a start waits."""
    monkeypatch.setattr("assets.arbitrage.session._HISTORY_SECONDS", 0.01)
    known = [settlement(hour, listing) for hour in (8, 16, 24, 32) for listing in range(2)]
    store, feed = MemoryStore(), PastFeed(opening(7), known)
    opened_and_killed(desk_of(store, feed), 7)
    feed.patient = True
    again(store, feed, 36).close()
    session = again(store, feed, 36, NEXT_DAY)
    feed.answer()
    stepped(session, 36.01)
    assert instants(store) == []
    assert instants(store, NEXT_DAY) == [(leg, hour) for hour in (8, 16, 24, 32) for leg in ("long", "short")]
    assert sound(store)
    assert sound(store, NEXT_DAY)


def test_what_a_venue_did_not_answer_before_another_restart_is_paid_after_it() -> None:
    store = MemoryStore()
    opened_and_killed(desk_of(store, PastFeed(opening(7))), 7)
    stepped(again(store, PastFeed(opening(22.4)[2:], KNOWN, silent=[0, 1]), 17), 22.5)
    again(store, PastFeed((), KNOWN), 22.6)
    assert instants(store) == [("long", 8), ("short", 8), ("long", 16), ("short", 16)]
    assert sound(store)


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


# --- while the process lives ---


class Living:
    """A trader and its clock; a trade is entered at ``hour`` and five seconds are stepped through."""

    def __init__(self, feed: PastFeed, hour: float) -> None:
        self.store = MemoryStore()
        self.clock = ManualClock(at(DAY, round(hour * 3600) - 1))
        self.trader = Trader(replace(desk_of(self.store, feed), clock=self.clock))
        self.live(6)

    def live(self, seconds: int) -> None:
        """Step after step, several a second."""
        for _ in range(3 * seconds):
            self.trader.step()
            self.clock.sleep(1 / 3)

    def sleep(self, hour: float) -> None:
        """The machine is suspended until ``hour``."""
        self.clock.move_to(at(DAY, round(hour * 3600)))
        while not self.trader.step():
            """It takes the night stretch by stretch."""
        self.live(6)


@pytest.mark.parametrize(("entered", "woken", "settled"), [(7.9, 9, 8), (23.9, 24.03, 24), (22.9, 24.5, 23)])
def test_what_was_settled_while_the_machine_slept_is_paid_when_it_wakes(
    entered: float, woken: float, settled: int
) -> None:
    feed = PastFeed(opening(entered), [settlement(settled, listing) for listing in range(3)])
    living = Living(feed, entered)
    living.sleep(woken)
    living.trader.close()
    day = DAY if woken < 24 else NEXT_DAY
    assert instants(living.store, day) == [("long", settled), ("short", settled)]
    assert {event.settled_ns for event in paid(living.store, day)} == {MIDNIGHT + settled * HOUR}
    assert sound(living.store)
    assert woken < 24 or sound(living.store, day)


def test_a_night_in_which_the_machine_slept_is_asked_for_whole() -> None:
    feed = PastFeed(opening(7.9), KNOWN)
    living = Living(feed, 7.9)
    living.sleep(9.1)
    living.sleep(23.5)
    living.trader.close()
    assert instants(living.store) == [("long", 8), ("short", 8), ("long", 16), ("short", 16)]


def test_what_the_feed_could_not_hand_over_is_asked_for_after_the_hour_and_what_it_did_is_not_paid_again() -> None:
    eight = MIDNIGHT + 8 * HOUR
    known = [settlement(8, listing) for listing in range(3)]
    handed_over = known[0]._replace(time_ns=eight + 3_000_000)
    feed = PastFeed([*opening(7.99), handed_over], known)
    living = Living(feed, 7.99)
    living.live(89)  # until 08:00:58
    assert instants(living.store) == [("long", 8 + 3_000_000 / HOUR)]
    assert feed.asked == []
    living.live(3)
    assert [(event.leg, event.settled_ns) for event in paid(living.store)] == [("long", None), ("short", eight)]
    assert {index for index, _, _ in feed.asked} == {0, 1}
    assert len(feed.asked) == 2
    living.live(240)
    living.trader.close()
    assert len(feed.asked) == 2
    assert len(paid(living.store)) == 2
    assert sound(living.store)


# --- asked again ---


def stepped(session: Session, hour: float) -> None:
    """Minute after minute up to ``hour``."""
    until = MIDNIGHT + round(hour * HOUR)
    while session.cursor_ns < until:
        session.advance_to(min(until, session.cursor_ns + 60 * NANOSECONDS))
        session.take_missed()
    session.flush()


def late(store: MemoryStore) -> PastFeed:
    """A trade entered and killed before eight, and the feed of its restart, whose venues have not published it yet."""
    opened_and_killed(desk_of(store, PastFeed(opening(7.9))), 7.9)
    return PastFeed(opening(8.01)[2:], unknown=[MIDNIGHT + 8 * HOUR])


@pytest.mark.parametrize("silent", [[], [0, 1]], ids=["not published yet", "venues that do not answer"])
def test_what_is_not_told_yet_is_asked_for_each_minute_until_it_is(
    silent: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore()
    feed = late(store)
    feed.silent = silent
    session = again(store, feed, 8 + 10 / 3600)
    stepped(session, 8.05)
    assert instants(store) == []
    feed.silent, feed.known = [], KNOWN[3:6]
    stepped(session, 8.5)
    assert instants(store) == [("long", 8), ("short", 8)]
    assert [round(until * 60) for _, until in feed.hours] == [480, 481, 482, 484]
    assert all(since < 8 for since, _ in feed.hours)
    stepped(session, 10.5)
    assert [round(until, 1) for _, until in feed.hours[-2:]] == [9.0, 10.0]  # after the hour only
    assert len(feed.hours) == 6
    assert len(caplog.messages) == 2  # of each venue, once
    assert sound(store)


def test_what_was_still_owed_is_asked_for_after_another_restart_though_the_log_has_gone_on() -> None:
    store = MemoryStore()
    session = again(store, late(store), 8 + 10 / 3600)
    stepped(session, 8.05)
    assert session.portfolio.time_ns > MIDNIGHT + 8 * HOUR
    again(store, PastFeed((), KNOWN), 9)
    assert instants(store) == [("long", 8), ("short", 8)]
    assert sound(store)


def test_an_older_settlement_is_paid_after_a_newer_one() -> None:
    store = MemoryStore()
    feed = late(store)
    feed.known = [settlement(9, listing) for listing in range(2)]
    session = again(store, feed, 8.5)
    stepped(session, 9.1)
    assert instants(store) == [("long", 9), ("short", 9)]
    feed.known = [*feed.known, *KNOWN[3:5]]
    stepped(session, 9.2)
    assert instants(store) == [("long", 9), ("short", 9), ("long", 8), ("short", 8)]
    assert sound(store)


def test_what_is_never_told_is_given_up_after_some_hours_and_that_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = MemoryStore()
    feed = late(store)
    session = again(store, feed, 8.001)
    stepped(session, 20)
    assert [message for message in caplog.messages if "not booked yet" not in message] == [
        f"what {name} settled on SOLUSDT is not booked: 1 of 2026-03-01 08:00:00+00:00 to 2026-03-01 08:00:00+00:00 "
        "not known"
        for name in ("north", "south")
    ]
    assert len(caplog.messages) == 4
    assert all(since > 8 and until - since < 7.1 for since, until in feed.hours if until > 14.6)
    assert sum(until > 14.6 for _, until in feed.hours) == 5  # after the hour


def test_a_venue_that_never_answers_is_given_up_aloud(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore()
    feed = late(store)
    feed.silent = [1]
    session = again(store, feed, 8.5)
    caplog.clear()
    stepped(session, 14.6)
    assert "what south settled on SOLUSDT is not booked: its venue did not answer in 360 minutes" in caplog.messages


def closing(hour: float) -> list[FeedEvent]:
    """Both venues agree, for a minute: the trade is left."""
    start, size = MIDNIGHT + round(hour * HOUR), units("400")
    return [
        Quote(start + second * NANOSECONDS, index, units(bid), size, units(bid + D("0.1")), size)
        for second in range(60)
        for index, bid in enumerate((D("100.9"), D("100.9")))
    ]


def test_what_becomes_known_after_the_trade_was_closed_is_not_booked_and_said(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assets.arbitrage.session._HISTORY_SECONDS", 0.01)
    store = MemoryStore()
    opened_and_killed(desk_of(store, PastFeed(opening(7.9))), 7.9)
    feed = PastFeed(closing(8.01), KNOWN)
    feed.patient = True
    session = again(store, feed, 8.005)
    stepped(session, 8.05)
    assert not session.portfolio.open_trades
    assert caplog.messages == []
    feed.answer()
    stepped(session, 8.1)
    assert caplog.messages == [
        f"what {name} settled on SOLUSDT is not booked: 1 of 2026-03-01 08:00:00+00:00 to 2026-03-01 08:00:00+00:00 "
        "not known; the trade is closed"
        for name in ("north", "south")
    ]
    assert paid(store) == []


CLOSED = [
    f"what {name} settled on SOLUSDT is not booked: 1 of 2026-03-01 08:00:00+00:00 to 2026-03-01 08:00:00+00:00 "
    "not known; the trade is closed"
    for name in ("north", "south")
]


@pytest.mark.parametrize("known", [KNOWN, ()], ids=["told", "not told"])
def test_what_was_settled_on_a_trade_that_closed_before_its_venue_was_asked_is_said_once(
    known: Sequence[FundingSettled], caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore()
    feed = PastFeed(opening(7.9) + closing(8.001), known, () if known else [MIDNIGHT + 8 * HOUR])
    session = opened_and_killed(desk_of(store, feed), 7.9)
    stepped(session, 8.01)
    assert not session.portfolio.open_trades
    assert feed.asked == []
    stepped(session, 10.5)
    assert caplog.messages == CLOSED
    assert len(feed.hours) == 1


def test_what_was_settled_on_a_trade_that_closed_at_once_after_a_start_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = MemoryStore()
    opened_and_killed(desk_of(store, PastFeed(opening(7.9))), 7.9)
    feed = PastFeed(closing(8.0031), (), [MIDNIGHT + 8 * HOUR])
    stepped(again(store, feed, 8.003), 12)
    assert [message for message in caplog.messages if "not booked yet" not in message] == CLOSED


def test_of_a_trade_that_was_paid_and_closed_its_venue_is_not_asked() -> None:
    store = MemoryStore()
    feed = PastFeed([*opening(7.9), *KNOWN[3:6], *closing(8.001)], KNOWN)
    session = opened_and_killed(desk_of(store, feed), 7.9)
    stepped(session, 10)
    assert not session.portfolio.open_trades
    assert instants(store) == [("long", 8), ("short", 8)]
    assert feed.asked == []


@pytest.mark.parametrize("answers", [True, False], ids=["answers again", "is silent all day"])
def test_a_venue_that_does_not_answer_until_the_trade_is_closed_is_asked_again_and_what_it_told_said(
    answers: bool, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore()
    opened_and_killed(desk_of(store, PastFeed(opening(19.9))), 19.9)
    feed = PastFeed(closing(20.2), [settlement(20, listing) for listing in range(2)], silent=[0, 1])
    session = again(store, feed, 20.1)
    stepped(session, 20.5)
    assert not session.portfolio.open_trades
    caplog.clear()
    if answers:
        feed.silent = []
        stepped(session, 20.6)
    session.close()
    why = (
        "1 of 2026-03-01 20:00:00+00:00 to 2026-03-01 20:00:00+00:00 not known"
        if answers
        else "it was not told before the day ended"
    )
    assert caplog.messages == [
        f"what {name} settled on SOLUSDT is not booked: {why}; the trade is closed" for name in ("north", "south")
    ]


def test_a_trade_that_ended_many_hours_before_a_restart_is_not_asked_for_again() -> None:
    store = MemoryStore()
    feed = PastFeed([*opening(7.9), *closing(8.001), *opening(15.5)], silent=[0, 1, 2])
    session = opened_and_killed(desk_of(store, feed), 7.9)
    stepped(session, 15.6)
    (trade,) = session.portfolio.open_trades
    feed = PastFeed((), KNOWN)
    again(store, feed, 16.5)
    assert {since for _, since, _ in feed.asked} == {trade.entry_time}
    assert [hour for _, hour in instants(store)] == [16, 16]


def test_what_was_settled_while_a_question_was_being_answered_is_asked_for_at_once() -> None:
    """The machine slept an hour with an answer under way."""
    known = [settlement(hour, listing) for hour in (8, 9) for listing in range(2)]
    store, feed = MemoryStore(), PastFeed(opening(7.5), known)
    session = opened_and_killed(desk_of(store, feed), 7.5)
    feed.patient = True
    stepped(session, 8.02)
    session.advance_to(MIDNIGHT + round(9.2 * HOUR))
    for _ in range(2):
        feed.answer()
        session.take_missed()
    session.flush()
    assert instants(store) == [(leg, hour) for hour in (8, 9) for leg in ("long", "short")]
    assert len(feed.hours) == 2


def test_what_was_paid_late_is_in_the_profit_of_the_trade() -> None:
    store = MemoryStore()
    opened_and_killed(desk_of(store, PastFeed(opening(7.9))), 7.9)
    session = again(store, PastFeed(closing(8.01), [settlement(8, 0, "0.0003")]), 8.005)
    stepped(session, 8.05)
    (trade,) = session.portfolio.closed_trades
    assert trade.funding_usd == paid(store)[0].amount == -trade.quantity * D("0.03")
    assert sound(store)


def test_a_naked_leg_is_hedged_before_its_venue_answers_and_paid_what_it_held_at_the_settlement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(MissedFunding, "wait", lambda _missed, seconds: waits.append(seconds))
    store, eight = MemoryStore(), MIDNIGHT + 8 * HOUR
    begun = one_opportunity(eight - NANOSECONDS // 10)
    session = Session(desk_of(store, PastFeed(begun)), DAY, eight - NANOSECONDS)
    while not session.portfolio.naked_trades():
        session.advance_to(session.cursor_ns + 1_000_000)
        assert session.cursor_ns < eight
    session.flush()
    (trade_id,) = session.portfolio.naked_trades()
    held = {leg: session.portfolio.holding(trade_id, leg).quantity for leg in Leg}
    # The venue that lacks its leg is there first: what was begun is completed.
    feed = PastFeed([event for event in one_opportunity(eight + 31 * NANOSECONDS)[2:] if event.listing], KNOWN)
    feed.patient = True
    session = again(store, feed, 8 + 30 / 3600)
    assert session.portfolio.naked_trades()
    assert waits == []
    stepped(session, 8.03)
    assert not session.portfolio.naked_trades()
    assert [each.id for each in session.portfolio.open_trades] == [trade_id]
    assert {session.portfolio.holding(trade_id, leg).quantity for leg in Leg} == {max(held.values())}
    feed.answer()
    stepped(session, 8.1)
    feed.answer()
    stepped(session, 8.2)
    assert {event.leg: event.quantity for event in paid(store)} == {leg: size for leg, size in held.items() if size}
    assert sound(store)


def test_an_entry_that_is_abandoned_while_its_venue_is_asked_is_owed_nothing(caplog: pytest.LogCaptureFixture) -> None:
    log = LogWriter()
    trade_id = log.propose()
    feed = PastFeed(unknown=[log.now], known=[FundingSettled(log.now + 1, 0, D("0.0001"), units(100))])
    feed.patient = True
    listings = [replace(VENUES[0], venue=name, symbol="BTCUSDT") for name in ("binance", "bybit")]
    missed = MissedFunding(feed, listings, log.now, log.now)
    log.wait(HOUR)
    missed.ask(log.portfolio, log.now)
    log.abandon(trade_id)
    feed.answer()
    assert missed.take(log.portfolio, log.now) == feed.known
    assert caplog.messages == []


def test_a_venue_that_never_answers_of_an_entry_that_was_abandoned_is_not_given_up_aloud(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = LogWriter()
    trade_id = log.propose()
    feed = PastFeed(silent=[0])
    listings = [replace(VENUES[0], venue=name, symbol="BTCUSDT") for name in ("binance", "bybit")]
    missed = MissedFunding(feed, listings, log.now, log.now)
    log.wait(NANOSECONDS)
    missed.ask(log.portfolio, log.now)
    missed.take(log.portfolio, log.now)
    log.abandon(trade_id)
    for _ in range(8):
        log.wait(HOUR)
        missed.take(log.portfolio, log.now)
    assert caplog.messages == ["what binance settled on BTCUSDT is not booked yet, and asked for again: no history"]


# --- the same one, twice ---


@pytest.mark.parametrize("lag_ns", [300_000_000, NANOSECONDS])  # the most that a live feed lets pass
def test_what_was_booked_from_the_history_is_not_booked_again_when_it_is_handed_over(lag_ns: int) -> None:
    store, eight = MemoryStore(), MIDNIGHT + 8 * HOUR
    opened_and_killed(desk_of(store, PastFeed(opening(7.9))), 7.9)
    handed_over = [event._replace(time_ns=eight + lag_ns) for event in KNOWN[3:6]]
    session = again(store, PastFeed(handed_over, KNOWN), 8 + 0.2 / 3600)
    session.advance_to(eight + 2 * NANOSECONDS)
    session.flush()
    assert instants(store) == [("long", 8), ("short", 8)]
    assert session.engine.rejected == {"funding_twice": 2}
    assert sound(store)


def test_an_instant_that_a_venue_publishes_seconds_off_is_the_settlement_that_was_handed_over() -> None:
    store, eight = MemoryStore(), MIDNIGHT + 8 * HOUR
    handed_over = [event._replace(time_ns=eight + 3_000_000) for event in KNOWN[3:6]]
    published = [event._replace(time_ns=eight + 3 * NANOSECONDS) for event in KNOWN[3:6]]
    session = opened_and_killed(desk_of(store, PastFeed([*opening(7.99), *handed_over])), 7.99)
    assert len(paid(store)) == 2
    assert session.portfolio.time_ns > eight
    again(store, PastFeed((), published), 9)
    assert len(paid(store)) == 2


def test_a_log_in_which_one_settlement_was_handed_over_after_it_was_booked_late_cannot_have_happened() -> None:
    log = LogWriter()
    trade_id = log.opened_trade("2")
    log.wait(3_000 * NANOSECONDS)
    settled_ns = log.now
    log.wait(NANOSECONDS // 5)
    log.fund(trade_id, Leg.LONG, settled_ns=settled_ns)
    log.wait(NANOSECONDS // 5)
    with pytest.raises(LogError, match="where 0 was held"):
        log.fund(trade_id, Leg.LONG)
    log.wait(60 * NANOSECONDS)
    log.fund(trade_id, Leg.LONG)


# --- over midnight ---


def test_what_was_paid_and_held_the_day_before_is_known_the_day_after() -> None:
    log = LogWriter()
    trade_id = log.opened_trade("2")
    filled_ns = log.now
    log.wait(HOUR)
    log.fund(trade_id, Leg.LONG)
    document = load_document(dump_document(log.portfolio.carried_document("a" * 64)))
    carried = Portfolio.from_carried(document)
    wanted = [
        (filled_ns, 0),
        (filled_ns + 1, 2),
        (log.now - 59 * NANOSECONDS, 0),
        (log.now, 0),
        (log.now + 2 * HOUR, 2),
    ]
    assert [carried.unfunded(trade_id, Leg.LONG, instant) for instant, _ in wanted] == [held for _, held in wanted]
    assert carried.unfunded(trade_id, Leg.SHORT, log.now) == 2


def test_of_a_day_that_was_closed_before_payments_were_carried_nothing_is_owed() -> None:
    log = LogWriter()
    trade_id = log.opened_trade("2")
    document = log.portfolio.carried_document("a" * 64)
    for leg in document["trades"][0]["legs"].values():
        (time_ns, _), *_ = leg.pop("fills")
        del leg["funded"]
        leg |= {"before": D(0), "filled_ns": time_ns}
    carried = Portfolio.from_carried(document)
    midnight = start_of(log.portfolio.day) + 24 * HOUR
    assert [carried.unfunded(trade_id, Leg.LONG, midnight + later) for later in (-1, 0)] == [0, 2]
