"""Closed trades measured: brief 4's fields for each, and sums that add up.

Everything is net: a trade wins when its net P&L is positive, and the totals it enters are net totals. (The
predecessor counted wins gross and summed net.) Fractions are fractions; basis points are named ``_bps``.
"""

from collections import deque
from dataclasses import dataclass
from decimal import Decimal

from assets.accounting.precision import EXACT, ZERO, divided
from assets.telemetry.bad_telemetry import BadTelemetry, finite, instant

HOUR_NS = 3_600 * 10**9
_BPS = Decimal(10_000)
_NS_IN_SECOND_EXPONENT = -9


@dataclass(frozen=True, slots=True)
class ClosedTrade:
    """One round trip, flat to flat. Raises BadTelemetry on what no trade can be.

    ``pnl_usd`` is net of ``fees_usd`` (those of all its fills, negative for a rebate) and with funding;
    ``notional_usd`` > 0 is what one leg was worth at entry. ``slippage_bps`` is the notional-weighted slippage of its
    market fills, None where there was none; ``confidence`` the signal's score in points of 100, None where the
    strategy gives none.
    """

    pnl_usd: Decimal
    fees_usd: Decimal
    notional_usd: Decimal
    slippage_bps: Decimal | None
    opened_ns: int
    closed_ns: int
    strategy: str
    confidence: int | None
    close_reason: str

    def __post_init__(self) -> None:
        finite("pnl_usd", self.pnl_usd)
        finite("fees_usd", self.fees_usd)
        if finite("notional_usd", self.notional_usd) <= 0:
            raise BadTelemetry("notional_usd", f"{self.notional_usd} is not positive")
        if self.slippage_bps is not None:
            finite("slippage_bps", self.slippage_bps)
        if instant("closed_ns", self.closed_ns) < instant("opened_ns", self.opened_ns):
            raise BadTelemetry("closed_ns", f"closed {self.opened_ns - self.closed_ns} ns before it was opened")
        if self.confidence is not None and not 0 <= self.confidence <= 100:
            raise BadTelemetry("confidence", f"{self.confidence} is no score of 0 to 100")
        for name in ("strategy", "close_reason"):
            if not getattr(self, name):
                raise BadTelemetry(name, "empty")


@dataclass(frozen=True, slots=True)
class TradePerformance:
    """Brief 4's fields of one trade. ``pnl_bps`` is of the trade's notional; ``hold_time_seconds`` is exact."""

    pnl_usd: Decimal
    pnl_bps: Decimal
    fees_usd: Decimal
    slippage_bps: Decimal | None
    hold_time_seconds: Decimal
    strategy: str
    confidence: int | None
    close_reason: str


@dataclass(frozen=True, slots=True)
class TradeTotals:
    """Sums over closed trades, exact, so the totals of parts add up to the totals of the whole (``plus``).

    winning + losing + even = total. gross = net + fees, always.
    """

    total_trades: int = 0
    winning_trades: int = 0
    losing_trades: int = 0
    pnl_usd: Decimal = ZERO
    fees_usd: Decimal = ZERO
    notional_usd: Decimal = ZERO

    @property
    def even_trades(self) -> int:
        return self.total_trades - self.winning_trades - self.losing_trades

    @property
    def gross_pnl_usd(self) -> Decimal:
        """Net P&L with all fees put back."""
        return EXACT.add(self.pnl_usd, self.fees_usd)

    @property
    def win_rate(self) -> Decimal | None:
        """Winning / all closed, a fraction: break-even trades count below the line only. None when none is closed."""
        return divided(Decimal(self.winning_trades), Decimal(self.total_trades)) if self.total_trades else None

    @property
    def pnl_bps(self) -> Decimal | None:
        """Net P&L of all trades per notional traded, in basis points. None when none is closed."""
        return divided(EXACT.multiply(_BPS, self.pnl_usd), self.notional_usd) if self.total_trades else None

    def plus(self, other: "TradeTotals") -> "TradeTotals":
        return TradeTotals(
            self.total_trades + other.total_trades,
            self.winning_trades + other.winning_trades,
            self.losing_trades + other.losing_trades,
            EXACT.add(self.pnl_usd, other.pnl_usd),
            EXACT.add(self.fees_usd, other.fees_usd),
            EXACT.add(self.notional_usd, other.notional_usd),
        )


class PerformanceTracker:
    """Folds closed trades, in the order they close, at a cost that does not grow with their number.

    ``totals`` and ``recent`` (the trades of the last hour before the newest, as (closed_ns, won)) are all it knows:
    a tracker made of another's goes on where that one stood.
    """

    def __init__(self, totals: TradeTotals | None = None, recent: tuple[tuple[int, bool], ...] = ()) -> None:
        self._totals = TradeTotals() if totals is None else totals
        self._recent = deque(recent)
        self._won_recently = sum(won for _, won in recent)

    @property
    def totals(self) -> TradeTotals:
        return self._totals

    @property
    def recent(self) -> tuple[tuple[int, bool], ...]:
        return tuple(self._recent)

    def record(self, trade: ClosedTrade) -> TradePerformance:
        """Count the trade. Raises BadTelemetry if it closed before one already counted; nothing is counted then."""
        if self._recent and trade.closed_ns < self._recent[-1][0]:
            raise BadTelemetry("closed_ns", f"{trade.closed_ns} is before {self._recent[-1][0]}, counted already")
        won = trade.pnl_usd > 0
        self._totals = self._totals.plus(
            TradeTotals(1, int(won), int(trade.pnl_usd < 0), trade.pnl_usd, trade.fees_usd, trade.notional_usd)
        )
        self._recent.append((trade.closed_ns, won))
        self._won_recently += won
        while self._recent[0][0] <= trade.closed_ns - HOUR_NS:
            self._won_recently -= self._recent.popleft()[1]
        return TradePerformance(
            trade.pnl_usd,
            divided(EXACT.multiply(_BPS, trade.pnl_usd), trade.notional_usd),
            trade.fees_usd,
            trade.slippage_bps,
            Decimal(trade.closed_ns - trade.opened_ns).scaleb(_NS_IN_SECOND_EXPONENT, EXACT),
            trade.strategy,
            trade.confidence,
            trade.close_reason,
        )

    def win_rate_1h(self, now_ns: int) -> Decimal | None:
        """Winning / closed in the hour that ends at ``now_ns`` (its beginning excluded), a fraction; None when none
        closed. Raises BadTelemetry for a time before the newest trade, which only a longer memory could answer."""
        if self._recent and now_ns < self._recent[-1][0]:
            raise BadTelemetry("now_ns", f"{now_ns} is before the newest trade's {self._recent[-1][0]}")
        older = [won for closed, won in self._recent if closed <= now_ns - HOUR_NS]
        closed = len(self._recent) - len(older)
        return divided(Decimal(self._won_recently - sum(older)), Decimal(closed)) if closed else None
