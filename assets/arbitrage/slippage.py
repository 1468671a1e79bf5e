"""What a market order pays beyond the best price (Property 4 of the brief), in integers and always against us.

Applied slippage = max(floor, 3 bps * size / depth, what walking the displayed book costs), at most the cap. The first
two are the brief's; the third keeps a market fill from being better than the book it takes from, and where the cap
cuts it off (or the levels end before the order does) the fill is flagged ``capped``. Above size / depth = 5/3 the
brief's floor and cap contradict each other (reference/trading.md 3.5): no price is given there.

The slippage in basis points is what is applied *before* the price is rounded to the tick. Rounding is against us as
well, so the price can be worse than ``bps`` says by less than one tick, and never better.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from assets.arbitrage.model import OrderSide
from assets.arbitrage.order_book import Level, walk
from assets.arbitrage.rules import Rules

# Basis points are kept as whole numbers of 1e-8 bps, rounded up: the log then states exactly what was applied.
_DIGITS = 8
_PER_BPS = 10**_DIGITS
_WHOLE = 10_000 * _PER_BPS  # 10,000 bps


class InsufficientDepthError(ValueError):
    """More is asked than the slippage rule can price: nothing is displayed, or size / depth is above the bound."""


class Slipped(NamedTuple):
    """``price`` in units on the tick grid; ``bps`` applied before rounding; ``walked_bps`` None without a book."""

    price: int
    bps: Decimal
    walked_bps: Decimal | None
    capped: bool


class SlippageModel:
    """The rule with the constants of ``rules``."""

    def __init__(self, rules: Rules) -> None:
        self._floor = _scaled(rules.slippage_floor_bps)
        self._cap = _scaled(rules.slippage_cap_bps)
        self._per_depth = _scaled(rules.slippage_per_depth_bps)
        self._share_numerator, self._share_denominator = rules.max_depth_share

    def price(
        self, levels: Sequence[Level], size: int, side: OrderSide, other_best: int, tick: int, has_book: bool
    ) -> Slipped:
        """The fill price of a market order of ``side`` for ``size`` against ``levels`` (best first).

        ``has_book`` says that the levels are a book and not just its top: only then are they walked. Raises
        InsufficientDepthError, and BookError as ``walk`` does.
        """
        walked = walk(levels, size, side, other_best)
        depth = sum(shown for _, shown in levels)
        if depth <= 0 or size * self._share_denominator > depth * self._share_numerator:
            raise InsufficientDepthError(f"{size} asked where {depth} is displayed")
        best = levels[0][0]
        sign = side.sign
        applied = max(self._floor, -(-self._per_depth * size // depth))
        walked_scaled, capped = None, False
        if has_book:
            # Rounded up like the applied one, so that the two compare as the exact numbers do.
            beyond = sign * (walked.cost - best * walked.filled)
            walked_scaled = -(-beyond * _WHOLE // (best * walked.filled))
            capped = walked_scaled > self._cap or walked.unfilled > 0
            applied = max(applied, min(walked_scaled, self._cap))
        slipped = best * (_WHOLE + sign * applied)
        ticks = -(-slipped // (_WHOLE * tick)) if sign > 0 else slipped // (_WHOLE * tick)
        if ticks <= 0:
            raise InsufficientDepthError("the price after slippage is below one tick")
        return Slipped(
            ticks * tick,
            _bps(applied),
            None if walked_scaled is None else _bps(walked_scaled),
            capped,
        )


def _scaled(bps: Decimal) -> int:
    scaled = bps.scaleb(_DIGITS)
    if scaled != scaled.to_integral_value():
        raise ValueError(f"{bps} bps is finer than 1e-{_DIGITS}")
    return int(scaled)


def _bps(scaled: int) -> Decimal:
    return Decimal(scaled).scaleb(-_DIGITS)
