"""What telemetry and reports are told of the paper trader: one plain record for each event that they care about.

``notional_usd`` of a trade is what one leg was filled for at its entry: the leg that was worth more, as sizes are.

What people ask for is a flow once it is done. That a halt was ended, or an instruction refused, is no error of the
trader's and makes no record: the error rate stays what went wrong of what it did.

Telemetry knows nothing of trades with two legs, so these records are the whole of what passes between the two: ``kind``
and the fields named here, money exact in quote currency, times in nanoseconds since 1970 UTC.

| kind | fields |
|---|---|
| opened | time_ns, day, source, capital (what the session began with), carried_day ("" for a first session) |
| flow | time_ns, amount |
| signal | time_ns, signal_id, symbol, quantity, notional, confidence, strategy |
| entry_abandoned | time_ns, signal_id, reason |
| fill | time_ns, order_id, signal_id, exchange, symbol, side (buy or sell), quantity, price, fee, slippage_bps |
| funding | time_ns, signal_id, exchange, symbol, amount |
| trade | pnl_usd, fees_usd, notional_usd, slippage_bps, opened_ns, closed_ns, strategy, confidence, close_reason |
| point | time_ns, equity, cash, realized, unrealized, fees |
| error | time_ns, reason (a refused order, a halt) |
"""

from collections.abc import Iterable, Iterator
from decimal import Decimal, localcontext

from assets.accounting.precision import EXACT, ZERO, divided
from assets.arbitrage.events import (
    EntryAbandoned,
    Event,
    FlowPosted,
    FundingPaid,
    Halted,
    OrderFilled,
    OrderRefused,
    SessionOpened,
    TradeClosed,
    TradeProposed,
    Valued,
)
from assets.arbitrage.model import Leg, OrderSide, PaperTrade
from assets.arbitrage.portfolio import Portfolio
from assets.arbitrage.publication import STRATEGY
from resources.documents import Document


def performance_record(event: Event, portfolio: Portfolio) -> Document | None:
    """The record of ``event``, which ``portfolio`` has folded; None for an event that telemetry has no use for."""
    match event:
        case SessionOpened():
            with localcontext(EXACT):
                capital = portfolio.available + portfolio.total_open
            return {
                "kind": "opened",
                "time_ns": event.time_ns,
                "day": event.day,
                "source": event.source,
                "capital": capital,
                "carried_day": event.carried_day,
            }
        case FlowPosted():
            return {"kind": "flow", "time_ns": event.time_ns, "amount": event.amount}
        case TradeProposed():
            return {
                "kind": "signal",
                "time_ns": event.time_ns,
                "signal_id": event.trade_id,
                "symbol": event.asset,
                "quantity": event.quantity,
                "notional": event.position_size_usd,
                "confidence": event.confidence,
                "strategy": STRATEGY,
            }
        case EntryAbandoned():
            return {
                "kind": "entry_abandoned",
                "time_ns": event.time_ns,
                "signal_id": event.trade_id,
                "reason": event.reason,
            }
        case OrderFilled():
            return _fill(event, portfolio)
        case FundingPaid():
            return {
                "kind": "funding",
                "time_ns": event.time_ns,
                "signal_id": event.trade_id,
                "exchange": event.exchange,
                "symbol": event.symbol,
                "amount": event.amount,
            }
        case TradeClosed():
            return _closed_trade(portfolio.trade(event.trade_id))
        case Valued():
            return _point(event, portfolio)
        case OrderRefused() | Halted():
            return {"kind": "error", "time_ns": event.time_ns, "reason": event.reason}
        case _:
            return None


def performance_records(events: Iterable[Event], portfolio: Portfolio) -> Iterator[Document]:
    """The records of a whole log; ``portfolio`` waits for its first event and is folded on the way."""
    for event in events:
        portfolio.apply(event)
        record = performance_record(event, portfolio)
        if record is not None:
            yield record


def _fill(event: OrderFilled, portfolio: Portfolio) -> Document:
    order = portfolio.order(event.order_id)
    return {
        "kind": "fill",
        "time_ns": event.time_ns,
        "order_id": order.id,
        "signal_id": order.trade_id,
        "exchange": order.exchange,
        "symbol": order.symbol,
        "side": "buy" if order.side is OrderSide.LONG else "sell",
        "quantity": event.size,
        "price": event.price,
        "fee": event.fee,
        "slippage_bps": event.slippage_bps,
    }


def _closed_trade(trade: PaperTrade) -> Document:
    slipped = paid = ZERO
    entered = dict.fromkeys(Leg, ZERO)
    with localcontext(EXACT):
        for order in trade.orders.values():
            if order.side is order.leg.opening_side:
                entered[order.leg] += order.filled_notional
            if order.slippage_bps is not None and order.filled_size:
                slipped += order.slippage_bps * order.filled_notional
                paid += order.filled_notional
    return {
        "kind": "trade",
        "pnl_usd": trade.actual_profit_usd,
        "fees_usd": trade.fees_usd,
        "notional_usd": max(entered.values()),
        "slippage_bps": divided(slipped, paid) if paid else None,
        "opened_ns": trade.entry_time,
        "closed_ns": trade.exit_time,
        "strategy": STRATEGY,
        "confidence": trade.confidence,
        "close_reason": trade.exit_reason,
    }


def _point(event: Valued, portfolio: Portfolio) -> Document:
    equity: Decimal | None = None
    if event.unrealized is not None:
        with localcontext(EXACT):
            equity = event.available_capital + event.total_open_positions + event.unrealized
    return {
        "kind": "point",
        "time_ns": event.time_ns,
        "equity": equity,
        "cash": event.available_capital,
        "realized": event.realised,
        "unrealized": event.unrealized,
        "fees": portfolio.fees,
    }
