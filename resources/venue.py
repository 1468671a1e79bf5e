"""The paper venue: what an order would have filled at, exactly, from displayed or estimated liquidity."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal, Inexact, InvalidOperation
from fractions import Fraction
from typing import Literal

from resources.market import FUTURE_TOLERANCE, Book, Depth, Liquidity

Side = Literal["BUY", "SELL"]
Method = Literal["book", "bounded_slippage", "none"]


@dataclass(frozen=True, slots=True)
class Order:
    """A market order. ``quantity`` > 0 in contract units, on the symbol's grid; ``tick_size`` is the price
    grid on which fills are rounded against us; ``mark`` is the arrival price slippage is measured from.

    ``step_size`` is the quantity grid that a partial fill is cut down to; without it the grid is the last decimal
    place of ``quantity``, which is too fine for symbols traded in fives or tens.
    """

    order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    reduce_only: bool
    tick_size: Decimal
    mark: Decimal
    step_size: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution. ``price`` in quote per unit, ``fee`` in quote (>= 0, 8 decimals)."""

    fill_id: str
    order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    fee: Decimal
    time: datetime


@dataclass(frozen=True, slots=True)
class Execution:
    """What became of one order.

    ``method`` is "book" (levels were walked) or "bounded_slippage"; ``slippage_bps`` is the signed cost
    of the filled part against the order's mark (positive = bad, None when nothing filled); ``reason``
    says why ``unfilled`` > 0 ("" when it is 0).
    """

    order: Order
    fills: tuple[Fill, ...]
    unfilled: Decimal
    method: Method
    slippage_bps: Decimal | None
    reason: str


# Slippage where no book is shown: 3 bps for each multiple of the depth traded, up to 5/3 of the depth
# (reference/trading.md 3.5, where 5/3 is the size at which 3 bps * size/depth reaches 5 bps).
_BPS_PER_DEPTH = 3
# What held when executions did not yet state it among their rules.
_STALE_SECONDS = 120
_LARGEST_SHARE = Fraction(5, 3)

_EXACT = Context(prec=200, traps=[Inexact, InvalidOperation])
_ROUNDING = Context(prec=200, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation])
_FEE_DIGITS = Decimal("0.00000001")
_BPS_DIGITS = Decimal("0.000001")
_ZERO = Decimal(0)

_Level = tuple[Decimal, Decimal]


class _Shown:
    """What one symbol offers one side during one batch: orders of the batch use it up."""

    def __init__(self, liquidity: Liquidity | None, side: Side, at: datetime, longest_age: timedelta) -> None:
        self.refusal = _refusal(liquidity, side, at, longest_age)
        self.depth = _ZERO
        self.traded = _ZERO  # bounded slippage: what earlier orders of the batch took
        self.levels: list[_Level] = []  # best first, as used up so far
        if isinstance(liquidity, Depth):
            self.depth = liquidity.quantity
        elif liquidity is not None:
            self.levels = _far_side(liquidity, side)


class PaperVenue:
    """Fills market orders as a taker: walks a recorded or simulated book, or bounds the slippage without one.

    ``fee_bps`` is charged on each fill's notional; ``slippage_floor_bps`` and ``slippage_cap_bps`` apply only where
    there is no book. Displayed liquidity older than ``stale_mark_seconds`` is not traded against. The venue has no
    state: the same orders, liquidity and time always give the same executions.
    """

    def __init__(
        self,
        fee_bps: Decimal,
        slippage_floor_bps: Decimal,
        slippage_cap_bps: Decimal,
        stale_mark_seconds: Decimal | int = _STALE_SECONDS,
    ) -> None:
        if not (fee_bps.is_finite() and fee_bps >= 0):
            raise ValueError(f"fee_bps must be >= 0, got {fee_bps}")
        if not 0 <= slippage_floor_bps <= slippage_cap_bps < 10_000:
            raise ValueError(f"need 0 <= slippage floor <= cap < 10000, got {slippage_floor_bps}, {slippage_cap_bps}")
        self._fee_bps = fee_bps
        self._floor_bps = Fraction(slippage_floor_bps)
        self._cap_bps = Fraction(slippage_cap_bps)
        self._longest_age = timedelta(seconds=int(stale_mark_seconds))

    def execute(
        self, orders: Sequence[Order], liquidity: Callable[[str], Liquidity | None], at: datetime
    ) -> list[Execution]:
        """Executions of ``orders``, in their order, all at instant ``at``.

        ``liquidity`` is asked once a symbol; what one order takes, the next of the same side no longer finds. What
        cannot be filled stays unfilled with a reason: no_liquidity, empty_book, crossed_book (best bid >= best ask),
        stale_book and stale_depth (too old, or more than 5 s ahead of ``at``), no_depth, insufficient_depth,
        price_below_tick (a sale would round down to nothing). Raises ValueError for an order no venue would accept
        or an order id used twice; nothing is executed then.
        """
        identifiers = {order.order_id for order in orders}
        if len(identifiers) < len(orders):
            raise ValueError("order ids repeat within a batch")
        for order in orders:
            _require_valid(order)
        offered = {symbol: liquidity(symbol) for symbol in dict.fromkeys(order.symbol for order in orders)}
        shown: dict[tuple[str, Side], _Shown] = {}
        executions = []
        for order in orders:
            key = (order.symbol, order.side)
            if key not in shown:
                shown[key] = _Shown(offered[order.symbol], order.side, at, self._longest_age)
            executions.append(self._execute(order, shown[key], offered[order.symbol], at))
        return executions

    def _execute(self, order: Order, shown: _Shown, offered: Liquidity | None, at: datetime) -> Execution:
        if shown.refusal:
            return Execution(order, (), order.quantity, "none", None, shown.refusal)
        if isinstance(offered, Book):
            method: Method = "book"
            trades, reason = _walk(order, shown)
        else:
            method = "bounded_slippage"
            trades, reason = self._bounded(order, shown)
        fills = tuple(
            Fill(
                fill_id=f"{order.order_id}#{number}",
                order_id=order.order_id,
                symbol=order.symbol,
                side=order.side,
                quantity=quantity,
                price=price,
                fee=self._fee(price, quantity),
                time=at,
            )
            for number, (price, quantity) in enumerate(trades, start=1)
        )
        filled = _total(trades)
        unfilled = _EXACT.subtract(order.quantity, filled)
        return Execution(order, fills, unfilled, method if fills else "none", _cost_bps(order, trades), reason)

    def _bounded(self, order: Order, shown: _Shown) -> tuple[list[_Level], str]:
        """One fill at mark * (1 +- s), s = min(cap, max(floor, 3 bps * size/depth)), rounded against us.

        ``size`` counts what the batch already took on this side, so that splitting an order is no cheaper.
        """
        room = _LARGEST_SHARE * Fraction(shown.depth) - Fraction(shown.traded)
        quantity = min(order.quantity, _on_grid(room, _step(order)))
        if quantity <= 0:
            return [], "insufficient_depth"
        size = _EXACT.add(shown.traded, quantity)
        slippage = min(self._cap_bps, max(self._floor_bps, _BPS_PER_DEPTH * Fraction(size) / Fraction(shown.depth)))
        toward = slippage if order.side == "BUY" else -slippage
        price = _against_us(Fraction(order.mark) * (1 + toward / 10_000), order)
        if price <= 0:
            return [], "price_below_tick"
        shown.traded = size
        return [(price, quantity)], "" if quantity == order.quantity else "insufficient_depth"

    def _fee(self, price: Decimal, quantity: Decimal) -> Decimal:
        notional = _EXACT.multiply(price, quantity)
        return _EXACT.multiply(notional, self._fee_bps).scaleb(-4, _EXACT).quantize(_FEE_DIGITS, context=_ROUNDING)


def _require_valid(order: Order) -> None:
    if order.side not in ("BUY", "SELL"):
        raise ValueError(f"{order.order_id}: side {order.side!r}")
    for name, value in (("quantity", order.quantity), ("tick_size", order.tick_size), ("mark", order.mark)):
        if not (value.is_finite() and value > 0):
            raise ValueError(f"{order.order_id}: {name} must be finite and positive, got {value}")
    if order.step_size is not None:
        if not (order.step_size.is_finite() and order.step_size > 0):
            raise ValueError(f"{order.order_id}: step_size must be finite and positive, got {order.step_size}")
        if _EXACT.remainder(order.quantity, order.step_size):
            raise ValueError(f"{order.order_id}: quantity {order.quantity} is off the grid of {order.step_size}")


def _refusal(liquidity: Liquidity | None, side: Side, at: datetime, longest_age: timedelta) -> str:
    """Why nothing can be traded against ``liquidity``, or ""."""
    if liquidity is None:
        return "no_liquidity"
    untimely = at - liquidity.as_of > longest_age or liquidity.as_of - at > FUTURE_TOLERANCE
    if isinstance(liquidity, Depth):
        if untimely:
            return "stale_depth"
        return "" if liquidity.quantity.is_finite() and liquidity.quantity > 0 else "no_depth"
    if untimely:
        return "stale_book"
    asks, bids = _far_side(liquidity, "BUY"), _far_side(liquidity, "SELL")
    if not (asks if side == "BUY" else bids):
        return "empty_book"
    return "crossed_book" if asks and bids and bids[0][0] >= asks[0][0] else ""


def _far_side(book: Book, side: Side) -> list[_Level]:
    """The levels an order of ``side`` trades against, best first; a level without price or quantity is none."""
    levels = [
        (price, quantity)
        for price, quantity in (book.asks if side == "BUY" else book.bids)
        if price.is_finite() and quantity.is_finite() and price > 0 and quantity > 0
    ]
    return sorted(levels, key=lambda level: level[0], reverse=side == "SELL")


def _walk(order: Order, shown: _Shown) -> tuple[list[_Level], str]:
    """One trade a level until the order is done or the book is used up."""
    available = _total(shown.levels)
    wanted = min(order.quantity, _on_grid(Fraction(available), _step(order)))
    trades: list[_Level] = []
    remaining = wanted
    while remaining > 0:
        price, size = shown.levels[0]
        rounded = _against_us(Fraction(price), order)
        if rounded <= 0:
            return trades, "price_below_tick"
        quantity = min(size, remaining)
        trades.append((rounded, quantity))
        remaining = _EXACT.subtract(remaining, quantity)
        if quantity == size:
            shown.levels.pop(0)
        else:
            shown.levels[0] = (price, _EXACT.subtract(size, quantity))
    return trades, "" if wanted == order.quantity else "insufficient_depth"


def _step(order: Order) -> Decimal:
    if order.step_size is not None:
        return order.step_size
    return Decimal(1).scaleb(min(0, int(order.quantity.as_tuple().exponent)))


def _on_grid(quantity: Fraction, step: Decimal) -> Decimal:
    """The largest multiple of ``step`` not above ``quantity``."""
    return _EXACT.multiply(math.floor(quantity / Fraction(step)), step)


def _against_us(price: Fraction, order: Order) -> Decimal:
    """``price`` on the order's tick grid: up for a buy, down for a sale."""
    ticks = price / Fraction(order.tick_size)
    return _EXACT.multiply(math.ceil(ticks) if order.side == "BUY" else math.floor(ticks), order.tick_size)


def _total(levels: Sequence[_Level]) -> Decimal:
    total = _ZERO
    for _, quantity in levels:
        total = _EXACT.add(total, quantity)
    return total


def _cost_bps(order: Order, trades: Sequence[_Level]) -> Decimal | None:
    """1e4 * side * (vwap - mark) / mark, 6 decimals half-even: a report, never an input to money."""
    if not trades:
        return None
    at_mark = Fraction(order.mark) * Fraction(_total(trades))
    paid = sum((Fraction(price) * Fraction(quantity) for price, quantity in trades), start=Fraction(0))
    cost = 10_000 * (paid - at_mark) / at_mark
    if order.side == "SELL":
        cost = -cost
    return _ROUNDING.divide(cost.numerator, cost.denominator).quantize(_BPS_DIGITS, context=_ROUNDING)
