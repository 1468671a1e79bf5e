"""The event log seen by the desk's other ledger: a second, independent path to the same money.

Fills, funding and flows become events of ``assets.accounting`` on symbols "<exchange>:<symbol>", which its Book folds
with its own cash account and lots. What the paper trader's portfolio says must come out of it too:

    book cash = starting capital + net flows + realised + cash of the legs still open
    book quantity of a symbol = sum of what the open legs hold of it, long minus short
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext

from assets.accounting.book import Book
from assets.accounting.events import Event as LedgerEvent
from assets.accounting.events import Fill, Flow, Funding
from assets.accounting.precision import EXACT, ZERO
from assets.arbitrage.events import Event, FlowPosted, FundingPaid, OrderFilled, OrderSubmitted, SessionOpened
from assets.arbitrage.model import Leg, SimulatedOrder
from assets.arbitrage.portfolio import Portfolio

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class BridgeError(Exception):
    """The log cannot be told as ledger events; the message names the event."""


def ledger_symbol(exchange: str, symbol: str) -> str:
    return f"{exchange}:{symbol}"


class LedgerBridge:
    """Turns the events of one session, in order, into ledger events (ids "<day>:<seq>", times to the microsecond).

    ``open_orders`` are the orders of the trades that the session began with: their fills are still to come.
    """

    def __init__(self, open_orders: Iterable[SimulatedOrder] = ()) -> None:
        self._day = ""
        # What a fill does not say itself: trade, symbol and sign of its order.
        self._orders = {
            order.id: (order.trade_id, ledger_symbol(order.exchange, order.symbol), order.side.sign)
            for order in open_orders
        }

    def translate(self, event: Event) -> LedgerEvent | None:
        """The ledger's event, None for one that moves no money. Raises BridgeError on a fill of an unknown order."""
        match event:
            case SessionOpened():
                self._day = event.day
            case OrderSubmitted():
                symbol = ledger_symbol(event.exchange, event.symbol)
                self._orders[event.order_id] = (event.trade_id, symbol, event.side.sign)
            case OrderFilled():
                if event.order_id not in self._orders:
                    raise BridgeError(f"event {event.seq} fills the unknown order {event.order_id!r}")
                trade_id, symbol, sign = self._orders[event.order_id]
                return Fill(
                    event_id=self._id(event),
                    time=_instant(event.time_ns),
                    symbol=symbol,
                    quantity=EXACT.multiply(event.size, Decimal(sign)),
                    price=event.price,
                    fee=event.fee,
                    order_id=event.order_id,
                    rebalance_id=trade_id,
                )
            case FundingPaid():
                return Funding(
                    event_id=self._id(event),
                    time=_instant(event.time_ns),
                    symbol=ledger_symbol(event.exchange, event.symbol),
                    quantity=EXACT.multiply(event.quantity, Decimal(event.leg.opening_side.sign)),
                    mark=event.mark,
                    rate=event.rate,
                    amount=event.amount,
                )
            case FlowPosted():
                return Flow(self._id(event), _instant(event.time_ns), event.amount, event.note)
        return None

    def _id(self, event: Event) -> str:
        return f"{self._day}:{event.seq}"


def ledger_events(events: Iterable[Event], open_orders: Iterable[SimulatedOrder] = ()) -> list[LedgerEvent]:
    """The ledger's events of one session's log. Raises BridgeError on a fill of an unknown order."""
    bridge = LedgerBridge(open_orders)
    translated = (bridge.translate(event) for event in events)
    return [event for event in translated if event is not None]


def book_of(events: Iterable[Event], starting_capital: Decimal) -> Book:
    """The ledger's book after one session that goes on from none. Raises BridgeError or LedgerError."""
    book = Book(starting_capital)
    book.apply_all(ledger_events(events))
    return book


def disagreements(book: Book, portfolio: Portfolio) -> list[str]:
    """What the book and the portfolio say differently of the same log, in words; empty when they agree exactly."""
    held: dict[str, Decimal] = {}
    with localcontext(EXACT):
        cash = portfolio.starting_capital + portfolio.net_flows + portfolio.realised
        for trade in portfolio.open_trades:
            for leg, symbol in (
                (Leg.LONG, ledger_symbol(trade.long_exchange, trade.long_symbol)),
                (Leg.SHORT, ledger_symbol(trade.short_exchange, trade.short_symbol)),
            ):
                holding = portfolio.holding(trade.id, leg)
                cash += holding.cash
                held[symbol] = held.get(symbol, ZERO) + holding.quantity * leg.opening_side.sign
    held = {symbol: quantity for symbol, quantity in sorted(held.items()) if quantity}
    amounts = (
        ("cash", book.cash, cash),
        ("fees", book.fees, portfolio.fees),
        ("funding", book.funding, portfolio.funding),
        ("flows", book.flows, portfolio.net_flows),
        ("positions", book.held(), held),
    )
    return [f"{name}: ledger {theirs}, portfolio {ours}" for name, theirs, ours in amounts if theirs != ours]


def _instant(time_ns: int) -> datetime:
    return _EPOCH + timedelta(microseconds=time_ns // 1_000)
