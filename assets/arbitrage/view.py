"""What screens show of the paper trader: one object for the terminal monitor and the web page.

The resident trader stores it as one document each second (``arbitrage/<source>/live.json``), so that no reader ever
sees a state written in pieces. It is derived: every number is a fold of the event log, valued at the quotes named in
it. None is undefined or unknown and is shown as such.
"""

from dataclasses import dataclass
from decimal import Decimal

from assets.arbitrage.model import PortfolioMetrics


@dataclass(frozen=True, slots=True)
class ActiveRow:
    """One open trade at the latest quotes. ``unrealized_pnl`` is net: both legs closed on their exit sides, the entry
    and exit fees and the funding so far; None where a quote is missing or stale (``missing`` names the venues)."""

    trade_id: str
    ticker: str
    long_exchange: str
    short_exchange: str
    entry_time_ns: int
    entry_spread_bps: Decimal
    current_spread_bps: Decimal | None
    unrealized_pnl: Decimal | None
    projected_profit: Decimal
    position_size_usd: Decimal
    quantity: Decimal
    funding_delta: Decimal | None
    status: str
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ExitRow:
    """One closed trade, newest first in the view."""

    trade_id: str
    ticker: str
    long_exchange: str
    short_exchange: str
    status: str
    profit: Decimal
    reason: str
    exit_time_ns: int
    held_ns: int


@dataclass(frozen=True, slots=True)
class OpportunityRow:
    """One opportunity as it stands, or as it last stood when ``removed_reason`` is not "".

    ``confidence_parts`` is (part, points) in a fixed order. ``net_bps`` = spread - four fees - funding cost.
    ``tradable`` is "" or the reason why it is not traded.
    """

    ticker: str
    long_exchange: str
    short_exchange: str
    long_bid: Decimal
    long_ask: Decimal
    short_bid: Decimal
    short_ask: Decimal
    spread_bps: Decimal
    net_bps: Decimal
    funding_delta: Decimal | None
    confidence: int
    confidence_parts: tuple[tuple[str, int], ...]
    quote_time_ns: int  # of the older of the two quotes
    tradable: str
    removed_ns: int | None
    removed_reason: str


@dataclass(frozen=True, slots=True)
class LegOutRow:
    trade_id: str
    ticker: str
    phase: str
    filled_leg: str
    filled_at_ns: int
    hedged_at_ns: int | None
    hedge_price: Decimal | None
    cost: Decimal


@dataclass(frozen=True, slots=True)
class CapitalPoint:
    """One ``Valued`` event: equity = available + open + unrealised, None where that is unknown."""

    time_ns: int
    available: Decimal
    open: Decimal
    equity: Decimal | None


@dataclass(frozen=True, slots=True)
class TraderView:
    """As of ``as_of_ns`` of the engine's clock, after event ``seq`` of the session of ``day``.

    ``exits`` and ``removed`` hold the newest first, as many as ``build_view`` was asked for; ``counts`` are rejected
    feed events by reason. ``venues`` gives each venue the time of its newest event.
    """

    source: str
    day: str
    seq: int
    as_of_ns: int
    starting_capital: Decimal
    total_open_positions: Decimal
    equity: Decimal | None
    unrealized_pnl: Decimal | None
    metrics: PortfolioMetrics
    halted: str
    active: tuple[ActiveRow, ...]
    exits: tuple[ExitRow, ...]
    opportunities: tuple[OpportunityRow, ...]
    removed: tuple[OpportunityRow, ...]
    leg_outs: tuple[LegOutRow, ...]
    capital: tuple[CapitalPoint, ...]
    venues: tuple[tuple[str, int], ...]
    counts: tuple[tuple[str, int], ...]
