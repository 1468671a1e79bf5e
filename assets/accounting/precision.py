"""The number policy: exact Decimals wherever money or an identity is at stake.

``EXACT`` computes without rounding or raises; the quantising functions are the only places where digits
are dropped, once, half-even (reference/trading.md 3.2 gives the reasons for 6 and 8 decimals: a JSON
number with 6 decimals survives a float64 reader up to 1e8, one with 8 does not).
"""

from decimal import (
    ROUND_HALF_EVEN,
    Clamped,
    Context,
    Decimal,
    DivisionByZero,
    Inexact,
    InvalidOperation,
    Overflow,
    Underflow,
)

EXACT = Context(prec=200, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow, Underflow, Clamped])
# Quotients are taken to 60 digits before their one rounding: amounts stay below 1e31, so 20 digits guard it.
_ROUNDING = Context(prec=60, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero, Overflow])

LOGGED = Decimal("0.000001")
POSTED = Decimal("0.00000001")

ZERO = Decimal(0)


def logged(amount: Decimal) -> Decimal:
    """An amount of money as persisted in logs and artifacts: 6 decimals, half-even."""
    return _ROUNDING.quantize(amount, LOGGED)


def posted(amount: Decimal) -> Decimal:
    """A fee or funding payment as posted to the ledger: 8 decimals, half-even; the posted number is the truth."""
    return _ROUNDING.quantize(amount, POSTED)


def divided(numerator: Decimal, denominator: Decimal, digits: int = 12) -> Decimal:
    """A ratio for display and reports, ``digits`` significant digits; never used in a decision."""
    return Context(prec=digits, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero]).divide(
        numerator, denominator
    )


def quotient(numerator: Decimal, denominator: Decimal) -> Decimal:
    """A quotient still to be rounded by ``logged`` or ``posted``: 60 digits, so that its rounding is the only one."""
    return _ROUNDING.divide(numerator, denominator)


def logged_ratio(numerator: Decimal, denominator: Decimal) -> Decimal:
    """``logged(numerator / denominator)``, the quotient taken to 60 digits first."""
    return logged(quotient(numerator, denominator))
