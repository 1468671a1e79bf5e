"""The 500 ms rule over a million random events: how long a leg was ever naked, and whether each excess was alarmed.

Three venues of one coin: quotes that walk, jump apart and shrink, trades at and through the touch, funding that turns,
silences of seconds. Every trade is followed fill by fill by ``Auditor``, which shares no code with the trader. A second
run takes the books away at random: there a naked leg may outlast the limit, since nobody could hedge it, but never
without an alarm at the limit.
"""

import random
import time
from typing import NamedTuple

from assets.arbitrage.engine import Engine
from assets.arbitrage.events import Event, Halted, LegOut, SessionOpened, TradeClosed
from assets.arbitrage.portfolio import Portfolio
from assets.arbitrage.rules import MILLISECOND, Rules
from assets.arbitrage.scanner import Scanner
from resources.feed import FUNDING_PERIOD_NS, UNITS, FundingQuote, FundingSettled, Interrupted, Quote, Trade
from tests.assets.arbitrage.trader_parts import START, Auditor, D, listing
from tests.benchmarks.figure import Figure

EVENTS = 1_000_000
LISTINGS = (listing("north", 5), listing("south", 20, "0.025"), listing("east", 60, "0.3"))
RULES = Rules(min_confidence=40, reentry_pause_ns=100 * MILLISECOND)
_TICK = UNITS // 100


class Followed(NamedTuple):
    """What came of a run. ``over`` counts naked legs that lasted longer than the limit; one that no alarm was raised
    for in time is among the ``problems``, with whatever else the auditor found."""

    events: int
    seconds: float
    trades: int
    leg_outs: int
    halts: int
    longest_ms: float
    over: int
    problems: list[str]


def measure(fast: bool = False) -> list[Figure]:
    count = EVENTS // 20 if fast else EVENTS
    calm, torn = follow(count, seed=1, outages=False), follow(count // 2, seed=2, outages=True)
    return [
        Figure(
            f"naked legs longer than 500 ms in {calm.events:,} random events "
            f"({calm.trades:,} trades, {calm.leg_outs:,} leg-outs, longest {calm.longest_ms:.0f} ms)",
            f"{calm.over + len(calm.problems)}",
            "0",
        ),
        Figure(
            f"naked legs longer than 500 ms without an alarm, books taken away "
            f"({torn.events:,} events, {torn.trades:,} trades, {torn.leg_outs:,} leg-outs, {torn.halts} alarms)",
            f"{len(torn.problems)}",
            "0",
        ),
        Figure("random events through the audited trader, one core", f"{calm.events / calm.seconds:,.0f}/s", "", ""),
    ]


class _Session:
    """A trader until its first alarm: what is halted trades no more, and the next one begins where it ended."""

    def __init__(self, now_ns: int) -> None:
        self.portfolio = Portfolio()
        opened = SessionOpened(0, now_ns, "SIMULATED", "2026-01-01", RULES.starting_capital, {}, (), "", "")
        self.portfolio.apply(opened)
        self.auditor = Auditor(RULES)
        self.closed = self.leg_outs = self.halts = 0
        self.engine = Engine(
            LISTINGS, RULES, self.write, self.portfolio, Scanner(LISTINGS, RULES), minute_ticks=False
        )  # fmt: skip
        self.auditor.engine = self.engine

    def write(self, event: Event) -> None:
        self.auditor.read(event)
        self.closed += isinstance(event, TradeClosed)
        self.leg_outs += isinstance(event, LegOut)
        self.halts += isinstance(event, Halted)


def follow(count: int, seed: int, outages: bool) -> Followed:
    """Drive traders with ``count`` random events. Every trade is seen to its end."""
    generator = random.Random(seed)
    sessions = []
    mids, dark = [10_000, 10_000, 10_000], [0, 0, 0]
    now_ns, sent, begun = START, 0, time.process_time()
    while sent < count:
        session = _Session(now_ns)
        sessions.append(session)
        engine = session.engine
        for index, rate in enumerate(("0.0001", "0.0004", "0.0004")):
            engine.on_event(FundingQuote(now_ns, index, D(rate), now_ns + 10**15, FUNDING_PERIOD_NS))
        while sent < count and not (session.portfolio.halted and not engine.busy) and session.portfolio.available > 500:
            now_ns += generator.randrange(40 * MILLISECOND)
            engine.on_event(_event(generator, mids, dark, now_ns, outages))
            sent += 1
        engine.stop()
        for _ in range(200):  # to its end, on books that can be traded
            now_ns += 100 * MILLISECOND
            for index in range(3):
                engine.on_event(Quote(now_ns, index, 9_999 * _TICK, 5_000 * UNITS, 10_000 * _TICK, 5_000 * UNITS))
        session.auditor.finish(now_ns)
        if session.auditor.naked_since or engine.busy:
            session.auditor.problems.append("a trade was not brought to its end")
    audits = [session.auditor for session in sessions]
    return Followed(
        sent,
        time.process_time() - begun,
        sum(session.closed for session in sessions),
        sum(session.leg_outs for session in sessions),
        sum(session.halts for session in sessions),
        max(audit.longest_naked for audit in audits) / MILLISECOND,
        sum(audit.over for audit in audits),
        [problem for audit in audits for problem in audit.problems],
    )


def _event(
    generator: random.Random, mids: list[int], dark: list[int], now_ns: int, outages: bool
) -> Quote | Trade | FundingQuote | FundingSettled | Interrupted:
    """``dark``: until when each venue shows nothing."""
    lit = [index for index in range(3) if dark[index] <= now_ns] or [0]
    index, drawn = generator.choice(lit), generator.random()
    if drawn < 0.6:
        if generator.random() < 0.02:
            mids[index] = 10_000 + generator.choice((-1, 1)) * generator.randrange(60, 160)
        else:
            mids[index] += (mids[index] < 10_000) - (mids[index] > 10_000) + generator.randrange(-4, 5)
        wide = generator.choice((1, 1, 2, 5, 60))
        low, high = sorted(generator.lognormvariate(6.5, 0.6) for _ in range(2))
        if outages and generator.random() < 0.02:
            low = 1.0
        sizes = [round(size * 100) * _TICK for size in (low, high)]
        generator.shuffle(sizes)
        return Quote(
            now_ns, index, (mids[index] - wide) * _TICK, sizes[0], (mids[index] + wide) * _TICK, sizes[1]
        )  # fmt: skip
    if drawn < 0.98:
        price = (mids[index] + generator.choice((-2, -1, -1, 1, 1, 2))) * _TICK
        size = round(generator.expovariate(1 / 150) * 100 + 1) * _TICK
        return Trade(now_ns, index, price, size, generator.random() < 0.5)
    if drawn < 0.99:
        rate = generator.choice(("0.0001", "0.0004", "0.0004", "0.0006")) if index else "0.0001"
        return FundingQuote(now_ns, index, D(rate), now_ns + 10**15, FUNDING_PERIOD_NS)
    if outages and drawn < 0.993:
        dark[index] = now_ns + generator.randrange(3_000) * MILLISECOND
        return Interrupted(now_ns, index)
    return FundingSettled(now_ns, index, D("0.00001"), mids[index] * _TICK)
