"""Quantities already on the exchange's grid: who loses a lot; and the ledger fold beside a backtest engine.

Each peer of ``peers/requirements-peers.txt`` gets an environment of its own under ``.venv-peers`` (their requirements
contradict each other), installed at the first run, and the very values we get. Where it cannot be installed the
column says so. Speeds are CPU time, which other work on the machine disturbs least.
"""

import json
import subprocess
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from assets.accounting.book import Book
from assets.accounting.events import Fill
from assets.accounting.instrument import Instrument, Instruments, floor_lots, quantity_of
from assets.accounting.marks import MarkSet
from assets.accounting.precision import ZERO
from assets.desk.signal import SignalRow
from assets.desk.sizing import size
from resources.market import Mark
from tests.benchmarks.figure import Figure
from tests.benchmarks.peer_environment import python_with

STEPS = ("0.1", "0.01", "0.001", "0.0001", "0.00000001", "0.5", "5", "10", "1000")
# Grids that are no power of ten, or coarser than one: a rounding to decimal places accepts what lies between.
COARSE = ("0.5", "5", "10", "1000")
VALUES = 20_000
FILLS = (1_000, 4_000, 8_000)

_PEERS = Path(__file__).parent / "peers"
_NOT_INSTALLED = "peer not installed"

Answer = dict[str, Any]


def measure(fast: bool = False) -> list[Figure]:
    count, fills = (2_000, FILLS[:2]) if fast else (VALUES, FILLS)
    lots = [Decimal(number) for number in range(1, count + 1)]
    on_grid = {step: [_text(Decimal(step) * number) for number in lots] for step in STEPS}
    off_grid = {step: [_text(Decimal(step) * (number + Decimal("0.4"))) for number in lots] for step in COARSE}
    question = {"on_grid": on_grid, "off_grid": off_grid, "fills": fills}
    peers = {name: _ask(name, requirement, question) for name, requirement in _requirements().items()}
    figures = [_survival(step, on_grid[step], peers) for step in STEPS]
    figures.append(_coarse(off_grid, peers))
    figures.append(_speed(on_grid, peers))
    figures += _ledger(fills, peers.get("nautilus_trader"))
    return figures


def _text(value: Decimal) -> str:
    return format(value, "f")


def _survival(step: str, values: list[str], peers: Mapping[str, Answer | None]) -> Figure:
    """How many of ``values``, all multiples of ``step``, come back smaller: ours quantised and ours sized."""
    instrument = _instrument(step)
    quantities = [Decimal(value) for value in values]
    kept = [quantity_of(floor_lots(quantity, instrument), instrument) for quantity in quantities]
    ours = sum(len({*ways}) > 1 for ways in zip(quantities, kept, _sized(quantities, instrument), strict=True))
    theirs = {name: _share(_lost(step, values, answer)) for name, answer in peers.items()}
    return Figure(f"on-grid quantities that lose a lot, step {step}", f"{ours} of {len(values):,}", "0", _row(theirs))


def _sized(quantities: list[Decimal], instrument: Instrument) -> list[Decimal]:
    """``quantities`` as targets of a signal whose S is three times the capital, each for a contract of its own.

    A scale computed first, 1/3 cut off somewhere, would lose lots here.
    """
    now, price, capital = datetime(2026, 1, 15, tzinfo=UTC), Decimal("0.37"), Decimal(1_000_000)
    names = [f"X{number}" for number in range(len(quantities))]
    listed = {f"{name}USDT": replace(instrument, symbol=f"{name}USDT", base_asset=name) for name in names}
    marks = MarkSet({symbol: Mark(symbol, price, now) for symbol in listed}, {})
    rows = [
        SignalRow(line, "bench", f"{name}_USDT", quantity * price * 3, Decimal(1), 1, None)
        for line, (name, quantity) in enumerate(zip(names, quantities, strict=True), start=2)
    ]
    sizing = size(rows, capital * 3, capital, marks, Instruments(listed, {}, {}, {}, None, ""), {}, quote="USDT")
    targets = {row.symbol: row.target_quantity for row in sizing.rows}
    return [targets[symbol] for symbol in listed]


def _lost(step: str, values: list[str], answer: Answer | None) -> float | None:
    if answer is None:
        return None
    half = Decimal(step) / 2
    results = answer["on_grid"][step]
    return sum(Decimal(v) - Decimal(r) > half for v, r in zip(values, results, strict=True)) / len(values)


def _coarse(values: Mapping[str, list[str]], peers: Mapping[str, Answer | None]) -> Figure:
    """Values 0.4 of a step above the grid: a quantity that is still above it would be refused by the exchange."""

    def beside(results: Mapping[str, list[str]]) -> float:
        off = [
            abs(Decimal(result) / Decimal(step) - round(Decimal(result) / Decimal(step))) > Decimal("0.000001")
            for step in COARSE
            for result in results[step]
        ]
        return sum(off) / len(off)

    ours = {
        step: [_text(quantity_of(floor_lots(Decimal(v), _instrument(step)), _instrument(step))) for v in values[step]]
        for step in COARSE
    }
    theirs = {name: _share(None if answer is None else beside(answer["off_grid"])) for name, answer in peers.items()}
    return Figure(
        f"quantities left off the grid, steps {', '.join(COARSE)}", f"{beside(ours):.0%}", "0 %", _row(theirs)
    )


def _speed(values: Mapping[str, list[str]], peers: Mapping[str, Answer | None]) -> Figure:
    """From number to number, ours from Decimal and theirs from float; vectorbt's simulates an order with each."""
    took = min(_quantising_seconds(values) for _ in range(3)) / sum(map(len, values.values()))
    theirs = {
        name: _NOT_INSTALLED if answer is None else f"{answer['seconds_per_value'] * 1e6:.2f} us"
        for name, answer in peers.items()
    }
    return Figure("quantising one quantity", f"{took * 1e6:.2f} us", "<= 1 us", _row(theirs))


def _quantising_seconds(values: Mapping[str, list[str]]) -> float:
    took = 0.0
    for step, texts in values.items():
        instrument, quantities = _instrument(step), [Decimal(text) for text in texts]
        began = time.process_time()
        for quantity in quantities:
            quantity_of(floor_lots(quantity, instrument), instrument)
        took += time.process_time() - began
    return took


def _ledger(counts: tuple[int, ...], nautilus: Answer | None) -> list[Figure]:
    """Ours folds fills and nothing else; theirs is the whole engine with risk engine and portfolio, so the speeds are
    not one thing measured twice. What is comparable is how the cost of one fill grows."""
    ours = [_fold_seconds(count) / count for count in counts]
    speeds = " / ".join(f"{1 / each:,.0f}" for each in reversed(ours)) + " fills/s"
    growth, peer_speeds, peer_growth = ours[-1] / ours[0], _NOT_INSTALLED, _NOT_INSTALLED
    if nautilus is not None:
        theirs = [seconds / count for seconds, count in zip(nautilus["engine"], counts, strict=True)]
        peer_speeds = " / ".join(f"{1 / each:,.0f}" for each in reversed(theirs)) + " orders/s, whole engine"
        peer_growth = f"{theirs[-1] / theirs[0]:.2f}x"
    texts = [f"{count:,}" for count in reversed(counts)]
    return [
        Figure(f"ledger fold of {' / '.join(texts)} fills, ledger only", speeds, ">= 200,000 fills/s", peer_speeds),
        Figure(f"cost of a fill among {texts[0]} against {texts[-1]}", f"{growth:.2f}x", "<= 1.2x", peer_growth),
    ]


def _fold_seconds(count: int) -> float:
    """Best of nine: one buy, then two sold, two bought, ..., so that every fill but the first flips the position."""
    start = datetime(2026, 1, 15, tzinfo=UTC)
    fills = [
        Fill(
            event_id=f"fill:{number}",
            time=start + timedelta(seconds=number),
            symbol="ETHUSDT",
            quantity=Decimal(-2 if number % 2 else 2 if number else 1),
            price=Decimal(200_000 + number % 50).scaleb(-2),
            fee=Decimal("0.8"),
            order_id=f"order:{number}",
            rebalance_id="bench",
        )
        for number in range(count)
    ]
    took = []
    for _ in range(9):
        book = Book(Decimal(1_000_000))
        began = time.process_time()
        book.apply_all(fills)
        took.append(time.process_time() - began)
    return min(took)


def _instrument(step: str) -> Instrument:
    grid = Decimal(step)
    return Instrument(
        symbol="XUSDT", base_asset="X", quote_asset="USDT", status="TRADING", contract_type="PERPETUAL", multiplier=1,
        tick_size=Decimal("0.01"), min_price=ZERO, max_price=ZERO, step=grid, grid_offset=ZERO, min_qty=grid,
        max_qty=grid * 10**9, min_notional=ZERO,
    )  # fmt: skip


def _row(texts: Mapping[str, str]) -> str:
    """One cell for all peers; a peer that is not there is named once."""
    return ", ".join(f"{name.removesuffix('_trader')} {text}" for name, text in texts.items())


def _share(share: float | None) -> str:
    return _NOT_INSTALLED if share is None else "0 %" if not share else f"{share:.1%}".replace("%", " %")


def _requirements() -> dict[str, str]:
    """``name==version`` by name."""
    lines = (_PEERS / "requirements-peers.txt").read_text().split()
    return {line.partition("==")[0]: line for line in lines}


def _ask(name: str, requirement: str, question: Mapping[str, Any]) -> Answer | None:
    """What the peer's script answers, in the peer's environment; None where the peer cannot be installed."""
    python = python_with(name, [requirement])
    if python is None:
        return None
    done = subprocess.run(
        [python, _PEERS / f"run_{name}.py"], input=json.dumps(question), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{name} failed:\n{done.stderr[-2000:]}")
    answer: Answer = json.loads(done.stdout)
    return answer
