"""What to order next for a trade, judged from its two legs, the books and the rules, and nothing else.

The second leg goes at the touch as long as the trade still earns something there. A difference of the legs is completed
if that pays, else taken back. At the market no more is ordered than the venues would take, and nothing that would make
the legs more unequal. No steps where books do not allow any: new quotes are the time to ask again.
"""

from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from assets.accounting.precision import quotient
from assets.arbitrage.entry import projected_profit
from assets.arbitrage.exchange import Exchange, check_order, touch
from assets.arbitrage.model import Leg, OrderSide, Purpose
from assets.arbitrage.open_trade import OpenLeg, OpenTrade
from assets.arbitrage.rules import Rules
from assets.arbitrage.sizing import exit_part, floor_to
from resources.feed import UNITS


class Step(NamedTuple):
    """An order that brings a leg nearer to what it should hold, units; ``limit`` None: at the market."""

    leg: OpenLeg
    purpose: Purpose
    side: OrderSide
    size: int
    limit: int | None = None


class Steps:
    """Judges by ``exchange``'s books; orders nothing itself."""

    def __init__(self, exchange: Exchange, rules: Rules) -> None:
        self._exchange = exchange
        self._rules = rules

    def second(self, trade: OpenTrade) -> Step | None:
        """Meets on the easier leg what the harder one has filled and no order covers; None where nothing is missing or
        the venue would not take so little."""
        hard, easy = trade.legs[trade.harder], trade.legs[trade.harder.other]
        working = sum(order.remaining for order in trade.live if order.leg is easy)
        missing = floor_to(hard.held, trade.pair.grid) - easy.held - working
        if missing <= 0:
            return None
        side, price = easy.leg.opening_side, easy.plan
        top = self._exchange.top(easy.index)
        if top is not None and self._earns(trade, easy, missing, Fraction(touch(top, side))):
            price = touch(top, side)
        return None if check_order(easy.listing, missing, price) else Step(easy, Purpose.ENTRY, side, missing, price)

    def hedge(self, trade: OpenTrade, now_ns: int) -> list[Step]:
        """Complete the missing leg if the trade still earns something then, else take the filled one back; on the way
        out, close as much of the leg that holds more. The other way is tried where the first is refused or not open."""
        grid = trade.pair.grid
        unwind = _towards(trade, floor_to(min(trade.long.held, trade.short.held), grid))
        if not trade.entering:
            return self._sendable(trade, [unwind], now_ns)
        upper = floor_to(max(trade.long.held, trade.short.held), grid)
        complete = _towards(trade, upper)
        ways = [complete, unwind] if self._completing_pays(trade, upper, now_ns) else [unwind, complete]
        if trade.attempts % 2:
            ways.reverse()
        return self._sendable(trade, ways, now_ns)

    def quote(self, trade: OpenTrade, now_ns: int) -> list[Step]:
        """Close both legs, which are equal, by limits that join the best price of their side, for no more than could be
        hedged by what the books show now on the sides a hedge would take."""
        size = self._exit_size(trade, now_ns, at_market=False)
        steps = []
        for leg in trade.legs.values():
            top = self._exchange.top(leg.index)
            if top is None or not size:
                return []
            steps.append(Step(leg, Purpose.EXIT, leg.leg.closing_side, size, touch(top, leg.leg.opening_side)))
        return steps

    def leave(self, trade: OpenTrade, now_ns: int) -> list[Step]:
        """The next slice of both legs, which are equal, closed at the market."""
        size = self._exit_size(trade, now_ns, at_market=True)
        return self._sendable(trade, [_towards(trade, trade.long.held - size)], now_ns) if size else []

    def _exit_size(self, trade: OpenTrade, now_ns: int, *, at_market: bool) -> int:
        """How much of both legs may leave at once by what the books now show to a closing order."""
        displayed = min(
            self._exchange.depth(trade.long.index, OrderSide.SHORT, now_ns),
            self._exchange.depth(trade.short.index, OrderSide.LONG, now_ns),
        )
        return exit_part(trade.long.held, displayed, trade.pair.grid, at_market)

    def _sendable(self, trade: OpenTrade, ways: list[list[Step]], now_ns: int) -> list[Step]:
        """The first way that every venue would take whole; else as much of one as they would; else nothing."""
        for steps in ways:
            if all(self._taken(step, now_ns) >= step.size for step in steps):
                return steps
        for steps in ways:
            if part := self._part(trade, steps, now_ns):
                return part
        return []

    def _part(self, trade: OpenTrade, steps: list[Step], now_ns: int) -> list[Step]:
        """What can be sent of ``steps`` now without making the legs more unequal; the rest waits for new quotes."""
        if trade.naked:
            # Only the orders that bring the legs nearer to each other, however little.
            more = trade.long if trade.naked > 0 else trade.short
            useful = [step for step in steps if (step.side is step.leg.leg.opening_side) != (step.leg is more)]
            most = abs(trade.naked)
            parts = [step._replace(size=min(step.size, floor_to(most, step.leg.step))) for step in useful]
            return [step._replace(size=size) for step in parts if (size := self._taken(step, now_ns))]
        size = floor_to(min(self._taken(step, now_ns) for step in steps), trade.pair.grid)
        return [step._replace(size=size) for step in steps] if size else []

    def _taken(self, step: Step, now_ns: int) -> int:
        """How much of a market order its venue would take now, on its grid."""
        leg, exchange = step.leg, self._exchange
        if exchange.usable(leg.index, now_ns):
            return 0
        most, per = self._rules.max_depth_share
        size = min(step.size, floor_to(exchange.depth(leg.index, step.side, now_ns) * most // per, leg.step))
        closing = step.side is not leg.leg.opening_side
        top = exchange.top(leg.index)
        if size <= 0 or top is None:
            return 0
        return 0 if check_order(leg.listing, size, touch(top, step.side), True, closing) else size

    def _completing_pays(self, trade: OpenTrade, target: int, now_ns: int) -> bool:
        """Whether the trade still earns something if the leg that holds less is brought to ``target`` at the market."""
        missing = trade.long if trade.naked < 0 else trade.short
        size = target - missing.held
        top = self._exchange.top(missing.index)
        side = missing.leg.opening_side
        depth = self._exchange.depth(missing.index, side, now_ns)
        if size <= 0 or top is None or not depth:
            return False
        slippage = max(self._rules.slippage_floor_bps, self._rules.slippage_per_depth_bps * size / depth)
        return self._earns(trade, missing, size, touch(top, side) * (1 + side.sign * Fraction(slippage) / 10_000))

    def _earns(self, trade: OpenTrade, missing: OpenLeg, quantity: int, price: Fraction) -> bool:
        """Whether the trade would lose nothing on ``quantity`` if the ``missing`` leg were filled at ``price``."""
        other = trade.legs[missing.leg.other]
        prices = {missing.leg: price, other.leg: Fraction(other.paid, other.opened)}
        long_top, short_top = self._exchange.top(trade.long.index), self._exchange.top(trade.short.index)
        if long_top is None or short_top is None:
            return False  # what leaving costs is not known, so nothing speaks for going on
        profit = projected_profit(
            quantity,
            _quoted(prices[Leg.LONG]),
            _quoted(prices[Leg.SHORT]),
            long_top,
            short_top,
            trade.long.listing,
            trade.short.listing,
            trade.funding_due,
        )
        return profit >= 0


def _towards(trade: OpenTrade, target: int) -> list[Step]:
    """The market orders after which both legs hold ``target``."""
    steps = []
    for leg in trade.legs.values():
        if target == leg.held:
            continue
        opening = target > leg.held
        if not trade.naked:
            purpose = Purpose.EXIT
        elif opening or not trade.entering:
            purpose = Purpose.HEDGE
        else:
            purpose = Purpose.UNWIND
        side = leg.leg.opening_side if opening else leg.leg.closing_side
        steps.append(Step(leg, purpose, side, abs(target - leg.held)))
    return steps


def _quoted(units: Fraction) -> Decimal:
    """A price in quote currency, to 60 digits: only what is compared next is made of it."""
    return quotient(Decimal(units.numerator), Decimal(units.denominator * UNITS))
