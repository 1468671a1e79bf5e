"""One day of the trader: however it is cut, killed, doubled or damaged, its log says the same, or says why not."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import lru_cache
from itertools import pairwise

import pytest

from assets.arbitrage.arbitrage_desk import ArbitrageDesk
from assets.arbitrage.events import (
    EntryAbandoned,
    Event,
    Halted,
    LegOut,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderSubmitted,
    SessionOpened,
    TradeOpened,
    TradeProposed,
)
from assets.arbitrage.journal import Journal, JournalError, Overtaken
from assets.arbitrage.model import Leg
from assets.arbitrage.portfolio import Portfolio
from assets.arbitrage.properties import PROPERTIES
from assets.arbitrage.rules import MILLISECOND
from assets.arbitrage.session import (
    DAY_NS,
    Session,
    SessionError,
    begun_days,
    closing_of,
    day_key,
    last_closing,
    portfolio_before,
    start_of,
    stored_events,
)
from assets.arbitrage.view import view_to_document
from resources.documents import dump_document
from resources.feed import NANOSECONDS, FeedEvent, Source
from resources.store import StoreUnavailable
from tests.faults.distant_store import DistantStore
from tests.faults.dying_store import DyingStore, Killed
from tests.faults.watched_store import T, WatchedStore
from tests.memory_store import MemoryStore
from tests.trading_parts import (
    DAY,
    EVENING,
    NEXT_DAY,
    THIRD_DAY,
    VENUES,
    ScriptedFeed,
    closing_bytes,
    desk_of,
    evenings,
    fold,
    kinds,
    market,
    only,
    stored_log,
    traded_through,
    venue,
)

MARKET_NS = start_of(DAY) + EVENING
END_NS = start_of(DAY) + DAY_NS
SEED = 9  # eighteen trades, thirteen leg-outs
LATER = start_of("2026-03-08")


def steps(session: Session, seconds: float, looks: bool = False) -> None:
    """The evening in steps, each stored."""
    session.advance_to(MARKET_NS)
    while session.cursor_ns < session.end_ns:
        session.advance_to(session.cursor_ns + round(seconds * NANOSECONDS))
        if looks:
            session.view()
        session.flush()
    session.close()


def violations(store: MemoryStore, day: str = DAY, source: str = "SIMULATED") -> dict[str, list[str]]:
    events = list(stored_events(store, source, day))
    opened = events[0]
    assert isinstance(opened, SessionOpened)
    found = {judge.__name__: judge(events, portfolio_before(store, opened)) for judge in PROPERTIES}
    return {name: sentences for name, sentences in found.items() if sentences}


@pytest.fixture(scope="module")
def whole() -> MemoryStore:
    """The day of ``SEED`` in one go."""
    store = MemoryStore()
    traded_through(desk_of(store, ScriptedFeed(evenings(SEED))))
    return store


def same_day(store: MemoryStore, other: MemoryStore) -> None:
    assert stored_log(store) == stored_log(other)
    assert closing_bytes(store) == closing_bytes(other)


# --- cuts ---


def test_a_real_day_has_everything_in_it_and_keeps_every_property(whole: MemoryStore) -> None:
    portfolio, events = fold(whole, "SIMULATED", DAY)
    assert len(portfolio.closed_trades) > 10
    assert kinds(events) >= {"EntryRefused", "LegOut", "LegOutHedged", "OrderRefused", "OrderCancelled", "Valued"}
    assert violations(whole) == {}


@pytest.mark.parametrize("seconds", [0.05, 0.73, 17, 200])
def test_however_a_day_is_cut_its_log_and_closing_are_the_same(whole: MemoryStore, seconds: float) -> None:
    store = MemoryStore()
    steps(Session(desk_of(store, ScriptedFeed(evenings(SEED))), DAY, 0), seconds)
    same_day(store, whole)


def test_looking_at_it_changes_nothing(whole: MemoryStore) -> None:
    store = MemoryStore()
    steps(Session(desk_of(store, ScriptedFeed(evenings(SEED))), DAY, 0), 0.4, looks=True)
    same_day(store, whole)


def test_random_cuts_down_to_single_nanoseconds_around_events_change_nothing(whole: MemoryStore) -> None:
    draw = random.Random(1)
    times = [event.time_ns for event in stored_events(whole, "SIMULATED", DAY)]
    cuts = sorted({draw.choice(times) + draw.choice((-1, 0, 1)) for _ in range(200)})
    store = MemoryStore()
    session = Session(desk_of(store, ScriptedFeed(evenings(SEED))), DAY, 0)
    for cut in cuts:
        session.advance_to(cut)
        if draw.random() < 0.5:
            session.flush()
    session.close()
    same_day(store, whole)


def test_going_back_in_time_and_standing_still_do_nothing() -> None:
    store = MemoryStore()
    session = Session(desk_of(store), DAY, 0)
    session.advance_to(END_NS - 60 * NANOSECONDS)
    seen: list[FeedEvent] = []
    session.advance_to(session.cursor_ns, seen.append)
    session.advance_to(session.cursor_ns - 1, seen.append)
    assert seen == []


def test_what_is_seen_and_told_is_every_event_once_and_folded() -> None:
    store, told, seen = MemoryStore(), [], []

    def hear(event: Event, portfolio: Portfolio) -> None:
        assert portfolio.seq == event.seq
        told.append(event)

    session = Session(desk_of(store), DAY, 0, hear)
    while session.cursor_ns < END_NS:
        session.advance_to(session.cursor_ns + 3600 * NANOSECONDS, seen.append)
        session.flush()
    session.close()
    assert tuple(seen) == market(7, DAY)
    assert told == list(stored_events(store, "SIMULATED", DAY))


def test_the_view_of_a_resumed_session_is_that_of_one_never_ended() -> None:
    store = MemoryStore()
    session = Session(desk_of(store), DAY, 0)
    session.advance_to(END_NS - 40 * NANOSECONDS)
    session.flush()
    resumed = Session(desk_of(store), DAY, 0)
    resumed.advance_to(END_NS - 40 * NANOSECONDS)
    assert dump_document(view_to_document(resumed.view())) == dump_document(view_to_document(session.view()))


# --- kills ---


def _trade(desk: ArbitrageDesk) -> None:
    steps(Session(desk, DAY, 0), 25)


def test_killed_at_every_store_operation_the_day_comes_out_the_same(whole: MemoryStore) -> None:
    script = evenings(SEED)
    feed = ScriptedFeed(script)
    measured = DyingStore(MemoryStore(), 10**9, "before")
    _trade(desk_of(measured, feed))
    assert measured.operations > 8
    for when in ("before", "after"):
        for die_at in range(1, measured.operations + 1):
            inner = MemoryStore()
            with pytest.raises(Killed):
                _trade(desk_of(DyingStore(inner, die_at, when), feed))
            if closing_of(inner, "SIMULATED", DAY) is None:
                _trade(desk_of(inner, feed))
            same_day(inner, whole)


def test_killed_again_and_again_it_still_gets_there(whole: MemoryStore) -> None:
    draw, store, deaths = random.Random(3), MemoryStore(), 0
    feed = ScriptedFeed(evenings(SEED))
    while closing_of(store, "SIMULATED", DAY) is None:
        reading = len(store.contents())  # each segment is read to open the log
        dying = DyingStore(store, reading + draw.randint(5, 10), draw.choice(("before", "after")))
        try:
            steps(Session(desk_of(dying, feed), DAY, 0), 9)
        except Killed:
            deaths += 1
            assert deaths < 100
    assert deaths > 1
    same_day(store, whole)


class _Failing(WatchedStore):
    """Refuses one operation, and works again afterwards."""

    def __init__(self, inner: MemoryStore, fail_at: int) -> None:
        super().__init__(inner)
        self._fail_at = fail_at

    def _do(self, operation: Callable[[], T]) -> T:
        self.operations += 1
        if self.operations == self._fail_at:
            raise StoreUnavailable("for a moment")
        return operation()


def test_a_store_that_fails_once_costs_nothing_but_a_new_beginning(whole: MemoryStore) -> None:
    feed = ScriptedFeed(evenings(SEED))
    for fail_at in range(2, 14, 3):
        inner = MemoryStore()
        failing = _Failing(inner, fail_at)
        with pytest.raises(StoreUnavailable):
            _trade(desk_of(failing, feed))
        _trade(desk_of(failing, feed))
        same_day(inner, whole)


class _RefusingOnce(MemoryStore):
    """Refuses the first segment."""

    refused = False

    def create(self, key: str, data: bytes) -> str:
        if not self.refused:
            self.refused = True
            raise StoreUnavailable("for a moment")
        return super().create(key, data)


def test_a_session_whose_flush_failed_cannot_store_a_log_with_a_hole() -> None:
    session = Session(desk_of(_RefusingOnce()), DAY, 0)
    session.advance_to(END_NS - 60 * NANOSECONDS)
    with pytest.raises(StoreUnavailable):
        session.flush()
    session.advance_to(END_NS)
    with pytest.raises(JournalError, match="does not continue the log"):
        session.flush()


def test_how_it_was_begun_is_said() -> None:
    store = MemoryStore()
    session = Session(desk_of(store), DAY, 0)
    assert session.resumed == ""
    session.flush()
    assert Session(desk_of(store), DAY, 0).resumed == "replayed"
    session.close()
    with pytest.raises(SessionError, match="has been closed"):
        Session(desk_of(store), DAY, 0)


def test_killed_between_the_last_segment_and_the_closing_only_the_closing_is_written(whole: MemoryStore) -> None:
    store = MemoryStore()
    for key, data in whole.contents().items():
        if not key.endswith("closing.json"):
            store.create(key, data)
    before = set(store.contents())
    Session(desk_of(store, ScriptedFeed(evenings(SEED))), DAY, 0).close()
    assert set(store.contents()) - before == {day_key("simulated", DAY, "closing.json")}
    same_day(store, whole)


@pytest.mark.parametrize("resumed", ["replayed", "recovered", "replayed in vain"])
def test_whoever_resumes_a_day_reads_each_segment_once(resumed: str) -> None:
    """And the closing that is not there, which says that the day is open: nothing else, however it is resumed."""
    inner, live = MemoryStore(), resumed == "recovered"
    feed = ScriptedFeed(evenings(SEED), source="LIVE" if live else "SIMULATED", repeatable=not live)
    session = Session(desk_of(inner, feed), DAY, 0)
    while session.cursor_ns < END_NS - 30 * NANOSECONDS:
        session.advance_to(max(MARKET_NS, session.cursor_ns + NANOSECONDS))
        session.flush()
    segments = [entry.key for entry in inner.list(f"{day_key(feed.source, DAY, 'log')}/")]
    assert len(segments) > 20
    store = DistantStore(inner)
    if resumed == "replayed in vain":
        feed = ScriptedFeed(only({}))
    again = Session(desk_of(store, feed), DAY, END_NS - 20 * NANOSECONDS)
    assert again.resumed == ("replayed" if resumed == "replayed" else "recovered")
    assert again.seq == session.seq
    assert store.reads == dict.fromkeys([*segments, day_key(feed.source, DAY, "closing.json")], 1)
    assert store.lists == {f"{day_key(feed.source, DAY, 'log')}/": 1}
    before = stored_log(inner, source=feed.source)
    again.close()
    assert stored_log(inner, source=feed.source).startswith(before)
    assert violations(inner, source=feed.source) == {}


# --- two at once ---


@pytest.mark.parametrize("step", [3, 9])
def test_of_two_sessions_one_is_overtaken_and_nothing_is_doubled(whole: MemoryStore, step: int) -> None:
    store, feed = MemoryStore(), ScriptedFeed(evenings(SEED))
    one, two = (Session(desk_of(store, feed), DAY, 0) for _ in range(2))
    overtaken = 0
    draw = random.Random(step)
    while one.cursor_ns < END_NS or two.cursor_ns < END_NS:
        session = draw.choice((one, two))
        session.advance_to(max(session.cursor_ns, MARKET_NS) + step * NANOSECONDS)
        try:
            session.flush()
        except Overtaken:
            overtaken += 1
            again = Session(desk_of(store, feed), DAY, 0)
            assert again.resumed == "replayed"
            one, two = (again, two) if session is one else (one, again)
    assert overtaken
    for session in (one, two):
        try:
            session.close()
        except Overtaken:
            continue
    same_day(store, whole)


def test_a_closed_day_takes_nothing_from_a_session_that_did_not_know() -> None:
    store = MemoryStore()
    late = Session(desk_of(store), DAY, 0)
    traded_through(desk_of(store))
    before = store.contents()
    with pytest.raises(Overtaken):
        late.close()
    assert store.contents() == before


# --- damage ---


@pytest.mark.parametrize("number", [0, 2, 4])
def test_a_tampered_segment_is_named(number: int) -> None:
    store = MemoryStore()
    session = Session(desk_of(store, ScriptedFeed(evenings(SEED))), DAY, 0)
    session.advance_to(MARKET_NS)
    for _ in range(30):
        session.advance_to(session.cursor_ns + 4 * NANOSECONDS)
        session.flush()
    key = f"{day_key('simulated', DAY, 'log')}/{number:08d}.jsonl"
    data = store.read(key).data
    store.write(key, data.replace(b'"time_ns":1', b'"time_ns":2', 1))
    assert store.read(key).data != data
    with pytest.raises(JournalError, match=f"{number:08d}.jsonl"):
        Session(desk_of(store), DAY, 0)


def test_a_missing_segment_is_missed() -> None:
    store = MemoryStore()
    steps(Session(desk_of(store), DAY, 0), 8)
    store.delete(day_key("simulated", DAY, "closing.json"))
    store.delete(f"{day_key('simulated', DAY, 'log')}/00000003.jsonl")
    with pytest.raises(JournalError, match=r"00000004.jsonl is stored where .*00000003.jsonl is next"):
        Session(desk_of(store), DAY, 0)


def test_a_day_whose_listings_changed_goes_on_from_its_log(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore()
    Session(desk_of(store), DAY, 0).flush()
    before = b"".join(Journal.open(store, day_key("SIMULATED", DAY, "log")).lines())
    others = (*VENUES[:2], venue("east", 5))
    session = Session(desk_of(store, ScriptedFeed(evenings(), listings=others)), DAY, 0)
    assert session.resumed == "recovered"
    assert "other listings" in caplog.text
    session.close()
    assert b"".join(Journal.open(store, day_key("SIMULATED", DAY, "log")).lines()).startswith(before)


def test_a_carried_trade_on_a_venue_that_is_gone_halts_and_stays_open() -> None:
    store = MemoryStore()
    left = traded_through(desk_of(store, _cut_at(TradeOpened))).portfolio.open_trades
    assert left
    others = (venue("east", 5), venue("far", 5), venue("further", 5))
    session = Session(desk_of(store, ScriptedFeed(only({}), listings=others)), NEXT_DAY, 0)
    session.close()
    assert len(session.portfolio.open_trades) == len(left)
    assert all(trade.id in session.portfolio.halted for trade in left)


def test_new_rules_are_for_new_days_only() -> None:
    store = MemoryStore()
    session = Session(desk_of(store), DAY, 0)
    session.advance_to(END_NS - 60 * NANOSECONDS)
    session.flush()
    dearer = replace(desk_of(store).rules, min_confidence=99)
    resumed = Session(desk_of(store, rules=dearer), DAY, 0)
    assert resumed.resumed == "replayed"
    resumed.close()
    other = MemoryStore()
    traded_through(desk_of(other))
    same_day(store, other)


def test_a_day_that_goes_on_with_other_capital_than_is_set_says_so(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore()
    traded_through(desk_of(store))
    Session(desk_of(store), NEXT_DAY, 0)
    assert "starting capital" not in caplog.text
    richer = replace(desk_of(store).rules, starting_capital=Decimal(50_000))
    session = Session(desk_of(store, rules=richer), NEXT_DAY, 0)
    assert session.opened.starting_capital == desk_of(store).rules.starting_capital
    (said,) = (line for line in caplog.messages if "starting capital" in line)
    assert (NEXT_DAY in said, "20000" in said, "50000" in said, "`desk capital`" in said) == (True,) * 4


# --- a feed that does not give the same again ---


def test_a_changed_feed_is_logged_and_the_stored_log_gone_on_with(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore()
    session = Session(desk_of(store, ScriptedFeed(evenings(SEED))), DAY, 0)
    session.advance_to(END_NS - 60 * NANOSECONDS)
    session.flush()
    before = stored_log(store)
    resumed = Session(desk_of(store, ScriptedFeed(evenings(11))), DAY, 0)
    assert resumed.resumed == "recovered"
    assert "is not the stored one" in caplog.text
    assert "gone on with" in caplog.text
    resumed.close()
    assert stored_log(store).startswith(before)
    assert len(stored_log(store)) > len(before)
    assert violations(store) == {}


def test_a_feed_that_falls_silent_is_noticed_too(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore()
    session = Session(desk_of(store, ScriptedFeed(evenings(SEED))), DAY, 0)
    session.advance_to(END_NS - 60 * NANOSECONDS)
    session.flush()
    resumed = Session(desk_of(store, ScriptedFeed(only({}))), DAY, 0)
    assert resumed.resumed == "recovered"
    assert "more is stored than happens" in caplog.text
    assert resumed.portfolio.cumulative_pnl == session.portfolio.cumulative_pnl
    assert resumed.portfolio.realised == session.portfolio.realised


@lru_cache
def _events(source: Source = "SIMULATED") -> tuple[Event, ...]:
    """The log of the day of ``SEED``, asked of a feed of that source and read once."""
    store = MemoryStore()
    traded_through(desk_of(store, ScriptedFeed(evenings(SEED), source=source, repeatable=source != "LIVE")))
    return tuple(stored_events(store, source, DAY))


def _cuts() -> list[int]:
    """The sequence numbers of one day after which a kill is most awkward."""
    awkward = (TradeProposed, OrderSubmitted, OrderAccepted, OrderFilled, LegOut, TradeOpened, OrderCancelled)
    return [event.seq for event in _events() if isinstance(event, awkward)][::13]


class _KilledLive:
    """The first ``count`` events of a live day as a process left them that was killed right after storing them."""

    def __init__(self, count: int) -> None:
        self.feed = ScriptedFeed(evenings(SEED), source="LIVE", repeatable=False)
        self.events = list(_events("LIVE")[:count])
        self.store = MemoryStore()
        Journal.open(self.store, day_key("LIVE", DAY, "log")).append(self.events)
        self.folded = Portfolio()
        for event in self.events:
            self.folded.apply(event)


@pytest.mark.parametrize("seq", _cuts())
def test_a_live_day_killed_after_any_event_goes_on_and_forgets_nothing(seq: int) -> None:
    """The feed's past is gone: what worked is cancelled, what is naked is hedged, what is open stays open."""
    dead_ns = 2 * NANOSECONDS
    killed = _KilledLive(seq + 1)
    before = killed.folded
    now = before.time_ns + dead_ns
    session = Session(desk_of(killed.store, killed.feed), DAY, now)
    assert session.resumed == "recovered"
    assert session.cursor_ns == now
    after = session.portfolio
    pending = [order.id for trade in before.open_trades for order in trade.orders.values() if order.status == "Pending"]
    cancelled = [event.order_id for event in session.flush() if isinstance(event, OrderCancelled)]
    assert cancelled == pending
    for trade in before.open_trades:
        naked = before.holding(trade.id, Leg.LONG).quantity != before.holding(trade.id, Leg.SHORT).quantity
        if naked:
            assert session.engine.naked_since_ns is not None
    session.close()
    closing = closing_of(killed.store, "LIVE", DAY)
    assert closing is not None
    events = list(stored_events(killed.store, "LIVE", DAY))
    assert events[: len(killed.events)] == killed.events
    # No order is left working and no leg naked, unless the trader said so in time.
    after = session.portfolio
    assert [o.id for t in after.open_trades for o in t.orders.values() if o.status == "Pending"] == []
    for trade in after.open_trades:
        legs = [after.holding(trade.id, leg).quantity for leg in Leg]
        assert legs[0] == legs[1] or after.halted
    since: dict[str, int] = {}
    halted = [event.time_ns for event in events if isinstance(event, Halted)]
    orders = {event.order_id: event for event in events if isinstance(event, OrderSubmitted)}
    held: dict[str, Decimal] = {}
    for event in events:
        if isinstance(event, OrderFilled):
            order = orders[event.order_id]
            held[order.trade_id] = held.get(order.trade_id, Decimal(0)) + order.side.sign * event.size
            if held[order.trade_id]:
                since.setdefault(order.trade_id, event.time_ns)
            elif order.trade_id in since:
                began = since.pop(order.trade_id)
                awake = event.time_ns - (now if began < now <= event.time_ns else began)
                assert awake <= 500 * MILLISECOND or any(began <= moment <= event.time_ns for moment in halted)
    assert set(violations(killed.store, source="LIVE")) <= {"no_naked_leg"}


def test_a_live_session_begins_now_and_not_with_the_day() -> None:
    store, feed = MemoryStore(), ScriptedFeed(evenings(), source="LIVE", repeatable=False)
    now = MARKET_NS + 30 * NANOSECONDS
    session = Session(desk_of(store, feed), DAY, now)
    assert session.opened.time_ns == session.cursor_ns == now
    seen: list[FeedEvent] = []
    session.advance_to(END_NS, seen.append)
    assert seen == [event for event in market(7, DAY) if event.time_ns >= now]


def test_a_clock_that_went_back_while_a_live_session_was_dead_does_not_write_the_past() -> None:
    killed = _KilledLive(60)
    session = Session(desk_of(killed.store, killed.feed), DAY, killed.folded.time_ns - 3600 * NANOSECONDS)
    assert session.cursor_ns == killed.folded.time_ns
    session.close()
    times = [event.time_ns for event in stored_events(killed.store, "LIVE", DAY)]
    assert all(before <= after for before, after in pairwise(times))


# --- over midnight ---


def _cut_at(kind: type[Event], number: int = 3, after_ns: int = 1) -> ScriptedFeed:
    """The market of an evening moved so that midnight falls right after the ``number``-th event of ``kind``."""
    found = [event for event in _events() if isinstance(event, kind)]
    moved = END_NS - (found[number].time_ns + after_ns)
    events: Sequence[FeedEvent] = [event._replace(time_ns=event.time_ns + moved) for event in market(SEED, DAY)]
    return ScriptedFeed(
        only(
            {
                DAY: [event for event in events if event.time_ns < END_NS],
                NEXT_DAY: [event for event in events if event.time_ns >= END_NS],
            }
        )
    )


@pytest.mark.parametrize("kind", [TradeProposed, OrderAccepted, OrderFilled, LegOut, TradeOpened])
def test_whatever_is_under_way_at_midnight_is_taken_up_by_the_next_day(kind: type[Event]) -> None:
    store, feed = MemoryStore(), _cut_at(kind)
    first = traded_through(desk_of(store, feed))
    left = first.portfolio.open_trades
    assert left, "nothing was under way"
    closing = closing_of(store, "SIMULATED", DAY)
    assert closing is not None
    assert [trade["proposal"]["trade_id"] for trade in closing["state"]["trades"]] == [trade.id for trade in left]
    session = Session(desk_of(store, feed), NEXT_DAY, 0)
    assert (session.opened.carried_day, session.opened.carried) == (DAY, closing["state"]["log_sha256"])
    pending = [order.id for trade in left for order in trade.orders.values() if order.status == "Pending"]
    naked = [
        trade.id
        for trade in left
        if first.portfolio.holding(trade.id, Leg.LONG).quantity != first.portfolio.holding(trade.id, Leg.SHORT).quantity
    ]
    opening = session.flush()
    assert [event.order_id for event in opening if isinstance(event, OrderCancelled)] == pending
    if naked:
        assert session.engine.naked_since_ns is not None
    session.close()
    assert violations(store) == {}
    assert violations(store, NEXT_DAY) == {}
    second, events = fold(store, "SIMULATED", NEXT_DAY)
    ended = {getattr(event, "trade_id", "") for event in events if isinstance(event, EntryAbandoned)}
    ended |= {trade.id for trade in (*second.closed_trades, *second.open_trades)}
    assert {trade.id for trade in left} <= ended
    assert second.starting_capital == first.portfolio.starting_capital
    assert second.available + second.total_open == second.starting_capital + second.realised


def test_among_these_midnights_are_naked_legs_working_orders_and_open_trades() -> None:
    found = set()
    for kind in (TradeProposed, OrderAccepted, OrderFilled, LegOut, TradeOpened):
        store = MemoryStore()
        portfolio = traded_through(desk_of(store, _cut_at(kind))).portfolio
        for trade in portfolio.open_trades:
            legs = [portfolio.holding(trade.id, leg).quantity for leg in Leg]
            found |= {trade.status.value} | ({"naked"} if legs[0] != legs[1] else set())
            found |= {order.status.value for order in trade.orders.values() if order.status == "Pending"}
    assert found >= {"naked", "Pending", "Active"}


def test_a_day_that_goes_on_from_another_is_killed_and_comes_out_the_same() -> None:
    feed = _cut_at(LegOut)
    stores = MemoryStore(), MemoryStore()
    for store in stores:
        traded_through(desk_of(store, feed))
    traded_through(desk_of(stores[0], feed), NEXT_DAY)
    start = start_of(NEXT_DAY)
    for number in range(5):
        session = Session(desk_of(stores[1], feed), NEXT_DAY, 0)
        session.advance_to(start + (number + 1) * 7 * NANOSECONDS)
        session.flush()
    traded_through(desk_of(stores[1], feed), NEXT_DAY)
    assert stored_log(stores[0], NEXT_DAY) == stored_log(stores[1], NEXT_DAY)
    assert closing_bytes(stores[0], NEXT_DAY) == closing_bytes(stores[1], NEXT_DAY)


def test_the_closing_marks_are_the_prices_at_which_what_is_held_could_be_left() -> None:
    store, feed = MemoryStore(), _cut_at(TradeOpened)
    trades = traded_through(desk_of(store, feed)).portfolio.open_trades
    closing = closing_of(store, "SIMULATED", DAY)
    assert closing is not None
    held = {f"{trade.long_exchange}:{trade.long_symbol}" for trade in trades}
    assert set(closing["marks"]) == held | {f"{trade.short_exchange}:{trade.short_symbol}" for trade in trades}
    assert all(Decimal(90) < price < Decimal(110) for price in closing["marks"].values())


def test_a_closing_that_is_not_the_one_gone_on_from_is_refused() -> None:
    store = MemoryStore()
    traded_through(desk_of(store))
    Session(desk_of(store), NEXT_DAY, 0).flush()
    key = day_key("simulated", DAY, "closing.json")
    other = closing_of(store, "SIMULATED", DAY)
    assert other is not None
    store.write(key, dump_document(other | {"state": other["state"] | {"log_sha256": "0" * 64}}))
    with pytest.raises(SessionError, match=f"goes on from {DAY}"):
        Session(desk_of(store), NEXT_DAY, 0)


def test_it_goes_on_from_the_newest_closing_over_days_without_any() -> None:
    store = MemoryStore()
    first = traded_through(desk_of(store))
    session = Session(desk_of(store), "2026-03-05", 0)
    assert session.opened.carried_day == DAY
    assert session.portfolio.cumulative_pnl == first.portfolio.cumulative_pnl
    assert last_closing(store, "SIMULATED", DAY) is None


def test_days_that_were_begun_and_not_closed_are_known() -> None:
    store = MemoryStore()
    assert begun_days(store, "SIMULATED", THIRD_DAY) == ()
    Session(desk_of(store), DAY, 0).flush()
    assert begun_days(store, "SIMULATED", THIRD_DAY) == (DAY,)
    assert begun_days(store, "LIVE", THIRD_DAY) == ()
    assert begun_days(store, "SIMULATED", DAY) == ()
    Session(desk_of(store), DAY, 0).close()
    Session(desk_of(store), NEXT_DAY, 0).flush()
    assert begun_days(store, "SIMULATED", THIRD_DAY) == (NEXT_DAY,)
    Session(desk_of(store), NEXT_DAY, 0).close()
    assert begun_days(store, "SIMULATED", THIRD_DAY) == ()


def test_a_day_left_open_before_the_newest_closing_is_history() -> None:
    """It was gone past: taking it up now would make two histories of one capital."""
    store = MemoryStore()
    Session(desk_of(store), DAY, 0).flush()
    Session(desk_of(store), NEXT_DAY, 0).close()
    assert begun_days(store, "SIMULATED", THIRD_DAY) == ()


def test_recorded_days_are_each_of_their_own() -> None:
    store = MemoryStore()
    feed = ScriptedFeed(evenings(), source="RECORDED", recorded=(DAY, NEXT_DAY))
    first = traded_through(desk_of(store, feed))
    second = traded_through(desk_of(store, feed), NEXT_DAY)
    assert first.portfolio.cumulative_pnl
    assert second.opened.carried == second.opened.carried_day == ""
    assert second.opened.starting_capital == desk_of(store).rules.starting_capital


def test_a_live_day_that_was_left_open_is_closed_later_with_what_it_held() -> None:
    """Killed before midnight and taken up after it: nothing more happens in that day, and nothing of it is lost."""
    killed = _KilledLive(_cuts()[4] + 1)
    session = Session(desk_of(killed.store, killed.feed), DAY, LATER)
    assert session.cursor_ns == session.end_ns
    session.close()
    closing = closing_of(killed.store, "LIVE", DAY)
    assert closing is not None
    assert len(closing["state"]["trades"]) <= len(killed.folded.open_trades)
    assert closing["state"]["fees"] == killed.folded.fees
    following = Session(desk_of(killed.store, killed.feed), NEXT_DAY, start_of(NEXT_DAY))
    assert following.opened.carried_day == DAY
