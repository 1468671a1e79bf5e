"""What a funding settlement pays to one leg."""

from decimal import Decimal

from assets.accounting.precision import EXACT, posted
from assets.arbitrage.model import Leg


def funding_payment(leg: Leg, quantity: int, mark: int, rate: Decimal) -> Decimal:
    """``-signed quantity * mark * rate``, 8 decimals, positive when received: longs pay a positive rate.

    ``quantity`` is what the leg held strictly before the settlement, integer units, and not negative; ``mark`` in
    integer units. Raises ValueError for a negative quantity, a mark that is not positive, or a rate that is not finite.
    """
    if quantity < 0 or mark <= 0 or not rate.is_finite():
        raise ValueError(f"no funding on a quantity of {quantity} at mark {mark} and rate {rate}")
    notional = Decimal(quantity * mark).scaleb(-20, context=EXACT)
    return posted(EXACT.multiply(notional, rate if leg is Leg.SHORT else rate.copy_negate()))
