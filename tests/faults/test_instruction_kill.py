"""The resident trader killed by the system around the moment that it takes instructions: none is lost or doubled."""

import os
import random
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

from assets.arbitrage import trading_day
from assets.arbitrage.events import FlowPosted, InstructionRefused
from assets.arbitrage.instructions import TAKEN, Kind, give
from assets.arbitrage.properties import PROPERTIES
from assets.arbitrage.session import closing_of, portfolio_before, stored_events
from resources.store.local import LocalStore
from tests.trading_parts import DAY, NEXT_DAY, ScriptedFeed, desk_of, evenings

PROJECT = Path(__file__).parents[2]
SEED = 9
KILLS = 4
_PATIENCE_S = 120.0

# Its clock goes a quarter of a second with every step. Each second of the day it says so, and waits to be sent on.
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


def test_killed_around_instructions_each_is_one_event_and_the_day_comes_out_again(tmp_path: Path) -> None:
    store, draw = LocalStore(tmp_path / "store"), random.Random(11)
    left, amounts = 100.0, []
    for _ in range(KILLS):
        process = _start(tmp_path / "store", left)
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(draw.randint(2, 5)):
            left = float(process.stdout.readline())
            process.stdin.write(b"\n")
        left = float(process.stdout.readline())
        # Two are given while it waits. It takes them with its next step, and dies before, meanwhile or soon afterwards.
        for kind, amount in (
            (Kind.DEPOSIT, Decimal(draw.randint(1, 10**9)).scaleb(-6)),
            (Kind.WITHDRAW, Decimal(10**9)),
        ):
            amounts.append(amount)
            give(store, "SIMULATED", kind, amount, "", 1)
        process.stdin.write(b"\n")
        time.sleep(draw.uniform(0, 0.03))
        process.send_signal(signal.SIGKILL)
        assert process.wait(_PATIENCE_S) == -signal.SIGKILL
        process.stdin.close()
        process.stdout.close()
        assert closing_of(store, "SIMULATED", DAY) is None, "the kill came too late to prove anything"
    process = _start(tmp_path / "store", left)
    process.communicate(b"\n" * 500, timeout=_PATIENCE_S)
    assert process.returncode == 0

    events = list(stored_events(store, "SIMULATED", DAY))
    taken = [event for event in events if isinstance(event, TAKEN)]
    assert [event.instruction for event in taken] == list(range(1, 2 * KILLS + 1))
    assert [type(event) for event in taken] == [FlowPosted, InstructionRefused] * KILLS
    assert [event.amount for event in taken if isinstance(event, FlowPosted)] == amounts[::2]
    closing = closing_of(store, "SIMULATED", DAY)
    assert closing is not None
    assert (closing["state"]["taken"], closing["state"]["net_flows"]) == (2 * KILLS, sum(amounts[::2]))
    assert trading_day.log_replays(trading_day.StoredDay(desk_of(store, ScriptedFeed(evenings(SEED))), DAY)) == []
    for judge in PROPERTIES:
        assert judge(events, portfolio_before(store, events[0])) == [], judge.__name__  # type: ignore[arg-type]
    following = list(stored_events(store, "SIMULATED", NEXT_DAY))
    assert following[0].carried_day == DAY  # type: ignore[union-attr]
    assert not [event for event in following if isinstance(event, TAKEN)], "the next day takes none of them again"
