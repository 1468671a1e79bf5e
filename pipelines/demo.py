"""``desk demo``: one whole compressed day, no browser, no waiting, every identity checked at the end.

A signal, a rebalance, 24 hours of minute ticks with a restart in between, a second signal that flips and drops names,
and a rebalance killed half-way and resumed. Simulated market, simulated clock, a store of its own.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from assets.desk.artifacts import INBOX, PRE_EXECUTION
from assets.desk.desk import Desk, paper_venue
from assets.desk.detection import detection_of, look
from assets.desk.history import compact
from assets.desk.rebalance import (
    execute_orders,
    freeze_pre_execution,
    parse_daily_csv,
    plan_sized_orders,
    run_rebalance,
    sized_rows,
)
from assets.desk.tick import Ticker
from assets.desk.verify import verify
from resources.clock import ManualClock
from resources.documents import Document
from resources.market.sample import sample_signal
from resources.market.simulated import SimulatedMarket
from resources.settings import Settings
from resources.store.differences import Difference
from resources.store.local import LocalStore
from resources.store.once import find

MINUTES = 24 * 60
# Any fixed day does; a fixed one makes the printed figures the same everywhere.
_START = datetime(2026, 1, 15, 0, 20, tzinfo=UTC)
Step = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Summary:
    """What the demo day did; ``differences`` empty means every identity held."""

    folder: Path
    outcomes: list[Document]
    flipped: int
    dropped: int
    ticks: int
    gaps: int
    ticks_per_second: float
    portfolio_value: Decimal
    total_pnl: Decimal
    log_rows: int
    differences: tuple[Difference, ...]

    @property
    def held(self) -> bool:
        """Everything executed, both signals differed as they should, and nothing differs when recomputed."""
        executed = all(outcome["status"] == "executed" for outcome in self.outcomes)
        return executed and len(self.outcomes) == 2 and self.flipped > 0 and self.dropped > 0 and not self.differences


def demo(settings: Settings, folder: Path | None = None, step: Step = lambda _what, _done, _of: None) -> Summary:
    """Run the day in ``folder`` (a new temporary one by default) and verify all of it."""
    folder = folder or Path(tempfile.mkdtemp(prefix="desk-demo-"))
    clock = ManualClock(_START)
    market = SimulatedMarket(settings.seed)

    def restarted() -> Desk:
        return Desk(settings, LocalStore(folder), market, clock, paper_venue(settings))

    desk = restarted()
    ticker = Ticker(desk)
    ticker.tick()
    outcomes = [_rebalance(desk, clock, _START.date() - timedelta(days=1), settings.seed, killed=False)]
    statuses = []
    began = time.perf_counter()
    for minute in range(MINUTES):
        if minute == MINUTES // 2:
            desk = restarted()
            ticker = Ticker(desk)
        clock.move_to(_START + timedelta(minutes=minute + 1))
        statuses.append(ticker.tick().status)
        step("minute ticks", minute + 1, MINUTES)
    ticks_per_second = MINUTES / (time.perf_counter() - began)
    outcomes.append(_rebalance(restarted(), clock, _START.date(), settings.seed, killed=True))
    clock.move_to(_START + timedelta(minutes=MINUTES + 1))
    last = ticker.tick()
    compact(desk.store, clock.now().date())
    report = verify(desk, step)
    rows = sized_rows(find(desk.store, PRE_EXECUTION) or {"rows": []})
    assert last.valuation is not None
    return Summary(
        folder=folder,
        outcomes=outcomes,
        flipped=sum(row.current_quantity * row.target_quantity < 0 for row in rows),
        dropped=sum(row.status == "not_in_csv" for row in rows),
        ticks=MINUTES,
        gaps=sum(status != "logged" for status in statuses),
        ticks_per_second=ticks_per_second,
        portfolio_value=last.valuation.portfolio_value,
        total_pnl=last.valuation.total_pnl,
        log_rows=report.log_rows,
        differences=report.differences,
    )


def _rebalance(desk: Desk, clock: ManualClock, day: date, seed: int, *, killed: bool) -> Document:
    """Drop the sample of ``day``, detect it in two looks, execute it; ``killed`` stops after the fills first."""
    name, data = sample_signal(desk.market, day, desk.market.marks(clock.now()), seed)
    desk.store.write(f"{INBOX}{name}", data)
    first = look(desk, {})
    clock.sleep(5)
    (rebalance_id,) = look(desk, first.sightings).pending
    clock.sleep(5)
    if killed:
        for action in (parse_daily_csv, freeze_pre_execution, plan_sized_orders, execute_orders):
            action(desk, rebalance_id)
        desk = Desk(desk.settings, LocalStore(desk.store.url), desk.market, clock, desk.venue)
    clock.sleep(5)
    return run_rebalance(desk, detection_of(desk, rebalance_id).rebalance_id)
