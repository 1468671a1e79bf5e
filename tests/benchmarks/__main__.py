"""Every promised figure of the desk in one table: ``python -m tests.benchmarks [--only NAME] [--fast]``.

A missed target is printed as MISSED and is no failure: figures depend on the machine, a test suite must not. Each
``bench_<name>.py`` beside this file offers ``measure()``, which returns (what, measured, target[, peer]) rows; each
runs in a fresh process, so that no bench pays for the memory or the imports of another.
"""

import argparse
import json
import multiprocessing
import os
import platform
import sys
import time
import traceback
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.benchmarks.figure import Figure, rows_of

_HEADINGS = ("what", "measured", "peer (same run)", "target", "verdict")


def benches() -> list[str]:
    """Names of the benches there are: ``lots`` for ``bench_lots.py``."""
    return sorted(path.stem.removeprefix("bench_") for path in Path(__file__).parent.glob("bench_*.py"))


def table(figures: list[Figure]) -> str:
    """The figures as aligned columns."""
    lines: list[tuple[str, ...]] = [_HEADINGS, *((f.what, f.measured, f.peer, f.target, f.verdict) for f in figures)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADINGS))]
    lines.insert(1, tuple("-" * width for width in widths))
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", action="append", choices=benches(), help="run this bench alone (may be repeated)")
    parser.add_argument("--fast", action="store_true", help="shorter runs: less data, noisier figures")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows to FILE")
    options = parser.parse_args()

    figures: list[Figure] = []
    crashed = []
    spawn = multiprocessing.get_context("spawn")
    for name in options.only or benches():
        began = time.monotonic()
        try:
            with ProcessPoolExecutor(1, mp_context=spawn) as process:
                figures += process.submit(rows_of, name, options.fast).result()
        except Exception:  # the other benches still have something to say
            traceback.print_exc()
            crashed.append(name)
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)

    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}\n")
    print(table(figures))
    if crashed:
        print(f"\ncrashed, so without figures: {', '.join(crashed)}")
    if options.json:
        options.json.write_text(json.dumps([{**f._asdict(), "verdict": f.verdict} for f in figures], indent=1) + "\n")
    return 1 if crashed else 0


if __name__ == "__main__":
    sys.exit(main())
