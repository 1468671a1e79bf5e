"""The publisher against a real Redis: what readers find is the log, whatever was done to Redis."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from resources.bus import Batch, BusError, EntryId, StreamRecord, open_bus, redis_bus
from resources.bus.redis_bus import CURSOR, Cursor, Publisher, connect
from resources.bus.streams import CONFIRMS, END_TO_END, SIGNALS, parse_entry
from tests.redis_server import RedisServer, needs_redis, redis_server, self_made_certificates
from tests.resources.bus_parts import (
    ACTIVE,
    COPY,
    STATE,
    T0_MS,
    ListLog,
    Reports,
    clock,
    confirmation,
    publisher,
    sample,
    stream_of,
)

WAIT = 60.0


@pytest.fixture
def publish(server: RedisServer) -> Iterator[object]:
    """Makes publishers that are closed at the end."""
    made: list[Publisher] = []

    def one(log: object, reports: Reports | None = None) -> Publisher:
        made.append(publisher(server.client(), log, reports))
        return made[-1]

    yield one
    for each in made:
        each.close(0)


class LateLog(ListLog):
    """A log whose first reader has to wait."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.asked, self.go_on = threading.Event(), threading.Event()

    def batch_after(self, seq: int, limit: int) -> Batch | None:
        self.asked.set()
        assert self.go_on.wait(WAIT)
        return super().batch_after(seq, limit)


def eventually(condition: Callable[[], bool], pause: float = 0.005) -> None:
    until = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < until
        time.sleep(pause)


def cursor_of(client: "redis.Redis") -> Cursor:
    cursor = Cursor.from_text(str(client.get(CURSOR)))
    assert cursor is not None
    return cursor


def in_place(client: "redis.Redis", log: ListLog) -> None:
    assert stream_of(client) == log.records()
    assert client.get(STATE) == client.get(COPY) == str(log.count - 1)
    last = log.count - 1
    assert sorted(client.scan_iter(f"{ACTIVE}*")) == ([] if last % 2 else [f"{ACTIVE}{last}"])


def test_without_an_address_there_is_no_bus() -> None:
    assert open_bus("", ListLog(), clock(), Reports()) is None


@pytest.mark.parametrize("option", ["ssl_cert_reqs=none", "ssl_check_hostname=false"])
def test_an_address_cannot_turn_the_verification_off(option: str) -> None:
    with pytest.raises(BusError, match="always verified"):
        open_bus(f"rediss://:secret@localhost:6379/0?{option}", ListLog(), clock(), Reports())


def test_a_wrong_address_is_not_repeated_in_the_error() -> None:
    with pytest.raises(BusError) as caught:
        connect("redis://:secret@localhost:port/0")
    assert "secret" not in str(caught.value)


@needs_redis
class TestPublishing:
    def test_the_log_and_what_is_added_to_it(self, client: "redis.Redis", publish) -> None:  # type: ignore[no-untyped-def]
        log = ListLog(1234)
        bus = publish(log)
        assert bus.wait_for(1233, WAIT)
        in_place(client, log)
        log.count = 1300
        bus.announce(1299)
        assert bus.wait_for(1299, WAIT)
        in_place(client, log)
        health = bus.health()
        assert health.published in (1300, 1301)  # with the measured time of the last, or before it
        assert (health.errors, health.refused, health.lag_events) == (0, 0, 0)
        assert health.last_ids == {CONFIRMS: log.entry(1299).id}

    def test_a_second_process_goes_on_and_adds_nothing(self, client: "redis.Redis", publish) -> None:  # type: ignore[no-untyped-def]
        log = ListLog(700)
        publish(log).close(WAIT)
        second = publish(log)
        assert second.wait_for(699, WAIT)
        assert second.health().published == second.health().refills == 0
        in_place(client, log)

    def test_two_publishers_of_one_log_at_a_time(self, client: "redis.Redis", publish) -> None:  # type: ignore[no-untyped-def]
        log = ListLog(3000)
        both = [publish(log), publish(log)]
        for count in range(3000, 3200, 10):
            log.count = count
            for bus in both:
                bus.announce(count - 1)
        assert all(bus.wait_for(log.count - 1, WAIT) for bus in both)
        in_place(client, log)

    def test_a_filling_that_another_ended_meanwhile_is_not_begun(self, client: "redis.Redis", publish) -> None:  # type: ignore[no-untyped-def]
        """Else the keys would go back to the beginning of the log, in the sight of readers who had seen its end."""
        log, late = ListLog(2000), LateLog(2000)
        second = publish(late)  # found nothing in Redis and is about to fill it
        assert late.asked.wait(WAIT)
        first = publish(log)
        assert first.wait_for(1999, WAIT)
        assert cursor_of(client).complete
        late.go_on.set()
        assert second.wait_for(1999, WAIT)
        assert second.health().published == second.health().already_there == 0
        in_place(client, log)

    def test_no_reader_sees_keys_of_two_moments(self, client: "redis.Redis", publish) -> None:  # type: ignore[no-untyped-def]
        log = ListLog(1)
        bus = publish(log)
        assert bus.wait_for(0, WAIT)

        def in_step(last: int) -> bool:
            first, second = client.mget(STATE, COPY)
            assert first == second
            return bool(first == str(last))

        for last in range(1, 100):
            log.count = last + 1
            bus.announce(last)
            eventually(lambda last=last: in_step(last), pause=0)

    def test_streams_are_bounded_and_hold_the_newest(
        self,
        client: "redis.Redis",
        publish,  # type: ignore[no-untyped-def]
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(redis_bus, "length_of", lambda _: 1000)
        log = ListLog(5000)
        bus = publish(log)
        assert bus.wait_for(4999, WAIT)
        kept = stream_of(client)
        assert 1000 <= len(kept) <= 1100  # Redis cuts whole nodes of a hundred entries
        assert kept == log.records()[-len(kept) :]
        client.delete(CURSOR)  # all is looked at again, and what was cut is not missed
        log.count = 5010
        bus.announce(5009)
        eventually(lambda: bus.health().refills == 2 and bus.wait_for(5009, 0) and cursor_of(client).complete)
        assert stream_of(client)[-1000:] == log.records()[-1000:]
        assert bus.health().replaced == 0

    def test_a_decision_is_measured_to_its_publication(self, client: "redis.Redis", publish) -> None:  # type: ignore[no-untyped-def]
        log = ListLog(5)
        bus = publish(log)
        assert bus.wait_for(4, WAIT)
        assert stream_of(client, END_TO_END) == []  # nobody announced these: they are a refill
        # Announced before they can be read: what was published already when it is announced is not measured.
        bus.announce(5)
        bus.announce(9, 8)  # 6 and 7 were written by somebody who did not say when
        log.count = 10
        assert bus.wait_for(9, WAIT)
        eventually(lambda: len(stream_of(client, END_TO_END)) == 3)
        samples = [parse_entry(END_TO_END, each.fields) for each in stream_of(client, END_TO_END)]
        assert all(each.stream == CONFIRMS and each.ms > 0 and each.agent == "arbitrage" for each in samples)  # type: ignore[attr-defined]
        assert len({each.hash for each in samples}) == 3  # type: ignore[attr-defined]

    def test_the_way_begins_when_the_event_was_emitted_and_not_when_the_store_had_it(
        self,
        client: "redis.Redis",
        publish,  # type: ignore[no-untyped-def]
    ) -> None:
        log = ListLog(2)
        bus = publish(log)
        assert bus.wait_for(1, WAIT)
        bus.announce(3, 2, time.monotonic() - 90)  # a store that took a minute and a half
        bus.announce(4)
        log.count = 5
        eventually(lambda: len(stream_of(client, END_TO_END)) == 3)
        samples = [parse_entry(END_TO_END, each.fields) for each in stream_of(client, END_TO_END)]
        slow, slower, quick = (each.ms for each in samples)  # type: ignore[attr-defined]
        assert slow >= 90_000
        assert slower >= 90_000
        assert quick < 90_000

    def test_records_outside_of_the_log(self, client: "redis.Redis", publish) -> None:  # type: ignore[no-untyped-def]
        bus = publish(ListLog(3))
        offered = [sample(number) for number in range(1500)]
        bus.offer(offered)
        bus.offer([sample(7)])  # older than what is there
        assert bus.wait_for(2, WAIT)
        assert stream_of(client, END_TO_END) == offered
        assert (bus.health().refused, bus.health().dropped) == (1, 0)


@needs_redis
class TestAfterTampering:
    """The connection stays; what Redis holds does not."""

    def test_an_emptied_redis_is_filled_again_while_idle(self, client: "redis.Redis", publish) -> None:  # type: ignore[no-untyped-def]
        log, reports = ListLog(900), Reports()
        bus = publish(log, reports)
        bus.offer([sample(1), sample(2)])
        assert bus.wait_for(899, WAIT)
        client.flushall()
        eventually(lambda: len(stream_of(client)) == 900 and len(stream_of(client, END_TO_END)) == 2)
        in_place(client, log)
        assert reports.said == ["the streams are filled again from the log"]
        assert bus.health().refills == 2

    def test_an_emptied_redis_is_filled_again_while_events_come(self, client: "redis.Redis", publish) -> None:  # type: ignore[no-untyped-def]
        log = ListLog(1)
        bus = publish(log)
        for count in range(2, 1000):
            log.count = count
            bus.announce(count - 1)
            if count % 300 == 0:
                client.flushall()
                assert bus.wait_for(count - 1, WAIT)
        eventually(lambda: len(stream_of(client)) == 999)
        in_place(client, log)
        assert bus.health().replaced == 0

    @pytest.mark.parametrize("key", [CONFIRMS, CURSOR])
    def test_a_single_key_that_is_lost_comes_back(self, client: "redis.Redis", publish, key: str) -> None:  # type: ignore[no-untyped-def]
        log = ListLog(600)
        bus = publish(log)
        assert bus.wait_for(599, WAIT)
        client.delete(key)
        log.count = 650
        bus.announce(649)
        eventually(lambda: len(stream_of(client)) == 650 and bus.wait_for(649, 0))
        in_place(client, log)
        assert bus.health().replaced == 0
        assert bus.health().already_there == (0 if key == CONFIRMS else 600)

    @pytest.mark.parametrize("places", [(3,), (400,), (3, 200), (9000,), (3, 9000)])  # before, among and after ours
    def test_entries_of_another_log_give_way(self, client: "redis.Redis", publish, places) -> None:  # type: ignore[no-untyped-def]
        for number in places:
            client.xadd(CONFIRMS, confirmation(number, price=1).to_fields(), id=f"{T0_MS + number}-0")  # type: ignore[arg-type]
        client.set(f"{ACTIVE}99", "{}")
        log, reports = ListLog(800), Reports()
        bus = publish(log, reports)
        assert bus.wait_for(799, WAIT)
        eventually(lambda: bus.health().replaced == 1 and stream_of(client) == log.records())
        in_place(client, log)
        assert any("another log" in said for said in reports.said)

    def test_an_entry_under_our_id_that_says_something_else_gives_way(self, client: "redis.Redis", publish) -> None:  # type: ignore[no-untyped-def]
        log = ListLog(20)
        for number, record in enumerate(log.records()):
            fields = confirmation(number, price=1).to_fields() if number == 7 else dict(record.fields)
            client.xadd(CONFIRMS, fields, id=str(record.id))  # type: ignore[arg-type]
        bus = publish(log)
        eventually(lambda: bus.health().replaced == 1 and stream_of(client) == log.records())
        in_place(client, log)

    def test_entries_after_our_last_one_are_not_ours(self, client: "redis.Redis", publish) -> None:  # type: ignore[no-untyped-def]
        other = ListLog(500)
        publish(other).close(WAIT)
        shorter = ListLog(300)  # the same log, less what was published of it: it must have been another
        bus = publish(shorter)
        eventually(lambda: stream_of(client) == shorter.records() and bus.health().replaced == 1)
        in_place(client, shorter)

    def test_the_next_day_goes_on_in_the_same_streams(self, client: "redis.Redis", publish) -> None:  # type: ignore[no-untyped-def]
        class NextDay(ListLog):
            def entry(self, number: int) -> StreamRecord:
                first = super().entry(number)
                return StreamRecord(CONFIRMS, EntryId(first.id.milliseconds + 86_400_000, number), first.fields)

        today = ListLog(100)
        publish(today).close(WAIT)
        tomorrow = NextDay(50, log="simulated/2026-03-02/bb")
        bus = publish(tomorrow)
        assert bus.wait_for(49, WAIT)
        assert stream_of(client) == today.records() + tomorrow.records()
        assert bus.health().replaced == 0

    def test_a_key_of_another_kind_in_the_place_of_a_stream(self, client: "redis.Redis", publish) -> None:  # type: ignore[no-untyped-def]
        client.set(CONFIRMS, "no stream")
        log = ListLog(20)
        bus = publish(log)
        eventually(lambda: client.type(CONFIRMS) == "stream" and bus.wait_for(19, 0))
        in_place(client, log)

    @pytest.mark.parametrize("text", ["", "{}", "no json", '{"log":1,"seq":"x","complete":true,"last_ids":[]}'])
    def test_a_cursor_that_nobody_wrote_is_no_cursor(self, client: "redis.Redis", publish, text: str) -> None:  # type: ignore[no-untyped-def]
        client.set(CURSOR, text)
        log = ListLog(20)
        assert publish(log).wait_for(19, WAIT)
        in_place(client, log)
        assert cursor_of(client).seq == 19


@needs_redis
class TestTransport:
    def test_a_verified_server_is_published_to(self, tmp_path: Path) -> None:
        certificates = self_made_certificates(tmp_path / "tls")
        with redis_server(tmp_path / "redis", "--save", "", certificates=certificates) as server:
            log = ListLog(50)
            bus = publisher(server.client(), log)
            assert bus.wait_for(49, WAIT)
            in_place(server.client(), log)
            bus.close()

    @pytest.mark.parametrize("wrong", ["authority", "host"])
    def test_a_server_that_cannot_prove_itself_gets_nothing(self, tmp_path: Path, wrong: str) -> None:
        host = "127.0.0.2" if wrong == "host" else "127.0.0.1"
        certificates = self_made_certificates(tmp_path / "tls", host)
        trusted = (
            self_made_certificates(tmp_path / "other").authority if wrong == "authority" else certificates.authority
        )
        with redis_server(tmp_path / "redis", "--save", "", certificates=certificates) as server:
            reports = Reports()
            bus = publisher(connect(f"rediss://127.0.0.1:{server.port}/0?ssl_ca_certs={trusted}"), ListLog(5), reports)
            eventually(lambda: bus.health().errors >= 2)
            health = bus.health()
            bus.close(0)
        assert (health.connected, health.published, health.last_error) == (False, 0, "ConnectionError")

    def test_a_password_is_never_in_what_is_said(self, tmp_path: Path) -> None:
        with redis_server(tmp_path, "--save", "", "--requirepass", "right") as server:
            reports = Reports()
            bus = publisher(connect(f"redis://:wrong-secret@127.0.0.1:{server.port}/0"), ListLog(5), reports)
            eventually(lambda: bus.health().errors >= 1)
            bus.close(0)
            assert bus.health().last_error == "AuthenticationError"
        assert "wrong-secret" not in f"{reports.said} {bus.health()}"


def test_signals_are_measured_too() -> None:
    assert {SIGNALS, CONFIRMS} == redis_bus.MEASURED
