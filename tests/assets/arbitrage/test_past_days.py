"""The days that are published before the present one: a chain that the store vouches for."""

from dataclasses import replace

import pytest

from assets.arbitrage import past_days
from assets.arbitrage.events import SessionOpened
from assets.arbitrage.past_days import EndedDay, PastDays
from assets.arbitrage.publication import Publication, log_name
from assets.arbitrage.session import closing_of, day_key, portfolio_before, stored_events
from resources.bus import CursorAhead, LaterLog, LogDamaged, StreamRecord
from resources.documents import dump_document
from tests.faults.watched_store import WatchedStore
from tests.memory_store import MemoryStore
from tests.trading_parts import DAY, NEXT_DAY, THIRD_DAY, ScriptedFeed, desk_of, evenings, traded_through

FOURTH_DAY = "2026-03-04"
DAYS = (DAY, NEXT_DAY, THIRD_DAY, FOURTH_DAY)
SEED = 9


@pytest.fixture(scope="module")
def traded() -> MemoryStore:
    store = MemoryStore()
    for day in DAYS:
        traded_through(desk_of(store, ScriptedFeed(evenings(SEED, seconds=60))), day)
    return store


@pytest.fixture
def store(traded: MemoryStore) -> MemoryStore:
    return traded.copy()


def opened(store: MemoryStore, day: str) -> SessionOpened:
    first = next(stored_events(store, "SIMULATED", day))
    assert isinstance(first, SessionOpened)
    return first


def name(store: MemoryStore, day: str) -> str:
    return log_name(opened(store, day))


def days_since(store: MemoryStore, log: str, present: str = FOURTH_DAY) -> list[str]:
    return [each.log.split("/")[1] for each in PastDays(store, opened(store, present)).since(log)]


@pytest.mark.parametrize(
    ("filled", "present", "first"),
    [(DAY, FOURTH_DAY, [DAY, NEXT_DAY, THIRD_DAY]), (THIRD_DAY, FOURTH_DAY, [THIRD_DAY]), (DAY, NEXT_DAY, [DAY])],
)
def test_the_days_from_the_one_that_redis_was_filled_from(
    store: MemoryStore, filled: str, present: str, first: list[str]
) -> None:
    assert days_since(store, name(store, filled), present) == first


@pytest.mark.parametrize(
    "log",
    [
        "",
        "/",
        "simulated",
        "simulated/2026-03-01",
        "simulated/2026-03-01/0000000000000000",
        "simulated/2026-02-01/0000000000000000",
        "simulated/../../secrets",
        "simulated/20260301/aa",
        "live/2026-03-01/0000000000000000",
        "\n",
    ],
)
def test_any_other_log_is_followed_by_the_last_ended_day(store: MemoryStore, log: str) -> None:
    assert days_since(store, log) == [THIRD_DAY]


def test_a_first_day_follows_none(store: MemoryStore) -> None:
    assert days_since(store, "", DAY) == []


def test_a_log_that_follows_the_present_one_is_told(store: MemoryStore) -> None:
    with pytest.raises(LaterLog):
        days_since(store, name(store, THIRD_DAY), NEXT_DAY)


def test_a_later_day_that_is_stored_no_more_is_another_log(store: MemoryStore) -> None:
    later = name(store, FOURTH_DAY)
    store.delete(f"{day_key('SIMULATED', FOURTH_DAY, 'log')}/00000000.jsonl")
    assert days_since(store, later, NEXT_DAY) == [DAY]


def test_days_that_the_streams_would_not_keep_are_not_read(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    states = [closing["state"] for day in DAYS[:3] if (closing := closing_of(store, "SIMULATED", day)) is not None]
    closed = [state["win_count"] + state["loss_count"] + state["break_even_count"] for state in states]
    # Trades that began and closed after the end of the first day and of the second.
    first, second = (closed[2] - closed[day] - len(states[day]["trades"]) for day in (0, 1))
    assert 0 < second < first
    for kept, days in ((first + 1, DAYS[:3]), (first, DAYS[1:3]), (second, DAYS[2:3])):
        monkeypatch.setattr(past_days, "_TRADES_KEPT", kept)
        assert days_since(store, name(store, DAY)) == list(days)


def test_a_closing_that_is_another_one_ends_the_chain(store: MemoryStore) -> None:
    closing = closing_of(store, "SIMULATED", NEXT_DAY)
    assert closing is not None
    closing["state"]["log_sha256"] = "another"
    store.write(day_key("SIMULATED", NEXT_DAY, "closing.json"), dump_document(closing))
    assert days_since(store, name(store, DAY)) == [THIRD_DAY]


def ended(store: MemoryStore, day: str) -> EndedDay:
    (found,) = PastDays(store, opened(store, DAYS[DAYS.index(day) + 1])).since(name(store, day))
    return found


def test_an_ended_day_gives_the_batches_of_its_log(store: MemoryStore) -> None:
    events = list(stored_events(store, "SIMULATED", NEXT_DAY))
    first = opened(store, NEXT_DAY)
    whole = Publication(first, lambda seq: iter(events[seq + 1 :]), lambda: portfolio_before(store, first))
    day, seq = ended(store, NEXT_DAY), -1
    found: list[StreamRecord] = []
    while batch := day.batch_after(seq, 50):
        assert batch == whole.batch_after(seq, 50)
        found += batch.records
        seq = batch.seq
    assert seq == events[-1].seq
    assert found
    assert ended(store, NEXT_DAY).batch_after(seq - 5, 50) is not None  # by another process
    with pytest.raises(CursorAhead):
        ended(store, NEXT_DAY).batch_after(seq + 1, 50)


def test_a_day_that_redis_has_all_of_is_not_read(store: MemoryStore) -> None:
    last = list(stored_events(store, "SIMULATED", THIRD_DAY))[-1]
    watched = WatchedStore(store)
    (day,) = PastDays(watched, opened(store, FOURTH_DAY)).since("")
    before = watched.operations
    assert day.batch_after(last.seq, 50) is None
    assert watched.operations == before
    assert day.batch_after(last.seq - 1, 50) is not None
    assert watched.operations > before


def test_a_damaged_day_says_so(store: MemoryStore) -> None:
    day = ended(store, THIRD_DAY)
    key = f"{day_key('SIMULATED', THIRD_DAY, 'log')}/00000000.jsonl"
    store.write(key, store.read(key).data.replace(b"OrderFilled", b"OrderFulled", 1) + b"x")
    with pytest.raises(LogDamaged, match=f"{THIRD_DAY} cannot be published: .*damaged"):
        day.batch_after(-1, 50)
    assert days_since(store, "") == [], "and nothing is published of a day whose beginning cannot be read"


def test_a_day_whose_own_past_is_gone_says_so(store: MemoryStore) -> None:
    day = ended(store, THIRD_DAY)
    store.delete(day_key("SIMULATED", NEXT_DAY, "closing.json"))
    with pytest.raises(LogDamaged, match="goes on from"):
        day.batch_after(-1, 50)


def test_a_day_that_goes_on_from_none_ends_the_chain(store: MemoryStore) -> None:
    alone = replace(opened(store, FOURTH_DAY), carried_day="", carried="")
    assert PastDays(store, alone).since(name(store, DAY)) == []
