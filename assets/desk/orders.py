"""The order plan: how to get from what is held to what is targeted without ever raising exposure by accident.

Reductions come first, then increases, symbols in order. A zero-cross is two orders: the whole old side
reduce-only, then an opening order that is sent only once the first has filled (reference/trading.md 3.4).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Literal

from assets.accounting.instrument import Instrument, Instruments, floor_lots, quantity_of
from assets.accounting.precision import EXACT, ZERO
from assets.desk.sizing import SizedRow
from resources.venue import Side

Leg = Literal["reduce", "open"]


@dataclass(frozen=True, slots=True)
class PlannedOrder:
    """One child order. ``quantity`` > 0 in contract units; ``close_position`` marks a reduction to zero."""

    order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    reduce_only: bool
    close_position: bool
    leg: Leg
    strategies: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class Shortfall:
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
        for row in sorted(rows, key=lambda row: row.symbol):
            if not row.delta_quantity:
                continue
            instrument, price = instruments[row.symbol], prices[row.symbol]
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
    closes = not target
    quantity = wanted if closes else _on_grid(wanted, instrument)
    direction = -1 if current > 0 else 1
    if not closes and quantity < instrument.min_qty:
        shortfalls.append(Shortfall(row.symbol, wanted * direction, "below_min_qty"))
        return
    orders += _children(row, quantity, direction, instrument, id_prefix, leg="reduce", closes=closes)
    if quantity != wanted:
        shortfalls.append(Shortfall(row.symbol, (wanted - quantity) * direction, "off_grid_position"))


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
    if quantity < instrument.min_qty or quantity * price < instrument.min_notional:
        reason = "below_min_qty" if quantity < instrument.min_qty else "below_min_notional"
        shortfalls.append(Shortfall(row.symbol, wanted * direction, reason))
        return
    orders += _children(row, quantity, direction, instrument, id_prefix, leg="open", closes=False)
    if quantity != wanted:
        shortfalls.append(Shortfall(row.symbol, (wanted - quantity) * direction, "off_grid_position"))


def _on_grid(quantity: Decimal, instrument: Instrument) -> Decimal:
    return quantity_of(floor_lots(quantity, instrument), instrument)


def _children(
    row: SizedRow, quantity: Decimal, direction: int, instrument: Instrument, id_prefix: str, *, leg: Leg, closes: bool
) -> list[PlannedOrder]:
    """Split at the market maximum into near-equal children, so that no child falls below a minimum."""
    return [
        PlannedOrder(
            order_id=f"{id_prefix}-{row.symbol}-{leg}-{n}",
            symbol=row.symbol,
            side="BUY" if direction > 0 else "SELL",
            quantity=part,
            reduce_only=leg == "reduce",
            close_position=closes,
            leg=leg,
            strategies=row.strategies,
        )
        for n, part in enumerate(split(quantity, instrument), start=1)
    ]


def split(quantity: Decimal, instrument: Instrument) -> list[Decimal]:
    """``quantity`` in as few near-equal parts as the market order maximum allows; parts sum to it exactly.

    Every part but the first is a whole number of steps; the first carries what is off the grid.
    """
    if not instrument.max_qty or quantity <= instrument.max_qty:
        return [quantity]
    count = int(-(-quantity // instrument.max_qty))
    lots = quantity // instrument.step
    each, extra = divmod(int(lots), count)
    parts = [(each + (n < extra)) * instrument.step for n in range(count)]
    parts[0] += quantity - lots * instrument.step
    return parts
