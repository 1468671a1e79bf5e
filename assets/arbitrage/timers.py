"""The simulated clock: what is due at which nanosecond, and in which order.

The clock moves only when it is told to (by the next market event, or by ``run_through`` while the market is silent), so
a replay at any speed, and a live session, run the same things in the same order.
"""

import heapq
from collections.abc import Callable
from enum import IntEnum

Action = Callable[[int], None]


class Rank(IntEnum):
    """What goes first at equal times. Market events, which are no timers, go before all of them."""

    ARRIVAL = 0  # an order reaches its venue
    CANCEL = 1  # a cancellation is acknowledged: after the fills of that instant, so a fill that races it wins
    TIMER = 2  # deadlines, which are inclusive for this reason
    TICK = 3  # the minute and the second


class Handle:
    """One timer, as ``Timers.cancel`` wants it."""

    __slots__ = ("_action",)

    def __init__(self, action: Action) -> None:
        self._action: Action | None = action

    @property
    def pending(self) -> bool:
        """Whether it has neither run nor been cancelled."""
        return self._action is not None

    def _take(self) -> Action | None:
        action, self._action = self._action, None
        return action


class Timers:
    """A heap of timers in integer nanoseconds since 1970 UTC."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, int, Handle]] = []
        self._scheduled = 0
        self._now_ns = 0

    @property
    def now_ns(self) -> int:
        """How far the clock has come; 0 before it was first moved."""
        return self._now_ns

    @property
    def next_ns(self) -> int | None:
        """When the next timer is due; None when there is none."""
        heap = self._heap
        while heap and not heap[0][3].pending:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def at(self, time_ns: int, rank: Rank, action: Action) -> Handle:
        """Have ``action`` called with its time; equal times run by rank, then in the order they were scheduled.

        A time that has passed (a deadline that was missed while nothing ran) is due now: time never goes backwards.
        """
        handle = Handle(action)
        self._scheduled += 1
        heapq.heappush(self._heap, (max(time_ns, self._now_ns), rank, self._scheduled, handle))
        return handle

    def cancel(self, handle: Handle) -> None:
        """The timer will not run; one that has run, or was cancelled before, is left as it is."""
        handle._take()

    def run_before(self, time_ns: int) -> None:
        """Run all that is due strictly before ``time_ns``: used ahead of a market event of that time."""
        self._run(time_ns - 1)
        self._now_ns = max(self._now_ns, time_ns)

    def run_through(self, time_ns: int) -> None:
        """Run all that is due at or before ``time_ns``."""
        self._run(time_ns)
        self._now_ns = max(self._now_ns, time_ns)

    def _run(self, last_ns: int) -> None:
        heap = self._heap
        while heap and heap[0][0] <= last_ns:
            time_ns, _, _, handle = heapq.heappop(heap)
            action = handle._take()
            if action is not None:
                self._now_ns = max(self._now_ns, time_ns)
                action(time_ns)
