"""How much to trade: the brief's formula with its edge cases corrected (trading.md 3.5), on the grid of both venues.

The size is the notional of each leg and the amount of capital reserved: twice the margin a venue without netting asks.
The base quantity is the same on both legs, because only equal quantities hedge each other.
"""

import math
from collections.abc import Iterable
from decimal import ROUND_DOWN, Context, Decimal
from typing import NamedTuple

from assets.accounting.precision import EXACT, POSTED, ZERO
from assets.arbitrage.rules import Rules
from resources.feed import UNITS, to_units

# Sizes are cut off at 8 decimals, never rounded up: a size may not exceed what it is a share of.
_CUTTING = Context(prec=60, rounding=ROUND_DOWN)
_BPS = Decimal(10_000)
_FILLS = Decimal(4)  # both legs in, both legs out
# One part in two of what is displayed is traded at most: sizes shrink between entry and a hedge, and what the books do
# not show then cannot be hedged in time. A market order is priced up to 5/3 of what is displayed, so that it may shrink
# to three tenths.
_DISPLAYED_PARTS = 2
# On the way out a leg that is left behind can only be closed further, so less is dared: one part in four where limits
# wait for as long as a hedge may take, and one in eight where both legs go to the market at once. Such a slice fills as
# long as three fortieths (3/5 of an eighth) of what was displayed are still there when it arrives.
_QUOTED_PARTS = 4
_SLICED_PARTS = 8


class Sized(NamedTuple):
    """``size`` in quote currency, or the reason why there is none: exactly one of them is set."""

    size: Decimal
    refusal: str


class Quantity(NamedTuple):
    """``quantity`` in integer units of the base asset for each leg, or the reason why it is 0; ``size`` is reserved."""

    quantity: int
    size: Decimal
    refusal: str


def calculate_position_size(
    spread_bps: Decimal, available_capital: Decimal, fees_bps: Decimal, funding_cost_bps: Decimal, rules: Rules
) -> Sized:
    """``(spread - fees - funding) / spread * available``, at most a share of what is available, at least the minimum.

    What the trade may cost is kept back beside the size: ``fees_bps``, which are four taker fees, and the slippage cap
    on each of the four fills. Refusals: ``no_edge`` (costs eat the spread; the brief's formula would trade),
    ``below_minimum`` (the share is less than the minimum and the policy is ``reject``), ``insufficient_capital`` (less
    is available than the size and those costs). With less than twice the minimum available the minimum wins over the
    share unless the policy is ``reject``.
    """
    net = EXACT.subtract(EXACT.subtract(spread_bps, fees_bps), funding_cost_bps)
    if spread_bps <= 0 or net <= 0:
        return Sized(ZERO, "no_edge")
    if available_capital <= 0:
        return Sized(ZERO, "insufficient_capital")
    base = _CUTTING.divide(EXACT.multiply(net, available_capital), spread_bps)
    costs_bps = EXACT.add(fees_bps, EXACT.multiply(_FILLS, rules.slippage_cap_bps))
    affordable = _CUTTING.divide(EXACT.multiply(available_capital, _BPS), EXACT.add(_BPS, costs_bps))
    capped = min(base, EXACT.multiply(available_capital, rules.max_capital_share), affordable)
    if capped < rules.min_trade_usd and rules.min_size_policy == "reject":
        return Sized(ZERO, "below_minimum")
    size = max(capped, rules.min_trade_usd)
    if size > affordable:
        return Sized(ZERO, "insufficient_capital")
    return Sized(_CUTTING.quantize(size, POSTED), "")


def common_grid(steps: Iterable[Decimal]) -> int:
    """The smallest quantity, in integer units, that is a whole number of every step. Raises ValueError for a step that
    is not positive or finer than 1e-10."""
    grid = 1
    for step in steps:
        units = to_units(step)
        if units <= 0:
            raise ValueError(f"a step of {step} is no grid")
        grid = math.lcm(grid, units)
    return grid


def floor_to(quantity: int, grid: int) -> int:
    """The largest multiple of ``grid`` that does not exceed ``quantity`` (both in integer units, not negative)."""
    return quantity - quantity % grid


def exit_part(held: int, displayed: int, grid: int, at_market: bool) -> int:
    """How much of ``held`` may leave at once where ``displayed`` is the smaller of the two sides that closing takes,
    all in integer units: a share of it on ``grid``, one step where the share is less, 0 where nothing is displayed."""
    share = displayed // (_SLICED_PARTS if at_market else _QUOTED_PARTS)
    return floor_to(min(held, max(share, grid)), grid) if displayed > 0 else 0


def quantity_for(size: Decimal, price: int, grid: int, displayed: int, rules: Rules) -> Quantity:
    """The quantity of each leg for a notional of ``size`` at ``price``, the higher of the two (integer units).

    Never more than half of ``displayed``, the smallest of the sizes on the four sides the trade and its unwinding take:
    what the books do not show cannot be hedged within the time allowed. Refusals: ``insufficient_depth`` (the books
    show less than the smallest trade), ``below_minimum`` (not one step of the common grid).
    """
    if price <= 0:
        raise ValueError(f"no quantity at a price of {price}")
    quantity = int(_CUTTING.multiply(size, Decimal(UNITS * UNITS))) // price
    most = displayed // _DISPLAYED_PARTS
    if quantity > most:
        quantity = most
        shown = Decimal(most * price).scaleb(-20, context=EXACT)
        size = _CUTTING.quantize(shown, POSTED)
        if size < rules.min_trade_usd:
            return Quantity(0, ZERO, "insufficient_depth")
    quantity = floor_to(quantity, grid)
    if quantity <= 0:
        return Quantity(0, ZERO, "below_minimum")
    return Quantity(quantity, size, "")
