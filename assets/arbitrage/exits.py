"""When a trade is left: the brief's conditions, measured on the sides at which the trade would really be closed.

Unrealised P&L is net: both legs closed at the opposite touch, the fees paid and those still to pay, and the funding so
far. The loss limit measures from what the entry was known to cost; taken literally, a position that has just paid its
fees would stop out on its first tick.
"""

from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from assets.accounting.precision import EXACT, posted
from assets.arbitrage.model import ExitReason
from assets.arbitrage.rules import Rules
from resources.feed import UNITS, to_units

_MONEY = UNITS**3  # a price times a quantity times a fee, all in integer units, is this many to one of quote currency


class Holding(NamedTuple):
    """What is held of a trade and what it cost so far.

    ``long_quantity`` and ``short_quantity`` in integer units, neither negative; ``spent``: all purchases of the trade
    less all its sales, in units squared; ``charges`` = fees paid - funding received, quote currency. ``long_fee`` and
    ``short_fee``: the taker fees of leaving, fractions of notional.
    """

    long_quantity: int
    short_quantity: int
    spent: int
    charges: Decimal
    long_fee: Decimal
    short_fee: Decimal


class ExitWatch(NamedTuple):
    """The two P&L conditions of one trade as integer comparisons, for every quote of either leg.

    ``long_bid * long_weight - short_ask * short_weight`` reaches ``target`` or falls to ``limit``.
    """

    long_weight: int
    short_weight: int
    constant: int
    target: int
    limit: int

    def unrealized(self, long_bid: int, short_ask: int) -> Decimal:
        """Net P&L of closing both legs at these prices (integer units), quote currency, 8 decimals."""
        money = long_bid * self.long_weight - short_ask * self.short_weight + self.constant
        return posted(EXACT.divide(Decimal(money), Decimal(_MONEY)))


def exit_watch(holding: Holding, projected_profit: Decimal, entry_unrealized: Decimal, rules: Rules) -> ExitWatch:
    """Prepare the comparisons; ``exit_conditions`` says what they mean.

    Raises ValueError when a fee is finer than 1e-10 or ``projected_profit`` is not positive: target and limit would
    both hold at once.
    """
    if projected_profit <= 0:
        raise ValueError(f"a trade projected to earn {projected_profit} has neither target nor limit")
    constant = -holding.spent * UNITS - int(EXACT.multiply(holding.charges, Decimal(_MONEY)))
    target = Fraction(rules.profit_target) * Fraction(projected_profit) * _MONEY - constant
    limit = (Fraction(entry_unrealized) - Fraction(rules.loss_limit) * Fraction(projected_profit)) * _MONEY - constant
    return ExitWatch(
        holding.long_quantity * (UNITS - to_units(holding.long_fee)),
        holding.short_quantity * (UNITS + to_units(holding.short_fee)),
        constant,
        -(-target.numerator // target.denominator),
        limit.numerator // limit.denominator,
    )


def exit_conditions(
    watch: ExitWatch, long_bid: int, short_ask: int, funding_delta: Decimal | None, rules: Rules
) -> tuple[ExitReason, ...]:
    """All conditions that hold at fresh quotes, the one that acts first (trading.md 3.5).

    ``loss_limit``: unrealised - entry unrealised <= -0.3 * projected. ``profit_target``: unrealised >= 0.9 * projected.
    ``funding_convergence``: the signed difference of rates is known and below the floor. All inclusive but the last.
    """
    value = long_bid * watch.long_weight - short_ask * watch.short_weight
    conditions = []
    if value <= watch.limit:
        conditions.append(ExitReason.LOSS_LIMIT)
    if value >= watch.target:
        conditions.append(ExitReason.PROFIT_TARGET)
    if funding_delta is not None and funding_delta < rules.funding_floor:
        conditions.append(ExitReason.FUNDING_CONVERGENCE)
    return tuple(conditions)
