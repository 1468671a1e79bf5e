"""When a resting limit order fills: the brief's queue, advanced by public trades and by what is offered at its price.

An order that joins a price stands behind what was displayed there when the venue accepted it. It fills once opposite
aggressors have traded ``threshold`` of that depth at its price, and at least something: a depth of zero alone would
fill every order. A threshold of 0.20 (the brief's) assumes that four fifths of the queue ahead cancel, which is
optimistic; 1 is the conservative model, in which nobody cancels. A displayed size that shrinks without a trade moves
nobody forward.

What the other side offers *at* the price counts like as much traded there: a tiny offer fills no large order. An offer
that stands is counted once, and one that grows by what it grew.

A trade or a quote *through* the price shows that the queue ahead is gone. The whole depth then counts as passed, and an
order that stood behind somebody is filled outright. One that stood alone at a price of its own (depth 0) would have met
that trade itself: it gets the size of it, and no more.
"""

from decimal import Decimal


class QueueModel:
    """``threshold`` in (0, 1]. With ``partial_fills`` an order fills by what was traded beyond the threshold; without,
    it fills whole or not at all, as the brief's does (``Queue.excess`` then says how much of it was really traded).
    """

    def __init__(self, threshold: Decimal, partial_fills: bool) -> None:
        if not 0 < threshold <= 1:
            raise ValueError(f"a fill threshold of {threshold} is not in (0, 1]")
        self._numerator, self._denominator = threshold.as_integer_ratio()
        self._partial_fills = partial_fills

    def new_order(self, depth: int) -> "Queue":
        """The place behind ``depth`` (integer units, >= 0)."""
        if depth < 0:
            raise ValueError(f"a queue of {depth} is not possible")
        # The least whole number of units that reaches the threshold, so that no fraction is ever compared.
        needed = -(-depth * self._numerator // self._denominator)
        return Queue(depth, needed, self._partial_fills)


class Queue:
    """Where one order stands. ``cumulative`` is what was traded or offered at its price since acceptance."""

    __slots__ = ("_alone", "_filled", "_needed", "_offered", "_outright", "_partial_fills", "cumulative", "depth")

    def __init__(self, depth: int, needed: int, partial_fills: bool) -> None:
        self.depth = depth
        self.cumulative = 0
        self._needed = needed
        self._filled = 0
        self._offered = 0  # the most that was offered at the price at one time
        self._alone = not depth
        self._outright = False
        self._partial_fills = partial_fills

    @property
    def excess(self) -> int:
        """What was traded beyond the threshold; below zero while it is not reached."""
        return self.cumulative - self._needed

    @property
    def is_filled(self) -> bool:
        """Whether the order may fill: the threshold is reached and something was traded."""
        return self.cumulative > 0 and self.cumulative >= self._needed

    def trade(self, size: int) -> None:
        """Opposite aggressors traded ``size`` at the order's price."""
        self.cumulative += size

    def offer(self, size: int) -> None:
        """The other side offers ``size`` at the order's price, as far as our orders have not taken it."""
        self.cumulative += max(0, size - self._offered)
        self._offered = max(self._offered, size)

    def passed(self, size: int) -> None:
        """``size`` was traded, or is offered, beyond the order's price."""
        self.cumulative = max(self.cumulative, self.depth) + size
        self._outright = not self._alone

    def take(self, remaining: int, step: int) -> int:
        """How much of ``remaining`` fills now: a multiple of ``step`` unless it is all, or 0. It counts as filled."""
        if not self.is_filled:
            return 0
        if self._outright or not self._partial_fills:
            fill = remaining
        else:
            fill = min(remaining, self.excess - self._filled)
            if fill < remaining:
                fill -= fill % step
        self._filled += fill
        return fill
