"""The seven correctness properties of brief 3 (as corrected in trading.md 3.5) under random books, trades and clocks.

The machine drives one trader with quotes that jump, cross, empty and go silent, with depth, trades through and at the
touch, funding, outages, latencies and restarts; the auditor of ``trader_parts`` keeps its own books of what it writes.
"""

import random
from decimal import Decimal

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from assets.arbitrage.engine import Engine
from assets.arbitrage.events import EntriesResumed, FlowPosted, InstructionRefused, TradeClosed, TradeExiting
from assets.arbitrage.model import TradeStatus
from assets.arbitrage.rules import MILLISECOND, Rules
from resources.feed import Depth, Quote, from_units
from tests.assets.arbitrage.trader_parts import D, Desk, fold, listing, units, unrealized_of

VENUES = ("north", "south", "east")
INDEX = st.integers(0, 2)
LATENCIES = st.sampled_from([20, 10, 1, 0, 60, 99])
STEPS = st.sampled_from(["0.01", "0.025", "0.3", "1"])
# Hundredths around 100: far enough apart for an opportunity, a target and a loss.
OFFSETS = st.one_of(st.integers(-20, 20), st.integers(-250, 250))
SIZES = st.one_of(st.just(400.0), st.sampled_from([75.3, 30.0, 3.0, 0.5, 0.01, 1_000.0, 5_000.0]))
WAITS = st.one_of(
    st.integers(0, 40), st.sampled_from([100, 300, 399, 400, 419, 420, 480, 499, 500, 501, 1_000, 4_000, 5_001, 61_000])
)
SELDOM = st.integers(0, 7).map(lambda drawn: drawn == 7)


def exits_that_were_missed(desk: Desk, quoted: int) -> list[str]:
    """Property 6: an active trade on the venue just ``quoted`` of which a condition holds at quotes that are fresh long
    enough to act on."""
    missed = []
    engine = desk.engine
    for trade in desk.portfolio.open_trades:
        if trade.status is not TradeStatus.ACTIVE or trade.entry_unrealized_usd is None:
            continue
        indices = [VENUES.index(venue) for venue in (trade.long_exchange, trade.short_exchange)]
        long_top, short_top = (engine.exchange.top(index) for index in indices)
        if quoted not in indices or long_top is None or short_top is None:
            continue

        def fresh(horizon_ms: int, indices: list[int] = indices) -> bool:
            return not any(engine.exchange.usable(index, desk.now + horizon_ms * MILLISECOND) for index in indices)

        unrealized = unrealized_of(trade, desk.listings, long_top.bid, short_top.ask)
        projected = trade.projected_profit_usd
        delta = engine.scanner.funding_delta(*indices, desk.now)
        latency = max(desk.listings[index].latency_ns for index in indices) // MILLISECOND
        # A hundred-millionth is what rounding the posted numbers may hide.
        if unrealized - trade.entry_unrealized_usd < D("-0.3") * projected - D("1e-8"):
            if fresh(max(50, 4 * latency)):
                missed.append(f"loss of {unrealized} on {trade.id}")
        elif unrealized > D("0.9") * projected + D("1e-8"):
            if fresh(1_000):
                missed.append(f"profit of {unrealized} on {trade.id}")
        elif delta is not None and delta < D("0.00005") and fresh(1_000):
            missed.append(f"funding difference {delta} on {trade.id}")
    return missed


class Trader(RuleBasedStateMachine):
    desk: Desk
    quoted: int | None = None  # the venue whose quote or rate was the last thing that happened

    @initialize(
        latencies=st.tuples(LATENCIES, LATENCIES, LATENCIES),
        steps=st.tuples(STEPS, STEPS, STEPS),
        spot=st.booleans(),
        partial=st.booleans(),
        threshold=st.sampled_from(["0.20", "1"]),
    )
    def begin(
        self, latencies: tuple[int, ...], steps: tuple[str, ...], spot: bool, partial: bool, threshold: str
    ) -> None:
        listings = [
            listing(venue, latency, step, can_short=not (spot and venue == "east"))
            for venue, latency, step in zip(VENUES, latencies, steps, strict=True)
        ]
        rules = Rules(
            partial_fills=partial, fill_threshold=Decimal(threshold), min_confidence=50, reentry_pause_ns=MILLISECOND
        )
        self.desk = Desk(listings, rules)
        self.restarted = False
        self.quoted = None
        self.rates("0.0001", "0.0004")
        for index in range(3):
            self.desk.quote(index, 99.99, 100)

    @rule(index=INDEX, offset=OFFSETS, spread=st.integers(1, 30), bid_size=SIZES, ask_size=SIZES)
    def quote(self, index: int, offset: int, spread: int, bid_size: float, ask_size: float) -> None:
        bid = 100 + offset / 100
        self.desk.quote(index, bid, bid + spread / 100, bid_size, ask_size)
        self.quoted = index

    @rule(venues=st.permutations(range(3)), edge=st.integers(60, 200), size=st.sampled_from([400.0, 80.0]), wait=WAITS)
    def diverge(self, venues: list[int], edge: int, size: float, wait: int) -> None:
        """What the random quotes alone would seldom give: something to trade, and time to begin."""
        long, short, _ = venues
        for index, rate in ((long, "0.0001"), (short, "0.0004")):
            if self.desk.listings[index].can_short:
                self.desk.rate(index, rate)
        self.desk.quote(long, 99.99, 100, size, size)
        self.desk.quote(short, 100 + edge / 100, 100.01 + edge / 100, size, size)
        self.desk.wait(wait)
        self.quoted = None

    @precondition(lambda self: self.desk.portfolio.open_trades)
    @rule(away=st.integers(-40, 150), size=SIZES, leg=st.booleans(), wait=st.integers(0, 500))
    def move_a_leg(self, away: int, size: float, leg: bool, wait: int) -> None:
        """The book of one leg of a trade leaves the order that rests there behind, or comes to it."""
        trade = self.desk.portfolio.open_trades[0]
        index = VENUES.index(trade.long_exchange if leg else trade.short_exchange)
        top = self.desk.engine.exchange.top(index)
        if top is not None:
            mid = (top.bid + top.ask) // 2 // units("0.01") * units("0.01")
            wide = abs(away) * units("0.01")
            low, high = (mid - units("0.01"), mid + wide + units("0.01"))
            if away < 0:
                low, high = mid - wide - units("0.01"), mid + units("0.01")
            self.desk.feed(Quote(self.desk.now, index, low, units(size), high, units(size)))
            self.desk.wait(wait)
        self.quoted = None

    @precondition(lambda self: self.desk.portfolio.open_trades)
    @rule(wait=st.integers(0, 500))
    def converge(self, wait: int) -> None:
        for index in range(3):
            self.desk.quote(index, 100.3, 100.31)
        self.quoted = 2
        if wait:
            self.desk.wait(wait)
            self.quoted = None

    @rule(index=INDEX, offset=OFFSETS, levels=st.integers(1, 4), size=SIZES, spread=st.integers(-2, 5))
    def book(self, index: int, offset: int, levels: int, size: float, spread: int) -> None:
        def side(best: float, step: float) -> tuple[tuple[int, int], ...]:
            return tuple((units(best + step * level), units(size)) for level in range(levels))

        bid = 100 + offset / 100
        self.desk.feed(Depth(self.desk.now, index, side(bid, -0.01), side(bid + spread / 100, 0.01), snapshot=True))
        self.quoted = index

    @rule(index=INDEX, buyer=st.booleans(), through=st.integers(-1, 2), size=SIZES)
    def trade(self, index: int, buyer: bool, through: int, size: float) -> None:
        self.quoted = None
        top = self.desk.engine.exchange.top(index)
        if top is not None:
            price = top.ask + through * units("0.01") if buyer else top.bid - through * units("0.01")
            self.desk.trade(index, from_units(price), size, buyer)

    @precondition(lambda self: self.desk.engine.busy)
    @rule(size=SIZES)
    def trade_where_orders_rest(self, size: float) -> None:
        self.quoted = None
        for trade in self.desk.portfolio.open_trades:
            for order in trade.orders.values():
                if order.status == "Pending" and order.order_type == "Limit":
                    self.desk.trade(VENUES.index(order.exchange), order.price, size, order.side == "Short")
                    return

    @rule(milliseconds=WAITS)
    def wait(self, milliseconds: int) -> None:
        self.desk.wait(milliseconds)
        self.quoted = None

    @rule(index=INDEX, seldom=SELDOM)
    def interrupt(self, index: int, seldom: bool) -> None:
        if seldom:
            self.desk.interrupt(index)

    @rule(index=INDEX, bid=st.sampled_from([0, 100, 200]))
    def nonsense(self, index: int, bid: int) -> None:
        """A crossed or empty quote, and one from the past."""
        self.desk.feed(Quote(self.desk.now, index, units(bid), units(1), units(100), units(1)))
        self.desk.engine.on_event(Quote(self.desk.now - 1, index, units(99), units(1), units(100), units(1)))

    @rule(low=st.sampled_from(["0.0001", "-0.0003"]), high=st.sampled_from(["0.0004", "0.0001", "0.0001499"]))
    def rates(self, low: str, high: str) -> None:
        for index, rate in enumerate((low, high, high)):
            if self.desk.listings[index].can_short:
                self.desk.rate(index, rate)
                self.quoted = index

    @rule(index=st.integers(0, 1), rate=st.sampled_from(["0.0004", "-0.0002"]))
    def settle(self, index: int, rate: str) -> None:
        self.desk.settle(index, rate, 100)
        self.quoted = None

    @rule(kind=st.sampled_from(["deposit", "withdraw"]), amount=st.sampled_from(["0.000001", "250.5", "19000", "1e6"]))
    def move_capital(self, kind: str, amount: str) -> None:
        self.desk.wait(0)  # what a venue without latency has to report comes first, and moves capital too
        portfolio, amount_in = self.desk.portfolio, Decimal(amount) * (1 if kind == "deposit" else -1)
        available, flows = portfolio.available, portfolio.net_flows
        event = self.desk.instruct(kind, amount)
        if isinstance(event, FlowPosted):
            assert (portfolio.available, portfolio.net_flows) == (available + amount_in, flows + amount_in)
        else:
            assert (portfolio.available, portfolio.net_flows) == (available, flows)
            assert available < -amount_in
        self.quoted = None

    @rule()
    def resume(self) -> None:
        """Ended or refused: what is naked, or has no capital, stays halted."""
        was = self.desk.portfolio.halted
        event = self.desk.instruct("resume")
        assert isinstance(event, EntriesResumed if was and not self.desk.portfolio.halted else InstructionRefused)
        if isinstance(event, EntriesResumed):
            assert not self.desk.auditor.naked_since
            assert self.desk.portfolio.available >= 0
        self.quoted = None

    @rule(seldom=SELDOM)
    def restart(self, seldom: bool) -> None:
        if seldom:
            self.restarted = True
            self.desk.restart()
            self.quoted = None

    @invariant()
    def nothing_is_wrong(self) -> None:
        assert self.desk.auditor.problems == []

    @invariant()
    def whatever_should_be_left_is_left(self) -> None:
        if self.quoted is not None:
            assert exits_that_were_missed(self.desk, self.quoted) == []

    @invariant()
    def profits_add_up(self) -> None:
        portfolio = self.desk.portfolio
        closed = [event for event in self.desk.log if isinstance(event, TradeClosed)]
        assert len({event.trade_id for event in closed}) == len(closed)
        assert portfolio.cumulative_pnl == sum((event.actual_profit_usd for event in closed), D(0))
        gross = sum((event.gross_profit_usd for event in closed), D(0))
        assert portfolio.cumulative_pnl == gross - portfolio.leg_out_total_loss
        assert portfolio.leg_out_count == len(self.desk.auditor.leg_outs)

    def teardown(self) -> None:
        desk = self.desk
        desk.auditor.finish(desk.now)
        assert desk.auditor.problems == []
        assert fold(desk.log).state() == desk.portfolio.state()
        if not self.restarted:
            again = Desk(desk.listings, desk.rules)
            for given in desk.inputs:
                if isinstance(given, int):
                    again.engine.advance(given)
                elif type(given) is tuple:
                    again.engine.instruct(given[1], given[0])
                else:
                    again.engine.on_event(given)
            assert again.lines() == desk.lines()
        self._end_everything()

    def _end_everything(self) -> None:
        """Given good books for a while, nothing stays naked and no order stays behind, halted or not."""
        desk = self.desk
        desk.engine.stop()
        for _ in range(12):
            for index in range(3):
                desk.quote(index, 99.99, 100, 10_000, 10_000)
            desk.wait(300)
        assert not desk.engine.busy
        assert not desk.auditor.naked_since
        for trade in desk.portfolio.open_trades:
            assert trade.status is TradeStatus.ACTIVE
            assert all(order.status != "Pending" for order in trade.orders.values())


TestTrader = Trader.TestCase
TestTrader.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_the_state_at_any_kill_is_the_fold_of_what_was_written() -> None:
    """The portfolio the engine went on with, compared with a fold of the log at that event."""
    generator = random.Random(5)
    desk = Desk(rules=Rules(reentry_pause_ns=MILLISECOND))
    states = []
    write = desk._write
    desk.engine = Engine(
        desk.listings,
        desk.rules,
        lambda event: (write(event), states.append(desk.portfolio.state()))[0],
        desk.portfolio,
        desk.engine.scanner,
    )
    desk.auditor.engine = desk.engine
    desk.rates()
    for _ in range(400):
        desk.wait(generator.choice([5, 100, 600]))
        if generator.random() < 0.4:
            desk.apart()
        else:
            desk.quote(generator.randrange(2), *generator.choice([(99.99, 100), (100.5, 100.51), (101, 101.01)]))
        top = desk.engine.exchange.top(0)
        if top is not None:
            desk.trade(0, from_units(top.ask), 500, buyer_is_aggressor=True)
    assert len(desk.words(TradeClosed)) >= 5
    assert desk.auditor.problems == []
    folded = fold(desk.log[:1])
    for event, state in zip(desk.log[1:], states, strict=True):
        folded.apply(event)
        assert folded.state() == state


def driftless(seed: int, trades: int) -> list[float]:
    """Profits on two venues whose quotes are martingales: their difference steps up or down and never reverts."""
    generator = random.Random(seed)
    desk = Desk(rules=Rules(reentry_pause_ns=MILLISECOND, min_confidence=40))
    desk.rates()
    low, high = 10_000, 10_000
    while len(desk.words(TradeClosed)) < trades:
        desk.now += 50 * MILLISECOND
        low += generator.choice((-5, 5))
        high += generator.choice((-5, 5))
        # Both jump back together, and only while nothing is held: no profit is made or lost by it.
        if (abs(high - low) > 300 or abs(low - 10_000) > 3_000) and not desk.portfolio.open_trades:
            low = high = 10_000
        desk.quote(0, (low - 1) / 100, (low + 1) / 100)
        desk.quote(1, (high - 1) / 100, (high + 1) / 100)
    assert desk.auditor.problems == []
    return [float(event.actual_profit_usd / 10_000) for event in desk.words(TradeClosed)]


def test_a_trader_on_driftless_quotes_earns_nothing_beyond_noise() -> None:
    """Without costs the quotes would be a fair game; with them every trade must lose on average."""
    profits = [profit for seed in (1, 2, 3) for profit in driftless(seed, 60)]
    mean = sum(profits) / len(profits)
    deviation = (sum((profit - mean) ** 2 for profit in profits) / (len(profits) - 1)) ** 0.5
    noise = deviation / len(profits) ** 0.5
    assert mean <= 3 * noise
    # Four fees and two crossings are paid for certain: about 24 basis points of the size.
    assert abs(mean + 0.0024) <= 3 * noise + 0.0006


def test_exits_are_recorded_with_all_that_held() -> None:
    desk = Desk()
    desk.open_trade()
    desk.wait(1_000)
    desk.quote(1, 101, 101.01)
    desk.quote(0, 95, 95.01)
    exiting = desk.last(TradeExiting)
    assert exiting.reason == exiting.conditions[0]
