"""Walk-forward over five years of recorded hourly bitcoin: all features, gate, bias and costs, as configured.

The wall clock counts everything from an empty store to the last stored report, the start of the workers included.
"""

import os
import tempfile
import time
from datetime import date

from assets.research.research_desk import open_research_desk
from assets.research.validation_runs import available_folds, run
from resources.settings import Settings
from tests.benchmarks.figure import Figure

SYMBOL = "BTCUSDT"
UNTIL, DAYS = date(2025, 1, 1), 1950


def measure(fast: bool = False) -> list[Figure]:
    """``fast`` takes the last twelve folds, on which the start of the workers weighs more."""
    what = f"walk-forward, {'the last folds' if fast else 'five years'} of hourly {SYMBOL}"
    bars = Settings().test_data / "bars_1h" / "perp" / f"{SYMBOL}.parquet"
    if not bars.exists():
        return [Figure(what, f"not measured: no {bars}", "<= 120 s")]
    before = os.getloadavg()[0]
    # In turns, the quicker of two runs each: the machine may have other work.
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(1 if fast else 2):
        for workers, took in seconds.items():
            count, second = _run(workers, 12 if fast else None)
            took.append(second)
    one, two = min(seconds[1]), min(seconds[2])
    load = f"load {before:.1f} before, {os.getloadavg()[0]:.1f} after, {os.cpu_count()} cores"
    return [
        Figure(f"{what}: {count} folds, 2 workers", f"{two:.1f} s ({load})", "<= 120 s"),
        Figure(f"{what}: 2 workers against 1", f"{one / two:.2f}x (1 worker {one:.1f} s)", ">= 1.6x"),
    ]


def _run(workers: int, newest: int | None) -> tuple[int, float]:
    """How many folds, and the seconds they took."""
    with tempfile.TemporaryDirectory() as store:
        settings = Settings(store=store, history=f"recorded:{Settings().test_data}", research_history_days=DAYS)
        research = open_research_desk(settings).research
        began = time.monotonic()
        folds = available_folds(research, SYMBOL, UNTIL)
        folds = folds[-newest:] if newest else folds
        reports = list(run(research, SYMBOL, folds, workers))
        took = time.monotonic() - began
    if refused := [report["refused"] for report in reports if "refused" in report]:
        raise RuntimeError(f"folds refused: {refused}")
    return len(folds), took
