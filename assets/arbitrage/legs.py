"""Since when the legs of a trade differ, read from its orders: what outlives the process that watched the clock."""

from decimal import localcontext

from assets.accounting.precision import EXACT, ZERO
from assets.arbitrage.model import PaperTrade


def naked_since(trade: PaperTrade) -> int | None:
    """When the legs of an open trade became unequal, nanoseconds; None while they are equal.

    An order that was filled in parts remembers only the last of them, so that the moment may be later than it was; a
    leg-out that was logged and not hedged yet knows better.
    """
    held, since = ZERO, None
    fills = sorted(
        (order.filled_at, order.side.sign * order.filled_size)
        for order in trade.orders.values()
        if order.filled_at is not None
    )
    with localcontext(EXACT):
        for filled_at, size in fills:
            before, held = held, held + size
            if not held:
                since = None
            elif before * held <= 0:  # they were equal in between
                since = filled_at
    if since is None:
        return None
    logged = [
        leg_out.filled_at
        for leg_out in (trade.leg_out_event, trade.exit_leg_out_event)
        if leg_out is not None and not leg_out.hedge_executed
    ]
    return min(since, *logged) if logged else since
