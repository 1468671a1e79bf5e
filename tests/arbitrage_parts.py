"""Tiny valid event logs for every arbitrage test: a writer that keeps a portfolio beside the events it writes."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from assets.accounting.precision import EXACT, posted
from assets.arbitrage.codec import value_to_document
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
from assets.arbitrage.model import Leg, OrderSide, OrderType, Purpose, TradeStatus
from assets.arbitrage.portfolio import Portfolio
from assets.arbitrage.rules import Rules
from resources.feed import NANOSECONDS, Listing

DAY = "2026-03-01"
NEXT_DAY = "2026-03-02"
DAY_START = 1_772_323_200 * NANOSECONDS  # 2026-03-01T00:00:00Z
DAY_NS = 86_400 * NANOSECONDS
C0 = Decimal(20_000)
FEE_RATE = Decimal("0.0005")


def listing(venue: str, asset: str = "BTC", **changes: Any) -> Listing:
    """A linear perpetual of ``asset`` against USDT."""
    made = Listing(
        venue=venue,
        symbol=f"{asset}USDT",
        asset=asset,
        quote="USDT",
        tick=Decimal("0.1"),
        step=Decimal("0.001"),
        min_size=Decimal("0.001"),
        min_notional=Decimal(5),
        maker_fee=Decimal("0.0002"),
        taker_fee=FEE_RATE,
        latency_ns=5_000_000,
        settles_inverse=False,
        can_short=True,
        facts="made for tests",
    )
    return replace(made, **changes)


LISTINGS = (listing("binance"), listing("bybit"))


class LogWriter:
    """Writes a log event by event, each folded at once: what is not a valid log cannot be written.

    ``now`` moves with ``wait``; methods return what a test goes on with. ``events`` is the log.
    """

    def __init__(
        self,
        portfolio: Portfolio | None = None,
        *,
        day: str = DAY,
        start_ns: int = DAY_START,
        carried_day: str = "",
        carried: str = "",
        capital: Decimal = C0,
    ) -> None:
        self.events: list[Event] = []
        self.portfolio = Portfolio() if portfolio is None else portfolio
        self.now = start_ns
        self.day = day
        self._orders = 0
        self._trades = 0
        self.write(
            SessionOpened,
            source="SIMULATED",
            day=day,
            starting_capital=capital,
            rules=value_to_document(Rules(starting_capital=capital)),
            listings=tuple(value_to_document(each) for each in LISTINGS),
            carried_day=carried_day,
            carried=carried,
        )

    def write(self, event_type: type[Event], **fields: Any) -> Any:
        """The next event of the log, folded. Raises LogError when it cannot follow (and is then not written)."""
        event = event_type(seq=self.portfolio.seq + 1, time_ns=self.now, **fields)
        self.portfolio.apply(event)
        self.events.append(event)
        return event

    def wait(self, nanoseconds: int) -> None:
        self.now += nanoseconds

    def flow(self, amount: str) -> None:
        self.write(FlowPosted, instruction=self.portfolio.taken + 1, amount=Decimal(amount), note="moved")

    def resume(self) -> None:
        self.write(EntriesResumed, instruction=self.portfolio.taken + 1, note="seen to")

    def refuse_instruction(self, reason: str = "nothing is halted") -> None:
        self.write(InstructionRefused, instruction=self.portfolio.taken + 1, asked="resume", reason=reason)

    def refuse_entry(self, reason: str = "no_depth") -> None:
        self.write(
            EntryRefused, asset="BTC", long_exchange="binance", short_exchange="bybit", confidence=80, reason=reason
        )

    def propose(
        self,
        quantity: str = "1",
        size: str = "100",
        long_price: str = "100",
        short_price: str = "101",
        **changes: Any,
    ) -> str:
        """A new trade's id; long on binance, short on bybit."""
        self._trades += 1
        trade_id = f"{self.day}-t{self._trades}"
        fields: dict[str, Any] = {
            "trade_id": trade_id,
            "asset": "BTC",
            "long_exchange": "binance",
            "long_symbol": "BTCUSDT",
            "short_exchange": "bybit",
            "short_symbol": "BTCUSDT",
            "quantity": Decimal(quantity),
            "position_size_usd": Decimal(size),
            "long_price": Decimal(long_price),
            "short_price": Decimal(short_price),
            "spread_bps": Decimal(100),
            "fees_bps": Decimal(20),
            "funding_cost_bps": Decimal(0),
            "funding_delta": Decimal("0.0002"),
            "projected_profit_usd": Decimal("0.5"),
            "confidence": 85,
            "confidence_parts": {"spread": 50, "funding": 20, "depth": 15},
            "harder_leg": Leg.LONG,
            "harder_reason": "slower",
        }
        self.write(TradeProposed, **(fields | changes))
        return trade_id

    def send(
        self,
        trade_id: str,
        leg: Leg,
        purpose: Purpose = Purpose.ENTRY,
        size: str | Decimal = "1",
        price: str | Decimal = "100",
        order_type: OrderType = OrderType.LIMIT,
        **changes: Any,
    ) -> str:
        """A new order's id, on the leg's own market; a hedge opens while the trade is pending and closes after."""
        pending = self.portfolio.trade(trade_id).status is TradeStatus.PENDING
        opens = purpose is Purpose.ENTRY or (purpose is Purpose.HEDGE and pending)
        self._orders += 1
        order_id = f"{self.day}-o{self._orders}"
        fields: dict[str, Any] = {
            "order_id": order_id,
            "trade_id": trade_id,
            "leg": leg,
            "purpose": purpose,
            "exchange": "binance" if leg is Leg.LONG else "bybit",
            "symbol": "BTCUSDT",
            "side": leg.opening_side if opens else leg.closing_side,
            "order_type": order_type,
            "price": Decimal(price),
            "size": Decimal(size),
        }
        self.write(OrderSubmitted, **(fields | changes))
        return order_id

    def accept(self, order_id: str, depth: str = "10") -> None:
        self.write(OrderAccepted, order_id=order_id, resting_depth=Decimal(depth), fill_threshold=Decimal("0.20"))

    def fill(
        self,
        order_id: str,
        size: str | Decimal | None = None,
        price: str | Decimal | None = None,
        fee: str | Decimal | None = None,
    ) -> None:
        """Fills what is left, at the order's price, with the taker fee, unless told otherwise."""
        order = self.portfolio.order(order_id)
        left = EXACT.subtract(order.size, order.filled_size)
        filled = left if size is None else Decimal(size)
        at = order.price if price is None else Decimal(price)
        limit = order.order_type is OrderType.LIMIT
        self.write(
            OrderFilled,
            order_id=order_id,
            price=at,
            size=filled,
            remaining=EXACT.subtract(left, filled),
            fee=posted(EXACT.multiply(EXACT.multiply(filled, at), FEE_RATE)) if fee is None else Decimal(fee),
            cumulative_volume=Decimal(12) if limit else None,
            traded_excess=Decimal(10) if limit else None,
            slippage_bps=None if limit else Decimal(2),
            walked_bps=None,
            slippage_capped=False,
        )

    def cancel(self, order_id: str, reason: str = "timeout") -> None:
        self.write(OrderCancelled, order_id=order_id, reason=reason)

    def refuse_order(self, order_id: str, reason: str = "no_depth") -> None:
        self.write(OrderRefused, order_id=order_id, reason=reason)

    def trade_leg(self, trade_id: str, leg: Leg, purpose: Purpose, size: str | Decimal, price: str | Decimal) -> None:
        """An order that fills whole at its price."""
        market = purpose in (Purpose.HEDGE, Purpose.UNWIND)
        kind = OrderType.MARKET if market else OrderType.LIMIT
        self.fill(self.send(trade_id, leg, purpose, size, price, kind))

    def open(self, trade_id: str, entry_unrealized: str = "-0.3") -> None:
        quantity = self.portfolio.holding(trade_id, Leg.LONG).quantity
        self.write(TradeOpened, trade_id=trade_id, quantity=quantity, entry_unrealized_usd=Decimal(entry_unrealized))

    def abandon(self, trade_id: str) -> None:
        self.write(EntryAbandoned, trade_id=trade_id, reason="timeout")

    def exit(self, trade_id: str, reason: str = "profit_target", *also: str) -> None:
        self.write(
            TradeExiting,
            trade_id=trade_id,
            reason=reason,
            conditions=(reason, *also),
            unrealized_pnl=Decimal("0.45"),
            spread_bps=Decimal(3),
            funding_delta=Decimal("0.0001"),
        )

    def leg_out(self, trade_id: str, phase: Purpose) -> LegOut:
        """Logs the leg-out that the holdings show."""
        long, short = (self.portfolio.holding(trade_id, leg).quantity for leg in Leg)
        more = Leg.LONG if long > short else Leg.SHORT
        filled = more if phase is Purpose.ENTRY else more.other
        event: LegOut = self.write(
            LegOut,
            trade_id=trade_id,
            phase=phase,
            filled_leg=filled,
            filled_at=self.now,
            unfilled_leg=filled.other,
            naked_quantity=abs(EXACT.subtract(long, short)),
        )
        return event

    def hedged(self, trade_id: str, phase: Purpose, price: str | Decimal = "100", cost: str | Decimal = "0.1") -> None:
        self.write(LegOutHedged, trade_id=trade_id, phase=phase, hedge_price=Decimal(price), cost=Decimal(cost))

    def fund(
        self,
        trade_id: str,
        leg: Leg,
        rate: str | Decimal = "0.0001",
        mark: str | Decimal = "100",
        settled_ns: int | None = None,
    ) -> None:
        quantity = self.portfolio.holding(trade_id, leg).quantity
        signed = EXACT.multiply(EXACT.multiply(quantity, Decimal(mark)), Decimal(rate))
        self.write(
            FundingPaid,
            trade_id=trade_id,
            leg=leg,
            exchange="binance" if leg is Leg.LONG else "bybit",
            symbol="BTCUSDT",
            quantity=quantity,
            mark=Decimal(mark),
            rate=Decimal(rate),
            amount=posted(signed.copy_negate() if leg.opening_side is OrderSide.LONG else signed),
            settled_ns=settled_ns,
        )

    def close(self, trade_id: str, reason: str | None = None) -> TradeClosed:
        """States the profits that the fold's own numbers give: the trade's orders, from scratch."""
        trade = self.portfolio.trade(trade_id)
        actual = trade.funding_usd
        for order in trade.orders.values():
            signed = EXACT.multiply(order.filled_notional, Decimal(order.side.sign))
            actual = EXACT.subtract(EXACT.subtract(actual, signed), order.fee)
        event: TradeClosed = self.write(
            TradeClosed,
            trade_id=trade_id,
            reason=reason or trade.exit_reason or "leg_out",
            gross_profit_usd=EXACT.add(actual, trade.leg_out_cost_usd),
            leg_out_cost_usd=trade.leg_out_cost_usd,
            actual_profit_usd=actual,
        )
        return event

    def value(self, unrealized: str | None = "0", missing: tuple[str, ...] = ()) -> None:
        portfolio = self.portfolio
        self.write(
            Valued,
            available_capital=portfolio.available,
            total_open_positions=portfolio.total_open,
            realised=portfolio.realised,
            unrealized=None if unrealized is None else Decimal(unrealized),
            missing=missing,
        )

    def halt(self, reason: str = "naked") -> None:
        self.write(Halted, reason=reason)

    # Whole trades

    def opened_trade(self, quantity: str = "1", long_price: str = "100", short_price: str = "101") -> str:
        """A trade whose two entries filled whole, one after the other."""
        trade_id = self.propose(quantity, long_price=long_price, short_price=short_price)
        self.trade_leg(trade_id, Leg.LONG, Purpose.ENTRY, quantity, long_price)
        self.trade_leg(trade_id, Leg.SHORT, Purpose.ENTRY, quantity, short_price)
        self.open(trade_id)
        return trade_id

    def closed_trade(
        self, quantity: str = "1", entry: tuple[str, str] = ("100", "101"), exit: tuple[str, str] = ("101", "100")
    ) -> TradeClosed:
        """A whole trade: bought and sold at ``entry`` (long, short), both closed at ``exit``."""
        trade_id = self.opened_trade(quantity, *entry)
        self.exit(trade_id)
        self.trade_leg(trade_id, Leg.LONG, Purpose.EXIT, quantity, exit[0])
        self.trade_leg(trade_id, Leg.SHORT, Purpose.EXIT, quantity, exit[1])
        return self.close(trade_id)


def folded(events: list[Event], portfolio: Portfolio | None = None) -> Portfolio:
    """The portfolio after all of the events."""
    made = Portfolio() if portfolio is None else portfolio
    for event in events:
        made.apply(event)
    return made


def rich_log() -> LogWriter:
    """A log with every kind of event: profits, losses, leg-outs at entry and exit, funding, flows, a halt."""
    log = LogWriter()
    log.flow("500.25")
    log.refuse_instruction()
    log.halt("drill")
    log.resume()
    log.refuse_entry()
    log.wait(NANOSECONDS)
    log.closed_trade()
    log.wait(NANOSECONDS)
    log.closed_trade(entry=("100", "101"), exit=("100.5", "101.4"))
    unwound = log.propose("2", "210")
    harder = log.send(unwound, Leg.LONG, size="2", price="100")
    log.accept(harder)
    log.wait(10_000_000)
    log.fill(harder, "1.5")
    log.wait(450_000_000)
    log.cancel(harder)
    log.leg_out(unwound, Purpose.ENTRY)
    log.trade_leg(unwound, Leg.LONG, Purpose.UNWIND, "1.5", "99.98")
    log.hedged(unwound, Purpose.ENTRY, "99.98", "0.03")
    log.close(unwound)
    missed = log.propose()
    order = log.send(missed, Leg.LONG)
    log.refuse_order(order)
    log.abandon(missed)
    left = log.opened_trade("1.25")
    log.value("0.125")
    log.wait(3_600 * NANOSECONDS)
    log.fund(left, Leg.LONG)
    log.fund(left, Leg.SHORT, "0.0003", "100.7")
    log.exit(left, "profit_target", "funding_convergence")
    log.trade_leg(left, Leg.LONG, Purpose.EXIT, "1.25", "100.8")
    slower = log.send(left, Leg.SHORT, Purpose.EXIT, "1.25", "100.7")
    log.accept(slower, "0")
    log.fill(slower, "0.25")
    log.wait(450_000_000)
    log.cancel(slower)
    log.leg_out(left, Purpose.EXIT)
    log.trade_leg(left, Leg.SHORT, Purpose.HEDGE, "1", "100.9")
    log.hedged(left, Purpose.EXIT, "100.9", "0.2")
    log.close(left)
    log.opened_trade("0.5")
    log.propose("3", "300")
    log.value(None, ("bybit:BTCUSDT",))
    log.halt()
    return log


_GRID = Decimal("0.0001")


def _grid(low: int, high: int) -> st.SearchStrategy[Decimal]:
    return st.integers(low, high).map(lambda units: units * _GRID)


@st.composite
def logs(draw: st.DrawFn, steps: int = 30) -> LogWriter:
    """Valid logs of a tiny market: any prices, sizes, partial fills, leg-outs, unwinds, funding, flows, halts, days.

    Every step takes one open trade a random way further, or does something else; trades may be left half way.
    """
    log = LogWriter()
    prices = _grid(900_000, 1_100_000)
    for _ in range(draw(st.integers(0, steps))):
        log.wait(draw(st.sampled_from((0, 1, NANOSECONDS, 3_600 * NANOSECONDS))))
        open_trades = log.portfolio.open_trades
        if draw(st.integers(0, 3)) and open_trades:
            _further(draw, log, draw(st.sampled_from(open_trades)).id, prices)
            continue
        what = draw(
            st.sampled_from(("propose", "propose", "propose", "flow", "flow", "instruct", "refuse", "value", "halt"))
        )
        if what == "propose" and not log.portfolio.halted and log.portfolio.available >= 200:
            quantity = draw(_grid(1, 20_000))
            log.propose(str(quantity), str(draw(_grid(1_000_000, 2_000_000))))
        elif what == "flow":
            amount = draw(_grid(1, 10_000_000)) * draw(st.sampled_from((1, 1, -1)))
            log.flow(str(amount if amount + log.portfolio.available >= 0 else -amount))
        elif what == "value":
            unknown = draw(st.booleans())
            log.value(None if unknown else str(draw(prices)), ("bybit:BTCUSDT",) if unknown else ())
        elif what == "instruct" and log.portfolio.halted and not log.portfolio.naked_trades():
            log.resume()
        elif what == "instruct":
            log.refuse_instruction()
        elif what == "halt" and draw(st.integers(0, 3)) == 0:
            log.halt()
        else:
            log.refuse_entry()
    return log


def _part(draw: st.DrawFn, whole: Decimal) -> Decimal:
    """A part of ``whole`` on the grid, mostly all of it."""
    if whole == _GRID or draw(st.integers(0, 2)):
        return whole
    return draw(st.integers(1, int(whole / _GRID) - 1)) * _GRID


def _order(
    draw: st.DrawFn,
    log: LogWriter,
    trade_id: str,
    leg: Leg,
    purpose: Purpose,
    size: Decimal,
    *,
    whole: bool,
    prices: st.SearchStrategy[Decimal],
) -> None:
    """An order that fills in none, one or several executions and is final afterwards; a ``whole`` one fills whole."""
    kind = draw(st.sampled_from(OrderType))
    order_id = log.send(trade_id, leg, purpose, size, draw(prices), kind)
    if not whole and draw(st.integers(0, 5)) == 0:
        log.refuse_order(order_id)
        return
    if kind is OrderType.LIMIT:
        log.accept(order_id, str(draw(_grid(0, 100_000))))
    left = size if whole or draw(st.integers(0, 2)) else _part(draw, size)
    filled = Decimal(0) if not whole and draw(st.integers(0, 4)) == 0 else left
    while filled:
        execution = _part(draw, filled)
        price = log.portfolio.order(order_id).price if kind is OrderType.LIMIT else draw(prices)
        log.fill(order_id, execution, price)
        filled = EXACT.subtract(filled, execution)
    if log.portfolio.order(order_id).status == "Pending":
        log.cancel(order_id)


def _further(draw: st.DrawFn, log: LogWriter, trade_id: str, prices: st.SearchStrategy[Decimal]) -> None:
    """One step of a trade: entry with both legs, whatever they fill; funding; exit, whatever it fills."""
    trade = log.portfolio.trade(trade_id)
    if trade.status is TradeStatus.PENDING:
        if draw(st.integers(0, 5)):
            for leg in Leg:
                held = log.portfolio.holding(trade_id, leg).quantity
                wanted = EXACT.subtract(trade.quantity, held)
                if wanted and trade.leg_out_event is None:
                    _order(draw, log, trade_id, leg, Purpose.ENTRY, wanted, whole=False, prices=prices)
            _levelled(draw, log, trade_id, Purpose.ENTRY, prices)
        return
    if trade.status is TradeStatus.ACTIVE:
        for leg in Leg:
            if draw(st.booleans()) and log.portfolio.holding(trade_id, leg).quantity:
                log.wait(1)
                log.fund(trade_id, leg, draw(_grid(-20, 20)), draw(prices))
        if draw(st.booleans()):
            log.exit(trade_id, draw(st.sampled_from(("loss_limit", "profit_target"))))
        return
    for leg in Leg:
        held = log.portfolio.holding(trade_id, leg).quantity
        if held and trade.exit_leg_out_event is None:
            _order(draw, log, trade_id, leg, Purpose.EXIT, held, whole=False, prices=prices)
    _levelled(draw, log, trade_id, Purpose.EXIT, prices)


def _levelled(
    draw: st.DrawFn, log: LogWriter, trade_id: str, phase: Purpose, prices: st.SearchStrategy[Decimal]
) -> None:
    """Hedges or unwinds what is naked, and ends the phase where the legs allow it."""
    trade = log.portfolio.trade(trade_id)
    long, short = (log.portfolio.holding(trade_id, leg).quantity for leg in Leg)
    entering = phase is Purpose.ENTRY
    if long != short:
        more, naked = (Leg.LONG if long > short else Leg.SHORT), abs(EXACT.subtract(long, short))
        logged = trade.leg_out_event if entering else trade.exit_leg_out_event
        if logged is None:
            log.leg_out(trade_id, phase)
        if draw(st.integers(0, 4)) == 0:
            return  # killed between the leg-out and its hedge
        if not entering or draw(st.booleans()):
            leg = more.other if entering else more
            _order(draw, log, trade_id, leg, Purpose.HEDGE, naked, whole=True, prices=prices)
        else:
            _order(draw, log, trade_id, more, Purpose.UNWIND, naked, whole=True, prices=prices)
        log.hedged(trade_id, phase, draw(prices), draw(_grid(0, 10_000)))
    quantity = log.portfolio.holding(trade_id, Leg.LONG).quantity
    if entering and quantity:
        log.open(trade_id)
    elif entering and not log.portfolio.trade(trade_id).orders:
        log.abandon(trade_id)
    elif entering and any(order.filled_size for order in log.portfolio.trade(trade_id).orders.values()):
        log.close(trade_id)
    elif entering:
        log.abandon(trade_id)
    elif not quantity:
        log.close(trade_id)


def with_seq(events: list[Event], first: int) -> Iterator[Event]:
    """The events numbered anew from ``first``, as a later session's log holds them."""
    for number, event in enumerate(events, first):
        yield replace(event, seq=number)


def without(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key != name}
