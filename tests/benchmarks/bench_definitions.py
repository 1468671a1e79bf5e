"""How long a fresh process takes to load what Dagster loads, from its start to resolved jobs and sensors."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

from tests.benchmarks.figure import Figure

_ROOT = Path(__file__).parents[2]
_RUNS = 5
# Resolving the repository is what a code location does on top of building the definitions.
_LOAD = "from pipelines.definitions import defs; assert defs().get_repository_def().get_all_jobs()"
# What of that is Dagster itself, whatever it is asked to load.
_EMPTY = "import dagster; dagster.Definitions().get_repository_def()"


def measure(fast: bool = False) -> list[Figure]:
    runs = 2 if fast else _RUNS
    loading, empty = [], []
    for _ in range(runs + 1):
        loading.append(_seconds(_LOAD))
        empty.append(_seconds(_EMPTY))
    del loading[0], empty[0]  # the first run fills the caches of compiled modules
    return [
        Figure(
            f"loading the Dagster definitions, fresh process, best of {runs}",
            f"{min(loading):.2f} s (median {statistics.median(loading):.2f})",
            "<= 3 s",
            f"dagster without definitions {min(empty):.2f} s",
        )
    ]


def _seconds(code: str) -> float:
    """Wall time of a process that runs ``code``."""
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], cwd=_ROOT, capture_output=True, text=True, check=False)
    took = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(f"the process failed:\n{done.stderr[-2000:]}")
    return took
