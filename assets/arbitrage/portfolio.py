"""The fold of the event log: capital, trades, orders and profits after each event, exactly.

Price P&L of a leg is posted when its quantity returns to zero: until then the leg keeps the signed cash of its fills
(sold minus bought), so that nothing is ever divided or apportioned and every identity holds to the last digit at every
event. Fees and funding are posted as they come. A log that cannot have happened raises LogError and changes nothing.

The cost of an event does not grow with the number of trades closed before it.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, localcontext
from operator import itemgetter
from typing import Any

from assets.accounting.precision import EXACT, POSTED, ZERO, divided, logged, posted, quotient
from assets.arbitrage.codec import from_document, to_document, value_from_document, value_to_document
from assets.arbitrage.events import (
    EntriesResumed,
    EntryAbandoned,
    EntryRefused,
    Event,
    FlowPosted,
    FundingPaid,
    Halted,
    InstructionRefused,
    LegOut,
    LegOutHedged,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderRefused,
    OrderSubmitted,
    SessionOpened,
    TradeClosed,
    TradeExiting,
    TradeOpened,
    TradeProposed,
    Valued,
)
from assets.arbitrage.model import (
    ExitReason,
    Leg,
    LegOutEvent,
    OrderStatus,
    OrderType,
    PaperTrade,
    PortfolioState,
    Purpose,
    QueuePosition,
    SimulatedOrder,
    TradeStatus,
)
from resources.documents import Document
from resources.feed import NANOSECONDS

_APART_NS = 60 * NANOSECONDS  # two settlements of one listing, at least
_PRICE_DIGITS = 20  # of an average of fills; a single price has at most 17 and stays exact


class LogError(Exception):
    """The event cannot follow the ones before it; the message names it and says why."""


@dataclass(frozen=True, slots=True)
class Holding:
    """What one leg of an open trade holds: ``quantity`` >= 0 in base units, and ``cash``, sold minus bought, of the
    fills since it was last flat (0 when it is). ``cash`` plus the value of what is held is the leg's price P&L that
    is not yet posted."""

    quantity: Decimal
    cash: Decimal


class _LegFold:
    """One leg under way. ``fills`` are the instants at which it was filled and what it held after each, in their order;
    ``funded`` the settlements that were paid, and whether late. Nothing settled before ``owed_ns`` is owed any more."""

    __slots__ = ("cash", "fills", "funded", "opened_notional", "opened_size", "owed_ns", "quantity")

    def __init__(self) -> None:
        self.quantity = self.cash = self.opened_size = self.opened_notional = ZERO
        self.fills: list[tuple[int, Decimal]] = []
        self.funded: dict[int, bool] = {}
        self.owed_ns = 0

    def hold(self, time_ns: int, quantity: Decimal) -> None:
        """From a fill at ``time_ns`` on it holds ``quantity``."""
        if self.fills and self.fills[-1][0] == time_ns:
            self.fills.pop()
        self.fills.append((time_ns, quantity))
        self.quantity = quantity

    def held_before(self, time_ns: int) -> Decimal:
        earlier = bisect_left(self.fills, time_ns, key=itemgetter(0))
        return self.fills[earlier - 1][1] if earlier else ZERO

    def entry_price(self) -> Decimal | None:
        """The average price of what opened the leg."""
        return _average(self.opened_notional, self.opened_size)


class _TradeFold:
    """One trade under way; ``value`` makes the immutable PaperTrade and keeps it until the next event of the trade."""

    __slots__ = (
        "closed",
        "entry_unrealized",
        "exit_conditions",
        "exit_reason",
        "fees",
        "funding",
        "leg_out_cost",
        "leg_outs",
        "legs",
        "made",
        "orders",
        "price_pnl",
        "proposal",
        "quantity",
        "status",
    )

    def __init__(self, proposal: TradeProposed) -> None:
        self.proposal = proposal
        self.status = TradeStatus.PENDING
        self.quantity = proposal.quantity
        self.legs = {Leg.LONG: _LegFold(), Leg.SHORT: _LegFold()}
        self.orders: dict[str, SimulatedOrder] = {}
        self.leg_outs: dict[Purpose, LegOutEvent] = {}
        self.fees = self.funding = self.price_pnl = self.leg_out_cost = ZERO
        self.entry_unrealized: Decimal | None = None
        self.exit_reason: str | None = None
        self.exit_conditions: tuple[str, ...] = ()
        self.closed: TradeClosed | None = None
        self.made: PaperTrade | None = None

    @property
    def reserved(self) -> Decimal:
        """What is kept of the capital: of a trade that opened with less than was proposed, that part."""
        return self._part(self.proposal.position_size_usd)

    @property
    def projected(self) -> Decimal:
        """What the quantity it has is to earn."""
        return self._part(self.proposal.projected_profit_usd)

    def _part(self, amount: Decimal) -> Decimal:
        """Of an amount of the whole proposal, 8 decimals; above zero, as a trade without a target has no end."""
        if self.quantity == self.proposal.quantity:
            return amount
        return max(posted(quotient(EXACT.multiply(amount, self.quantity), self.proposal.quantity)), POSTED)

    @property
    def phase(self) -> Purpose:
        """Which of the two phases a leg-out would belong to."""
        return Purpose.ENTRY if self.status is TradeStatus.PENDING else Purpose.EXIT

    @property
    def has_fills(self) -> bool:
        return any(leg.opened_size for leg in self.legs.values())

    def pending_orders(self) -> list[str]:
        return [order.id for order in self.orders.values() if order.status is OrderStatus.PENDING]

    def naked(self) -> Decimal:
        """Long minus short quantity."""
        return self.legs[Leg.LONG].quantity - self.legs[Leg.SHORT].quantity

    def value(self) -> PaperTrade:
        if self.made is None:
            self.made = self._make()
        return self.made

    def _make(self) -> PaperTrade:
        proposal, closed = self.proposal, self.closed
        entries: dict[Leg, SimulatedOrder] = {}
        for order in self.orders.values():
            if order.purpose is Purpose.ENTRY:
                entries.setdefault(order.leg, order)
        return PaperTrade(
            id=proposal.trade_id,
            symbol=proposal.asset,
            long_exchange=proposal.long_exchange,
            short_exchange=proposal.short_exchange,
            long_symbol=proposal.long_symbol,
            short_symbol=proposal.short_symbol,
            quantity=self.quantity,
            entry_time=proposal.time_ns,
            entry_long_price=self.legs[Leg.LONG].entry_price(),
            entry_short_price=self.legs[Leg.SHORT].entry_price(),
            entry_spread_bps=proposal.spread_bps,
            position_size_usd=self.reserved,
            funding_delta_entry=proposal.funding_delta,
            confidence=proposal.confidence,
            projected_profit_usd=self.projected,
            entry_unrealized_usd=self.entry_unrealized,
            fees_usd=self.fees,
            funding_usd=self.funding,
            leg_out_cost_usd=self.leg_out_cost,
            gross_profit_usd=None if closed is None else closed.gross_profit_usd,
            actual_profit_usd=None if closed is None else closed.actual_profit_usd,
            status=self.status,
            exit_reason=self.exit_reason,
            exit_conditions=self.exit_conditions,
            exit_time=None if closed is None else closed.time_ns,
            orders=dict(self.orders),
            long_order=entries.get(Leg.LONG),
            short_order=entries.get(Leg.SHORT),
            leg_out_event=self.leg_outs.get(Purpose.ENTRY),
            exit_leg_out_event=self.leg_outs.get(Purpose.EXIT),
        )


class Portfolio:
    """The state after the events applied so far; ``seq`` is the newest one's, -1 before the first.

    The first event is SessionOpened. A session that goes on from an earlier one begins with ``from_carried``. Identity
    after every event, exactly: available + total open = starting capital + net flows + realised.
    """

    def __init__(self) -> None:
        self.seq = -1
        self.time_ns = 0
        self.source = ""
        self.day = ""
        self.starting_capital = ZERO
        self.available = ZERO
        self.total_open = ZERO
        self.net_flows = ZERO
        self.realised = ZERO
        self.cumulative_pnl = ZERO
        self.gross_profit = ZERO  # sum of gross_profit_usd of the closed trades
        self.fees = ZERO  # paid, >= 0
        self.funding = ZERO  # received when positive
        self.leg_out_total_loss = ZERO
        self.win_count = 0
        self.loss_count = 0
        self.break_even_count = 0
        self.leg_out_count = 0
        self.first_trade_ns: int | None = None
        self.halted = ""
        self.taken = 0  # the newest instruction that became an event, 0 before the first
        self.last_valued: Valued | None = None  # of this session
        self._carried: tuple[str, str] | None = None  # day and sha256 of the log this goes on from
        self._open: dict[str, _TradeFold] = {}
        self._closed: list[PaperTrade] = []
        self._closed_by_id: dict[str, PaperTrade] = {}
        self._ended_legs: dict[str, dict[Leg, _LegFold]] = {}  # of these, and of those that were abandoned
        self._abandoned: set[str] = set()
        self._trade_of: dict[str, str] = {}

    # What is read of it

    @property
    def open_trades(self) -> tuple[PaperTrade, ...]:
        """Every trade that is not closed, oldest first; pending ones too, since their capital is reserved."""
        return tuple(trade.value() for trade in self._open.values())

    @property
    def closed_trades(self) -> Sequence[PaperTrade]:
        """The trades closed in this session, in the order they closed; not to be changed, it grows."""
        return self._closed

    @property
    def closed_count(self) -> int:
        """Trades closed ever, earlier sessions included."""
        return self.win_count + self.loss_count + self.break_even_count

    def trade(self, trade_id: str) -> PaperTrade:
        """A trade of this session or one carried into it. Raises LogError when there is none of that id."""
        if trade_id in self._closed_by_id:
            return self._closed_by_id[trade_id]
        return self._trade(trade_id).value()

    def order(self, order_id: str) -> SimulatedOrder:
        """An order of an open trade or of one closed in this session. Raises LogError when there is none of that id."""
        trade_id = self._trade_of.get(order_id, "")
        closed = self._closed_by_id.get(trade_id)
        orders = self._trade(trade_id).orders if closed is None else closed.orders
        return orders[order_id]

    def holding(self, trade_id: str, leg: Leg) -> Holding:
        """What a leg of an open trade holds. Raises LogError when the trade is not open."""
        fold = self._trade(trade_id).legs[leg]
        return Holding(fold.quantity, fold.cash)

    def naked_trades(self) -> tuple[str, ...]:
        """The ids of the open trades whose legs differ."""
        return tuple(trade_id for trade_id, trade in self._open.items() if trade.naked())

    def unfunded(self, trade_id: str, leg: Leg, settled_ns: int) -> Decimal:
        """The quantity on which a leg is still owed a settlement of the past: what it held strictly before, 0 where the
        settlement has been booked. Of a trade that ended in this session: what it was never paid. Raises LogError for
        any other that is not open.

        A live settlement was booked when it was handed over, somewhat late, and a venue may give it another instant:
        what is less than a minute apart is the same one.
        """
        fold = (self._ended_legs.get(trade_id) or self._trade(trade_id).legs)[leg]
        if settled_ns < fold.owed_ns or any(abs(settled_ns - paid_ns) < _APART_NS for paid_ns in fold.funded):
            return ZERO
        return fold.held_before(settled_ns)

    def funded_late(self, trade_id: str, leg: Leg, handed_over_ns: int) -> bool:
        """Whether a settlement that a feed hands over is one that has been booked from its venue's history. Raises
        LogError when the trade is not open."""
        funded = self._trade(trade_id).legs[leg].funded
        return any(late and abs(handed_over_ns - paid_ns) < _APART_NS for paid_ns, late in funded.items())

    def price_pnl_at(self, trade_id: str, long_price: Decimal, short_price: Decimal) -> Decimal:
        """Price P&L of an open trade if what it holds were sold at ``long_price`` and bought back at ``short_price``:
        gross of fees and funding, with what its fills have already won or lost. Raises LogError when it is not open."""
        trade = self._trade(trade_id)
        long, short = trade.legs[Leg.LONG], trade.legs[Leg.SHORT]
        with localcontext(EXACT):
            held = long.cash + long.quantity * long_price + short.cash - short.quantity * short_price
            return trade.price_pnl + held

    def state(self) -> PortfolioState:
        """The brief's structure, as of the newest event."""
        return PortfolioState(
            starting_capital=self.starting_capital,
            available_capital=self.available,
            total_open_positions=self.total_open,
            net_flows=self.net_flows,
            realised=self.realised,
            active_trades=self.open_trades,
            closed_trades=tuple(self._closed),
            cumulative_pnl=self.cumulative_pnl,
            win_count=self.win_count,
            loss_count=self.loss_count,
            leg_out_count=self.leg_out_count,
            leg_out_total_loss=self.leg_out_total_loss,
            halted=self.halted,
            break_even_count=self.break_even_count,
            first_trade_at=self.first_trade_ns,
        )

    # What a later session begins with

    def carried_document(self, log_sha256: str) -> Document:
        """What the next session goes on from: totals, and open trades with their orders. Closed trades are not carried,
        their sums and counts are. ``log_sha256`` is of the whole log that was folded."""
        document: Document = {"day": self.day, "log_sha256": log_sha256, "source": self.source}
        document |= {name: getattr(self, name) for name in (*_AMOUNTS, *_COUNTS)}
        document |= {"first_trade_ns": self.first_trade_ns, "halted": self.halted, "taken": self.taken}
        document["trades"] = [_trade_document(trade) for trade in self._open.values()]
        return document

    @classmethod
    def from_carried(cls, document: Mapping[str, Any]) -> "Portfolio":
        """A portfolio that waits for the SessionOpened of the next session. Raises LogError when the document is none,
        or contradicts itself."""
        portfolio = cls()
        try:
            for name in _AMOUNTS:
                setattr(portfolio, name, _number(document[name]))
            for name in (*_COUNTS, "first_trade_ns"):
                setattr(portfolio, name, _whole(document[name], name == "first_trade_ns"))
            portfolio.source = _text(document["source"])
            portfolio.halted = _text(document["halted"])
            portfolio.taken = _whole(document.get("taken", 0), False)  # a day closed before there were any took none
            day = _text(document["day"])
            portfolio._carried = day, _text(document["log_sha256"])
            for trade_document in document["trades"]:
                trade = _trade_from_document(trade_document, day)
                portfolio._open[trade.proposal.trade_id] = trade
                portfolio._trade_of |= dict.fromkeys(trade.orders, trade.proposal.trade_id)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise LogError(f"the carried state cannot be read: {error!r}") from error
        with localcontext(EXACT):
            reserved = sum((trade.reserved for trade in portfolio._open.values()), ZERO)
            if reserved != portfolio.total_open:
                raise LogError(f"carried trades reserve {reserved}, the carried total is {portfolio.total_open}")
            portfolio._check_capital()
        return portfolio

    # The fold

    def apply(self, event: Event) -> None:
        """Fold the next event in. Raises LogError when it cannot follow; the portfolio is then as it was."""
        if event.seq != self.seq + 1:
            raise LogError(f"event {event.seq} ({type(event).__name__}) follows {self.seq}")
        if (event.seq == 0) != isinstance(event, SessionOpened):
            raise _impossible(event, "a log begins with SessionOpened and holds it once")
        if event.seq and event.time_ns < self.time_ns:
            raise _impossible(event, f"its time {event.time_ns} lies before {self.time_ns}")
        with localcontext(EXACT):
            _FOLDS[type(event)](self, event)
            self._check_capital()
        self.seq, self.time_ns = event.seq, event.time_ns

    def _check_capital(self) -> None:
        if self.available + self.total_open != self.starting_capital + self.net_flows + self.realised:
            raise LogError(
                f"capital is not conserved after event {self.seq}: {self.available} + {self.total_open} != "
                f"{self.starting_capital} + {self.net_flows} + {self.realised}"
            )

    def _opened(self, event: SessionOpened) -> None:
        if event.starting_capital <= 0:
            raise _impossible(event, f"starting capital {event.starting_capital}")
        if self._carried is None:
            if event.carried or event.carried_day:
                raise _impossible(event, f"it goes on from {event.carried_day}, whose state was not given")
            self.starting_capital = self.available = event.starting_capital
        else:
            if (event.carried_day, event.carried) != self._carried:
                raise _impossible(event, f"it goes on from {event.carried_day}, not from {self._carried[0]}")
            if (event.starting_capital, event.source) != (self.starting_capital, self.source):
                raise _impossible(
                    event,
                    f"{event.source} with {event.starting_capital}, not {self.source} with {self.starting_capital}",
                )
        self.source, self.day = event.source, event.day
        # A halt keeps its day from trading, and people have been told of it. The next one trades again where nothing is
        # naked any more and capital is left.
        if self.available >= 0 and not self.naked_trades():
            self.halted = ""

    def _flow(self, event: FlowPosted) -> None:
        self._next_instruction(event)
        if not event.amount or event.amount != logged(event.amount):
            raise _impossible(event, f"a flow is not zero and has at most 6 decimals, got {event.amount}")
        if event.amount < 0 and -event.amount > self.available:
            raise _impossible(event, f"withdraws {event.amount} of {self.available} available")
        self.net_flows += event.amount
        self.available += event.amount
        self.taken = event.instruction

    def _resume(self, event: EntriesResumed) -> None:
        self._next_instruction(event)
        if not self.halted:
            raise _impossible(event, "nothing is halted")
        if self.available < 0 or self.naked_trades():
            raise _impossible(event, f"{self.available} is available, naked are {self.naked_trades()}")
        self.halted = ""
        self.taken = event.instruction

    def _refuse_instruction(self, event: InstructionRefused) -> None:
        self._next_instruction(event)
        if not event.reason:
            raise _impossible(event, "no reason")
        self.taken = event.instruction

    def _next_instruction(self, event: FlowPosted | EntriesResumed | InstructionRefused) -> None:
        """Every instruction is taken, once, in its order."""
        if event.instruction != self.taken + 1:
            raise _impossible(event, f"instruction {event.instruction} is taken after {self.taken}")

    def _nothing(self, event: Event) -> None:
        """The event changes no amount: a refused entry is counted by the day's metrics."""

    def _proposed(self, event: TradeProposed) -> None:
        known = event.trade_id in self._open or event.trade_id in self._closed_by_id
        if known or event.trade_id in self._abandoned or not event.trade_id:
            raise _impossible(event, f"trade {event.trade_id!r} was proposed before")
        if self.halted:
            raise _impossible(event, f"no entries while halted: {self.halted}")
        if event.long_exchange == event.short_exchange:
            raise _impossible(event, f"both legs on {event.long_exchange}")
        if event.quantity <= 0 or event.position_size_usd <= 0 or event.projected_profit_usd <= 0:
            raise _impossible(event, "quantity, size and projected profit must be above zero")
        if event.position_size_usd > self.available:
            raise _impossible(event, f"reserves {event.position_size_usd} of {self.available} available")
        self._open[event.trade_id] = _TradeFold(event)
        self._free(-event.position_size_usd)

    def _submitted(self, event: OrderSubmitted) -> None:
        trade = self._trade(event.trade_id)
        proposal, opening = trade.proposal, event.side is event.leg.opening_side
        if event.order_id in self._trade_of or not event.order_id:
            raise _impossible(event, f"order {event.order_id!r} was submitted before")
        _check_market(event, proposal)
        if event.size <= 0 or event.price <= 0:
            raise _impossible(event, f"size {event.size} at {event.price}")
        entering, exiting = trade.status is TradeStatus.PENDING, trade.status is TradeStatus.EXITING
        allowed = {
            Purpose.ENTRY: entering and opening,
            Purpose.UNWIND: entering and not opening,
            Purpose.HEDGE: (entering and opening) or (exiting and not opening),
            Purpose.EXIT: exiting and not opening,
        }
        if not allowed[event.purpose]:
            raise _impossible(
                event, f"a {event.side} {event.purpose} order on a {trade.status} trade's {event.leg} leg"
            )
        if event.purpose in (Purpose.HEDGE, Purpose.UNWIND) and trade.phase not in trade.leg_outs:
            raise _impossible(event, f"{event.purpose} before the leg-out was logged")
        trade.orders[event.order_id] = SimulatedOrder(
            id=event.order_id,
            trade_id=event.trade_id,
            exchange=event.exchange,
            symbol=event.symbol,
            leg=event.leg,
            purpose=event.purpose,
            side=event.side,
            order_type=event.order_type,
            price=event.price,
            size=event.size,
            queue_position=None,
            created_at=event.time_ns,
            accepted_at=None,
            filled_at=None,
            fill_price=None,
            filled_size=ZERO,
            filled_notional=ZERO,
            fee=ZERO,
            slippage_bps=None,
            walked_bps=None,
            slippage_capped=False,
            traded_excess=None,
            status=OrderStatus.PENDING,
            reason="",
        )
        trade.made = None
        self._trade_of[event.order_id] = event.trade_id

    def _accepted(self, event: OrderAccepted) -> None:
        trade, order = self._pending_order(event, event.order_id)
        if order.order_type is not OrderType.LIMIT or order.queue_position is not None:
            raise _impossible(event, "only a limit order rests, and is accepted once")
        if event.resting_depth < 0 or event.fill_threshold <= 0:
            raise _impossible(event, f"depth {event.resting_depth}, threshold {event.fill_threshold}")
        queue = QueuePosition(
            price=order.price,
            cumulative_volume_at_price=ZERO,
            resting_depth_at_entry=event.resting_depth,
            fill_threshold_pct=event.fill_threshold,
            is_filled=False,
        )
        self._put(trade, replace(order, accepted_at=event.time_ns, queue_position=queue))

    def _refused(self, event: OrderRefused) -> None:
        trade, order = self._pending_order(event, event.order_id)
        if order.filled_size:
            raise _impossible(event, "it is filled in part")
        self._put(trade, replace(order, status=OrderStatus.CANCELLED, reason=event.reason))

    def _cancelled(self, event: OrderCancelled) -> None:
        trade, order = self._pending_order(event, event.order_id)
        self._put(trade, replace(order, status=OrderStatus.CANCELLED, reason=event.reason))

    def _filled(self, event: OrderFilled) -> None:
        trade, order = self._pending_order(event, event.order_id)
        left = order.size - order.filled_size - event.size
        leg, opening = trade.legs[order.leg], order.side is order.leg.opening_side
        if event.size <= 0 or event.price <= 0 or left < 0 or event.remaining != left:
            raise _impossible(
                event, f"{event.size} at {event.price} leaves {left} of {order.size}, not {event.remaining}"
            )
        if event.fee < 0 or event.fee != posted(event.fee):
            raise _impossible(event, f"a fee is not negative and has at most 8 decimals, got {event.fee}")
        if order.order_type is OrderType.LIMIT and (event.price - order.price) * order.side.sign > 0:
            raise _impossible(event, f"filled at {event.price}, worse than its limit {order.price}")
        if opening and leg.quantity + event.size > trade.proposal.quantity:
            raise _impossible(event, f"the {order.leg} leg would hold more than the {trade.proposal.quantity} proposed")
        if not opening and event.size > leg.quantity:
            raise _impossible(event, f"it closes {event.size} of the {leg.quantity} that the {order.leg} leg holds")
        self._put(trade, _with_fill(order, event))
        notional = event.size * event.price
        leg.hold(event.time_ns, leg.quantity + (event.size if opening else -event.size))
        leg.cash -= notional * order.side.sign
        if opening:
            leg.opened_size += event.size
            leg.opened_notional += notional
        if self.first_trade_ns is None:
            self.first_trade_ns = event.time_ns
        trade.fees += event.fee
        self.fees += event.fee
        self._post(-event.fee)
        if not leg.quantity:
            trade.price_pnl += leg.cash
            self._post(leg.cash)
            leg.cash = ZERO

    def _leg_out(self, event: LegOut) -> None:
        trade = self._trade(event.trade_id)
        if trade.status not in (TradeStatus.PENDING, TradeStatus.EXITING) or event.phase is not trade.phase:
            raise _impossible(event, f"a leg-out at {event.phase} of a {trade.status} trade")
        if event.phase in trade.leg_outs:
            raise _impossible(event, f"the leg-out at {event.phase} is logged already")
        if event.unfilled_leg is not event.filled_leg.other or event.filled_at > event.time_ns:
            raise _impossible(event, f"{event.filled_leg} filled at {event.filled_at}, {event.unfilled_leg} not")
        # The leg that filled holds more while the trade is entered and less while it is left.
        more = trade.naked() if event.filled_leg is Leg.LONG else -trade.naked()
        naked = more if event.phase is Purpose.ENTRY else -more
        if naked <= 0 or event.naked_quantity != naked:
            raise _impossible(event, f"{naked} of the {event.filled_leg} leg is naked, not {event.naked_quantity}")
        trade.leg_outs[event.phase] = LegOutEvent(
            phase=event.phase,
            filled_leg=event.filled_leg,
            filled_at=event.filled_at,
            unfilled_leg=event.unfilled_leg,
            hedge_executed=False,
            hedge_price=None,
            hedged_at=None,
            cost=ZERO,
        )
        trade.made = None
        self.leg_out_count += 1

    def _hedged(self, event: LegOutHedged) -> None:
        trade = self._trade(event.trade_id)
        leg_out = trade.leg_outs.get(event.phase)
        if leg_out is None or leg_out.hedge_executed or event.phase is not trade.phase:
            raise _impossible(event, f"no leg-out at {event.phase} waits for its hedge")
        if event.cost < 0 or event.hedge_price <= 0:
            raise _impossible(event, f"cost {event.cost}, hedge price {event.hedge_price}")
        if trade.naked():
            raise _impossible(event, f"{abs(trade.naked())} is still naked")
        trade.leg_outs[event.phase] = replace(
            leg_out, hedge_executed=True, hedge_price=event.hedge_price, hedged_at=event.time_ns, cost=event.cost
        )
        trade.leg_out_cost += event.cost
        trade.made = None

    def _abandon(self, event: EntryAbandoned) -> None:
        trade = self._trade(event.trade_id)
        if trade.status is not TradeStatus.PENDING or trade.has_fills:
            raise _impossible(event, f"a {trade.status} trade, filled: {trade.has_fills}")
        self._settled_orders(event, trade)
        self._abandoned.add(event.trade_id)
        self._release(trade)

    def _open_trade(self, event: TradeOpened) -> None:
        trade = self._trade(event.trade_id)
        held = {leg.quantity for leg in trade.legs.values()}
        if trade.status is not TradeStatus.PENDING or event.quantity <= 0 or held != {event.quantity}:
            raise _impossible(event, f"a {trade.status} trade that holds {sorted(held)}, not {event.quantity} twice")
        self._settled_orders(event, trade)
        reserved = trade.reserved
        trade.status, trade.quantity = TradeStatus.ACTIVE, event.quantity
        self._free(reserved - trade.reserved)
        trade.entry_unrealized = event.entry_unrealized_usd
        trade.made = None

    def _exiting(self, event: TradeExiting) -> None:
        trade = self._trade(event.trade_id)
        if trade.status is not TradeStatus.ACTIVE or event.reason not in event.conditions:
            raise _impossible(event, f"a {trade.status} trade leaves for {event.reason!r} of {event.conditions}")
        trade.status = TradeStatus.EXITING
        trade.exit_reason, trade.exit_conditions = event.reason, event.conditions
        trade.made = None

    def _funding(self, event: FundingPaid) -> None:
        trade = self._trade(event.trade_id)
        _check_market(event, trade.proposal)
        leg, settled_ns = trade.legs[event.leg], event.time_ns
        if event.settled_ns is None:
            held = ZERO if self.funded_late(event.trade_id, event.leg, settled_ns) else leg.held_before(settled_ns)
        else:
            settled_ns = event.settled_ns
            held = self.unfunded(event.trade_id, event.leg, settled_ns)
            if settled_ns >= event.time_ns:
                raise _impossible(event, f"it is booked at {event.time_ns} and settled at {settled_ns}")
        due = posted(-event.leg.opening_side.sign * event.quantity * event.mark * event.rate)
        if event.quantity <= 0 or event.quantity != held or event.amount != due:
            raise _impossible(event, f"{event.amount} on {event.quantity}, where {held} was held and {due} is due")
        leg.funded[settled_ns] = event.settled_ns is not None
        trade.funding += event.amount
        trade.made = None
        self.funding += event.amount
        self._post(event.amount)

    def _close(self, event: TradeClosed) -> None:
        trade = self._trade(event.trade_id)
        unwound = trade.status is TradeStatus.PENDING
        if (
            trade.status is TradeStatus.ACTIVE
            or not trade.has_fills
            or any(leg.quantity for leg in trade.legs.values())
        ):
            raise _impossible(event, f"a {trade.status} trade whose legs are not flat, or never were filled")
        reasons = {ExitReason.LEG_OUT.value if trade.leg_outs else None, None if unwound else trade.exit_reason}
        if event.reason not in reasons:
            raise _impossible(event, f"reason {event.reason!r}, the trade's is {trade.exit_reason!r}")
        self._settled_orders(event, trade)
        actual, cost = trade.price_pnl - trade.fees + trade.funding, trade.leg_out_cost
        stated = (event.gross_profit_usd, event.leg_out_cost_usd, event.actual_profit_usd)
        if stated != (actual + cost, cost, actual):
            raise _impossible(event, f"gross, leg-out cost and profit {stated}, folded {(actual + cost, cost, actual)}")
        trade.status, trade.exit_reason, trade.closed, trade.made = TradeStatus.CLOSED, event.reason, event, None
        self._release(trade)
        self._closed.append(trade.value())
        self._closed_by_id[event.trade_id] = trade.value()
        self.cumulative_pnl += actual
        self.gross_profit += actual + cost
        self.leg_out_total_loss += cost
        self.win_count += actual > 0
        self.loss_count += actual < 0
        self.break_even_count += actual == 0

    def _halt(self, event: Halted) -> None:
        if not event.reason:
            raise _impossible(event, "no reason")
        self.halted = event.reason

    def _value(self, event: Valued) -> None:
        stated = (event.available_capital, event.total_open_positions, event.realised)
        if stated != (self.available, self.total_open, self.realised):
            raise _impossible(
                event,
                f"available, open, realised {stated}, folded otherwise: {self.available}, "
                f"{self.total_open}, {self.realised}",
            )
        if (event.unrealized is None) != bool(event.missing):
            raise _impossible(event, f"unrealized {event.unrealized} while {event.missing} are missing")
        self.last_valued = event

    def _post(self, amount: Decimal) -> None:
        self.realised += amount
        self.available += amount

    def _release(self, trade: _TradeFold) -> None:
        del self._open[trade.proposal.trade_id]
        self._ended_legs[trade.proposal.trade_id] = trade.legs
        self._free(trade.reserved)

    def _free(self, amount: Decimal) -> None:
        """Capital that was reserved is available again; reserved when it is negative."""
        self.available += amount
        self.total_open -= amount

    def _put(self, trade: _TradeFold, order: SimulatedOrder) -> None:
        trade.orders[order.id] = order
        trade.made = None

    def _trade(self, trade_id: str) -> _TradeFold:
        trade = self._open.get(trade_id)
        if trade is None:
            raise LogError(f"no open trade {trade_id!r}")
        return trade

    def _pending_order(self, event: Event, order_id: str) -> tuple[_TradeFold, SimulatedOrder]:
        trade = self._open.get(self._trade_of.get(order_id, ""))
        if trade is None or trade.orders[order_id].status is not OrderStatus.PENDING:
            raise _impossible(event, f"order {order_id!r} is not pending")
        return trade, trade.orders[order_id]

    def _settled_orders(self, event: Event, trade: _TradeFold) -> None:
        """A fill could still come while an order of the trade is pending."""
        if pending := trade.pending_orders():
            raise _impossible(event, f"orders are still pending: {', '.join(pending)}")


def _impossible(event: Event, why: str) -> LogError:
    return LogError(f"event {event.seq} ({type(event).__name__}): {why}")


def _check_market(event: OrderSubmitted | FundingPaid, proposal: TradeProposed) -> None:
    """Each leg trades on its own exchange and symbol."""
    long = proposal.long_exchange, proposal.long_symbol
    short = proposal.short_exchange, proposal.short_symbol
    market = long if event.leg is Leg.LONG else short
    if (event.exchange, event.symbol) != market:
        raise _impossible(event, f"the {event.leg} leg trades {market}, not {(event.exchange, event.symbol)}")


def _average(notional: Decimal, size: Decimal) -> Decimal | None:
    return divided(notional, size, _PRICE_DIGITS) if size else None


def _with_fill(order: SimulatedOrder, event: OrderFilled) -> SimulatedOrder:
    size, notional = order.filled_size + event.size, order.filled_notional + event.size * event.price
    filled, queue = not event.remaining, order.queue_position
    if queue is not None:
        traded = event.cumulative_volume
        queue = replace(
            queue,
            cumulative_volume_at_price=queue.cumulative_volume_at_price if traded is None else traded,
            is_filled=filled,
        )
    return replace(
        order,
        queue_position=queue,
        filled_at=event.time_ns,
        fill_price=_average(notional, size),
        filled_size=size,
        filled_notional=notional,
        fee=order.fee + event.fee,
        slippage_bps=order.slippage_bps if event.slippage_bps is None else event.slippage_bps,
        walked_bps=order.walked_bps if event.walked_bps is None else event.walked_bps,
        slippage_capped=order.slippage_capped or event.slippage_capped,
        traded_excess=order.traded_excess if event.traded_excess is None else event.traded_excess,
        status=OrderStatus.FILLED if filled else OrderStatus.PENDING,
    )


_FOLDS: dict[type, Callable[[Portfolio, Any], None]] = {
    SessionOpened: Portfolio._opened,
    FlowPosted: Portfolio._flow,
    EntriesResumed: Portfolio._resume,
    InstructionRefused: Portfolio._refuse_instruction,
    EntryRefused: Portfolio._nothing,
    TradeProposed: Portfolio._proposed,
    OrderSubmitted: Portfolio._submitted,
    OrderAccepted: Portfolio._accepted,
    OrderRefused: Portfolio._refused,
    OrderFilled: Portfolio._filled,
    OrderCancelled: Portfolio._cancelled,
    LegOut: Portfolio._leg_out,
    LegOutHedged: Portfolio._hedged,
    EntryAbandoned: Portfolio._abandon,
    TradeOpened: Portfolio._open_trade,
    TradeExiting: Portfolio._exiting,
    FundingPaid: Portfolio._funding,
    TradeClosed: Portfolio._close,
    Halted: Portfolio._halt,
    Valued: Portfolio._value,
}

_AMOUNTS = (
    "starting_capital",
    "available",
    "total_open",
    "net_flows",
    "realised",
    "cumulative_pnl",
    "gross_profit",
    "fees",
    "funding",
    "leg_out_total_loss",
)
_COUNTS = ("win_count", "loss_count", "break_even_count", "leg_out_count")
_LEG_AMOUNTS = ("quantity", "cash", "opened_size", "opened_notional")
_TRADE_AMOUNTS = ("quantity", "fees", "funding", "price_pnl", "leg_out_cost")


def _trade_document(trade: _TradeFold) -> Document:
    document: Document = {name: getattr(trade, name) for name in _TRADE_AMOUNTS}
    document |= {
        "proposal": to_document(trade.proposal),
        "status": trade.status.value,
        "entry_unrealized": trade.entry_unrealized,
        "exit_reason": trade.exit_reason,
        "exit_conditions": list(trade.exit_conditions),
        "orders": [value_to_document(order) for order in trade.orders.values()],
        "leg_outs": [value_to_document(leg_out) for leg_out in trade.leg_outs.values()],
        "legs": {
            name.value: {amount: getattr(leg, amount) for amount in _LEG_AMOUNTS}
            | {"fills": [list(fill) for fill in leg.fills], "funded": list(leg.funded)}
            for name, leg in trade.legs.items()
        },
    }
    return document


def _trade_from_document(document: Mapping[str, Any], day: str) -> _TradeFold:
    proposal = from_document(document["proposal"])
    if not isinstance(proposal, TradeProposed):
        raise ValueError(f"a trade begins with TradeProposed, not {type(proposal).__name__}")
    trade = _TradeFold(proposal)
    for name in _TRADE_AMOUNTS:
        setattr(trade, name, _number(document[name]))
    trade.status = TradeStatus(document["status"])
    entry_unrealized, reason = document["entry_unrealized"], document["exit_reason"]
    trade.entry_unrealized = None if entry_unrealized is None else _number(entry_unrealized)
    trade.exit_reason = None if reason is None else _text(reason)
    trade.exit_conditions = tuple(_text(condition) for condition in document["exit_conditions"])
    for order_document in document["orders"]:
        order = value_from_document(SimulatedOrder, order_document)
        trade.orders[order.id] = order
    for leg_out_document in document["leg_outs"]:
        leg_out = value_from_document(LegOutEvent, leg_out_document)
        trade.leg_outs[leg_out.phase] = leg_out
    for name, leg in trade.legs.items():
        stored = document["legs"][name.value]
        for amount in _LEG_AMOUNTS:
            setattr(leg, amount, _number(stored[amount]))
        if "fills" in stored:
            for time_ns, quantity in stored["fills"]:
                leg.hold(_whole(time_ns, False), _number(quantity))
            leg.funded = dict.fromkeys((_whole(paid_ns, False) for paid_ns in stored["funded"]), False)
        else:  # of a day that was closed when neither was carried: what was settled in it is not owed
            quantity = leg.quantity
            leg.hold(-1, _number(stored["before"]))
            leg.hold(_whole(stored["filled_ns"], False), quantity)
            end = datetime.combine(date.fromisoformat(day), time(), UTC) + timedelta(days=1)
            leg.owed_ns = int(end.timestamp()) * NANOSECONDS
    return trade


def _number(value: Any) -> Decimal:
    if type(value) not in (int, Decimal):
        raise ValueError(f"{value!r} is not a number")
    return Decimal(value)


def _whole(value: Any, optional: bool) -> Any:
    if type(value) is not int and not (optional and value is None):
        raise ValueError(f"{value!r} is not a whole number")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not text")
    return value
