"""A day with instructions in it: whatever is killed when, each becomes one event, and the day comes out again."""

import random
from dataclasses import replace
from decimal import Decimal

import pytest

from assets.arbitrage import trading_day
from assets.arbitrage.arbitrage_desk import ArbitrageDesk
from assets.arbitrage.codec import from_document
from assets.arbitrage.events import Event, FlowPosted, Halted, InstructionRefused, TradeProposed
from assets.arbitrage.instructions import TAKEN, Kind, give, given_after
from assets.arbitrage.journal import Overtaken
from assets.arbitrage.metrics import portfolio_metrics
from assets.arbitrage.portfolio import Portfolio
from assets.arbitrage.properties import PROPERTIES
from assets.arbitrage.session import DAY_NS, Session, closing_of, day_key, portfolio_before, start_of, stored_events
from assets.arbitrage.trading_day import StoredDay
from resources.documents import dump_document, load_document
from resources.feed import NANOSECONDS
from tests.faults.dying_store import DyingStore, Killed
from tests.memory_store import MemoryStore
from tests.trading_parts import (
    DAY,
    EVENING,
    NEXT_DAY,
    ScriptedFeed,
    closing_bytes,
    desk_of,
    evenings,
    fold,
    stored_log,
    traded_through,
)

SOURCE = "SIMULATED"
SEED = 9
START_NS = start_of(DAY)
MARKET_NS = START_NS + EVENING
# When something is given, seconds after the market opened, and what: a deposit, two that are refused, a withdrawal.
GIVEN: tuple[tuple[float, Kind, str | None], ...] = (
    (-3_600, Kind.DEPOSIT, "5000.25"),
    (0, Kind.RESUME, None),
    (21.3, Kind.WITHDRAW, "1e9"),
    (21.4, Kind.WITHDRAW, "7000.000001"),
    (63.123456789, Kind.DEPOSIT, "12"),
)


def feed(seed: int = SEED) -> ScriptedFeed:
    return ScriptedFeed(evenings(seed))


def given_ns(seconds: float) -> int:
    return MARKET_NS + round(seconds * NANOSECONDS)


def ask(store: MemoryStore, kind: Kind, amount: str | None = None, source: str = SOURCE) -> int:
    return give(store, source, kind, None if amount is None else Decimal(amount), "a test", 1).number


def with_instructions(desk: ArbitrageDesk, store: MemoryStore) -> None:
    """The rest of a day, its instructions given and taken at their times; what was given before is given once."""
    session = Session(desk, DAY, 0)
    for number, (seconds, kind, amount) in enumerate(GIVEN, 1):
        if session.portfolio.taken >= number:
            continue
        session.advance_to(given_ns(seconds))
        if len(list(given_after(store, SOURCE, 0))) < number:
            ask(store, kind, amount)
        if session.portfolio.taken < number:
            session.take_instructions()
            session.flush()
    session.close()


def taken(store: MemoryStore, day: str = DAY, source: str = SOURCE) -> list[Event]:
    return [event for event in stored_events(store, source, day) if isinstance(event, TAKEN)]


def sound(store: MemoryStore, day: str = DAY, source: str = SOURCE) -> None:
    events = list(stored_events(store, source, day))
    for judge in PROPERTIES:
        assert judge(events, portfolio_before(store, events[0])) == [], judge.__name__  # type: ignore[arg-type]


def same_day(store: MemoryStore, other: MemoryStore) -> None:
    assert stored_log(store) == stored_log(other)
    assert closing_bytes(store) == closing_bytes(other)


@pytest.fixture(scope="module")
def whole() -> MemoryStore:
    """The day of ``SEED`` with ``GIVEN`` in it. Read only."""
    store = MemoryStore()
    with_instructions(desk_of(store, feed()), store)
    return store


# --- the day ---


def test_each_becomes_one_event_at_its_time_and_the_identity_holds(whole: MemoryStore) -> None:
    events = taken(whole)
    assert [type(event) for event in events] == [
        FlowPosted, InstructionRefused, InstructionRefused, FlowPosted, FlowPosted
    ]  # fmt: skip
    assert [event.time_ns for event in events] == [given_ns(seconds) for seconds, _, _ in GIVEN]
    assert [event.instruction for event in events] == [1, 2, 3, 4, 5]  # type: ignore[union-attr]
    portfolio, all_events = fold(whole, SOURCE, DAY)
    assert portfolio.net_flows == Decimal("-1987.750001")
    assert portfolio.available + portfolio.total_open == 20_000 + portfolio.net_flows + portfolio.realised
    assert any(isinstance(event, TradeProposed) and event.time_ns > events[-1].time_ns for event in all_events)
    sound(whole)


def test_p_and_l_is_measured_against_what_was_started_with(whole: MemoryStore) -> None:
    """Capital that came and went is in no figure of profit."""
    portfolio, events = fold(whole, SOURCE, DAY)
    metrics = portfolio_metrics(portfolio.state(), start_of(NEXT_DAY))
    assert metrics.cumulative_pnl == sum(
        (event.actual_profit_usd for event in events if hasattr(event, "actual_profit_usd")), Decimal(0)
    )
    assert abs(metrics.pnl_percentage * 20_000 - metrics.cumulative_pnl) < Decimal("1e-8")
    day = trading_day.daily_metrics(StoredDay(desk_of(whole.copy(), feed()), DAY))["metrics"]
    assert (day["net_flows"], day["resumed"], day["instructions_refused"]) == (portfolio.net_flows, 0, 2)
    assert day["realised"] == portfolio.realised
    records = trading_day.performance(StoredDay(desk_of(whole.copy(), feed()), DAY))["records"]
    assert [record["amount"] for record in records if record["kind"] == "flow"] == [
        Decimal("5000.25"), Decimal("-7000.000001"), Decimal(12)
    ]  # fmt: skip
    assert all("instruction" not in record for record in records)


# --- computed anew ---


def test_the_feed_and_the_instructions_give_the_day_again_byte_for_byte(whole: MemoryStore) -> None:
    day = StoredDay(desk_of(whole.copy(), feed()), DAY)
    assert trading_day.log_replays(day) == []
    assert trading_day.replayed(day) == day.events


def test_the_log_has_all_that_is_needed_and_an_instruction_that_is_stored_as_another_is_found_out(
    whole: MemoryStore,
) -> None:
    gone, other = whole.copy(), whole.copy()
    for number in range(1, len(GIVEN) + 1):
        gone.delete(f"arbitrage/simulated/instructions/{number:08d}.json")
    day = StoredDay(desk_of(gone, feed()), DAY)
    assert trading_day.log_replays(day) == []
    assert trading_day.replayed(day) == day.events
    key = "arbitrage/simulated/instructions/00000001.json"
    document = load_document(other.read(key).data)
    other.write(key, dump_document(document | {"amount": Decimal("5000.26")}))
    assert trading_day.log_replays(StoredDay(desk_of(other, feed()), DAY)) == [
        "instruction 1 was taken as deposit 5000.25 and is stored as deposit 5000.26"
    ]


@pytest.mark.parametrize(
    "changes", [{"reason": "only 1 is available"}, {"asked": "withdraw 1"}, {"asked": "resume"}, {"asked": "steal 5"}]
)
def test_a_refusal_that_would_not_have_been_is_found_out(whole: MemoryStore, changes: dict[str, str]) -> None:
    """What a log says it was told is believed where nothing else is stored; what became of it is computed."""
    store = whole.copy()
    store.delete("arbitrage/simulated/instructions/00000003.json")
    day = StoredDay(desk_of(store, feed()), DAY)
    refused = taken(store)[2]
    assert isinstance(refused, InstructionRefused)
    day.events[refused.seq] = replace(refused, **changes)
    (found,) = trading_day.log_replays(day)
    assert found.startswith(f"event {refused.seq} is stored as InstructionRefused and comes out otherwise")


@pytest.mark.parametrize("seconds", [1.7, 11])
def test_resumed_again_and_again_the_day_is_the_same(whole: MemoryStore, seconds: float) -> None:
    """The day in pieces, each begun from the store: every piece computes the instructions before it anew."""
    store, at_ns = MemoryStore(), MARKET_NS - 3_700 * NANOSECONDS
    waiting = list(GIVEN)
    session = Session(desk_of(store, feed()), DAY, 0)
    draw = random.Random(4)
    while at_ns < START_NS + DAY_NS:
        at_ns = min(at_ns + round(seconds * NANOSECONDS) if at_ns >= MARKET_NS else MARKET_NS, START_NS + DAY_NS)
        while waiting and given_ns(waiting[0][0]) <= at_ns:
            moment, kind, amount = waiting.pop(0)
            session.advance_to(given_ns(moment))
            ask(store, kind, amount)
            session.take_instructions()
        session.advance_to(at_ns)
        session.flush()
        if draw.random() < 0.1:
            session = Session(desk_of(store, feed()), DAY, 0)
            assert session.resumed == "replayed"
            assert session.portfolio.taken == len(GIVEN) - len(waiting)
    session.close()
    same_day(store, whole)


def test_the_view_of_a_resumed_session_knows_what_became_of_them(whole: MemoryStore) -> None:
    store = whole.copy()
    store.delete(day_key("simulated", DAY, "closing.json"))
    view = Session(desk_of(store, feed()), DAY, 0).view()
    assert view.taken == 5
    assert [row.number for row in view.instructions] == [5, 4, 3, 2, 1]
    assert [bool(row.refused) for row in view.instructions] == [False, False, True, True, False]
    assert view.net_flows == Decimal("-1987.750001")


def test_without_the_instruction_a_killed_day_is_computed_anew_all_the_same(whole: MemoryStore) -> None:
    store = whole.copy()
    store.delete(day_key("simulated", DAY, "closing.json"))
    store.delete("arbitrage/simulated/instructions/00000004.json")
    session = Session(desk_of(store, feed()), DAY, 0)
    assert session.resumed == "replayed"
    assert (session.portfolio.taken, session.portfolio.net_flows) == (5, Decimal("-1987.750001"))


def test_of_very_many_some_are_taken_at_a_time_and_all_in_the_end() -> None:
    """Each is a read, and the market waits meanwhile."""
    store = MemoryStore()
    session = Session(desk_of(store, feed()), DAY, 0)
    for _ in range(40):
        ask(store, Kind.DEPOSIT, "1")
    found = []
    for second in range(4):
        session.advance_to(MARKET_NS + second * NANOSECONDS)
        session.take_instructions()
        found.append(session.portfolio.taken)
    assert found == [16, 32, 40, 40]


# --- kills ---


def test_killed_at_every_store_operation_each_is_taken_once(whole: MemoryStore) -> None:
    """Between an instruction and its event, too: the store of the giver lives, the trader's dies."""
    measured = DyingStore(inner := MemoryStore(), 10**9, "before")
    with_instructions(desk_of(measured, feed()), inner)
    assert measured.operations > 12
    for die_at in range(1, measured.operations + 1):
        store = MemoryStore()
        with pytest.raises(Killed):
            with_instructions(desk_of(DyingStore(store, die_at, "before"), feed()), store)
        with_instructions(desk_of(store, feed()), store)
        same_day(store, whole)


def test_killed_between_the_instruction_and_its_event_the_next_trader_takes_it() -> None:
    store = MemoryStore()
    session = Session(desk_of(store, feed()), DAY, 0)
    session.advance_to(MARKET_NS)
    session.flush()
    ask(store, Kind.DEPOSIT, "500")
    session.take_instructions()
    assert session.portfolio.net_flows == 500
    # It dies here: nothing of it is stored.
    later = Session(desk_of(store, feed()), DAY, 0)
    assert (later.portfolio.taken, later.portfolio.net_flows) == (0, 0)
    later.advance_to(MARKET_NS + 30 * NANOSECONDS)
    later.take_instructions()
    later.flush()
    for _ in range(3):
        later.take_instructions()
    assert later.flush() == []
    later.close()
    (event,) = taken(store)
    assert event.time_ns == MARKET_NS + 30 * NANOSECONDS
    assert trading_day.log_replays(StoredDay(desk_of(store, feed()), DAY)) == []
    sound(store)


def test_of_two_traders_one_takes_it_and_the_other_is_told() -> None:
    store = MemoryStore()
    one, two = (Session(desk_of(store, feed()), DAY, 0) for _ in range(2))
    ask(store, Kind.DEPOSIT, "500")
    for session, at_ns in ((one, MARKET_NS + 5), (two, MARKET_NS + 7)):
        session.advance_to(at_ns)
        session.take_instructions()
    one.flush()
    with pytest.raises(Overtaken):
        two.flush()
    again = Session(desk_of(store, feed()), DAY, 0)
    again.advance_to(MARKET_NS + 9)
    again.take_instructions()
    assert (again.portfolio.taken, again.portfolio.net_flows) == (1, 500)
    again.close()
    assert len(taken(store)) == 1


# --- a live feed ---


def test_a_live_day_takes_them_and_goes_on_from_its_log() -> None:
    store, live = MemoryStore(), ScriptedFeed(evenings(SEED), source="LIVE", repeatable=False)
    session = Session(desk_of(store, live), DAY, MARKET_NS)
    session.advance_to(MARKET_NS + 20 * NANOSECONDS)
    ask(store, Kind.DEPOSIT, "500", "LIVE")
    session.take_instructions()
    session.flush()
    later = Session(desk_of(store, live), DAY, MARKET_NS + 30 * NANOSECONDS)
    assert (later.resumed, later.portfolio.taken, later.portfolio.net_flows) == ("recovered", 1, 500)
    ask(store, Kind.WITHDRAW, "100", "LIVE")
    later.take_instructions()
    later.close()
    assert [event.instruction for event in taken(store, source="LIVE")] == [1, 2]  # type: ignore[union-attr]
    assert later.portfolio.net_flows == 400


def test_a_recorded_past_takes_none() -> None:
    """Its days are each of their own: every one of them would take all again."""
    store = MemoryStore()
    ask(store, Kind.DEPOSIT, "500", "RECORDED")
    session = Session(desk_of(store, ScriptedFeed(evenings(SEED), source="RECORDED", recorded=(DAY,))), DAY, 0)
    session.take_instructions()
    session.close()
    assert taken(store, source="RECORDED") == []


# --- over midnight ---


def test_the_next_day_knows_what_was_taken_and_takes_what_was_not() -> None:
    store = MemoryStore()
    session = Session(desk_of(store, feed()), DAY, 0)
    ask(store, Kind.DEPOSIT, "500")
    session.take_instructions()
    session.advance_to(session.end_ns)
    ask(store, Kind.DEPOSIT, "0.5")
    session.take_instructions()  # the day has ended: the next one's
    session.close()
    assert len(taken(store)) == 1
    closing = closing_of(store, SOURCE, DAY)
    assert closing is not None
    assert (closing["state"]["taken"], closing["state"]["net_flows"]) == (1, 500)
    following = Session(desk_of(store, feed()), NEXT_DAY, 0)
    assert (following.portfolio.taken, following.portfolio.net_flows) == (1, 500)
    following.take_instructions()
    following.close()
    (event,) = taken(store, NEXT_DAY)
    assert event.instruction == 2  # type: ignore[union-attr]
    assert event.time_ns == start_of(NEXT_DAY)
    assert following.portfolio.net_flows == Decimal("500.5")
    assert trading_day.log_replays(StoredDay(desk_of(store, feed()), NEXT_DAY)) == []
    sound(store, NEXT_DAY)


def test_a_closing_from_before_there_were_any_took_none() -> None:
    store = MemoryStore()
    state = traded_through(desk_of(store, feed())).portfolio.carried_document("a" * 64)
    del state["taken"]
    assert Portfolio.from_carried(load_document(dump_document(state))).taken == 0
    for wrong in ("1", Decimal("1.5"), None, True):
        with pytest.raises(Exception, match="is not a whole number"):
            Portfolio.from_carried(state | {"taken": wrong})


# --- what is no instruction ---


def test_a_malformed_document_is_refused_counted_and_stops_nothing() -> None:
    store = MemoryStore()
    session = Session(desk_of(store, feed()), DAY, 0)
    for number, data in enumerate(
        (b"", b'{"amount":1e99999999999999999999}', b'{"kind":"deposit","amount":1e99}\n'), 1
    ):
        store.create(f"arbitrage/simulated/instructions/{number:08d}.json", data)
    ask(store, Kind.DEPOSIT, "500")
    session.advance_to(MARKET_NS + 1)
    session.take_instructions()
    session.close()
    refused = taken(store)[:3]
    assert all(isinstance(event, InstructionRefused) and event.reason and not event.asked for event in refused)
    assert isinstance(taken(store)[3], FlowPosted)
    day = StoredDay(desk_of(store, feed()), DAY)
    assert trading_day.daily_metrics(day)["metrics"]["instructions_refused"] == 3
    assert trading_day.log_replays(day) == []
    assert len(fold(store, SOURCE, DAY)[0].closed_trades) > 10


# --- a halt ---


def halting(store: MemoryStore, resumed: bool) -> Session:
    """A day whose trader halts before the market opens; resumed a minute later, if at all."""
    session = Session(desk_of(store, feed()), DAY, 0)
    session.advance_to(MARKET_NS)
    session.engine._emit(Halted(session.portfolio.seq + 1, MARKET_NS, "a drill"))
    session.advance_to(MARKET_NS + 60 * NANOSECONDS)
    if resumed:
        ask(store, Kind.RESUME)
        session.take_instructions()
    session.close()
    return session


@pytest.mark.parametrize("resumed", [False, True])
def test_a_halt_lasts_until_somebody_ends_it(resumed: bool) -> None:
    store = MemoryStore()
    session = halting(store, resumed)
    events = list(stored_events(store, SOURCE, DAY))
    proposed = [event.time_ns for event in events if isinstance(event, TradeProposed)]
    assert bool(proposed) == resumed
    assert all(time_ns >= MARKET_NS + 60 * NANOSECONDS for time_ns in proposed)
    assert session.portfolio.halted == ("" if resumed else "a drill")
    metrics = trading_day.daily_metrics(StoredDay(desk_of(store, feed()), DAY))["metrics"]
    assert (metrics["resumed"], metrics["halted"]) == (int(resumed), session.portfolio.halted)
    records = trading_day.performance(StoredDay(desk_of(store, feed()), DAY))["records"]
    halts = [record for record in records if record["kind"] == "error" and record["reason"] == "a drill"]
    assert len(halts) == 1, "ended or not, it is one error among the records"
    sound(store)


def test_a_log_line_that_took_an_instruction_is_known_by_its_bytes(whole: MemoryStore) -> None:
    """What a replay looks for before it reads a line."""
    lines = stored_log(whole).splitlines()
    found = [from_document(load_document(line)) for line in lines if b'"instruction":' in line]
    assert found == taken(whole)
