"""The resident trader killed by the system in the middle of its evening, again and again: the day stays the same."""

import random
import signal
import time
from pathlib import Path

from assets.arbitrage.properties import PROPERTIES
from assets.arbitrage.session import closing_of, portfolio_before, stored_events
from resources.store.local import LocalStore
from tests.faults.paced_trader import PATIENCE_S, SEED, start_trader
from tests.memory_store import MemoryStore
from tests.trading_parts import (
    DAY,
    NEXT_DAY,
    ScriptedFeed,
    closing_bytes,
    desk_of,
    evenings,
    stored_log,
    traded_through,
)

KILLS = 5


def test_killed_by_the_system_at_random_moments_the_day_is_the_same_to_the_byte(tmp_path: Path) -> None:
    whole = MemoryStore()
    traded_through(desk_of(whole, ScriptedFeed(evenings(SEED))))
    store, draw = LocalStore(tmp_path / "store"), random.Random(5)
    left, grown = 100.0, [0]
    for number in range(KILLS):
        process = start_trader(tmp_path / "store", left)
        assert process.stdin is not None
        assert process.stdout is not None
        # It lives for some seconds of the day, and dies somewhere in the next one.
        for _ in range(draw.randint(4, 14)):
            left = float(process.stdout.readline())
            process.stdin.write(b"\n")
        time.sleep(draw.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        assert process.wait(PATIENCE_S) == -signal.SIGKILL
        process.stdin.close()
        process.stdout.close()
        assert closing_of(store, "SIMULATED", DAY) is None, f"kill {number} came too late to prove anything"
        log = stored_log(store)
        assert stored_log(whole).startswith(log), f"kill {number} tore the log"
        grown.append(len(log))
    assert grown == sorted(grown), "nothing stored was lost"
    assert len(set(grown)) > KILLS // 2, "it had gone on; some seconds of the evening have no event"
    process = start_trader(tmp_path / "store", left)
    process.communicate(timeout=PATIENCE_S)  # what it reads has an end: it waits for nobody any more
    assert process.returncode == 0
    assert stored_log(store) == stored_log(whole)
    assert closing_bytes(store) == closing_bytes(whole)
    following = next(stored_events(store, "SIMULATED", NEXT_DAY))
    assert following.carried_day == DAY  # type: ignore[union-attr]
    events = list(stored_events(store, "SIMULATED", DAY))
    for judge in PROPERTIES:
        assert judge(events, portfolio_before(store, events[0])) == [], judge.__name__  # type: ignore[arg-type]
