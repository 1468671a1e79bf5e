"""What moving volatility changes in the optimal rate: the fast and the slow correction (arXiv 2507.17162, and the
brief's two "kappa rules"; neither has anything to do with the forecast's decay, which the paper calls kappa).

Fast factor: sigma^2 = Y with dY = (1 / eps) theta (mu - Y) dt + (1 / sqrt eps) a(Y) dW. To first order in eps the value
gains eps (gamma / 2) phi(y) q^2 with phi = -(y - mu) / theta, whatever a(Y) and its correlation to the forecast, so the
rate gains -eps gamma (y - mu) q / (theta K). That is a term in the position, added to u*: when variance is high the
desk trades faster towards a smaller aim. The error is of order eps^2.

Slow factor: sigma^2 = f(Z) with dZ = delta c(Z) dt + sqrt(delta) g(Z) dW and correlation r between W and the forecast's
noise. To order sqrt(delta) the value gains Bq q + Bl l + Bx x and the rate sqrt(delta) (Bq + lambda Bl) / K, where,
with C = r sqrt(eta) g dsigma^2/dz,

    rho Bq = cq (Bq + lambda Bl) / K + C dAqx,    (rho + beta) Bl = cl (Bq + lambda Bl) / K + C dAxl,
    (rho + kappa) Bx = cx (Bq + lambda Bl) / K + C dAxx,

d being the derivative by sigma^2, taken exactly by differentiating the coefficients' equations. The speed stays, the
aim shifts, and nothing happens where the correlation is zero.
"""

import math
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np

from assets.research.bad_input import BadInput, Floats, finite
from assets.research.trading.coefficients import Coefficients, variance_sensitivity

# Fewer daily variances than this say nothing about how fast variance returns.
MIN_DAYS = 60
# The first-order fast term may take at most this share of the speed, which it does at zero variance.
_LARGEST_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class FastFactor:
    """timescale: eps. mean_reversion: theta. Variance returns to the model's variance at theta / eps per day."""

    timescale: float
    mean_reversion: float

    def __post_init__(self) -> None:
        _require_numbers(self)
        if self.timescale < 0:
            raise BadInput(f"must not be negative, got {self.timescale}", column="timescale")
        if self.mean_reversion <= 0:
            raise BadInput(f"must be positive, got {self.mean_reversion}", column="mean_reversion")


@dataclass(frozen=True, slots=True)
class SlowFactor:
    """timescale: delta. volatility: g(z). correlation: of the factor's noise with the forecast's, in [-1, 1].
    variance_slope: d sigma^2 / dz. Only sqrt(delta) g r slope matters."""

    timescale: float
    volatility: float
    correlation: float
    variance_slope: float

    def __post_init__(self) -> None:
        _require_numbers(self)
        if self.timescale < 0 or self.volatility < 0:
            raise BadInput("timescale and volatility must not be negative", column="timescale")
        if abs(self.correlation) > 1:
            raise BadInput(f"must lie in [-1, 1], got {self.correlation}", column="correlation")


class SlowCorrection(NamedTuple):
    """Bq, Bl, Bx (order sqrt(delta) left out) and ``rate``, what is added to u*, in fractions of capital per day."""

    on_position: float
    on_impact: float
    on_forecast: float
    rate: float


def fast_speed_up(coefficients: Coefficients, factor: FastFactor, variance: float) -> float:
    """What the fast correction adds to the speed, per day: eps gamma (y - mu) / (theta K), mu the model's variance.

    Raises BadInput where the term at zero variance would consume the whole speed: such a factor is not fast against
    this trading, and the expansion says nothing about it.
    """
    if not variance >= 0 or math.isinf(variance):
        raise BadInput(f"must be a finite number and not negative, got {variance}", column="variance")
    model = coefficients.model
    per_variance = factor.timescale * model.risk_aversion / (factor.mean_reversion * model.trading_cost)
    if per_variance * model.variance >= coefficients.speed:
        raise BadInput("variance does not return fast enough for the fast correction", column="timescale")
    return per_variance * (variance - model.variance)


def fast_correction(coefficients: Coefficients, factor: FastFactor, variance: float, position: float) -> float:
    """What the fast correction adds to u*: -eps gamma (y - mu) q / (theta K), fraction of capital per day."""
    return -fast_speed_up(coefficients, factor, variance) * position


def slow_correction(coefficients: Coefficients, factor: SlowFactor) -> SlowCorrection:
    """Bq, Bl, Bx and the term they add to u*; the two-by-two system reduces to Bq + lambda Bl alone."""
    model, slope = coefficients.model, variance_sensitivity(coefficients)
    cost, impact, discount = model.trading_cost, model.impact_per_trade, model.discount
    on_position, on_impact = coefficients.on_position, coefficients.on_impact
    coupling = factor.correlation * math.sqrt(model.signal_variance) * factor.volatility * factor.variance_slope
    aged = discount + model.impact_decay
    combined = coupling * (slope.qx / discount + impact * slope.xl / aged)
    combined /= 1 - on_position / (cost * discount) - impact * on_impact / (cost * aged)
    return SlowCorrection(
        (on_position * combined / cost + coupling * slope.qx) / discount,
        (on_impact * combined / cost + coupling * slope.xl) / aged,
        (coefficients.on_forecast * combined / cost + coupling * slope.xx) / (discount + model.signal_decay),
        math.sqrt(factor.timescale) * combined / cost,
    )


def longest_timescale(coefficients: Coefficients) -> float:
    """The timescale (days, at a mean reversion of 1) beyond which the first-order term would take more than half of
    the speed and the expansion say nothing."""
    model = coefficients.model
    return _LARGEST_SHARE * coefficients.speed * model.trading_cost / (model.risk_aversion * model.variance)


def estimate_fast_factor(daily_variances: Floats, coefficients: Coefficients) -> FastFactor:
    """A fast factor from ``daily_variances`` (n,), realised variances of consecutive days; our own heuristic.

    An autoregression of order one is assumed. Its coefficient is the autocovariance at two days over that at one,
    which noise in single days' variances leaves alone (the plain autocorrelation would take that noise for fast
    return). Where variance returns too slowly for the expansion, or not at all (a ratio of one and more), the timescale
    is cut so that the term takes at most half of the speed; where an autocovariance is not positive there is nothing
    that lasts and the timescale is zero. The result belongs to these ``coefficients``.
    Raises BadInput on fewer than 60 days or a negative variance.
    """
    variances = _daily(daily_variances, "daily_variances")
    if (variances < 0).any():
        raise BadInput("a variance is negative", column="daily_variances", at=int(np.argmax(variances < 0)))
    longest = longest_timescale(coefficients)
    around = variances - variances.mean()
    one_day, two_days = float(around[1:] @ around[:-1]), float(around[2:] @ around[:-2])
    if one_day <= 0 or two_days <= 0:
        return FastFactor(0.0, 1.0)
    return FastFactor(longest if two_days >= one_day else min(-1 / math.log(two_days / one_day), longest), 1.0)


def estimate_slow_factor(slow_variances: Floats, forecasts: Floats) -> SlowFactor:
    """A slow factor from the daily values of a slow variance and of the forecast, both (n,); our own heuristic.

    The factor is the slow variance itself (slope one) with delta = 1: its volatility per day is the standard deviation
    of the daily changes, its correlation that of these changes with the forecast's. Zero where either never moves.
    Raises BadInput on fewer than 60 days or unequal lengths.
    """
    variances, expected = _daily(slow_variances, "slow_variances"), _daily(forecasts, "forecasts")
    if variances.shape != expected.shape:
        raise BadInput(f"has {expected.size} days, the variances {variances.size}", column="forecasts")
    moves, news = np.diff(variances), np.diff(expected)
    spread, surprise = float(moves.std()), float(news.std())
    together = float(np.mean((moves - moves.mean()) * (news - news.mean())))
    correlation = together / (spread * surprise) if spread > 0 and surprise > 0 else 0.0
    return SlowFactor(1.0, spread, max(-1.0, min(1.0, correlation)), 1.0)


def _daily(values: Floats, name: str) -> Floats:
    series = finite(values, name)
    if series.ndim != 1 or series.size < MIN_DAYS:
        raise BadInput(f"needs at least {MIN_DAYS} days in one dimension, got shape {series.shape}", column=name)
    return series


def _require_numbers(factor: FastFactor | SlowFactor) -> None:
    for field in fields(factor):
        value = getattr(factor, field.name)
        if not math.isfinite(value):
            raise BadInput(f"{value} is not a finite number", column=field.name)
