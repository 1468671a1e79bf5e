"""The paper venue: what an order would have filled at, exactly, from displayed or estimated liquidity."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

Side = Literal["BUY", "SELL"]


@dataclass(frozen=True, slots=True)
class Order:
    """A market order. ``quantity`` > 0 in contract units, on the symbol's grid; ``tick_size`` is the price
    grid on which fills are rounded against us; ``mark`` is the arrival price slippage is measured from."""

    order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    reduce_only: bool
    tick_size: Decimal
    mark: Decimal


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
    method: Literal["book", "bounded_slippage", "none"]
    slippage_bps: Decimal | None
    reason: str
