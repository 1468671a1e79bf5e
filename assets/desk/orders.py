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
            instrument, price = instruments.by_symbol[row.symbol], prices[row.symbol]
            current, target = row.current_quantity, row.target_quantity
            crosses = current * target < 0
            if crosses or abs(target) < abs(current):
                to = ZERO if crosses else target
                _reduce(row, current, to, instrument, id_prefix, reductions, shortfalls)
                current = to
            if abs(target) > abs(current):
                _open(row, current, target, instrument, price, id_prefix, increases, shortfalls)
    return OrderPlan(tuple(reductions), tuple(increases), tuple(shortfalls))


def _reduce(
    row: SizedRow,
    current: Decimal,
    target: Decimal,
    instrument: Instrument,
    id_prefix: str,
    orders: list[PlannedOrder],
    shortfalls: list[Shortfall],
) -> None:
    """Reduce-only orders: exempt from the notional minimum, not from the lot filter - except a full close, which the
    paper venue takes off-grid too (a step that changed under an open position would leave dust for ever)."""
    wanted = abs(current) - abs(target)
    direction = -1 if current > 0 else 1
    if not target:
        parts = split_close(wanted, instrument)
        orders += _children(row, parts, direction, id_prefix, leg="reduce", closes=True)
        _report_rest(row.symbol, wanted, wanted, parts, direction, shortfalls)
        return
    quantity = _on_grid(wanted, instrument)
    if not quantity or quantity < instrument.min_qty:
        shortfalls.append(Shortfall(row.symbol, wanted * direction, "below_min_qty"))
        return
    parts = split(quantity, instrument)
    orders += _children(row, parts, direction, id_prefix, leg="reduce", closes=False)
    _report_rest(row.symbol, wanted, quantity, parts, direction, shortfalls)


def _open(
    row: SizedRow,
    current: Decimal,
    target: Decimal,
    instrument: Instrument,
    price: Decimal,
    id_prefix: str,
    orders: list[PlannedOrder],
    shortfalls: list[Shortfall],
) -> None:
    wanted = abs(target) - abs(current)
    quantity = _on_grid(wanted, instrument)
    direction = 1 if target > 0 else -1
    below_min_qty = not quantity or quantity < instrument.min_qty
    if below_min_qty or quantity * price < instrument.min_notional:
        reason = "below_min_qty" if below_min_qty else "below_min_notional"
        shortfalls.append(Shortfall(row.symbol, wanted * direction, reason))
        return
    parts = split(quantity, instrument)
    orders += _children(row, parts, direction, id_prefix, leg="open", closes=False)
    _report_rest(row.symbol, wanted, quantity, parts, direction, shortfalls)


def _on_grid(quantity: Decimal, instrument: Instrument) -> Decimal:
    if not instrument.grid_offset and not quantity % instrument.step:
        return quantity
    return quantity_of(floor_lots(quantity, instrument), instrument)


def _report_rest(
    symbol: str,
    wanted: Decimal,
    quantity: Decimal,
    parts: Sequence[Decimal],
    direction: int,
    shortfalls: list[Shortfall],
) -> None:
    """Name what the grid (``wanted`` against ``quantity``) and the split (against ``parts``) leave unordered."""
    rest = wanted - (parts[0] if len(parts) == 1 else sum(parts, ZERO))
    if rest:
        reason = "off_grid_position" if quantity != wanted else "below_min_qty"
        if len(parts) == MAX_CHILDREN:
            reason = "too_many_orders"
        shortfalls.append(Shortfall(symbol, rest * direction, reason))


def _children(
    row: SizedRow, parts: Sequence[Decimal], direction: int, id_prefix: str, *, leg: Leg, closes: bool
) -> list[PlannedOrder]:
    side: Side = "BUY" if direction > 0 else "SELL"
    prefix, reduce_only, strategies = f"{id_prefix}-{row.symbol}-{leg}-", leg == "reduce", row.strategies
    return [
        PlannedOrder(f"{prefix}{n}", row.symbol, side, part, reduce_only, closes, leg, strategies)
        for n, part in enumerate(parts, start=1)
    ]


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
