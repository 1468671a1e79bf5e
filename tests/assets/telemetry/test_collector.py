"""The collector beside a real Redis: every sample once, over kills of either side, the newest kept and no more."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from assets.telemetry.bad_telemetry import BadTelemetry
from assets.telemetry.collector import KEPT, Collector, CollectorHealth, with_sample
from assets.telemetry.day_record import Sample, samples_key, samples_of, stored_samples
from assets.telemetry.service_levels import WINDOW_NS
from resources.bus import EntryId
from resources.bus.consumer import Entry
from resources.bus.streams import END_TO_END, SIGNALS, EndToEnd
from resources.clock import ManualClock
from resources.documents import Document, dump_document, load_document
from tests.memory_store import MemoryStore
from tests.redis_server import RedisServer, needs_redis
from tests.resources.bus_parts import T0_MS, confirmation

MS_NS = 10**6
READ_MS = T0_MS + 60_000


def measured(number: int, time_ms: int = T0_MS) -> EndToEnd:
    return EndToEnd.measured(time_ms + number, 0.0125, "arbitrage", SIGNALS, f"{number:08x}")


def an_entry(number: int, time_ms: int = T0_MS) -> Entry:
    return Entry(EntryId(time_ms + number, 0), measured(number, time_ms))


def test_a_sample_says_how_long_the_way_was_and_how_late_it_was_read() -> None:
    state = with_sample({"samples": []}, an_entry(7), T0_MS + 7 + 350)
    assert list(samples_of(state["samples"])) == [
        Sample((T0_MS + 7) * MS_NS, 12_500_000, 350_000_000, "signals:paper#00000007")
    ]


def test_a_reader_whose_clock_is_behind_saw_no_lag() -> None:
    (sample,) = samples_of(with_sample({"samples": []}, an_entry(7), T0_MS)["samples"])
    assert sample.lag_ns == 0


def test_the_newest_samples_of_72_hours_are_kept_and_no_more_than_fit() -> None:
    state: Document = {"samples": []}
    for number in range(KEPT + 5):
        state = with_sample(state, an_entry(number), READ_MS)
    assert len(state["samples"]) == KEPT
    assert state["samples"][0][0] == (T0_MS + 5) * MS_NS
    later_ms = T0_MS + KEPT + WINDOW_NS // MS_NS
    assert len(with_sample(state, an_entry(0, later_ms), later_ms)["samples"]) == 5


@pytest.mark.parametrize("row", [[1, 2, 3], [1, 2, 3, "a", "b"], ["1", 2, 3, "a"], [1, None, 3, "a"], [1, 2, 3, 4], 7])
def test_a_stored_sample_that_is_none_is_refused(row: Any) -> None:
    with pytest.raises(BadTelemetry, match="sample"):
        list(samples_of([row]))


def test_what_is_no_measurement_is_refused() -> None:
    with pytest.raises(BadTelemetry, match="a Confirmation measures no way"):
        with_sample({"samples": []}, Entry(EntryId(T0_MS, 0), confirmation(1)), READ_MS)


def test_without_an_address_nothing_is_collected() -> None:
    clock = ManualClock(datetime(2026, 3, 1, tzinfo=UTC))
    assert Collector.connected("", MemoryStore(), "SIMULATED", clock) is None


def publish(server: RedisServer, *numbers: int) -> None:
    client = server.client()
    for number in numbers:
        client.xadd(END_TO_END, measured(number).to_fields(), id=f"{T0_MS + number}-0")  # type: ignore[arg-type]


def await_that(holds: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < until, what
        time.sleep(0.02)


def collecting(server: RedisServer, store: MemoryStore) -> Collector:
    clock = ManualClock(datetime(2026, 3, 1, tzinfo=UTC) + timedelta(minutes=1))
    collector = Collector.connected(server.url, store, "SIMULATED", clock)
    assert collector is not None
    return collector


@needs_redis
def test_every_sample_is_collected_once_and_outlives_the_collector(server: RedisServer) -> None:
    server.client().flushall()
    store = MemoryStore()
    publish(server, *range(20))
    first = collecting(server, store)
    await_that(lambda: len(first.samples()) == 20, "the first twenty")
    publish(server, *range(20, 30))
    await_that(lambda: len(first.samples()) == 30, "ten more")
    first.close()
    publish(server, *range(30, 35))
    second = collecting(server, store)
    assert len(second.samples()) >= 30  # those of the collector before, at once
    await_that(lambda: len(second.samples()) == 35, "those published while nobody read")
    second.close()
    assert [sample.id for sample in stored_samples(store, "SIMULATED")] == [
        f"signals:paper#{number:08x}" for number in range(35)
    ]
    assert {sample.latency_ns for sample in second.samples()} == {12_500_000}
    assert second.samples()[0].lag_ns == 60_000 * MS_NS
    assert samples_key("SIMULATED") in store.contents()


@needs_redis
def test_an_entry_that_is_none_is_put_aside_and_the_rest_collected(server: RedisServer) -> None:
    server.client().flushall()
    store = MemoryStore()
    server.client().xadd(END_TO_END, {"ts": "yesterday"}, id=f"{T0_MS}-0")
    publish(server, 1)
    collector = collecting(server, store)
    await_that(lambda: len(collector.samples()) == 1, "the good one")
    collector.close()
    assert any(key.startswith("telemetry/simulated/e2e/dead/") for key in store.contents())


def damaged(data: bytes) -> bytes:
    """The group's document with its samples left out, whole JSON otherwise."""
    document = load_document(data)
    del document["state"]["samples"]
    return dump_document(document)


DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "torn": (lambda data: data[: len(data) // 2], "JSONDecodeError"),
    "another document": (lambda _: b"{}\n", "KeyError: 'state'"),
    "without samples": (damaged, "KeyError: 'samples'"),
    "a sample without its id": (lambda data: data.replace(b',"signals:paper#00000001"', b""), "BadTelemetry: sample"),
    "a sample at no time": (
        lambda data: data.replace(str((T0_MS + 1) * MS_NS).encode(), b'"noon"'),
        "BadTelemetry: sample",
    ),
}


@needs_redis
@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_document_is_told_and_collecting_goes_on_once_it_is_taken_away(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    monkeypatch.setattr("assets.telemetry.collector._RETRY_S", 0.05)
    damage, reason = DAMAGES[name]
    server.client().flushall()
    store, key = MemoryStore(), samples_key("SIMULATED")
    publish(server, 1)
    before = collecting(server, store)
    await_that(lambda: len(before.samples()) == 1, "the first")
    store.write(key, damage(store.read(key).data))
    publish(server, 2)
    await_that(lambda: before.health().failed != "", "the damage is told")
    await_that(lambda: before.health().errors > 1, "it is tried again")
    before.close()
    caplog.clear()
    again = collecting(server, store)  # a trader that starts now trades all the same
    try:
        assert reason in caplog.records[0].getMessage()
        assert again.health().failed
        assert again.samples() == ()
        store.delete(key)
        await_that(lambda: len(again.samples()) == 2, "both, read once more")
        await_that(lambda: again.health().failed == "", "the end of it")
        assert again.health().errors > 0
    finally:
        again.close()
    assert len([each for each in caplog.records if "cannot be collected" in each.getMessage()]) < 5


@needs_redis
def test_a_redis_that_is_away_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assets.telemetry.collector._RETRY_S", 0.05)
    server = RedisServer(tmp_path / "redis", "--save", "")
    collector = collecting(server, MemoryStore())  # does not wait for an answer
    try:
        assert collector.samples() == ()
        server.start()
        publish(server, 1, 2)
        await_that(lambda: len(collector.samples()) == 2, "after Redis came")
        server.kill()
        server.start()  # it kept nothing
        publish(server, 3)
        await_that(lambda: len(collector.samples()) == 3, "after Redis came back empty")
        assert collector.health() == CollectorHealth(0, "")  # the publisher's health tells of Redis
        assert Decimal(collector.samples()[-1].time_ns) == (T0_MS + 3) * MS_NS
    finally:
        collector.close()
        server.kill()
