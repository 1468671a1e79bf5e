"""Numbers and durations as text: true minus, explicit sign, cents apart, missing shown as missing.

Pure; the browser shows these texts and keeps the raw number only for sorting. Ages alone are counted in the
browser, because they must go on rising when this process is dead.
"""

import math
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple

MISSING = "—"
MINUS = "−"
_PLUS = "+"

Number = Decimal | float | int

# Above this a number would not fit a card with its cents, and cents say nothing.
_NO_CENTS_FROM = Decimal(10) ** 9

# The power of ten from which a ratio's percentage is written with an exponent: its digits could not be counted.
_NO_PERCENT_FROM = 6


class Split(NamedTuple):
    """A number in two tones: ``whole`` units and the quieter ``rest`` (cents), "" when there is none."""

    whole: str
    rest: str

    @property
    def text(self) -> str:
        return self.whole + self.rest


def money(value: Number | None, *, signed: bool = False) -> Split:
    """An amount in the reporting currency, two decimals, grouped: ``1,004,870`` and ``.38``; none from 1e9 on."""
    number = _decimal(value)
    if number is None:
        return Split(MISSING, "")
    if abs(number) >= _NO_CENTS_FROM:
        return Split(_signed(number, 0, signed), "")
    text = _signed(number, 2, signed)
    return Split(text[:-3], text[-3:])


def whole_money(value: Number | None, *, signed: bool = False) -> str:
    """An amount in whole units of the reporting currency: ``75,060``."""
    number = _decimal(value)
    return MISSING if number is None else _signed(number, 0, signed)


def price(value: Number | None) -> str:
    """A price with the decimals its size needs: five significant digits, at least two and at most twelve decimals."""
    number = _decimal(value)
    if number is None:
        return MISSING
    return _signed(number, _decimals(number, significant=5, least=2, most=12), False)


def quantity(value: Number | None) -> str:
    """A signed quantity: three decimals around one, none in the millions, more for tiny ones."""
    number = _decimal(value)
    if number is None:
        return MISSING
    if abs(number) >= 1_000_000:
        return _signed(number, 0, True)
    return _signed(number, _decimals(number, significant=3, least=3, most=8), True)


def percent(ratio: Number | None, *, signed: bool = True, decimals: int = 2) -> str:
    """A ratio as a percentage: 0.0049 is ``+0.49%``, 2e7 is ``+2.0e9%``."""
    share = _decimal(ratio)
    if share is None:
        return MISSING
    if share and share.adjusted() >= _NO_PERCENT_FROM:
        return number(share * 100, signed=signed, significant=2) + "%"
    return _signed(share * 100, decimals, signed) + "%"


def basis_points(ratio: Number | None) -> str:
    """A ratio in basis points with one decimal, without the unit: 0.00132 is ``13.2``."""
    number = _decimal(ratio)
    return MISSING if number is None else _signed(number * 10_000, 1, False)


def ratio(value: Number | None, *, signed: bool = True) -> str:
    """A plain ratio with two decimals: ``+0.28``."""
    number = _decimal(value)
    return MISSING if number is None else _signed(number, 2, signed)


def number(value: Number | None, *, signed: bool = False, significant: int = 3) -> str:
    """A number of unknown size: ``0.0123``, ``4,210``, and ``1.2e−7`` where plain digits would not be read."""
    figure = _decimal(value)
    if figure is None:
        return MISSING
    if not figure or -4 <= figure.adjusted() < 6:
        return _signed(figure, _decimals(figure, significant=significant, least=0, most=7), signed)
    mantissa, _, exponent = f"{abs(figure):.{significant - 1}e}".partition("e")
    sign = MINUS if figure < 0 else _PLUS if signed else ""
    return f"{sign}{mantissa}e{int(exponent)}".replace("-", MINUS)


def axis_value(value: float, step: float) -> str:
    """A tick label of an axis whose ticks are ``step`` apart: as many decimals as the step needs, 1e9 as ``bn``."""
    unit, suffix = (1e9, " bn") if abs(value) >= 1e9 else (1.0, "")
    scaled = step / unit
    decimals = next(places for places in range(10) if math.isclose(round(scaled, places), scaled) or places == 9)
    return _signed(Decimal(str(value / unit)), decimals, False) + suffix


def axis_percent(ratio: float) -> str:
    """A tick label of a drawdown axis: ``−1.0%``, and ``0%`` at the top."""
    if abs(ratio) < 1e-12:
        return "0%"
    scaled = abs(ratio) * 100
    decimals = next(places for places in range(1, 10) if math.isclose(round(scaled, places), scaled) or places == 9)
    return _signed(Decimal(str(ratio * 100)), decimals, False) + "%"


def duration(seconds: float) -> str:
    """A span in its largest two units: ``41 s``, ``7 min``, ``3 h 05 min``, ``2 d 4 h``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min" if minutes >= 10 or not rest else f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes:02d} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h"


def clock_time(instant: datetime, *, today: datetime, seconds: bool = False) -> str:
    """``00:41 UTC``; with the day in front when it is not today's: ``19 Nov 00:41 UTC``."""
    instant = instant.astimezone(UTC)
    text = f"{instant:%H:%M:%S}" if seconds else f"{instant:%H:%M}"
    day = "" if instant.date() == today.astimezone(UTC).date() else f"{instant.day:02d} {instant:%b} "
    year = "" if instant.year == today.year or not day else f"{instant.year} "
    return f"{day}{year}{text} UTC"


def short_hash(sha256: str) -> str:
    """``9f2c…e1``: enough of a hash to recognise it by."""
    return sha256 if len(sha256) <= 8 else f"{sha256[:4]}…{sha256[-2:]}"


def sign_of(value: Number | None) -> int:
    """-1, 0 or 1 as shown; 0 when missing."""
    number = _decimal(value)
    return 0 if number is None else (number > 0) - (number < 0)


def _decimal(value: Number | None) -> Decimal | None:
    """None for a missing, infinite or undefined number."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    number = value if isinstance(value, Decimal) else Decimal(str(value))
    return number if number.is_finite() else None


def _decimals(number: Decimal, *, significant: int, least: int, most: int) -> int:
    if not number:
        return least
    return min(most, max(least, significant - 1 - number.adjusted()))


def _signed(number: Decimal, decimals: int, explicit: bool) -> str:
    text = f"{abs(number):,.{decimals}f}"
    if number < 0 and any(digit in "123456789" for digit in text):
        return MINUS + text
    # What rounds to zero has no sign: "-0.00" would claim a loss nobody can see.
    return _PLUS + text if explicit and any(digit in "123456789" for digit in text) else text
