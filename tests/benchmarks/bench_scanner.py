"""Quotes through the opportunity scanner, and through scanner and open positions: how many a second one core takes.

Positions are the engine's: trades of the simulated venues under rules that never let go, so that each quote of their
listings is checked against target, limit and funding. The peer is nautilus_trader replaying as many quotes of one
instrument through a strategy that does nothing with them, in an environment of its own in the same run. Speeds are CPU
time, which other work on the machine disturbs least.
"""

import json
import random
import subprocess
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

from assets.arbitrage.engine import Engine
from assets.arbitrage.events import Event, SessionOpened
from assets.arbitrage.portfolio import Portfolio
from assets.arbitrage.rules import Rules
from assets.arbitrage.scanner import Scanner
from resources.feed import FUNDING_PERIOD_NS, UNITS, FundingQuote, Listing, Quote
from resources.feed.simulated import SimulatedFeed
from tests.benchmarks.figure import Figure
from tests.benchmarks.peer_environment import python_with

QUOTES = 300_000
TARGET = ">= 100,000/s (nautilus 167,000/s without orders)"
ASSETS, VENUES = 25, ("binance", "bybit", "okx")

_PEERS = Path(__file__).parent / "peers"
_DAY_NS = 86_400 * 10**9
_START_NS = 1_772_323_200 * 10**9  # 2026-03-01


def measure(fast: bool = False) -> list[Figure]:
    count = QUOTES // 10 if fast else QUOTES
    calm, busy = quotes(count, edge_bps=0), quotes(count, edge_bps=120)
    nautilus = _nautilus_rate(count)
    peer = f"nautilus_trader {nautilus:,.0f}/s" if nautilus else "nautilus_trader: peer not installed"
    what = f"quotes/s through the scanner, {ASSETS} assets on {len(VENUES)} venues"
    (calm_rate, _), (busy_rate, found) = _rate(calm), _rate(busy)
    together, held = _engine_rate(hours=2 if fast else 6)
    return [
        Figure(
            f"quotes/s through scanner and {held} open positions, 18 simulated listings",
            f"{together:,.0f}/s",
            TARGET,
            peer,
        ),
        Figure(f"{what}, spreads below costs", f"{calm_rate:,.0f}/s", TARGET, peer),
        Figure(f"{what}, {found / count:.0%} of the quotes tradable", f"{busy_rate:,.0f}/s", TARGET, peer),
    ]


def listings() -> tuple[Listing, ...]:
    """``ASSETS`` perpetuals on each of ``VENUES``."""
    return tuple(
        Listing(
            venue, f"A{number}USDT", f"A{number}", "USDT", Decimal("0.01"), Decimal("0.001"), Decimal("0.001"),
            Decimal(5), Decimal("0.0002"), Decimal("0.0005"), 5_000_000, False, True, "made up for the benchmark",
        )
        for number in range(ASSETS)
        for venue in VENUES
    )  # fmt: skip


def quotes(count: int, *, edge_bps: int) -> list[Quote]:
    """A random walk for each listing, a millisecond apart in turn; the last venue stands ``edge_bps`` above."""
    random.seed(1)
    mids = [100_00 + 37 * number for number in range(ASSETS)]
    size = 2_000 * UNITS
    made = []
    total = ASSETS * len(VENUES)
    for number in range(count):
        index = number % total
        asset, venue = divmod(index, len(VENUES))
        if venue == 0:
            mids[asset] += random.randint(-2, 2)
        mid = mids[asset] + random.randint(-1, 1)
        if venue == len(VENUES) - 1:
            mid += mids[asset] * edge_bps // 10_000
        made.append(Quote(number * 1_000_000, index, (mid - 1) * UNITS // 100, size, (mid + 1) * UNITS // 100, size))
    return made


def _rate(made: list[Quote]) -> tuple[float, int]:
    """Quotes a second of CPU time, and how many of them came back with something to trade."""
    scanner = Scanner(listings(), Rules())
    rates = {0: Decimal("0.0001"), 1: Decimal("0.0001"), 2: Decimal("0.0004")}
    for index in range(ASSETS * len(VENUES)):
        scanner.on_event(FundingQuote(0, index, rates[index % len(VENUES)], _DAY_NS, FUNDING_PERIOD_NS))
    found = 0

    def run() -> None:
        nonlocal found
        on_event = scanner.on_event
        for quote in made:
            if on_event(quote):
                found += 1

    return len(made) / _cpu_seconds(run), found


def _engine_rate(hours: int) -> tuple[float, int]:
    """Quotes a second of CPU time through an engine with open trades, and how many are open at the end."""
    feed = SimulatedFeed(7)
    rules = Rules(profit_target=Decimal(1000), loss_limit=Decimal(1000), funding_floor=Decimal(-1))
    portfolio = Portfolio()
    log: list[Event] = []
    portfolio.apply(SessionOpened(0, _START_NS, feed.source, "2026-03-01", rules.starting_capital, {}, (), "", ""))
    engine = Engine(feed.listings, rules, log.append, portfolio, Scanner(feed.listings, rules))
    hour_ns = 3_600 * 10**9
    for event in feed.events(_START_NS, _START_NS + hours * hour_ns):
        engine.on_event(event)
    after = feed.events(_START_NS + hours * hour_ns, _START_NS + 2 * hours * hour_ns)
    made = [event for event in after if type(event) is Quote]

    def run() -> None:
        for quote in made:
            engine.on_event(quote)

    return len(made) / _cpu_seconds(run), len(portfolio.open_trades)


def _cpu_seconds(run: Callable[[], None]) -> float:
    began = time.process_time()
    run()
    return time.process_time() - began


def _nautilus_rate(count: int) -> float | None:
    """Quotes a second of nautilus_trader's backtest engine, None where it cannot be installed."""
    requirements = (_PEERS / "requirements-peers.txt").read_text().splitlines()
    requirement = next(line for line in requirements if line.startswith("nautilus_trader"))
    python = python_with("nautilus_trader", [requirement])
    if python is None:
        return None
    command = [str(python), str(_PEERS / "run_nautilus_quotes.py"), str(count)]
    answer = subprocess.run(command, capture_output=True, check=True, text=True)
    return float(json.loads(answer.stdout.splitlines()[-1])["quotes_per_second"])
