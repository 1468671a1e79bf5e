"""A trader on two or three venues of one coin near 100, and an auditor that reads nothing but its log and the books."""

from collections.abc import Sequence
from decimal import Decimal

from assets.arbitrage.codec import to_line, value_to_document
from assets.arbitrage.engine import Engine
from assets.arbitrage.events import (
    Event,
    Halted,
    LegOut,
    LegOutHedged,
    OrderAccepted,
    OrderFilled,
    OrderSubmitted,
    SessionOpened,
    TradeClosed,
    TradeProposed,
)
from assets.arbitrage.instructions import Given, Instruction, Kind
from assets.arbitrage.model import Leg, OrderSide, OrderType, PaperTrade, TradeStatus
from assets.arbitrage.portfolio import Portfolio
from assets.arbitrage.rules import MILLISECOND, Rules
from assets.arbitrage.scanner import Scanner
from resources.feed import (
    FeedEvent,
    FundingQuote,
    FundingSettled,
    Interrupted,
    Listing,
    Quote,
    Trade,
    from_units,
    to_units,
)

START = 1_767_225_600 * 10**9 + 1  # just after a minute, so that a test of milliseconds sees no minute tick
HOUR = 3600 * 10**9
D = Decimal


def listing(
    venue: str, latency_ms: int = 10, step: str = "0.01", min_notional: str = "5", can_short: bool = True
) -> Listing:
    return Listing(
        venue=venue, symbol="SOLUSDT", asset="SOL", quote="USDT", tick=D("0.01"), step=D(step), min_size=D(step),
        min_notional=D(min_notional), maker_fee=D("0.0002"), taker_fee=D("0.0005"),
        latency_ns=latency_ms * MILLISECOND, settles_inverse=False, can_short=can_short, facts="a test",
    )  # fmt: skip


NORTH, SOUTH = listing("north"), listing("south", 20, "0.025")


def units(number: str | float | Decimal) -> int:
    return to_units(round(D(str(number)), 8))


class Auditor:
    """Follows the log as it is written and keeps what would be wrong with it, by its own bookkeeping."""

    def __init__(self, rules: Rules, engine: Engine | None = None) -> None:
        self.rules = rules
        self.engine = engine
        self.problems: list[str] = []
        self.held: dict[str, dict[Leg, Decimal]] = {}
        self.naked_since: dict[str, int] = {}
        self.longest_naked = 0
        self.over = 0  # naked for longer than allowed, alarmed or not
        self.overdue: dict[str, int] = {}  # naked trades by the first event after the time allowed
        self.alarmed: dict[str, int] = {}  # by when the trader halted for them
        self.submitted: dict[str, OrderSubmitted] = {}
        self.depths: dict[str, Decimal] = {}
        self.leg_outs: set[tuple[str, str]] = set()
        self.hedged: set[tuple[str, str]] = set()
        self.closed: dict[str, TradeClosed] = {}
        self.last_ns = 0

    def read(self, event: Event) -> None:
        if event.time_ns < self.last_ns:
            self.problems.append(f"time goes back at {event.seq}")
        # Whatever is still naked after the limit is only excused by an alarm that names it, before anything else.
        for trade_id, since in self.naked_since.items():
            if isinstance(event, Halted) and trade_id in event.reason:
                self.alarmed.setdefault(trade_id, event.time_ns)
            if event.time_ns > since + self.rules.leg_timeout_ns:
                self.overdue.setdefault(trade_id, event.time_ns)
                self._check_naked(trade_id, since, event.time_ns)
        self.last_ns = event.time_ns
        trade_id = getattr(event, "trade_id", None)
        if trade_id in self.closed:
            self.problems.append(f"{type(event).__name__} after the trade was closed")
        match event:
            case TradeProposed():
                self.held[event.trade_id] = {Leg.LONG: D(0), Leg.SHORT: D(0)}
                if event.projected_profit_usd <= 0 or event.confidence < self.rules.min_confidence:
                    self.problems.append(f"proposed without reason: {event}")
            case OrderSubmitted():
                self.submitted[event.order_id] = event
            case OrderAccepted():
                self.depths[event.order_id] = event.resting_depth
            case OrderFilled():
                self._fill(event)
            case LegOut():
                self._once(self.leg_outs, event.trade_id, event.phase)
            case LegOutHedged():
                self._once(self.hedged, event.trade_id, event.phase)
                if (event.trade_id, event.phase) not in self.leg_outs or event.cost < 0:
                    self.problems.append(f"hedged what was not logged: {event}")
            case TradeClosed():
                self.closed[event.trade_id] = event
                if any(self.held[event.trade_id].values()):
                    self.problems.append(f"closed with {self.held[event.trade_id]}")

    def _once(self, seen: set[tuple[str, str]], trade_id: str, phase: str) -> None:
        if (trade_id, phase) in seen:
            self.problems.append(f"leg-out of {trade_id} logged twice at {phase}")
        seen.add((trade_id, phase))

    def _fill(self, event: OrderFilled) -> None:
        order = self.submitted[event.order_id]
        held = self.held[order.trade_id]
        held[order.leg] += event.size if order.side is order.leg.opening_side else -event.size
        if held[Leg.LONG] != held[Leg.SHORT]:
            self.naked_since.setdefault(order.trade_id, event.time_ns)
        elif order.trade_id in self.naked_since:
            self.alarmed.setdefault(order.trade_id, event.time_ns + 1)  # too late now
            self._check_naked(order.trade_id, self.naked_since[order.trade_id], event.time_ns)
            lasted = event.time_ns - self.naked_since.pop(order.trade_id)
            self.alarmed.pop(order.trade_id)
            self.overdue.pop(order.trade_id, None)
            self.longest_naked = max(self.longest_naked, lasted)
            self.over += lasted > self.rules.leg_timeout_ns
        sign = order.side.sign
        if order.order_type is OrderType.LIMIT:
            if sign * (event.price - order.price) > 0:
                self.problems.append(f"filled worse than its limit: {event}")
            if event.cumulative_volume is not None:  # it rested
                needed = self.rules.fill_threshold * self.depths[event.order_id]
                if event.cumulative_volume <= 0 or event.cumulative_volume < needed:
                    self.problems.append(f"filled before its turn: {event}")
            elif event.fee == 0:
                self.problems.append(f"a fill without a fee: {event}")
            return
        if event.slippage_bps is None or not 2 <= event.slippage_bps <= 5:
            self.problems.append(f"slippage of a market fill: {event}")
        if self.engine is not None:
            top = self.engine.exchange.top(_index(self.engine, order.exchange))
            if top is None:
                self.problems.append(f"a market fill without a book: {event}")
            else:
                touch = from_units(top.ask if order.side is OrderSide.LONG else top.bid)
                if sign * (event.price - touch) < touch * D("0.0002"):
                    self.problems.append(f"a market fill better than two basis points behind {touch}: {event}")

    def _check_naked(self, trade_id: str, since: int, now_ns: int) -> None:
        """A restart logs the orders that are gone and the alarm at one instant: the alarm has all of it."""
        overdue = self.overdue.get(trade_id)
        if overdue is not None and self.alarmed.get(trade_id, now_ns) > overdue:
            self.problems.append(f"{trade_id} naked for {(now_ns - since) / 1e6} ms without an alarm")

    def finish(self, now_ns: int) -> None:
        for trade_id, since in self.naked_since.items():
            if now_ns > since + self.rules.leg_timeout_ns and trade_id not in self.alarmed:
                self.problems.append(f"{trade_id} naked for {(now_ns - since) / 1e6} ms without an alarm")


def _index(engine: Engine, venue: str) -> int:
    return next(index for index, known in enumerate(engine.listings) if known.venue == venue)


class Desk:
    """An engine with its log, clock and books; every event goes past the auditor."""

    def __init__(self, listings: Sequence[Listing] = (NORTH, SOUTH), rules: Rules | None = None) -> None:
        self.listings = tuple(listings)
        self.rules = rules or Rules()
        self.now = START
        self.log: list[Event] = []
        self.inputs: list[
            FeedEvent | int | tuple[int, Given]
        ] = []  # events, times that were only advanced to, instructions
        self.auditor = Auditor(self.rules)
        self.portfolio = Portfolio()
        self.portfolio.apply(self._opened())
        self.log.append(self._opened())
        self.engine = self._begin()

    def _opened(self) -> SessionOpened:
        return SessionOpened(
            0, START, "SIMULATED", "2026-01-01", self.rules.starting_capital, value_to_document(self.rules),
            tuple(value_to_document(listing) for listing in self.listings), "", "",
        )  # fmt: skip

    def _begin(self) -> Engine:
        engine = Engine(self.listings, self.rules, self._write, self.portfolio, Scanner(self.listings, self.rules))
        self.auditor.engine = engine
        return engine

    def _write(self, event: Event) -> None:
        self.auditor.read(event)
        state = self.portfolio
        if state.available + state.total_open != state.starting_capital + state.net_flows + state.realised:
            self.auditor.problems.append(f"capital is not conserved at {event.seq}")
        self.log.append(event)

    def restart(self, prefix: int | None = None) -> None:
        """Kill the trader and take the log (or its first ``prefix`` events) up again without the feed's past."""
        self.log = self.log[:prefix]
        self.portfolio = fold(self.log)
        self.auditor = Auditor(self.rules)
        for event in self.log:
            self.auditor.read(event)
        self.engine = self._begin()
        self.engine.recover(self.now)

    def feed(self, event: FeedEvent) -> None:
        self.now = event.time_ns
        self.inputs.append(event)
        self.engine.on_event(event)

    def wait(self, milliseconds: float) -> None:
        self.now += round(milliseconds * MILLISECOND)
        self.inputs.append(self.now)
        self.engine.advance(self.now)

    def instruct(self, kind: str, amount: str | None = None) -> Event:
        """What became of an instruction given a nanosecond after what happened last."""
        number, decimal = self.portfolio.taken + 1, None if amount is None else D(amount)
        return self.take(Instruction(number, Kind(kind), decimal, "a test", 0))

    def take(self, given: Given) -> Event:
        self.now += 1
        self.inputs.append((self.now, given))
        self.engine.instruct(given, self.now)
        return self.log[-1]

    def quote(self, index: int, bid: float, ask: float, bid_size: float = 400, ask_size: float = 400) -> None:
        self.feed(Quote(self.now, index, units(bid), units(bid_size), units(ask), units(ask_size)))

    def trade(self, index: int, price: float, size: float, buyer_is_aggressor: bool) -> None:
        self.feed(Trade(self.now, index, units(price), units(size), buyer_is_aggressor))

    def rate(self, index: int, rate: str) -> None:
        self.feed(FundingQuote(self.now, index, D(rate), self.now + 8 * HOUR, 8 * HOUR))

    def settle(self, index: int, rate: str, mark: float) -> None:
        self.feed(FundingSettled(self.now, index, D(rate), units(mark)))

    def interrupt(self, index: int) -> None:
        self.feed(Interrupted(self.now, index))

    def rates(self) -> None:
        """Shorts on the second venue are paid 3 bp a settlement."""
        self.rate(0, "0.0001")
        self.rate(1, "0.0004")

    def calm(self) -> None:
        """Both venues agree."""
        self.quote(0, 99.99, 100)
        self.quote(1, 99.99, 100)

    def apart(self) -> None:
        """The second venue is 1 % dearer: an opportunity of 79 bp after fees."""
        self.quote(0, 99.99, 100)
        self.quote(1, 101, 101.01)

    def words(self, *kinds: type[Event]) -> list[Event]:
        return [event for event in self.log if isinstance(event, kinds)]

    def last(self, kind: type[Event]) -> Event:
        return self.words(kind)[-1]

    @property
    def only_trade(self) -> PaperTrade:
        (trade,) = (*self.portfolio.open_trades, *self.portfolio.closed_trades)
        return trade

    def open_trade(self) -> PaperTrade:
        """Enter and be filled on both legs at once."""
        self.rates()
        self.apart()
        self.wait(40)
        assert self.only_trade.status is TradeStatus.ACTIVE
        return self.only_trade

    def lines(self) -> list[bytes]:
        return [to_line(event) for event in self.log]


def fold(log: Sequence[Event]) -> Portfolio:
    portfolio = Portfolio()
    for event in log:
        portfolio.apply(event)
    return portfolio


def unrealized_of(trade: PaperTrade, listings: Sequence[Listing], long_bid: int, short_ask: int) -> Decimal:
    """Net P&L of closing an untouched trade now, from the brief's structures alone."""
    fees = {known.venue: known.taker_fee for known in listings}
    bid, ask = from_units(long_bid), from_units(short_ask)
    bought = sum((o.filled_notional * o.side.sign for o in trade.orders.values() if o.leg is Leg.LONG), D(0))
    sold = -sum((o.filled_notional * o.side.sign for o in trade.orders.values() if o.leg is Leg.SHORT), D(0))
    gross = trade.quantity * (bid - ask) - bought + sold
    leaving = trade.quantity * (bid * fees[trade.long_exchange] + ask * fees[trade.short_exchange])
    return gross - leaving - trade.fees_usd + trade.funding_usd
