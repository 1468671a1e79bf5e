"""The exact core: folding the ledger, sizing and planning a large signal, computing a tick. Store writes excluded."""

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from assets.accounting.book import Book
from assets.accounting.events import Fill
from assets.accounting.instrument import Instruments, parse_exchange_info
from assets.accounting.marks import MarkSet, sift
from assets.accounting.pnl import valuation
from assets.desk.orders import plan_orders
from assets.desk.signal import SignalRow
from assets.desk.sizing import size
from assets.desk.tick import Prices, value
from assets.desk.value_log import log_row
from resources.documents import dump_line
from resources.market import Mark
from tests.desk_parts import contract, exchange_info

NOW = datetime(2026, 11, 20, tzinfo=UTC)


def measure(fast: bool = False) -> list[tuple[str, str, str]]:
    """(what, figure, target) for each promise of the core."""
    sizing, planning = _seconds_to_size(500)
    rates = {count: count / _seconds_to_fold(count) for count in ((100_000,) if fast else (100_000, 1_000_000))}
    tick = _seconds_to_compute_a_tick(200, 700)
    return [
        *((f"ledger fold, {count:,} fills", f"{rate:,.0f} fills/s", ">= 200,000") for count, rate in rates.items()),
        ("size and plan 500 rows", f"{(sizing + planning) * 1e3:.2f} ms", "<= 2 ms"),
        ("size 500 rows", f"{sizing * 1e3:.2f} ms", ""),
        ("plan the orders of 500 rows", f"{planning * 1e3:.2f} ms", ""),
        ("tick compute, 200 positions, 700 marks", f"{tick * 1e3:.2f} ms", "<= 2 ms"),
    ]


def _best(act: Callable[[], object], repeats: int = 15) -> float:
    """Processor seconds of the fastest run: the others measure what else the machine was doing."""
    times = []
    for _ in range(repeats):
        began = time.process_time()
        act()
        times.append(time.process_time() - began)
    return min(times)


def _fills(count: int, symbols: int) -> list[Fill]:
    draw = random.Random(1)
    return [
        Fill(
            f"fill:{number}",
            NOW + timedelta(seconds=number),
            f"S{number % symbols}USDT",
            Decimal(draw.randint(1, 500) * draw.choice((-1, 1))).scaleb(-3),
            Decimal(draw.randint(90_000, 110_000)).scaleb(-2),
            Decimal("0.05000000"),
            "order",
            "rebalance",
            {"trend": Decimal(1)},
        )
        for number in range(count)
    ]


def _seconds_to_fold(count: int) -> float:
    fills = _fills(count, 200)
    return _best(lambda: Book(Decimal(1_000_000)).apply_all(fills), repeats=3)


def _market(symbols: list[str]) -> tuple[MarkSet, Instruments]:
    draw = random.Random(2)
    marks = {s: Mark(s, Decimal(draw.randint(1_000, 9_999_999)).scaleb(-2), NOW) for s in symbols}
    return MarkSet(marks, {}), parse_exchange_info(exchange_info(*(contract(s) for s in symbols)))


def _seconds_to_size(count: int) -> tuple[float, float]:
    """Every row with a reference price, as in the real files; every other symbol is held, half on the other side."""
    draw = random.Random(3)
    symbols = [f"C{number}USDT" for number in range(count)]
    marks, instruments = _market(symbols)
    prices = {symbol: mark.price for symbol, mark in marks.accepted.items()}
    rows = []
    for line, symbol in enumerate(symbols, start=2):
        notional, side = Decimal(draw.randint(10**6, 10**9)).scaleb(-5), draw.choice((1, -1))
        rows.append(SignalRow(line, "trend", f"C{line - 2}_USDT", notional, Decimal(side), side, prices[symbol]))  # type: ignore[arg-type]
    gross_base = sum((row.notional for row in rows), Decimal(0))
    held = {symbol: Decimal(draw.randint(1, 5000) * draw.choice((-1, 1))).scaleb(-3) for symbol in symbols[::2]}

    def sized() -> object:
        return size(rows, gross_base, Decimal(1_000_000), marks, instruments, held, quote="USDT")

    sizing = size(rows, gross_base, Decimal(1_000_000), marks, instruments, held, quote="USDT")
    return _best(sized), _best(lambda: plan_orders(sizing.rows, instruments, prices, "abcdefabcdef"))


def _seconds_to_compute_a_tick(positions: int, marks: int) -> float:
    symbols = [f"C{number}USDT" for number in range(marks)]
    raw = {symbol: Mark(symbol, Decimal(100 + number).scaleb(-1), NOW) for number, symbol in enumerate(symbols)}
    book = Book(Decimal(1_000_000))
    book.apply_all(
        Fill(f"f{n}", NOW, symbols[n % positions], Decimal(1 + n).scaleb(-3), Decimal(100), Decimal("0.1"), "o", "r")
        for n in range(positions * 3)
    )
    last_valid: dict[str, Mark] = {}

    def tick() -> object:
        sifted = sift(raw, NOW, timedelta(seconds=120))
        last_valid.update(sifted.accepted)
        row = value(book, Prices(NOW, last_valid, sifted.refused, "BENCH"))
        state = valuation(book, row.prices)
        return row.line(), dump_line(log_row(row, state, seq=1, rebalance_id="r", source="BENCH"))

    return _best(tick)
