"""Skew and term structure of one snapshot of an option book, by implied volatilities of the Black-76 formula.

A book is a table with one row an option: ``expiry_utc``, ``strike``, ``kind`` (C or P), ``forward`` (the expiry's own
underlying) and ``price``, all in quote currency, prices undiscounted (rate 0). Volatilities are annual, in percent
points, on a year of 365 days. Conventions (ours, after market practice): out-of-the-money options only; forward delta
N(d1) with each option's own volatility; volatility linear in delta at 0.25 and -0.25, linear in log strike at the
forward; between expiries total variance is linear in time, the risk reversal itself is.
"""

from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtr

BOOK_COLUMNS = ("expiry_utc", "strike", "kind", "forward", "price")
SMILE_COLUMNS = ("expiry_utc", "days", "forward", "quotes", "atm_iv", "iv_25c", "iv_25p", "rr25")
# The maturity of the risk reversal that the contract calls rr25d; the brief leaves it open.
RISK_REVERSAL_DAYS = 30.0
SLOPE_DAYS = (7.0, 30.0)
_DAYS_PER_YEAR = 365.0
_DELTA = 0.25
_LOWEST_VOLATILITY, _HIGHEST_VOLATILITY = 1e-4, 50.0
# Each halving wins a bit: 60 of them end below a double's resolution at these brackets.
_HALVINGS = 60

_Floats = npt.NDArray[np.float64]


def black_76(
    forward: _Floats, strike: _Floats, years: _Floats, volatility: _Floats, call: npt.NDArray[np.bool_]
) -> _Floats:
    """Undiscounted price of European options on a forward; ``volatility`` annual as a fraction, ``years`` > 0."""
    deviation = volatility * np.sqrt(years)
    upper = np.log(forward / strike) / deviation + deviation / 2
    sign = np.where(call, 1.0, -1.0)
    price: _Floats = sign * (forward * ndtr(sign * upper) - strike * ndtr(sign * (upper - deviation)))
    return price


def implied_volatility(
    price: _Floats, forward: _Floats, strike: _Floats, years: _Floats, call: npt.NDArray[np.bool_]
) -> _Floats:
    """The volatility (annual, a fraction) at which Black-76 gives ``price``; NaN for a price no volatility explains."""
    low = np.full_like(price, _LOWEST_VOLATILITY)
    high = np.full_like(price, _HIGHEST_VOLATILITY)
    explained = (price > black_76(forward, strike, years, low, call)) & (
        price < black_76(forward, strike, years, high, call)
    )
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        above = black_76(forward, strike, years, middle, call) < price
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.where(explained, (low + high) / 2, np.nan)


def smiles(book: pd.DataFrame, as_of: datetime) -> pd.DataFrame:
    """One row an expiry after ``as_of``, soonest first; columns SMILE_COLUMNS.

    A volatility that the quotes do not enclose (no option beyond the 25 delta, one side of the forward only) is NaN:
    nothing is extrapolated. Raises ValueError for a book of other columns, stamps without UTC and numbers that cannot
    be.
    """
    if tuple(book.columns) != BOOK_COLUMNS:
        raise ValueError(f"columns are {list(book.columns)}, not {list(BOOK_COLUMNS)}")
    if as_of.utcoffset() != timedelta(0):
        raise ValueError(f"column as_of: {as_of!r} is not an instant in UTC")
    if str(getattr(book["expiry_utc"].dtype, "tz", None)) != "UTC":
        raise ValueError("column expiry_utc: expiries carry no UTC time zone")
    forward, strike, price = (book[name].to_numpy(dtype=np.float64) for name in ("forward", "strike", "price"))
    for name, values, right in (
        ("forward", forward, forward > 0),
        ("strike", strike, strike > 0),
        ("price", price, price >= 0),
    ):
        wrong = np.flatnonzero(~(right & np.isfinite(values)))
        if len(wrong):
            raise ValueError(f"column {name} at index {wrong[0]}: {values[wrong[0]]} cannot be a {name}")
    call = (book["kind"] == "C").to_numpy()
    if not (call | (book["kind"] == "P").to_numpy()).all():
        raise ValueError("column kind: neither C nor P")
    days = np.asarray((book["expiry_utc"] - pd.Timestamp(as_of)) / timedelta(days=1), dtype=np.float64)
    chosen = (days > 0) & np.where(call, strike >= forward, strike < forward)
    rows = []
    for expiry, places in book.loc[chosen].groupby("expiry_utc").indices.items():
        at = np.flatnonzero(chosen)[places]
        rows.append((expiry, *_smile(days[at], forward[at], strike[at], price[at], call[at])))
    return pd.DataFrame(rows, columns=list(SMILE_COLUMNS))


def _smile(
    days: _Floats, forward: _Floats, strike: _Floats, price: _Floats, call: npt.NDArray[np.bool_]
) -> tuple[float, ...]:
    years = days / _DAYS_PER_YEAR
    volatility = implied_volatility(price, forward, strike, years, call)
    deviation = volatility * np.sqrt(years)
    delta = ndtr(np.log(forward / strike) / deviation + deviation / 2) - ~call
    known = np.isfinite(volatility)
    percent = 100 * volatility
    atm = _interpolated(0.0, np.log(strike / forward)[known], percent[known])
    upside = _interpolated(_DELTA, delta[known & call], percent[known & call])
    downside = _interpolated(-_DELTA, delta[known & ~call], percent[known & ~call])
    return float(days[0]), float(forward[0]), int(known.sum()), atm, upside, downside, upside - downside


def at_the_money(table: pd.DataFrame, days: float) -> float:
    """At-the-money volatility at a constant maturity, percent points, from ``smiles``: total variance linear in time.

    Raises ValueError where no expiries enclose the maturity.
    """
    maturities, level = _known(table, "atm_iv")
    return float(np.sqrt(_enclosed(days, maturities, level**2 * maturities, "atm_iv") / days))


def risk_reversal(table: pd.DataFrame, days: float) -> float:
    """25-delta risk reversal (call less put) at a constant maturity, percent points; linear in time, else as above."""
    return _enclosed(days, *_known(table, "rr25"), "rr25")


def option_levels(book: pd.DataFrame, as_of: datetime) -> pd.DataFrame:
    """One row (date_utc, rr25d, term_slope_7d_30d): the day of ``as_of``, its risk reversal and its slope, 7 days over
    30 days. Raises ValueError for a book that does not tell both."""
    table = smiles(book, as_of)
    near, far = (at_the_money(table, days) for days in SLOPE_DAYS)
    day = pd.DatetimeIndex([pd.Timestamp(as_of).floor("D")]).as_unit("us")
    return pd.DataFrame(
        {"date_utc": day, "rr25d": [risk_reversal(table, RISK_REVERSAL_DAYS)], "term_slope_7d_30d": [near - far]}
    )


def _known(table: pd.DataFrame, column: str) -> tuple[_Floats, _Floats]:
    """(days, values) of the expiries that have the value."""
    days, values = (table[name].to_numpy(dtype=np.float64) for name in ("days", column))
    there = np.isfinite(values)
    return days[there], values[there]


def _enclosed(days: float, maturities: _Floats, values: _Floats, column: str) -> float:
    value = _interpolated(days, maturities, values)
    if np.isnan(value):
        raise ValueError(f"column {column}: no expiries on both sides of {days:g} days")
    return value


def _interpolated(at: float, places: _Floats, values: _Floats) -> float:
    """Linear between the neighbours of ``at``; NaN outside of ``places``."""
    order = np.argsort(places)
    return float(np.interp(at, places[order], values[order], left=np.nan, right=np.nan)) if len(order) else float("nan")
