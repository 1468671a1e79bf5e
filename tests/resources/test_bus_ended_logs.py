"""Logs that ended while Redis was away are published before the present one; what is stored elsewhere is read again."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
import redis

from resources.bus import Batch, EntryId, LaterLog, LogDamaged, Stored, StreamRecord, redis_bus
from resources.bus.redis_bus import CURSOR, Cursor, Publisher
from resources.bus.streams import CONFIRMS, END_TO_END, SIGNALS
from resources.store import StoreUnavailable
from tests.redis_server import RedisServer, needs_redis
from tests.resources.bus_parts import STATE, ListLog, Reports, clock, confirmation, entry, sample, stream_of

pytestmark = needs_redis

WAIT = 60.0
DAY_MS = 86_400_000


class DayLog(ListLog):
    """The log of a day: its entries are those of a ``ListLog`` on that day."""

    def __init__(self, day: int, count: int) -> None:
        super().__init__(count, log=f"simulated/2026-03-{day:02}/aa")
        self.day = day

    def entry(self, number: int) -> StreamRecord:
        first = entry(number)
        fields = confirmation(number, time_ms=first.id.milliseconds + self.day * DAY_MS).to_fields()
        return StreamRecord(CONFIRMS, EntryId(first.id.milliseconds + self.day * DAY_MS, number), fields)


class Damaged(DayLog):
    """Cannot be read after its tenth event."""

    def batch_after(self, seq: int, limit: int) -> Batch | None:
        if seq >= 9:
            raise LogDamaged("the second day")
        return super().batch_after(seq, min(limit, 9 - seq))


class Days:
    """The days there are, the last of them the present one."""

    def __init__(self, *days: DayLog) -> None:
        self.days = days
        self.asked: list[str] = []

    def since(self, log: str) -> Sequence[DayLog]:
        """Those before the present one, from the named one on; none before a log that none of them is."""
        self.asked.append(log)
        names = [day.log for day in self.days]
        return self.days[names.index(log) : -1] if log in names else self.days[-2:-1]

    def records(self) -> list[StreamRecord]:
        return [record for day in self.days for record in day.records()]


Publish = Callable[..., Publisher]


@pytest.fixture
def publish(server: RedisServer) -> Iterator[Publish]:
    """Makes publishers of the last day that are closed at the end."""
    made: list[Publisher] = []

    def one(
        days: Days, reports: Reports | None = None, stored: dict[str, Stored] | None = None, earlier: object = None
    ) -> Publisher:
        since = days.since if earlier is None else earlier
        made.append(
            Publisher(
                server.client(),
                days.days[-1],
                clock(),
                reports or Reports(),
                earlier=since,
                stored=stored or {},  # type: ignore[arg-type]
            )
        )
        made[-1].start()
        return made[-1]

    yield one
    for each in made:
        each.close(0)


def eventually(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


def partly(publish: Publish, day: DayLog, count: int) -> None:
    """Redis got ``count`` events of ``day`` and nothing after them."""
    whole, day.count = day.count, count
    bus = publish(Days(day))
    assert bus.wait_for(count - 1, WAIT)
    bus.close()
    day.count = whole


def in_place(client: "redis.Redis", days: Days) -> None:
    assert stream_of(client) == days.records()
    present = days.days[-1]
    assert client.get(STATE) == str(present.count - 1)
    cursor = Cursor.from_text(str(client.get(CURSOR)))
    assert cursor is not None
    assert (cursor.log, cursor.seq, cursor.complete) == (present.log, present.count - 1, True)


def test_the_rest_of_the_ended_days_comes_first_and_nobody_is_measured_by_it(
    client: "redis.Redis", publish: Publish
) -> None:
    announced = threading.Event()

    class Announced(DayLog):
        """Not read before it is announced: what was published already by then would not be measured."""

        def batch_after(self, seq: int, limit: int) -> Batch | None:
            assert announced.wait(WAIT)
            return super().batch_after(seq, limit)

    days, reports = Days(DayLog(1, 1200), DayLog(2, 700), Announced(3, 40)), Reports()
    partly(publish, days.days[0], 300)
    bus = publish(days, reports)
    bus.announce(39, 0)
    announced.set()
    assert bus.wait_for(39, WAIT)
    in_place(client, days)
    eventually(lambda: len(stream_of(client, END_TO_END)) == 40)  # of the present day, each once
    health = bus.health()
    assert (health.errors, health.replaced, health.refused, health.already_there) == (0, 0, 0, 0)
    assert health.last_ids == {CONFIRMS: days.days[-1].entry(39).id}
    assert [said.rpartition(" ")[2] for said in reports.said] == [days.days[0].log, days.days[1].log]


def test_a_day_that_redis_has_all_of_is_not_said_to_be_published(client: "redis.Redis", publish: Publish) -> None:
    days, reports = Days(DayLog(1, 100), DayLog(2, 50)), Reports()
    partly(publish, days.days[0], 100)
    assert publish(days, reports).wait_for(49, WAIT)
    in_place(client, days)
    assert reports.said == []


def test_readers_see_the_keys_of_one_moment_after_the_other(
    client: "redis.Redis", publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_bus, "BATCH_EVENTS", 20)

    class Told(DayLog):
        """Says in its state which day it is of."""

        def batch_after(self, seq: int, limit: int) -> Batch | None:
            looked.append(client.get(STATE))
            return super().batch_after(seq, limit)

    looked: list[str | None] = []
    first, second = Told(1, 400), Told(2, 300)
    partly(publish, first, 100)
    looked.clear()
    assert publish(Days(first, second)).wait_for(299, WAIT)
    seen = [int(each) for each in looked if each is not None]
    falls = [(before, after) for before, after in pairwise(seen) if after < before]
    assert len(falls) == 1, "from the end of the ended day to the beginning of the present one"
    assert falls[0][0] == 399
    assert seen[0] == 99


@pytest.mark.parametrize("lost", ["cursor", "everything", "stream"])
def test_what_is_lost_of_the_days_comes_back_without_being_deleted(
    client: "redis.Redis", publish: Publish, lost: str
) -> None:
    days = Days(DayLog(1, 600), DayLog(2, 300))
    bus = publish(days)
    assert bus.wait_for(299, WAIT)
    in_place(client, days)
    if lost == "everything":
        client.flushall()
    else:
        client.delete(CURSOR if lost == "cursor" else CONFIRMS)
    eventually(lambda: bus.health().refills == 2 and bus.wait_for(299, 0) and stream_of(client) == days.records())
    in_place(client, days)
    assert bus.health().replaced == 0


class Silent(DayLog):
    """Writes no entry."""

    def batch_after(self, seq: int, limit: int) -> Batch | None:
        batch = super().batch_after(seq, limit)
        return None if batch is None else replace(batch, records=(), last_ids={})


class Beside(DayLog):
    """Writes a second stream too, with each hundredth entry."""

    def batch_after(self, seq: int, limit: int) -> Batch | None:
        batch = super().batch_after(seq, limit)
        if batch is None:
            return None
        more = self.beside(range(seq + 1, batch.seq + 1))
        last_ids = {SIGNALS: self.beside(range(batch.seq + 1))[-1].id}
        return replace(batch, records=(*batch.records, *more), last_ids={**batch.last_ids, **last_ids})

    def beside(self, numbers: Iterable[int]) -> list[StreamRecord]:
        return [replace(self.entry(number), stream=SIGNALS) for number in numbers if number % 100 == 0]


def test_the_evening_of_a_lost_stream_comes_back_where_the_present_day_has_not_written_to_it(
    client: "redis.Redis", publish: Publish
) -> None:
    days = Days(DayLog(1, 600), Silent(2, 300))
    assert publish(days).wait_for(299, WAIT)
    evening = days.days[0].records()
    assert stream_of(client) == evening
    client.delete(CONFIRMS)
    eventually(lambda: stream_of(client) == evening)
    eventually(lambda: client.get(STATE) == "299")


@pytest.mark.parametrize("gone", [False, True])
@pytest.mark.parametrize("running", [False, True])
def test_of_two_streams_the_lost_one_comes_back_and_the_other_is_left_alone(
    client: "redis.Redis", publish: Publish, running: bool, gone: bool
) -> None:
    days = Days(Beside(1, 600), Beside(2, 300))
    bus = publish(days)
    assert bus.wait_for(299, WAIT)
    both = {stream: stream_of(client, stream) for stream in (CONFIRMS, SIGNALS)}
    assert [len(entries) for entries in both.values()] == [900, 9]
    client.xgroup_create(CONFIRMS, "readers", id="$")
    if not running:
        bus.close()
    client.delete(SIGNALS)
    if not gone:  # a reader was faster, and waits for it
        client.xgroup_create(SIGNALS, "readers", id="0", mkstream=True)
    if not running:
        bus = publish(days)
    eventually(lambda: stream_of(client, SIGNALS) == both[SIGNALS] and bus.wait_for(299, 0))
    in_place(client, days)
    assert client.xreadgroup("readers", "one", {CONFIRMS: ">"}) == [], "nothing came again"
    assert bus.health().replaced == 0


def test_a_stream_lost_while_the_present_day_is_filled_has_its_evening_too(
    client: "redis.Redis", publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_bus, "BATCH_EVENTS", 30)

    class Losing(Beside):
        def batch_after(self, seq: int, limit: int) -> Batch | None:
            if seq > 100 and not lost:
                lost.append(seq)
                client.delete(SIGNALS)
            return super().batch_after(seq, limit)

    lost: list[int] = []
    first, second = Beside(1, 600), Losing(2, 300)
    assert publish(Days(first, second)).wait_for(299, WAIT)
    assert stream_of(client, SIGNALS) == [*first.beside(range(600)), *second.beside(range(300))]
    in_place(client, Days(first, second))
    assert lost


@pytest.mark.parametrize("places", [(5,), (700,), (9000,), (5, 1_000_000)])
def test_entries_of_another_log_give_way_to_the_days(client: "redis.Redis", publish: Publish, places) -> None:  # type: ignore[no-untyped-def]
    days = Days(DayLog(1, 800), DayLog(2, 300))
    for number in places:
        fields = confirmation(number, price=1).to_fields()
        client.xadd(CONFIRMS, fields, id=f"{days.days[0].entry(0).id.milliseconds + number}-0")  # type: ignore[arg-type]
    bus = publish(days)
    eventually(lambda: bus.health().replaced == 1 and stream_of(client) == days.records() and bus.wait_for(299, 0))
    in_place(client, days)


def test_killed_again_and_again_on_the_way_it_goes_on(
    client: "redis.Redis", publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each process is given some batches of the store, and the last of them all: a day that is not filled to its end is
    looked at from its start by the next."""
    monkeypatch.setattr(redis_bus, "BATCH_EVENTS", 30)

    class Rationed(DayLog):
        def batch_after(self, seq: int, limit: int) -> Batch | None:
            nonlocal left
            left -= 1
            if left < 0:
                raise StoreUnavailable("this process gets no more")
            return super().batch_after(seq, limit)

    left = 10**6
    days = Days(Rationed(1, 150), Rationed(2, 100), Rationed(3, 90))
    partly(publish, days.days[0], 50)
    seen: list[str] = []
    for ration in range(1, 13):
        left = ration
        bus = publish(days)
        eventually(lambda: bus.health().errors > 0)  # noqa: B023
        bus.close(0)
        cursor = Cursor.from_text(str(client.get(CURSOR)))
        assert cursor is not None
        seen.append(cursor.log)
        entries = stream_of(client)
        assert entries == days.records()[: len(entries)]
    left = 10**6
    bus = publish(days)
    assert bus.wait_for(89, WAIT)
    in_place(client, days)
    assert seen == sorted(seen), "never back to an earlier day"
    assert set(seen) == {day.log for day in days.days}
    assert bus.health().replaced == 0


def test_redis_emptied_on_the_way_is_filled_again(client: "redis.Redis", publish: Publish) -> None:
    class Emptied(DayLog):
        def batch_after(self, seq: int, limit: int) -> Batch | None:
            if seq > 900 and not emptied:
                emptied.append(seq)
                client.flushall()
            return super().batch_after(seq, limit)

    emptied: list[int] = []
    days = Days(Emptied(1, 2000), DayLog(2, 300))
    partly(publish, days.days[0], 100)
    bus = publish(days)
    assert bus.wait_for(299, WAIT)
    in_place(client, days)
    assert emptied
    assert bus.health().replaced == 0


def test_two_publishers_on_the_way_agree(client: "redis.Redis", publish: Publish) -> None:
    days = Days(DayLog(1, 3000), DayLog(2, 2000), DayLog(3, 500))
    partly(publish, days.days[0], 700)
    both = [publish(Days(*days.days)) for _ in range(2)]
    assert all(bus.wait_for(499, WAIT) for bus in both)
    in_place(client, days)
    assert [bus.health().replaced for bus in both] == [0, 0]


def test_the_publisher_of_an_ended_day_leaves_the_next_ones_alone(client: "redis.Redis", publish: Publish) -> None:
    """The day ended for one process, and another has begun the next: it has what was left of it."""
    days, reports = Days(DayLog(1, 300), DayLog(2, 100)), Reports()
    assert publish(days).wait_for(99, WAIT)
    asked: list[str] = []

    def later(log: str) -> Sequence[DayLog]:
        asked.append(log)
        raise LaterLog(log)

    late = publish(Days(days.days[0]), reports, earlier=later)
    eventually(lambda: len(asked) > 2)
    late.close(WAIT)
    in_place(client, days)
    assert (late.health().replaced, late.health().published, late.health().failed) == (0, 0, "")
    assert set(asked) == {days.days[1].log}


def test_a_day_that_cannot_be_read_is_passed_over_and_said(client: "redis.Redis", publish: Publish) -> None:
    days, reports = Days(DayLog(1, 100), Damaged(2, 100), DayLog(3, 100)), Reports()
    partly(publish, days.days[0], 20)
    bus = publish(days, reports)
    assert bus.wait_for(99, WAIT)
    first, second, third = days.days
    assert stream_of(client) == first.records() + second.records()[:10] + third.records()
    assert any(said == "passed over: the second day" for said in reports.said)
    assert bus.health().last_error == "LogDamaged"


# --- what is stored elsewhere than in a log ---


class Samples:
    """Stored samples, and how they were asked for."""

    def __init__(self) -> None:
        self.records: list[StreamRecord] = []
        self.asked: list[EntryId] = []

    def __call__(self, after: EntryId) -> list[StreamRecord]:
        self.asked.append(after)
        return [record for record in self.records if record.id > after]


def test_what_is_stored_is_read_again_by_a_new_process_and_nothing_is_doubled_or_refused(
    client: "redis.Redis", publish: Publish
) -> None:
    samples = Samples()
    days = Days(DayLog(1, 10))
    for number in range(2000):
        samples.records.append(sample(number))
    bus = publish(days, stored={END_TO_END: samples})
    bus.offer(samples.records[-3:])  # they were stored before they were offered
    assert bus.wait_for(9, WAIT)
    eventually(lambda: stream_of(client, END_TO_END) == samples.records)
    for number in range(2000, 2010):
        samples.records.append(sample(number))
        bus.offer(samples.records[-1:])
    assert bus.wait_for(9, WAIT)
    eventually(lambda: stream_of(client, END_TO_END) == samples.records)
    bus.close()
    assert (bus.health().refused, bus.health().dropped) == (0, 0)
    client.flushall()
    again = publish(days, stored={END_TO_END: samples})
    assert again.wait_for(9, WAIT)
    eventually(lambda: stream_of(client, END_TO_END) == samples.records)
    assert again.health().refused == 0


def test_redis_that_has_all_is_not_asked_about_again(client: "redis.Redis", publish: Publish) -> None:
    samples = Samples()
    samples.records = [sample(number) for number in range(50)]
    bus = publish(Days(DayLog(1, 10)), stored={END_TO_END: samples})
    assert bus.wait_for(9, WAIT)
    eventually(lambda: len(stream_of(client, END_TO_END)) == 50)
    asked = len(samples.asked)
    for number in range(50, 60):
        samples.records.append(sample(number))
        bus.offer(samples.records[-1:])
        assert bus.wait_for(9, WAIT)
    assert len(samples.asked) == asked
    client.delete(END_TO_END)
    eventually(lambda: stream_of(client, END_TO_END) == samples.records)


def test_a_later_entry_of_somebody_else_is_told_as_a_refusal(client: "redis.Redis", publish: Publish) -> None:
    samples = Samples()
    samples.records = [sample(number) for number in range(5)]
    client.xadd(END_TO_END, dict(sample(100).fields), id=str(sample(100).id))  # type: ignore[arg-type]
    bus = publish(Days(DayLog(1, 10)), stored={END_TO_END: samples})
    bus.offer([sample(6)])
    assert bus.wait_for(9, WAIT)
    eventually(lambda: bus.health().refused == 1)
