"""Consumers against a real Redis: effects exactly once, shared in a group, with what was trimmed read from the log."""

from collections.abc import Iterable
from typing import Any

import redis

from resources.bus import EntryId, StreamRecord
from resources.bus.consumer import Consumer, Entry, stream_lag
from resources.bus.streams import CONFIRMS, Confirmation
from resources.documents import Document, load_document
from resources.store import Store, VersionConflict
from tests.memory_store import MemoryStore
from tests.redis_server import needs_redis
from tests.resources.bus_parts import T0_MS, ListLog, confirmation, entry

pytestmark = needs_redis
KEY = "telemetry/confirmed"


def listed(state: Document, each: Entry) -> Document:
    """The effect: the order's number joins the list."""
    assert isinstance(each.record, Confirmation)
    return {"orders": [*state["orders"], int(each.record.order_id.removeprefix("paper_"))]}


def consumer(client: "redis.Redis", store: Store, name: str = "one", **changes: Any) -> Consumer:
    options: dict[str, Any] = {"handle": listed, "initial": {"orders": []}, "missed": missed_of(ListLog(10_000))}
    return Consumer(client, CONFIRMS, "telemetry", name, store, KEY, **(options | changes))


def missed_of(log: ListLog) -> Any:
    def missed(after: EntryId, before: EntryId) -> Iterable[StreamRecord]:
        return [record for record in log.records() if after < record.id < before]

    return missed


def add(client: "redis.Redis", *numbers: int) -> None:
    with client.pipeline(transaction=False) as pipe:
        for number in numbers:
            record = entry(number)
            pipe.xadd(CONFIRMS, dict(record.fields), id=str(record.id))  # type: ignore[arg-type]
        pipe.execute()


def all_of(reader: Consumer) -> int:
    total = 0
    while done := reader.poll(0):
        total += done
    return total


def orders(reader: Consumer) -> list[int]:
    return list(reader.state()["orders"])


def test_entries_from_before_the_first_look_are_handled_too(client: "redis.Redis") -> None:
    add(client, *range(250))
    reader = consumer(client, MemoryStore())
    assert all_of(reader) == 250
    add(client, *range(250, 260))
    assert all_of(reader) == 10
    assert orders(reader) == list(range(260))
    lag = stream_lag(client, CONFIRMS, "telemetry")
    assert lag is not None
    assert (lag.undelivered, lag.pending) == (0, 0)


def test_lag_is_what_was_not_delivered_and_what_was_not_acknowledged(client: "redis.Redis") -> None:
    assert stream_lag(client, CONFIRMS, "telemetry") is None
    add(client, *range(10))
    assert stream_lag(client, CONFIRMS, "telemetry") is None
    client.xgroup_create(CONFIRMS, "telemetry", id="0", entries_read=0)
    client.xreadgroup("telemetry", "other", {CONFIRMS: ">"}, count=4)
    lag = stream_lag(client, CONFIRMS, "telemetry")
    assert lag is not None
    assert (lag.undelivered, lag.pending) == (6, 4)


def test_a_restarted_consumer_goes_on(client: "redis.Redis") -> None:
    store = MemoryStore()
    add(client, *range(10))
    all_of(consumer(client, store))
    add(client, *range(10, 20))
    second = consumer(client, store)
    all_of(second)
    assert orders(second) == list(range(20))
    assert second.report().repeated == 0


def test_two_consumers_share_without_overlap(client: "redis.Redis") -> None:
    store = MemoryStore()
    one, two = consumer(client, store, "one", count=7), consumer(client, store, "two", count=5)
    add(client, *range(300))
    shares = [0, 0]
    while sum(shares) < 300:
        shares[0] += one.poll(0)
        shares[1] += two.poll(0)
    assert min(shares) > 100
    assert sorted(orders(one)) == list(range(300))
    assert one.report().handled == 300
    assert one.report().repeated == two.report().repeated == 0


def test_what_a_dead_consumer_was_given_is_taken_over(client: "redis.Redis") -> None:
    store = MemoryStore()
    reader = consumer(client, store, idle_ms=0)
    reader.poll(0)
    add(client, *range(20))
    client.xreadgroup("telemetry", "dead", {CONFIRMS: ">"}, count=15)
    all_of(reader)
    assert orders(reader) == [*range(20)]


def test_a_handler_that_fails_is_tried_again_and_others_go_on(client: "redis.Redis") -> None:
    failures = iter([True, True, False])

    def fails_twice(state: Document, each: Entry) -> Document:
        if each.id.number == 3 and next(failures):
            raise LookupError("not yet")
        return listed(state, each)

    store = MemoryStore()
    reader = consumer(client, store, handle=fails_twice)
    add(client, *range(6))
    assert reader.poll(0) == 5
    assert orders(reader) == [0, 1, 2, 4, 5]
    assert reader.poll(0) == 0
    assert reader.poll(0) == 1
    assert orders(reader) == [0, 1, 2, 4, 5, 3]
    assert (reader.report().failures, reader.report().dead) == (2, 0)


def test_an_entry_whose_handler_always_fails_is_put_aside_with_the_reason(client: "redis.Redis") -> None:
    def fails(state: Document, each: Entry) -> Document:
        if each.id.number == 1:
            raise LookupError("no such account")
        return listed(state, each)

    store = MemoryStore()
    add(client, *range(3))
    for _ in range(3):  # restarted each time: Redis counts how often it was delivered
        consumer(client, store, handle=fails, deliveries=3).poll(0)
    reader = consumer(client, store, handle=fails, deliveries=3)
    assert reader.poll(0) == 0
    assert orders(reader) == [0, 2]
    assert reader.report().dead == 1
    letter = load_document(store.read(f"{KEY}/dead/{entry(1).id}.json").data)
    assert letter["reason"] == "LookupError: no such account"
    assert letter["fields"] == entry(1).fields
    assert client.xpending(CONFIRMS, "telemetry")["pending"] == 0


def test_malformed_and_misplaced_entries_are_counted_and_kept(client: "redis.Redis") -> None:
    def put(number: int, **changes: Any) -> None:
        fields = confirmation(number, **changes).to_fields()
        client.xadd(CONFIRMS, fields, id=f"{T0_MS + number}-0")  # type: ignore[arg-type]

    put(0, time_ms=T0_MS)
    client.xadd(CONFIRMS, {"hello": "world"}, id=f"{T0_MS + 1}-0")
    put(2, time_ms=T0_MS + 2, price=0)
    put(3, time_ms=T0_MS - 5)  # earlier than what came before
    put(4, time_ms=T0_MS + 3_600_000)  # from the future of its own entry
    put(5, time_ms=T0_MS + 5)
    store = MemoryStore()
    reader = consumer(client, store)
    assert all_of(reader) == 6
    assert orders(reader) == [0, 5]
    report = reader.report()
    assert (report.handled, report.malformed, report.out_of_order, report.dead) == (2, 2, 2, 4)
    reasons = {
        key.rsplit("/", 1)[1]: load_document(data)["reason"].partition(":")[0]
        for key, data in store.contents().items()
        if "/dead/" in key
    }
    assert reasons == {
        f"{T0_MS + 1}-0.json": "MalformedEntry",
        f"{T0_MS + 2}-0.json": "ZeroFill",
        f"{T0_MS + 3}-0.json": "OutOfOrder",
        f"{T0_MS + 4}-0.json": "OutOfOrder",
    }


def test_entries_trimmed_unread_come_from_the_log(client: "redis.Redis") -> None:
    store = MemoryStore()
    reader = consumer(client, store)
    add(client, *range(10))
    all_of(reader)
    add(client, *range(10, 100))
    client.xtrim(CONFIRMS, maxlen=20, approximate=False)
    assert all_of(reader) == 90
    assert orders(reader) == list(range(100))
    report = reader.report()
    assert (report.recovered, report.lost, report.handled) == (70, 0, 100)
    client.xtrim(CONFIRMS, maxlen=0, approximate=False)
    assert all_of(consumer(client, store)) == 0  # nothing unread was trimmed


def test_entries_trimmed_while_somebody_had_them_come_from_the_log(client: "redis.Redis") -> None:
    store = MemoryStore()
    reader = consumer(client, store, idle_ms=0)
    reader.poll(0)
    add(client, *range(30))
    client.xreadgroup("telemetry", "dead", {CONFIRMS: ">"}, count=15)
    client.xtrim(CONFIRMS, maxlen=0, approximate=False)
    all_of(reader)
    assert sorted(orders(reader)) == list(range(30))
    assert reader.report().lost == 0
    assert client.xpending(CONFIRMS, "telemetry")["pending"] == 0


def test_without_a_log_what_was_trimmed_unread_is_lost_and_said_so(client: "redis.Redis") -> None:
    reader = consumer(client, MemoryStore(), missed=None)
    add(client, *range(10))
    all_of(reader)
    add(client, *range(10, 100))
    client.xtrim(CONFIRMS, maxlen=20, approximate=False)
    all_of(reader)
    assert orders(reader) == [*range(10), *range(80, 100)]
    assert reader.report().lost == 70


def test_a_stream_filled_again_repeats_and_loses_nothing(client: "redis.Redis") -> None:
    store = MemoryStore()
    reader = consumer(client, store)
    add(client, *range(50))
    all_of(reader)
    client.flushall()
    assert all_of(reader) == 0
    assert reader.report().rewound
    add(client, *range(80))
    assert all_of(reader) == 30
    assert orders(reader) == list(range(80))
    assert not reader.report().rewound


def test_a_group_that_was_there_before_the_document_begins_anew(client: "redis.Redis") -> None:
    add(client, *range(10))
    client.xgroup_create(CONFIRMS, "telemetry", id="$")
    reader = consumer(client, MemoryStore())
    all_of(reader)
    assert orders(reader) == list(range(10))


def test_a_race_for_the_document_is_decided_by_its_version(client: "redis.Redis") -> None:
    class Raced(MemoryStore):
        """Another consumer writes first, now and then."""

        writes = 0

        def replace(self, key: str, data: bytes, version: str) -> str:
            self.writes += 1
            if self.writes % 3 == 0:
                super().replace(key, self.read(key).data, version)
                raise VersionConflict(key)
            return super().replace(key, data, version)

    reader = consumer(client, Raced(), count=3)
    add(client, *range(30))
    all_of(reader)
    assert orders(reader) == list(range(30))
