"""Redis away over midnight, with the trader killed or not: readers get every entry of every day once, in order."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
import redis

from assets.arbitrage.events import SessionOpened
from assets.arbitrage.publication import ACTIVE, PORTFOLIO_STATE, records_between
from assets.arbitrage.session import DAY_NS, closing_of, portfolio_before, stored_events
from assets.telemetry.telemetry_log import read_ticks
from pipelines.trader import run
from resources.bus import START, EntryId, StreamRecord, redis_bus
from resources.bus.consumer import Consumer, Entry
from resources.bus.redis_bus import CURSOR, Publisher, connect
from resources.bus.streams import CONFIRMS, SIGNALS, TICKS, Confirmation, Signal
from resources.clock import ManualClock
from resources.documents import Document, load_document
from resources.feed import NANOSECONDS, FeedEvent
from resources.store import NotFound
from tests.memory_store import MemoryStore
from tests.pipelines.test_trader import Hands, eventually
from tests.redis_server import RedisServer, needs_redis, redis_server
from tests.resources.bus_parts import stream_of
from tests.trading_parts import DAY, NEXT_DAY, THIRD_DAY, ScriptedFeed, at, desk_of, fold, market

pytestmark = needs_redis

SEED = 15
END = EntryId(2**62, 0)
FOURTH_DAY = "2026-03-04"
STREAMS = (SIGNALS, CONFIRMS)

KEPT = ("--save", "", "--appendonly", "yes", "--appendfsync", "always")
NOTHING_KEPT = ("--save", "")


def nights(day: str) -> Sequence[FeedEvent]:
    """A market that is open in the first seconds of each day and again before its end."""
    return market(SEED, day, begin_ns=0, seconds=10) + market(SEED, day, DAY_NS - 40 * NANOSECONDS, 35)


@pytest.fixture(autouse=True)
def killed_publishers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A publisher that is closed publishes nothing any more, as one that is killed. Nobody waits long for the next
    attempt: with the test's clock a night is a second."""
    close = Publisher.close
    monkeypatch.setattr(Publisher, "close", lambda publisher, _seconds=0.0: close(publisher, 0))
    monkeypatch.setattr(redis_bus, "LONGEST_WAIT_S", 0.1)
    monkeypatch.setattr("assets.telemetry.collector._BLOCK_MS", 10)


def trade(
    store: MemoryStore, url: str, begin: datetime, end: datetime, meanwhile: Callable[[datetime], None] | None = None
) -> None:
    """A process that trades from ``begin`` to ``end`` and is gone."""
    desk = desk_of(store, ScriptedFeed(nights), now=begin, REDIS_URL=url, metrics_seconds=1)
    assert isinstance(desk.clock, ManualClock)
    run(desk, Hands(desk.clock, end, meanwhile))


def records_of(store: MemoryStore, stream: str, *days: str) -> list[StreamRecord]:
    found: list[StreamRecord] = []
    for day in days:
        events = list(stored_events(store, "SIMULATED", day))
        opened = events[0]
        assert isinstance(opened, SessionOpened)
        found += records_between(events, portfolio_before(store, opened), stream, START, END)
    return found


class Readers:
    """One plain group that Redis keeps count of, and one whose progress is stored with its effect, on each stream."""

    def __init__(self, server: RedisServer, store: MemoryStore) -> None:
        self._client = server.client()
        self._consumers = {
            stream: Consumer(
                connect(server.url), stream, "night", "one", store, f"readers/{stream}", _noted, {"ids": []}, None
            )
            for stream in STREAMS
        }
        self.plain: dict[str, list[EntryId]] = {stream: [] for stream in STREAMS}

    def read(self) -> None:
        for stream, consumer in self._consumers.items():
            while consumer.poll(0):
                continue
            with suppress(redis.ResponseError):  # it is there
                self._client.xgroup_create(stream, "plain", id="0", mkstream=True)
            while answer := self._client.xreadgroup("plain", "one", {stream: ">"}, noack=True):
                self.plain[stream] += [EntryId.parse(each) for each, _ in answer[0][1]]  # type: ignore[index]

    def stored(self, stream: str) -> list[EntryId]:
        try:
            return [EntryId.parse(each) for each in self._consumers[stream].state()["ids"]]
        except NotFound:
            return []


def _noted(state: Document, each: Entry) -> Document:
    assert isinstance(each.record, Signal | Confirmation)
    return {"ids": [*state["ids"], str(each.id)]}


def await_published(server: RedisServer, store: MemoryStore, *days: str) -> None:
    """As long as it takes to show that it never will: ``check`` says what is wrong then."""
    client = server.client()
    for stream in STREAMS:
        wanted = records_of(store, stream, *days)
        eventually(lambda: stream_of(client, stream) == wanted)  # noqa: B023
    ticks = ticks_of(store)
    eventually(lambda: published_ticks(client) == ticks)


def published_ticks(client: "redis.Redis") -> list[int]:
    return [record.id.milliseconds for record in stream_of(client, TICKS)]


def check(server: RedisServer, store: MemoryStore, readers: Readers, *days: str, plain: bool) -> None:
    """Redis holds the entries of ``days``, each reader had them once, and the keys are those of the present."""
    for stream in STREAMS:
        wanted = [record.id for record in records_of(store, stream, *days)]
        assert [record.id for record in stream_of(server.client(), stream)] == wanted
        assert readers.stored(stream) == wanted
        if plain:
            assert readers.plain[stream] == wanted
    client, (portfolio, _) = server.client(), fold(store, "SIMULATED", days[-1])
    state = load_document(str(client.get(PORTFOLIO_STATE)).encode())
    assert (state["seq"], state["as_of_ns"]) == (portfolio.seq, portfolio.time_ns)
    assert {key.removeprefix(ACTIVE) for key in client.scan_iter(f"{ACTIVE}*")} == {
        trade.id for trade in portfolio.open_trades
    }


def ticks_of(store: MemoryStore) -> list[int]:
    """When each stored tick was made."""
    days = [datetime.fromisoformat(day).date() for day in (DAY, NEXT_DAY, THIRD_DAY, FOURTH_DAY)]
    return [tick.time_ms for day in days for tick in read_ticks(store, "simulated", day).ticks]


class Night:
    """Redis goes and comes as told while a trader trades; readers read whenever it is there."""

    def __init__(self, server: RedisServer, store: MemoryStore, down: float, up: float) -> None:
        self.server, self.store = server, store
        self._down, self._up = at(NEXT_DAY, down), at(NEXT_DAY, up)
        self.readers = Readers(server, store)
        self.running = True

    def __call__(self, now: datetime) -> None:
        if self.running and self._down <= now < self._up:
            self.readers.read()
            self.server.kill()
            self.running = False
        if not self.running and now >= self._up:
            self.server.start()
            self.running = True
        if self.running and not now.microsecond and not now.second % 5:
            self.readers.read()


BEGIN, QUIET, END_OF_NIGHT = -45, 13, 14

# When Redis goes and comes and when the trader is killed, in seconds after midnight. The day is closed by the first
# step at or after midnight, the next day's first event is stored by the second.
WALK = [
    (KEPT, -25, 6, []),
    (KEPT, -25, 6, [-12]),
    (KEPT, -25, 6, [0.25]),
    (KEPT, -25, 6, [0.5]),
    (KEPT, -25, 8, [-20, 0, 0.25, 7]),
    (KEPT, -0.25, 6, []),
    (KEPT, 0.25, 6, [3]),
    (NOTHING_KEPT, -25, 6, []),
    (NOTHING_KEPT, -25, 6, [0, 0.25]),
    (NOTHING_KEPT, -0.25, 6, []),
    (NOTHING_KEPT, 3, 8, [5]),
]


@pytest.mark.parametrize(("persistence", "down", "up", "kills"), WALK)
def test_nothing_of_the_ended_day_is_missed_or_comes_twice(
    tmp_path: Path, down: float, up: float, kills: list[float], persistence: tuple[str, ...]
) -> None:
    store = MemoryStore()
    with redis_server(tmp_path, *persistence) as server:
        night = Night(server, store, down, up)
        lives = [BEGIN, *kills, END_OF_NIGHT]
        for begin, end in pairwise(lives):
            last = end == lives[-1]

            def ended(now: datetime, last: bool = last) -> None:
                night(now)
                if last and now == at(NEXT_DAY, QUIET):  # it lives until Redis has it
                    await_published(server, store, DAY, NEXT_DAY)

            trade(store, server.url, at(NEXT_DAY, begin), at(NEXT_DAY, end), ended)
        night.readers.read()
        check(server, store, night.readers, DAY, NEXT_DAY, plain=persistence is KEPT)
        assert records_of(store, SIGNALS, NEXT_DAY), "the next day traded too"
        ticks = published_ticks(server.client())
        assert ticks == ticks_of(store)[: len(ticks)]
        assert ticks[-1] >= at(NEXT_DAY, QUIET - 1).timestamp() * 1000


@pytest.fixture(scope="module")
def three_days() -> tuple[MemoryStore, datetime]:
    """Three days traded without Redis, and the fourth begun; when that was."""
    store = MemoryStore()
    trade(store, "", at(NEXT_DAY, -5), at(NEXT_DAY, 1))
    trade(store, "", at(FOURTH_DAY, 10), at(FOURTH_DAY, 11))
    return store, at(FOURTH_DAY, 12)


def test_of_several_ended_days_each_is_published_before_the_present(tmp_path: Path) -> None:
    store = MemoryStore()
    days = (DAY, NEXT_DAY, THIRD_DAY, FOURTH_DAY)
    with redis_server(tmp_path, *KEPT) as server:
        readers = Readers(server, store)

        def evening(now: datetime) -> None:
            if now == at(NEXT_DAY, -20):
                await_published(server, store, DAY)
                readers.read()
                server.kill()

        trade(store, server.url, at(NEXT_DAY, BEGIN), at(NEXT_DAY, -10), evening)
        read = len(readers.plain[SIGNALS])
        trade(store, server.url, at(FOURTH_DAY, 10), at(FOURTH_DAY, 11))
        assert all(closing_of(store, "SIMULATED", day) is not None for day in days[:-1])
        assert 0 < read < len(records_of(store, SIGNALS, DAY))
        server.start()
        trade(
            store,
            server.url,
            at(FOURTH_DAY, 12),
            at(FOURTH_DAY, 12.25),
            lambda _now: await_published(server, store, *days),
        )
        readers.read()
        check(server, store, readers, *days, plain=True)


@pytest.mark.parametrize("state", ["empty", "another log", "a day that is not stored", "no cursor"])
def test_a_redis_that_was_filled_from_none_of_these_days_gets_the_evening_and_the_present(
    tmp_path: Path, three_days: tuple[MemoryStore, datetime], state: str
) -> None:
    store, now = three_days[0].copy(), three_days[1]
    wanted = (THIRD_DAY, FOURTH_DAY)
    with redis_server(tmp_path, *NOTHING_KEPT) as server:
        client = server.client()
        if state != "empty":
            for number, record in enumerate(records_of(store, SIGNALS, *wanted)):
                # Another trader's, or our own with a cursor that was lost.
                fields = dict(record.fields) | ({} if state == "no cursor" else {"signal_id": f"x{number}"})
                client.xadd(SIGNALS, fields, id=str(record.id))  # type: ignore[arg-type]
        if state in ("another log", "a day that is not stored"):
            log = "live/2026-03-03/00" if state == "another log" else f"simulated/{THIRD_DAY}/0000000000000000"
            client.set(CURSOR, f'{{"complete":true,"last_ids":{{"{SIGNALS}":"5-5"}},"log":"{log}","seq":7}}')
        readers = Readers(server, store)
        until = now + timedelta(seconds=0.25)
        trade(store, server.url, now, until, lambda _now: await_published(server, store, *wanted))
        readers.read()
        check(server, store, readers, *wanted, plain=True)


def test_ticks_are_there_again_after_redis_and_trader_were_both_killed(tmp_path: Path) -> None:
    store = MemoryStore()
    with redis_server(tmp_path, *NOTHING_KEPT) as server:
        found: list[list[StreamRecord]] = []

        def looked(now: datetime) -> None:
            if now in (at(NEXT_DAY, -5), at(NEXT_DAY, -4), at(NEXT_DAY, 5)):
                await_published(server, store, DAY, *([NEXT_DAY] if now >= at(NEXT_DAY) else []))
                found.append(stream_of(server.client(), TICKS))
            if now == at(NEXT_DAY, 4):
                server.client().delete(TICKS)  # nothing but them

        trade(store, server.url, at(NEXT_DAY, BEGIN), at(NEXT_DAY, -4.5), looked)
        server.kill()
        server.start()
        trade(store, server.url, at(NEXT_DAY, -4.5), at(NEXT_DAY, 6), looked)
        before, again, all_of_them = found
        assert len(before) > 10
        assert again[: len(before)] == before, "the same to the byte"
        assert all_of_them[: len(before)] == before
        ids = [record.id.milliseconds for record in all_of_them]
        assert ids == ticks_of(store)[: len(ids)]
        assert ids[-1] >= at(NEXT_DAY, 4).timestamp() * 1000
