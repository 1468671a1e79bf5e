"""The simulated venues: they show the recorded (or live) market, hold our orders and fill them by stated rules.

History is immutable: our orders never change the quotes, books and trades that follow. What an order of ours took from
a displayed level is not taken again while that level is displayed unchanged, for as long as a quote is believed
(``Rules.stale_quote_ns``); another size at that price is new liquidity.

Where a listing has both quotes and depth, the newer event gives the best prices, and levels of the book that are better
than a newer quote are not believed. A quote, trade or level that is malformed, from the past or of an unknown listing
is refused whole and counted in ``Exchange.rejected``; it changes nothing. A crossed quote or book is counted too, but
it is what the venue says: until the next event the listing cannot be traded.

Everything is in integer units (``resources.feed.UNITS``) and integer nanoseconds.
"""

from collections import Counter, deque
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from functools import cache
from typing import NamedTuple, Protocol

from assets.arbitrage.model import OrderSide
from assets.arbitrage.order_book import Level, OrderBook
from assets.arbitrage.queue_model import Queue, QueueModel
from assets.arbitrage.rules import Rules
from assets.arbitrage.slippage import InsufficientDepthError, SlippageModel
from assets.arbitrage.timers import Rank, Timers
from resources.feed import NANOSECONDS, UNITS, Depth, FeedEvent, Interrupted, Listing, Quote, Trade, to_units

_RATE_SECONDS = 60  # brief 3's harder leg: what traded in the last minute
_RATE_NS = _RATE_SECONDS * NANOSECONDS
_NO_ASK = 1 << 200  # above every price: no order of ours asks


class Filled(NamedTuple):
    """One execution of ``size`` at ``price``, after which ``remaining`` is left; units.

    ``cumulative`` and ``excess`` describe the queue of an order that rested (excess below ``size``: more was filled
    than was traded), ``slippage_bps``, ``walked_bps`` and ``capped`` a market order. ``maker``: it rested.
    """

    price: int
    size: int
    remaining: int
    cumulative: int | None
    excess: int | None
    slippage_bps: Decimal | None
    walked_bps: Decimal | None
    capped: bool
    maker: bool


class Reports(Protocol):
    """What a venue tells about our orders. It may be answered with ``send`` and ``cancel`` at once."""

    def accepted(self, time_ns: int, order_id: str, resting_depth: int) -> None:
        """The order rests behind ``resting_depth``."""
        ...

    def refused(self, time_ns: int, order_id: str, reason: str) -> None:
        """The order was not taken, nothing of it filled, and it is final."""
        ...

    def filled(self, time_ns: int, order_id: str, fill: Filled) -> None:
        """Part of the order, or all that was left of it, is executed."""
        ...

    def cancelled(self, time_ns: int, order_id: str, reason: str) -> None:
        """What was left of the order is gone and it is final."""
        ...


class _Grid(NamedTuple):
    """The filters of a listing in units (notional: price units times size units)."""

    tick: int
    step: int
    min_size: int
    min_notional: Fraction


@cache
def _grid(listing: Listing) -> _Grid:
    tick, step = to_units(listing.tick), to_units(listing.step)
    if tick <= 0 or step <= 0:
        raise ValueError(f"{listing.venue} {listing.symbol} has a tick of {listing.tick} and a step of {listing.step}")
    return _Grid(tick, step, to_units(listing.min_size), Fraction(listing.min_notional) * UNITS * UNITS)


def check_order(listing: Listing, size: int, price: int, market: bool = False, reduce_only: bool = False) -> str:
    """Why the venue would not take an order of ``size`` at ``price`` (units), or "".

    ``price`` is the limit, or with ``market`` the best opposite price, which need not lie on the tick grid.
    ``reduce_only`` orders close what is held and are exempt from the smallest size and notional. Raises ValueError
    where the listing's own filters are impossible.
    """
    grid = _grid(listing)
    if size <= 0:
        return "size_not_positive"
    if price <= 0:
        return "price_not_positive"
    if size % grid.step:
        return "size_off_step"
    if not market and price % grid.tick:
        return "price_off_tick"
    if reduce_only:
        return ""
    if size < grid.min_size:
        return "below_min_size"
    if size * price < grid.min_notional:
        return "below_min_notional"
    return ""


def touch(top: Quote, side: OrderSide) -> int:
    """The best price that an order of ``side`` takes from (units)."""
    return top.ask if side is OrderSide.LONG else top.bid


class _Order:
    """One of our orders from sending to its end."""

    __slots__ = ("limit", "market", "order_id", "queue", "reduce_only", "remaining", "side")

    def __init__(
        self, order_id: str, market: "_Market", side: OrderSide, size: int, limit: int | None, reduce_only: bool
    ) -> None:
        self.order_id = order_id
        self.market = market
        self.side = side
        self.remaining = size
        self.limit = limit
        self.reduce_only = reduce_only
        self.queue: Queue | None = None  # while it rests


class _Market:
    """What is known of one listing, and our orders that rest there."""

    __slots__ = (
        "asks", "bids", "book", "book_is_newer", "buys", "grid", "highest_bid", "index", "interrupted", "listing",
        "lowest_ask", "quote", "sells", "shown_ns", "taken", "time_ns",
    )  # fmt: skip

    def __init__(self, listing: Listing, index: int) -> None:
        self.listing = listing
        self.index = index
        self.grid = _grid(listing)
        self.time_ns = 0  # of its newest event
        self.shown_ns = 0  # of its newest quote or depth
        self.quote: Quote | None = None
        self.book: OrderBook | None = None  # None until a snapshot
        self.book_is_newer = False
        self.interrupted = False
        # Trades of the last minute, by aggressor.
        self.buys: deque[Trade] = deque()
        self.sells: deque[Trade] = deque()
        # Our resting orders by limit, and the two limits that events are compared with.
        self.bids: dict[int, list[_Order]] = {}
        self.asks: dict[int, list[_Order]] = {}
        self.highest_bid = 0
        self.lowest_ask = _NO_ASK
        # What we took, by side taken from (True: asks) and price: displayed size, amount taken, when.
        self.taken: dict[tuple[bool, int], tuple[int, int, int]] = {}

    def why_unusable(self, now_ns: int, stale_ns: int) -> str:
        if self.interrupted:
            return "interrupted"
        if self.book_is_newer and self.book is not None:
            bid, ask = self.book.best_bid, self.book.best_ask
        elif self.quote is not None:
            bid, ask = self.quote.bid, self.quote.ask
        else:
            return "no_quote"
        if not bid or not ask:
            return "empty_book"
        if bid >= ask:
            return "crossed_book"
        return "stale_quote" if now_ns - self.shown_ns > stale_ns else ""

    def top(self) -> Quote | None:
        if self.interrupted:
            return None
        if self.book_is_newer and self.book is not None:
            bid, ask = self.book.best_bid, self.book.best_ask
            if not bid or not ask or bid >= ask:
                return None
            return Quote(self.shown_ns, self.index, bid, self.book.bids[bid], ask, self.book.asks[ask])
        quote = self.quote
        return quote if quote is not None and quote.bid < quote.ask else None

    def levels(self, top: Quote, buying: bool, now_ns: int, memory_ns: int) -> list[Level]:
        """What an order can take from, best first: the displayed levels that are believed, less what we took."""
        best = (top.ask, top.ask_size) if buying else (top.bid, top.bid_size)
        shown = [best]
        if self.book is not None:
            if buying:
                shown += sorted(level for level in self.book.asks.items() if level[0] > best[0])
            else:
                shown += sorted((level for level in self.book.bids.items() if level[0] < best[0]), reverse=True)
        if not self.taken:
            return shown
        left = []
        for price, size in shown:
            displayed, amount, taken_ns = self.taken.get((buying, price), (0, 0, 0))
            if displayed == size and now_ns - taken_ns <= memory_ns:
                if size > amount:
                    left.append((price, size - amount))
            else:
                left.append((price, size))
        return left

    def take(self, top: Quote, buying: bool, price: int, size: int, now_ns: int, memory_ns: int) -> None:
        """Remember that ``size`` of what is displayed at ``price`` is ours."""
        if price == (top.ask if buying else top.bid):
            displayed = top.ask_size if buying else top.bid_size
        elif self.book is not None:
            displayed = (self.book.asks if buying else self.book.bids)[price]
        else:
            raise ValueError(f"nothing is displayed at {price}")
        # What is forgotten anyway is dropped here, so that the memory stays as small as what we took lately.
        taken = {key: was for key, was in self.taken.items() if now_ns - was[2] <= memory_ns}
        before = taken.get((buying, price))
        amount = before[1] if before is not None and before[0] == displayed else 0
        taken[buying, price] = (displayed, amount + size, now_ns)
        self.taken = taken

    def hold(self, order: _Order, limit: int) -> None:
        if order.side is OrderSide.LONG:
            self.bids.setdefault(limit, []).append(order)
            self.highest_bid = max(self.highest_bid, limit)
        else:
            self.asks.setdefault(limit, []).append(order)
            self.lowest_ask = min(self.lowest_ask, limit)

    def release(self, order: _Order, limit: int) -> None:
        held = self.bids if order.side is OrderSide.LONG else self.asks
        orders = held[limit]
        orders.remove(order)
        if not orders:
            del held[limit]
            self.highest_bid = max(self.bids, default=0)
            self.lowest_ask = min(self.asks, default=_NO_ASK)


class Exchange:
    """All venues of a feed. Market events come in through ``on_event``, after ``timers`` ran up to them."""

    def __init__(self, listings: Sequence[Listing], rules: Rules, timers: Timers, reports: Reports) -> None:
        self.rejected: Counter[str] = Counter()
        self._markets = {index: _Market(listing, index) for index, listing in enumerate(listings)}
        self._orders: dict[str, _Order] = {}
        self._timers = timers
        self._reports = reports
        self._stale_ns = rules.stale_quote_ns
        self._partial_fills = rules.partial_fills
        self._queues = QueueModel(rules.fill_threshold, rules.partial_fills)
        self._slippage = SlippageModel(rules)

    # What the market shows

    def top(self, listing: int) -> Quote | None:
        """The newest best bid and ask, of quotes or depth; None when unknown, empty, crossed or interrupted."""
        return self._markets[listing].top()

    def usable(self, listing: int, now_ns: int) -> str:
        """ "" where the listing can be traded, else why not: interrupted, no_quote, empty_book, crossed_book or
        stale_quote (its newest quote or depth is older than the rules allow)."""
        return self._markets[listing].why_unusable(now_ns, self._stale_ns)

    def resting(self, listing: int, side: OrderSide, price: int) -> int | None:
        """What is displayed at ``price`` where an order of ``side`` would rest: 0 where it improves the best.

        None where nobody knows: no top, or deeper than it without a book, or deeper than the book was told.
        """
        market = self._markets[listing]
        top = market.top()
        if top is None:
            return None
        if side is OrderSide.LONG:
            if price >= top.bid:
                return top.bid_size if price == top.bid else 0
            return market.book.shown_bid(price) if market.book is not None else None
        if price <= top.ask:
            return top.ask_size if price == top.ask else 0
        return market.book.shown_ask(price) if market.book is not None else None

    def traded_rate(self, listing: int, price: int, side: OrderSide, now_ns: int) -> Fraction:
        """Units per second that opposite aggressors of ``side`` traded at exactly ``price`` in the last 60 s.

        Always over the whole minute, also where the listing has been seen for less of it."""
        market = self._markets[listing]
        trades = market.sells if side is OrderSide.LONG else market.buys
        since_ns = now_ns - _RATE_NS
        total = sum(trade.size for trade in trades if trade.price == price and trade.time_ns > since_ns)
        return Fraction(total, _RATE_SECONDS)

    def depth(self, listing: int, side: OrderSide, now_ns: int) -> int:
        """What a market order of ``side`` would be priced against: all that is displayed on the side it takes, less
        what our orders took of it; 0 where the listing is not usable."""
        market = self._markets[listing]
        top = market.top()
        if top is None or market.why_unusable(now_ns, self._stale_ns):
            return 0
        levels = market.levels(top, side is OrderSide.LONG, now_ns, self._stale_ns)
        return sum(shown for _, shown in levels)

    # Our orders

    def send(
        self,
        order_id: str,
        listing: int,
        side: OrderSide,
        size: int,
        limit: int | None,
        now_ns: int,
        reduce_only: bool = False,
    ) -> None:
        """Send an order; it reaches the venue after the listing's latency. ``limit`` None is a market order.

        ``reduce_only``: it closes what is held and may be below the smallest size and notional, as perpetual venues
        have it (on spot this is an assumption); the grids still hold. Raises ValueError when an order of that id is
        under way or rests.
        """
        if order_id in self._orders:
            raise ValueError(f"order {order_id} exists already")
        market = self._markets[listing]
        order = _Order(order_id, market, side, size, limit, reduce_only)
        self._orders[order_id] = order
        self._timers.at(now_ns + market.listing.latency_ns, Rank.ARRIVAL, lambda time_ns: self._arrive(order, time_ns))

    def cancel(self, order_id: str, now_ns: int, reason: str) -> None:
        """Ask for a cancellation; it is acknowledged after the listing's latency, and what fills until then is kept.

        An order that is unknown or final is left alone.
        """
        order = self._orders.get(order_id)
        if order is not None:
            self._timers.at(
                now_ns + order.market.listing.latency_ns,
                Rank.CANCEL,
                lambda time_ns: self._acknowledge(order, time_ns, reason),
            )

    def _acknowledge(self, order: _Order, now_ns: int, reason: str) -> None:
        if self._orders.get(order.order_id) is not order:
            return
        self._end(order)
        self._reports.cancelled(now_ns, order.order_id, reason)

    def _end(self, order: _Order) -> None:
        del self._orders[order.order_id]
        if order.queue is not None and order.limit is not None:
            order.market.release(order, order.limit)

    def _refuse(self, order: _Order, now_ns: int, reason: str) -> None:
        self._end(order)
        self._reports.refused(now_ns, order.order_id, reason)

    def _arrive(self, order: _Order, now_ns: int) -> None:
        market = order.market
        buying = order.side is OrderSide.LONG
        reason = market.why_unusable(now_ns, self._stale_ns)
        top = market.top()
        if top is None or reason:
            self._refuse(order, now_ns, reason)
            return
        opposite = top.ask if buying else top.bid
        price = opposite if order.limit is None else order.limit
        reason = check_order(market.listing, order.remaining, price, order.limit is None, order.reduce_only)
        if reason:
            self._refuse(order, now_ns, reason)
        elif order.limit is None:
            self._execute(order, top, now_ns)
        elif opposite <= price if buying else opposite >= price:
            self._cross(order, top, price, now_ns)
        else:
            self._rest(order, price, now_ns)

    def _execute(self, order: _Order, top: Quote, now_ns: int) -> None:
        """A market order: whole at one price after slippage, or refused."""
        market, size = order.market, order.remaining
        buying = order.side is OrderSide.LONG
        levels = market.levels(top, buying, now_ns, self._stale_ns)
        if not levels:  # a top is displayed, so it was we who took it
            self._refuse(order, now_ns, "insufficient_depth")
            return
        try:
            slipped = self._slippage.price(
                levels, size, order.side, top.bid if buying else top.ask, market.grid.tick, market.book is not None
            )
        except InsufficientDepthError:
            self._refuse(order, now_ns, "insufficient_depth")
            return
        left = size
        for price, shown in levels:
            market.take(top, buying, price, min(left, shown), now_ns, self._stale_ns)
            left -= min(left, shown)
            if not left:
                break
        order.remaining = 0
        self._end(order)
        fill = Filled(
            slipped.price, size, 0, None, None, slipped.bps, slipped.walked_bps, slipped.capped, maker=False
        )  # fmt: skip
        self._reports.filled(now_ns, order.order_id, fill)

    def _cross(self, order: _Order, top: Quote, limit: int, now_ns: int) -> None:
        """A limit order that crosses the book: it takes what is displayed within its limit, and the rest rests.

        Without partial fills it takes all or nothing.
        """
        market, step = order.market, order.market.grid.step
        buying = order.side is OrderSide.LONG
        within = [
            level
            for level in market.levels(top, buying, now_ns, self._stale_ns)
            if (level[0] <= limit if buying else level[0] >= limit)
        ]
        if self._partial_fills or sum(shown for _, shown in within) >= order.remaining:
            for price, shown in within:
                size = _on_step(min(shown, order.remaining), order.remaining, step)
                if not size:
                    continue
                market.take(top, buying, price, size, now_ns, self._stale_ns)
                order.remaining -= size
                if not order.remaining:
                    self._end(order)
                fill = Filled(price, size, order.remaining, None, None, None, None, capped=False, maker=False)
                self._reports.filled(now_ns, order.order_id, fill)
                if not order.remaining:
                    return
        self._rest(order, limit, now_ns)

    def _rest(self, order: _Order, limit: int, now_ns: int) -> None:
        depth = self.resting(order.market.index, order.side, limit)
        if depth is None:
            self._refuse(order, now_ns, "no_depth")
            return
        order.queue = self._queues.new_order(depth)
        order.market.hold(order, limit)
        self._reports.accepted(now_ns, order.order_id, depth)

    # Market events

    def on_event(self, event: FeedEvent) -> None:
        """One event of the feed; funding is none of a venue's matching and is ignored."""
        kind = type(event)
        if kind is Quote:
            self._quote(event)  # type: ignore[arg-type]
        elif kind is Trade:
            self._trade(event)  # type: ignore[arg-type]
        elif kind is Depth:
            self._depth(event)  # type: ignore[arg-type]
        elif kind is Interrupted:
            self._interrupted(event)  # type: ignore[arg-type]

    def _quote(self, event: Quote) -> None:
        time_ns, index, bid, bid_size, ask, ask_size = event
        market = self._markets.get(index)
        if market is None:
            self.rejected["unknown_listing"] += 1
            return
        if bid <= 0 or ask <= 0 or bid_size <= 0 or ask_size <= 0:
            self.rejected["quote_not_positive"] += 1
            return
        if time_ns < market.time_ns:
            self.rejected["out_of_order"] += 1
            return
        market.time_ns = market.shown_ns = time_ns
        market.quote = event
        market.book_is_newer = market.interrupted = False
        if bid >= ask:
            self.rejected["crossed_quote"] += 1
        elif ask <= market.highest_bid or bid >= market.lowest_ask:
            self._offered(market, event)

    def _trade(self, event: Trade) -> None:
        time_ns, index, price, size, buyer_is_aggressor = event
        market = self._markets.get(index)
        if market is None:
            self.rejected["unknown_listing"] += 1
            return
        if price <= 0 or size <= 0:
            self.rejected["trade_not_positive"] += 1
            return
        if time_ns < market.time_ns:
            self.rejected["out_of_order"] += 1
            return
        market.time_ns = time_ns
        trades = market.buys if buyer_is_aggressor else market.sells
        trades.append(event)
        since_ns = time_ns - _RATE_NS
        while trades[0][0] <= since_ns:
            trades.popleft()
        if price >= market.lowest_ask if buyer_is_aggressor else price <= market.highest_bid:
            self._traded(market, event)

    def _depth(self, event: Depth) -> None:
        time_ns, index, bids, asks, snapshot = event
        market = self._markets.get(index)
        if market is None:
            self.rejected["unknown_listing"] += 1
            return
        least = 1 if snapshot else 0
        for side in (bids, asks):
            for price, size in side:
                if price <= 0 or size < least:
                    self.rejected["level_not_positive"] += 1
                    return
        if time_ns < market.time_ns:
            self.rejected["out_of_order"] += 1
            return
        if snapshot:
            if market.book is None:
                market.book = OrderBook()
            market.book.replace(bids, asks)
            market.interrupted = False
        elif market.book is None:
            self.rejected["no_snapshot"] += 1
            return
        else:
            market.book.change(bids, asks)
        market.time_ns = market.shown_ns = time_ns
        market.book_is_newer = True
        if market.book.crossed:
            self.rejected["crossed_book"] += 1
        elif market.bids or market.asks:
            top = market.top()
            if top is not None and (top.ask <= market.highest_bid or top.bid >= market.lowest_ask):
                self._offered(market, top)

    def _interrupted(self, event: Interrupted) -> None:
        market = self._markets.get(event.listing)
        if market is None:
            self.rejected["unknown_listing"] += 1
        elif event.time_ns < market.time_ns:
            self.rejected["out_of_order"] += 1
        else:
            market.time_ns = event.time_ns
            market.interrupted = True
            market.book, market.book_is_newer = None, False

    def _traded(self, market: _Market, trade: Trade) -> None:
        """A trade at or through limits of ours. What one order got of it is not there for the next one."""
        left = trade.size
        held = market.asks if trade.buyer_is_aggressor else market.bids
        for limit in sorted(held, reverse=not trade.buyer_is_aggressor):
            if limit > trade.price if trade.buyer_is_aggressor else limit < trade.price:
                break
            for order in tuple(held[limit]):
                queue = order.queue
                if queue is None:
                    raise ValueError(f"order {order.order_id} rests without a queue")
                if limit == trade.price:
                    queue.trade(left)
                else:
                    queue.passed(left)
                left = max(0, left - self._fill_resting(order, queue, limit, trade.time_ns))

    def _offered(self, market: _Market, top: Quote) -> None:
        """The other side is offered at or through limits of ours."""
        for buying, held in ((True, market.bids), (False, market.asks)):
            for limit in sorted(held, reverse=buying):
                if top.ask > limit if buying else top.bid < limit:
                    break
                for order in tuple(held[limit]):
                    self._meet(order, limit, top)

    def _meet(self, order: _Order, limit: int, top: Quote) -> None:
        """A resting order and what is displayed against it, less what we took of that already."""
        market, step, queue = order.market, order.market.grid.step, order.queue
        if queue is None:
            raise ValueError(f"order {order.order_id} rests without a queue")
        buying = order.side is OrderSide.LONG
        within = [
            level
            for level in market.levels(top, buying, top.time_ns, self._stale_ns)
            if (level[0] <= limit if buying else level[0] >= limit)
        ]
        offered = sum(shown for _, shown in within)
        offered -= offered % step
        if not offered:
            return
        if limit == (top.ask if buying else top.bid):
            queue.offer(offered)
        else:
            queue.passed(offered)
        left = self._fill_resting(order, queue, limit, top.time_ns)
        for price, shown in within:
            if not left:
                break
            market.take(top, buying, price, min(left, shown), top.time_ns, self._stale_ns)
            left -= min(left, shown)

    def _fill_resting(self, order: _Order, queue: Queue, limit: int, now_ns: int) -> int:
        size = queue.take(order.remaining, order.market.grid.step)
        if size:
            order.remaining -= size
            if not order.remaining:
                self._end(order)
            fill = Filled(
                limit, size, order.remaining, queue.cumulative, queue.excess, None, None, capped=False, maker=True
            )  # fmt: skip
            self._reports.filled(now_ns, order.order_id, fill)
        return size


def _on_step(size: int, remaining: int, step: int) -> int:
    """``size`` on the step grid; what is left of an order may always be filled whole."""
    return size if size == remaining else size - size % step
