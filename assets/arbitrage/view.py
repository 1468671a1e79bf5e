"""What screens show of the paper trader: one object for the terminal monitor and the web page.

The resident trader stores it as one document each second (``live_document`` at ``live_key``), so that no reader ever
sees a state written in pieces. It is derived: every number is a fold of the event log, valued at the quotes named in
it. None is undefined or unknown and is shown as such.

Closing now is what unrealised means: each leg at the side of the book it would be closed at, taker fees included.
Starting capital + flows + cumulative P&L of closed trades + unrealised P&L of open ones = equity, exactly.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, localcontext
from itertools import islice
from typing import Any

from assets.accounting.precision import EXACT, ZERO, posted, quotient
from assets.arbitrage.codec import value_from_document, value_to_document
from assets.arbitrage.events import EntriesResumed, FlowPosted, InstructionRefused, Valued
from assets.arbitrage.metrics import portfolio_metrics
from assets.arbitrage.model import Leg, LegOutEvent, PaperTrade, PortfolioMetrics, TradeStatus
from assets.arbitrage.portfolio import Portfolio
from assets.arbitrage.scanner import Opportunity, Removed, Scanner
from resources.documents import Document, from_iso, to_iso
from resources.feed import Quote, from_units

_SHOWN = 50  # rows of each list that grows: exits, opportunities as they stand and removed ones, leg-outs


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

    ``confidence_parts`` is (part, points) in a fixed order. ``net_bps`` = spread - four fees - funding cost - half of
    both bid-ask spreads. ``tradable`` is "" or the reason why it is not traded (``scanner.Opportunity`` lists them).
    ``since_ns`` is when it appeared, None while it does not cover its costs.
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
    since_ns: int | None
    removed_ns: int | None
    removed_reason: str


@dataclass(frozen=True, slots=True)
class LegOutRow:
    """One leg-out, newest first in the view; the hedge is None while it is under way."""

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
class InstructionRow:
    """What became of one instruction of this day, newest first in the view. ``amount`` is what moved in (> 0) or out,
    None of a resume and of what was refused (``asked`` and ``refused`` then say what and why, else they are "").
    ``available`` is what was available afterwards."""

    number: int
    time_ns: int
    amount: Decimal | None
    asked: str
    refused: str
    available: Decimal


@dataclass(frozen=True, slots=True)
class TraderView:
    """As of ``as_of_ns`` of the engine's clock, after event ``seq`` of the session of ``day``.

    ``unrealized_pnl`` is the sum of the active rows', None where one is unknown; the fees and funding in it are posted
    already, so ``equity`` is not available + open + that, but starting capital + flows + cumulative P&L + that.

    ``exits`` and ``removed`` hold the newest first, as many as ``build_view`` was asked for; ``counts`` are rejected
    feed events by reason. ``venues`` gives each venue the time of its newest event. ``taken`` is the newest instruction
    that was taken, on whatever day.
    """

    source: str
    day: str
    seq: int
    as_of_ns: int
    starting_capital: Decimal
    net_flows: Decimal
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
    taken: int
    instructions: tuple[InstructionRow, ...]


def build_view(
    portfolio: Portfolio,
    scanner: Scanner,
    capital: Sequence[CapitalPoint],
    now_ns: int,
    *,
    refused: Mapping[str, int] | None = None,
    instructions: Sequence[InstructionRow] = (),
    shown: int = _SHOWN,
) -> TraderView:
    """The view of a portfolio and its scanner at ``now_ns`` of the engine's clock.

    ``capital`` is shown as it is given (``capital_point`` of each ``Valued``). ``refused`` counts events that others
    than the scanner refused, ``instructions`` are the day's, oldest first. ``shown`` limits each list that grows.
    Trades that hold something and those on their way out are active; a proposal without a fill is not yet one.
    """
    market = _Market(scanner, now_ns)
    rows = tuple(_active_row(portfolio, market, trade) for trade in portfolio.open_trades if _holds(portfolio, trade))
    unrealized: Decimal | None = ZERO
    equity = unposted = None
    with localcontext(EXACT):
        for row in rows:
            unrealized = None if unrealized is None or row.unrealized_pnl is None else unrealized + row.unrealized_pnl
        if unrealized is not None:
            equity = portfolio.starting_capital + portfolio.net_flows + portfolio.cumulative_pnl + unrealized
            unposted = equity - portfolio.available - portfolio.total_open
    current = scanner.current(now_ns)
    return TraderView(
        source=portfolio.source,
        day=portfolio.day,
        seq=portfolio.seq,
        as_of_ns=now_ns,
        starting_capital=portfolio.starting_capital,
        net_flows=portfolio.net_flows,
        total_open_positions=portfolio.total_open,
        equity=equity,
        unrealized_pnl=unrealized,
        metrics=portfolio_metrics(portfolio.state(), now_ns, unposted),
        halted=portfolio.halted,
        active=rows,
        exits=tuple(_exit_row(trade, market) for trade in islice(reversed(portfolio.closed_trades), shown)),
        opportunities=tuple(_opportunity_row(each, market) for each in current[:shown]),
        removed=tuple(_removed_row(each, market) for each in scanner.removed(shown)),
        leg_outs=_leg_out_rows(portfolio, market, shown),
        capital=tuple(capital),
        venues=_venue_times(scanner),
        counts=tuple(sorted((Counter(scanner.refused) + Counter(refused or {})).items())),
        taken=portfolio.taken,
        instructions=tuple(islice(reversed(instructions), shown)),
    )


def capital_point(event: Valued) -> CapitalPoint:
    """The point of the capital curve that a minute's valuation is."""
    equity = None
    if event.unrealized is not None:
        with localcontext(EXACT):
            equity = event.available_capital + event.total_open_positions + event.unrealized
    return CapitalPoint(event.time_ns, event.available_capital, event.total_open_positions, equity)


def instruction_row(event: FlowPosted | EntriesResumed | InstructionRefused, portfolio: Portfolio) -> InstructionRow:
    """What became of the instruction that ``event`` took, which ``portfolio`` has folded."""
    return InstructionRow(
        number=event.instruction,
        time_ns=event.time_ns,
        amount=event.amount if isinstance(event, FlowPosted) else None,
        asked=event.asked if isinstance(event, InstructionRefused) else "",
        refused=event.reason if isinstance(event, InstructionRefused) else "",
        available=portfolio.available,
    )


def live_key(source: str) -> str:
    """Where the resident trader of a source stores its newest view, each second."""
    return f"arbitrage/{source.lower()}/live.json"


def live_document(view: TraderView, written_at: datetime) -> Document:
    """What is stored at ``live_key``: the view and when (UTC, the machine's clock) it was written. A recorded past is
    as old as it is; only this instant says whether its trader is alive. Raises ValueError on a mistyped field."""
    return {"written_utc": to_iso(written_at), "view": view_to_document(view)}


def live_from_document(document: Mapping[str, Any]) -> tuple[TraderView, datetime]:
    """The view and when it was written. Raises ValueError naming what is missing or of another type."""
    written, view = document.get("written_utc"), document.get("view")
    if not isinstance(written, str) or not isinstance(view, Mapping):
        raise ValueError("a live document holds written_utc and view")
    return view_from_document(view), from_iso(written)


def view_to_document(view: TraderView) -> Document:
    """The view as JSON. Raises ValueError when a value is not of its field's type."""
    return value_to_document(view)


def view_from_document(document: Mapping[str, Any]) -> TraderView:
    """The view a document stands for. Raises ValueError naming the field that is missing, unknown or of another
    type."""
    return value_from_document(TraderView, document)


class _Market:
    """The listings by venue and symbol, as they stand at ``now_ns``."""

    def __init__(self, scanner: Scanner, now_ns: int) -> None:
        self.scanner = scanner
        self.now_ns = now_ns
        self._at = {(listing.venue, listing.symbol): index for index, listing in enumerate(scanner.listings)}

    def index(self, venue: str, symbol: str) -> int | None:
        """None for a listing that is no longer in the feed, as a carried trade's may be."""
        return self._at.get((venue, symbol))

    def venue(self, index: int) -> str:
        return self.scanner.listings[index].venue

    def taker_fee(self, index: int) -> Decimal:
        return self.scanner.listings[index].taker_fee

    def quote(self, index: int | None) -> Quote | None:
        return None if index is None else self.scanner.quote(index, self.now_ns)

    def ticker(self, index: int) -> str:
        """Asset and quote currency, BTCUSDT: the same for every venue, whatever it calls its contract."""
        listing = self.scanner.listings[index]
        return listing.asset + listing.quote

    def ticker_of(self, trade: PaperTrade) -> str:
        index = self.index(trade.long_exchange, trade.long_symbol)
        return trade.symbol if index is None else self.ticker(index)


def _holds(portfolio: Portfolio, trade: PaperTrade) -> bool:
    return trade.status is not TradeStatus.PENDING or any(portfolio.holding(trade.id, leg).quantity for leg in Leg)


def _active_row(portfolio: Portfolio, market: _Market, trade: PaperTrade) -> ActiveRow:
    long_at = market.index(trade.long_exchange, trade.long_symbol)
    short_at = market.index(trade.short_exchange, trade.short_symbol)
    long, short = market.quote(long_at), market.quote(short_at)
    spread = unrealized = delta = None
    if long_at is not None and short_at is not None:
        delta = market.scanner.funding_delta(long_at, short_at, market.now_ns)
        if long is not None and short is not None:
            unrealized = _unrealized(
                portfolio, trade, long, short, market.taker_fee(long_at), market.taker_fee(short_at)
            )
            spread = spread_bps(long.bid, short.ask)
    return ActiveRow(
        trade_id=trade.id,
        ticker=market.ticker_of(trade),
        long_exchange=trade.long_exchange,
        short_exchange=trade.short_exchange,
        entry_time_ns=trade.entry_time,
        entry_spread_bps=trade.entry_spread_bps,
        current_spread_bps=spread,
        unrealized_pnl=unrealized,
        projected_profit=trade.projected_profit_usd,
        position_size_usd=trade.position_size_usd,
        quantity=trade.quantity,
        funding_delta=delta,
        status=trade.status.value,
        missing=tuple(
            venue for venue, quote in ((trade.long_exchange, long), (trade.short_exchange, short)) if quote is None
        ),
    )


def spread_bps(long_price: int, short_price: int) -> Decimal:
    """How far the short leg's price stands above the long leg's, basis points of the latter, 8 decimals."""
    return posted(quotient(Decimal((short_price - long_price) * 10_000), Decimal(long_price)))


def _unrealized(
    portfolio: Portfolio,
    trade: PaperTrade,
    long_quote: Quote,
    short_quote: Quote,
    long_fee: Decimal,
    short_fee: Decimal,
) -> Decimal:
    """What the trade would have earned if what it holds were closed now: both legs, every fee, the funding so far."""
    bid, ask = from_units(long_quote.bid), from_units(short_quote.ask)
    long, short = (portfolio.holding(trade.id, leg).quantity for leg in (Leg.LONG, Leg.SHORT))
    with localcontext(EXACT):
        leaving = long * bid * long_fee + short * ask * short_fee
        return posted(portfolio.price_pnl_at(trade.id, bid, ask) - trade.fees_usd + trade.funding_usd - leaving)


def _exit_row(trade: PaperTrade, market: _Market) -> ExitRow:
    if trade.actual_profit_usd is None or trade.exit_time is None or trade.exit_reason is None:
        raise ValueError(f"trade {trade.id} is not closed")
    return ExitRow(
        trade_id=trade.id,
        ticker=market.ticker_of(trade),
        long_exchange=trade.long_exchange,
        short_exchange=trade.short_exchange,
        status=trade.status.value,
        profit=trade.actual_profit_usd,
        reason=trade.exit_reason,
        exit_time_ns=trade.exit_time,
        held_ns=trade.exit_time - trade.entry_time,
    )


def _opportunity_row(
    opportunity: Opportunity, market: _Market, removed_ns: int | None = None, removed_reason: str = ""
) -> OpportunityRow:
    long, short = opportunity.long_quote, opportunity.short_quote
    return OpportunityRow(
        ticker=market.ticker(opportunity.long),
        long_exchange=market.venue(opportunity.long),
        short_exchange=market.venue(opportunity.short),
        long_bid=from_units(long.bid),
        long_ask=from_units(long.ask),
        short_bid=from_units(short.bid),
        short_ask=from_units(short.ask),
        spread_bps=opportunity.spread_bps,
        net_bps=opportunity.net_bps,
        funding_delta=opportunity.funding_delta,
        confidence=opportunity.confidence,
        confidence_parts=opportunity.parts,
        quote_time_ns=min(long.time_ns, short.time_ns),
        tradable=opportunity.tradable,
        since_ns=opportunity.since_ns,
        removed_ns=removed_ns,
        removed_reason=removed_reason,
    )


def _removed_row(removed: Removed, market: _Market) -> OpportunityRow:
    return _opportunity_row(removed.opportunity, market, removed.removed_ns, removed.reason)


def _leg_out_rows(portfolio: Portfolio, market: _Market, shown: int) -> tuple[LegOutRow, ...]:
    found = [
        (trade, leg_out)
        for trade in (*portfolio.open_trades, *portfolio.closed_trades)
        for leg_out in (trade.leg_out_event, trade.exit_leg_out_event)
        if leg_out is not None
    ]
    found.sort(key=lambda pair: -pair[1].filled_at)
    return tuple(_leg_out_row(trade, market, leg_out) for trade, leg_out in found[:shown])


def _leg_out_row(trade: PaperTrade, market: _Market, leg_out: LegOutEvent) -> LegOutRow:
    return LegOutRow(
        trade_id=trade.id,
        ticker=market.ticker_of(trade),
        phase=leg_out.phase.value,
        filled_leg=leg_out.filled_leg.value,
        filled_at_ns=leg_out.filled_at,
        hedged_at_ns=leg_out.hedged_at,
        hedge_price=leg_out.hedge_price,
        cost=leg_out.cost,
    )


def _venue_times(scanner: Scanner) -> tuple[tuple[str, int], ...]:
    """The time of each venue's newest event, by the venue's name; a venue that said nothing yet is left out."""
    newest: dict[str, int] = {}
    for index, listing in enumerate(scanner.listings):
        time_ns = scanner.newest_ns(index)
        if time_ns is not None:
            newest[listing.venue] = max(newest.get(listing.venue, time_ns), time_ns)
    return tuple(sorted(newest.items()))
