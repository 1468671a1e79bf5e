"""What is made of a day that is over: once, the same for everyone, and only when there is a day to make it of."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

import pytest

from assets.arbitrage import trading_day
from assets.arbitrage.events import (
    EntryRefused,
    FundingPaid,
    OrderFilled,
    OrderSubmitted,
    TradeClosed,
    TradeProposed,
    Valued,
)
from assets.arbitrage.instructions import Kind, give
from assets.arbitrage.journal import Journal
from assets.arbitrage.properties import PROPERTIES
from assets.arbitrage.rules import Rules
from assets.arbitrage.session import Session, SessionError, day_key, start_of
from assets.arbitrage.trading_day import NotOver, StoredDay, traded
from resources.documents import Document, dump_document, load_document
from resources.feed import FeedEvent, Quote
from resources.feed.recorded import RecordedFeed
from resources.settings import Settings
from tests.memory_store import MemoryStore
from tests.trading_parts import (
    DAY,
    NEXT_DAY,
    THIRD_DAY,
    VENUES,
    ScriptedFeed,
    at,
    closing_bytes,
    desk_of,
    evenings,
    fold,
    market,
    only,
    stored_log,
    traded_through,
)

SEED = 9
CONTENTS: dict[str, Callable[[StoredDay], Document]] = {
    "opportunities": trading_day.opportunities,
    "trades": trading_day.trades,
    "portfolio": trading_day.portfolio_state,
    "performance": trading_day.performance,
    "metrics": trading_day.daily_metrics,
}


def feed(seed: int = SEED) -> ScriptedFeed:
    return ScriptedFeed(evenings(seed))


@pytest.fixture(scope="module")
def day() -> StoredDay:
    """Read only."""
    return StoredDay(desk_of(MemoryStore(), feed()), DAY)


def live(store: MemoryStore, now: datetime | None = None) -> StoredDay:
    """A day of a live feed, traded while it passed."""
    source = ScriptedFeed(evenings(SEED), source="LIVE", repeatable=False)
    desk = desk_of(store, source, now=now)
    Session(desk, DAY, start_of(DAY)).close()
    return StoredDay(desk, DAY)


# --- which days there are ---


def test_a_day_nobody_traded_is_traded_when_asked_for_as_if_it_had_been_traded_then() -> None:
    store, other = MemoryStore(), MemoryStore()
    closing = traded(desk_of(store, feed()), DAY)
    traded_through(desk_of(other, feed()))
    assert store.contents() == other.contents()
    assert closing == load_document(closing_bytes(store))


def test_a_closed_day_is_read_and_neither_its_feed_nor_its_clock_matters() -> None:
    store = MemoryStore()
    traded(desk_of(store, feed()), DAY)
    before = store.contents()
    late = desk_of(store, ScriptedFeed(only({}), listings=VENUES[:2]), now=at("2026-01-01"))
    traded(late, DAY)
    assert store.contents() == before


@pytest.mark.parametrize(
    ("now", "over"), [(at(DAY), False), (at(DAY, 86_399.9), False), (at(NEXT_DAY), True), (at(NEXT_DAY, 1), True)]
)
def test_a_day_is_over_at_midnight_and_not_before(now: datetime, over: bool) -> None:
    store = MemoryStore()
    if over:
        assert traded(desk_of(store, feed(), now=now), DAY)["day"] == DAY
        return
    with pytest.raises(NotOver, match=f"{DAY} is not over: its trader closes it at 00:00 UTC"):
        traded(desk_of(store, feed(), now=now), DAY)
    assert store.contents() == {}


def test_a_day_that_is_not_recorded_is_refused_with_those_that_are() -> None:
    recorded = ScriptedFeed(evenings(), source="RECORDED", recorded=(DAY, NEXT_DAY))
    with pytest.raises(NotOver, match=f"nothing is recorded of 2026-03-05; recorded are {DAY}, {NEXT_DAY}"):
        traded(desk_of(MemoryStore(), recorded), "2026-03-05")


def test_the_past_of_a_live_feed_is_not_made_up() -> None:
    store = MemoryStore()
    with pytest.raises(NotOver, match=f"nobody traded {DAY}"):
        traded(desk_of(store, ScriptedFeed(evenings(), source="LIVE", repeatable=False)), DAY)
    assert store.contents() == {}


def test_a_live_day_that_was_begun_is_closed_with_what_is_stored() -> None:
    store = MemoryStore()
    desk = desk_of(store, ScriptedFeed(evenings(SEED), source="LIVE", repeatable=False))
    session = Session(desk, DAY, start_of(DAY))
    session.advance_to(session.end_ns - 60 * 10**9)
    session.flush()
    before = stored_log(store, source="live")
    closed = StoredDay(desk, DAY)
    assert stored_log(store, source="live").startswith(before)
    assert closed.end.realised + closed.end.starting_capital == (closed.end.available + closed.end.total_open)


def test_a_log_without_its_opening_is_no_day() -> None:
    store = MemoryStore()
    traded_through(desk_of(store, feed()))
    copy = MemoryStore()
    copy.create(day_key("simulated", DAY, "closing.json"), closing_bytes(store))
    with pytest.raises(SessionError, match="does not begin with its opening"):
        StoredDay(desk_of(copy, feed()), DAY)


# --- days that are not traded in their order ---


def closed(store: MemoryStore, *days: str, source: ScriptedFeed | None = None) -> list[StoredDay]:
    """The days in the order in which they are traded."""
    desk = desk_of(store, source or feed())
    return [StoredDay(desk, day) for day in days]


def said_of(days: list[StoredDay]) -> list[str]:
    return [sentence for day in days for sentence in trading_day.passed_over(day)]


@pytest.mark.parametrize(
    ("order", "passed_over"),
    [
        ((DAY, NEXT_DAY, THIRD_DAY), []),
        ((DAY, THIRD_DAY), []),
        ((DAY, THIRD_DAY, NEXT_DAY), [(THIRD_DAY, NEXT_DAY, DAY)]),
        ((NEXT_DAY, DAY), [(NEXT_DAY, DAY, "its starting capital")]),
        (
            (THIRD_DAY, NEXT_DAY, DAY),
            [(THIRD_DAY, NEXT_DAY, "its starting capital"), (NEXT_DAY, DAY, "its starting capital")],
        ),
    ],
    ids=["in order", "a day left out", "between", "before the first", "backwards"],
)
def test_a_closing_that_the_next_stored_day_does_not_go_on_from_is_named_with_both_days(
    order: tuple[str, ...], passed_over: list[tuple[str, str, str]]
) -> None:
    assert said_of(closed(MemoryStore(), *order)) == [
        f"{later} does not go on from {day} but from {basis}: it was begun before {day} was closed, and what {day} "
        "earned or lost is in no later capital"
        for later, day, basis in passed_over
    ]


def test_a_day_under_way_was_begun_before_too() -> None:
    store = MemoryStore()
    Session(desk_of(store, feed()), THIRD_DAY, start_of(THIRD_DAY)).flush()
    (sentence,) = said_of(closed(store, DAY))
    assert sentence.startswith(f"{THIRD_DAY} does not go on from {DAY} but from its starting capital")


def test_what_people_put_beside_the_days_is_none() -> None:
    """A copy of a day's folder would be a day that was begun, and never closed."""
    store = MemoryStore()
    closed(store, DAY)
    for entry in list(store.list(day_key("simulated", DAY, ""))):
        store.write(entry.key.replace(DAY, f"{DAY}_backup"), store.read(entry.key).data)
    assert said_of(closed(store, DAY, NEXT_DAY)) == []


def test_recorded_days_go_on_from_none_and_pass_none_over() -> None:
    recorded = ScriptedFeed(evenings(SEED), source="RECORDED", recorded=(DAY, NEXT_DAY))
    assert said_of(closed(MemoryStore(), NEXT_DAY, DAY, source=recorded)) == []


def test_instructions_and_the_days_of_another_source_are_no_next_day() -> None:
    store = MemoryStore()
    give(store, "SIMULATED", Kind.DEPOSIT, Decimal(500), "", 1)
    live(store)
    assert said_of(closed(store, NEXT_DAY)) == []
    Session(desk_of(store, feed()), THIRD_DAY, start_of(THIRD_DAY)).flush()
    assert said_of(closed(store, NEXT_DAY)) == []


# --- documents ---


@pytest.mark.parametrize("name", CONTENTS)
def test_a_document_is_stored_once_and_names_its_log(name: str) -> None:
    store = MemoryStore()
    first = StoredDay(desk_of(store, feed()), DAY)
    document = first.stored_once(name, CONTENTS[name])
    assert (
        document["log_sha256"]
        == first.closing["state"]["log_sha256"]
        == Journal.open(store, day_key("simulated", DAY, "log")).sha256()
    )
    assert (document["day"], document["source"]) == (DAY, "SIMULATED")
    before = store.contents()
    again = StoredDay(desk_of(store, feed()), DAY)

    def never(_day: StoredDay) -> Document:
        raise AssertionError("it is stored already")

    assert again.stored_once(name, never) == document
    assert store.contents() == before


@pytest.mark.parametrize("name", CONTENTS)
def test_a_document_is_a_function_of_the_log(name: str) -> None:
    """Made by another process on another day of the same log, it is the same bytes."""
    made = []
    for now in (at("2026-03-08"), at("2027-01-01")):
        one = StoredDay(desk_of(MemoryStore(), feed(), now=now), DAY)
        made.append(dump_document(CONTENTS[name](one)))
    assert made[0] == made[1]


def test_the_trades_and_the_state_are_those_of_the_fold(day: StoredDay) -> None:
    portfolio, events = fold(day.desk.store, "SIMULATED", DAY)
    document = trading_day.trades(day)
    assert [trade["id"] for trade in document["closed"]] == [
        event.trade_id for event in events if isinstance(event, TradeClosed)
    ]
    assert document["events"] == len(events)
    state = trading_day.portfolio_state(day)["state"]
    assert state["cumulative_pnl"] == portfolio.cumulative_pnl
    assert state["available_capital"] + state["total_open_positions"] == (
        state["starting_capital"] + state["net_flows"] + state["realised"]
    )
    assert state["active_trades"] == state["closed_trades"] == []


def test_the_days_metrics_are_sums_over_its_events(day: StoredDay) -> None:
    metrics = trading_day.daily_metrics(day)["metrics"]
    closed = [event for event in day.events if isinstance(event, TradeClosed)]
    fills = [event for event in day.events if isinstance(event, OrderFilled)]
    assert metrics["fills"] == len(fills)
    assert metrics["fees"] == sum((event.fee for event in fills), Decimal(0))
    assert metrics["funding"] == sum((e.amount for e in day.events if isinstance(e, FundingPaid)), Decimal(0))
    assert metrics["statistics"]["trades"] == len(closed)
    assert metrics["statistics"]["wins"] == sum(event.actual_profit_usd > 0 for event in closed)
    assert metrics["realised"] == day.end.realised


def test_reports_are_told_of_everything_that_moves_money(day: StoredDay) -> None:
    document = trading_day.performance(day)
    records = document["records"]
    fills = [record for record in records if record["kind"] == "fill"]
    assert len(fills) == sum(isinstance(event, OrderFilled) for event in day.events)
    cash = sum(
        (record["quantity"] * record["price"] * (1 if record["side"] == "sell" else -1) - record["fee"])
        for record in fills
    )
    cash += sum((record["amount"] for record in records if record["kind"] == "funding"), Decimal(0))
    assert cash == day.end.realised, "nothing is held at this day's end"
    assert document["closed"] is True
    assert document["opening"] == []
    assert document["marks"] == day.closing["marks"] == {}
    points = [record for record in records if record["kind"] == "point"]
    assert len(points) == sum(isinstance(event, Valued) for event in day.events)


def test_what_is_held_over_midnight_is_told_with_its_cost_and_its_marks() -> None:
    """Cash of the second day, from the fills and the opening, comes to what the fold has realised."""
    store = MemoryStore()
    moved = _held_over_midnight()
    desk = desk_of(store, moved)
    first, second = StoredDay(desk, DAY), StoredDay(desk, NEXT_DAY)
    assert first.closing["marks"]
    opening = trading_day.performance(second)["opening"]
    assert {(row["exchange"], row["quantity"] > 0) for row in opening} == {
        (order.exchange, order.side.sign > 0)
        for trade in first.end.open_trades
        for order in trade.orders.values()
        if order.filled_size
    }
    records = trading_day.performance(second)["records"]
    (opened,) = [record for record in records if record["kind"] == "opened"]
    assert opened["capital"] == first.end.available + first.end.total_open
    assert opened["carried_day"] == DAY
    cash = -sum(row["notional"] for row in opening)
    for record in records:
        if record["kind"] == "fill":
            cash += record["quantity"] * record["price"] * (1 if record["side"] == "sell" else -1) - record["fee"]
        elif record["kind"] == "funding":
            cash += record["amount"]
    assert not second.end.open_trades
    assert cash == second.end.realised - first.end.realised


def _held_over_midnight() -> ScriptedFeed:
    """A market that runs on from one day into the next while a trade is open."""
    store = MemoryStore()
    traded_through(desk_of(store, feed()))
    _, events = fold(store, "SIMULATED", DAY)
    opened = [event for event in events if type(event).__name__ == "TradeOpened"][4]
    shift = start_of(NEXT_DAY) - opened.time_ns - 1
    both: list[FeedEvent] = [event._replace(time_ns=event.time_ns + shift) for event in market(SEED, DAY)]
    midnight = start_of(NEXT_DAY)
    return ScriptedFeed(
        only({DAY: [e for e in both if e.time_ns < midnight], NEXT_DAY: [e for e in both if e.time_ns >= midnight]})
    )


# --- opportunities ---


def test_an_opportunity_has_a_beginning_an_end_and_a_reason(day: StoredDay) -> None:
    document = trading_day.opportunities(day)
    rows = document["rows"]
    assert document["found_by"] == "scanner"
    assert len(rows) > 10
    for row in rows:
        assert row["long_exchange"] != row["short_exchange"]
        assert (row["removed_ns"] is None) == (row["reason"] == "")
        assert row["removed_ns"] is None or row["since_ns"] <= row["removed_ns"]
    ended = [row["removed_ns"] for row in rows if row["removed_ns"] is not None]
    assert ended == sorted(ended)


def test_whether_it_was_traded_changes_nothing_about_an_opportunity(day: StoredDay) -> None:
    """The scanner alone finds them: a trader with hardly any capital sees the same ones."""
    poor = replace(desk_of(MemoryStore()).rules, max_capital_share=Decimal("0.5"), min_confidence=100)
    shy = StoredDay(desk_of(MemoryStore(), feed(), rules=poor), DAY)
    assert not any(isinstance(event, TradeProposed) for event in shy.events)
    assert trading_day.opportunities(shy) == trading_day.opportunities(day)


def test_of_a_live_day_there_is_what_its_log_says() -> None:
    stored = live(MemoryStore())
    document = trading_day.opportunities(stored)
    considered = [event for event in stored.events if isinstance(event, TradeProposed | EntryRefused)]
    assert document["found_by"] == "log"
    assert [row["since_ns"] for row in document["rows"]] == [event.time_ns for event in considered]
    assert {row["reason"] for row in document["rows"]} > {"traded"}
    assert trading_day.unexplained_signals(stored) == []


def test_every_entry_of_a_real_day_began_while_its_opportunity_stood(day: StoredDay) -> None:
    assert sum(isinstance(event, TradeProposed) for event in day.events) > 10
    assert trading_day.unexplained_signals(day) == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda rows: rows.clear(),
        lambda rows: [row.update(since_ns=row["since_ns"] + 10**12, removed_ns=None) for row in rows],
        lambda rows: [row.update(removed_ns=row["since_ns"] - 1) for row in rows],
        lambda rows: [
            row.update(long_exchange=row["short_exchange"], short_exchange=row["long_exchange"]) for row in rows
        ],
    ],
    ids=["none stood", "too late", "over before", "the other way round"],
)
def test_an_entry_without_its_opportunity_is_named(spoil: Callable[[list[Document]], object]) -> None:
    store = MemoryStore()
    stored = StoredDay(desk_of(store, feed()), DAY)
    document = trading_day.opportunities(stored)
    spoil(document["rows"])
    stored.stored_once("opportunities", lambda _day: document)
    proposed = [event for event in stored.events if isinstance(event, TradeProposed)]
    unexplained = trading_day.unexplained_signals(stored)
    assert len(unexplained) > len(proposed) // 2  # another's may stand by chance
    assert unexplained[0].startswith(f"trade {proposed[0].trade_id} of SOL, {proposed[0].long_exchange} to ")


# --- again from the feed ---


def test_the_feed_gives_the_log_again_byte_for_byte(day: StoredDay) -> None:
    assert trading_day.log_replays(day) == []
    assert trading_day.replayed(day) == day.events


def test_replaying_stores_nothing() -> None:
    store = MemoryStore()
    stored = StoredDay(desk_of(store, feed()), DAY)
    before = store.contents()
    trading_day.log_replays(stored)
    assert store.contents() == before


def _one_quote_moved(day: str) -> list[FeedEvent]:
    """The market with one ask, shortly before the first entry, one tick dearer."""
    events = list(market(SEED, day))
    store = MemoryStore()
    traded_through(desk_of(store, feed()))
    proposal = next(e for e in fold(store, "SIMULATED", DAY)[1] if isinstance(e, OrderSubmitted))
    for index, event in enumerate(events):
        if isinstance(event, Quote) and event.time_ns == proposal.time_ns:
            events[index] = event._replace(ask=event.ask + 10**8, bid=event.bid + 10**8)
    assert events != list(market(SEED, day))
    return events


@pytest.mark.parametrize(
    "changed",
    [
        ScriptedFeed(evenings(SEED + 2)),
        ScriptedFeed(lambda day: _one_quote_moved(day)),
        ScriptedFeed(evenings(SEED), listings=(VENUES[0], replace(VENUES[1], latency_ns=21_000_000), VENUES[2])),
        ScriptedFeed(evenings(SEED), listings=(replace(VENUES[0], taker_fee=Decimal("0.0004")), *VENUES[1:])),
    ],
    ids=["another seed", "one quote", "a latency", "a fee"],
)
def test_a_feed_that_does_not_give_it_again_is_found_out(changed: ScriptedFeed) -> None:
    store = MemoryStore()
    StoredDay(desk_of(store, feed()), DAY)
    (found,) = trading_day.log_replays(StoredDay(desk_of(store, changed), DAY))
    assert found.endswith("comes out otherwise; another DESK_SEED or version of the program?")


def test_of_a_recording_no_seed_is_guessed_at() -> None:
    store = MemoryStore()
    recorded = {"source": "RECORDED", "recorded": (DAY,)}
    StoredDay(desk_of(store, ScriptedFeed(evenings(SEED), **recorded)), DAY)
    changed = ScriptedFeed(evenings(SEED + 2), **recorded)
    (found,) = trading_day.log_replays(StoredDay(desk_of(store, changed), DAY))
    assert found.endswith("comes out otherwise")


def test_a_program_that_decides_otherwise_is_found_out(day: StoredDay, monkeypatch: pytest.MonkeyPatch) -> None:
    """The session's own rules are stored; what reads them otherwise now is another program."""

    def shyer(document: Document) -> Rules:
        return replace(rules_from_document(document), min_confidence=101)

    from assets.arbitrage.session import rules_from_document

    monkeypatch.setattr("assets.arbitrage.session.rules_from_document", shyer)
    (found,) = trading_day.log_replays(day)
    assert "is stored as TradeProposed and comes out otherwise" in found


def test_the_rules_of_today_do_not_change_a_day_of_the_past() -> None:
    store = MemoryStore()
    StoredDay(desk_of(store, feed()), DAY)
    assert trading_day.log_replays(StoredDay(desk_of(store, feed(), rules=Rules(min_confidence=99)), DAY)) == []


def test_more_than_is_stored_is_a_difference_too() -> None:
    store = MemoryStore()
    stored = StoredDay(desk_of(store, feed()), DAY)
    stored.events.pop()
    (found,) = trading_day.log_replays(stored)
    assert found.startswith(f"more happens than the {len(stored.events)} stored events")


def test_a_day_with_a_recovery_in_it_does_not_replay_and_says_where() -> None:
    """What the trader did after its feed had changed cannot come out again; that is said, not hidden."""
    store = MemoryStore()
    session = Session(desk_of(store, feed(3)), DAY, 0)
    session.advance_to(session.end_ns - 50 * 10**9)
    session.flush()
    stored = StoredDay(desk_of(store, feed()), DAY)
    assert len(trading_day.log_replays(stored)) == 1
    for judge in PROPERTIES:
        assert judge(stored.events, stored.before()) == [], judge.__name__


def test_of_a_live_day_nothing_can_be_said() -> None:
    with pytest.raises(NotOver, match="the past of a live feed cannot be asked for"):
        trading_day.log_replays(live(MemoryStore()))


# --- what was really recorded ---


@pytest.mark.real_data
@pytest.mark.skipif(not (Settings().test_data / "ticks_book").is_dir(), reason="no recorded books")
def test_the_recorded_day_is_traded_and_comes_out_again_byte_for_byte() -> None:
    store = MemoryStore()
    desk = desk_of(store, RecordedFeed(Settings().test_data), rules=Rules(), now=at("2026-11-21"))  # type: ignore[arg-type]
    assert "2024-08-08" in desk.feed.days()
    stored = StoredDay(desk, "2024-08-08")
    assert stored.opened.carried == ""
    assert trading_day.log_replays(stored) == []
    for judge in PROPERTIES:
        assert judge(stored.events, stored.before()) == [], judge.__name__
