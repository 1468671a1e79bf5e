"""What is shown of the portfolio, and what happened on one day; undefined is None (reference/trading.md 3.5, 3.7)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext

from assets.accounting.precision import EXACT, ZERO, divided
from assets.arbitrage.events import EntryAbandoned, EntryRefused, Event, OrderFilled, SessionOpened, TradeOpened
from assets.arbitrage.model import PaperTrade, PortfolioMetrics, PortfolioState
from assets.arbitrage.portfolio import Portfolio
from resources.feed import NANOSECONDS

_DAY_NS = 86_400 * NANOSECONDS
_YEAR_DAYS = 365
_PROVISIONAL_DAYS = 7
_BPS = Decimal(10_000)


def portfolio_metrics(state: PortfolioState, now_ns: int, unrealized: Decimal | None = None) -> PortfolioMetrics:
    """The brief's metrics at ``now_ns``. ``unrealized`` None (unknown) leaves the utilisation of equity undefined.

    Ratios have 12 significant digits and decide nothing; amounts are exact.
    """
    pnl, capital, loss = state.cumulative_pnl, state.starting_capital, state.leg_out_total_loss
    closed = state.win_count + state.loss_count + state.break_even_count
    elapsed = 0 if state.first_trade_at is None else now_ns - state.first_trade_at
    with localcontext(EXACT):
        equity = None if unrealized is None else state.available_capital + state.total_open_positions + unrealized
        annual_gain = pnl * _YEAR_DAYS * _DAY_NS
        loss_in_bps = loss * _BPS
        capital_time = capital * elapsed
    return PortfolioMetrics(
        total_trades=closed,
        win_rate=_ratio(Decimal(state.win_count), Decimal(closed)),
        cumulative_pnl=pnl,
        pnl_percentage=_quotient(pnl, capital),
        available_capital=state.available_capital,
        utilization_pct=_quotient(state.total_open_positions, capital),
        utilization_of_equity=None if equity is None else _ratio(state.total_open_positions, equity),
        leg_out_count=state.leg_out_count,
        leg_out_loss_pct=_ratio(loss, pnl),
        leg_out_loss_bps=_quotient(loss_in_bps, capital),
        realistic_apr=_quotient(annual_gain, capital_time) if elapsed >= _DAY_NS else None,
        apr_provisional=elapsed < _PROVISIONAL_DAYS * _DAY_NS,
    )


def _quotient(numerator: Decimal, denominator: Decimal) -> Decimal:
    """For display; nothing of something is plainly 0, not a zero of so many digits."""
    return divided(numerator, denominator) if numerator else ZERO


def _ratio(numerator: Decimal, denominator: Decimal) -> Decimal | None:
    """None where the denominator is not above zero: there is nothing to be a part of."""
    return _quotient(numerator, denominator) if denominator > 0 else None


@dataclass(frozen=True, slots=True)
class TradeStatistics:
    """Figures over closed trades, each net of fees, funding and leg-outs (reference/trading.md 3.7).

    ``profit_factor`` = sum of profits / abs(sum of losses), None without losses; ``payoff`` = average win / abs(average
    loss), None without wins or losses; ``expectancy`` the mean profit. Streaks count break-even trades as neither.
    """

    trades: int
    wins: int
    losses: int
    break_even: int
    win_rate: Decimal | None
    pnl: Decimal
    profit_factor: Decimal | None
    expectancy: Decimal | None
    average_win: Decimal | None
    average_loss: Decimal | None
    payoff: Decimal | None
    best: Decimal | None
    worst: Decimal | None
    longest_win_streak: int
    longest_loss_streak: int


_NO_TRADES = TradeStatistics(0, 0, 0, 0, None, ZERO, None, None, None, None, None, None, None, 0, 0)


def trade_statistics(trades: Sequence[PaperTrade]) -> TradeStatistics:
    """Over the closed trades among ``trades``, in the order given. Money in quote currency, ratios as fractions."""
    profits = [trade.actual_profit_usd for trade in trades if trade.actual_profit_usd is not None]
    if not profits:
        return _NO_TRADES
    wins, losses = [p for p in profits if p > 0], [p for p in profits if p < 0]
    with localcontext(EXACT):
        won, lost = sum(wins, ZERO), -sum(losses, ZERO)
        pnl = won - lost
        won_per_lost = won * len(losses), lost * len(wins)
    return TradeStatistics(
        trades=len(profits),
        wins=len(wins),
        losses=len(losses),
        break_even=len(profits) - len(wins) - len(losses),
        win_rate=_quotient(Decimal(len(wins)), Decimal(len(profits))),
        pnl=pnl,
        profit_factor=_ratio(won, lost),
        expectancy=_quotient(pnl, Decimal(len(profits))),
        average_win=_ratio(won, Decimal(len(wins))),
        average_loss=_quotient(-lost, Decimal(len(losses))) if losses else None,
        payoff=_quotient(*won_per_lost) if wins and losses else None,
        best=max(profits),
        worst=min(profits),
        longest_win_streak=_longest([p > 0 for p in profits]),
        longest_loss_streak=_longest([p < 0 for p in profits]),
    )


def _longest(hits: Sequence[bool]) -> int:
    longest = current = 0
    for hit in hits:
        current = current + 1 if hit else 0
        longest = max(longest, current)
    return longest


@dataclass(frozen=True, slots=True)
class DailyMetrics:
    """One session's day. Amounts in quote currency, ratios as fractions, None where undefined.

    ``realised`` is everything posted on the day, that of trades still open included, while ``statistics`` is of the
    trades closed on it. ``fees`` were paid (>= 0), ``funding`` received when positive. ``leg_out_loss`` is of the
    trades closed. ``utilization_max`` is the highest total open / starting capital after any event, the beginning
    included. ``exits`` counts closed trades by reason, ``refused`` refused entries by reason.
    """

    day: str
    source: str
    statistics: TradeStatistics
    realised: Decimal
    fees: Decimal
    funding: Decimal
    net_flows: Decimal
    opened: int
    abandoned: int
    fills: int
    leg_outs: int
    leg_out_loss: Decimal
    available_low: Decimal
    utilization_max: Decimal
    exits: Mapping[str, int]
    refused: Mapping[str, int]
    halted: str
    open_at_end: int


class DayTally:
    """Counts one session's day beside its portfolio: ``apply`` folds the event into both, in O(1)."""

    def __init__(self, portfolio: Portfolio) -> None:
        """``portfolio`` has seen no event of the day: a new one, or one from the carried state."""
        if portfolio.seq != -1:
            raise ValueError(f"the day of {portfolio.day} has begun: {portfolio.seq + 1} events are folded")
        self._portfolio = portfolio
        self._before = portfolio.state()
        self._fees, self._funding = portfolio.fees, portfolio.funding
        self._open_max = portfolio.total_open
        self._available_low: Decimal | None = None
        self._opened = self._abandoned = self._fills = 0
        self._refused: dict[str, int] = {}

    def apply(self, event: Event) -> None:
        """Fold the next event. Raises LogError as the portfolio does."""
        portfolio = self._portfolio
        portfolio.apply(event)
        match event:
            case OrderFilled():
                self._fills += 1
            case TradeOpened():
                self._opened += 1
            case EntryAbandoned():
                self._abandoned += 1
            case EntryRefused():
                self._refused[event.reason] = self._refused.get(event.reason, 0) + 1
            case SessionOpened():
                self._available_low = portfolio.available
        self._open_max = max(self._open_max, portfolio.total_open)
        if self._available_low is not None:
            self._available_low = min(self._available_low, portfolio.available)

    def metrics(self) -> DailyMetrics:
        """The day so far. Raises ValueError before its first event."""
        portfolio, before = self._portfolio, self._before
        if self._available_low is None:
            raise ValueError("the day has no event yet")
        exits: dict[str, int] = {}
        for trade in portfolio.closed_trades:
            reason = trade.exit_reason or ""
            exits[reason] = exits.get(reason, 0) + 1
        with localcontext(EXACT):
            return DailyMetrics(
                day=portfolio.day,
                source=portfolio.source,
                statistics=trade_statistics(portfolio.closed_trades),
                realised=portfolio.realised - before.realised,
                fees=portfolio.fees - self._fees,
                funding=portfolio.funding - self._funding,
                net_flows=portfolio.net_flows - before.net_flows,
                opened=self._opened,
                abandoned=self._abandoned,
                fills=self._fills,
                leg_outs=portfolio.leg_out_count - before.leg_out_count,
                leg_out_loss=portfolio.leg_out_total_loss - before.leg_out_total_loss,
                available_low=self._available_low,
                utilization_max=_quotient(self._open_max, portfolio.starting_capital),
                exits=dict(sorted(exits.items())),
                refused=dict(sorted(self._refused.items())),
                halted=portfolio.halted,
                open_at_end=len(portfolio.open_trades),
            )
