"""The trading monitor with 200 open trades: what share of a core it takes in a real terminal.

A trader made up here writes a view with every number changed each second; ``desk monitor`` runs as a process of its own
in a pseudo terminal whose output is read and thrown away. Measured is the CPU time of that process over the interval,
the start not included; beside it, what the process takes when the trader says nothing.
"""

import os
import pty
import random
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from datetime import UTC, datetime
from decimal import Decimal
from fcntl import ioctl
from pathlib import Path

from assets.arbitrage.model import PortfolioMetrics
from assets.arbitrage.view import (
    ActiveRow,
    CapitalPoint,
    ExitRow,
    OpportunityRow,
    TraderView,
    live_document,
    live_key,
)
from resources.documents import dump_document
from resources.store import Store, open_store
from tests.benchmarks.figure import Figure

TRADES = 200
SECONDS = 20
TARGET = "<= 5 %"
_START_SECONDS = 5
_ROWS, _COLUMNS = 40, 120


def measure(fast: bool = False) -> list[Figure]:
    seconds = 8 if fast else SECONDS
    busy, written = _share(seconds, changing=True)
    quiet, _ = _share(seconds, changing=False)
    what = f"monitor with {TRADES} trades, share of a core over {seconds} s"
    return [
        Figure(f"{what}, every number changing each second", f"{busy:.1%}".replace("%", " %"), TARGET),
        Figure(f"{what}, nothing changing", f"{quiet:.1%}".replace("%", " %"), TARGET),
        Figure("bytes to the terminal each second", f"{written / seconds / 1000:,.1f} KB", ""),
    ]


def made_up_view(seed: int, now_ns: int) -> TraderView:
    """``TRADES`` open trades whose numbers follow ``seed``, and full lists of everything else a view carries."""
    draw = random.Random(seed)
    names = [f"A{number}USDT" for number in range(TRADES)]
    active = tuple(
        ActiveRow(
            f"t{number}", name, "binance", "bybit", now_ns, Decimal(draw.randint(20, 200)) / 10,
            Decimal(draw.randint(-50, 200)) / 10, Decimal(draw.randint(-5000, 9000)) / 100, Decimal(30), Decimal(100),
            Decimal("0.01"), Decimal("0.0001"), "Active", (),
        )
        for number, name in enumerate(names)
    )  # fmt: skip
    exits = tuple(
        ExitRow(f"x{number}", names[number], "binance", "bybit", "Closed", Decimal("12.5"), "profit_target", now_ns, 1)
        for number in range(50)
    )
    parts = (("spread", 50), ("funding", 20), ("depth", 9), ("freshness", 9))
    opportunities = tuple(
        OpportunityRow(
            names[number], "binance", "bybit", Decimal("100.1"), Decimal("100.2"), Decimal("100.9"), Decimal(101),
            Decimal("69.86027944"), Decimal("39.1"), Decimal("0.0002"), 88, parts, now_ns, "", now_ns, None, "",
        )
        for number in range(50)
    )  # fmt: skip
    capital = tuple(
        CapitalPoint(now_ns - minute * 60 * 10**9, Decimal("15000.12"), Decimal(5000), Decimal("20250.12"))
        for minute in reversed(range(1440))
    )
    metrics = PortfolioMetrics(
        5, Decimal("0.8"), Decimal(250), Decimal("0.0125"), Decimal(15_000), Decimal("0.25"), Decimal("0.247"), 1,
        None, Decimal("1.2"), None, True,
    )  # fmt: skip
    return TraderView(
        "SIMULATED", "2026-11-21", seed, now_ns, Decimal(20_000), Decimal(0), Decimal(5000), Decimal(20_300),
        Decimal(50), metrics, "", active, exits, opportunities, opportunities, (), capital, (("binance", now_ns),),
        (), 0, (),
    )  # fmt: skip


def _share(seconds: int, *, changing: bool) -> tuple[float, int]:
    """CPU seconds per second of the monitor's process, and the bytes it wrote meanwhile."""
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(folder)
        _write(store, 0)
        process, screen = _monitor(folder)
        written = 0
        try:
            began = time.monotonic()
            cpu = None
            second = 0
            while (elapsed := time.monotonic() - began) < _START_SECONDS + seconds:
                if elapsed >= _START_SECONDS and cpu is None:
                    cpu, since, written = _cpu_seconds(process.pid), time.monotonic(), 0
                if changing and elapsed >= second:
                    second += 1
                    _write(store, second)
                written += _drained(screen)
                time.sleep(0.05)
            assert cpu is not None
            return (_cpu_seconds(process.pid) - cpu) / (time.monotonic() - since), written
        finally:
            process.send_signal(signal.SIGTERM)
            # A terminal that nobody reads would keep the process from ending.
            drain = threading.Thread(target=lambda: _until_closed(screen), daemon=True)
            drain.start()
            process.wait(10)
            os.close(screen)


def _write(store: Store, seed: int) -> None:
    view = made_up_view(seed, time.time_ns())
    store.write(live_key("SIMULATED"), dump_document(live_document(view, datetime.now(UTC))))


def _monitor(folder: str) -> tuple[subprocess.Popen[bytes], int]:
    """The monitor's process on the store in ``folder``, and our end of its terminal."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
    environment = os.environ | {"DESK_STORE": folder, "DESK_FEED": "simulated", "TERM": "xterm-256color"}
    process = subprocess.Popen(
        [sys.executable, "-c", "from pipelines.arbitrage_cli import monitor; monitor()"],
        stdin=theirs, stdout=theirs, stderr=theirs, env=environment, cwd=Path(__file__).parents[2],
        start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    os.set_blocking(ours, False)
    return process, ours


def _drained(screen: int) -> int:
    count = 0
    while True:
        try:
            data = os.read(screen, 65536)
        except BlockingIOError:
            return count
        count += len(data)


def _until_closed(screen: int) -> None:
    try:
        while True:
            _drained(screen)
            time.sleep(0.05)
    except OSError:  # the other end is closed
        return


def _cpu_seconds(pid: int) -> float:
    """User and system time of a process so far (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
