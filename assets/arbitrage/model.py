"""The brief's data structures by their own names: trades, orders, queue positions, leg-outs, portfolio, metrics.

Everything here is an immutable value that the fold of the event log (``portfolio.py``) produces. Money and prices are
exact Decimals in quote currency, sizes in base units, times integer nanoseconds since 1970 UTC, and fractions are
fractions: 0.0125 is 1.25 %. None means undefined or not yet known, never zero.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from assets.accounting.precision import EXACT


class OrderSide(StrEnum):
    """Long buys, Short sells; an order that closes a long leg is Short."""

    LONG = "Long"
    SHORT = "Short"

    @property
    def sign(self) -> int:
        return 1 if self is OrderSide.LONG else -1


class OrderType(StrEnum):
    LIMIT = "Limit"
    MARKET = "Market"


class OrderStatus(StrEnum):
    """A cancelled order may have been filled in part: ``SimulatedOrder.filled_size`` says."""

    PENDING = "Pending"
    FILLED = "Filled"
    CANCELLED = "Cancelled"


class TradeStatus(StrEnum):
    PENDING = "Pending"  # waiting for fills
    ACTIVE = "Active"  # both sides filled
    EXITING = "Exiting"  # exit orders placed
    CLOSED = "Closed"  # trade complete


class Leg(StrEnum):
    """Which side of the trade: its long leg or its short one."""

    LONG = "long"
    SHORT = "short"

    @property
    def other(self) -> "Leg":
        return Leg.SHORT if self is Leg.LONG else Leg.LONG

    @property
    def opening_side(self) -> OrderSide:
        return OrderSide.LONG if self is Leg.LONG else OrderSide.SHORT

    @property
    def closing_side(self) -> OrderSide:
        return OrderSide.SHORT if self is Leg.LONG else OrderSide.LONG


class Purpose(StrEnum):
    """Why an order was sent. ``HEDGE`` completes the missing leg, ``UNWIND`` takes the filled one back."""

    ENTRY = "entry"
    EXIT = "exit"
    HEDGE = "hedge"
    UNWIND = "unwind"


class ExitReason(StrEnum):
    """In order of priority: when several conditions hold, the first acts and all are recorded (trading.md 3.5)."""

    LEG_OUT = "leg_out"
    LOSS_LIMIT = "loss_limit"
    PROFIT_TARGET = "profit_target"
    FUNDING_CONVERGENCE = "funding_convergence"


@dataclass(frozen=True, slots=True)
class QueuePosition:
    """Where a resting limit order stands.

    ``cumulative_volume_at_price`` is what opposite aggressors traded at ``price`` since acceptance;
    ``resting_depth_at_entry`` what rested there at acceptance.
    """

    price: Decimal
    cumulative_volume_at_price: Decimal
    resting_depth_at_entry: Decimal
    fill_threshold_pct: Decimal  # a fraction, by the brief's name: 0.20
    is_filled: bool

    def should_fill(self) -> bool:
        """cumulative >= depth * threshold, and at least something traded (trading.md 3.5: a depth of zero alone would
        fill every order)."""
        return self.cumulative_volume_at_price > 0 and self.cumulative_volume_at_price >= EXACT.multiply(
            self.resting_depth_at_entry, self.fill_threshold_pct
        )


@dataclass(frozen=True, slots=True)
class SimulatedOrder:
    """One order and what became of it.

    ``price`` is the limit, or for a market order the best opposite price when it was sent; ``fill_price`` the average
    of the fills so far (exact notional / size is ``filled_notional / filled_size``). ``slippage_bps`` is what was
    applied to a market fill, ``walked_bps`` what walking the displayed book would have cost (None where no book was
    shown), ``traded_excess`` the volume traded beyond the fill threshold (trading.md 3.5) and None for a market order.
    ``reason`` says why it was cancelled or refused ("" when it was not).
    """

    id: str
    trade_id: str
    exchange: str
    symbol: str
    leg: Leg
    purpose: Purpose
    side: OrderSide
    order_type: OrderType
    price: Decimal
    size: Decimal
    queue_position: QueuePosition | None
    created_at: int
    accepted_at: int | None
    filled_at: int | None
    fill_price: Decimal | None
    filled_size: Decimal
    filled_notional: Decimal
    fee: Decimal
    slippage_bps: Decimal | None
    walked_bps: Decimal | None
    slippage_capped: bool
    traded_excess: Decimal | None
    status: OrderStatus
    reason: str


@dataclass(frozen=True, slots=True)
class LegOutEvent:
    """One leg filled and the other did not in time. Logged before the hedge is sent.

    ``phase`` is entry or exit; ``hedge_price`` None until the hedge is executed; ``cost`` >= 0 is the loss attributed
    to it, contained once in the trade's ``actual_profit_usd``.
    """

    phase: Purpose
    filled_leg: Leg
    filled_at: int
    unfilled_leg: Leg
    hedge_executed: bool
    hedge_price: Decimal | None
    hedged_at: int | None
    cost: Decimal


@dataclass(frozen=True, slots=True)
class PaperTrade:
    """A dual-leg trade from its first order to its last fill.

    ``position_size_usd`` is the notional per leg and the capital reserved (trading.md 3.5). ``projected_profit_usd`` is
    net of four fees, of crossing both books on the way out and with the funding due within the expected hold. Of a
    trade that opened with less than was proposed, ``quantity`` and both of these are of what it opened with.
    ``actual_profit_usd`` = gross price P&L - all fees + funding, what a leg-out cost included once;
    ``gross_profit_usd`` = ``actual_profit_usd`` + ``leg_out_cost_usd`` (both None until closed).
    ``entry_unrealized_usd`` is what closing at the instant of entry would have yielded (its known cost, <= 0 as a
    rule): the loss limit measures from there. ``orders`` holds every order of the trade by id; ``long_order`` and
    ``short_order`` are the two entry orders.
    """

    id: str
    symbol: str
    long_exchange: str
    short_exchange: str
    long_symbol: str
    short_symbol: str
    quantity: Decimal
    entry_time: int
    entry_long_price: Decimal | None
    entry_short_price: Decimal | None
    entry_spread_bps: Decimal
    position_size_usd: Decimal
    funding_delta_entry: Decimal
    confidence: int
    projected_profit_usd: Decimal
    entry_unrealized_usd: Decimal | None
    fees_usd: Decimal
    funding_usd: Decimal
    leg_out_cost_usd: Decimal
    gross_profit_usd: Decimal | None
    actual_profit_usd: Decimal | None
    status: TradeStatus
    exit_reason: str | None
    exit_conditions: tuple[str, ...]
    exit_time: int | None
    orders: Mapping[str, SimulatedOrder]
    long_order: SimulatedOrder | None
    short_order: SimulatedOrder | None
    leg_out_event: LegOutEvent | None
    exit_leg_out_event: LegOutEvent | None


@dataclass(frozen=True, slots=True)
class PortfolioState:
    """The pool of capital. Identity: available + total open = starting + net flows + realised (capital conservation).

    ``realised`` contains fees and funding as they are posted and the price P&L of a leg when its quantity returns to
    zero, those of open trades included; ``cumulative_pnl`` is the sum of ``actual_profit_usd`` of the closed ones.
    ``active_trades`` are all that are not closed, pending ones too: each has its size reserved. Counts and sums go on
    over the days while ``closed_trades`` holds those of this session. ``leg_out_count`` counts when a leg-out is
    logged, ``leg_out_total_loss`` when its trade closes, so that cumulative P&L = sum of gross - leg-out loss always.
    """

    starting_capital: Decimal
    available_capital: Decimal
    total_open_positions: Decimal
    net_flows: Decimal
    realised: Decimal
    active_trades: tuple[PaperTrade, ...]
    closed_trades: tuple[PaperTrade, ...]
    cumulative_pnl: Decimal
    win_count: int
    loss_count: int
    leg_out_count: int
    leg_out_total_loss: Decimal
    halted: str  # why no more trades are entered, "" while they are
    break_even_count: int  # win + loss + break-even = closed
    first_trade_at: int | None  # the first fill ever, where the annual rate begins


@dataclass(frozen=True, slots=True)
class PortfolioMetrics:
    """What is shown of the portfolio; undefined ratios are None (trading.md 3.5 says when)."""

    total_trades: int  # closed ones, the denominator of the win rate
    win_rate: Decimal | None  # wins / closed; break-even counts below the line only
    cumulative_pnl: Decimal
    pnl_percentage: Decimal  # cumulative_pnl / starting_capital, a fraction
    available_capital: Decimal
    utilization_pct: Decimal  # total open / starting capital, a fraction
    utilization_of_equity: Decimal | None  # total open / equity
    leg_out_count: int
    leg_out_loss_pct: Decimal | None  # of cumulative P&L, only while that is positive
    leg_out_loss_bps: Decimal  # of starting capital
    realistic_apr: Decimal | None  # simple, from the first trade on; None below one day
    apr_provisional: bool  # less than seven days
