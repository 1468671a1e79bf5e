"""The resident trader killed by the system in the middle of its evening, again and again: the day stays the same."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from assets.arbitrage.properties import PROPERTIES
from assets.arbitrage.session import closing_of, portfolio_before, stored_events
from resources.store.local import LocalStore
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

PROJECT = Path(__file__).parents[2]
SEED = 9
KILLS = 5
_PATIENCE_S = 120.0

# Its clock goes a quarter of a second with every step; it tells of each second of the day, and waits to be sent on.
_TRADER = """
import sys, threading
from datetime import timedelta
from pipelines.trader import run
from resources.store.local import LocalStore
from tests.trading_parts import NEXT_DAY, ScriptedFeed, at, desk_of, evenings

folder, seed, begin = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
desk = desk_of(LocalStore(folder), ScriptedFeed(evenings(seed)), now=at(NEXT_DAY) - timedelta(seconds=begin))

class Stop(threading.Event):
    def wait(self, timeout=None):
        desk.clock.sleep(timeout)
        now = desk.clock.now()
        if not now.microsecond:
            print((at(NEXT_DAY) - now).total_seconds(), flush=True)
            sys.stdin.readline()
        if now >= at(NEXT_DAY, 3):
            self.set()
        return self.is_set()

run(desk, Stop())
"""


def _start(folder: Path, begin: float) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-c", _TRADER, str(folder), str(SEED), str(begin)],
        bufsize=0,
        cwd=PROJECT,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def test_killed_by_the_system_at_random_moments_the_day_is_the_same_to_the_byte(tmp_path: Path) -> None:
    whole = MemoryStore()
    traded_through(desk_of(whole, ScriptedFeed(evenings(SEED))))
    store, draw = LocalStore(tmp_path / "store"), random.Random(5)
    left, grown = 100.0, [0]
    for number in range(KILLS):
        process = _start(tmp_path / "store", left)
        assert process.stdin is not None
        assert process.stdout is not None
        # It lives for some seconds of the day, and dies somewhere in the next one.
        for _ in range(draw.randint(4, 14)):
            left = float(process.stdout.readline())
            process.stdin.write(b"\n")
        time.sleep(draw.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        assert process.wait(_PATIENCE_S) == -signal.SIGKILL
        process.stdin.close()
        process.stdout.close()
        assert closing_of(store, "SIMULATED", DAY) is None, f"kill {number} came too late to prove anything"
        log = stored_log(store)
        assert stored_log(whole).startswith(log), f"kill {number} tore the log"
        grown.append(len(log))
    assert grown == sorted(grown), "nothing stored was lost"
    assert len(set(grown)) > KILLS // 2, "it had gone on; some seconds of the evening have no event"
    process = _start(tmp_path / "store", left)
    process.communicate(timeout=_PATIENCE_S)  # what it reads has an end: it waits for nobody any more
    assert process.returncode == 0
    assert stored_log(store) == stored_log(whole)
    assert closing_bytes(store) == closing_bytes(whole)
    following = next(stored_events(store, "SIMULATED", NEXT_DAY))
    assert following.carried_day == DAY  # type: ignore[union-attr]
    events = list(stored_events(store, "SIMULATED", DAY))
    for judge in PROPERTIES:
        assert judge(events, portfolio_before(store, events[0])) == [], judge.__name__  # type: ignore[arg-type]
