"""A log of plain entries, and readers of what the bus made of it."""

import threading
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import redis

from resources.bus import Batch, CursorAhead, EntryId, KeyValue, StreamRecord
from resources.bus.redis_bus import Publisher
from resources.bus.streams import CONFIRMS, SIGNALS, Confirmation, EndToEnd
from resources.clock import ManualClock

T0_MS = 1_772_323_200_000  # 2026-03-01T00:00:00Z
STATE, COPY, ACTIVE = "strategy:portfolio:state", "strategy:monitor:portfolio_metrics", "strategy:trades:active:"


def confirmation(number: int, **changes: Any) -> Confirmation:
    fields: dict[str, Any] = {
        "order_id": f"paper_{number}",
        "symbol": "BTC/USD",
        "side": "buy",
        "strategy": "dual_leg_arbitrage",
        "status": "filled",
        "price": Decimal("50000.5"),
        "quantity": Decimal("0.25"),
        "time_ms": T0_MS + number // 3,
        "paper_mode": True,
        "execution_time_ms": Decimal("1.0"),
    }
    return Confirmation(**(fields | changes))


def entry(number: int) -> StreamRecord:
    """Entry ``number`` of the log; three of them share a millisecond."""
    return StreamRecord(CONFIRMS, EntryId(T0_MS + number // 3, number), confirmation(number).to_fields())


class ListLog:
    """A log whose event ``n`` makes entry ``n``, and a key that comes with an even number and goes with the next."""

    owned_prefixes = (ACTIVE,)

    def __init__(self, count: int = 0, log: str = "simulated/2026-03-01/aa") -> None:
        self.log = log
        self.count = count
        self.reads = 0

    def batch_after(self, seq: int, limit: int) -> Batch | None:
        self.reads += 1
        count = self.count
        if seq >= count:
            raise CursorAhead(str(seq))
        if seq + 1 == count:
            return None
        last = min(seq + limit, count - 1)
        records = tuple(self.entry(number) for number in range(seq + 1, last + 1))
        keys: dict[str, KeyValue | None] = {
            f"{ACTIVE}{number - number % 2}": None if number % 2 else KeyValue(b"{}")
            for number in range(seq + 1, last + 1)
        }
        keys |= dict.fromkeys((STATE, COPY), KeyValue(str(last).encode()))
        return Batch(last, records, keys, {CONFIRMS: records[-1].id})

    def entry(self, number: int) -> StreamRecord:
        return entry(number)

    def records(self) -> list[StreamRecord]:
        return [self.entry(number) for number in range(self.count)]


class Reports:
    """What the publisher said."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self._lock = threading.Lock()

    def __call__(self, sentence: str) -> None:
        with self._lock:
            self.said.append(sentence)


def clock() -> ManualClock:
    return ManualClock(datetime(2026, 3, 1, 12, tzinfo=UTC))


def publisher(client: "redis.Redis", log: Any, reports: Reports | None = None) -> Publisher:
    made = Publisher(client, log, clock(), reports or Reports())
    made.start()
    return made


def stream_of(client: "redis.Redis", stream: str = CONFIRMS) -> list[StreamRecord]:
    """Everything in the stream."""
    return [StreamRecord(stream, EntryId.parse(each), fields) for each, fields in client.xrange(stream)]


def sample(number: int, stream: str = SIGNALS) -> StreamRecord:
    """A record that is in no log."""
    fields = EndToEnd(T0_MS + number, Decimal(number), "test", stream, "0123abcd").to_fields()
    return StreamRecord("metrics:signals:e2e", EntryId(T0_MS + number, 0), fields)
