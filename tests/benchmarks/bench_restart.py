"""How long a trader that is begun again waits for its log, which lies in many small objects in a store 20 ms away.

The peer is the same store read one object after another, in the same run.
"""

import time
from itertools import islice

from assets.arbitrage.journal import Journal
from assets.arbitrage.session import Session, day_key, stored_events
from tests.benchmarks.figure import Figure
from tests.faults.distant_store import DistantStore
from tests.memory_store import MemoryStore
from tests.trading_parts import DAY, ScriptedFeed, desk_of, evenings, traded_through

AWAY = 0.020  # seconds a read takes
SEGMENTS, FEW = 300, 100
SEED = 9


def measure(fast: bool = False) -> list[Figure]:
    feed, whole, inner = ScriptedFeed(evenings(SEED)), MemoryStore(), MemoryStore()
    traded_through(desk_of(whole, feed))
    segments = FEW if fast else SEGMENTS
    journal = Journal.open(inner, day_key(feed.source, DAY, "log"))
    for event in islice(stored_events(whole, feed.source, DAY), segments):
        journal.append([event])

    def begun_again(reads_at_once: int) -> tuple[float, DistantStore]:
        store = DistantStore(inner, AWAY, reads_at_once)
        began = time.perf_counter()
        Session(desk_of(store, feed), DAY, 0)
        return time.perf_counter() - began, store

    ahead, store = begun_again(16)
    one_by_one, _ = begun_again(1)
    return [
        Figure(
            f"a trader begun again from {segments} segments 20 ms away, against reading one by one",
            f"{one_by_one / ahead:.1f}x ({ahead:.2f} s)",
            ">= 5x",
            f"{one_by_one:.2f} s",
        ),
        Figure("a trader begun again: reads of each segment", f"{max(store.reads.values())}", "1"),
    ]
