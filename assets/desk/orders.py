"""The order plan: how to get from what is held to what is targeted without ever raising exposure by accident.

Reductions come first, then increases, symbols in order. A zero-cross is two orders: the whole old side
reduce-only, then an opening order that is sent only once the first has filled (reference/trading.md 3.4).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from operator import attrgetter
from typing import Literal, NamedTuple

from assets.accounting.instrument import Instrument, Instruments, floor_lots, lots_of, quantity_of
from assets.accounting.precision import EXACT, ZERO
from assets.desk.sizing import SizedRow
from resources.venue import Side

Leg = Literal["reduce", "open"]

# More orders than this for one symbol mean a wrong price or filter, not a position anyone wants.
MAX_CHILDREN = 500


class PlannedOrder(NamedTuple):
    """One child order. ``quantity`` > 0 in contract units; ``close_position`` marks a reduction to zero."""

    order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    reduce_only: bool
    close_position: bool
    leg: Leg
    strategies: Mapping[str, Decimal]


class Shortfall(NamedTuple):
    """A wanted quantity change (signed) that is not ordered, and why."""

    symbol: str
    quantity: Decimal
    reason: str


@dataclass(frozen=True, slots=True)
class OrderPlan:
    reductions: tuple[PlannedOrder, ...]
    increases: tuple[PlannedOrder, ...]
    shortfalls: tuple[Shortfall, ...]


def plan_orders(
    rows: Iterable[SizedRow], instruments: Instruments, prices: Mapping[str, Decimal], id_prefix: str
) -> OrderPlan:
    """Plan the orders for ``rows``; ids are ``<id_prefix>-<symbol>-<leg>-<n>``, so a repeat plans the same ids.

    ``prices`` must hold the price of every symbol to be traded (the marks frozen at t0).
    """
    reductions: list[PlannedOrder] = []
    increases: list[PlannedOrder] = []
    shortfalls: list[Shortfall] = []
    with localcontext(EXACT):
        for row in sorted(rows, key=attrgetter("symbol")):
            if not row.delta_quantity:
                continue
            symbol, current, target = row.symbol, row.current_quantity, row.target_quantity
            instrument = instruments.by_symbol[symbol]
            crosses = current * target < 0
            if crosses or not target:
                # Exempt from both minima, and from the grid too: a step that changed under an open position would
                # leave dust for ever, which the paper venue therefore takes.
                wanted = current.copy_abs()
                parts = split_close(wanted, instrument)
                _place(row, "reduce", wanted, wanted, parts, id_prefix, reductions, shortfalls, closes=True)
            if crosses:
                _change(row, "open", target.copy_abs(), instrument, prices[symbol], id_prefix, increases, shortfalls)
            elif target:
                growth = target.copy_abs() - current.copy_abs()
                leg: Leg = "open" if growth > 0 else "reduce"
                orders = increases if growth > 0 else reductions
                _change(row, leg, growth.copy_abs(), instrument, prices[symbol], id_prefix, orders, shortfalls)
    return OrderPlan(tuple(reductions), tuple(increases), tuple(shortfalls))


def _change(
    row: SizedRow,
    leg: Leg,
    wanted: Decimal,
    instrument: Instrument,
    price: Decimal,
    id_prefix: str,
    orders: list[PlannedOrder],
    shortfalls: list[Shortfall],
) -> None:
    """Order what of ``wanted`` > 0 lies on the grid; a reduction is exempt from the notional minimum."""
    quantity = _on_grid(wanted, instrument)
    if not quantity or quantity < instrument.min_qty:
        reason = "below_min_qty"
    elif leg == "open" and quantity * price < instrument.min_notional:
        reason = "below_min_notional"
    else:
        parts = split(quantity, instrument)
        _place(row, leg, wanted, quantity, parts, id_prefix, orders, shortfalls, closes=False)
        return
    shortfalls.append(Shortfall(row.symbol, wanted.copy_sign(row.delta_quantity), reason))


def _on_grid(quantity: Decimal, instrument: Instrument) -> Decimal:
    if not instrument.grid_offset and not quantity % instrument.step:
        return quantity
    return quantity_of(floor_lots(quantity, instrument), instrument)


def _place(
    row: SizedRow,
    leg: Leg,
    wanted: Decimal,
    quantity: Decimal,
    parts: Sequence[Decimal],
    id_prefix: str,
    orders: list[PlannedOrder],
    shortfalls: list[Shortfall],
    *,
    closes: bool,
) -> None:
    """An order for each of ``parts``, all on the side of the row's delta; and the name of what the grid (``wanted``
    against ``quantity``) and the split (against ``parts``) leave unordered."""
    symbol, reduces = row.symbol, leg == "reduce"
    side: Side = "BUY" if row.delta_quantity > 0 else "SELL"
    for number, part in enumerate(parts, start=1):
        order_id = f"{id_prefix}-{symbol}-{leg}-{number}"
        order = (order_id, symbol, side, part, reduces, closes, leg, row.strategies)
        orders.append(tuple.__new__(PlannedOrder, order))  # twice as fast as the call
    rest = wanted - (parts[0] if len(parts) == 1 else sum(parts, ZERO))
    if rest:
        reason = "off_grid_position" if quantity != wanted else "below_min_qty"
        if len(parts) == MAX_CHILDREN:
            reason = "too_many_orders"
        shortfalls.append(Shortfall(symbol, rest.copy_sign(row.delta_quantity), reason))


def split(quantity: Decimal, instrument: Instrument) -> list[Decimal]:
    """``quantity`` > 0, on the grid, in as few near-equal parts as the market maximum allows, each on the grid.

    The parts sum to ``quantity`` unless no such parts reach the minimum (the last is then left out), or there would be
    more than ``MAX_CHILDREN``.
    """
    if not instrument.max_qty or quantity <= instrument.max_qty:
        return [quantity]
    parts = split_close(quantity, instrument)
    parts[-1] = _on_grid(parts[-1], instrument)
    if parts[-1] >= instrument.min_qty and parts[-1]:
        return parts
    return [_on_grid(instrument.max_qty, instrument)] * (len(parts) - 1)


def split_close(quantity: Decimal, instrument: Instrument) -> list[Decimal]:
    """A close of ``quantity`` > 0 in as few near-equal parts as the market maximum allows; they sum to it exactly,
    unless there would be more than ``MAX_CHILDREN``.

    Every part but the last is on the grid; the last carries what is not.
    """
    if not instrument.max_qty or quantity <= instrument.max_qty:
        return [quantity]
    most = _on_grid(instrument.max_qty, instrument)
    # "//" on Decimals truncates: of a positive quotient that is the floor, and a rest needs one part more.
    count = int(quantity // most) + (1 if quantity % most else 0)
    if count > MAX_CHILDREN:
        return [most] * MAX_CHILDREN
    parts = []
    for remaining in range(count, 1, -1):
        # The larger parts first, so that none exceeds the maximum: the ceiling of the mean, on the grid.
        part = quantity_of(lots_of((quantity,), (Decimal(remaining),), instrument), instrument)
        if part * remaining < quantity:
            part += instrument.step
        parts.append(part)
        quantity -= part
    return [*parts, quantity]
