"""The paper trader: market events in, decisions and their consequences out, one event after the other.

A trade is entered by its harder leg; what fills of it is met on the other leg at once. The first fill arms the clock of
the 500 ms rule: at the deadline, less the time that cancelling and hedging take at these venues, whatever is open is
cancelled and the difference of the two legs is completed or taken back at the market. What cannot be hedged halts the
trader, and is tried again with every new quote. The same two clocks guard the way out, where market orders go out in
slices that both books can take with a reserve, the next one as soon as both legs have filled the one before.

Here is when something is done and what is logged of it. Whether an opportunity is entered is judged by ``entry``, what
is ordered next by ``steps``; how a trade comes back from the log is said by ``recovery``.

Everything is decided from events, timers and rules alone, in their order: the same input gives the same log.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial
from uuid import UUID, uuid5

from assets.accounting.precision import EXACT, ZERO, posted, quotient
from assets.arbitrage.entry import Entries
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
    TradeClosed,
    TradeExiting,
    TradeOpened,
    TradeProposed,
    Valued,
)
from assets.arbitrage.exchange import Exchange, Filled, touch
from assets.arbitrage.exits import ExitWatch, exit_conditions
from assets.arbitrage.funding import funding_payment
from assets.arbitrage.instructions import Given, Kind, Unreadable
from assets.arbitrage.legs import naked_since
from assets.arbitrage.model import (
    ExitReason,
    Leg,
    OrderStatus,
    OrderType,
    Purpose,
    TradeStatus,
)
from assets.arbitrage.open_trade import SQUARED, OpenLeg, OpenOrder, OpenTrade, Stage, places
from assets.arbitrage.portfolio import Portfolio
from assets.arbitrage.recovery import restored
from assets.arbitrage.rules import Rules
from assets.arbitrage.scanner import Opportunity, Scanner
from assets.arbitrage.steps import Step, Steps
from assets.arbitrage.timers import Rank, Timers
from resources.feed import (
    NANOSECONDS,
    UNITS,
    Depth,
    FeedEvent,
    FundingQuote,
    FundingSettled,
    Listing,
    Quote,
    Trade,
    from_units,
    is_sound_rate,
    to_units,
)

_TRADES = UUID("5a0c2f5e-6f0b-5d0e-9a53-0b7f3c1d4e21")  # the name space of trade ids
_MINUTE = 60 * NANOSECONDS


class Engine:
    """Implements the exchange's ``Reports``. Every event is folded into ``portfolio`` and then handed to ``write``.

    The portfolio has been given its ``SessionOpened``. One that holds trades already (a restart, a new day) is taken up
    with ``recover`` before the first event.
    """

    def __init__(
        self,
        listings: Sequence[Listing],
        rules: Rules,
        write: Callable[[Event], None],
        portfolio: Portfolio,
        scanner: Scanner,
        minute_ticks: bool = True,
    ) -> None:
        self.rejected: Counter[str] = Counter()
        self.portfolio = portfolio
        self.scanner = scanner
        self.listings = tuple(listings)
        self._indices = {(listing.venue, listing.symbol): index for index, listing in enumerate(self.listings)}
        self._unlisted: list[str] = []  # what trades that are left alone hold
        self._rules = rules
        self._write = write
        self._timers = Timers()
        self.exchange = Exchange(listings, rules, self._timers, self)
        self._steps = Steps(self.exchange, rules)
        self._entries = Entries(self.listings, self.exchange, rules)
        self._trades: dict[str, OpenTrade] = {}
        self._trades_of: list[list[OpenTrade]] = [[] for _ in listings]
        self._orders: dict[str, OpenOrder] = {}
        self._pausing: dict[str, int] = {}  # asset -> until
        self._told: dict[tuple[int, int], int | None] = {}  # refused opportunities by when they appeared
        self._longest_naked_ns: int | None = None  # of those that are over, since somebody asked
        self._stopped = False
        self._ticking = not minute_ticks
        self._now_ns = 0

    # What comes in

    @property
    def next_timer_ns(self) -> int | None:
        """When something is due though no market event comes; None when nothing is."""
        return self._timers.next_ns

    @property
    def busy(self) -> bool:
        """Whether orders are working or a trade waits to be settled: a good moment to end is when not."""
        return any(trade.stage is not Stage.ACTIVE for trade in self._trades.values())

    @property
    def naked_since_ns(self) -> int | None:
        """Since when a trade's legs differ, the longest of them; None while all are equal."""
        return min((since for trade in self._trades.values() if (since := trade.naked_since) is not None), default=None)

    def take_longest_naked_ns(self) -> int | None:
        """The longest that any trade was naked since this was last asked, what came and went in between included; one
        that still is counts up to now. None when none was."""
        longest, self._longest_naked_ns = self._longest_naked_ns, None
        since = self.naked_since_ns
        lengths = [longest, None if since is None else self._now_ns - since]
        return max((length for length in lengths if length is not None), default=None)

    def on_event(self, event: FeedEvent) -> None:
        """The next event of the feed. One that goes back in time is counted in ``rejected`` and changes nothing."""
        now_ns = event.time_ns
        if now_ns < self._now_ns:
            self.rejected["out_of_order"] += 1
            return
        listing = event.listing
        if not 0 <= listing < len(self._trades_of):
            self.rejected["unknown_listing"] += 1
            return
        self._timers.run_before(now_ns)
        self._now_ns = now_ns
        if not self._ticking:
            self._start_ticking(now_ns)
        kind = type(event)
        self.exchange.on_event(event)
        if kind is Quote:
            if self._trades_of[listing]:
                self._look_at(listing, now_ns)
            opportunities = self.scanner.on_event(event)
        elif kind is Trade:
            return
        elif kind is Depth:
            if self._trades_of[listing]:
                self._look_at(listing, now_ns)
            top = self.exchange.top(listing)
            if top is None:
                self.scanner.forget(listing, now_ns, self.exchange.usable(listing, now_ns) or "empty_book")
                return
            opportunities = self.scanner.on_event(top)
        elif kind is FundingSettled:
            self.scanner.on_event(event)
            self._settle_funding(event)  # type: ignore[arg-type]
            return
        else:
            opportunities = self.scanner.on_event(event)
            if kind is FundingQuote:
                self._entries.take_rate(event)  # type: ignore[arg-type]
                if self._trades_of[listing]:
                    self._look_at(listing, now_ns, funding=True)
        for opportunity in opportunities:
            self._consider(opportunity, now_ns)

    def advance(self, now_ns: int) -> None:
        """Time has come to ``now_ns`` without a market event."""
        self._timers.run_through(now_ns)
        self._now_ns = max(self._now_ns, now_ns)

    def stop(self) -> None:
        """No more trades are entered; those under way go on to their end."""
        self._stopped = True

    def instruct(self, given: Given, now_ns: int) -> None:
        """Follow an instruction, or refuse it, at ``now_ns``: after all that was due before, and before what happens at
        that time. One event in any case."""
        self._timers.run_before(now_ns)
        self._now_ns = max(self._now_ns, now_ns)
        seq, number = self._seq, given.number
        if isinstance(given, Unreadable):
            self._emit(InstructionRefused(seq, now_ns, number, "", given.reason))
        elif refusal := self._cannot(given.kind, given.amount):
            self._emit(InstructionRefused(seq, now_ns, number, given.asked, refusal))
        elif given.moved is None:
            self._emit(EntriesResumed(seq, now_ns, number, given.note))
        else:
            self._emit(FlowPosted(seq, now_ns, number, given.moved, given.note))

    def _cannot(self, kind: Kind, amount: Decimal | None) -> str:
        """Why an instruction is not followed now, "" where it is."""
        portfolio = self.portfolio
        if kind is Kind.WITHDRAW and amount is not None and amount > portfolio.available:
            return f"only {portfolio.available:f} is available"
        if kind is not Kind.RESUME:
            return ""
        if not portfolio.halted:
            return "nothing is halted"
        if naked := portfolio.naked_trades():
            return f"a position is still naked (trade {', '.join(naked)})"
        if portfolio.available < 0:
            return f"available capital is below zero ({portfolio.available:f}): deposit first"
        if self._unlisted:
            return f"open trades are left alone, the feed does not list {', '.join(self._unlisted)}"
        return ""

    # What a venue reports

    def accepted(self, time_ns: int, order_id: str, resting_depth: int) -> None:
        """The order rests behind ``resting_depth``."""
        self._emit(
            OrderAccepted(
                self._seq, time_ns, order_id, from_units(resting_depth), self._rules.fill_threshold
            )
        )  # fmt: skip

    def refused(self, time_ns: int, order_id: str, reason: str) -> None:
        """The order is final and nothing of it filled."""
        order = self._orders[order_id]
        trade = order.trade
        self._emit(OrderRefused(self._seq, time_ns, order_id, reason))
        self._drop(order)
        trade.reason = trade.reason or reason
        if order.limit is None:
            trade.attempts += bool(trade.naked)
            exhausted = trade.attempts >= self._rules.hedge_attempts
            # With nothing new to be seen the same order would be refused again.
            trade.waiting = not trade.naked or exhausted
            if exhausted:
                self._alarm(trade, time_ns)
            if not trade.live and not trade.waiting:
                self._settle(trade, time_ns)
        else:
            self._end_round(trade, reason, time_ns)

    def filled(self, time_ns: int, order_id: str, fill: Filled) -> None:
        """Part of an order, or what was left of it, is executed."""
        order = self._orders[order_id]
        trade, leg = order.trade, order.leg
        rate = leg.listing.maker_fee if fill.maker else leg.listing.taker_fee
        fee = posted(EXACT.multiply(_money(fill.price * fill.size), rate))
        self._emit(
            OrderFilled(
                seq=self._seq,
                time_ns=time_ns,
                order_id=order_id,
                price=from_units(fill.price),
                size=from_units(fill.size),
                remaining=from_units(fill.remaining),
                fee=fee,
                cumulative_volume=None if fill.cumulative is None else from_units(fill.cumulative),
                traded_excess=None if fill.excess is None else from_units(fill.excess),
                slippage_bps=fill.slippage_bps,
                walked_bps=fill.walked_bps,
                slippage_capped=fill.capped,
            )
        )
        trade.fees = EXACT.add(trade.fees, fee)
        if order.limit is None and trade.hedging:
            trade.count_hedge(leg, order.side, fill.size, fill.price * fill.size, fee)
        leg.fill(order.side, fill.price, fill.size, time_ns)
        trade.watch = None
        order.remaining = fill.remaining
        if not order.remaining:
            self._drop(order)
        self._check_capital(time_ns)
        self._guard(trade, time_ns)
        self._proceed(trade, time_ns)

    def cancelled(self, time_ns: int, order_id: str, reason: str) -> None:
        """What was left of the order is gone."""
        order = self._orders[order_id]
        self._emit(OrderCancelled(self._seq, time_ns, order_id, reason))
        self._drop(order)
        self._proceed(order.trade, time_ns)

    # Entry

    def _consider(self, found: Opportunity, now_ns: int) -> None:
        if self._stopped or self.portfolio.halted or self._pausing.get(found.asset, -1) > now_ns:
            return
        key = (found.long, found.short)
        if any((trade.long.index, trade.short.index) == key for trade in self._trades_of[found.long]):
            return
        refusal = self._enter(found, now_ns)
        if refusal and self._told.get(key, -1) != found.since_ns:
            self._told[key] = found.since_ns
            long, short = self.listings[found.long], self.listings[found.short]
            self._emit(
                EntryRefused(self._seq, now_ns, found.asset, long.venue, short.venue, found.confidence, refusal)
            )  # fmt: skip

    def _enter(self, found: Opportunity, now_ns: int) -> str:
        """Begin the trade, or say why not."""
        entry = self._entries.judge(found, self.portfolio.available, now_ns)
        if isinstance(entry, str):
            return entry
        long, short = self.listings[found.long], self.listings[found.short]
        trade = OpenTrade(
            str(uuid5(_TRADES, f"{self.portfolio.source}/{self.portfolio.day}/{self._seq}")),
            found.asset,
            OpenLeg(Leg.LONG, found.long, long, found.long_quote.ask),
            OpenLeg(Leg.SHORT, found.short, short, found.short_quote.bid),
            entry.pair,
        )
        trade.harder, trade.projected, trade.funding_due = entry.harder, entry.projected, entry.funding_due
        self._emit(
            TradeProposed(
                seq=self._seq,
                time_ns=now_ns,
                trade_id=trade.trade_id,
                asset=found.asset,
                long_exchange=long.venue,
                long_symbol=long.symbol,
                short_exchange=short.venue,
                short_symbol=short.symbol,
                quantity=from_units(entry.quantity),
                position_size_usd=entry.size,
                long_price=from_units(found.long_quote.ask),
                short_price=from_units(found.short_quote.bid),
                spread_bps=found.spread_bps,
                fees_bps=found.fees_bps,
                funding_cost_bps=found.funding_cost_bps,
                funding_delta=entry.funding_delta,
                projected_profit_usd=entry.projected,
                confidence=found.confidence,
                confidence_parts=dict(found.parts),
                harder_leg=entry.harder,
                harder_reason=entry.reason,
            )
        )
        self._hold(trade)
        first = trade.legs[entry.harder]
        self._send(trade, Step(first, Purpose.ENTRY, first.leg.opening_side, entry.quantity, entry.limit), now_ns)
        self._timers.at(now_ns + self._rules.leg_timeout_ns, Rank.TIMER, partial(self._end_entry, trade))
        return ""

    def _end_entry(self, trade: OpenTrade, now_ns: int) -> None:
        if trade.stage is Stage.ENTRY:
            self._end_round(trade, "timeout", now_ns)

    def _open(self, trade: OpenTrade, now_ns: int) -> None:
        held = trade.long.held
        trade.stage = Stage.ACTIVE
        trade.reason, trade.waiting = "", False
        trade.unrealized = self._unrealized_at_entry(trade)
        self._emit(TradeOpened(self._seq, now_ns, trade.trade_id, from_units(held), trade.unrealized))
        trade.projected = self.portfolio.trade(trade.trade_id).projected_profit_usd  # of what was filled

    def _unrealized_at_entry(self, trade: OpenTrade) -> Decimal:
        """At the newest touch, however old; where none is known, as if the entry prices could be had again."""
        prices = []
        for leg in trade.legs.values():
            top = self.exchange.top(leg.index)
            prices.append(leg.paid // leg.opened if top is None else touch(top, leg.leg.closing_side))
        return trade.watched(ZERO, self._rules).unrealized(*prices)

    # Naked legs

    def _guard(self, trade: OpenTrade, now_ns: int, since_ns: int | None = None) -> None:
        """Keep the two clocks of the 500 ms rule in step with whether the legs are equal. ``since_ns`` is when a trade
        that is taken up became naked."""
        if not trade.naked:
            if trade.naked_since is not None:
                self._longest_naked_ns = max(self._longest_naked_ns or 0, now_ns - trade.naked_since)
            trade.naked_since, trade.alarmed, trade.attempts = None, False, 0
            for handle in (trade.deadline, trade.watchdog):
                if handle is not None:
                    self._timers.cancel(handle)
            trade.deadline = trade.watchdog = None
        elif trade.naked_since is None:
            trade.naked_since = trade.filled_ns = now_ns if since_ns is None else min(since_ns, now_ns)
            over_ns = trade.naked_since + self._rules.leg_timeout_ns
            if over_ns < now_ns:
                self._alarm(trade, now_ns)
                return
            trade.deadline = self._timers.at(
                max(now_ns, over_ns - trade.pair.budget_ns), Rank.TIMER, partial(self._end_naked, trade)
            )
            trade.watchdog = self._timers.at(over_ns, Rank.TIMER, partial(self._alarm, trade))

    def _end_naked(self, trade: OpenTrade, now_ns: int) -> None:
        if trade.stage in (Stage.ENTRY, Stage.EXIT_QUOTE):
            self._end_round(trade, "leg_out", now_ns)

    def _alarm(self, trade: OpenTrade, now_ns: int) -> None:
        """Halt once for each time that a trade is naked for too long, also where the trader is halted already: the log
        says of every such leg that it was seen."""
        if trade.naked and not trade.alarmed:
            trade.alarmed = True
            leg = trade.long if trade.naked > 0 else trade.short
            amount = from_units(abs(trade.naked))
            self._emit(
                Halted(
                    self._seq,
                    now_ns,
                    f"naked position: {amount} {trade.asset} {leg.leg} on {leg.listing.venue} is not hedged (trade "
                    f"{trade.trade_id})",
                )
            )

    def _end_round(self, trade: OpenTrade, reason: str, now_ns: int) -> None:
        """No more waiting for limit orders: log a leg-out, cancel what is working, and settle once it is gone."""
        trade.stage = Stage.ENTRY_SETTLE if trade.entering else Stage.EXIT_SETTLE
        trade.reason = trade.reason or reason
        self._log_leg_out(trade, now_ns)
        for order in tuple(trade.live):
            if not order.withdrawn and order.limit is not None:
                order.withdrawn = True
                self.exchange.cancel(order.order_id, now_ns, reason)
        if not trade.live:
            self._settle(trade, now_ns)

    def _log_leg_out(self, trade: OpenTrade, now_ns: int) -> None:
        if not trade.naked or trade.phase in trade.leg_outs:
            return
        more = Leg.LONG if trade.naked > 0 else Leg.SHORT
        filled = more if trade.entering else more.other  # on the way out the leg that holds less has filled
        trade.leg_outs[trade.phase] = False
        self._emit(
            LegOut(
                self._seq,
                now_ns,
                trade.trade_id,
                trade.phase,
                filled,
                trade.filled_ns,
                filled.other,
                from_units(abs(trade.naked)),
            )
        )

    def _proceed(self, trade: OpenTrade, now_ns: int) -> None:
        """After a fill or the end of an order."""
        if trade.stage is Stage.ENTRY:
            second = self._steps.second(trade)
            if second is not None:
                self._send(trade, second, now_ns)
            if not trade.live:
                if trade.naked:
                    self._end_round(trade, "leg_out", now_ns)
                else:
                    self._open(trade, now_ns)
        elif not trade.live:
            self._settle(trade, now_ns)

    def _settle(self, trade: OpenTrade, now_ns: int) -> None:
        """Nothing is working: bring the legs to what they should hold, and the trade to its next stage."""
        trade.waiting = False
        if trade.naked:
            self._log_leg_out(trade, now_ns)
            if not trade.entering:
                trade.urgent = True
            self._send_all(trade, self._steps.hedge(trade, now_ns), now_ns)
            return
        if trade.hedging:
            price, cost = trade.end_hedge()
            self._emit(
                LegOutHedged(self._seq, now_ns, trade.trade_id, trade.phase, from_units(price), cost)
            )  # fmt: skip
        if trade.entering:
            if trade.long.held:
                self._open(trade, now_ns)
            elif trade.long.opened or trade.short.opened:
                self._close(trade, ExitReason.LEG_OUT.value, now_ns)
            else:
                self._emit(EntryAbandoned(self._seq, now_ns, trade.trade_id, trade.reason))
                self._forget(trade, now_ns)
        elif not trade.long.held:
            self._close(trade, trade.reason, now_ns)
        elif not trade.urgent and trade.rounds <= self._rules.exit_requotes:
            self._quote_exit(trade, now_ns)
        else:
            self._send_all(trade, self._steps.leave(trade, now_ns), now_ns)

    def _send_all(self, trade: OpenTrade, steps: Sequence[Step], now_ns: int) -> None:
        """Where nothing can be sent, wait for a quote that lets it."""
        trade.waiting = not steps
        for step in steps:
            self._send(trade, step, now_ns)

    # Exit

    def _look_at(self, listing: int, now_ns: int, funding: bool = False) -> None:
        """A new price or rate: evaluate the exits of its trades, and try again what waits."""
        for trade in tuple(self._trades_of[listing]):
            if funding:
                trade.watch = None  # whenever it is next looked at: its books may be gone now
            if trade.waiting:
                if not trade.live:
                    self._settle(trade, now_ns)
                continue
            if trade.stage is not Stage.ACTIVE and trade.stage is not Stage.EXIT_QUOTE:
                continue
            long_top, short_top = self.exchange.top(trade.long.index), self.exchange.top(trade.short.index)
            if long_top is None or short_top is None:
                continue
            watch = trade.watch
            if watch is None:
                watch = trade.watch = trade.watched(trade.unrealized, self._rules)
                delta = self.scanner.funding_delta(trade.long.index, trade.short.index, now_ns)
                trade.converged = delta is not None and delta < self._rules.funding_floor
            value = long_top.bid * watch.long_weight - short_top.ask * watch.short_weight
            if watch.limit < value < watch.target and not trade.converged:
                continue
            delta = self.scanner.funding_delta(trade.long.index, trade.short.index, now_ns)
            conditions = exit_conditions(watch, long_top.bid, short_top.ask, delta, self._rules)
            if not conditions:
                continue
            at_market = conditions[0] is ExitReason.LOSS_LIMIT
            if not self._fresh(trade, now_ns + (trade.pair.budget_ns if at_market else self._rules.limits_ns)):
                continue
            if trade.stage is Stage.ACTIVE:
                self._leave(trade, conditions, watch, long_top, short_top, delta, now_ns)
            elif at_market and not trade.naked:
                trade.urgent = True
                self._end_round(trade, ExitReason.LOSS_LIMIT.value, now_ns)

    def _fresh(self, trade: OpenTrade, until_ns: int) -> bool:
        """Whether both legs can be traded now and still could at ``until_ns`` if no further quote came."""
        usable = self.exchange.usable
        return not usable(trade.long.index, until_ns) and not usable(trade.short.index, until_ns)

    def _leave(
        self,
        trade: OpenTrade,
        conditions: tuple[ExitReason, ...],
        watch: ExitWatch,
        long_top: Quote,
        short_top: Quote,
        delta: Decimal | None,
        now_ns: int,
    ) -> None:
        trade.reason = conditions[0].value
        spread = Decimal((short_top.bid - long_top.ask) * 10_000)
        self._emit(
            TradeExiting(
                self._seq,
                now_ns,
                trade.trade_id,
                trade.reason,
                tuple(condition.value for condition in conditions),
                watch.unrealized(long_top.bid, short_top.ask),
                posted(quotient(spread, Decimal(long_top.ask))),
                delta,
            )
        )
        trade.stage = Stage.EXIT_SETTLE
        trade.urgent = conditions[0] is ExitReason.LOSS_LIMIT
        self._settle(trade, now_ns)

    def _quote_exit(self, trade: OpenTrade, now_ns: int) -> None:
        """What these limits leave is quoted in the next round."""
        steps = self._steps.quote(trade, now_ns) if self._fresh(trade, now_ns + self._rules.limits_ns) else []
        if steps:
            trade.stage = Stage.EXIT_QUOTE
            trade.rounds += 1
            self._timers.at(
                now_ns + self._rules.leg_timeout_ns, Rank.TIMER, partial(self._end_exit_quote, trade, trade.rounds)
            )
        self._send_all(trade, steps, now_ns)

    def _end_exit_quote(self, trade: OpenTrade, rounds: int, now_ns: int) -> None:
        if trade.stage is Stage.EXIT_QUOTE and trade.rounds == rounds:
            self._end_round(trade, "timeout", now_ns)

    def _close(self, trade: OpenTrade, reason: str, now_ns: int) -> None:
        actual = EXACT.subtract(_money(-trade.spent), trade.charges)
        self._emit(
            TradeClosed(
                self._seq,
                now_ns,
                trade.trade_id,
                reason,
                EXACT.add(actual, trade.leg_out_cost),
                trade.leg_out_cost,
                actual,
            )
        )
        self._forget(trade, now_ns)
        self._check_capital(now_ns)

    # Funding, value, capital

    def _settle_funding(self, event: FundingSettled) -> None:
        """Pay each leg what it held strictly before the settlement."""
        now_ns = event.time_ns
        if event.mark <= 0 or not is_sound_rate(event.rate):
            self.rejected["funding_malformed"] += 1
            return
        for trade in tuple(self._trades_of[event.listing]):
            leg = trade.long if trade.long.index == event.listing else trade.short
            quantity = leg.held_before if leg.changed_ns == now_ns else leg.held
            if not quantity:
                continue
            if self.portfolio.funded_late(trade.trade_id, leg.leg, now_ns):
                self.rejected["funding_twice"] += 1
                continue
            self._pay_funding(trade.trade_id, leg.leg, quantity, event)
            self._check_capital(now_ns)

    def _pay_funding(
        self, trade_id: str, leg: Leg, quantity: int, event: FundingSettled, booked_ns: int | None = None
    ) -> None:
        """Log what a leg that held ``quantity`` is paid; at ``booked_ns`` where the settlement lies in the past."""
        listing = self.listings[event.listing]
        amount = funding_payment(leg, quantity, event.mark, event.rate)
        self._emit(
            FundingPaid(
                seq=self._seq,
                time_ns=event.time_ns if booked_ns is None else booked_ns,
                trade_id=trade_id,
                leg=leg,
                exchange=listing.venue,
                symbol=listing.symbol,
                quantity=from_units(quantity),
                mark=from_units(event.mark),
                rate=event.rate,
                amount=amount,
                settled_ns=None if booked_ns is None else event.time_ns,
            )
        )
        trade = self._trades.get(trade_id)
        if trade is not None:  # else it is one that is left alone
            trade.funding = EXACT.add(trade.funding, amount)
            trade.watch = None

    def book_missed(self, settled: Sequence[FundingSettled], now_ns: int) -> None:
        """Pay at ``now_ns`` what was ``settled`` before, oldest first, to the legs that are still owed it: after all
        that was due before ``now_ns``, and before what happens then."""
        self._timers.run_before(now_ns)
        self._now_ns = max(self._now_ns, now_ns)
        for event in sorted(settled):
            listing = self.listings[event.listing]
            for value in self.portfolio.open_trades:
                for leg, place in places(value).items():
                    quantity = to_units(self.portfolio.unfunded(value.id, leg, event.time_ns))
                    if quantity and place == (listing.venue, listing.symbol):
                        self._pay_funding(value.id, leg, quantity, event, now_ns)
        self._check_capital(now_ns)

    def _start_ticking(self, now_ns: int) -> None:
        self._ticking = True
        self._timers.at(-(-now_ns // _MINUTE) * _MINUTE, Rank.TICK, self._tick)

    def _tick(self, now_ns: int) -> None:
        """Value the portfolio as if it were closed now: price P&L not yet posted, less the fees of closing."""
        money, missing = 0, list(self._unlisted)
        for trade in self._trades.values():
            for leg in trade.legs.values():
                if not leg.held:
                    continue
                top = self.exchange.top(leg.index)
                if top is None or self.exchange.usable(leg.index, now_ns):
                    missing.append(f"{leg.listing.venue} {leg.listing.symbol}")
                    continue
                price = touch(top, leg.leg.closing_side)
                value = leg.held * price
                fee = value * to_units(leg.listing.taker_fee)
                money += (leg.leg.opening_side.sign * value - leg.cash) * UNITS - fee
        unrealized = None if missing else posted(Decimal(money).scaleb(-SQUARED - 10, context=EXACT))
        portfolio = self.portfolio
        self._emit(
            Valued(
                self._seq,
                now_ns,
                portfolio.available,
                portfolio.total_open,
                portfolio.realised,
                unrealized,
                tuple(dict.fromkeys(missing)),
            )
        )
        self._timers.at(now_ns + _MINUTE, Rank.TICK, self._tick)

    def _check_capital(self, now_ns: int) -> None:
        if self.portfolio.available < 0 and not self.portfolio.halted:
            self._emit(Halted(self._seq, now_ns, "available capital is below zero"))

    # After a restart

    def recover(self, now_ns: int) -> None:
        """Take up the portfolio's open trades at ``now_ns`` without the feed's past.

        Orders that were working are gone with the process that simulated them and are logged as cancelled
        (``restart``). An entry of which nothing filled is abandoned; legs that differ are hedged as soon as their books
        are known, and halt the trader once they have differed for longer than the time allowed, the time in which
        nobody watched included; a trade that was being left is left at the market. Active trades go on.

        A trade on a listing that the feed no longer has is left as it is, and halts the trader: nobody sees its prices
        until a later session lists it again.
        """
        self._timers.run_through(now_ns)
        self._now_ns = max(self._now_ns, now_ns)
        left: list[str] = []
        for value in self.portfolio.open_trades:
            for order in value.orders.values():
                if order.status is OrderStatus.PENDING:
                    self._emit(OrderCancelled(self._seq, now_ns, order.id, "restart"))
            if unlisted := [place for place in places(value).values() if place not in self._indices]:
                self._unlisted += [" ".join(place) for place in unlisted]
                left.append(f"{' and '.join(map(' '.join, unlisted))} (trade {value.id})")
                continue
            long, short = (self._indices[place] for place in places(value).values())
            trade = restored(value, self.listings, long, short, self._entries.pair(long, short))
            self._hold(trade)
            if value.status is TradeStatus.ACTIVE:
                continue
            trade.alarmed = value.id in self.portfolio.halted
            self._guard(trade, now_ns, naked_since(value))
            self._settle(trade, now_ns)
        if left:
            reason = f"open trades are left alone, the feed does not list {', '.join(left)}"
            if reason != self.portfolio.halted:
                self._emit(Halted(self._seq, now_ns, reason))

    # Bookkeeping

    @property
    def _seq(self) -> int:
        return self.portfolio.seq + 1

    def _emit(self, event: Event) -> None:
        self.portfolio.apply(event)
        self._write(event)

    def _hold(self, trade: OpenTrade) -> None:
        self._trades[trade.trade_id] = trade
        self._trades_of[trade.long.index].append(trade)
        self._trades_of[trade.short.index].append(trade)

    def _forget(self, trade: OpenTrade, now_ns: int) -> None:
        trade.stage = Stage.OVER
        del self._trades[trade.trade_id]
        self._trades_of[trade.long.index].remove(trade)
        self._trades_of[trade.short.index].remove(trade)
        self._pausing[trade.asset] = now_ns + self._rules.reentry_pause_ns

    def _send(self, trade: OpenTrade, step: Step, now_ns: int) -> None:
        leg, purpose, side, size, limit = step
        trade.orders += 1
        order = OpenOrder(f"{trade.trade_id}-{trade.orders}", trade, leg, side, size, limit)
        price = limit
        if price is None:
            top = self.exchange.top(leg.index)
            if top is None:
                raise ValueError(f"a market order on {leg.listing.venue} {leg.listing.symbol} without a book")
            price = touch(top, side)
        if purpose is Purpose.EXIT:
            leg.plan = price  # that a hedge is held against
        trade.live.append(order)
        self._orders[order.order_id] = order
        self._emit(
            OrderSubmitted(
                seq=self._seq,
                time_ns=now_ns,
                order_id=order.order_id,
                trade_id=trade.trade_id,
                leg=leg.leg,
                purpose=purpose,
                exchange=leg.listing.venue,
                symbol=leg.listing.symbol,
                side=side,
                order_type=OrderType.MARKET if limit is None else OrderType.LIMIT,
                price=from_units(price),
                size=from_units(size),
            )
        )
        self.exchange.send(
            order.order_id, leg.index, side, size, limit, now_ns, reduce_only=side is not leg.leg.opening_side
        )  # fmt: skip

    def _drop(self, order: OpenOrder) -> None:
        order.trade.live.remove(order)
        del self._orders[order.order_id]


def _money(squared: int) -> Decimal:
    """A price times a size, both in integer units, in quote currency."""
    return Decimal(squared).scaleb(-SQUARED, context=EXACT)
