"""``desk replay``: recorded bars and your signals through the whole desk, minute by minute, then verified."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day
from decimal import Decimal
from pathlib import Path

from assets.accounting.funding import Lack, said_unbooked
from assets.desk.artifacts import INBOX
from assets.desk.desk import Desk, paper_venue
from assets.desk.detection import look
from assets.desk.history import compact
from assets.desk.rebalance import ClockBehind, ExecutionBusy, RebalanceRefused, run_rebalance
from assets.desk.signal import trading_day_of_name
from assets.desk.tick import Ticker, TickResult
from assets.desk.value_log import MINUTE, minute_of
from assets.desk.verify import verify
from resources.clock import ManualClock
from resources.market import MarketError
from resources.market.replay import ReplayMarket
from resources.settings import Settings
from resources.store.differences import Difference
from resources.store.local import LocalStore

# A file named for 23:55 lands 15 to 45 minutes later (brief 0, P4).
_LANDS_AT = time_of_day(0, 20)


@dataclass(frozen=True)
class Replayed:
    ticks: int
    rebalances: int
    ticks_per_second: float
    portfolio_value: Decimal
    total_pnl: Decimal
    notices: tuple[str, ...]
    differences: tuple[Difference, ...]


def landing_time(name: str) -> datetime | None:
    """When a replayed signal lands: 00:20 UTC on the day after the date in its name; None without a date."""
    day = trading_day_of_name(name)
    return None if day is None else datetime.combine(day + timedelta(days=1), _LANDS_AT, UTC)


def replay(
    settings: Settings,
    bars: Path,
    signals: Path,
    into: Path,
    days: int | None,
    step: Callable[[str, int, int], None] = lambda _what, _done, _of: None,
) -> Replayed:
    """Replay into the empty folder ``into``. A refused signal is noticed and the replay goes on, as the desk would.

    Raises MarketError when not one minute of the bars could be valued.
    """
    market = ReplayMarket(bars)
    start = minute_of(market.start)
    start += MINUTE * (start < market.start)  # the first whole minute at which a mark is known
    end = market.end if days is None else min(market.end, start + timedelta(days=days))
    clock = ManualClock(start)
    desk = Desk(settings, LocalStore(into), market, clock, paper_venue(settings))
    waiting, notices = _landings(signals, start, end)
    minutes = int((end - start) / MINUTE) + 1
    ticker, last, executed = Ticker(desk), None, 0
    unpaid: list[Lack] = []
    began = time.perf_counter()
    for minute in range(minutes):
        clock.move_to(start + minute * MINUTE)
        result = ticker.tick()
        last = _newer(last, result)
        unpaid += result.funding_unbooked
        while waiting and waiting[0][0] <= clock.now():
            executed += _execute(desk, clock, waiting.pop(0)[1], notices)
        step("minute ticks", minute + 1, minutes)
    ticks_per_second = minutes / (time.perf_counter() - began)
    if last is None or last.valuation is None:
        raise MarketError(f"replay: no minute between {start:%Y-%m-%d %H:%M} and {end:%Y-%m-%d %H:%M} could be valued")
    # What a ticker would still look for a recording does not get any more.
    notices += said_unbooked([*unpaid, *ticker.unbooked_yet()])
    compact(desk.store, clock.now().date())
    report = verify(desk, step)
    return Replayed(
        minutes, executed, ticks_per_second, last.valuation.portfolio_value, last.valuation.total_pnl,
        tuple(notices), report.differences,
    )  # fmt: skip


def _landings(signals: Path, start: datetime, end: datetime) -> tuple[list[tuple[datetime, Path]], list[str]]:
    """When each signal lands, in order; and a notice for each that cannot within the replayed time."""
    waiting, notices = [], []
    for path in sorted(signals.glob("*.csv")):
        landing = landing_time(path.name)
        if landing is None:
            notices.append(f"{path.name}: no date in its name, not replayed")
        elif not start <= landing <= end:
            notices.append(f"{path.name}: lands at {landing:%Y-%m-%d %H:%M}, outside the bars, not replayed")
        else:
            waiting.append((landing, path))
    return sorted(waiting), notices


def _newer(last: TickResult | None, result: TickResult) -> TickResult | None:
    """The last tick that could value the portfolio."""
    return last if result.valuation is None else result


def _execute(desk: Desk, clock: ManualClock, path: Path, notices: list[str]) -> int:
    desk.store.write(f"{INBOX}{path.name}", path.read_bytes())
    seen = look(desk, {})
    clock.sleep(5)
    executed = 0
    for rebalance_id in look(desk, seen.sightings).pending:
        clock.sleep(5)
        try:
            outcome = run_rebalance(desk, rebalance_id)
        except RebalanceRefused as refusal:
            outcome = refusal.outcome
        except (ExecutionBusy, ClockBehind) as error:
            notices.append(f"{rebalance_id}: {error}")
            continue
        if outcome["status"] != "executed":
            notices.append(f"{rebalance_id}: {outcome['status']} {outcome['reason']}")
        executed += outcome["status"] in ("executed", "partial")
    return executed
