"""From a bias in [-1, 1] to the exposure of the next day.

Units: days, and fractions of capital. The optimal rate (arXiv 2507.17162) wants the forecast as a return per day, so
forecast = bias * scale with the scale in return per day at full bias; a bias alone has no unit. An exposure of 0.5
holds half of the capital's worth of the asset. Scale, model calibration, bias threshold, cap and the half step are our
own; the rate and its two corrections are the paper's.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from assets.research.bad_input import BadInput, Floats, finite
from assets.research.trading.coefficients import Coefficients, TradingModel
from assets.research.trading.corrections import FastFactor, SlowFactor, fast_speed_up, slow_correction
from assets.research.trading.impact import advance

# Brief 1: a bias smaller than this says nothing (its screen used 0.15, its rules 0.2; the rules hold).
BIAS_THRESHOLD = 0.2
# Brief 1: above this ratio of volatility to its long-run level the half step applies, where it is switched on.
HALF_STEP_RATIO = 1.2

# Fewer days than this estimate neither a variance nor what a bias is worth.
MIN_DAYS = 60
# A forecast that lasts longer than a quarter could not be told from one that lasts for ever.
_SLOWEST_DECAY = math.log(2) / 90
# Nothing that lasts less than a quarter of a day can be traded once a day.
_FASTEST_DECAY = 4 * math.log(2)

Stance = Literal["LONG", "SHORT", "NEUTRAL"]


@dataclass(frozen=True, slots=True)
class ForecastScale:
    """What a bias is worth. return_per_day: expected at a bias of 1. decay: per day. innovation_variance: of the
    forecast, return^2 / day^3. days: how many days spoke (0: all of it is configuration)."""

    return_per_day: float
    decay: float
    innovation_variance: float
    days: int


@dataclass(frozen=True, slots=True)
class Preferences:
    """What the desk wants and pays; configuration, not data, so nothing here has a default.

    full_return: return per day that a bias of 1 is taken to promise before any evidence. full_exposure: what to hold,
    in the end, at that promise in calm markets. unit_trade_cost: share of capital it costs to trade the whole capital
    evenly over one day (0.0005: 5 bp; it grows with the square of what is traded). impact_per_trade, impact_decay,
    discount: as in TradingModel.
    """

    full_return: float
    full_exposure: float
    unit_trade_cost: float
    impact_per_trade: float
    impact_decay: float
    discount: float

    def __post_init__(self) -> None:
        for name in ("full_return", "full_exposure", "unit_trade_cost"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise BadInput(f"must be positive, got {value}", column=name)


@dataclass(frozen=True, slots=True)
class Execution:
    """How one asset is traded: everything about a step that is not the state of the day.

    ``cap`` bounds the exposure on either side. ``half_step_ratio`` switches the half step on (HALF_STEP_RATIO is the
    brief's); None, the choice for validation, leaves it off, for the paper's own correction says the opposite: faster
    towards a smaller aim. Raises BadInput on a cap that is not positive and on a fast factor that is not fast against
    this trading.
    """

    coefficients: Coefficients
    scale: ForecastScale
    cap: float
    fast: FastFactor | None
    slow: SlowFactor | None
    half_step_ratio: float | None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.cap) and self.cap > 0):
            raise BadInput(f"must be positive, got {self.cap}", column="cap")
        if self.fast is not None:
            # A factor that is not fast against this trading is refused here, not on the day that shows it.
            fast_speed_up(self.coefficients, self.fast, self.coefficients.model.variance)


@dataclass(frozen=True, slots=True)
class Step:
    """One day's plan, in fractions of capital unless said.

    target: the aim with both corrections, capped. speed: per day, with the fast correction. fast_correction and
    slow_correction: what each adds to u* at the start, per day. planned: exposure at the end of the day. rate: the
    average trading rate, per day. impact_after: impact state (return) at the end. half_step: whether it was halved.
    """

    stance: Stance
    forecast: float
    target: float
    speed: float
    fast_correction: float
    slow_correction: float
    planned: float
    rate: float
    impact_after: float
    half_step: bool


def stance(bias: float, threshold: float = BIAS_THRESHOLD) -> Stance:
    """The side that ``bias`` takes; a bias of exactly the threshold takes one. BadInput outside [-1, 1]."""
    if not -1 <= bias <= 1:
        raise BadInput(f"must lie in [-1, 1], got {bias}", column="bias")
    return "NEUTRAL" if abs(bias) < threshold else "LONG" if bias > 0 else "SHORT"


def forecast_of(bias: float, scale: ForecastScale) -> float:
    """Expected return per day: bias * scale, and zero for a NEUTRAL bias."""
    return 0.0 if stance(bias) == "NEUTRAL" else bias * scale.return_per_day


def plan_step(
    execution: Execution, *, position: float, impact: float, bias: float, variance: float, days: float = 1.0
) -> Step:
    """The exposure after ``days`` of optimal trading from ``position``, and all that led to it.

    The corrected rate is u = speed' (aim' - q), with speed' = speed + fast part and aim' = (cl l + cx x + slow part) /
    (K speed'). Decided once, the aim is held for the step, so the position closes the share 1 - e^{-speed' days} of the
    distance: the rate's exact solution for a constant aim. The trade is then taken as even over the step, and the
    impact state advances by exactly that. Against continuous observation the error is of first order in ``days``.

    ``impact`` and ``bias`` are those at the decision, ``variance`` the asset's current variance of daily returns; the
    long-run one is the coefficients' model's. Raises BadInput on what is not finite or out of range.
    """
    finite(
        [[position, impact, bias, variance, days]], "step", columns=("position", "impact", "bias", "variance", "days")
    )
    if variance < 0:
        raise BadInput(f"must not be negative, got {variance}", column="variance")
    if days <= 0:
        raise BadInput(f"must be positive, got {days}", column="days")
    coefficients, model = execution.coefficients, execution.coefficients.model
    forecast = forecast_of(bias, execution.scale)
    speed_up = 0.0 if execution.fast is None else fast_speed_up(coefficients, execution.fast, variance)
    slow = 0.0 if execution.slow is None else slow_correction(coefficients, execution.slow).rate
    speed = coefficients.speed + speed_up
    target = _capped((coefficients.rate(0.0, impact, forecast) + slow) / speed, execution.cap)
    planned = _capped(target + (position - target) * math.exp(-speed * days), execution.cap)

    ratio = execution.half_step_ratio
    half_step = ratio is not None and is_turbulent(variance, model.variance, ratio)
    if half_step:
        planned = half_added(position, planned)
    rate = (planned - position) / days
    after = advance(impact, rate, days, impact_per_trade=model.impact_per_trade, impact_decay=model.impact_decay)
    return Step(stance(bias), forecast, target, speed, -speed_up * position, slow, planned, rate, after, half_step)


def is_turbulent(variance: float, long_run_variance: float, ratio: float = HALF_STEP_RATIO) -> bool:
    """Whether volatility exceeds ``ratio`` times its long-run level: volatility against volatility (the brief's formula
    sets a volatility against mu, which in its paper is a variance)."""
    return math.sqrt(variance) > ratio * math.sqrt(long_run_variance)


def half_added(position: float, planned: float) -> float:
    """Half of the exposure that a step would add; what it takes away is taken away in full.

    The brief halves the step, without saying which; a desk that leaves a turbulent market at half its speed would carry
    more risk, not less. A step across zero closes in full and opens half.
    """
    if position * planned <= 0:
        return planned / 2
    return position + (planned - position) / 2 if abs(planned) > abs(position) else planned


def estimate_scale(biases: Floats, next_returns: Floats, *, full_return: float, prior_days: int) -> ForecastScale:
    """What a bias has been worth, from n past biases and the returns of the days that followed; our own heuristic.

    The scale is the slope of the line through the origin once ``prior_days`` days at a bias of 1 that each returned
    ``full_return`` are added to the evidence: (sum b r + prior_days full_return) / (sum b^2 + prior_days). So a day
    speaks with the square of its bias, and days of hardly any bias leave the promise as it is, however many there are.
    It is at least zero: a bias that has been wrong is worth nothing, it is not followed backwards.
    The decay is -ln of the biases' autocorrelation of one day, held between a quarter of a day's and a quarter of a
    year's half-life; the innovations' variance is the one that gives the forecast its own variance, 2 decay Var(x).

    Raises BadInput on fewer than 60 days, unequal lengths, and biases that never leave zero.
    """
    leaning, returns = _series(biases, "biases"), _series(next_returns, "next_returns")
    if leaning.shape != returns.shape:
        raise BadInput(f"has {returns.size} days, the biases {leaning.size}", column="next_returns")
    if np.abs(leaning).max() > 1:
        raise BadInput("must lie in [-1, 1]", column="biases", at=int(np.argmax(np.abs(leaning) > 1)))
    strength = float(leaning @ leaning)
    if strength == 0:
        raise BadInput("never leaves zero", column="biases")
    slope = max((float(leaning @ returns) + prior_days * full_return) / (strength + prior_days), 0.0)
    around = leaning - leaning.mean()
    spread = float(around @ around)
    lasting = float(around[1:] @ around[:-1]) / spread if spread > 0 else 1.0
    decay = min(max(-math.log(lasting), _SLOWEST_DECAY), _FASTEST_DECAY) if lasting > 0 else _FASTEST_DECAY
    return ForecastScale(slope, decay, 2 * decay * slope**2 * spread / leaning.size, leaning.size)


def calibrate_model(daily_returns: Floats, scale: ForecastScale, preferences: Preferences) -> TradingModel:
    """A trading model whose aim at full bias in calm markets is ``full_exposure``; our own calibration.

    The long-run variance is that of ``daily_returns`` (n,) and K twice the unit trade cost (K / 2 is what trading 1.0
    in a day costs). Risk aversion follows from what the desk wants to hold: without impact the aim per forecast is
    1 / (K s (s + rho + kappa)) with s the speed, so s solves a quadratic, and gamma sigma^2 = K s (s + rho). Impact
    then takes a few per cent off (4 % where trading the whole capital moves the price by 5 bp). ``full_return``, not
    the estimated scale, fixes gamma: a bias that turned out to be worth half of the promise is held at half of the
    exposure.

    Raises BadInput on fewer than 60 returns and on returns that never vary.
    """
    variance = float(_series(daily_returns, "daily_returns").var())
    if variance == 0:
        raise BadInput("never varies", column="daily_returns")
    cost, discount = 2 * preferences.unit_trade_cost, preferences.discount
    worth = preferences.full_return / (cost * preferences.full_exposure)
    lapse = discount + scale.decay
    speed = 2 * worth / (lapse + math.sqrt(lapse**2 + 4 * worth))
    return TradingModel(
        variance=variance,
        risk_aversion=cost * speed * (speed + discount) / variance,
        trading_cost=cost,
        discount=discount,
        signal_decay=scale.decay,
        signal_variance=scale.innovation_variance,
        impact_per_trade=preferences.impact_per_trade,
        impact_decay=preferences.impact_decay,
    )


def _capped(exposure: float, cap: float) -> float:
    return min(max(exposure, -cap), cap)


def _series(values: Floats, name: str) -> Floats:
    series = finite(values, name)
    if series.ndim != 1 or series.size < MIN_DAYS:
        raise BadInput(f"needs at least {MIN_DAYS} days in one dimension, got shape {series.shape}", column=name)
    return series
