"""What is shown of the portfolio, and what happened on one day; undefined is None (reference/trading.md 3.5, 3.7)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext

from assets.accounting.precision import EXACT, ZERO, divided
from assets.arbitrage.events import (
    EntriesResumed,
    EntryAbandoned,
    EntryRefused,
    Event,
    InstructionRefused,
    OrderFilled,
    SessionOpened,
    TradeClosed,
    TradeOpened,
)
from assets.arbitrage.model import PaperTrade, PortfolioMetrics, PortfolioState
from assets.arbitrage.portfolio import Portfolio
from resources.feed import NANOSECONDS

_DAY_NS = 86_400 * NANOSECONDS
_YEAR_DAYS = 365
_PROVISIONAL_DAYS = 7
_BPS = Decimal(10_000)


def portfolio_metrics(state: PortfolioState, now_ns: int, unrealized: Decimal | None = None) -> PortfolioMetrics:
    """The brief's metrics at ``now_ns``. ``unrealized`` None (unknown) leaves the utilisation of equity undefined.

    P&L, its percentage and the APR do not move when capital does: they stay what the brief says, of the capital that
    was started with, whatever has come or gone since. So does the utilisation, which may then exceed 1; that of equity
    is of what is there now.

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


class _Profits:
    """Profits as they come; the figures over all of them cost the same however many there were."""

    def __init__(self) -> None:
        self._trades = self._wins = self._losses = 0
        self._won = self._lost = ZERO  # both >= 0
        self._best: Decimal | None = None
        self._worst: Decimal | None = None
        self._streak = self._longest_win = self._longest_loss = 0  # the streak of losses is negative

    def add(self, profit: Decimal) -> None:
        self._trades += 1
        self._best = profit if self._best is None else max(self._best, profit)
        self._worst = profit if self._worst is None else min(self._worst, profit)
        with localcontext(EXACT):
            if profit > 0:
                self._wins += 1
                self._won += profit
                self._streak = max(self._streak, 0) + 1
                self._longest_win = max(self._longest_win, self._streak)
            elif profit < 0:
                self._losses += 1
                self._lost -= profit
                self._streak = min(self._streak, 0) - 1
                self._longest_loss = max(self._longest_loss, -self._streak)
            else:
                self._streak = 0

    def statistics(self) -> TradeStatistics:
        trades, wins, losses, won, lost = self._trades, self._wins, self._losses, self._won, self._lost
        with localcontext(EXACT):
            pnl = won - lost
            won_per_lost = won * losses, lost * wins
        return TradeStatistics(
            trades=trades,
            wins=wins,
            losses=losses,
            break_even=trades - wins - losses,
            win_rate=_ratio(Decimal(wins), Decimal(trades)),
            pnl=pnl,
            profit_factor=_ratio(won, lost),
            expectancy=_ratio(pnl, Decimal(trades)),
            average_win=_ratio(won, Decimal(wins)),
            average_loss=_quotient(-lost, Decimal(losses)) if losses else None,
            payoff=_quotient(*won_per_lost) if wins and losses else None,
            best=self._best,
            worst=self._worst,
            longest_win_streak=self._longest_win,
            longest_loss_streak=self._longest_loss,
        )


def trade_statistics(trades: Sequence[PaperTrade]) -> TradeStatistics:
    """Over the closed trades among ``trades``, in the order given. Money in quote currency, ratios as fractions."""
    profits = _Profits()
    for trade in trades:
        if trade.actual_profit_usd is not None:
            profits.add(trade.actual_profit_usd)
    return profits.statistics()


@dataclass(frozen=True, slots=True)
class DailyMetrics:
    """One session's day. Amounts in quote currency, ratios as fractions, None where undefined.

    ``realised`` is everything posted on the day, that of trades still open included, while ``statistics`` is of the
    trades closed on it. ``fees`` were paid (>= 0), ``funding`` received when positive. ``leg_out_loss`` is of the
    trades closed. ``utilization_max`` is the highest total open / starting capital after any event, the beginning
    included. ``exits`` counts closed trades by reason, ``refused`` refused entries by reason. ``resumed`` counts halts
    that somebody ended, ``instructions_refused`` what people asked for in vain; ``halted`` is how the day ended.
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
    resumed: int
    instructions_refused: int
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
        self._opened = self._abandoned = self._fills = self._resumed = self._instructions_refused = 0
        self._refused: dict[str, int] = {}
        self._exits: dict[str, int] = {}
        self._profits = _Profits()

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
            case TradeClosed():
                self._exits[event.reason] = self._exits.get(event.reason, 0) + 1
                self._profits.add(event.actual_profit_usd)
            case EntriesResumed():
                self._resumed += 1
            case InstructionRefused():
                self._instructions_refused += 1
            case SessionOpened():
                self._available_low = portfolio.available
        self._open_max = max(self._open_max, portfolio.total_open)
        if self._available_low is not None:
            self._available_low = min(self._available_low, portfolio.available)

    def metrics(self) -> DailyMetrics:
        """The day so far, at a cost that does not grow with it. Raises ValueError before its first event."""
        portfolio, before = self._portfolio, self._before
        if self._available_low is None:
            raise ValueError("the day has no event yet")
        with localcontext(EXACT):
            return DailyMetrics(
                day=portfolio.day,
                source=portfolio.source,
                statistics=self._profits.statistics(),
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
                exits=dict(sorted(self._exits.items())),
                refused=dict(sorted(self._refused.items())),
                resumed=self._resumed,
                instructions_refused=self._instructions_refused,
                halted=portfolio.halted,
                open_at_end=len(portfolio.open_trades),
            )
