"""The impact state of one asset, dl = (lambda u - beta l) dt (arXiv 2507.17162), and lambda from what trades cost.

The state is exact over a step traded at a constant rate. The weekly recalibration has no paper behind it: the brief
asks for it, the estimator is our own heuristic.
"""

import math
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd

from assets.research.bad_input import BadInput, Floats, finite
from assets.research.data.contracts import SLIPPAGE_LOG, require

_BASIS_POINT = 1e-4


def advance(impact: float, rate: float, days: float, *, impact_per_trade: float, impact_decay: float) -> float:
    """The impact (return) after ``days`` of trading ``rate`` (fraction of capital per day) evenly.

    l e^{-beta t} + lambda u (1 - e^{-beta t}) / beta, or l + lambda u t where beta = 0. Raises BadInput on what is not
    finite and on negative ``days``, lambda or beta.
    """
    finite([impact, rate, days, impact_per_trade, impact_decay], "impact")
    for name, value in (("days", days), ("impact_per_trade", impact_per_trade), ("impact_decay", impact_decay)):
        if value < 0:
            raise BadInput(f"must not be negative, got {value}", column=name)
    faded = math.expm1(-impact_decay * days)
    effective_days = -faded / impact_decay if faded else days
    return impact + impact * faded + impact_per_trade * rate * effective_days


@dataclass(frozen=True, slots=True)
class RecalibrationRule:
    """How lambda follows the slippage log; every number is our own choice.

    Rows of the last ``window_days`` count, at least ``min_rows`` of them; the estimate counts against the old value
    like ``prior_rows`` rows; one recalibration changes lambda by at most ``largest_factor``, and ``every_days`` passes
    between two.
    """

    every_days: int = 7
    window_days: int = 28
    min_rows: int = 10
    prior_rows: int = 20
    largest_factor: float = 2.0


@dataclass(frozen=True, slots=True)
class Recalibration:
    """``old`` and ``new`` lambda; ``estimate`` what the rows alone say (None where they were not asked); ``calibrated``
    the day on which ``new`` was found, ``as_of`` where it is now; ``reason`` in words for a person."""

    old: float
    new: float
    estimate: float | None
    rows_used: int
    calibrated: date | None
    reason: str


def recalibrate(
    impact_per_trade: float,
    slippage: pd.DataFrame,
    *,
    symbol: str,
    capital: float,
    as_of: date,
    last: date | None,
    rule: RecalibrationRule,
) -> Recalibration:
    """Lambda of ``symbol`` from the slippage log: our own weekly heuristic, not the paper's.

    ``slippage`` keeps the SLIPPAGE_LOG contract; its size is the traded notional in the unit of ``capital`` and its
    est_impact_bp is positive where the price moved against the trade, whichever side that was. Only days before
    ``as_of`` count, so that a decision knows nothing of its own day. The estimate is the line through the origin with
    the least absolute error, impact = lambda size / capital: the median of impact per unit traded, weighted by size.
    Nearly half of the traded size may be wrong without ruining it. It is shrunk towards the old value, and bounded.

    Nothing changes, and ``reason`` says why, before a week has passed since ``last``, with too few rows, and where
    lambda is 0 (impact is not modelled). Raises BadInput where the log breaks its contract.
    """
    if not (math.isfinite(impact_per_trade) and impact_per_trade >= 0):
        raise BadInput(f"must be a number and not negative, got {impact_per_trade}", column="impact_per_trade")
    if not (math.isfinite(capital) and capital > 0):
        raise BadInput(f"must be positive, got {capital}", column="capital")

    def unchanged(reason: str, rows: int = 0) -> Recalibration:
        return Recalibration(impact_per_trade, impact_per_trade, None, rows, last, reason)

    if impact_per_trade == 0:
        return unchanged("impact is not modelled")
    if last is not None and (as_of - last).days < rule.every_days:
        return unchanged(f"next due {last + timedelta(days=rule.every_days)}")
    if not slippage.empty:
        require(slippage, SLIPPAGE_LOG)
    end = pd.Timestamp(as_of, tz="UTC")
    recent = (slippage["date_utc"] >= end - timedelta(days=rule.window_days)) & (slippage["date_utc"] < end)
    used = slippage[recent & (slippage["symbol"] == symbol)]
    traded, impacts = used["size"].to_numpy(np.float64), used["est_impact_bp"].to_numpy(np.float64) * _BASIS_POINT
    if traded.size < rule.min_rows:
        return unchanged(f"{traded.size} rows in {rule.window_days} days, {rule.min_rows} needed", traded.size)

    estimate = _weighted_median(impacts * capital / traded, traded)
    weight = traded.size / (traded.size + rule.prior_rows)
    shrunk = impact_per_trade + weight * (estimate - impact_per_trade)
    lowest, highest = impact_per_trade / rule.largest_factor, impact_per_trade * rule.largest_factor
    new = min(max(shrunk, lowest), highest)
    bounded = f", bounded to a factor of {rule.largest_factor:g}" if new != shrunk else ""
    reason = f"{traded.size} rows, weight {weight:.0%}{bounded}"
    return Recalibration(impact_per_trade, new, estimate, traded.size, as_of, reason)


def _weighted_median(values: Floats, weights: Floats) -> float:
    """The value at which half of the weight is reached; the mean of the two neighbours where it falls between."""
    order = np.argsort(values, kind="stable")
    ranked, reached = values[order], np.cumsum(weights[order])
    half = reached[-1] / 2
    place = int(np.searchsorted(reached, half))
    if place + 1 < ranked.size and reached[place] == half:
        return float((ranked[place] + ranked[place + 1]) / 2)
    return float(ranked[place])
