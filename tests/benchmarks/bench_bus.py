"""From the decision to the reader through a real Redis on this machine, and how fast a log is published.

The trader's side is the real one: event log, outbox, projection, publisher's thread. The reader waits in a process of
its own (blocking XREAD), and both clocks are the machine's monotonic one.
"""

import multiprocessing
import shutil
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

from assets.arbitrage.events import Event, SessionOpened
from assets.arbitrage.outbox import Outbox
from assets.arbitrage.publication import Publication
from resources.bus.redis_bus import Publisher, connect
from resources.bus.streams import CONFIRMS, SIGNALS
from resources.clock import SystemClock
from tests.arbitrage_parts import LogWriter
from tests.benchmarks.figure import Figure
from tests.redis_server import RedisServer, redis_server

PREDECESSOR = "predecessor: 320 ms (stored trial of brief 4)"
PACE_S = 0.004  # between events: 250 a second, more than a trader of two venues makes


def measure(fast: bool = False) -> list[Figure]:
    if shutil.which("redis-server") is None:
        return [Figure("publish to read through Redis", "redis-server is not installed", "<= 5 ms p95", PREDECESSOR)]
    events = _log(40 if fast else 200)
    with tempfile.TemporaryDirectory() as scratch, redis_server(Path(scratch)) as server:
        waits = sorted(_publish_to_read(server, events))
        server.client().flushall()
        many = _log(400 if fast else 2_000)
        events_s, records_s = _throughput(server, many)
    p50, p95, p99 = (waits[min(len(waits) - 1, int(len(waits) * share))] * 1e3 for share in (0.5, 0.95, 0.99))
    return [
        Figure(
            f"publish to read through Redis, p95 of {len(waits):,} entries at {1 / PACE_S:.0f} events/s",
            f"{p95:.2f} ms (p50 {p50:.2f}, p99 {p99:.2f})",
            "<= 5 ms",
            PREDECESSOR,
        ),
        Figure(f"a log of {len(many):,} events published from its start", f"{events_s:,.0f} events/s", ""),
        Figure("the same in stream entries", f"{records_s:,.0f} entries/s", ""),
    ]


def _log(trades: int) -> list[Event]:
    log = LogWriter()
    for _ in range(trades):
        log.wait(1_000_000_000)
        log.closed_trade(exit=("100.5", "101.4"))
    return log.events


def _publication(events: list[Event], box: Outbox) -> Publication:
    first = events[0]
    assert isinstance(first, SessionOpened)
    return Publication(first, box.events_after)


def _publish_to_read(server: RedisServer, events: list[Event]) -> list[float]:
    """Seconds from announcing each event that makes an entry to its arrival at the reader."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    reader = spawn.Process(target=_read, args=(server.url, theirs))
    reader.start()
    box = Outbox(lambda: iter(()), -1, kept=len(events))
    bus = Publisher(connect(server.url), _publication(events, box), SystemClock(), lambda _: None)
    bus.start()
    ours.recv()
    announced = {}
    for event in events:
        time.sleep(PACE_S)
        announced[event.seq] = time.monotonic()
        box.add([event])
        bus.announce(event.seq)
    assert bus.wait_for(events[-1].seq, 60)
    bus.close()
    ours.send(None)
    arrived: dict[int, float] = ours.recv()
    reader.join()
    return [at - announced[seq] for seq, at in arrived.items()]


def _read(url: str, connection: Connection) -> None:
    """The reader's process: when the entry of each event arrived."""
    client = connect(url)
    arrived: dict[int, float] = {}
    after = {SIGNALS: "0-0", CONFIRMS: "0-0"}
    client.ping()
    connection.send(None)
    while not connection.poll():
        for stream, entries in client.xread(after, block=200) or []:
            now = time.monotonic()
            for entry_id, _ in entries:
                arrived[int(entry_id.rpartition("-")[2])] = now
                after[stream] = entry_id
    connection.send(arrived)


def _throughput(server: RedisServer, events: list[Event]) -> tuple[float, float]:
    """Events and stream entries a second, from nothing to all of the log."""
    box = Outbox(lambda: iter(events), events[-1].seq)
    bus = Publisher(connect(server.url), _publication(events, box), SystemClock(), lambda _: None)
    began = time.perf_counter()
    bus.start()
    assert bus.wait_for(events[-1].seq, 120)
    seconds = time.perf_counter() - began
    published = bus.health().published
    bus.close()
    return len(events) / seconds, published / seconds
