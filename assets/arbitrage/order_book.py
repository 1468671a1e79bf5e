"""The displayed book of one listing, level by level, and what walking it would cost.

Prices and sizes are integer units (``resources.feed.UNITS``), costs are price units times size units.
"""

import heapq
from collections.abc import Sequence
from typing import NamedTuple

from assets.arbitrage.model import OrderSide

Level = tuple[int, int]  # price, size


class BookError(ValueError):
    """The book cannot be traded against; the message says why."""


class EmptyBookError(BookError):
    """The side to take from shows nothing."""


class CrossedBookError(BookError):
    """The best bid is not below the best ask: the book is wrong, and so would be any price from it."""


class Walk(NamedTuple):
    """``cost`` = sum of price * size over what was ``filled``; ``unfilled`` is what the levels do not cover."""

    cost: int
    filled: int
    unfilled: int
    levels: int


def walk(levels: Sequence[Level], size: int, side: OrderSide, other_best: int) -> Walk:
    """What an order of ``side`` for ``size`` would pay (Long) or receive (Short) level by level.

    ``levels`` are those it takes from, best first; ``other_best`` is the best price of the other side. Nothing is made
    up where the levels end: the rest is ``unfilled``. Raises EmptyBookError, CrossedBookError, and ValueError where
    ``size`` is not positive.
    """
    if size <= 0:
        raise ValueError(f"cannot walk a book for {size}")
    if not levels:
        raise EmptyBookError("the book is empty")
    best = levels[0][0]
    if best <= other_best if side is OrderSide.LONG else best >= other_best:
        raise CrossedBookError(f"the book is crossed: {best} against {other_best}")
    cost, left, used = 0, size, 0
    for price, shown in levels:
        used += 1
        if shown >= left:
            return Walk(cost + price * left, size, 0, used)
        cost += price * shown
        left -= shown
    return Walk(cost, size - left, left, used)


class OrderBook:
    """Bids and asks by price, with the best of each at hand.

    It may be crossed for a moment (``crossed``): levels are what the venue says they are, and are not repaired.
    """

    def __init__(self) -> None:
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}
        # Every price that is a key of its side, best first (bids negated), among others that are one no longer.
        self._bid_heap: list[int] = []
        self._ask_heap: list[int] = []
        self._worst_bid = 0
        self._worst_ask = 0

    def replace(self, bids: Sequence[Level], asks: Sequence[Level]) -> None:
        """Take over a snapshot. All prices and sizes must be positive."""
        self.bids, self.asks = dict(bids), dict(asks)
        self._bid_heap, self._ask_heap = [-price for price in self.bids], list(self.asks)
        heapq.heapify(self._bid_heap)
        heapq.heapify(self._ask_heap)
        self._worst_bid, self._worst_ask = min(self.bids, default=0), max(self.asks, default=0)

    def change(self, bids: Sequence[Level], asks: Sequence[Level]) -> None:
        """Take over changed levels; size 0 removes one (also one that was not known)."""
        held, heap = self.bids, self._bid_heap
        for price, size in bids:
            if not size:
                held.pop(price, None)
            else:
                if price not in held:
                    heapq.heappush(heap, -price)
                held[price] = size
        if len(heap) > 4 * len(held) + 64:
            self._bid_heap = sorted(-price for price in held)
        held, heap = self.asks, self._ask_heap
        for price, size in asks:
            if not size:
                held.pop(price, None)
            else:
                if price not in held:
                    heapq.heappush(heap, price)
                held[price] = size
        if len(heap) > 4 * len(held) + 64:
            self._ask_heap = sorted(held)

    @property
    def best_bid(self) -> int:
        """The highest bid; 0 when there is none."""
        heap, held = self._bid_heap, self.bids
        while heap and -heap[0] not in held:
            heapq.heappop(heap)
        return -heap[0] if heap else 0

    @property
    def best_ask(self) -> int:
        """The lowest ask; 0 when there is none."""
        heap, held = self._ask_heap, self.asks
        while heap and heap[0] not in held:
            heapq.heappop(heap)
        return heap[0] if heap else 0

    @property
    def crossed(self) -> bool:
        """Whether both sides show something and the best bid is not below the best ask."""
        bid, ask = self.best_bid, self.best_ask
        return bid > 0 and ask > 0 and bid >= ask

    def shown_bid(self, price: int) -> int | None:
        """The size of the bids at ``price``: 0 where the book shows none, None beyond what the last snapshot told."""
        size = self.bids.get(price)
        return size if size is not None else 0 if price >= self._worst_bid > 0 else None

    def shown_ask(self, price: int) -> int | None:
        """The size of the asks at ``price``: 0 where the book shows none, None beyond what the last snapshot told."""
        size = self.asks.get(price)
        return size if size is not None else 0 if price <= self._worst_ask else None
