"""Properties 3 and 4 of the brief, and what no venue may do, over random markets, clocks and orders.

The auditor keeps its own market in the simplest way and judges every report by it: nothing here asks the exchange.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from assets.arbitrage.exchange import Exchange, Filled
from assets.arbitrage.model import OrderSide
from assets.arbitrage.rules import MILLISECOND, Rules
from assets.arbitrage.timers import Timers
from resources.feed import UNITS, Depth, FeedEvent, Interrupted, Quote, Trade
from tests.assets.arbitrage.exchange_parts import LATENCY, STEP, TICK, listing

LONG = OrderSide.LONG
BASE = 1_000 * TICK  # 100.0

_PRICES = st.integers(-6, 6).map(lambda ticks: BASE + ticks * TICK)
_SIZES = st.integers(1, 40).map(lambda lots: lots * 100 * STEP)
# Mostly sound quotes, now and then a crossed one.
_QUOTES = st.tuples(_PRICES, _SIZES, st.integers(-1, 4), _SIZES).map(
    lambda q: ("quote", q[0], q[1], q[0] + q[2] * TICK, q[3])
)
_TRADES = st.tuples(st.just("trade"), _PRICES, _SIZES, st.booleans())
_SNAPSHOTS = st.tuples(
    st.just("snapshot"), st.integers(-3, 3), st.lists(_SIZES, max_size=4), st.lists(_SIZES, max_size=4)
)
_CHANGES = st.tuples(st.just("change"), _PRICES, st.one_of(st.just(0), _SIZES), st.booleans())
_SENDS = st.tuples(st.just("send"), st.sampled_from(OrderSide), _SIZES, st.one_of(st.none(), _PRICES, _PRICES))
_CANCELS = st.tuples(st.just("cancel"), st.integers(0, 30))
_STEPS = st.tuples(
    st.sampled_from([0, 1, LATENCY // 2, LATENCY, 3 * LATENCY, 3_000 * MILLISECOND]),
    st.one_of(_QUOTES, _QUOTES, _TRADES, _TRADES, _SENDS, _SENDS, _SNAPSHOTS, _CHANGES, _CANCELS, st.just(("lost",))),
)
_RULES = st.builds(
    lambda threshold, partial: replace(Rules(), fill_threshold=Decimal(threshold), partial_fills=partial),
    st.sampled_from(["0.20", "0.333", "1"]),
    st.booleans(),
)


@dataclass
class _Sent:
    side: OrderSide
    size: int
    limit: int | None
    sent_ns: int
    left: int
    cancel_ns: int | None = None
    depth: int | None = None
    final: bool = False


@dataclass
class Auditor:
    """Hears every report and every event, keeps the market by hand, and asserts."""

    rules: Rules
    orders: dict[str, _Sent] = field(default_factory=dict)
    event: FeedEvent | None = None
    shown: dict[bool, dict[int, int]] = field(default_factory=lambda: {True: {}, False: {}})  # asks, bids
    book: dict[bool, dict[int, int]] | None = None
    shown_ns: int | None = None  # None: nothing is known
    taken: dict[tuple[bool, int], int] = field(default_factory=lambda: defaultdict(int))
    during_event: bool = False

    # The market by hand

    def hear(self, event: FeedEvent) -> None:
        self.event = event
        if isinstance(event, Quote):
            asks, bids = {event.ask: event.ask_size}, {event.bid: event.bid_size}
            if self.book is not None:
                asks |= {p: s for p, s in self.book[True].items() if p > event.ask}
                bids |= {p: s for p, s in self.book[False].items() if p < event.bid}
            self.shown, self.shown_ns = {True: asks, False: bids}, event.time_ns
        elif isinstance(event, Depth):
            if event.snapshot:
                self.book = {True: dict(event.asks), False: dict(event.bids)}
            if self.book is None:
                return
            if not event.snapshot:
                for asks_side, levels in ((True, event.asks), (False, event.bids)):
                    self.book[asks_side].update(levels)
                    self.book[asks_side] = {p: s for p, s in self.book[asks_side].items() if s}
            self.shown = {side: dict(levels) for side, levels in self.book.items()}
            self.shown_ns = event.time_ns
        elif isinstance(event, Interrupted):
            self.shown, self.book, self.shown_ns = {True: {}, False: {}}, None, None
        if not isinstance(event, Trade):
            self.taken.clear()

    def tradable(self, time_ns: int) -> bool:
        asks, bids = self.shown[True], self.shown[False]
        return (
            self.shown_ns is not None
            and time_ns - self.shown_ns <= self.rules.stale_quote_ns
            and bool(asks)
            and bool(bids)
            and max(bids) < min(asks)
        )

    # The reports

    def accepted(self, time_ns: int, order_id: str, resting_depth: int) -> None:
        order = self._alive(order_id, time_ns)
        assert time_ns == order.sent_ns + LATENCY
        assert order.limit is not None
        assert order.depth is None
        assert self.tradable(time_ns)
        own, other = self.shown[order.side is not LONG], self.shown[order.side is LONG]
        improves = order.limit > max(own) if order.side is LONG else order.limit < min(own)
        assert resting_depth == (0 if improves else own.get(order.limit, 0))
        if not self.rules.partial_fills:
            crosses = order.limit >= min(other) if order.side is LONG else order.limit <= max(other)
            within = [s for p, s in other.items() if (p <= order.limit if order.side is LONG else p >= order.limit)]
            assert not crosses or order.left == order.size
            assert sum(within) - sum(self.taken.values()) < order.size or not crosses or self.taken_before
        order.depth = resting_depth

    @property
    def taken_before(self) -> bool:
        """Whether something that is still displayed may have been taken before the newest event."""
        return any(order.final and order.left < order.size for order in self.orders.values())

    def refused(self, time_ns: int, order_id: str, reason: str) -> None:
        order = self._alive(order_id, time_ns)
        assert time_ns == order.sent_ns + LATENCY
        assert order.left == order.size
        assert reason
        if reason in ("no_quote", "interrupted", "empty_book", "crossed_book", "stale_quote"):
            assert not self.tradable(time_ns)
        order.final = True

    def cancelled(self, time_ns: int, order_id: str, reason: str) -> None:
        order = self._alive(order_id, time_ns)
        assert order.cancel_ns is not None
        assert time_ns == order.cancel_ns
        assert reason == "asked"
        order.final = True

    def filled(self, time_ns: int, order_id: str, fill: Filled) -> None:
        order = self._alive(order_id, time_ns)
        assert 0 < fill.size <= order.left
        assert fill.size % STEP == 0
        assert fill.price > 0
        assert fill.price % TICK == 0
        assert fill.remaining == order.left - fill.size
        order.left = fill.remaining
        order.final = not order.left
        if fill.maker:
            self._rested(order, fill, time_ns)
        else:
            assert time_ns == order.sent_ns + LATENCY
            assert order.depth is None
            assert self.tradable(time_ns)
            (self._slipped if order.limit is None else self._crossed)(order, fill)
        if order.limit is not None and not self.rules.partial_fills and fill.maker:
            assert order.final

    def _rested(self, order: _Sent, fill: Filled, time_ns: int) -> None:
        """Property 3, and that something happened at the price: no fill without a trade or an offer."""
        assert self.during_event
        assert order.depth is not None
        assert fill.price == order.limit
        assert fill.cumulative is not None
        assert fill.cumulative > 0
        assert fill.cumulative >= order.depth * Fraction(self.rules.fill_threshold)
        assert (fill.slippage_bps, fill.walked_bps, fill.capped) == (None, None, False)
        event, sign = self.event, order.side.sign
        assert isinstance(event, (Trade, Quote, Depth))
        assert event.time_ns == time_ns
        if isinstance(event, Trade):
            assert event.buyer_is_aggressor is (order.side is not LONG)
            assert sign * (fill.price - event.price) >= 0
        else:
            asks, bids = self.shown[True], self.shown[False]
            assert max(bids) < min(asks)
            opposite = min(asks) if order.side is LONG else max(bids)
            assert sign * (fill.price - opposite) >= 0

    def _crossed(self, order: _Sent, fill: Filled) -> None:
        """Within the limit, at a displayed price, and no more than is displayed there before anything changed."""
        assert order.limit is not None
        side = order.side is LONG
        assert order.side.sign * (order.limit - fill.price) >= 0
        self.taken[side, fill.price] += fill.size
        assert self.taken[side, fill.price] <= self.shown[side][fill.price]
        assert (fill.cumulative, fill.excess, fill.slippage_bps) == (None, None, None)

    def _slipped(self, order: _Sent, fill: Filled) -> None:
        """Property 4: whole, adverse, within the bounds; rounding to the tick only ever adds to the slippage."""
        side = order.side is LONG
        displayed = self.shown[side]
        assert fill.remaining == 0
        assert fill.slippage_bps is not None
        assert 2 <= fill.slippage_bps <= 5
        depth = sum(displayed.values())
        assert Fraction(fill.size, depth) <= Fraction(5, 3)
        assert Fraction(fill.slippage_bps) >= Fraction(3 * fill.size, depth)
        best = min(displayed) if side else max(displayed)
        assert order.side.sign * (fill.price - best * (1 + order.side.sign * Fraction(2, 10_000))) >= 0
        assert (fill.walked_bps is None) == (self.book is None)
        # A market order is priced as a whole; what it used up is bounded by the book, so later takers get less.
        for price in sorted(displayed, reverse=not side):
            free = max(0, displayed[price] - self.taken[side, price])
            self.taken[side, price] += free

    def _alive(self, order_id: str, time_ns: int) -> _Sent:
        order = self.orders[order_id]
        assert not order.final, "a report after the last one"
        assert time_ns >= order.sent_ns
        assert order.cancel_ns is None or time_ns <= order.cancel_ns
        return order


def _play(rules: Rules, steps: list[tuple[int, tuple[object, ...]]], audit: Auditor) -> Exchange:
    timers = Timers()
    exchange = Exchange([listing()], rules, timers, audit)
    now = 10**15
    for pause, (word, *values) in steps:
        now += pause
        if word == "send":
            timers.run_through(now)
            side, size, limit = values
            order_id = f"{len(audit.orders)}"
            audit.orders[order_id] = _Sent(side, size, limit, now, size)  # type: ignore[arg-type]
            exchange.send(order_id, 0, side, size, limit, now)  # type: ignore[arg-type]
        elif word == "cancel":
            timers.run_through(now)
            order = audit.orders.get(f"{values[0]}")
            exchange.cancel(f"{values[0]}", now, "asked")
            if order is not None and not order.final and order.cancel_ns is None:
                order.cancel_ns = now + LATENCY
        else:
            timers.run_before(now)
            event = _MARKET[word](now, *values)  # type: ignore[index]
            audit.hear(event)
            audit.during_event = True
            exchange.on_event(event)
            audit.during_event = False
    timers.run_through(now + 10 * LATENCY)
    return exchange


def _snapshot(now: int, centre: int, bids: list[int], asks: list[int]) -> Depth:
    middle = BASE + centre * TICK
    return Depth(
        now, 0,
        tuple((middle - number * TICK, size) for number, size in enumerate(bids)),
        tuple((middle + (number + 1) * TICK, size) for number, size in enumerate(asks)),
        snapshot=True,
    )  # fmt: skip


def _change(now: int, price: int, size: int, ask: bool) -> Depth:
    return Depth(now, 0, () if ask else ((price, size),), ((price, size),) if ask else (), snapshot=False)


_MARKET: dict[str, Callable[..., FeedEvent]] = {
    "quote": lambda now, *values: Quote(now, 0, *values),
    "trade": lambda now, *values: Trade(now, 0, *values),
    "snapshot": _snapshot,
    "change": _change,
    "lost": lambda now: Interrupted(now, 0),
}


@settings(max_examples=250)
@given(_RULES, st.lists(_STEPS, max_size=60))
def test_no_market_and_no_order_makes_the_venue_break_its_rules(
    rules: Rules, steps: list[tuple[int, tuple[object, ...]]]
) -> None:
    audit = Auditor(rules)
    opening = (0, ("quote", BASE, 20 * UNITS, BASE + TICK, 20 * UNITS))
    exchange = _play(rules, [opening, *steps], audit)
    for order in audit.orders.values():
        # Everything got an answer, and what is open rests with what the fills left of it.
        assert order.final or order.depth is not None
        assert order.final or order.left > 0
    assert set(exchange.rejected) <= {"crossed_quote", "crossed_book", "no_snapshot"}


@settings(max_examples=60)
@given(st.lists(_STEPS, max_size=40))
def test_the_conservative_queue_never_fills_more(steps: list[tuple[int, tuple[object, ...]]]) -> None:
    """One order that rests behind ten; what follows is the market's alone."""
    market = [(pause, step) for pause, step in steps if step[0] not in ("send", "cancel")]
    opening = [
        (0, ("quote", BASE, 10 * UNITS, BASE + TICK, 20 * UNITS)),
        (0, ("send", LONG, 5 * UNITS, BASE)),
        (LATENCY, ("quote", BASE, 10 * UNITS, BASE + TICK, 20 * UNITS)),
        (1, ("trade", BASE, STEP, False)),
    ]
    left = {}
    for threshold in ("0.20", "0.5", "1"):
        rules = replace(Rules(), fill_threshold=Decimal(threshold))
        audit = Auditor(rules)
        _play(rules, [*opening, *market], audit)
        left[threshold] = audit.orders["0"].left
    assert left["0.20"] <= left["0.5"] <= left["1"]


@settings(max_examples=60)
@given(_RULES, st.lists(_STEPS, max_size=40))
def test_the_same_events_give_the_same_reports(rules: Rules, steps: list[tuple[int, tuple[object, ...]]]) -> None:
    class Scribe(Auditor):
        def __init__(self, rules: Rules) -> None:
            super().__init__(rules)
            self.lines: list[object] = []

        def filled(self, time_ns: int, order_id: str, fill: Filled) -> None:
            self.lines.append((time_ns, order_id, fill))
            super().filled(time_ns, order_id, fill)

    first, second = Scribe(rules), Scribe(rules)
    _play(rules, steps, first)
    _play(rules, steps, second)
    assert first.lines == second.lines
