"""Equity, drawdowns and the summary of brief 4, folded from valuations, flows of capital and closed trades.

Returns and drawdowns are those of an index that starts at 1 with the starting capital and moves by equity / (equity
before + flows since): a deposit is capital, never profit, and a withdrawal never a loss (reference/trading.md 3.7).
A loss beyond all capital counts as all of it, so a drawdown lies in [-1, 0]; the deficit itself shows in the equity.
All ratios are fractions here; drawdowns are negative, as the brief says.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal

from assets.accounting.precision import EXACT, ZERO, divided, quotient
from assets.telemetry.bad_telemetry import BadTelemetry, finite, instant
from assets.telemetry.performance_tracker import ClosedTrade, PerformanceTracker, TradePerformance, TradeTotals
from resources.documents import Document

DAYS_A_YEAR = 365
CURVE_POINTS = 1_440  # a day of one valuation a minute
_ONE = Decimal(1)
_BPS = Decimal(10_000)
_NS = 10**9
# Digits of sums and roots ahead of the one rounding to what is shown.
_STATISTICS = Context(prec=50, rounding=ROUND_HALF_EVEN)
# Spread of daily returns below which their ratio says nothing (reference/trading.md 3.7).
_NO_SPREAD = Decimal("1e-12")


@dataclass(frozen=True, slots=True)
class EquityPoint:
    """One valuation, in USD: ``cash`` is what is not tied in positions, ``realized`` all P&L realised so far, net.

    ``equity`` and ``unrealized`` are None together, where a position could not be valued: such a point is the newest
    state of affairs and no point of the curve. Raises BadTelemetry on a number that is none.
    """

    time_ns: int
    equity: Decimal | None
    cash: Decimal
    realized: Decimal
    unrealized: Decimal | None

    def __post_init__(self) -> None:
        instant("time_ns", self.time_ns)
        if (self.equity is None) != (self.unrealized is None):
            raise BadTelemetry("equity", "equity and unrealized are known together or not at all")
        for name in ("equity", "cash", "realized", "unrealized"):
            value = getattr(self, name)
            if value is not None:
                finite(name, value)


@dataclass(frozen=True, slots=True)
class PerformanceSummary:
    """Brief 4's names, each at ``as_of_ns``. Money in USD, ratios fractions, ``_bps`` basis points; None is undefined.

    ``realized``, ``unrealized``, ``equity``, ``cash`` are the newest valuation's; ``pnl_usd``, ``pnl_bps``,
    ``gross_pnl_total``, ``net_pnl_total``, ``fees_total`` and the counts are closed trades' (net = gross - fees).
    ``max_equity`` and ``min_equity`` are as seen, deposits included; ``peak_equity`` is the peak that the drawdown is
    measured from, in money of today's capital: equity = peak_equity * (1 + current_drawdown). ``daily_pnl`` is since
    00:00 UTC, without flows. ``sharpe_ratio`` is of whole days, times sqrt(365), no risk-free rate;
    ``sharpe_days`` says how many (below 30 it is provisional).
    """

    as_of_ns: int
    pnl_usd: Decimal
    pnl_bps: Decimal | None
    realized: Decimal | None
    unrealized: Decimal | None
    gross_pnl_total: Decimal
    net_pnl_total: Decimal
    fees_total: Decimal
    total_return: Decimal
    return_bps: Decimal
    sharpe_ratio: Decimal | None
    sharpe_days: int
    win_rate: Decimal | None
    win_rate_1h: Decimal | None
    winning_trades: int
    total_trades: int
    equity: Decimal | None
    cash: Decimal | None
    max_equity: Decimal
    min_equity: Decimal
    peak_equity: Decimal | None
    max_drawdown: Decimal
    current_drawdown: Decimal | None
    drawdown_daily: Decimal | None
    daily_pnl: Decimal | None


def sharpe_ratio(returns: Iterable[Decimal], periods_a_year: int = DAYS_A_YEAR) -> Decimal | None:
    """Mean / standard deviation (ddof 1) of the returns (fractions) times sqrt(periods), 12 digits.

    None with fewer than two returns, or where they do not differ (spread below 1e-12).
    """
    sample = list(returns)
    if len(sample) < 2:
        return None
    count = Decimal(len(sample))
    mean = _STATISTICS.divide(_sum(sample), count)
    deviations = [_STATISTICS.subtract(each, mean) for each in sample]
    squares = _sum([_STATISTICS.multiply(each, each) for each in deviations])
    deviation = _STATISTICS.sqrt(_STATISTICS.divide(squares, count - 1))
    if deviation < _NO_SPREAD:
        return None
    return divided(_STATISTICS.multiply(mean, _STATISTICS.sqrt(Decimal(periods_a_year))), deviation)


class PerformanceMonitor:
    """Folds what happens, in order of time, at a cost that does not grow with history.

    ``observe`` a valuation, ``flow`` capital in or out, ``record`` a closed trade; ``summary`` at any time after.
    ``carried`` and ``resumed`` let a day's monitor go on where the day before stood, with the same numbers as one
    monitor over both. Raises BadTelemetry for an event before one already folded; nothing is folded then.
    """

    def __init__(self, starting_capital: Decimal, opened_ns: int, curve_points: int = CURVE_POINTS) -> None:
        if finite("starting_capital", starting_capital) <= 0:
            raise BadTelemetry("starting_capital", f"{starting_capital} is not positive")
        self._tracker = PerformanceTracker()
        self._as_of_ns = instant("opened_ns", opened_ns)
        self._newest: EquityPoint | None = None
        self._curve: deque[EquityPoint] = deque(maxlen=curve_points)
        self._equity = self._max_equity = self._min_equity = starting_capital
        self._flows = ZERO  # since the last known equity
        self._index = self._peak = _ONE
        self._max_drawdown = ZERO
        self._day = _day_of(opened_ns)  # of the last known equity
        # The day's beginning: its index (None after a gap), its equity with the flows of the day, its peak so far.
        self._day_base: Decimal | None = _ONE
        self._day_capital: Decimal | None = starting_capital
        self._day_peak = _ONE
        self._day_drawdown: Decimal | None = None
        self._returns: list[Decimal] = []

    @property
    def equity_curve(self) -> tuple[EquityPoint, ...]:
        """The newest known valuations, oldest first, as many as the monitor keeps."""
        return tuple(self._curve)

    @property
    def trades(self) -> TradeTotals:
        return self._tracker.totals

    @property
    def max_drawdown(self) -> Decimal:
        """The deepest fall of the index below its running peak so far, a fraction in [-1, 0]."""
        return self._max_drawdown

    @property
    def daily_returns(self) -> tuple[Decimal, ...]:
        """Of each UTC day that is over. A day without a valuation returns 0 if it is the only one between two with;
        a longer gap has no return, and the day after it begins at its first valuation (reference/trading.md 3.7)."""
        return tuple(self._returns)

    def record(self, trade: ClosedTrade) -> TradePerformance:
        self._check_order(trade.closed_ns)
        performance = self._tracker.record(trade)
        self._as_of_ns = trade.closed_ns
        return performance

    def flow(self, time_ns: int, amount: Decimal) -> None:
        """Capital moved in (> 0) or out (< 0)."""
        self._check_order(time_ns)
        self._flows = EXACT.add(self._flows, finite("amount", amount))
        self._as_of_ns = time_ns

    def observe(self, point: EquityPoint) -> None:
        self._check_order(point.time_ns)
        self._as_of_ns = point.time_ns
        self._newest = point
        if point.equity is None:
            return
        self._curve.append(point)
        self._enter_day(_day_of(point.time_ns))
        base = EXACT.add(self._equity, self._flows)
        self._index = _moved(self._index, base, point.equity)
        if self._day_base is None:
            self._day_base = self._day_peak = self._index
        if self._day_capital is not None:
            self._day_capital = EXACT.add(self._day_capital, self._flows)
        self._equity, self._flows = point.equity, ZERO
        self._max_equity = max(self._max_equity, point.equity)
        self._min_equity = min(self._min_equity, point.equity)
        self._peak = max(self._peak, self._index)
        self._max_drawdown = min(self._max_drawdown, _change(self._index, self._peak))
        self._day_peak = max(self._day_peak, self._index)
        self._day_drawdown = min(self._day_drawdown or ZERO, _change(self._index, self._day_peak))

    def summary(self, now_ns: int) -> PerformanceSummary:
        """The numbers at ``now_ns``, not before the newest event (BadTelemetry). What only a valuation of this UTC day
        can tell is None until there is one."""
        self._check_order(now_ns)
        totals, newest = self._tracker.totals, self._newest
        valued = newest is not None and newest.equity is not None
        today = self._day == _day_of(now_ns) and self._day_drawdown is not None
        total_return = EXACT.subtract(self._index, _ONE)
        return PerformanceSummary(
            as_of_ns=now_ns,
            pnl_usd=totals.pnl_usd,
            pnl_bps=totals.pnl_bps,
            realized=None if newest is None else newest.realized,
            unrealized=None if newest is None else newest.unrealized,
            gross_pnl_total=totals.gross_pnl_usd,
            net_pnl_total=totals.pnl_usd,
            fees_total=totals.fees_usd,
            total_return=divided(total_return, _ONE),
            return_bps=divided(EXACT.multiply(_BPS, total_return), _ONE),
            sharpe_ratio=sharpe_ratio(self._returns),
            sharpe_days=len(self._returns),
            win_rate=totals.win_rate,
            win_rate_1h=self._tracker.win_rate_1h(now_ns),
            winning_trades=totals.winning_trades,
            total_trades=totals.total_trades,
            equity=None if newest is None else newest.equity,
            cash=None if newest is None else newest.cash,
            max_equity=self._max_equity,
            min_equity=self._min_equity,
            peak_equity=self._peak_equity() if valued else None,
            max_drawdown=self._max_drawdown,
            current_drawdown=_change(self._index, self._peak) if valued else None,
            drawdown_daily=self._day_drawdown if today else None,
            daily_pnl=self._daily_pnl() if today and valued else None,
        )

    def carried(self) -> Document:
        """All that the monitor knows, as a document to store; the bytes of ``dump_document`` give it back."""
        return {
            "totals": {name: getattr(self._tracker.totals, name) for name in TradeTotals.__slots__},
            "recent": [[closed_ns, won] for closed_ns, won in self._tracker.recent],
            "as_of_ns": self._as_of_ns,
            "newest": None if self._newest is None else _row(self._newest),
            "curve": [_row(point) for point in self._curve],
            "curve_points": self._curve.maxlen,
            "equity": self._equity,
            "max_equity": self._max_equity,
            "min_equity": self._min_equity,
            "flows": self._flows,
            "index": self._index,
            "peak": self._peak,
            "max_drawdown": self._max_drawdown,
            "day": self._day.isoformat(),
            "day_base": self._day_base,
            "day_capital": self._day_capital,
            "day_peak": self._day_peak,
            "day_drawdown": self._day_drawdown,
            "returns": list(self._returns),
        }

    @classmethod
    def resumed(cls, document: Document) -> "PerformanceMonitor":
        """The monitor that ``carried`` described. Raises BadTelemetry when the document is no such description."""
        try:
            monitor = cls(_ONE, document["as_of_ns"], document["curve_points"])
            totals = document["totals"]
            counts = (totals["total_trades"], totals["winning_trades"], totals["losing_trades"])
            sums = (Decimal(totals[name]) for name in ("pnl_usd", "fees_usd", "notional_usd"))
            recent = tuple((closed_ns, bool(won)) for closed_ns, won in document["recent"])
            monitor._tracker = PerformanceTracker(TradeTotals(*counts, *sums), recent)
            monitor._newest = None if document["newest"] is None else _point(document["newest"])
            monitor._curve.extend(_point(row) for row in document["curve"])
            monitor._equity = Decimal(document["equity"])
            monitor._max_equity = Decimal(document["max_equity"])
            monitor._min_equity = Decimal(document["min_equity"])
            monitor._flows = Decimal(document["flows"])
            monitor._index = Decimal(document["index"])
            monitor._peak = Decimal(document["peak"])
            monitor._max_drawdown = Decimal(document["max_drawdown"])
            monitor._day = date.fromisoformat(document["day"])
            monitor._day_base = _optional(document["day_base"])
            monitor._day_capital = _optional(document["day_capital"])
            monitor._day_peak = Decimal(document["day_peak"])
            monitor._day_drawdown = _optional(document["day_drawdown"])
            monitor._returns = [Decimal(each) for each in document["returns"]]
        except (KeyError, TypeError, ValueError, ArithmeticError) as error:
            raise BadTelemetry("carried", f"no state of a monitor: {error!r}") from error
        return monitor

    def _check_order(self, time_ns: int) -> None:
        if instant("time_ns", time_ns) < self._as_of_ns:
            raise BadTelemetry("time_ns", f"{time_ns} is before {self._as_of_ns}, folded already")

    def _enter_day(self, day: date) -> None:
        """Close the day of the last known equity, if ``day`` is another: its return, and where the new one begins."""
        missing = (day - self._day).days - 1  # days between without a valuation
        if missing < 0:
            return
        if self._day_base is not None and self._day_drawdown is not None:
            self._returns.append(_change(self._index, self._day_base))
        if missing == 1:
            self._returns.append(ZERO)
        self._day, self._day_drawdown = day, None
        self._day_peak = self._index
        self._day_base, self._day_capital = (self._index, self._equity) if missing <= 1 else (None, None)

    def _peak_equity(self) -> Decimal | None:
        return divided(EXACT.multiply(self._equity, self._peak), self._index) if self._index else None

    def _daily_pnl(self) -> Decimal | None:
        return None if self._day_capital is None else EXACT.subtract(self._equity, self._day_capital)


def _moved(index: Decimal, base: Decimal, equity: Decimal) -> Decimal:
    """The index after capital of ``base`` became ``equity``."""
    if base > 0:
        return quotient(EXACT.multiply(index, max(equity, ZERO)), base)
    # Without capital there is no return, except that losing what one does not have is losing all.
    return index if equity >= base else ZERO


def _change(now: Decimal, before: Decimal) -> Decimal:
    """now / before - 1, 12 digits; after ruin (an index of 0) nothing changes any more."""
    return divided(EXACT.subtract(now, before), before) if before else ZERO


def _day_of(time_ns: int) -> date:
    return datetime.fromtimestamp(time_ns // _NS, UTC).date()


def _sum(values: Sequence[Decimal]) -> Decimal:
    total = ZERO
    for value in values:
        total = _STATISTICS.add(total, value)
    return total


def _row(point: EquityPoint) -> list[object]:
    return [point.time_ns, point.equity, point.cash, point.realized, point.unrealized]


def _point(row: Sequence[int | Decimal | None]) -> EquityPoint:
    time_ns, equity, cash, realized, unrealized = row
    if not isinstance(time_ns, int) or cash is None or realized is None:
        raise ValueError(f"no valuation: {row!r}")
    return EquityPoint(time_ns, _optional(equity), Decimal(cash), Decimal(realized), _optional(unrealized))


def _optional(value: Decimal | int | None) -> Decimal | None:
    return None if value is None else Decimal(value)
