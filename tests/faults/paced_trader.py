"""A resident trader as a process of its own, which goes through its evening no faster than a test lets it."""

import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]
SEED = 9
PATIENCE_S = 120.0

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


def start_trader(folder: Path, begin: float) -> "subprocess.Popen[bytes]":
    """A trader on the store in ``folder``, ``begin`` seconds before midnight."""
    return subprocess.Popen(
        [sys.executable, "-c", _TRADER, str(folder), str(SEED), str(begin)],
        bufsize=0,
        cwd=PROJECT,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
