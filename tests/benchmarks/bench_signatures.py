"""Path signatures beside pysiglib and iisignature: a batch, rolling windows, and one bar at a time.

All get the same float64 arrays and one thread. Peers roll by taking the windows of a year stacked beforehand, which is
not timed. Times are the least of the repeats, on the wall clock; other work on the machine only ever adds to them.
"""

import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from assets.research.bad_input import Floats
from assets.research.signatures.log_signature import rolling_log_signature
from assets.research.signatures.path_signature import signature
from assets.research.signatures.rolling import rolling_signature, window_features
from assets.research.signatures.stream import SignatureStream
from tests.benchmarks.figure import Figure
from tests.benchmarks.peer_environment import python_with

ORDER, WINDOW, CHANNELS = 3, 72, 3
PATHS, HOURS = 1_000, 8_760
# Far beyond order 3, where nothing is unrolled: two channels.
DEEP = 7
# A stream of the peer's recomputes each window; a few weeks of it say enough.
STREAMED = 1_000

_PEERS = {
    "pysiglib": [["torch==2.13.0", "pysiglib==4.0.0"]],
    # Published as source only, which builds against the numpy it finds.
    "iisignature": [["numpy", "setuptools", "wheel"], ["--no-build-isolation", "iisignature==0.24"]],
}
_CALLS = [
    ("signature", "paths", ORDER),
    ("signature", "path", ORDER),
    ("signature", "windows", ORDER),
    ("signature", "deep", DEEP),
    ("log", "windows", ORDER),
    ("stream", "walk", ORDER),
]


def measure(fast: bool = False) -> list[Figure]:
    repeats = 10 if fast else 40
    random = np.random.default_rng(0)
    paths = random.normal(scale=0.1, size=(PATHS, WINDOW, CHANNELS)).cumsum(axis=1)
    year = random.normal(scale=0.1, size=(HOURS, CHANNELS)).cumsum(axis=0)
    windows = np.lib.stride_tricks.sliding_window_view(year, WINDOW, axis=0).transpose(0, 2, 1).copy()
    inputs = {"paths": paths, "path": paths[0], "windows": windows, "walk": year[:STREAMED],
              "deep": random.normal(scale=0.1, size=(100, 1_000, 2)).cumsum(axis=1)}  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        for name, values in inputs.items():
            np.save(Path(folder) / f"{name}.npy", values)
        peers = {name: _ask(name, folder, repeats) for name in _PEERS}
        rolled = rolling_signature(year, WINDOW, ORDER)
        ours = {("signature", "paths"): signature(paths, ORDER), ("signature", "windows"): rolled,
                ("log", "windows"): rolling_log_signature(year, WINDOW, ORDER)}  # fmt: skip
        agreement = _agreement(Path(folder), ours)
    deep = _seconds(lambda: signature(inputs["deep"], DEEP), repeats)
    batch = _seconds(lambda: signature(paths, ORDER), repeats)
    one = _seconds(lambda: signature(paths[0], ORDER), 10 * repeats)
    rolling = _seconds(lambda: rolling_signature(year, WINDOW, ORDER), repeats)
    logs = _seconds(lambda: rolling_log_signature(year, WINDOW, ORDER), repeats)
    features = _seconds(lambda: window_features(year[:, 0], WINDOW, ORDER), repeats)
    bars, closing = _stream_seconds(year)
    error = np.abs(rolled - signature(windows, ORDER)).max()
    of_batch, of_windows = f"{PATHS:,} paths of {WINDOW} points", f"{HOURS:,} points, windows of {WINDOW}"
    return [
        _ratio(f"signatures of {of_batch}: times the speed of", "pysiglib", batch, peers, "signature-paths", ">= 1x"),
        _ratio(
            f"signatures of {of_batch}: times the speed of", "iisignature", batch, peers, "signature-paths", ">= 8x"
        ),
        _ratio(f"rolling, {of_windows}: times the speed of", "pysiglib", rolling, peers, "signature-windows", ">= 5x"),
        _ratio(f"rolling, {of_windows}: times the speed of", "iisignature", rolling, peers, "signature-windows", ""),
        Figure("rolling, largest error against each window alone, in 1e-15", f"{error * 1e15:.1f}", "<= 1000"),
        Figure("largest difference from the peers on the same input, in 1e-15", agreement, ""),
        _ratio(f"rolling log-signatures, {of_windows}: times the speed of", "pysiglib", logs, peers, "log-windows", ""),
        Figure(f"decision features (time, log price), {of_windows}", _text(features), ""),
        _ratio("one path of 72 points: times the speed of", "pysiglib", one, peers, "signature-path", ""),
        _ratio("one path of 72 points: times the speed of", "iisignature", one, peers, "signature-path", ""),
        _ratio(
            "100 paths of 1,000 points, d=2, order 7: times the speed of", "pysiglib", deep, peers, "signature-deep", ""
        ),
        Figure("stream, one new bar, mean of a year", f"{bars * 1e6:.1f} us", "<= 10 us", _streamed(peers)),
        Figure("stream, a bar that closes a block, median", f"{closing * 1e6:.1f} us", "<= 10 us"),
    ]


def _ratio(
    what: str, peer: str, ours: list[float], peers: dict[str, dict[str, list[float]] | None], call: str, target: str
) -> Figure:
    answer = peers[peer]
    if answer is None:
        return Figure(f"{what} {peer}", _text(ours), "", f"{peer} not installed")
    theirs = answer[call]
    return Figure(
        f"{what} {peer}", f"{min(theirs) / min(ours):.1f}x ({_text(ours)})", target, f"{peer} {_text(theirs)}"
    )


def _streamed(peers: dict[str, dict[str, list[float]] | None]) -> str:
    answer = peers["pysiglib"]
    if answer is None:
        return "pysiglib not installed"
    return f"pysiglib {min(answer['stream-walk']) / STREAMED * 1e6:.1f} us, recomputing each window"


def _text(seconds: list[float]) -> str:
    return f"{min(seconds) * 1e3:.3g} ms, median {median(seconds) * 1e3:.3g}"


def _agreement(folder: Path, ours: dict[tuple[str, str], Floats]) -> str:
    """Against whatever results the peers left in ``folder``."""
    found = [
        np.abs(np.load(result) - expected).max()
        for (task, given), expected in ours.items()
        for result in folder.glob(f"{task}-{given}-*.npy")
    ]
    return f"{max(found) * 1e15:.1f}" if found else "no peer installed"


def _seconds(call: Callable[[], Any], repeats: int) -> list[float]:
    call()  # compiles, or loads what was compiled
    took = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        took.append(time.perf_counter() - began)
    return took


def _stream_seconds(year: Floats) -> tuple[float, float]:
    """Seconds of a bar on average, least of five years; and the median of the bars that close a block of windows."""
    means, closings = [], []
    for _ in range(5):
        stream = SignatureStream(CHANNELS, WINDOW, ORDER)
        took = []
        for point in list(year):
            began = time.perf_counter()
            stream.push(point)
            took.append(time.perf_counter() - began)
        means.append(sum(took) / len(took))
        closings.append(median(took[WINDOW - 1 :: WINDOW - 1]))
    return min(means), min(closings)


def _ask(name: str, folder: str, repeats: int) -> dict[str, list[float]] | None:
    """Seconds of each repeat by task and input, from the peer's script in the peer's environment; None without it."""
    python = python_with(name, *_PEERS[name])
    if python is None:
        return None
    question = {"folder": folder, "repeats": repeats, "calls": _CALLS}
    script = Path(__file__).parent / "peers" / f"run_{name}.py"
    done = subprocess.run([python, script], input=json.dumps(question), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name} failed:\n{done.stderr[-2000:]}")
    answer: dict[str, list[float]] = json.loads(done.stdout)
    return answer
