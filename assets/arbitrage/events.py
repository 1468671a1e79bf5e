"""What can happen to the paper trader: the words of its event log, in the order they happened.

The log is the truth. Portfolio, trades, metrics, stream records and reports are folds over it, so a killed session is
rebuilt from what was stored, and a replayed day gives the same bytes. Nothing here depends on the machine's clock: all
times are the engine's (integer nanoseconds since 1970 UTC). ``seq`` counts from 0 within a session without a hole.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from assets.arbitrage.model import Leg, OrderSide, OrderType, Purpose


@dataclass(frozen=True, slots=True)
class SessionOpened:
    """The first event of a day's log: where the numbers come from and what they go on from.

    ``carried`` is the sha256 of the earlier session's whole log ("" for a first one), of ``carried_day``; its closing
    state is the state this one begins with. ``rules`` and ``listings`` are stored as documents.
    """

    seq: int
    time_ns: int
    source: str
    day: str
    starting_capital: Decimal
    rules: Mapping[str, object]
    listings: tuple[Mapping[str, object], ...]
    carried_day: str
    carried: str


@dataclass(frozen=True, slots=True)
class FlowPosted:
    """Capital moved in (> 0) or out (< 0), at most 6 decimals: changes what is available, never P&L. No more can go out
    than is available. ``instruction`` is the number of what somebody asked for, as in the two events that follow."""

    seq: int
    time_ns: int
    instruction: int
    amount: Decimal
    note: str


@dataclass(frozen=True, slots=True)
class EntriesResumed:
    """Somebody ended the halt: entries are considered again from the next market event on."""

    seq: int
    time_ns: int
    instruction: int
    note: str


@dataclass(frozen=True, slots=True)
class InstructionRefused:
    """What somebody asked for was not done, for good. ``asked`` is it ("withdraw 500"), "" where it cannot be read."""

    seq: int
    time_ns: int
    instruction: int
    asked: str
    reason: str


@dataclass(frozen=True, slots=True)
class EntryRefused:
    """An opportunity good enough to trade was not traded; once for each time it appears."""

    seq: int
    time_ns: int
    asset: str
    long_exchange: str
    short_exchange: str
    confidence: int
    reason: str


@dataclass(frozen=True, slots=True)
class TradeProposed:
    """The signal: an entry begins with the harder leg. Capital of ``position_size_usd`` is reserved.

    ``confidence_parts`` names each part of the score. ``harder_leg`` is sent first, ``harder_reason`` says why it is.
    """

    seq: int
    time_ns: int
    trade_id: str
    asset: str
    long_exchange: str
    long_symbol: str
    short_exchange: str
    short_symbol: str
    quantity: Decimal
    position_size_usd: Decimal
    long_price: Decimal
    short_price: Decimal
    spread_bps: Decimal
    fees_bps: Decimal
    funding_cost_bps: Decimal
    funding_delta: Decimal
    projected_profit_usd: Decimal
    confidence: int
    confidence_parts: Mapping[str, int]
    harder_leg: Leg
    harder_reason: str


@dataclass(frozen=True, slots=True)
class OrderSubmitted:
    seq: int
    time_ns: int
    order_id: str
    trade_id: str
    leg: Leg
    purpose: Purpose
    exchange: str
    symbol: str
    side: OrderSide
    order_type: OrderType
    price: Decimal
    size: Decimal


@dataclass(frozen=True, slots=True)
class OrderAccepted:
    """A limit order rests: ``resting_depth`` was ahead of it at its price."""

    seq: int
    time_ns: int
    order_id: str
    resting_depth: Decimal
    fill_threshold: Decimal


@dataclass(frozen=True, slots=True)
class OrderRefused:
    """The venue did not take it (a filter, no depth, a crossed or stale book); it is final and nothing filled."""

    seq: int
    time_ns: int
    order_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class OrderFilled:
    """One execution of ``size`` at ``price``; ``remaining`` is left of the order. ``fee`` in quote currency, >= 0.

    ``cumulative_volume`` and ``traded_excess`` describe the queue of a limit fill (None for a market one),
    ``slippage_bps``, ``walked_bps`` and ``slippage_capped`` a market fill (None, None, False for a limit one).
    """

    seq: int
    time_ns: int
    order_id: str
    price: Decimal
    size: Decimal
    remaining: Decimal
    fee: Decimal
    cumulative_volume: Decimal | None
    traded_excess: Decimal | None
    slippage_bps: Decimal | None
    walked_bps: Decimal | None
    slippage_capped: bool


@dataclass(frozen=True, slots=True)
class OrderCancelled:
    """The rest of the order is gone; fills that raced the cancellation came before."""

    seq: int
    time_ns: int
    order_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class LegOut:
    """One leg is filled and the other is not in time; logged before the hedge is sent, once in each phase.

    ``naked_quantity`` > 0 is by how much the legs differ at this moment.
    """

    seq: int
    time_ns: int
    trade_id: str
    phase: Purpose
    filled_leg: Leg
    filled_at: int
    unfilled_leg: Leg
    naked_quantity: Decimal


@dataclass(frozen=True, slots=True)
class LegOutHedged:
    """The naked quantity is gone. ``cost`` >= 0 is what the hedge lost against the price the plan had."""

    seq: int
    time_ns: int
    trade_id: str
    phase: Purpose
    hedge_price: Decimal
    cost: Decimal


@dataclass(frozen=True, slots=True)
class EntryAbandoned:
    """Nothing filled in time: no trade, no P&L, the reserved capital is free again."""

    seq: int
    time_ns: int
    trade_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class TradeOpened:
    """Both legs are filled for ``quantity`` (base units, equal on both), and what was reserved for more is free again.
    ``entry_unrealized_usd`` as in ``PaperTrade``."""

    seq: int
    time_ns: int
    trade_id: str
    quantity: Decimal
    entry_unrealized_usd: Decimal


@dataclass(frozen=True, slots=True)
class TradeExiting:
    """An exit condition holds: ``reason`` acts, ``conditions`` are all that hold. ``funding_delta`` None: unknown."""

    seq: int
    time_ns: int
    trade_id: str
    reason: str
    conditions: tuple[str, ...]
    unrealized_pnl: Decimal
    spread_bps: Decimal
    funding_delta: Decimal | None


@dataclass(frozen=True, slots=True)
class FundingPaid:
    """A settlement on one leg; ``amount`` is received when positive, 8 decimals.

    It was settled at ``time_ns``, or at ``settled_ns`` where it could only be booked later, since it was not told then.
    ``quantity`` > 0 is what the leg held strictly before that instant; the amount is posted(-quantity * mark * rate) on
    a long leg and posted(quantity * mark * rate) on a short one.
    """

    seq: int
    time_ns: int
    trade_id: str
    leg: Leg
    exchange: str
    symbol: str
    quantity: Decimal
    mark: Decimal
    rate: Decimal
    amount: Decimal
    settled_ns: int | None = None


@dataclass(frozen=True, slots=True)
class TradeClosed:
    """Both legs are flat. The profits restate what the fold computes; a fold that differs is an error."""

    seq: int
    time_ns: int
    trade_id: str
    reason: str
    gross_profit_usd: Decimal
    leg_out_cost_usd: Decimal
    actual_profit_usd: Decimal


@dataclass(frozen=True, slots=True)
class Halted:
    """No more entries on this day, or until ``EntriesResumed``: available capital below zero, or a naked position that
    could not be hedged. The next session enters again unless that still is so when it opens."""

    seq: int
    time_ns: int
    reason: str


@dataclass(frozen=True, slots=True)
class Valued:
    """Once a minute of the engine's clock: what the portfolio would yield if it were closed now.

    ``unrealized`` is None (and ``missing`` names the listings) where a quote is missing or stale.
    """

    seq: int
    time_ns: int
    available_capital: Decimal
    total_open_positions: Decimal
    realised: Decimal
    unrealized: Decimal | None
    missing: tuple[str, ...]


Event = (
    SessionOpened
    | FlowPosted
    | EntriesResumed
    | InstructionRefused
    | EntryRefused
    | TradeProposed
    | OrderSubmitted
    | OrderAccepted
    | OrderRefused
    | OrderFilled
    | OrderCancelled
    | LegOut
    | LegOutHedged
    | EntryAbandoned
    | TradeOpened
    | TradeExiting
    | FundingPaid
    | TradeClosed
    | Halted
    | Valued
)
