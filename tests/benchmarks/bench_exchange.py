"""A simulated stream of quotes and trades through the venue, with our orders resting in it; and a book walked.

The peers get the same stream and the same orders: one at the best price each half second, in place of the one before,
through a queue model where they have one. hftbacktest is compiled code that holds floats; nautilus_trader is compiled
code with a whole trading engine around its venue (its first 300,000 events, once); ours is the venue and its clock
alone, in pure Python and exact integers. Speeds are CPU time, the best of the repeats.
"""

import json
import subprocess
import tempfile
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from assets.arbitrage.exchange import Exchange, Filled
from assets.arbitrage.model import OrderSide
from assets.arbitrage.order_book import BookError, walk
from assets.arbitrage.rules import MILLISECOND, Rules
from assets.arbitrage.timers import Rank, Timers
from resources.feed import UNITS, Depth, Listing, Quote, Trade
from tests.benchmarks.figure import Figure
from tests.benchmarks.peer_environment import python_with

EVENTS = 1_000_000
LATENCY = 5 * MILLISECOND
PAUSE = 500 * MILLISECOND  # between orders: 2,000 of them in a million events of a millisecond each
LOTS = 50  # of 0.001, each order
LEVELS = 20

_TICK, _LOT = UNITS // 10, UNITS // 1000
_PEERS = Path(__file__).parent / "peers"
_HFTBACKTEST = [["numpy==2.4.6", "numba==0.68.1"], ["--no-deps", "hftbacktest==2.4.4"]]
_NOT_INSTALLED = "peer not installed"

Events = list[Quote | Trade | Depth]


def measure(fast: bool = False) -> list[Figure]:
    count, repeats = (200_000, 2) if fast else (EVENTS, 3)
    stream = _stream(count)
    events = _events(stream)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stream.npy"
        np.save(path, stream)
        question = {"stream": str(path), "latency_ns": LATENCY, "pause_ns": PAUSE, "lots": LOTS}
        hft = _ask("run_hftbacktest", "hftbacktest", _HFTBACKTEST, {**question, "repeats": repeats})
        nautilus = _ask(
            "run_nautilus_replay",
            "nautilus_trader",
            [[_requirement("nautilus_trader")]],
            {**question, "events": min(count, 300_000)},
        )
    asks, size, _ = _asks()
    freqtrade = _ask(
        "run_freqtrade_walk", "freqtrade", [[_requirement("freqtrade")]],
        {"levels": [[price / UNITS, shown / UNITS] for price, shown in asks], "amount": size / UNITS},
    )  # fmt: skip
    quiet = min(_replay(events, orders=False)[0] for _ in range(repeats))
    runs = [_replay(events, orders=True) for _ in range(repeats)]
    busy, counts = min(seconds for seconds, _ in runs), runs[0][1]
    books = _books(count // 4)
    depth = min(_replay(books, orders=True)[0] for _ in range(repeats))
    what = f"{count:,} quotes and trades, queue model on, {counts['sent']:,} orders ({counts['filled']:,} fills)"
    ours = f"{count / busy:,.0f} events/s"
    return [
        Figure(what, ours, ">= 300,000", _rates(hft, nautilus, count)),
        Figure("the same without orders", f"{count / quiet:,.0f} events/s", "", _alone(nautilus)),
        Figure("our speed with orders over theirs", _ratio(count / busy, hft, nautilus, count), ""),
        Figure(
            f"{len(books):,} depth changes of four levels in a book of 1,000, with orders",
            f"{len(books) / depth:,.0f} events/s", "",
        ),
        Figure(
            f"walk a {LEVELS}-level book", f"{_walk_seconds() * 1e6:.2f} us", "<= 5 us",
            f"freqtrade {freqtrade['seconds'] * 1e6:.2f} us, float" if freqtrade else _NOT_INSTALLED,
        ),
        Figure(
            "prices from an empty or crossed book, buying and selling", f"{_from_nothing()} of 4", "0",
            f"freqtrade {len(freqtrade['from_nothing'])} of 4, {freqtrade['from_nothing'][0]} the first"
            if freqtrade else _NOT_INSTALLED,
        ),
        Figure(
            "of an order of 1.0 that met trades of 0.3, 0.3 and 0.3, not in the position",
            f"{Decimal('0.9') - _three_partial_fills()} of 0.9", "0",
            _NOT_INSTALLED if hft is None else f"hftbacktest {0.9 - hft['position']:.1f} of 0.9",
        ),
    ]  # fmt: skip


def _stream(count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Simulated. Columns: 0 and time, bid, its lots, ask, its lots; or 1 and time, price, lots, 1 where bought, 0.

    Prices in ticks of 0.1. One event each millisecond, two in three of them quotes; the best moves now and then.
    """
    draw = np.random.default_rng(11)
    bids = 600_000 + np.cumsum(draw.choice((-1, 0, 1), count, p=(0.02, 0.96, 0.02)))
    bought = draw.integers(0, 2, count)
    is_trade = draw.random(count) < 1 / 3
    times = (1 + np.arange(count)) * MILLISECOND
    traded = 1 + draw.exponential(40, count).astype(np.int64)
    shown = draw.integers(50, 5_000, (2, count))
    quotes = np.stack([np.zeros(count, np.int64), times, bids, shown[0], bids + 1, shown[1]], axis=1)
    trades = np.stack(
        [np.ones(count, np.int64), times, bids + bought, traded, bought, np.zeros(count, np.int64)], axis=1
    )
    return np.where(is_trade[:, None], trades, quotes).astype(np.int64)


def _events(stream: np.ndarray[Any, np.dtype[np.int64]]) -> Events:
    return [
        Trade(time_ns, 0, price * _TICK, size * _LOT, bool(second))
        if kind
        else Quote(time_ns, 0, price * _TICK, size * _LOT, second * _TICK, second_size * _LOT)
        for kind, time_ns, price, size, second, second_size in stream.tolist()
    ]


def _books(count: int) -> Events:
    """A snapshot of 1,000 levels, then changes near its best prices, which come and go."""
    draw = np.random.default_rng(12)
    sides = [tuple(((600_000 + sign * n) * _TICK, 1_000 * _LOT) for n in range(start, 500 + start))
             for sign, start in ((-1, 0), (1, 1))]  # fmt: skip
    events: Events = [Depth(MILLISECOND, 0, sides[0], sides[1], snapshot=True)]
    offsets, sizes = draw.integers(0, 12, (count, 4)).tolist(), draw.integers(0, 2_000, (count, 4)).tolist()
    for number, (near, lots) in enumerate(zip(offsets, sizes, strict=True), start=2):
        bids = tuple(
            ((600_000 - n) * _TICK, (size % 3 and size) * _LOT) for n, size in zip(near[:2], lots[:2], strict=True)
        )
        asks = tuple(
            ((600_001 + n) * _TICK, (size % 3 and size) * _LOT) for n, size in zip(near[2:], lots[2:], strict=True)
        )
        events.append(Depth(number * MILLISECOND, 0, bids, asks, snapshot=False))
    return events


def _listing() -> Listing:
    return Listing(
        venue="bench", symbol="BTCUSDT", asset="BTC", quote="USDT", tick=Decimal("0.1"), step=Decimal("0.001"),
        min_size=Decimal("0.001"), min_notional=Decimal(5), maker_fee=Decimal("0.0002"), taker_fee=Decimal("0.0005"),
        latency_ns=LATENCY, settles_inverse=False, can_short=True, facts="simulated",
    )  # fmt: skip


class _Tally:
    """Counts what the venue reports."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.position = 0

    def accepted(self, time_ns: int, order_id: str, resting_depth: int) -> None:  # noqa: ARG002
        self.counts["accepted"] += 1

    def refused(self, time_ns: int, order_id: str, reason: str) -> None:  # noqa: ARG002
        self.counts["refused"] += 1

    def filled(self, time_ns: int, order_id: str, fill: Filled) -> None:  # noqa: ARG002
        self.counts["filled"] += 1
        self.position += fill.size

    def cancelled(self, time_ns: int, order_id: str, reason: str) -> None:  # noqa: ARG002
        self.counts["cancelled"] += 1


def _replay(events: Events, orders: bool) -> tuple[float, Counter[str]]:
    """Seconds for all ``events``, and what happened to an order each ``PAUSE`` in place of the one before."""
    timers, tally = Timers(), _Tally()
    exchange = Exchange([_listing()], Rules(), timers, tally)
    sent = 0

    def order(time_ns: int) -> None:
        nonlocal sent
        timers.at(time_ns + PAUSE, Rank.TIMER, order)
        exchange.cancel(f"{sent}", time_ns, "requote")
        top = exchange.top(0)
        if top is not None:
            sent += 1
            side, price = (OrderSide.LONG, top.bid) if sent % 2 else (OrderSide.SHORT, top.ask)
            exchange.send(f"{sent}", 0, side, LOTS * _LOT, price, time_ns)

    if orders:
        timers.at(PAUSE, Rank.TIMER, order)
    run_before, on_event = timers.run_before, exchange.on_event
    began = time.process_time()
    for event in events:
        run_before(event[0])
        on_event(event)
    seconds = time.process_time() - began
    if exchange.rejected:
        raise RuntimeError(f"the stream was refused: {exchange.rejected}")
    tally.counts["sent"] = sent
    return seconds, tally.counts


def _asks() -> tuple[list[tuple[int, int]], int, int]:
    """Levels, a size that reaches into the last of them, and the best bid."""
    asks = [((600_001 + number) * _TICK, (100 + number) * _LOT) for number in range(LEVELS)]
    return asks, sum(shown for _, shown in asks[:-1]) + _LOT, 600_000 * _TICK


def _walk_seconds() -> float:
    """One walk, ten thousand at a time, the best of twenty."""
    asks, size, bid = _asks()
    took = []
    for _ in range(20):
        began = time.process_time()
        for _ in range(10_000):
            walk(asks, size, OrderSide.LONG, bid)
        took.append((time.process_time() - began) / 10_000)
    return min(took)


def _from_nothing() -> int:
    """How often a walk of an empty or a crossed book gives anything but an error."""
    answers = 0
    one = [(5, 1)]
    for levels, side, other in (
        ([], OrderSide.LONG, 0), ([], OrderSide.SHORT, 0), (one, OrderSide.LONG, 5), (one, OrderSide.SHORT, 4),
    ):  # fmt: skip
        try:
            walk(levels, 1, side, other)
            answers += 1
        except BookError:
            continue
    return answers


def _three_partial_fills() -> Decimal:
    """What three trades of 0.3 fill of an order of 1.0 that is alone at its price."""
    timers, tally = Timers(), _Tally()
    exchange = Exchange([_listing()], Rules(), timers, tally)
    exchange.on_event(Quote(1, 0, 1_000 * _TICK, UNITS, 1_005 * _TICK, UNITS))
    exchange.send("1", 0, OrderSide.LONG, UNITS, 1_001 * _TICK, 1)
    timers.run_through(LATENCY + 1)
    for number in range(3):
        exchange.on_event(Trade(LATENCY + 2 + number, 0, 1_001 * _TICK, 3 * UNITS // 10, buyer_is_aggressor=False))
    return Decimal(tally.position) / UNITS


def _rates(hft: dict[str, Any] | None, nautilus: dict[str, Any] | None, count: int) -> str:
    first = f"{count / hft['seconds']:,.0f}/s ({hft['orders']:,} orders)" if hft else _NOT_INSTALLED
    second = f"{nautilus['events'] / nautilus['with']:,.0f}/s ({nautilus['orders']:,})" if nautilus else _NOT_INSTALLED
    return f"hftbacktest {first}, nautilus {second}"


def _ratio(ours: float, hft: dict[str, Any] | None, nautilus: dict[str, Any] | None, count: int) -> str:
    first = f"{ours * hft['seconds'] / count:.3f}x hftbacktest" if hft else f"hftbacktest {_NOT_INSTALLED}"
    second = (
        f"{ours * nautilus['with'] / nautilus['events']:.1f}x nautilus" if nautilus else f"nautilus {_NOT_INSTALLED}"
    )
    return f"{first}, {second}"


def _alone(nautilus: dict[str, Any] | None) -> str:
    return f"nautilus {nautilus['events'] / nautilus['without']:,.0f}/s" if nautilus else f"nautilus {_NOT_INSTALLED}"


def _requirement(name: str) -> str:
    """As ``bench_lots`` installs it: the environment is shared."""
    lines = (_PEERS / "requirements-peers.txt").read_text().split()
    return next(line for line in lines if line.startswith(f"{name}=="))


def _ask(script: str, name: str, installs: list[list[str]], question: dict[str, Any]) -> dict[str, Any] | None:
    """What the peer's script answers, in the peer's environment; None where the peer cannot be installed."""
    python = python_with(name, *installs)
    if python is None:
        return None
    done = subprocess.run(
        [python, _PEERS / f"{script}.py"], input=json.dumps(question), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{name} failed:\n{done.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
